//! Pictures changed at random: moved, turned and cut, in other colours, with noise. What is random is drawn on the host and comes as numbers, a few a
//! picture; the pixels are made in one pass.

use crate::error::{Error, Result};
use crate::linalg::{Real, for_each_row};
use crate::op::{
    Bound, Buffer, Case, Cost, Cpu, CpuArgs, Declaration, FINITE, GRID, Kernel, Op, Oracle, RANDOM, Recorder, Source, TINY, Word, expect_inputs,
    gamma, moved_bytes, sample, shader,
};
use crate::ops::elements::QUOTIENT;
use crate::random::{Seed, Stream, pcg4d};
use crate::tensor::{DType, Shape, Tensor, TensorType};

static SHADER: Source = shader!("augment");

/// Whole numbers of a picture among `places`: see [`Augment`].
pub const PLACES: usize = 12;

/// A pixel's length in the whole numbers of places.
pub const PIXEL: i32 = 1 << 16;

/// Half of the largest sum of noise, which is its mean: eight numbers of 16 bits.
const NOISE_MEAN: i32 = 262_140;

/// Factor that gives the sum of eight numbers of 16 bits deviation 1: `sqrt(12 / (8 (2^32 - 1)))`, the same f32 as in the shader.
const NOISE_SCALE: f32 = 0.000_018_688_124;

/// What lies beyond the edge of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Border {
    /// The op's fill (Keras's `constant`, PyTorch's `zeros`).
    Fill,
    /// The pixels of the edge (`nearest`, `border`).
    Edge,
    /// The picture mirrored at its edge, the pixels of the edge twice: `d c b a | a b c d | d c b a` (Keras's `reflect`, its default).
    #[default]
    Mirror,
    /// The picture again (`wrap`).
    Wrap,
}

/// Pictures x `[n, h, w, c]`, f32, to y `[n, size, c]`: `y = clip(colour(x at (i, j)) + sigma z)`.
///
/// Inputs besides x:
/// - `places`, u32 `[n, 12]` ([`PLACES`]), i32 in two's complement, 65,536 ([`PIXEL`]) a pixel of x: six numbers a, of which `(i, j) = (a0 h + a1 w + a2, a3 h + a4 w + a5)`
///   is where pixel `(h, w)` of y lies on x, centres of pixels being whole; it is the mean of the four pixels around it, weighted by nearness. Then
///   top, bottom, left and right of a rectangle of y, in pixels, ends not included, which becomes `fill`. Then two words that the noise of this
///   picture is made from.
/// - `numbers`, f32 `[n, 3]`: sigma, a factor and a summand for all colours. Where c is 3 they may be `[n, 13]`: sigma, and the rows of an affine map of the
///   three colours, a factor for each and a summand.
///
/// z is noise of mean 0 and deviation 1, a number for each element: the sum of eight uniform numbers of 16 bits, within 4.9 deviations, of kurtosis 2.85 (a
/// normal one has 3). What is random is a function of the two words and the element alone.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Augment {
    /// Height and width of y.
    pub size: [usize; 2],
    /// What lies beyond the edges of x.
    pub border: Border,
    /// The value of what is cut out, and beyond the edges with [`Border::Fill`].
    pub fill: f32,
    /// Least and largest value of y, but for `fill`.
    pub range: [f32; 2],
}

/// Where an element of y lies on x: rows and columns of the neighbours, none for fill, and how far it is from the first to the second.
struct Place {
    rows: [Option<usize>; 2],
    columns: [Option<usize>; 2],
    h: f32,
    w: f32,
}

impl Border {
    fn inside(self, i: i32, len: usize) -> Option<usize> {
        let n = len as i32;
        let at = match self {
            Border::Fill => return (0..n).contains(&i).then_some(i as usize),
            Border::Edge => i.clamp(0, n - 1),
            Border::Mirror => {
                let at = i.rem_euclid(2 * n);
                at.min(2 * n - 1 - at)
            }
            Border::Wrap => i.rem_euclid(n),
        };
        Some(at as usize)
    }
}

