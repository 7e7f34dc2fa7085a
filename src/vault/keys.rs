//! Key slots, and the rotation of the master key and the data key.

use std::sync::Arc;

use super::{
    Vault,
    errors::{no_key_slots, rolled_back, storage_error},
    progress::Progress,
    slots::KeySlots,
    state::{State, decode_slots},
    sync::hold,
    users::{UserHandle, UserState, Users},
    write::Write,
};
#[cfg(feature = "file")]
use crate::storage::StorageError;
use crate::{
    audit::{AuditAction, AuditEvent},
    crypto::{KeyRing, KeySlotInfo, KeySource, UserRoot, VaultRoot},
    error::Error,
    sealed::RowTag,
    secret::SecretId,
    snapshot::Snapshot,
    storage::Transaction,
};

/// The number of records sealed again in one transaction: enough not to wait for the disk all the time, and few
/// enough that a write in between does not wait long. In the crate's own tests it is small, so that a few records
/// take several transactions.
const ROTATION_BATCH: usize = if cfg!(test) { 8 } else { 1024 };

impl Vault {
    /// Returns the ways to open this vault; none for a vault in memory that was made without a key.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, or `Corrupt`.
    pub fn key_slots(&self) -> Result<Vec<KeySlotInfo>, Error> {
        self.state.record_failed(self.state.key_slots())
    }

