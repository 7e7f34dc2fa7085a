//! Checking that the store holds what keyward stored last.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::{
    errors::{locked, rolled_back, storage_error},
    progress::Progress,
    state::{State, hold},
};
use crate::{
    crypto::{KeyRing, MemberDigest, UserRoot, VaultRoot},
    entry::Entry,
    error::Error,
    quota::Usage,
    sealed::{SealedRoot, UserTag},
    snapshot::open_rows,
    storage::{Storage, Stored, UserRows},
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

/// Returns the stored root of the vault.
pub(super) fn stored_root(storage: &dyn Storage, keys: &KeyRing) -> Result<VaultRoot, Error> {
    let sealed = storage.vault_root().map_err(storage_error)?;
    keys.open_vault_root(&sealed.ok_or_else(rolled_back)?)
}

/// Returns the stored users' roots, if they and the key slots are those that the vault's root describes.
pub(super) fn check_members(
    storage: &dyn Storage,
    keys: &KeyRing,
    root: &VaultRoot,
) -> Result<HashMap<UserTag, MemberDigest>, Error> {
    let mut census = Census::new(keys, root);
    census.slots(storage.keys().map_err(storage_error)?.as_deref());
    for (tag, user_root) in storage.user_roots().map_err(storage_error)? {
        census.add(tag, &user_root)?;
    }
    census.finish()
}

/// A sum of what is stored, to be compared with the vault's root.
struct Census<'a> {
    keys: &'a KeyRing,
    expected: &'a VaultRoot,
    found: VaultRoot,
    members: HashMap<UserTag, MemberDigest>,
}

impl<'a> Census<'a> {
    fn new(keys: &'a KeyRing, expected: &'a VaultRoot) -> Census<'a> {
        Census {
            keys,
            expected,
            found: VaultRoot {
                counter: expected.counter,
                last_id: expected.last_id,
                ..VaultRoot::default()
            },
            members: HashMap::new(),
        }
    }

    fn slots(&mut self, slots: Option<&[u8]>) {
        self.found.keys = self.keys.keys_digest(slots);
    }

    fn add(&mut self, tag: UserTag, sealed: &SealedRoot) -> Result<(), Error> {
        let usage = self.keys.open_user_root(tag, sealed)?.usage;
        let member = self.keys.user_member(tag, sealed);
        self.found.user_count += 1;
        self.found.users.add(&member);
        self.found.usage = self
            .found
            .usage
            .replace(Usage::default(), usage)
            .ok_or_else(rolled_back)?;
        self.members.insert(tag, member);
        Ok(())
    }

    fn finish(self) -> Result<HashMap<UserTag, MemberDigest>, Error> {
        if self.found == *self.expected {
            Ok(self.members)
        } else {
            Err(rolled_back())
        }
    }
}
