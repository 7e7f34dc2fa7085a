//! What opens a vault, and what its secrets are sealed with.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use keyward::{
    Error, ErrorKind, KdfParams, KeyKind, KeyProvider, KeySource, NewSecret, SecretPatch, ToolCall,
    UserId, Vault,
};
use serde_json::Map;
use uuid::Uuid;

fn raw(byte: u8) -> KeySource {
    KeySource::raw([byte; 32])
}

/// Tests need not be slow.
fn minimum() -> KdfParams {
    KdfParams::new(19 * 1024, 2, 1).unwrap()
}

fn vault() -> Vault {
    let vault = Vault::builder()
        .kdf_params(minimum())
        .in_memory_with_key(raw(1))
        .unwrap();
    let secret = NewSecret::new("a", "value-of-a")
        .bind("t", "k")
        .default_for_tool();
    vault.user(UserId::LOCAL).create(secret).unwrap();
    vault
}

fn value(vault: &Vault) -> Result<String, Error> {
    let mut args = Map::new();
    let _ = vault
        .user(UserId::LOCAL)
        .inject(&ToolCall::new("t"), &mut args)?;
    Ok(args["k"].as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_opens(vault: &Vault, source: KeySource, opens: bool) {
    vault.lock().unwrap();
    let result = vault.unlock(source);
    if opens {
        result.unwrap();
        assert_eq!(value(vault).unwrap(), "value-of-a");
        vault.verify().unwrap();
    } else {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WrongKey);
        vault.unlock(raw(1)).unwrap();
    }
}

#[test]
fn key_slots_come_and_go() {
    let vault = vault();
    let kinds = |vault: &Vault| -> Vec<_> {
        vault
            .key_slots()
            .unwrap()
            .into_iter()
            .map(|slot| (slot.id, slot.kind))
            .collect()
    };
    assert_eq!(kinds(&vault), [(1, KeyKind::Raw)]);
    assert_opens(&vault, KeySource::passphrase("correct horse"), false);
    let second = vault
        .add_key(raw(1), KeySource::passphrase("correct horse"))
        .unwrap();
    assert_eq!(kinds(&vault), [(1, KeyKind::Raw), (2, KeyKind::Passphrase)]);
    let kdfs: Vec<_> = vault.key_slots().unwrap();
    let kdfs: Vec<_> = kdfs.iter().map(|slot| slot.kdf).collect();
    assert_eq!(kdfs, [None, Some(minimum())]);
    let kdf = KdfParams::new(20 * 1024, 3, 2).unwrap();
    assert_eq!(
        (kdf.memory_kib(), kdf.passes(), kdf.lanes()),
        (20 * 1024, 3, 2)
    );
    assert_opens(&vault, raw(1), true);
    assert_opens(&vault, KeySource::passphrase("correct horse"), true);

    vault
        .change_key(
            KeySource::passphrase("correct horse"),
            KeySource::passphrase("battery staple"),
        )
        .unwrap();
    assert_eq!(kinds(&vault), [(1, KeyKind::Raw), (3, KeyKind::Passphrase)]);
    assert_opens(&vault, KeySource::passphrase("correct horse"), false);
    assert_opens(&vault, KeySource::passphrase("battery staple"), true);

    let unknown = vault.remove_key_slot(second.id).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Validation);
    vault.remove_key_slot(3).unwrap();
    assert_opens(&vault, KeySource::passphrase("battery staple"), false);
    let last = vault.remove_key_slot(1).unwrap_err();
    assert_eq!(last.kind(), ErrorKind::Validation);
    assert_opens(&vault, raw(1), true);
}

#[test]
fn a_new_slot_has_a_number_above_those_that_there_are() {
    type Step = fn(&Vault) -> Result<(), Error>;
    let vault = vault();
    let steps: [(Step, &[u32]); 6] = [
        (|vault| vault.add_key(raw(1), raw(2)).map(drop), &[1, 2]),
        (|vault| vault.add_key(raw(1), raw(3)).map(drop), &[1, 2, 3]),
        (|vault| vault.remove_key_slot(2), &[1, 3]),
        (|vault| vault.add_key(raw(1), raw(4)).map(drop), &[1, 3, 4]),
        (
            |vault| vault.change_key(raw(1), raw(5)).map(drop),
            &[5, 3, 4],
        ),
        (|vault| vault.rotate_master_key([raw(5), raw(3)]), &[6, 7]),
    ];
    for (step, expected) in steps {
        step(&vault).unwrap();
        let slots = vault.key_slots().unwrap();
        assert!(slots.iter().map(|slot| &slot.id).eq(expected), "{slots:?}");
    }
}

