//! A process that writes to a vault file is killed at random moments, again and again, on the same file.
//!
//! The process does the operations of a series, and reports each one when it has returned. After it is killed, the
//! file is opened and must hold what was acknowledged, and all or nothing of the operation under way: names, values
//! where they are injected, revisions, usage, and the keys that open it. The next process goes on from there.
//!
//! Each run does a few rounds. A few hundred rounds, which take some minutes: `KEYWARD_KILLS=300 cargo test
//! --release --test killed -- --nocapture`
//!
//! Killing a process does not show the effect of a power failure: what the file may hold then is constructed, step
//! by step, by the crash tests within the crate.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use keyward::{
    Error, ErrorKind, KeySource, NewSecret, SecretPatch, ToolCall, Usage, UserId, Vault,
};
use serde_json::Map;
use uuid::Uuid;

const USERS: u128 = 3;
const NAMES: u64 = 8;
const KEYS: u8 = 4;

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

/// A repeatable random number generator: `SplitMix64`.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Secret(u128, Change),
    /// All or none.
    Batch(u128, Vec<Change>),
    DeleteUser(u128),
    AddKey(u8),
    RemoveKey(u8),
    RotateMasterKey(Vec<u8>),
    RotateDataKey,
    Compact,
}

#[derive(Debug, Clone)]
enum Change {
    Create(String, String),
    Update(String, String),
    Delete(String),
}

impl Change {
    fn random(chance: &mut Chance) -> Change {
        let name = format!("name-{}", chance.below(NAMES));
        // Some take several pages.
        let length = [8, 20, 100, 1000][usize::try_from(chance.below(4)).unwrap()];
        let value = format!("{:08}", chance.below(100_000_000)).repeat(length / 8);
        match chance.below(5) {
            0 | 1 => Change::Create(name, value),
            2 | 3 => Change::Update(name, value),
            _ => Change::Delete(name),
        }
    }
}

impl Operation {
    /// The operation with this number in the series.
    fn of(series: u64, number: u64) -> Operation {
        let mut chance = Chance(series ^ number.wrapping_mul(0xD134_2543_DE82_EF95));
        let user = 1 + u128::from(chance.below(USERS.try_into().unwrap()));
        let key = 2 + u8::try_from(chance.below(u64::from(KEYS) - 1)).unwrap();
        match chance.below(24) {
            0..12 => Operation::Secret(user, Change::random(&mut chance)),
            12..17 => {
                let count = 2 + chance.below(5);
                let changes = (0..count).map(|_| Change::random(&mut chance));
                Operation::Batch(user, changes.collect())
            }
            17 => Operation::DeleteUser(user),
            18 | 19 => Operation::AddKey(key),
            20 => Operation::RemoveKey(key),
            21 => Operation::RotateMasterKey(vec![1, key]),
            22 => Operation::RotateDataKey,
            _ => Operation::Compact,
        }
    }

    fn run(&self, vault: &Vault, model: &Model) -> Result<(), Error> {
        let bind = |name: &str, value: &str| {
            NewSecret::new(name, value)
                .bind("t", name)
                .default_for_tool()
        };
        match self {
            Operation::Secret(id, change) => {
                let secrets = vault.user(user(*id));
                match change {
                    Change::Create(name, value) => secrets.create(bind(name, value)).map(drop),
                    Change::Update(name, value) => {
                        let patch = SecretPatch::new().value(value.as_str());
                        secrets.update(name.as_str(), patch).map(drop)
                    }
                    Change::Delete(name) => secrets.delete(name.as_str()),
                }
            }
            Operation::Batch(id, changes) => {
                let done = vault.user(user(*id)).batch(|batch| {
                    for change in changes {
                        match change {
                            Change::Create(name, value) => batch.create(bind(name, value)),
                            Change::Update(name, value) => {
                                let patch = SecretPatch::new().value(value.as_str());
                                batch.update(name.as_str(), patch);
                            }
                            Change::Delete(name) => batch.delete(name.as_str()),
                        }
                    }
                });
                done.map(drop)
            }
            Operation::DeleteUser(id) => vault.delete_user(user(*id)),
            Operation::AddKey(key) => vault.add_key(raw(1), raw(*key)).map(drop),
            Operation::RemoveKey(key) => {
                let slot = model.slots.iter().position(|found| found == key);
                let Some(slot) = slot else { return Ok(()) };
                vault.remove_key_slot(vault.key_slots()?[slot].id)
            }
            Operation::RotateMasterKey(keep) => {
                vault.rotate_master_key(keep.iter().map(|key| raw(*key)))
            }
            Operation::RotateDataKey => vault.rotate_data_key(raw(1)),
            Operation::Compact => vault.compact(),
        }
    }
}

