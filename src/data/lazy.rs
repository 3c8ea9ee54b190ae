//! Images that are read when a batch asks for them.

use super::dataset::default_threads;
use crate::error::{Error, Result};
use crate::tensor::Shape;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Images that a data set reads one by one, on several threads: what [`Dataset::lazy`](super::Dataset::lazy) takes. `Debug` is for messages.
pub trait LazyImages: Debug + Send + Sync {
    /// Image number `i`: its bytes, row by row, channels last. The same each time.
    ///
    /// # Errors
    /// Whatever keeps the image from being read; a readable one of its class takes its place.
    fn read(&self, i: usize) -> Result<Vec<u8>>;

    /// What image number `i` is called in messages, as the path of its file.
    fn name(&self, i: usize) -> String;
}

/// `f` of all numbers below `n`, in their order, by several threads.
pub(super) fn on_threads<T: Send>(n: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|&i| i < n);
        taken.map(|i| (i, f(i))).collect::<Vec<_>>()
    };
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..default_threads().min(n)).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for thread in threads {
            match thread.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, value)| value).collect()
}

/// Images, those of them that are kept in memory, and those that turned out to be broken.
#[derive(Debug)]
struct Store {
    images: Arc<dyn LazyImages>,
    shape: Shape,
    kept: Vec<OnceLock<Arc<[u8]>>>,
    /// Bytes that may still be kept.
    room: AtomicUsize,
    /// Why, by number.
    broken: Mutex<BTreeMap<u32, String>>,
}

/// Some of a store's images, in an order of their own.
#[derive(Clone, Debug)]
pub(super) struct Lazy {
    store: Arc<Store>,
    rows: Arc<[u32]>,
}

impl PartialEq for Lazy {
    /// Whether these are the same images of the same store.
    fn eq(&self, other: &Lazy) -> bool {
        Arc::ptr_eq(&self.store.images, &other.store.images) && self.rows == other.rows
    }
}

impl Lazy {
    pub fn new(images: Arc<dyn LazyImages>, shape: Shape, n: u32) -> Lazy {
        Lazy { store: Store::new(images, shape, n, 0), rows: (0..n).collect() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Shape of an image.
    pub fn shape(&self) -> &Shape {
        &self.store.shape
    }

    pub fn select(&self, indices: &[u32]) -> Lazy {
        Lazy { rows: indices.iter().map(|&i| self.rows[i as usize]).collect(), store: self.store.clone() }
    }

    /// The same, of which images of this many bytes together stay in memory once they were read.
    pub fn cached(&self, bytes: usize) -> Lazy {
        let Store { images, shape, kept, .. } = &*self.store;
        Lazy { store: Store::new(images.clone(), shape.clone(), kept.len() as u32, bytes), rows: self.rows.clone() }
    }

    /// Names of the images that couldn't be read so far, and why.
    pub fn broken(&self) -> Vec<(String, String)> {
        let broken = self.store.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.iter().map(|(&i, why)| (self.store.images.name(i as usize), why.clone())).collect()
    }

    /// Image number `i`, or the next after it of the same label that can be read.
    pub fn read(&self, i: usize, labels: &[u32]) -> Result<Arc<[u8]>> {
        let first = match self.store.read(self.rows[i]) {
            Err(e) => e,
            image => return image,
        };
        let n = self.rows.len();
        let alike = (1..n).map(|k| (i + k) % n).filter(|&other| labels.get(other) == labels.get(i));
        alike.map(|other| self.store.read(self.rows[other])).find_map(Result::ok).ok_or(first)
    }
}

impl Store {
    fn new(images: Arc<dyn LazyImages>, shape: Shape, n: u32, room: usize) -> Arc<Store> {
        let kept = (0..n).map(|_| OnceLock::new()).collect();
        Arc::new(Store { images, shape, kept, room: room.into(), broken: Mutex::default() })
    }

    fn read(&self, i: u32) -> Result<Arc<[u8]>> {
        let at = i as usize;
        if let Some(image) = self.kept[at].get() {
            return Ok(image.clone());
        }
        let name = || self.images.name(at);
        if let Some(why) = self.broken.lock().unwrap_or_else(PoisonError::into_inner).get(&i) {
            return Err(Error::invalid(name(), why, "an image"));
        }
        // A panic would end a thread that others wait for.
        let read = catch_unwind(AssertUnwindSafe(|| self.images.read(at)));
        let image = read.unwrap_or_else(|_| Err(Error::invalid(name(), "a panic", "an image"))).and_then(|image| {
            let want = self.shape.elements();
            match image.len() == want {
                true => Ok(image),
                false => {
                    Err(Error::invalid(name(), format!("{} bytes", image.len()), format!("{want}, for shape {}", self.shape)))
                }
            }
        });
        match image {
            Ok(image) => Ok(self.keep(at, image.into())),
            Err(e) => {
                let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
                // The file is named beside it.
                let why = if let Error::File { message, .. } = &e { message.clone() } else { e.to_string() };
                if broken.insert(i, why).is_none() {
                    log::warn!("{e}; another of its class takes its place ({} so far)", broken.len());
                }
                Err(e)
            }
        }
    }

    /// Keeps an image if there is room. Those that come first stay: an epoch reads all, so none is more worth keeping.
    fn keep(&self, at: usize, image: Arc<[u8]>) -> Arc<[u8]> {
        let len = image.len();
        let has_room = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(len)).is_ok();
        // Another thread may have been faster.
        if has_room && self.kept[at].set(image.clone()).is_err() {
            self.room.fetch_add(len, Ordering::Relaxed);
        }
        image
    }
}
