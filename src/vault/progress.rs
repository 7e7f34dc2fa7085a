//! How far long work has come.

/// How many of a vault's secrets are done. Told by [`Vault::verify_with_progress`](crate::Vault::verify_with_progress) and
/// [`Vault::rotate_data_key`](crate::Vault::rotate_data_key) while they work.
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
