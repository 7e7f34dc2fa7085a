//! The ways to open a vault, and the keys behind them.

use crate::{
    crypto::{KdfParams, KeyRing, KeySlot, KeySource, MasterKey, VaultId},
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
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Corrupt, "the vault has no key slot")))
    }
}
