//! What ops use on the CPU: number types, parallel loops, matrix products, convolutions. The only place that names `rayon`, `gemm` and
//! `pulp`.

mod conv;
mod few_rows;
mod im2col;
mod matmul;
mod normal;
mod parallel;
mod real;
mod scratch;
mod simd;

pub use conv::{Elementwise, Epilogue, Geometry, LONGEST_PANEL, conv2d, conv2d_grad_input, conv2d_grad_weight, winograd};
pub use few_rows::matmul_few_rows;
pub use im2col::{Im2col, column_block_rows};
pub use matmul::{Matrix, matmul};
pub use normal::{TAIL_ERROR, tail_by_exp};
pub use parallel::{for_each_chunk, for_each_chunk_with, for_each_chunks, for_each_row, for_each_row_2, in_pool, map_indices};
pub use real::Real;
pub use scratch::with_scratch;
pub use simd::{Vectorize, vectorized};
