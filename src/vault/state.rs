//! What all clones of a vault share: keys, the store, and the users' snapshots.
//!
//! Reading takes no lock: the keys and each user's snapshot are immutable objects behind an [`ArcSwapOption`]. Writing
//! takes two: first the user's, which also orders the first loading of a snapshot, then the ledger's. Locking the vault
//! takes the keys away first and then each user's lock, so that no snapshot is published after it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwapOption;

use super::{anchor::Anchor, builder::Settings, slots::KeySlots};
use crate::{
    crypto::{KeyRing, KeySource, MemberDigest, VaultRoot},
    error::{Error, ErrorKind},
    quota::Usage,
    sealed::UserTag,
    secret::UserId,
    snapshot::Snapshot,
    storage::{Storage, StorageError, Transaction},
};

pub(super) struct State {
    pub(super) settings: Settings,
    /// `None` while the vault is locked.
    keys: ArcSwapOption<KeyRing>,
    pub(super) storage: Box<dyn Storage>,
    /// Whether there is a key slot that could unlock the vault.
    lockable: bool,
    /// What the vault has. One writer at a time, so that quotas of the whole vault are exact.
    pub(super) ledger: Mutex<Ledger>,
    users: papaya::HashMap<UserId, Arc<UserState>>,
    /// Held while the vault is locked or unlocked, or its key slots change.
    pub(super) locking: Mutex<()>,
    /// Held while the data key is rotated.
    pub(super) rotating: Mutex<()>,
}

/// Nothing of what is in it: a vault ends up in logs, and its users' names and bindings are no business of theirs.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("locked", &self.keys.load().is_none())
            .finish_non_exhaustive()
    }
}

