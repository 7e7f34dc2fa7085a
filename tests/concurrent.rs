//! Many threads on one vault: what they see can be put in one order, in which each call takes effect between its
//! start and its end.
//!
//! Each secret is a register. A write returns the revision that it made, so the order of the writes to a secret is
//! known. What remains is to check that it is the order of time: a write or a read that starts after a call has
//! ended has that call's revision or a later one, and no read has the revision of a write that starts after it. Time
//! is a counter: a call that has returned is earlier than one that has not started.
//!
//! Each run makes a few hundred calls. To make more: `KEYWARD_STRESS=20000 cargo test --release --test concurrent`
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use keyward::{
    ErrorKind, KeySource, NewSecret, Quota, SecretPatch, ToolCall, UserId, UserVault, Vault,
};
use serde_json::Map;
use uuid::Uuid;

const USERS: u128 = 2;
const PAIRS: usize = 2;
const WRITERS: u64 = 2;
const READERS: u64 = 2;

/// The number of calls of each writer and reader.
fn calls() -> u64 {
    env::var("KEYWARD_STRESS").map_or(150, |number| number.parse().unwrap())
}

fn key() -> KeySource {
    KeySource::raw([7; 32])
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

/// A repeatable random number generator: `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % limit).unwrap()
    }
}

/// A register: a user, and one of the user's pairs of secrets, which are always written together.
type Register = (u128, usize);

struct Event {
    register: Register,
    start: u64,
    end: u64,
    is_write: bool,
    /// The revision that was written or read.
    revision: u64,
}

struct Stress<'a> {
    vault: &'a Vault,
    clock: AtomicU64,
    done: AtomicBool,
}

impl Stress<'_> {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn until_done(&self, mut work: impl FnMut()) {
        while !self.done.load(Ordering::Acquire) {
            work();
        }
    }

    /// Repeats a call until the vault is not locked.
    fn unlocked<T>(&self, call: impl Fn() -> Result<T, keyward::Error>) -> (u64, T, u64) {
        loop {
            let start = self.now();
            match call() {
                Ok(done) => return (start, done, self.now()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
            }
            thread::yield_now();
        }
    }

    /// Writes a value that tells the register and the revision that it is written as. A writer cannot know that
    /// revision, so it demands it.
    fn write(&self, chance: &mut Chance) -> Option<Event> {
        let register = random_register(chance);
        let user = self.vault.user(user(register.0));
        let [a, b] = pair(register.1);
        let (start, info, _) = self.unlocked(|| user.secret(a.as_str()));
        let revision = info.revision + 1;
        let value = format!("{}-{}-{revision:08}", register.0, register.1);
        let written = loop {
            let written = user.batch(|batch| {
                let patch = |known| SecretPatch::new().value(value.as_str()).if_revision(known);
                batch.update(a.as_str(), patch(info.revision));
                batch.update(b.as_str(), patch(info.revision));
            });
            match written {
                Err(error) if error.kind() == ErrorKind::Locked => thread::yield_now(),
                written => break written,
            }
        };
        match written {
            Ok(infos) => {
                assert!(infos.iter().flatten().all(|info| info.revision == revision));
            }
            // Another writer was faster.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                return None;
            }
        }
        Some(Event {
            register,
            start,
            end: self.now(),
            is_write: true,
            revision,
        })
    }

    fn read(&self, chance: &mut Chance) -> Event {
        let register = random_register(chance);
        let user = self.vault.user(user(register.0));
        let (start, args, end) = self.unlocked(|| {
            let mut args = Map::new();
            user.inject(&ToolCall::new("t"), &mut args).map(|_| args)
        });
        let [a, b] = pair(register.1).map(|name| args[&name].as_str().unwrap());
        assert_eq!(a, b, "both are of one write");
        let mut parts = a.split('-').map(|part| part.parse::<u64>().unwrap());
        let [of, number, revision] = [(); 3].map(|()| parts.next().unwrap());
        let found = (u128::from(of), usize::try_from(number).unwrap());
        assert_eq!(found, register, "another's value");
        Event {
            register,
            start,
            end,
            is_write: false,
            revision,
        }
    }

    /// Secrets come and go, up to the quota.
    fn churn(&self, chance: &mut Chance) {
        let user = self.vault.user(user(1 + chance.below(2) as u128));
        let name = format!("churn-{}", chance.below(8));
        let result = if chance.below(2) == 0 {
            user.create(NewSecret::new(name.as_str(), "churning"))
                .map(drop)
        } else {
            user.delete(name.as_str())
        };
        if let Err(error) = result {
            use ErrorKind::{Locked, NameTaken, NotFound, QuotaExceeded};
            let known = [Locked, NameTaken, NotFound, QuotaExceeded];
            assert!(known.contains(&error.kind()), "{error}");
        }
    }
}

fn random_register(chance: &mut Chance) -> Register {
    (1 + chance.below(2) as u128, chance.below(PAIRS))
}

fn pair(number: usize) -> [String; 2] {
    ["a", "b"].map(|name| format!("{name}{number}"))
}

fn fill(vault: &Vault) {
    for id in 1..=USERS {
        let create = |user: &UserVault, number: usize| {
            for name in pair(number) {
                let value = format!("{id}-{number}-{:08}", 1);
                let secret = NewSecret::new(name.as_str(), value);
                user.create(secret.bind("t", name.as_str()).default_for_tool())
                    .unwrap();
            }
        };
        (0..PAIRS).for_each(|number| create(&vault.user(user(id)), number));
    }
}

