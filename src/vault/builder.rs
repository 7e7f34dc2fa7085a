//! Building a vault from settings.

#[cfg(test)]
use std::panic::{RefUnwindSafe, UnwindSafe};

#[cfg(test)]
use chrono::{DateTime, Utc};

use super::{Vault, clock::Clock, settings::Settings, slots::KeySlots, state::State};
#[cfg(feature = "file")]
use super::{
    anchor::Anchor,
    errors::{new_for_an_anchor, storage_error},
};
use crate::{
    audit::{Audit, AuditAction, AuditSink},
    bounds::Bounds,
    call::InjectionPolicy,
    crypto::{KdfParams, KeyRing, KeySource, MasterKey, VaultId},
    error::Error,
    quota::Quota,
    storage::{MemoryStorage, Storage, StorageError, Transaction},
};
#[cfg(feature = "file")]
use {
    crate::storage::FileStorage,
    std::{path::Path, time::Duration},
};

/// Builds a [`Vault`] whose settings differ from the usual ones.
///
/// # What is set
///
/// Quota, bounds, injection policy, masks, the KDF parameters of new passphrases, the audit, and how long to wait for
/// the file are settings of the open vault, not of its file: they must be given again each time it is opened. With the
/// usual settings, a value that the model supplies is kept where a default is bound, a user may have 1,000 secrets and
/// 1 MiB, and a value may have up to 1,024 characters. Secrets stored under wider limits stay, and are injected.
///
/// ```
/// use keyward::{InjectionPolicy, Quota, Vault};
///
/// let vault = Vault::builder()
///     .quota(Quota::default().user_secrets(50).vault_bytes(64 * 1024 * 1024))
///     .injection_policy(InjectionPolicy::default().replace_supplied())
///     .in_memory()?;
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct VaultBuilder {
    settings: Settings,
    #[cfg(feature = "file")]
    anchor: Option<Anchor>,
}

impl VaultBuilder {
    pub(super) fn new() -> VaultBuilder {
        VaultBuilder {
            settings: Settings {
                quota: Quota::default(),
                bounds: Bounds::default(),
                policy: InjectionPolicy::default(),
                mask: true,
                kdf: None,
                clock: Clock::system(),
                audit: Audit::default(),
                #[cfg(feature = "file")]
                wait: Duration::ZERO,
            },
            #[cfg(feature = "file")]
            anchor: None,
        }
    }

    /// Sets how much may be stored.
    pub fn quota(mut self, quota: Quota) -> VaultBuilder {
        self.settings.quota = quota;
        self
    }

    /// Sets what a request may hold.
    pub fn bounds(mut self, bounds: Bounds) -> VaultBuilder {
        self.settings.bounds = bounds;
        self
    }

    /// Sets what happens to a value that the model supplies where a default is bound.
    pub fn injection_policy(mut self, policy: InjectionPolicy) -> VaultBuilder {
        self.settings.policy = policy;
        self
    }

    /// Sets whether [`SecretInfo::display`](crate::SecretInfo::display) shows a mask of the value (the default) or
    /// nothing. Existing masks stay.
    pub fn mask_values(mut self, mask: bool) -> VaultBuilder {
        self.settings.mask = mask;
        self
    }

    /// Sets the sink that is told what happens to the vault; by default there is none. See [`AuditSink`] for when
    /// it is told and what happens if it fails, and [`AuditLog`](crate::AuditLog) for a sink that writes to a
    /// file.
    pub fn audit(mut self, sink: impl AuditSink + 'static) -> VaultBuilder {
        self.settings.audit = Audit::new(sink);
        self
    }

    /// Sets how hard the passphrases of new key slots are to guess. By default, a slot that replaces another one
    /// ([`change_key`](Vault::change_key), [`rotate_master_key`](Vault::rotate_master_key)) has the parameters of that
    /// one if these take at least as much work as the default ones.
    pub fn kdf_params(mut self, params: KdfParams) -> VaultBuilder {
        self.settings.kdf = Some(params);
        self
    }

    #[cfg(test)]
    pub(super) fn settings(self) -> Settings {
        self.settings
    }

    #[cfg(test)]
    pub(crate) fn clock(
        mut self,
        clock: impl Fn() -> DateTime<Utc> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> VaultBuilder {
        self.settings.clock = Clock::new(clock);
        self
    }

    /// Creates a vault that lives in memory only, under a random key. It cannot be locked, since nothing could
    /// unlock it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) if the bounds are out of range, and
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the operating system provides no random bytes.
    pub fn in_memory(self) -> Result<Vault, Error> {
        self.check_new()?;
        let keys = KeyRing::random(VaultId::random()?)?;
        State::create(self.settings, keys, None, memory).map(created)
    }

    /// Creates a vault that lives in memory only, and can be [locked](Vault::lock) and unlocked with this key.
    ///
    /// # Errors
    ///
    /// Those of [`in_memory`](VaultBuilder::in_memory); also if the key is one that
    /// [no slot can be made for](KeySource#new-key-slots).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn in_memory_with_key(self, key: KeySource) -> Result<Vault, Error> {
        self.create_with(&key, memory)
    }

