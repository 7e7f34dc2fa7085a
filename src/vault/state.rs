//! What all clones of a vault share: keys, the store, and the users' snapshots.
//!
//! Reading takes no lock: the keys and each user's snapshot are immutable objects that are [`Published`]. Writing
//! takes two: first the user's, under which a snapshot is also loaded for the first time, then the ledger's.
//!
//! Locking the vault first takes the keys away and then takes each user's lock, so that no snapshot is published after
//! it. It may have to wait for a replacement of the keys, which waits for calls with the old ones. So it first raises
//! `about_to_lock`, on which long operations end.
//!
//! Locks are always taken in this order: `rotating` or a source's `reloading`, then `locking`, then users' `writer` (of
//! several users in the order of their ids), then `ledger`, then those of the store. Nothing else is locked while the
//! table of users is.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::{
    anchor::Anchor,
    builder::Settings,
    errors::{creation_error, locked, no_key_slots, rolled_back, storage_error},
    slots::KeySlots,
    sync::{AtomicUsize, Mutex, MutexGuard, Published, wait_until},
    users::{UserState, Users},
    verify::{check_members, stored_root},
};
#[cfg(feature = "file")]
use super::{errors::not_the_anchors, reload::SnapshotSource};
use crate::{
    crypto::{KeyRing, KeySource, MemberDigest, UserRoot, VaultRoot},
    error::Error,
    quota::Usage,
    sealed::{SealedRoot, UserTag},
    secret::UserId,
    snapshot::Snapshot,
    storage::{Storage, StorageError, Transaction, UserRows},
};

pub(super) struct State {
    pub(super) settings: Settings,
    /// `None` while the vault is locked.
    keys: Published<KeyRing>,
    pub(super) storage: Box<dyn Storage>,
    /// Whether the vault has a key slot that could unlock it.
    pub(super) lockable: bool,
    /// What the vault holds. It has one writer at a time, so that quotas of the whole vault are exact.
    pub(super) ledger: Mutex<Ledger>,
    /// Held while the vault is locked or unlocked, or its key slots change.
    pub(super) locking: Mutex<()>,
    /// How many callers are about to lock the vault.
    about_to_lock: AtomicUsize,
    /// Held while the data key is rotated.
    pub(super) rotating: Mutex<()>,
    /// The secrets of a user who is not loaded and is being rotated. They change under the user's lock, as the user's
    /// own snapshot does.
    pub(super) in_rotation: Published<Snapshot>,
    /// Where a snapshot comes from.
    #[cfg(feature = "file")]
    pub(super) source: Option<SnapshotSource>,
}

/// Shows no content: a vault ends up in logs, where its users' names and bindings do not belong.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}

/// What the vault held when it was last written or unlocked. Kept while it is locked, to recognize it again.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) root: VaultRoot,
    /// The users' roots, as members of the vault's root: a root that was rolled back or removed is found when the
    /// user is loaded.
    pub(super) members: HashMap<UserTag, MemberDigest>,
}

impl State {
    /// Creates a vault over a store that is made with its first transaction.
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
        .map_err(creation_error)?;
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