/// It is not another key, whatever kinds of slots there are.
#[test]
fn what_cannot_be_a_key_is_no_wrong_key() {
    let wrong: [fn() -> KeySource; 2] = [|| KeySource::passphrase(""), || KeySource::raw([1; 31])];
    let keys: [fn() -> KeySource; 2] = [|| raw(1), || KeySource::passphrase("correct horse")];
    for key in keys {
        let vault = Vault::builder().kdf_params(minimum());
        let vault = vault.in_memory_with_key(key()).unwrap();
        for wrong in wrong {
            for (what, result) in [
                ("unlock", vault.unlock(wrong())),
                ("current", vault.add_key(wrong(), raw(2)).map(drop)),
                ("new", vault.add_key(key(), wrong()).map(drop)),
                ("change", vault.change_key(wrong(), raw(2)).map(drop)),
                ("master", vault.rotate_master_key([key(), wrong()])),
                ("data", vault.rotate_data_key(wrong())),
            ] {
                let error = result.expect_err(what);
                assert_eq!(error.kind(), ErrorKind::Validation, "{what}: {error}");
            }
        }
        assert_eq!(vault.key_slots().unwrap().len(), 1);
    }
}

#[test]
fn key_slots_need_a_key_that_opens_the_vault() {
    let vault = vault();
    for error in [
        vault.add_key(raw(2), raw(3)).unwrap_err(),
        vault.change_key(raw(2), raw(3)).unwrap_err(),
        vault.rotate_master_key([raw(1), raw(2)]).unwrap_err(),
        vault.rotate_data_key(raw(2)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::WrongKey);
    }
    for error in [
        vault.add_key(raw(1), KeySource::raw([1; 31])).unwrap_err(),
        vault
            .add_key(raw(1), KeySource::passphrase(""))
            .unwrap_err(),
        vault.rotate_master_key([]).unwrap_err(),
        vault
            .rotate_master_key((0..17).map(|_| raw(1)))
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Validation);
    }
    assert_eq!(vault.key_slots().unwrap().len(), 1);
    for n in 2..=16 {
        vault.add_key(raw(1), raw(n)).unwrap();
    }
    assert_eq!(
        vault.add_key(raw(1), raw(17)).unwrap_err().kind(),
        ErrorKind::Validation
    );
    assert_opens(&vault, raw(16), true);

    let keyless = Vault::in_memory().unwrap();
    assert!(keyless.key_slots().unwrap().is_empty());
    for error in [
        keyless.add_key(raw(1), raw(2)).unwrap_err(),
        keyless.remove_key_slot(1).unwrap_err(),
        keyless.rotate_master_key([raw(1)]).unwrap_err(),
        keyless.rotate_data_key(raw(1)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_new_master_key_leaves_the_keys_that_were_given() {
    let vault = vault();
    vault.add_key(raw(1), raw(2)).unwrap();
    vault.add_key(raw(1), raw(3)).unwrap();
    vault.rotate_master_key([raw(1), raw(3)]).unwrap();
    assert_eq!(vault.key_slots().unwrap().len(), 2);
    assert_opens(&vault, raw(1), true);
    assert_opens(&vault, raw(2), false);
    assert_opens(&vault, raw(3), true);
}

#[test]
fn a_key_that_is_changed_opens_no_slot_any_more() {
    let vault = vault();
    let passphrase = || KeySource::passphrase("correct horse");
    for key in [raw(2), passphrase(), raw(3), passphrase()] {
        vault.add_key(raw(1), key).unwrap();
    }
    let changed = vault.change_key(passphrase(), raw(4)).unwrap();
    let slots = vault.key_slots().unwrap();
    let ids: Vec<_> = slots.iter().map(|slot| slot.id).collect();
    assert_eq!(ids, [1, 2, changed.id, 4]);
    assert_opens(&vault, passphrase(), false);
    for key in 1..=4 {
        assert_opens(&vault, raw(key), true);
    }
}

#[test]
fn a_new_master_key_takes_no_key_for_two() {
    let vault = vault();
    vault.add_key(raw(1), raw(2)).unwrap();
    let before = vault.anchor().unwrap();
    for keep in [[raw(1), raw(1)], [raw(2), raw(2)]] {
        let error = vault.rotate_master_key(keep).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{error}");
        assert!(error.to_string().contains("once"), "{error}");
    }
    assert_eq!(vault.anchor().unwrap(), before);
    assert_opens(&vault, raw(2), true);
    // If one key opens two slots, it is named once for each slot to keep.
    vault.add_key(raw(1), raw(1)).unwrap();
    vault.rotate_master_key([raw(1), raw(1)]).unwrap();
    assert_eq!(vault.key_slots().unwrap().len(), 2);
    vault.rotate_master_key([raw(1)]).unwrap();
    assert_eq!(vault.key_slots().unwrap().len(), 1);
    assert_opens(&vault, raw(1), true);
}

#[test]
fn rotation_seals_everything_again_while_calls_and_writes_go_on() {
    let vault = vault();
    for n in 0..3_u128 {
        vault
            .user(UserId::new(Uuid::from_u128(n)))
            .batch(|batch| {
                for i in 0..300 {
                    batch.create(NewSecret::new(
                        format!("secret-{i}"),
                        format!("value-{n}-{i}"),
                    ));
                }
            })
            .unwrap();
    }
    let usage = vault.usage().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert_eq!(value(&vault).unwrap(), "value-of-a");
            }
        });
        scope.spawn(|| {
            let mut n = 100;
            while !done.load(Ordering::Acquire) {
                // Users that are new to the vault, and one that is not.
                let user = vault.user(UserId::new(Uuid::from_u128(n)));
                user.create(NewSecret::new("new", "value-of-new")).unwrap();
                vault.delete_user(user.id()).unwrap();
                let patch = SecretPatch::new().value(format!("value-{n:06}"));
                vault
                    .user(UserId::new(Uuid::from_u128(1)))
                    .update("secret-7", patch)
                    .unwrap();
                n += 1;
            }
        });
        for _ in 0..3 {
            let mut told = Vec::new();
            vault
                .rotate_data_key_with_progress(raw(1), |progress| told.push(progress))
                .unwrap();
            assert!(
                told.is_sorted_by_key(|progress: &keyward::Progress| progress.done)
                    && told.last().unwrap().done >= 900,
                "{told:?}"
            );
        }
        done.store(true, Ordering::Release);
    });
    vault.verify().unwrap();
    assert_opens(&vault, raw(1), true);
    assert_eq!(vault.usage().unwrap().secrets, usage.secrets);
    assert_eq!(
        vault.user(UserId::LOCAL).secret("a").unwrap().revision,
        1,
        "no write of the user's"
    );
}

