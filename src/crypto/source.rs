//! What a program opens a vault with.

use std::{error::Error as StdError, fmt, sync::Arc};
#[cfg(feature = "file")]
use std::{fs::File, path::Path};

use zeroize::Zeroizing;

use super::derive::KdfParams;
#[cfg(feature = "file")]
use super::key_file;
use crate::secret::SecretValue;

/// What opens a vault: a passphrase, a raw key, or the program's own provider.
///
/// ```
/// use keyward::{KeySource, Vault};
///
/// let key = [0x4b; 32]; // from a place that is safer than this
/// let vault = Vault::builder().in_memory_with_key(KeySource::raw(key))?;
/// vault.lock()?;
/// vault.unlock(KeySource::raw(key))?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Errors
///
/// An empty passphrase, and a raw key that does not have 32 bytes, cannot be keys. Where one is tried, or a slot is to
/// be made for it, that fails with `Validation`, whatever kinds of key slots the vault has.
///
/// # New key slots
///
/// A key slot cannot be made for what [cannot be a key](KeySource#errors), or if a provider returns a wrapped key of
/// more than 16 KiB: that is an error of kind `Validation`. So is a passphrase with which all slots of a vault would
/// take too much work together, which no usual parameters do. A provider that fails to wrap is `Storage`.
///
/// # Security
///
/// What this holds is wiped when it is dropped, and no `Debug` shows it.
pub struct KeySource(Source);

/// What a source holds. Each part wipes itself.
pub(super) enum Source {
    Passphrase(SecretValue),
    Raw(Zeroizing<Vec<u8>>),
    Provider(Arc<dyn KeyProvider>),
}

impl KeySource {
    /// Creates a source from a passphrase in UTF-8; an empty one is refused where the source is used. It is
    /// stretched with Argon2id under the vault's [`KdfParams`], which takes a noticeable fraction of a second. In a
    /// debug build it takes several seconds, and every other call some 20 times as long as it should, since cargo does
    /// not optimize dependencies there, unless the program's `Cargo.toml` says so: first for all, then for this.
    ///
    /// ```toml
    /// [profile.dev.package."*"]
    /// opt-level = 1
    ///
    /// [profile.dev.package]
    /// argon2 = { opt-level = 3 }
    /// blake2 = { opt-level = 3 }
    /// ```
    pub fn passphrase(passphrase: impl Into<SecretValue>) -> KeySource {
        KeySource(Source::Passphrase(passphrase.into()))
    }

    /// Creates a source from a key of 32 uniformly random bytes; any other length is refused where the source is
    /// used. For a secret that a person chose, use [`passphrase`](KeySource::passphrase).
    ///
    /// # Security
    ///
    /// The key is copied, and the copy is wiped. The argument itself is not, even if passed by value: pass a
    /// `Zeroizing` buffer, or a reference to a buffer that you wipe yourself.
    pub fn raw(key: impl AsRef<[u8]>) -> KeySource {
        KeySource(Source::Raw(Zeroizing::new(key.as_ref().to_vec())))
    }

