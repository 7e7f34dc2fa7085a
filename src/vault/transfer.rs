//! Copies of a whole vault: backups, exports and imports.

use std::{path::Path, sync::Arc};

use super::{
    Vault,
    errors::{creation_error, no_key_slots, usage_too_small},
    plan::Plan,
    progress::Progress,
    slots::KeySlots,
    state::State,
    sync::hold,
    users::{UserHandle, Users},
    verify::Checked,
    write::Write,
};
use crate::{
    audit::AuditAction,
    crypto::{KeyRing, KeySource, MasterKey, SetDigest, UserRoot, VaultId, VaultRoot},
    entry::Entry,
    error::Error,
    quota::Usage,
    storage::{FileWriter, Stored, UserRows},
};

impl Vault {
    /// Copies the vault, as it is now, to a new file that the same keys open. Calls and writes proceed meanwhile.
    /// The copy is compact, and is checked as far as [opening](Vault::open) it and using every user would check
    /// it.
    ///
    /// ```
    /// use keyward::{KeySource, NewSecret, UserId, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let [path, copy] = ["secrets.keyward", "copy.keyward"].map(|name| dir.path().join(name));
    /// # let key = || KeySource::raw([0x4b; 32]);
    /// let vault = Vault::create(&path, key())?;
    /// vault.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    /// vault.backup(&copy)?;
    /// assert_eq!(Vault::open(&copy, key())?.anchor()?, vault.anchor()?);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Storage` if something already exists at the path, or the file cannot be written; `Unsupported` for a vault
    /// in memory that was made without a key; `Locked`; `Corrupt` or `RolledBack` if the stored data is not what
    /// keyward left. No new file is left behind, except by a process that is killed: see [`create`](Vault::create).
    ///
    /// # Security
    ///
    /// A backup stays readable with the current keys, whatever is changed later: keep it as safe as the vault.
    /// Putting it in the vault's place undoes every later change, which an [`Anchor`](crate::Anchor) reveals. Close the
    /// vault before: on Unix, one that is open takes no more writes once its file was removed or replaced; if the copy
    /// is written over the content of the file, both are lost.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.backup_with_progress(path, |_| {})
    }

    /// Does what [`backup`](Vault::backup) does, and reports progress after each user. `progress` may use the
    /// vault as far as that of [`verify_with_progress`](Vault::verify_with_progress) may.
    ///
    /// # Errors
    ///
    /// Those of [`backup`](Vault::backup).
    ///
    /// # Security
    ///
    /// See [`backup`](Vault::backup).
    pub fn backup_with_progress(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        self.state.record(
            AuditAction::BackedUp,
            self.state.backup(path.as_ref(), progress),
        )
    }

    /// Copies all secrets to a new vault file that has its own keys and that `key` opens. Ids, times and revisions
    /// stay.
    ///
    /// An export can be [opened](Vault::open) as a vault, and [imported](Vault::import) into another one.
    ///
    /// # Errors
    ///
    /// Those of [`backup`](Vault::backup), except that a vault without a key can be exported; also those of a
    /// [new key slot](KeySource#new-key-slots). No new file is left behind.
    pub fn export(&self, path: impl AsRef<Path>, key: KeySource) -> Result<(), Error> {
        self.export_with_progress(path, key, |_| {})
    }

    /// Does what [`export`](Vault::export) does, and reports progress after each secret. `progress` may use the
    /// vault as far as that of [`verify_with_progress`](Vault::verify_with_progress) may.
    ///
    /// # Errors
    ///
    /// Those of [`export`](Vault::export).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn export_with_progress(
        &self,
        path: impl AsRef<Path>,
        key: KeySource,
        progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        self.state.record(
            AuditAction::Exported,
            self.state.export(path.as_ref(), &key, progress),
        )
    }

    /// Adds to this vault all secrets of the vault in a file, which `key` opens: all or none. Each secret keeps
    /// its user, its id, its times and its revision; its mask is made anew, as this vault makes masks. Returns the
    /// usage that was added.
    ///
    /// ```
    /// use keyward::{KeySource, NewSecret, UserId, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("export.keyward");
    /// let from = Vault::in_memory()?;
    /// let info = from.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    /// from.export(&path, KeySource::passphrase("correct horse battery staple"))?;
    ///
    /// let to = Vault::in_memory()?;
    /// to.import(&path, KeySource::passphrase("correct horse battery staple"))?;
    /// assert_eq!(to.user(UserId::LOCAL).secret("linear")?, info);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Conflict` if a secret is already in this vault; `NameTaken`, `DefaultTaken`, `QuotaExceeded`, or `Validation`,
    /// as if each secret were created here, and `Validation` for an id, a time or a revision that keyward gives to no
    /// secret; `Locked`; `Storage`; `Unsupported` for a snapshot; and, for the file, those of [`open`](Vault::open).
    /// Nothing has changed then.
    pub fn import(&self, path: impl AsRef<Path>, key: KeySource) -> Result<Usage, Error> {
        self.import_with_progress(path, key, |_| {})
    }

    /// Does what [`import`](Vault::import) does, and reports progress after each secret. `progress` must not use
    /// this vault, since writes wait for the import.
    ///
    /// # Errors
    ///
    /// Those of [`import`](Vault::import).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn import_with_progress(
        &self,
        path: impl AsRef<Path>,
        key: KeySource,
        progress: impl FnMut(Progress),
    ) -> Result<Usage, Error> {
        let reader = Vault::builder().wait(self.state.settings.wait);
        // A locked vault says so, whatever is at the path.
        let imported = (self.state.keys().map(drop))
            .and_then(|()| reader.read_file(path.as_ref(), &key))
            .and_then(|other| self.state.import(&self.users, &Vault::new(other), progress));
        self.state.record(AuditAction::Imported, imported)
    }
}

