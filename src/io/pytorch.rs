//! State dicts of PyTorch that were saved as safetensors.

use super::read_tensors;
use crate::error::Result;
use crate::nn::{Matching, Model, Summary};
use crate::tensor::{Shape, Tensor};
use std::collections::HashMap;
use std::path::Path;

impl Model {
    /// Reads those weights of a PyTorch state dict that are the model's, and says what became of the others. `name` gives the state dict's
    /// name of a layer; those of [`crate::zoo`] that `torchvision` has too have its names already:
    ///
    /// ```no_run
    /// use striate::{Device, Seed, zoo};
    ///
    /// // In Python: safetensors.torch.save_file(torchvision.models.resnet18(weights="DEFAULT").state_dict(), "resnet18.safetensors")
    /// let mut model = zoo::resnet18([224, 224, 3], 1000).build(&Device::best()?, Seed(1))?;
    /// model.load_pytorch("resnet18.safetensors", |layer| layer.to_string())?.complete()?;
    /// # Ok::<(), striate::Error>(())
    /// ```
    ///
    /// Convolutions' weights are turned from `[c_out, c_in, k_h, k_w]` to `[k_h, k_w, c_in, c_out]`, dense layers' from `[out, in]` to
    /// `[in, out]`, with the inputs in this crate's order where they are a flattened image; normalisations have `gamma`, `beta` and
    /// `running_variance` where PyTorch has `weight`, `bias` and `running_var`.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File), [`Error::Gpu`](crate::Error::Gpu), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn load_pytorch(&mut self, path: impl AsRef<Path>, name: impl Fn(&str) -> String) -> Result<Matching> {
        let mut given: HashMap<String, Tensor> = read_tensors(path)?.into_iter().collect();
        let summary = self.summary();
        let mut weights = Vec::new();
        for (own, shape) in self.weight_shapes() {
            let (layer, parameter) = own.rsplit_once('/').unwrap_or(("", &own));
            let theirs = match parameter {
                "gamma" | "slope" => "weight",
                "beta" => "bias",
                "running_variance" => "running_var",
                same => same,
            };
            let Some(tensor) = given.remove(&format!("{}.{theirs}", name(layer))) else { continue };
            let image = flattened_image(&summary, self.input_shape(), layer).filter(|_| parameter == "weight");
            weights.push((own, turned(tensor, &shape, image)?));
        }
        let mut left: Vec<String> = given.into_keys().collect();
        left.sort_unstable();
        let mut result = self.set_matching_weights(&weights)?;
        result.unexpected = left;
        Ok(result)
    }
}

/// The height, width and channels of the image whose values a dense layer reads in a row, if it does.
fn flattened_image(model: &Summary, input: &Shape, name: &str) -> Option<[usize; 3]> {
    let layers = &model.layers;
    // What a layer reads, if that is one layer.
    let read = |at: usize| match &layers[at].inputs[..] {
        [] => at.checked_sub(1),
        [input] => layers[..at].iter().position(|l| l.name == *input),
        _ => None,
    };
    let mut at = layers.iter().position(|l| l.name == name)?;
    loop {
        at = read(at)?;
        let before = read(at).map_or(input, |below| &layers[below].output);
        if layers[at].kind == "flatten" {
            return <[usize; 3]>::try_from(before.dims()).ok();
        }
        // Activations and dropout change no places.
        if layers[at].parameters > 0 || layers[at].output != *before {
            return None;
        }
    }
}

/// A tensor of PyTorch's, as this crate's of `shape` has it; one that can't be is left as it is.
fn turned(tensor: Tensor, shape: &Shape, image: Option<[usize; 3]>) -> Result<Tensor> {
    let dims = tensor.shape().dims().to_vec();
    let values = match (&dims[..], shape.dims()) {
        (&[outputs, inputs, ref window @ ..], &[k_h, k_w, c_in, c_out])
            if [c_out, c_in] == [outputs, inputs] && (*window == [k_h, k_w] || (k_h == 1 && *window == [k_w])) =>
        {
            let taps = k_h * k_w;
            gathered(&tensor, taps * c_in * c_out, |i| {
                let (tap, input, output) = (i / (c_in * c_out), i / c_out % c_in, i % c_out);
                (output * c_in + input) * taps + tap
            })?
        }
        (&[outputs, inputs], &[rows, columns]) if [rows, columns] == [inputs, outputs] => {
            let [h, w, c] = image.filter(|image| image.iter().product::<usize>() == inputs).unwrap_or([1, 1, inputs]);
            gathered(&tensor, rows * columns, |i| {
                let (row, output) = (i / columns, i % columns);
                let (pixel, channel) = (row / c, row % c);
                output * inputs + channel * h * w + pixel
            })?
        }
        _ => return Ok(tensor),
    };
    Tensor::f32(shape.clone(), values)
}

fn gathered(tensor: &Tensor, n: usize, from: impl Fn(usize) -> usize) -> Result<Vec<f32>> {
    let values = tensor.as_f32()?;
    Ok((0..n).map(|i| values[from(i)]).collect())
}