    /// Opens the vault in a store with its keys.
    #[cfg(feature = "file")]
    pub(super) fn open(
        settings: Settings,
        keys: KeyRing,
        anchor: Option<&Anchor>,
        storage: Box<dyn Storage>,
    ) -> Result<State, Error> {
        let root = stored_root(&*storage, &keys)?;
        if anchor.is_some_and(|anchor| !anchor.admits(&keys, &root)) {
            return Err(not_the_anchors());
        }
        let members = check_members(&*storage, &keys, &root)?;
        let ledger = Ledger { root, members };
        Ok(State::new(settings, keys, true, storage, ledger))
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
            keys: Published::new(Some(keys)),
            lockable,
            storage,
            ledger: Mutex::new(ledger),
            locking: Mutex::new(()),
            about_to_lock: AtomicUsize::new(0),
            rotating: Mutex::new(()),
            in_rotation: Published::new(None),
            #[cfg(feature = "file")]
            source: None,
        }
    }

    #[cfg_attr(
        not(feature = "file"),
        expect(
            clippy::unused_self,
            reason = "a snapshot, which is of a file, keeps the master key"
        )
    )]
    fn open_keys(&self, slots: &KeySlots, key: &KeySource) -> Result<KeyRing, Error> {
        #[cfg(feature = "file")]
        if self.source.is_some() {
            return slots.open_with_master(key);
        }
        slots.open(key)
    }

    pub(super) fn anchor(&self) -> Result<Anchor, Error> {
        let keys = self.keys()?;
        Ok(Anchor::of(&keys, &hold(&self.ledger).root))
    }

    /// Calls `work` with the keys and the user's secrets as of now. Waits for the store only when the user is
    /// first used.
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

    /// Loads the user's snapshot, unless it is loaded. The caller holds the user's lock.
    pub(super) fn load(&self, user: &UserState, keys: &KeyRing) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = user.snapshot.load_full() {
            return Ok(snapshot);
        }
        let snapshot = self.peek(user, keys);
        #[cfg(feature = "file")]
        if let (Err(_), Some(source)) = (&snapshot, &self.source) {
            source.doubt();
        }
        let snapshot = snapshot?;
        user.snapshot.store(Some(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Does what `load` does, and leaves a user who is not loaded so. The caller holds the user's lock.
    pub(super) fn peek(&self, user: &UserState, keys: &KeyRing) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = user.snapshot.load_full() {
            return Ok(snapshot);
        }
        Ok(Arc::new(match self.stored(user, keys)? {
            Some((tag, stored)) => Snapshot::load(keys, tag, stored)?,
            None => Snapshot::empty(user.user),
        }))
    }

    /// Returns what is stored of the user, sealed, if the root is the one that this process knows.
    pub(super) fn stored(
        &self,
        user: &UserState,
        keys: &KeyRing,
    ) -> Result<Option<(UserTag, UserRows)>, Error> {
        let tag = keys.user_tag(user.user);
        let stored = || self.storage.user(tag).map_err(storage_error);
        let is_known = |stored: &Option<UserRows>, ledger: &Ledger| {
            let found = stored.as_ref();
            let found = found.map(|stored| keys.user_member(tag, &stored.root));
            found.as_ref() == ledger.members.get(&tag)
        };
        let mut rows = stored()?;
        if !is_known(&rows, &hold(&self.ledger)) {
            // Reloading a snapshot replaces the store and the ledger together; they may have been read in between.
            let ledger = hold(&self.ledger);
            rows = stored()?;
            if !is_known(&rows, &ledger) {
                return Err(rolled_back());
            }
        }
        Ok(rows.map(|stored| (tag, stored)))
    }

    pub(super) fn compact(&self) -> Result<(), Error> {
        self.keys()?;
        self.storage.compact().map_err(storage_error)
    }

    pub(super) fn usage(&self) -> Result<Usage, Error> {
        self.keys()?;
        Ok(hold(&self.ledger).root.usage)
    }

    /// Returns the users who have a secret, ordered by id.
    pub(super) fn users(&self) -> Result<Vec<UserId>, Error> {
        let roots = self.user_roots()?.into_iter();
        let mut users: Vec<UserId> = roots
            .filter(|root| root.usage.secrets > 0)
            .map(|root| root.user)
            .collect();
        users.sort_unstable();
        Ok(users)
    }

    /// Returns the stored users' roots, unordered, if they are exactly those that this process knows.
    pub(super) fn user_roots(&self) -> Result<Vec<UserRoot>, Error> {
        let keys = self.keys()?;
        let ledger = hold(&self.ledger);
        let stored = self.storage.user_roots().map_err(storage_error)?;
        let known = |(tag, root)| ledger.members.get(tag) == Some(&keys.user_member(*tag, root));
        if stored.len() != ledger.members.len()
            || !stored.iter().map(|(tag, root)| (tag, root)).all(known)
        {
            return Err(rolled_back());
        }
        drop(ledger);
        let open = |(tag, root): &(UserTag, SealedRoot)| keys.open_user_root(*tag, root);
        stored.iter().map(open).collect()
    }

    /// Replaces the keys in use, `old`, with `new`, while calls proceed. First all calls get `both`, with which they
    /// can open what is sealed with either. `change` is called when none uses `old` any more, so it may publish what is
    /// sealed with `new`. When this returns, all calls use `new`. The caller holds `locking`.
    pub(super) fn replace_keys(
        &self,
        old: Arc<KeyRing>,
        both: KeyRing,
        new: KeyRing,
        change: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.keys.store(Some(Arc::new(both)));
        wait_until_unused(&old);
        drop(old);
        change()?;
        let both = self.keys()?;
        self.keys.store(Some(Arc::new(new)));
        wait_until_unused(&both);
        Ok(())
    }

    /// Wipes the keys and drops the users' snapshots. Returns `false` if the vault was locked already.
    pub(super) fn lock(&self, users: &Users) -> Result<bool, Error> {
        if !self.lockable {
            return Err(no_key_slots(
                "it could never be unlocked: make it with a key, or drop it",
            ));
        }
        self.about_to_lock.fetch_add(1, Ordering::SeqCst);
        let _locking = hold(&self.locking);
        let keys = self.keys.swap(None);
        self.about_to_lock.fetch_sub(1, Ordering::SeqCst);
        let Some(keys) = keys else {
            return Ok(false);
        };
        users.for_each(|user| user.snapshot.store(None));
        // The rotation, too, has a user's lock and asks for the keys when it puts something here.
        self.in_rotation.store(None);
        wait_until_unused(&keys);
        Ok(true)
    }

    /// Returns whether the vault is locked, or will be once the keys are no longer in use.
    pub(super) fn is_being_locked(&self) -> bool {
        self.about_to_lock.load(Ordering::SeqCst) > 0 || self.is_locked()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.keys.load().is_none()
    }

    pub(super) fn unlock(&self, source: &KeySource) -> Result<(), Error> {
        // While this is held nobody else changes the slots: their keys are current, and stay so until they are in
        // use.
        let _locking = hold(&self.locking);
        let stored = self.storage.keys().map_err(storage_error)?;
        let slots = decode_slots(stored.as_deref())?;
        let slots = slots.ok_or_else(|| no_key_slots("it is never locked"))?;
        let keys = self.open_keys(&slots, source)?;
        // No other process writes to this store, so it holds what this one left.
        let mut ledger = hold(&self.ledger);
        if keys.keys_digest(stored.as_deref()) != ledger.root.keys {
            return Err(rolled_back());
        }
        if self.keys.load().is_some() {
            return Ok(());
        }
        if stored_root(&*self.storage, &keys)? != ledger.root {
            return Err(rolled_back());
        }
        ledger.members = check_members(&*self.storage, &keys, &ledger.root)?;
        drop(ledger);
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }

    /// Returns the key slots; `None` for a vault in memory that was made without a key.
    pub(super) fn slots(&self) -> Result<Option<KeySlots>, Error> {
        let stored = self.storage.keys().map_err(storage_error)?;
        decode_slots(stored.as_deref())
    }
}

pub(super) fn decode_slots(stored: Option<&[u8]>) -> Result<Option<KeySlots>, Error> {
    stored.map(KeySlots::decode).transpose()
}

/// Waits until no call uses these keys any more. The caller may hold `locking`, since no call waits for it while it
/// uses the keys, but neither a user's lock nor the ledger.
fn wait_until_unused(keys: &Arc<KeyRing>) {
    wait_until(|| Arc::strong_count(keys) == 1);
}

/// The data that a lock of this module guards is consistent at every moment, so a panic elsewhere does not spoil
/// it.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
