//! The vault: it composes the rest of the crate, and holds no rules of its own.

#[cfg(feature = "file")]
use std::path::Path;
use std::{fmt, sync::Arc};

use crate::{
    audit::{AuditAction, AuditEvent},
    bounds::Bounds,
    crypto::{KeySlotInfo, KeySource},
    error::Error,
    quota::Usage,
    secret::UserId,
};

mod anchor;
mod batch;
mod builder;
mod errors;
mod events;
#[cfg(all(fuzzing, feature = "file"))]
pub mod fuzzing;
mod ids;
mod keys;
mod plan;
mod progress;
#[cfg(feature = "file")]
mod reload;
mod slots;
mod state;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(feature = "file")]
mod transfer;
mod user;
mod users;
mod verify;
mod write;

pub use self::{
    anchor::Anchor, batch::Batch, builder::VaultBuilder, progress::Progress, user::UserVault,
};
use self::{state::State, users::Users};

/// The secrets of all users, encrypted.
///
/// A vault is `Send + Sync`, and cheap to clone: clones are the same vault. Calls are resolved without a lock, against
/// what the last write published; a write that has returned is seen by every call that starts after it.
///
/// ```
/// use keyward::{NewSecret, ToolCall, UserId, Vault};
/// use serde_json::json;
///
/// let vault = Vault::in_memory()?;
/// let user = vault.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
///
/// let mut args = json!({"title": "Login fails"}).as_object().unwrap().clone();
/// let injection = user.inject(&ToolCall::new("agno__linear__create_issue"), &mut args)?;
/// assert_eq!(args["api_key"], "lin_api_Zq8wT3vN");
/// assert_eq!(injection.redactor().redact("bad key lin_api_Zq8wT3vN"), "bad key secret://linear");
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # In async code
///
/// [`UserVault::inject`], [`conceal`](UserVault::conceal) and [`explain`](UserVault::explain) never wait, except for
/// the store when a user is first used: call them where you are. Writes wait for other writes and for the store, and a
/// passphrase takes its time: call those where blocking is allowed, such as `tokio::task::spawn_blocking`.
#[derive(Clone)]
pub struct Vault {
    state: Arc<State>,
    users: Arc<Users>,
}

impl Vault {
    /// A vault that lives in memory only, with the usual limits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the operating system gives no random bytes.
    pub fn in_memory() -> Result<Vault, Error> {
        Vault::builder().in_memory()
    }

    /// A new vault in a file, with the usual [settings](VaultBuilder#settings). The file is encrypted; `key` opens it.
    ///
    /// ```
    /// use keyward::{KeySource, NewSecret, UserId, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("secrets.keyward");
    /// let vault = Vault::create(&path, KeySource::passphrase("correct horse battery staple"))?;
    /// vault.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    /// drop(vault);
    ///
    /// let vault = Vault::open(&path, KeySource::passphrase("correct horse battery staple"))?;
    /// assert_eq!(vault.user(UserId::LOCAL).secret("linear")?.revision, 1);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Storage` if there is something at the path already (with an [`io::Error`](std::io::Error) of the kind
    /// `AlreadyExists` as its source), or it cannot be written; `Validation` if a raw key does not have 32 bytes. There is
    /// then no new file.
    #[cfg(feature = "file")]
    pub fn create(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().create(path, key)
    }

    /// The vault that is in a file, with the usual [settings](VaultBuilder#settings): they are not kept in the file.
    ///
    /// While a vault is open, nobody else can open it or take a [snapshot](Vault::snapshot) of it. It is open until the last
    /// clone and the last [`UserVault`] of it are dropped.
    ///
    /// # Errors
    ///
    /// `WrongKey` if no key slot opens with this key; `InUse` if the vault is open elsewhere; `Corrupt`, `RolledBack` or
    /// `UnsupportedVersion` for a file that keyward did not leave like this; `Storage` if there is none (with an
    /// [`io::Error`](std::io::Error) of the kind `NotFound` as its source), or it cannot be read.
    ///
    /// # Security
    ///
    /// That the whole file was replaced by an older copy is noticed only against an [`Anchor`].
    #[cfg(feature = "file")]
    pub fn open(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().open(path, key)
    }

