//! Changing what a vault is opened with: what it leaves to who had a key, and who waits for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use super::{slots::KeySlots, *};
#[cfg(feature = "file")]
use crate::KeyProvider;
use crate::{crypto::KeyRing, error::ErrorKind};

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

/// A vault of a user with two secrets.
fn vault() -> Vault {
    let vault = Vault::builder().in_memory_with_key(raw(1)).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(secret("a")).unwrap();
    user.create(secret("b")).unwrap();
    vault
}

/// A vault of a user with twenty secrets, of which some are sealed with a new data key.
fn vault_in_rotation() -> Vault {
    let vault = vault();
    let user = vault.user(UserId::LOCAL);
    user.batch(|batch| (0..18).for_each(|i| batch.create(secret(&i.to_string()))))
        .unwrap();
    interrupt_rotation(&vault);
    vault
}

/// The keys as who can open the vault with this one may keep them.
fn kept(vault: &Vault, key: &KeySource) -> KeyRing {
    let stored = vault.state.storage.keys().unwrap().unwrap();
    KeySlots::decode(&stored).unwrap().open(key).unwrap()
}

/// Stops a rotation behind its first record.
fn interrupt_rotation(vault: &Vault) {
    let rotate = || vault.rotate_data_key_with_progress(raw(1), |_| panic!("enough"));
    catch_unwind(AssertUnwindSafe(rotate)).unwrap_err();
    assert!(vault.state.keys().unwrap().is_rotating());
}

#[test]
fn who_had_the_keys_of_an_interrupted_rotation_opens_nothing_of_what_comes_after_the_next() {
    let vault = vault();
    let lost = vault.add_key(raw(1), raw(2)).unwrap();
    interrupt_rotation(&vault);
    let kept = kept(&vault, &raw(2));

    vault.remove_key_slot(lost.id).unwrap();
    vault.rotate_master_key([raw(1)]).unwrap();
    vault.rotate_data_key(raw(1)).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(secret("new")).unwrap();
    let snapshot = user.user.snapshot.load_full().unwrap();
    for name in ["a", "b", "new"] {
        let opened = snapshot.by_name(name).unwrap().open(&kept);
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
    }
    assert!(!vault.state.keys().unwrap().is_rotating());
    vault.verify().unwrap();
}

#[test]
fn a_wrong_key_is_noticed_before_an_interrupted_rotation_goes_on() {
    let vault = vault_in_rotation();
    let goes_on = |_| panic!("something is sealed again");
    let error = vault
        .rotate_data_key_with_progress(raw(9), goes_on)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    vault.rotate_data_key(raw(1)).unwrap();
}

