//! Property: whatever bytes a file has, `Vault::open` and `Vault::snapshot` open it as a vault that was written, or say
//! that they do not. They never panic, hang, or ask for memory without bound (the fuzzer watches the time and the memory).
//!
//! 1. Every error is one of opening a damaged file.
//! 2. What such a vault says of a user is what the user had, or an error; what `verify` accepts is all as it was.
//! 3. A snapshot leaves the file as it is, and agrees with the opened vault as far as both open.
//! 4. Such a vault can be written to, or says that it cannot.
//!
//! The bytes are any, or those of the released file of version 1 with changes.

#![no_main]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use arbitrary::Arbitrary;
use keyward::{
    Error, ErrorKind, KeySource, NewSecret, Origin, SecretInfo, ToolCall, UserId, Vault,
};
use keyward_fuzz::edits::Edit;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tempfile::TempDir;
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
enum Input {
    Changed(Vec<Edit>),
    /// Behind the header of a vault file.
    Database(Vec<u8>),
    Bytes(Vec<u8>),
}

static RELEASED: &[u8] = include_bytes!("../../tests/files/v1.keyward");
const HEADER: usize = 4096;

/// Opens the released file by a raw key, so that no passphrase is stretched.
fn key() -> KeySource {
    KeySource::raw([0x4b; 32])
}

const USERS: [UserId; 2] = [UserId::LOCAL, UserId::new(Uuid::from_u128(1))];

/// In memory where there is such a place.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.expect("a folder")
});

/// What the released file holds.
static HELD: LazyLock<Vec<Seen>> = LazyLock::new(|| {
    let path = FOLDER.path().join("released");
    fs::write(&path, RELEASED).expect("a file");
    let vault = Vault::open(&path, key()).expect("the released file opens");
    let seen = USERS.map(|user| see(&vault, user).expect("a user")).into();
    fs::remove_file(&path).expect("it was there");
    seen
});

/// A user's secrets, and the value of each.
type Seen = (Vec<SecretInfo>, Vec<Value>);

fn see(vault: &Vault, user: UserId) -> Result<Seen, Error> {
    let user = vault.user(user);
    let secrets = user.secrets()?;
    let mut values = Vec::new();
    for info in &secrets {
        let tool = info.tool_name.as_deref().unwrap_or("tool");
        let tool = tool.replace('*', "").replace('?', "x");
        let call = ToolCall::new(tool).with_origin(Origin::Workflow);
        let mut args = Map::new();
        match info.tool_arg.as_deref() {
            Some("/to/0") => {
                let reference = format!("secret://{}", info.secret_id);
                args.insert("to".to_owned(), Value::from(vec![reference]));
            }
            Some(_) => {}
            None => {
                let reference = format!("secret://{}", info.secret_id);
                args.insert("file".to_owned(), reference.into());
            }
        }
        user.inject(&call, &mut args)?;
        values.push(args.into());
    }
    Ok((secrets, values))
}

fuzz_target!(|input: Input| {
    let held = &*HELD;
    let bytes = match input {
        Input::Changed(edits) => {
            let mut bytes = RELEASED.to_vec();
            for edit in edits.iter().take(16) {
                edit.apply(&mut bytes);
            }
            bytes
        }
        Input::Database(bytes) => [&RELEASED[..HEADER], &bytes].concat(),
        Input::Bytes(bytes) => bytes,
    };
    let path = FOLDER.path().join("vault");
    fs::write(&path, &bytes).expect("a file");
    let snapshot = read(Vault::snapshot(&path, key()), held);
    assert!(
        fs::read(&path).expect("a file") == bytes,
        "reading wrote to the file"
    );
    let vault = Vault::open(&path, key());
    let opened = vault.as_ref().ok().cloned();
    let found = read(vault, held);
    assert_eq!(
        snapshot.verified && found.verified,
        snapshot.verified || found.verified,
        "what the one verifies, the other does"
    );
    if let Some(vault) = opened {
        write(&vault, found.verified);
    }
    remove(&path);
});

struct Found {
    verified: bool,
}

fn read(vault: Result<Vault, Error>, held: &[Seen]) -> Found {
    let vault = match vault {
        Ok(vault) => vault,
        Err(error) => {
            refused(&error);
            return Found { verified: false };
        }
    };
    let verified = vault.verify();
    let seen = USERS.map(|user| see(&vault, user));
    for (seen, held) in seen.iter().zip(held) {
        match seen {
            Ok(seen) => assert!(seen == held, "not what was written: {seen:?}"),
            Err(error) => refused(error),
        }
    }
    match vault.users() {
        Ok(users) => assert_eq!(users, USERS),
        Err(error) => refused(&error),
    }
    match &verified {
        Ok(()) => assert!(seen.iter().all(Result::is_ok), "{seen:?}"),
        Err(error) => refused(error),
    }
    Found {
        verified: verified.is_ok(),
    }
}

fn write(vault: &Vault, verified: bool) {
    let user = vault.user(USERS[1]);
    match user.create(NewSecret::new("new", "value-of-new")) {
        Ok(info) => match user.secret("new") {
            Ok(found) => assert_eq!(found, info),
            Err(error) => refused(&error),
        },
        Err(error) => {
            refused(&error);
            assert!(!verified, "{error:?}");
        }
    }
    let again = vault.verify();
    if let Err(error) = &again {
        refused(error);
        assert!(!verified, "{error:?}");
    }
}

fn refused(error: &Error) {
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Corrupt
                | ErrorKind::RolledBack
                | ErrorKind::WrongKey
                | ErrorKind::UnsupportedVersion
                | ErrorKind::Storage
        ),
        "{error:?}"
    );
}

fn remove(path: &PathBuf) {
    fs::remove_file(path).expect("it was there");
}
