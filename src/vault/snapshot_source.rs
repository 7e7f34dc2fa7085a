//! Where a snapshot comes from, and where its content is kept.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use super::sync::Mutex;
use crate::storage::FrozenStorage;

#[derive(Debug)]
pub(super) struct SnapshotSource {
    pub(super) path: PathBuf,
    pub(super) storage: FrozenStorage,
    /// Held while it is read again.
    pub(super) reloading: Mutex<()>,
    /// Whether some rows were found to be wrong. The next reload then reads the file even if its root is unchanged: the
    /// root does not show whether the rows are in order again.
    pub(super) is_in_doubt: AtomicBool,
}

impl SnapshotSource {
    pub(super) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::SeqCst);
    }
}
