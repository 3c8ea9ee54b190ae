//! How a pooling window meets its input, one axis at a time: which elements a window has, and which windows reach an element.
//! Max and average pooling share it; `shaders/shared/window.wgsl` is the same in WGSL.

use crate::error::{Error, Result};
use crate::op::{GRID, Interchange, Kernel, MAX_ITERATIONS, Source, StandardNode, Term, Word, shader};
use crate::ops::elements::QUOTIENT;
use crate::ops::slice::{Pad, PadAxis};
use crate::tensor::{Padding, Window2d};
use std::ops::Range;

/// Windows in WGSL.
static WINDOW: Source = shader!("shared/window");

/// Invocations of a workgroup of the pooling kernels: `WORKGROUP` in `shared/window.wgsl`.
pub(super) const WORKGROUP: usize = 256;

/// Windows along height or width. Window `o` has its taps at `o * stride - before + k * dilation`, `k` in `0..kernel`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Length of the input.
    pub len: usize,
    /// Number of windows.
    pub out: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

/// A pooling window placed on an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// Along the height.
    pub h: Axis,
    /// Along the width.
    pub w: Axis,
}

impl Axis {
    /// Windows of one element each: this axis is left alone.
    fn identity(len: usize) -> Axis {
        Axis { len, out: len, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 }
    }

    fn span(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Taps of window `o` before position `end` of the input. `end` lies behind the window's start.
    fn end_tap(&self, o: usize, end: usize) -> usize {
        (end + self.before - o * self.stride).div_ceil(self.dilation).min(self.kernel)
    }

    fn first_tap(&self, o: usize) -> usize {
        self.before.saturating_sub(o * self.stride).div_ceil(self.dilation)
    }

    /// Positions in the input of the elements of window `o`.
    pub fn elements(&self, o: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let Axis { stride, dilation, before, .. } = *self;
        (self.first_tap(o)..self.end_tap(o, self.len)).map(move |k| o * stride + k * dilation - before)
    }

    /// What an average over window `o` counts: its elements, with `padding` also its taps in the padding. Taps beyond the
    /// padding, which ceil mode makes, never count.
    pub fn n_counted(&self, o: usize, padding: bool) -> usize {
        if padding { self.end_tap(o, self.len + self.after) } else { self.end_tap(o, self.len) - self.first_tap(o) }
    }

    /// Windows whose span reaches position `i` of the input.
    pub fn windows(&self, i: usize) -> Range<usize> {
        let p = i + self.before;
        let first = if p >= self.span() { (p - self.span()) / self.stride + 1 } else { 0 };
        first..self.out.min(p / self.stride + 1)
    }

    /// Whether window `o`, one of [`Axis::windows`], has a tap at `i` rather than a gap of the dilation.
    pub fn has_tap(&self, o: usize, i: usize) -> bool {
        (i + self.before - o * self.stride).is_multiple_of(self.dilation)
    }

    /// [`Axis::elements`] of each window.
    pub fn all_elements(&self) -> Vec<Vec<usize>> {
        (0..self.out).map(|o| self.elements(o).collect()).collect()
    }

    /// For each position of the input the windows that have it as an element.
    pub fn all_windows(&self) -> Vec<Vec<usize>> {
        (0..self.len).map(|i| self.windows(i).filter(|&o| self.has_tap(o, i)).collect()).collect()
    }

    /// Most elements that a window has.
    pub fn most_elements(&self) -> usize {
        self.kernel.min(self.len.div_ceil(self.dilation))
    }

    /// Most windows that reach an element.
    pub fn most_windows(&self) -> usize {
        self.out.min(self.span().div_ceil(self.stride))
    }
}

impl Pool {
    /// Places `window` on an input of `h_in` by `w_in`. Beyond what [`Window2d::place`] refuses, this refuses padding as large
    /// as the window and gaps of a dilation as large as the input: every window has an element of the input.
    pub fn place(window: &Window2d, h_in: usize, w_in: usize) -> Result<Pool> {
        let p = window.place(h_in, w_in)?;
        let axis = |i: usize, side: &str, len, out, before, after| {
            let [kernel, stride, dilation] = [window.kernel[i], window.stride[i], window.dilation[i]];
            let a = Axis { len, out, kernel, stride, dilation, before, after };
            if matches!(window.padding, Padding::Explicit { .. }) && before.max(after) >= a.span() {
                return Err(Error::invalid(
                    format!("padding ({side})"),
                    before.max(after),
                    format!("less than the {} that the window spans", a.span()),
                ));
            }
            let in_padding = before.div_ceil(stride).min(out);
            let last_start = (out - 1) * stride;
            if last_start >= len + before || (0..in_padding).any(|o| a.elements(o).next().is_none()) {
                return Err(Error::invalid(
                    format!("window ({side})"),
                    format!("one without any element of the input's {len}"),
                    "a kernel, dilation and padding that leave every window at least one element",
                ));
            }
            Ok(a)
        };
        Ok(Pool {
            h: axis(0, "height", h_in, p.h_out, p.pad_top, p.pad_bottom)?,
            w: axis(1, "width", w_in, p.w_out, p.pad_left, p.pad_right)?,
        })
    }

