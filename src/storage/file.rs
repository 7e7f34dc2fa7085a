//! A store in one file.
//!
//! `docs/format.md` describes its content byte for byte: a header, then a redb database with three tables.
//! Everything but the header and the `keys` entry is sealed or a keyed digest.
//!
//! # What is promised
//!
//! * **Crashes.** Each [`Transaction`] is one redb transaction, with two phases and immediate durability: once it
//!   is acknowledged it is on the disk, as far as the disk tells the truth. After a crash at any instant the file
//!   opens, and holds each transaction as a whole or not at all.
//! * **One at a time.** Whoever has the store open holds an advisory lock of the operating system on the file,
//!   which is released with the process, however it ends. Advisory means that it binds keyward, not other
//!   programs.
//! * **Hostile files.** Errors and panics of redb reach the caller only as a [`StorageError`], in a build that
//!   unwinds (with `panic = "abort"`, every panic ends the process). A database that panicked is neither used nor
//!   written to until it is opened again. Lengths and page numbers are checked before anything is allocated for
//!   them.
//!
//! This module does not detect changed bytes within the database. What redb returns is sealed, and opening it
//! reveals changes.

use std::{
    fs::{File, Metadata, OpenOptions, TryLockError},
    io,
    ops::ControlFlow,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use self::{backend::Region, engine::Engine, overlay::Overlay, unfinished::Unfinished};
use super::{MemoryStorage, Storage, StorageError, Stored, Transaction, UserChange, UserRows};
use crate::{
    folder,
    sealed::{SealedRoot, UserTag},
};

mod backend;
mod engine;
mod header;
mod layout;
mod overlay;
mod page_set;
mod pages;
mod rows;
mod unfinished;
mod unused;
mod used;

#[cfg(fuzzing)]
pub(crate) use self::rows::decode_row;

#[cfg(test)]
mod compacting;
#[cfg(test)]
mod crash;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "some of it is for tests alone"))]
#[allow(clippy::unwrap_used, reason = "what only tests use may panic")]
pub(crate) mod disk;
#[cfg(test)]
mod tests;

/// A store of sealed rows in its own file.
#[derive(Debug)]
pub(crate) struct FileStorage {
    engine: Engine,
    /// Whatever is written to this is written to the store's file, if that can be told.
    named: Option<File>,
}

impl FileStorage {
    /// Creates a store with the content of its first transaction. A file appears at `path` only once all of it is
    /// on the disk; an existing file is left as it is, and is an error.
    pub(crate) fn create(path: &Path, first: Transaction) -> Result<FileStorage, StorageError> {
        let writer = FileWriter::new(path)?;
        writer.engine.commit(first)?;
        writer.publish()
    }

    /// Returns whether something exists at `path`, so that no store can be created there.
    pub(crate) fn is_taken(path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    /// Opens the store at `path`. If it is open elsewhere, in another process or this one, waits for at most
    /// `wait`.
    pub(crate) fn open(path: &Path, wait: Duration) -> Result<FileStorage, StorageError> {
        let options = &mut File::options();
        let file = open_locked(path, options.read(true).write(true), wait, File::try_lock)?;
        header::check(&file)?;
        let named = file.try_clone().map_err(failed)?;
        let engine = Engine::open(Region::new(file, header::LENGTH))?;
        Ok(FileStorage::new(engine, named))
    }

    fn new(engine: Engine, file: File) -> FileStorage {
        // Not every file system counts names.
        let named = (!is_nameless(&file)).then_some(file);
        FileStorage { engine, named }
    }

    /// Reads the store at `path`; returns `None` if its vault root is `known`. The file is only read, and is
    /// closed before this returns. Waits as [`open`](FileStorage::open) does, but not for other readers.
    pub(crate) fn load(
        path: &Path,
        wait: Duration,
        known: Option<&SealedRoot>,
    ) -> Result<Option<MemoryStorage>, StorageError> {
        let options = &mut File::options();
        let file = open_locked(path, options.read(true), wait, File::try_lock_shared)?;
        header::check(&file)?;
        let region = Overlay::new(Region::new(file, header::LENGTH)).map_err(failed)?;
        let engine = Engine::open(region)?;
        if known.is_some() && engine.vault_root()?.as_ref() == known {
            return Ok(None);
        }
        let mut content = MemoryStorage::default();
        engine.scan(&mut |part| {
            content.add(part);
            ControlFlow::Continue(())
        })?;
        Ok(Some(content))
    }
}

/// A new store that is filled part by part. A file appears at its path only once it is published.
#[derive(Debug)]
pub(crate) struct FileWriter {
    unfinished: Unfinished,
    engine: Engine,
    /// What is yet to be written, and how many users and rows that is.
    pending: Transaction,
    entries: usize,
}

impl FileWriter {
    /// How many users and rows are written in one transaction; more, if one user has more rows.
    const BATCH: usize = if cfg!(test) { 8 } else { 4096 };

