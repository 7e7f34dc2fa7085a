//! The keys that open a vault, and where they come from.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use keyward::{Error, KeySource, SecretValue};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    args::{GlobalArgs, NewKey},
    failure::Failure,
    folder,
    input::Input,
    key_file, paths,
};

/// The variable with the vault's passphrase.
pub(crate) const PASSPHRASE: &str = "KEYWARD_PASSPHRASE";

/// The variables that lead to the vault's key. A program that keyward runs does not get them.
pub(crate) const VARIABLES: [&str; 3] = [PASSPHRASE, "KEYWARD_KEY_FILE", "KEYWARD_KEYRING"];

/// A key that can be used more than once in a command.
pub(crate) enum Key {
    Passphrase(SecretValue),
    Raw(Zeroizing<Vec<u8>>),
    #[cfg(feature = "keyring")]
    Keyring,
}

/// Where a key is kept, outside this program: it can be read again at any time.
pub(crate) enum KeptKey {
    InFile(PathBuf),
    #[cfg(feature = "keyring")]
    InKeyring,
}

impl KeptKey {
    pub(crate) fn of(globals: &GlobalArgs) -> Option<KeptKey> {
        #[cfg(feature = "keyring")]
        if globals.keyring {
            return Some(KeptKey::InKeyring);
        }
        globals.key_file.clone().map(KeptKey::InFile)
    }

    pub(crate) fn read(&self) -> Result<Key, Failure> {
        match self {
            KeptKey::InFile(path) => Key::in_file(path),
            #[cfg(feature = "keyring")]
            KeptKey::InKeyring => Ok(Key::Keyring),
        }
    }
}

/// A key for a new vault or a new slot.
pub(crate) struct FreshKey {
    pub(crate) key: Key,
    made: Option<MadeFile>,
}

impl FreshKey {
    /// Finds or makes the key of a vault to be created.
    pub(crate) fn for_new_vault(
        globals: &GlobalArgs,
        input: &mut Input,
    ) -> Result<FreshKey, Failure> {
        if let Some(path) = &globals.key_file {
            return FreshKey::made_in(path);
        }
        if let Some(key) = Key::given(globals, input)? {
            return Ok(key.into());
        }
        Key::new_passphrase(input, none_given).map(FreshKey::from)
    }

    /// Finds or makes a key for an existing vault, besides the one that opens it.
    pub(crate) fn wanted(wanted: &NewKey, input: &mut Input) -> Result<FreshKey, Failure> {
        if let Some(path) = &wanted.new_key_file {
            return FreshKey::made_in(path);
        }
        #[cfg(feature = "keyring")]
        if wanted.new_keyring {
            return Ok(Key::Keyring.into());
        }
        let passphrase = Key::new_passphrase(input, |_| {
            let keyring = if cfg!(feature = "keyring") {
                ", --new-keyring"
            } else {
                ""
            };
            cannot_be_asked_for(&format!(
                "give --new-key-file FILE{keyring}, or --passphrase-stdin and on standard input the vault's \
                 passphrase and the new one (with --key-file FILE, the new one alone)"
            ))
        })?;
        Ok(passphrase.into())
    }

    /// Reads the key in a file; creates the file with a new key if it does not exist. If others create it at the same
    /// time, all have the same key.
    fn made_in(path: &Path) -> Result<FreshKey, Failure> {
        loop {
            if !path.exists()
                && let Some(made) = FreshKey::make_in(path)?
            {
                return Ok(made);
            }
            match Key::in_file_that_stays(path) {
                // The process that made it has removed it again.
                Err(_) if paths::is_vacant(path) => {}
                found => return found.map(FreshKey::from),
            }
        }
    }

    /// Makes a file with a new key; `None` if somebody else was faster.
    fn make_in(path: &Path) -> Result<Option<FreshKey>, Failure> {
        let mut key = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut key)
            .map_err(|error| Failure::no_key(format!("no random key could be created: {error}")))?;
        let mut text = Zeroizing::new(String::with_capacity(65));
        for byte in key.iter() {
            text.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
        }
        text.push('\n');
        paths::create_folder(path)?;
        match new_file(path, &text) {
            Ok(file) => Ok(Some(FreshKey {
                key: Key::Raw(key),
                made: Some(MadeFile {
                    path: path.to_owned(),
                    file,
                }),
            })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(Failure::file(path, &error)),
        }
    }

    /// Removes the key's file, if this command made it: what was to be opened by the key does not exist.
    pub(crate) fn remove_what_was_made(self) {
        if let Some(made) = self.made
            && folder::is_at(&made.file, &made.path)
        {
            let _ = fs::remove_file(&made.path);
        }
    }
}

