//! Writing: a plan is sealed, stored in one transaction, and published.

use std::sync::Arc;

use super::{
    errors::{storage_error, usage_too_small},
    ids::next_id,
    plan::{Applied, Change, Changes, Operation, Plan, Rules},
    state::{Ledger, State},
    sync::hold,
    users::UserState,
};
use crate::{
    crypto::{KeyRing, UserRoot, VaultRoot},
    entry::Entry,
    error::{Error, ErrorKind},
    metadata::Metadata,
    quota::Usage,
    sealed::{RowTag, SealedRow},
    secret::SecretId,
    snapshot::Snapshot,
    storage::{StorageError, Transaction, UserChange},
};

impl State {
    /// Does all operations or none. Every call that starts after this returns sees their effect.
    pub(super) fn write(
        &self,
        user: &UserState,
        operations: Vec<Operation>,
        is_batch: bool,
    ) -> Result<Vec<Applied>, Error> {
        let _writer = hold(&user.writer);
        let keys = self.keys()?;
        let base = self.load(user, &keys)?;
        let mut ledger = hold(&self.ledger);

        let mut vault_root = ledger.root.clone();
        let rules = self.rules(user);
        let mut plan = Plan::new(&base, &rules);
        let next_id = || {
            vault_root.last_id = next_id(vault_root.last_id, rules.now)?;
            Ok(SecretId::new(vault_root.last_id))
        };
        let done = plan.apply_all(operations, is_batch, next_id)?;
        let (changes, usage) = plan.finish()?;
        if changes.is_empty() {
            return Ok(done);
        }
        vault_root.usage = self.vault_usage(&vault_root, base.root.usage, usage)?;

        let write = Write::new(&keys, user, base, changes, usage, || {})?;
        self.commit(&keys, &mut ledger, vault_root, vec![write])?;
        Ok(done)
    }

    pub(super) fn rules(&self, user: &UserState) -> Rules<'_> {
        Rules {
            user: user.id(),
            now: self.settings.clock.now(),
            mask: self.settings.mask,
            quota: &self.settings.quota,
        }
    }

    /// Deletes everything a user has; returns whether that was something. The user's root is enough for that, so rows
    /// that are damaged can be deleted.
    pub(super) fn delete_user(&self, user: &UserState) -> Result<bool, Error> {
        let _writer = hold(&user.writer);
        let keys = self.keys()?;
        let base = match user.snapshot.load_full() {
            Some(loaded) => loaded,
            None => match self.stored(user, &keys)? {
                Some((tag, stored)) => Arc::new(Snapshot::unread(&keys, tag, stored.root)?),
                None => return Ok(false),
            },
        };
        if base.sealed_root.is_none() {
            return Ok(false);
        }
        let mut ledger = hold(&self.ledger);
        let mut vault_root = ledger.root.clone();
        vault_root.usage = self.vault_usage(&vault_root, base.root.usage, Usage::default())?;
        let write = Write {
            user,
            base,
            next: Snapshot::empty(user.id()),
            put: Vec::new(),
            delete: Vec::new(),
        };
        self.commit(&keys, &mut ledger, vault_root, vec![write])?;
        Ok(true)
    }

    /// Returns the vault's usage when one user's usage changes.
    pub(super) fn vault_usage(
        &self,
        root: &VaultRoot,
        before: Usage,
        after: Usage,
    ) -> Result<Usage, Error> {
        let usage = root.usage.replace(before, after);
        let usage = usage.ok_or_else(usage_too_small)?;
        self.settings.quota.check_vault(root.usage, usage)?;
        Ok(usage)
    }

    /// Stores writes of different users together with the vault's root, and publishes those of users who are loaded:
    /// the others' are read when they are first used. The caller holds the users' locks. If the store fails, nothing
    /// of the writes is published.
    pub(super) fn commit(
        &self,
        keys: &KeyRing,
        ledger: &mut Ledger,
        mut vault_root: VaultRoot,
        writes: Vec<Write<'_>>,
    ) -> Result<(), Error> {
        vault_root.counter += 1;
        let mut users = Vec::with_capacity(writes.len());
        let mut published = Vec::with_capacity(writes.len());
        for write in writes {
            let tag = keys.user_tag(write.user.id());
            let before = write.base.sealed_root.as_ref();
            if let Some(root) = before {
                vault_root.users.remove(&keys.user_member(tag, root));
                vault_root.user_count -= 1;
            }
            let after = write.next.sealed_root.as_ref();
            let member = after.map(|root| keys.user_member(tag, root));
            if let Some(member) = &member {
                vault_root.users.add(member);
                vault_root.user_count += 1;
            }
            users.push(UserChange {
                user: tag,
                expected: before.cloned(),
                root: after.cloned(),
                put: write.put,
                delete: write.delete,
            });
            published.push((write.user, tag, member, write.next));
        }
        let transaction = Transaction {
            keys: None,
            vault_root: Some(keys.seal_vault_root(&vault_root)?),
            users,
        };
        if let Err(error) = self.storage.commit(transaction) {
            // Someone else has written, so what is loaded is not what is stored. After any other failure, what is
            // loaded stays in use: calls must go on even when the disk is full.
            if matches!(error, StorageError::RootChanged) {
                for (user, ..) in published {
                    user.snapshot.store(None);
                    self.replace_in_rotation(user, None);
                }
            }
            return Err(storage_error(error));
        }
        ledger.root = vault_root;
        for (user, tag, member, next) in published {
            match member {
                Some(member) => ledger.members.insert(tag, member),
                None => ledger.members.remove(&tag),
            };
            let next = Arc::new(next);
            self.replace_in_rotation(user, Some(&next));
            if user.snapshot.load().is_some() {
                user.snapshot.store(Some(next));
            }
        }
        Ok(())
    }

    /// Replaces what a rotation has read of a user for itself, if it has.
    fn replace_in_rotation(&self, user: &UserState, next: Option<&Arc<Snapshot>>) {
        let kept = self.in_rotation.load_full();
        if kept.is_some_and(|kept| kept.root.user == user.id()) {
            self.in_rotation.store(next.cloned());
        }
    }
}

