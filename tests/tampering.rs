//! A vault file whose bytes are changed or cut off, or made up to exhaust the machine.
//!
//! Each changed file is opened, read and verified, both without an anchor and with the anchor of its last state. The
//! vault is then in a state that was once committed, or opening it or using a user's secrets fails with `Corrupt`,
//! `RolledBack` or `WrongKey`. It never panics, and never takes more memory than the file would explain.
//!
//! Each run changes some of the bytes. To change every byte of the file in three ways, and to cut it at every
//! length, which takes some minutes: `KEYWARD_FLIP_ALL=1 cargo test --release --test tampering -- --nocapture`
#![cfg(all(feature = "file", unix))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use keyward::{
    Anchor, Error, ErrorKind, KeySource, NewSecret, SecretInfo, SecretPatch, ToolCall, UserId,
    Vault,
};
use redb::{ReadableDatabase as _, ReadableTable as _};
use serde_json::{Map, Value};
use tempfile::TempDir;
use uuid::Uuid;

mod database;

use database::{ROWS, damage_first_row, with_database};

fn key() -> KeySource {
    KeySource::raw([7; 32])
}

const USERS: [UserId; 2] = [UserId::LOCAL, UserId::new(Uuid::from_u128(1))];

/// What a user sees: what can be read of the secrets, and where the values go.
type Seen = (Vec<SecretInfo>, Map<String, Value>);

fn see(vault: &Vault, user: UserId) -> Result<Seen, Error> {
    let user = vault.user(user);
    let secrets = user.secrets()?;
    let mut args = Map::new();
    for tool in ["mail", "search"] {
        let mut of_tool = Map::new();
        let _ = user.inject(&ToolCall::new(tool), &mut of_tool)?;
        args.insert(tool.to_owned(), of_tool.into());
    }
    assert_eq!(user.usage()?.secrets, secrets.len() as u64);
    Ok((secrets, args))
}

/// A state that was committed.
struct Committed {
    anchor: Anchor,
    users: Vec<Seen>,
}

impl Committed {
    fn of(vault: &Vault) -> Committed {
        Committed {
            anchor: vault.anchor().unwrap(),
            users: USERS.map(|user| see(vault, user).unwrap()).into(),
        }
    }
}

/// A small vault file, and every state that it has been in.
struct Fixture {
    _folder: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    states: Vec<Committed>,
}

impl Fixture {
    fn new() -> Fixture {
        // In memory if there is such a folder: the test is about the content of the files, not about the disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        let path = folder.path().join("vault");
        let vault = Vault::create(&path, key()).unwrap();
        let mut states = vec![Committed::of(&vault)];
        let secret = |name: &str, tool: &str| {
            NewSecret::new(name, format!("value-of-{name}"))
                .bind(tool, name)
                .default_for_tool()
        };
        let [a, b] = USERS.map(|user| vault.user(user));
        let steps: [&dyn Fn() -> Result<(), Error>; 6] = [
            &|| a.create(secret("a", "mail")).map(drop),
            &|| b.create(secret("b", "mail")).map(drop),
            &|| a.create(secret("c", "search")).map(drop),
            &|| {
                a.update("a", SecretPatch::new().value("other-of-a"))
                    .map(drop)
            },
            // Makes the file short again, with no free pages between the others.
            &|| vault.compact(),
            &|| {
                b.update("b", SecretPatch::new().tool_pattern("sea*"))
                    .map(drop)
            },
        ];
        for step in steps {
            step().unwrap();
            states.push(Committed::of(&vault));
        }
        drop((vault, a, b));
        let bytes = fs::read(&path).unwrap();
        Fixture {
            _folder: folder,
            path,
            bytes,
            states,
        }
    }