    /// Demands that an [opened](VaultBuilder::open) vault is in the state of this anchor or a later one. No new vault
    /// is, so none is created: that fails with `RolledBack`.
    #[cfg(feature = "file")]
    pub fn anchor(mut self, anchor: Anchor) -> VaultBuilder {
        self.anchor = Some(anchor);
        self
    }

    /// Sets how long opening a vault, taking a snapshot of it, [reloading](Vault::reload) the snapshot or
    /// [importing](Vault::import) the vault waits while it is open elsewhere. By default it does not wait. After this
    /// time it fails with [`ErrorKind::InUse`](crate::ErrorKind::InUse).
    #[cfg(feature = "file")]
    pub fn wait(mut self, wait: Duration) -> VaultBuilder {
        self.settings.wait = wait;
        self
    }

    /// Creates a vault in a new file: see [`Vault::create`].
    ///
    /// # Errors
    ///
    /// Those of [`Vault::create`].
    #[cfg(feature = "file")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn create(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let path = path.as_ref();
        // A provider may keep what it wraps, so do not ask it for nothing.
        if FileStorage::is_taken(path) {
            return Err(storage_error(StorageError::Exists));
        }
        self.create_with(&key, |first| FileStorage::create(path, first))
    }

    /// Opens the vault in a file: see [`Vault::open`].
    ///
    /// # Errors
    ///
    /// Those of [`Vault::open`]; also `RolledBack` if the file is older than the [anchor](VaultBuilder::anchor), or
    /// is another vault.
    #[cfg(feature = "file")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn open(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let settings = self.settings.clone();
        let opened = self.open_file(path.as_ref(), &key);
        settings.record(AuditAction::VaultOpened, &opened);
        opened
    }

    /// Opens the vault in a file, or creates one: see [`Vault::open_or_create`]. If an
    /// [anchor](VaultBuilder::anchor) is demanded, none is created, since the anchor's vault existed before.
    ///
    /// # Errors
    ///
    /// Those of [`open`](VaultBuilder::open) and [`create`](VaultBuilder::create).
    #[cfg(feature = "file")]
    pub fn open_or_create(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let path = path.as_ref();
        if self.anchor.is_some() || FileStorage::is_taken(path) {
            return self.open(path, key);
        }
        let mut is_there = false;
        let created = self.clone().create_with(&key, |first| {
            let created = FileStorage::create(path, first);
            is_there = matches!(created, Err(StorageError::Exists));
            created
        });
        // Another process or thread was faster.
        if is_there {
            self.open(path, key)
        } else {
            created
        }
    }

    /// Opens the vault in a store.
    #[cfg(feature = "file")]
    pub(super) fn open_with(
        self,
        key: &KeySource,
        storage: Box<dyn Storage>,
    ) -> Result<Vault, Error> {
        let stored = storage.keys().map_err(storage_error)?;
        let keys = KeySlots::decode(&stored.unwrap_or_default())?.open(key)?;
        let anchor = self.anchor.as_ref();
        State::open(self.settings, keys, anchor, storage).map(Vault::new)
    }

    /// Reads the vault in a file as it is now: see [`Vault::snapshot`].
    ///
    /// # Errors
    ///
    /// Those of [`open`](VaultBuilder::open).
    #[cfg(feature = "file")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn snapshot(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let settings = self.settings.clone();
        let opened = self.read_file(path.as_ref(), &key);
        settings.record(AuditAction::VaultOpened, &opened);
        opened.map(Vault::new)
    }

    #[cfg(feature = "file")]
    fn open_file(self, path: &Path, key: &KeySource) -> Result<Vault, Error> {
        self.settings.bounds.check()?;
        let storage = FileStorage::open(path, self.settings.wait).map_err(storage_error)?;
        self.open_with(key, Box::new(storage))
    }

    #[cfg(feature = "file")]
    pub(super) fn read_file(self, path: &Path, key: &KeySource) -> Result<State, Error> {
        self.settings.bounds.check()?;
        State::open_snapshot(self.settings, key, self.anchor.as_ref(), path)
    }

    /// Checks what is demanded of a new vault.
    fn check_new(&self) -> Result<(), Error> {
        #[cfg(feature = "file")]
        if self.anchor.is_some() {
            return Err(new_for_an_anchor());
        }
        self.settings.bounds.check()
    }

    pub(super) fn create_with<S: Storage + 'static>(
        self,
        key: &KeySource,
        store: impl FnOnce(Transaction) -> Result<S, StorageError>,
    ) -> Result<Vault, Error> {
        self.check_new()?;
        let vault = VaultId::random()?;
        let master = MasterKey::random()?;
        let keys = KeyRing::random(vault)?;
        let slots = KeySlots::new(vault, key, self.settings.kdf, &master, &keys)?;
        State::create(self.settings, keys, Some(&slots), store).map(created)
    }
}

fn created(state: State) -> Vault {
    let _ = state.record(AuditAction::VaultCreated, Ok(()));
    Vault::new(state)
}

fn memory(first: Transaction) -> Result<MemoryStorage, StorageError> {
    let storage = MemoryStorage::default();
    storage.commit(first)?;
    Ok(storage)
}