impl State {
    /// Writes a vault file with the same keys, as of one moment.
    fn backup(&self, path: &Path, mut progress: impl FnMut(Progress)) -> Result<(), Error> {
        if !self.lockable {
            return Err(no_key_slots(
                "nothing could open a copy of it: create it with one, or export it",
            ));
        }
        self.keys()?;
        let mut writer = FileWriter::new(path).map_err(creation_error)?;
        let mut done = 0;
        self.check(|_, root, part| {
            let (part, rows) = match part {
                Checked::Vault { keys, root } => {
                    let root = Some(root);
                    (Stored::Vault { keys, root }, 0)
                }
                Checked::User { tag, stored, .. } => {
                    let rows = stored.rows.len() as u64;
                    (Stored::User(tag, stored), rows)
                }
            };
            writer.add(part).map_err(creation_error)?;
            if rows > 0 {
                done += rows;
                progress(Progress::new(done, root.usage.secrets));
            }
            Ok(())
        })?;
        writer.finish().map_err(creation_error)
    }

    /// Writes a vault file with the same secrets and other keys, as of one moment.
    fn export(
        &self,
        path: &Path,
        key: &KeySource,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        // A provider may keep what it wraps: ask it only when there is something to export and a file to write it
        // to.
        self.keys()?;
        let mut writer = FileWriter::new(path).map_err(creation_error)?;
        let vault = VaultId::random()?;
        let (master, new) = (MasterKey::random()?, KeyRing::random(vault)?);
        let slots = KeySlots::new(vault, key, self.settings.kdf, &master, &new)?.encode();
        let mut vault_root = VaultRoot {
            counter: 1,
            keys: new.keys_digest(Some(&slots)),
            ..VaultRoot::default()
        };
        let mut done = 0;
        self.check(|old, root, part| {
            let total = root.usage.secrets;
            let Checked::User { root, entries, .. } = part else {
                vault_root.last_id = root.last_id;
                vault_root.usage = root.usage;
                return Ok(());
            };
            if entries.is_empty() {
                return Ok(());
            }
            let tag = new.user_tag(root.user);
            let stored = self.reseal_all(old, &new, &root, &entries, || {
                done += 1;
                progress(Progress::new(done, total));
            })?;
            vault_root.users.add(&new.user_member(tag, &stored.root));
            vault_root.user_count += 1;
            writer
                .add(Stored::User(tag, stored))
                .map_err(creation_error)
        })?;
        let vault = Stored::Vault {
            keys: Some(slots),
            root: Some(new.seal_vault_root(&vault_root)?),
        };
        writer.add(vault).map_err(creation_error)?;
        writer.finish().map_err(creation_error)
    }

    fn reseal_all(
        &self,
        old: &KeyRing,
        new: &KeyRing,
        root: &UserRoot,
        entries: &[Entry],
        mut sealed: impl FnMut(),
    ) -> Result<UserRows, Error> {
        let mut digest = SetDigest::default();
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            self.still_unlocked()?;
            let value = entry.open(old)?;
            let row = Arc::new(new.seal_row(entry.metadata(), &value)?);
            digest.add(&new.row_member(entry.info(), &row));
            rows.push((new.row_tag(root.user, entry.id()), row));
            sealed();
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
    fn import(
        self: &Arc<State>,
        users: &Users,
        other: &Vault,
        mut progress: impl FnMut(Progress),
    ) -> Result<Usage, Error> {
        // Lock in the order of the users' ids, so that two imports cannot deadlock.
        let imported: Vec<(UserHandle, UserHandle)> = other
            .users()?
            .into_iter()
            .map(|user| (other.user(user).user, users.get(self, user)))
            .collect();
        let _writers: Vec<_> = imported.iter().map(|(_, to)| hold(&to.writer)).collect();
        let keys = self.keys()?;
        // Who is not loaded stays so: the users of a file may be many, and not for this vault.
        let bases = imported
            .iter()
            .map(|(_, to)| self.peek(to, &keys))
            .collect::<Result<Vec<_>, _>>()?;
        let mut ledger = hold(&self.ledger);
        let mut vault_root = ledger.root.clone();
        let mut writes = Vec::with_capacity(imported.len());
        let (mut done, total) = (0, other.usage()?.secrets);
        for ((from, to), base) in imported.iter().zip(bases) {
            let rules = self.rules(to);
            let mut plan = Plan::new(&base, &rules);
            other.state.read(from, |keys, secrets| {
                for entry in secrets.entries().values() {
                    let value = entry.open(keys)?;
                    plan.import(entry.info(), value, &self.settings.bounds)
                        .map_err(|error| error.of_secret(entry.id()))?;
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
            writes.push(Write::new(&keys, to, base, changes, usage, || {
                done += 1;
                progress(Progress::new(done, total));
            })?);
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