    /// Opens the file as it now is, and compares it with the states that were committed.
    fn judge(&self, what: &str, outcomes: &mut Outcomes) {
        let demanded = self.states[self.states.len() - 1].anchor;
        let judged = catch_unwind(AssertUnwindSafe(|| self.open(&demanded)));
        let outcome = match judged {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(wrong)) => panic!("{what}: {wrong}"),
            Err(panic) => panic!("{what}: {:?}", panic.type_id()),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }

    fn open(&self, demanded: &Anchor) -> Result<&'static str, String> {
        let vault = match Vault::open(&self.path, key()) {
            Ok(vault) => vault,
            Err(error) => return refused(&error),
        };
        let found = vault.anchor().unwrap();
        let state = self.states.iter().rev().find(|state| state.anchor == found);
        let state = state.ok_or("a state that never was")?;
        let mut outcome = "the same";
        // A store that has found itself damaged does nothing more.
        let mut refused_in_use = |error: &Error, now| {
            if outcome == "the same" {
                refused(error)?;
                outcome = now;
            } else if error.kind() != ErrorKind::Storage {
                refused(error)?;
            }
            Ok::<(), String>(())
        };
        for (user, expected) in USERS.into_iter().zip(&state.users) {
            match see(&vault, user) {
                Ok(seen) if seen == *expected => {}
                Ok(seen) => return Err(format!("{seen:?} where there was {expected:?}")),
                Err(error) => refused_in_use(&error, "refused in use")?,
            }
        }
        if let Err(error) = vault.verify() {
            refused_in_use(&error, "refused by verify")?;
        }
        drop(vault);
        match Vault::builder().anchor(*demanded).open(&self.path, key()) {
            Ok(vault) if vault.anchor().unwrap() != *demanded => {
                return Err("an earlier state, with an anchor".to_owned());
            }
            Ok(_) if found != *demanded => return Err("two states in one file".to_owned()),
            Ok(_) => {}
            Err(error) => drop(refused(&error)?),
        }
        Ok(if found == *demanded {
            outcome
        } else {
            "an earlier state"
        })
    }
}

type Outcomes = BTreeMap<&'static str, u32>;

fn refused(error: &Error) -> Result<&'static str, String> {
    match error.kind() {
        ErrorKind::Corrupt => Ok("Corrupt"),
        ErrorKind::RolledBack => Ok("RolledBack"),
        ErrorKind::WrongKey => Ok("WrongKey"),
        _ => Err(format!("{error:?}")),
    }
}

/// Whether to try everything, or only a quick share of it.
fn all() -> bool {
    env::var_os("KEYWARD_FLIP_ALL").is_some()
}

/// The most memory that this process ever had, in KiB.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn write(path: &Path, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

#[test]
fn no_byte_of_the_file_can_be_changed_unnoticed() {
    let fixture = Fixture::new();
    let stride = if all() { 1 } else { 307 };
    let masks = [0x01, 0x80, 0xFF];
    let before = peak_memory();
    let mut outcomes = Outcomes::new();
    for at in (0..fixture.bytes.len()).step_by(stride) {
        if all() && at % 8192 == 0 {
            println!("byte {at}: {outcomes:?}");
        }
        for mask in masks {
            let mut bytes = fixture.bytes.clone();
            bytes[at] ^= mask;
            write(&fixture.path, &bytes);
            fixture.judge(&format!("byte {at} ^ {mask:#x}"), &mut outcomes);
        }
    }
    let length = fixture.bytes.len();
    println!("{length} bytes, every {stride}. with {masks:x?}: {outcomes:?}");
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        println!("peak memory {before} KiB before, {after} KiB after");
        // The file, what the database may keep of it, and the tests that run beside this one.
        assert!(after - before < 64 * 1024, "{before} KiB, {after} KiB");
    }
}