impl From<Key> for FreshKey {
    fn from(key: Key) -> FreshKey {
        FreshKey { key, made: None }
    }
}

/// A key file that this command made. The command keeps it locked until it knows whether the file stays: if the command
/// fails, it removes the file again. Another process that wants to use the key for something new waits for the lock.
struct MadeFile {
    path: PathBuf,
    file: fs::File,
}

/// Compares whether two keys open the same slots.
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        match (self, other) {
            (Key::Passphrase(one), Key::Passphrase(other)) => {
                let [one, other] = [one, other].map(|key| key.expose_secret().as_bytes());
                one.ct_eq(other).into()
            }
            (Key::Raw(one), Key::Raw(other)) => one.ct_eq(other).into(),
            #[cfg(feature = "keyring")]
            (Key::Keyring, Key::Keyring) => true,
            _ => false,
        }
    }
}

impl Key {
    /// Finds the key of an existing vault. Asks for a passphrase only if `input` allows it.
    pub(crate) fn find(globals: &GlobalArgs, input: &mut Input) -> Result<Key, Failure> {
        if let Some(key) = Key::given(globals, input)? {
            return Ok(key);
        }
        match input.prompt("Passphrase: ")? {
            Some(passphrase) => Ok(Key::Passphrase(passphrase)),
            None => Err(none_given(input)),
        }
    }

    /// Finds another passphrase for a vault that a passphrase opens.
    pub(crate) fn changed_passphrase(input: &mut Input) -> Result<Key, Failure> {
        Key::new_passphrase(input, |_| {
            cannot_be_asked_for(
                "give --passphrase-stdin, and on standard input the present passphrase and the new one, a line each",
            )
        })
    }

    /// Asks for a passphrase twice, or takes the next line of standard input if passphrases come from there.
    fn new_passphrase(
        input: &mut Input,
        without_terminal: impl Fn(&Input) -> Failure,
    ) -> Result<Key, Failure> {
        if let Some(line) = input.passphrase_line()? {
            return Ok(Key::Passphrase(line));
        }
        let Some(first) = input.prompt("New passphrase: ")? else {
            return Err(without_terminal(input));
        };
        let Some(second) = input.prompt("Repeat passphrase: ")? else {
            return Err(without_terminal(input));
        };
        if first.expose_secret() != second.expose_secret() {
            return Err(Failure::invalid("the two passphrases do not match"));
        }
        Ok(Key::Passphrase(first))
    }

    /// Reads the key in a file.
    pub(crate) fn in_file(path: &Path) -> Result<Key, Failure> {
        Key::read(&open(path)?, path)
    }

    /// Reads the key in a file that will be used for a new vault or slot. If another process has just made the file,
    /// this waits until that process knows whether the file stays: see [`MadeFile`].
    pub(crate) fn in_file_that_stays(path: &Path) -> Result<Key, Failure> {
        let mut file = open(path)?;
        for _ in 0..NAMES {
            // Not every file can be locked. Then nobody else has locked it either.
            if file.lock_shared().is_err() || folder::is_at(&file, path) {
                break;
            }
            file = open(path)?;
        }
        Key::read(&file, path)
    }

    fn read(file: &fs::File, path: &Path) -> Result<Key, Failure> {
        let key = key_file::read(file).map_err(|error| Failure::file(path, &error))?;
        key.map(Key::Raw).ok_or_else(|| {
            Failure::no_key(format!(
                "{}: a key file must have 32 bytes, or 64 hexadecimal digits",
                path.display()
            ))
        })
    }

    #[cfg_attr(
        not(feature = "keyring"),
        expect(clippy::unnecessary_wraps, reason = "a keyring can be out of reach")
    )]
    pub(crate) fn source(&self) -> Result<KeySource, Error> {
        Ok(match self {
            Key::Passphrase(passphrase) => KeySource::passphrase(passphrase.clone()),
            Key::Raw(key) => KeySource::raw(key),
            #[cfg(feature = "keyring")]
            Key::Keyring => KeySource::provider(keyward::KeyringProvider::native("keyward")?),
        })
    }

    fn given(globals: &GlobalArgs, input: &mut Input) -> Result<Option<Key>, Failure> {
        if let Some(kept) = KeptKey::of(globals) {
            return kept.read().map(Some);
        }
        if let Some(line) = input.passphrase_line()? {
            return Ok(Some(Key::Passphrase(line)));
        }
        match env::var(PASSPHRASE) {
            Ok(passphrase) => Ok(Some(Key::Passphrase(passphrase.into()))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => Err(Failure::no_key(format!(
                "{PASSPHRASE} is not valid Unicode"
            ))),
        }
    }
}

