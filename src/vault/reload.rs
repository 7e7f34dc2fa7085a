//! Snapshots: a vault as it was when its file was read.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    Vault,
    anchor::Anchor,
    census::{check_members, stored_root},
    errors::{rolled_back, storage_error},
    settings::Settings,
    slots::KeySlots,
    snapshot_source::SnapshotSource,
    state::{Ledger, State},
    sync::{Mutex, hold},
    users::Users,
};
use crate::{
    crypto::KeySource,
    error::{Error, ErrorKind},
    storage::{FileStorage, FrozenStorage, MemoryStorage, Storage},
};

impl Vault {
    /// Reads the file of a [snapshot](Vault::snapshot) again, and returns whether it had changed. Calls proceed
    /// meanwhile, each with either the old state or the new one. A user's rows are checked when they are next used, as
    /// after opening; if they were found to be wrong, by that or by [`verify`](Vault::verify), a backup or an export, the
    /// next reload reads everything again, changed or not.
    ///
    /// # Errors
    ///
    /// `RolledBack` if the file is older than what was read before, or if it is a copy of the vault and the data keys
    /// of both were rotated independently, but equally often (a copy that was rotated more or less often, or merely has
    /// more writes, is not recognized); `WrongKey` if the master key was changed, for which there is
    /// [`reload_with`](Vault::reload_with), or the file holds another vault; `Unsupported` for a vault that is not a
    /// snapshot; `Locked`; and those of [`open`](Vault::open). The snapshot is then as it was.
    ///
    /// # Security
    ///
    /// A snapshot that could not be reloaded goes on injecting the secrets that it has, including those that were
    /// deleted from the file meanwhile. Where that is not acceptable, [`lock`](Vault::lock) it on every error except
    /// `InUse`.
    pub fn reload(&self) -> Result<bool, Error> {
        let reloaded = self.state.reload(&self.users, None);
        self.state.record_reload(false, reloaded)
    }

    /// Does what [`reload`](Vault::reload) does with a key that opens the file now: it follows a change of the master
    /// key as well, and every [`UserVault`](crate::UserVault) of the snapshot stays in use. If the file has not
    /// changed, the key is not looked at; if it has, a passphrase is stretched, which takes time: try `reload` first.
    /// [`lock`](Vault::lock) does not wait for the key: this then fails with `Locked`, or with what the key fails with.
    /// The vault's keys are not opened then, but the master key, which the key opens, can be in memory until this
    /// returns.
    ///
    /// ```
    /// use keyward::{ErrorKind, KeySource, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("secrets.keyward");
    /// let key = || KeySource::raw([0x4b; 32]);
    /// # drop(Vault::create(&path, key())?);
    /// let snapshot = Vault::snapshot(&path, key())?;
    /// // Meanwhile, in another process:
    /// Vault::open(&path, key())?.rotate_master_key([key()])?;
    ///
    /// assert_eq!(snapshot.reload().unwrap_err().kind(), ErrorKind::WrongKey);
    /// assert!(snapshot.reload_with(key())?);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`reload`](Vault::reload), where `WrongKey` means that the key opens no key slot of the file, or that
    /// the file holds another vault. Also `Validation` if it [cannot be a key](KeySource#errors).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn reload_with(&self, key: KeySource) -> Result<bool, Error> {
        let reloaded = self.state.reload(&self.users, Some(&key));
        self.state.record_reload(true, reloaded)
    }
}

impl State {
    /// Reads the vault in a file once.
    pub(super) fn open_snapshot(
        settings: Settings,
        key: &KeySource,
        anchor: Option<&Anchor>,
        path: &Path,
    ) -> Result<State, Error> {
        let content = FileStorage::load(path, settings.wait, None).map_err(storage_error)?;
        let content = content.unwrap_or_default();
        let keys = slots(&content)?.open_with_master(key)?;
        let storage = FrozenStorage::new(content);
        let mut state = State::open(settings, keys, anchor, Box::new(storage.clone()))?;
        state.source = Some(SnapshotSource {
            path: path.to_owned(),
            storage,
            reloading: Mutex::new(()),
            is_in_doubt: AtomicBool::new(false),
        });
        Ok(state)
    }

    /// Reads the file again, with the master key that was kept or with another key. Returns whether it had changed.
    pub(super) fn reload(&self, users: &Users, key: Option<&KeySource>) -> Result<bool, Error> {
        self.keys()?;
        let source = self.source.as_ref().ok_or_else(|| {
            let message = "only a snapshot can be reloaded: an open vault is always up to date";
            Error::new(ErrorKind::Unsupported, message)
        })?;
        let _reloading = hold(&source.reloading);
        let in_doubt = source.is_in_doubt.load(Ordering::SeqCst);
        let known = self.storage.vault_root().map_err(storage_error)?;
        let known = known.filter(|_| !in_doubt);
        // May wait for the file, and the vault can be locked meanwhile.
        let content = FileStorage::load(&source.path, self.settings.wait, known.as_ref());
        let Some(content) = content.map_err(storage_error)? else {
            self.keys()?;
            return Ok(false);
        };
        let slots = slots(&content)?;
        // Takes long for a passphrase, and others may want to lock the vault meanwhile.
        let master = key.map(|key| slots.master(key)).transpose()?;
        let _locking = hold(&self.locking);
        // Only now are the keys opened: a locked vault has none in memory.
        let old = self.keys()?;
        let new = match master {
            Some(master) => slots.open_ring_with_master(&master)?,
            None => slots.reopen(&old)?,
        };
        if !new.is_of_vault_of(&old) {
            return Err(another_vault());
        }
        let root = stored_root(&content, &new)?;
        {
            let ledger = hold(&self.ledger);
            let is_as_known = in_doubt && root == ledger.root;
            if root.counter <= ledger.root.counter && !is_as_known {
                return Err(rolled_back());
            }
        }
        let members = check_members(&content, &new, &root)?;

        if !new.continues(&old) {
            return Err(rolled_back());
        }
        let take_over = || {
            let mut ledger = hold(&self.ledger);
            // Before anybody can come upon a row of the new content that is bad.
            source.is_in_doubt.store(false, Ordering::SeqCst);
            source.storage.replace(content);
            *ledger = Ledger { root, members };
            drop(ledger);
            self.drop_outdated(users)
        };
        if key.is_some() || !new.has_ids_of(&old) {
            let both = new.and_data_keys_of(&old)?;
            self.replace_keys(old, both, new, take_over)?;
        } else {
            take_over()?;
        }
        Ok(true)
    }

    /// Drops users' secrets that no longer match the store.
    fn drop_outdated(&self, users: &Users) -> Result<(), Error> {
        let keys = self.keys()?;
        users.for_each(|user| {
            let Some(snapshot) = user.snapshot.load_full() else {
                return;
            };
            let root = snapshot.sealed_root.as_ref();
            let tag = keys.user_tag(user.id());
            let member = root.map(|root| keys.user_member(tag, root));
            if member.as_ref() != hold(&self.ledger).members.get(&tag) {
                user.snapshot.store(None);
            }
        });
        Ok(())
    }
}

fn another_vault() -> Error {
    Error::new(
        ErrorKind::WrongKey,
        "the file holds another vault now: take a new snapshot, if that is the one to use",
    )
}

fn slots(content: &MemoryStorage) -> Result<KeySlots, Error> {
    let stored = content.keys().map_err(storage_error)?;
    KeySlots::decode(&stored.unwrap_or_default())
}
