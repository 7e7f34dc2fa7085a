//! Copies of a vault: backups, exports and imports of them, and compacting the file.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use keyward::{
    Bounds, Error, ErrorKind, KeyProvider, KeySource, NewSecret, Quota, SecretPatch, ToolCall,
    UserId, Vault,
};
use serde_json::Map;
use tempfile::TempDir;
use uuid::Uuid;

fn key() -> KeySource {
    KeySource::raw([7; 32])
}

fn other_key() -> KeySource {
    KeySource::raw([8; 32])
}

fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(n))
}

fn secret(name: &str) -> NewSecret {
    NewSecret::new(name, format!("value-of-{name}"))
        .bind("t", name)
        .default_for_tool()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A vault of three users, one of whom has no secrets any more.
    fn vault(&self) -> Vault {
        let vault = Vault::create(self.path("v"), key()).unwrap();
        fill(&vault);
        vault
    }
}

fn fill(vault: &Vault) {
    for n in 1..=3 {
        let user = vault.user(user(n));
        user.batch(|batch| (0..20).for_each(|i| batch.create(secret(&format!("s{i}")))))
            .unwrap();
        user.update("s3", SecretPatch::new().value("newer-value").format("<{}>"))
            .unwrap();
    }
    let gone = vault.user(user(3));
    for info in gone.secrets().unwrap() {
        gone.delete(&info).unwrap();
    }
}

/// Everything that can be seen of a vault's secrets.
fn contents(
    vault: &Vault,
) -> Vec<(
    UserId,
    Vec<keyward::SecretInfo>,
    Map<String, serde_json::Value>,
)> {
    vault.verify().unwrap();
    vault
        .users()
        .unwrap()
        .into_iter()
        .map(|id| {
            let user = vault.user(id);
            let mut args = Map::new();
            let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
            (id, user.secrets().unwrap(), args)
        })
        .collect()
}

#[test]
fn a_backup_is_the_vault_as_it_was() {
    let folder = Folder::new();
    let vault = folder.vault();
    let (before, anchor, usage) = (
        contents(&vault),
        vault.anchor().unwrap(),
        vault.usage().unwrap(),
    );
    vault.backup(folder.path("backup")).unwrap();
    vault.user(user(1)).delete("s0").unwrap();
    vault.add_key(key(), other_key()).unwrap();

    let backup = Vault::open(folder.path("backup"), key()).unwrap();
    assert_eq!(contents(&backup), before);
    assert_eq!(
        (backup.anchor().unwrap(), backup.usage().unwrap()),
        (anchor, usage)
    );
    backup.user(user(1)).delete("s1").unwrap();
    drop(backup);
    let opened = Vault::open(folder.path("backup"), other_key());
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::WrongKey);
    assert_eq!(folder.names(), ["backup", "v"]);
    assert_eq!(vault.user(user(1)).secrets().unwrap().len(), 19);
}

#[test]
fn nothing_is_copied_over_what_is_there_and_nothing_half_made_is_left() {
    let folder = Folder::new();
    let vault = folder.vault();
    fs::write(folder.path("taken"), "a file of someone's").unwrap();
    let taken = folder.path("taken");
    let nowhere = folder.path("no folder").join("copy");
    let errors = [
        (vault.backup(&taken), ErrorKind::Storage),
        (vault.backup(folder.path("v")), ErrorKind::Storage),
        (vault.export(&taken, other_key()), ErrorKind::Storage),
        (vault.backup(&nowhere), ErrorKind::Storage),
        (vault.export(&nowhere, other_key()), ErrorKind::Storage),
        (
            vault.export(folder.path("new"), KeySource::raw([1; 3])),
            ErrorKind::Validation,
        ),
        (
            Vault::in_memory().unwrap().backup(folder.path("new")),
            ErrorKind::Unsupported,
        ),
    ];
    for (i, (result, kind)) in errors.into_iter().enumerate() {
        assert_eq!(result.unwrap_err().kind(), kind, "case {i}");
    }
    vault.lock().unwrap();
    for result in [
        vault.backup(folder.path("new")),
        vault.export(folder.path("new"), other_key()),
        vault.import(folder.path("new"), other_key()).map(drop),
        vault.compact(),
        vault.verify(),
        vault.keys_locked_in_memory().map(drop),
    ] {
        assert!(matches!(
            result.unwrap_err().kind(),
            ErrorKind::Locked | ErrorKind::Storage
        ));
    }
    assert_eq!(folder.names(), ["taken", "v"]);
    assert_eq!(fs::read(&taken).unwrap(), b"a file of someone's");
}

