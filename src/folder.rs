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
