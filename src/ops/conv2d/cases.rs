//! The shapes that every test and bench of the convolutions runs.

use super::{Conv2d, Conv2dGradInput, Conv2dGradWeight};
use crate::op::{Case, Op, sample};
use crate::ops::unary::{Relu, Sigmoid, activation};
use crate::random::{Seed, Stream};
use crate::tensor::{Padding, Tensor, Window2d};

/// A convolution's window and sizes; test data follow from it.
struct Setup {
    name: &'static str,
    x: [usize; 4],
    c_out: usize,
    window: Window2d,
    groups: usize,
    data: fn(u64, Vec<usize>) -> Tensor,
}

fn normal(seed: u64, shape: Vec<usize>) -> Tensor {
    sample::normal(seed, shape)
}

fn setups() -> Vec<Setup> {
    let base = |name, x, c_out, kernel: [usize; 2]| Setup {
        name,
        x,
        c_out,
        window: Window2d::new(kernel),
        groups: 1,
        data: normal,
    };
    let mut s = Stream::new(Seed(20), 0);
    let mut pick = |least: usize, most: usize| least + s.below((most - least + 1) as u32) as usize;
    let random = Window2d {
        kernel: [pick(1, 4), pick(1, 4)],
        stride: [pick(1, 3), pick(1, 3)],
        dilation: [pick(1, 2), pick(1, 2)],
        padding: Padding::Explicit { top: pick(0, 2), bottom: pick(0, 2), left: pick(0, 2), right: pick(0, 2) },
        ceil: false,
    };
    vec![
        base("one_by_one", [1, 1, 1, 1], 1, [1, 1]),
        base("mnist_stem", [3, 12, 12, 1], 32, [3, 3]),
        base("c_5_to_3", [2, 7, 9, 5], 3, [3, 2]),
        base("vector", [2, 11, 9, 8], 12, [3, 3]),
        base("pointwise", [2, 6, 5, 12], 20, [1, 1]),
        Setup {
            window: Window2d { stride: [2, 2], padding: Padding::Same, ..Window2d::new([3, 3]) },
            ..base("odd_width_stride_2_same", [2, 10, 7, 3], 8, [3, 3])
        },
        Setup {
            window: Window2d { stride: [3, 4], ..Window2d::new([2, 2]) },
            ..base("stride_larger_than_kernel", [1, 9, 11, 4], 4, [2, 2])
        },
        Setup {
            window: Window2d { stride: [2, 2], ..Window2d::new([1, 1]) },
            ..base("pointwise_stride_2", [2, 7, 6, 16], 32, [1, 1])
        },
        Setup {
            window: Window2d { stride: [2, 2], padding: Padding::all(3), ..Window2d::new([7, 7]) },
            ..base("stem_7x7_stride_2", [1, 19, 18, 3], 16, [7, 7])
        },
        Setup {
            window: Window2d { stride: [4, 6], dilation: [2, 4], padding: Padding::all(3), ..Window2d::new([5, 3]) },
            groups: 2,
            ..base("stride_and_dilation", [1, 23, 26, 8], 8, [5, 3])
        },
        Setup {
            window: Window2d { padding: Padding::all(4), ..Window2d::new([5, 5]) },
            ..base("full_padding", [1, 6, 6, 3], 5, [5, 5])
        },
        Setup {
            window: Window2d {
                padding: Padding::Explicit { top: 0, bottom: 2, left: 3, right: 1 },
                dilation: [2, 3],
                ..Window2d::new([3, 3])
            },
            ..base("asymmetric_padding_dilation", [2, 8, 9, 4], 8, [3, 3])
        },
        Setup {
            window: Window2d { padding: Padding::all(1), ..Window2d::new([3, 3]) },
            ..base("many_channels", [2, 5, 14, 9], 43, [3, 3])
        },
        Setup {
            window: Window2d { stride: [2, 2], padding: Padding::all(3), ..Window2d::new([7, 7]) },
            ..base("stem_stride_2", [1, 13, 30, 3], 18, [7, 7])
        },
        // Few channels and sides that are multiples of the stride: all phases of the gradient by the input at once.
        Setup {
            window: Window2d { stride: [2, 2], padding: Padding::all(3), ..Window2d::new([7, 7]) },
            ..base("stem_joined", [2, 14, 34, 3], 16, [7, 7])
        },
        Setup {
            window: Window2d {
                stride: [2, 3],
                padding: Padding::Explicit { top: 2, bottom: 0, left: 1, right: 4 },
                ..Window2d::new([3, 2])
            },
            ..base("joined_uneven", [1, 8, 15, 2], 5, [3, 2])
        },
        Setup {
            window: Window2d { stride: [2, 2], padding: Padding::all(1), ..Window2d::new([4, 4]) },
            ..base("joined_vector", [2, 12, 10, 4], 8, [4, 4])
        },
        // Rows of the output that are whole steps of the gradient by the weights.
        base("width_of_32", [2, 18, 34, 3], 8, [3, 3]),
        base("vector_width_of_16", [2, 20, 18, 8], 16, [3, 3]),
        base("pointwise_many_channels", [2, 5, 7, 34], 70, [1, 1]),
        Setup {
            window: Window2d { stride: [2, 2], padding: Padding::all(1), ..Window2d::new([3, 3]) },
            groups: 21,
            ..base("depthwise_21_stride_2", [2, 9, 12, 21], 21, [3, 3])
        },
        Setup { groups: 2, ..base("groups_2", [2, 7, 6, 8], 16, [3, 3]) },
        Setup { groups: 3, ..base("groups_3_scalar", [1, 6, 6, 3], 6, [3, 3]) },
        Setup { groups: 6, ..base("depthwise", [2, 6, 7, 6], 6, [3, 3]) },
        Setup {
            groups: 8,
            window: Window2d { padding: Padding::all(1), ..Window2d::new([3, 3]) },
            ..base("depthwise_vector", [2, 37, 11, 8], 8, [3, 3])
        },
        Setup {
            groups: 12,
            window: Window2d { stride: [2, 2], padding: Padding::Same, ..Window2d::new([3, 3]) },
            ..base("depthwise_stride_2", [2, 10, 13, 12], 12, [3, 3])
        },
        Setup {
            groups: 4,
            window: Window2d {
                padding: Padding::Explicit { top: 2, bottom: 3, left: 4, right: 1 },
                dilation: [2, 3],
                ..Window2d::new([3, 3])
            },
            ..base("depthwise_dilated", [1, 9, 14, 4], 4, [3, 3])
        },
        Setup {
            groups: 3,
            window: Window2d {
                stride: [3, 2],
                padding: Padding::Explicit { top: 1, bottom: 2, left: 3, right: 0 },
                ..Window2d::new([5, 4])
            },
            ..base("depthwise_multiplier_2", [2, 12, 9, 3], 6, [5, 4])
        },
        Setup {
            groups: 4,
            window: Window2d { padding: Padding::all(3), ..Window2d::new([7, 7]) },
            data: |seed, shape| sample::positive(seed, shape),
            ..base("depthwise_7x7_positive", [3, 16, 15, 4], 4, [7, 7])
        },
        // Large enough for Winograd's way on adapters that the CPU runs, the first in more than one part.
        Setup {
            window: Window2d { padding: Padding::all(1), ..Window2d::new([3, 3]) },
            ..base("winograd_odd", [6, 16, 15, 96], 88, [3, 3])
        },
        Setup {
            window: Window2d {
                padding: Padding::Explicit { top: 0, bottom: 2, left: 2, right: 0 },
                ..Window2d::new([3, 3])
            },
            data: |seed, shape| sample::positive(seed, shape),
            ..base("winograd_positive", [1, 20, 22, 128], 128, [3, 3])
        },
        // Strides with dilations, which the kernels for depthwise convolutions don't do.
        Setup {
            groups: 5,
            window: Window2d { stride: [2, 1], dilation: [1, 2], ..Window2d::new([2, 3]) },
            ..base("depthwise_stride_and_dilation", [1, 8, 9, 5], 5, [2, 3])
        },
        Setup {
            data: |seed, shape| sample::positive(seed, shape),
            ..base("all_positive_deep", [1, 5, 5, 132], 8, [3, 3])
        },
        Setup { data: |seed, shape| sample::integers(seed, shape, 3), ..base("integers", [2, 20, 20, 4], 8, [3, 3]) },
        Setup { window: random, ..base("random_20", [2, 13, 12, 4], 7, [1, 1]) },
    ]
}

