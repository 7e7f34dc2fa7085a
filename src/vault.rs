//! The vault: it composes the rest of the crate and has no rules of its own. Its methods for keys, snapshots and copies
//! are in the modules `keys`, `reload` and `transfer`.

#[cfg(feature = "file")]
use std::path::Path;
use std::{fmt, sync::Arc};

use crate::{
    audit::AuditAction,
    bounds::Bounds,
    crypto::KeySource,
    error::Error,
    quota::{Quota, Usage},
    secret::UserId,
};

mod anchor;
mod batch;
mod builder;
mod census;
mod clock;
mod errors;
mod events;
#[cfg(all(fuzzing, feature = "file"))]
pub mod fuzzing;
mod ids;
mod keys;
mod lock;
mod plan;
mod progress;
mod read;
#[cfg(feature = "file")]
mod reload;
mod settings;
mod slots;
#[cfg(feature = "file")]
mod snapshot_source;
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
/// A vault is `Send + Sync` and cheap to clone: all clones are the same vault. Calls are resolved without a lock,
/// against what the last write published. Every call that starts after a write has returned sees that write.
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
/// [`UserVault::inject`], [`conceal`](UserVault::conceal), [`explain`](UserVault::explain) and all that only reads
/// block in two cases. When a user is first used they wait for the store, and for a write that is under way:
/// [`UserVault::load`] does this beforehand. And they call the [`AuditSink`](crate::AuditSink) themselves: an
/// [`AuditLog`](crate::AuditLog) writes to its file, and a shared one waits for other processes. So for a user who was
/// loaded, and without a sink that blocks, they can be called directly. Writes wait for other writes and for the
/// store, and a passphrase takes time to stretch: call those where blocking is allowed, such as in
/// `tokio::task::spawn_blocking`.
///
/// # When a write fails
///
/// A write that fails with [`ErrorKind::Storage`](crate::ErrorKind::Storage) changes nothing that calls see: they go on
/// with the secrets that were loaded before. If the store failed in the middle of a write, as when the disk is full, or
/// could not read its file, it stops: writes, and first uses of users who were not loaded, then fail with `Storage`
/// until the vault is opened again. Only then does it show whether the write that failed was kept, which it is as a
/// whole or not at all.
#[derive(Clone)]
pub struct Vault {
    state: Arc<State>,
    users: Arc<Users>,
}

impl Vault {
    /// Creates a vault that lives in memory only, with the usual limits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the operating system provides no random bytes.
    pub fn in_memory() -> Result<Vault, Error> {
        Vault::builder().in_memory()
    }

    /// Creates a vault in a new file, with the usual [settings](VaultBuilder#what-is-set). The file is encrypted;
    /// `key` opens it.
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
    /// `Storage` if something already exists at the path (with an [`io::Error`](std::io::Error) of kind
    /// `AlreadyExists` as its source) or the file cannot be written; `Validation` or `Storage` for a key that
    /// [no slot can be made for](KeySource#new-key-slots). No new file is left behind.
    ///
    /// # When the process is killed
    ///
    /// Then the vault is there as a whole or not at all. But a file `.keyward-….unfinished` can stay beside it: a part
    /// of the new one, or a second name of it, under which it lives on even if the vault's own name is removed. It is
    /// as encrypted as the vault; remove it once no process is creating a vault, or copying one, in that folder.
    ///
    /// There is one exception. On a file system without hard links, such as FAT, the vault's name is first taken by an
    /// empty file. If only that is left, it opens as `Corrupt`, and nothing can be created at the path: remove it.
    #[cfg(feature = "file")]
    pub fn create(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().create(path, key)
    }

    /// Opens the vault in a file, with the usual [settings](VaultBuilder#what-is-set): they are not stored in the
    /// file.
    ///
    /// While a vault is open, nobody else can open it or take a [snapshot](Vault::snapshot) of it. It stays open
    /// until its last clone and last [`UserVault`] are dropped.
    ///
    /// # Errors
    ///
    /// `WrongKey` if this key opens no key slot; `Validation` if it cannot be a key, such as an empty passphrase;
    /// `InUse` if the vault is open elsewhere; `Corrupt`, `RolledBack` or `UnsupportedVersion` if the file is not as
    /// keyward left it; `Storage` if there is no file (with an [`io::Error`](std::io::Error) of kind `NotFound` as its
    /// source) or it cannot be read.
    ///
    /// # Security
    ///
    /// If the whole file was replaced by an older copy, only an [`Anchor`] reveals it.
    #[cfg(feature = "file")]
    pub fn open(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().open(path, key)
    }