/// A change of a user's secrets.
pub(super) struct Write<'a> {
    pub(super) user: &'a UserState,
    /// The snapshot before the write.
    pub(super) base: Arc<Snapshot>,
    /// The snapshot after the write. Without a root, the user is gone.
    pub(super) next: Snapshot,
    /// The rows that are added or replaced.
    pub(super) put: Vec<(RowTag, Arc<SealedRow>)>,
    /// The rows that are deleted.
    pub(super) delete: Vec<RowTag>,
}

impl<'a> Write<'a> {
    /// Seals changes to a user's secrets, after which the user has this usage. `sealed` is called for each written
    /// secret.
    pub(super) fn new(
        keys: &KeyRing,
        user: &'a UserState,
        base: Arc<Snapshot>,
        changes: Changes,
        usage: Usage,
        mut sealed: impl FnMut(),
    ) -> Result<Write<'a>, Error> {
        let mut root = UserRoot {
            counter: base.root.counter + 1,
            usage,
            ..base.root.clone()
        };
        let mut entries: Vec<(SecretId, Option<Entry>)> = Vec::with_capacity(changes.len());
        let (mut put, mut delete) = (Vec::new(), Vec::new());
        for (id, change) in changes {
            let old = base.by_id(id);
            if let Some(old) = old {
                root.rows.remove(&keys.row_member(old.info(), old.row()));
            }
            match (change, old) {
                (Change::Write { metadata, value }, old) => {
                    let row = Arc::new(match (value, old) {
                        (Some(value), _) => keys.seal_row(&metadata, &value)?,
                        (None, Some(old)) => reseal(keys, old, &metadata)?,
                        (None, None) => return Err(storage_error(StorageError::RootChanged)),
                    });
                    root.rows.add(&keys.row_member(&metadata.info, &row));
                    put.push((keys.row_tag(user.id(), id), Arc::clone(&row)));
                    let last = entries.last().and_then(|(_, entry)| entry.as_ref());
                    let others = old.into_iter().chain(last);
                    let entry = Entry::new(*metadata, row, others).ok_or_else(|| {
                        Error::new(ErrorKind::Validation, "the secret's binding is not valid")
                    })?;
                    entries.push((id, Some(entry)));
                    sealed();
                }
                (Change::Delete, Some(_)) => {
                    delete.push(keys.row_tag(user.id(), id));
                    entries.push((id, None));
                }
                // Created and deleted by the same batch.
                (Change::Delete, None) => {}
            }
        }
        let sealed_root = keys.seal_user_root(&root)?;
        Ok(Write {
            user,
            next: base.changed(root, sealed_root, entries),
            base,
            put,
            delete,
        })
    }
}

/// Opens the value under the old metadata and seals it again under the new.
fn reseal(keys: &KeyRing, old: &Entry, metadata: &Metadata) -> Result<SealedRow, Error> {
    let value = old.open(keys)?;
    keys.seal_row(metadata, &value)
}
