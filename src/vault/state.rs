//! What all clones of a vault share: keys, the store, and the users' snapshots.
//!
//! Reading takes no lock: the keys and each user's snapshot are immutable objects that are [`Published`]. Writing
//! takes two: first the user's, under which a snapshot is also loaded for the first time, then the ledger's.
//!
//! Locks are always taken in this order: `rotating` or a source's `reloading`, then `locking`, then users' `writer` (of
//! several users in the order of their ids), then `ledger`, then those of the store. Nothing else is locked while the
//! table of users is.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    anchor::Anchor,
    errors::{creation_error, locked, rolled_back, storage_error},
    settings::Settings,
    slots::KeySlots,
    sync::{AtomicUsize, Mutex, Published, hold, wait_until},
};
#[cfg(feature = "file")]
use super::{
    census::{check_members, stored_root},
    errors::not_the_anchors,
    snapshot_source::SnapshotSource,
};
use crate::{
    crypto::{KeyRing, MemberDigest, UserRoot, VaultRoot},
    error::Error,
    quota::Usage,
    sealed::{SealedRoot, UserTag},
    secret::UserId,
    snapshot::Snapshot,
    storage::{Storage, StorageError, Transaction},
};

pub(super) struct State {
    pub(super) settings: Settings,
    /// `None` while the vault is locked.
    pub(super) keys: Published<KeyRing>,
    pub(super) storage: Box<dyn Storage>,
    /// Whether the vault has a key slot that could unlock it.
    pub(super) lockable: bool,
    /// What the vault holds. It has one writer at a time, so that quotas of the whole vault are exact.
    pub(super) ledger: Mutex<Ledger>,
    /// Held while the vault is locked or unlocked, or its key slots change.
    pub(super) locking: Mutex<()>,
    /// How many callers are about to lock the vault.
    pub(super) about_to_lock: AtomicUsize,
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

    pub(super) fn anchor(&self) -> Result<Anchor, Error> {
        let keys = self.keys()?;
        Ok(Anchor::of(&keys, &hold(&self.ledger).root))
    }

    pub(super) fn keys(&self) -> Result<Arc<KeyRing>, Error> {
        self.keys.load_full().ok_or_else(locked)
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

    pub(super) fn is_locked(&self) -> bool {
        self.keys.load().is_none()
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
pub(super) fn wait_until_unused(keys: &Arc<KeyRing>) {
    wait_until(|| Arc::strong_count(keys) == 1);
}
