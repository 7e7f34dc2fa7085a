//! Key slots: ways to open a vault. Each one seals the same master key.

use subtle::ConstantTimeEq;

use super::{
    aead::{self, Context, Key},
    derive::{KdfParams, derive, stretch},
    digest::keyed_digest,
    keys::{MasterKey, VaultId},
    source::{KeyKind, KeySource, Source},
};
use crate::{
    bytes::{Reader, put_bytes},
    error::{Error, ErrorKind, FieldError},
    sealed::Sealed,
    secret::SecretValue,
};

/// One way to open a vault: see [`Vault::key_slots`](crate::Vault::key_slots).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeySlotInfo {
    /// The slot's number, used to remove it. A number is not reused while a slot with a higher number exists.
    pub id: u32,
    /// What kind of key the slot opens with.
    pub kind: KeyKind,
    /// For a passphrase, how hard it is to guess. To replace a slot that has weaker parameters than those of today,
    /// call [`Vault::change_key`](crate::Vault::change_key) with the same passphrase as both keys.
    pub kdf: Option<KdfParams>,
}

/// One way to open a vault: the sealed master key.
#[derive(Debug, Clone)]
pub(crate) struct KeySlot {
    id: u32,
    parameters: SlotParameters,
    /// A digest of the slot's key. XChaCha20-Poly1305 does not commit to its key: without this, a forged slot
    /// could open under two keys, and a wrong key could not be distinguished from damage.
    commitment: [u8; 32],
    master: Sealed,
}

#[derive(Debug, Clone)]
enum SlotParameters {
    Passphrase { kdf: KdfParams, salt: [u8; 16] },
    Raw,
    Provider { wrapped: Vec<u8> },
}

impl KeySlot {
    pub(crate) fn info(&self) -> KeySlotInfo {
        KeySlotInfo {
            id: self.id,
            kind: self.parameters.kind(),
            kdf: match self.parameters {
                SlotParameters::Passphrase { kdf, .. } => Some(kdf),
                SlotParameters::Raw | SlotParameters::Provider { .. } => None,
            },
        }
    }

    /// Seals the master key under a key source.
    pub(crate) fn seal(
        vault: VaultId,
        id: u32,
        source: &KeySource,
        kdf: KdfParams,
        master: &MasterKey,
    ) -> Result<KeySlot, Error> {
        let (parameters, key) = match source.held() {
            Source::Passphrase(passphrase) => {
                let passphrase = not_empty(passphrase)?;
                let mut salt = [0; 16];
                aead::fill_random(&mut salt)?;
                let key = stretch(passphrase, &salt, kdf)?;
                (SlotParameters::Passphrase { kdf, salt }, key)
            }
            Source::Raw(key) => (SlotParameters::Raw, raw_key(key)?),
            Source::Provider(provider) => {
                let key = Key::random()?;
                let context = provider_context(vault, id);
                let wrapped =
                    provider
                        .wrap(key.as_bytes(), context.as_bytes())
                        .map_err(|source| {
                            Error::new(
                                ErrorKind::Storage,
                                "the key provider could not wrap a key; nothing changed: check the provider, or use another key",
                            )
                            .with_source(source)
                        })?;
                if wrapped.len() > MAX_WRAPPED_LENGTH {
                    let msg = "the key provider's wrapped key is longer than 16 KiB";
                    return Err(Error::validation(vec![FieldError::value_error("key", msg)]));
                }
                (SlotParameters::Provider { wrapped }, key)
            }
        };
        let context = parameters.context(vault, id);
        Ok(KeySlot {
            id,
            commitment: commit(&key, &context),
            master: aead::seal(
                derive(key.as_bytes(), SEAL_LABEL).as_bytes(),
                &context,
                master.0.as_bytes(),
            )?,
            parameters,
        })
    }

