//! Two tensors of different shapes under one elementwise function, by NumPy's rules: shapes are compared from the last dimension on, and a
//! dimension of 1, or one that is missing, is repeated. `shaders/shared/broadcasting.wgsl` is the WGSL part.

use super::elements::{Elements, QUOTIENT};
use super::reduce::{Reduce, Reduction};
use super::view::View;
use crate::error::{Error, Result};
use crate::linalg::{for_each_chunk, for_each_row};
use crate::op::{Buffer, Gradient, Kernel, Recorder, Source, Value, Word, shader};
use crate::tensor::Shape;

/// WGSL types of one and of four elements of an f32 tensor.
pub(super) const FLOATS: [&str; 2] = ["f32", "vec4<f32>"];

/// The same of a tensor that a kernel sees as words.
pub(super) const WORDS: [&str; 2] = ["u32", "vec4<u32>"];

static BROADCASTING: Source = shader!("shared/broadcasting");

/// Most runs of dimensions that the kernels know, between which a tensor changes from being repeated to not being.
const MAX_RUNS: usize = 6;

/// Adjacent dimensions that are alike: a tensor has all of them or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    len: usize,
    /// How many elements an operand's next one along the run lies further on; 0 where it is repeated.
    strides: [usize; 2],
}

/// How two tensors meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broadcasting {
    /// The last dimensions first; never empty.
    runs: Vec<Run>,
}

/// `shape` seen with `rank` dimensions.
fn padded(shape: &Shape, rank: usize) -> Vec<usize> {
    [&vec![1; rank - shape.rank()][..], shape.dims()].concat()
}

impl Broadcasting {
    /// The common shape of two, and how they meet in it.
    pub fn of(a: &Shape, b: &Shape) -> Result<(Shape, Broadcasting)> {
        let rank = a.rank().max(b.rank());
        let [a_dims, b_dims] = [a, b].map(|shape| padded(shape, rank));
        let (mut dims, mut runs) = (vec![0; rank], Vec::<Run>::new());
        let mut next = [1, 1];
        for i in (0..rank).rev() {
            let (d, e) = (a_dims[i], b_dims[i]);
            if d != e && d != 1 && e != 1 {
                let want = "equal ones, or such as differ where one has a dimension of 1, counted from the last";
                return Err(Error::invalid("shapes", format!("{a} and {b}"), want));
            }
            let len = d.max(e);
            dims[i] = len;
            if len == 1 {
                continue;
            }
            let strides = [(d, next[0]), (e, next[1])].map(|(d, stride)| if d == 1 { 0 } else { stride });
            next = [next[0] * d, next[1] * e];
            match runs.last_mut() {
                Some(run) if run.strides.map(|s| s == 0) == strides.map(|s| s == 0) => run.len *= len,
                _ => runs.push(Run { len, strides }),
            }
        }
        if runs.len() > MAX_RUNS {
            let want = format!("shapes that change at most {} times between being repeated and not", MAX_RUNS - 1);
            return Err(Error::invalid("shapes", format!("{a} and {b}"), want));
        }
        if runs.is_empty() {
            runs.push(Run { len: 1, strides: [1, 1] });
        }
        Ok((Shape::from(dims).checked("shape")?, Broadcasting { runs }))
    }

    /// The same for shapes that infer has accepted.
    pub fn checked(a: &Shape, b: &Shape) -> Broadcasting {
        let Ok((_, broadcasting)) = Broadcasting::of(a, b) else { unreachable!("infer checks the shapes") };
        broadcasting
    }

    /// How a kernel goes over a result of `len` elements.
    fn elements(&self, len: usize) -> Elements {
        Elements::aligned(len, self.runs[0].len)
    }

