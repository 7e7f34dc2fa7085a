//! Crashes: what the file may hold after one, and that it opens with what was acknowledged.
//!
//! A run of commits over a backend that records every write, change of length and sync is cut off behind each of them.
//! What a disk may hold then is made up: all that was synced, and of what was not, each write as a whole, in part or
//! not at all, in any order. Changes of the length happen in their order, as file systems keep them, and nothing of a
//! write shows beyond the file's end.
//!
//! Each cut is tried with a few such images. `KEYWARD_CRASH_IMAGES=200 cargo test --release crash` tries 200.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use redb::StorageBackend;

use super::engine::Engine;
use crate::{
    sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag},
    storage::{StorageError, Transaction, UserChange},
};

/// How many images are made up for each cut, besides the plain ones.
fn images() -> u64 {
    std::env::var("KEYWARD_CRASH_IMAGES").map_or(3, |number| number.parse().unwrap())
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Vec<u8>),
    SetLen(usize),
    Sync,
}

/// A disk that remembers what was done to it, and that fails from a given step on.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Tape>>);

#[derive(Debug, Default)]
struct Tape {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    fails_from: Option<usize>,
}

impl Tape {
    fn record(&mut self, step: Step) -> io::Result<()> {
        if self.fails_from.is_some_and(|at| self.steps.len() >= at) {
            return Err(io::Error::other("the disk has failed"));
        }
        self.steps.push(step);
        Ok(())
    }
}

impl Disk {
    fn holding(bytes: Vec<u8>) -> Disk {
        let disk = Disk::default();
        disk.0.lock().unwrap().bytes = bytes;
        disk
    }

    fn failing_from(step: usize) -> Disk {
        let disk = Disk::default();
        disk.0.lock().unwrap().fails_from = Some(step);
        disk
    }

