//! Errors shared by several parts of a vault.

use std::io;

use crate::{
    error::{Error, ErrorKind},
    storage::StorageError,
};

pub(super) fn not_found() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "the user has no such secret: list the user's secrets",
    )
}

pub(super) fn locked() -> Error {
    Error::new(ErrorKind::Locked, "the vault is locked: unlock it")
}

/// The error of what needs key slots, with what follows from there being none, and what to do.
pub(super) fn no_key_slots(consequence: &str) -> Error {
    let message = format!("this in-memory vault was created without a key, so {consequence}");
    Error::new(ErrorKind::Unsupported, message)
}

pub(super) fn rolled_back() -> Error {
    Error::new(
        ErrorKind::RolledBack,
        "the vault's stored data was changed or rolled back outside keyward: restore a backup",
    )
}

#[cfg(feature = "file")]
pub(super) fn new_for_an_anchor() -> Error {
    Error::new(
        ErrorKind::RolledBack,
        "a new vault is not the one of the anchor: open that one, or demand no anchor",
    )
}

#[cfg(feature = "file")]
pub(super) fn not_the_anchors() -> Error {
    Error::new(
        ErrorKind::RolledBack,
        "this vault is older than its anchor, or is a different one: check the path, or restore a newer backup",
    )
}

pub(super) fn usage_too_small() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the vault's usage is less than that of one user: restore a backup",
    )
}

/// Translates a failure to create a store. Nothing was created then: a new store appears only once it is complete.
pub(super) fn creation_error(error: StorageError) -> Error {
    let source = match error {
        StorageError::Failed(source) | StorageError::Uncertain(source) => Some(source),
        StorageError::Stopped => None,
        error => return storage_error(error),
    };
    let is_missing = source.as_ref().is_some_and(|source| {
        let source = source.downcast_ref::<io::Error>();
        source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
    });
    let message = if is_missing {
        "there is no such folder; nothing was created: create the folder, or check the path"
    } else {
        "the store failed; nothing was created: check the path, its folder, and the disk"
    };
    let error = Error::new(ErrorKind::Storage, message);
    match source {
        Some(source) => error.with_source(source),
        None => error,
    }
}

pub(super) fn storage_error(error: StorageError) -> Error {
    match error {
        // Only this process writes to the store, and leaves no rows without a root.
        StorageError::RootChanged | StorageError::RowsWithoutRoot => rolled_back(),
        StorageError::Failed(source) => Error::new(
            ErrorKind::Storage,
            "the store failed; nothing changed: check the path, its folder, and the disk",
        )
        .with_source(source),
        StorageError::Uncertain(source) => Error::uncertain(
            "the store failed during a write, which was kept entirely or not at all: open the vault again to find out",
        )
        .with_source(source),
        StorageError::Stopped => Error::new(
            ErrorKind::Storage,
            "the store stopped after an earlier failure; nothing changed: open the vault again",
        ),
        #[cfg(feature = "file")]
        StorageError::ReadOnly => Error::new(
            ErrorKind::Unsupported,
            "this is a snapshot, which cannot be written to: open the vault itself; nothing changed",
        ),
        StorageError::Exists => Error::new(
            ErrorKind::Storage,
            "something already exists at this path: open it as a vault, or choose another path",
        )
        .with_source(io::Error::from(io::ErrorKind::AlreadyExists)),
        StorageError::Missing => Error::new(
            ErrorKind::Storage,
            "there is no file at this path, or only a link that leads nowhere: create a vault, or check the path",
        )
        .with_source(io::Error::from(io::ErrorKind::NotFound)),
        StorageError::InUse => Error::new(
            ErrorKind::InUse,
            "the vault is open elsewhere, in this process or another: close it there, or set a time to wait for it",
        ),
        StorageError::Damaged(source) => Error::new(
            ErrorKind::Corrupt,
            "this is not a vault file, or it is damaged: check the path, or restore a backup",
        )
        .with_source(source),
        StorageError::UnsupportedVersion(version) => Error::new(
            ErrorKind::UnsupportedVersion,
            format!("the vault file has format version {version}, which this version of keyward cannot read: use a newer one"),
        ),
    }
}