    /// Adds a way to open this vault. `current` is a key that opens it now.
    ///
    /// If `new` already opens a slot, it gets a second one and opens the vault until both are removed.
    /// [`change_key`](Vault::change_key) replaces all slots that a key opens.
    ///
    /// ```
    /// use keyward::{KeySource, Vault};
    ///
    /// let vault = Vault::builder().in_memory_with_key(KeySource::raw([1; 32]))?;
    /// let recovery = vault.add_key(KeySource::raw([1; 32]), KeySource::raw([2; 32]))?;
    /// vault.lock()?;
    /// vault.unlock(KeySource::raw([2; 32]))?;
    /// vault.remove_key_slot(recovery.id)?;
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `WrongKey` if `current` opens no slot, `Validation` if there are 16 slots, if one of the two [cannot be a
    /// key](KeySource#errors) or [no slot can be made](KeySource#new-key-slots) for `new`, `Unsupported` for a vault
    /// without key slots, `Locked`, or `Storage`. Nothing has changed then.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the sources are wiped when this returns"
    )]
    pub fn add_key(&self, current: KeySource, new: KeySource) -> Result<KeySlotInfo, Error> {
        let slot = self.state.add_key(&current, &new);
        let action = AuditAction::KeySlotAdded;
        self.state
            .record_with(action, slot, |slot, event| AuditEvent {
                key_slot: Some(slot.id),
                ..event
            })
    }

    /// Replaces the key `current` with `new`, for example with another passphrase. Only the key slots are written,
    /// whatever the size of the vault. If `current` opens several slots, a single slot for `new` replaces them
    /// all. A passphrase that replaces another one takes at least as much work to guess, unless
    /// [`VaultBuilder::kdf_params`](crate::VaultBuilder::kdf_params) says otherwise.
    ///
    /// # Errors
    ///
    /// Those of [`add_key`](Vault::add_key).
    ///
    /// # Security
    ///
    /// Earlier copies of the vault can still be opened with the old key, and so can the vault itself by anyone who
    /// used the old key to learn the master key: see [`rotate_master_key`](Vault::rotate_master_key).
    ///
    /// If `current` is a provider, a slot that it fails to unwrap at the moment counts as another provider's, and
    /// stays. After an outage, check [`key_slots`](Vault::key_slots).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the sources are wiped when this returns"
    )]
    pub fn change_key(&self, current: KeySource, new: KeySource) -> Result<KeySlotInfo, Error> {
        let slot = self.state.change_key(&current, &new);
        let action = AuditAction::KeySlotChanged;
        self.state
            .record_with(action, slot, |slot, event| AuditEvent {
                key_slot: Some(slot.id),
                ..event
            })
    }

    /// Removes a way to open this vault. The last one cannot be removed.
    ///
    /// # Errors
    ///
    /// `Validation` if there is no such slot or it is the last, `Unsupported` for a vault without key slots,
    /// `Locked`, or `Storage`. Nothing has changed then.
    ///
    /// # Security
    ///
    /// See [`change_key`](Vault::change_key).
    pub fn remove_key_slot(&self, slot: u32) -> Result<(), Error> {
        let removed = self.state.remove_key(slot);
        let action = AuditAction::KeySlotRemoved;
        self.state
            .record_with(action, removed, |(), event| AuditEvent {
                key_slot: Some(slot),
                ..event
            })
    }

    /// Creates a new master key. Afterwards only the keys in `keep` open the vault; each of them must open it now.
    /// Every other key slot is removed. Passphrases take at least as much work to guess as before, unless
    /// [`VaultBuilder::kdf_params`](crate::VaultBuilder::kdf_params) says otherwise.
    ///
    /// To revoke a person's access: remove their key slot, then call this and
    /// [`rotate_data_key`](Vault::rotate_data_key). Earlier copies of the vault stay readable with the old key.
    ///
    /// # Errors
    ///
    /// `WrongKey` if one of the keys opens no slot; `Validation` if there are no keys or more than 16, if one [cannot
    /// be a key](KeySource#errors), or if a key opens only slots that earlier keys in `keep` already account for;
    /// `Unsupported` for a vault without key slots; `Locked`; or `Storage`. Nothing has changed then.
    pub fn rotate_master_key(
        &self,
        keep: impl IntoIterator<Item = KeySource>,
    ) -> Result<(), Error> {
        let keep: Vec<KeySource> = keep.into_iter().collect();
        self.state.record(
            AuditAction::MasterKeyRotated,
            self.state.rotate_master_key(&keep),
        )
    }

    /// Seals every secret again under a new data key. `current` is a key that opens the vault.
    ///
    /// Calls are resolved meanwhile, and writes proceed in between. If the rotation is interrupted, nothing is
    /// lost: call this again to continue it. It then starts over with another new data key, since whoever could
    /// open the vault in the meantime may know the first one.
    ///
    /// # Errors
    ///
    /// `WrongKey` if `current` opens no slot, also if it was changed or removed meanwhile: call this again with a key
    /// that opens the vault now. `Validation` if it [cannot be a key](KeySource#errors), `Unsupported` for a vault
    /// without key slots, `Locked` (also if the vault is locked meanwhile), `Storage`, or `Corrupt`.
    pub fn rotate_data_key(&self, current: KeySource) -> Result<(), Error> {
        self.rotate_data_key_with_progress(current, |_| {})
    }

    /// Does what [`rotate_data_key`](Vault::rotate_data_key) does, and reports how many secrets are done, at least once
    /// for each user who has any. `progress` must not rotate the data key: one rotation waits for the other.
    ///
    /// If an interrupted rotation is continued, `done` keeps growing across the two rounds. During the first round,
    /// `total` counts each secret twice; after it, `total` is the number done so far plus each secret once.
    ///
    /// # Errors
    ///
    /// Those of [`rotate_data_key`](Vault::rotate_data_key).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn rotate_data_key_with_progress(
        &self,
        current: KeySource,
        progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        self.state.record(
            AuditAction::DataKeyRotated,
            self.state.rotate_data_key(&self.users, &current, progress),
        )
    }
}

/// A user who is being rotated. However that ends, it drops what was read for it.
struct Rotated<'a> {
    user: &'a UserHandle,
}

impl Drop for Rotated<'_> {
    fn drop(&mut self) {
        let _writer = hold(&self.user.writer);
        self.user.vault().in_rotation.store(None);
    }
}

impl State {
    pub(super) fn key_slots(&self) -> Result<Vec<KeySlotInfo>, Error> {
        self.keys()?;
        Ok(self.slots()?.map(|slots| slots.infos()).unwrap_or_default())
    }

    pub(super) fn add_key(
        &self,
        current: &KeySource,
        new: &KeySource,
    ) -> Result<KeySlotInfo, Error> {
        self.change_slots(|slots, _| slots.add(current, new, self.settings.kdf))
    }

    pub(super) fn change_key(
        &self,
        current: &KeySource,
        new: &KeySource,
    ) -> Result<KeySlotInfo, Error> {
        self.change_slots(|slots, _| slots.change(current, new, self.settings.kdf))
    }

    pub(super) fn remove_key(&self, id: u32) -> Result<(), Error> {
        self.change_slots(|slots, _| slots.remove(id))
    }