    pub(crate) fn new(path: &Path) -> Result<FileWriter, StorageError> {
        let unfinished = Unfinished::new(path)?;
        let file = unfinished.file()?;
        lock(&file, Duration::ZERO, File::try_lock)?;
        header::write(&file).map_err(failed)?;
        Ok(FileWriter {
            engine: Engine::create(Region::new(file, header::LENGTH))?,
            unfinished,
            pending: Transaction::default(),
            entries: 0,
        })
    }

    /// Adds a part that another store's scan has returned.
    pub(crate) fn add(&mut self, part: Stored) -> Result<(), StorageError> {
        match part {
            Stored::Vault { keys, root } => {
                self.pending.keys = keys;
                self.pending.vault_root = root;
            }
            Stored::User(user, stored) => {
                self.entries += 1 + stored.rows.len();
                self.pending.users.push(UserChange {
                    user,
                    expected: None,
                    root: Some(stored.root),
                    put: stored.rows,
                    delete: Vec::new(),
                });
            }
        }
        if self.entries >= Self::BATCH {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is left, makes the file as short as it can be, and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), StorageError> {
        self.write()?;
        self.engine.shorten()?;
        self.publish().map(drop)
    }

    fn write(&mut self) -> Result<(), StorageError> {
        self.entries = 0;
        self.engine.commit(std::mem::take(&mut self.pending))
    }

    fn publish(self) -> Result<FileStorage, StorageError> {
        let file = self.unfinished.file()?;
        self.unfinished.publish()?;
        Ok(FileStorage::new(self.engine, file))
    }
}

impl Storage for FileStorage {
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.engine.keys()
    }

    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        self.engine.vault_root()
    }

    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        self.engine.user_roots()
    }

    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        self.engine.user(user)
    }

    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError> {
        self.engine.scan(visit)
    }

    fn commit(&self, transaction: Transaction) -> Result<(), StorageError> {
        // What is written to a file without a name is lost.
        if self.named.as_ref().is_some_and(is_nameless) {
            let why =
                "the file was removed, or another one was put in its place, while it was open";
            return Err(StorageError::Failed(why.into()));
        }
        self.engine.commit(transaction)
    }

    fn compact(&self) -> Result<(), StorageError> {
        self.engine.compact()
    }
}

fn open(path: &Path, options: &OpenOptions) -> Result<File, StorageError> {
    let unopened = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => StorageError::Missing,
        _ => failed(error),
    };
    // Check before opening, because opening a pipe waits for a writer; and after, because the file may be another
    // by then.
    check_regular(&path.metadata().map_err(unopened)?)?;
    let file = options.open(path).map_err(unopened)?;
    check_regular(&file.metadata().map_err(failed)?)?;
    Ok(file)
}

fn check_regular(metadata: &Metadata) -> Result<(), StorageError> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(StorageError::Damaged("this is not a regular file".into()))
    }
}

/// Opens and locks the file at `path`. If another file has come there meanwhile, such as a backup, it is that one:
/// what is written to a file without a path is lost.
fn open_locked(
    path: &Path,
    options: &OpenOptions,
    wait: Duration,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<File, StorageError> {
    /// How often another file may come. More often it does not for long.
    const TRIES: usize = 16;
    let start = Instant::now();
    for _ in 0..TRIES {
        let file = open(path, options)?;
        lock(&file, wait.saturating_sub(start.elapsed()), &try_lock)?;
        if folder::is_at(&file, path) {
            return Ok(file);
        }
    }
    Err(StorageError::InUse)
}

/// Whether no path leads to this file any more: it was removed, or another one was put in its place.
#[cfg(unix)]
fn is_nameless(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

/// Elsewhere a file that is open cannot be removed, as a rule.
#[cfg(not(unix))]
fn is_nameless(_: &File) -> bool {
    false
}

/// How often to try for a lock that someone else holds. Operating systems can wait for a lock, but not for a
/// limited time.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Locks the file until it is closed.
fn lock(
    file: &File,
    wait: Duration,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<(), StorageError> {
    let start = Instant::now();
    loop {
        match try_lock(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let left = wait.saturating_sub(start.elapsed());
                if left.is_zero() {
                    return Err(StorageError::InUse);
                }
                thread::sleep(left.min(LOCK_POLL));
            }
        }
    }
}

fn failed(error: io::Error) -> StorageError {
    StorageError::Failed(error.into())
}
