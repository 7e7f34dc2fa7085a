//! What fuzz targets use besides the public interface: sealed bytes, and a disk that fails. This module exists
//! only under `cfg(fuzzing)`, which cargo-fuzz sets.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Vault, VaultBuilder, errors::storage_error, slots::KeySlots};
use crate::{
    crypto::{BindingDigest, KeyRing, KeySource, MasterKey, UserRoot, VaultId, checksum},
    error::{Error, ErrorKind},
    metadata::Metadata,
    sealed::{SealedRoot, UserTag},
    secret::{SecretId, SecretInfo, SecretValue, UserId},
    storage::{
        FileStorage, Storage, StorageError, Stored, Transaction, UserRows, decode_row,
        disk::{Chance, Cut, Disk},
    },
};

/// The keys of a vault, and what can be sealed with them.
pub struct Seals {
    master: MasterKey,
    ring: KeyRing,
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seals")
    }
}

/// A sealed record: the data key's id, the metadata and the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The id of the data key.
    pub key_id: u32,
    /// The sealed metadata.
    pub metadata: Vec<u8>,
    /// The sealed value.
    pub value: Vec<u8>,
}

impl Seals {
    /// Creates new keys for a new vault.
    ///
    /// # Errors
    ///
    /// `Storage` if the operating system provides no random bytes.
    pub fn random() -> Result<Seals, Error> {
        Ok(Seals {
            master: MasterKey::random()?,
            ring: KeyRing::random(VaultId::random()?)?,
        })
    }

    /// Adds a data key, which is used for sealing from now on.
    ///
    /// # Errors
    ///
    /// `Storage` if the operating system provides no random bytes; `Unsupported` if there is no room for one more.
    pub fn add_data_key(&mut self) -> Result<(), Error> {
        self.ring = self.ring.with_new_data_key()?;
        Ok(())
    }

    /// Seals a record.
    ///
    /// # Errors
    ///
    /// `Storage` if the operating system provides no random bytes.
    pub fn row(&self, info: &SecretInfo, value: &str) -> Result<Parts, Error> {
        let metadata = Metadata {
            info: info.clone(),
            value_bytes: u32::try_from(value.len()).unwrap_or(u32::MAX),
        };
        let row = self.ring.seal_row(&metadata, &SecretValue::new(value))?;
        Ok(Parts {
            key_id: row.key_id,
            metadata: row.metadata.as_bytes().to_vec(),
            value: row.value.as_bytes().to_vec(),
        })
    }

    /// Opens a stored record in its place.
    ///
    /// # Errors
    ///
    /// `Corrupt` if these bytes are not a record that was sealed for this place.
    pub fn open_row(
        &self,
        user: UserId,
        secret: SecretId,
        bytes: &[u8],
    ) -> Result<(SecretInfo, String), Error> {
        let row = decode_row(bytes)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "these bytes are no record"))?;
        let tag = self.ring.row_tag(user, secret);
        let mut opened = None;
        self.ring
            .open_rows(user, &[(tag, Arc::new(row))], |metadata, row, _| {
                let binding = BindingDigest::of(&metadata.info);
                let value = self.ring.open_value(&metadata, &binding, row)?;
                opened = Some((metadata.info, value.into_string()));
                Ok(())
            })?;
        Ok(opened.expect("what was opened was shown"))
    }

    /// Returns what is sealed besides records: a user's root, and the key ring.
    ///
    /// # Errors
    ///
    /// `Storage` if the operating system provides no random bytes.
    pub fn others(&self, user: UserId) -> Result<[Vec<u8>; 2], Error> {
        let root = self.ring.seal_user_root(&UserRoot::new(user))?;
        let ring = self.ring.seal(&self.master)?;
        Ok([root.root.as_bytes().to_vec(), ring.as_bytes().to_vec()])
    }

    /// Returns the stored form of key slots for these keys, in their order, without the checksum.
    ///
    /// # Errors
    ///
    /// Those of [`Vault::add_key`].
    pub fn slots(&self, keys: &[KeySource]) -> Result<Vec<u8>, Error> {
        let [first, others @ ..] = keys else {
            return Ok(Vec::new());
        };
        let vault = self.ring.vault_id();
        let mut slots = KeySlots::new(vault, first, None, &self.master, &self.ring)?;
        for key in others {
            slots.add(first, key, None)?;
        }
        let mut bytes = slots.encode();
        bytes.truncate(bytes.len() - checksum(&[]).len());
        Ok(bytes)
    }

    /// Returns whether the stored slots open with this key to these keys.
    ///
    /// # Errors
    ///
    /// `WrongKey`, or `Corrupt`.
    pub fn open_slots(&self, stored: &[u8], key: &KeySource) -> Result<bool, Error> {
        let ring = KeySlots::decode(stored)?.open(key)?;
        let user = UserId::LOCAL;
        Ok(ring.vault_id() == self.ring.vault_id()
            && ring.current_id() == self.ring.current_id()
            && ring.user_tag(user) == self.ring.user_tag(user))
    }
}