#[test]
fn an_export_has_everything_but_the_keys() {
    let folder = Folder::new();
    let vault = folder.vault();
    vault.export(folder.path("export"), other_key()).unwrap();
    let opened = Vault::open(folder.path("export"), key());
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::WrongKey);
    let export = Vault::open(folder.path("export"), other_key()).unwrap();
    assert_eq!(contents(&export), contents(&vault));
    assert_eq!(export.usage().unwrap(), vault.usage().unwrap());
    let next = export.user(user(1)).create(secret("next")).unwrap();
    let youngest = vault.user(user(2)).secrets().unwrap().pop().unwrap();
    assert!(next.secret_id > youngest.secret_id);
    drop(export);

    // Into a vault in memory, one in a file, and one that has secrets of its own.
    let file = Vault::create(folder.path("other"), key()).unwrap();
    let busy = Vault::in_memory().unwrap();
    let own = busy.user(user(1)).create(secret("own")).unwrap();
    for to in [&Vault::in_memory().unwrap(), &file, &busy] {
        let before = to.usage().unwrap();
        let added = to.import(folder.path("export"), other_key()).unwrap();
        assert_eq!(added.secrets, 41);
        assert_eq!(to.usage().unwrap().secrets, before.secrets + 41);
        assert_eq!(to.usage().unwrap().bytes, before.bytes + added.bytes);
        let (theirs, ours) = (to.user(user(2)), vault.user(user(2)));
        assert_eq!(theirs.secrets().unwrap(), ours.secrets().unwrap());
        assert_eq!(theirs.secret("s3").unwrap().revision, 2);
        to.verify().unwrap();
        let id = to.user(user(1)).create(secret("later")).unwrap().secret_id;
        assert!(
            id > next.secret_id,
            "new ids are greater than imported ones"
        );
    }
    assert_eq!(busy.user(user(1)).secret(own.secret_id).unwrap(), own);
    drop(file);
    let file = Vault::open(folder.path("other"), key()).unwrap();
    assert_eq!(contents(&file).len(), 2);
}

#[test]
fn an_import_is_all_or_nothing() {
    let folder = Folder::new();
    let vault = folder.vault();
    let long = NewSecret::new("long", "v".repeat(1500));
    let bounds = Bounds::default().max_value_chars(2000);
    let big = Vault::builder().bounds(bounds).in_memory().unwrap();
    let long = big.user(user(5)).create(long).unwrap().secret_id;
    big.export(folder.path("big"), other_key()).unwrap();
    vault.export(folder.path("export"), other_key()).unwrap();

    let in_memory = || Vault::in_memory().unwrap();
    let with = |prepare: fn(&Vault)| {
        let vault = in_memory();
        prepare(&vault);
        vault
    };
    let limited = |quota: Quota| Vault::builder().quota(quota).in_memory().unwrap();
    let cases = [
        (
            "export",
            with(|to| drop(to.user(user(2)).create(NewSecret::new("s7", "taken-name")))),
            ErrorKind::NameTaken,
        ),
        (
            "export",
            with(|to| {
                drop(
                    to.user(user(2)).create(
                        NewSecret::new("x", "taken-place")
                            .bind("t", "/s7")
                            .default_for_tool(),
                    ),
                );
            }),
            ErrorKind::DefaultTaken,
        ),
        (
            "export",
            limited(Quota::default().user_secrets(19)),
            ErrorKind::QuotaExceeded,
        ),
        (
            "export",
            limited(Quota::default().vault_secrets(39)),
            ErrorKind::QuotaExceeded,
        ),
        ("big", in_memory(), ErrorKind::Validation),
    ];
    for (file, to, kind) in cases {
        let before = contents(&to);
        let error = to.import(folder.path(file), other_key()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        // The one of many that does not fit can be found.
        let named = format!("{long}.secret_value: ");
        assert_eq!(
            file == "big",
            error.to_string().starts_with(&named),
            "{error}"
        );
        assert_eq!(contents(&to), before);
        assert_eq!(to.usage().unwrap().secrets, before.len() as u64);
    }

    // A name here that is the id of an imported secret.
    let [to, from] = [in_memory(), in_memory()];
    let id = from.user(user(1)).create(secret("a")).unwrap().secret_id;
    from.export(folder.path("named"), other_key()).unwrap();
    let id = id.to_string();
    for spelling in [id.clone(), id.to_uppercase(), id.replace('a', "A")] {
        let named = NewSecret::new(spelling.as_str(), "taken-name");
        let named = to.user(user(1)).create(named).unwrap();
        let error = to.import(folder.path("named"), other_key()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NameTaken, "{spelling}: {error}");
        assert_eq!(to.usage().unwrap().secrets, 1);
        to.user(user(1)).delete(named.secret_id).unwrap();
    }

    let twice = in_memory();
    twice.import(folder.path("export"), other_key()).unwrap();
    let before = contents(&twice);
    let error = twice
        .import(folder.path("export"), other_key())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(contents(&twice), before);
    let wrong = twice.import(folder.path("export"), key()).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::WrongKey);
    assert_eq!(
        vault.import(folder.path("v"), key()).unwrap_err().kind(),
        ErrorKind::InUse
    );
}

