//! Progress of long operations.

/// How many secrets are done. Reported by [`Vault::verify_with_progress`](crate::Vault::verify_with_progress) and the
/// other methods whose names end like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many are done so far. This grows.
    pub done: u64,
    /// How many there are in all, as of now: concurrent writes can change it.
    pub total: u64,
}

impl Progress {
    pub(super) fn new(done: u64, total: u64) -> Progress {
        Progress { done, total }
    }
}