/// Opens a key file.
fn open(path: &Path) -> Result<fs::File, Failure> {
    fs::File::open(path).map_err(|error| {
        let error = if paths::is_link_to_nothing(path) {
            io::Error::other(
                "this is a symbolic link to nothing: bring back the key that it leads to, or name another file",
            )
        } else {
            error
        };
        Failure::file(path, &error)
    })
}

/// Makes a file that has its name only once it is complete, where the file system allows that. It is locked.
fn new_file(path: &Path, text: &str) -> io::Result<fs::File> {
    let id = std::process::id();
    // A name can be taken by another thread, or left by a process that was killed.
    for number in 0..NAMES {
        let unfinished = path.with_file_name(format!(".keyward-{id}-{number}.unfinished"));
        let file = match write_new(&unfinished, text) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            written => written?,
        };
        // Not renamed: that would replace the key of somebody who was faster.
        let named = match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => write_new(path, text),
            named => named.map(|()| file),
        };
        let removed = fs::remove_file(&unfinished);
        let file = named?;
        if let Err(error) = removed.and_then(|()| folder::sync(path)) {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        return Ok(file);
    }
    Err(io::Error::other("unfinished files are in the way"))
}

/// Makes a file that only its owner can read, locks it, and writes it to the disk. If that fails, there is none.
fn write_new(path: &Path, text: &str) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // Not every file system has locks.
    let _ = file.lock();
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        drop(file);
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// How many names are tried for an unfinished file.
const NAMES: u32 = 1000;

const HEX: &[u8; 16] = b"0123456789abcdef";

fn none_given(input: &Input) -> Failure {
    let keyring = if cfg!(feature = "keyring") {
        ", --keyring"
    } else {
        ""
    };
    let otherwise = if input.is_taken() {
        ""
    } else {
        ", or --passphrase-stdin; without a terminal, a passphrase cannot be asked for"
    };
    Failure::no_key(format!(
        "no key for the vault: give --key-file FILE (or KEYWARD_KEY_FILE){keyring}, or {PASSPHRASE}{otherwise}"
    ))
}

/// The vault has its key, but another one is to be typed.
fn cannot_be_asked_for(instead: &str) -> Failure {
    Failure::no_key(format!(
        "the new passphrase cannot be asked for without a terminal: {instead}"
    ))
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn all_who_make_a_key_file_at_the_same_time_have_its_key() {
        const THREADS: usize = 8;
        for _ in 0..50 {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("new/key");
            let start = Barrier::new(THREADS);
            let made: Vec<Key> = thread::scope(|scope| {
                let make = || {
                    start.wait();
                    let made = FreshKey::made_in(&path);
                    made.unwrap_or_else(|failure| panic!("{failure}")).key
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(make)).collect();
                let keys = threads.into_iter().map(thread::ScopedJoinHandle::join);
                keys.map(|key| key.expect("no panic")).collect()
            });
            let kept = Key::in_file(&path).unwrap_or_else(|failure| panic!("{failure}"));
            assert!(made.iter().all(|key| *key == kept));
            let files = fs::read_dir(folder.path().join("new")).expect("a folder");
            assert_eq!(files.count(), 1);
        }
    }

    /// It would otherwise lose the key of what it has made with it.
    #[test]
    fn who_finds_a_key_file_waits_until_its_maker_keeps_it() {
        for keeps in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("key");
            let make = || FreshKey::made_in(&path).unwrap_or_else(|failure| panic!("{failure}"));
            let first = make();
            let file = fs::File::open(&path).expect("it was made");
            assert!(file.try_lock_shared().is_err());
            let found = thread::scope(|scope| {
                let finder = scope.spawn(|| make().key);
                if keeps {
                    drop(first);
                } else {
                    first.remove_what_was_made();
                }
                finder.join().expect("no panic")
            });
            let kept = Key::in_file(&path).unwrap_or_else(|failure| panic!("{failure}"));
            assert!(found == kept, "{keeps}");
        }
    }

    #[test]
    fn only_a_file_that_was_made_here_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let make = || FreshKey::made_in(&path).unwrap_or_else(|failure| panic!("{failure}"));
        drop(make());
        make().remove_what_was_made();
        assert!(path.exists());
        fs::remove_file(&path).expect("it exists");
        let fresh = make();
        fs::rename(&path, folder.path().join("other")).expect("it exists");
        fs::write(&path, "somebody else's").expect("there is room");
        fresh.remove_what_was_made();
        assert!(path.exists());
        fs::remove_file(&path).expect("it exists");
        make().remove_what_was_made();
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_no_key_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::os::unix::fs::symlink("nothing", &path).expect("there is nothing yet");
        assert!(FreshKey::made_in(&path).is_err());
    }
}
