//! Reads the samples of the batches to come ahead of the device that trains on them.

use super::feed::Source;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Batches that are read ahead, with the one that comes next.
const AHEAD: usize = 4;

/// The samples of a batch.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Samples {
    /// Their numbers in the data set.
    pub indices: Vec<u32>,
    /// Their images as they are stored, unless the data set lies on the device.
    pub images: Option<Tensor>,
}

impl Samples {
    /// Reads these samples.
    pub fn of(data: &Dataset, source: Source, indices: Vec<u32>) -> Result<Samples> {
        let images = match source {
            Source::Resident(_) => None,
            Source::Host => Some(data.raw_images(&indices)?),
        };
        Ok(Samples { indices, images })
    }

    /// With the first sample again behind the last one, until there are `n`.
    pub fn padded(self, n: usize) -> Result<Samples> {
        fn pad<T: Copy>(values: &[T], n_samples: usize, n: usize) -> Vec<T> {
            let len = values.len() / n_samples;
            [values, &values[..len].repeat(n.saturating_sub(n_samples))].concat()
        }
        let Samples { mut indices, images } = self;
        let n_samples = indices.len();
        let pad_images = |images: Tensor| {
            let mut dims = images.shape().dims().to_vec();
            dims[0] = n;
            match images.data() {
                Data::U8(values) => Tensor::u8(dims, pad(values, n_samples, n)),
                Data::F32(values) => Tensor::f32(dims, pad(values, n_samples, n)),
                Data::U32(values) => Tensor::u32(dims, pad(values, n_samples, n)),
            }
        };
        let images = match images {
            Some(images) if n > n_samples => Some(pad_images(images)?),
            images => images,
        };
        indices.resize(n.max(n_samples), indices[0]);
        Ok(Samples { indices, images })
    }
}

/// Hands out the samples of batches in the order that it was told.
///
/// Images that are read when they are asked for are read by threads, one by one, a few batches ahead; a thread that needs a batch that isn't
/// whole yet takes part. What comes out depends on the data set and the order alone. In a browser, which has no threads, the caller reads all.
pub(crate) struct Feeder<'a> {
    data: &'a Dataset,
    source: Source,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Something to read, or the end.
    work: Condvar,
    /// A batch is whole, or a thread is gone.
    done: Condvar,
}

struct State {
    /// The batches that aren't in the window yet.
    batches: Box<dyn Iterator<Item = Vec<u32>> + Send>,
    window: VecDeque<Slot>,
    /// Number of the window's first batch.
    first: usize,
    stopped: bool,
    panicked: bool,
}

/// A batch that is being read.
struct Slot {
    indices: Vec<u32>,
    images: Vec<Option<Result<Arc<[u8]>>>>,
    /// Images that somebody has begun to read, and those that aren't there yet.
    begun: usize,
    missing: usize,
}

/// An image to read: number of the batch, place in it, number in the data set.
type Task = (usize, usize, u32);

impl fmt::Debug for Feeder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeder").field("data", &self.data.name()).field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl<'a> Feeder<'a> {
    /// Of these batches, none empty, with so many threads for images that have to be read.
    pub fn new(
        data: &'a Dataset,
        source: Source,
        threads: usize,
        batches: impl Iterator<Item = Vec<u32>> + Send + 'static,
    ) -> Feeder<'a> {
        let batches = Box::new(batches);
        let state = State { batches, window: VecDeque::new(), first: 0, stopped: false, panicked: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() });
        // Copying samples that are in memory takes less than a thread's waking up.
        let n_threads = if data.is_lazy() && !cfg!(target_arch = "wasm32") { threads } else { 0 };
        let start = |_| {
            let (data, shared) = (data.clone(), shared.clone());
            std::thread::Builder::new().name("loader".to_string()).spawn(move || shared.run(&data)).ok()
        };
        // With no thread to be had, the caller reads all itself.
        let threads = (0..n_threads).map_while(start).collect();
        Feeder { data, source, shared, threads }
    }

    /// The samples of the next batch; none after the last.
    ///
    /// # Errors
    /// What kept an image from being read, and all others of its class.
    pub fn next(&mut self) -> Result<Option<Samples>> {
        if !self.data.is_lazy() {
            let next = self.shared.lock().batches.next();
            return next.map(|indices| Samples::of(self.data, self.source, indices)).transpose();
        }
        let mut state = self.shared.lock();
        loop {
            if state.panicked {
                return Err(Error::invalid("loader thread", "a panic", "images, or errors").at(self.data.name()));
            }
            state.fill();
            let Some(slot) = state.window.front() else { return Ok(None) };
            if slot.missing == 0 {
                break;
            }
            state = match state.task(1) {
                Some(task) => {
                    drop(state);
                    let image = self.data.read_one(task.2);
                    self.shared.put(task, image)
                }
                None => self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let slot = state.window.pop_front();
        state.first += 1;
        drop(state);
        self.shared.work.notify_all();
        let Some(Slot { indices, images, .. }) = slot else { return Ok(None) };
        let images = images.into_iter().flatten().collect::<Result<Vec<_>>>()?;
        let shape = self.data.image_shape().with_batch(indices.len());
        Ok(Some(Samples { images: Some(Tensor::u8(shape, images.concat())?), indices }))
    }
}

impl Drop for Feeder<'_> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of it was reported to whoever asked for a batch.
            drop(thread.join());
        }
    }
}

impl State {
    /// Takes batches into the window until it is full.
    fn fill(&mut self) {
        while self.window.len() < AHEAD {
            let Some(indices) = self.batches.next() else { return };
            let n = indices.len();
            self.window.push_back(Slot { indices, images: vec![None; n], begun: 0, missing: n });
        }
    }

    /// The next image that nobody reads yet, of the first so many batches.
    fn task(&mut self, batches: usize) -> Option<Task> {
        let (number, slot) =
            self.window.iter_mut().enumerate().take(batches).find(|(_, slot)| slot.begun < slot.indices.len())?;
        let at = slot.begun;
        slot.begun += 1;
        Some((self.first + number, at, slot.indices[at]))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn run(&self, data: &Dataset) {
        /// Tells the caller of a thread that ended by a panic, which would wait for it forever.
        struct Watch<'a>(&'a Shared);
        impl Drop for Watch<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.lock().panicked = true;
                    self.0.done.notify_all();
                }
            }
        }
        let watch = Watch(self);
        let mut state = self.lock();
        while !state.stopped {
            state.fill();
            state = match state.task(AHEAD) {
                Some(task) => {
                    drop(state);
                    let image = data.read_one(task.2);
                    self.put(task, image)
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        drop(state);
        drop(watch);
    }

    /// Puts an image in its place.
    fn put(&self, (batch, at, _): Task, image: Result<Arc<[u8]>>) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let first = state.first;
        // A batch leaves the window only when it is whole.
        let slot = &mut state.window[batch - first];
        slot.images[at] = Some(image);
        slot.missing -= 1;
        if slot.missing == 0 {
            self.done.notify_all();
        }
        state
    }
}
