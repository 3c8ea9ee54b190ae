//! The initial weights of `tests/goldens/resnet20.py`, which PyTorch and this crate begin at when they are compared.

use striate::Tensor;
use striate::nn::Model;

/// Sets the weights of layer k to uniform numbers, by splitmix64 of the layer's number and the weight's; biases stay as they are.
pub fn set_weights(model: &mut Model) -> striate::Result<()> {
    let mut weights = model.weights()?;
    let of_layers = weights.iter_mut().filter(|(_, t)| t.shape().rank() > 1).enumerate();
    for (layer, (_, tensor)) in of_layers {
        let dims = tensor.shape().dims();
        let fan_in: usize = dims[..dims.len() - 1].iter().product();
        let bound = (if dims.len() == 4 { 6.0 } else { 1.0 } / fan_in as f64).sqrt();
        let weight = |i: usize| ((2.0 * uniform(((layer as u64) << 32) + i as u64) - 1.0) * bound) as f32;
        let values = (0..tensor.shape().elements()).map(weight).collect();
        *tensor = Tensor::f32(tensor.shape().clone(), values)?;
    }
    model.set_weights(&weights)
}

/// splitmix64's number `i`, as a number from 0 to less than 1.
fn uniform(i: u64) -> f64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let z = z ^ (z >> 31);
    (z >> 40) as f64 / f64::from(1 << 24)
}
