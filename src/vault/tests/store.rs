//! A store that fails, and one that is changed behind the vault's back.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use serde_json::Map;

use super::{slots::KeySlots, *};
use crate::{
    ErrorKind, SecretPatch, ToolCall,
    crypto::{KeyRing, MasterKey, VaultId},
    sealed::{SealedRoot, UserTag},
    storage::{MemoryStorage, Storage, StorageError, Stored, Transaction, UserChange, UserRows},
};

/// A store whose writes fail on demand, and that can be written to behind the vault's back.
#[derive(Debug, Clone)]
struct TestStorage {
    inner: Arc<MemoryStorage>,
    /// How many writes still succeed.
    left: Arc<AtomicI64>,
    /// How often a user was read.
    reads: Arc<AtomicI64>,
    /// Whether nothing works any more, as after a failed commit of a file.
    stopped: Arc<AtomicBool>,
    /// What happens once, when the keys have been read.
    then: Arc<Mutex<Option<Then>>>,
}

type Then = (Vault, fn(&Vault));

impl Default for TestStorage {
    fn default() -> TestStorage {
        TestStorage {
            inner: Arc::default(),
            left: Arc::new(AtomicI64::new(i64::MAX)),
            reads: Arc::default(),
            stopped: Arc::default(),
            then: Arc::default(),
        }
    }
}

impl Storage for TestStorage {
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let keys = self.inner.keys();
        let then = self.then.lock().unwrap().take();
        if let Some((vault, then)) = then {
            then(&vault);
        }
        keys
    }

    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        self.inner.vault_root()
    }

    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        self.inner.user_roots()
    }

    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(StorageError::Stopped);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.user(user)
    }

    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError> {
        self.inner.scan(visit)
    }

    fn compact(&self) -> Result<(), StorageError> {
        self.inner.compact()
    }

    fn commit(&self, transaction: Transaction) -> Result<(), StorageError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(StorageError::Failed("the disk is full".into()));
        }
        if self.stopped.load(Ordering::Relaxed) {
            return Err(StorageError::Stopped);
        }
        self.inner.commit(transaction)
    }
}

impl TestStorage {
    fn vault(&self) -> Vault {
        let keys = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let settings = Vault::builder().settings();
        Vault::new(State::create(settings, keys, None, |first| self.with(first)).unwrap())
    }

    fn with(&self, first: Transaction) -> Result<TestStorage, StorageError> {
        self.inner.commit(first)?;
        Ok(self.clone())
    }

    /// A vault that can be locked.
    fn vault_with_key(&self, key: &KeySource) -> Vault {
        let vault = VaultId::random().unwrap();
        let (master, keys) = (
            MasterKey::random().unwrap(),
            KeyRing::random(vault).unwrap(),
        );
        let settings = Vault::builder().settings();
        let slots = KeySlots::new(vault, key, settings.kdf, &master, &keys).unwrap();
        Vault::new(State::create(settings, keys, Some(&slots), |first| self.with(first)).unwrap())
    }

    fn break_after(&self, writes: i64) {
        self.left.store(writes, Ordering::Relaxed);
    }

    fn only_user(&self) -> UserTag {
        let roots = self.user_roots().unwrap();
        assert_eq!(roots.len(), 1);
        roots[0].0
    }

    /// The user's rows, as they could be put back later.
    fn copy(&self) -> UserChange {
        let user = self.only_user();
        let UserRows { root, rows } = self.user(user).unwrap().unwrap();
        UserChange {
            user,
            expected: None,
            root: Some(root),
            put: rows,
            delete: Vec::new(),
        }
    }

    /// Replaces what is stored of the user, and leaves the vault's root as it is.
    fn replace(&self, mut change: UserChange) {
        let current = self.user(change.user).unwrap();
        if let Some(UserRows { root, rows }) = current {
            change.expected = Some(root);
            let kept: Vec<_> = change.put.iter().map(|(tag, _)| *tag).collect();
            change.delete = rows
                .iter()
                .map(|(tag, _)| *tag)
                .filter(|tag| !kept.contains(tag))
                .collect();
        }
        self.inner
            .commit(Transaction {
                keys: None,
                vault_root: None,
                users: vec![change],
            })
            .unwrap();
    }
}

