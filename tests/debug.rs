//! No `Debug`, `Display` or serialized form of a public type shows a value or a key.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Debug;

use keyward::{
    AuditLog, InjectionPolicy, KeyProvider, KeySource, NewSecret, Quota, SecretPatch, SecretValue,
    ToolCall, ToolPattern, UserId, Vault,
};
use serde_json::{Map, Value, json};

/// No part of these occurs anywhere else.
const VALUE: &str = "CANARY-value-7f3a";
const PASSPHRASE: &str = "CANARY-passphrase-91be";
const KEY: [u8; 32] = *b"CANARY-key-0123456789abcdefghijk";

struct Keyring(#[expect(dead_code, reason = "it must not be shown")] String);

impl KeyProvider for Keyring {
    fn wrap(
        &self,
        key: &[u8; 32],
        _: &[u8],
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(key.to_vec())
    }

    fn unwrap(
        &self,
        wrapped: &[u8],
        _: &[u8],
        key: &mut [u8; 32],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        key.copy_from_slice(wrapped);
        Ok(())
    }
}

fn assert_hidden(what: &str, text: &str) {
    assert!(!text.contains("CANARY"), "{what}: {text}");
    let bytes = VALUE
        .bytes()
        .map(|byte| byte.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    assert!(!text.contains(&bytes), "{what}: {text}");
    let key = KEY
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    assert!(!text.contains(&key), "{what}: {text}");
}

fn check(what: &str, value: &impl Debug) {
    assert_ne!(format!("{value:?}"), "", "{what}: it is hidden, not empty");
    assert_hidden(what, &format!("{value:?}"));
    assert_hidden(what, &format!("{value:#?}"));
}

fn args(json: Value) -> Map<String, Value> {
    serde_json::from_value(json).unwrap()
}

#[test]
fn no_debug_output_of_a_public_type_shows_a_value_or_a_key() {
    let policy = InjectionPolicy::default().replace_supplied();
    let builder = Vault::builder().injection_policy(policy.clone());
    check("VaultBuilder", &builder);
    let vault = builder
        .in_memory_with_key(KeySource::passphrase(PASSPHRASE))
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    let new = NewSecret::new("a", VALUE)
        .bind("t*", "k")
        .default_for_tool()
        .format("Bearer {}");
    check("NewSecret", &new);
    check("SecretPatch", &SecretPatch::new().value(VALUE));
    check("SecretValue", &SecretValue::new(VALUE));
    check("ToolPattern", &ToolPattern::new("t*").unwrap());
    let info = user.create(new).unwrap();
    check("SecretInfo", &info);
    assert_hidden("SecretInfo as JSON", &serde_json::to_string(&info).unwrap());
    user.batch(|batch| {
        batch.update("a", SecretPatch::new().value(VALUE));
        check("Batch", batch);
    })
    .unwrap();

    let call = ToolCall::new("tool");
    let mut filled = args(json!({"k": "supplied"}));
    let injection = user.inject(&call, &mut filled).unwrap();
    assert!(
        filled["k"].as_str().unwrap().contains(VALUE),
        "the value is in the arguments"
    );
    check("Injection", &injection);
    check("Redactor", injection.redactor());
    let json = json!({"filled": injection.filled(), "skipped": injection.skipped()});
    assert_hidden("the record as JSON", &json.to_string());
    let mut stream = injection.redactor().stream();
    assert!(
        stream.push(&VALUE.as_bytes()[..VALUE.len() - 1]).is_empty(),
        "held back"
    );
    check("RedactStream", &stream);
    let mut stream = injection.redactor().text_stream();
    assert!(
        stream.push(&VALUE[..VALUE.len() - 1]).is_empty(),
        "held back"
    );
    check("RedactTextStream", &stream);
    let explanation = user.explain(&call, &filled).unwrap();
    check("Explanation", &explanation);
    assert_hidden("Explanation as text", &explanation.to_string());
    let concealed = user
        .conceal(
            "tool",
            &mut json!({"properties": {"k": {"type": "string"}}}),
        )
        .unwrap();
    check("Concealment", &concealed);

    check("Vault", &vault);
    check("UserVault", &user);
    for text in [format!("{vault:?}"), format!("{user:?}")] {
        assert!(
            !text.contains("secret_name") && !text.contains("t*"),
            "no metadata in logs: {text}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(folder.path().join("audit.jsonl")).unwrap();
    check("AuditLog", &log);
    check("KeySource", &KeySource::passphrase(PASSPHRASE));
    check("KeySource", &KeySource::raw(KEY));
    check(
        "KeySource",
        &KeySource::provider(Keyring(PASSPHRASE.to_owned())),
    );
    vault.lock().unwrap();
    check("a locked Vault", &vault);
    let error = vault
        .unlock(KeySource::passphrase(format!("{PASSPHRASE}-wrong")))
        .unwrap_err();
    check("Error", &error);
    assert_hidden("Error as text", &error.to_string());
    vault.unlock(KeySource::passphrase(PASSPHRASE)).unwrap();

    let schema = json!({"type": "object", "properties": {"k": {"type": "string"}, "url": {"type": "string"}}});
    let report = user.check([("tool", &schema)]).unwrap();
    assert!(!report.findings.is_empty());
    check("Report", &report);
    assert_hidden("Report as text", &report.to_string());
    assert_hidden("Report as JSON", &serde_json::to_string(&report).unwrap());
}

#[test]
fn no_error_shows_a_value() {
    let vault = Vault::builder()
        .quota(Quota::default().user_bytes(60))
        .in_memory()
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(
        NewSecret::new("a", VALUE)
            .bind("t", "/k/l")
            .default_for_tool(),
    )
    .unwrap();
    let call = ToolCall::new("t");
    let errors = [
        user.create(NewSecret::new("a", VALUE)).unwrap_err(),
        user.create(
            NewSecret::new("b", VALUE)
                .bind("t", "/k/l")
                .default_for_tool(),
        )
        .unwrap_err(),
        user.create(NewSecret::new("b", VALUE.repeat(10)))
            .unwrap_err(),
        user.create(NewSecret::new("b", VALUE.repeat(100)))
            .unwrap_err(),
        user.update("a", SecretPatch::new().value(VALUE).name(""))
            .unwrap_err(),
        user.update("a", SecretPatch::new().value(VALUE).if_revision(9))
            .unwrap_err(),
        user.update("b", SecretPatch::new().value(VALUE))
            .unwrap_err(),
        user.inject(&call, &mut args(json!({"k": VALUE})))
            .unwrap_err(),
        user.inject(&call, &mut args(json!({"x": "secret://a"})))
            .unwrap_err(),
        NewSecret::from_json(&mut format!("{{\"secret_value\": {VALUE:?}").into_bytes())
            .unwrap_err(),
        NewSecret::from_json(&mut format!("{{\"is_default_for_tool\": {VALUE:?}}}").into_bytes())
            .unwrap_err(),
    ];
    for error in errors {
        check("Error", &error);
        assert_hidden(
            "Error as text",
            &format!("{error} {:?}", error.field_errors()),
        );
    }
}
