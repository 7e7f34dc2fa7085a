//! Tampering: a store whose rows, roots and keys a forger has rearranged or changed.
//!
//! The forger has every state that the vault was ever in, another vault with the same key, and no key. What he makes of
//! them is opened. It is then a state that was once committed, as a whole, or an error of a kind that says so: when the
//! vault opens, or when the user is first used. With the anchor of the last state, it is that state or an error.

use std::sync::Arc;

use self::forger::*;
use super::*;
use crate::{
    ErrorKind,
    crypto::checksum,
    sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag},
    storage::{MemoryStorage, Storage, Transaction, UserChange},
};

mod forger;

#[test]
fn what_was_committed_opens() {
    let mut attack = Forger::new();
    let all: Vec<Contents> = attack.states().map(|state| state.stored.clone()).collect();
    for (i, stored) in all.iter().enumerate() {
        attack.judge(&format!("state {i}"), stored);
    }
    let Outcomes {
        unchanged, earlier, ..
    } = attack.outcomes;
    assert_eq!((unchanged, earlier as usize), (1, all.len() - 1));
}

#[test]
fn no_two_rows_can_be_exchanged() {
    let mut attack = Forger::new();
    let now = attack.now();
    let places = now.places();
    for (i, &first) in places.iter().enumerate() {
        for &second in &places[i + 1..] {
            let (one, two) = (now.row(first), now.row(second));
            let exchanged = |one: SealedRow, two: SealedRow| now.with(first, two).with(second, one);
            let whole = exchanged((**one).clone(), (**two).clone());
            attack.refuse("rows", &whole);
            let values = exchanged(with_value(two, one), with_value(one, two));
            attack.refuse("metadata", &values);
            let metadata = exchanged(with_value(one, two), with_value(two, one));
            attack.refuse("values", &metadata);
        }
    }
    attack.report();
}

#[test]
fn no_row_of_another_time_place_or_vault_can_be_put_in_place() {
    let mut attack = Forger::new();
    let (now, rows) = (attack.now(), attack.rows());
    let new = RowTag([9; 16]);
    for user in now.users.keys() {
        for row in &rows {
            attack.refuse("a row more", &now.with((*user, new), (**row).clone()));
        }
    }
    for place in now.places() {
        let own = Arc::clone(now.row(place));
        for row in rows.iter().filter(|row| **row != own) {
            attack.refuse("another row", &now.with(place, (**row).clone()));
            // With the metadata of another, it would be bound elsewhere.
            attack.refuse("another's value", &now.with(place, with_value(&own, row)));
            attack.refuse(
                "another's metadata",
                &now.with(place, with_value(row, &own)),
            );
        }
        for key_id in [0, 1, 3, u32::MAX] {
            let row = SealedRow {
                key_id,
                ..(*own).clone()
            };
            attack.refuse("another data key", &now.with(place, row));
        }
        let mut gone = now.clone();
        gone.rows(place.0).remove(&place.1);
        attack.refuse("a row less", &gone);
        for user in now.users.keys().filter(|user| **user != place.0) {
            attack.refuse(
                "a row of two users",
                &now.with((*user, place.1), (*own).clone()),
            );
            let moved = gone.with((*user, place.1), (*own).clone());
            attack.refuse("a row of another user", &moved);
        }
    }
    attack.report();
}

#[test]
fn no_user_can_be_put_in_anothers_place_or_time() {
    let mut attack = Forger::new();
    let now = attack.now();
    let users: Vec<(UserTag, (SealedRoot, Rows))> = attack
        .states()
        .flat_map(|state| state.stored.users.clone())
        .collect();
    for (tag, user) in &users {
        for at in now.users.keys().copied().chain([*tag, UserTag([9; 16])]) {
            let mut forged = now.clone();
            if forged.users.insert(at, user.clone()).as_ref() != Some(user) {
                attack.refuse("another user", &forged);
            }
            let mut forged = now.clone();
            if let Some((root, _)) = forged.users.get_mut(&at)
                && *root != user.0
            {
                *root = user.0.clone();
                attack.refuse("another root", &forged);
            }
        }
    }
    for tag in now.users.keys() {
        let mut forged = now.clone();
        forged.users.remove(tag);
        attack.refuse("a user less", &forged);
        let mut forged = now.clone();
        forged.rows(*tag).clear();
        attack.refuse("a user without rows", &forged);
    }
    attack.report();
}

/// Keys, root and users, each of any state of either vault.
#[test]
fn parts_of_different_states_make_none() {
    let mut attack = Forger::new();
    let all: Vec<Contents> = attack.states().map(|state| state.stored.clone()).collect();
    let mut committed = 0;
    for keys in &all {
        for root in &all {
            for users in &all {
                let forged = Contents {
                    keys: keys.keys.clone(),
                    root: root.root.clone(),
                    users: users.users.clone(),
                };
                if all.contains(&forged) {
                    committed += 1;
                    attack.judge("a state", &forged);
                } else {
                    attack.refuse("parts", &forged);
                }
            }
        }
    }
    println!("{committed} were states");
    attack.report();
}