/// A full disk is no reason to fail the calls of an agent that is running.
#[test]
fn calls_go_on_when_the_store_has_stopped() {
    let storage = TestStorage::default();
    let vault = storage.vault();
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    let before = user.secrets().unwrap();
    storage.stopped.store(true, Ordering::Relaxed);
    for error in [
        user.update("a", SecretPatch::new().value("another-value"))
            .err(),
        user.delete("a").err(),
        vault.delete_user(UserId::LOCAL).err(),
        vault.user(UserId::new(uuid::Uuid::max())).usage().err(),
    ] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Storage);
        let mut args = Map::new();
        let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
        assert_eq!(args["a"], "value-of-a");
        assert_eq!(user.secrets().unwrap(), before);
    }
}

#[test]
fn a_write_that_the_store_fails_changes_nothing() {
    let storage = TestStorage::default();
    let vault = storage.vault();
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    let before = user.secrets().unwrap();
    let usage = vault.usage().unwrap();

    storage.break_after(0);
    let results = [
        user.create(secret("b")).err(),
        user.update("a", SecretPatch::new().value("value-of-b"))
            .err(),
        user.delete("a").err(),
        user.batch(|batch| batch.delete("a")).err(),
        vault.delete_user(UserId::LOCAL).err(),
    ];
    for (i, error) in results.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("write {i} worked"));
        assert_eq!(error.kind(), ErrorKind::Storage, "write {i}");
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "the disk is full"
        );
        assert_eq!(user.secrets().unwrap(), before, "write {i}");
        assert_eq!(
            (vault.usage().unwrap(), user.usage().unwrap()),
            (usage, usage),
            "write {i}"
        );
        vault.verify().unwrap();
    }
    let mut args = Map::new();
    let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
    assert_eq!(args["a"], "value-of-a");

    storage.break_after(i64::MAX);
    user.create(secret("b")).unwrap();
    assert_eq!(user.usage().unwrap().secrets, 2);
    vault.verify().unwrap();
}

#[test]
fn a_store_that_goes_back_under_a_running_vault_is_noticed() {
    let key = || KeySource::raw([1; 32]);
    let storage = TestStorage::default();
    let vault = storage.vault_with_key(&key());
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    let old = storage.copy();
    let root = storage.vault_root().unwrap();
    user.update("a", SecretPatch::new().value("newer-value"))
        .unwrap();

    // A user goes back: a write fails, and so does the next reading.
    storage.replace(old);
    assert_eq!(
        user.create(secret("b")).unwrap_err().kind(),
        ErrorKind::RolledBack
    );
    for _ in 0..2 {
        assert_eq!(user.secrets().unwrap_err().kind(), ErrorKind::RolledBack);
        assert_eq!(
            user.create(secret("b")).unwrap_err().kind(),
            ErrorKind::RolledBack
        );
    }
    // The whole store goes back while the vault is locked, to a state that was once committed.
    vault.lock().unwrap();
    storage
        .inner
        .commit(Transaction {
            keys: None,
            vault_root: root,
            users: Vec::new(),
        })
        .unwrap();
    assert_eq!(
        vault.unlock(key()).unwrap_err().kind(),
        ErrorKind::RolledBack
    );
    assert_eq!(user.secrets().unwrap_err().kind(), ErrorKind::Locked);
}

#[test]
fn a_user_that_went_away_under_a_running_vault_is_noticed() {
    let key = || KeySource::raw([1; 32]);
    let storage = TestStorage::default();
    let vault = storage.vault_with_key(&key());
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    vault.lock().unwrap();
    vault.unlock(key()).unwrap();
    let stored = storage.copy();
    storage.replace(UserChange {
        root: None,
        put: Vec::new(),
        ..stored
    });
    for error in [
        user.secrets().unwrap_err(),
        vault.users().unwrap_err(),
        // It would leave the user's rows to a key that it then forgets.
        vault.rotate_data_key(key()).unwrap_err(),
        vault.verify().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::RolledBack);
    }
}

#[test]
fn what_was_unloaded_is_read_again() {
    let storage = TestStorage::default();
    let vault = storage.vault_with_key(&KeySource::raw([1; 32]));
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    user.unload();
    assert_eq!(user.secrets().unwrap().len(), 1);
    let stored = storage.copy();
    storage.replace(UserChange {
        root: None,
        put: Vec::new(),
        ..stored
    });
    assert_eq!(user.secrets().unwrap().len(), 1, "it was read before");
    vault.user(UserId::LOCAL).unload();
    assert_eq!(user.secrets().unwrap_err().kind(), ErrorKind::RolledBack);
}

