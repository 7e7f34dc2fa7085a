//! Digests under a key: HMAC-SHA-256 ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{aead::Context, page::KeyBytes, stack::wiping_stack};

pub(super) fn keyed_digest(key: &KeyBytes, context: &Context) -> Zeroizing<[u8; 32]> {
    wiping_stack(|| Keyed::new(key).digest(&[context.as_bytes()]))
}

/// The state of HMAC with a key. It is as sensitive as the key, and never leaves the stack: whoever uses it has the
/// stack wiped.
pub(super) struct Keyed(Hmac<Sha256>);

impl Keyed {
    pub(super) fn new(key: &KeyBytes) -> Keyed {
        Keyed(KeyInit::new_from_slice(key).expect("HMAC takes any key"))
    }

    /// Returns the digest of all parts, one after the other.
    pub(super) fn digest(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

/// The keyed digest of one member of a set.
#[derive(Debug, Clone, Eq)]
pub(crate) struct MemberDigest(pub(super) [u8; 32]);

/// In constant time.
impl PartialEq for MemberDigest {
    fn eq(&self, other: &MemberDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
