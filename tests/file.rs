//! A vault in a file: what is there after it was closed, and what becomes of a changed or foreign file.
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{error::Error, fs, io, path::Path, time::Duration};

use keyward::{
    Anchor, Batch, Bounds, ErrorKind, KdfParams, KeySource, NewSecret, Quota, SecretPatch,
    ToolCall, Usage, UserId, Vault, VaultBuilder,
};
use serde_json::Map;
use uuid::Uuid;

fn raw() -> KeySource {
    KeySource::raw([7; 32])
}

fn builder() -> VaultBuilder {
    // The minimum: tests need not be slow.
    Vault::builder().kdf_params(KdfParams::new(19 * 1024, 2, 1).unwrap())
}

/// A process that another test starts has the file for a moment.
fn waiting() -> VaultBuilder {
    builder().wait(Duration::MAX)
}

fn secret(name: &str) -> NewSecret {
    NewSecret::new(name, format!("value-of-{name}"))
        .bind("t", name)
        .default_for_tool()
}

fn injected(vault: &Vault) -> Map<String, serde_json::Value> {
    let mut args = Map::new();
    let _ = vault
        .user(UserId::LOCAL)
        .inject(&ToolCall::new("t"), &mut args)
        .unwrap();
    args
}

/// The kind of the system's error that caused a vault's error.
fn io_kind(result: Result<Vault, keyward::Error>) -> Option<io::ErrorKind> {
    let error = result.expect_err("an error");
    let source = error.source()?.downcast_ref::<io::Error>()?;
    Some(source.kind())
}

#[track_caller]
fn assert_kind(result: Result<Vault, keyward::Error>, kind: ErrorKind) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
}

#[test]
fn what_was_written_is_there_when_the_vault_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let vault = builder().create(&path, raw()).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.batch(|batch| {
        ["a", "b", "c"]
            .map(secret)
            .into_iter()
            .for_each(|new| batch.create(new));
    })
    .unwrap();
    user.update("a", SecretPatch::new().value("newer-value").format("<{}>"))
        .unwrap();
    user.delete("b").unwrap();
    let other = vault.user(UserId::new(Uuid::from_u128(9)));
    other.create(secret("z")).unwrap();
    vault
        .add_key(raw(), KeySource::passphrase("correct horse"))
        .unwrap();
    vault.rotate_data_key(raw()).unwrap();
    let (secrets, usage, anchor) = (
        user.secrets().unwrap(),
        vault.usage().unwrap(),
        vault.anchor().unwrap(),
    );
    drop((vault, user, other));

    for key in [raw(), KeySource::passphrase("correct horse")] {
        let vault = builder().anchor(anchor).open(&path, key).unwrap();
        let user = vault.user(UserId::LOCAL);
        // Revisions are not part of the JSON, so compare everything.
        assert_eq!(user.secrets().unwrap(), secrets);
        assert_eq!(vault.usage().unwrap(), usage);
        assert_eq!(vault.users().unwrap().len(), 2);
        assert_eq!(injected(&vault)["a"], "<newer-value>");
        assert_eq!(injected(&vault)["c"], "value-of-c");
        vault.verify().unwrap();
        vault.lock().unwrap();
        vault.unlock(raw()).unwrap();
        assert_eq!(injected(&vault).len(), 2);
    }
    let vault = Vault::open(&path, raw()).unwrap();
    let youngest = secrets.last().unwrap().secret_id;
    assert!(
        vault
            .user(UserId::LOCAL)
            .create(secret("d"))
            .unwrap()
            .secret_id
            > youngest
    );
}

