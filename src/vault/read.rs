//! Reading a user's secrets, from what is published or, when the user is first used, from the store.

use std::sync::Arc;

use super::{
    errors::{locked, rolled_back, storage_error},
    state::{Ledger, State},
    sync::hold,
    users::UserState,
};
use crate::{
    crypto::KeyRing, error::Error, sealed::UserTag, snapshot::Snapshot, storage::UserRows,
};

impl State {
    /// Calls `work` with the keys and the user's secrets as of now. Waits for the store only when the user is
    /// first used.
    pub(super) fn read<T>(
        &self,
        user: &UserState,
        work: impl FnOnce(&KeyRing, &Snapshot) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let keys = self.keys.load();
        let keys = keys.as_deref().ok_or_else(locked)?;
        if let Some(snapshot) = user.snapshot.load().as_deref() {
            return work(keys, snapshot);
        }
        let snapshot = {
            let _writer = hold(&user.writer);
            self.load(user, &*self.keys()?)?
        };
        work(keys, &snapshot)
    }

    /// Loads the user's snapshot, unless it is loaded. The caller holds the user's lock.
    pub(super) fn load(&self, user: &UserState, keys: &KeyRing) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = user.snapshot.load_full() {
            return Ok(snapshot);
        }
        let snapshot = self.peek(user, keys);
        #[cfg(feature = "file")]
        if let (Err(_), Some(source)) = (&snapshot, &self.source) {
            source.doubt();
        }
        let snapshot = snapshot?;
        user.snapshot.store(Some(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Does what `load` does, and leaves a user who is not loaded so. The caller holds the user's lock.
    pub(super) fn peek(&self, user: &UserState, keys: &KeyRing) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = user.snapshot.load_full() {
            return Ok(snapshot);
        }
        Ok(Arc::new(match self.stored(user, keys)? {
            Some((tag, stored)) => Snapshot::load(keys, tag, stored)?,
            None => Snapshot::empty(user.id()),
        }))
    }

    /// Returns what is stored of the user, sealed, if the root is the one that this process knows.
    pub(super) fn stored(
        &self,
        user: &UserState,
        keys: &KeyRing,
    ) -> Result<Option<(UserTag, UserRows)>, Error> {
        let tag = keys.user_tag(user.id());
        let stored = || self.storage.user(tag).map_err(storage_error);
        let is_known = |stored: &Option<UserRows>, ledger: &Ledger| {
            let found = stored.as_ref();
            let found = found.map(|stored| keys.user_member(tag, &stored.root));
            found.as_ref() == ledger.members.get(&tag)
        };
        let mut rows = stored()?;
        if !is_known(&rows, &hold(&self.ledger)) {
            // Reloading a snapshot replaces the store and the ledger together; they may have been read in between.
            let ledger = hold(&self.ledger);
            rows = stored()?;
            if !is_known(&rows, &ledger) {
                return Err(rolled_back());
            }
        }
        Ok(rows.map(|stored| (tag, stored)))
    }
}
