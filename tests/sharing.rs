//! Vaults that are read while others write to them.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use keyward::{
    Error, ErrorKind, KdfParams, KeyProvider, KeySource, NewSecret, SecretPatch, ToolCall, UserId,
    Vault, VaultBuilder,
};
use serde_json::Map;
use tempfile::TempDir;
use uuid::Uuid;

const OTHER: UserId = UserId::new(Uuid::from_u128(9));

fn key() -> KeySource {
    KeySource::raw([7; 32])
}

fn builder() -> VaultBuilder {
    // The minimum: tests need not be slow. A child of another test holds a copy of a lock between its fork and its
    // exec.
    Vault::builder()
        .kdf_params(KdfParams::new(19 * 1024, 2, 1).unwrap())
        .wait(Duration::from_secs(10))
}

fn secret(name: &str, value: &str) -> NewSecret {
    NewSecret::new(name, value)
        .bind("t", name)
        .default_for_tool()
}

/// A file with one secret for each of two users.
struct Shared(TempDir);

impl Shared {
    fn new() -> Shared {
        let shared = Shared(tempfile::tempdir().unwrap());
        let vault = builder().create(shared.path(), key()).unwrap();
        let user = vault.user(UserId::LOCAL);
        user.create(secret("a", "first-value")).unwrap();
        let other = vault.user(OTHER);
        other.create(secret("z", "value-of-z")).unwrap();
        shared
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("v")
    }

    fn snapshot(&self) -> Vault {
        builder().snapshot(self.path(), key()).unwrap()
    }

    /// What another process would do in between.
    fn write<T>(&self, work: impl FnOnce(&Vault) -> Result<T, Error>) -> T {
        work(&builder().open(self.path(), key()).unwrap()).unwrap()
    }

    fn set(&self, value: &str) {
        self.write(|vault| {
            let patch = SecretPatch::new().value(value);
            vault.user(UserId::LOCAL).update("a", patch)
        });
    }
}

#[track_caller]
fn values(vault: &Vault, user: UserId) -> Map<String, serde_json::Value> {
    let mut args = Map::new();
    let call = ToolCall::new("t");
    let _ = vault.user(user).inject(&call, &mut args).unwrap();
    args
}

#[test]
fn a_snapshot_has_what_there_was_until_it_is_reloaded() {
    let shared = Shared::new();
    let snapshot = shared.snapshot();
    let user = snapshot.user(UserId::LOCAL);
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "first-value");
    assert!(!snapshot.reload().unwrap(), "nothing has changed");

    shared.set("newer-value");
    shared.write(|vault| vault.delete_user(OTHER));
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "first-value");
    assert_eq!(values(&snapshot, OTHER)["z"], "value-of-z");
    let before = snapshot.anchor().unwrap();
    assert!(snapshot.reload().unwrap());
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "newer-value");
    assert_eq!(user.secret("a").unwrap().revision, 2);
    assert!(values(&snapshot, OTHER).is_empty());
    assert_eq!(snapshot.usage().unwrap().secrets, 1);
    assert!(snapshot.anchor().unwrap().counter() > before.counter());
    assert!(!snapshot.reload().unwrap());
    snapshot.verify().unwrap();

    // Users that were never used, and some that did not change.
    shared.write(|vault| vault.user(OTHER).create(secret("y", "value-of-y")));
    assert!(snapshot.reload().unwrap());
    assert_eq!(values(&snapshot, OTHER)["y"], "value-of-y");
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "newer-value");
}

