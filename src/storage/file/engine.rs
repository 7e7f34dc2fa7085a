//! The tables, in a database whose errors and panics are turned into our own.

use std::{
    any::Any,
    error::Error as StdError,
    fmt, io,
    ops::{Bound, ControlFlow},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use redb::{
    Database, Durability, Key, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    Table, TableDefinition, Value, WriteTransaction,
};

use super::{
    backend::Fence,
    layout::PAGE,
    rows::{decode_root, decode_row, encode_root, encode_row, row_key, row_tag},
    unused,
};
use crate::{
    sealed::{RowTag, SealedRoot, SealedRow, UserTag},
    storage::{StorageError, Stored, Transaction, UserChange, UserRows},
};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const USERS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("users");
const ROWS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rows");

const KEYS: &str = "keys";
const ROOT: &str = "root";

/// How much of the file the database may keep in memory. A vault reads each user's rows once and keeps them
/// itself, so this is for the inner pages of the tables and for what a transaction has written so far. Half of it
/// is for the latter; a larger transaction is written out in between, which is slower and no less safe.
const CACHE: usize = 8 * 1024 * 1024;

/// How often compacting checks whether someone still reads, and how many times before it lets writers proceed.
const COMPACT_POLL: Duration = Duration::from_millis(1);
const COMPACT_ATTEMPTS: usize = 10;

#[derive(Debug)]
pub(super) struct Engine {
    /// `None` while it is being dropped. A database that panicked is not used again. Only compacting needs it
    /// exclusively.
    database: AssertUnwindSafe<RwLock<Option<Database>>>,
    /// The database's own backend, for what redb does not do. Used only while nobody uses the database.
    backend: AssertUnwindSafe<Arc<dyn StorageBackend>>,
    /// Set by a panic and by a failed commit: what the database has in memory may then differ from the file.
    stopped: Arc<AtomicBool>,
    /// One writer at a time, so that whoever waits for another's write sees how it went.
    writer: Mutex<()>,
}

/// Why a write was not done.
enum Refused {
    RootChanged,
    /// It failed before it was committed: nothing of it is kept.
    Failed(redb::Error),
    /// It failed too late to tell whether the write was done.
    Uncertain(redb::Error),
}

impl Engine {
    /// Creates a database in an empty backend.
    pub(super) fn create(backend: impl StorageBackend) -> Result<Engine, StorageError> {
        let engine = Engine::new(backend)?;
        engine.write(|transaction| {
            transaction.open_table(META)?;
            transaction.open_table(USERS)?;
            transaction.open_table(ROWS)?;
            Ok(())
        })?;
        Ok(engine)
    }

    /// Opens the database in a backend that is not empty.
    pub(super) fn open(backend: impl StorageBackend) -> Result<Engine, StorageError> {
        let engine = Engine::new(backend)?;
        engine.read(|database| {
            let transaction = database.begin_read()?;
            transaction.open_table(META)?;
            transaction.open_table(USERS)?;
            transaction.open_table(ROWS)?;
            Ok(())
        })?;
        Ok(engine)
    }

    fn new(backend: impl StorageBackend) -> Result<Engine, StorageError> {
        let stopped = Arc::new(AtomicBool::new(false));
        let backend: Arc<dyn StorageBackend> = Arc::new(backend);
        let fence = Fence::new(&backend, &stopped);
        let opened = caught(|| {
            Database::builder()
                .set_cache_size(CACHE)
                // Redb trusts what it reads, including its lists of free pages, and where they are damaged it can
                // panic twice, which ends the process. So every page is compared with its checksum first.
                .set_check_integrity_on_open(true)
                .create_with_backend(fence)
        });
        let database = match opened {
            Ok(database) => database.map_err(|error| failed(error.into()))?,
            Err(panicked) => return Err(StorageError::Damaged(panicked.into())),
        };
        Ok(Engine {
            database: AssertUnwindSafe(RwLock::new(Some(database))),
            backend: AssertUnwindSafe(backend),
            stopped,
            writer: Mutex::new(()),
        })
    }

    pub(super) fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(|database| {
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            Ok(meta.get(KEYS)?.map(|keys| keys.value().to_vec()))
        })
    }

    pub(super) fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        self.read(|database| {
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            meta.get(ROOT)?.map(|bytes| root(bytes.value())).transpose()
        })
    }

    pub(super) fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        self.read(|database| {
            let transaction = database.begin_read()?;
            let users = transaction.open_table(USERS)?;
            users
                .iter()?
                .map(|user| {
                    let (tag, bytes) = user?;
                    Ok((UserTag(*tag.value()), root(bytes.value())?))
                })
                .collect()
        })
    }

    pub(super) fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        let (root, rows) = self.read(|database| {
            let transaction = database.begin_read()?;
            let bytes = transaction.open_table(USERS)?.get(&user.0)?;
            let root = bytes.map(|bytes| root(bytes.value())).transpose()?;
            let rows = rows_of(user, &transaction.open_table(ROWS)?)?;
            Ok((root, rows))
        })?;
        match root {
            Some(root) => Ok(Some(UserRows { root, rows })),
            None if rows.is_empty() => Ok(None),
            None => Err(StorageError::RowsWithoutRoot),
        }
    }

    pub(super) fn scan(
        &self,
        visit: &mut dyn FnMut(Stored) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let all_have_roots = self.read(|database| {
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let vault = Stored::Vault {
                keys: meta.get(KEYS)?.map(|keys| keys.value().to_vec()),
                root: meta
                    .get(ROOT)?
                    .map(|bytes| root(bytes.value()))
                    .transpose()?,
            };
            if visit(vault).is_break() {
                return Ok(true);
            }
            let rows = transaction.open_table(ROWS)?;
            // Users and rows are in the same order: what is between the rows of two users belongs to neither.
            let mut all_have_roots = true;
            let mut before = None;
            for user in transaction.open_table(USERS)?.iter()? {
                let (tag, bytes) = user?;
                let tag = UserTag(*tag.value());
                let (first, last) = keys_of(tag);
                all_have_roots &= !has_rows_between(before, Some(first), &rows)?;
                before = Some(last);
                let user = UserRows {
                    root: root(bytes.value())?,
                    rows: rows_of(tag, &rows)?,
                };
                if visit(Stored::User(tag, user)).is_break() {
                    return Ok(true);
                }
            }
            Ok(all_have_roots && !has_rows_between(before, None, &rows)?)
        })?;
        if all_have_roots {
            Ok(())
        } else {
            Err(StorageError::RowsWithoutRoot)
        }
    }

    pub(super) fn commit(&self, transaction: Transaction) -> Result<(), StorageError> {
        self.write(|tables| {
            let mut users = tables.open_table(USERS)?;
            let mut rows = tables.open_table(ROWS)?;
            for change in &transaction.users {
                change_user(&mut users, &mut rows, change)?;
            }
            let mut meta = tables.open_table(META)?;
            if let Some(keys) = transaction.keys {
                meta.insert(KEYS, &*keys)?;
            }
            if let Some(root) = transaction.vault_root {
                meta.insert(ROOT, &*encode_root(&root))?;
            }
            Ok(())
        })
    }

    /// Writes everything anew, shortens the file, and overwrites what is left of it without being used. Waits for
    /// readers; readers and writers wait for it.
    ///
    /// Redb changes a page in place that the same transaction has made: where entries were removed, or values became
    /// shorter, what stood at the end of the page stays behind the last entry, and is copied with the page for as
    /// long as no entry's length changes. What is written anew is written to fresh pages.
    pub(super) fn compact(&self) -> Result<(), StorageError> {
        self.alone(|database| {
            let allocated = self.allocated(database)?;
            unused::check_room(&**self.backend, PAGE * room_to_write_anew(allocated))
                .map_err(|error| StorageError::Failed(error.into()))?;
            self.settled(caught(|| write_anew(database)))?;
            self.shorten_now(database)?;
            let allocated = self.allocated(database)?;
            unused::overwrite(&**self.backend, allocated).map_err(|error| failed(error.into()))
        })
    }

    /// Moves the pages in use together and shortens the file, in redb's own transactions.
    pub(super) fn shorten(&self) -> Result<(), StorageError> {
        self.alone(|database| self.shorten_now(database))
    }

    /// Returns the number of pages in use.
    fn allocated(&self, database: &Database) -> Result<u64, StorageError> {
        let counted = caught(|| {
            let transaction = begin_write(database)?;
            let allocated = transaction.stats()?.allocated_pages();
            transaction.abort()?;
            Ok(allocated)
        });
        self.answered(counted)
    }

    fn shorten_now(&self, database: &mut Database) -> Result<(), StorageError> {
        match caught(|| database.compact()) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                self.stop();
                Err(failed(error.into()))
            }
            Err(panicked) => {
                self.stop();
                Err(StorageError::Damaged(panicked.into()))
            }
        }
    }

    /// Calls `work` while nobody else uses the database.
    fn alone(
        &self,
        work: impl FnOnce(&mut Database) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut database = self.exclusively();
        self.usable(database.as_ref())?;
        match &mut *database {
            Some(database) => work(database),
            None => Err(StorageError::Stopped),
        }
    }

    /// Waits until nobody uses the database.
    fn exclusively(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        loop {
            // So that no more writes begin; but not for long, since a reader may itself be waiting for a write. For
            // the same reason this does not queue for the lock.
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..COMPACT_ATTEMPTS {
                match self.database.try_write() {
                    Ok(database) => return database,
                    Err(TryLockError::Poisoned(error)) => return error.into_inner(),
                    Err(TryLockError::WouldBlock) => thread::sleep(COMPACT_POLL),
                }
            }
            drop(writer);
            thread::sleep(COMPACT_POLL);
        }
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StorageError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = self.usable(database.as_ref())?;
        self.answered(caught(|| work(database)))
    }

    /// Translates the outcome of reading. After a panic the store stops.
    fn answered<T>(
        &self,
        answer: Result<Result<T, redb::Error>, Panicked>,
    ) -> Result<T, StorageError> {
        match answer {
            Ok(result) => result.map_err(failed),
            Err(panicked) => {
                self.stop();
                Err(StorageError::Damaged(panicked.into()))
            }
        }
    }

    /// Does one transaction, which is durable when this returns.
    fn write(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), Refused>,
    ) -> Result<(), StorageError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = self.usable(database.as_ref())?;
        let done = caught(|| {
            let transaction = begin_write(database)?;
            work(&transaction)?;
            commit(transaction)
        });
        self.settled(done)
    }

    /// Translates the outcome of a transaction. If it is uncertain whether it was kept, the store stops.
    fn settled(&self, done: Result<Result<(), Refused>, Panicked>) -> Result<(), StorageError> {
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refused::RootChanged)) => Err(StorageError::RootChanged),
            Ok(Err(Refused::Failed(error))) => Err(failed(error)),
            Ok(Err(Refused::Uncertain(error))) => {
                self.stop();
                Err(StorageError::Uncertain(error.into()))
            }
            Err(panicked) => {
                self.stop();
                Err(StorageError::Uncertain(panicked.into()))
            }
        }
    }

    fn usable<'a>(&self, database: Option<&'a Database>) -> Result<&'a Database, StorageError> {
        match database {
            Some(database) if !self.stopped.load(Ordering::Acquire) => Ok(database),
            _ => Err(StorageError::Stopped),
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }
}

