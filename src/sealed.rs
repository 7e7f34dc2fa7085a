//! What is stored: sealed bytes, and names of rows that reveal nothing.

use std::fmt;

use zeroize::Zeroize;

/// Sealed bytes: without the key, only their length is known.
///
/// Wiped when dropped, so that of a deleted value not even this form is left. (A store may keep copies of its own.)
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed(Box<[u8]>);

impl Sealed {
    pub(crate) fn new(bytes: impl Into<Box<[u8]>>) -> Sealed {
        Sealed(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A secret: metadata and value are sealed separately, so that the metadata can be read without opening the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedRow {
    /// The data key that both are sealed with.
    pub(crate) key_id: u32,
    pub(crate) metadata: Sealed,
    pub(crate) value: Sealed,
}

/// The root of a user or of the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedRoot {
    /// The data key that it is sealed with.
    pub(crate) key_id: u32,
    pub(crate) root: Sealed,
}

/// The name under which a user's rows are stored: a keyed digest of the user's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserTag(pub(crate) [u8; 16]);

/// The name under which a row is stored: a keyed digest of the user's and the secret's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowTag(pub(crate) [u8; 16]);
