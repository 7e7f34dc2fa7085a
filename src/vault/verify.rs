//! Checking that what is stored is what keyward stored last.

use super::state::{State, hold, rolled_back, storage_error};
use crate::{
    crypto::{KeyRing, VaultRoot},
    error::Error,
    quota::Usage,
    sealed::{SealedRoot, UserTag},
    snapshot::Snapshot,
};

impl State {
    /// Checks everything that is stored: roots against each other, rows against roots, and that every value opens.
    pub(super) fn verify(&self) -> Result<(), Error> {
        let keys = self.keys()?;
        let ledger = hold(&self.ledger);
        let stored = self.storage.vault_root().map_err(storage_error)?;
        let stored = stored.map(|root| keys.open_vault_root(&root)).transpose()?;
        if stored.as_ref() != Some(&*ledger) {
            return Err(rolled_back());
        }
        let roots = self.storage.user_roots().map_err(storage_error)?;
        State::check_user_roots(&keys, &ledger, &roots)?;
        for (tag, _) in roots {
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

    /// Whether the vault's root is that of these users.
    pub(super) fn check_user_roots(
        keys: &KeyRing,
        vault_root: &VaultRoot,
        roots: &[(UserTag, SealedRoot)],
    ) -> Result<(), Error> {
        let mut found = VaultRoot {
            counter: vault_root.counter,
            last_id: vault_root.last_id,
            ..VaultRoot::default()
        };
        for (tag, root) in roots {
            let usage = keys.open_user_root(*tag, root)?.usage;
            found.user_count += 1;
            found.users.add(&keys.user_member(*tag, root));
            found.usage = found
                .usage
                .replace(Usage::default(), usage)
                .ok_or_else(rolled_back)?;
        }
        if found == *vault_root {
            Ok(())
        } else {
            Err(rolled_back())
        }
    }
}