/// What the vault holds, as its owner knows it.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    /// For each user by name: the value and the revision.
    users: BTreeMap<u128, BTreeMap<String, (String, u64)>>,
    /// The keys of the slots, in the order of the slots.
    slots: Vec<u8>,
}

impl Model {
    fn new() -> Model {
        Model {
            users: (1..=USERS).map(|id| (id, BTreeMap::new())).collect(),
            slots: vec![1],
        }
    }

    fn after(series: u64, operations: u64) -> Model {
        let mut model = Model::new();
        for number in 0..operations {
            model.apply(&Operation::of(series, number));
        }
        model
    }

    /// Applies the operation. Returns whether it can be done; if not, nothing changes.
    fn apply(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Secret(id, change) => self.change(*id, std::slice::from_ref(change)),
            Operation::Batch(id, changes) => self.change(*id, changes),
            Operation::DeleteUser(id) => {
                self.users.insert(*id, BTreeMap::new());
                true
            }
            Operation::AddKey(key) => {
                let room = self.slots.len() < 16;
                if room {
                    self.slots.push(*key);
                }
                room
            }
            Operation::RemoveKey(key) => {
                if let Some(slot) = self.slots.iter().position(|found| found == key) {
                    self.slots.remove(slot);
                }
                true
            }
            Operation::RotateMasterKey(keep) => {
                let all_open = keep.iter().all(|key| self.slots.contains(key));
                if all_open {
                    self.slots.clone_from(keep);
                }
                all_open
            }
            Operation::RotateDataKey | Operation::Compact => true,
        }
    }

    /// Applies the changes. Names are judged by the final state, and a name first means what it meant before.
    fn change(&mut self, id: u128, changes: &[Change]) -> bool {
        let before = &self.users[&id];
        // By name, then by whether it was there before: a name can be deleted and created again.
        let mut old: BTreeMap<&str, Option<(String, u64)>> = before
            .iter()
            .map(|(name, known)| (name.as_str(), Some(known.clone())))
            .collect();
        let mut new: BTreeMap<&str, Vec<Option<(String, u64)>>> = BTreeMap::new();
        for change in changes {
            let (Change::Create(name, _) | Change::Update(name, _) | Change::Delete(name)) = change;
            if let Change::Create(name, value) = change {
                new.entry(name).or_default().push(Some((value.clone(), 1)));
                continue;
            }
            let there = match old.get_mut(name.as_str()) {
                Some(known) if known.is_some() => known,
                _ => {
                    let made = new.get_mut(name.as_str());
                    let made = made.and_then(|made| made.iter_mut().find(|made| made.is_some()));
                    let Some(made) = made else { return false };
                    made
                }
            };
            match change {
                Change::Update(_, value) => {
                    let revision = there.as_ref().map_or(0, |known| known.1) + 1;
                    *there = Some((value.clone(), revision));
                }
                _ => *there = None,
            }
        }
        let mut after = BTreeMap::new();
        let old = old.into_iter().map(|(name, known)| (name, vec![known]));
        for (name, all) in old.chain(new) {
            for known in all.into_iter().flatten() {
                if after.insert(name.to_owned(), known).is_some() {
                    return false;
                }
            }
        }
        self.users.insert(id, after);
        true
    }

    /// Reads everything that the vault holds, through the public API.
    fn of(vault: &Vault) -> Result<Model, Error> {
        let mut model = Model::new();
        let mut sum = (0, 0);
        for (id, known) in &mut model.users {
            let secrets = vault.user(user(*id));
            let mut args = Map::new();
            let _ = secrets.inject(&ToolCall::new("t"), &mut args)?;
            let mut bytes = 0;
            for info in secrets.secrets()? {
                let value = args[&info.secret_name].as_str().unwrap().to_owned();
                bytes += (value.len() + 2 * info.secret_name.len() + 1) as u64;
                known.insert(info.secret_name, (value, info.revision));
            }
            assert_usage(secrets.usage()?, (known.len() as u64, bytes));
            sum = (sum.0 + known.len() as u64, sum.1 + bytes);
        }
        assert_usage(vault.usage()?, sum);
        Ok(model)
    }
}