impl Drop for Engine {
    /// Closing writes, so it can fail. Then all that is lost is that the next opening has to look for free pages.
    fn drop(&mut self) {
        let database = self
            .database
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let _ = caught(|| drop(database));
    }
}

fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    // This is the default, stated here because everything depends on it.
    transaction.set_durability(Durability::Immediate)?;
    // Saves the list of free pages with each commit, so that opening after a crash need not walk through all of them,
    // and makes the commit two-phase: the last complete state is then read from the file, not guessed from checksums
    // that whoever wrote the file could have forged.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn commit(transaction: WriteTransaction) -> Result<(), Refused> {
    transaction
        .commit()
        .map_err(|error| Refused::Uncertain(error.into()))
}

/// Returns how many pages it may take to write this many anew: pages are filled anew, but not always as well, and redb
/// keeps lists of the old ones.
fn room_to_write_anew(pages: u64) -> u64 {
    pages + pages / 4 + 64
}

fn write_anew(database: &Database) -> Result<(), Refused> {
    let from = database.begin_read()?;
    let to = begin_write(database)?;
    write_table_anew(META, &from, &to)?;
    write_table_anew(USERS, &from, &to)?;
    write_table_anew(ROWS, &from, &to)?;
    commit(to)
}

fn write_table_anew<K: Key + 'static, V: Value + 'static>(
    definition: TableDefinition<'_, K, V>,
    from: &ReadTransaction,
    to: &WriteTransaction,
) -> Result<(), redb::Error> {
    to.delete_table(definition)?;
    let mut table = to.open_table(definition)?;
    // In order, which fills the pages.
    for entry in from.open_table(definition)?.iter()? {
        let (key, value) = entry?;
        table.insert(key.value(), value.value())?;
    }
    Ok(())
}

