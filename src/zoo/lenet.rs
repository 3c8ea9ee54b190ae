//! The first of them.

use crate::nn::Net;
use crate::tensor::Shape;

/// LeNet-5 in its common form (Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998): 61,706 parameters for grey
/// images of 32 x 32 and ten classes. The paper's has trained averages, a partly connected second convolution and radial basis functions
/// at its end.
pub fn lenet5(input: impl Into<Shape>, classes: usize) -> Net {
    let x = Net::input(input).conv2d(6, 5).tanh().avg_pool2d(2);
    let x = x.conv2d(16, 5).tanh().avg_pool2d(2);
    x.flatten().dense(120).tanh().dense(84).tanh().dense(classes)
}
