//! Convolutional networks on any GPU, through WebGPU compute shaders, and on the CPU: training and inference without CUDA and
//! without Python.
//!
//! ```no_run
//! use striate::nn::Sequential;
//! use striate::train::{Adam, Fit};
//! use striate::{Device, Seed, data};
//!
//! fn main() -> striate::Result<()> {
//!     let device = Device::best()?;
//!     let (train, test) = data::mnist("examples/data/mnist")?;
//!     let mut model = Sequential::new([28, 28, 1])
//!         .conv2d(32, 3)
//!         .relu()
//!         .max_pool2d(2)
//!         .conv2d(64, 3)
//!         .relu()
//!         .max_pool2d(2)
//!         .flatten()
//!         .dropout(0.5)
//!         .dense(10)
//!         .build(&device, Seed(42))?;
//!     println!("{}", model.summary());
//!     model.fit(&train, Fit::epochs(3).batch(64).optimizer(Adam::default()).validate(&test))?;
//!     println!("test accuracy {:.2}%", 100.0 * model.evaluate(&test)?.accuracy);
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! - [`nn`]: layers, [`nn::Sequential`], [`nn::Net`] for networks that branch, and the [`nn::Model`] that they build.
//! - [`zoo`]: networks that made history.
//! - [`io`]: weights in files, and PyTorch's.
//! - [`train`]: [`train::Fit`], losses, optimizers, what training reports.
//! - [`data`]: data sets, MNIST, batches.
//! - `vis`, with the feature of that name: pictures of what a model has learned.
//! - [`Device`]: which GPU, or the CPU.
//! - [`graph`], [`op`], [`ops`]: what models are made of, for those who want an op of their own. `ARCHITECTURE.md` in the repository
//!   follows a convolution from the layer to the GPU and back.
//! - [`tune`]: measures how products are cut up best on a GPU, when it is asked to.
//! - [`selftest`]: every op on a device against a double-precision run on the CPU.
//!
//! # Environment
//!
//! | variable | effect |
//! | --- | --- |
//! | `STRIATE_DEVICE` | which device [`Device::best`] takes: `cpu`, `gpu`, or a part of a GPU's name |
//! | `STRIATE_VALIDATE=1` | compare every node with the CPU after it ran on the GPU, and stop at the first outside its error bound |
//! | `STRIATE_DUMP_WGSL=DIR` | write every composed kernel to a folder |
//! | `STRIATE_TRACE=1` | log every dispatch, at level `trace` of the `log` facade |
//! | `STRIATE_CHECKED=1` | keep the shader compiler's bounds checks |
//! | `STRIATE_DEFAULT_LIMITS=1` | keep to the limits that every WebGPU device has |
//! | `STRIATE_MAIN_LOOP` | `tiled`, `subgroup` or `plain`: the main loop of matmul and convolutions |
//! | `STRIATE_MEMORY_BUDGET` | refuse plans that take more bytes of GPU memory |
//! | `STRIATE_TUNING=FILE` | take choices of tiles and splits that [`Device::tune`] made and [`Device::save_tuning`] wrote |

pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
mod file;
pub mod gpu;
pub mod graph;
pub mod io;
pub mod linalg;
pub mod nn;
pub mod op;
pub mod ops;
pub mod random;
pub mod selftest;
pub mod tensor;
pub mod train;
pub mod tune;
#[cfg(feature = "vis")]
pub mod vis;
pub mod zoo;

pub use device::{Device, Runtime};
pub use error::{Error, Result};
pub use random::Seed;
pub use tensor::{Padding, Tensor};

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
