//! The keys between a key slot and a record.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    aead::{self, Context, Key},
    derive::derive,
    record::RecordKeys,
};
use crate::{
    error::{Error, ErrorKind},
    sealed::Sealed,
};

/// The version of the format of everything that is sealed.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The random id of a vault. What was sealed in one vault cannot be opened in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VaultId(pub(crate) [u8; 16]);

impl VaultId {
    pub(crate) fn random() -> Result<VaultId, Error> {
        let mut id = [0; 16];
        aead::fill_random(&mut id)?;
        Ok(VaultId(id))
    }

    /// The start of every context: what, in which format, of which vault.
    pub(super) fn context(self, purpose: &'static str) -> Context {
        Context::new(purpose)
            .field(&FORMAT_VERSION.to_le_bytes())
            .field(&self.0)
    }
}

/// The key that key slots seal and that seals the key ring.
#[derive(Debug)]
pub(crate) struct MasterKey(pub(super) Key);

impl MasterKey {
    pub(crate) fn random() -> Result<MasterKey, Error> {
        Key::random().map(MasterKey)
    }
}

/// The keys of an unlocked vault. Wiped when dropped.
pub(crate) struct KeyRing {
    pub(super) vault: VaultId,
    /// What the names and the digests of rows are made with.
    index: Key,
    pub(super) tags: Key,
    pub(super) digests: Key,
    /// The data keys in use, oldest first; the last one seals what is written.
    data: Vec<RecordKeys>,
}

impl KeyRing {
    /// New keys for a new vault.
    pub(crate) fn random(vault: VaultId) -> Result<KeyRing, Error> {
        Ok(KeyRing::new(
            vault,
            Key::random()?,
            vec![RecordKeys::new(1, Key::random()?)],
        ))
    }

    fn new(vault: VaultId, index: Key, data: Vec<RecordKeys>) -> KeyRing {
        KeyRing {
            vault,
            tags: derive(&index, "keyward index tags"),
            digests: derive(&index, "keyward index digests"),
            index,
            data,
        }
    }

    /// The data key that seals what is written.
    pub(super) fn current(&self) -> &RecordKeys {
        self.data.last().expect("a key ring has a data key")
    }

    pub(super) fn data_key(&self, id: u32) -> Option<&RecordKeys> {
        self.data.iter().find(|key| key.id() == id)
    }

    /// `index key [32] | (data key id u32 | data key [32])…`, sealed with the master key.
    pub(crate) fn seal(&self, master: &MasterKey) -> Result<Sealed, Error> {
        let length = Key::LENGTH + self.data.len() * (4 + Key::LENGTH);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(self.index.as_bytes());
        for key in &self.data {
            bytes.extend_from_slice(&key.id().to_le_bytes());
            bytes.extend_from_slice(key.data_key().as_bytes());
        }
        aead::seal(&master.0, &self.vault.context("keyward key ring"), &bytes)
    }

    pub(crate) fn open(
        vault: VaultId,
        master: &MasterKey,
        sealed: &Sealed,
    ) -> Result<KeyRing, Error> {
        let corrupt = || {
            Error::new(
                ErrorKind::Corrupt,
                "the vault's keys are damaged: restore a backup",
            )
        };
        let bytes = aead::open(&master.0, &vault.context("keyward key ring"), sealed)
            .ok_or_else(corrupt)?;
        let (index, data) = bytes.split_at_checked(Key::LENGTH).ok_or_else(corrupt)?;
        let index = Key::from_slice(index).ok_or_else(corrupt)?;
        let data = data.chunks(4 + Key::LENGTH).map(|entry| {
            let (id, key) = entry.split_first_chunk()?;
            Some(RecordKeys::new(
                u32::from_le_bytes(*id),
                Key::from_slice(key)?,
            ))
        });
        let data: Vec<RecordKeys> = data.collect::<Option<_>>().ok_or_else(corrupt)?;
        if data.is_empty() {
            return Err(corrupt());
        }
        Ok(KeyRing::new(vault, index, data))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.data.iter().map(RecordKeys::id).collect();
        f.debug_struct("KeyRing")
            .field("vault", &self.vault)
            .field("data_keys", &ids)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ring_opens_with_its_master_key_in_its_vault_only() {
        let vault = VaultId::random().unwrap();
        let master = MasterKey::random().unwrap();
        let ring = KeyRing::random(vault).unwrap();
        let sealed = ring.seal(&master).unwrap();
        let opened = KeyRing::open(vault, &master, &sealed).unwrap();
        assert_eq!(opened.tags.as_bytes(), ring.tags.as_bytes());
        assert_eq!(
            opened.current().data_key().as_bytes(),
            ring.current().data_key().as_bytes()
        );
        for result in [
            KeyRing::open(VaultId::random().unwrap(), &master, &sealed),
            KeyRing::open(vault, &MasterKey::random().unwrap(), &sealed),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