#[test]
fn bounds_that_no_vault_may_have_are_refused_however_it_is_made_or_opened() {
    let dir = tempfile::tempdir().unwrap();
    let [path, new] = ["v", "new"].map(|name| dir.path().join(name));
    drop(builder().create(&path, raw()).unwrap());
    let range = Bounds::MAX_VALUE_CHARS;
    for (chars, ok) in [
        (range.start() - 1, false),
        (*range.start(), true),
        (*range.end(), true),
        (range.end() + 1, false),
    ] {
        let builder = || waiting().bounds(Bounds::default().max_value_chars(chars));
        let endings: [&dyn Fn() -> Result<Vault, keyward::Error>; 6] = [
            &|| builder().in_memory(),
            &|| builder().in_memory_with_key(raw()),
            &|| builder().create(&new, raw()),
            &|| builder().open(&path, raw()),
            &|| builder().open_or_create(&path, raw()),
            &|| builder().snapshot(&path, raw()),
        ];
        for (i, ending) in endings.iter().enumerate() {
            let kind = ending().map_err(|error| error.kind()).err();
            let expected = (!ok).then_some(ErrorKind::Validation);
            assert_eq!(kind, expected, "{chars} characters, ending {i}");
        }
        assert_eq!(new.exists(), ok, "{chars}");
        let _ = fs::remove_file(&new);
    }
}

#[test]
fn what_exceeds_a_limit_that_was_lowered_stays_and_may_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let [path, empty] = ["v", "empty"].map(|name| dir.path().join(name));
    builder()
        .in_memory()
        .unwrap()
        .export(&empty, raw())
        .unwrap();
    let vault = builder().create(&path, raw()).unwrap();
    let fill = |batch: &mut Batch<'_>| (0..9).for_each(|i| batch.create(secret(&i.to_string())));
    vault.user(UserId::LOCAL).batch(fill).unwrap();
    drop(vault);
    let none = Quota::unlimited;
    let lowered = [
        none().user_secrets(1),
        none().user_bytes(1),
        none().vault_secrets(1),
        none().vault_bytes(1),
    ];
    for (i, quota) in lowered.into_iter().enumerate() {
        let vault = waiting().quota(quota).open(&path, raw()).unwrap();
        let owner = vault.user(UserId::LOCAL);
        let used = vault.usage().unwrap();
        let error = owner.create(secret("x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
        assert_eq!(vault.usage().unwrap(), used);
        let value = |value| SecretPatch::new().value(value);
        owner.update("8", value("VALUE-OF-8")).unwrap();
        assert_eq!(vault.import(&empty, raw()).unwrap(), Usage::default());
        owner.delete(i.to_string()).unwrap();
        owner.update("8", value("value-of-8")).unwrap();
        assert_eq!(vault.usage().unwrap().secrets, used.secrets - 1);
    }
}

#[test]
fn opening_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    assert_kind(Vault::open(&path, raw()), ErrorKind::Storage);
    assert_eq!(
        io_kind(Vault::open(&path, raw())),
        Some(io::ErrorKind::NotFound)
    );
    let made = builder().create(dir.path().join("no/v"), raw());
    let error = made.unwrap_err().to_string();
    assert!(error.starts_with("there is no such folder"), "{error}");
    let vault = builder().create(&path, raw()).unwrap();
    vault.user(UserId::LOCAL).create(secret("a")).unwrap();
    assert_kind(builder().create(&path, raw()), ErrorKind::Storage);
    assert_eq!(
        io_kind(builder().create(&path, raw())),
        Some(io::ErrorKind::AlreadyExists)
    );
    assert_kind(Vault::open(&path, raw()), ErrorKind::InUse);
    drop(vault);
    assert_kind(
        Vault::open(&path, KeySource::raw([8; 32])),
        ErrorKind::WrongKey,
    );
    assert_kind(
        Vault::open(&path, KeySource::raw([7; 31])),
        ErrorKind::Validation,
    );
    assert_kind(
        Vault::open(&path, KeySource::passphrase("7")),
        ErrorKind::WrongKey,
    );
    assert_eq!(
        injected(&Vault::open(&path, raw()).unwrap())["a"],
        "value-of-a"
    );
    fs::write(dir.path().join("foreign"), b"not a vault").unwrap();
    assert_kind(
        Vault::open(dir.path().join("foreign"), raw()),
        ErrorKind::Corrupt,
    );
    let made: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(made.len(), 2, "nothing half-made is left: {made:?}");
}

type Made = fn(VaultBuilder, &Path) -> Result<Vault, keyward::Error>;