/// What a file was written with is not known, and would not count.
#[test]
fn an_import_keeps_to_the_bounds_of_the_vault_that_it_goes_to() {
    let folder = Folder::new();
    let large = |max| {
        let bounds = Bounds::default().max_value_chars(max);
        Vault::builder().bounds(bounds).in_memory().unwrap()
    };
    let from = large(3000);
    let long = NewSecret::new("long", "v".repeat(2000));
    from.user(user(1)).create(long).unwrap();
    from.export(folder.path("export"), other_key()).unwrap();
    for (max, fits) in [(1999, false), (2000, true)] {
        let to = large(max);
        let imported = to.import(folder.path("export"), other_key());
        assert_eq!(imported.is_ok(), fits, "{max}");
    }
}

#[test]
fn an_import_waits_for_its_file_as_the_vault_does_for_its_own() {
    let folder = Folder::new();
    let vault = folder.vault();
    let secrets = vault.usage().unwrap().secrets;
    let to = Vault::builder()
        .wait(std::time::Duration::MAX)
        .in_memory()
        .unwrap();
    std::thread::scope(|scope| {
        let (begun, wait) = std::sync::mpsc::channel();
        let importing = scope.spawn({
            let path = folder.path("v");
            move || {
                begun.send(()).unwrap();
                to.import(path, key()).unwrap()
            }
        });
        wait.recv().unwrap();
        for n in 20..30 {
            fill_user(&vault, n);
            vault.delete_user(user(n)).unwrap();
        }
        drop(vault);
        assert_eq!(importing.join().unwrap().secrets, secrets);
    });
}

#[test]
fn a_locked_vault_says_so_whatever_there_is_at_the_path() {
    let folder = Folder::new();
    let vault = folder.vault();
    vault.lock().unwrap();
    let (taken, missing) = (folder.path("v"), folder.path("none"));
    for error in [
        vault.backup(&taken).unwrap_err(),
        vault.export(&taken, key()).unwrap_err(),
        vault.import(&missing, key()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Locked);
    }
}

/// Counts the keys that it was asked to wrap.
struct Counting(Arc<AtomicU32>);

impl KeyProvider for Counting {
    fn wrap(
        &self,
        key: &[u8; 32],
        _context: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(key.to_vec())
    }

    fn unwrap(
        &self,
        wrapped: &[u8],
        _context: &[u8],
        key: &mut [u8; 32],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        *key = wrapped.try_into()?;
        Ok(())
    }
}

/// Such as a keyring, which keeps an entry for each.
#[test]
fn no_provider_wraps_a_key_for_a_file_that_cannot_be() {
    let folder = Folder::new();
    let vault = folder.vault();
    let wrapped = Arc::default();
    let counting = || KeySource::provider(Counting(Arc::clone(&wrapped)));
    let export = |name: &str| vault.export(folder.path(name), counting());
    let wraps = || wrapped.load(Ordering::Relaxed);
    assert_eq!(export("v").unwrap_err().kind(), ErrorKind::Storage);
    let created = Vault::create(folder.path("v"), counting());
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Storage);
    vault.lock().unwrap();
    assert_eq!(export("new").unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(wraps(), 0);
    vault.unlock(key()).unwrap();
    export("new").unwrap();
    assert_eq!(wraps(), 1);
}

#[test]
fn a_compact_file_is_short_and_has_everything() {
    let folder = Folder::new();
    let vault = folder.vault();
    for n in 10..40 {
        fill_user(&vault, n);
        vault.delete_user(user(n)).unwrap();
    }
    let (before, anchor) = (contents(&vault), vault.anchor().unwrap());
    let length = || fs::metadata(folder.path("v")).unwrap().len();
    let long = length();
    vault.compact().unwrap();
    assert!(length() < long / 2, "{} of {long}", length());
    assert_eq!(contents(&vault), before);
    fill_user(&vault, 50);
    drop(vault);
    let vault = Vault::builder()
        .anchor(anchor)
        .open(folder.path("v"), key())
        .unwrap();
    vault.delete_user(user(50)).unwrap();
    assert_eq!(contents(&vault), before);
    Vault::in_memory().unwrap().compact().unwrap();
}

fn fill_user(vault: &Vault, n: u128) {
    let fill = |batch: &mut keyward::Batch<'_>| {
        for i in 0..100 {
            batch.create(NewSecret::new(format!("s{i}"), "v".repeat(1000)));
        }
    };
    vault.user(user(n)).batch(fill).unwrap();
}