#[test]
fn locking_does_not_depend_on_the_store() {
    let storage = TestStorage::default();
    let vault = storage.vault_with_key(&KeySource::raw([1; 32]));
    let damaged = Transaction {
        keys: Some(b"damaged".to_vec()),
        ..Transaction::default()
    };
    storage.inner.commit(damaged).unwrap();
    vault.lock().unwrap();
    assert_eq!(vault.usage().unwrap_err().kind(), ErrorKind::Locked);
    let error = vault.unlock(KeySource::raw([1; 32])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn nothing_comes_between_the_key_slots_and_unlocking_with_them() {
    let key = |byte: u8| KeySource::raw([byte; 32]);
    let storage = TestStorage::default();
    let vault = storage.vault_with_key(&key(1));
    let then = |vault: &Vault| {
        // Whoever unlocks keeps others from changing the slots.
        if vault.state.locking.try_lock().is_ok() {
            let key = |byte: u8| KeySource::raw([byte; 32]);
            vault.change_key(key(1), key(2)).unwrap();
            vault.lock().unwrap();
        }
    };
    *storage.then.lock().unwrap() = Some((vault.clone(), then));
    vault.unlock(key(1)).unwrap();
    assert!(storage.then.lock().unwrap().is_none());
    assert_eq!(vault.key_slots().unwrap()[0].id, 1);
    vault.lock().unwrap();
    vault.unlock(key(1)).unwrap();
}

type Tamper = fn(&TestStorage, UserChange);

#[test]
fn what_was_changed_in_the_store_is_found() {
    let cases: [(&str, Tamper); 6] = [
        ("the whole user rolled back", |storage, old| {
            storage.replace(old);
        }),
        ("a row rolled back", |storage, old| {
            let mut now = storage.copy();
            let (tag, row) = &old.put[0];
            now.put
                .iter_mut()
                .find(|(other, _)| other == tag)
                .unwrap()
                .1 = Arc::clone(row);
            storage.replace(now);
        }),
        ("a row deleted", |storage, _| {
            let mut now = storage.copy();
            now.put.pop();
            storage.replace(now);
        }),
        ("two rows exchanged", |storage, _| {
            let mut now = storage.copy();
            let (first, second) = (now.put[0].0, now.put[1].0);
            (now.put[0].0, now.put[1].0) = (second, first);
            storage.replace(now);
        }),
        ("two values exchanged", |storage, _| {
            let mut now = storage.copy();
            let (first, second) = (now.put[0].1.value.clone(), now.put[1].1.value.clone());
            Arc::make_mut(&mut now.put[0].1).value = second;
            Arc::make_mut(&mut now.put[1].1).value = first;
            storage.replace(now);
        }),
        ("the user gone", |storage, old| {
            storage.replace(UserChange {
                root: None,
                put: Vec::new(),
                ..old
            });
        }),
    ];
    for (what, tamper) in cases {
        let storage = TestStorage::default();
        let vault = storage.vault_with_key(&KeySource::raw([1; 32]));
        let user = vault.user(UserId::LOCAL);
        user.batch(|batch| {
            batch.create(secret("a"));
            batch.create(secret("b"));
        })
        .unwrap();
        // Of the same length, so that usage does not tell.
        let old = storage.copy();
        user.update("a", SecretPatch::new().value("newer-valu"))
            .unwrap();
        user.update("b", SecretPatch::new().value("newer-valu"))
            .unwrap();
        vault
            .verify()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        tamper(&storage, old);
        #[cfg_attr(not(feature = "file"), expect(unused_mut, reason = "copies are files"))]
        let mut errors = vec![vault.verify().expect_err(what)];
        #[cfg(feature = "file")]
        {
            // A copy of it would take the place of a good one some day.
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("copy");
            errors.push(vault.backup(&path).expect_err(what));
            let key = KeySource::raw([2; 32]);
            errors.push(vault.export(&path, key).expect_err(what));
            assert_eq!(dir.path().read_dir().unwrap().count(), 0, "{what}");
        }
        for error in errors {
            assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::RolledBack),
                "{what}: {error}"
            );
        }
    }
}

type Change = fn(&Vault) -> Result<(), Error>;

