//! Compacting: what the file holds afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use super::{
    FileStorage,
    disk::{Chance, Disk},
    unused,
};
use crate::{
    sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag},
    storage::{Storage, StorageError, Transaction, UserChange},
};

const USER: UserTag = UserTag([1; 16]);
/// With these bytes begins each part of a row, before the row's number.
const MARK: [u8; 4] = [0xA7, 0xC3, 0x5E, 0x91];

fn row(number: u32, length: usize) -> Arc<SealedRow> {
    let part = [MARK, number.to_le_bytes()].concat();
    Arc::new(SealedRow {
        key_id: 1,
        metadata: Sealed::new(part.repeat(15)),
        value: Sealed::new(part.repeat(length / 8)),
    })
}

/// The numbers of all rows of which the file has some part.
fn numbers(file: &[u8]) -> BTreeSet<u32> {
    let parts = file.array_windows::<8>().filter_map(|part| {
        let number = part.strip_prefix(&MARK)?;
        Some(u32::from_le_bytes(number.try_into().unwrap()))
    });
    parts.collect()
}

/// A store to which rows are written, and the number that each of them has.
struct Written {
    store: FileStorage,
    rows: BTreeMap<u8, u32>,
    writes: u8,
    number: u32,
}

impl Written {
    fn new(store: FileStorage) -> Written {
        Written {
            store,
            rows: BTreeMap::new(),
            writes: 0,
            number: 0,
        }
    }

    fn root(&self) -> Option<SealedRoot> {
        (self.writes > 0).then(|| SealedRoot {
            key_id: 1,
            root: Sealed::new([self.writes; 60]),
        })
    }

    /// Writes some rows, of these lengths, or deletes them.
    fn write(&mut self, rows: impl IntoIterator<Item = (u8, Option<usize>)>) {
        let expected = self.root();
        self.writes += 1;
        let (mut put, mut delete) = (Vec::new(), Vec::new());
        for (tag, length) in rows {
            if let Some(length) = length {
                self.number += 1;
                self.rows.insert(tag, self.number);
                put.push((RowTag([tag; 16]), row(self.number, length)));
            } else {
                self.rows.remove(&tag);
                delete.push(RowTag([tag; 16]));
            }
        }
        let change = UserChange {
            user: USER,
            expected,
            root: self.root(),
            put,
            delete,
        };
        let users = vec![change];
        let transaction = Transaction {
            users,
            ..Transaction::default()
        };
        self.store.commit(transaction).unwrap();
    }

    /// Writes this many rows of all lengths, deletes half of them, and writes the others again. Returns the lengths.
    fn churn(&mut self, seed: u64, rows: u8) -> Vec<usize> {
        let mut chance = Chance(seed);
        let mut length = || {
            let most = [200, 2000, 60_000, 250_000][chance.below(4)];
            40 + most * chance.below(1000) / 1000
        };
        let lengths: Vec<_> = (0..rows).map(|_| length()).collect();
        let all: Vec<_> = (0..rows).zip(lengths.iter().copied().map(Some)).collect();
        for some in all.chunks(7) {
            self.write(some.iter().copied());
        }
        let (others, half): (Vec<_>, Vec<_>) = all.iter().partition(|_| chance.below(2) == 0);
        for some in half.chunks(7) {
            self.write(some.iter().map(|(tag, _)| (*tag, None)));
        }
        for some in others.chunks(7) {
            self.write(some.iter().copied());
        }
        lengths
    }

    fn check(&self, lengths: &[usize]) {
        let stored = self.store.user(USER).unwrap().unwrap();
        assert_eq!(stored.rows.len(), self.rows.len());
        for (tag, found) in stored.rows {
            let tag = tag.0[0];
            assert!(*found == *row(self.rows[&tag], lengths[usize::from(tag)]));
        }
    }
}

/// Returns how long the file was before it.
fn write_and_compact(seed: u64, rows: u8) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut written = Written::new(FileStorage::create(&path, Transaction::default()).unwrap());
    let lengths = written.churn(seed, rows);
    let length = fs::metadata(&path).unwrap().len();
    written.store.compact().unwrap();
    written.check(&lengths);
    let Written { store, rows, .. } = written;
    drop(store);
    let file = fs::read(&path).unwrap();
    assert_eq!(numbers(&file), rows.into_values().collect(), "seed {seed}");
    length
}

/// Redb leaves free pages between those that it cannot move, since they differ in size.
#[test]
fn no_old_row_is_left_whatever_the_lengths() {
    for seed in 1..=12 {
        write_and_compact(seed, 60);
    }
}

/// Redb then writes out the pages that it sets aside, and reads them again.
#[test]
fn a_store_that_is_larger_than_the_cache_is_compacted() {
    for seed in [3, 9, 10, 16] {
        assert!(write_and_compact(seed, 250) > 8 * 1024 * 1024);
    }
}

/// Whatever room there is, it compacts, or it does nothing and goes on.
#[test]
fn room_is_looked_for_before_redb_could_miss_it() {
    for seed in 1..=4 {
        let disk = Disk::default();
        let store = FileStorage::create_on(disk.clone(), Transaction::default()).unwrap();
        let mut written = Written::new(store);
        let lengths = written.churn(seed, 30);
        let mut refused = 0;
        loop {
            disk.leave_room(refused * 8);
            let length = disk.bytes().len();
            match written.store.compact() {
                Ok(()) => break,
                Err(StorageError::Failed(_)) => assert_eq!(disk.bytes().len(), length),
                Err(error) => panic!("{error:?}"),
            }
            written.check(&lengths);
            refused += 1;
        }
        assert!(refused > 8, "{refused}");
        written.check(&lengths);
        written.write([(200, Some(50))]);
    }
}

/// What the database leads to and what it counts are two ways to the same, and nothing is overwritten if they differ.
#[test]
fn nothing_is_overwritten_if_the_pages_in_use_are_in_doubt() {
    let disk = Disk::default();
    let store = FileStorage::create_on(disk.clone(), Transaction::default()).unwrap();
    let mut written = Written::new(store);
    let lengths = written.churn(1, 20);
    written.store.compact().unwrap();
    let used = (disk.bytes().len() / 4096) as u64;
    let steps = disk.steps();
    for number in [0, 1, used + 1] {
        unused::overwrite(&disk, number).unwrap_err();
    }
    assert_eq!(disk.steps(), steps);
    written.check(&lengths);
}
