//! Ranges along axes, and their inverse, which puts a value around and between a tensor's elements.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Case, Cost, Cpu, CpuArgs, Declaration, Gradient, Interchange, Op, Recorder, StandardNode, Term, expect_inputs, moved_bytes,
    no_counterpart, sample,
};
use crate::ops::strided::{Axis, COPY_STRIDED, StridedCopy, expect_words, special, strides, words};
use crate::tensor::{DType, Shape, TensorType};

/// `y[.., l, ..] = x[.., start + l step, ..]`: f32 or u32 of any shape to the same with `len` elements along each axis of the ranges, and all along the
/// others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// One for each axis of which the output doesn't have all.
    pub ranges: Vec<SliceRange>,
}

/// A range of an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceRange {
    /// The axis.
    pub axis: usize,
    /// First element along it.
    pub start: usize,
    /// How many, at least 1.
    pub len: usize,
    /// From one to the next: negative to go backwards, not 0. All elements are of the axis.
    pub step: isize,
}

impl SliceRange {
    /// The last element.
    fn last(&self) -> Option<usize> {
        let way = (self.len.checked_sub(1)? as isize).checked_mul(self.step)?;
        self.start.checked_add_signed(way)
    }
}

impl Slice {
    /// `len` neighbours from `start` along one axis.
    pub fn along(axis: usize, start: usize, len: usize) -> Slice {
        Slice { ranges: vec![SliceRange { axis, start, len, step: 1 }] }
    }

    fn copy(&self, x: &Shape, y: &Shape) -> StridedCopy {
        let mut start = 0;
        let [from, to] = [x, y].map(strides);
        let axes = y.dims().iter().enumerate().map(|(axis, &len)| {
            let range = self.ranges.iter().find(|range| range.axis == axis);
            start += range.map_or(0, |range| range.start * from[axis]);
            // The step of a single element counts for nothing, and may be any.
            let step = range.filter(|range| range.len > 1).map_or(1, |range| range.step);
            Axis::whole(len, from[axis] as isize * step, to[axis])
        });
        let axes: Vec<Axis> = axes.collect();
        StridedCopy::new(axes, start, 0, 0)
    }
}

