//! Synchronization: locks, and objects published to readers that take no lock.
//!
//! Under `cfg(shuttle)`, a test decides at each of these which thread continues: see `tests/schedules.rs`.

use std::sync::{Arc, PoisonError};
#[cfg(not(shuttle))]
pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize},
};

use arc_swap::{ArcSwapOption, Guard};
#[cfg(shuttle)]
pub(super) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize},
};

/// The data that a lock of a vault guards is consistent at every moment, so a panic elsewhere does not spoil it.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets other threads work until this is `true`. Most calls end within microseconds; a check or a copy of a large vault
/// takes long, and is not worth a processor that does nothing but ask.
pub(super) fn wait_until(is_true: impl Fn() -> bool) {
    #[cfg(not(shuttle))]
    for _ in 0..1000 {
        if is_true() {
            return;
        }
        std::thread::yield_now();
    }
    while !is_true() {
        #[cfg(not(shuttle))]
        std::thread::sleep(std::time::Duration::from_millis(1));
        #[cfg(shuttle)]
        shuttle::thread::yield_now();
    }
}

/// Lets another thread run in between, in a model.
#[derive(Debug, Default)]
struct Turn(#[cfg(shuttle)] shuttle::sync::atomic::AtomicBool);

impl Turn {
    #[cfg_attr(not(shuttle), expect(clippy::unused_self, reason = "for models alone"))]
    fn take(&self) {
        #[cfg(shuttle)]
        self.0.load(std::sync::atomic::Ordering::SeqCst);
    }
}

/// An optional immutable object that is read without a lock.
#[derive(Debug)]
pub(super) struct Published<T> {
    current: ArcSwapOption<T>,
    turn: Turn,
}

impl<T> Published<T> {
    pub(super) fn new(object: Option<T>) -> Published<T> {
        Published {
            current: ArcSwapOption::new(object.map(Arc::new)),
            turn: Turn::default(),
        }
    }

    pub(super) fn load(&self) -> Guard<Option<Arc<T>>> {
        self.turn.take();
        self.current.load()
    }

    pub(super) fn load_full(&self) -> Option<Arc<T>> {
        self.turn.take();
        self.current.load_full()
    }

    pub(super) fn store(&self, object: Option<Arc<T>>) {
        drop(self.swap(object));
    }

    /// Returns the previous object. When this returns, its strong count includes everyone who still reads it.
    pub(super) fn swap(&self, object: Option<Arc<T>>) -> Option<Arc<T>> {
        self.turn.take();
        self.current.swap(object)
    }
}

impl<T> Default for Published<T> {
    fn default() -> Published<T> {
        Published::new(None)
    }
}
