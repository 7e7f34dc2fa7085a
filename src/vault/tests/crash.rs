//! Crashes: every operation of a vault, cut off behind every step of its disk.
//!
//! A vault on a [`Disk`] goes through every kind of operation. What the disk may hold after a crash behind each of its
//! steps is opened as a vault, and compared with a model of what was acknowledged, with or without the operation that
//! was under way: names, values where they are injected, revisions, usage, and which keys open it.
//!
//! A few images of some of the steps, so that it is quick. All steps, with 100 images each:
//! `KEYWARD_CRASH_IMAGES=100 cargo test --release --lib vault::tests::crash -- --nocapture`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;
use uuid::Uuid;

use super::{errors::storage_error, *};
use crate::{
    Bounds, NewSecret, Quota, SecretPatch, ToolCall,
    error::ErrorKind,
    storage::{
        FileStorage,
        disk::{Chance, Cut, Disk, Step, images},
    },
};

/// What a vault has, as its owner knows it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    users: BTreeMap<UserId, BTreeMap<String, Known>>,
    /// The raw keys that open it, by their one byte.
    keys: BTreeSet<u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    value: String,
    revision: u64,
}

impl Model {
    fn of(vault: &Vault) -> Result<Model, Error> {
        let mut users = BTreeMap::new();
        for id in vault.users()? {
            let user = vault.user(id);
            let mut args = Map::new();
            let injection = user.inject(&ToolCall::new("t"), &mut args)?;
            assert_eq!(injection.filled().len(), args.len());
            let known = user.secrets()?.into_iter().map(|info| {
                let value = args[&info.secret_name].as_str().unwrap().to_owned();
                let revision = info.revision;
                (info.secret_name, Known { value, revision })
            });
            users.insert(id, known.collect());
        }
        let mut keys = BTreeSet::new();
        for byte in 1..=KEYS {
            vault.lock()?;
            match vault.unlock(raw(byte)) {
                Ok(()) => {
                    keys.insert(byte);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
                    vault.unlock(raw(1))?;
                }
            }
        }
        Ok(Model { users, keys })
    }

    fn usage(&self, user: UserId) -> Usage {
        let secrets = self.users.get(&user).into_iter().flatten();
        let bytes = secrets
            .clone()
            // The name is its argument, too, and the tool has one byte.
            .map(|(name, known)| known.value.len() + 2 * name.len() + 1);
        Usage::new(secrets.count() as u64, bytes.sum::<usize>() as u64)
    }

    fn put(&mut self, user: u128, name: &str, value: &str) {
        let secrets = self.users.entry(id(user)).or_default();
        let revision = secrets.get(name).map_or(0, |known| known.revision) + 1;
        let value = value.to_owned();
        secrets.insert(name.to_owned(), Known { value, revision });
    }

    fn rename(&mut self, user: u128, from: &str, to: &str) {
        let secrets = self.users.get_mut(&id(user)).unwrap();
        let mut known = secrets.remove(from).unwrap();
        known.revision += 1;
        secrets.insert(to.to_owned(), known);
    }

    fn take(&mut self, user: u128, name: &str) {
        self.users.get_mut(&id(user)).unwrap().remove(name).unwrap();
    }
}

const KEYS: u8 = 4;

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

fn id(user: u128) -> UserId {
    UserId::new(Uuid::from_u128(user))
}

fn secret(name: &str, value: &str) -> NewSecret {
    NewSecret::new(name, value)
        .bind("t", name)
        .default_for_tool()
}

/// A new name, and the argument that goes with it.
fn renamed(name: &str) -> SecretPatch {
    SecretPatch::new().name(name).location(name)
}

struct Operation {
    what: &'static str,
    run: fn(&Vault) -> Result<(), Error>,
    model: fn(&mut Model),
}