/// Fails for an axis that `shape` doesn't have, and for one that is named twice.
fn check_axes(axes: impl Iterator<Item = usize> + Clone, shape: &Shape) -> Result<()> {
    for (i, axis) in axes.clone().enumerate() {
        if axis >= shape.rank() {
            return Err(Error::invalid("axis", axis, format!("one of the {} axes of x, which is {shape}", shape.rank())));
        }
        if axes.clone().take(i).any(|other| other == axis) {
            return Err(Error::invalid("axis", format!("{axis} twice"), "each at most once"));
        }
    }
    Ok(())
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        expect_words("x", &inputs[0])?;
        let shape = inputs[0].shape.clone().checked("x")?;
        check_axes(self.ranges.iter().map(|range| range.axis), &shape)?;
        let mut dims = shape.dims().to_vec();
        for range in &self.ranges {
            let d = dims[range.axis];
            if range.step == 0 || range.start >= d || range.last().is_none_or(|last| last >= d) {
                let step = if range.step == 1 { String::new() } else { format!(" by steps of {}", range.step) };
                return Err(Error::invalid(
                    "range",
                    format!("{} elements from {}{step}", range.len, range.start),
                    format!("at least 1, within the {d} along axis {} of {shape}", range.axis),
                ));
            }
            dims[range.axis] = range.len;
        }
        let y = TensorType::new(inputs[0].dtype, dims);
        self.copy(&shape, &y.shape).checked()?;
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let x = g.type_of(g.x(0)).shape;
        let mut dy = g.dy0()?;
        // Those that go backwards are turned round first.
        let turned = |range: &SliceRange| SliceRange { start: range.len - 1, step: -1, ..*range };
        let backwards: Vec<SliceRange> = self.ranges.iter().filter(|range| range.step < 0).map(turned).collect();
        if !backwards.is_empty() {
            dy = g.node(Slice { ranges: backwards }, &[dy])?;
        }
        let axes = self.ranges.iter().map(|range| {
            let (start, last) = (range.start, range.last().unwrap_or(range.start));
            let [least, most] = [start.min(last), start.max(last)];
            // Of a single element, the step counts for nothing, and may be any.
            let step = if range.len == 1 { 1 } else { range.step.unsigned_abs() };
            PadAxis { axis: range.axis, before: least, after: x.dims()[range.axis] - 1 - most, step }
        });
        let axes = axes.collect();
        let dx = g.node(Pad { axes, value: 0.0 }, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        self.copy(&r.x(0).shape, &r.y(0).shape).record(r, 0);
        Ok(())
    }

    fn cost(&self, _: &[TensorType], outputs: &[TensorType]) -> Cost {
        // Only the range is read.
        Cost { flops: 0, bytes: moved_bytes(outputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        let integers = |f: fn(&SliceRange) -> i64| self.ranges.iter().map(f);
        let starts = d.integers(integers(|range| range.start as i64));
        // The end of a range that runs to the axis's first element has no number, as -1 is the last; the least one is cut off there.
        let ends = d.integers(integers(|range| {
            let end = range.start as i64 + range.step as i64 * (range.len as i64 - 1) + range.step.signum() as i64;
            if end < 0 { i64::MIN } else { end }
        }));
        let axes = d.axes(self.ranges.iter().map(|range| range.axis));
        let steps = d.integers(integers(|range| range.step as i64));
        let shape = d.output_type(0).shape.clone();
        Ok(vec![d.add(StandardNode::free("Slice", &[d.x(0), starts, ends, axes, steps]), shape)])
    }
}

impl Cpu for Slice {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.copy(args.x_shape(0), args.y_shape(0)).run(args);
    }
}

/// A value before, after and between a tensor's elements: f32 or u32 `[.., d, ..]` to the same `[.., before + (d - 1) step + 1 + after, ..]` along each of
/// its axes. With zeros the gradient of [`Slice`], which is its gradient.
#[derive(Clone, PartialEq, Debug)]
pub struct Pad {
    /// One for each axis that becomes longer.
    pub axes: Vec<PadAxis>,
    /// What is put there: in u32 a whole number, of up to 2^24, a negative one in two's complement.
    pub value: f32,
}

/// How an axis becomes longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PadAxis {
    /// The axis.
    pub axis: usize,
    /// Elements before the first along it.
    pub before: usize,
    /// Elements after the last.
    pub after: usize,
    /// From one of the tensor's elements to the next: 1 leaves nothing between them.
    pub step: usize,
}

impl PadAxis {
    /// Elements before and after those along an axis.
    pub fn around(axis: usize, before: usize, after: usize) -> PadAxis {
        PadAxis { axis, before, after, step: 1 }
    }
}

impl Pad {
    /// Zeros before and after the elements along one axis.
    pub fn along(axis: usize, before: usize, after: usize) -> Pad {
        Pad { axes: vec![PadAxis::around(axis, before, after)], value: 0.0 }
    }

    /// The bits of the value.
    fn bits(&self, dtype: DType) -> Result<u32> {
        if dtype == DType::F32 {
            return Ok(self.value.to_bits());
        }
        if self.value.fract() == 0.0 && self.value.abs() <= 16_777_216.0 {
            return Ok(self.value as i32 as u32);
        }
        Err(Error::invalid("value", self.value, "a whole number of up to 2^24, for u32 data"))
    }

    fn copy(&self, x: &TensorType, y: &Shape) -> StridedCopy {
        let (x, bits) = (&x.shape, self.bits(x.dtype));
        let bits = bits.unwrap_or_else(|e| unreachable!("infer accepted the value: {e}"));
        let [from, to] = [x, y].map(strides);
        let axes = y.dims().iter().enumerate().map(|(axis, &len)| {
            let pad = self.axes.iter().find(|pad| pad.axis == axis);
            let (before, step) = pad.map_or((0, 1), |pad| (pad.before, pad.step));
            Axis { len, x_stride: from[axis] as isize, y_stride: to[axis], before, count: x.dims()[axis], step }
        });
        let axes: Vec<Axis> = axes.collect();
        StridedCopy::new(axes, 0, 0, bits)
    }
}