    /// Opens the master key.
    ///
    /// # Errors
    ///
    /// `WrongKey` if the source is of another kind or holds another key; `Validation` if it cannot be a key; `Corrupt`
    /// if the key is the right one and the slot is damaged.
    pub(crate) fn open(&self, vault: VaultId, source: &KeySource) -> Result<MasterKey, Error> {
        let key = match (&self.parameters, source.held()) {
            (SlotParameters::Passphrase { kdf, salt }, Source::Passphrase(passphrase)) => {
                stretch(not_empty(passphrase)?, salt, *kdf)?
            }
            (SlotParameters::Raw, Source::Raw(key)) => raw_key(key)?,
            (SlotParameters::Provider { wrapped }, Source::Provider(provider)) => {
                let mut key = Key::zero();
                let context = provider_context(vault, self.id);
                provider
                    .unwrap(wrapped, context.as_bytes(), key.as_mut_bytes())
                    .map_err(|source| {
                        Error::new(
                            ErrorKind::WrongKey,
                            "the key provider could not open this vault: check the provider, or use another of the vault's keys",
                        )
                        .with_source(source)
                    })?;
                key
            }
            _ => return Err(wrong_key()),
        };
        let context = self.parameters.context(vault, self.id);
        if !bool::from(commit(&key, &context).ct_eq(&self.commitment)) {
            return Err(wrong_key());
        }
        aead::open(
            derive(key.as_bytes(), SEAL_LABEL).as_bytes(),
            &context,
            &self.master,
        )
        .and_then(|master| Key::from_slice(&master))
        .map(MasterKey)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "a key slot is damaged: use another one, or restore a backup",
            )
        })
    }
}

impl KeySlot {
    /// Writes `id u32 | kind u8 | parameters | commitment [32] | master key: length u32, sealed`. The parameters
    /// are: for a passphrase, `memory u32 (KiB) | passes u32 | lanes u32 | salt [16]`; for a raw key, nothing; for
    /// a provider, `length u32 | wrapped key`.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.push(self.parameters.code());
        match &self.parameters {
            SlotParameters::Passphrase { kdf, salt } => {
                bytes.extend_from_slice(&kdf.to_bytes());
                bytes.extend_from_slice(salt);
            }
            SlotParameters::Raw => {}
            SlotParameters::Provider { wrapped } => put_bytes(bytes, wrapped),
        }
        bytes.extend_from_slice(&self.commitment);
        put_bytes(bytes, self.master.as_bytes());
    }

    /// Returns `None` if these bytes are not a slot, or a parameter or a length is out of range.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<KeySlot> {
        let id = reader.u32()?;
        let parameters = match reader.array()? {
            [PASSPHRASE] => SlotParameters::Passphrase {
                kdf: KdfParams::new(reader.u32()?, reader.u32()?, reader.u32()?).ok()?,
                salt: reader.array()?,
            },
            [RAW] => SlotParameters::Raw,
            [PROVIDER] => {
                let wrapped = reader.bytes()?;
                if wrapped.len() > MAX_WRAPPED_LENGTH {
                    return None;
                }
                SlotParameters::Provider {
                    wrapped: wrapped.to_vec(),
                }
            }
            _ => return None,
        };
        let commitment = reader.array()?;
        let master = reader.bytes()?;
        if master.len() != Key::LENGTH + aead::OVERHEAD {
            return None;
        }
        Some(KeySlot {
            id,
            parameters,
            commitment,
            master: Sealed::new(master),
        })
    }

    /// Returns the Argon2id work of trying a passphrase on this slot.
    pub(crate) fn work(&self) -> u64 {
        match self.parameters {
            SlotParameters::Passphrase { kdf, .. } => kdf.work(),
            SlotParameters::Raw | SlotParameters::Provider { .. } => 0,
        }
    }
}

impl SlotParameters {
    fn kind(&self) -> KeyKind {
        match self {
            SlotParameters::Passphrase { .. } => KeyKind::Passphrase,
            SlotParameters::Raw => KeyKind::Raw,
            SlotParameters::Provider { .. } => KeyKind::Provider,
        }
    }

    /// What stands for the kind in the file.
    fn code(&self) -> u8 {
        match self {
            SlotParameters::Passphrase { .. } => PASSPHRASE,
            SlotParameters::Raw => RAW,
            SlotParameters::Provider { .. } => PROVIDER,
        }
    }

