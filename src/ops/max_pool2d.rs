//! Max pooling and its gradient.

use super::pool_window::{Pool, WORKGROUP, vector};
use crate::error::{Error, Result};
use crate::linalg::{Real, Vectorize, for_each_row, for_each_row_2, vectorized};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, MAX_ITERATIONS, Op, Oracle, Recorder, Source,
    Term, expect_inputs, moved_bytes, run_f64, sample, shader,
};
use crate::tensor::{DType, Padding, Tensor, TensorType, Window2d};

/// Order of floats by their bits, in WGSL.
pub(super) static ORDER: Source = shader!("shared/order");
static SHADER: Source = shader!("max_pool2d");
static GRAD_SHADER: Source = shader!("max_pool2d_grad");

/// Largest element of each window. Input `x [n, h_in, w_in, c]` f32; outputs `y [n, h_out, w_out, c]` f32 and `argmax` u32 of the
/// same shape: the index `h * w_in + w`, within its image, of the window's first largest element in row-major order.
///
/// Padding counts as -infinity and is never chosen. A NaN counts as larger than everything: the first one of a window is its `y`.
/// Only `y` is differentiable.
///
/// Fails for a window that [`Window2d::place`] refuses, for padding as large as the window, for a window without any element, and
/// for one of more than 32,768 elements.
#[derive(Clone, PartialEq, Debug)]
pub struct MaxPool2d {
    /// The window.
    pub window: Window2d,
}

/// Gradient of [`MaxPool2d`]: adds each element of `dy` to the input's element that its window chose. Inputs `argmax
/// [n, h_out, w_out, c]` u32 and `dy` f32 of the same shape; output `dx [n, h_in, w_in, c]`.
#[derive(Clone, PartialEq, Debug)]
pub struct MaxPool2dGrad {
    /// The window.
    pub window: Window2d,
    /// Height of the pooling's input.
    pub h_in: usize,
    /// Width of the pooling's input.
    pub w_in: usize,
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let [n, h_in, w_in, c] = inputs[0].shape.clone().checked("x")?.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        if pool.iterations() > MAX_ITERATIONS {
            return Err(Error::invalid(
                "kernel",
                format!("{:?} on {h_in} by {w_in}", self.window.kernel),
                format!("windows of at most {MAX_ITERATIONS} elements; pool twice with smaller ones"),
            ));
        }
        let y = TensorType::f32([n, pool.h.out, pool.w.out, c]);
        let shape = y.shape.clone().checked("output")?;
        Ok(vec![y, TensorType::u32(shape)])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let [_, h_in, w_in, _] = g.type_of(g.x(0)).shape.nhwc("x")?;
        let (argmax, dy) = (g.y(1), g.dy0()?);
        let dx = g.node(MaxPool2dGrad { window: self.window, h_in, w_in }, &[argmax, dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [_, h_in, w_in, c] = r.x(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let (width, _, bits) = vector(c);
        let n_vecs = r.y(0).elements() / width;
        r.dispatch(
            pool.kernel(&SHADER, &[&ORDER]).set("Bits", bits),
            &[Buffer::Input(0)],
            &[Buffer::Output(0), Buffer::Output(1)],
            &pool.params(n_vecs, c / width, false),
            r.linear_grid(n_vecs.div_ceil(WORKGROUP)),
        );
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let taps = (self.window.kernel[0] * self.window.kernel[1]) as u64;
        Cost { flops: outputs[0].elements() as u64 * taps, bytes: moved_bytes(inputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let [_, h_in, w_in, _] = d.input_type(0).shape.nhwc("x")?;
        let pool = Pool::place(&self.window, h_in, w_in)?;
        let node = pool.standard(d, "MaxPool", d.x(0), Some(f32::NEG_INFINITY), pool.pads())?;
        pool.pooled(d, node)
    }
}

impl Cpu for MaxPool2d {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_in, w_in, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let pool = Pool::placed(&self.window, h_in, w_in);
        let (x, y, argmax) = (args.x(0), args.y(0), args.y_u32(1));
        let row_len = pool.w.out * c;
        let (rows, columns) = (pool.h.all_elements(), pool.w.all_elements());
        for_each_row_2(y, row_len, argmax, row_len, |row, y, argmax| {
            let (image, h_out) = (row / pool.h.out, row % pool.h.out);
            let x = &x[image * h_in * w_in * c..][..h_in * w_in * c];
            vectorized(RowOfWindows { x, c, w_in, rows: &rows[h_out], columns: &columns, y, argmax });
        });
    }
}

/// The windows of a row of outputs, in an image `x` with rows of `w_in` pixels: which rows they have, and each one's columns.
struct RowOfWindows<'a, T> {
    x: &'a [T],
    c: usize,
    w_in: usize,
    rows: &'a [usize],
    columns: &'a [Vec<usize>],
    y: &'a mut [T],
    argmax: &'a mut [u32],
}

impl<T: Real> Vectorize for RowOfWindows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let RowOfWindows { x, c, w_in, rows, columns, y, argmax } = self;
        for ((y, argmax), columns) in y.chunks_exact_mut(c).zip(argmax.chunks_exact_mut(c)).zip(columns) {
            let places = rows.iter().flat_map(|&h| columns.iter().map(move |&w| h * w_in + w));
            for (i, at) in places.enumerate() {
                let x = &x[at * c..][..c];
                if i == 0 {
                    y.copy_from_slice(x);
                    argmax.fill(at as u32);
                    continue;
                }
                for ((y, argmax), &x) in y.iter_mut().zip(argmax.iter_mut()).zip(x) {
                    let larger = ((x > *y) | x.is_nan()) & !y.is_nan();
                    *y = if larger { x } else { *y };
                    *argmax = if larger { at as u32 } else { *argmax };
                }
            }
        }
    }
}

