//! How a vault is made.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use chrono::{DateTime, SubsecRound, Utc};

use super::{Vault, slots::KeySlots, state::State};
#[cfg(feature = "file")]
use super::{anchor::Anchor, errors::storage_error};
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

/// Makes a [`Vault`] that differs from the usual one.
///
/// # Settings
///
/// Quota, bounds, injection policy, masks, the parameters of new passphrases and the audit belong to the vault as it is open,
/// not to its file: whoever opens it again says again what is to hold. With the usual settings a model's own value is kept
/// where a default is bound, a user may have 1,000 secrets and 1 MiB, and a value up to 1,024 characters. What was stored
/// under wider limits stays, and is injected.
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

/// What a vault is made with and keeps.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) quota: Quota,
    pub(super) bounds: Bounds,
    pub(super) policy: InjectionPolicy,
    pub(super) mask: bool,
    pub(super) kdf: KdfParams,
    pub(super) clock: Clock,
    pub(super) audit: Audit,
    /// For a file that is open elsewhere.
    #[cfg(feature = "file")]
    pub(super) wait: Duration,
}

impl VaultBuilder {
    pub(super) fn new() -> VaultBuilder {
        VaultBuilder {
            settings: Settings {
                quota: Quota::default(),
                bounds: Bounds::default(),
                policy: InjectionPolicy::default(),
                mask: true,
                kdf: KdfParams::default(),
                clock: Clock(Arc::new(Utc::now)),
                audit: Audit::default(),
                #[cfg(feature = "file")]
                wait: Duration::ZERO,
            },
            #[cfg(feature = "file")]
            anchor: None,
        }
    }

    /// How much may be stored.
    pub fn quota(mut self, quota: Quota) -> VaultBuilder {
        self.settings.quota = quota;
        self
    }

    /// What a request may hold.
    pub fn bounds(mut self, bounds: Bounds) -> VaultBuilder {
        self.settings.bounds = bounds;
        self
    }

    /// What happens to a value that the model supplies where a default is bound.
    pub fn injection_policy(mut self, policy: InjectionPolicy) -> VaultBuilder {
        self.settings.policy = policy;
        self
    }

    /// Whether [`SecretInfo::display`](crate::SecretInfo::display) shows a mask of the value (the default) or nothing.
    /// Masks that were made before stay.
    pub fn mask_values(mut self, mask: bool) -> VaultBuilder {
        self.settings.mask = mask;
        self
    }

    /// Who is told of what happens to the vault: nobody unless this is said. See [`AuditSink`] for when, and for what happens
    /// if it fails, and [`AuditLog`](crate::AuditLog) for one that writes to a file.
    pub fn audit(mut self, sink: impl AuditSink + 'static) -> VaultBuilder {
        self.settings.audit = Audit::new(sink);
        self
    }

    /// How hard it is to guess the passphrase of a key slot that is made from now on.
    pub fn kdf_params(mut self, params: KdfParams) -> VaultBuilder {
        self.settings.kdf = params;
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
        self.settings.clock = Clock(Arc::new(clock));
        self
    }

    /// A vault that lives in memory only, under a random key. It cannot be locked, since nothing could unlock it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) if the bounds are out of range, and
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the operating system gives no random bytes.
    pub fn in_memory(self) -> Result<Vault, Error> {
        self.settings.bounds.check()?;
        let keys = KeyRing::random(VaultId::random()?)?;
        State::create(self.settings, keys, None, memory).map(created)
    }

    /// A vault that lives in memory only, and that can be [locked](Vault::lock) and unlocked with this key.
    ///
    /// # Errors
    ///
    /// As for [`in_memory`](VaultBuilder::in_memory); also if a raw key does not have 32 bytes, or a provider fails.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn in_memory_with_key(self, key: KeySource) -> Result<Vault, Error> {
        self.create_with(&key, memory)
    }

    /// Demands that a vault that is [opened](VaultBuilder::open) is in the state of this anchor, or a later one.
    #[cfg(feature = "file")]
    pub fn anchor(mut self, anchor: Anchor) -> VaultBuilder {
        self.anchor = Some(anchor);
        self
    }

    /// How long to wait for a vault that is open elsewhere, to open it, to take a snapshot or to [import](Vault::import)
    /// it: not at all unless this is said. Then that fails with [`ErrorKind::InUse`](crate::ErrorKind::InUse).
    #[cfg(feature = "file")]
    pub fn wait(mut self, wait: Duration) -> VaultBuilder {
        self.settings.wait = wait;
        self
    }

    /// A new vault in a file: see [`Vault::create`].
    ///
    /// # Errors
    ///
    /// As for [`Vault::create`].
    #[cfg(feature = "file")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn create(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let path = path.as_ref();
        // A provider may keep what it wraps, so it is not asked in vain.
        if FileStorage::is_taken(path) {
            return Err(storage_error(StorageError::Exists));
        }
        self.create_with(&key, |first| FileStorage::create(path, first))
    }

    /// The vault that is in a file: see [`Vault::open`].
    ///
    /// # Errors
    ///
    /// As for [`Vault::open`]; also `RolledBack` if the file is older than the [anchor](VaultBuilder::anchor).
    #[cfg(feature = "file")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn open(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let settings = self.settings.clone();
        let opened = self.open_file(path.as_ref(), &key);
        settings.tell(AuditAction::VaultOpened, &opened);
        opened
    }

    /// The vault that is in a file, or a new one: see [`Vault::open_or_create`]. Where an [anchor](VaultBuilder::anchor) is
    /// demanded none is made: the vault that it is of was there before.
    ///
    /// # Errors
    ///
    /// As for [`open`](VaultBuilder::open) and [`create`](VaultBuilder::create).
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
        // Someone else was faster.
        if is_there {
            self.open(path, key)
        } else {
            created
        }
    }

    /// The vault that is in a store.
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

    /// The vault that is in a file, as it is now: see [`Vault::snapshot`].
    ///
    /// # Errors
    ///
    /// As for [`open`](VaultBuilder::open).
    #[cfg(feature = "file")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn snapshot(self, path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        let told = self.settings.clone();
        let opened = self.read_file(path.as_ref(), &key);
        told.tell(AuditAction::VaultOpened, &opened);
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

    pub(super) fn create_with<S: Storage + 'static>(
        self,
        key: &KeySource,
        store: impl FnOnce(Transaction) -> Result<S, StorageError>,
    ) -> Result<Vault, Error> {
        self.settings.bounds.check()?;
        let vault = VaultId::random()?;
        let master = MasterKey::random()?;
        let keys = KeyRing::random(vault)?;
        let slots = KeySlots::new(vault, key, self.settings.kdf, &master, &keys)?;
        State::create(self.settings, keys, Some(&slots), store).map(created)
    }
}

fn created(state: State) -> Vault {
    let _ = state.tell(AuditAction::VaultCreated, Ok(()));
    Vault::new(state)
}

fn memory(first: Transaction) -> Result<MemoryStorage, StorageError> {
    let storage = MemoryStorage::default();
    storage.commit(first)?;
    Ok(storage)
}

/// Where the time comes from.
#[derive(Clone)]
pub(super) struct Clock(Arc<Now>);

type Now = dyn Fn() -> DateTime<Utc> + Send + Sync + UnwindSafe + RefUnwindSafe;

impl Clock {
    /// To the microsecond, which is what is stored.
    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
