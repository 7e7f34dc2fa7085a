//! The settings of an open vault.

#[cfg(feature = "file")]
use std::time::Duration;

use super::clock::Clock;
use crate::{audit::Audit, bounds::Bounds, call::InjectionPolicy, crypto::KdfParams, quota::Quota};

/// What a vault is built with, and keeps.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) quota: Quota,
    pub(super) bounds: Bounds,
    pub(super) policy: InjectionPolicy,
    pub(super) mask: bool,
    /// For new key slots. Without them, a passphrase that replaces another one does not become easier to guess.
    pub(super) kdf: Option<KdfParams>,
    pub(super) clock: Clock,
    pub(super) audit: Audit,
    /// How long to wait for a file that is open elsewhere.
    #[cfg(feature = "file")]
    pub(super) wait: Duration,
}
