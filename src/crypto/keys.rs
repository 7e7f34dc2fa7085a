//! The keys between the key slots and the records.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    aead::{self, Context, Key},
    derive::derive_into,
    page::{DATA_KEYS, DataKey, KeyBytes, KeyPage},
};
use crate::{
    error::{Error, ErrorKind},
    sealed::Sealed,
};

/// The format version of everything that is sealed.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The random id of a vault. What is sealed in one vault cannot be opened in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VaultId(pub(crate) [u8; 16]);

impl VaultId {
    pub(crate) fn random() -> Result<VaultId, Error> {
        let mut id = [0; 16];
        aead::fill_random(&mut id)?;
        Ok(VaultId(id))
    }

    /// Creates a context, which begins with the purpose, the format version and the vault's id.
    #[inline]
    pub(super) fn context(self, purpose: &'static str, fields: &[&[u8]]) -> Context {
        let mut context = Context::new(purpose, &[&FORMAT_VERSION.to_le_bytes(), &self.0]);
        context.push_all(fields);
        context
    }
}

/// The key that key slots seal, and that seals the key ring.
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
    /// The ids of the data keys, in the order of their places in the page. The last one seals new data.
    ids: Vec<u32>,
    page: KeyPage,
    /// Whether the page also holds the master key.
    #[cfg(feature = "file")]
    has_master: bool,
}

impl KeyRing {
    /// Creates new keys for a new vault.
    pub(crate) fn random(vault: VaultId) -> Result<KeyRing, Error> {
        let mut index = Zeroizing::new([0; Key::LENGTH]);
        aead::fill_random(&mut *index)?;
        let mut ring = KeyRing::new(vault, &index);
        ring.push_random(1)?;
        Ok(ring)
    }

    /// Creates a ring without data keys.
    fn new(vault: VaultId, index: &KeyBytes) -> KeyRing {
        let mut page = KeyPage::new();
        let keys = page.keys_mut();
        keys.index.copy_from_slice(index);
        derive_into(index, "keyward index tags", &mut keys.tags);
        derive_into(index, "keyward index digests", &mut keys.digests);
        KeyRing {
            vault,
            ids: Vec::with_capacity(DATA_KEYS),
            page,
            #[cfg(feature = "file")]
            has_master: false,
        }
    }

    /// # Panics
    ///
    /// If all places are taken.
    fn push(&mut self, id: u32, data: &KeyBytes) {
        let key = &mut self.page.keys_mut().data[self.ids.len()];
        key.data.copy_from_slice(data);
        derive_into(data, "keyward record metadata", &mut key.metadata);
        derive_into(data, "keyward record value", &mut key.value);
        derive_into(data, "keyward root", &mut key.root);
        self.ids.push(id);
    }

    fn push_random(&mut self, id: u32) -> Result<(), Error> {
        let mut data = Zeroizing::new([0; Key::LENGTH]);
        aead::fill_random(&mut *data)?;
        self.push(id, &data);
        Ok(())
    }