    pub(super) fn rotate_master_key(&self, keep: &[KeySource]) -> Result<(), Error> {
        self.change_slots(|slots, keys| {
            *slots = slots.rotate(keep, keys, self.settings.kdf)?;
            Ok(())
        })
    }

    /// Seals everything again under a new data key, and forgets the old ones. An interrupted rotation is finished
    /// first: its data key is as old as that rotation, and whoever could open the vault since may have kept it.
    pub(super) fn rotate_data_key(
        self: &Arc<State>,
        users: &Users,
        current: &KeySource,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        let _rotating = hold(&self.rotating);
        let mut done = 0;
        if self.keys()?.is_rotating() {
            // Before anything is sealed again.
            self.check_key(current)?;
            // What is left of the interrupted rotation, and then everything.
            let total = self.usage()?.secrets.saturating_mul(2);
            let report = |done| progress(Progress::new(done, total.max(done)));
            done = self.reseal_all_users(users, done, report)?;
            self.change_keys(current, |keys| Ok(keys.with_current_data_key_only()))?;
        }
        self.change_keys(current, KeyRing::with_new_data_key)?;
        let total = done.saturating_add(self.usage()?.secrets);
        let report = |done| progress(Progress::new(done, total.max(done)));
        self.reseal_all_users(users, done, report)?;
        self.change_keys(current, |keys| Ok(keys.with_current_data_key_only()))
    }

    /// Seals again everything that is sealed with an older data key. Takes the number of records done before, and
    /// returns the number done now.
    fn reseal_all_users(
        self: &Arc<State>,
        users: &Users,
        mut done: u64,
        mut report: impl FnMut(u64),
    ) -> Result<u64, Error> {
        for root in self.user_roots()? {
            let user = users.get(self, root.user);
            let _rotated = Rotated { user: &user };
            loop {
                let outdated = self.outdated(&user)?;
                if outdated.is_empty() {
                    break;
                }
                for batch in outdated.chunks(ROTATION_BATCH) {
                    let resealed = self.reseal(&user, batch)?;
                    if resealed > 0 {
                        done += resealed as u64;
                        report(done);
                    }
                }
            }
            // For a user without records, the root is left to be sealed.
            self.reseal(&user, &[])?;
        }
        Ok(done)
    }

    /// Returns the user's secrets. A user who is not loaded stays so, since there may be more users than there is
    /// memory for, and is not read again for each batch. The caller holds the user's lock.
    fn peek_to_rotate(&self, user: &UserState, keys: &KeyRing) -> Result<Arc<Snapshot>, Error> {
        let kept = self.in_rotation.load_full();
        if let Some(kept) = kept.filter(|kept| kept.root.user == user.id()) {
            return Ok(kept);
        }
        let snapshot = self.peek(user, keys)?;
        if user.snapshot.load().is_none() {
            self.in_rotation.store(Some(Arc::clone(&snapshot)));
        }
        Ok(snapshot)
    }

    /// Returns the user's records that are sealed with an older data key, ordered by their names in the store: the
    /// records of one batch then lie on few pages, each written once and not once per record. What is written
    /// meanwhile is sealed with the current key, so they only become fewer.
    fn outdated(&self, user: &UserState) -> Result<Vec<(RowTag, SecretId)>, Error> {
        let _writer = hold(&user.writer);
        let keys = self.keys()?;
        let secrets = self.peek_to_rotate(user, &keys)?;
        let mut outdated: Vec<_> = secrets
            .entries()
            .values()
            .filter(|entry| entry.row().key_id != keys.current_id())
            .map(|entry| (keys.row_tag(user.id(), entry.id()), entry.id()))
            .collect();
        outdated.sort_unstable();
        Ok(outdated)
    }