    fn steps(&self) -> usize {
        self.0.lock().unwrap().steps.len()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let tape = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let bytes = tape.bytes.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let mut tape = self.0.lock().unwrap();
        tape.record(Step::SetLen(len))?;
        tape.bytes.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().unwrap().record(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut tape = self.0.lock().unwrap();
        tape.record(Step::Write(offset, data.to_vec()))?;
        tape.bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Everything that a store holds, to be compared.
#[derive(Debug, Clone, Default, PartialEq)]
struct Contents {
    keys: Option<Vec<u8>>,
    vault_root: Option<SealedRoot>,
    users: BTreeMap<UserTag, (SealedRoot, BTreeMap<RowTag, SealedRow>)>,
}

impl Contents {
    fn of(engine: &Engine) -> Result<Contents, StorageError> {
        let mut users = BTreeMap::new();
        for (tag, root) in engine.user_roots()? {
            let user = engine.user(tag)?.unwrap();
            assert_eq!(user.root, root);
            let rows = user.rows.into_iter();
            users.insert(
                tag,
                (root, rows.map(|(tag, row)| (tag, (*row).clone())).collect()),
            );
        }
        Ok(Contents {
            keys: engine.keys()?,
            vault_root: engine.vault_root()?,
            users,
        })
    }
}

fn root(byte: u8) -> SealedRoot {
    SealedRoot {
        key_id: 1,
        root: Sealed::new([byte; 60]),
    }
}

fn row(byte: u8, length: usize) -> Arc<SealedRow> {
    Arc::new(SealedRow {
        key_id: byte.into(),
        metadata: Sealed::new(vec![byte; 120]),
        value: Sealed::new(vec![byte; length]),
    })
}

fn write(
    number: u8,
    user: u8,
    (from, to): (Option<u8>, Option<u8>),
    put: Vec<(RowTag, Arc<SealedRow>)>,
    delete: Vec<RowTag>,
) -> Transaction {
    Transaction {
        keys: None,
        vault_root: Some(root(100 + number)),
        users: vec![UserChange {
            user: UserTag([user; 16]),
            expected: from.map(root),
            root: to.map(root),
            put,
            delete,
        }],
    }
}

/// Every kind of transaction, small ones and ones that make the file grow.
fn transactions() -> Vec<Transaction> {
    let tag = |i: u8| RowTag([i; 16]);
    let many = |range: std::ops::Range<u8>, byte, length| -> Vec<_> {
        range.map(|i| (tag(i), row(byte, length))).collect()
    };
    vec![
        Transaction {
            keys: Some(vec![1; 300]),
            vault_root: Some(root(100)),
            users: Vec::new(),
        },
        write(1, 1, (None, Some(1)), many(1..2, 1, 50), vec![]),
        write(2, 1, (Some(1), Some(2)), many(1..2, 2, 60), vec![]),
        write(3, 2, (None, Some(1)), many(0..60, 3, 900), vec![]),
        write(4, 1, (Some(2), Some(3)), many(2..4, 4, 50), vec![tag(1)]),
        // A value of many pages.
        write(5, 3, (None, Some(1)), many(0..1, 5, 100_000), vec![]),
        Transaction {
            keys: Some(vec![2; 200]),
            ..Transaction::default()
        },
        write(7, 2, (Some(1), None), vec![], vec![]),
        write(8, 3, (Some(1), Some(2)), many(0..9, 8, 10), vec![tag(77)]),
        write(9, 2, (None, Some(4)), many(0..3, 9, 0), vec![]),
    ]
}

/// A run of all transactions on a disk that does not fail.
struct Run {
    steps: Vec<Step>,
    /// What the store held when each transaction was acknowledged, behind which step; first, when it was made.
    acknowledged: Vec<(usize, Contents)>,
}

impl Run {
    fn new() -> Run {
        let disk = Disk::default();
        let engine = Engine::create(disk.clone()).unwrap();
        let mut acknowledged = vec![(disk.steps(), Contents::of(&engine).unwrap())];
        for transaction in transactions() {
            engine.commit(transaction).unwrap();
            acknowledged.push((disk.steps(), Contents::of(&engine).unwrap()));
        }
        drop(engine);
        let tape = std::mem::take(&mut *disk.0.lock().unwrap());
        assert!(
            acknowledged.windows(2).all(|pair| pair[0].1 != pair[1].1),
            "every transaction changes something"
        );
        Run {
            steps: tape.steps,
            acknowledged,
        }
    }

    /// What the store may hold after a crash behind so many steps: what was acknowledged, or that and the transaction
    /// that was under way.
    fn allowed(&self, steps: usize) -> &[(usize, Contents)] {
        let under_way = self.acknowledged.partition_point(|(at, _)| *at <= steps);
        let end = self.acknowledged.len().min(under_way + 1);
        &self.acknowledged[under_way - 1..end]
    }
}

/// Repeatable chance: xorshift.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit as u64)).unwrap()
    }
}

/// What becomes of a write that was not synced.
#[derive(Clone, Copy)]
enum Fate {
    Present,
    Absent,
    /// The first so many bytes of it.
    Torn(usize),
    /// Each sector of 512 bytes is there or is not, as a bit of this says.
    Sectors(u64),
}

/// What a disk may hold if it is cut off behind `steps`, of which it did everything up to the last sync.
struct Cut<'a> {
    synced: Vec<u8>,
    pending: &'a [Step],
}

impl Cut<'_> {
    fn new<'a>(start: &[u8], steps: &'a [Step]) -> Cut<'a> {
        let sync = steps.iter().rposition(|step| matches!(step, Step::Sync));
        let (synced, pending) = steps.split_at(sync.map_or(0, |at| at + 1));
        let mut bytes = start.to_vec();
        for step in synced {
            apply(&mut bytes, step, Fate::Present);
        }
        Cut {
            synced: bytes,
            pending,
        }
    }

    fn plain(&self, fate: Fate) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for step in self.pending {
            apply(&mut bytes, step, fate);
        }
        bytes
    }

    fn random(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let lengths: Vec<_> = self.pending.iter().filter(|step| is_length(step)).collect();
        for step in &lengths[..chance.below(lengths.len() + 1)] {
            apply(&mut bytes, step, Fate::Present);
        }
        let mut writes: Vec<_> = self
            .pending
            .iter()
            .filter(|step| !is_length(step))
            .collect();
        for i in (1..writes.len()).rev() {
            writes.swap(i, chance.below(i + 1));
        }
        for step in writes {
            let Step::Write(_, data) = step else { continue };
            let fate = match chance.below(6) {
                0 | 1 => Fate::Present,
                2 | 3 => Fate::Absent,
                4 => Fate::Torn(chance.below(data.len() + 1)),
                _ => Fate::Sectors(chance.next()),
            };
            apply(&mut bytes, step, fate);
        }
        bytes
    }

    /// All images that are to be tried.
    fn images(&self, chance: &mut Chance, number: u64) -> Vec<Vec<u8>> {
        let mut images = vec![self.plain(Fate::Present)];
        if !self.pending.is_empty() {
            images.push(self.plain(Fate::Absent));
            images.extend((0..number).map(|_| self.random(chance)));
        }
        images
    }
}