#[test]
fn a_snapshot_lets_go_of_the_file_and_never_writes_to_it() {
    let shared = Shared::new();
    let bytes = fs::read(shared.path()).unwrap();
    let snapshots = [shared.snapshot(), shared.snapshot()];
    for snapshot in &snapshots {
        snapshot.verify().unwrap();
        snapshot.reload().unwrap();
    }
    assert!(fs::read(shared.path()).unwrap() == bytes);
    // A file that its reader may not write to.
    let mut permissions = fs::metadata(shared.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(shared.path(), permissions).unwrap();
    assert_eq!(values(&shared.snapshot(), UserId::LOCAL).len(), 1);
}

#[test]
fn a_snapshot_cannot_be_written_to() {
    let shared = Shared::new();
    let snapshot = shared.snapshot();
    let user = snapshot.user(UserId::LOCAL);
    let errors = [
        user.create(secret("b", "value-of-b")).unwrap_err(),
        user.update("a", SecretPatch::new().value("another"))
            .unwrap_err(),
        user.delete("a").unwrap_err(),
        snapshot.delete_user(UserId::LOCAL).unwrap_err(),
        snapshot
            .add_key(key(), KeySource::raw([8; 32]))
            .unwrap_err(),
        snapshot.rotate_master_key([key()]).unwrap_err(),
        snapshot.rotate_data_key(key()).unwrap_err(),
        snapshot.compact().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("snapshot"), "{error}");
    }
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "first-value");
    snapshot.verify().unwrap();

    let vault = Vault::in_memory().unwrap();
    assert_eq!(vault.reload().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_snapshot_follows_every_change_of_the_keys_with_a_key_also_the_master_keys() {
    let shared = Shared::new();
    let snapshot = shared.snapshot();
    assert_eq!(values(&snapshot, UserId::LOCAL).len(), 1);
    shared.write(|vault| vault.rotate_data_key(key()));
    assert!(snapshot.reload().unwrap());
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "first-value");
    assert_eq!(values(&snapshot, OTHER)["z"], "value-of-z");
    for _ in 0..5 {
        shared.write(|vault| vault.rotate_data_key(key()));
    }
    shared.write(|vault| vault.add_key(key(), KeySource::raw([8; 32])));
    assert!(snapshot.reload().unwrap());
    assert_eq!(snapshot.key_slots().unwrap().len(), 2);
    snapshot.lock().unwrap();
    assert_eq!(snapshot.reload().unwrap_err().kind(), ErrorKind::Locked);
    snapshot.unlock(KeySource::raw([8; 32])).unwrap();
    shared.write(|vault| vault.rotate_data_key(key()));
    assert!(
        snapshot.reload().unwrap(),
        "also when it was unlocked again"
    );
    snapshot.verify().unwrap();

    shared.write(|vault| vault.rotate_master_key([key()]));
    shared.set("newer-value");
    assert_eq!(snapshot.reload().unwrap_err().kind(), ErrorKind::WrongKey);
    let other = KeySource::raw([8; 32]);
    assert_eq!(
        snapshot.reload_with(other).unwrap_err().kind(),
        ErrorKind::WrongKey
    );
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "first-value");
    assert!(snapshot.reload_with(key()).unwrap());
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "newer-value");
    assert_eq!(values(&snapshot, OTHER)["z"], "value-of-z");
    assert!(!snapshot.reload_with(key()).unwrap(), "nothing new");
    // From now on the new master key is the one that is kept.
    shared.write(|vault| vault.rotate_data_key(key()));
    assert!(snapshot.reload().unwrap());
    snapshot.verify().unwrap();
}

type Replace = fn(&Shared, &Path);

