//! Picks rows out of a tensor: a batch out of a data set that lies on the device, whose bytes it makes numbers of, or vectors out of a
//! table that is trained.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_chunk_with, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, GRID, Gradient, INT64, Interchange, Kernel, Op, Recorder, Source,
    StandardNode, TINY, Term, View, expect_inputs, gamma, moved_bytes, no_counterpart, sample, shader,
};
use crate::ops::elements::{Elements, QUOTIENT};
use crate::ops::gemm::{self, Epilogue};
use crate::ops::scale::Scale;
use crate::tensor::{DType, Shape, Tensor, TensorType};

static GATHER_ROWS: Source = shader!("gather_rows");
static GRAD_SHADER: Source = shader!("gather_rows_grad");
/// Numbers of rows in WGSL.
pub(super) static ROW_NUMBER: Source = shader!("shared/row_number");

/// `y[i, ..] = data[indices[i], ..] * scale + offset`: data `[rows, ..]` of u8 or f32 and indices, `[n]` of u32 or whole numbers in f32, to f32
/// `[n, ..]`. u32 data (labels) stay u32 and as they are. A row that doesn't exist is NaN, or `u32::MAX`. Differentiable by f32 data.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GatherRows {
    /// Factor, finite; 1 for u32 data.
    pub scale: f32,
    /// What is added, finite; 0 for u32 data.
    pub offset: f32,
}

impl Default for GatherRows {
    /// Rows as they are.
    fn default() -> Self {
        GatherRows { scale: 1.0, offset: 0.0 }
    }
}

impl GatherRows {
    fn keeps(&self) -> bool {
        *self == GatherRows::default()
    }
}

/// Fails for what can't be numbers of rows; their number.
fn check_indices(indices: &TensorType) -> Result<usize> {
    if indices.dtype == DType::U8 {
        return Err(Error::invalid("indices type", indices.dtype, "u32, or whole numbers in f32"));
    }
    let &[n] = indices.shape.dims() else {
        return Err(Error::invalid("indices", indices, "1 dimension [n]"));
    };
    Ok(n)
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["data", "indices"])?;
        let (data, indices) = (&inputs[0], &inputs[1]);
        let n = check_indices(indices)?;
        let Some((_, row)) = data.shape.dims().split_first() else {
            return Err(Error::invalid("data", data, "a first dimension, of rows"));
        };
        if !(self.scale.is_finite() && self.offset.is_finite()) {
            return Err(Error::invalid("scale and offset", format!("{} and {}", self.scale, self.offset), "finite numbers"));
        }
        if data.dtype == DType::U32 && !self.keeps() {
            return Err(Error::invalid("scale and offset", format!("{} and {}", self.scale, self.offset), "1 and 0 for u32 data"));
        }
        let dtype = if data.dtype == DType::U32 { DType::U32 } else { DType::F32 };
        let shape = Shape::from(row).with_batch(n).checked("rows to gather")?;
        Ok(vec![TensorType { dtype, shape }])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        if !g.wants(0) {
            return Ok(());
        }
        let (rows, indices) = (g.type_of(g.x(0)).shape.dims()[0], g.x(1));
        let mut dy = g.dy0()?;
        if self.scale != 1.0 {
            dy = g.node(Scale { factor: self.scale }, &[dy])?;
        }
        let dx = g.node(GatherRowsGrad { rows, from_end: false }, &[indices, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let (data, n) = (r.x(0), r.y(0).elements());
        let n_rows = data.shape.dims()[0];
        let kind = match data.dtype {
            DType::U8 => 0u32,
            DType::F32 if !self.keeps() => 1,
            DType::F32 | DType::U32 => 2,
        };
        let missing = if data.dtype == DType::U32 { u32::MAX } else { f32::NAN.to_bits() };
        let params = [
            ("n", n.into()),
            ("row_len", (data.elements() / n_rows).into()),
            ("n_rows", n_rows.into()),
            ("missing", missing.into()),
            ("scale", self.scale.into()),
            ("offset", self.offset.into()),
        ];
        let kernel = Kernel::new(&GATHER_ROWS, &[&GRID, &ROW_NUMBER]).set("DATA", kind).set("FLOATS", r.x(1).dtype == DType::F32);
        let grid = r.linear_grid(n.div_ceil(256));
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[Buffer::Output(0)], &params, grid);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        // The rows that are read, not the whole data set.
        let y = &outputs[0];
        let read = y.elements() * inputs[0].dtype.bytes() + inputs[1].bytes();
        Cost { flops: if self.keeps() { 0 } else { 2 * y.elements() as u64 }, bytes: (read + y.bytes()) as u64 }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        if self.keeps() {
            return Ok(b.exact());
        }
        // A product and a sum, one rounding each.
        let offset = f64::from(self.offset);
        Ok(b.each(|_, y| gamma(1) * (y.abs() + (y - offset).abs()) + TINY))
    }

    /// The standard knows no rows that don't exist: engines refuse their numbers.
    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        if d.input_type(0).dtype != DType::F32 {
            return Err(no_counterpart("gather_rows of other data than f32"));
        }
        let numbers = d.same(StandardNode::free("Cast", &[d.x(1)]).int("to", INT64));
        let shape = d.output_type(0).shape.clone();
        let gather = match d.input_type(0).shape.rank() {
            2 => StandardNode::rows("Gather", [d.x(0), numbers]),
            _ => StandardNode::fixed("Gather", &[d.x(0), numbers]),
        };
        let mut y = d.add(gather.int("axis", 0), shape);
        for (op_type, number, nothing) in [("Mul", self.scale, 1.0), ("Add", self.offset, 0.0)] {
            if number != nothing {
                let number = d.number(number);
                y = d.same(StandardNode::free(op_type, &[y, number]));
            }
        }
        Ok(vec![y])
    }
}

