//! Vault files of released versions of the format open forever.
//!
//! Each is a small vault with everything that its version can hold. A file is made once, by its own version, and
//! never again: `KEYWARD_MAKE_FILE=tests/files/v1.keyward cargo test --test released`
#![cfg(feature = "file")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{env, error::Error as StdError, fs, path::Path};

use keyward::{
    KdfParams, KeyKind, KeyProvider, KeySource, NewSecret, Origin, SecretPatch, ToolCall, UserId,
    Vault,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Wraps a key by xor with its context, which is enough for a test.
struct Xor;

impl KeyProvider for Xor {
    fn wrap(
        &self,
        key: &[u8; 32],
        context: &[u8],
    ) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        Ok(key.iter().zip(context).map(|(a, b)| a ^ b).collect())
    }

    fn unwrap(
        &self,
        wrapped: &[u8],
        context: &[u8],
        key: &mut [u8; 32],
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        for (to, (a, b)) in key.iter_mut().zip(wrapped.iter().zip(context)) {
            *to = a ^ b;
        }
        Ok(())
    }
}

fn raw() -> KeySource {
    KeySource::raw([0x4b; 32])
}

fn keys() -> [KeySource; 3] {
    [
        raw(),
        KeySource::passphrase("zażółć gęślą jaźń 🔑"),
        KeySource::provider(Xor),
    ]
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

/// The longest possible value, of two-byte characters.
fn longest() -> String {
    "ź".repeat(1024)
}

fn make(path: &Path) {
    let kdf = KdfParams::new(19 * 1024, 2, 1).unwrap();
    let vault = Vault::builder().kdf_params(kdf);
    let vault = vault.create(path, raw()).unwrap();
    let local = vault.user(UserId::LOCAL);
    let new = |name: &str, value: &str| NewSecret::new(name, value);
    local
        .batch(|batch| {
            let linear = new("linear", "lin_api_Zq8wT3vN");
            batch.create(linear.bind("agno__linear__*", "api_key").default_for_tool());
            let status = new("status page", "sp_x9");
            let status = status.bind("agno__api__make_request", "/headers/Authorization");
            batch.create(status.format("Bearer {}").default_for_tool());
            batch.create(new("unbound", &longest()));
            batch.create(new("gone", "gone-for-good"));
        })
        .unwrap();
    let alice = vault.user(user(1));
    let weather = new("погода ☂", "ключ-к-погоде").bind("get_weather_?", "ключ/~1");
    alice.create(weather.default_for_tool()).unwrap();
    vault.rotate_data_key(raw()).unwrap();
    local.delete("gone").unwrap();
    let renewed = SecretPatch::new().value("lin_api_renewed");
    local.update("linear", renewed).unwrap();
    alice
        .create(new("by reference", "ref-to-this-value").bind("mail", "/to/0"))
        .unwrap();
    let empty = vault.user(user(2));
    empty.create(new("gone", "gone-for-good")).unwrap();
    empty.delete("gone").unwrap();
    let [_, passphrase, provider] = keys();
    vault.add_key(raw(), passphrase).unwrap();
    vault.add_key(raw(), provider).unwrap();
    vault.compact().unwrap();
}

fn injected(vault: &Vault, user: UserId, call: &ToolCall<'_>, args: Value) -> Map<String, Value> {
    let Value::Object(mut args) = args else {
        panic!("arguments are an object");
    };
    let _ = vault.user(user).inject(call, &mut args).unwrap();
    args
}

fn check(vault: &Vault) {
    vault.verify().unwrap();
    assert_eq!(vault.users().unwrap(), [UserId::LOCAL, user(1)]);
    let kinds: Vec<_> = vault.key_slots().unwrap();
    let kinds: Vec<_> = kinds.iter().map(|slot| (slot.id, slot.kind)).collect();
    assert_eq!(
        kinds,
        [
            (1, KeyKind::Raw),
            (2, KeyKind::Passphrase),
            (3, KeyKind::Provider)
        ]
    );
    let usage = |user| {
        let usage = vault.user(user).usage().unwrap();
        (usage.secrets, usage.bytes)
    };
    // Values, names, tool patterns and arguments, in UTF-8.
    let local = (15 + 6 + 15 + 7) + (5 + 11 + 23 + 22) + (2048 + 7);
    let alice = (24 + 16 + 13 + 11) + (17 + 12 + 4 + 5);
    assert_eq!(usage(UserId::LOCAL), (3, local));
    assert_eq!(usage(user(1)), (2, alice));
    assert_eq!(usage(user(2)), (0, 0));
    let whole = vault.usage().unwrap();
    assert_eq!((whole.secrets, whole.bytes), (5, local + alice));

    let secrets = vault.user(UserId::LOCAL).secrets().unwrap();
    let seen: Vec<_> = secrets
        .iter()
        .map(|info| {
            (
                info.secret_name.as_str(),
                info.revision,
                info.display.as_deref(),
                info.format.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("linear", 2, Some("l********d"), None),
            ("status page", 1, Some("********"), Some("Bearer {}")),
            ("unbound", 1, Some("źźźź********źźźź"), None),
        ]
    );
    assert!(
        secrets
            .iter()
            .all(|info| info.created_at <= info.updated_at)
    );

    let local = UserId::LOCAL;
    let cases = [
        (
            local,
            ToolCall::new("agno__linear__create_issue"),
            json!({"title": "Login fails"}),
            json!({"title": "Login fails", "api_key": "lin_api_renewed"}),
        ),
        (
            local,
            ToolCall::new("agno__api__make_request"),
            json!({}),
            json!({"headers": {"Authorization": "Bearer sp_x9"}}),
        ),
        (
            local,
            ToolCall::new("any").with_origin(Origin::Workflow),
            json!({"file": "secret://unbound"}),
            json!({"file": longest()}),
        ),
        (
            user(1),
            ToolCall::new("get_weather_ü"),
            json!({}),
            json!({"ключ/~1": "ключ-к-погоде"}),
        ),
        (
            user(1),
            ToolCall::new("mail"),
            json!({"to": ["secret://by reference"]}),
            json!({"to": ["ref-to-this-value"]}),
        ),
        (user(2), ToolCall::new("mail"), json!({}), json!({})),
    ];
    for (user, call, args, expected) in cases {
        let found = injected(vault, user, &call, args);
        assert_eq!(Value::Object(found), expected);
    }
}

#[test]
fn a_file_of_version_1_opens() {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/v1.keyward");
    if let Some(path) = env::var_os("KEYWARD_MAKE_FILE") {
        make(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    for (i, key) in keys().into_iter().enumerate() {
        // Opening writes to the file.
        let path = folder.path().join(i.to_string());
        fs::copy(&released, &path).unwrap();
        check(&Vault::snapshot(&path, raw()).unwrap());
        let vault = Vault::open(&path, key).unwrap();
        check(&vault);
        vault.rotate_data_key(raw()).unwrap();
        check(&vault);
        let info = NewSecret::new("new", "value-of-new");
        vault.user(user(3)).create(info).unwrap();
        vault.verify().unwrap();
    }
}

/// A vault made now has the content that is checked in the released file, so neither can change without the other.
#[test]
fn what_is_checked_is_what_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    make(&path);
    check(&Vault::open(&path, raw()).unwrap());
}
