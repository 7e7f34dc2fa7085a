//! The header: whether this is a vault file, and of a version that can be read.
//!
//! It is checked before the database, whose code is made for damaged files, less for foreign or forged ones.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use sha2::{Digest, Sha256};

use super::{StorageError, failed};

/// The size of a database page, so that the database's pages stay aligned with the operating system's.
pub(super) const LENGTH: u64 = PAGE as u64;
const PAGE: usize = 4096;

/// A byte that is not ASCII, a name, and line ends that a transfer as text would change, as in PNG.
const MAGIC: [u8; 12] = *b"\x89keyward\r\n\x1a\n";
const VERSION: u32 = 1;
const VERSION_AT: usize = MAGIC.len();
const RESERVED_AT: usize = VERSION_AT + 4;
const CHECKSUM_AT: usize = PAGE - 32;

pub(super) fn write(file: &File) -> io::Result<()> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&encode(VERSION))
}

/// Reads the header, and checks that something follows it: an empty database would be mistaken for a new one.
pub(super) fn check(file: &File) -> Result<(), StorageError> {
    let length = file.metadata().map_err(failed)?.len();
    if length < LENGTH {
        return Err(damaged("the file is shorter than its header"));
    }
    let mut page = [0; PAGE];
    let mut file = file;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.read_exact(&mut page).map_err(failed)?;
    decode(&page)?;
    if length == LENGTH {
        return Err(damaged("the file ends after its header"));
    }
    Ok(())
}

pub(super) fn encode(version: u32) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..VERSION_AT].copy_from_slice(&MAGIC);
    page[VERSION_AT..RESERVED_AT].copy_from_slice(&version.to_le_bytes());
    let checksum = Sha256::digest(&page[..CHECKSUM_AT]);
    page[CHECKSUM_AT..].copy_from_slice(&checksum);
    page
}

fn decode(page: &[u8; PAGE]) -> Result<(), StorageError> {
    if !page.starts_with(&MAGIC) {
        return Err(damaged("the file does not begin like a vault file"));
    }
    if Sha256::digest(&page[..CHECKSUM_AT])[..] != page[CHECKSUM_AT..] {
        return Err(damaged("the checksum of the file's header does not match"));
    }
    let mut version = [0; 4];
    version.copy_from_slice(&page[VERSION_AT..RESERVED_AT]);
    match u32::from_le_bytes(version) {
        VERSION if page[RESERVED_AT..CHECKSUM_AT].iter().all(|byte| *byte == 0) => Ok(()),
        0 | VERSION => Err(damaged("the file's header is not one that keyward writes")),
        newer => Err(StorageError::UnsupportedVersion(newer)),
    }
}

fn damaged(what: &'static str) -> StorageError {
    StorageError::Damaged(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_checksum(change: impl FnOnce(&mut [u8; PAGE])) -> [u8; PAGE] {
        let mut page = encode(VERSION);
        change(&mut page);
        let checksum = Sha256::digest(&page[..CHECKSUM_AT]);
        page[CHECKSUM_AT..].copy_from_slice(&checksum);
        page
    }

    #[test]
    fn the_layout_is_as_it_is_written_down() {
        let page = encode(VERSION);
        assert_eq!(
            page[..16],
            [
                0x89, 0x6B, 0x65, 0x79, 0x77, 0x61, 0x72, 0x64, 0x0D, 0x0A, 0x1A, 0x0A, 1, 0, 0, 0
            ]
        );
        assert_eq!(page[16..4064], [0; 4048]);
        assert_eq!(page[4064..], Sha256::digest(&page[..4064])[..]);
        decode(&page).unwrap();
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let page = encode(VERSION);
        for at in 0..PAGE {
            for bits in [0x01, 0x80, 0xFF] {
                let mut page = page;
                page[at] ^= bits;
                let error = decode(&page).unwrap_err();
                assert!(
                    matches!(error, StorageError::Damaged(_)),
                    "byte {at}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn what_a_forger_can_put_into_the_header_is_found() {
        for at in [RESERVED_AT, CHECKSUM_AT - 1] {
            let error = decode(&with_checksum(|page| page[at] = 1)).unwrap_err();
            assert!(
                matches!(error, StorageError::Damaged(_)),
                "byte {at}: {error:?}"
            );
        }
        let error = decode(&encode(0)).unwrap_err();
        assert!(matches!(error, StorageError::Damaged(_)), "{error:?}");
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        for version in [2, 3, u32::MAX] {
            let page = with_checksum(|page| {
                page[VERSION_AT..RESERVED_AT].copy_from_slice(&version.to_le_bytes());
                page[RESERVED_AT] = 7;
            });
            let error = decode(&page).unwrap_err();
            assert!(
                matches!(error, StorageError::UnsupportedVersion(found) if found == version),
                "{error:?}"
            );
        }
    }
}