impl Setup {
    fn x(&self) -> Tensor {
        (self.data)(1, self.x.to_vec())
    }

    fn w(&self) -> Tensor {
        let [h, w] = self.window.kernel;
        (self.data)(2, vec![h, w, self.x[3] / self.groups, self.c_out])
    }

    fn bias(&self) -> Tensor {
        (self.data)(3, vec![self.c_out])
    }

    /// The case of an op on these data.
    fn case(&self, op: impl Op, inputs: Vec<Tensor>) -> Case {
        let case = Case::new(self.name, op, inputs);
        // Finite differences of many products take long, and the small cases have them.
        if self.x.iter().product::<usize>() > 40_000 { case.differentiable_by(&[]) } else { case }
    }

    fn dy(&self) -> Tensor {
        let placed = self.window.place(self.x[1], self.x[2]);
        let (h, w) = placed.map_or((1, 1), |p| (p.h_out, p.w_out));
        (self.data)(4, vec![self.x[0], h, w, self.c_out])
    }
}

pub(super) fn conv2d() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, s) in setups().into_iter().enumerate() {
        let mut inputs = vec![s.x(), s.w()];
        if i % 2 == 0 {
            inputs.push(s.bias());
        }
        cases.push(s.case(Conv2d::new(s.window, s.groups), inputs));
    }
    for (name, x, c_out, groups) in
        [("residual", [2, 8, 9, 4], 8, 1), ("residual_odd", [1, 7, 6, 3], 5, 1), ("depthwise_residual", [1, 7, 9, 8], 8, 8)]
    {
        if let Some(op) = Conv2d::new(Window2d::new([3, 3]), groups).with_residual() {
            let inputs = vec![
                sample::normal(11, x),
                sample::normal(12, [3, 3, x[3] / groups, c_out]),
                sample::normal(13, [c_out]),
                sample::normal(14, [x[0], x[1] - 2, x[2] - 2, c_out]),
            ];
            cases.push(Case { name: name.to_string(), op, inputs, differentiable: Vec::new() });
        }
    }
    if let Some(op) = Conv2d::new(Window2d::new([3, 3]), 8).with_activation(activation::<Relu>()) {
        let inputs = vec![sample::normal(8, [1, 7, 9, 8]), sample::normal(9, [3, 3, 1, 8]), sample::normal(10, [8])];
        cases.push(Case { name: "depthwise_bias_relu".to_string(), op, inputs, differentiable: Vec::new() });
    }
    for (name, f) in [("bias_relu", activation::<Relu>()), ("bias_sigmoid", activation::<Sigmoid>())] {
        if let Some(op) = Conv2d::new(Window2d::new([3, 3]), 1).with_activation(f) {
            let inputs = vec![sample::normal(5, [2, 8, 8, 4]), sample::normal(6, [3, 3, 4, 8]), sample::normal(7, [8])];
            cases.push(Case { name: name.to_string(), op, inputs, differentiable: Vec::new() });
        }
    }
    cases
}