#[test]
fn a_change_of_keys_that_is_interrupted_anywhere_loses_nothing() {
    let key = |byte: u8| KeySource::raw([byte; 32]);
    let changes: [(&str, Change); 4] = [
        ("rotate the data key", |vault| {
            vault.rotate_data_key(KeySource::raw([1; 32]))
        }),
        ("rotate the master key", |vault| {
            vault.rotate_master_key([KeySource::raw([1; 32])])
        }),
        ("add", |vault| {
            vault
                .add_key(KeySource::raw([1; 32]), KeySource::raw([2; 32]))
                .map(drop)
        }),
        ("remove", |vault| vault.remove_key_slot(2)),
    ];
    for (what, change) in changes {
        let mut writes = 0;
        loop {
            let storage = TestStorage::default();
            let vault = storage.vault_with_key(&key(1));
            vault.add_key(key(1), key(3)).unwrap();
            for id in 1..4 {
                let user = vault.user(UserId::new(uuid::Uuid::from_u128(id)));
                user.batch(|batch| (0..10).for_each(|i| batch.create(secret(&i.to_string()))))
                    .unwrap();
            }
            let usage = vault.usage().unwrap();
            storage.break_after(writes);
            let result = change(&vault);
            storage.break_after(i64::MAX);
            if let Err(error) = &result {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Storage,
                    "{what}, after {writes} writes"
                );
            }
            // In the process that was interrupted, and in the next one.
            vault
                .verify()
                .unwrap_or_else(|error| panic!("{what}, after {writes} writes: {error}"));
            vault.lock().unwrap();
            vault.unlock(key(1)).unwrap();
            vault.verify().unwrap();
            assert_eq!(vault.usage().unwrap(), usage);
            if result.is_ok() {
                break;
            }
            change(&vault).unwrap();
            vault.verify().unwrap();
            let mut args = Map::new();
            let user = vault.user(UserId::new(uuid::Uuid::from_u128(2)));
            let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
            assert_eq!(args["7"], "value-of-7");
            writes += 1;
        }
        let expected = if what == "rotate the data key" { 8 } else { 1 };
        assert_eq!(
            writes, expected,
            "{what}: two for each user, and two for the keys"
        );
    }
}

#[test]
fn what_a_store_says_has_a_kind_of_its_own_and_says_what_to_do() {
    let source = || "the store's own words".into();
    let cases = [
        (
            StorageError::RootChanged,
            ErrorKind::RolledBack,
            "restore a backup",
        ),
        (
            StorageError::RowsWithoutRoot,
            ErrorKind::RolledBack,
            "restore a backup",
        ),
        (StorageError::Exists, ErrorKind::Storage, "another path"),
        (StorageError::Missing, ErrorKind::Storage, "create a vault"),
        (StorageError::InUse, ErrorKind::InUse, "close it there"),
        (
            StorageError::Damaged(source()),
            ErrorKind::Corrupt,
            "restore a backup",
        ),
        (
            StorageError::UnsupportedVersion(7),
            ErrorKind::UnsupportedVersion,
            "version 7",
        ),
        (
            StorageError::Failed(source()),
            ErrorKind::Storage,
            "nothing changed",
        ),
        (
            StorageError::Uncertain(source()),
            ErrorKind::Storage,
            "open the vault again",
        ),
        (
            StorageError::Stopped,
            ErrorKind::Storage,
            "open the vault again",
        ),
    ];
    for (error, kind, says) in cases {
        let sourced = matches!(
            error,
            StorageError::Exists
                | StorageError::Missing
                | StorageError::Damaged(_)
                | StorageError::Failed(_)
                | StorageError::Uncertain(_)
        );
        let uncertain = matches!(error, StorageError::Uncertain(_));
        let error = super::errors::storage_error(error).at_index(0);
        assert_eq!(error.may_have_written(), uncertain, "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(std::error::Error::source(&error).is_some(), sourced);
    }
}

/// Each step of a rotation would take as long as a first use.
#[test]
fn a_rotation_reads_a_user_who_is_not_loaded_once() {
    let storage = TestStorage::default();
    let key = || KeySource::raw([7; 32]);
    let vault = storage.vault_with_key(&key());
    let user = vault.user(UserId::LOCAL);
    user.batch(|batch| (0..40).for_each(|i| batch.create(secret(&i.to_string()))))
        .unwrap();
    user.unload();
    let before = storage.reads.load(Ordering::Relaxed);
    vault.rotate_data_key(key()).unwrap();
    assert_eq!(storage.reads.load(Ordering::Relaxed) - before, 1);
    vault.verify().unwrap();
}
