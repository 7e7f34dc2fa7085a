//! The vault as a whole: its users, its lock, its bounds and its errors.

use keyward::{
    Error, ErrorKind, KeySource, NewSecret, SecretPatch, ToolCall, UserId, UserVault, Vault,
};
use serde_json::{Map, json};

use super::{ALICE, BOB, assert_kind, injected, local, vault};

#[test]
fn a_deleted_user_has_nothing() {
    let vault = vault();
    let (alice, bob) = (
        vault.user(ALICE.parse().unwrap()),
        vault.user(BOB.parse().unwrap()),
    );
    for user in [&alice, &bob] {
        user.create(
            NewSecret::new("a", "value-of-a")
                .bind("t", "k")
                .default_for_tool(),
        )
        .unwrap();
    }
    vault.delete_user(alice.id()).unwrap();
    let anchor = vault.anchor().unwrap();
    vault.delete_user(alice.id()).unwrap();
    assert_eq!(vault.anchor().unwrap(), anchor, "nothing is left to do");
    assert!(alice.secrets().unwrap().is_empty());
    assert_eq!(injected(&alice, "t"), None);
    assert_eq!(injected(&bob, "t").as_deref(), Some("value-of-a"));
    assert_eq!(vault.users().unwrap(), [bob.id()]);
    assert_eq!(vault.usage().unwrap(), bob.usage().unwrap());
    alice.create(NewSecret::new("a", "value-of-a")).unwrap();
    vault.verify().unwrap();
}

#[test]
fn a_locked_vault_says_so_to_every_call() {
    let opens = || KeySource::raw([7; 32]);
    let vault = Vault::builder().in_memory_with_key(opens()).unwrap();
    let (clone, user) = (vault.clone(), local(&vault));
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    let mut args = Map::new();
    let injection = user.inject(&ToolCall::new("t"), &mut args).unwrap();

    clone.lock().unwrap();
    clone.lock().unwrap();
    let call = ToolCall::new("t");
    let mut left = json!({"x": "secret://a"}).as_object().unwrap().clone();
    let mut schema = json!({"properties": {"k": {}}});
    let errors = [
        user.create(NewSecret::new("b", "value-of-b")).err(),
        user.update("a", SecretPatch::new()).err(),
        user.delete("a").err(),
        user.secret("a").err(),
        user.secrets().err(),
        user.batch(|batch| batch.delete("a")).err(),
        // Nor does it look at the request first.
        user.create(NewSecret::new("", "")).err(),
        user.update("a", SecretPatch::new().name("")).err(),
        user.batch(|batch| batch.create(NewSecret::new("", "")))
            .err(),
        user.usage().err(),
        user.secrets_after(None, 1).err(),
        user.inject(&call, &mut left).err(),
        user.inject_value(&call, &mut json!(left)).err(),
        user.inject_str(&call, &mut json!(left).to_string()).err(),
        user.redactor().err(),
        user.conceal("t", &mut schema).err(),
        user.explain(&call, &left).err(),
        user.explain_value(&call, &json!(left)).err(),
        user.explain_str(&call, &json!(left).to_string()).err(),
        user.check([("t", &schema)]).err(),
        user.load().err(),
        vault.users().err(),
        vault.usage().err(),
        vault.anchor().err(),
        vault.verify().err(),
        vault.compact().err(),
        vault.keys_locked_in_memory().err(),
        vault.delete_user(UserId::LOCAL).err(),
        vault.key_slots().err(),
        vault.add_key(opens(), KeySource::raw([8; 32])).err(),
        vault.change_key(opens(), KeySource::raw([8; 32])).err(),
        vault.remove_key_slot(0).err(),
        vault.rotate_master_key([opens()]).err(),
        vault.rotate_data_key(opens()).err(),
        clone.user(ALICE.parse().unwrap()).secrets().err(),
    ];
    for (i, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("call {i} worked"));
        assert_eq!(
            (error.kind(), error.http_status()),
            (ErrorKind::Locked, 423),
            "call {i}"
        );
    }
    assert_eq!(left["x"], "secret://a");
    assert_eq!(schema, json!({"properties": {"k": {}}}));
    assert_eq!(
        injection.redactor().redact("value-of-a"),
        "secret://a",
        "what was injected stays usable"
    );

    for wrong in [KeySource::raw([8; 32]), KeySource::passphrase("7")] {
        assert_kind(vault.unlock(wrong), ErrorKind::WrongKey);
        assert_kind(user.secrets(), ErrorKind::Locked);
    }
    vault.unlock(opens()).unwrap();
    assert_eq!(injected(&user, "t").as_deref(), Some("value-of-a"));
    assert_eq!(clone.usage().unwrap().secrets, 1);
    let id = user.secret("a").unwrap().secret_id;
    assert!(
        user.create(NewSecret::new("b", "value-of-b"))
            .unwrap()
            .secret_id
            > id
    );
    assert_kind(vault.unlock(KeySource::raw([8; 32])), ErrorKind::WrongKey);
    vault.unlock(opens()).unwrap();
    vault.verify().unwrap();
}

