//! The operating system's keyring as a store for a vault's key.

use std::{error::Error as StdError, fmt, sync::Arc};

use keyring_core::{CredentialStore, Entry};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    crypto::{KeyProvider, fill_random},
    error::{Error, ErrorKind},
};

/// Keeps a vault's key in a keyring: the operating system's, or another store of the [`keyring-core`] family.
///
/// Each key slot has its own entry in the keyring: the entry's service names the program, and its user is 32
/// random hexadecimal digits, which the slot stores. The key itself is only in the keyring.
///
/// ```no_run
/// use keyward::{KeySource, KeyringProvider, Vault};
///
/// let keyring = || KeyringProvider::native("my-agent").map(KeySource::provider);
/// let vault = Vault::create("secrets.keyward", keyring()?)?;
/// // A second way in, for the day when the keyring is empty.
/// vault.add_key(keyring()?, KeySource::passphrase("correct horse battery staple"))?;
/// drop(vault);
/// let vault = Vault::open("secrets.keyward", keyring()?)?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # How long a key is kept
///
/// | system | keyring | until |
/// |---|---|---|
/// | Linux | the kernel's: the user's persistent keyring, otherwise the session's | the machine is restarted, or the keyring is not used for some days |
/// | macOS | the user's keychain | it is deleted |
/// | Windows | the user's credential manager | it is deleted |
///
/// **A vault whose only key was in a kernel's keyring is lost at the next restart.** On Linux, add a passphrase as
/// well, or use a store that lasts, such as a desktop's Secret Service, with
/// [`with_store`](KeyringProvider::with_store).
///
/// On Linux the process needs its own session keyring, which a login creates; services and containers may have
/// none: `keyctl session - COMMAND` runs a command with one.
///
/// # Security
///
/// Other programs of the same user can usually read the keyring. The keyring's own code handles the key on its way
/// and does not promise to wipe it. When a key slot is removed or replaced, as a rotation of the master key does, its
/// entry stays, and so does that of a slot which failed to be stored. Such an entry opens only older copies of the
/// vault, or nothing, and can be deleted with the system's own tools.
///
/// [`keyring-core`]: https://docs.rs/keyring-core
pub struct KeyringProvider {
    store: Arc<CredentialStore>,
    service: String,
}

impl KeyringProvider {
    /// Uses the operating system's keyring. `service` names the program, for people who look into the keyring.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if the keyring cannot be reached, [`ErrorKind::Unsupported`] on a system whose
    /// keyring keyward does not know. There is no fallback to another store.
    pub fn native(service: impl Into<String>) -> Result<KeyringProvider, Error> {
        Ok(KeyringProvider::with_store(native_store()?, service))
    }

    /// Uses another store of the `keyring-core` family.
    pub fn with_store(store: Arc<CredentialStore>, service: impl Into<String>) -> KeyringProvider {
        KeyringProvider {
            store,
            service: service.into(),
        }
    }

    fn entry(&self, name: &str) -> Result<Entry, Failure> {
        Entry::new_in_store(&self.store, &self.service, name).map_err(Failure::from)
    }
}

#[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
fn native_store() -> Result<Arc<CredentialStore>, Error> {
    #[cfg(target_os = "macos")]
    use apple_native_keyring_store::keychain as native;
    #[cfg(target_os = "linux")]
    use linux_keyutils_keyring_store as native;
    #[cfg(target_os = "windows")]
    use windows_native_keyring_store as native;

    match native::Store::new() {
        Ok(store) => Ok(store),
        Err(error) => Err(Error::new(
            ErrorKind::Storage,
            "the operating system's keyring cannot be reached: use another key",
        )
        .with_source(Failure::from(error))),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
fn native_store() -> Result<Arc<CredentialStore>, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "this operating system's keyring is not supported: use another key, or a store of your own",
    ))
}

impl fmt::Debug for KeyringProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringProvider")
            .field("store", &self.store.vendor())
            .field("service", &self.service)
            .finish()
    }
}

/// The wrapped form of a key is the name of its keyring entry.
impl KeyProvider for KeyringProvider {
    fn wrap(
        &self,
        key: &[u8; 32],
        _context: &[u8],
    ) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        let mut random = [0; NAME / 2];
        fill_random(&mut random)?;
        let name = format!("{:032x}", u128::from_be_bytes(random));
        let entry = self.entry(&name)?;
        entry.set_secret(key).map_err(Failure::from)?;
        // A keyring that accepts a key but does not return it would make the vault unreadable.
        let mut kept = Zeroizing::new([0; 32]);
        self.unwrap(name.as_bytes(), &[], &mut kept)?;
        if !bool::from(kept.ct_eq(key)) {
            return Err(Failure("the keyring returned a different key").into());
        }
        Ok(name.into_bytes())
    }

    fn unwrap(
        &self,
        wrapped: &[u8],
        _context: &[u8],
        key: &mut [u8; 32],
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        // The name comes from the vault's file, so it may be anything.
        let name = str::from_utf8(wrapped).unwrap_or_default();
        if name.len() != NAME || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure("the key slot does not name a keyring entry").into());
        }
        let kept = Zeroizing::new(self.entry(name)?.get_secret().map_err(Failure::from)?);
        if kept.len() != key.len() {
            return Err(Failure("the keyring's entry does not have 32 bytes").into());
        }
        key.copy_from_slice(&kept);
        Ok(())
    }
}

/// The length of an entry's name in hexadecimal digits.
const NAME: usize = 32;

/// Why the keyring failed. Its own errors are not kept, since some of them contain the entry's content.
#[derive(Debug)]
struct Failure(&'static str);

impl From<keyring_core::Error> for Failure {
    fn from(error: keyring_core::Error) -> Failure {
        use keyring_core::Error as E;

        Failure(match &error {
            E::NoEntry => "the keyring has no such entry: it expired, or was deleted",
            E::NoStorageAccess(_) => "the keyring is locked, or cannot be reached",
            E::Ambiguous(_) => "the keyring has several such entries",
            E::TooLong(..) | E::Invalid(..) => "the keyring refuses such an entry",
            E::NotSupportedByStore(_) | E::NoDefaultStore => "the keyring does not support this",
            _ => "the keyring failed",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Failure {}
