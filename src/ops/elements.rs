//! What elementwise ops share on the GPU: whether a kernel loads four elements at once or one (`shaders/shared/elements_*.wgsl`).

use crate::op::{ELEMENTS_SCALAR, ELEMENTS_VEC4, GRID, Kernel, Recorder, Source, Word, shader};

/// Quotients in WGSL.
pub(crate) static QUOTIENT: Source = shader!("shared/quotient");

/// Invocations of a workgroup of every elementwise kernel.
const WORKGROUP: usize = 256;

/// How a kernel goes over tensors: in vec4, or element by element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements {
    lanes: usize,
    len: usize,
}

impl Elements {
    /// For tensors of `len` elements.
    pub fn of(len: usize) -> Elements {
        Elements::aligned(len, len)
    }

    /// For `len` elements that may be taken four at a time if `alignment` is a multiple of 4 (as `len` then must be).
    pub fn aligned(len: usize, alignment: usize) -> Elements {
        let lanes = if alignment.is_multiple_of(4) { 4 } else { 1 };
        Elements { lanes, len: len / lanes }
    }

    /// `len` elements of the tensor, a number that is as aligned as the tensor's, in `Element`s.
    pub fn count(&self, len: usize) -> usize {
        len / self.lanes
    }

    /// Whether four elements are taken at a time.
    pub fn is_vec4(&self) -> bool {
        self.lanes == 4
    }

    /// Number of `Element`s: the field `n` of such a kernel's `Params`.
    pub fn n(&self) -> Word {
        self.len.into()
    }

    /// The kernel `source` with its imports and the two that every such kernel needs.
    pub fn kernel(&self, source: &'static Source, imports: &[&'static Source]) -> Kernel {
        let elements = if self.lanes == 4 { &ELEMENTS_VEC4 } else { &ELEMENTS_SCALAR };
        let imports: Vec<_> = [&GRID, elements].into_iter().chain(imports.iter().copied()).collect();
        Kernel::new(source, &imports)
    }

    /// The kernel `source` with its imports for elements that it sees as words: `Bits`, one or four of them.
    pub fn words(&self, source: &'static Source, imports: &[&'static Source]) -> Kernel {
        let imports: Vec<_> = [&GRID].into_iter().chain(imports.iter().copied()).collect();
        Kernel::new(source, &imports).set("Bits", if self.is_vec4() { "vec4<u32>" } else { "u32" })
    }

    /// An invocation an `Element`.
    pub fn grid(&self, r: &Recorder<'_>) -> [u32; 3] {
        r.linear_grid(self.len.div_ceil(WORKGROUP))
    }
}