#[test]
fn a_vault_is_made_where_none_is_and_no_anchor_demands_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let vault = builder().open_or_create(&path, raw()).unwrap();
    vault.user(UserId::LOCAL).create(secret("a")).unwrap();
    let anchor = vault.anchor().unwrap();
    assert_kind(Vault::open_or_create(&path, raw()), ErrorKind::InUse);
    drop(vault);
    assert_kind(
        Vault::open_or_create(&path, KeySource::raw([8; 32])),
        ErrorKind::WrongKey,
    );
    let vault = Vault::open_or_create(&path, raw()).unwrap();
    assert_eq!(injected(&vault)["a"], "value-of-a");
    drop(vault);

    fs::remove_file(&path).unwrap();
    let demanding = builder().anchor(anchor);
    let opened = demanding.clone().open_or_create(&path, raw());
    assert_kind(opened, ErrorKind::Storage);
    let new: [Made; 3] = [
        |builder, path| builder.create(path, raw()),
        |builder, _| builder.in_memory(),
        |builder, _| builder.in_memory_with_key(raw()),
    ];
    for make in new {
        assert_kind(make(demanding.clone(), &path), ErrorKind::RolledBack);
    }
    assert!(!path.exists(), "a new vault would pass for the old one");
}

#[test]
fn an_older_copy_of_the_file_is_found_with_an_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("v"), dir.path().join("copy"));
    let vault = builder().create(&path, raw()).unwrap();
    vault.user(UserId::LOCAL).create(secret("a")).unwrap();
    let first = vault.anchor().unwrap();
    drop(vault);
    fs::copy(&path, &copy).unwrap();
    let vault = Vault::open(&path, raw()).unwrap();
    vault.user(UserId::LOCAL).delete("a").unwrap();
    let second: Anchor = vault.anchor().unwrap().to_string().parse().unwrap();
    assert!(second.counter() > first.counter());
    drop(vault);

    let open = |path: &Path, anchor| builder().anchor(anchor).open(path, raw());
    assert!(open(&path, first).is_ok());
    assert!(open(&path, second).is_ok());
    assert!(open(&copy, first).is_ok());
    assert_kind(open(&copy, second), ErrorKind::RolledBack);
    assert!(
        Vault::open(&copy, raw()).is_ok(),
        "without an anchor it cannot be found"
    );
    // Another state with the same counter.
    let vault = Vault::open(&copy, raw()).unwrap();
    vault.user(UserId::LOCAL).create(secret("b")).unwrap();
    assert_eq!(vault.anchor().unwrap().counter(), second.counter());
    drop(vault);
    assert_kind(open(&copy, second), ErrorKind::RolledBack);
}

#[test]
fn another_vault_of_the_same_key_is_found_with_an_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("v"), dir.path().join("other"));
    let anchor = builder().create(&path, raw()).unwrap().anchor().unwrap();
    let vault = builder().create(&other, raw()).unwrap();
    vault.user(UserId::LOCAL).create(secret("a")).unwrap();
    assert!(vault.anchor().unwrap().counter() > anchor.counter());
    drop(vault);
    assert_kind(
        builder().anchor(anchor).open(&other, raw()),
        ErrorKind::RolledBack,
    );
}

/// The longest name that file systems allow.
#[test]
fn a_vault_may_have_a_long_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v".repeat(255));
    drop(builder().create(&path, raw()).unwrap());
    let backup = dir.path().join("b".repeat(255));
    builder()
        .open(&path, raw())
        .unwrap()
        .backup(&backup)
        .unwrap();
    builder().open(&backup, raw()).unwrap();
}

#[test]
fn no_text_is_an_anchor_but_its_own() {
    let (vault, tag) = ("0".repeat(32), "0".repeat(64));
    assert!(format!("{vault}:1:{tag}").parse::<Anchor>().is_ok());
    for text in [
        "",
        "1",
        &format!("{vault}:1:"),
        &format!("{vault}::{tag}"),
        &format!("{vault}:-1:{tag}"),
        &format!("{vault}:+1:{tag}"),
        &format!("{vault}:x:{tag}"),
        &format!("{vault}:1:{tag}0"),
        &format!("{vault}:1:{}", &tag[1..]),
        &format!("{vault}:1:{}", "é".repeat(32)),
        &format!("{}:1:{tag}", &vault[1..]),
        &format!("{tag}:1:{tag}"),
        &format!("1:{tag}"),
    ] {
        assert_eq!(
            text.parse::<Anchor>().unwrap_err().kind(),
            ErrorKind::Validation,
            "{text}"
        );
    }
}