/// Everything at once: writes, reads, secrets that come and go, new data keys, a locked vault.
fn run(vault: &Vault) -> Vec<Event> {
    let stress = Stress {
        vault,
        clock: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let stress = &stress;
    thread::scope(|scope| {
        let writers = (0..WRITERS).map(|number| {
            scope.spawn(move || {
                let mut chance = Chance(number);
                (0..calls())
                    .filter_map(|_| stress.write(&mut chance))
                    .collect::<Vec<_>>()
            })
        });
        let readers = (0..READERS).map(|number| {
            scope.spawn(move || {
                let mut chance = Chance(100 + number);
                (0..calls())
                    .map(|_| stress.read(&mut chance))
                    .collect::<Vec<_>>()
            })
        });
        let calling: Vec<_> = writers.chain(readers).collect();
        scope.spawn(|| {
            let mut chance = Chance(200);
            stress.until_done(|| stress.churn(&mut chance));
        });
        scope.spawn(|| {
            stress.until_done(|| {
                if let Err(error) = vault.rotate_data_key(key()) {
                    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
                }
            });
        });
        scope.spawn(|| {
            stress.until_done(|| {
                vault.lock().unwrap();
                vault.unlock(key()).unwrap();
                (0..100).for_each(|_| thread::yield_now());
            });
        });
        let events = calling.into_iter().map(thread::ScopedJoinHandle::join);
        let events: Result<Vec<_>, _> = events.collect();
        stress.done.store(true, Ordering::Release);
        events.unwrap().into_iter().flatten().collect()
    })
}

/// Whether the events of one register have an order in which each takes effect between its start and its end.
fn check(mut events: Vec<Event>) -> Result<(), String> {
    let writes: BTreeMap<u64, u64> = events
        .iter()
        .filter(|event| event.is_write)
        .map(|event| (event.revision, event.start))
        .collect();
    // The ended calls are taken by their ends: their greatest revision is the least for calls that start later.
    events.sort_unstable_by_key(|event| event.start);
    let mut ended: Vec<(u64, u64)> = events.iter().map(|e| (e.end, e.revision)).collect();
    ended.sort_unstable();
    let mut ended = ended.into_iter().peekable();
    let mut least = 1;
    for event in &events {
        while let Some((_, revision)) = ended.next_if(|(end, _)| *end < event.start) {
            least = least.max(revision);
        }
        let (start, revision) = (event.start, event.revision);
        if revision < least || event.is_write && revision == least {
            return Err(format!(
                "at {start}: revision {revision}, but {least} was there"
            ));
        }
        let written = writes.get(&revision).copied().unwrap_or(0);
        if revision > 1 && (!writes.contains_key(&revision) || written > event.end) {
            return Err(format!(
                "at {start}: revision {revision} was not written yet"
            ));
        }
    }
    Ok(())
}

fn stress(vault: &Vault) {
    fill(vault);
    let events = run(vault);
    let mut registers: BTreeMap<Register, Vec<Event>> = BTreeMap::new();
    let writes = events.iter().filter(|event| event.is_write).count();
    assert!(writes > 0);
    for event in events {
        registers.entry(event.register).or_default().push(event);
    }
    for (register, events) in registers {
        check(events).unwrap_or_else(|broken| panic!("{register:?}: {broken}"));
    }
    vault.verify().unwrap();
    let secrets = |id| vault.user(user(id)).secrets().unwrap().len() as u64;
    let used = |id| vault.user(user(id)).usage().unwrap();
    assert!((1..=USERS).all(|id| used(id).secrets == secrets(id)));
    let all: u64 = (1..=USERS).map(secrets).sum();
    assert_eq!(vault.usage().unwrap().secrets, all);
    assert!(all <= MOST_SECRETS);
}

const MOST_SECRETS: u64 = 12;

#[test]
fn a_memory_vault_is_linearizable() {
    let quota = Quota::default().vault_secrets(MOST_SECRETS).user_secrets(7);
    stress(
        &Vault::builder()
            .quota(quota)
            .in_memory_with_key(key())
            .unwrap(),
    );
}

#[cfg(feature = "file")]
#[test]
fn a_file_vault_is_linearizable() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota::default().vault_secrets(MOST_SECRETS).user_secrets(7);
    let builder = Vault::builder().quota(quota);
    stress(&builder.create(folder.path().join("vault"), key()).unwrap());
}

#[test]
fn what_has_no_such_order_is_told() {
    let event = |is_write, revision, start, end| Event {
        register: (1, 0),
        start,
        end,
        is_write,
        revision,
    };
    let (write, read) = (
        |r, s, e| event(true, r, s, e),
        |r, s, e| event(false, r, s, e),
    );
    let cases: [(&str, Vec<Event>, bool); 7] = [
        (
            "one after the other",
            vec![write(2, 1, 2), read(2, 3, 4)],
            true,
        ),
        ("meanwhile, old", vec![write(2, 1, 5), read(1, 2, 3)], true),
        (
            "meanwhile, new",
            vec![write(2, 1, 5), read(2, 2, 3), read(2, 4, 6)],
            true,
        ),
        ("a stale read", vec![write(2, 1, 2), read(1, 3, 4)], false),
        (
            "back in time",
            vec![write(2, 1, 9), read(2, 2, 3), read(1, 4, 5)],
            false,
        ),
        (
            "from the future",
            vec![read(2, 1, 2), write(2, 3, 4)],
            false,
        ),
        (
            "writes out of order",
            vec![write(3, 1, 2), write(2, 3, 4)],
            false,
        ),
    ];
    for (what, events, ok) in cases {
        assert_eq!(check(events).is_ok(), ok, "{what}");
    }
}
