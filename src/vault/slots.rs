//! The ways to open a vault, and the keys behind them.

use crate::{
    bytes::{Reader, put_bytes},
    crypto::{KdfParams, KeyRing, KeySlot, KeySource, MasterKey, VaultId, checksum},
    error::{Error, ErrorKind},
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
        let mut failure = None;
        for slot in &self.slots {
            match slot.open(self.vault, source) {
                Ok(master) => return KeyRing::open(self.vault, &master, &self.ring),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(damaged))
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
