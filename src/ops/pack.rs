//! Several tensors side by side in one: gathers the gradients of a page of parameters, so that one dispatch updates them all.

use crate::error::{Error, Result};
use crate::linalg::Real;
use crate::op::{
    Buffer, Case, Cost, Cpu, CpuArgs, Declaration, Op, Recorder, Source, moved_bytes, sample,
    shader,
};
use crate::ops::elements::Elements;
use crate::ops::fill::{FILL, fill};
use crate::tensor::{DType, Shape, TensorType};

static COPY: Source = shader!("copy");

/// What offsets are multiples of: 256 bytes, at which a binding may start.
const ALIGNMENT: usize = 64;

/// Any number of f32 tensors of any shapes to one f32 `[len]`: input `i` lies from element `offsets[i]` on, what lies between them is
/// 0. A producer can write an input where it is to lie ([`Op::placement`]); then nothing is copied.
#[derive(Clone, PartialEq, Debug)]
pub struct Pack {
    /// First element of each input, a multiple of 64; no two inputs overlap.
    pub offsets: Vec<usize>,
    /// Elements of the output.
    pub len: usize,
}

/// An input's place: elements `start .. end`, then zeros up to `next`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Place {
    input: usize,
    start: usize,
    end: usize,
    next: usize,
}

impl Pack {
    /// Places in the order of memory.
    fn places(&self, inputs: &[TensorType]) -> Vec<Place> {
        let at = |(input, (&start, ty)): (usize, (&usize, &TensorType))| {
            let end = start.saturating_add(ty.elements());
            Place { input, start, end, next: self.len }
        };
        let mut places: Vec<_> = self.offsets.iter().zip(inputs).enumerate().map(at).collect();
        places.sort_unstable_by_key(|p| p.start);
        for i in 1..places.len() {
            places[i - 1].next = places[i].start;
        }
        places
    }
}

impl Op for Pack {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>> {
        if inputs.is_empty() || inputs.len() != self.offsets.len() {
            return Err(Error::invalid("inputs", inputs.len(), format!("one for each of {} offsets, at least 1", self.offsets.len())));
        }
        let shape = Shape::from([self.len]).checked("len")?;
        for (i, ty) in inputs.iter().enumerate() {
            ty.expect_dtype(&format!("input {i}"), DType::F32)?;
            if !self.offsets[i].is_multiple_of(ALIGNMENT) {
                return Err(Error::invalid(format!("offset {i}"), self.offsets[i], format!("a multiple of {ALIGNMENT}")));
            }
        }
        for p in self.places(inputs) {
            if p.end > p.next {
                return Err(Error::invalid(
                    format!("offset {}", p.input),
                    format!("{}, so that {} ends at {}", p.start, inputs[p.input], p.end),
                    format!("an end no later than {}, where the next input or the end lies", p.next),
                ));
            }
        }
        Ok(vec![TensorType::f32(shape)])
    }

    fn gpu(&self, r: &mut Recorder<'_>) -> Result<()> {
        let places = self.places(r.inputs());
        let clear = |r: &mut Recorder<'_>, start, end| {
            if start < end {
                fill(r, Elements::aligned(end - start, 1), start, 0.0);
            }
        };
        clear(r, 0, places[0].start);
        for p in places {
            if r.placed(p.input) {
                clear(r, p.end, p.next);
                continue;
            }
            // Starts are multiples of 4; ends are if the input's and the output's lengths are.
            let alignment = if self.len.is_multiple_of(4) { p.end - p.start } else { 1 };
            let e = Elements::aligned(p.next - p.start, alignment);
            let params = [("n", e.n()), ("copied", e.count(p.end - p.start).into()), ("start", e.count(p.start).into())];
            let grid = e.grid(r);
            r.dispatch(e.kernel(&COPY, &[]), &[Buffer::Input(p.input)], &[Buffer::Output(0)], &params, grid);
        }
        Ok(())
    }

    fn cost(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Cost {
        Cost { flops: 0, bytes: moved_bytes(inputs, outputs) }
    }

    fn placement(&self, i: usize) -> Option<usize> {
        self.offsets.get(i).copied()
    }
}