fn is_length(step: &Step) -> bool {
    matches!(step, Step::SetLen(_))
}

fn apply(bytes: &mut Vec<u8>, step: &Step, fate: Fate) {
    match (step, fate) {
        (Step::SetLen(_), Fate::Absent) | (Step::Sync, _) => {}
        (Step::SetLen(length), _) => bytes.resize(*length, 0),
        (Step::Write(at, data), fate) => {
            for (i, byte) in data.iter().enumerate() {
                let there = match fate {
                    Fate::Present => true,
                    Fate::Absent => false,
                    Fate::Torn(length) => i < length,
                    Fate::Sectors(bits) => bits >> (((at + i) / 512) % 64) & 1 == 1,
                };
                if there && let Some(old) = bytes.get_mut(at + i) {
                    *old = *byte;
                }
            }
        }
    }
}

/// Opens an image, checks what is in it, and that it can be written to.
fn check_image(what: &str, image: Vec<u8>, allowed: &[(usize, Contents)]) -> Disk {
    let disk = Disk::holding(image);
    let engine = Engine::open(disk.clone()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let contents = Contents::of(&engine).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(
        allowed.iter().any(|(_, allowed)| *allowed == contents),
        "{what}: neither before nor after, but {contents:?}"
    );
    let after = write(99, 99, (None, Some(1)), vec![], vec![]);
    engine
        .commit(after)
        .unwrap_or_else(|error| panic!("{what}, a write: {error:?}"));
    disk
}

#[test]
fn after_a_crash_at_any_step_the_store_holds_what_was_acknowledged() {
    let run = Run::new();
    let mut chance = Chance(0x5EED);
    for steps in run.acknowledged[0].0..=run.steps.len() {
        let cut = Cut::new(&[], &run.steps[..steps]);
        for (i, image) in cut.images(&mut chance, images()).into_iter().enumerate() {
            check_image(
                &format!("behind step {steps}, image {i}"),
                image,
                run.allowed(steps),
            );
        }
    }
}

#[test]
fn after_a_crash_while_it_recovers_too() {
    let run = Run::new();
    let mut chance = Chance(0xCAFE);
    let stride = if images() > 3 { 1 } else { 9 };
    for steps in (run.acknowledged[0].0..run.steps.len()).step_by(stride) {
        let cut = Cut::new(&[], &run.steps[..steps]);
        let image = cut.random(&mut chance);
        let disk = Disk::holding(image.clone());
        drop(Engine::open(disk.clone()).unwrap());
        let recovery = disk.0.lock().unwrap().steps.clone();
        for again in 0..=recovery.len() {
            let cut = Cut::new(&image, &recovery[..again]);
            for (i, image) in cut
                .images(&mut chance, images().div_ceil(3))
                .into_iter()
                .enumerate()
            {
                check_image(
                    &format!("behind step {steps}, then {again}, image {i}"),
                    image,
                    run.allowed(steps),
                );
            }
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_step_loses_nothing_that_was_acknowledged() {
    let run = Run::new();
    let stride = if images() > 3 { 1 } else { 5 };
    for fails_from in (run.acknowledged[0].0..run.steps.len()).step_by(stride) {
        let disk = Disk::failing_from(fails_from);
        let engine = Engine::create(disk.clone()).unwrap();
        let mut acknowledged = 0;
        let mut failed = false;
        for transaction in transactions() {
            match engine.commit(transaction) {
                Ok(()) => {
                    assert!(!failed, "step {fails_from}: a store that failed goes on");
                    acknowledged += 1;
                }
                Err(
                    StorageError::Failed(_) | StorageError::Uncertain(_) | StorageError::Stopped,
                ) => failed = true,
                Err(error) => panic!("step {fails_from}: {error:?}"),
            }
        }
        drop(engine);
        let last = run.acknowledged.len().min(acknowledged + 2);
        check_image(
            &format!("failing from step {fails_from}"),
            disk.bytes(),
            &run.acknowledged[acknowledged..last],
        );
    }
}