    /// Returns these keys with a new data key, which seals new data.
    pub(crate) fn with_new_data_key(&self) -> Result<KeyRing, Error> {
        let id = self.current_id().checked_add(1);
        let id = id.filter(|_| self.ids.len() < DATA_KEYS).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "the data key cannot be rotated any more: export the vault and import it into a new one",
            )
        })?;
        let mut ring = KeyRing::new(self.vault, &self.page.keys().index);
        for key in self.data_keys() {
            ring.push(key.id(), &key.key.data);
        }
        ring.push_random(id)?;
        Ok(ring)
    }

    /// Returns these keys with only the data key that seals new data.
    pub(crate) fn with_current_data_key_only(&self) -> KeyRing {
        let mut ring = KeyRing::new(self.vault, &self.page.keys().index);
        ring.push(self.current_id(), &self.current().key.data);
        ring
    }

    /// Returns the id of the data key that seals new data.
    pub(crate) fn current_id(&self) -> u32 {
        self.current().id()
    }

    /// Returns whether rows with an older data key are to be expected.
    pub(crate) fn is_rotating(&self) -> bool {
        self.ids.len() > 1
    }

    /// Returns whether the operating system keeps the keys out of its swap.
    pub(crate) fn is_locked_in_memory(&self) -> bool {
        self.page.is_locked()
    }

    /// Returns the data key that seals new data.
    pub(super) fn current(&self) -> RecordKeys<'_> {
        self.data_keys().last().expect("a key ring has a data key")
    }

    pub(super) fn data_key(&self, id: u32) -> Option<RecordKeys<'_>> {
        self.data_keys().find(|key| key.id() == id)
    }

    fn data_keys(&self) -> impl Iterator<Item = RecordKeys<'_>> {
        let places = self.ids.iter().zip(&self.page.keys().data);
        places.map(|(&id, key)| RecordKeys { id, key })
    }

    pub(super) fn tags(&self) -> &KeyBytes {
        &self.page.keys().tags
    }

    pub(super) fn digests(&self) -> &KeyBytes {
        &self.page.keys().digests
    }

    /// Seals `index key [32] | (data key id u32 | data key [32])…` with the master key.
    pub(crate) fn seal(&self, master: &MasterKey) -> Result<Sealed, Error> {
        let length = Key::LENGTH + self.ids.len() * (4 + Key::LENGTH);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(&self.page.keys().index);
        for key in self.data_keys() {
            bytes.extend_from_slice(&key.id().to_le_bytes());
            bytes.extend_from_slice(&key.key.data);
        }
        let context = self.vault.context("keyward key ring", &[]);
        aead::seal(master.0.as_bytes(), &context, &bytes)
    }

    /// Keeps the master key as well, so that the keys can be [opened again](KeyRing::reopen).
    #[cfg(feature = "file")]
    pub(crate) fn with_master(mut self, master: &MasterKey) -> KeyRing {
        let place = &mut self.page.keys_mut().master;
        place.copy_from_slice(master.0.as_bytes());
        self.has_master = true;
        self
    }

    /// Opens the keys that are now sealed with the same master key, which is kept again.
    ///
    /// # Errors
    ///
    /// `WrongKey` if the master key has changed or was not kept.
    #[cfg(feature = "file")]
    pub(crate) fn reopen(&self, vault: VaultId, sealed: &Sealed) -> Result<KeyRing, Error> {
        let master = Some(&self.page.keys().master);
        master
            .filter(|_| self.has_master && vault == self.vault)
            .and_then(|master| {
                let mut ring = open_ring(vault, master, sealed)?;
                ring.page.keys_mut().master.copy_from_slice(master);
                ring.has_master = true;
                Some(ring)
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::WrongKey,
                    "the master key was changed, or this is another vault: reload it with a key that opens it now",
                )
            })
    }

    /// Returns these keys plus the data keys of `other`, so that what those sealed can be opened as well. New data
    /// is sealed with the same key as before.
    ///
    /// # Errors
    ///
    /// `Unsupported` if there is no room for so many.
    pub(crate) fn and_data_keys_of(&self, other: &KeyRing) -> Result<KeyRing, Error> {
        let more = || {
            other
                .data_keys()
                .filter(|key| self.data_key(key.id()).is_none())
        };
        if more().count() + self.ids.len() > DATA_KEYS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the data key was rotated too often in the meantime: open the vault again",
            ));
        }
        let mut ring = KeyRing::new(self.vault, &self.page.keys().index);
        for key in more().chain(self.data_keys()) {
            ring.push(key.id(), &key.key.data);
        }
        Ok(ring)
    }

    /// Returns whether both are keys of the same vault.
    #[cfg(feature = "file")]
    pub(crate) fn is_of_vault_of(&self, other: &KeyRing) -> bool {
        self.vault == other.vault
    }

    /// Returns whether the data keys have the same ids.
    #[cfg(feature = "file")]
    pub(crate) fn has_ids_of(&self, other: &KeyRing) -> bool {
        self.ids == other.ids
    }

    /// Returns whether data keys with the same id are the same keys. Otherwise one of the rings belongs to a copy of
    /// the vault whose data key was rotated independently. Of rings without an id in common nothing can be said.
    #[cfg(feature = "file")]
    pub(crate) fn continues(&self, other: &KeyRing) -> bool {
        use subtle::ConstantTimeEq as _;

        other.data_keys().all(|key| {
            let same = self.data_key(key.id());
            same.is_none_or(|same| same.key.data.ct_eq(&key.key.data).into())
        })
    }

    pub(crate) fn open(
        vault: VaultId,
        master: &MasterKey,
        sealed: &Sealed,
    ) -> Result<KeyRing, Error> {
        open_ring(vault, master.0.as_bytes(), sealed).ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "the vault's keys are damaged: restore a backup",
            )
        })
    }
}