#[test]
fn the_file_can_not_be_cut_off_unnoticed() {
    let fixture = Fixture::new();
    let stride = if all() { 1 } else { 307 };
    let mut outcomes = Outcomes::new();
    for length in (0..fixture.bytes.len()).step_by(stride) {
        write(&fixture.path, &fixture.bytes[..length]);
        fixture.judge(&format!("{length} bytes"), &mut outcomes);
    }
    for more in [1, 4095, 4096, 100_000] {
        write(
            &fixture.path,
            &[&fixture.bytes[..], &vec![0; more]].concat(),
        );
        fixture.judge(&format!("{more} bytes more"), &mut outcomes);
    }
    let length = fixture.bytes.len();
    println!("{length} bytes, cut off at every {stride}.: {outcomes:?}");
}

/// Whole pages of the database, each put in the place of every other one.
#[test]
fn no_page_of_the_file_can_be_put_elsewhere_unnoticed() {
    let fixture = Fixture::new();
    let page = 4096;
    let pages = fixture.bytes.len() / page;
    let mut outcomes = Outcomes::new();
    for to in 0..pages {
        for from in (0..pages).filter(|from| *from != to) {
            if !all() && (from + to) % 13 > 0 {
                continue;
            }
            let mut bytes = fixture.bytes.clone();
            bytes.copy_within(from * page..(from + 1) * page, to * page);
            write(&fixture.path, &bytes);
            fixture.judge(&format!("page {from} at {to}"), &mut outcomes);
        }
    }
    println!("{pages} pages: {outcomes:?}");
}

/// The roots of the others do not tell: such a row is nobody's.
#[test]
fn rows_of_a_user_who_is_gone_or_never_was_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let users: Vec<UserId> = (1..4).map(|n| UserId::new(Uuid::from_u128(n))).collect();
    let vault = Vault::create(&path, key()).unwrap();
    for user in &users {
        vault
            .user(*user)
            .create(NewSecret::new("a", "value-of-a"))
            .unwrap();
    }
    drop(vault);
    let mut old = Vec::new();
    with_database(&path, |database| {
        let transaction = database.begin_read().unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        for row in rows.iter().unwrap() {
            let (key, row) = row.unwrap();
            old.push((*key.value(), row.value().to_vec()));
        }
    });
    let all = fs::read(&path).unwrap();
    // Whose rows they are, their tags tell only to a key: so each user is deleted in turn, and a row put back that then
    // is there no more; or one is put at a made-up tag before, between or behind those that there are.
    for deleted in &users {
        fs::write(&path, &all).unwrap();
        let vault = Vault::open(&path, key()).unwrap();
        vault.delete_user(*deleted).unwrap();
        vault.verify().unwrap();
        drop(vault);
        with_database(&path, |database| {
            let transaction = database.begin_write().unwrap();
            let mut rows = transaction.open_table(ROWS).unwrap();
            for (key, row) in &old {
                if rows.get(key).unwrap().is_none() {
                    rows.insert(key, &**row).unwrap();
                }
            }
            drop(rows);
            transaction.commit().unwrap();
        });
        let vault = Vault::open(&path, key()).unwrap();
        assert_eq!(vault.verify().unwrap_err().kind(), ErrorKind::RolledBack);
        let copy = folder.path().join("copy");
        assert_eq!(
            vault.backup(&copy).unwrap_err().kind(),
            ErrorKind::RolledBack
        );
        assert!(!copy.exists());
        for user in &users {
            let secrets = vault.user(*user).secrets();
            let kind = secrets
                .map(|secrets| secrets.len())
                .map_err(|error| error.kind());
            let expected = if user == deleted {
                Err(ErrorKind::RolledBack)
            } else {
                Ok(1)
            };
            assert_eq!(kind, expected);
        }
        let created = vault
            .user(*deleted)
            .create(NewSecret::new("b", "value-of-b"));
        assert_eq!(created.unwrap_err().kind(), ErrorKind::RolledBack);
        drop(vault);
        let snapshot = Vault::snapshot(&path, key());
        assert_eq!(snapshot.unwrap_err().kind(), ErrorKind::RolledBack);
    }
    let tags: BTreeSet<[u8; 16]> = old
        .iter()
        .map(|(key, _)| *key.first_chunk().unwrap())
        .collect();
    let beside = tags.iter().flat_map(|tag| {
        let number = u128::from_be_bytes(*tag);
        [number.wrapping_sub(1), number.wrapping_add(1)]
    });
    for tag in beside.chain([0, u128::MAX]) {
        fs::write(&path, &all).unwrap();
        with_database(&path, |database| {
            let transaction = database.begin_write().unwrap();
            let mut rows = transaction.open_table(ROWS).unwrap();
            let mut key = old[0].0;
            key[..16].copy_from_slice(&tag.to_be_bytes());
            rows.insert(&key, &*old[0].1).unwrap();
            drop(rows);
            transaction.commit().unwrap();
        });
        let vault = Vault::open(&path, key()).unwrap();
        assert_eq!(
            vault.verify().unwrap_err().kind(),
            ErrorKind::RolledBack,
            "{tag:x}"
        );
    }
}