#[track_caller]
fn assert_usage(found: Usage, (secrets, bytes): (u64, u64)) {
    assert_eq!((found.secrets, found.bytes), (secrets, bytes));
}

/// Whether the vault holds what the model holds. Slots are compared by their number and by the keys that open the
/// vault.
fn is(vault: &Vault, found: &Model, model: &Model) -> bool {
    found.users == model.users
        && vault.key_slots().unwrap().len() == model.slots.len()
        && (1..=KEYS).all(|key| {
            vault.lock().unwrap();
            let opens = match vault.unlock(raw(key)) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
                    vault.unlock(raw(1)).unwrap();
                    false
                }
            };
            opens == model.slots.contains(&key)
        })
}

/// Set when this test program runs as the process to be killed: the series, where to begin, and the file.
const CHILD: &str = "KEYWARD_TEST_WRITES";

fn write_until_killed(task: &str) {
    let mut task = task.splitn(3, ' ');
    let mut number = || -> u64 { task.next().unwrap().parse().unwrap() };
    let (series, start) = (number(), number());
    let vault = Vault::open(task.next().unwrap(), raw(1)).unwrap();
    let mut model = Model::after(series, start);
    let mut said = std::io::stdout();
    for number in start.. {
        let operation = Operation::of(series, number);
        let done = operation.run(&vault, &model);
        let possible = model.apply(&operation);
        assert_eq!(done.is_ok(), possible, "{number}: {operation:?}: {done:?}");
        writeln!(said, "done {number}.").unwrap();
    }
}

fn start(path: &Path, series: u64, start: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["a_process_that_is_killed_loses_nothing", "--nocapture"])
        .env(CHILD, format!("{series} {start} {}", path.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the process at a random moment. Returns the number of the last operation that it acknowledged.
fn kill(mut child: Child, chance: &mut Chance) -> Option<u64> {
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut hear = |line: String| {
        let number = line.strip_prefix("done ");
        if let Some(number) = number.and_then(|rest| rest.strip_suffix('.')) {
            last = Some(number.parse().unwrap());
        }
    };
    // Sometimes before it has opened the file, or while it recovers it.
    if chance.below(8) > 0 {
        for _ in 0..5 + chance.below(30) {
            hear(said.next().expect("the process ended by itself").unwrap());
        }
    }
    thread::sleep(Duration::from_micros(chance.below(20_000)));
    child.kill().unwrap();
    // What it said before that. If the last line is cut off, its operation was not acknowledged.
    for line in said.map_while(Result::ok) {
        hear(line);
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the process ended by itself: {status}");
    last
}

#[test]
fn a_process_that_is_killed_loses_nothing() {
    if let Ok(task) = env::var(CHILD) {
        return write_until_killed(&task);
    }
    let kills: u64 = env::var("KEYWARD_KILLS").map_or(5, |number| number.parse().unwrap());
    let series = env::var("KEYWARD_KILLS_SERIES").map_or_else(
        |_| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
        },
        |number| number.parse().unwrap(),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    drop(Vault::create(&path, raw(1)).unwrap());
    let mut chance = Chance(series);
    let (mut next, mut half_done) = (0, 0);
    for round in 0..kills {
        let what = format!("KEYWARD_KILLS_SERIES={series}, round {round}");
        let last = kill(start(&path, series, next), &mut chance);
        let acknowledged = last.map_or(next, |last| last + 1);

        let vault = Vault::open(&path, raw(1)).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        vault
            .verify()
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let found = Model::of(&vault).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let before = Model::after(series, acknowledged);
        next = acknowledged;
        if !is(&vault, &found, &before) {
            let after = Model::after(series, acknowledged + 1);
            assert!(
                is(&vault, &found, &after),
                "{what}: behind operation {acknowledged} there is neither {before:#?} nor {after:#?} but {found:#?}"
            );
            next += 1;
            half_done += 1;
        }
    }
    println!("{kills} kills, {next} operations, {half_done} of them done and not acknowledged");
}
