//! Data sets in host memory, or of photos that are read when a batch asks for them: readers of their files, and the order in which training
//! visits their samples.
//!
//! ```no_run
//! use striate::data::{self, Batches};
//! use striate::random::Seed;
//!
//! let (train, test) = data::mnist("examples/data/mnist")?;
//! let (train, validation) = train.split(0.9)?;
//! for epoch in 0..3 {
//!     for batch in Batches::new(train.len(), 128, Some(Seed(42)), epoch)? {
//!         let x = train.batch_images(&batch)?; // [batch, 28, 28, 1], normalised to 0..1
//!         let labels = train.batch_labels(&batch)?;
//!         # let _ = (x, labels);
//!     }
//! }
//! # let _ = (test, validation);
//! # Ok::<(), striate::error::Error>(())
//! ```

mod batches;
mod cifar10;
mod dataset;
#[cfg(feature = "photos")]
mod decode;
#[cfg(feature = "photos")]
mod folder;
pub mod idx;
mod lazy;
mod mnist;
mod photo;
mod statistics;

pub use batches::Batches;
pub use cifar10::{CIFAR10_DEVIATION, CIFAR10_DEVIATIONS, CIFAR10_MEAN, CIFAR10_MEANS, cifar10};
pub(crate) use dataset::default_threads;
pub use dataset::{Dataset, Targets};
#[cfg(feature = "photos")]
pub use decode::{MAX_PHOTO_FILE, MAX_PHOTO_PIXELS, decode_photo, open_photo, read_photo};
#[cfg(feature = "photos")]
pub use folder::{ImageFolder, LeftOut, image_csv, image_folder};
pub use lazy::LazyImages;
pub use mnist::{fashion_mnist, mnist};
pub use photo::{PhotoFormat, Resize};
