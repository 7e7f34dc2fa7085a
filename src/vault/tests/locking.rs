//! What locking leaves behind, what unlocking checks, and what every write counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use uuid::Uuid;

use super::*;
use crate::{
    SecretPatch,
    crypto::KeyRing,
    error::ErrorKind,
    storage::{Transaction, UserChange},
};

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

fn vault() -> Vault {
    let vault = Vault::builder().in_memory_with_key(raw(1)).unwrap();
    vault.user(UserId::LOCAL).create(secret("a")).unwrap();
    vault
}

#[test]
fn no_call_has_the_keys_when_the_vault_has_been_locked() {
    let vault = vault();
    let keys = Arc::downgrade(&vault.state.keys().unwrap());
    let user = vault.user(UserId::LOCAL).user;
    let working = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let work = |_: &_, _: &_| {
                working.store(true, Ordering::Release);
                // The vault is being locked meanwhile, and this call goes on for a while.
                while !vault.state.is_locked() {
                    thread::yield_now();
                }
                for _ in 0..1000 {
                    thread::yield_now();
                    assert!(
                        keys.strong_count() > 0,
                        "they are wiped in the middle of a call"
                    );
                }
                Ok(())
            };
            vault.state.read(&user, work).unwrap();
        });
        while !working.load(Ordering::Acquire) {
            thread::yield_now();
        }
        vault.lock().unwrap();
        assert_eq!(keys.strong_count(), 0);
    });
}

#[test]
fn who_works_with_the_old_keys_can_open_what_is_written_meanwhile() {
    let vault = vault();
    let user = vault.user(UserId::LOCAL);
    let old = Arc::as_ptr(&vault.state.keys().unwrap()).addr();
    thread::scope(|scope| {
        let work = |keys: &KeyRing, _: &_| {
            scope.spawn(|| vault.rotate_data_key(raw(1)).unwrap());
            while Arc::as_ptr(&vault.state.keys().unwrap()).addr() == old {
                thread::yield_now();
            }
            user.update("a", SecretPatch::new().value("written-meanwhile"))
                .unwrap();
            let snapshot = user.user.snapshot.load_full().unwrap();
            let entry = snapshot.by_name("a").unwrap();
            entry.open(keys).map(drop)
        };
        vault.state.read(&user.user, work).unwrap();
    });
    vault.verify().unwrap();
}

#[test]
fn a_user_holds_on_to_the_vault() {
    let vault = vault();
    let keys = Arc::downgrade(&vault.state.keys().unwrap());
    let user = vault.user(UserId::LOCAL);
    drop(vault);
    assert_eq!(user.secrets().unwrap().len(), 1);
    user.create(secret("c")).unwrap();
    drop(user);
    assert_eq!(
        keys.strong_count(),
        0,
        "they are wiped with the last holder"
    );
}

#[test]
fn no_snapshot_of_a_user_outlives_locking() {
    let vault = vault();
    let user = vault.user(UserId::LOCAL).user;
    let snapshot = Arc::downgrade(&user.snapshot.load_full().unwrap());
    vault.lock().unwrap();
    assert!(snapshot.upgrade().is_none());
    assert!(user.snapshot.load().is_none());
}

#[test]
fn what_went_away_while_the_vault_was_locked_is_found_when_it_is_unlocked() {
    let vault = vault();
    let lost = UserId::new(Uuid::from_u128(1));
    vault.user(lost).create(secret("b")).unwrap();
    let tag = vault.state.keys().unwrap().user_tag(lost);
    let storage = &vault.state.storage;
    let (before, root_before) = (storage.keys().unwrap(), storage.vault_root().unwrap());
    vault.add_key(raw(1), raw(2)).unwrap();
    let (now, root_now) = (storage.keys().unwrap(), storage.vault_root().unwrap());
    vault.lock().unwrap();

    // The vault's root is the one that the vault left, but for the last case.
    let put = |keys: &Option<Vec<u8>>| {
        let keys = Transaction {
            keys: keys.clone(),
            ..Transaction::default()
        };
        storage.commit(keys).unwrap();
    };
    put(&before);
    let error = vault.unlock(raw(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack, "key slots");
    put(&now);
    let change = |expected, root, put| Transaction {
        users: vec![UserChange {
            user: tag,
            expected,
            root,
            put,
            delete: Vec::new(),
        }],
        ..Transaction::default()
    };
    let user = storage.user(tag).unwrap().unwrap();
    let root = Some(user.root);
    storage
        .commit(change(root.clone(), None, Vec::new()))
        .unwrap();
    let error = vault.unlock(raw(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack, "a user");
    storage.commit(change(None, root, user.rows)).unwrap();
    let put = |root| {
        let root = Transaction {
            vault_root: root,
            ..Transaction::default()
        };
        storage.commit(root).unwrap();
    };
    put(root_before);
    let error = vault.unlock(raw(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack, "the root alone");
    put(root_now);
    vault.unlock(raw(2)).unwrap();
    vault.verify().unwrap();
}

#[test]
fn every_write_counts() {
    let vault = vault();
    let user = vault.user(UserId::LOCAL);
    let mut expected = 1;
    let mut check = |what: &str| {
        let keys = vault.state.keys().unwrap();
        let tag = keys.user_tag(UserId::LOCAL);
        let stored = vault.state.storage.user(tag).unwrap().unwrap();
        let found = keys.open_user_root(tag, &stored.root).unwrap().counter;
        assert_eq!(found, expected, "{what}");
        expected += 1;
    };
    check("the first");
    user.create(secret("b")).unwrap();
    check("create");
    user.update("b", SecretPatch::new().name("c")).unwrap();
    check("update");
    user.batch(|batch| {
        batch.create(secret("d"));
        batch.create(secret("e"));
    })
    .unwrap();
    check("batch");
    user.delete("d").unwrap();
    check("delete");
    vault.rotate_data_key(raw(1)).unwrap();
    check("rotation");
}

#[test]
fn locking_amid_calls_ends_in_locked_or_in_a_whole_result() {
    let vault = Vault::builder()
        .in_memory_with_key(KeySource::raw([7; 32]))
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let mut args = Map::new();
                    match user.inject(&ToolCall::new("t"), &mut args) {
                        Ok(_) => assert_eq!(args["a"], "value-of-a"),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Locked);
                            assert!(args.is_empty());
                        }
                    }
                    match user.update("a", SecretPatch::new().value("value-of-a")) {
                        Ok(info) => assert_eq!(info.secret_name, "a"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Locked),
                    }
                }
            });
        }
        for _ in 0..100 {
            vault.lock().unwrap();
            assert_eq!(user.secrets().unwrap_err().kind(), ErrorKind::Locked);
            vault.unlock(KeySource::raw([7; 32])).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    vault.verify().unwrap();
}
