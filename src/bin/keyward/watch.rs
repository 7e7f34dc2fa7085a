//! Keeping up with a vault file that others write.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use keyward::{Error, ErrorKind, Vault};

use crate::{key::KeptKey, output};

/// Tries again while another process has the vault open, until the patience ends.
pub(crate) fn patiently<T>(
    patience: Duration,
    attempt: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::InUse && start.elapsed() < patience => {
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// Keeps a snapshot as up to date as the vault's file.
pub(crate) struct Watch {
    vault: Vault,
    path: PathBuf,
    /// Opens the vault again if its master key was changed.
    key: Option<KeptKey>,
    /// What the file looked like when it was last read, if an unchanged look proves that the file is unchanged.
    seen: Option<Look>,
    /// Whether another process had the vault open at the last look.
    in_use: bool,
    broken: bool,
}

#[derive(PartialEq, Eq)]
struct Look {
    modified: SystemTime,
    length: u64,
    /// Whether the file had been left alone for long enough before the look. Of a file that is written to while it is
    /// read, nothing can be told later.
    is_settled: bool,
}

impl Watch {
    /// How long a file must have been left alone before its modification time identifies its content: file systems
    /// count time in steps.
    const SETTLED: Duration = Duration::from_secs(2);

    /// How long a look waits for another process that has the vault open, unless it had it at the look before. Most
    /// have it only for a moment.
    const PATIENCE: Duration = Duration::from_millis(250);

    /// Watches a vault that does not wait when it is [reloaded](Vault::reload).
    pub(crate) fn new(vault: Vault, path: &Path, key: Option<KeptKey>) -> Watch {
        Watch {
            vault,
            path: path.to_owned(),
            key,
            seen: None,
            in_use: false,
            broken: false,
        }
    }

    /// Reads the file again if it may have changed.
    pub(crate) fn look(&mut self) {
        if self.broken {
            return;
        }
        let look = fs::metadata(&self.path).and_then(|file| {
            let modified = file.modified()?;
            Ok(Look {
                modified,
                length: file.len(),
                is_settled: modified.elapsed().is_ok_and(|age| age > Self::SETTLED),
            })
        });
        let look = look.ok();
        if look.is_some() && look == self.seen {
            return;
        }
        match self.reload() {
            Ok(_) => {
                self.seen = look.filter(|look| look.is_settled);
                self.in_use = false;
            }
            // It is being written to: until that is done, the earlier state holds.
            Err(error) if error.kind() == ErrorKind::InUse => {
                self.in_use = true;
            }
            // The owner may have taken the vault away, so nothing is given out any more.
            Err(error) => {
                self.broken = true;
                let _ = self.vault.lock();
                output::complain(format_args!(
                    "keyward: the vault can no longer be read, so calls are refused until the proxy is restarted: {error}"
                ));
            }
        }
    }

    fn reload(&self) -> Result<bool, Error> {
        let patience = if self.in_use {
            Duration::ZERO
        } else {
            Self::PATIENCE
        };
        patiently(patience, || self.reload_once())
    }

    fn reload_once(&self) -> Result<bool, Error> {
        match (self.vault.reload(), &self.key) {
            (Err(error), Some(key)) if error.kind() == ErrorKind::WrongKey => {
                match key.read().and_then(|key| Ok(key.source()?)) {
                    Ok(source) => self.vault.reload_with(source),
                    Err(_) => Err(error),
                }
            }
            (reloaded, _) => reloaded,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use keyward::{KeySource, NewSecret, ToolCall, UserId};
    use serde_json::Map;

    use super::*;

    struct Folder {
        path: PathBuf,
        /// The file with the vault's key.
        key: PathBuf,
        _dir: tempfile::TempDir,
    }

    fn key() -> KeySource {
        KeySource::raw([7; 32])
    }

    impl Folder {
        /// Creates a folder with a vault and its key.
        fn new() -> Folder {
            let folder = tempfile::tempdir().unwrap();
            let [path, kept] = ["vault.keyward", "key"].map(|name| folder.path().join(name));
            Vault::create(&path, key()).unwrap();
            fs::write(&kept, [7; 32]).unwrap();
            Folder {
                path,
                key: kept,
                _dir: folder,
            }
        }

        fn watch(&self) -> Watch {
            self.watch_with(Some(KeptKey::InFile(self.key.clone())))
        }

        fn watch_with(&self, kept: Option<KeptKey>) -> Watch {
            Watch::new(
                Vault::snapshot(&self.path, key()).unwrap(),
                &self.path,
                kept,
            )
        }

        fn add(&self, name: &str) {
            let user = Vault::open(&self.path, key()).unwrap().user(UserId::LOCAL);
            user.create(NewSecret::new(name, "lin_api_Zq8wT3vN").bind("t", name))
                .unwrap();
        }

        /// Overwrites the vault with garbage of the same length, without changing what the file looks like.
        fn damage_unseen(&self) {
            let before = fs::metadata(&self.path).unwrap();
            let length = usize::try_from(before.len()).unwrap();
            fs::write(&self.path, vec![b'x'; length]).unwrap();
            self.set_modified(before.modified().unwrap());
        }

        fn set_modified(&self, time: SystemTime) {
            let file = File::options().write(true).open(&self.path).unwrap();
            file.set_modified(time).unwrap();
        }
    }

    impl Watch {
        fn names(&self) -> Vec<String> {
            let secrets = self.vault.user(UserId::LOCAL).secrets().unwrap();
            secrets.into_iter().map(|info| info.secret_name).collect()
        }
    }

    #[test]
    fn what_others_wrote_is_there_after_a_look() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        for names in [&["a"][..], &["a", "b"]] {
            folder.add(names[names.len() - 1]);
            watch.look();
            assert_eq!(watch.names(), names);
        }
    }

    #[test]
    fn a_file_that_was_left_alone_is_not_read_again() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        folder.set_modified(SystemTime::now() - 2 * Watch::SETTLED);
        watch.look();
        folder.damage_unseen();
        watch.look();
        assert!(!watch.broken);
        // Any other time, even an earlier one, means another file.
        folder.set_modified(SystemTime::now() - 3 * Watch::SETTLED);
        watch.look();
        assert!(watch.broken);
    }

    #[test]
    fn a_file_that_was_written_just_now_may_be_written_again_within_the_same_step_of_its_clock() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        watch.look();
        folder.damage_unseen();
        watch.look();
        assert!(watch.broken);
    }

    #[test]
    fn while_another_process_writes_what_was_there_before_holds() {
        let folder = Folder::new();
        folder.add("a");
        let mut watch = folder.watch();
        let writer = Vault::open(&folder.path, key()).unwrap();
        writer
            .user(UserId::LOCAL)
            .create(NewSecret::new("b", "lin_api_Zq8wT3vN"))
            .unwrap();
        watch.look();
        assert_eq!(watch.names(), ["a"]);
        assert!(watch.in_use, "the next look does not wait");
        drop(writer);
        watch.look();
        assert_eq!(watch.names(), ["a", "b"]);
        assert!(!watch.in_use);
    }

    #[test]
    fn a_new_master_key_is_followed_by_a_key_that_can_be_read_again() {
        let folder = Folder::new();
        let mut watch = folder.watch();
        let mut without = folder.watch_with(None);
        // The new master key has another key, too: what counts is what the file holds now.
        fs::write(&folder.key, [9; 32]).unwrap();
        let vault = Vault::open(&folder.path, key()).unwrap();
        vault.add_key(key(), KeySource::raw([9; 32])).unwrap();
        vault.rotate_master_key([KeySource::raw([9; 32])]).unwrap();
        let user = vault.user(UserId::LOCAL);
        user.create(NewSecret::new("a", "lin_api_Zq8wT3vN"))
            .unwrap();
        drop((user, vault));

        watch.look();
        assert_eq!(watch.names(), ["a"]);
        without.look();
        assert!(without.broken);
    }

    #[test]
    fn a_vault_that_is_gone_or_damaged_gives_nothing_out() {
        for spoil in [
            (|path| fs::remove_file(path).unwrap()) as fn(&Path),
            |path| fs::write(path, "no vault").unwrap(),
            |path| {
                fs::remove_file(path).unwrap();
                Vault::create(path, KeySource::raw([8; 32])).unwrap();
            },
            |path| {
                fs::remove_file(path).unwrap();
                Vault::create(path, key()).unwrap();
            },
        ] {
            let folder = Folder::new();
            folder.add("a");
            let mut watch = folder.watch();
            let user = watch.vault.user(UserId::LOCAL);
            spoil(&folder.path);
            watch.look();
            let error = user
                .inject(&ToolCall::new("t"), &mut Map::new())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Locked);
            // It stays locked, whatever happens to the file.
            let _ = fs::remove_file(&folder.path);
            Vault::create(&folder.path, key()).unwrap();
            watch.look();
            assert!(user.secrets().is_err());
        }
    }
}
