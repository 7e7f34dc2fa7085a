//! The vault under a scheduler that tries orders of its threads: at every lock, and at every read and write of what is
//! published without one (`vault/sync.rs`).
//!
//! It is the vault itself that runs, with the store in memory; the objects that are published are those of arc-swap,
//! each of whose calls is one step here. So this finds steps of keyward that are in a wrong order, not a memory
//! ordering that is too weak. That arc-swap and the standard library promise, but for the table of users, whose own
//! orderings `assurance/long miri` tries.
//!
//! `assurance/long models` builds and runs them, and so does `.ci/run`; `KEYWARD_SCHEDULES` is the number of orders of
//! each kind.

use std::{
    env, ptr,
    sync::{
        Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
    thread,
};
use uuid::Uuid;

use super::{super::users::UserState, *};
use crate::{Error, ErrorKind, Quota, crypto::KeyRing};

/// In orders of chance, then in orders in which few threads are late: those find what needs few coincidences sooner.
fn in_all_orders(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let orders = env::var("KEYWARD_SCHEDULES").map_or(2000, |number| number.parse().unwrap());
    Runner::new(RandomScheduler::new(orders), config()).run(scenario.clone());
    Runner::new(PctScheduler::new(3, orders), config()).run(scenario);
}

/// Its threads have small stacks by default, and keys are made on them.
fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config
}

fn key() -> KeySource {
    KeySource::raw([7; 32])
}

fn vault() -> Vault {
    Vault::builder().in_memory_with_key(key()).unwrap()
}

fn numbered(name: &str, number: u64) -> NewSecret {
    NewSecret::new(name, format!("value-{number}"))
        .bind("t", name)
        .default_for_tool()
}

/// A vault with a user who has secrets with these names.
fn vault_with(names: &[&str]) -> (Vault, UserVault) {
    let vault = vault();
    let user = vault.user(UserId::LOCAL);
    for name in names {
        user.create(numbered(name, 0)).unwrap();
    }
    (vault, user)
}

/// A thread that rotates the data key, unless the vault is locked meanwhile.
fn rotation(vault: &Vault) -> thread::JoinHandle<Option<()>> {
    let vault = vault.clone();
    thread::spawn(move || locked(vault.rotate_data_key(key())))
}

fn read(user: &UserVault, name: &str) -> Result<u64, Error> {
    let mut args = Map::new();
    let _ = user.inject(&ToolCall::new("t"), &mut args)?;
    let value = args[name].as_str().unwrap();
    Ok(value["value-".len()..].parse().unwrap())
}

fn write(user: &UserVault, name: &str, number: u64) -> Result<(), Error> {
    let patch = SecretPatch::new().value(format!("value-{number}"));
    user.update(name, patch).map(drop)
}

fn locked<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            None
        }
    }
}

#[test]
fn a_write_that_returned_is_seen() {
    in_all_orders(|| {
        let (vault, user) = vault_with(&["a", "b"]);
        // Nobody has loaded the user.
        vault.lock().unwrap();
        vault.unlock(key()).unwrap();
        let returned = Arc::new(AtomicU64::new(0));
        let (to, count) = (user.clone(), Arc::clone(&returned));
        let mut threads = vec![thread::spawn(move || {
            for number in 1..=2 {
                write(&to, "a", number).unwrap();
                count.store(number, Ordering::SeqCst);
            }
        })];
        let to = user.clone();
        threads.push(thread::spawn(move || write(&to, "b", 1).unwrap()));
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                let least = returned.load(Ordering::SeqCst);
                let seen = read(&user, "a").unwrap();
                assert!(seen >= least, "{least} was written, {seen} was seen");
            }
        }));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(read(&vault.user(UserId::LOCAL), "b").unwrap(), 1);
        vault.verify().unwrap();
    });
}

#[test]
fn nothing_is_left_when_locking_has_returned() {
    in_all_orders(|| {
        let (vault, user) = vault_with(&["a"]);
        let keys: Weak<KeyRing> = Arc::downgrade(&vault.state.keys().unwrap());
        user.user.snapshot.store(None);
        let to = user.clone();
        let writer = thread::spawn(move || locked(write(&to, "a", 1)).is_some());
        let from = user.clone();
        let reader = thread::spawn(move || locked(read(&from, "a")).is_some());
        // There is room for four users, then for more.
        let id = |number| UserId::new(Uuid::from_u128(number));
        let _ = [1, 2, 3].map(|number| vault.user(id(number)));
        let to = vault.clone();
        let first = thread::spawn(move || {
            let fifth = to.user(id(4));
            locked(fifth.create(numbered("b", 0)));
        });
        vault.lock().unwrap();
        assert_eq!(keys.strong_count(), 0);
        assert!(user.user.snapshot.load().is_none());
        assert_eq!(read(&user, "a").unwrap_err().kind(), ErrorKind::Locked);
        let written = writer.join().unwrap();
        reader.join().unwrap();
        first.join().unwrap();
        for user in [user.clone(), vault.user(id(4))] {
            assert!(user.user.snapshot.load().is_none(), "published after it");
        }
        vault.unlock(key()).unwrap();
        assert_eq!(read(&user, "a").unwrap(), u64::from(written));
        vault.verify().unwrap();
    });
}

