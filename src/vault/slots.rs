//! The ways to open a vault, and the keys behind them.
//!
//! A passphrase is tried on every slot of its kind, and anyone can write to the file. Each slot's memory is
//! capped, and so is the work of all slots together: it may not exceed that of one slot with all its parameters at
//! their caps. So a forged file takes no longer to refuse than one that its owner could have made, and never more
//! memory than one slot. With the usual parameters, 16 slots take less than a fifth of that.

use std::error::Error as _;

use crate::{
    bytes::{Reader, put_bytes},
    crypto::{
        KdfParams, KeyRing, KeySlot, KeySlotInfo, KeySource, MasterKey, VaultId, check_source,
        checksum,
    },
    error::{Error, ErrorKind, FieldError},
    sealed::Sealed,
};

/// What a vault stores in order to be opened: sealed, so it reveals nothing without a key.
#[derive(Debug)]
pub(super) struct KeySlots {
    vault: VaultId,
    slots: Vec<KeySlot>,
    ring: Sealed,
}

impl KeySlots {
    /// The maximum number of key slots.
    const MAX_SLOTS: u8 = 16;

    /// The maximum length of the encoded form; 16 slots with the longest wrapped keys take half of it.
    const MAX_LENGTH: usize = 512 * 1024;

    /// The maximum length of the sealed key ring. It holds the index key and one data key, or two while a rotation is
    /// not finished, with their ids; this leaves room for more.
    const MAX_RING_LENGTH: usize = 40 + 32 + 16 * 36;