impl Augment {
    fn place(&self, a: &[u32], [h, w]: [usize; 2], [h_in, w_in]: [usize; 2]) -> Place {
        let (h, w) = (h as u32, w as u32);
        let at = |a: &[u32]| a[0].wrapping_mul(h).wrapping_add(a[1].wrapping_mul(w)).wrapping_add(a[2]) as i32;
        let (i, j) = (at(a), at(&a[3..]));
        let pair = |at: i32, len: usize| [at >> 16, (at >> 16) + 1].map(|at| self.border.inside(at, len));
        let part = |at: i32| (at & (PIXEL - 1)) as f32 / PIXEL as f32;
        Place { rows: pair(i, h_in), columns: pair(j, w_in), h: part(i), w: part(j) }
    }

    /// The outputs, or with `absolute` the sums of the absolute values of all that is added up in one of them.
    fn apply<T: Real>(&self, x: &[T], [h_in, w_in, c]: [usize; 3], places: &[u32], numbers: &[T], y: &mut [T], absolute: bool) {
        let [h_out, w_out] = self.size;
        let per_image = if places.is_empty() { 0 } else { numbers.len() / (places.len() / PLACES) };
        let sign = |v: T| if absolute { v.abs() } else { v };
        let (fill, low, high) = (T::from_f32(self.fill), T::from_f32(self.range[0]), T::from_f32(self.range[1]));
        for_each_row(y, w_out * c, |row, y| {
            let (image, h) = (row / h_out, row % h_out);
            let place = &places[image * PLACES..][..PLACES];
            let numbers = &numbers[image * per_image..][..per_image];
            let x = &x[image * h_in * w_in * c..][..h_in * w_in * c];
            let [top, bottom, left, right] = [6, 7, 8, 9].map(|i| place[i] as usize);
            let sigma = sign(numbers[0]);
            for (w, y) in y.chunks_exact_mut(c).enumerate() {
                if (top..bottom).contains(&h) && (left..right).contains(&w) {
                    y.fill(sign(fill));
                    continue;
                }
                let at = self.place(place, [h, w], [h_in, w_in]);
                let (h_share, w_share) = (T::from_f32(at.h), T::from_f32(at.w));
                let value = |row: usize, column: usize, channel: usize| match (at.rows[row], at.columns[column]) {
                    (Some(row), Some(column)) => sign(x[(row * w_in + column) * c + channel]),
                    _ => sign(fill),
                };
                let between = |row: usize, channel: usize| {
                    let left = value(row, 0, channel);
                    if at.w == 0.0 { left } else { (T::ONE - w_share) * left + w_share * value(row, 1, channel) }
                };
                let sampled = |channel: usize| {
                    let upper = between(0, channel);
                    if at.h == 0.0 { upper } else { (T::ONE - h_share) * upper + h_share * between(1, channel) }
                };
                let colour = if per_image == 3 { [T::ZERO; 3] } else { [0, 1, 2].map(sampled) };
                for (channel, y) in y.iter_mut().enumerate() {
                    let mut v = match numbers {
                        [_, factor, summand] => sign(*factor) * sampled(channel) + sign(*summand),
                        _ => {
                            let m = &numbers[1 + 4 * channel..][..4];
                            sign(m[0]) * colour[0] + sign(m[1]) * colour[1] + sign(m[2]) * colour[2] + sign(m[3])
                        }
                    };
                    if sigma != T::ZERO {
                        let element = (h * w_out + w) * c + channel;
                        v += sigma * sign(noise(element as u32, [place[10], place[11]]));
                    }
                    *y = match v {
                        _ if absolute => v,
                        _ if v <= low => low,
                        _ if v >= high => high,
                        _ => v,
                    };
                }
            }
        });
    }
}