/// A vault file, and the folder that goes with it.
fn vault_with_one_secret() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let vault = Vault::create(&path, key()).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    (folder, path)
}

/// What was wrong with a file is over once the file is right again.
#[test]
fn a_snapshot_of_a_changed_file_recovers_when_the_file_is_put_back() {
    let (_folder, path) = vault_with_one_secret();
    let older = fs::read(&path).unwrap();
    let snapshot = Vault::snapshot(&path, key()).unwrap();
    let user = snapshot.user(UserId::LOCAL);
    let mut old = None;
    with_database(&path, |database| {
        let transaction = database.begin_read().unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        let (key, row) = rows.first().unwrap().unwrap();
        old = Some((*key.value(), row.value().to_vec()));
    });
    let vault = Vault::open(&path, key()).unwrap();
    let other = SecretPatch::new().value("other-of-a");
    vault.user(UserId::LOCAL).update("a", other).unwrap();
    drop(vault);
    let right = fs::read(&path).unwrap();
    with_database(&path, |database| {
        let transaction = database.begin_write().unwrap();
        let mut rows = transaction.open_table(ROWS).unwrap();
        let (key, row) = old.unwrap();
        rows.insert(&key, &*row).unwrap();
        drop(rows);
        transaction.commit().unwrap();
    });
    assert!(snapshot.reload().unwrap());
    assert_eq!(user.secrets().unwrap_err().kind(), ErrorKind::RolledBack);
    // As long as it is wrong, so is the snapshot.
    assert!(snapshot.reload().unwrap());
    assert_eq!(user.secrets().unwrap_err().kind(), ErrorKind::RolledBack);
    // Nor does an older file count as right.
    fs::write(&path, older).unwrap();
    let error = snapshot.reload().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    fs::write(&path, right).unwrap();
    assert!(snapshot.reload().unwrap());
    assert_eq!(user.secrets().unwrap()[0].revision, 2);
    assert!(!snapshot.reload().unwrap());
}

/// Whoever found it: also a check of the whole file.
#[test]
fn what_a_check_found_wrong_is_read_again() {
    type Check = fn(&Vault, &Path) -> Result<(), Error>;
    let (_folder, path) = vault_with_one_secret();
    let right = fs::read(&path).unwrap();
    damage_first_row(&path);
    let wrong = fs::read(&path).unwrap();
    let checks: [Check; 3] = [
        |vault, _| vault.verify(),
        |vault, copy| vault.backup(copy),
        |vault, copy| vault.export(copy, key()),
    ];
    for (number, check) in checks.into_iter().enumerate() {
        fs::write(&path, &wrong).unwrap();
        let snapshot = Vault::snapshot(&path, key()).unwrap();
        let copy = path.with_extension(number.to_string());
        let error = check(&snapshot, &copy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RolledBack, "{number}");
        fs::write(&path, &right).unwrap();
        assert!(snapshot.reload().unwrap(), "{number}");
        check(&snapshot, &copy).unwrap();
        assert!(!snapshot.reload().unwrap(), "{number}");
    }
}
