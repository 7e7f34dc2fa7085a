//! A new file, which gets its name only once it is complete.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{FileStorage, StorageError, failed};
use crate::folder;

/// How many names are tried for the unfinished file if earlier ones are taken.
const MAX_NAMES: u32 = 1000;

/// A file that is being made, under another name in its final folder. If dropped before it is published, it is
/// removed; a process that is killed leaves it behind.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    /// Never opened by this name: the name is removed when the file has its own.
    temporary: PathBuf,
    /// Whether the temporary name has become the final one. Another unfinished file may have it by now.
    is_renamed: bool,
    file: File,
}

impl Unfinished {
    pub(super) fn new(path: &Path) -> Result<Unfinished, StorageError> {
        if path.file_name().is_none() {
            let error =
                io::Error::new(io::ErrorKind::InvalidInput, "the path does not name a file");
            return Err(failed(error));
        }
        if FileStorage::is_taken(path) {
            return Err(StorageError::Exists);
        }
        let parent = folder::of(path);
        for i in 0..MAX_NAMES {
            // Its length does not depend on the file's own name, which may be as long as names can be.
            let temporary = parent.join(format!(".keyward-{}-{i}.unfinished", std::process::id()));
            match new_file(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => {
                    return Ok(Unfinished {
                        path: path.to_owned(),
                        temporary,
                        is_renamed: false,
                        file: file.map_err(failed)?,
                    });
                }
            }
        }
        let message =
            "killed processes have left too many unfinished files in this folder: remove them";
        Err(failed(io::Error::other(message)))
    }

    /// Returns the same open file, so that a lock on it is a lock on the published file.
    pub(super) fn file(&self) -> Result<File, StorageError> {
        self.file.try_clone().map_err(failed)
    }

    /// Gives the file its name, unless something has that name by now.
    pub(super) fn publish(mut self) -> Result<(), StorageError> {
        self.file.sync_all().map_err(failed)?;
        // Add a second name, since renaming a file replaces whatever already has the new name.
        match fs::hard_link(&self.temporary, &self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StorageError::Exists);
            }
            Err(_) => self.rename()?,
        }
        folder::sync(&self.path).map_err(|error| {
            // It may be gone after a crash, so it should not be there now.
            let _ = fs::remove_file(&self.path);
            failed(error)
        })
    }

    /// For file systems where a file has only one name: an empty file takes the name, and is then replaced. A
    /// process that is killed in between leaves the empty file behind.
    fn rename(&mut self) -> Result<(), StorageError> {
        match new_file(&self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StorageError::Exists);
            }
            Err(error) => return Err(failed(error)),
        }
        fs::rename(&self.temporary, &self.path).map_err(|error| {
            let _ = fs::remove_file(&self.path);
            failed(error)
        })?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_renamed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates an empty file that only its owner may read and write.
fn new_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_once_it_is_published_and_no_other_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let first = Unfinished::new(&path).unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        assert!(!path.exists());
        let second = Unfinished::new(&path).unwrap();
        first.publish().unwrap();
        assert!(matches!(second.publish(), Err(StorageError::Exists)));
        assert_eq!(names(folder.path()), ["vault"]);
    }

    #[test]
    fn a_file_that_is_not_published_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(Unfinished::new(&folder.path().join("vault")).unwrap());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn without_second_names_nothing_is_replaced_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let mut first = Unfinished::new(&path).unwrap();
        let mut second = Unfinished::new(&path).unwrap();
        first.rename().unwrap();
        assert!(matches!(second.rename(), Err(StorageError::Exists)));
        drop((first, second));
        assert_eq!(names(folder.path()), ["vault"]);
    }

    /// As soon as a file is renamed, its temporary name is free for the next one.
    #[test]
    fn a_renamed_file_does_not_remove_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["vault", "other"].map(|name| folder.path().join(name));
        let mut first = Unfinished::new(&path).unwrap();
        first.rename().unwrap();
        let next = Unfinished::new(&other).unwrap();
        drop(first);
        next.publish().unwrap();
        assert_eq!(names(folder.path()), ["other", "vault"]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        Unfinished::new(&path).unwrap().publish().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// As a user who may write to the folder but not read it; for root there is no such folder.
    #[cfg(unix)]
    #[test]
    fn a_folder_that_may_not_be_read_gets_its_file() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode));
        mode(0o300).unwrap();
        let path = folder.path().join("vault");
        let published = Unfinished::new(&path).unwrap().publish();
        mode(0o700).unwrap();
        published.unwrap();
        assert_eq!(names(folder.path()), ["vault"]);
    }
}
