//! Parallel loops over disjoint pieces of the output. Each piece is computed by one thread in a fixed order, so results don't depend
//! on the number of threads. What is inlined into a piece is compiled for the machine's widest vectors.
//!
//! A loop's body is compiled once for each kind of vectors, whether it runs on one thread or on many, and rayon's machinery, which is far more
//! code than most bodies, once for each type of element: both take a piece of work as `&dyn Fn`, whose call costs nothing beside the piece.

use super::vectorized;
use rayon::prelude::*;

/// Below this many elements a loop runs on the calling thread: waking others would cost more than it saves.
const SERIAL: usize = 16 * 1024;

/// Calls `f` on a thread of the pool. Parallel loops within it then begin at once; from another thread, each would first have to wake
/// one of the pool and wait to be woken itself.
pub fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// What is done with two things, by the index of the piece of work.
type Work<'f, A, B> = &'f (dyn Fn(usize, &mut A, &mut B) + Sync);

/// Calls `piece(index, chunk)` for chunks of `len` elements, on all threads.
fn on_threads<T: Send>(y: &mut [T], len: usize, piece: &(dyn Fn(usize, &mut [T]) + Sync)) {
    y.par_chunks_mut(len).enumerate().for_each(|(i, chunk)| piece(i, chunk));
}

/// Calls `f(index of the row, row)` for each row of `row_len` elements of `y`.
pub fn for_each_row<T: Send>(y: &mut [T], row_len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let rows = SERIAL.div_ceil(4).div_ceil(row_len).max(1);
    let block = |b: usize, block: &mut [T]| {
        vectorized(|| block.chunks_mut(row_len).enumerate().for_each(|(i, row)| f(b * rows + i, row)));
    };
    if y.len() <= SERIAL { block(0, y) } else { on_threads(y, row_len * rows, &block) }
}

/// Like [`for_each_row`] for two outputs with equally many rows, of `a_len` and `b_len` elements.
pub fn for_each_row_2<A: Send, B: Send>(
    a: &mut [A],
    a_len: usize,
    b: &mut [B],
    b_len: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let row = |i: usize, a: &mut [A], b: &mut [B]| vectorized(|| f(i, a, b));
    let n = a.chunks_mut(a_len).len().min(b.chunks_mut(b_len).len());
    if n * a_len.max(b_len) <= SERIAL {
        a.chunks_mut(a_len).zip(b.chunks_mut(b_len)).enumerate().for_each(|(i, (a, b))| row(i, a, b));
    } else {
        let row: Work<'_, [A], [B]> = &row;
        a.par_chunks_mut(a_len).zip(b.par_chunks_mut(b_len)).enumerate().for_each(|(i, (a, b))| row(i, a, b));
    }
}

/// Calls `f(offset of the chunk, chunk)` for pieces of `y`: for elementwise work, where a loop over a slice vectorises.
pub fn for_each_chunk<T: Send>(y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    let chunk = |i: usize, chunk: &mut [T]| vectorized(|| f(i * SERIAL, chunk));
    if y.len() <= SERIAL { chunk(0, y) } else { on_threads(y, SERIAL, &chunk) }
}

/// Calls `f(scratch, index of the chunk, chunk)` for chunks of `chunk_len` elements of `y`, each a larger piece of work. A scratch is
/// used for many chunks, so it holds whatever the last one left.
pub fn for_each_chunk_with<T: Send, S>(
    y: &mut [T],
    chunk_len: usize,
    scratch: impl Fn() -> S + Sync + Send,
    f: impl Fn(&mut S, usize, &mut [T]) + Sync + Send,
) {
    let scratch: &(dyn Fn() -> S + Sync) = &scratch;
    let work: Work<'_, S, [T]> = &|i, scratch, chunk| f(scratch, i, chunk);
    y.par_chunks_mut(chunk_len).enumerate().for_each_init(scratch, |scratch, (i, chunk)| work(i, scratch, chunk));
}

/// Like [`for_each_chunk`] for several outputs of the same length, cut alike.
pub fn for_each_chunks<T: Send, const N: usize>(ys: [&mut [T]; N], f: impl Fn(usize, [&mut [T]; N]) + Sync) {
    let len = ys.first().map_or(0, |y| y.len());
    let piece = |i: usize, piece: [&mut [T]; N]| vectorized(|| f(i * SERIAL, piece));
    if len <= SERIAL {
        piece(0, ys);
    } else {
        let mut cuts = ys.map(|y| y.chunks_mut(SERIAL));
        let pieces: Vec<_> =
            (0..len.div_ceil(SERIAL)).map(|_| cuts.each_mut().map(|cut| cut.next().unwrap_or_default())).collect();
        let piece: &(dyn Fn(usize, [&mut [T]; N]) + Sync) = &piece;
        pieces.into_par_iter().enumerate().for_each(|(i, p)| piece(i, p));
    }
}

/// `f(0), f(1), ... f(n - 1)`, each a larger piece of work, computed in parallel and returned in order.
pub fn map_indices<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    let f: &(dyn Fn(usize) -> R + Sync) = &|i| vectorized(|| f(i));
    (0..n).into_par_iter().map(f).collect()
}