#[test]
fn nothing_that_a_vault_keeps_can_be_read_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let vault = builder().create(&path, raw()).unwrap();
    let user = vault.user(UserId::new(Uuid::from_u128(
        0x1234_5678_9abc_def0_1234_5678_9abc_def0,
    )));
    let new = NewSecret::new("the-name-of-it", "the-value-of-it")
        .bind("the-tool-of-it", "the-place-of-it");
    let info = user.create(new.format("the-format-of-it {}")).unwrap();
    drop((vault, user));
    let bytes = fs::read(&path).unwrap();
    let finds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(finds(b"keyward"), "the search works");
    for text in [
        "the-name",
        "the-value",
        "the-tool",
        "the-place",
        "the-format",
    ] {
        assert!(!finds(text.as_bytes()), "{text}");
    }
    for id in [info.secret_id.as_uuid(), info.user_id.as_uuid()] {
        assert!(
            !finds(id.as_bytes()) && !finds(id.to_string().as_bytes()),
            "{id}"
        );
    }
}

/// Opening a pipe waits until someone writes to it.
#[cfg(unix)]
#[test]
fn a_pipe_is_no_vault_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: there is no mkfifo here");
        return;
    }
    assert_kind(builder().snapshot(&path, raw()), ErrorKind::Corrupt);
    assert_kind(builder().open(&path, raw()), ErrorKind::Corrupt);
    assert_kind(builder().open_or_create(&path, raw()), ErrorKind::Corrupt);
    assert_kind(builder().snapshot(dir.path(), raw()), ErrorKind::Corrupt);
    let vault = Vault::in_memory().unwrap();
    let error = vault.import(&path, raw()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn what_is_no_key_file_is_told_apart_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let error = KeySource::key_file(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let source = error.source().unwrap().downcast_ref::<io::Error>();
    assert_eq!(source.unwrap().kind(), io::ErrorKind::NotFound);

    fs::write(&path, "6b".repeat(31)).unwrap();
    let error = KeySource::key_file(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert!(!format!("{error} {error:?}").contains("6b6b"), "{error:?}");

    let vault = dir.path().join("v");
    drop(
        builder()
            .create(&vault, KeySource::raw([0x6b; 32]))
            .unwrap(),
    );
    for text in [&[0x6b; 32][..], "6b".repeat(32).as_bytes()] {
        fs::write(&path, text).unwrap();
        Vault::open(&vault, KeySource::key_file(&path).unwrap()).unwrap();
    }
}

/// What is written to it would be lost.
#[cfg(unix)]
#[test]
fn a_vault_whose_file_was_replaced_or_removed_while_it_is_open_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["vault", "copy"].map(|name| folder.path().join(name));
    let replace: fn(&Path, &Path) = |path, copy| fs::rename(copy, path).unwrap();
    let remove: fn(&Path, &Path) = |path, copy| {
        fs::remove_file(path).unwrap();
        fs::rename(copy, path).unwrap();
    };
    for restore in [replace, remove] {
        for creates in [true, false] {
            let _ = fs::remove_file(&path);
            let mut vault = Vault::create(&path, raw()).unwrap();
            if !creates {
                drop(vault);
                vault = waiting().open(&path, raw()).unwrap();
            }
            let user = vault.user(UserId::LOCAL);
            user.create(NewSecret::new("a", "value-of-a")).unwrap();
            vault.backup(&copy).unwrap();
            user.create(NewSecret::new("b", "value-of-b")).unwrap();
            restore(&path, &copy);
            let error = user.create(NewSecret::new("c", "value-of-c")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(!error.may_have_written());
            let source = Error::source(&error).unwrap().to_string();
            assert!(source.contains("while it was open"), "{source}");
            assert_eq!(user.usage().unwrap().secrets, 2);
            drop((user, vault));
            let restored = waiting().open(&path, raw()).unwrap();
            let user = restored.user(UserId::LOCAL);
            assert_eq!(user.usage().unwrap().secrets, 1);
            user.create(NewSecret::new("c", "value-of-c")).unwrap();
        }
    }
}
