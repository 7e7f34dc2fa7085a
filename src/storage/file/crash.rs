//! Crashes: what the file may hold after one, and that it opens with everything acknowledged.
//!
//! A run of commits over a [`Disk`] is cut off after every step. Each cut is tried with a few images of the disk.
//! `KEYWARD_CRASH_IMAGES=200 cargo test --release crash` tries 200.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    disk::{Chance, Cut, Disk, Step, images},
    engine::Engine,
};
use crate::{
    sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag},
    storage::{StorageError, Transaction, UserChange, conformance::root},
};

/// Everything that a store holds, for comparison.
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

/// Transactions of every kind, small ones and ones that make the file grow.
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
    /// What the store held when each transaction was acknowledged, and after which step; the first entry is its
    /// creation.
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
        let steps = disk.recorded();
        assert!(
            acknowledged.windows(2).all(|pair| pair[0].1 != pair[1].1),
            "every transaction changes something"
        );
        Run {
            steps,
            acknowledged,
        }
    }

    /// What the store may hold after a crash after this many steps: what was acknowledged, or that plus the
    /// transaction under way.
    fn allowed(&self, steps: usize) -> &[(usize, Contents)] {
        let under_way = self.acknowledged.partition_point(|(at, _)| *at <= steps);
        let end = self.acknowledged.len().min(under_way + 1);
        &self.acknowledged[under_way - 1..end]
    }
}

/// Opens an image, checks its content, and checks that it can be written to.
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
        let recovery = disk.recorded();
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