fn change_user(
    users: &mut Table<'_, &'static [u8; 16], &'static [u8]>,
    rows: &mut Table<'_, &'static [u8; 32], &'static [u8]>,
    change: &UserChange,
) -> Result<(), Refused> {
    let tag = &change.user.0;
    let expected = change.expected.as_ref().map(encode_root);
    if users.get(tag)?.as_ref().map(redb::AccessGuard::value) != expected.as_deref() {
        return Err(Refused::RootChanged);
    }
    let Some(root) = &change.root else {
        users.remove(tag)?;
        let (first, last) = keys_of(change.user);
        rows.retain_in::<&[u8; 32], _>(&first..=&last, |_, _| false)?;
        return Ok(());
    };
    users.insert(tag, &*encode_root(root))?;
    for row in &change.delete {
        rows.remove(&row_key(change.user, *row))?;
    }
    for (tag, row) in &change.put {
        let bytes = encode_row(row)
            .ok_or_else(|| redb::Error::ValueTooLarge(row.metadata.as_bytes().len()))?;
        rows.insert(&row_key(change.user, *tag), &*bytes)?;
    }
    Ok(())
}

fn rows_of(
    user: UserTag,
    rows: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
) -> Result<Vec<(RowTag, Arc<SealedRow>)>, redb::Error> {
    let (first, last) = keys_of(user);
    rows.range::<&[u8; 32]>(&first..=&last)?
        .map(|row| {
            let (key, bytes) = row?;
            let row = decode_row(bytes.value()).ok_or_else(|| malformed("row"))?;
            Ok((row_tag(key.value()), Arc::new(row)))
        })
        .collect()
}