    /// Reads the key in a key file, as `keyward init --key-file` makes one: 64 hexadecimal digits and a line end. The
    /// 32 bytes of a key by themselves are a key file, too. This is how a program opens a vault of the command line.
    ///
    /// ```
    /// use keyward::{KeySource, Vault};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (path, key_file) = (dir.path().join("vault.keyward"), dir.path().join("key"));
    /// # std::fs::write(&key_file, format!("{}\n", "4b".repeat(32))).unwrap();
    /// # drop(Vault::create(&path, KeySource::raw([0x4b; 32]))?);
    /// let vault = Vault::open(&path, KeySource::key_file(&key_file)?)?;
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Storage` if the file cannot be read, with the [`io::Error`](std::io::Error) as its source; `Validation` if it
    /// is no key file.
    ///
    /// # Security
    ///
    /// What was read is wiped, and no error repeats any of it. Who else may read the file is not checked: whoever can
    /// read it and the vault can read the secrets.
    #[cfg(feature = "file")]
    pub fn key_file(path: impl AsRef<Path>) -> Result<KeySource, crate::Error> {
        use crate::error::{Error, ErrorKind, FieldError};

        let read = File::open(path).and_then(key_file::read).map_err(|error| {
            let message = "the key file could not be read: check the path, and who may read it";
            Error::new(ErrorKind::Storage, message).with_source(error)
        })?;
        let key = read.ok_or_else(|| {
            let msg = "a key file must have 32 bytes, or 64 hexadecimal digits";
            Error::validation(vec![FieldError::value_error("key_file", msg)])
        })?;
        Ok(KeySource(Source::Raw(key)))
    }

    /// Creates a source from the program's own provider: an operating system's keyring, a KMS, an HSM.
    pub fn provider(provider: impl KeyProvider + 'static) -> KeySource {
        KeySource(Source::Provider(Arc::new(provider)))
    }

    pub(super) fn held(&self) -> &Source {
        &self.0
    }

    /// Returns the Argon2id work for a slot of this source.
    pub(crate) fn work(&self, kdf: KdfParams) -> u64 {
        match &self.0 {
            Source::Passphrase(_) => kdf.work(),
            Source::Raw(_) | Source::Provider(_) => 0,
        }
    }

    fn kind(&self) -> KeyKind {
        match &self.0 {
            Source::Passphrase(_) => KeyKind::Passphrase,
            Source::Raw(_) => KeyKind::Raw,
            Source::Provider(_) => KeyKind::Provider,
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySource::{:?}([redacted])", self.kind())
    }
}

/// A service that can keep a vault's key: an operating system's keyring, a KMS, an HSM.
///
/// For each key slot, keyward creates a random key of 32 bytes and asks the provider to wrap it. The wrapped form
/// is stored with the vault, and given back to be unwrapped when the vault is opened. A KMS encrypts and decrypts;
/// a keyring may keep the key itself and return the name of its entry as the wrapped form.
///
/// The context identifies the vault and the slot. A provider that can bind the wrapped form to it should do so.
///
/// ```
/// use std::{collections::HashMap, error::Error, sync::Mutex};
///
/// use keyward::{KeyProvider, KeySource, Vault};
///
/// /// Stands for a service in another process, which keeps the keys, each under the slot that it is for.
/// #[derive(Default)]
/// struct Keyring(Mutex<HashMap<Vec<u8>, [u8; 32]>>);
///
/// impl KeyProvider for Keyring {
///     fn wrap(&self, key: &[u8; 32], context: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
///         self.0.lock().unwrap().insert(context.to_vec(), *key);
///         Ok(b"in the keyring".to_vec())
///     }
///
///     fn unwrap(&self, _: &[u8], context: &[u8], key: &mut [u8; 32]) -> Result<(), Box<dyn Error + Send + Sync>> {
///         *key = *self.0.lock().unwrap().get(context).ok_or("there is no such key")?;
///         Ok(())
///     }
/// }
///
/// let keyring = std::sync::Arc::new(Keyring::default());
/// let key = || KeySource::provider(keyring.clone());
/// let vault = Vault::builder().in_memory_with_key(key())?;
/// vault.lock()?;
/// vault.unlock(key())?;
///
/// let other = KeySource::provider(Keyring::default());
/// vault.lock()?;
/// let error = vault.unlock(other).unwrap_err();
/// assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "there is no such key");
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Security
///
/// Errors become the source of an [`Error`](crate::Error), so they must not contain a key. Calls may block. They must
/// not call the vault that they are to open, since it waits for them.
pub trait KeyProvider: Send + Sync {
    /// Wraps a new key. The wrapped form is not secret by itself: it is stored in the clear. It may have at most
    /// 16 KiB.
    ///
    /// # Errors
    ///
    /// Whatever prevents the wrapping: the vault, or the slot, is then not created.
    fn wrap(
        &self,
        key: &[u8; 32],
        context: &[u8],
    ) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>>;

    /// Unwraps what [`wrap`](KeyProvider::wrap) returned, into `key`.
    ///
    /// # Errors
    ///
    /// Whatever prevents the unwrapping, be it an outage: the vault then stays closed, with
    /// [`ErrorKind::WrongKey`](crate::ErrorKind::WrongKey), and this error as the source of that one.
    fn unwrap(
        &self,
        wrapped: &[u8],
        context: &[u8],
        key: &mut [u8; 32],
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// So that one client of a KMS serves several [`KeySource`]s.
impl<P: KeyProvider + ?Sized> KeyProvider for Arc<P> {
    fn wrap(
        &self,
        key: &[u8; 32],
        context: &[u8],
    ) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        (**self).wrap(key, context)
    }

    fn unwrap(
        &self,
        wrapped: &[u8],
        context: &[u8],
        key: &mut [u8; 32],
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        (**self).unwrap(wrapped, context, key)
    }
}

/// How a vault can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// With a passphrase.
    Passphrase,
    /// With a raw key.
    Raw,
    /// With a key provider.
    Provider,
}