#[test]
fn a_reload_that_fails_leaves_the_snapshot_as_it_was() {
    let cases: [(&str, Replace, ErrorKind); 6] = [
        (
            "rolled back",
            |shared, old| {
                fs::copy(old, shared.path()).unwrap();
            },
            ErrorKind::RolledBack,
        ),
        (
            "rolled back, then written to as often",
            |shared, old| {
                fs::copy(old, shared.path()).unwrap();
                shared.set("other-value");
            },
            ErrorKind::RolledBack,
        ),
        (
            "rolled back, then rotated as often and written to more often",
            |shared, old| {
                fs::copy(old, shared.path()).unwrap();
                shared.write(|vault| vault.rotate_data_key(key()));
                for _ in 0..20 {
                    shared.set("other-value");
                }
            },
            ErrorKind::RolledBack,
        ),
        (
            "gone",
            |shared, _| fs::remove_file(shared.path()).unwrap(),
            ErrorKind::Storage,
        ),
        (
            "damaged",
            |shared, _| fs::write(shared.path(), "damage").unwrap(),
            ErrorKind::Corrupt,
        ),
        (
            "another vault",
            |shared, _| {
                fs::copy(Shared::new().path(), shared.path()).unwrap();
            },
            ErrorKind::WrongKey,
        ),
    ];
    for (what, replace, kind) in cases {
        let shared = Shared::new();
        let old = shared.0.path().join("old");
        fs::copy(shared.path(), &old).unwrap();
        shared.set("newer-value");
        shared.write(|vault| vault.rotate_data_key(key()));
        let snapshot = shared.snapshot();
        assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "newer-value");
        replace(&shared, &old);
        assert_eq!(snapshot.reload().unwrap_err().kind(), kind, "{what}");
        let error = snapshot.reload_with(key()).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}");
        assert_eq!(
            values(&snapshot, UserId::LOCAL)["a"],
            "newer-value",
            "{what}"
        );
        assert_eq!(values(&snapshot, OTHER)["z"], "value-of-z", "{what}");
    }
}

/// Neither has more writes than the other, and the data key of both is the same.
#[test]
fn a_file_that_was_rolled_back_and_written_to_as_often_is_no_later_one() {
    let shared = Shared::new();
    let old = shared.0.path().join("old");
    fs::copy(shared.path(), &old).unwrap();
    shared.set("newer-value");
    let snapshot = shared.snapshot();
    fs::copy(&old, shared.path()).unwrap();
    shared.set("other-value");
    for result in [snapshot.reload(), snapshot.reload_with(key())] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::RolledBack);
    }
    assert_eq!(values(&snapshot, UserId::LOCAL)["a"], "newer-value");
}

#[test]
fn a_locked_snapshot_says_so_whatever_became_of_its_file() {
    let shared = Shared::new();
    let snapshot = shared.snapshot();
    snapshot.lock().unwrap();
    fs::remove_file(shared.path()).unwrap();
    for result in [snapshot.reload(), snapshot.reload_with(key())] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Locked);
    }
}

#[test]
fn who_has_the_vault_open_keeps_others_from_reading_it() {
    let shared = Shared::new();
    let vault = builder().open(shared.path(), key()).unwrap();
    let error = Vault::snapshot(shared.path(), key()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    // A reader that waits can read it once it is free.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let forever = builder().wait(Duration::MAX);
            values(&forever.snapshot(shared.path(), key()).unwrap(), OTHER).len()
        });
        drop(vault);
        assert_eq!(waiting.join().unwrap(), 1);
    });
}

#[test]
fn a_snapshot_that_waits_for_its_file_can_be_locked() {
    let shared = Shared::new();
    let snapshot = builder().wait(Duration::MAX);
    let snapshot = snapshot.snapshot(shared.path(), key()).unwrap();
    let vault = builder().open(shared.path(), key()).unwrap();
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            begun.store(true, Ordering::Release);
            snapshot.reload()
        });
        while !begun.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        snapshot.lock().unwrap();
        assert!(snapshot.user(UserId::LOCAL).secrets().is_err());
        drop(vault);
        let reloaded = reloading.join().unwrap();
        assert_eq!(reloaded.unwrap_err().kind(), ErrorKind::Locked);
    });
}