/// Requires at least one data key, and no more than there are places for.
fn open_ring(vault: VaultId, master: &KeyBytes, sealed: &Sealed) -> Option<KeyRing> {
    let bytes = aead::open(master, &vault.context("keyward key ring", &[]), sealed)?;
    let (index, data) = bytes.split_first_chunk()?;
    let (data, rest) = data.as_chunks::<{ 4 + Key::LENGTH }>();
    if !rest.is_empty() || !(1..=DATA_KEYS).contains(&data.len()) {
        return None;
    }
    let mut ring = KeyRing::new(vault, index);
    for entry in data {
        let (id, key) = entry.split_first_chunk()?;
        ring.push(u32::from_le_bytes(*id), key.first_chunk()?);
    }
    Some(ring)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("vault", &self.vault)
            .field("data_keys", &self.ids)
            .finish_non_exhaustive()
    }
}

/// The keys derived from one data key, borrowed from their place.
#[derive(Clone, Copy)]
pub(super) struct RecordKeys<'a> {
    id: u32,
    key: &'a DataKey,
}

impl<'a> RecordKeys<'a> {
    pub(super) fn id(self) -> u32 {
        self.id
    }

    pub(super) fn metadata(self) -> &'a KeyBytes {
        &self.key.metadata
    }

    pub(super) fn value(self) -> &'a KeyBytes {
        &self.key.value
    }

    pub(super) fn root(self) -> &'a KeyBytes {
        &self.key.root
    }
}