#[test]
fn a_new_user_is_who_was_asked_for() {
    in_all_orders(|| {
        let vault = vault();
        // Room for users who are not there yet looks like the first of these.
        let ids = [0, 1, 2, 2].map(|number| UserId::new(Uuid::from_u128(number)));
        let threads = ids.map(|id| {
            let vault = vault.clone();
            thread::spawn(move || vault.user(id))
        });
        let users = threads.map(|thread| thread.join().unwrap());
        assert_eq!(users.each_ref().map(UserVault::id), ids);
        let [.., third, again] = users;
        let place = |user: &UserVault| ptr::from_ref::<UserState>(&user.user);
        assert_eq!(place(&third), place(&again));
    });
}

#[test]
fn quotas_are_exact() {
    in_all_orders(|| {
        let quota = Quota::unlimited().vault_secrets(2).user_secrets(1);
        let vault = Vault::builder().quota(quota).in_memory().unwrap();
        let users = [1, 1, 2, 3].map(|id| vault.user(UserId::new(Uuid::from_u128(id))));
        let threads: Vec<_> = users
            .into_iter()
            .zip(["a", "b", "c", "d"])
            .map(|(user, name)| {
                thread::spawn(move || {
                    let made = user.create(numbered(name, 0));
                    if let Err(error) = &made {
                        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
                    }
                    u64::from(made.is_ok())
                })
            })
            .collect();
        let made: u64 = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        let used = vault.usage().unwrap();
        assert_eq!((used.secrets, used.bytes), (2, 20));
        assert_eq!(made, 2);
        vault.verify().unwrap();
    });
}

#[test]
fn calls_and_writes_go_on_while_the_data_key_is_rotated() {
    in_all_orders(|| {
        let (vault, user) = vault_with(&["a"]);
        let rotation = rotation(&vault);
        let to = user.clone();
        let writer = thread::spawn(move || {
            write(&to, "a", 1).unwrap();
            to.create(numbered("b", 7)).unwrap();
        });
        let done = Arc::new(AtomicBool::new(false));
        let (from, seen) = (user.clone(), Arc::clone(&done));
        let reader = thread::spawn(move || {
            assert!(read(&from, "a").unwrap() <= 1);
            seen.store(true, Ordering::SeqCst);
        });
        assert!(rotation.join().unwrap().is_some());
        for thread in [writer, reader] {
            thread.join().unwrap();
        }
        assert!(done.load(Ordering::SeqCst));
        assert_eq!(
            (read(&user, "a").unwrap(), read(&user, "b").unwrap()),
            (1, 7)
        );
        assert!(!vault.state.keys().unwrap().is_rotating());
        vault.verify().unwrap();
    });
}

#[test]
fn a_user_stays_loaded_or_not_while_the_data_key_is_rotated() {
    for becomes_loaded in [true, false] {
        in_all_orders(move || {
            let (vault, user) = vault_with(&["a"]);
            if becomes_loaded {
                user.unload();
            }
            let rotation = rotation(&vault);
            if becomes_loaded {
                user.load().unwrap();
            } else {
                user.unload();
            }
            let is_loaded = || user.user.snapshot.load().is_some();
            assert_eq!(is_loaded(), becomes_loaded);
            assert!(rotation.join().unwrap().is_some());
            assert_eq!(is_loaded(), becomes_loaded);
            assert!(vault.state.in_rotation.load().is_none());
        });
    }
}

#[test]
fn who_is_unloaded_and_loaded_while_the_data_key_is_rotated_has_what_was_written() {
    in_all_orders(|| {
        let (vault, user) = vault_with(&["a", "b"]);
        user.unload();
        let rotation = rotation(&vault);
        let other = user.clone();
        let unloading = thread::spawn(move || {
            other.unload();
            other.load().unwrap();
        });
        user.delete("a").unwrap();
        assert!(user.secret("a").is_err());
        write(&user, "b", 1).unwrap();
        assert_eq!(read(&user, "b").unwrap(), 1);
        assert!(rotation.join().unwrap().is_some());
        unloading.join().unwrap();
        assert_eq!(user.secrets().unwrap().len(), 1);
        assert_eq!(vault.usage().unwrap(), user.usage().unwrap());
        assert!(vault.state.in_rotation.load().is_none());
        vault.verify().unwrap();
    });
}

#[test]
fn a_rotation_keeps_nothing_of_a_user_when_locking_has_returned() {
    in_all_orders(|| {
        let (vault, user) = vault_with(&["a"]);
        user.unload();
        let rotation = rotation(&vault);
        vault.lock().unwrap();
        assert!(vault.state.in_rotation.load().is_none());
        rotation.join().unwrap();
        assert!(vault.state.in_rotation.load().is_none());
        vault.unlock(key()).unwrap();
        assert_eq!(read(&user, "a").unwrap(), 0);
        vault.verify().unwrap();
    });
}

#[test]
fn who_had_a_key_that_was_changed_does_not_unlock() {
    in_all_orders(|| {
        let vault = vault();
        let changing = vault.clone();
        let change = thread::spawn(move || {
            let new = KeySource::raw([8; 32]);
            changing.change_key(key(), new).unwrap();
            changing.lock().unwrap();
        });
        if let Err(error) = vault.unlock(key()) {
            assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
        }
        change.join().unwrap();
        assert!(vault.is_locked());
        vault.unlock(KeySource::raw([8; 32])).unwrap();
    });
}

#[test]
fn locking_waits_for_no_check_however_the_keys_are_replaced() {
    in_all_orders(|| {
        let (vault, _) = vault_with(&["a", "b"]);
        let rotation = rotation(&vault);
        let checking = vault.clone();
        let check = thread::spawn(move || {
            locked(checking.verify());
        });
        vault.lock().unwrap();
        rotation.join().unwrap();
        check.join().unwrap();
        vault.unlock(key()).unwrap();
        vault.verify().unwrap();
    });
}
