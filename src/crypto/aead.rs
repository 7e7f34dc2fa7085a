//! Sealing and opening bytes: XChaCha20-Poly1305 with a random nonce.

use std::fmt;

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, aead::inout::InOutBuf};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::page::KeyBytes;
use crate::{
    bytes::put_bytes,
    error::{Error, ErrorKind},
    sealed::Sealed,
};

/// 256 secret bits. They stay where they were made, so that no move leaves a copy behind.
#[derive(ZeroizeOnDrop)]
pub(crate) struct Key(Box<[u8; Key::LENGTH]>);

impl Key {
    pub(crate) const LENGTH: usize = 32;

    /// A key of the operating system's randomness.
    pub(crate) fn random() -> Result<Key, Error> {
        let mut key = Key::zero();
        fill_random(&mut key.0[..])?;
        Ok(key)
    }

    /// A place for a key that is about to be written.
    pub(crate) fn zero() -> Key {
        Key(Box::new([0; Key::LENGTH]))
    }

    /// `None` if these are not 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Key> {
        let mut key = Key::zero();
        if bytes.len() != Key::LENGTH {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Key::LENGTH] {
        &self.0
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; Key::LENGTH] {
        &mut self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// What a sealed thing is and where it belongs: the purpose, then fields. Each is led by its length, so that no two
/// lists of fields have the same bytes.
#[derive(Clone)]
pub(crate) struct Context(Vec<u8>);

impl Context {
    pub(crate) fn new(purpose: &'static str) -> Context {
        Context(Vec::with_capacity(160)).field(purpose.as_bytes())
    }

    pub(crate) fn field(mut self, field: &[u8]) -> Context {
        put_bytes(&mut self.0, field);
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const NONCE: usize = 24;
const TAG: usize = 16;
/// How much longer sealed bytes are than what they hold.
pub(super) const OVERHEAD: usize = NONCE + TAG;

/// Nonce (24 bytes), ciphertext, tag (16 bytes).
pub(super) fn seal(key: &KeyBytes, context: &Context, plaintext: &[u8]) -> Result<Sealed, Error> {
    let mut sealed = vec![0; NONCE + plaintext.len() + TAG];
    let (nonce, rest) = sealed.split_at_mut(NONCE);
    let (body, tag) = rest.split_at_mut(plaintext.len());
    fill_random(nonce)?;
    body.copy_from_slice(plaintext);
    let nonce: &[u8; NONCE] = (&*nonce).try_into().expect("split at the nonce's length");
    let cipher = XChaCha20Poly1305::new(key.into());
    let Ok(computed) =
        cipher.encrypt_inout_detached(nonce.into(), context.as_bytes(), InOutBuf::from(&mut *body))
    else {
        body.zeroize();
        return Err(Error::new(
            ErrorKind::Storage,
            "the data is too long to be sealed",
        ));
    };
    tag.copy_from_slice(&computed);
    Ok(Sealed::new(sealed))
}

/// The plaintext; `None` if this was not sealed with this key in this context.
pub(super) fn open(
    key: &KeyBytes,
    context: &Context,
    sealed: &Sealed,
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.as_bytes().split_first_chunk::<NONCE>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>()?;
    let mut plaintext = Zeroizing::new(body.to_vec());
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(
            nonce.into(),
            context.as_bytes(),
            InOutBuf::from(&mut plaintext[..]),
            tag.into(),
        )
        .ok()?;
    Some(plaintext)
}

/// Fills `bytes` from the operating system's generator.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|source| {
        Error::new(
            ErrorKind::Storage,
            "the operating system gave no random bytes; nothing changed",
        )
        .with_source(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_with_its_key_in_its_context_only() {
        let key = Key::random().unwrap();
        let context = Context::new("test").field(b"a").field(b"bc");
        let sealed = seal(key.as_bytes(), &context, b"attack at dawn").unwrap();
        assert_eq!(
            open(key.as_bytes(), &context, &sealed).unwrap().as_slice(),
            b"attack at dawn"
        );
        assert!(open(Key::random().unwrap().as_bytes(), &context, &sealed).is_none());
        for other in [
            Context::new("test").field(b"ab").field(b"c"),
            Context::new("test").field(b"abc"),
            Context::new("tes").field(b"t").field(b"a").field(b"bc"),
        ] {
            assert!(open(key.as_bytes(), &other, &sealed).is_none());
        }
    }

    #[test]
    fn no_changed_byte_and_no_other_length_opens() {
        let key = Key::random().unwrap();
        let context = Context::new("test");
        let sealed = seal(key.as_bytes(), &context, b"value").unwrap();
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 0x10;
            assert!(
                open(key.as_bytes(), &context, &Sealed::new(bytes)).is_none(),
                "byte {at}"
            );
            let short = Sealed::new(&sealed.as_bytes()[..at]);
            assert!(
                open(key.as_bytes(), &context, &short).is_none(),
                "length {at}"
            );
        }
    }

    #[test]
    fn nonces_are_not_used_twice() {
        let key = Key::random().unwrap();
        let sealed = || seal(key.as_bytes(), &Context::new("test"), b"value").unwrap();
        assert_ne!(sealed().as_bytes()[..NONCE], sealed().as_bytes()[..NONCE]);
    }
}