/// Every operation that writes. More secrets than one batch of a rotation, and values of several pages.
const OPERATIONS: &[Operation] = &[
    Operation {
        what: "create",
        run: |vault| {
            vault
                .user(id(1))
                .create(secret("a", "value-of-a"))
                .map(drop)
        },
        model: |model| model.put(1, "a", "value-of-a"),
    },
    Operation {
        what: "batch of new ones",
        run: |vault| {
            let fill = |batch: &mut Batch<'_>| {
                (0..11).for_each(|i| batch.create(secret(&format!("n{i}"), &format!("value-{i}"))));
            };
            vault.user(id(2)).batch(fill).map(drop)
        },
        model: |model| (0..11).for_each(|i| model.put(2, &format!("n{i}"), &format!("value-{i}"))),
    },
    Operation {
        what: "update",
        run: |vault| {
            let patch = SecretPatch::new().value("ż".repeat(1000));
            vault.user(id(1)).update("a", patch).map(drop)
        },
        model: |model| model.put(1, "a", &"ż".repeat(1000)),
    },
    Operation {
        what: "update of the binding",
        run: |vault| vault.user(id(1)).update("a", renamed("b")).map(drop),
        model: |model| model.rename(1, "a", "b"),
    },
    Operation {
        what: "delete",
        run: |vault| vault.user(id(2)).delete("n3"),
        model: |model| model.take(2, "n3"),
    },
    Operation {
        what: "batch of all kinds",
        run: |vault| {
            let work = |batch: &mut Batch<'_>| {
                batch.update("n4", renamed("n5"));
                batch.update("n5", renamed("n4"));
                batch.delete("n6");
                batch.create(secret("n6", "the-next-n6"));
            };
            vault.user(id(2)).batch(work).map(drop)
        },
        model: |model| {
            model.rename(2, "n4", "spare");
            model.rename(2, "n5", "n4");
            model.rename(2, "spare", "n5");
            let secrets = model.users.get_mut(&id(2)).unwrap();
            secrets.get_mut("n5").unwrap().revision -= 1;
            model.take(2, "n6");
            model.put(2, "n6", "the-next-n6");
        },
    },
    Operation {
        what: "add a key",
        run: |vault| vault.add_key(raw(1), raw(2)).map(drop),
        model: |model| assert!(model.keys.insert(2)),
    },
    Operation {
        what: "change a key",
        run: |vault| vault.change_key(raw(2), raw(3)).map(drop),
        model: |model| model.keys = BTreeSet::from([1, 3]),
    },
    Operation {
        what: "rotate the data key",
        run: |vault| vault.rotate_data_key(raw(3), |_| {}),
        model: |_| {},
    },
    Operation {
        what: "add another key",
        run: |vault| vault.add_key(raw(3), raw(4)).map(drop),
        model: |model| assert!(model.keys.insert(4)),
    },
    Operation {
        what: "rotate the master key",
        run: |vault| vault.rotate_master_key([raw(1), raw(4)]),
        model: |model| model.keys = BTreeSet::from([1, 4]),
    },
    Operation {
        what: "remove a key",
        run: |vault| {
            let last = vault.key_slots()?.pop().unwrap();
            vault.remove_key(last.id)
        },
        model: |model| model.keys = BTreeSet::from([1]),
    },
    Operation {
        what: "delete a user",
        run: |vault| vault.delete_user(id(2)),
        model: |model| drop(model.users.remove(&id(2))),
    },
    Operation {
        what: "compact",
        run: Vault::compact,
        model: |_| {},
    },
    Operation {
        what: "create after compacting",
        run: |vault| {
            vault
                .user(id(3))
                .create(secret("c", "value-of-c"))
                .map(drop)
        },
        model: |model| model.put(3, "c", "value-of-c"),
    },
    Operation {
        what: "import",
        run: |vault| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("export");
            let other = Vault::in_memory()?;
            for user in [1, 4].map(id) {
                other.user(user).create(secret("i", "value-of-i"))?;
            }
            other.export(&path, raw(5))?;
            vault.import(&path, raw(5)).map(drop)
        },
        model: |model| {
            for user in [1, 4] {
                model.put(user, "i", "value-of-i");
            }
        },
    },
    Operation {
        what: "rotate the data key again",
        run: |vault| vault.rotate_data_key(raw(1), |_| {}),
        model: |_| {},
    },
];

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
    let mut model = Model {
        keys: BTreeSet::from([1]),
        ..Model::default()
    };
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
        let rotated = vault.rotate_data_key(raw(1), |_| {});
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
        let mut model = Model {
            keys: BTreeSet::from([1]),
            ..Model::default()
        };
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
        let mut model = Model {
            keys: BTreeSet::from([1]),
            ..Model::default()
        };
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
