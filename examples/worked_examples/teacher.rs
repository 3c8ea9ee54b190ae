//! The crate's ops on matrices.

use crate::grid::Grid;
use striate::device::Device;
use striate::graph::Graph;
use striate::op::Op;
use striate::ops::avg_pool2d::AvgPool2d;
use striate::ops::binary::{Binary, Mul, Sub};
use striate::ops::conv2d::Conv2d;
use striate::ops::max_pool2d::MaxPool2d;
use striate::ops::reduce::{Reduce, Reduction};
use striate::ops::scale::Scale;
use striate::ops::unary::{Relu, Unary};
use striate::tensor::Window2d;
use striate::{Result, Tensor};

/// Computes on a device.
pub struct Teacher {
    device: Device,
}

/// A step of gradient descent on a filter.
pub struct Step {
    /// The feature map.
    pub h: Grid,
    /// The error by the feature map.
    pub dh: Grid,
    /// The error by the filter.
    pub dw: Grid,
    /// The filter after the step.
    pub w_new: Grid,
    /// The error.
    pub error: f32,
}

impl Teacher {
    pub fn new(device: Device) -> Teacher {
        Teacher { device }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn convolve(&self, input: &Grid, filter: &Grid, window: Window2d) -> Result<Grid> {
        self.apply(Conv2d::new(window, 1), &[image(input)?, weights(filter)?])
    }

    pub fn max_pool(&self, input: &Grid, window: Window2d) -> Result<Grid> {
        self.apply(MaxPool2d { window }, &[image(input)?])
    }

    pub fn average_pool(&self, input: &Grid, window: Window2d) -> Result<Grid> {
        self.apply(AvgPool2d { window, count_include_pad: false }, &[image(input)?])
    }

    pub fn relu(&self, input: &Grid) -> Result<Grid> {
        self.apply(Unary::<Relu>::new(), &[image(input)?])
    }

    /// Output 0 of an op on images of one channel.
    fn apply(&self, op: impl Op, inputs: &[Tensor]) -> Result<Grid> {
        let mut graph = Graph::new();
        let mut feeds = Vec::new();
        for (i, tensor) in inputs.iter().enumerate() {
            feeds.push((graph.input(&format!("input {i}"), tensor.tensor_type())?, tensor));
        }
        let values: Vec<_> = feeds.iter().map(|(v, _)| *v).collect();
        let y = graph.node(op, &values)?;
        grid(&self.device.evaluate(graph, &[y], &feeds)?[0])
    }

    /// One step on the error `1/2 sum of (x * w - target)^2`, at learning rate `rate`.
    pub fn step(&self, x: &Grid, w: &Grid, target: &Grid, rate: f32) -> Result<Step> {
        let (x_data, w_data, target_data) = (image(x)?, weights(w)?, image(target)?);
        let mut graph = Graph::new();
        let x = graph.input("x", x_data.tensor_type())?;
        let w = graph.input("w", w_data.tensor_type())?;
        let target = graph.input("target", target_data.tensor_type())?;
        let window = Window2d::new([w_data.shape().dims()[0], w_data.shape().dims()[1]]);
        let h = graph.node(Conv2d::new(window, 1), &[x, w])?;
        let difference = graph.node(Binary::<Sub>::new(), &[h, target])?;
        let squares = graph.node(Binary::<Mul>::new(), &[difference, difference])?;
        let sum = graph.node(Reduce::all(Reduction::Sum, 4), &[squares])?;
        let error = graph.node(Scale { factor: 0.5 }, &[sum])?;
        let [dh, dw] = graph.gradients(error, &[h, w])?[..] else { unreachable!("as many gradients as were asked for") };
        let change = graph.node(Scale { factor: rate }, &[dw])?;
        let w_new = graph.node(Binary::<Sub>::new(), &[w, change])?;
        let feeds = [(x, &x_data), (w, &w_data), (target, &target_data)];
        let results = self.device.evaluate(graph, &[h, dh, dw, w_new, error], &feeds)?;
        Ok(Step {
            h: grid(&results[0])?,
            dh: grid(&results[1])?,
            // Weights have their channels last and images too: with one of each, both are plain matrices.
            dw: matrix(&results[2], window.kernel[1])?,
            w_new: matrix(&results[3], window.kernel[1])?,
            error: results[4].as_f32()?[0],
        })
    }
}

fn image(g: &Grid) -> Result<Tensor> {
    Tensor::f32([1, g.rows(), g.columns(), 1], g.data().to_vec())
}

fn weights(g: &Grid) -> Result<Tensor> {
    Tensor::f32([g.rows(), g.columns(), 1, 1], g.data().to_vec())
}

fn grid(t: &Tensor) -> Result<Grid> {
    let [_, _, columns, _] = t.shape().nhwc("image")?;
    matrix(t, columns)
}

fn matrix(t: &Tensor, columns: usize) -> Result<Grid> {
    Ok(Grid::new(columns, t.as_f32()?.to_vec()))
}