/// A number of mean 0 and deviation 1.
fn noise<T: Real>(element: u32, key: [u32; 2]) -> T {
    let sum: u32 = pcg4d([element, key[0], key[1], 0]).iter().map(|word| (word & 0xffff) + (word >> 16)).sum();
    T::from_f64(f64::from(sum as i32 - NOISE_MEAN)) * T::from_f32(NOISE_SCALE)
}

impl Op for Augment {
    fn name(&self) -> &'static str {
        "augment"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x", "places", "numbers"])?;
        inputs[0].expect_dtype("x", DType::F32)?;
        let [n, _, _, c] = inputs[0].shape.clone().checked("x")?.nhwc("x")?;
        inputs[1].expect("places", &TensorType::u32([n, PLACES]))?;
        if c != 3 || inputs[2].shape != Shape::from([n, 13]) {
            inputs[2].expect("numbers", &TensorType::f32([n, 3]))?;
        }
        inputs[2].expect_dtype("numbers", DType::F32)?;
        let [low, high] = self.range;
        if !(low <= high && low.is_finite() && high.is_finite() && self.fill.is_finite()) {
            let got = format!("{low} to {high}, fill {}", self.fill);
            return Err(Error::invalid("range and fill", got, "finite numbers, the larger one last"));
        }
        let y = TensorType::f32([n, self.size[0], self.size[1], c]);
        y.shape.clone().checked("size of the pictures")?;
        Ok(vec![y])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let [_, h_in, w_in, c] = r.x(0).shape.nhwc("x")?;
        let pixels = r.y(0).elements() / c;
        let params = [
            ("n", pixels.into()),
            ("h_in", Word::I32(h_in as i32)),
            ("w_in", Word::I32(w_in as i32)),
            ("h_out", self.size[0].into()),
            ("w_out", self.size[1].into()),
            ("c", c.into()),
            ("fill", self.fill.into()),
            ("low", self.range[0].into()),
            ("high", self.range[1].into()),
        ];
        let kernel = Kernel::new(&SHADER, &[&GRID, &QUOTIENT, &RANDOM, &FINITE])
            .set("BORDER", self.border as u32)
            .set("COLOURS", r.x(2).shape.last() == 13);
        let grid = r.linear_grid(pixels.div_ceil(256));
        r.dispatch(kernel, &[0, 1, 2].map(Buffer::Input), &[Buffer::Output(0)], &params, grid);
        // Two products and sums for the place; a product and three sums for the colour; the noise's sum.
        r.declare_depth(4 + 4 + 1);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        let colours = if inputs[2].shape.last() == 13 { 6 } else { 2 };
        Cost { flops: (9 + colours) * outputs[0].elements() as u64, bytes: moved_bytes(inputs, outputs) }
    }

    fn error_bound(&self, b: &Bound<'_>) -> Result<Vec<Vec<f64>>> {
        let Oracle::U32(places) = &b.inputs[1] else { unreachable!("infer accepts only u32") };
        let [_, h_in, w_in, c] = b.types[0].shape.nhwc("x")?;
        let mut sums = vec![0.0; b.outputs[0].real().len()];
        self.apply(b.inputs[0].real(), [h_in, w_in, c], places, b.inputs[2].real(), &mut sums, true);
        // Clipping brings values no further apart.
        Ok(b.each(|i, _| gamma(b.depth) * sums[i] + TINY))
    }
}

impl Cpu for Augment {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let &[_, h_in, w_in, c] = args.x_shape(0).dims() else { unreachable!("infer checks the rank") };
        let (x, places, numbers) = (args.x(0), args.x_u32(1), args.x(2));
        self.apply(x, [h_in, w_in, c], places, numbers, args.y(0), false);
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "augment",
    no_gradient: Some("it changes pictures before anything that learns"),
    shaders: &[&SHADER],
    cases,
}];

