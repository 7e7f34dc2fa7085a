//! The interface between a vault and its store: sealed rows, and one transaction for each write.
//!
//! A store sees no plaintext: rows and roots are sealed, and their names are keyed digests. It holds:
//!
//! * the vault's `keys`: its key slots and the sealed key ring,
//! * the vault's root,
//! * one root for each user,
//! * rows, each under a user's name and its own.
//!
//! Everything that a write changes goes into one [`Transaction`], which is kept as a whole or not at all: rows,
//! the user's root, and the vault's root. Every write of a vault also updates the vault's root, since one process has
//! the store to itself. A write names the user's root that it started from, and does nothing if the store has another:
//! so a store that many processes share could order their writes, too. There is none so far. It would update the
//! vault's root only from time to time (`vault_root: None` in between), and promise less.

use std::{
    error::Error as StdError,
    fmt,
    ops::ControlFlow,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use crate::sealed::{RowTag, SealedRoot, SealedRow, UserTag};

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "file")]
mod frozen;
mod memory;

#[cfg(all(fuzzing, feature = "file"))]
pub(crate) use file::decode_row;
#[cfg(all(any(test, fuzzing), feature = "file"))]
pub(crate) use file::disk;
#[cfg(feature = "file")]
pub(crate) use file::{FileStorage, FileWriter};
#[cfg(feature = "file")]
pub(crate) use frozen::FrozenStorage;
pub(crate) use memory::MemoryStorage;

/// A store of a vault's sealed rows.
pub(crate) trait Storage: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Returns the key slots and the sealed key ring; `None` if no transaction has set them.
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError>;

    /// Returns the vault's root; `None` before the first transaction.
    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError>;

    /// Returns every user's root, unordered.
    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError>;

    /// Returns one user's root and rows, as of one moment; `None` if the user has neither. Rows without a root, which
    /// no transaction leaves behind, are an error.
    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError>;

    /// Passes everything stored to `visit`, as of one moment, no later than its first call; writes proceed
    /// meanwhile. What belongs to the whole vault comes first, then each user, unordered. `visit` may end the scan
    /// early, and must not compact the store. A scan that is not ended early fails if there are rows without a root.
    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError>;

    /// Stores all of a transaction durably, or nothing of it.
    fn commit(&self, transaction: Transaction) -> Result<(), StorageError>;

    /// Releases the space that the store does not need, including old versions of rows.
    fn compact(&self) -> Result<(), StorageError>;
}

/// A part of what is stored.
#[derive(Debug)]
pub(crate) enum Stored {
    Vault {
        keys: Option<Vec<u8>>,
        root: Option<SealedRoot>,
    },
    User(UserTag, UserRows),
}

/// One user's root and rows, unordered.
#[derive(Debug)]
pub(crate) struct UserRows {
    pub(crate) root: SealedRoot,
    pub(crate) rows: Vec<(RowTag, Arc<SealedRow>)>,
}

/// One write.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The new key slots and sealed key ring; `None` leaves them as they are.
    pub(crate) keys: Option<Vec<u8>>,
    /// The vault's new root; `None` leaves it as it is.
    pub(crate) vault_root: Option<SealedRoot>,
    /// The changed users, each at most once.
    pub(crate) users: Vec<UserChange>,
}

/// What a write changes of one user.
#[derive(Debug)]
pub(crate) struct UserChange {
    pub(crate) user: UserTag,
    /// The root that the writer started from. If the store has another one, the whole transaction does nothing.
    pub(crate) expected: Option<SealedRoot>,
    /// The new root. `None` deletes the user with all rows.
    pub(crate) root: Option<SealedRoot>,
    /// Rows that are added or replaced.
    pub(crate) put: Vec<(RowTag, Arc<SealedRow>)>,
    /// Rows that are deleted.
    pub(crate) delete: Vec<RowTag>,
}

/// Why a store did not do what it was asked. Nothing was changed, unless the variant says otherwise.
#[derive(Debug)]
#[cfg_attr(
    not(any(test, feature = "file")),
    expect(dead_code, reason = "memory does not fail; a file does")
)]
pub(crate) enum StorageError {
    /// The user's root is not the one that the writer started from: someone else wrote in between.
    RootChanged,
    /// There are rows of a user who has no root.
    RowsWithoutRoot,
    /// A store was to be created where something exists already.
    Exists,
    /// A store was to be opened where there is none.
    Missing,
    /// Someone else has the store open.
    InUse,
    /// The store is not as it was written, or is not a store.
    Damaged(Box<dyn StdError + Send + Sync>),
    /// The store's format has this version, which is newer than this code.
    UnsupportedVersion(u32),
    /// The store failed.
    Failed(Box<dyn StdError + Send + Sync>),
    /// The store failed during a transaction: it kept all of it or nothing, which shows when it is opened again.
    Uncertain(Box<dyn StdError + Send + Sync>),
    /// The store failed earlier, and does nothing until it is opened again.
    Stopped,
    /// The store is read-only.
    #[cfg(feature = "file")]
    ReadOnly,
}
