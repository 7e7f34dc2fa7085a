//! The byte forms of rows and roots, as described in `docs/format.md`.

use crate::sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag};

pub(super) fn encode_root(root: &SealedRoot) -> Vec<u8> {
    [&root.key_id.to_le_bytes(), root.root.as_bytes()].concat()
}

pub(super) fn decode_root(bytes: &[u8]) -> Option<SealedRoot> {
    let (key_id, root) = bytes.split_first_chunk()?;
    Some(SealedRoot {
        key_id: u32::from_le_bytes(*key_id),
        root: Sealed::new(root),
    })
}

/// Returns `None` if the metadata is too long for its length field.
pub(super) fn encode_row(row: &SealedRow) -> Option<Vec<u8>> {
    let metadata = row.metadata.as_bytes();
    let length = u32::try_from(metadata.len()).ok()?;
    Some(
        [
            &row.key_id.to_le_bytes(),
            &length.to_le_bytes(),
            metadata,
            row.value.as_bytes(),
        ]
        .concat(),
    )
}

pub(crate) fn decode_row(bytes: &[u8]) -> Option<SealedRow> {
    let (key_id, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (metadata, value) = rest.split_at_checked(length)?;
    Some(SealedRow {
        key_id: u32::from_le_bytes(*key_id),
        metadata: Sealed::new(metadata),
        value: Sealed::new(value),
    })
}

pub(super) fn row_key(user: UserTag, row: RowTag) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&user.0);
    key[16..].copy_from_slice(&row.0);
    key
}

/// Returns the row's own name from its key.
pub(super) fn row_tag(key: &[u8; 32]) -> RowTag {
    let mut tag = [0; 16];
    tag.copy_from_slice(&key[16..]);
    RowTag(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(metadata: &[u8], value: &[u8]) -> SealedRow {
        SealedRow {
            key_id: 0x0403_0201,
            metadata: Sealed::new(metadata),
            value: Sealed::new(value),
        }
    }

    #[test]
    fn the_byte_forms_are_as_they_are_written_down() {
        let bytes = encode_row(&row(b"metadata", b"value")).unwrap();
        assert_eq!(bytes, b"\x01\x02\x03\x04\x08\0\0\0metadatavalue");
        assert_eq!(decode_row(&bytes), Some(row(b"metadata", b"value")));
        let root = SealedRoot {
            key_id: 0x0403_0201,
            root: Sealed::new(*b"root"),
        };
        assert_eq!(encode_root(&root), b"\x01\x02\x03\x04root");
        assert_eq!(decode_root(b"\x01\x02\x03\x04root"), Some(root));
        let key = row_key(UserTag([1; 16]), RowTag([2; 16]));
        assert_eq!(key, *[[1; 16], [2; 16]].as_flattened());
        assert_eq!(row_tag(&key), RowTag([2; 16]));
    }

    #[test]
    fn a_length_that_is_not_there_is_no_row() {
        assert_eq!(
            decode_row(&[0; 8]),
            Some(SealedRow {
                key_id: 0,
                ..row(b"", b"")
            })
        );
        for bytes in [
            &[][..],
            &[0; 7],
            b"\0\0\0\0\x01\0\0\0",
            b"\0\0\0\0\xff\xff\xff\xffmetadata",
        ] {
            assert_eq!(decode_row(bytes), None);
        }
        assert_eq!(decode_root(&[0; 3]), None);
    }
}