#[test]
fn checking_tells_how_far_it_has_come_and_ends_as_its_caller_says() {
    let folder = Folder::new();
    let vault = folder.vault();
    let mut told = Vec::new();
    vault
        .verify_with_progress(|progress| told.push(progress))
        .unwrap();
    assert!(told.iter().map(|progress| progress.done).eq(1..=40));
    assert!(told.iter().all(|progress| progress.total == 40));

    // A panic in the caller's code reaches the caller, and the vault goes on.
    let panicked = std::panic::catch_unwind(|| vault.verify_with_progress(|_| panic!("enough")));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "enough");
    // The vault is locked during the check, which ends; locking waits for that.
    std::thread::scope(|scope| {
        let (begun, wait) = std::sync::mpsc::channel();
        let checking = scope.spawn({
            let vault = vault.clone();
            move || -> Result<(), Error> {
                vault.verify_with_progress(|progress| {
                    if progress.done == 1 {
                        begun.send(()).unwrap();
                        // Wait until the keys are being taken away.
                        while vault.usage().is_ok() {
                            std::thread::yield_now();
                        }
                    }
                })
            }
        });
        wait.recv().unwrap();
        vault.lock().unwrap();
        assert_eq!(
            checking.join().unwrap().unwrap_err().kind(),
            ErrorKind::Locked
        );
    });
    vault.unlock(key()).unwrap();
    vault.verify().unwrap();
    assert_eq!(contents(&vault).len(), 2);
}

/// Locking waits for it, so it must not go on for long.
#[test]
fn locking_ends_checks_and_copies_at_once() {
    type Work = fn(&Vault, &Folder, &mut dyn FnMut()) -> Result<(), Error>;
    // How many are done after the first report.
    let works: [Work; 3] = [
        |vault, _, report| vault.verify_with_progress(|_| report()),
        |vault, folder, report| vault.backup_with_progress(folder.path("copy"), |_| report()),
        |vault, folder, report| {
            vault.export_with_progress(folder.path("copy"), other_key(), |_| report())
        },
    ];
    let folder = Folder::new();
    let vault = folder.vault();
    for (i, work) in works.into_iter().enumerate() {
        let mut reports = 0;
        let ended = std::thread::scope(|scope| {
            work(&vault, &folder, &mut || {
                reports += 1;
                if reports == 1 {
                    scope.spawn(|| vault.lock().unwrap());
                    while vault.usage().is_ok() {
                        std::thread::yield_now();
                    }
                }
            })
        });
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Locked, "work {i}");
        assert_eq!(reports, 1, "work {i}");
        assert_eq!(folder.names(), ["v"], "work {i}");
        vault.unlock(key()).unwrap();
    }
}

#[test]
fn copying_tells_how_far_it_has_come() {
    let folder = Folder::new();
    let vault = folder.vault();
    let [mut copied, mut exported, mut imported] = [const { Vec::new() }; 3];
    let told = |told: &mut Vec<u64>, progress: keyward::Progress| {
        assert_eq!(progress.total, 40);
        told.push(progress.done);
    };
    vault
        .backup_with_progress(folder.path("copy"), |progress| told(&mut copied, progress))
        .unwrap();
    assert_eq!(copied.len(), 2, "after each of the users who have any");
    assert_eq!(copied[1], 40);
    vault
        .export_with_progress(folder.path("export"), other_key(), |progress| {
            told(&mut exported, progress);
        })
        .unwrap();
    Vault::in_memory()
        .unwrap()
        .import_with_progress(folder.path("export"), other_key(), |progress| {
            told(&mut imported, progress);
        })
        .unwrap();
    for each in [exported, imported] {
        assert!(each.iter().copied().eq(1..=40), "{each:?}");
    }
}

#[test]
fn an_import_whose_listener_panics_changes_nothing() {
    let folder = Folder::new();
    let vault = folder.vault();
    vault.export(folder.path("export"), other_key()).unwrap();
    let to = Vault::in_memory().unwrap();
    let import = || {
        to.import_with_progress(folder.path("export"), other_key(), |progress| {
            assert!(progress.done < 30, "enough");
        })
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(import)).unwrap_err();
    assert_eq!(to.usage().unwrap().secrets, 0);
    to.import(folder.path("export"), other_key()).unwrap();
    assert_eq!(contents(&to), contents(&vault));
}

#[test]
fn writes_go_on_while_a_vault_is_checked_and_copied() {
    let folder = Folder::new();
    let vault = folder.vault();
    let before = contents(&vault);
    let mut wrote = false;
    vault
        .verify_with_progress(|progress| {
            // In the middle of the scan: what is checked is the state at its start.
            if progress.done == 5 {
                vault.user(user(2)).delete("s0").unwrap();
                vault.user(user(9)).create(secret("new")).unwrap();
                wrote = true;
            }
            assert_eq!(progress.total, 40);
        })
        .unwrap();
    assert!(wrote && contents(&vault) != before);
}