    /// Binds the slot to its vault, its id, its kind and how its key is made.
    fn context(&self, vault: VaultId, id: u32) -> Context {
        let (parameters, blob): (&[u8], &[u8]) = match self {
            SlotParameters::Passphrase { kdf, salt } => (&kdf.to_bytes(), salt),
            SlotParameters::Raw => (&[], &[]),
            SlotParameters::Provider { wrapped } => (&[], wrapped),
        };
        vault.context(
            "keyward key slot",
            &[&id.to_le_bytes(), &[self.code()], parameters, blob],
        )
    }
}

/// The kinds of keys in the file.
const PASSPHRASE: u8 = 1;
const RAW: u8 = 2;
const PROVIDER: u8 = 3;

/// The maximum length of a wrapped key. A KMS's has some hundred bytes, and at most 6 KiB with the largest
/// context.
const MAX_WRAPPED_LENGTH: usize = 16 * 1024;

const SEAL_LABEL: &str = "keyward key slot seal";

/// HMAC-SHA-256 under a derived key: two keys with the same commitment would be a collision of HKDF or HMAC.
fn commit(key: &Key, context: &Context) -> [u8; 32] {
    let key = derive(key.as_bytes(), "keyward key slot commitment");
    *keyed_digest(key.as_bytes(), context)
}

fn provider_context(vault: VaultId, id: u32) -> Context {
    vault.context("keyward key provider", &[&id.to_le_bytes()])
}

/// Checks that a source can be a key: a passphrase that is not empty, or a raw key of the right length.
pub(crate) fn check_source(source: &KeySource) -> Result<(), Error> {
    match source.held() {
        Source::Passphrase(passphrase) => not_empty(passphrase).map(drop),
        Source::Raw(key) => raw_key(key).map(drop),
        Source::Provider(_) => Ok(()),
    }
}

fn raw_key(key: &[u8]) -> Result<Key, Error> {
    Key::from_slice(key).ok_or_else(|| {
        Error::validation(vec![FieldError::value_error(
            "key",
            "a raw key must have exactly 32 bytes",
        )])
    })
}

fn not_empty(passphrase: &SecretValue) -> Result<&[u8], Error> {
    let passphrase = passphrase.expose_secret().as_bytes();
    if passphrase.is_empty() {
        let msg =
            "a passphrase must not be empty: if it comes from a variable, check that this is set";
        return Err(Error::validation(vec![FieldError::value_error("key", msg)]));
    }
    Ok(passphrase)
}

