//! The ways to open a vault, and the keys behind them.

use crate::{
    bytes::{Reader, put_bytes},
    crypto::{KdfParams, KeyRing, KeySlot, KeySlotInfo, KeySource, MasterKey, VaultId, checksum},
    error::{Error, ErrorKind, FieldError},
    sealed::Sealed,
};

/// What a vault keeps to be opened with: sealed, so it tells nothing without a key.
#[derive(Debug)]
pub(super) struct KeySlots {
    vault: VaultId,
    slots: Vec<KeySlot>,
    ring: Sealed,
}

impl KeySlots {
    /// As many ways to open a vault as there may be.
    const MOST: u8 = 16;

    /// One slot, for `source`.
    pub(super) fn new(
        vault: VaultId,
        source: &KeySource,
        kdf: KdfParams,
        master: &MasterKey,
        keys: &KeyRing,
    ) -> Result<KeySlots, Error> {
        Ok(KeySlots {
            vault,
            slots: vec![KeySlot::seal(vault, 1, source, kdf, master)?],
            ring: keys.seal(master)?,
        })
    }

    /// Opens the keys with the first slot that the source fits.
    pub(super) fn open(&self, source: &KeySource) -> Result<KeyRing, Error> {
        let (_, master) = self.find(source)?;
        KeyRing::open(self.vault, &master, &self.ring)
    }

    /// The same, with the master key kept.
    #[cfg(feature = "file")]
    pub(super) fn open_with_master(&self, source: &KeySource) -> Result<KeyRing, Error> {
        let (_, master) = self.find(source)?;
        Ok(KeyRing::open(self.vault, &master, &self.ring)?.with_master(&master))
    }

    /// Opens the keys with the master key that is kept with earlier ones.
    #[cfg(feature = "file")]
    pub(super) fn reopen(&self, keys: &KeyRing) -> Result<KeyRing, Error> {
        keys.reopen(self.vault, &self.ring)
    }

