//! Networks that made history, layer by layer as `torchvision` has them, untrained. Layers with parameters have the names that they have
//! there, which is how weights from there are read ([`crate::io`]).
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

mod alexnet;
mod densenet;
mod googlenet;
mod inception;
mod lenet;
mod mobilenet;
mod mobilenet_v3;
mod resnet;
mod squeezenet;
mod unet;
mod vgg;

pub use alexnet::{alexnet, alexnet_2012, zfnet};
pub use densenet::{densenet, densenet121};
pub use googlenet::{googlenet, googlenet_2014, googlenet_with_auxiliary};
pub use inception::{inception_v3, inception_v3_with_auxiliary};
pub use lenet::lenet5;
pub use mobilenet::{efficientnet_lite0, mobilenet_v2};
pub use mobilenet_v3::{mobilenet_v3_large, mobilenet_v3_small};
pub use resnet::{Block, resnet, resnet_cifar, resnet18, resnet20, resnet34, resnet50, resnet56, resnet101, resnet152};
pub use squeezenet::{squeezenet1_0, squeezenet1_1};
pub use unet::unet;
pub use vgg::{vgg, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn};