    /// Opens the vault in a file, or creates one if there is no file at the path: the usual call at program start.
    /// See [`open`](Vault::open) and [`create`](Vault::create).
    ///
    /// ```
    /// use keyward::{ErrorKind, KeySource, NewSecret, UserId, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("secrets.keyward");
    /// for revision in [1, 2] {
    ///     let vault = Vault::open_or_create(&path, KeySource::raw([0x4b; 32]))?;
    ///     let user = vault.user(UserId::LOCAL);
    ///     let secret = match user.secret("linear") {
    ///         Ok(found) => user.update(&found, keyward::SecretPatch::new().value("lin_api_Zq8wT3vN"))?,
    ///         Err(error) if error.kind() == ErrorKind::NotFound => {
    ///             user.create(NewSecret::new("linear", "lin_api_4QvT9sLm"))?
    ///         }
    ///         Err(error) => return Err(error),
    ///     };
    ///     assert_eq!(secret.revision, revision);
    /// }
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`open`](Vault::open) if there is a file, and those of [`create`](Vault::create) if there is none.
    #[cfg(feature = "file")]
    pub fn open_or_create(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().open_or_create(path, key)
    }

    /// Reads the vault in a file as it is now. The file is closed before this returns, so any number of processes
    /// can use a vault that another process opens from time to time to write to it. Later changes to the file are
    /// seen after a [`reload`](Vault::reload); what would change a snapshot fails with `Unsupported`,
    /// unless it is refused for another reason.
    ///
    /// The sealed secrets stay in memory, a few hundred bytes each; values stay sealed until they are used.
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
    /// Those of [`open`](Vault::open). A process that keeps the vault open also keeps it from being read: `InUse`.
    #[cfg(feature = "file")]
    pub fn snapshot(path: impl AsRef<Path>, key: KeySource) -> Result<Vault, Error> {
        Vault::builder().snapshot(path, key)
    }

    /// Returns a builder for a vault whose settings differ from the usual ones.
    pub fn builder() -> VaultBuilder {
        VaultBuilder::new()
    }

    fn new(state: State) -> Vault {
        Vault {
            state: Arc::new(state),
            users: Arc::default(),
        }
    }

    /// Returns the secrets of one user. Users need not be created: one without secrets is like any other. The
    /// vault remembers each user that was asked for, at about a hundred bytes, until it is dropped: ask only for
    /// users who were authenticated. What was read of a user's secrets, about a kilobyte per secret, stays in
    /// memory until it is [unloaded](UserVault::unload) or the vault is locked.
    ///
    /// Calling this for each tool call is cheap. The first call for a user takes a lock, most often for less than a
    /// microsecond; with a million users, room has to be made for more now and then, which takes milliseconds. Threads
    /// that make very many calls at the same time do better to keep the returned value: asking for a user is counted,
    /// sometimes in memory that they share; calls with a value that is kept write to no shared memory.
    pub fn user(&self, user: UserId) -> UserVault {
        UserVault {
            user: self.users.get(&self.state, user),
        }
    }

    /// Returns how many events the [sink](VaultBuilder::audit) of this vault, and of others from the same builder,
    /// failed to record.
    pub fn lost_audit_events(&self) -> u64 {
        self.state.settings.audit.lost()
    }

    /// Returns whether the vault has an audit sink.
    #[cfg(feature = "http")]
    pub(crate) fn is_audited(&self) -> bool {
        self.state.settings.audit.is_on()
    }

    /// Records that a credential was refused.
    #[cfg(feature = "http")]
    pub(crate) fn record_refused_credential(&self) {
        self.state.record_refused_credential();
    }

    /// Returns the users who have a secret, ordered by id. Waits for a write that is under way, of any user, for an
    /// import, and for a compaction.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, `Corrupt`, or `RolledBack`.
    pub fn users(&self) -> Result<Vec<UserId>, Error> {
        self.state.record_failed(self.state.users())
    }

    /// Returns what all users together have stored. Waits for a write that is under way, of any user, and for an
    /// import; if something else waits for a compaction, for that as well.
    ///
    /// # Errors
    ///
    /// `Locked`.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.state.usage()
    }

    /// Returns the vault's current state, to be demanded when the vault is opened again. Waits as
    /// [`usage`](Vault::usage) does.
    ///
    /// # Errors
    ///
    /// `Locked`.
    pub fn anchor(&self) -> Result<Anchor, Error> {
        self.state.anchor()
    }

    /// Returns what this vault accepts in a request.
    pub fn bounds(&self) -> &Bounds {
        &self.state.settings.bounds
    }

    /// Returns how much may be stored in this vault.
    ///
    /// ```
    /// use keyward::{QuotaResource, QuotaScope, UserId, Vault};
    ///
    /// let vault = Vault::in_memory()?;
    /// let used = vault.user(UserId::LOCAL).usage()?.secrets;
    /// let limit = vault.quota().limit(QuotaScope::User, QuotaResource::Secrets);
    /// assert_eq!(limit.map(|limit| limit - used), Some(1_000)); // room for so many more
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn quota(&self) -> &Quota {
        &self.state.settings.quota
    }

    /// Deletes everything a user has. Does nothing for a user who has nothing.
    ///
    /// This also removes a user whose secrets are damaged, so that the others can be copied and exported again: the
    /// secrets are not opened. A row that is too short to be one at all is still `Corrupt`.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, `Corrupt`, or `RolledBack`; the user's secrets are then unchanged.
    pub fn delete_user(&self, user: UserId) -> Result<(), Error> {
        let deleted = self.state.delete_user(&self.user(user).user);
        self.state.record_deleted_user(user, deleted)
    }

    /// Locks the vault and all its clones: before this returns, the keys are wiped and everything that was opened
    /// is dropped. Every call then fails with `Locked` until [`unlock`](Vault::unlock). Injections made earlier
    /// stay usable, and so do their redactors.
    ///
    /// It waits for an import, and for calls that use a [`KeySource`], such as [`unlock`](Vault::unlock) and
    /// [`add_key`](Vault::add_key): with a provider, for as long as that takes to answer. If a write or the first use
    /// of a user waits for a [compaction](Vault::compact), this waits for it as well. Until then calls go on. The file
    /// stays open, to this process alone, until the vault and all that was made from it is dropped.
    ///
    /// Locking a locked vault does nothing.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a vault in memory that was made without a key, since nothing could unlock it. Nothing has
    /// changed.
    pub fn lock(&self) -> Result<(), Error> {
        if self.state.lock(&self.users)? {
            self.state.record(AuditAction::Locked, Ok(()))?;
        }
        Ok(())
    }

    /// Returns whether the vault is locked. Another thread may lock or unlock it right after this; a call that
    /// fails because the vault is locked says so itself.
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

    /// Unlocks the vault and all its clones. For an unlocked vault this only checks the key.
    ///
    /// # Errors
    ///
    /// `WrongKey` if this key opens no key slot; `Validation` if it cannot be a key, such as an empty passphrase;
    /// `Corrupt` or `RolledBack` if the stored data was damaged in the meantime; `Unsupported` for a vault that has no
    /// key slots. The vault is then as it was.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the source is wiped when this returns"
    )]
    pub fn unlock(&self, key: KeySource) -> Result<(), Error> {
        self.state
            .record(AuditAction::Unlocked, self.state.unlock(&key))
    }

    /// Makes the vault's file as short as possible. Deleted or replaced data is then no longer in the file, not
    /// even sealed, as far as the file system and the disk overwrite what they free. Everything is written anew, so
    /// for a moment the file takes as much more room as all that it holds, and a quarter more. Writes, and the first
    /// use of a user, wait meanwhile. Does nothing for a vault in memory.
    ///
    /// # Errors
    ///
    /// `Locked`; `Storage`, with every secret as it was; `Unsupported` for a snapshot. If there is not enough room, the
    /// file is also as it was, and the vault stays in use: make room and try again. After any other failure of the
    /// store the file may be longer than before and still hold old data until the vault is compacted. If the error or
    /// the next write says that the store has stopped, open the vault again before that.
    pub fn compact(&self) -> Result<(), Error> {
        self.state
            .record(AuditAction::Compacted, self.state.compact())
    }

    /// Returns whether the operating system keeps this vault's keys out of its swap. Keyward asks for this whenever a
    /// vault is created, opened or unlocked. The system may refuse: most limit how much memory a process may lock.
    ///
    /// This covers only the keys. Values in use, and the memory in which a passphrase is stretched, can be swapped
    /// out, and nothing is kept out of a core dump or a hibernation image. To be safe from these, encrypt or turn
    /// off the swap, and turn off core dumps (`ulimit -c 0`, `LimitCORE=0`).
    ///
    /// # Errors
    ///
    /// `Locked`: a locked vault has no keys.
    pub fn keys_locked_in_memory(&self) -> Result<bool, Error> {
        self.state.keys().map(|keys| keys.is_locked_in_memory())
    }

    /// Checks everything that is stored: that no secret was changed, deleted, added or rolled back outside
    /// keyward, and that every value opens. Takes time in proportion to the stored data. Calls and writes proceed
    /// meanwhile; the check covers what was stored when it began. Rotations wait for it. [`lock`](Vault::lock)
    /// waits only for a moment: it ends the check with `Locked`.
    ///
    /// # Errors
    ///
    /// `Locked`, `Storage`, `Corrupt`, or `RolledBack`.
    pub fn verify(&self) -> Result<(), Error> {
        self.verify_with_progress(|_| {})
    }

    /// Does what [`verify`](Vault::verify) does, and reports progress after each secret. `progress` may use the
    /// secrets of users, but must not call anything on the whole vault that can wait for this check: it must not
    /// [`lock`](Vault::lock), [`unlock`](Vault::unlock), [`reload`](Vault::reload) or [`compact`](Vault::compact)
    /// the vault, change its keys, or check or copy it.
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
    /// Those of [`verify`](Vault::verify).
    pub fn verify_with_progress(&self, progress: impl FnMut(Progress)) -> Result<(), Error> {
        self.state
            .record(AuditAction::Verified, self.state.verify(progress))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