impl Op for MaxPool2dGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["argmax", "dy"])?;
        inputs[0].expect_dtype("argmax", DType::U32)?;
        let [n, h_out, w_out, c] = inputs[0].shape.clone().checked("argmax")?.nhwc("argmax")?;
        inputs[1].expect("dy", &TensorType::f32(inputs[0].shape.clone()))?;
        let pool = Pool::place(&self.window, self.h_in, self.w_in)?;
        pool.check_gather()?;
        if [pool.h.out, pool.w.out] != [h_out, w_out] {
            return Err(Error::invalid("dy", &inputs[1], format!("{} by {} pixels", pool.h.out, pool.w.out)));
        }
        let dx = TensorType::f32([n, self.h_in, self.w_in, c]);
        dx.shape.clone().checked("input of the pooling")?;
        Ok(vec![dx])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let pool = Pool::place(&self.window, self.h_in, self.w_in)?;
        let c = r.x(0).shape.last();
        let (width, real, index) = vector(c);
        let n_vecs = if pool.is_disjoint() { r.x(1) } else { r.y(0) }.elements() / width;
        // A rounding for each window that may add to an element.
        r.declare_depth(pool.most_windows());
        r.dispatch(
            pool.kernel(&GRAD_SHADER, &[]).set("Real", real).set("Index", index).set("DISJOINT", pool.is_disjoint()),
            &[Buffer::Input(0), Buffer::Input(1)],
            &[Buffer::Output(0)],
            &pool.params(n_vecs, c / width, false),
            r.linear_grid(n_vecs.div_ceil(WORKGROUP)),
        );
        Ok(())
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        b.sum_of_products(self)
    }
}

impl Cpu for MaxPool2dGrad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let c = args.x_shape(0).last();
        let pool = Pool::placed(&self.window, self.h_in, self.w_in);
        let (argmax, dy, dx) = (args.x_u32(0), args.x(1), args.y(0));
        let (rows, columns) = (pool.h.all_windows(), pool.w.all_windows());
        let image_len = pool.h.out * pool.w.out * c;
        for_each_row(dx, self.w_in * c, |row, dx| {
            let (image, h) = (row / self.h_in, row % self.h_in);
            let (argmax, dy) = (&argmax[image * image_len..][..image_len], &dy[image * image_len..][..image_len]);
            let first = (h * self.w_in) as u32;
            vectorized(RowOfPixels { argmax, dy, c, w_out: pool.w.out, rows: &rows[h], columns: &columns, first, dx });
        });
    }
}

/// The gradient by a row of pixels, of which the first has the index `first`: the rows of windows that reach it, in an image with
/// `w_out` windows a row, and each pixel's columns of windows.
struct RowOfPixels<'a, T> {
    argmax: &'a [u32],
    dy: &'a [T],
    c: usize,
    w_out: usize,
    rows: &'a [usize],
    columns: &'a [Vec<usize>],
    first: u32,
    dx: &'a mut [T],
}

