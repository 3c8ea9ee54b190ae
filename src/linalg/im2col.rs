//! Convolution windows as rows of a matrix, and back.

use super::Real;

/// Geometry of a convolution on NHWC images, for one group of channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Im2col {
    /// Input `[height, width]`.
    pub input: [usize; 2],
    /// Output `[height, width]`.
    pub output: [usize; 2],
    /// Window `[height, width]`.
    pub kernel: [usize; 2],
    /// Step `[down, right]`.
    pub stride: [usize; 2],
    /// Distance of the taps.
    pub dilation: [usize; 2],
    /// Padding above and on the left.
    pub pad: [usize; 2],
    /// Channels of the input.
    pub c_in: usize,
    /// First channel of the group.
    pub c0: usize,
    /// Channels of the group.
    pub c_group: usize,
}

/// Rows of output pixels whose columns, `row_len` elements a row, stay in a core's second-level cache.
pub fn column_block_rows(row_len: usize) -> usize {
    const CACHED_ELEMENTS: usize = 64 * 1024;
    (CACHED_ELEMENTS / row_len.max(1)).max(1)
}

impl Im2col {
    /// Elements of a row: `k_h * k_w * c_group`.
    pub fn row_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.c_group
    }

    /// Whether the windows are the pixels themselves, so that the input is the matrix.
    pub fn is_identity(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pad == [0, 0] && self.input == self.output
    }

    /// Calls `f(element of the input or none if the tap lies in the padding, element of the row)` for each tap of the windows of
    /// output row `h_out`, in order; a tap is `c_group` elements.
    fn taps(&self, h_out: usize, mut f: impl FnMut(Option<usize>, usize)) {
        let [h_in, w_in] = self.input;
        let mut at = 0;
        for w_out in 0..self.output[1] {
            for k_h in 0..self.kernel[0] {
                // Padding makes positions before the input negative; the wrapped value then is larger than any size.
                let h = (h_out * self.stride[0] + k_h * self.dilation[0]).wrapping_sub(self.pad[0]);
                for k_w in 0..self.kernel[1] {
                    let w = (w_out * self.stride[1] + k_w * self.dilation[1]).wrapping_sub(self.pad[1]);
                    let inside = h < h_in && w < w_in;
                    f(inside.then(|| (h * w_in + w) * self.c_in + self.c0), at);
                    at += self.c_group;
                }
            }
        }
    }

    /// Writes the windows of output row `h_out` of `image` to `columns`, `output[1]` rows of [`Im2col::row_len`].
    pub fn gather<T: Real>(&self, image: &[T], h_out: usize, columns: &mut [T]) {
        let n = self.c_group;
        self.taps(h_out, |from, to| {
            let to = &mut columns[to..to + n];
            match from {
                Some(from) if n == 1 => to[0] = image[from],
                Some(from) => to.copy_from_slice(&image[from..from + n]),
                None => to.fill(T::ZERO),
            }
        });
    }

    /// Adds `columns` to the pixels of `image` that they came from: the transpose of [`Im2col::gather`].
    pub fn scatter_add<T: Real>(&self, columns: &[T], h_out: usize, image: &mut [T]) {
        let n = self.c_group;
        self.taps(h_out, |to, from| {
            if let Some(to) = to {
                for (y, &x) in image[to..to + n].iter_mut().zip(&columns[from..from + n]) {
                    *y += x;
                }
            }
        });
    }
}