fn cases() -> Vec<Case> {
    let whole = [-1000.0, 1000.0];
    // Turned, sheared and scaled by what is random.
    let places = |seed: u64, n: usize, h: usize, w: usize| {
        let mut random = Stream::new(Seed(seed), 0);
        let mut all = Vec::new();
        for _ in 0..n {
            let mut fixed = |least: f64, most: f64| ((least + (most - least) * random.uniform()) * f64::from(PIXEL)) as i32 as u32;
            all.extend([(0.3, 1.6), (-0.9, 0.9), (-3.0, 3.0), (-0.9, 0.9), (-1.5, 1.5), (-2.0, 5.0)].map(|(a, b)| fixed(a, b)));
            all.extend([random.below(h as u32), random.below(h as u32 + 3), random.below(w as u32), random.below(w as u32 + 3)]);
            all.extend([random.next_u32(), random.next_u32()]);
        }
        Tensor::u32([n, PLACES], all).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let still = |n: usize, [h, w]: [i32; 2]| {
        let one = [PIXEL, 0, h, 0, PIXEL, w].map(|v| v as u32).into_iter().chain([0; 6]);
        let all: Vec<u32> = std::iter::repeat_n(one, n).flatten().collect();
        Tensor::u32([n, PLACES], all).unwrap_or_else(|_| unreachable!("made to fit"))
    };
    let same = |n: usize| Tensor::f32([n, 3], [0.0, 1.0, 0.0].repeat(n)).unwrap_or_else(|_| unreachable!("made to fit"));
    let numbers = |seed, n: usize, len: usize| sample::normal(seed, [n, len]);
    let mut cases = Vec::new();
    let mut add = |name: &str, shape: [usize; 4], size, border, range, places, numbers| {
        let x = sample::normal(cases.len() as u64, shape);
        cases.push(Case::new(name, Augment { size, border, fill: 0.25, range }, vec![x, places, numbers]).differentiable_by(&[]));
    };
    add("same", [2, 5, 7, 3], [5, 7], Border::Fill, whole, still(2, [0, 0]), same(2));
    add("one_pixel", [1, 1, 1, 1], [1, 1], Border::Mirror, whole, still(1, [40_000, -70_000]), same(1));
    add("half_a_pixel", [1, 4, 4, 4], [4, 4], Border::Fill, whole, still(1, [PIXEL / 2, -PIXEL / 2]), same(1));
    add("clipped", [2, 6, 5, 1], [6, 5], Border::Edge, [-0.5, 0.75], places(1, 2, 6, 5), numbers(2, 2, 3));
    for (i, (name, border)) in
        [("fill", Border::Fill), ("edge", Border::Edge), ("mirror", Border::Mirror), ("wrap", Border::Wrap)].into_iter().enumerate()
    {
        let seed = 10 * (i as u64 + 1);
        add(name, [3, 9, 11, 3], [13, 8], border, whole, places(seed, 3, 13, 8), numbers(seed + 1, 3, 13));
        add(&format!("{name}_grey"), [2, 8, 8, 1], [8, 8], border, whole, places(seed + 2, 2, 8, 8), numbers(seed + 3, 2, 3));
        add(&format!("{name}_far"), [1, 3, 2, 2], [40, 37], border, whole, places(seed + 4, 1, 40, 37), numbers(seed + 5, 1, 3));
    }
    add("many", [17, 32, 32, 3], [28, 28], Border::Mirror, [0.0, 1.0], places(70, 17, 28, 28), numbers(71, 17, 13));
    let mut x = sample::normal(72, [1, 3, 3, 1]).as_f32().unwrap_or_default().to_vec();
    x[4] = f32::NAN;
    let x = Tensor::f32([1, 3, 3, 1], x).unwrap_or_else(|_| unreachable!("made to fit"));
    for (name, place) in [("nan", [0, 0]), ("nan_between", [PIXEL / 3, 0])] {
        let op = Augment { size: [3, 3], border: Border::Edge, fill: 0.0, range: [-1.0, 1.0] };
        cases.push(Case::new(name, op, vec![x.clone(), still(1, place), same(1)]).differentiable_by(&[]));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    fn row(x: &[f64], w_out: usize, border: Border, [step, first]: [f64; 2]) -> Vec<f64> {
        let fixed = |v: f64| (v * f64::from(PIXEL)) as i32 as u32;
        let places = [&[fixed(1.0), 0, 0, 0, fixed(step), fixed(first)][..], &[0; 6]].concat();
        let op = Augment { size: [1, w_out], border, fill: -1.0, range: [-100.0, 100.0] };
        let types = [TensorType::f32([1, 1, x.len(), 1]), TensorType::u32([1, PLACES]), TensorType::f32([1, 3])];
        let inputs = [View::Real(x), View::U32(&places), View::Real(&[0.0, 1.0, 0.0])];
        run_f64(&op, &types, &inputs).unwrap()[0].real().to_vec()
    }

    #[test]
    fn rows_by_hand() {
        let x = [0.0, 10.0, 20.0];
        assert_eq!(row(&x, 3, Border::Fill, [1.0, 0.0]), x);
        assert_eq!(row(&x, 3, Border::Mirror, [-1.0, 2.0]), [20.0, 10.0, 0.0]);
        assert_eq!(row(&x, 5, Border::Edge, [0.5, 0.0]), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(row(&x, 7, Border::Fill, [1.0, -2.0]), [-1.0, -1.0, 0.0, 10.0, 20.0, -1.0, -1.0]);
        assert_eq!(row(&x, 7, Border::Edge, [1.0, -2.0]), [0.0, 0.0, 0.0, 10.0, 20.0, 20.0, 20.0]);
        assert_eq!(row(&x, 10, Border::Mirror, [1.0, -4.0]), [20.0, 20.0, 10.0, 0.0, 0.0, 10.0, 20.0, 20.0, 10.0, 0.0]);
        assert_eq!(row(&x, 7, Border::Wrap, [1.0, -2.0]), [10.0, 20.0, 0.0, 10.0, 20.0, 0.0, 10.0]);
    }

    #[test]
    fn noise_is_nearly_normal() {
        let n = 100_000u32;
        let all: Vec<f64> = (0..n).map(|i| noise(i, [3, 4])).collect();
        let moment = |k: i32| all.iter().map(|z: &f64| z.powi(k)).sum::<f64>() / f64::from(n);
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02, "{} {}", moment(1), moment(2));
        assert!(moment(3).abs() < 0.03 && (moment(4) - 2.85).abs() < 0.06, "{} {}", moment(3), moment(4));
        assert_eq!(noise::<f64>(7, [1, 2]), noise::<f64>(7, [1, 2]));
        assert_ne!(noise::<f64>(7, [1, 2]), noise::<f64>(7, [1, 3]));
    }

    #[test]
    fn bad_arguments_are_refused() {
        let op = Augment { size: [4, 4], border: Border::Fill, fill: 0.0, range: [0.0, 1.0] };
        let infer = |op: Augment, x: [usize; 4], numbers: usize| {
            op.infer(&[TensorType::f32(x), TensorType::u32([x[0], PLACES]), TensorType::f32([x[0], numbers])])
        };
        assert_eq!(infer(op, [2, 5, 5, 3], 13).unwrap(), [TensorType::f32([2, 4, 4, 3])]);
        assert!(infer(op, [2, 5, 5, 1], 13).unwrap_err().to_string().contains("numbers"));
        assert!(infer(Augment { size: [0, 4], ..op }, [1, 2, 2, 1], 3).unwrap_err().to_string().contains("size of the pictures"));
        let wrong = infer(Augment { range: [1.0, 0.0], ..op }, [1, 2, 2, 1], 3).unwrap_err().to_string();
        assert!(wrong.contains("1 to 0"), "{wrong}");
    }
}
