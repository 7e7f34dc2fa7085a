//! Checking that the store holds what keyward stored last.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::{
    census::Census,
    errors::{locked, rolled_back, storage_error},
    progress::Progress,
    state::State,
    sync::hold,
};
#[cfg(feature = "file")]
use crate::error::ErrorKind;
use crate::{
    crypto::{KeyRing, UserRoot, VaultRoot},
    entry::Entry,
    error::Error,
    sealed::{SealedRoot, UserTag},
    snapshot::open_rows,
    storage::{Stored, UserRows},
};

/// A part of what is stored, checked against the roots. Values are not opened.
#[cfg_attr(
    not(feature = "file"),
    expect(dead_code, reason = "copies of a vault are files")
)]
pub(super) enum Checked {
    Vault {
        keys: Option<Vec<u8>>,
        root: SealedRoot,
    },
    User {
        tag: UserTag,
        stored: UserRows,
        root: UserRoot,
        /// Oldest first.
        entries: Vec<Entry>,
    },
}

impl State {
    /// Checks everything that is stored: roots against each other, rows against roots, and that every value opens.
    pub(super) fn verify(&self, mut progress: impl FnMut(Progress)) -> Result<(), Error> {
        let mut done = 0;
        self.check(|keys, root, part| {
            let Checked::User { entries, .. } = part else {
                return Ok(());
            };
            for entry in entries {
                self.still_unlocked()?;
                entry.open(keys)?;
                done += 1;
                progress(Progress::new(done, root.usage.secrets));
            }
            Ok(())
        })
    }

    /// Checks what is stored, as of one moment, and passes it to `visit` part by part: first what belongs to the
    /// whole vault. Writes proceed meanwhile. Only when this returns has everything been checked.
    pub(super) fn check(
        &self,
        visit: impl FnMut(&KeyRing, &VaultRoot, Checked) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let checked = self.check_parts(visit);
        #[cfg(feature = "file")]
        if let (Err(error), Some(source)) = (&checked, &self.source)
            && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::RolledBack)
        {
            source.doubt();
        }
        checked
    }

    fn check_parts(
        &self,
        mut visit: impl FnMut(&KeyRing, &VaultRoot, Checked) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Until the scan has begun, so that the keys, the root and what is scanned belong together.
        let (locking, ledger) = (hold(&self.locking), hold(&self.ledger));
        let keys = self.keys()?;
        let root = ledger.root.clone();
        let mut held = Some((locking, ledger));
        let mut census = Census::new(&keys, &root);
        self.scan(|part| {
            held = None;
            self.still_unlocked()?;
            let part = match part {
                Stored::Vault {
                    keys: slots,
                    root: sealed,
                } => {
                    let sealed = sealed.ok_or_else(rolled_back)?;
                    if keys.open_vault_root(&sealed)? != root {
                        return Err(rolled_back());
                    }
                    census.slots(slots.as_deref());
                    Checked::Vault {
                        keys: slots,
                        root: sealed,
                    }
                }
                Stored::User(tag, stored) => {
                    census.add(tag, &stored.root)?;
                    let (root, entries) = open_rows(&keys, tag, &stored)?;
                    Checked::User {
                        tag,
                        stored,
                        root,
                        entries,
                    }
                }
            };
            visit(&keys, &root, part)
        })?;
        census.finish().map(drop)
    }

    /// Passes everything stored to `visit` until there is an error. A panic of `visit` reaches the caller, not the
    /// store.
    fn scan(&self, mut visit: impl FnMut(Stored) -> Result<(), Error>) -> Result<(), Error> {
        let mut outcome = Ok(Ok(()));
        self.storage
            .scan(&mut |part| {
                outcome = catch_unwind(AssertUnwindSafe(|| visit(part)));
                match &outcome {
                    Ok(Ok(())) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })
            .map_err(storage_error)?;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Ends long work when the vault is locked or about to be.
    pub(super) fn still_unlocked(&self) -> Result<(), Error> {
        if self.is_being_locked() {
            Err(locked())
        } else {
            Ok(())
        }
    }
}