impl<T: Real> Vectorize for RowOfPixels<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let RowOfPixels { argmax, dy, c, w_out, rows, columns, first, dx } = self;
        for ((dx, columns), pixel) in dx.chunks_exact_mut(c).zip(columns).zip(first..) {
            dx.fill(T::ZERO);
            for &h in rows {
                for &w in columns {
                    let at = (h * w_out + w) * c;
                    let window = argmax[at..][..c].iter().zip(&dy[at..][..c]);
                    for (dx, (&argmax, &dy)) in dx.iter_mut().zip(window) {
                        *dx += if argmax == pixel { dy } else { T::ZERO };
                    }
                }
            }
        }
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "max_pool2d", no_gradient: None, shaders: &[&SHADER], cases },
    Declaration {
        name: "max_pool2d_grad",
        no_gradient: Some("gradient op: second derivatives are not needed for training"),
        shaders: &[&GRAD_SHADER],
        cases: grad_cases,
    },
];

/// Windows with the input shapes that pooling is tested on, with a name each.
pub(super) fn windows(seed: u64) -> Vec<(&'static str, Window2d, [usize; 4])> {
    let square = |k: usize, s: usize| Window2d { stride: [s, s], ..Window2d::new([k, k]) };
    let mut s = crate::random::Stream::new(crate::random::Seed(seed), 0);
    let mut pick = |least: u32, most: u32| (least + s.below(most - least + 1)) as usize;
    let kernel = [pick(2, 4), pick(1, 5)];
    let random = Window2d {
        kernel,
        stride: [pick(1, 3), pick(1, 4)],
        dilation: [pick(1, 2), 1],
        padding: Padding::Explicit { top: pick(0, 1), bottom: 0, left: 0, right: pick(0, kernel[1] as u32 - 1) },
        ceil: pick(0, 1) == 1,
    };
    let random_shape = [pick(1, 3), pick(7, 12), pick(7, 12), pick(1, 9)];
    vec![
        ("one_pixel", square(1, 1), [1, 1, 1, 1]),
        ("halves", square(2, 2), [2, 6, 8, 4]),
        ("odd_ceil", Window2d { ceil: true, ..square(2, 2) }, [1, 7, 5, 3]),
        ("overlap_many_workgroups", Window2d { padding: Padding::all(1), ..square(3, 2) }, [2, 17, 19, 8]),
        ("overlap_scalar", Window2d { padding: Padding::Same, ..square(3, 1) }, [1, 9, 6, 5]),
        ("same_stride_2", Window2d { padding: Padding::Same, ..square(3, 2) }, [1, 8, 8, 1]),
        ("stride_over_kernel", square(2, 3), [1, 10, 8, 3]),
        ("global", square(6, 6), [3, 6, 6, 4]),
        (
            "asymmetric_dilated_ceil",
            Window2d {
                kernel: [3, 2],
                stride: [2, 3],
                dilation: [2, 1],
                padding: Padding::Explicit { top: 2, bottom: 1, left: 0, right: 1 },
                ceil: true,
            },
            [2, 9, 7, 5],
        ),
        ("random", random, random_shape),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = windows(40)
        .into_iter()
        .enumerate()
        .map(|(i, (name, window, shape))| Case::new(name, MaxPool2d { window }, vec![sample::distinct(i as u64, shape)]))
        .collect();
    let op = || MaxPool2d { window: Window2d { padding: Padding::all(1), stride: [2, 2], ..Window2d::new([3, 3]) } };
    cases.push(Case::new("ties", op(), vec![sample::integers(50, [1, 8, 9, 4], 1)]).differentiable_by(&[]));
    cases.push(Case::new("signed_zeros_and_nan", op(), vec![special([1, 7, 7, 4])]).differentiable_by(&[]));
    cases.push(Case::new("signed_zeros_and_nan_scalar", op(), vec![special([2, 5, 4, 3])]).differentiable_by(&[]));
    cases
}

/// Zeros of both signs, infinities and NaN among negative numbers.
fn special(shape: [usize; 4]) -> Tensor {
    let values = [-1.0, -0.0, 0.0, -2.0, f32::NAN, f32::NEG_INFINITY, -3.0, f32::INFINITY, -f32::NAN, -1.0];
    let mut s = crate::random::Stream::new(crate::random::Seed(51), 0);
    let data = (0..shape.iter().product()).map(|_| values[s.below(values.len() as u32) as usize]).collect();
    Tensor::f32(shape, data).unwrap_or_else(|_| unreachable!("made to fit"))
}

fn grad_cases() -> Vec<Case> {
    let case = |name: &str, window: Window2d, x: Tensor, seed: u64, dy: fn(u64, [usize; 4]) -> Tensor| {
        let types = [x.tensor_type()];
        let outputs = run_f64(&MaxPool2d { window }, &types, &[Oracle::from_tensor(&x).view()]);
        let (Ok(types), Ok(outputs)) = (MaxPool2d { window }.infer(&types), outputs) else {
            unreachable!("a case of max_pool2d")
        };
        let Ok(shape) = <[usize; 4]>::try_from(types[0].shape.dims()) else { unreachable!("pooling has 4 dimensions") };
        let Oracle::U32(argmax) = outputs[1].clone() else { unreachable!("argmax is u32") };
        let argmax = Tensor::u32(shape, argmax).unwrap_or_else(|_| unreachable!("made to fit"));
        let &[_, h_in, w_in, _] = x.shape().dims() else { unreachable!("pooling has 4 dimensions") };
        Case::new(name, MaxPool2dGrad { window, h_in, w_in }, vec![argmax, dy(seed, shape)])
    };
    let mut cases = Vec::new();
    for (i, (name, window, shape)) in windows(41).into_iter().enumerate() {
        let x = sample::normal(60 + i as u64, shape);
        let dy = if i % 2 == 0 { |s, d| sample::normal(s, d) } else { |s, d| sample::positive(s, d) };
        cases.push(case(name, window, x, 80 + i as u64, dy));
    }
    let wide = Window2d { padding: Padding::Same, ..Window2d::new([5, 5]) };
    cases.push(case("integers", wide, sample::integers(70, [1, 8, 8, 4], 9), 71, |s, d| sample::integers(s, d, 50)));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(op: &dyn Op, x: &Tensor) -> Vec<Oracle> {
        run_f64(op, &[x.tensor_type()], &[Oracle::from_tensor(x).view()]).unwrap()
    }

    /// The worked example of the teaching slides.
    #[test]
    fn two_by_two() {
        let x = Tensor::f32([1, 4, 4, 1], [3, 13, 17, 11, 5, 3, 1, 23, 7, 1, 2, 3, 11, 17, 1, 4].map(|v| v as f32).to_vec());
        let y = run(&MaxPool2d { window: Window2d { stride: [2, 2], ..Window2d::new([2, 2]) } }, &x.unwrap());
        assert_eq!(y, [Oracle::Real(vec![13.0, 23.0, 17.0, 4.0]), Oracle::U32(vec![1, 7, 13, 15])]);
    }

    #[test]
    fn first_maximum_first_nan_and_no_padding() {
        let x = Tensor::f32([1, 1, 6, 1], vec![-0.0, 0.0, f32::NAN, -f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY]).unwrap();
        let op = MaxPool2d { window: Window2d { stride: [1, 2], ..Window2d::new([1, 2]) } };
        let y = run(&op, &x);
        assert_eq!(y[1], Oracle::U32(vec![0, 2, 4]));
        assert!(y[0].real()[1].is_nan());
        let padded = MaxPool2d { window: Window2d { padding: Padding::all(1), ..Window2d::new([2, 2]) } };
        let y = run(&padded, &Tensor::f32([1, 1, 1, 1], vec![-5.0]).unwrap());
        assert_eq!(y, [Oracle::Real(vec![-5.0; 4]), Oracle::U32(vec![0; 4])]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        let infer = |window: Window2d, ty: TensorType| MaxPool2d { window }.infer(&[ty]).unwrap_err().to_string();
        let two = Window2d::new([2, 2]);
        assert!(infer(two, TensorType::f32([2, 2])).contains("4 dimensions"));
        assert!(infer(two, TensorType::u32([1, 2, 2, 1])).contains("f32"));
        assert!(infer(Window2d { padding: Padding::all(2), ..two }, TensorType::f32([1, 4, 4, 1])).contains("padding"));
        assert!(infer(Window2d::new([200, 200]), TensorType::f32([1, 200, 200, 1])).contains("32768"));
        assert!(MaxPool2d { window: two }.infer(&[]).is_err());
        let grad = MaxPool2dGrad { window: two, h_in: 4, w_in: 4 };
        let (argmax, dy) = (TensorType::u32([1, 2, 2, 1]), TensorType::f32([1, 2, 2, 1]));
        assert!(grad.infer(&[argmax, dy]).unwrap_err().to_string().contains("3 by 3"));
    }
}