fn wrong_key() -> Error {
    Error::new(
        ErrorKind::WrongKey,
        "this key does not open the vault: check it, or use another of the vault's keys",
    )
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use super::*;
    use crate::crypto::KeyProvider;

    /// Wraps by XOR, and refuses what it did not wrap itself.
    struct Xor(u8);

    impl KeyProvider for Xor {
        fn wrap(
            &self,
            key: &[u8; 32],
            context: &[u8],
        ) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
            let wrapped = key.iter().map(|byte| byte ^ self.0);
            Ok([self.0]
                .into_iter()
                .chain(wrapped)
                .chain(context.iter().copied())
                .collect())
        }

        fn unwrap(
            &self,
            wrapped: &[u8],
            context: &[u8],
            key: &mut [u8; 32],
        ) -> Result<(), Box<dyn StdError + Send + Sync>> {
            if wrapped[0] != self.0 || wrapped[33..] != *context {
                return Err("not mine".into());
            }
            for (to, from) in key.iter_mut().zip(&wrapped[1..33]) {
                *to = from ^ self.0;
            }
            Ok(())
        }
    }

    /// The lowest parameters allowed, so that tests are fast.
    fn kdf() -> KdfParams {
        KdfParams::new(19 * 1024, 2, 1).unwrap()
    }

    #[test]
    fn a_slot_opens_with_its_own_key_only() {
        let vault = VaultId::random().unwrap();
        let master = MasterKey::random().unwrap();
        let sources: [fn() -> KeySource; 3] = [
            || KeySource::passphrase("correct horse"),
            || KeySource::raw([7; 32]),
            || KeySource::provider(Xor(9)),
        ];
        let wrong: [fn() -> KeySource; 3] = [
            || KeySource::passphrase("correct horse "),
            || KeySource::raw([8; 32]),
            || KeySource::provider(Xor(8)),
        ];
        for (i, source) in sources.iter().enumerate() {
            let slot = KeySlot::seal(vault, 3, &source(), kdf(), &master).unwrap();
            assert_eq!(
                slot.open(vault, &source()).unwrap().0.as_bytes(),
                master.0.as_bytes()
            );
            let others = sources
                .iter()
                .enumerate()
                .filter(|&(j, _)| j != i)
                .map(|(_, other)| other);
            for other in others.chain([&wrong[i]]) {
                assert_eq!(
                    slot.open(vault, &other()).unwrap_err().kind(),
                    ErrorKind::WrongKey
                );
            }
        }
    }

    #[test]
    fn a_slot_is_bound_to_its_vault_and_its_parameters() {
        let vault = VaultId::random().unwrap();
        let master = MasterKey::random().unwrap();
        let source = KeySource::raw([7; 32]);
        let slot = KeySlot::seal(vault, 3, &source, kdf(), &master).unwrap();
        assert!(slot.open(VaultId::random().unwrap(), &source).is_err());
        assert!(
            KeySlot {
                id: 4,
                ..slot.clone()
            }
            .open(vault, &source)
            .is_err()
        );

        let passphrase = KeySource::passphrase("correct horse");
        let mut slot = KeySlot::seal(vault, 3, &passphrase, kdf(), &master).unwrap();
        if let SlotParameters::Passphrase { kdf, .. } = &mut slot.parameters {
            *kdf = KdfParams::new(19 * 1024, 3, 1).unwrap();
        }
        assert_eq!(
            slot.open(vault, &passphrase).unwrap_err().kind(),
            ErrorKind::WrongKey
        );
    }

    #[test]
    fn damage_to_the_sealed_master_key_is_no_wrong_key() {
        let vault = VaultId::random().unwrap();
        let source = KeySource::raw([7; 32]);
        let mut slot =
            KeySlot::seal(vault, 1, &source, kdf(), &MasterKey::random().unwrap()).unwrap();
        let mut bytes = slot.master.as_bytes().to_vec();
        bytes[30] ^= 1;
        slot.master = Sealed::new(bytes);
        assert_eq!(
            slot.open(vault, &source).unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }

    /// Wraps into this many bytes.
    struct Long(usize);

    impl KeyProvider for Long {
        fn wrap(&self, _: &[u8; 32], _: &[u8]) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
            Ok(vec![0; self.0])
        }

        fn unwrap(
            &self,
            _: &[u8],
            _: &[u8],
            _: &mut [u8; 32],
        ) -> Result<(), Box<dyn StdError + Send + Sync>> {
            Err("cannot".into())
        }
    }

    #[test]
    fn a_wrapped_key_that_could_not_be_read_again_is_refused() {
        let vault = VaultId::random().unwrap();
        let master = MasterKey::random().unwrap();
        let seal =
            |length| KeySlot::seal(vault, 1, &KeySource::provider(Long(length)), kdf(), &master);
        seal(16 * 1024).unwrap();
        let error = seal(16 * 1024 + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
    }

    #[test]
    fn a_raw_key_has_32_bytes() {
        let vault = VaultId::random().unwrap();
        let short = KeySource::raw([7; 31]);
        let error =
            KeySlot::seal(vault, 1, &short, kdf(), &MasterKey::random().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert!(!format!("{short:?}").contains('7'));
    }

    /// Most often it is a variable that is not set: another key would be looked for in vain.
    #[test]
    fn an_empty_passphrase_is_no_key() {
        let vault = VaultId::random().unwrap();
        let [right, empty] = ["correct horse", ""].map(KeySource::passphrase);
        let master = MasterKey::random().unwrap();
        let slot = KeySlot::seal(vault, 1, &right, kdf(), &master).unwrap();
        let errors = [
            KeySlot::seal(vault, 1, &empty, kdf(), &master).unwrap_err(),
            slot.open(vault, &empty).unwrap_err(),
        ];
        assert_eq!(errors.map(|error| error.kind()), [ErrorKind::Validation; 2]);
    }
}