impl Pad {
    /// What this makes of a term, in the standard's words.
    pub(super) fn described(&self, d: &mut Interchange<'_>, x: Term) -> Result<Term> {
        if self.axes.iter().any(|pad| pad.step != 1) {
            return Err(no_counterpart("pad between a tensor's elements"));
        }
        let mut dims = d.shape(x).dims().to_vec();
        self.axes.iter().for_each(|pad| dims[pad.axis] += pad.before + pad.after);
        let before = self.axes.iter().map(|pad| pad.before as i64);
        let pads = d.integers(before.chain(self.axes.iter().map(|pad| pad.after as i64)));
        let value = d.number(self.value);
        let axes = d.axes(self.axes.iter().map(|pad| pad.axis));
        Ok(d.add(StandardNode::free("Pad", &[x, pads, value, axes]), dims))
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        expect_inputs(inputs, &["x"])?;
        expect_words("x", &inputs[0])?;
        let shape = inputs[0].shape.clone().checked("x")?;
        check_axes(self.axes.iter().map(|pad| pad.axis), &shape)?;
        let mut dims = shape.dims().to_vec();
        for pad in &self.axes {
            if pad.step == 0 {
                return Err(Error::invalid("step", 0, "at least 1, from one element to the next"));
            }
            // What overflows is too large for any shape too.
            let spread = (dims[pad.axis] - 1).saturating_mul(pad.step).saturating_add(1);
            dims[pad.axis] = pad.before.saturating_add(spread).saturating_add(pad.after);
        }
        self.bits(inputs[0].dtype)?;
        let y = TensorType::new(inputs[0].dtype, Shape::from(dims).checked("padded shape")?);
        self.copy(&inputs[0], &y.shape).checked()?;
        Ok(vec![y])
    }

    fn gradient(&self, g: &mut Gradient<'_>) -> Result<()> {
        let x = g.type_of(g.x(0)).shape;
        let dy = g.dy0()?;
        let range = |pad: &PadAxis| SliceRange { axis: pad.axis, start: pad.before, len: x.dims()[pad.axis], step: pad.step as isize };
        let ranges = self.axes.iter().map(range).collect();
        let dx = g.node(Slice { ranges }, &[dy])?;
        g.set(0, dx);
        Ok(())
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        self.copy(r.x(0), &r.y(0).shape).record(r, 0);
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }

    fn interchange(&self, d: &mut Interchange<'_>) -> Result<Vec<Term>> {
        Ok(vec![self.described(d, d.x(0))?])
    }
}

impl Cpu for Pad {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        self.copy(&args.input_types()[0], args.y_shape(0)).run(args);
    }
}

/// The list's entries.
pub static DECLARATIONS: &[Declaration] = &[
    Declaration { name: "slice", no_gradient: None, shaders: &[&COPY_STRIDED], cases: slice_cases },
    Declaration { name: "pad", no_gradient: None, shaders: &[&COPY_STRIDED], cases: pad_cases },
];

