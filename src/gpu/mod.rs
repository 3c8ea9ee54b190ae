//! Runs plans on GPUs through wgpu, which nothing outside this folder names.

mod adapter;
mod compose;
mod context;
mod options;
mod readback;
mod runtime;
mod timing;
mod tuning;

pub use adapter::{Adapter, DeviceInfo, best, list, named};
pub use compose::compose;
pub use context::{Gpu, GpuStats};
pub use options::GpuOptions;
pub use runtime::Runtime;
pub use tuning::{TuningKey, load_tuning, save_tuning};