fn has_rows_between(
    first: Option<[u8; 32]>,
    last: Option<[u8; 32]>,
    rows: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
) -> Result<bool, redb::Error> {
    let [first, last] =
        [&first, &last].map(|key| key.as_ref().map_or(Bound::Unbounded, Bound::Excluded));
    let mut between = rows.range::<&[u8; 32]>((first, last))?;
    Ok(between.next().is_some())
}

/// The first and the last key that a row of the user can have.
fn keys_of(user: UserTag) -> ([u8; 32], [u8; 32]) {
    (
        row_key(user, RowTag([0; 16])),
        row_key(user, RowTag([0xFF; 16])),
    )
}

fn root(bytes: &[u8]) -> Result<SealedRoot, redb::Error> {
    decode_root(bytes).ok_or_else(|| malformed("root"))
}

fn malformed(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("a stored {what} is too short"))
}

/// Distinguishes damage from other failures.
fn failed(error: redb::Error) -> StorageError {
    match &error {
        redb::Error::Io(io)
            if !matches!(
                io.kind(),
                // A page beyond the end of the file, or something that is not a database.
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            StorageError::Failed(error.into())
        }
        // These follow one of the above.
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => StorageError::Stopped,
        redb::Error::ValueTooLarge(_) | redb::Error::LockPoisoned(_) => {
            StorageError::Failed(error.into())
        }
        _ => StorageError::Damaged(error.into()),
    }
}

impl<E: Into<redb::Error>> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused::Failed(error.into())
    }
}

/// The message of a panic. Redb sees only sealed bytes, so the message contains nothing secret.
#[derive(Debug)]
struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database panicked: {}", self.0)
    }
}

impl StdError for Panicked {}

fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload: Box<dyn Any + Send>| {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Panicked(message.to_owned())
    })
}