    /// [`Pool::place`] for what it is known to accept.
    pub fn placed(window: &Window2d, h_in: usize, w_in: usize) -> Pool {
        Pool::place(window, h_in, w_in).unwrap_or_else(|e| unreachable!("infer accepted this window: {e}"))
    }

    /// Padding above, on the left, below and on the right that makes all windows whole, those of ceil mode too.
    pub fn pads(&self) -> [usize; 4] {
        let after = |a: &Axis| ((a.out - 1) * a.stride + a.span()).saturating_sub(a.len + a.before);
        [self.h.before, self.w.before, after(&self.h), after(&self.w)]
    }

    /// Padding below and on the right that was asked for.
    pub fn asked_after(&self) -> [usize; 2] {
        [self.h.after, self.w.after]
    }

    /// The standard's node for this pooling of images `[n, h, w, c]`, on their transpose with channels first. In the padding there is `value`, or
    /// nothing that counts.
    pub fn standard(
        &self,
        d: &mut Interchange<'_>,
        op_type: &'static str,
        x: Term,
        value: Option<f32>,
        pads: [usize; 4],
    ) -> Result<StandardNode> {
        let kernel = [self.h.kernel, self.w.kernel];
        let (mut x, mut own) = (x, pads);
        // The standard's poolings have less padding than taps.
        if let Some(value) = value.filter(|_| pads.iter().zip(kernel.iter().cycle()).any(|(pad, kernel)| pad >= kernel)) {
            x = padded(d, x, pads, value)?;
            own = [0; 4];
        }
        let x = d.channels_first(x);
        let dilation = [self.h.dilation, self.w.dilation];
        let node = StandardNode::fixed(op_type, &[x]).sizes("kernel_shape", &kernel).sizes("pads", &own);
        let node = node.sizes("strides", &[self.h.stride, self.w.stride]);
        Ok(if dilation == [1, 1] { node } else { node.sizes("dilations", &dilation) })
    }

    /// The output of a node of the standard's, with channels last again.
    pub fn pooled(&self, d: &mut Interchange<'_>, node: StandardNode) -> Result<Vec<Term>> {
        let [n, h_out, w_out, c] = d.output_type(0).shape.nhwc("y")?;
        let y = d.add(node, [n, c, h_out, w_out]);
        Ok(vec![d.channels_last(y)])
    }

    /// This pooling along the width alone, and then the rest of it along the height.
    pub fn separated(&self) -> [Pool; 2] {
        [Pool { h: Axis::identity(self.h.len), w: self.w }, Pool { h: self.h, w: Axis::identity(self.w.out) }]
    }

    /// Iterations that an invocation takes for the elements of its window, inner and outer loop together.
    pub fn iterations(&self) -> usize {
        self.h.most_elements() * (self.w.most_elements() + 1)
    }

    /// Fails if an invocation of a gradient kernel has to look at too many windows.
    pub fn check_gather(&self) -> Result<()> {
        let (h, w) = (self.h.most_windows(), self.w.most_windows());
        if h * (w + 1) <= MAX_ITERATIONS {
            return Ok(());
        }
        Err(Error::invalid(
            "windows that overlap at an element",
            format!("{h} by {w}"),
            format!("at most {MAX_ITERATIONS} in all; use a larger stride or a smaller kernel"),
        ))
    }

    /// Most windows that have the same element: the terms of a gradient's sums.
    pub fn most_windows(&self) -> usize {
        self.h.most_windows() * self.w.most_windows()
    }

    /// A pooling kernel, with the imports that all of them need.
    pub fn kernel(&self, source: &'static Source, imports: &[&'static Source]) -> Kernel {
        let imports: Vec<_> = [&GRID, &QUOTIENT].into_iter().chain(imports.iter().copied()).chain([&WINDOW]).collect();
        Kernel::new(source, &imports).set("DILATED", self.h.dilation > 1 || self.w.dilation > 1)
    }

    /// Whether no two windows share an element, and a window with what lies between it and the next is small enough for an
    /// invocation.
    pub fn is_disjoint(&self) -> bool {
        let disjoint = |a: &Axis| a.dilation == 1 && a.kernel <= a.stride;
        // What the last window owns ends at most a stride later.
        let owned = |a: &Axis| (2 * a.stride).min(a.len);
        disjoint(&self.h) && disjoint(&self.w) && owned(&self.h) * (owned(&self.w) + 1) <= MAX_ITERATIONS
    }

