//! Synchronization: locks, and objects published to readers that take no lock.
//!
//! Under `cfg(shuttle)`, a test decides at each of these which thread continues: see `tests/schedules.rs`.

use std::sync::Arc;
#[cfg(not(shuttle))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

use arc_swap::{ArcSwapOption, Guard};
#[cfg(shuttle)]
pub(super) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

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

/// An optional immutable object that is read without a lock.
#[derive(Debug)]
pub(super) struct Published<T> {
    current: ArcSwapOption<T>,
    #[cfg(shuttle)]
    turn: shuttle::sync::atomic::AtomicBool,
}

impl<T> Published<T> {
    pub(super) fn new(object: Option<T>) -> Published<T> {
        Published {
            current: ArcSwapOption::new(object.map(Arc::new)),
            #[cfg(shuttle)]
            turn: false.into(),
        }
    }

    pub(super) fn load(&self) -> Guard<Option<Arc<T>>> {
        self.turn();
        self.current.load()
    }

    pub(super) fn load_full(&self) -> Option<Arc<T>> {
        self.turn();
        self.current.load_full()
    }

    pub(super) fn store(&self, object: Option<Arc<T>>) {
        drop(self.swap(object));
    }

    /// Returns the previous object. When this returns, its strong count includes everyone who still reads it.
    pub(super) fn swap(&self, object: Option<Arc<T>>) -> Option<Arc<T>> {
        self.turn();
        self.current.swap(object)
    }

    /// Lets another thread run in between.
    #[cfg_attr(not(shuttle), expect(clippy::unused_self, reason = "for tests alone"))]
    fn turn(&self) {
        #[cfg(shuttle)]
        self.turn.load(std::sync::atomic::Ordering::SeqCst);
    }
}