/// What the vault had when it was last written or unlocked. Kept while it is locked, to know it again.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) root: VaultRoot,
    /// The users' roots, as members of the vault's: a root that was rolled back, or that went away, is found when the
    /// user is loaded.
    pub(super) members: HashMap<UserTag, MemberDigest>,
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
    /// A new vault, over a store that is made with its first transaction.
    pub(super) fn create<S: Storage + 'static>(
        settings: Settings,
        keys: KeyRing,
        slots: Option<&KeySlots>,
        store: impl FnOnce(Transaction) -> Result<S, StorageError>,
    ) -> Result<State, Error> {
        let slots = slots.map(KeySlots::encode);
        let root = VaultRoot {
            keys: keys.keys_digest(slots.as_deref()),
            ..VaultRoot::default()
        };
        let vault_root = Some(keys.seal_vault_root(&root)?);
        let lockable = slots.is_some();
        let storage = store(Transaction {
            keys: slots,
            vault_root,
            users: Vec::new(),
        })
        .map_err(storage_error)?;
        let ledger = Ledger {
            root,
            members: HashMap::new(),
        };
        Ok(State::new(
            settings,
            keys,
            lockable,
            Box::new(storage),
            ledger,
        ))
    }

    /// The vault that is in a store.
    #[cfg(feature = "file")]
    pub(super) fn open(
        settings: Settings,
        source: &KeySource,
        anchor: Option<&Anchor>,
        storage: Box<dyn Storage>,
    ) -> Result<State, Error> {
        let stored = storage.keys().map_err(storage_error)?;
        let keys = KeySlots::decode(&stored.unwrap_or_default())?.open(source)?;
        let ledger = Ledger {
            root: VaultRoot::default(),
            members: HashMap::new(),
        };
        let state = State::new(settings, keys, true, storage, ledger);
        let keys = state.keys()?;
        let root = state.stored_root(&keys)?;
        if anchor.is_some_and(|anchor| !anchor.admits(&keys, &root)) {
            return Err(rolled_back());
        }
        let members = state.check_members(&keys, &root)?;
        *hold(&state.ledger) = Ledger { root, members };
        Ok(state)
    }

    fn new(
        settings: Settings,
        keys: KeyRing,
        lockable: bool,
        storage: Box<dyn Storage>,
        ledger: Ledger,
    ) -> State {
        State {
            settings,
            keys: ArcSwapOption::from_pointee(keys),
            lockable,
            storage,
            ledger: Mutex::new(ledger),
            users: papaya::HashMap::new(),
            locking: Mutex::new(()),
            rotating: Mutex::new(()),
        }
    }

    pub(super) fn anchor(&self) -> Result<Anchor, Error> {
        let keys = self.keys()?;
        Ok(Anchor::of(&keys, &hold(&self.ledger).root))
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
        let stored = self.storage.user(tag).map_err(storage_error)?;
        let found = stored
            .as_ref()
            .map(|stored| keys.user_member(tag, &stored.root));
        if found.as_ref() != hold(&self.ledger).members.get(&tag) {
            return Err(rolled_back());
        }
        let snapshot = Arc::new(match stored {
            Some(stored) => Snapshot::load(keys, tag, stored)?,
            None => Snapshot::empty(user.user),
        });
        user.snapshot.store(Some(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    pub(super) fn usage(&self) -> Result<Usage, Error> {
        self.keys()?;
        Ok(hold(&self.ledger).root.usage)
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

    /// The users who have a root, in no order.
    pub(super) fn stored_users(&self) -> Result<Vec<UserId>, Error> {
        let keys = self.keys()?;
        let roots = self.storage.user_roots().map_err(storage_error)?;
        roots
            .iter()
            .map(|(tag, root)| Ok(keys.open_user_root(*tag, root)?.user))
            .collect()
    }

    /// Puts other keys in the place of those in use. The caller keeps the vault from being locked meanwhile.
    pub(super) fn publish_keys(&self, keys: KeyRing) {
        self.keys.store(Some(Arc::new(keys)));
    }

    /// Wipes the keys and drops the snapshots.
    pub(super) fn lock(&self) -> Result<(), Error> {
        if !self.lockable {
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
        wait_until_unused(&keys);
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
        // No other process writes to this store, so it holds what this one left.
        let mut ledger = hold(&self.ledger);
        if self.stored_root(&keys)? != ledger.root {
            return Err(rolled_back());
        }
        ledger.members = self.check_members(&keys, &ledger.root)?;
        drop(ledger);
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }

    /// What the vault is opened with; `None` for a vault in memory that was made without a key.
    pub(super) fn slots(&self) -> Result<Option<KeySlots>, Error> {
        let stored = self.storage.keys().map_err(storage_error)?;
        stored.map(|bytes| KeySlots::decode(&bytes)).transpose()
    }
}

/// Waits for the calls that began with these keys, and still work with them. They hold on to nothing else that the
/// caller may hold, other than a user's lock.
pub(super) fn wait_until_unused(keys: &Arc<KeyRing>) {
    while Arc::strong_count(keys) > 1 {
        std::thread::yield_now();
    }
}

/// What a lock of this module guards is whole at every moment, so a panic elsewhere does not spoil it.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn locked() -> Error {
    Error::new(ErrorKind::Locked, "the vault is locked: unlock it")
}

pub(super) fn no_key_slots(consequence: &str) -> Error {
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
        // This process alone writes to the store.
        StorageError::RootChanged => rolled_back(),
        StorageError::Failed(source) => {
            Error::new(ErrorKind::Storage, "the store failed; nothing changed").with_source(source)
        }
        StorageError::Uncertain(source) => Error::new(
            ErrorKind::Storage,
            "the store failed during a write, which is kept as a whole or not at all: open the vault again to see",
        )
        .with_source(source),
        StorageError::Stopped => Error::new(
            ErrorKind::Storage,
            "the store failed before and was stopped; nothing changed: open the vault again",
        ),
        StorageError::Exists => Error::new(
            ErrorKind::Storage,
            "there is something at this path already: open it as a vault, or choose another path",
        ),
        StorageError::Missing => Error::new(
            ErrorKind::Storage,
            "there is no file at this path: create a vault, or check the path",
        ),
        StorageError::InUse => Error::new(
            ErrorKind::InUse,
            "the vault is open elsewhere, in this process or another: close it there, or wait for it when opening",
        ),
        StorageError::Damaged(source) => Error::new(
            ErrorKind::Corrupt,
            "this is no vault file, or it is damaged: check the path, or restore a backup",
        )
        .with_source(source),
        StorageError::UnsupportedVersion(version) => Error::new(
            ErrorKind::UnsupportedVersion,
            format!("the vault file has version {version} of the format, which this keyward cannot read: use a newer one"),
        ),
    }
}