    /// `Params` of `shared/window.wgsl`, for `n_vecs` invocations and `c_vecs` vectors a pixel.
    pub fn params(&self, n_vecs: usize, c_vecs: usize, count_padding: bool) -> Vec<(&'static str, Word)> {
        // `Window2d::place` bounds all of these far below 2^31.
        let int = |v: usize| Word::I32(v as i32);
        let Pool { h, w } = self;
        vec![
            ("n_vecs", n_vecs.into()),
            ("c_vecs", c_vecs.into()),
            ("h_in", int(h.len)),
            ("w_in", int(w.len)),
            ("h_out", int(h.out)),
            ("w_out", int(w.out)),
            ("k_h", int(h.kernel)),
            ("k_w", int(w.kernel)),
            ("stride_h", int(h.stride)),
            ("stride_w", int(w.stride)),
            ("dilation_h", int(h.dilation)),
            ("dilation_w", int(w.dilation)),
            ("pad_top", int(h.before)),
            ("pad_left", int(w.before)),
            ("pad_bottom", int(h.after)),
            ("pad_right", int(w.after)),
            ("count_padding", Word::U32(count_padding.into())),
        ]
    }
}

/// Channels that an invocation of a pooling kernel takes at once, with the WGSL types of so many floats and unsigned integers.
pub(super) fn vector(c: usize) -> (usize, &'static str, &'static str) {
    if c.is_multiple_of(4) { (4, "vec4<f32>", "vec4<u32>") } else { (1, "f32", "u32") }
}

/// Images `[n, h, w, c]` with `value` above, on the left, below and on the right.
pub(super) fn padded(d: &mut Interchange<'_>, x: Term, [top, left, bottom, right]: [usize; 4], value: f32) -> Result<Term> {
    Pad { axes: vec![PadAxis::around(1, top, bottom), PadAxis::around(2, left, right)], value }.described(d, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of all small sizes against the definition.
    #[test]
    fn elements_and_windows_agree_with_the_definition() {
        let mut placed = 0;
        for i in 0..6 * 4 * 3 * 3 * 3 * 3 * 2 {
            let mut rest = i;
            let mut next = |n: usize| {
                let v = rest % n;
                rest /= n;
                v
            };
            let (len, kernel, stride, dilation) = (next(6) + 1, next(4) + 1, next(3) + 1, next(3) + 1);
            let (top, bottom, ceil) = (next(3), next(3), next(2) == 1);
            let padding = Padding::Explicit { top, bottom, left: 0, right: 0 };
            let window = Window2d { kernel: [kernel, 1], stride: [stride, 1], dilation: [dilation, 1], padding, ceil };
            let Ok(p) = window.place(len, 1) else { continue };
            let taps = |o: usize, end: usize| -> Vec<isize> {
                let at = |k: usize| (o * stride + k * dilation) as isize - top as isize;
                (0..kernel).map(at).filter(|&t| t < end as isize).collect()
            };
            let real = |o: usize| taps(o, len).into_iter().filter(|&t| t >= 0).map(|t| t as usize).collect::<Vec<_>>();
            let span = dilation * (kernel - 1) + 1;
            let good = top < span && bottom < span && (0..p.h_out).all(|o| !real(o).is_empty());
            let pool = Pool::place(&window, len, 1);
            assert_eq!(pool.is_ok(), good, "{window:?} on {len}: {pool:?}");
            let Ok(pool) = pool else { continue };
            placed += 1;
            for o in 0..p.h_out {
                assert_eq!(pool.h.elements(o).collect::<Vec<_>>(), real(o), "{window:?} on {len}");
                assert_eq!(pool.h.n_counted(o, false), real(o).len());
                assert_eq!(pool.h.n_counted(o, true), taps(o, len + bottom).len());
                assert!(real(o).len() <= pool.h.most_elements());
            }
            for i in 0..len {
                let found: Vec<_> = pool.h.windows(i).filter(|&o| pool.h.has_tap(o, i)).collect();
                assert_eq!(found, (0..p.h_out).filter(|&o| real(o).contains(&i)).collect::<Vec<_>>(), "{window:?} on {len}");
                assert!(pool.h.windows(i).len() <= pool.h.most_windows());
            }
        }
        assert!(placed > 1000, "{placed}");
    }

    #[test]
    fn windows_without_an_element_are_refused() {
        let refused = |window: Window2d, len| Pool::place(&window, len, len).unwrap_err().to_string();
        let e = refused(Window2d { padding: Padding::all(2), ..Window2d::new([2, 2]) }, 5);
        assert!(e.contains("padding (height)") && e.contains("got 2"), "{e}");
        let e = refused(Window2d { padding: Padding::all(1), dilation: [2, 2], ..Window2d::new([2, 2]) }, 1);
        assert!(e.contains("window (height)"), "{e}");
    }
}
