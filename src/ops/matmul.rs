//! Matrix product with optional transposes, bias and activation: the dense layer and its gradients.

use super::gemm::{self, Epilogue, Gemm};
use super::reduce::{Reduce, Reduction};
use crate::error::{Error, Result};
use crate::linalg::{self, Geometry, LONGEST_PANEL, Matrix, Real, conv2d_grad_input, for_each_row, matmul, matmul_few_rows};
use crate::op::{
    Activation, Bound, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, MainLoop, Op, Recorder, Source,
    StandardNode, Term, moved_bytes, sample, shader,
};
use crate::op::Buffer::{Input, Output};
use crate::tensor::{DType, TensorType};
use std::sync::Arc;

/// `y = activation(op(a) op(b) + bias + residual)`, where `op` transposes or not. Inputs `a` [m, k], `b` [k, n] (before transposition the
/// other way round), optionally `bias` `[n]`, and, fused, a `residual` like the output, [m, n].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matmul {
    /// Whether `a` is given as [k, m].
    pub transpose_a: bool,
    /// Whether `b` is given as [n, k].
    pub transpose_b: bool,
    residual: bool,
    activation: Option<Activation>,
}

impl Matmul {
    /// A product with these transposes.
    pub fn new(transpose_a: bool, transpose_b: bool) -> Self {
        Matmul { transpose_a, transpose_b, ..Matmul::default() }
    }

    fn size(&self, a: &TensorType, b: &TensorType) -> Result<[usize; 3]> {
        let order = |[x, y]: [usize; 2], swap: bool| if swap { [y, x] } else { [x, y] };
        let [m, k] = order(a.shape.matrix("a")?, self.transpose_a);
        let [k_b, n] = order(b.shape.matrix("b")?, self.transpose_b);
        if k == k_b {
            Ok([m, n, k])
        } else {
            let side = if self.transpose_b { "columns" } else { "rows" };
            Err(Error::invalid("b", format!("shape {} with {k_b} {side}", b.shape), format!("{k} {side}, as a is {}", a.shape)))
        }
    }