/// Every sealed thing with each byte changed, or of another length.
#[test]
fn no_byte_of_a_row_or_a_root_can_be_changed() {
    let mut attack = Forger::new();
    let now = attack.now();
    let variants = |sealed: &Sealed| -> Vec<Sealed> {
        let bytes = sealed.as_bytes();
        let flips = (0..bytes.len()).flat_map(|at| {
            [0x01, 0x80, 0xFF].map(|mask| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= mask;
                bytes
            })
        });
        let lengths = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let longer = [bytes, &[0]].concat();
        flips
            .chain(lengths)
            .chain([longer])
            .map(Sealed::new)
            .collect()
    };
    for place in now.places() {
        let row = now.row(place);
        for value in variants(&row.value) {
            let row = SealedRow {
                value,
                ..(**row).clone()
            };
            attack.refuse("a value", &now.with(place, row));
        }
        for metadata in variants(&row.metadata) {
            let row = SealedRow {
                metadata,
                ..(**row).clone()
            };
            attack.refuse("metadata", &now.with(place, row));
        }
    }
    let mut forged = now.clone();
    for root in variants(&now.root.root) {
        forged.root.root = root;
        attack.refuse("the vault's root", &forged);
    }
    for (tag, (root, _)) in &now.users {
        for variant in variants(&root.root) {
            let mut forged = now.clone();
            forged.users.get_mut(tag).unwrap().0.root = variant;
            attack.refuse("a user's root", &forged);
        }
    }
    attack.report();
}

/// Otherwise a damaged user would keep everybody else from being checked, copied and exported.
#[test]
fn a_user_whose_rows_are_not_what_they_were_can_be_deleted() {
    let attack = Forger::new();
    let now = attack.now();
    let changes: [fn(&mut Rows); 3] = [
        |rows| drop(rows.pop_first()),
        |rows| {
            let row = Arc::clone(&rows[rows.keys().next().unwrap()]);
            rows.insert(RowTag([9; 16]), row);
        },
        |rows| {
            let row = Arc::make_mut(rows.values_mut().next().unwrap());
            row.metadata = Sealed::new([1; 9]);
        },
    ];
    let users = USERS.iter().zip(&attack.own.last().users);
    let users: Vec<_> = users.filter(|(_, seen)| !seen.0.is_empty()).collect();
    assert!(users.len() > 1);
    for change in changes {
        for (damaged, _) in &users {
            let mut forged = now.clone();
            let keys = now.open(None).unwrap().state.keys().unwrap();
            change(forged.rows(keys.user_tag(**damaged)));
            let vault = forged.open(None).unwrap();
            assert_refused("a damaged user", &see(&vault, **damaged).unwrap_err());
            assert_refused("all", &vault.verify().unwrap_err());

            vault.delete_user(**damaged).unwrap();
            vault.verify().unwrap();
            let left: Vec<UserId> = users
                .iter()
                .map(|(user, _)| **user)
                .filter(|user| user != *damaged)
                .collect();
            assert_eq!(vault.users().unwrap(), left);
            for (user, seen) in &users {
                let secrets = vault.user(**user).secrets().unwrap();
                let is_left = left.contains(user);
                assert_eq!(secrets, if is_left { seen.0.clone() } else { Vec::new() });
            }
            let again = NewSecret::new("again", "4QvT9sLm");
            vault.user(**damaged).create(again).unwrap();
            vault.verify().unwrap();
        }
    }
}

/// The checksum of the keys is not keyed: a forger makes another.
#[test]
fn no_byte_of_the_keys_can_be_changed() {
    let mut attack = Forger::new();
    let now = attack.now();
    let body = &now.keys[..now.keys.len() - 32];
    let mut forged = now.clone();
    for at in 0..body.len() {
        for mask in [0x01, 0x80, 0xFF] {
            let mut body = body.to_vec();
            body[at] ^= mask;
            forged.keys = [&body[..], &now.keys[body.len()..]].concat();
            attack.refuse("with the old checksum", &forged);
            let sum = checksum(&body);
            forged.keys = [&body[..], &sum].concat();
            attack.refuse("with its checksum", &forged);
        }
        forged.keys = now.keys[..at].to_vec();
        attack.refuse("shorter", &forged);
        forged.keys = [&body[..at], &checksum(&body[..at])].concat();
        attack.refuse("shorter, with its checksum", &forged);
    }
    attack.report();
}

