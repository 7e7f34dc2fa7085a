//! Checking that what is stored is what keyward stored last.

use super::state::{State, hold, rolled_back, storage_error};
use crate::{
    crypto::{KeyRing, VaultRoot},
    error::Error,
    quota::Usage,
    snapshot::Snapshot,
};

impl State {
    /// Checks everything that is stored: roots against each other, rows against roots, and that every value opens.
    pub(super) fn verify(&self) -> Result<(), Error> {
        let keys = self.keys()?;
        let ledger = hold(&self.ledger);
        if self.stored_root(&keys)? != *ledger {
            return Err(rolled_back());
        }
        self.check_members(&keys, &ledger)?;
        for (tag, _) in self.storage.user_roots().map_err(storage_error)? {
            let rows = self
                .storage
                .user(tag)
                .map_err(storage_error)?
                .ok_or_else(rolled_back)?;
            let snapshot = Snapshot::load(&keys, tag, rows)?;
            for entry in snapshot.entries() {
                keys.open_value(entry.info(), &entry.row)?;
            }
        }
        Ok(())
    }

    /// The vault's root as it is stored.
    pub(super) fn stored_root(&self, keys: &KeyRing) -> Result<VaultRoot, Error> {
        let sealed = self.storage.vault_root().map_err(storage_error)?;
        keys.open_vault_root(&sealed.ok_or_else(rolled_back)?)
    }

    /// Whether the users and the key slots that are stored are those that the vault's root speaks of.
    pub(super) fn check_members(&self, keys: &KeyRing, root: &VaultRoot) -> Result<(), Error> {
        let slots = self.storage.keys().map_err(storage_error)?;
        let mut found = VaultRoot {
            counter: root.counter,
            last_id: root.last_id,
            keys: keys.keys_digest(slots.as_deref()),
            ..VaultRoot::default()
        };
        for (tag, user_root) in self.storage.user_roots().map_err(storage_error)? {
            let usage = keys.open_user_root(tag, &user_root)?.usage;
            found.user_count += 1;
            found.users.add(&keys.user_member(tag, &user_root));
            found.usage = found
                .usage
                .replace(Usage::default(), usage)
                .ok_or_else(rolled_back)?;
        }
        if found == *root {
            Ok(())
        } else {
            Err(rolled_back())
        }
    }
}
