//! What is at the path of a file, and the folder that it is in.

use std::{fs, io, path::Path};

use crate::{failure::Failure, folder};

/// Creates the folder of a file, accessible to this user alone, and its parents.
pub(crate) fn create_folder(path: &Path) -> Result<(), Failure> {
    let folder = folder::of(path);
    // The working directory exists, even where it cannot be looked at.
    if folder.is_dir() || folder == Path::new(".") {
        return Ok(());
    }
    create_folder(folder)?;
    let failed = |error| Failure::file(folder, &error);
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // Another process was faster.
        Err(_) if folder.is_dir() => {}
        created => created.map_err(failed)?,
    }
    folder::sync(folder).map_err(failed)
}

/// Refuses a path for a new file where something is already: before a key is asked for or created.
pub(crate) fn must_be_vacant(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        let what = if is_link_to_nothing(path) {
            "this is a symbolic link to nothing: remove it, or choose another path"
        } else {
            "already exists"
        };
        return Err(Failure::taken(format!("{}: {what}", path.display())));
    }
    Ok(())
}

/// Whether there is certainly nothing at the path.
pub(crate) fn is_vacant(path: &Path) -> bool {
    let found = path.symlink_metadata();
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether there is a symbolic link at the path, and no file where it leads to.
pub(crate) fn is_link_to_nothing(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

/// Refuses the path of a new file in a folder that does not exist.
pub(crate) fn folder_must_exist(path: &Path) -> Result<(), Failure> {
    let folder = folder::of(path);
    if folder.is_dir() {
        return Ok(());
    }
    Err(Failure::file(folder, &io::ErrorKind::NotADirectory.into()))
}

/// Whether two paths, of files that need not exist, lead to the same file.
pub(crate) fn are_same(one: &Path, other: &Path) -> bool {
    if let (Ok(one), Ok(other)) = (fs::canonicalize(one), fs::canonicalize(other)) {
        return one == other;
    }
    let folder = |path| fs::canonicalize(folder::of(path)).ok();
    one == other
        || one.file_name() == other.file_name()
            && folder(one).is_some_and(|one| Some(one) == folder(other))
}
