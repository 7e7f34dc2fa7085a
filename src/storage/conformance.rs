//! The behavior required of every store.

use super::*;
use crate::sealed::Sealed;

pub(super) fn root(byte: u8) -> SealedRoot {
    SealedRoot {
        key_id: 1,
        root: Sealed::new([byte; 60]),
    }
}

pub(super) fn row(byte: u8) -> Arc<SealedRow> {
    Arc::new(SealedRow {
        key_id: 1,
        metadata: Sealed::new([byte; 80]),
        value: Sealed::new([byte; 50]),
    })
}

const ALICE: UserTag = UserTag([1; 16]);
const BOB: UserTag = UserTag([2; 16]);

fn write(user: UserTag, expected: Option<u8>, new: Option<u8>) -> UserChange {
    UserChange {
        user,
        expected: expected.map(root),
        root: new.map(root),
        put: Vec::new(),
        delete: Vec::new(),
    }
}

fn commit(store: &dyn Storage, users: Vec<UserChange>) {
    let transaction = Transaction {
        users,
        ..Transaction::default()
    };
    store.commit(transaction).unwrap();
}

fn rows(store: &dyn Storage, user: UserTag) -> Vec<(RowTag, Arc<SealedRow>)> {
    let mut rows = store
        .user(user)
        .unwrap()
        .map_or_else(Vec::new, |user| user.rows);
    rows.sort_by_key(|(tag, _)| *tag);
    rows
}

pub(crate) fn check(new_store: impl Fn() -> Box<dyn Storage>) {
    an_empty_store_has_nothing(&*new_store());
    keys_are_kept_until_others_are_given(&*new_store());
    a_transaction_is_kept(&*new_store());
    a_changed_root_stops_the_whole_transaction(&*new_store());
    users_are_apart(&*new_store());
    a_user_without_a_root_is_gone(&*new_store());
    users_change_together_or_not_at_all(&*new_store());
    a_scan_shows_everything_as_it_was(&*new_store());
    compacting_changes_nothing(&*new_store());
}

fn an_empty_store_has_nothing(store: &dyn Storage) {
    assert!(store.keys().unwrap().is_none());
    assert!(store.vault_root().unwrap().is_none());
    assert!(store.user_roots().unwrap().is_empty());
    assert!(store.user(ALICE).unwrap().is_none());
}

fn a_transaction_is_kept(store: &dyn Storage) {
    let mut first = write(ALICE, None, Some(1));
    first.put = vec![(RowTag([1; 16]), row(1)), (RowTag([2; 16]), row(2))];
    store
        .commit(Transaction {
            keys: None,
            vault_root: Some(root(100)),
            users: vec![first],
        })
        .unwrap();
    let mut second = write(ALICE, Some(1), Some(2));
    second.put = vec![(RowTag([2; 16]), row(22)), (RowTag([3; 16]), row(3))];
    second.delete = vec![RowTag([1; 16])];
    commit(store, vec![second]);
    assert_eq!(store.vault_root().unwrap(), Some(root(100)));
    assert_eq!(store.user(ALICE).unwrap().unwrap().root, root(2));
    assert_eq!(
        rows(store, ALICE),
        [(RowTag([2; 16]), row(22)), (RowTag([3; 16]), row(3))]
    );
}

fn keys_are_kept_until_others_are_given(store: &dyn Storage) {
    for keys in [Some(&b"first"[..]), None, Some(b"second, and longer"), None] {
        let before = store.keys().unwrap();
        let transaction = Transaction {
            keys: keys.map(<[u8]>::to_vec),
            ..Transaction::default()
        };
        store.commit(transaction).unwrap();
        assert_eq!(store.keys().unwrap(), keys.map(<[u8]>::to_vec).or(before));
    }
    let stopped = store.commit(Transaction {
        keys: Some(b"third".to_vec()),
        vault_root: Some(root(1)),
        users: vec![write(ALICE, Some(1), Some(2))],
    });
    assert!(matches!(stopped, Err(StorageError::RootChanged)));
    assert_eq!(store.keys().unwrap().unwrap(), b"second, and longer");
    assert!(store.vault_root().unwrap().is_none());
}

fn a_changed_root_stops_the_whole_transaction(store: &dyn Storage) {
    store
        .commit(Transaction {
            keys: None,
            vault_root: Some(root(100)),
            users: vec![write(ALICE, None, Some(1))],
        })
        .unwrap();
    for expected in [None, Some(9)] {
        for new in [Some(2), None] {
            let mut change = write(ALICE, expected, new);
            change.put = vec![(RowTag([1; 16]), row(1))];
            let result = store.commit(Transaction {
                keys: None,
                vault_root: Some(root(101)),
                users: vec![change],
            });
            assert!(matches!(result, Err(StorageError::RootChanged)));
        }
    }
    let absent = store.commit(Transaction {
        keys: None,
        vault_root: None,
        users: vec![write(BOB, Some(1), Some(2))],
    });
    assert!(matches!(absent, Err(StorageError::RootChanged)));
    assert_eq!(store.vault_root().unwrap(), Some(root(100)));
    assert_eq!(store.user_roots().unwrap(), [(ALICE, root(1))]);
    assert!(rows(store, ALICE).is_empty());
}