#[cfg(test)]
impl KeyRing {
    /// Calls `see` with the name and the place of every key.
    pub(crate) fn each_key(&self, mut see: impl FnMut(&'static str, &KeyBytes)) {
        let keys = self.page.keys();
        see("index key", &keys.index);
        see("tag key", &keys.tags);
        see("digest key", &keys.digests);
        #[cfg(feature = "file")]
        if self.has_master {
            see("master key", &keys.master);
        }
        for RecordKeys { key, .. } in self.data_keys() {
            see("data key", &key.data);
            see("metadata key", &key.metadata);
            see("value key", &key.value);
            see("root key", &key.root);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_ring_opens_with_its_master_key_in_its_vault_only() {
        let vault = VaultId::random().unwrap();
        let master = MasterKey::random().unwrap();
        let ring = KeyRing::random(vault).unwrap();
        let sealed = ring.seal(&master).unwrap();
        let opened = KeyRing::open(vault, &master, &sealed).unwrap();
        assert_eq!(opened.tags(), ring.tags());
        assert_eq!(opened.current().value(), ring.current().value());
        for result in [
            KeyRing::open(VaultId::random().unwrap(), &master, &sealed),
            KeyRing::open(vault, &MasterKey::random().unwrap(), &sealed),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    /// The page's own test asks the operating system.
    #[test]
    fn a_key_ring_is_locked_in_memory_if_its_page_is() {
        let ring = KeyRing::random(VaultId::random().unwrap()).unwrap();
        assert_eq!(ring.is_locked_in_memory(), ring.page.is_locked());
    }

    fn rotated(ring: &KeyRing, times: usize) -> KeyRing {
        (0..times).fold(ring.with_current_data_key_only(), |ring, _| {
            ring.with_new_data_key().unwrap()
        })
    }

    #[test]
    fn no_two_keys_are_equal() {
        let rings = [0; 2].map(|_| KeyRing::random(VaultId::random().unwrap()).unwrap());
        let mut all = vec![[0; Key::LENGTH]];
        for ring in rings.iter().map(|ring| rotated(ring, 2)) {
            all.extend([*ring.tags(), *ring.digests()]);
            for id in 1..=3 {
                let key = ring.data_key(id).unwrap();
                all.extend([*key.metadata(), *key.value(), *key.root()]);
            }
        }
        assert_eq!(
            all.iter().collect::<HashSet<_>>().len(),
            1 + 2 * (2 + 3 * 3)
        );
    }

    #[test]
    fn a_ring_has_as_many_data_keys_as_there_are_places() {
        let ring = KeyRing::random(VaultId::random().unwrap()).unwrap();
        assert!(!ring.is_rotating());
        assert!(rotated(&ring, 1).is_rotating());
        let full = rotated(&ring, DATA_KEYS - 1);
        let error = full.with_new_data_key().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let next = full
            .with_current_data_key_only()
            .with_new_data_key()
            .unwrap();
        assert_eq!(next.current_id() as usize, DATA_KEYS + 1);
        assert_eq!(next.ids.len(), 2);
    }

    #[cfg(feature = "file")]
    #[test]
    fn the_data_keys_of_two_rings_are_those_of_both() {
        let first = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let second = rotated(&first, 1);
        let third = rotated(&second, 1);
        let both = third.and_data_keys_of(&first).unwrap();
        assert_eq!(both.ids, [1, 2, 3]);
        assert!(both.has_ids_of(&rotated(&first, 2)));
        assert!(!both.has_ids_of(&third));
        for id in 1..=3 {
            let key = rotated(&first, 0).data_key(id).map(|key| *key.value());
            let of_third = third.data_key(id).map(|key| *key.value());
            assert_eq!(Some(*both.data_key(id).unwrap().value()), of_third.or(key));
        }

        let full = rotated(&second, DATA_KEYS - 1);
        assert!(
            full.and_data_keys_of(&second.with_current_data_key_only())
                .is_ok(),
            "it has this one"
        );
        let error = full.and_data_keys_of(&first).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let almost = rotated(&second, DATA_KEYS - 2);
        assert_eq!(
            almost.and_data_keys_of(&first).unwrap().ids.len(),
            DATA_KEYS
        );
    }

    /// Where no master key was kept there are zeros, which a forger knows.
    #[cfg(feature = "file")]
    #[test]
    fn a_master_key_that_was_not_kept_opens_nothing() {
        let vault = VaultId::random().unwrap();
        let ring = KeyRing::random(vault).unwrap();
        let zero = MasterKey(Key::zero());
        let sealed = ring.seal(&zero).unwrap();
        let error = ring.reopen(vault, &sealed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKey);

        let master = MasterKey::random().unwrap();
        let ring = ring.with_master(&master);
        let sealed = ring.seal(&master).unwrap();
        let opened = ring.reopen(vault, &sealed).unwrap();
        assert!(opened.reopen(vault, &sealed).is_ok(), "it is kept again");
    }

    #[test]
    fn a_ring_of_another_length_is_corrupt() {
        let vault = VaultId::random().unwrap();
        let master = MasterKey::random().unwrap();
        let open = |length: usize| {
            let context = vault.context("keyward key ring", &[]);
            let sealed = aead::seal(master.0.as_bytes(), &context, &vec![7; length]).unwrap();
            KeyRing::open(vault, &master, &sealed)
        };
        let each = 4 + Key::LENGTH;
        for keys in [1, 2, DATA_KEYS] {
            let ring = open(Key::LENGTH + keys * each).unwrap();
            assert_eq!(ring.ids.len(), keys);
        }
        for length in [
            0,
            Key::LENGTH - 1,
            Key::LENGTH,
            Key::LENGTH + each - 1,
            Key::LENGTH + each + 1,
            Key::LENGTH + (DATA_KEYS + 1) * each,
        ] {
            assert_eq!(
                open(length).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{length}"
            );
        }
    }
}
