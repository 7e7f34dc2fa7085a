//! Crashes: every operation of a vault, cut off behind every step of its disk.
//!
//! A vault on a [`Disk`] goes through every kind of operation. What the disk may hold after a crash behind each of its
//! steps is opened as a vault, and compared with a model of what was acknowledged, with or without the operation that
//! was under way: names, values where they are injected, revisions, usage, and which keys open it.
//!
//! A few images of some of the steps, so that it is quick. All steps, with 100 images each:
//! `KEYWARD_CRASH_IMAGES=100 cargo test --release --lib vault::tests::crash -- --nocapture`

use self::operations::{Model, OPERATIONS, id, raw, secret};
use super::{errors::storage_error, *};
use crate::{
    Bounds, Quota, SecretPatch,
    error::ErrorKind,
    storage::{
        FileStorage,
        disk::{Chance, Cut, Disk, Step, images},
    },
};

mod operations;

fn create(disk: &Disk) -> Vault {
    let store = |first| FileStorage::create_on(disk.clone(), first);
    Vault::builder().create_with(&raw(1), store).unwrap()
}

fn open(image: Vec<u8>, anchor: &Anchor) -> Result<Vault, Error> {
    let storage = FileStorage::open_on(Disk::holding(image)).map_err(storage_error)?;
    let builder = Vault::builder().anchor(*anchor);
    builder.open_with(&raw(1), Box::new(storage))
}

/// What was acknowledged last, and when.
#[derive(Clone)]
struct Acknowledged {
    model: Model,
    anchor: Anchor,
    /// How many steps the disk had done.
    steps: usize,
}

impl Acknowledged {
    fn new(model: Model, vault: &Vault, disk: &Disk) -> Acknowledged {
        Acknowledged {
            model,
            anchor: vault.anchor().unwrap(),
            steps: disk.steps(),
        }
    }
}

/// All operations on a disk that does not fail: what was acknowledged before the first, and after each.
fn run(disk: &Disk) -> Vec<Acknowledged> {
    let vault = create(disk);
    let mut model = Model::of_a_new_vault();
    let mut acknowledged = vec![Acknowledged::new(model.clone(), &vault, disk)];
    for operation in OPERATIONS {
        (operation.run)(&vault).unwrap_or_else(|error| panic!("{}: {error}", operation.what));
        (operation.model)(&mut model);
        acknowledged.push(Acknowledged::new(model.clone(), &vault, disk));
    }
    assert_eq!(Model::of(&vault).unwrap(), model);
    acknowledged
}

/// Opens an image, and checks that it has what was acknowledged, and nothing or all of what was under way. Whether a
/// rotation was interrupted.
fn check(image: Vec<u8>, before: &Acknowledged, after: &Acknowledged) -> Result<bool, String> {
    let error = |what: &str, error: Error| format!("{what}: {error}, {error:?}");
    let vault = open(image, &before.anchor).map_err(|found| error("open", found))?;
    vault.verify().map_err(|found| error("verify", found))?;
    let found = Model::of(&vault).map_err(|found| error("read", found))?;
    if found != before.model && found != after.model {
        return Err(format!("neither before nor after, but {found:#?}"));
    }
    check_usage(&vault, &found)?;
    let rotating = vault.state.keys().unwrap().is_rotating();
    if rotating {
        let rotated = vault.rotate_data_key(raw(1));
        rotated.map_err(|found| error("go on with the rotation", found))?;
        if vault.state.keys().unwrap().is_rotating() || Model::of(&vault).unwrap() != found {
            return Err("the rotation did not come to its end".to_owned());
        }
    }
    let written = vault.user(id(9)).create(secret("z", "value-of-z"));
    written.map_err(|found| error("write", found))?;
    vault
        .verify()
        .map_err(|found| error("verify again", found))?;
    vault.compact().map_err(|found| error("compact", found))?;
    vault
        .verify()
        .map_err(|found| error("verify behind compacting", found))?;
    Ok(rotating)
}

fn check_usage(vault: &Vault, model: &Model) -> Result<(), String> {
    let mut sum = Usage::default();
    for user in (1..=4).map(id) {
        let expected = model.usage(user);
        let found = vault.user(user).usage().unwrap();
        if found != expected {
            return Err(format!("{user:?} uses {expected:?}, not {found:?}"));
        }
        sum = sum.replace(Usage::default(), expected).unwrap();
    }
    let found = vault.usage().unwrap();
    if found != sum {
        return Err(format!("the vault uses {sum:?}, not {found:?}"));
    }
    Ok(())
}

