//! Parallel loops over disjoint pieces of the output. Each piece is computed by one thread in a fixed order, so results don't depend
//! on the number of threads. What is inlined into a piece is compiled for the machine's widest vectors.

use super::vectorized;
use rayon::prelude::*;

/// Below this many elements a loop runs on the calling thread: waking others would cost more than it saves.
const SERIAL: usize = 16 * 1024;

/// Calls `f` on a thread of the pool. Parallel loops within it then begin at once; from another thread, each would first have to wake
/// one of the pool and wait to be woken itself.
pub fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// Calls `f(index of the row, row)` for each row of `row_len` elements of `y`.
pub fn for_each_row<T: Send>(y: &mut [T], row_len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if y.len() <= SERIAL {
        vectorized(|| y.chunks_mut(row_len).enumerate().for_each(|(i, row)| f(i, row)));
    } else {
        let rows = SERIAL.div_ceil(4).div_ceil(row_len).max(1);
        y.par_chunks_mut(row_len * rows).enumerate().for_each(|(c, block)| {
            vectorized(|| block.chunks_mut(row_len).enumerate().for_each(|(i, row)| f(c * rows + i, row)));
        });
    }
}

/// Like [`for_each_row`] for two outputs with equally many rows, of `a_len` and `b_len` elements.
pub fn for_each_row_2<A: Send, B: Send>(
    a: &mut [A],
    a_len: usize,
    b: &mut [B],
    b_len: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let rows = a.chunks_mut(a_len).zip(b.chunks_mut(b_len)).enumerate();
    if rows.len() * a_len.max(b_len) <= SERIAL {
        vectorized(|| rows.for_each(|(i, (a, b))| f(i, a, b)));
    } else {
        let rows = a.par_chunks_mut(a_len).zip(b.par_chunks_mut(b_len)).enumerate();
        rows.for_each(|(i, (a, b))| vectorized(|| f(i, a, b)));
    }
}

/// Calls `f(offset of the chunk, chunk)` for pieces of `y`: for elementwise work, where a loop over a slice vectorises.
pub fn for_each_chunk<T: Send>(y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    if y.len() <= SERIAL {
        vectorized(|| f(0, y));
    } else {
        y.par_chunks_mut(SERIAL).enumerate().for_each(|(i, chunk)| vectorized(|| f(i * SERIAL, chunk)));
    }
}

/// Calls `f(scratch, index of the chunk, chunk)` for chunks of `chunk_len` elements of `y`, each a larger piece of work. A scratch is
/// used for many chunks, so it holds whatever the last one left.
pub fn for_each_chunk_with<T: Send, S>(
    y: &mut [T],
    chunk_len: usize,
    scratch: impl Fn() -> S + Sync + Send,
    f: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
) {
    y.par_chunks_mut(chunk_len).enumerate().for_each_init(scratch, |s, (i, chunk)| f(s, i, chunk));
}

/// Like [`for_each_chunk`] for several outputs of the same length, cut alike.
pub fn for_each_chunks<T: Send, const N: usize>(ys: [&mut [T]; N], f: impl Fn(usize, [&mut [T]; N]) + Sync) {
    let len = ys.first().map_or(0, |y| y.len());
    if len <= SERIAL {
        vectorized(|| f(0, ys));
    } else {
        let mut cuts = ys.map(|y| y.chunks_mut(SERIAL));
        let pieces: Vec<_> =
            (0..len.div_ceil(SERIAL)).map(|_| cuts.each_mut().map(|cut| cut.next().unwrap_or_default())).collect();
        pieces.into_par_iter().enumerate().for_each(|(i, piece)| vectorized(|| f(i * SERIAL, piece)));
    }
}

/// `f(0), f(1), ... f(n - 1)`, each a larger piece of work, computed in parallel and returned in order.
pub fn map_indices<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    (0..n).into_par_iter().map(|i| vectorized(|| f(i))).collect()
}
