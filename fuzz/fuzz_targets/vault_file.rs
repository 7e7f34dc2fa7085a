//! Property: whatever bytes a file has, `Vault::open` and `Vault::snapshot` open it as a vault that was written, or
//! fail. They never panic, hang, or ask for memory without bound (the fuzzer watches the time and the memory).
//!
//! 1. Every error is one of opening a damaged file.
//! 2. What such a vault says about its users is what they had, all of them at one moment, or an error; what `verify`
//!    accepts is all as it was at one moment.
//! 3. A snapshot leaves the file as it is, and agrees with the opened vault as far as both open.
//! 4. Such a vault can be written to, or reports that it cannot.
//!
//! The bytes are arbitrary; or those of the released file of version 1 with changes; or a database that is whole,
//! but whose tables were forged: entries of two moments of one vault are exchanged, removed, renamed, and changed.

#![no_main]

use std::{
    fs::{self, File},
    io::{Seek, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use arbitrary::Arbitrary;
use keyward::{
    Error, ErrorKind, KeySource, NewSecret, Origin, SecretInfo, SecretPatch, ToolCall, UserId,
    Vault,
    fuzzing::{self, FaultyDisk},
};
use keyward_fuzz::{
    edits::Edit,
    store::{Forgery, HEADER, Store},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
enum Input {
    Changed(Vec<Edit>),
    Forged {
        /// Whether the forgeries start from the later moment.
        later: bool,
        forgeries: Vec<Forgery>,
    },
    /// Bytes after the header of a vault file.
    Database(Vec<u8>),
    Bytes(Vec<u8>),
}

static RELEASED: &[u8] = include_bytes!("../../tests/files/v1.keyward");

/// The raw key of the released file, with which no passphrase has to be stretched.
fn key() -> KeySource {
    KeySource::raw([0x4b; 32])
}

const USERS: [UserId; 2] = [UserId::LOCAL, UserId::new(Uuid::from_u128(1))];

/// A vault at one moment.
struct Moment {
    store: Store,
    held: [Seen; 2],
}

/// The released file, and the same vault after it was written to.
static MOMENTS: LazyLock<[Moment; 2]> = LazyLock::new(|| {
    let disk = FaultyDisk::holding(RELEASED[HEADER..].to_vec());
    let moment = |change: bool| {
        let vault = disk.open(Vault::builder(), &key());
        let vault = vault.expect("the released file opens");
        if change {
            for user in USERS {
                let user = vault.user(user);
                let secrets = user.secrets().expect("its secrets");
                let first = secrets[0].secret_id;
                let patch = SecretPatch::new().value("another value");
                user.update(first, patch).expect("it is there");
                if let Some(last) = secrets.get(1..).and_then(<[_]>::last) {
                    user.delete(last.secret_id).expect("it is there");
                }
                let new = NewSecret::new("another", "value-of-another");
                user.create(new).expect("there is room");
            }
        }
        let held = USERS.map(|user| see(&vault, user).expect("a user"));
        drop(vault);
        let file = [&RELEASED[..HEADER], &disk.bytes()].concat();
        Moment {
            store: Store::read(&file),
            held,
        }
    };
    [moment(false), moment(true)]
});

/// A file without a name, which disappears with the process: in memory where the system has a place for that.
struct Unnamed(File);

impl Unnamed {
    fn holding(bytes: &[u8]) -> Unnamed {
        let memory = Path::new("/dev/shm");
        let file = if memory.is_dir() {
            tempfile::tempfile_in(memory)
        } else {
            tempfile::tempfile()
        };
        let mut file = file.expect("a file");
        file.write_all(bytes).expect("room");
        file.rewind().expect("its beginning");
        Unnamed(file)
    }

    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;

        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// The secrets of a user, and the value of each.
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
        drop(user.inject(&call, &mut args)?);
        values.push(args.into());
    }
    Ok((secrets, values))
}

fuzz_target!(|input: Input| {
    let moments = &*MOMENTS;
    let bytes = match input {
        Input::Changed(edits) => {
            let mut bytes = RELEASED.to_vec();
            for edit in edits.iter().take(16) {
                edit.apply(&mut bytes);
            }
            bytes
        }
        Input::Forged { later, forgeries } => {
            let [one, other] = if later { [1, 0] } else { [0, 1] };
            let mut store = moments[one].store.clone();
            for forgery in forgeries.iter().take(8) {
                store.forge(forgery, &moments[other].store, fuzzing::with_checksum);
            }
            [&RELEASED[..HEADER], &store.database()].concat()
        }
        Input::Database(bytes) => [&RELEASED[..HEADER], &bytes].concat(),
        Input::Bytes(bytes) => bytes,
    };
    let file = Unnamed::holding(&bytes);
    let path = file.path();
    let snapshot_verified = read(Vault::snapshot(&path, key()), moments);
    assert!(
        fs::read(&path).expect("a file") == bytes,
        "reading wrote to the file"
    );
    let vault = Vault::open(&path, key());
    let opened = vault.as_ref().ok().cloned();
    let verified = read(vault, moments);
    assert_eq!(
        snapshot_verified, verified,
        "what the one verifies, the other does"
    );
    if let Some(vault) = opened {
        write(&vault, verified);
    }
});

/// Returns whether the vault opens and is accepted as whole.
fn read(vault: Result<Vault, Error>, moments: &[Moment; 2]) -> bool {
    let vault = match vault {
        Ok(vault) => vault,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    let verified = vault.verify();
    let seen = USERS.map(|user| see(&vault, user));
    let is_of = |moment: &Moment| {
        let mut users = seen.iter().zip(&moment.held);
        users.all(|(seen, held)| seen.as_ref().map_or(true, |seen| seen == held))
    };
    assert!(moments.iter().any(is_of), "not what was written: {seen:?}");
    for error in seen.iter().filter_map(|seen| seen.as_ref().err()) {
        refused(error);
    }
    match vault.users() {
        Ok(users) => assert_eq!(users, USERS),
        Err(error) => refused(&error),
    }
    match &verified {
        Ok(()) => assert!(seen.iter().all(Result::is_ok), "{seen:?}"),
        Err(error) => refused(error),
    }
    verified.is_ok()
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