    /// Seals again the user's root and those of the given records that are still sealed with an older data key,
    /// and returns the number of records. Writes nothing if nothing is left to do.
    fn reseal(&self, user: &UserState, records: &[(RowTag, SecretId)]) -> Result<usize, Error> {
        let _writer = hold(&user.writer);
        let keys = self.keys()?;
        let base = self.peek_to_rotate(user, &keys)?;
        let Some(old_root) = &base.sealed_root else {
            return Ok(0);
        };
        let mut root = UserRoot {
            counter: base.root.counter + 1,
            ..base.root.clone()
        };
        let mut entries = base.entries().clone();
        let mut put = Vec::with_capacity(records.len());
        for (tag, id) in records {
            let Some(entry) = base.by_id(*id) else {
                continue;
            };
            if entry.row().key_id == keys.current_id() {
                continue;
            }
            let value = entry.open(&keys)?;
            let row = Arc::new(keys.seal_row(entry.metadata(), &value)?);
            root.rows
                .remove(&keys.row_member(entry.info(), entry.row()));
            root.rows.add(&keys.row_member(entry.info(), &row));
            put.push((*tag, Arc::clone(&row)));
            entries.insert_mut(*id, entry.with_row(row));
        }
        if put.is_empty() && old_root.key_id == keys.current_id() {
            return Ok(0);
        }
        let resealed = put.len();
        let sealed_root = keys.seal_user_root(&root)?;
        let next = base.resealed(root, sealed_root, entries);
        let write = Write {
            user,
            base,
            next,
            put,
            delete: Vec::new(),
        };
        let mut ledger = hold(&self.ledger);
        let vault_root = ledger.root.clone();
        self.commit(&keys, &mut ledger, vault_root, vec![write])?;
        Ok(resealed)
    }

    /// Makes sure that the key opens a slot.
    fn check_key(&self, key: &KeySource) -> Result<(), Error> {
        let _locking = hold(&self.locking);
        let slots = self.known_slots(&*self.keys()?)?;
        let slots =
            slots.ok_or_else(|| no_key_slots("its keys are not kept: create it with one"))?;
        slots.open(key).map(drop)
    }

    /// Stores other keys, sealed with the same master key, and replaces those in use. When this returns, no call uses
    /// the old keys any more: none writes a record that the new keys cannot open.
    fn change_keys(
        &self,
        current: &KeySource,
        replace: impl FnOnce(&KeyRing) -> Result<KeyRing, Error>,
    ) -> Result<(), Error> {
        let _locking = hold(&self.locking);
        let old = self.keys()?;
        let new = replace(&old)?;
        let slots = self.known_slots(&old)?;
        let mut slots =
            slots.ok_or_else(|| no_key_slots("its keys are not kept: create it with one"))?;
        slots.reseal(current, &new)?;
        let both = old.and_data_keys_of(&new)?;
        self.store_slots(&new, &slots)?;
        self.replace_keys(old, both, new, || Ok(()))
    }

    fn change_slots<T>(
        &self,
        change: impl FnOnce(&mut KeySlots, &KeyRing) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _locking = hold(&self.locking);
        let keys = self.keys()?;
        #[cfg(feature = "file")]
        if self.source.is_some() {
            // Before a provider wraps a key: it may keep something for each.
            return Err(storage_error(StorageError::ReadOnly));
        }
        let slots = self.known_slots(&keys)?;
        let mut slots =
            slots.ok_or_else(|| no_key_slots("it has no key slots: create it with one"))?;
        let changed = change(&mut slots, &keys)?;
        self.store_slots(&keys, &slots)?;
        Ok(changed)
    }

    /// Returns the stored key slots, if they are what was stored last: what is derived from them is stored as
    /// valid.
    fn known_slots(&self, keys: &KeyRing) -> Result<Option<KeySlots>, Error> {
        let stored = self.storage.keys().map_err(storage_error)?;
        if keys.keys_digest(stored.as_deref()) != hold(&self.ledger).root.keys {
            return Err(rolled_back());
        }
        decode_slots(stored.as_deref())
    }

    /// Stores the key slots together with the vault's root, which is sealed with the current data key of `keys`.
    fn store_slots(&self, keys: &KeyRing, slots: &KeySlots) -> Result<(), Error> {
        let mut ledger = hold(&self.ledger);
        let bytes = slots.encode();
        let vault_root = VaultRoot {
            counter: ledger.root.counter + 1,
            keys: keys.keys_digest(Some(&bytes)),
            ..ledger.root.clone()
        };
        let sealed = keys.seal_vault_root(&vault_root)?;
        self.storage
            .commit(Transaction {
                keys: Some(bytes),
                vault_root: Some(sealed),
                users: Vec::new(),
            })
            .map_err(storage_error)?;
        ledger.root = vault_root;
        Ok(())
    }
}
