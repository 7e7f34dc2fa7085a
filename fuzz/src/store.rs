//! The store of a vault file, as it can be written by anyone who knows the format but has no key.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use arbitrary::Arbitrary;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use crate::edits::Edit;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const USERS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("users");
const ROWS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rows");

/// The length of the header, which comes before the database.
pub const HEADER: usize = 4096;

/// The contents of the tables.
#[derive(Clone, PartialEq)]
pub struct Store {
    meta: BTreeMap<String, Vec<u8>>,
    users: BTreeMap<[u8; 16], Vec<u8>>,
    rows: BTreeMap<[u8; 32], Vec<u8>>,
}

/// A change to a store. The number of an entry is taken to mean one of those that exist.
#[derive(Arbitrary, Debug)]
pub enum Forgery {
    /// Changes bytes of an entry; if `checksum`, those of the keys get the checksum that belongs to them.
    Edit {
        entry: Entry,
        edits: Vec<Edit>,
        checksum: bool,
    },
    Remove(Entry),
    /// Makes an entry as it is in the other state of the vault: a former one comes back, or one is missing.
    AsInOther(Entry),
    /// Does this with all of a user: the root, and each row.
    UserAsInOther(u8),
    /// Puts the bytes of one entry under the name of another one of the same table.
    Copy {
        from: Entry,
        to: u8,
    },
    Exchange {
        one: Entry,
        other: u8,
    },
    /// Puts a row under another name, perhaps another user's.
    Rename {
        row: u8,
        user: Option<u8>,
        name: Option<u8>,
    },
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Entry {
    Meta(u8),
    User(u8),
    Row(u8),
}

impl Store {
    /// Reads the store of a vault file that is whole.
    pub fn read(file: &[u8]) -> Store {
        let database = database(Memory::holding(&file[HEADER..]));
        let read = database.begin_read().expect("a transaction");
        let meta = read.open_table(META).expect("its table");
        let users = read.open_table(USERS).expect("its table");
        let rows = read.open_table(ROWS).expect("its table");
        Store {
            meta: entries(meta.iter(), |key: &str| key.to_owned()),
            users: entries(users.iter(), |key: &[u8; 16]| *key),
            rows: entries(rows.iter(), |key: &[u8; 32]| *key),
        }
    }

    /// Makes a database that holds the store.
    pub fn database(&self) -> Vec<u8> {
        let memory = Memory::default();
        let database = database(memory.clone());
        let write = database.begin_write().expect("a transaction");
        {
            let mut meta = write.open_table(META).expect("a table");
            for (key, value) in &self.meta {
                meta.insert(key.as_str(), value.as_slice()).expect("room");
            }
            let mut users = write.open_table(USERS).expect("a table");
            for (key, value) in &self.users {
                users.insert(key, value.as_slice()).expect("room");
            }
            let mut rows = write.open_table(ROWS).expect("a table");
            for (key, value) in &self.rows {
                rows.insert(key, value.as_slice()).expect("room");
            }
        }
        write.commit().expect("it is kept");
        drop(database);
        let bytes = memory.0.lock().expect("nobody panicked");
        bytes.clone()
    }

