//! Comparing what is stored with the vault's root.

use std::collections::HashMap;

use super::errors::{rolled_back, storage_error};
use crate::{
    crypto::{KeyRing, MemberDigest, VaultRoot},
    error::Error,
    quota::Usage,
    sealed::{SealedRoot, UserTag},
    storage::Storage,
};

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
pub(super) struct Census<'a> {
    keys: &'a KeyRing,
    expected: &'a VaultRoot,
    found: VaultRoot,
    members: HashMap<UserTag, MemberDigest>,
}

impl<'a> Census<'a> {
    pub(super) fn new(keys: &'a KeyRing, expected: &'a VaultRoot) -> Census<'a> {
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

    pub(super) fn slots(&mut self, slots: Option<&[u8]>) {
        self.found.keys = self.keys.keys_digest(slots);
    }

    pub(super) fn add(&mut self, tag: UserTag, sealed: &SealedRoot) -> Result<(), Error> {
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

    pub(super) fn finish(self) -> Result<HashMap<UserTag, MemberDigest>, Error> {
        if self.found == *self.expected {
            Ok(self.members)
        } else {
            Err(rolled_back())
        }
    }
}