/// Rows as numbers, `usize::MAX` or what else is no row's for what is none. u32 numbers from 2^31 on are negative ones that count from the end of
/// `from_end` rows, if that is given.
pub(super) fn row_numbers<T: Real>(indices: View<'_, T>, from_end: Option<usize>) -> Vec<usize> {
    let whole = |v: f64| if v >= 0.0 && v.fract() == 0.0 && v < f64::from(u32::MAX) { v as usize } else { usize::MAX };
    match indices {
        View::U32(indices) => {
            let row = |row: u32| match from_end {
                Some(n) if row >= 1 << 31 => row.wrapping_add(n as u32),
                _ => row,
            };
            indices.iter().map(|&index| row(index) as usize).collect()
        }
        View::Real(indices) => indices.iter().map(|v| whole(v.to_f64())).collect(),
        View::U8(_) => unreachable!("infer checks the type of the indices"),
    }
}

/// Calls `f(row, row of data)` for each row of `y`; `missing` fills those whose index is none.
fn gather<A: Copy + Sync, B: Copy + Send + Sync>(y: &mut [B], data: &[A], indices: &[usize], missing: B, f: impl Fn(A) -> B + Sync) {
    let row_len = y.len() / indices.len();
    let n_rows = data.len() / row_len;
    for_each_row(y, row_len, |i, y| {
        let row = indices[i];
        if row >= n_rows {
            y.fill(missing);
            return;
        }
        for (y, &x) in y.iter_mut().zip(&data[row * row_len..]) {
            *y = f(x);
        }
    });
}

impl Cpu for GatherRows {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (scale, offset) = (T::from_f32(self.scale), T::from_f32(self.offset));
        let (nan, indices) = (T::from_f32(f32::NAN), row_numbers(args.view(1), None));
        let indices = &indices;
        match args.view(0) {
            View::U8(data) => gather(args.y(0), data, indices, nan, |x| T::from_f32(f32::from(x)) * scale + offset),
            View::Real(data) if self.keeps() => gather(args.y(0), data, indices, nan, |x| x),
            View::Real(data) => gather(args.y(0), data, indices, nan, |x| x * scale + offset),
            View::U32(data) => gather(args.y_u32(0), data, indices, u32::MAX, |x| x),
        }
    }
}

/// Gradient of [`GatherRows`] by its data, and of `Gather` by the first axis: adds up the rows of `dy` that a row went to. Inputs `indices` `[n]` of u32 or whole numbers in f32
/// and `dy` f32 `[n, ..]`, output f32 `[rows, ..]`. A number that is no row's is left out.
///
/// A device takes `rows * n` comparisons for each four columns: meant for tables of thousands of rows rather than millions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GatherRowsGrad {
    /// Rows of the data.
    pub rows: usize,
    /// Whether u32 indices from 2^31 on are negative ones, which count from the end, as of [`Gather`](super::gather::Gather).
    pub from_end: bool,
}

/// Indices that an invocation of the gradient's kernel looks at.
const BLOCK: usize = 4096;