#[test]
fn a_rotation_that_goes_on_tells_of_both() {
    let vault = vault_in_rotation();
    let mut told: Vec<Progress> = Vec::new();
    vault
        .rotate_data_key_with_progress(raw(1), |progress| told.push(progress))
        .unwrap();
    // Eight of twenty were done before. What the first round leaves to do is not known until it ends.
    let told = told.iter().map(|progress| (progress.done, progress.total));
    let expected = [(8, 40), (12, 40), (20, 32), (28, 32), (32, 32)];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// There may be more users than there is memory for.
#[test]
fn a_rotation_leaves_in_memory_whom_it_found_there() {
    let vault = vault();
    let [loaded, unloaded] = loaded_and_unloaded(&vault);
    let is_loaded = |user: &UserVault| user.user.snapshot.load().is_some();
    let as_found = || is_loaded(&loaded) && !is_loaded(&unloaded);
    let rotate = || vault.rotate_data_key_with_progress(raw(1), |_| assert!(as_found()));
    rotate().unwrap();
    assert!(as_found());
    assert!(vault.state.in_rotation.load().is_none());

    unloaded.load().unwrap();
    assert!(is_loaded(&unloaded));
    assert_eq!(unloaded.secrets().unwrap().len(), 20);
    vault.lock().unwrap();
    assert_eq!(unloaded.load().unwrap_err().kind(), ErrorKind::Locked);
}

/// One user with two secrets and one with twenty, for whom a rotation takes several steps.
fn loaded_and_unloaded(vault: &Vault) -> [UserVault; 2] {
    let users = [UserId::LOCAL, UserId::new(uuid::Uuid::from_u128(1))].map(|user| vault.user(user));
    users[1]
        .batch(|batch| (0..20).for_each(|i| batch.create(secret(&i.to_string()))))
        .unwrap();
    users[1].unload();
    users
}

#[test]
fn who_is_not_loaded_is_written_and_unloaded_in_the_midst_of_a_rotation() {
    let vault = vault();
    let [_, user] = loaded_and_unloaded(&vault);
    let mut left: Vec<_> = (0..20).map(|i| i.to_string()).collect();
    let mut kept = Vec::new();
    vault
        .rotate_data_key_with_progress(raw(1), |_| {
            user.delete(&*left.pop().unwrap()).unwrap();
            user.unload();
            if let Some(snapshot) = vault.state.in_rotation.load_full() {
                kept.push(snapshot.entries().size());
            }
        })
        .unwrap();
    assert!(kept.contains(&18), "{kept:?}");
    let names = user.secrets().unwrap().into_iter();
    assert!(names.map(|info| info.secret_name).eq(left));
    vault.verify().unwrap();

    // The user is gone in the midst.
    vault
        .rotate_data_key_with_progress(raw(1), |_| vault.delete_user(user.id()).unwrap())
        .unwrap();
    assert!(user.secrets().unwrap().is_empty());
    vault.verify().unwrap();
}

#[test]
fn a_rotation_keeps_nothing_of_a_user_when_the_vault_is_locked_or_it_panics() {
    let vault = vault();
    let [_, user] = loaded_and_unloaded(&vault);
    let is_kept = || vault.state.in_rotation.load().is_some();
    let lock = |_| {
        if is_kept() {
            vault.lock().unwrap();
            assert!(!is_kept());
        }
    };
    let error = vault
        .rotate_data_key_with_progress(raw(1), lock)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    vault.unlock(raw(1)).unwrap();

    let panic = |_| assert!(!is_kept(), "enough");
    let rotate = || vault.rotate_data_key_with_progress(raw(1), panic);
    catch_unwind(AssertUnwindSafe(rotate)).unwrap_err();
    assert!(!is_kept());
    vault.rotate_data_key(raw(1)).unwrap();
    assert_eq!(user.secrets().unwrap().len(), 20);
}

/// Such a user has a root, which is sealed with a data key as well.
#[test]
fn a_user_whose_secrets_are_gone_outlives_the_data_key() {
    let vault = vault();
    let user = vault.user(UserId::LOCAL);
    for name in ["a", "b"] {
        user.delete(name).unwrap();
    }
    vault.rotate_data_key(raw(1)).unwrap();
    vault.verify().unwrap();
    vault.lock().unwrap();
    vault.unlock(raw(1)).unwrap();
    assert!(user.secrets().unwrap().is_empty());
    user.create(secret("c")).unwrap();
    vault.verify().unwrap();
}

/// A rotation waits for the check, and locking for the rotation.
#[test]
fn locking_ends_a_check_that_a_rotation_waits_for() {
    let vault = vault();
    let address = || Arc::as_ptr(&vault.state.keys().unwrap()).addr();
    let old = address();
    let checked = thread::scope(|scope| {
        vault.verify_with_progress(|progress| {
            if progress.done > 1 {
                return;
            }
            scope.spawn(|| drop(vault.rotate_data_key(raw(1))));
            while address() == old {
                thread::yield_now();
            }
            scope.spawn(|| vault.lock().unwrap());
            while vault.state.still_unlocked().is_ok() {
                thread::yield_now();
            }
        })
    });
    assert_eq!(checked.unwrap_err().kind(), ErrorKind::Locked);
    assert!(vault.is_locked());
    vault.unlock(raw(1)).unwrap();
    vault.verify().unwrap();
}

/// A provider such as a keyring keeps something for each key that it wraps.
#[cfg(feature = "file")]
#[test]
fn no_provider_wraps_a_key_for_a_snapshot() {
    use std::sync::atomic::AtomicU32;

    type Failed = Box<dyn std::error::Error + Send + Sync>;

    #[derive(Default)]
    struct Counting(AtomicU32);

    impl KeyProvider for Counting {
        fn wrap(&self, key: &[u8; 32], _: &[u8]) -> Result<Vec<u8>, Failed> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(key.to_vec())
        }

        fn unwrap(&self, wrapped: &[u8], _: &[u8], key: &mut [u8; 32]) -> Result<(), Failed> {
            *key = wrapped.try_into()?;
            Ok(())
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let counting = Arc::new(Counting::default());
    let source = || KeySource::provider(Arc::clone(&counting));
    drop(Vault::create(&path, source()).unwrap());
    // A process that another test starts has the file for a moment.
    let waiting = Vault::builder().wait(std::time::Duration::MAX);
    let snapshot = waiting.snapshot(&path, source()).unwrap();
    let errors = [
        snapshot.add_key(source(), source()).unwrap_err(),
        snapshot.change_key(source(), source()).unwrap_err(),
        snapshot.rotate_master_key([source()]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let wrapped = counting.0.load(Ordering::Relaxed);
    assert_eq!(wrapped, 1, "only that of the vault itself");
}