    /// The first slot that the source fits, by its place, and the master key in it.
    fn find(&self, source: &KeySource) -> Result<(usize, MasterKey), Error> {
        let mut failure: Option<Error> = None;
        for (at, slot) in self.slots.iter().enumerate() {
            match slot.open(self.vault, source) {
                Ok(master) => return Ok((at, master)),
                // Damage, or a provider that is out of order, says more than that the key is for another slot.
                Err(error) if error.kind() != ErrorKind::WrongKey => failure = Some(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(damaged))
    }

    pub(super) fn infos(&self) -> Vec<KeySlotInfo> {
        self.slots.iter().map(KeySlot::info).collect()
    }

    /// Adds a slot, with `current` as the key that the vault is opened with.
    pub(super) fn add(
        &mut self,
        current: &KeySource,
        new: &KeySource,
        kdf: KdfParams,
    ) -> Result<KeySlotInfo, Error> {
        if self.slots.len() >= usize::from(Self::MOST) {
            let msg = "a vault has at most 16 key slots: remove one";
            return Err(Error::validation(vec![FieldError::value_error(
                "key_slot", msg,
            )]));
        }
        let (_, master) = self.find(current)?;
        let slot = KeySlot::seal(self.vault, self.next_id(), new, kdf, &master)?;
        self.slots.push(slot);
        Ok(self.slots[self.slots.len() - 1].info())
    }

    /// Puts another slot in the place of the one that `current` opens.
    pub(super) fn change(
        &mut self,
        current: &KeySource,
        new: &KeySource,
        kdf: KdfParams,
    ) -> Result<KeySlotInfo, Error> {
        let (at, master) = self.find(current)?;
        self.slots[at] = KeySlot::seal(self.vault, self.next_id(), new, kdf, &master)?;
        Ok(self.slots[at].info())
    }

    pub(super) fn remove(&mut self, id: u32) -> Result<(), Error> {
        let refuse = |msg: &str| Error::validation(vec![FieldError::value_error("key_slot", msg)]);
        let at = self.slots.iter().position(|slot| slot.info().id == id);
        let at = at.ok_or_else(|| refuse("the vault has no such key slot: list them"))?;
        if self.slots.len() == 1 {
            return Err(refuse(
                "the last key slot stays: nothing could open the vault without it",
            ));
        }
        self.slots.remove(at);
        Ok(())
    }

    /// Seals other keys with the same master key.
    pub(super) fn reseal(&mut self, current: &KeySource, keys: &KeyRing) -> Result<(), Error> {
        let (_, master) = self.find(current)?;
        self.ring = keys.seal(&master)?;
        Ok(())
    }

    /// A new master key, and slots for these sources alone. Each of them must open a slot now.
    pub(super) fn rotate(
        &self,
        keep: &[KeySource],
        keys: &KeyRing,
        kdf: KdfParams,
    ) -> Result<KeySlots, Error> {
        if keep.is_empty() || keep.len() > usize::from(Self::MOST) {
            let msg = "a vault has 1 to 16 key slots: give the keys to keep";
            return Err(Error::validation(vec![FieldError::value_error(
                "key_slot", msg,
            )]));
        }
        let master = MasterKey::random()?;
        let mut slots = Vec::with_capacity(keep.len());
        for (id, source) in (self.next_id()..).zip(keep) {
            self.find(source)?;
            slots.push(KeySlot::seal(self.vault, id, source, kdf, &master)?);
        }
        Ok(KeySlots {
            vault: self.vault,
            slots,
            ring: keys.seal(&master)?,
        })
    }

    fn next_id(&self) -> u32 {
        self.slots
            .iter()
            .map(|slot| slot.info().id)
            .max()
            .unwrap_or(0)
            .saturating_add(1)
    }

    /// `vault id [16] | number of slots u8 | slots | key ring: length u32, sealed | checksum [32]`. The checksum tells
    /// damage from a wrong key; it does not keep a forger out.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.vault.0.to_vec();
        bytes.push(u8::try_from(self.slots.len()).expect("a vault has at most 16 slots"));
        for slot in &self.slots {
            slot.encode(&mut bytes);
        }
        put_bytes(&mut bytes, self.ring.as_bytes());
        bytes.extend_from_slice(&checksum(&bytes));
        bytes
    }

    /// # Errors
    ///
    /// `Corrupt` if a byte was changed by accident, or a slot's parameters are beyond what keyward uses.
    pub(super) fn decode(bytes: &[u8]) -> Result<KeySlots, Error> {
        Self::read(bytes).ok_or_else(damaged)
    }

    fn read(bytes: &[u8]) -> Option<KeySlots> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        if checksum(body) != *sum {
            return None;
        }
        let mut reader = Reader::new(body);
        let vault = VaultId(reader.array()?);
        let [count] = reader.array()?;
        if !(1..=Self::MOST).contains(&count) {
            return None;
        }
        let slots = (0..count)
            .map(|_| KeySlot::decode(&mut reader))
            .collect::<Option<_>>()?;
        let ring = Sealed::new(reader.bytes()?);
        reader.end()?;
        Some(KeySlots { vault, slots, ring })
    }
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the vault's key slots are damaged: restore a backup",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_byte_and_no_other_length_is_read() {
        let vault = VaultId::random().unwrap();
        let (master, keys) = (
            MasterKey::random().unwrap(),
            KeyRing::random(vault).unwrap(),
        );
        let source = KeySource::raw([7; 32]);
        let slots = KeySlots::new(vault, &source, KdfParams::default(), &master, &keys).unwrap();
        let bytes = slots.encode();
        assert_eq!(KeySlots::decode(&bytes).unwrap().encode(), bytes);
        KeySlots::decode(&bytes).unwrap().open(&source).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            for bytes in [&changed[..], &bytes[..at]] {
                assert_eq!(
                    KeySlots::decode(bytes).unwrap_err().kind(),
                    ErrorKind::Corrupt,
                    "byte {at}"
                );
            }
        }
    }

    #[test]
    fn hostile_parameters_are_refused_before_they_are_used() {
        let vault = VaultId::random().unwrap();
        let (master, keys) = (
            MasterKey::random().unwrap(),
            KeyRing::random(vault).unwrap(),
        );
        let kdf = KdfParams::new(19 * 1024, 2, 1).unwrap();
        let slots = KeySlots::new(
            vault,
            &KeySource::passphrase("correct horse"),
            kdf,
            &master,
            &keys,
        )
        .unwrap();
        let bytes = slots.encode();
        let memory = 16 + 1 + 4 + 1;
        for (at, value) in [
            (memory, 4 * 1024 * 1024_u32),
            (memory, 1024),
            (memory + 4, 1 << 30),
            (memory + 8, 0),
        ] {
            let mut forged = bytes[..bytes.len() - 32].to_vec();
            forged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            forged.extend_from_slice(&checksum(&forged));
            assert_eq!(
                KeySlots::decode(&forged).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{value} at {at}"
            );
        }
    }
}