#[test]
fn after_a_crash_at_any_step_the_vault_has_what_was_acknowledged() {
    let disk = Disk::default();
    let acknowledged = run(&disk);
    let steps = disk.recorded();
    let mut chance = Chance(0xFACE);
    let stride = if images() > 3 { 1 } else { 3 };
    let mut interrupted = 0;
    for (operation, pair) in OPERATIONS.iter().zip(acknowledged.windows(2)) {
        let (before, after) = (&pair[0], &pair[1]);
        // Each write is acknowledged behind a sync, so the operation begins with what the disk has for good.
        assert!(matches!(steps[before.steps - 1], Step::Sync));
        let start = Cut::new(&[], &steps[..before.steps]).images(&mut chance, 0);
        let under_way = &steps[before.steps..after.steps];
        let mut tried = 0;
        for cut in (0..=under_way.len()).rev().step_by(stride) {
            let held = Cut::new(&start[0], &under_way[..cut]);
            // Once the last step is done, so is the operation.
            let before = if cut == under_way.len() {
                after
            } else {
                before
            };
            for image in held.images(&mut chance, images()) {
                let number = tried;
                match check(image, before, after) {
                    Ok(rotating) => interrupted += u32::from(rotating),
                    Err(error) => panic!(
                        "{}, behind step {cut} of {}, image {number}: {error}",
                        operation.what,
                        under_way.len()
                    ),
                }
                tried += 1;
            }
        }
        println!(
            "{}: {} steps, {tried} images",
            operation.what,
            under_way.len()
        );
    }
    println!("{interrupted} interrupted rotations went on to their end");
    assert!(interrupted > 0);
}

#[test]
fn after_a_crash_while_it_recovers_too() {
    let disk = Disk::default();
    let acknowledged = run(&disk);
    let steps = disk.recorded();
    let mut chance = Chance(0xBEEF);
    let stride = if images() > 3 { 1 } else { 17 };
    let mut tried = 0;
    for (operation, pair) in OPERATIONS.iter().zip(acknowledged.windows(2)) {
        let (before, after) = (&pair[0], &pair[1]);
        for cut in (before.steps + 1..after.steps).step_by(stride) {
            let image = Cut::new(&[], &steps[..cut]).random(&mut chance);
            let disk = Disk::holding(image.clone());
            drop(FileStorage::open_on(disk.clone()).unwrap());
            let recovery = disk.recorded();
            for again in (0..=recovery.len()).step_by(if stride > 1 { 5 } else { 1 }) {
                let held = Cut::new(&image, &recovery[..again]);
                for image in held.images(&mut chance, images().div_ceil(20)) {
                    check(image, before, after).unwrap_or_else(|error| {
                        let what = operation.what;
                        panic!("{what}, behind step {cut}, then {again}: {error}")
                    });
                    tried += 1;
                }
            }
        }
    }
    println!("{tried} images of crashes while it recovered");
}

#[test]
fn a_disk_that_fails_at_any_step_loses_nothing_that_was_acknowledged() {
    let disk = Disk::default();
    let total = {
        run(&disk);
        disk.steps()
    };
    let stride = if images() > 3 { 1 } else { 11 };
    let first = {
        let disk = Disk::default();
        create(&disk);
        disk.steps()
    };
    for fails_from in (first..total).step_by(stride) {
        let disk = Disk::failing_from(fails_from);
        let vault = create(&disk);
        let mut model = Model::of_a_new_vault();
        let mut before = Acknowledged::new(model.clone(), &vault, &disk);
        let mut after = before.clone();
        for operation in OPERATIONS {
            let done = (operation.run)(&vault);
            (operation.model)(&mut model);
            after.model = model.clone();
            match done {
                Ok(()) => before = Acknowledged::new(model.clone(), &vault, &disk),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
                    let next = vault.user(id(1)).create(secret("late", "a-late-value"));
                    assert_eq!(next.unwrap_err().kind(), ErrorKind::Storage);
                    break;
                }
            }
        }
        drop(vault);
        check(disk.bytes(), &before, &after)
            .unwrap_or_else(|error| panic!("failing from step {fails_from}: {error}"));
    }
}