impl Op for GatherRowsGrad {
    fn name(&self) -> &'static str {
        "gather_rows_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["indices", "dy"])?;
        let n = check_indices(&inputs[0])?;
        inputs[1].expect_dtype("dy", DType::F32)?;
        let Some((&rows, row)) = inputs[1].shape.dims().split_first() else {
            return Err(Error::invalid("dy", &inputs[1], "a first dimension, of rows"));
        };
        if rows != n {
            return Err(Error::invalid("dy", &inputs[1], format!("a row for each of the {n} indices")));
        }
        let shape = Shape::from(row).with_batch(self.rows).checked("data")?;
        shape.clone().with_batch(n.div_ceil(BLOCK)).checked("sums of the blocks of indices")?;
        Ok(vec![TensorType::f32(shape)])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let n = r.x(0).elements();
        let row_len = r.y(0).elements() / self.rows;
        let n_blocks = n.div_ceil(BLOCK);
        let e = Elements::aligned(n_blocks * self.rows * row_len, row_len);
        let params = [
            ("n", e.n()),
            ("row_len", e.count(row_len).into()),
            ("n_rows", self.rows.into()),
            ("n_indices", n.into()),
            ("block", BLOCK.into()),
        ];
        let target = if n_blocks > 1 { r.temp(TensorType::f32([n_blocks, self.rows, row_len])) } else { Buffer::Output(0) };
        let kernel = e.kernel(&GRAD_SHADER, &[&QUOTIENT, &ROW_NUMBER]).set("FLOATS", r.x(0).dtype == DType::F32).set("FROM_END", self.from_end);
        let grid = e.grid(r);
        r.dispatch(kernel, &[Buffer::Input(0), Buffer::Input(1)], &[target], &params, grid);
        let mut depth = n.min(BLOCK);
        if n_blocks > 1 {
            depth += gemm::combine(r, target, n_blocks, [self.rows, row_len], Epilogue::default(), Buffer::Output(0));
        }
        r.declare_depth(depth);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: inputs[1].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }
}

