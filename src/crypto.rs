//! The key hierarchy and everything sealed with it. No code outside this module touches a cipher.
//!
//! ```text
//! key slots      passphrase (Argon2id) | raw 32 bytes | provider
//!                    │ each seals
//! master key         ▼      random, 256 bits
//!                    │ seals
//! key ring           ▼      index key, data keys: random, 256 bits each
//!                    │ HKDF-SHA-256, one label for each purpose
//! purpose keys       ▼      metadata, value, root of a data key; tags, row digests of the index key
//! ```
//!
//! Everything is sealed with XChaCha20-Poly1305 under a random nonce of 192 bits, which is long enough to be
//! chosen at random for any number of records. The associated data says what a sealed item is and where it
//! belongs, so that it cannot be opened as anything else or anywhere else.

mod aead;
mod derive;
mod digest;
#[cfg(feature = "file")]
mod key_file;
mod keys;
mod page;
mod record;
mod root;
mod slot;
mod source;
mod stack;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

pub(crate) use self::{
    aead::fill_random,
    derive::checksum,
    digest::MemberDigest,
    keys::{KeyRing, MasterKey, VaultId},
    record::BindingDigest,
    root::{SetDigest, UserRoot, VaultRoot},
    slot::{KeySlot, check_source},
};
pub use self::{
    derive::KdfParams,
    slot::KeySlotInfo,
    source::{KeyKind, KeyProvider, KeySource},
};