/// A read or a step that fails once: the vault goes on as if the operation had not begun, or does nothing more.
#[test]
fn a_disk_that_fails_once_loses_nothing_that_was_acknowledged() {
    let calls = {
        let (made, used) = (Disk::default(), Disk::default());
        create(&made);
        run(&used);
        used.calls() - made.calls()
    };
    let stride = if images() > 3 { 1 } else { 7 };
    let mut chance = Chance(0xD00D);
    let (mut stopped, mut went_on) = (0, 0);
    for call in (1..=calls).step_by(stride) {
        let disk = Disk::default();
        let vault = create(&disk);
        disk.fail_once(call);
        let mut model = Model::of_a_new_vault();
        let mut before = Acknowledged::new(model.clone(), &vault, &disk);
        let mut after = before.clone();
        let mut failed = false;
        for operation in OPERATIONS {
            let what = format!("{}, call {call}", operation.what);
            (operation.model)(&mut model);
            after.model = model.clone();
            let mut done = (operation.run)(&vault);
            if let Err(error) = done {
                assert_eq!(error.kind(), ErrorKind::Storage, "{what}: {error}");
                assert!(!failed, "{what}: it failed before");
                failed = true;
                if let Ok(found) = Model::of(&vault) {
                    assert_eq!(found, before.model, "{what}");
                    vault.verify().unwrap();
                } else {
                    // The model may have left it locked.
                    let _ = vault.unlock(raw(1));
                }
                done = (operation.run)(&vault);
                assert!(done.is_err() || !error.may_have_written(), "{what}");
                went_on += u32::from(done.is_ok());
            }
            match done {
                Ok(()) => before = Acknowledged::new(model.clone(), &vault, &disk),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Storage, "{what}: {error}");
                    stopped += 1;
                    break;
                }
            }
            after = before.clone();
        }
        // A crash before it is closed, and then without one.
        let steps = disk.recorded();
        let mut left = Cut::new(&[], &steps).images(&mut chance, images());
        drop(vault);
        left.push(disk.bytes());
        for image in left {
            check(image, &before, &after)
                .unwrap_or_else(|error| panic!("call {call} failed: {error}"));
        }
    }
    println!("{calls} calls: {stopped} stopped, {went_on} went on");
    assert!(stopped > 0 && went_on > 0);
}

/// Secrets of all lengths, half of which are deleted again.
fn fill(vault: &Vault) {
    for user in [1, 2].map(id) {
        let user = vault.user(user);
        let fill = |batch: &mut Batch<'_>| {
            for i in 0..40 {
                let value = "v".repeat(if i % 10 == 3 { 60_000 } else { 100 * i });
                batch.create(secret(&format!("n{i}"), &format!("value-{value}")));
            }
        };
        user.batch(fill).unwrap();
        let empty = |batch: &mut Batch<'_>| {
            (0..40)
                .filter(|i| i % 4 < 2)
                .for_each(|i| batch.delete(format!("n{i}")));
        };
        user.batch(empty).unwrap();
    }
}

#[test]
fn a_disk_without_room_to_compact_leaves_the_vault_as_it_was() {
    let disk = Disk::default();
    let builder = Vault::builder()
        .quota(Quota::unlimited())
        .bounds(Bounds::default().max_value_chars(65_536));
    let store = |first| FileStorage::create_on(disk.clone(), first);
    let vault = builder.create_with(&raw(1), store).unwrap();
    fill(&vault);
    let mut model = Model::of(&vault).unwrap();
    let user = vault.user(id(3));
    user.create(secret("c", "value-0")).unwrap();
    model.put(3, "c", "value-0");
    let mut refused = 0;
    let shorter = loop {
        disk.leave_room(40 + 16 * refused);
        let length = disk.bytes().len();
        match vault.compact() {
            Ok(()) => break disk.bytes().len() < length,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Storage, "{error}"),
        }
        assert_eq!(disk.bytes().len(), length);
        refused += 1;
        let value = format!("value-{refused}");
        let patch = SecretPatch::new().value(&*value);
        user.update("c", patch).unwrap();
        model.put(3, "c", &value);
        assert_eq!(Model::of(&vault).unwrap(), model);
    };
    assert!(refused > 3 && shorter, "{refused}");
    vault.verify().unwrap();
    assert_eq!(Model::of(&vault).unwrap(), model);
    user.create(secret("d", "value-of-d")).unwrap();
}

#[test]
fn a_vault_that_could_not_be_created_is_not_said_to_be_anywhere() {
    let first = {
        let disk = Disk::default();
        create(&disk);
        disk.steps()
    };
    for fails_from in 0..first {
        let disk = Disk::failing_from(fails_from);
        let store = |first| FileStorage::create_on(disk.clone(), first);
        match Vault::builder().create_with(&raw(1), store) {
            // All that failed was closing it.
            Ok(_) => assert!(fails_from > 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Storage);
                let said = error.to_string();
                assert!(said.contains("nothing was created"), "{fails_from}: {said}");
            }
        }
    }
}
