//! Networks that made history, layer by layer as `torchvision` has them, untrained.
//!
//! Each takes the shape of a sample, height first, and the number of classes: `[224, 224, 3]` and 1,000 are ImageNet's.
//!
//! ```
//! use striate::zoo;
//!
//! let summary = zoo::resnet18([224, 224, 3], 1000).summary()?;
//! assert_eq!(summary.trainable, 11_689_512);
//! # Ok::<(), striate::Error>(())
//! ```

mod mobilenet;
mod resnet;
mod vgg;

pub use mobilenet::mobilenet_v2;
pub use resnet::{Block, resnet, resnet_cifar, resnet18, resnet20, resnet34, resnet50, resnet56, resnet101, resnet152};
pub use vgg::{vgg, vgg11, vgg13, vgg16, vgg19};