fn users_are_apart(store: &dyn Storage) {
    for (user, byte) in [(ALICE, 1), (BOB, 2)] {
        let mut change = write(user, None, Some(byte));
        change.put = vec![(RowTag([7; 16]), row(byte))];
        commit(store, vec![change]);
    }
    let mut change = write(ALICE, Some(1), Some(3));
    change.delete = vec![RowTag([7; 16])];
    commit(store, vec![change]);
    assert!(rows(store, ALICE).is_empty());
    assert_eq!(rows(store, BOB), [(RowTag([7; 16]), row(2))]);
    let mut roots = store.user_roots().unwrap();
    roots.sort_by_key(|(user, _)| *user);
    assert_eq!(roots, [(ALICE, root(3)), (BOB, root(2))]);
}

fn a_user_without_a_root_is_gone(store: &dyn Storage) {
    let mut change = write(ALICE, None, Some(1));
    change.put = vec![(RowTag([7; 16]), row(1))];
    commit(store, vec![change]);
    commit(store, vec![write(ALICE, Some(1), None)]);
    assert!(store.user(ALICE).unwrap().is_none());
    assert!(store.user_roots().unwrap().is_empty());
    commit(store, vec![write(ALICE, None, Some(2))]);
    assert!(rows(store, ALICE).is_empty(), "no row came back");
}

fn users_change_together_or_not_at_all(store: &dyn Storage) {
    let both = |alice: UserChange, bob: UserChange| Transaction {
        users: vec![alice, bob],
        ..Transaction::default()
    };
    store
        .commit(both(write(ALICE, None, Some(1)), write(BOB, None, Some(2))))
        .unwrap();
    for (alice, bob) in [(Some(9), Some(2)), (Some(1), Some(9))] {
        let result = store.commit(both(write(ALICE, alice, Some(3)), write(BOB, bob, Some(4))));
        assert!(matches!(result, Err(StorageError::RootChanged)));
    }
    let mut roots = store.user_roots().unwrap();
    roots.sort_by_key(|(user, _)| *user);
    assert_eq!(roots, [(ALICE, root(1)), (BOB, root(2))]);
    store
        .commit(both(
            write(ALICE, Some(1), None),
            write(BOB, Some(2), Some(3)),
        ))
        .unwrap();
    assert_eq!(store.user_roots().unwrap(), [(BOB, root(3))]);
}

/// Stores two users, the first with rows.
fn fill(store: &dyn Storage) {
    let mut alice = write(ALICE, None, Some(1));
    alice.put = (0..20).map(|i| (RowTag([i; 16]), row(i))).collect();
    let first = Transaction {
        keys: Some(b"keys".to_vec()),
        vault_root: Some(root(100)),
        users: vec![alice, write(BOB, None, Some(2))],
    };
    store.commit(first).unwrap();
}

fn a_scan_shows_everything_as_it_was(store: &dyn Storage) {
    fill(store);
    let (mut parts, mut early) = (Vec::new(), 0);
    let scan = store.scan(&mut |part| {
        parts.push(part);
        ControlFlow::Continue(())
    });
    scan.unwrap();
    assert!(matches!(
        &parts[0],
        Stored::Vault { keys: Some(keys), root: Some(found) } if keys == b"keys" && *found == root(100)
    ));
    let mut users: Vec<_> = parts
        .iter()
        .filter_map(|part| match part {
            Stored::User(tag, user) => Some((*tag, user.root.clone(), user.rows.len())),
            Stored::Vault { .. } => None,
        })
        .collect();
    users.sort_by_key(|(tag, ..)| *tag);
    assert_eq!(users, [(ALICE, root(1), 20), (BOB, root(2), 0)]);
    assert_eq!(parts.len(), 3);
    store
        .scan(&mut |_| {
            early += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(early, 1);
}

fn compacting_changes_nothing(store: &dyn Storage) {
    store.compact().unwrap();
    fill(store);
    store.compact().unwrap();
    assert_eq!(store.keys().unwrap().unwrap(), b"keys");
    assert_eq!(store.vault_root().unwrap(), Some(root(100)));
    assert_eq!(rows(store, ALICE).len(), 20);
    commit(store, vec![write(ALICE, Some(1), None)]);
    assert!(rows(store, ALICE).is_empty());
}
