//! What is left in memory: nothing of a value, and nothing of a key once the vault is locked or dropped.

use std::{mem, path::Path};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::*;
use crate::{
    ErrorKind::{Denied, Validation, WrongKey},
    InjectionPolicy, KdfParams, Origin, Redactor, SecretValue,
    memory_scan::{Canary, Found, Memory, deep, in_child},
};

/// The least that is allowed: Argon2id's memory is wiped, whatever its size.
fn builder() -> VaultBuilder {
    Vault::builder().kdf_params(KdfParams::new(19 * 1024, 2, 1).unwrap())
}

fn watch_keys(memory: &Memory, vault: &Vault) {
    let keys = vault.state.keys().unwrap();
    keys.each_key(|name, key| memory.watch(name, 8, key.iter().copied()));
    deep(|| {
        keys.each_hmac_state(|name, state| memory.watch(name, 8, state.iter().copied()));
    });
}

fn json(name: &str, value: Canary) -> Zeroizing<Vec<u8>> {
    value.within(
        &format!(r#"{{"secret_name": "{name}", "tool_name": "t", "tool_arg": "{name}", "is_default_for_tool": true, "secret_value": ""#),
        r#""}"#,
    )
}

fn create(user: &UserVault, name: &str, value: Canary) {
    let secret = NewSecret::from_json(&mut json(name, value)).unwrap();
    user.create(secret).unwrap();
}

fn is(value: &Value, canary: Canary) -> bool {
    value.as_str().unwrap().bytes().eq(canary.bytes())
}

/// Like `contains` of the standard library, which may put what it reads on the stack, in vectors.
fn has(text: &str, part: &str) -> bool {
    let mut parts = text.as_bytes().windows(part.len());
    parts.any(|found| found == part.as_bytes())
}

/// Every way that the value of `a` goes into a call and out of what the tool says, with what the caller holds wiped.
fn call(user: &UserVault, location: &str, value: Canary) {
    let call = ToolCall::new("t");
    let mut args = Map::new();
    let injection = user.inject(&call, &mut args).unwrap();
    assert!(is(&args[location], value));

    let redactor = injection.redactor();
    let said = value.within("401: no such key: ", ".");
    let redacted = b"401: no such key: secret://a.";
    assert_eq!(*redactor.redact_bytes(&said), *redacted);
    for chunk in [1, 7, 64] {
        let mut stream = redactor.stream();
        let mut out: Vec<u8> = said
            .chunks(chunk)
            .flat_map(|chunk| stream.push(chunk))
            .collect();
        out.extend(stream.finish());
        assert_eq!(out, redacted);
    }
    let mut output = Value::from(String::new());
    if let Value::String(text) = &mut output {
        *text = value.unwiped();
    }
    redactor.redact_json(&mut output);
    assert_eq!(output, "secret://a");

    let mut merged = Redactor::new();
    merged.merge(redactor);
    assert_eq!(*merged.redact_bytes(&said), *redacted);
    injection.wipe(&mut args);

    let mut text = r#"{"title": "x"}"#.to_owned();
    let injection = user.inject_str(&call, &mut text).unwrap();
    injection.wipe_str(&mut text);
    let mut null = Value::Null;
    let injection = user.inject_value(&call, &mut null).unwrap();
    injection.wipe_value(&mut null);

    // Last: later calls could write over what it leaves.
    let mut args = Map::new();
    let guarded = user.inject(&call, &mut args).unwrap().guard(args);
    assert!(is(&guarded[location], value));
    drop(guarded);
}

/// The same for text that is guarded, which nothing may follow either.
fn call_with_text(user: &UserVault, location: &str) {
    let (call, mut text) = (ToolCall::new("t"), "{}".to_owned());
    let guarded = user.inject_str(&call, &mut text).unwrap().guard(text);
    assert!(has(&guarded, location));
    drop(guarded);
}

/// What a secret goes through while the vault is used.
fn use_secrets(memory: &Memory, vault: &Vault) {
    let [first, second, plain, formatted, lines] =
        ["first", "second", "plain", "formatted", "lines"]
            .map(|name| memory.canary_in_all_forms(name, 48));
    let user = vault.user(UserId::LOCAL);
    deep(|| create(&user, "a", first));
    assert_only_keys(memory, vault, "created");
    deep(|| call(&user, "a", first));
    assert_only_keys(memory, vault, "called");

    deep(|| {
        let mut patch = second.within(r#"{"secret_value": ""#, r#""}"#);
        let patch = SecretPatch::from_json(&mut patch).unwrap();
        user.update("a", patch).unwrap();
    });
    assert_only_keys(memory, vault, "updated");
    deep(|| call(&user, "a", second));
    deep(|| user.update("a", SecretPatch::new().bind("t", "b")).unwrap());
    deep(|| call(&user, "b", second));
    assert_only_keys(memory, vault, "bound elsewhere");
    deep(|| call_with_text(&user, "b"));
    assert_only_keys(memory, vault, "guarded text");

    deep(|| {
        user.batch(|batch| {
            batch.create(NewSecret::new("plain", plain.wiped()));
            batch.create(
                NewSecret::new("formatted", SecretValue::from(formatted.wiped()))
                    .bind("u", "/headers/Authorization")
                    .default_for_tool()
                    .format("Bearer {}"),
            );
        })
        .unwrap();
    });
    deep(|| {
        let mut args = Map::new();
        let injection = user.inject(&ToolCall::new("u"), &mut args).unwrap();
        injection.wipe(&mut args);
        let call = ToolCall::new("any").with_origin(Origin::Workflow);
        args.insert("x".to_owned(), "secret://plain".into());
        let injection = user.inject(&call, &mut args).unwrap();
        assert!(is(&args["x"], plain));
        injection.wipe(&mut args);
        // All or nothing: the first reference is granted, the second is not.
        args.insert("y".to_owned(), "secret://none".into());
        user.inject(&call, &mut args).unwrap_err();
    });
    assert_only_keys(
        memory,
        vault,
        "a format, a workflow, and a call that failed",
    );
    deep(|| {
        // Every escape is unescaped in a buffer, and most forms of a redactor are made of several parts.
        let mut secret = lines.within(
            r#"{"secret_name": "lines", "tool_name": "v", "tool_arg": "key", "is_default_for_tool": true, "secret_value": "\u0022\n"#,
            r#"\n\ud83d\ude00\""}"#,
        );
        let secret = NewSecret::from_json(&mut secret).unwrap();
        user.create(secret).unwrap();
        let call = ToolCall::new("v");
        let mut text = "{}".to_owned();
        let injection = user.inject_str(&call, &mut text).unwrap();
        let redactor = injection.redactor();
        assert_eq!(
            *redactor.redact_bytes(text.as_bytes()),
            *br#"{"key":"secret://lines"}"#
        );
        let mut said: Value = serde_json::from_str(r#"{"key":[""]}"#).unwrap();
        let mut raw = lines.within("\"\n", "\n😀\"").to_vec();
        said["key"][0] = String::from_utf8(mem::take(&mut raw)).unwrap().into();
        redactor.redact_json(&mut said);
        assert_eq!(said["key"][0], "secret://lines");
        injection.wipe_str(&mut text);
    });
    assert_only_keys(memory, vault, "a value of several lines");
    deep(|| {
        let mut value = lines.within("", r"\n\r");
        let value = Zeroizing::new(String::from_utf8(mem::take(&mut *value)).unwrap());
        let mut redactor = Redactor::new();
        redactor.add("secret://lines", &SecretValue::from(value));
        let said = lines.within("", ".");
        assert_eq!(*redactor.redact_bytes(&said), *b"secret://lines.");
    });
    assert_only_keys(memory, vault, "a value of several lines, written in one");
    deep(|| vault.verify().unwrap());
    deep(|| user.delete("a").unwrap());
    assert_only_keys(memory, vault, "deleted");
}

/// Everything that changes keys, or copies the vault.
fn rotate_and_copy(memory: &Memory, vault: &Vault, folder: &Path, raw: Canary) {
    let raw = || KeySource::raw(raw.wiped().as_bytes());
    let other = memory.canary("other raw key", 32);
    let other = || KeySource::raw(other.wiped().as_bytes());
    let passphrase = memory.canary("passphrase", 32);
    let passphrase = || KeySource::passphrase(passphrase.wiped());
    watch_keys(memory, vault);
    deep(|| {
        vault.add_key(raw(), passphrase()).unwrap();
        vault.change_key(passphrase(), other()).unwrap();
        vault.add_key(other(), passphrase()).unwrap();
    });
    assert_only_keys(memory, vault, "key slots");
    deep(|| vault.rotate_data_key(other()).unwrap());
    watch_keys(memory, vault);
    deep(|| vault.rotate_master_key([raw(), passphrase()]).unwrap());
    assert_only_keys(memory, vault, "rotated");
    deep(|| {
        vault.compact().unwrap();
        vault.verify().unwrap();
        vault.backup(folder.join("backup")).unwrap();
        vault.export(folder.join("export"), other()).unwrap();
        let copy = builder().in_memory_with_key(raw()).unwrap();
        copy.import(folder.join("export"), other()).unwrap();
        call_all(&copy);
        watch_keys(memory, &copy);
    });
    assert_only_keys(memory, vault, "copied");
    deep(|| {
        let snapshot = Vault::snapshot(folder.join("backup"), passphrase()).unwrap();
        watch_keys(memory, &snapshot);
        call_all(&snapshot);
        snapshot.reload().unwrap();
        let changed = Vault::open(folder.join("backup"), raw()).unwrap();
        changed.rotate_data_key(raw()).unwrap();
        watch_keys(memory, &changed);
        drop(changed);
        assert!(snapshot.reload().unwrap());
        call_all(&snapshot);
    });
    assert_only_keys(memory, vault, "snapshot");
}

fn call_all(vault: &Vault) {
    let mut args = Map::new();
    let call = ToolCall::new("u");
    let injection = vault.user(UserId::LOCAL).inject(&call, &mut args).unwrap();
    assert_eq!(injection.filled().len(), 1);
    injection.wipe(&mut args);
}

/// The keys are where they are kept, and nowhere else. Of values there is nothing.
#[track_caller]
fn assert_only_keys(memory: &Memory, vault: &Vault, when: &str) {
    let (mut first, mut pieces) = (u64::MAX, 0);
    vault.state.keys().unwrap().each_key(|_, key| {
        first = first.min(key.as_ptr().addr() as u64);
        pieces += key.len() - 7;
    });
    let elsewhere = |found: &Found| !(first..first + 1024).contains(&found.address);
    let (elsewhere, kept): (Vec<_>, Vec<_>) = memory.search().into_iter().partition(elsewhere);
    assert!(elsewhere.is_empty(), "{when}: {elsewhere:#?}");
    assert_eq!(
        kept.len(),
        pieces,
        "{when}: the keys are where they are kept"
    );
}

#[test]
fn a_memory_vault_leaves_nothing() {
    in_child(
        "vault::tests::memory::a_memory_vault_leaves_nothing",
        |memory| {
            let raw = memory.canary("raw key", 32);
            let source = || KeySource::raw(raw.wiped().as_bytes());
            let vault = deep(|| builder().in_memory_with_key(source()).unwrap());
            watch_keys(memory, &vault);
            assert_only_keys(memory, &vault, "made");
            use_secrets(memory, &vault);
            deep(|| vault.lock().unwrap());
            memory.assert_clean("locked");
            let other = memory.canary("other raw key", 32);
            let other = || KeySource::raw(other.wiped().as_bytes());
            let refused = deep(|| vault.unlock(other()).unwrap_err());
            assert_eq!(refused.kind(), WrongKey);
            memory.assert_clean("refused");
            deep(|| vault.unlock(source()).unwrap());
            assert_only_keys(memory, &vault, "unlocked");
            deep(|| call_all(&vault));
            deep(|| drop(vault));
            memory.assert_clean("dropped");
        },
    );
}

#[test]
fn a_file_vault_leaves_nothing() {
    in_child(
        "vault::tests::memory::a_file_vault_leaves_nothing",
        |memory| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("vault");
            let raw = memory.canary("raw key", 32);
            let source = || KeySource::raw(raw.wiped().as_bytes());
            let vault = deep(|| builder().create(&path, source()).unwrap());
            watch_keys(memory, &vault);
            assert_only_keys(memory, &vault, "made");
            use_secrets(memory, &vault);
            rotate_and_copy(memory, &vault, folder.path(), raw);
            deep(|| vault.lock().unwrap());
            memory.assert_clean("locked");
            deep(|| vault.unlock(source()).unwrap());
            deep(|| call_all(&vault));
            deep(|| drop(vault));
            memory.assert_clean("dropped");
            let vault = deep(|| builder().open(&path, source()).unwrap());
            deep(|| call_all(&vault));
            assert_only_keys(memory, &vault, "opened again");
            deep(|| drop(vault));
            memory.assert_clean("dropped again");
        },
    );
}

#[test]
fn what_was_deleted_is_gone_in_its_sealed_form_too() {
    in_child(
        "vault::tests::memory::what_was_deleted_is_gone_in_its_sealed_form_too",
        |memory| {
            let vault = Vault::in_memory().unwrap();
            let user = vault.user(UserId::LOCAL);
            let value = memory.canary("value", 48);
            let watch = |name: &str| {
                let snapshot = user.user.snapshot.load_full().unwrap();
                let row = snapshot.by_name("a").unwrap().row();
                for sealed in [&row.value, &row.metadata] {
                    memory.watch(name, 8, sealed.as_bytes().iter().copied());
                }
            };
            deep(|| create(&user, "a", value));
            watch("before");
            assert!(!memory.search().is_empty());
            deep(|| {
                user.update("a", SecretPatch::new().name("a").value(value.wiped()))
                    .unwrap()
            });
            memory.assert_clean("written again");
            watch("after");
            let mut kept = Vec::new();
            deep(|| {
                let mut args = Map::new();
                let injection = user.inject(&ToolCall::new("t"), &mut args).unwrap();
                kept.extend_from_slice(injection.filled());
                injection.wipe(&mut args);
            });
            deep(|| user.delete("a").unwrap());
            memory.assert_clean("deleted");
            assert_eq!(kept[0].secret().revision, 2);
        },
    );
}

/// It may have been put in by another injection, which was not wiped.
#[test]
fn what_an_injection_replaces_is_wiped() {
    in_child(
        "vault::tests::memory::what_an_injection_replaces_is_wiped",
        |memory| {
            let policy = InjectionPolicy::default().replace_supplied();
            let vault = Vault::builder().injection_policy(policy).in_memory();
            let user = vault.unwrap().user(UserId::LOCAL);
            let value = memory.canary("value", 48);
            deep(|| {
                user.batch(|batch| {
                    let inner = NewSecret::new("inner", SecretValue::from(value.wiped()));
                    batch.create(inner.bind("u", "/x/y").default_for_tool());
                    let outer = NewSecret::new("outer", "of no account");
                    batch.create(outer.bind("v", "/x").default_for_tool());
                })
                .unwrap();
            });
            deep(|| {
                let mut args = Map::new();
                let _ = user.inject(&ToolCall::new("u"), &mut args).unwrap();
                assert!(is(&args["x"]["y"], value));
                let _ = user.inject(&ToolCall::new("v"), &mut args).unwrap();
                assert_eq!(args["x"], "of no account");
            });
            memory.assert_clean("replaced");
        },
    );
}

/// A value is there that another injection put in, and that was not wiped. It is read with the text.
#[test]
fn text_that_holds_a_value_already_leaves_no_copy_of_it() {
    in_child(
        "vault::tests::memory::text_that_holds_a_value_already_leaves_no_copy_of_it",
        |memory| {
            let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
            let secret = NewSecret::new("other", "of no account");
            user.create(secret.bind("t", "token").default_for_tool())
                .unwrap();
            let value = memory.canary("value", 48);
            let deep_end = format!(r#"", "y": {}"#, "[".repeat(200) + &"]".repeat(200) + "}");
            for (before, after, kind) in [
                (r#"{"x": ["a\n"#, r#""]}"#, None),
                (r#"{"\u0061"#, r#"": 1}"#, None),
                (r#"{"x": "\n"#, r#"", "y": "secret://none"}"#, Some(Denied)),
                (r#"{"x": "\n"#, r#"", "x": 1}"#, Some(Validation)),
                (r#"{"x": "\n"#, r#"", "y": "\ud800"}"#, Some(Validation)),
                (r#"{"x": "\n\ud800"#, r#""}"#, Some(Validation)),
                (r#"{"x": "\n"#, &deep_end, Some(Validation)),
            ] {
                deep(|| {
                    let mut text = value.within(before, after);
                    let mut text =
                        Zeroizing::new(String::from_utf8(mem::take(&mut *text)).unwrap());
                    let done = user.inject_str(&ToolCall::new("t"), &mut text);
                    assert_eq!(
                        done.as_ref().err().map(crate::Error::kind),
                        kind,
                        "{before}"
                    );
                    assert_eq!(has(&text, "of no account"), done.is_ok(), "{before}");
                });
                memory.assert_clean(before);
            }
        },
    );
}

type Leave = fn(Canary);

/// Ways to leave a copy behind.
const CARELESS: [(&str, Leave); 5] = [
    ("on the heap", |canary| drop(canary.unwiped())),
    ("on the stack", |canary| {
        let mut copy = [0_u8; 48];
        for (to, byte) in copy.iter_mut().zip(canary.bytes()) {
            *to = byte;
        }
        std::hint::black_box(&copy);
    }),
    ("in the arguments", |canary| {
        let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
        create(&user, "a", canary);
        let _ = user.inject(&ToolCall::new("t"), &mut Map::new()).unwrap();
    }),
    ("encoded", |canary| {
        let hex = canary
            .bytes()
            .flat_map(|byte| format!("{byte:02x}").into_bytes());
        drop(hex.collect::<Vec<u8>>());
    }),
    // The plain `Deserialize` promises less than `from_json`: the parser unescapes strings in scratch space of its own.
    ("by a parser", |canary| {
        let json = canary.within(r#"{"secret_name": "a", "secret_value": "\n"#, r#""}"#);
        drop(serde_json::from_slice::<NewSecret>(&json).unwrap());
    }),
];

#[test]
fn a_copy_is_found() {
    in_child("vault::tests::memory::a_copy_is_found", |memory| {
        for (place, leave) in CARELESS {
            let canary = memory.canary_in_all_forms(place, 48);
            memory.assert_clean(place);
            deep(|| leave(canary));
            let found = memory.search();
            assert!(
                found.iter().any(|found| found.what.starts_with(place)),
                "{place}"
            );
            memory.forget();
        }
    });
}