    /// Applies a change. `checksum` appends the checksum that belongs to keys which are passed without it.
    pub fn forge(
        &mut self,
        forgery: &Forgery,
        other: &Store,
        checksum: impl Fn(Vec<u8>) -> Vec<u8>,
    ) {
        match forgery {
            Forgery::Edit {
                entry,
                edits,
                checksum: with_checksum,
            } => {
                let is_keys = self.is_keys(*entry);
                let Some(value) = self.value(*entry) else {
                    return;
                };
                if is_keys && *with_checksum {
                    value.truncate(value.len().saturating_sub(32));
                }
                for edit in edits.iter().take(4) {
                    edit.apply(value);
                }
                if is_keys && *with_checksum {
                    *value = checksum(std::mem::take(value));
                }
            }
            Forgery::Remove(entry) => match *entry {
                Entry::Meta(n) => drop(nth(&self.meta, n).and_then(|key| self.meta.remove(&key))),
                Entry::User(n) => drop(nth(&self.users, n).and_then(|key| self.users.remove(&key))),
                Entry::Row(n) => drop(nth(&self.rows, n).and_then(|key| self.rows.remove(&key))),
            },
            Forgery::AsInOther(entry) => match *entry {
                Entry::Meta(n) => take_over(&mut self.meta, &other.meta, n),
                Entry::User(n) => take_over(&mut self.users, &other.users, n),
                Entry::Row(n) => take_over(&mut self.rows, &other.rows, n),
            },
            Forgery::UserAsInOther(n) => {
                let Some(user) = nth(&other.users, *n) else {
                    return;
                };
                self.users.insert(user, other.users[&user].clone());
                self.rows.retain(|key, _| !key.starts_with(&user));
                let rows = other.rows.iter().filter(|(key, _)| key.starts_with(&user));
                self.rows
                    .extend(rows.map(|(key, value)| (*key, value.clone())));
            }
            Forgery::Copy { from, to } => {
                let Some(value) = self.value(*from).cloned() else {
                    return;
                };
                if let Some(to) = self.value(from.same_table(*to)) {
                    *to = value;
                }
            }
            Forgery::Exchange { one, other } => {
                let other = one.same_table(*other);
                let first = self.value(*one).cloned();
                let second = self.value(other).cloned();
                if let (Some(first), Some(second)) = (first, second) {
                    *self.value(*one).expect("it was there") = second;
                    *self.value(other).expect("it was there") = first;
                }
            }
            Forgery::Rename { row, user, name } => {
                let Some(old) = nth(&self.rows, *row) else {
                    return;
                };
                let mut new = old;
                if let Some(user) = user.and_then(|n| nth(&self.users, n)) {
                    new[..16].copy_from_slice(&user);
                }
                if let Some(name) = name.and_then(|n| nth(&other.rows, n)) {
                    new[16..].copy_from_slice(&name[16..]);
                }
                let value = self.rows.remove(&old).expect("it was there");
                self.rows.insert(new, value);
            }
        }
    }

    fn is_keys(&self, entry: Entry) -> bool {
        matches!(entry, Entry::Meta(n) if nth(&self.meta, n).is_some_and(|key| key == "keys"))
    }

    fn value(&mut self, entry: Entry) -> Option<&mut Vec<u8>> {
        match entry {
            Entry::Meta(n) => nth(&self.meta, n).and_then(|key| self.meta.get_mut(&key)),
            Entry::User(n) => nth(&self.users, n).and_then(|key| self.users.get_mut(&key)),
            Entry::Row(n) => nth(&self.rows, n).and_then(|key| self.rows.get_mut(&key)),
        }
    }
}

impl Entry {
    fn same_table(self, n: u8) -> Entry {
        match self {
            Entry::Meta(_) => Entry::Meta(n),
            Entry::User(_) => Entry::User(n),
            Entry::Row(_) => Entry::Row(n),
        }
    }
}

fn nth<K: Clone, V>(of: &BTreeMap<K, V>, n: u8) -> Option<K> {
    of.keys().cycle().nth(n.into()).cloned()
}

/// Takes over an entry of either state. If the other state does not have it, it is removed.
fn take_over<K: Clone + Ord>(to: &mut BTreeMap<K, Vec<u8>>, from: &BTreeMap<K, Vec<u8>>, n: u8) {
    let all: Vec<&K> = to.keys().chain(from.keys()).collect();
    let Some(&key) = all.get(usize::from(n) % all.len().max(1)) else {
        return;
    };
    let key = key.clone();
    match from.get(&key) {
        Some(value) => drop(to.insert(key, value.clone())),
        None => drop(to.remove(&key)),
    }
}

fn database(memory: Memory) -> Database {
    let database = Database::builder().create_with_backend(memory);
    database.expect("a database that is whole")
}

fn entries<'a, K, O: Ord>(
    table: Result<redb::Range<'a, K, &'static [u8]>, redb::StorageError>,
    owned: impl Fn(K::SelfType<'_>) -> O,
) -> BTreeMap<O, Vec<u8>>
where
    K: redb::Key + 'static,
{
    table
        .expect("its entries")
        .map(|entry| {
            let (key, value) = entry.expect("an entry");
            (owned(key.value()), value.value().to_vec())
        })
        .collect()
}

/// The bytes that a database keeps, which remain when the database is gone.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn holding(bytes: &[u8]) -> Memory {
        Memory(Arc::new(Mutex::new(bytes.to_vec())))
    }

    fn range<T>(
        &self,
        offset: u64,
        length: usize,
        work: impl FnOnce(&mut [u8]) -> T,
    ) -> io::Result<T> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut bytes = self.0.lock().expect("nobody panicked");
        let range = bytes.get_mut(start..start + length);
        Ok(work(range.ok_or(io::ErrorKind::UnexpectedEof)?))
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("nobody panicked").len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.range(offset, out.len(), |bytes| out.copy_from_slice(bytes))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.lock().expect("nobody panicked").resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.range(offset, data.len(), |bytes| bytes.copy_from_slice(data))
    }
}