    /// Records a kernel that imports `shared/broadcasting`, on inputs 0 and 1, which are the two, and all others, which are like output 0.
    /// `types` are the WGSL types of one and of four elements of the two.
    pub fn record(
        &self,
        r: &mut Recorder<'_>,
        types: [&'static str; 2],
        kernel: impl Fn(&Elements, &[&'static Source]) -> Kernel,
    ) {
        let e = self.elements(r.y(0).elements());
        let last = self.runs.len() - 1;
        let [one, four] = types;
        let types = self.runs[0].strides.map(|s| if s == 0 || !e.is_vec4() { one } else { four });
        let kernel = kernel(&e, &[&QUOTIENT, &BROADCASTING]);
        let kernel = kernel.set("RUNS", self.runs.len()).set("AElement", types[0]).set("BElement", types[1]);
        // Elements of vectors are counted in vectors.
        let stride = |k: usize, operand: usize| {
            let s = self.runs.get(k).map_or(0, |run| run.strides[operand]);
            Word::from(if k > 0 && types[operand] == four { e.count(s) } else { s })
        };
        let len = |k: usize| Word::from(self.runs.get(k).map_or(1, |run| if k == 0 { e.count(run.len) } else { run.len }));
        let names: [[&'static str; 3]; MAX_RUNS] = [
            ["len_0", "a_0", "b_0"],
            ["len_1", "a_1", "b_1"],
            ["len_2", "a_2", "b_2"],
            ["len_3", "a_3", "b_3"],
            ["len_4", "a_4", "b_4"],
            ["len_5", "a_5", "b_5"],
        ];
        debug_assert!(last < MAX_RUNS);
        let mut params = vec![("n", e.n())];
        for (k, [of_len, of_a, of_b]) in names.into_iter().enumerate() {
            params.extend([(of_len, len(k)), (of_a, stride(k, 0)), (of_b, stride(k, 1))]);
        }
        let reads: Vec<Buffer> = (0..r.inputs().len()).map(Buffer::Input).collect();
        let grid = e.grid(r);
        r.dispatch(kernel, &reads, &[Buffer::Output(0)], &params, grid);
    }

    /// Where in the two the elements of a row of the last run lie.
    fn offsets(&self, mut row: usize) -> [usize; 2] {
        let mut at = [0; 2];
        for run in &self.runs[1..] {
            let i = row % run.len;
            row /= run.len;
            at = [at[0] + i * run.strides[0], at[1] + i * run.strides[1]];
        }
        at
    }

    /// Where in the two each element of the result comes from.
    pub fn places(&self) -> impl Fn(usize) -> [usize; 2] + '_ {
        let inner = self.runs[0];
        move |i| {
            let at = self.offsets(i / inner.len);
            [0, 1].map(|k| at[k] + i % inner.len * inner.strides[k])
        }
    }

    /// Makes `y` in pieces: `f(first element, piece, elements of a, elements of b)`, where an operand that is repeated along a piece is
    /// one element.
    pub fn run<X: Sync, Y: Send>(&self, a: &[X], b: &[X], y: &mut [Y], f: impl Fn(usize, &mut [Y], &[X], &[X]) + Sync) {
        let inner = self.runs[0];
        let part = |x: &[X], at: usize, stride: usize, len: usize| at..at + if stride == 0 { 1 } else { len.min(x.len()) };
        let [sa, sb] = inner.strides;
        if self.runs.len() == 1 {
            for_each_chunk(y, |at, y| {
                let (a_range, b_range) = (part(a, at * sa, sa, y.len()), part(b, at * sb, sb, y.len()));
                f(at, y, &a[a_range], &b[b_range]);
            });
            return;
        }
        for_each_row(y, inner.len, |row, y| {
            let [at_a, at_b] = self.offsets(row);
            let (a_range, b_range) = (part(a, at_a, sa, y.len()), part(b, at_b, sb, y.len()));
            f(row * inner.len, y, &a[a_range], &b[b_range]);
        });
    }
}

/// `y = f(a, b)` where a or b may be one element for all. Loops over equal slices vectorise.
pub(super) fn map<X: Copy, Y>(y: &mut [Y], a: &[X], b: &[X], f: impl Fn(X, X) -> Y) {
    match (a, b) {
        (a, &[b]) if a.len() == y.len() => y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b)),
        (&[a], b) if b.len() == y.len() => y.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a, b)),
        (a, b) => y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)),
    }
}

/// Says that the gradient by input `i` is `value`, of the result's shape, summed over the axes along which the input is repeated.
pub(super) fn set_reduced(g: &mut Gradient<'_>, i: usize, value: Value) -> Result<()> {
    let (from, to) = (g.type_of(value).shape, g.type_of(g.x(i)).shape);
    let dims = padded(&to, from.rank());
    let axes: Vec<usize> = (0..from.rank()).filter(|&axis| dims[axis] != from.dims()[axis]).collect();
    let mut sum = value;
    for reduce in Reduce::each(Reduction::Sum, &axes) {
        sum = g.node(reduce, &[sum])?;
    }
    if g.type_of(sum).shape != to {
        sum = g.node(View::reshape(to), &[sum])?;
    }
    g.set(i, sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(a: &[usize], b: &[usize]) -> (Vec<usize>, Vec<(usize, [usize; 2])>) {
        let (shape, broadcasting) = Broadcasting::of(&a.into(), &b.into()).unwrap();
        (shape.dims().to_vec(), broadcasting.runs.iter().map(|run| (run.len, run.strides)).collect())
    }

    #[test]
    fn dimensions_that_are_alike_are_one_run() {
        assert_eq!(of(&[2, 3, 4], &[2, 3, 4]), (vec![2, 3, 4], vec![(24, [1, 1])]));
        assert_eq!(of(&[2, 7, 5, 8], &[2, 1, 1, 8]), (vec![2, 7, 5, 8], vec![(8, [1, 1]), (35, [8, 0]), (2, [280, 8])]));
        assert_eq!(of(&[2, 7, 5, 8], &[8]), (vec![2, 7, 5, 8], vec![(8, [1, 1]), (70, [8, 0])]));
        assert_eq!(of(&[3, 1], &[1, 4]), (vec![3, 4], vec![(4, [0, 1]), (3, [1, 0])]));
        assert_eq!(of(&[], &[3, 2]), (vec![3, 2], vec![(6, [0, 1])]));
        assert_eq!(of(&[1, 1], &[]), (vec![1, 1], vec![(1, [1, 1])]));
    }

    #[test]
    fn shapes_that_do_not_meet_are_named() {
        let message = Broadcasting::of(&[2, 3].into(), &[2, 4].into()).unwrap_err().to_string();
        assert!(message.contains("[2, 3] and [2, 4]"), "{message}");
        let (a, b) = ([2, 1, 2, 1, 2, 1, 2], [1, 2, 1, 2, 1, 2, 1]);
        assert!(Broadcasting::of(&a.into(), &b.into()).unwrap_err().to_string().contains("at most 5 times"));
        assert!(Broadcasting::of(&[1 << 20, 1].into(), &[1 << 20].into()).is_err());
    }

    #[test]
    fn places_are_the_definitions() {
        let (a, b) = ([3, 1, 5, 2], [4, 1, 2]);
        let broadcasting = Broadcasting::checked(&a.into(), &b.into());
        let place = broadcasting.places();
        for i in 0..3 * 4 * 5 * 2 {
            let [n, h, w, c] = [i / 40, i / 10 % 4, i / 2 % 5, i % 2];
            assert_eq!(place(i), [(n * 5 + w) * 2 + c, h * 2 + c]);
        }
    }
}