    fn size_unchecked(&self, a: &TensorType, b: &TensorType) -> [usize; 3] {
        self.size(a, b).unwrap_or([0; 3])
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        let has_bias = expect_inputs(inputs, ["a", "b"], self.residual)?;
        let [m, n, _] = self.size(&inputs[0], &inputs[1])?;
        if has_bias {
            inputs[2].expect("bias", &TensorType::f32([n]))?;
        }
        let y = TensorType::f32(crate::tensor::Shape::from([m, n]).checked("output shape")?);
        if self.residual {
            inputs[inputs.len() - 1].expect("residual", &y)?;
        }
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        refuse_fused(self.residual, self.activation)?;
        let (dy, a, b) = (g.dy0()?, g.x(0), g.x(1));
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        if g.wants(0) {
            let da =
                if ta { g.node(Matmul::new(tb, true), &[b, dy])? } else { g.node(Matmul::new(false, !tb), &[dy, b])? };
            g.set(0, da);
        }
        if g.wants(1) {
            let db = if tb { g.node(Matmul::new(true, ta), &[dy, a])? } else { g.node(Matmul::new(!ta, false), &[a, dy])? };
            g.set(1, db);
        }
        if g.n_inputs() == 3 && g.wants(2) {
            let db = g.node(Reduce { reduction: Reduction::Sum, axes: 0..1 }, &[dy])?;
            g.set(2, db);
        }
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let size = self.size(r.x(0), r.x(1))?;
        let epilogue = epilogue(r.inputs().len(), self.residual, self.activation);
        product(r, size, self.transpose_a, self.transpose_b).record(r, Input(0), Input(1), epilogue, Output(0));
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let [m, n, k] = self.size_unchecked(&inputs[0], &inputs[1]);
        Cost { flops: 2 * (m * n * k) as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let linear = Matmul { activation: None, ..self.clone() };
        gemm::error_bound(b, b.sum_of_products(&linear)?, &linear, self.activation)
    }

    fn with_residual(&self) -> Option<Arc<dyn Op>> {
        let free = !self.residual && self.activation.is_none();
        free.then(|| Arc::new(Matmul { residual: true, ..self.clone() }) as Arc<dyn Op>)
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Op>> {
        self.activation.is_none().then(|| Arc::new(Matmul { activation: Some(activation), ..self.clone() }) as Arc<dyn Op>)
    }

    fn has_channel_weights(&self) -> bool {
        self.activation.is_none() && !self.residual && !self.transpose_b
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        refuse_fused_export(self.residual, self.activation)?;
        let mut inputs = d.all();
        for (x, transposed) in inputs.iter_mut().zip([self.transpose_a, self.transpose_b]) {
            if transposed {
                *x = d.transpose(*x, [1, 0]);
            }
        }
        let node = StandardNode::contracted("Gemm", &inputs);
        let shape = d.output_type(0).shape.clone();
        Ok(vec![d.add(node, shape)])
    }
}

/// The product `C[m, n]` of `A` [m, k] and `B` [k, n], each given that way round or transposed, to record.
pub(super) fn product(r: &Recorder<'_>, size: [usize; 3], transpose_a: bool, transpose_b: bool) -> Gemm {
    let [m, n, k] = size;
    products(r, (1, [m * k, k * n]), size, transpose_a, transpose_b)
}

/// A number of such products, and from the `A` and `B` of one to those of the next; their `C` lie one after the other.
pub(super) fn products(
    r: &Recorder<'_>,
    (batch, [a_group, b_group]): (usize, [usize; 2]),
    size: [usize; 3],
    transpose_a: bool,
    transpose_b: bool,
) -> Gemm {
    let [m, n, k] = size;
    let [a_m, a_k] = if transpose_a { [1, m] } else { [k, 1] };
    let [b_k, b_n] = if transpose_b { [1, k] } else { [n, 1] };
    let vector = [a_m.max(a_k), b_k.max(b_n), n].map(|len| len.is_multiple_of(4));
    // Adapters that the CPU runs load element by element in any case, but compile slowly.
    let strided = r.profile().main_loop != MainLoop::Tiled && vector != [true; 3];
    Gemm {
        operand: &OPERAND,
        consts: vec![
            ("A_ALONG_K", (strided || !transpose_a).into()),
            ("B_ALONG_K", (!strided && transpose_b).into()),
            ("STRIDED", strided.into()),
        ],
        size,
        phases: Vec::new(),
        joined: 1,
        k_digit: 1,
        groups: batch,
        batch: true,
        vector: if strided { [false; 3] } else { vector },
        params: [("a_group", a_group), ("b_group", b_group), ("a_m", a_m), ("a_k", a_k), ("b_k", b_k), ("b_n", b_n)]
            .map(|(name, len)| (name, len.into()))
            .to_vec(),
    }
}

/// Fails unless there are two inputs of these names, perhaps a bias, and a residual if there is to be one, all f32; says whether there is
/// a bias.
pub(super) fn expect_inputs(inputs: &[TensorType], names: [&str; 2], residual: bool) -> Result<bool> {
    let [first, second] = names;
    let has_bias = has_bias(inputs.len(), residual);
    let all: Vec<&str> = names.into_iter().chain(has_bias.then_some("bias")).chain(residual.then_some("residual")).collect();
    if inputs.len() != all.len() {
        let last = if residual { ", residual" } else { "" };
        let want = format!("{first}, {second}{last}, or {first}, {second}, bias{last}");
        return Err(Error::invalid("inputs", inputs.len(), want));
    }
    for (ty, name) in inputs.iter().zip(all) {
        ty.expect_dtype(name, DType::F32)?;
    }
    Ok(has_bias)
}

/// Whether so many inputs of a product have a bias among them.
pub(super) fn has_bias(n_inputs: usize, residual: bool) -> bool {
    n_inputs == 3 + usize::from(residual)
}

/// The epilogue of a product with so many inputs: the bias is the third, the residual the last.
pub(super) fn epilogue(n_inputs: usize, residual: bool, activation: Option<Activation>) -> Epilogue {
    let bias = has_bias(n_inputs, residual).then_some(Input(2));
    Epilogue { bias, residual: residual.then_some(Input(n_inputs - 1)), activation }
}

/// Autodiff works on graphs before they are fused: a fused op no longer has the value that its gradient would start from, or has an
/// input that its gradient doesn't know of.
pub(super) fn refuse_fused(residual: bool, activation: Option<Activation>) -> Result<()> {
    let with = activation.map(|f| f.name).or(residual.then_some("a sum"));
    with.map_or(Ok(()), |with| Err(Error::invalid("gradient", format!("an op fused with {with}"), "gradients before fusion")))
}

/// Fails for an op that others have been fused into: it is described before that.
pub(super) fn refuse_fused_export(residual: bool, activation: Option<Activation>) -> Result<()> {
    let with = activation.map(|f| f.name).or(residual.then_some("a sum"));
    with.map_or(Ok(()), |with| Err(Error::invalid("export", format!("an op fused with {with}"), "export before fusion")))
}

/// `y = activation(y + bias + residual)`, row by row.
pub(super) fn finish_rows<T: Real>(
    rows: &mut [T],
    row_len: usize,
    bias: Option<&[T]>,
    residual: Option<&[T]>,
    activation: Option<Activation>,
) {
    if let Some(bias) = bias {
        for row in rows.chunks_mut(row_len) {
            for (y, &b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
    if let Some(residual) = residual {
        for (y, &r) in rows.iter_mut().zip(residual) {
            *y += r;
        }
    }
    if let Some(f) = activation {
        f.apply(rows);
    }
}

impl Matmul {
    /// `y = op(a) op(b)`, still without bias and activation.
    fn multiply<T: Real>(&self, args: &CpuArgs<'_, T>, y: &mut [T]) {
        let types = args.input_types();
        let [m, n, k] = self.size_unchecked(&types[0], &types[1]);
        let a = if self.transpose_a { Matrix::new(args.x(0), m).t() } else { Matrix::new(args.x(0), k) };
        let b = if self.transpose_b { Matrix::new(args.x(1), k).t() } else { Matrix::new(args.x(1), n) };
        matmul([m, n, k], a, b, y, n, false, true);
    }

    /// Bias and residual.
    fn epilogue_inputs<'a, T: Real>(&self, args: &CpuArgs<'a, T>) -> [Option<&'a [T]>; 2] {
        let bias = has_bias(args.n_inputs(), self.residual).then(|| args.x(2));
        [bias, self.residual.then(|| args.x(args.n_inputs() - 1))]
    }
}

impl Cpu for Matmul {
    fn cpu_single(&self, args: &mut CpuArgs<'_, f32>) {
        // Products of up to so many rows take as long as memory takes to deliver the matrix.
        const FEW_ROWS: usize = 4;
        // Of fewer products a sum, packing a transposed matrix by ourselves doesn't pay.
        const SHORTEST: usize = 256;
        let (types, y) = (args.input_types(), args.y(0));
        let [m, n, k] = self.size_unchecked(&types[0], &types[1]);
        match (self.transpose_a, self.transpose_b) {
            (false, false) if m <= FEW_ROWS => matmul_few_rows([m, n, k], args.x(0), args.x(1), y),
            (false, true) if m > FEW_ROWS && (SHORTEST..=LONGEST_PANEL).contains(&k) => {
                conv2d_grad_input(&Geometry::pointwise(m, n, k), args.x(0), args.x(1), linalg::Epilogue::default(), y);
            }
            _ => self.multiply(args, y),
        }
        let [bias, residual] = self.epilogue_inputs(args);
        if bias.is_some() || residual.is_some() || self.activation.is_some() {
            for_each_row(y, n, |i, row| finish_rows(row, n, bias, residual.map(|r| &r[i * n..][..n]), self.activation));
        }
    }

    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let y = args.y(0);
        self.multiply(args, y);
        let [bias, residual] = self.epilogue_inputs(args);
        finish_rows(y, args.y_shape(0).last(), bias, residual, self.activation);
    }
}

pub(super) static OPERAND: Source = shader!("operand/matmul");

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "matmul",
    no_gradient: None,
    shaders: &[&OPERAND],
    cases,
}];

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("one_by_one", Matmul::default(), vec![sample::normal(1, [1, 1]), sample::normal(2, [1, 1])]),
        Case::new("odd_sizes", Matmul::default(), vec![sample::normal(3, [37, 13]), sample::normal(4, [13, 45])]),
        Case::new(
            "bias",
            Matmul::default(),
            vec![sample::normal(5, [70, 20]), sample::normal(6, [20, 36]), sample::normal(7, [36])],
        ),
        Case::new(
            "split_positive",
            Matmul::default(),
            vec![sample::positive(8, [5, 1300]), sample::positive(9, [1300, 10]), sample::positive(10, [10])],
        ),
        // More splits than one invocation adds up.
        Case::new(
            "very_long_sum",
            Matmul::default(),
            vec![sample::normal(23, [1, 1_060_000]), sample::normal(24, [1_060_000, 1]), sample::normal(25, [1])],
        )
        .differentiable_by(&[]),
        Case::new("integers", Matmul::default(), vec![sample::integers(11, [66, 50], 4), sample::integers(12, [50, 68], 4)]),
        Case::new("few_rows_wide", Matmul::default(), vec![sample::normal(26, [3, 530]), sample::normal(27, [530, 300])]),
        Case::new("seven_rows", Matmul::default(), vec![sample::normal(28, [7, 65]), sample::normal(29, [65, 140])]),
        Case::new("few_columns", Matmul::default(), vec![sample::normal(30, [150, 48]), sample::normal(31, [48, 3])]),
        Case::new("few_columns_tt", Matmul::new(true, true), vec![sample::normal(32, [48, 152]), sample::normal(33, [4, 48])]),
        Case::new("three_rows", Matmul::default(), vec![sample::normal(34, [3, 133]), sample::normal(35, [133, 530])])
            .differentiable_by(&[]),
        Case::new("long_transposed", Matmul::new(false, true), vec![sample::normal(36, [7, 300]), sample::normal(37, [41, 300])])
            .differentiable_by(&[]),
        Case::new("one_row", Matmul::default(), vec![sample::normal(13, [1, 300]), sample::normal(14, [300, 5])]),
    ];
    for (ta, tb) in [(false, true), (true, false), (true, true)] {
        for (name, [m, n, k]) in [("vector", [40, 68, 36]), ("odd", [33, 35, 18])] {
            let a = if ta { [k, m] } else { [m, k] };
            let b = if tb { [n, k] } else { [k, n] };
            let name = format!("{name}_{}{}", if ta { "t" } else { "n" }, if tb { "t" } else { "n" });
            cases.push(Case::new(name, Matmul::new(ta, tb), vec![sample::normal(15, a), sample::normal(16, b)]));
        }
    }
    if let Some(op) = Matmul::default().with_activation(super::unary::activation::<super::unary::Relu>()) {
        let inputs = vec![sample::normal(17, [9, 300]), sample::normal(18, [300, 12]), sample::normal(19, [12])];
        cases.push(Case { name: "bias_relu".to_string(), op, inputs, differentiable: Vec::new() });
    }
    if let Some(op) = Matmul::default().with_activation(super::unary::activation::<super::unary::Tanh>()) {
        let inputs = vec![sample::normal(20, [9, 600]), sample::normal(21, [600, 7]), sample::normal(22, [7])];
        cases.push(Case { name: "split_bias_tanh".to_string(), op, inputs, differentiable: Vec::new() });
    }
    // One with an attribute, and one whose value needs many operations.
    let others = [super::unary::activation::<super::unary::LeakyRelu>(), super::unary::activation::<super::unary::Gelu>()];
    for (f, name) in others.into_iter().zip(["leaky_relu", "gelu"]) {
        let Some(op) = Matmul::default().with_activation(f) else { continue };
        let inputs = vec![sample::normal(23, [9, 30]), sample::normal(24, [30, 12])];
        cases.push(Case { name: name.to_string(), op, inputs, differentiable: Vec::new() });
    }
    let relu = super::unary::activation::<super::unary::Relu>();
    for (name, [m, n, k], bias) in
        [("residual", [40, 36, 20], false), ("bias_residual_odd", [33, 35, 18], true), ("split_bias_residual", [9, 12, 700], true)]
    {
        let Some(op) = Matmul::default().with_residual() else { continue };
        let bias = bias.then(|| sample::normal(36, [n]));
        let inputs: Vec<_> = [sample::normal(34, [m, k]), sample::normal(35, [k, n])]
            .into_iter()
            .chain(bias)
            .chain([sample::normal(37, [m, n])])
            .collect();
        cases.extend(op.with_activation(relu).map(|op| {
            let inputs = inputs.clone();
            Case { name: format!("{name}_relu"), op, inputs, differentiable: Vec::new() }
        }));
        cases.push(Case { name: name.to_string(), op, inputs, differentiable: Vec::new() });
    }
    cases
}