/// A key service that cannot be reached once its key has been wrapped.
struct Unreachable {
    wraps: bool,
}

impl KeyProvider for Unreachable {
    fn wrap(&self, key: &[u8; 32], _: &[u8]) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        self.wraps
            .then(|| key.to_vec())
            .ok_or_else(|| "503: try again".into())
    }

    fn unwrap(
        &self,
        _: &[u8],
        _: &[u8],
        _: &mut [u8; 32],
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        Err("503: try again".into())
    }
}

#[test]
fn what_a_provider_says_is_kept_whichever_slots_there_are() {
    let vault = vault();
    let mute = KeySource::provider(Unreachable { wraps: false });
    let error = vault.add_key(raw(1), mute).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(error.source().unwrap().to_string(), "503: try again");
    assert!(error.to_string().ends_with("use another key"), "{error}");

    let service = Arc::new(Unreachable { wraps: true });
    let provider = || KeySource::provider(Arc::clone(&service));
    vault.add_key(raw(1), provider()).unwrap();
    vault.add_key(raw(1), raw(2)).unwrap();
    vault.lock().unwrap();
    let error = vault.unlock(provider()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert_eq!(error.source().unwrap().to_string(), "503: try again");
    assert!(
        error.to_string().ends_with("another of the vault's keys"),
        "{error}"
    );
}

#[cfg(feature = "file")]
#[test]
fn a_passphrase_that_is_replaced_becomes_easier_to_guess_only_if_that_is_wanted() {
    let passphrase = KeySource::passphrase;
    let hard = KdfParams::new(64 * 1024, 4, 2).unwrap();
    let opened = |params: Option<KdfParams>| match params {
        Some(params) => Vault::builder().kdf_params(params),
        None => Vault::builder(),
    };
    let cases = [
        (hard, None, hard),
        (hard, Some(minimum()), minimum()),
        (minimum(), None, KdfParams::default()),
    ];
    for (made_with, opened_with, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let kdf = |vault: &Vault| vault.key_slots().unwrap()[0].kdf;
        let made = opened(Some(made_with)).create(&path, passphrase("correct horse"));
        assert_eq!(kdf(&made.unwrap()), Some(made_with));
        let vault = opened(opened_with).open(&path, passphrase("correct horse"));
        let vault = vault.unwrap();
        let changed = vault.change_key(passphrase("correct horse"), passphrase("battery staple"));
        assert_eq!(changed.unwrap().kdf, Some(expected));

        vault
            .rotate_master_key([passphrase("battery staple")])
            .unwrap();
        assert_eq!(kdf(&vault), Some(expected));
    }
}
