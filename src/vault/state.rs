//! What all clones of a vault share: keys, the store, and the users' snapshots.
//!
//! Reading takes no lock: the keys and each user's snapshot are immutable objects behind an [`ArcSwapOption`]. Writing
//! takes two: first the user's, which also orders the first loading of a snapshot, then the ledger's. Locking the vault
//! takes the keys away first and then each user's lock, so that no snapshot is published after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use super::{builder::Settings, slots::KeySlots};
use crate::{
    crypto::{KeyRing, KeySource, VaultRoot},
    error::{Error, ErrorKind},
    quota::Usage,
    secret::UserId,
    snapshot::Snapshot,
    storage::{Storage, StorageError, Transaction},
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    /// `None` while the vault is locked.
    keys: ArcSwapOption<KeyRing>,
    pub(super) storage: Box<dyn Storage>,
    /// The vault's root. One writer at a time, so that quotas of the whole vault are exact.
    pub(super) ledger: Mutex<VaultRoot>,
    users: papaya::HashMap<UserId, Arc<UserState>>,
    /// Held while the vault is locked or unlocked.
    locking: Mutex<()>,
}

/// One user's secrets.
#[derive(Debug)]
pub(super) struct UserState {
    pub(super) user: UserId,
    /// `None` until it is used, and while the vault is locked.
    pub(super) snapshot: ArcSwapOption<Snapshot>,
    pub(super) writer: Mutex<()>,
}

impl State {
    /// A new vault over an empty store.
    pub(super) fn create(
        settings: Settings,
        keys: KeyRing,
        slots: Option<KeySlots>,
        storage: Box<dyn Storage>,
    ) -> Result<State, Error> {
        let slots = slots.map(|slots| slots.encode());
        let ledger = VaultRoot {
            keys: keys.keys_digest(slots.as_deref()),
            ..VaultRoot::default()
        };
        let vault_root = Some(keys.seal_vault_root(&ledger)?);
        storage
            .commit(Transaction {
                keys: slots,
                vault_root,
                user: None,
            })
            .map_err(storage_error)?;
        Ok(State {
            settings,
            keys: ArcSwapOption::from_pointee(keys),
            storage,
            ledger: Mutex::new(ledger),
            users: papaya::HashMap::new(),
            locking: Mutex::new(()),
        })
    }

    /// What is known of a user; made if nothing is.
    pub(super) fn user(&self, user: UserId) -> Arc<UserState> {
        let users = self.users.pin();
        let new = || {
            Arc::new(UserState {
                user,
                snapshot: ArcSwapOption::empty(),
                writer: Mutex::new(()),
            })
        };
        Arc::clone(users.get_or_insert_with(user, new))
    }

    /// Works with the keys and with the user's secrets as of now. Waits for the store only when the user is first used.
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

    pub(super) fn keys(&self) -> Result<Arc<KeyRing>, Error> {
        self.keys.load_full().ok_or_else(locked)
    }

    /// Loads the user's snapshot, if it is not there. The caller holds the user's lock.
    pub(super) fn load(&self, user: &UserState, keys: &KeyRing) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = user.snapshot.load_full() {
            return Ok(snapshot);
        }
        let tag = keys.user_tag(user.user);
        let snapshot = Arc::new(match self.storage.user(tag).map_err(storage_error)? {
            Some(stored) => Snapshot::load(keys, tag, stored)?,
            None => Snapshot::empty(user.user),
        });
        user.snapshot.store(Some(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    pub(super) fn usage(&self) -> Result<Usage, Error> {
        self.keys()?;
        Ok(hold(&self.ledger).usage)
    }

    /// The users who have a secret, in the order of their ids.
    pub(super) fn users(&self) -> Result<Vec<UserId>, Error> {
        let keys = self.keys()?;
        let mut users = Vec::new();
        for (tag, root) in self.storage.user_roots().map_err(storage_error)? {
            let root = keys.open_user_root(tag, &root)?;
            if root.usage.secrets > 0 {
                users.push(root.user);
            }
        }
        users.sort_unstable();
        Ok(users)
    }

    /// Wipes the keys and drops the snapshots.
    pub(super) fn lock(&self) -> Result<(), Error> {
        if self.slots()?.is_none() {
            return Err(no_key_slots("it could never be unlocked"));
        }
        let _locking = hold(&self.locking);
        let Some(keys) = self.keys.swap(None) else {
            return Ok(());
        };
        for user in self.users.pin().values() {
            let _writer = hold(&user.writer);
            user.snapshot.store(None);
        }
        // Calls that began before hold on to the keys until they end, which is soon: wait, so that the keys are wiped
        // when this returns.
        while Arc::strong_count(&keys) > 1 {
            std::thread::yield_now();
        }
        Ok(())
    }

    pub(super) fn unlock(&self, source: &KeySource) -> Result<(), Error> {
        let slots = self
            .slots()?
            .ok_or_else(|| no_key_slots("it is never locked"))?;
        let _locking = hold(&self.locking);
        let keys = slots.open(source)?;
        if self.keys.load().is_some() {
            return Ok(());
        }
        let root = self.stored_root(&keys)?;
        self.check_members(&keys, &root)?;
        *hold(&self.ledger) = root;
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }

    /// What the vault is opened with; `None` for a vault in memory that was made without a key.
    fn slots(&self) -> Result<Option<KeySlots>, Error> {
        let stored = self.storage.keys().map_err(storage_error)?;
        stored.map(|bytes| KeySlots::decode(&bytes)).transpose()
    }
}

/// What a lock of this module guards is whole at every moment, so a panic elsewhere does not spoil it.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn locked() -> Error {
    Error::new(ErrorKind::Locked, "the vault is locked: unlock it")
}

fn no_key_slots(consequence: &str) -> Error {
    let message = format!("this vault in memory was made without a key, so {consequence}");
    Error::new(ErrorKind::Unsupported, message)
}

pub(super) fn rolled_back() -> Error {
    Error::new(
        ErrorKind::RolledBack,
        "a user's secrets were deleted, added or rolled back outside keyward: restore a backup",
    )
}

pub(super) fn storage_error(error: StorageError) -> Error {
    match error {
        StorageError::RootChanged => Error::new(
            ErrorKind::Storage,
            "another process changed the user's secrets meanwhile; nothing changed: try again",
        ),
        StorageError::Failed(source) => {
            Error::new(ErrorKind::Storage, "the store failed; nothing changed").with_source(source)
        }
    }
}
