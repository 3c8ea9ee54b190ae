//! What ops use on the CPU: number types, parallel loops, matrix products, im2col. The only place that names `rayon` and `gemm`.

mod im2col;
mod matmul;
mod parallel;
mod real;

pub use im2col::{Im2col, column_block_rows};
pub use matmul::{Matrix, matmul};
pub use parallel::{for_each_chunk, for_each_chunk_with, for_each_chunks, for_each_row, for_each_row_2, map_indices};
pub use real::Real;