impl Cpu for GatherRowsGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let (indices, dy, dx) = (row_numbers(args.view(0), self.from_end.then_some(self.rows)), args.x(1), args.y(0));
        let row_len = dx.len() / self.rows;
        // Each piece looks at all indices, so there are few.
        let piece_rows = self.rows.div_ceil(16);
        for_each_chunk_with(dx, piece_rows * row_len, || (), |(), piece, dx| {
            dx.fill(T::ZERO);
            let first = piece * piece_rows;
            for (&row, dy) in indices.iter().zip(dy.chunks_exact(row_len)) {
                if let Some(dx) = row.checked_sub(first).and_then(|row| dx.chunks_exact_mut(row_len).nth(row)) {
                    dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
                }
            }
        });
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "gather_rows", no_gradient: None, shaders: &[&GATHER_ROWS], cases },
    Declaration {
        name: "gather_rows_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

fn cases() -> Vec<Case> {
    let scaled = GatherRows { scale: 1.0 / 255.0, offset: -0.5 };
    let bytes = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Tensor::u8(shape, (0..n).map(|i| (i * 37 % 256) as u8).collect()).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let words = |values: &[u32]| Tensor::u32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    let floats = |values: &[f32]| Tensor::f32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    vec![
        Case::new("one", GatherRows::default(), vec![bytes(&[1, 1]), words(&[0])]),
        Case::new("bytes", scaled, vec![bytes(&[9, 7, 5, 3]), sample::indices(1, 12, 9)]),
        Case::new("bytes_as_they_are", GatherRows::default(), vec![bytes(&[5, 28]), sample::indices(2, 7, 5)]),
        Case::new("missing_rows", scaled, vec![bytes(&[3, 3]), words(&[2, 3, 0, u32::MAX, 1])]),
        Case::new("floats", scaled, vec![sample::normal(3, [6, 11, 5]), sample::indices(4, 9, 6)]),
        Case::new("floats_as_they_are", GatherRows::default(), vec![sample::normal(5, [6, 11]), words(&[5, 6, 5])]).differentiable_by(&[]),
        Case::new("table", GatherRows::default(), vec![sample::normal(9, [7, 12]), sample::indices(10, 20, 7)]),
        Case::new("table_by_floats", GatherRows::default(), vec![sample::normal(11, [5, 3]), floats(&[4.0, 0.0, 4.0, -0.0, 1.0])])
            .differentiable_by(&[0]),
        Case::new("missing_floats", GatherRows::default(), vec![sample::normal(12, [5, 4]), floats(&NO_ROWS)]).differentiable_by(&[]),
        Case::new("labels", GatherRows::default(), vec![sample::indices(6, 50, 10), sample::indices(7, 300, 50)]),
        Case::new("missing_labels", GatherRows::default(), vec![sample::indices(8, 5, 10), words(&[4, 5, 1 << 31])]),
    ]
}

/// Numbers, of which the first two are rows of five.
const NO_ROWS: [f32; 10] = [3.0, 4.0, 5.0, -1.0, 0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 4e9, 1e30];

fn grad_cases() -> Vec<Case> {
    let floats = |values: &[f32]| Tensor::f32([values.len()], values.to_vec()).unwrap_or_else(|_| unreachable!("made to fit"));
    let case =
        |name: &str, rows: usize, indices: Tensor, dy: Tensor| Case::new(name, GatherRowsGrad { rows, from_end: false }, vec![indices, dy]);
    vec![
        case("one", 1, sample::indices(1, 1, 1), sample::normal(2, [1, 1])),
        case("table", 7, sample::indices(3, 20, 7), sample::normal(4, [20, 12])),
        case("odd_width", 11, sample::indices(5, 40, 11), sample::normal(6, [40, 3, 3])),
        Case::new(
            "from_the_end",
            GatherRowsGrad { rows: 5, from_end: true },
            vec![Tensor::u32([5], [1, -1, -5, -6, -1].map(|v: i32| v as u32).to_vec()).unwrap_or_else(|_| unreachable!("made to fit")), sample::normal(17, [5, 4])],
        ),
        case("unused_rows", 50, sample::indices(7, 9, 20), sample::normal(8, [9, 4])),
        case("by_floats", 5, floats(&[4.0, 0.0, 4.0, -0.0, 1.0]), sample::normal(9, [5, 8])),
        case("missing_rows", 5, floats(&NO_ROWS), sample::normal(10, [10, 4])),
        case("two_blocks", 3, sample::indices(11, 5000, 3), sample::positive(12, [5000, 4])),
        case("scalars", 9, sample::indices(13, 30, 9), sample::normal(14, [30])),
        case("integers", 4, sample::indices(15, 300, 4), sample::integers(16, [300, 5], 100)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Oracle;
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn missing_rows_are_marked() {
        let all = cases();
        let y = |name: &str| check::outputs(all.iter().find(|c| c.name == name).unwrap()).remove(0);
        let rows = y("missing_rows");
        let nan: Vec<_> = rows.real().iter().map(|y| y.is_nan()).collect();
        assert_eq!(nan, [[false; 3], [true; 3], [false; 3], [true; 3], [false; 3]].concat());
        // Byte 1 of row 2 is element 7: 7 * 37 % 256 = 3.
        assert!((rows.real()[1] - (3.0 / 255.0 - 0.5)).abs() < 1e-7);
        let Oracle::U32(labels) = y("missing_labels") else { panic!("labels are u32") };
        assert!(labels[0] < 10 && labels[1..] == [u32::MAX; 2]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let (data, indices) = (TensorType::new(DType::U8, [5, 3]), TensorType::u32([2]));
        let scaled = GatherRows { scale: 0.5, offset: 0.0 };
        assert_eq!(scaled.infer(&[data.clone(), indices.clone()]).unwrap(), [TensorType::f32([2, 3])]);
        assert!(scaled.infer(&[TensorType::u32([5]), indices.clone()]).is_err());
        assert!(scaled.infer(&[data.clone(), TensorType::u32([2, 1])]).is_err());
        assert!(scaled.infer(&[data.clone(), TensorType::new(DType::U8, [2])]).is_err());
        let grad = |indices, dy: &[usize]| GatherRowsGrad { rows: 4, from_end: false }.infer(&[indices, TensorType::f32(dy)]);
        assert_eq!(grad(TensorType::f32([2]), &[2, 3]).unwrap(), [TensorType::f32([4, 3])]);
        assert!(grad(indices.clone(), &[3, 3]).is_err() && grad(indices.clone(), &[]).is_err());
        assert!(grad(TensorType::new(DType::U8, [2]), &[2, 3]).is_err() && grad(TensorType::u32([2, 1]), &[2, 3]).is_err());
        assert!(GatherRowsGrad { rows: 0, from_end: false }.infer(&[indices.clone(), TensorType::f32([2])]).is_err());
        assert!(scaled.infer(&[TensorType::new(DType::U8, []), indices.clone()]).is_err());
        assert!(GatherRows { scale: f32::NAN, offset: 0.0 }.infer(&[data, indices.clone()]).is_err());
        let large = [TensorType::new(DType::U8, [2, 1 << 30]), TensorType::u32([4])];
        assert!(scaled.infer(&large).is_err());
    }
}