/// Puts what was stored in the place of what is, behind the back of a vault that is open.
fn replace_keys(vault: &Vault, keys: Vec<u8>) {
    let keys = Transaction {
        keys: Some(keys),
        ..Transaction::default()
    };
    vault.state.storage.commit(keys).unwrap();
}

#[test]
fn keys_that_were_put_back_under_an_open_vault_are_not_taken_over() {
    type Change = fn(&Vault) -> Result<(), Error>;
    let changes: [(&str, Change); 6] = [
        ("unlock", |vault| vault.unlock(raw(8))),
        ("add", |vault| vault.add_key(raw(7), raw(9)).map(drop)),
        ("change", |vault| vault.change_key(raw(7), raw(9)).map(drop)),
        ("remove", |vault| vault.remove_key_slot(1)),
        ("rotate the master key", |vault| {
            vault.rotate_master_key([raw(7)])
        }),
        ("rotate the data key", |vault| vault.rotate_data_key(raw(7))),
    ];
    for (what, change) in changes {
        let vault = Vault::builder().in_memory_with_key(key()).unwrap();
        let lost = vault.add_key(key(), raw(8)).unwrap();
        let old = Contents::of(&*vault.state.storage).keys;
        vault.remove_key_slot(lost.id).unwrap();
        let now = Contents::of(&*vault.state.storage).keys;
        replace_keys(&vault, old);
        let error = change(&vault).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::RolledBack, "{what}: {error}");
        replace_keys(&vault, now);
        vault.verify().unwrap();
        vault.lock().unwrap();
        assert_eq!(
            vault.unlock(raw(8)).unwrap_err().kind(),
            ErrorKind::WrongKey
        );
        vault.unlock(key()).unwrap();
    }
}

#[test]
fn keys_that_were_put_back_under_an_open_vault_are_found_and_not_copied() {
    let vault = Vault::builder().in_memory_with_key(key()).unwrap();
    let old = Contents::of(&*vault.state.storage).keys;
    vault.add_key(key(), raw(8)).unwrap();
    let now = Contents::of(&*vault.state.storage).keys;
    replace_keys(&vault, old);
    assert_found_and_not_copied(&vault);
    replace_keys(&vault, now);
    let dir = tempfile::tempdir().unwrap();
    vault.backup(dir.path().join("copy")).unwrap();
}

/// The users' roots and the keys are those that were stored last, but a copy would have them beside an older root.
#[test]
fn a_root_that_was_put_back_under_an_open_vault_is_found_and_not_copied() {
    let vault = Vault::builder().in_memory_with_key(key()).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    let old = Contents::of(&*vault.state.storage).root;
    user.create(secret("b")).unwrap();
    vault.verify().unwrap();
    let root = Transaction {
        vault_root: Some(old),
        ..Transaction::default()
    };
    vault.state.storage.commit(root).unwrap();
    assert_found_and_not_copied(&vault);
}

#[test]
fn what_was_changed_under_an_open_vault_is_told_whatever_finds_it() {
    let now = Forger::new().now();
    let keys = now.open(None).unwrap().state.keys().unwrap();
    let user = *USERS
        .iter()
        .find(|user| now.users.contains_key(&keys.user_tag(**user)))
        .unwrap();
    let tag = keys.user_tag(user);
    let (root, _) = now.users[&tag].clone();

    let told = Arc::new(Told::default());
    let vault = now.open_and_tell(None, Arc::clone(&told)).unwrap();
    let storage = &vault.state.storage;
    let removed = UserChange {
        user: tag,
        expected: Some(root),
        root: None,
        put: Vec::new(),
        delete: Vec::new(),
    };
    let removed = Transaction {
        users: vec![removed],
        ..Transaction::default()
    };
    vault.user(user).secrets().unwrap();
    storage.commit(removed).unwrap();
    told.assert_told("users", &vault.users().unwrap_err(), None);
    let error = vault.delete_user(user).unwrap_err();
    told.assert_told("delete", &error, Some(user));

    replace_keys(&vault, vec![0; 100]);
    told.assert_told("slots", &vault.key_slots().unwrap_err(), None);
}

#[track_caller]
fn assert_found_and_not_copied(vault: &Vault) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    for error in [
        vault.verify().unwrap_err(),
        vault.backup(&path).unwrap_err(),
        vault.export(&path, raw(9)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::RolledBack, "{error}");
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_store_without_its_keys_or_its_root_is_corrupt_or_rolled_back() {
    let now = Forger::new().now();
    for (keys, root) in [(false, false), (true, false), (false, true)] {
        let storage = MemoryStorage::default();
        storage
            .commit(Transaction {
                keys: keys.then(|| now.keys.clone()),
                vault_root: root.then(|| now.root.clone()),
                users: Vec::new(),
            })
            .unwrap();
        let opened = Vault::builder().open_with(&key(), Box::new(storage));
        let error = opened.unwrap_err();
        assert_refused("nothing", &error);
    }
}