pub(super) fn grad_input() -> Vec<Case> {
    let case = |s: Setup| {
        let op = Conv2dGradInput::new(s.window, s.groups, s.x);
        s.case(op, vec![s.dy(), s.w()])
    };
    let mut cases: Vec<Case> = setups().into_iter().map(case).collect();
    // As a transposed convolution has it: with a bias, and an activation that fusion found. A stride of more than the kernel leaves
    // pixels that are the bias alone.
    let transposed = [
        ("bias", [2, 9, 7, 8], 4, 1, Window2d { stride: [2, 2], padding: Padding::all(1), ..Window2d::new([4, 3]) }),
        ("bias_holes", [1, 8, 9, 3], 5, 1, Window2d { stride: [3, 4], ..Window2d::new([2, 2]) }),
        ("bias_joined", [2, 10, 12, 3], 5, 1, Window2d { stride: [2, 2], padding: Padding::all(1), ..Window2d::new([4, 4]) }),
        ("bias_pointwise", [2, 5, 3, 8], 6, 1, Window2d::new([1, 1])),
        ("bias_depthwise", [1, 9, 8, 4], 4, 4, Window2d { stride: [2, 2], ..Window2d::new([3, 3]) }),
        ("bias_winograd", [3, 22, 22, 64], 64, 1, Window2d { padding: Padding::all(1), ..Window2d::new([3, 3]) }),
    ];
    for (name, x, c_out, groups, window) in transposed {
        let s = Setup { name, x, c_out, window, groups, data: normal };
        let inputs = vec![s.dy(), s.w(), sample::normal(5, [x[3]])];
        let op = Conv2dGradInput::new(window, groups, x);
        if let Some(op) = op.with_activation(activation::<Relu>()) {
            cases.push(Case { name: format!("{name}_relu"), op, inputs: inputs.clone(), differentiable: Vec::new() });
        }
        cases.push(s.case(op, inputs));
    }
    cases
}

pub(super) fn grad_weight() -> Vec<Case> {
    let long = Setup {
        name: "long_sum",
        x: [4, 40, 42, 4],
        c_out: 8,
        window: Window2d::new([3, 3]),
        groups: 1,
        data: |seed, shape| sample::positive(seed, shape),
    };
    let case = |s: Setup| s.case(Conv2dGradWeight { window: s.window, groups: s.groups }, vec![s.x(), s.dy()]);
    setups().into_iter().chain([long]).map(case).collect()
}
