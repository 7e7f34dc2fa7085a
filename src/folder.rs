//! The folder that a file is in, and the names in it.
//!
//! The program compiles this file as well, for the files that it makes itself.

use std::{fs::File, io, path::Path};

/// Returns the folder that a file is in, or will be.
pub(crate) fn of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the name of a new file or folder durable. Windows does so by itself; a folder that may be written but not read
/// cannot be opened for it, and some file systems refuse it: then it is as durable as the file system makes it.
pub(crate) fn sync(file: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    unless_impossible(File::open(of(file)).and_then(|folder| folder.sync_all()))
}

/// Whether this file is still the one at the path: it may have been removed, and replaced by another one.
#[cfg(all(feature = "file", unix))]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let at_path = path.metadata().map(id);
    let own = file.metadata().map(id);
    own.is_ok_and(|own| at_path.is_ok_and(|other| own == other))
}

/// The standard library has no number by which files could be told apart.
#[cfg(all(feature = "file", not(unix)))]
pub(crate) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn unless_impossible(synced: io::Result<()>) -> io::Result<()> {
    match synced.as_ref().map_err(io::Error::kind) {
        Err(
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported,
        ) => Ok(()),
        _ => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_done_is_left_undone() {
        use io::ErrorKind::{InvalidInput, PermissionDenied, StorageFull, Unsupported};

        for kind in [PermissionDenied, InvalidInput, Unsupported] {
            unless_impossible(Err(kind.into())).unwrap();
        }
        unless_impossible(Err(StorageFull.into())).unwrap_err();
        unless_impossible(Err(io::Error::other("the disk has failed"))).unwrap_err();
    }
}