    /// The vault that is in a file, or a new one if there is no file at the path: what a program does when it starts. See
    /// [`open`](Vault::open) and [`create`](Vault::create).
    ///
    /// ```
    /// use keyward::{KeySource, NewSecret, UserId, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("secrets.keyward");
    /// for revision in [1, 2] {
    ///     let vault = Vault::open_or_create(&path, KeySource::raw([0x4b; 32]))?;
    ///     let user = vault.user(UserId::LOCAL);
    ///     let secret = match user.secret("linear") {
    ///         Ok(found) => user.update(&found, keyward::SecretPatch::new().value("lin_api_Zq8wT3vN"))?,
    ///         Err(_) => user.create(NewSecret::new("linear", "lin_api_4QvT9sLm"))?,
    ///     };
    ///     assert_eq!(secret.revision, revision);
    /// }
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`open`](Vault::open) where there is a file, and as for [`create`](Vault::create) where there is none.
    #[cfg(feature = "file")]
    pub fn open_or_create(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().open_or_create(path, key)
    }

    /// The vault that is in a file as it is now, to be read: the file is let go of before this returns. So any number of
    /// processes can use a vault that another one opens from time to time to write to it. What changes in the file later is seen after
    /// a [`reload`](Vault::reload); writing to a snapshot fails with `Unsupported`.
    ///
    /// The sealed secrets stay in memory, some hundred bytes each; values stay sealed until they are used.
    ///
    /// ```
    /// use keyward::{KeySource, NewSecret, UserId, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("secrets.keyward");
    /// # let key = || KeySource::raw([0x4b; 32]);
    /// # drop(Vault::create(&path, key())?);
    /// let snapshot = Vault::snapshot(&path, key())?;
    /// // Meanwhile, in another process:
    /// Vault::open(&path, key())?.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    ///
    /// assert!(snapshot.user(UserId::LOCAL).secrets()?.is_empty());
    /// assert!(snapshot.reload()?);
    /// assert_eq!(snapshot.user(UserId::LOCAL).secrets()?.len(), 1);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`open`](Vault::open). A process that keeps the vault open keeps it from being read: `InUse`.
    #[cfg(feature = "file")]
    pub fn snapshot(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().snapshot(path, key)
    }

    /// For a vault that differs from the usual one.
    pub fn builder() -> VaultBuilder {
        VaultBuilder::new()
    }

    fn new(state: State) -> Vault {
        Vault {
            state: Arc::new(state),
            users: Arc::default(),
        }
    }

    /// The secrets of one user. Users need not be made: one without secrets is like any other. Of every user that it was
    /// asked for, the vault remembers some hundred bytes until it is dropped: ask for users who were authenticated. What
    /// was read of a user's secrets, about a kilobyte for each of them, stays in memory until it is
    /// [unloaded](UserVault::unload), or the vault is locked.
    ///
    /// To ask at each call is cheap. Threads that serve the same user at the same time do better to keep what this returns:
    /// then they write to no common memory. But the vault is open as long as it is kept.
    pub fn user(&self, user: UserId) -> UserVault {
        UserVault {
            user: self.users.get(&self.state, user),
        }
    }

    /// How many events the [sink](VaultBuilder::audit) of this vault, and of others of the same builder, did not record.
    pub fn lost_audit_events(&self) -> u64 {
        self.state.settings.audit.lost()
    }

    /// Tells the audit that a credential was refused.
    #[cfg(feature = "http")]
    pub(crate) fn tell_credential_refused(&self) {
        self.state.tell_credential_refused();
    }

    /// The users who have a secret, in the order of their ids.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, `Corrupt`, or `RolledBack`.
    pub fn users(&self) -> Result<Vec<UserId>, Error> {
        self.state.users()
    }

    /// What all users have stored together.
    ///
    /// # Errors
    ///
    /// `Locked`.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.state.usage()
    }

    /// The state that the vault is in, to be demanded when it is opened again.
    ///
    /// # Errors
    ///
    /// `Locked`.
    pub fn anchor(&self) -> Result<Anchor, Error> {
        self.state.anchor()
    }

    /// What this vault accepts in a request.
    pub fn bounds(&self) -> &Bounds {
        &self.state.settings.bounds
    }

    /// Deletes all that a user has. For a user who has nothing, does nothing.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, `Corrupt`, or `RolledBack`; the user's secrets are then as they were.
    pub fn delete_user(&self, user: UserId) -> Result<(), Error> {
        let deleted = self.state.delete_user(&self.user(user).user);
        let told = AuditAction::UserDeleted;
        self.state.tell_with(told, deleted, |(), event| AuditEvent {
            user: Some(user),
            ..event
        })
    }

    /// Locks the vault and all its clones: the keys are wiped and what was opened is dropped before this returns. Every
    /// call then fails with `Locked` until [`unlock`](Vault::unlock). Injections that were made stay usable, and so do
    /// their redactors.
    ///
    /// Locking a locked vault does nothing.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a vault in memory that was made without a key: nothing could unlock it. Nothing has changed.
    pub fn lock(&self) -> Result<(), Error> {
        self.state
            .tell(AuditAction::Locked, self.state.lock(&self.users))
    }

    /// Whether the vault is locked. Another thread may lock or unlock it right after: a call says for itself if it failed
    /// for that.
    ///
    /// ```
    /// use keyward::{KeySource, Vault};
    ///
    /// let vault = Vault::builder().in_memory_with_key(KeySource::raw([1; 32]))?;
    /// vault.lock()?;
    /// assert!(vault.is_locked());
    /// vault.unlock(KeySource::raw([1; 32]))?;
    /// assert!(!vault.is_locked());
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn is_locked(&self) -> bool {
        self.state.is_locked()
    }

    /// Unlocks the vault and all its clones. For an unlocked vault this checks the key and changes nothing.
    ///
    /// # Errors
    ///
    /// `WrongKey` if no key slot opens with this key; `Corrupt` or `RolledBack` if what is stored was damaged
    /// meanwhile; `Unsupported` for a vault that has no key slots. The vault is then as it was.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn unlock(&self, key: KeySource) -> Result<(), Error> {
        self.state
            .tell(AuditAction::Unlocked, self.state.unlock(&key))
    }

    /// The ways to open this vault; none for a vault in memory that was made without a key.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, or `Corrupt`.
    pub fn key_slots(&self) -> Result<Vec<KeySlotInfo>, Error> {
        self.state.key_slots()
    }

    /// Adds a way to open this vault. `current` is a key that opens it now.
    ///
    /// A key that opens a slot already gets a second one, and opens the vault until both are gone.
    /// [`change_key`](Vault::change_key) replaces all that a key opens.
    ///
    /// ```
    /// use keyward::{KeySource, Vault};
    ///
    /// let vault = Vault::builder().in_memory_with_key(KeySource::raw([1; 32]))?;
    /// let recovery = vault.add_key(KeySource::raw([1; 32]), KeySource::raw([2; 32]))?;
    /// vault.lock()?;
    /// vault.unlock(KeySource::raw([2; 32]))?;
    /// vault.remove_key(recovery.id)?;
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `WrongKey` if `current` opens no slot, `Validation` if there are 16 slots or a raw key does not have 32 bytes,
    /// `Unsupported` for a vault without key slots, `Locked`, or `Storage`. Nothing has changed then.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the sources are wiped when this returns"
    )]
    pub fn add_key(&self, current: KeySource, new: KeySource) -> Result<KeySlotInfo, Error> {
        let slot = self.state.add_key(&current, &new);
        let told = AuditAction::KeySlotAdded;
        self.state.tell_with(told, slot, |slot, event| AuditEvent {
            key_slot: Some(slot.id),
            ..event
        })
    }

    /// Puts `new` in the place of `current`, for example another passphrase. Only the key slots are written, whatever the
    /// size of the vault. If `current` opens several of them, `new` takes the place of all, as one slot.
    ///
    /// # Errors
    ///
    /// As for [`add_key`](Vault::add_key).
    ///
    /// # Security
    ///
    /// Copies of the vault from before can still be opened with the old key, and so can the vault itself by who used the
    /// old key to learn the master key: see [`rotate_master_key`](Vault::rotate_master_key).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the sources are wiped when this returns"
    )]
    pub fn change_key(&self, current: KeySource, new: KeySource) -> Result<KeySlotInfo, Error> {
        let slot = self.state.change_key(&current, &new);
        let told = AuditAction::KeySlotChanged;
        self.state.tell_with(told, slot, |slot, event| AuditEvent {
            key_slot: Some(slot.id),
            ..event
        })
    }

    /// Takes a way to open this vault away. The last one stays.
    ///
    /// # Errors
    ///
    /// `Validation` if there is no such slot or it is the last, `Unsupported` for a vault without key slots, `Locked`, or
    /// `Storage`. Nothing has changed then.
    ///
    /// # Security
    ///
    /// As for [`change_key`](Vault::change_key).
    pub fn remove_key(&self, slot: u32) -> Result<(), Error> {
        let removed = self.state.remove_key(slot);
        let told = AuditAction::KeySlotRemoved;
        self.state.tell_with(told, removed, |(), event| AuditEvent {
            key_slot: Some(slot),
            ..event
        })
    }

    /// Makes a new master key. The vault can then be opened with the keys of `keep` alone, each of which must open it
    /// now; every other key slot goes.
    ///
    /// To take the vault away from someone who had a key: remove the key slot, then call this and
    /// [`rotate_data_key`](Vault::rotate_data_key). Copies of the vault from before stay readable with the old key.
    ///
    /// # Errors
    ///
    /// `WrongKey` if one of the keys opens no slot, `Validation` if there are none or more than 16, or if one opens only
    /// slots that those before it stand for; `Unsupported` for a vault without key slots, `Locked`, or `Storage`. Nothing has
    /// changed then.
    pub fn rotate_master_key(
        &self,
        keep: impl IntoIterator<Item = KeySource>,
    ) -> Result<(), Error> {
        let keep: Vec<KeySource> = keep.into_iter().collect();
        self.state.tell(
            AuditAction::MasterKeyRotated,
            self.state.rotate_master_key(&keep),
        )
    }

    /// Seals every secret again, under a new data key. `current` is a key that opens the vault; `progress` is told how
    /// many secrets are done.
    ///
    /// Calls are resolved meanwhile, and writes go on in between. If it is interrupted at any point, nothing is lost:
    /// call it again, and it goes on where it was. Then it starts over with another new data key, since the first one
    /// may be known to who could open the vault meanwhile. `done` goes on, and `total` has each secret twice until the first
    /// round is over; from then on it has what was done in that, and each secret once.
    ///
    /// # Errors
    ///
    /// `WrongKey` if `current` opens no slot, `Unsupported` for a vault without key slots, `Locked` (also if the vault is
    /// locked meanwhile), `Storage`, or `Corrupt`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn rotate_data_key(
        &self,
        current: KeySource,
        progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        self.state.tell(
            AuditAction::DataKeyRotated,
            self.state.rotate_data_key(&self.users, &current, progress),
        )
    }

    /// Reads the file of a [snapshot](Vault::snapshot) again. Returns whether it had changed. Calls go on meanwhile, each
    /// with what was there before or with what is there now.
    ///
    /// # Errors
    ///
    /// `RolledBack` if the file is older than what was read before; `WrongKey` if another master key came into use, or
    /// another vault is there; `Unsupported` for a vault that is no snapshot; `Locked`; and as for
    /// [`open`](Vault::open). The snapshot is then as it was.
    #[cfg(feature = "file")]
    pub fn reload(&self) -> Result<bool, Error> {
        self.state.reload(&self.users)
    }

    /// Makes the file of the vault as short as it can be. What was deleted or replaced is then no longer in it, not even
    /// sealed, as far as the file system and the disk overwrite what they give up. Writes, and the first use of a
    /// user, wait meanwhile. Does nothing for a vault in memory.
    ///
    /// # Errors
    ///
    /// `Locked`; `Storage`, with every secret as it was; `Unsupported` for a snapshot.
    pub fn compact(&self) -> Result<(), Error> {
        self.state.compact()
    }

    /// Whether the operating system keeps the keys of this vault in memory, out of its swap. It is asked to whenever a
    /// vault is made, opened or unlocked, and can refuse: most limit how much memory a process may lock.
    ///
    /// This is about the keys alone. Values while they are used, and what a passphrase is stretched in, can be swapped; and
    /// nothing is kept out of a core dump or a hibernation image. To be safe from those, encrypt or turn off the swap, and
    /// turn off core dumps (`ulimit -c 0`, `LimitCORE=0`).
    ///
    /// # Errors
    ///
    /// `Locked`: there are no keys then.
    pub fn keys_locked_in_memory(&self) -> Result<bool, Error> {
        self.state.keys().map(|keys| keys.is_locked_in_memory())
    }

    /// Checks everything that is stored: that no secret was changed, deleted, added or rolled back outside keyward, and
    /// that every value opens. Takes time in proportion to what is stored. Calls and writes go on meanwhile; what is checked
    /// is what was stored when it began. Rotations and [`lock`](Vault::lock) wait, the latter only for a moment: it ends
    /// the check with `Locked`.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, `Corrupt`, or `RolledBack`.
    pub fn verify(&self) -> Result<(), Error> {
        self.verify_with_progress(|_| {})
    }

    /// Does what [`verify`](Vault::verify) does, and tells how far it has come after each secret. What is told may use the
    /// secrets of users, but do nothing to the whole vault that can wait for this: not [`lock`](Vault::lock),
    /// [`unlock`](Vault::unlock), [`reload`](Vault::reload) or [`compact`](Vault::compact) it, change its keys, or check or
    /// copy it.
    ///
    /// ```
    /// use keyward::{NewSecret, UserId, Vault};
    ///
    /// let vault = Vault::in_memory()?;
    /// vault.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    /// vault.verify_with_progress(|progress| println!("{} of {}", progress.done, progress.total))?;
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`verify`](Vault::verify).
    pub fn verify_with_progress(&self, progress: impl FnMut(Progress)) -> Result<(), Error> {
        self.state.verify(progress)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