#[test]
fn a_vault_without_a_key_cannot_be_locked() {
    let vault = vault();
    let user = local(&vault);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    let key = || KeySource::raw([7; 32]);
    for (result, advice) in [
        (vault.lock(), "create it with one, or drop it"),
        (vault.unlock(key()), "use it as it is"),
        (vault.add_key(key(), key()).map(drop), "create it with one"),
        (vault.rotate_data_key(key()), "create it with one"),
        #[cfg(feature = "file")]
        (
            vault.backup("no-folder/copy"),
            "create it with one, or export it",
        ),
    ] {
        let error = assert_kind(result, ErrorKind::Unsupported).to_string();
        assert!(error.ends_with(&format!(": {advice}")), "{error}");
        assert_eq!(error.matches(": ").count(), 1, "{error}");
    }
    assert_eq!(user.secrets().unwrap().len(), 1);
}

#[test]
fn a_policy_can_turn_the_mask_off() {
    let user = local(&Vault::builder().mask_values(false).in_memory().unwrap());
    let info = user
        .create(NewSecret::new("a", "value-of-a-that-is-long"))
        .unwrap();
    assert_eq!(info.display, None);
    assert_eq!(serde_json::to_value(info).unwrap()["display"], json!(null));
}

#[test]
fn a_vault_crosses_threads_and_panics() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + Clone>() {}
    fn shared<T: Send + Sync>() {}
    check::<Vault>();
    check::<UserVault>();
    check::<keyward::Resolver>();
    check::<keyward::Redactor>();
    shared::<keyward::Injection>();
    shared::<Error>();
}

#[test]
fn the_bounds_of_the_vault_hold_for_every_way_to_write() {
    let bounds = keyward::Bounds::default().max_value_chars(2_000);
    let vault = Vault::builder().bounds(bounds).in_memory().unwrap();
    let user = local(&vault);
    let (fits, too_long) = ("v".repeat(2_000), "v".repeat(2_001));
    user.create(NewSecret::new("a", &*fits)).unwrap();
    user.update("a", SecretPatch::new().value(&*fits)).unwrap();
    user.batch(|batch| {
        batch.create(NewSecret::new("b", &*fits));
        batch.update("a", SecretPatch::new().value(&*fits));
    })
    .unwrap();
    let json = |value: &str| format!(r#"{{"secret_value": "{value}"}}"#).into_bytes();
    assert!(SecretPatch::from_json_within(&mut json(&fits), vault.bounds()).is_ok());
    for error in [
        user.create(NewSecret::new("c", &*too_long)).err(),
        user.update("a", SecretPatch::new().value(&*too_long)).err(),
        user.batch(|batch| batch.create(NewSecret::new("c", &*too_long)))
            .err(),
        user.batch(|batch| batch.update("a", SecretPatch::new().value(&*too_long)))
            .err(),
        SecretPatch::from_json_within(&mut json(&too_long), vault.bounds()).err(),
    ] {
        assert_eq!(
            error.expect("an error").field_errors()[0].error_type(),
            "string_too_long"
        );
    }
    let mut schema = json!({"properties": {"k": {"type": "string", "maxLength": 1_500}}});
    user.create(
        NewSecret::new("k", "value-of-k")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    assert!(
        !user.conceal("t", &mut schema).unwrap().is_complete(),
        "a longer value could be put in"
    );
}

/// The bounds are those with which the vault is open: a value may come from a time when they were wider.
#[cfg(feature = "file")]
#[test]
fn a_value_beyond_the_bounds_is_reckoned_with_when_a_schema_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let key = || KeySource::raw([7; 32]);
    let wide = keyward::Bounds::default().max_value_chars(4_000);
    let vault = Vault::builder().bounds(wide).create(&path, key()).unwrap();
    let secret = NewSecret::new("k", "v".repeat(3_000)).bind("t", "k");
    vault
        .user(UserId::LOCAL)
        .create(secret.default_for_tool())
        .unwrap();
    drop(vault);
    let user = Vault::open(&path, key()).unwrap().user(UserId::LOCAL);
    for (most, hidden) in [(2_999, false), (3_000, true)] {
        let mut schema = json!({"properties": {"k": {"type": "string", "maxLength": most}}});
        let concealed = user.conceal("t", &mut schema).unwrap();
        assert_eq!(concealed.is_complete(), hidden, "{most}");
    }
}

#[test]
fn a_user_whose_last_secret_went_is_no_user_of_the_vault() {
    let vault = vault();
    let user = local(&vault);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    assert_eq!(vault.users().unwrap(), [UserId::LOCAL]);
    user.delete("a").unwrap();
    assert!(vault.users().unwrap().is_empty());
}

/// Metrics and logs are kept by these names, and clients react to these statuses.
#[test]
fn every_kind_of_error_has_its_name_and_its_http_status() {
    for (kind, name, status) in [
        (ErrorKind::Validation, "validation", 422),
        (ErrorKind::NotFound, "not_found", 404),
        (ErrorKind::NameTaken, "name_taken", 409),
        (ErrorKind::DefaultTaken, "default_taken", 409),
        (ErrorKind::Conflict, "conflict", 409),
        (ErrorKind::QuotaExceeded, "quota_exceeded", 413),
        (ErrorKind::Denied, "denied", 403),
        (ErrorKind::Locked, "locked", 423),
        (ErrorKind::WrongKey, "wrong_key", 500),
        (ErrorKind::Corrupt, "corrupt", 500),
        (ErrorKind::RolledBack, "rolled_back", 500),
        (ErrorKind::UnsupportedVersion, "unsupported_version", 500),
        (ErrorKind::InUse, "in_use", 500),
        (ErrorKind::Storage, "storage", 500),
        (ErrorKind::Unsupported, "unsupported", 501),
    ] {
        assert_eq!((kind.as_str(), kind.http_status()), (name, status));
        assert_eq!(kind.to_string(), name);
    }
}