/// A key can take long: a passphrase to be stretched, a provider to answer. This one answers once the vault is locked.
#[test]
fn a_snapshot_can_be_locked_while_a_key_is_tried_on_it() {
    struct Slow {
        asked: mpsc::Sender<()>,
        locked: Mutex<mpsc::Receiver<()>>,
    }

    impl KeyProvider for Slow {
        fn wrap(&self, _: &[u8; 32], _: &[u8]) -> Result<Vec<u8>, Failed> {
            Ok(Vec::new())
        }

        fn unwrap(&self, _: &[u8], _: &[u8], _: &mut [u8; 32]) -> Result<(), Failed> {
            self.asked.send(())?;
            let locked = self.locked.lock().unwrap();
            Ok(locked.recv_timeout(Duration::from_mins(1))?)
        }
    }

    type Failed = Box<dyn std::error::Error + Send + Sync>;

    let shared = Shared::new();
    let (asked, was_asked) = mpsc::channel();
    let (lock, locked) = mpsc::channel();
    let slow = Slow {
        asked,
        locked: Mutex::new(locked),
    };
    let slow = Arc::new(slow);
    let source = || KeySource::provider(Arc::clone(&slow));
    shared.write(|vault| vault.add_key(key(), source()));
    let snapshot = shared.snapshot();
    shared.set("newer-value");
    let result = std::thread::scope(|scope| {
        let reload = scope.spawn(|| snapshot.reload_with(source()));
        was_asked.recv().unwrap();
        snapshot.lock().unwrap();
        lock.send(()).unwrap();
        reload.join().unwrap()
    });
    // The key that it answered with opens nothing. If it had waited in vain, the error would have a source.
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert!(std::error::Error::source(&error).is_none(), "{error:?}");
    assert!(snapshot.is_locked());
}

#[test]
fn an_anchor_is_demanded_of_a_snapshot_too() {
    let shared = Shared::new();
    let old = shared.0.path().join("old");
    fs::copy(shared.path(), &old).unwrap();
    shared.set("newer-value");
    let anchor = shared.snapshot().anchor().unwrap();
    let error = builder().anchor(anchor).snapshot(&old, key()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    builder()
        .anchor(anchor)
        .snapshot(shared.path(), key())
        .unwrap();
}

/// Ends the other threads, even if this one fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn calls_go_on_while_a_snapshot_is_reloaded() {
    let shared = Shared::new();
    shared.write(|vault| {
        vault.user(UserId::LOCAL).batch(|batch| {
            batch.update("a", SecretPatch::new().value("generation-0"));
            batch.create(secret("b", "generation-0"));
        })
    });
    let snapshot = shared.snapshot();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let args = values(&snapshot, UserId::LOCAL);
                    assert_eq!(args["a"], args["b"], "both are of one write");
                    assert_eq!(values(&snapshot, OTHER)["z"], "value-of-z");
                }
            });
        }
        let _end = End(&done);
        for generation in 1..=12 {
            let value = format!("generation-{generation}");
            shared.write(|vault| {
                if generation % 3 == 0 {
                    vault.rotate_data_key(key())?;
                }
                vault.user(UserId::LOCAL).batch(|batch| {
                    batch.update("a", SecretPatch::new().value(value.as_str()));
                    batch.update("b", SecretPatch::new().value(value.as_str()));
                })
            });
            assert!(snapshot.reload().unwrap());
            assert_eq!(values(&snapshot, UserId::LOCAL)["a"], value.as_str());
        }
    });
}

#[test]
fn a_user_can_be_first_used_while_a_snapshot_is_reloaded() {
    let shared = Shared::new();
    let users: Vec<UserId> = (100..160_u128)
        .map(|n| UserId::new(Uuid::from_u128(n)))
        .collect();
    let write = |value: &str| {
        shared.write(|vault| {
            for user in &users {
                let user = vault.user(*user);
                match user.secret("a") {
                    Ok(_) => user.update("a", SecretPatch::new().value(value))?,
                    Err(_) => user.create(secret("a", value))?,
                };
            }
            Ok(())
        });
    };
    write("generation-0");
    let snapshot = shared.snapshot();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    // Each reload drops what was loaded of all of them.
                    for user in &users {
                        assert_eq!(values(&snapshot, *user).len(), 1);
                    }
                }
            });
        }
        let _end = End(&done);
        for generation in 1..=8 {
            write(&format!("generation-{generation}"));
            assert!(snapshot.reload().unwrap());
        }
    });
}