fn slice_cases() -> Vec<Case> {
    let op = Slice::along;
    let ranges = |ranges: &[(usize, usize, usize, isize)]| {
        let range = |&(axis, start, len, step)| SliceRange { axis, start, len, step };
        Slice { ranges: ranges.iter().map(range).collect() }
    };
    vec![
        Case::new("one", op(0, 0, 1), vec![sample::normal(1, [1])]),
        Case::new("all", op(1, 0, 7), vec![sample::normal(2, [3, 7, 5])]),
        Case::new("one_of_a_large_step", ranges(&[(0, 2, 1, isize::MAX)]), vec![sample::normal(16, [4, 5])]),
        Case::new("columns_scalar", op(1, 3, 130), vec![sample::normal(3, [9, 263])]),
        Case::new("columns_vec4", op(1, 128, 64), vec![sample::normal(4, [33, 256])]),
        Case::new("columns_vec4_start_2", op(1, 2, 64), vec![sample::normal(5, [9, 128])]),
        Case::new("rows", op(0, 2, 5), vec![sample::normal(6, [8, 131])]),
        Case::new("channels_of_5", op(3, 4, 1), vec![sample::normal(7, [2, 5, 7, 5])]),
        Case::new("inner_of_4", op(1, 3, 3), vec![sample::normal(8, [2, 7, 3, 4])]),
        Case::new("special", op(1, 1, 5), vec![special([3, 7])]).differentiable_by(&[]),
        Case::new("crop", ranges(&[(1, 1, 5, 1), (2, 2, 4, 1)]), vec![sample::normal(11, [2, 7, 8, 4])]),
        Case::new("crop_odd", ranges(&[(2, 1, 6, 1), (1, 0, 3, 1)]), vec![sample::normal(12, [2, 5, 7, 3])]),
        Case::new("every_second", ranges(&[(1, 1, 4, 2), (2, 0, 3, 3)]), vec![sample::normal(13, [2, 9, 8, 4])]),
        Case::new("every_third_channel", ranges(&[(2, 1, 5, 3)]), vec![sample::normal(14, [3, 5, 14])]),
        Case::new("backwards", ranges(&[(1, 6, 7, -1)]), vec![sample::normal(15, [3, 7, 4])]),
        Case::new("backwards_by_2", ranges(&[(1, 8, 4, -2), (2, 4, 5, -1)]), vec![sample::normal(16, [2, 10, 5])]),
        Case::new("one_step_of_9", ranges(&[(1, 2, 1, 9)]), vec![sample::normal(17, [2, 3, 5])]),
        Case::new("words", ranges(&[(0, 4, 5, -1), (1, 1, 2, 1)]), vec![words(18, [5, 3])]),
        Case::new("random_10", op(2, 5, 6), vec![sample::normal(10, [4, 3, 13, 2])]),
    ]
}

