//! A vault whose key is in a keyring.
#![cfg(feature = "keyring")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{error::Error as _, sync::Arc};

use keyring_core::{CredentialStore, mock};
use keyward::{
    ErrorKind, KeyKind, KeyProvider, KeySource, KeyringProvider, NewSecret, UserId, Vault,
};

const SERVICE: &str = "keyward-test";

fn source(store: &Arc<CredentialStore>) -> KeySource {
    KeySource::provider(KeyringProvider::with_store(Arc::clone(store), SERVICE))
}

fn opens_and_keeps(store: &Arc<CredentialStore>) {
    let vault = Vault::builder().in_memory_with_key(source(store)).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    assert_eq!(vault.key_slots().unwrap()[0].kind, KeyKind::Provider);
    // Another vault's key is a separate entry.
    let other = Vault::builder().in_memory_with_key(source(store)).unwrap();
    for vault in [&vault, &other] {
        vault.lock().unwrap();
        vault.unlock(source(store)).unwrap();
    }
    assert_eq!(user.usage().unwrap().secrets, 1);
    vault.rotate_data_key(source(store)).unwrap();
    vault.rotate_master_key([source(store)]).unwrap();
    vault.lock().unwrap();
    vault.unlock(source(store)).unwrap();
    vault.verify().unwrap();
}

#[test]
fn any_store_will_do() {
    let store: Arc<CredentialStore> = mock::Store::new().unwrap();
    opens_and_keeps(&store);
    // A different store, without the entry.
    let vault = Vault::builder().in_memory_with_key(source(&store)).unwrap();
    vault.lock().unwrap();
    let empty: Arc<CredentialStore> = mock::Store::new().unwrap();
    let error = vault.unlock(source(&empty)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .contains("no such entry"),
        "{error:?}"
    );
    vault.unlock(source(&store)).unwrap();
}

#[test]
fn only_names_of_its_own_are_looked_up() {
    let store: Arc<CredentialStore> = mock::Store::new().unwrap();
    let provider = KeyringProvider::with_store(Arc::clone(&store), SERVICE);
    let wrapped = provider.wrap(&[7; 32], b"context").unwrap();
    let mut key = [0; 32];
    provider.unwrap(&wrapped, b"context", &mut key).unwrap();
    assert_eq!(key, [7; 32]);
    let other = keyring_core::Entry::new_in_store(&store, SERVICE, "another-program").unwrap();
    other.set_secret(&[8; 32]).unwrap();
    for name in [&b""[..], b"another-program", &[0xff; 32], &wrapped[1..]] {
        let error = provider.unwrap(name, b"context", &mut key).unwrap_err();
        assert!(error.to_string().contains("does not name"), "{error}");
    }
    // An entry that someone else has changed.
    let name = String::from_utf8(wrapped.clone()).unwrap();
    let entry = keyring_core::Entry::new_in_store(&store, SERVICE, &name).unwrap();
    for length in [0, 31, 33] {
        entry.set_secret(&vec![9; length]).unwrap();
        let error = provider.unwrap(&wrapped, b"context", &mut key).unwrap_err();
        assert!(!format!("{error:?}").contains("57"), "{error:?}");
    }
    assert_eq!(key, [7; 32]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_keeps_a_key() {
    use linux_keyutils_keyring_store::Store;

    let store: Arc<CredentialStore> = Store::new().unwrap();
    let probe = keyring_core::Entry::new_in_store(&store, SERVICE, "probe").unwrap();
    if let Err(error) = probe.set_secret(b"probe") {
        // Where containers forbid it.
        println!("skipped: the kernel keeps no keys for this process: {error}");
        return;
    }
    opens_and_keeps(&store);
    let native = || KeySource::provider(KeyringProvider::native(SERVICE).unwrap());
    let vault = Vault::builder().in_memory_with_key(native()).unwrap();
    vault.lock().unwrap();
    vault.unlock(native()).unwrap();
    let _ = probe.delete_credential();
}
