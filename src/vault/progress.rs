//! How far long work has come.

/// How many secrets are done. Told while they work by [`Vault::rotate_data_key`](crate::Vault::rotate_data_key),
/// [`Vault::verify_with_progress`](crate::Vault::verify_with_progress), and what is named likewise for copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Done so far. It grows.
    pub done: u64,
    /// What there is to be done in all, as of now: writes that go on meanwhile can change it.
    pub total: u64,
}

impl Progress {
    pub(super) fn new(done: u64, total: u64) -> Progress {
        Progress { done, total }
    }
}