    /// Creates one slot, for `source`.
    pub(super) fn new(
        vault: VaultId,
        source: &KeySource,
        kdf: Option<KdfParams>,
        master: &MasterKey,
        keys: &KeyRing,
    ) -> Result<KeySlots, Error> {
        let kdf = kdf.unwrap_or_default();
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

    /// Does what `open` does, and keeps the master key.
    #[cfg(feature = "file")]
    pub(super) fn open_with_master(&self, source: &KeySource) -> Result<KeyRing, Error> {
        self.open_ring_with_master(&self.master(source)?)
    }

    /// Returns the master key, with the first slot that the source fits. This alone takes long.
    #[cfg(feature = "file")]
    pub(super) fn master(&self, source: &KeySource) -> Result<MasterKey, Error> {
        self.find(source).map(|(_, master)| master)
    }

    /// Opens the keys with the master key, which is kept with them.
    #[cfg(feature = "file")]
    pub(super) fn open_ring_with_master(&self, master: &MasterKey) -> Result<KeyRing, Error> {
        Ok(KeyRing::open(self.vault, master, &self.ring)?.with_master(master))
    }

    /// Opens the keys with the master key that was kept with earlier ones.
    #[cfg(feature = "file")]
    pub(super) fn reopen(&self, keys: &KeyRing) -> Result<KeyRing, Error> {
        keys.reopen(self.vault, &self.ring)
    }

    /// Returns the position of the first slot that the source opens, and the master key in it.
    fn find(&self, source: &KeySource) -> Result<(usize, MasterKey), Error> {
        self.find_besides(source, &[])
    }

    /// Does what `find` does, ignoring the slots at these positions.
    fn find_besides(
        &self,
        source: &KeySource,
        places: &[usize],
    ) -> Result<(usize, MasterKey), Error> {
        // Otherwise it would be called another key wherever no slot is of its kind.
        check_source(source)?;
        let mut failure: Option<Error> = None;
        let slots = self.slots.iter().enumerate();
        for (at, slot) in slots.filter(|(at, _)| !places.contains(at)) {
            match slot.open(self.vault, source) {
                Ok(master) => return Ok((at, master)),
                // Damage, or the failure of a provider, says more than that the key is for another slot.
                Err(error) if error.kind() != ErrorKind::WrongKey || error.source().is_some() => {
                    failure = Some(error);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(damaged))
    }

    pub(super) fn infos(&self) -> Vec<KeySlotInfo> {
        self.slots.iter().map(KeySlot::info).collect()
    }

    /// Adds a slot; `current` is a key that opens the vault.
    pub(super) fn add(
        &mut self,
        current: &KeySource,
        new: &KeySource,
        kdf: Option<KdfParams>,
    ) -> Result<KeySlotInfo, Error> {
        let kdf = kdf.unwrap_or_default();
        if self.slots.len() >= usize::from(Self::MAX_SLOTS) {
            let msg = "a vault has at most 16 key slots: remove one";
            return Err(Error::validation(vec![FieldError::value_error(
                "key_slot", msg,
            )]));
        }
        check_work(self.work().saturating_add(new.work(kdf)))?;
        let (_, master) = self.find(current)?;
        let slot = KeySlot::seal(self.vault, self.next_id(), new, kdf, &master)?;
        self.slots.push(slot);
        Ok(self.slots[self.slots.len() - 1].info())
    }

    /// Replaces the slot that `current` opens with another one. Further slots that it opens are removed, so that
    /// it opens none afterwards.
    pub(super) fn change(
        &mut self,
        current: &KeySource,
        new: &KeySource,
        kdf: Option<KdfParams>,
    ) -> Result<KeySlotInfo, Error> {
        let (first, master) = self.find(current)?;
        // No slot before the first one opens.
        let opens = |at: &usize| self.slots[*at].open(self.vault, current).is_ok();
        let further: Vec<usize> = (first + 1..self.slots.len()).filter(opens).collect();
        let replaced: u64 = further.iter().map(|at| self.slots[*at].work()).sum();
        let kept = self.work() - self.slots[first].work() - replaced;
        let kdf = self.kdf_in_place_of(first, kdf);
        check_work(kept.saturating_add(new.work(kdf)))?;
        self.slots[first] = KeySlot::seal(self.vault, self.next_id(), new, kdf, &master)?;
        let changed = self.slots[first].info();
        // Remove from the end, so that earlier positions stay valid.
        for at in further.into_iter().rev() {
            self.slots.remove(at);
        }
        Ok(changed)
    }

    pub(super) fn remove(&mut self, id: u32) -> Result<(), Error> {
        let refuse = |msg: &str| Error::validation(vec![FieldError::value_error("key_slot", msg)]);
        let at = self.slots.iter().position(|slot| slot.info().id == id);
        let at = at.ok_or_else(|| refuse("the vault has no such key slot: list its key slots"))?;
        if self.slots.len() == 1 {
            return Err(refuse(
                "the last key slot cannot be removed, since nothing could open the vault without it: add another key first",
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

    /// Creates a new master key, with slots for these sources only. Each source must open a slot now, and not one that
    /// an earlier source opens: a caller who gives one key twice expects to keep a slot that would be lost.
    pub(super) fn rotate(
        &self,
        keep: &[KeySource],
        keys: &KeyRing,
        kdf: Option<KdfParams>,
    ) -> Result<KeySlots, Error> {
        if keep.is_empty() || keep.len() > usize::from(Self::MAX_SLOTS) {
            let msg = "a vault has 1 to 16 key slots: give the keys to keep";
            return Err(Error::validation(vec![FieldError::value_error(
                "key_slot", msg,
            )]));
        }
        if let Some(kdf) = kdf {
            // Before any key is tried, which takes long.
            check_work(keep.iter().map(|source| source.work(kdf)).sum())?;
        }
        let mut kept = Vec::with_capacity(keep.len());
        for source in keep {
            let found = self.find_besides(source, &kept).or_else(|_| {
                // A key that opens only slots already kept is not a wrong key.
                self.find(source)?;
                let msg = "two of the keys open the same key slot: give each key only once";
                Err(Error::validation(vec![FieldError::value_error(
                    "key_slot", msg,
                )]))
            });
            kept.push(found?.0);
        }
        let kdfs = self.kdfs_in_place_of(&kept, keep, kdf)?;
        let master = MasterKey::random()?;
        let mut slots = Vec::with_capacity(keep.len());
        for (id, (source, kdf)) in (self.next_id()..).zip(keep.iter().zip(kdfs)) {
            slots.push(KeySlot::seal(self.vault, id, source, kdf, &master)?);
        }
        Ok(KeySlots {
            vault: self.vault,
            slots,
            ring: keys.seal(&master)?,
        })
    }

    /// The parameters of slots for these sources, which replace the ones at these positions.
    fn kdfs_in_place_of(
        &self,
        places: &[usize],
        sources: &[KeySource],
        wanted: Option<KdfParams>,
    ) -> Result<Vec<KdfParams>, Error> {
        let kdfs = places.iter().map(|at| self.kdf_in_place_of(*at, wanted));
        let kdfs: Vec<KdfParams> = kdfs.collect();
        let work = sources.iter().zip(&kdfs);
        check_work(work.map(|(source, kdf)| source.work(*kdf)).sum())?;
        Ok(kdfs)
    }

    /// The parameters of a slot that replaces the one at this position: those that are wanted, else those of that one,
    /// unless the default ones take more work.
    fn kdf_in_place_of(&self, at: usize, wanted: Option<KdfParams>) -> KdfParams {
        let default = KdfParams::default();
        let own = self.slots[at].info().kdf;
        let own = own.filter(|own| own.work() >= default.work());
        wanted.or(own).unwrap_or(default)
    }

    /// Returns the Argon2id work of trying a passphrase on every slot. At most 16 times 2^24, so it cannot
    /// overflow.
    fn work(&self) -> u64 {
        self.slots.iter().map(KeySlot::work).sum()
    }

    fn next_id(&self) -> u32 {
        self.slots
            .iter()
            .map(|slot| slot.info().id)
            .max()
            .unwrap_or(0)
            .saturating_add(1)
    }

    /// Returns `vault id [16] | number of slots u8 | slots | key ring: length u32, sealed | checksum [32]`. The
    /// checksum distinguishes damage from a wrong key; it does not stop a forger.
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
    /// `Corrupt` if a byte was changed by accident, or if parameters, lengths or the work of all slots exceed what
    /// keyward uses.
    pub(super) fn decode(bytes: &[u8]) -> Result<KeySlots, Error> {
        let slots = Self::read(bytes).ok_or_else(damaged)?;
        if slots.work() > KdfParams::MAX_WORK {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the vault's key slots require more work than keyward allows for opening a vault: restore a backup",
            ));
        }
        Ok(slots)
    }

    fn read(bytes: &[u8]) -> Option<KeySlots> {
        if bytes.len() > Self::MAX_LENGTH {
            return None;
        }
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        if checksum(body) != *sum {
            return None;
        }
        let mut reader = Reader::new(body);
        let vault = VaultId(reader.array()?);
        let [count] = reader.array()?;
        if !(1..=Self::MAX_SLOTS).contains(&count) {
            return None;
        }
        let slots = (0..count)
            .map(|_| KeySlot::decode(&mut reader))
            .collect::<Option<_>>()?;
        let ring = reader.bytes()?;
        reader.end()?;
        (ring.len() <= Self::MAX_RING_LENGTH).then(|| KeySlots {
            vault,
            slots,
            ring: Sealed::new(ring),
        })
    }
}

/// Checks that the slots of a vault may take this much work together.
fn check_work(work: u64) -> Result<(), Error> {
    if work <= KdfParams::MAX_WORK {
        return Ok(());
    }
    let msg = "Argon2id memory times passes, summed over all passphrases of a vault, may be at most 16 GiB: \
               remove a key slot, or lower the KDF parameters";
    Err(Error::validation(vec![FieldError::value_error(
        "key_slot", msg,
    )]))
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
        let source = KeySource::raw([7; 32]);
        let slots = slots(&source);
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

    /// What a forger can make of these bytes: another body with a matching checksum.
    fn forged(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut forged = bytes[..bytes.len() - 32].to_vec();
        change(&mut forged);
        forged.extend_from_slice(&checksum(&forged));
        forged
    }

    fn kdf(memory_kib: u32, passes: u32) -> KdfParams {
        KdfParams::new(memory_kib, passes, 1).unwrap()
    }

    fn slots(source: &KeySource) -> KeySlots {
        let vault = VaultId::random().unwrap();
        let (master, keys) = (
            MasterKey::random().unwrap(),
            KeyRing::random(vault).unwrap(),
        );
        KeySlots::new(vault, source, Some(kdf(19 * 1024, 2)), &master, &keys).unwrap()
    }

    #[test]
    fn slots_that_add_up_to_more_work_than_one_may_take_are_refused() {
        let passphrase = || KeySource::passphrase("correct horse");
        let bytes = slots(&passphrase()).encode();
        let slot_length = 4 + 1 + 12 + 16 + 32 + 4 + 72;
        for (memory_kib, passes, count, ok) in [
            (1024 * 1024, 16_u32, 1, true),
            (1024 * 1024, 16, 2, false),
            (1024 * 1024, 2, 8, true),
            (1024 * 1024, 2, 9, false),
            (64 * 1024, 16, 16, true),
            (64 * 1024 + 1, 16, 16, false),
        ] {
            let forged = forged(&bytes, |body| {
                body[22..26].copy_from_slice(&u32::to_le_bytes(memory_kib));
                body[26..30].copy_from_slice(&passes.to_le_bytes());
                let slot = body[17..17 + slot_length].to_vec();
                body[16] = count;
                body.splice(17..17, slot.repeat(usize::from(count) - 1));
            });
            let read = KeySlots::decode(&forged);
            assert_eq!(read.is_ok(), ok, "{count} × {memory_kib} KiB × {passes}");
            if let Err(error) = read {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(error.to_string().contains("more work"), "{error}");
            }
        }
    }

    #[test]
    fn no_slot_is_made_that_could_not_be_read_again() {
        let raw = || KeySource::raw([7; 32]);
        let passphrase = || KeySource::passphrase("correct horse");
        let most = kdf(1024 * 1024, 16);
        let refused = |result: Result<(), Error>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Validation);
            assert!(error.to_string().contains("lower the KDF"), "{error}");
        };
        // Each is refused before Argon2id runs with such parameters, which would take long.
        let mut slots = slots(&passphrase());
        refused(
            slots
                .add(&passphrase(), &passphrase(), Some(most))
                .map(drop),
        );
        slots.add(&passphrase(), &raw(), Some(most)).unwrap();
        refused(slots.change(&raw(), &passphrase(), Some(most)).map(drop));
        let keys = slots.open(&raw()).unwrap();
        refused(
            slots
                .rotate(&[passphrase(), passphrase()], &keys, Some(most))
                .map(drop),
        );
        let bytes = slots.encode();
        assert_eq!(KeySlots::decode(&bytes).unwrap().encode(), bytes);
    }

    /// Each keeps its own parameters or gets the default ones, whichever take more work.
    #[test]
    fn slots_in_place_of_others_take_no_more_work_than_can_be_read_again() {
        const OTHERS: usize = 15;
        let passphrase = || KeySource::passphrase("correct horse");
        let bytes = slots(&passphrase()).encode();
        let slot_length = 4 + 1 + 12 + 16 + 32 + 4 + 72;
        let forged = forged(&bytes, |body| {
            let others = body[17..17 + slot_length].repeat(OTHERS);
            body[22..26].copy_from_slice(&u32::to_le_bytes(1024 * 1024));
            body[26..30].copy_from_slice(&15_u32.to_le_bytes());
            body[16] += u8::try_from(OTHERS).unwrap();
            body.splice(17 + slot_length..17 + slot_length, others);
        });
        let slots = KeySlots::decode(&forged).unwrap();
        let in_place_of = |places: &[usize], wanted| {
            let sources: Vec<_> = places.iter().map(|_| passphrase()).collect();
            slots.kdfs_in_place_of(places, &sources, wanted)
        };
        let (hard, default) = (kdf(1024 * 1024, 15), KdfParams::default());
        assert_eq!(in_place_of(&[1, 0], None).unwrap(), [default, hard]);
        let all: Vec<usize> = (0..=OTHERS).collect();
        let error = in_place_of(&all, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert!(error.to_string().contains("remove a key slot"), "{error}");
        let least = kdf(19 * 1024, 2);
        assert_eq!(in_place_of(&all, Some(least)).unwrap(), [least; OTHERS + 1]);
    }

    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

    #[test]
    fn lengths_beyond_what_keyward_writes_are_refused() {
        let bytes = slots(&KeySource::raw([7; 32])).encode();
        let master = 16 + 1 + 4 + 1 + 32;
        let ring = master + 4 + 72;
        let put = |body: &mut Vec<u8>, at: usize, length: usize| {
            let old = u32::from_le_bytes(body[at..at + 4].try_into().unwrap()) as usize;
            let bytes = vec![0; length];
            body.splice(at + 4..at + 4 + old, bytes);
            body[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        };
        let provider = |body: &mut Vec<u8>, length: u32| {
            body[21] = 3;
            let wrapped = [&length.to_le_bytes()[..], &vec![0; length as usize]].concat();
            body.splice(22..22, wrapped);
        };
        let cases: [(Change<'_>, bool); 9] = [
            (&|_| {}, true),
            (&|body| put(body, master, 71), false),
            (&|body| put(body, master, 73), false),
            (&|body| put(body, ring, 648), true),
            (&|body| put(body, ring, 649), false),
            (&|body| provider(body, 16 * 1024), true),
            (&|body| provider(body, 16 * 1024 + 1), false),
            (&|body| body[ring..ring + 4].fill(0xFF), false),
            (&|body| put(body, ring, 600 * 1024), false),
        ];
        for (i, (change, ok)) in cases.into_iter().enumerate() {
            let read = KeySlots::decode(&forged(&bytes, change));
            assert_eq!(read.is_ok(), ok, "change {i}");
        }
    }

    #[test]
    fn hostile_parameters_are_refused_before_they_are_used() {
        let slots = slots(&KeySource::passphrase("correct horse"));
        let bytes = slots.encode();
        let memory = 16 + 1 + 4 + 1;
        for (at, value) in [
            (memory, 4 * 1024 * 1024_u32),
            (memory, 1024),
            (memory + 4, 1 << 30),
            (memory + 8, 0),
        ] {
            let forged = forged(&bytes, |body| {
                body[at..at + 4].copy_from_slice(&value.to_le_bytes());
            });
            assert_eq!(
                KeySlots::decode(&forged).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{value} at {at}"
            );
        }
    }
}
