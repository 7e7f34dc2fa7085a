//! Locking and unlocking the vault.
//!
//! Locking the vault first takes the keys away and then takes each user's lock, so that no snapshot is published after
//! it. It may have to wait for a replacement of the keys, which waits for calls with the old ones. So it first raises
//! `about_to_lock`, on which long operations end.

use std::sync::{Arc, atomic::Ordering};

use super::{
    census::{check_members, stored_root},
    errors::{no_key_slots, rolled_back, storage_error},
    slots::KeySlots,
    state::{State, decode_slots, wait_until_unused},
    sync::hold,
    users::Users,
};
use crate::{
    crypto::{KeyRing, KeySource},
    error::Error,
};

impl State {
    /// Wipes the keys and drops the users' snapshots. Returns `false` if the vault was locked already.
    pub(super) fn lock(&self, users: &Users) -> Result<bool, Error> {
        if !self.lockable {
            return Err(no_key_slots(
                "it could never be unlocked: create it with one, or drop it",
            ));
        }
        self.about_to_lock.fetch_add(1, Ordering::SeqCst);
        let _locking = hold(&self.locking);
        let keys = self.keys.swap(None);
        self.about_to_lock.fetch_sub(1, Ordering::SeqCst);
        let Some(keys) = keys else {
            return Ok(false);
        };
        users.for_each(|user| user.snapshot.store(None));
        // The rotation, too, has a user's lock and asks for the keys when it puts something here.
        self.in_rotation.store(None);
        wait_until_unused(&keys);
        Ok(true)
    }

    /// Returns whether the vault is locked, or will be once the keys are no longer in use.
    pub(super) fn is_being_locked(&self) -> bool {
        self.about_to_lock.load(Ordering::SeqCst) > 0 || self.is_locked()
    }

    pub(super) fn unlock(&self, source: &KeySource) -> Result<(), Error> {
        // While this is held nobody else changes the slots: their keys are current, and stay so until they are in
        // use.
        let _locking = hold(&self.locking);
        let stored = self.storage.keys().map_err(storage_error)?;
        let slots = decode_slots(stored.as_deref())?;
        let slots = slots.ok_or_else(|| no_key_slots("it is never locked: use it as it is"))?;
        let keys = self.open_keys(&slots, source)?;
        // No other process writes to this store, so it holds what this one left.
        let mut ledger = hold(&self.ledger);
        if keys.keys_digest(stored.as_deref()) != ledger.root.keys {
            return Err(rolled_back());
        }
        if self.keys.load().is_some() {
            return Ok(());
        }
        if stored_root(&*self.storage, &keys)? != ledger.root {
            return Err(rolled_back());
        }
        ledger.members = check_members(&*self.storage, &keys, &ledger.root)?;
        drop(ledger);
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }

    #[cfg_attr(
        not(feature = "file"),
        expect(
            clippy::unused_self,
            reason = "a snapshot, which is of a file, keeps the master key"
        )
    )]
    fn open_keys(&self, slots: &KeySlots, key: &KeySource) -> Result<KeyRing, Error> {
        #[cfg(feature = "file")]
        if self.source.is_some() {
            return slots.open_with_master(key);
        }
        slots.open(key)
    }
}