impl Cpu for Pack {
    fn cpu<T: Real>(&self, args: &mut CpuArgs<'_, T>) {
        let y = args.y(0);
        let places = self.places(args.input_types());
        y[..places[0].start].fill(T::ZERO);
        for p in places {
            if !args.placed(p.input) {
                y[p.start..p.end].copy_from_slice(args.x(p.input));
            }
            y[p.end..p.next].fill(T::ZERO);
        }
    }
}

/// The list's entry.
pub static DECLARATIONS: &[Declaration] = &[Declaration {
    name: "pack",
    no_gradient: Some("it gathers gradients for the optimizer"),
    shaders: &[&COPY, &FILL],
    cases,
}];

fn cases() -> Vec<Case> {
    vec![
        Case::new("one", Pack { offsets: vec![0], len: 1 }, vec![sample::normal(1, [1])]),
        Case::new("exact", Pack { offsets: vec![0, 64], len: 1088 }, vec![sample::normal(2, [8, 8]), sample::normal(3, [2, 512])]),
        Case::new(
            "gaps_out_of_order",
            Pack { offsets: vec![1280, 64, 128, 192], len: 1400 },
            vec![sample::normal(4, [5, 3]), sample::normal(5, []), sample::normal(6, [3, 12]), sample::normal(7, [7, 149])],
        ),
        Case::new("odd_len", Pack { offsets: vec![64], len: 131 }, vec![sample::normal(8, [4, 4])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{DeviceProfile, View, ViewMut};
    use crate::ops::check;

    #[test]
    fn cases_hold() {
        check::declarations(DECLARATIONS);
    }

    #[test]
    fn placed_inputs_stay_and_gaps_are_cleared() {
        let op = Pack { offsets: vec![64, 128], len: 200 };
        let types = [TensorType::f32([10]), TensorType::f32([64])];
        let out = op.infer(&types).unwrap();
        let mut y = vec![9.0f32; 200];
        let second = vec![2.0f32; 64];
        let views = vec![View::Real(&[][..]), View::Real(&second)];
        op.cpu(&mut CpuArgs::new(&types, &out, views, vec![ViewMut::Real(y.as_mut_slice())], vec![true, false]));
        let want: Vec<f32> = (0..200).map(|i| [(64..74, 9.0), (128..192, 2.0)].iter().find(|(r, _)| r.contains(&i)).map_or(0.0, |x| x.1)).collect();
        assert_eq!(y, want);

        let profile = DeviceProfile::baseline();
        let kernels = |placed: &[bool]| {
            let mut r = Recorder::new(&profile, &types, &out, placed);
            op.gpu(&mut r).unwrap();
            r.dispatches.iter().map(|d| d.kernel.name).collect::<Vec<_>>()
        };
        assert_eq!(kernels(&[]), ["fill", "copy", "copy"]);
        assert_eq!(kernels(&[true, true]), ["fill", "fill", "fill"]);
        assert_eq!((op.placement(1), op.placement(2)), (Some(128), None));
    }

    #[test]
    fn bad_offsets_are_refused() {
        let x = TensorType::f32([65]);
        let infer = |offsets: &[usize], len| Pack { offsets: offsets.to_vec(), len }.infer(&vec![x.clone(); offsets.len()]);
        assert!(infer(&[0, 128], 193).is_ok());
        assert!(infer(&[], 64).is_err());
        for (offsets, len) in [([0, 64], 200), ([0, 100], 200), ([0, 0], 200), ([0, 128], 192), ([0, usize::MAX - 63], 200)] {
            assert!(infer(&offsets, len).is_err(), "{offsets:?}");
        }
        assert!(infer(&[0], usize::MAX).is_err());
        assert!(Pack { offsets: vec![0], len: 65 }.infer(&[TensorType::u32([65])]).is_err());
    }
}
