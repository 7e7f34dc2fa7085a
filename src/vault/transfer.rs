//! Copies of a whole vault: for itself, and for another one.

use std::{path::Path, sync::Arc};

use super::{
    errors::{no_key_slots, storage_error, usage_too_small},
    plan::Plan,
    slots::KeySlots,
    state::{State, UserState, hold},
    verify::Checked,
    write::Write,
};
use crate::{
    crypto::{KeyRing, KeySource, MasterKey, SetDigest, UserRoot, VaultId, VaultRoot},
    error::Error,
    quota::Usage,
    snapshot::Entry,
    storage::{FileWriter, Stored, UserRows},
};

impl State {
    /// A vault file with the same keys, as of one moment.
    pub(super) fn backup(&self, path: &Path) -> Result<(), Error> {
        if !self.lockable {
            return Err(no_key_slots("nothing could open a copy of it: export it"));
        }
        let mut writer = FileWriter::new(path).map_err(storage_error)?;
        self.check(|_, _, part| {
            let part = match part {
                Checked::Vault { keys, root } => Stored::Vault {
                    keys,
                    root: Some(root),
                },
                Checked::User { tag, stored, .. } => Stored::User(tag, stored),
            };
            writer.add(part).map_err(storage_error)
        })?;
        writer.finish().map_err(storage_error)
    }

    /// A vault file with the same secrets and other keys, as of one moment.
    pub(super) fn export(&self, path: &Path, key: &KeySource) -> Result<(), Error> {
        let vault = VaultId::random()?;
        let (master, new) = (MasterKey::random()?, KeyRing::random(vault)?);
        let slots = KeySlots::new(vault, key, self.settings.kdf, &master, &new)?.encode();
        let mut vault_root = VaultRoot {
            counter: 1,
            keys: new.keys_digest(Some(&slots)),
            ..VaultRoot::default()
        };
        let mut writer = FileWriter::new(path).map_err(storage_error)?;
        self.check(|old, root, part| {
            let Checked::User { root, entries, .. } = part else {
                vault_root.last_id = root.last_id;
                vault_root.usage = root.usage;
                return Ok(());
            };
            if entries.is_empty() {
                return Ok(());
            }
            let tag = new.user_tag(root.user);
            let stored = self.reseal_all(old, &new, &root, &entries)?;
            vault_root.users.add(&new.user_member(tag, &stored.root));
            vault_root.user_count += 1;
            writer.add(Stored::User(tag, stored)).map_err(storage_error)
        })?;
        let vault = Stored::Vault {
            keys: Some(slots),
            root: Some(new.seal_vault_root(&vault_root)?),
        };
        writer.add(vault).map_err(storage_error)?;
        writer.finish().map_err(storage_error)
    }

    fn reseal_all(
        &self,
        old: &KeyRing,
        new: &KeyRing,
        root: &UserRoot,
        entries: &[Arc<Entry>],
    ) -> Result<UserRows, Error> {
        let mut digest = SetDigest::default();
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            self.still_unlocked()?;
            let value = old.open_value(entry.info(), &entry.row)?;
            let row = Arc::new(new.seal_row(&entry.metadata, &value)?);
            digest.add(&new.row_member(entry.info(), &row));
            rows.push((new.row_tag(root.user, entry.id()), row));
        }
        let root = UserRoot {
            counter: 1,
            rows: digest,
            ..root.clone()
        };
        Ok(UserRows {
            root: new.seal_user_root(&root)?,
            rows,
        })
    }

    /// Adds all secrets of another vault, or none.
    pub(super) fn import(&self, other: &State) -> Result<Usage, Error> {
        // Locks in the order of the users' ids, so that two imports do not wait for each other.
        let imported: Vec<(Arc<UserState>, Arc<UserState>)> = other
            .users()?
            .into_iter()
            .map(|user| (other.user(user), self.user(user)))
            .collect();
        let _writers: Vec<_> = imported.iter().map(|(_, to)| hold(&to.writer)).collect();
        let keys = self.keys()?;
        let bases = imported
            .iter()
            .map(|(_, to)| self.load(to, &keys))
            .collect::<Result<Vec<_>, _>>()?;
        let mut ledger = hold(&self.ledger);
        let mut vault_root = ledger.root.clone();
        let mut writes = Vec::with_capacity(imported.len());
        for ((from, to), base) in imported.iter().zip(bases) {
            let rules = self.rules(to);
            let mut plan = Plan::new(&base, &rules);
            other.read(from, |keys, secrets| {
                for entry in secrets.entries().values() {
                    let value = keys.open_value(entry.info(), &entry.row)?;
                    let chars = value.expose_secret();
                    let check = self.settings.bounds.value().check("secret_value", chars);
                    check.map_err(|error| Error::validation(vec![error]))?;
                    plan.import(&entry.metadata, value)?;
                }
                Ok(())
            })?;
            let (changes, usage) = plan.finish()?;
            vault_root.usage = vault_root
                .usage
                .replace(base.root.usage, usage)
                .ok_or_else(usage_too_small)?;
            let youngest = changes.last_key_value().map(|(id, _)| *id.as_uuid());
            vault_root.last_id = vault_root.last_id.max(youngest.unwrap_or_default());
            writes.push(Write::new(&keys, to, base, changes, usage)?);
        }
        let before = ledger.root.usage;
        self.settings.quota.check_vault(before, vault_root.usage)?;
        if writes.is_empty() {
            return Ok(Usage::default());
        }
        let added = Usage::new(
            vault_root.usage.secrets - before.secrets,
            vault_root.usage.bytes - before.bytes,
        );
        self.commit(&keys, &mut ledger, vault_root, writes)?;
        Ok(added)
    }
}