fn pad_cases() -> Vec<Case> {
    let op = Pad::along;
    let axes = |axes: &[(usize, usize, usize, usize)], value| {
        let axis = |&(axis, before, after, step)| PadAxis { axis, before, after, step };
        Pad { axes: axes.iter().map(axis).collect(), value }
    };
    vec![
        Case::new("one", op(0, 0, 0), vec![sample::normal(1, [1])]),
        Case::new("before", op(0, 3, 0), vec![sample::normal(2, [5, 7])]),
        Case::new("after", op(1, 0, 2), vec![sample::normal(3, [5, 7])]),
        Case::new("columns_scalar", op(1, 3, 130), vec![sample::normal(4, [9, 61])]),
        Case::new("columns_vec4", op(1, 128, 64), vec![sample::normal(5, [33, 64])]),
        Case::new("columns_vec4_before_2", op(1, 2, 62), vec![sample::normal(6, [9, 64])]),
        Case::new("inner_of_4", op(1, 1, 3), vec![sample::normal(7, [2, 3, 3, 4])]),
        Case::new("special", op(1, 1, 1), vec![special([3, 7])]).differentiable_by(&[]),
        Case::new("image", axes(&[(1, 1, 2, 1), (2, 3, 0, 1)], 1.5), vec![sample::normal(10, [2, 5, 4, 8])]),
        Case::new("image_odd", axes(&[(1, 2, 1, 1), (2, 0, 1, 1)], f32::NEG_INFINITY), vec![sample::normal(11, [2, 4, 5, 3])])
            .differentiable_by(&[]),
        Case::new("all_axes", axes(&[(0, 1, 0, 1), (1, 0, 2, 1), (2, 1, 1, 1), (3, 2, 3, 1)], -0.5), vec![sample::normal(12, [2, 3, 4, 5])]),
        Case::new("spread", axes(&[(1, 1, 0, 2), (2, 0, 2, 3)], 0.0), vec![sample::normal(13, [2, 4, 3, 4])]),
        Case::new("spread_channels", axes(&[(1, 2, 1, 3)], 2.0), vec![sample::normal(14, [7, 5])]),
        Case::new("from_one", axes(&[(0, 3, 4, 7)], 0.0), vec![sample::normal(15, [1])]),
        Case::new("words", axes(&[(0, 1, 2, 1), (1, 0, 3, 2)], -3.0), vec![words(16, [5, 3])]),
        Case::new("random_9", op(2, 5, 2), vec![sample::normal(9, [4, 3, 6, 2])]),
    ]
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

    #[test]
    fn the_middle_axis() {
        let x: Vec<f64> = (1..=12).map(f64::from).collect();
        let types = [TensorType::f32([2, 3, 2])];
        let op = Slice::along(1, 1, 2);
        let y = run_f64(&op, &types, &[View::Real(&x)]).unwrap();
        assert_eq!(y[0].real(), [3.0, 4.0, 5.0, 6.0, 9.0, 10.0, 11.0, 12.0]);
        let back = run_f64(&Pad::along(1, 1, 0), &op.infer(&types).unwrap(), &[y[0].view()]).unwrap();
        assert_eq!(back[0].real(), [0.0, 0.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 9.0, 10.0, 11.0, 12.0]);
    }

    #[test]
    fn steps_and_gaps() {
        let x: Vec<f64> = (0..7).map(f64::from).collect();
        let slice = |start, len, step| {
            let op = Slice { ranges: vec![SliceRange { axis: 0, start, len, step }] };
            run_f64(&op, &[TensorType::f32([7])], &[View::Real(&x)]).unwrap()[0].real().to_vec()
        };
        assert_eq!((slice(1, 3, 2), slice(6, 3, -3)), (vec![1.0, 3.0, 5.0], vec![6.0, 3.0, 0.0]));
        let pad = Pad { axes: vec![PadAxis { axis: 0, before: 1, after: 2, step: 3 }], value: 9.0 };
        let y = run_f64(&pad, &[TensorType::f32([2])], &[View::Real(&x[1..3])]).unwrap();
        assert_eq!(y[0].real(), [9.0, 1.0, 9.0, 9.0, 2.0, 9.0, 9.0]);
    }

    #[test]
    fn bad_ranges_are_refused() {
        let x = [TensorType::f32([3, 5])];
        for (axis, start, len) in [(2, 0, 1), (0, 0, 0), (0, 1, 3), (1, 5, 1), (1, usize::MAX, 2), (1, 0, usize::MAX)] {
            assert!(Slice::along(axis, start, len).infer(&x).is_err(), "{axis} {start} {len}");
        }
        for (start, len, step) in [(0, 2, 0), (0, 2, -1), (4, 3, -3), (0, 3, 3), (1, 2, isize::MAX), (1, 2, isize::MIN)] {
            let ranges = vec![SliceRange { axis: 1, start, len, step }];
            assert!(Slice { ranges }.infer(&x).is_err(), "{start} {len} {step}");
        }
        for (axis, before, after) in [(2, 0, 1), (0, usize::MAX, 1), (1, 1, usize::MAX), (1, 1 << 30, 0)] {
            assert!(Pad::along(axis, before, after).infer(&x).is_err(), "{axis} {before} {after}");
        }
        let step = |step| Pad { axes: vec![PadAxis { axis: 1, before: 0, after: 0, step }], value: 0.0 }.infer(&x);
        assert!(step(0).is_err() && step(usize::MAX).is_err() && step(2).is_ok());
        let message = Slice::along(1, 4, 2).infer(&x).unwrap_err().to_string();
        assert!(message.contains("2 elements from 4") && message.contains("the 5 along axis 1 of [3, 5]"), "{message}");
        let twice = Pad { axes: vec![PadAxis::around(1, 1, 0); 2], value: 0.0 }.infer(&x).unwrap_err().to_string();
        assert!(twice.contains("1 twice"), "{twice}");
        assert!(Slice::along(0, 0, 1).infer(&[TensorType::new(DType::U8, [3])]).is_err());
        assert!(Slice::along(0, 0, 1).infer(&[TensorType::f32([])]).is_err());
        assert!(Pad::along(0, 0, 0).infer(&[]).is_err());
        let axes = (0..7).map(|axis| PadAxis::around(axis, 1, 1)).collect();
        let of_words = |value| Pad { axes: vec![PadAxis::around(0, 1, 0)], value }.infer(&[TensorType::u32([3])]);
        assert!(of_words(-1.0).is_ok() && of_words(0.5).is_err() && of_words(f32::NAN).is_err() && of_words(1e9).is_err());
        let many = Pad { axes, value: 0.0 }.infer(&[TensorType::f32([2; 7])]).unwrap_err().to_string();
        assert!(many.contains("at most 6"), "{many}");
    }
}