/// Decodes key slots and encodes them again; `None` if they could not be decoded.
pub fn slots_again(stored: &[u8]) -> Option<Vec<u8>> {
    KeySlots::decode(stored).ok().map(|slots| slots.encode())
}

/// Appends the matching checksum.
pub fn with_checksum(mut stored: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(&stored);
    stored.extend_from_slice(&checksum);
    stored
}

/// Decodes a record's opened metadata and encodes it again; `None` if it could not be decoded.
pub fn metadata_again(bytes: &[u8]) -> Option<Vec<u8>> {
    Metadata::decode(bytes).map(|metadata| metadata.encode())
}

/// A disk in memory that fails on demand, and whose possible contents after a crash can be generated. The store on
/// it refuses writes on demand.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk {
    /// What it held when recording of its steps began.
    start: Vec<u8>,
    disk: Disk,
    writes_left: WritesLeft,
}

/// How many more writes a store accepts; `None` for no limit.
type WritesLeft = Arc<Mutex<Option<usize>>>;

/// A store that refuses writes, and is unchanged by those it refuses.
#[derive(Debug)]
struct Refusing {
    store: FileStorage,
    writes_left: WritesLeft,
}

impl Storage for Refusing {
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.store.keys()
    }

    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        self.store.vault_root()
    }

    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        self.store.user_roots()
    }

    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        self.store.user(user)
    }

    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError> {
        self.store.scan(visit)
    }

    fn commit(&self, transaction: Transaction) -> Result<(), StorageError> {
        let mut left = self
            .writes_left
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = left.as_mut() {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| StorageError::Failed("there is no room".into()))?;
        }
        self.store.commit(transaction)
    }

    fn compact(&self) -> Result<(), StorageError> {
        self.store.compact()
    }
}

impl FaultyDisk {
    /// Creates a disk that holds a database.
    pub fn holding(bytes: Vec<u8>) -> FaultyDisk {
        FaultyDisk {
            disk: Disk::holding(bytes.clone()),
            start: bytes,
            writes_left: WritesLeft::default(),
        }
    }

    /// Creates a vault on this disk.
    ///
    /// # Errors
    ///
    /// Those of [`VaultBuilder::create`].
    pub fn create(&self, builder: VaultBuilder, key: &KeySource) -> Result<Vault, Error> {
        builder.create_with(key, |first| {
            FileStorage::create_on(self.disk.clone(), first).map(|store| self.refusing(store))
        })
    }

    /// Opens the vault on this disk.
    ///
    /// # Errors
    ///
    /// Those of [`VaultBuilder::open`].
    pub fn open(&self, builder: VaultBuilder, key: &KeySource) -> Result<Vault, Error> {
        let storage = FileStorage::open_on(self.disk.clone()).map_err(storage_error)?;
        builder.open_with(key, Box::new(self.refusing(storage)))
    }

    fn refusing(&self, store: FileStorage) -> Refusing {
        Refusing {
            store,
            writes_left: Arc::clone(&self.writes_left),
        }
    }

    /// Makes the store accept this many more writes, and refuse all others. `None` for no limit.
    pub fn refuse_after(&self, writes: Option<usize>) {
        *self
            .writes_left
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = writes;
    }

    /// Makes the disk do this many more steps (a write, a change of its length or a sync), and fail after that.
    /// `None` for never.
    pub fn fail_after(&self, steps: Option<usize>) {
        self.disk.fail_after(steps);
    }

    /// Returns what the disk holds.
    pub fn bytes(&self) -> Vec<u8> {
        self.disk.bytes()
    }

    /// Returns a disk with the same contents.
    #[must_use]
    pub fn as_it_is(&self) -> FaultyDisk {
        FaultyDisk::holding(self.bytes())
    }

    /// Returns a disk with what this one may hold if it loses power now: everything synced, and some of what was
    /// not.
    #[must_use]
    pub fn after_crash(&self, chance: u64) -> FaultyDisk {
        let steps = self.disk.recorded();
        let cut = Cut::new(&self.start, &steps);
        // Xorshift cannot leave zero.
        FaultyDisk::holding(cut.random(&mut Chance(chance | 1 << 63)))
    }
}
