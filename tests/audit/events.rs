//! What a vault reports to its audit sink.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::DateTime;
use keyward::{
    AuditEvent, AuditSink, ErrorKind, InjectionPolicy, KeySource, NewSecret, Origin, Quota,
    SecretPatch, ToolCall, UserId, Vault, VaultBuilder, audit::AuditAction,
};
use serde_json::{Map, Value, json};

/// Keeps the events that it receives.
#[derive(Default)]
struct Memory(Mutex<Vec<AuditEvent>>);

impl AuditSink for Memory {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

impl Memory {
    fn take(&self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn actions(&self) -> Vec<String> {
        let action = |event: &AuditEvent| event.action.to_string();
        self.take().iter().map(action).collect()
    }
}

fn audited() -> (Arc<Memory>, VaultBuilder) {
    let memory = Arc::new(Memory::default());
    (Arc::clone(&memory), Vault::builder().audit(memory))
}

fn args(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(args) => args,
        _ => panic!("no object"),
    }
}

#[test]
fn writes_are_told_with_their_binding() {
    let (memory, builder) = audited();
    let user = builder.in_memory().unwrap().user(UserId::LOCAL);
    let info = user
        .create(NewSecret::new("a", "value-of-a").bind("t*", "k"))
        .unwrap();
    user.update("a", SecretPatch::new().name("b")).unwrap();
    user.update("b", SecretPatch::new().name("b")).unwrap();
    user.delete("b").unwrap();
    user.create(NewSecret::new("", "value-of-a")).unwrap_err();
    user.delete("b").unwrap_err();

    let events = memory.take();
    assert_eq!(events[0].action, AuditAction::VaultCreated);
    let told: Vec<Value> = events[1..]
        .iter()
        .map(|event| {
            let mut event = serde_json::to_value(event).unwrap();
            assert!(event["time"].as_str().unwrap().ends_with('Z'));
            event.as_object_mut().unwrap().remove("time");
            event
        })
        .collect();
    let event = |action: &str, revision: u64| {
        json!({
            "action": action, "user": UserId::LOCAL, "tool": "t*", "location": "/k",
            "secret_id": info.secret_id, "revision": revision,
        })
    };
    // An update that changes nothing is not an event, nor is a failure.
    let expected = [
        event("created", 1),
        event("updated", 2),
        event("deleted", 2),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_batch_is_told_as_its_operations() {
    let (memory, builder) = audited();
    let user = builder.in_memory().unwrap().user(UserId::LOCAL);
    user.batch(|batch| {
        batch.create(NewSecret::new("a", "value-of-a"));
        batch.create(NewSecret::new("b", "value-of-b"));
        batch.delete("a");
    })
    .unwrap();
    user.batch(|batch| {
        batch.create(NewSecret::new("c", "value-of-c"));
        batch.delete("none");
    })
    .unwrap_err();
    let expected = ["vault_created", "created", "created", "deleted"];
    assert_eq!(memory.actions(), expected);
}

#[test]
fn each_place_that_is_filled_is_told() {
    let (memory, builder) = audited();
    let policy = InjectionPolicy::default().replace_supplied();
    let user = builder
        .injection_policy(policy)
        .in_memory()
        .unwrap()
        .user(UserId::LOCAL);
    let new = |name: &str, location: &str| {
        NewSecret::new(name, format!("value-of-{name}")).bind("t", location)
    };
    let a = user.create(new("a", "a").default_for_tool()).unwrap();
    user.create(new("b", "/p/b").default_for_tool()).unwrap();
    user.create(new("c", "c")).unwrap();
    memory.take();

    let call = ToolCall::new("t").with_id("call-7");
    let mut filled = args(json!({"a": "theirs", "c": "secret://c"}));
    let _ = user.inject(&call, &mut filled).unwrap();
    let events = memory.take();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            assert_eq!(event.call_id.as_deref(), Some("call-7"));
            assert_eq!(event.tool.as_deref(), Some("t"));
            assert_eq!((event.user, event.revision), (Some(UserId::LOCAL), Some(1)));
            let reason = event.reason.unwrap().as_str();
            (event.location.as_deref().unwrap(), reason)
        })
        .collect();
    let expected = [
        ("/c", "reference"),
        ("/a", "default_replacing"),
        ("/p/b", "default"),
    ];
    assert_eq!(told, expected);
    assert_eq!(events[1].secret_id, Some(a.secret_id));

    // The other forms are reported alike, and a call that gets nothing is not an event.
    let _ = user.inject_value(&call, &mut json!({})).unwrap();
    let _ = user.inject_str(&call, &mut "{}".to_owned()).unwrap();
    let _ = user
        .inject(&ToolCall::new("other"), &mut Map::new())
        .unwrap();
    assert_eq!(memory.actions(), ["injected"; 4]);
}

#[test]
fn a_denial_is_told_with_the_reason_that_the_caller_does_not_see() {
    let (memory, builder) = audited();
    let policy = InjectionPolicy::default().refuse_supplied();
    let user = builder
        .injection_policy(policy)
        .in_memory()
        .unwrap()
        .user(UserId::LOCAL);
    let new = |name: &str| NewSecret::new(name, format!("value-of-{name}"));
    user.create(new("free")).unwrap();
    user.create(new("anywhere").tool_pattern("t")).unwrap();
    user.create(new("other-tool").bind("u", "k")).unwrap();
    user.create(new("other-place").bind("t", "l")).unwrap();
    user.create(new("default").bind("t", "d").default_for_tool())
        .unwrap();
    memory.take();
    for (origin, text, reason) in [
        (Origin::Model, r#"{"k": "secret://none"}"#, "unknown_secret"),
        (
            Origin::Model,
            r#"{"k": "secret://free"}"#,
            "no_tool_pattern",
        ),
        (
            Origin::Model,
            r#"{"k": "secret://other-tool"}"#,
            "other_tool",
        ),
        (
            Origin::Workflow,
            r#"{"k": "secret://other-tool"}"#,
            "other_tool",
        ),
        (
            Origin::Model,
            r#"{"k": "secret://anywhere"}"#,
            "no_location",
        ),
        (
            Origin::Model,
            r#"{"k": "secret://other-place"}"#,
            "other_location",
        ),
        (Origin::Model, r#"{"d": "theirs"}"#, "supplied_value"),
    ] {
        let call = ToolCall::new("t").with_origin(origin).with_id("call-7");
        let error = user.inject_str(&call, &mut text.to_owned()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{text}");
        let [event] = &memory.take()[..] else {
            panic!("{text}: one event")
        };
        assert_eq!(event.action, AuditAction::Denied);
        assert_eq!(event.reason.unwrap().as_str(), reason, "{text}");
        assert_eq!(event.secret_id.is_some(), reason != "unknown_secret");
        assert_eq!(event.revision, event.secret_id.map(|_| 1));
        assert_eq!(event.call_id.as_deref(), Some("call-7"));
        // Neither the names of secrets nor what the model wrote.
        let line = serde_json::to_string(event).unwrap();
        for text in ["free", "anywhere", "other-", "none", "theirs", "value-of"] {
            assert!(!line.contains(text), "{line}");
        }
    }
    // A call that fails because a secret does not fit in is not denied anything.
    user.create(new("inside").bind("t", "/a/b").default_for_tool())
        .unwrap();
    memory.take();
    let mut text = r#"{"a": 1}"#.to_owned();
    let error = user.inject_str(&ToolCall::new("t"), &mut text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert_eq!(memory.take(), []);
}

#[cfg(feature = "file")]
#[test]
fn a_vault_that_is_opened_or_made_is_told_as_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, builder) = audited();
    for told in ["vault_created", "vault_opened"] {
        let key = KeySource::raw([7; 32]);
        let vault = builder.clone().open_or_create(dir.path().join("v"), key);
        drop(vault.unwrap());
        assert_eq!(memory.actions(), [told]);
    }
}

#[test]
fn what_the_model_wrote_is_kept_short() {
    let (memory, builder) = audited();
    let user = builder.in_memory().unwrap().user(UserId::LOCAL);
    let long = "é\n".repeat(5_000);
    let mut args = Map::from_iter([(long.clone(), json!("secret://a"))]);
    let call = ToolCall::new(&*long).with_id(&*long);
    user.inject(&call, &mut args).unwrap_err();
    let event = memory.take().pop().unwrap();
    for text in [event.tool, event.location, event.call_id] {
        assert_eq!(text.unwrap().chars().count(), 1_024);
    }
    // In its canonical form, a location that a secret can have is up to twice as long.
    let secret = NewSecret::new("s", "value-of-s").bind("t", "~".repeat(1_024));
    user.create(secret.default_for_tool()).unwrap();
    let _ = user.inject(&ToolCall::new("t"), &mut Map::new()).unwrap();
    let events = memory.take();
    assert_eq!(events.len(), 2);
    for event in events {
        let location = event.location.unwrap();
        assert_eq!(location.chars().count(), 1_024, "{}", event.action);
    }
}

/// Whatever reads a log finds times of one form.
#[test]
fn a_time_is_told_to_the_microsecond() {
    let event = AuditEvent::new(AuditAction::Locked, DateTime::default());
    let told = serde_json::to_value(event).unwrap();
    assert_eq!(told["time"], "1970-01-01T00:00:00.000000Z");
}

#[test]
fn refused_quotas_are_told() {
    let (memory, builder) = audited();
    let new = |name: &str| NewSecret::new(name, "a value of 24 characters");
    for (quota, reason) in [
        (Quota::default().user_secrets(1), "user_secrets"),
        (Quota::default().user_bytes(30), "user_bytes"),
        (Quota::default().vault_secrets(1), "vault_secrets"),
        (Quota::default().vault_bytes(30), "vault_bytes"),
    ] {
        let vault = builder.clone().quota(quota).in_memory().unwrap();
        let user = vault.user(UserId::LOCAL);
        user.create(new("a")).unwrap();
        memory.take();
        user.create(new("b")).unwrap_err();
        let events = memory.take();
        assert_eq!(events[0].action, AuditAction::QuotaRefused);
        assert_eq!(events[0].reason.unwrap().as_str(), reason);
        assert_eq!(events[0].user, Some(UserId::LOCAL));
    }
}

#[test]
fn the_life_of_a_vault_is_told() {
    let (memory, builder) = audited();
    let key = |n: u8| KeySource::raw([n; 32]);
    let vault = builder.in_memory_with_key(key(1)).unwrap();
    let secret = NewSecret::new("a", "value-of-a");
    vault.user(UserId::LOCAL).create(secret).unwrap();
    let slot = vault.add_key(key(1), key(2)).unwrap();
    vault.add_key(key(9), key(3)).unwrap_err();
    vault.change_key(key(2), key(3)).unwrap();
    vault.remove_key_slot(slot.id + 1).unwrap();
    vault.rotate_master_key([key(1)]).unwrap();
    vault.rotate_data_key(key(1)).unwrap();
    vault.delete_user(UserId::LOCAL).unwrap();
    // There is nothing left to be deleted.
    vault.delete_user(UserId::LOCAL).unwrap();
    vault.verify().unwrap();
    vault.compact().unwrap();
    let _ = vault.user(UserId::LOCAL).redactor().unwrap();
    vault.lock().unwrap();
    // It does nothing then.
    vault.lock().unwrap();
    vault.unlock(key(9)).unwrap_err();
    vault.unlock(key(1)).unwrap();
    let mut events = memory.take();
    assert_eq!(events.remove(1).action, AuditAction::Created);
    assert_eq!(events[1].key_slot, Some(slot.id));
    assert_eq!(events[4].key_slot, Some(slot.id + 1));
    assert_eq!(events[7].user, Some(UserId::LOCAL));
    assert_eq!(events[10].user, Some(UserId::LOCAL));
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    let expected = [
        "vault_created",
        "key_slot_added",
        "key_refused",
        "key_slot_changed",
        "key_slot_removed",
        "master_key_rotated",
        "data_key_rotated",
        "user_deleted",
        "verified",
        "compacted",
        "redactor_made",
        "locked",
        "key_refused",
        "unlocked",
    ];
    assert_eq!(actions, expected);
}

#[cfg(feature = "file")]
#[test]
fn a_quota_that_an_import_would_exceed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    let key = || KeySource::raw([1; 32]);
    let from = Vault::in_memory().unwrap();
    let user = from.user(UserId::LOCAL);
    user.create(NewSecret::new("a", "value-of-a")).unwrap();
    from.export(&path, key()).unwrap();
    for (quota, reason) in [
        (Quota::default().user_secrets(0), "user_secrets"),
        (Quota::default().vault_bytes(1), "vault_bytes"),
    ] {
        let (memory, builder) = audited();
        let vault = builder.quota(quota).in_memory().unwrap();
        vault.import(&path, key()).unwrap_err();
        let told = memory.take().pop().unwrap();
        assert_eq!(told.action, AuditAction::QuotaRefused);
        assert_eq!(told.reason.unwrap().as_str(), reason);
    }
}

#[cfg(feature = "file")]
#[test]
fn the_life_of_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (memory, builder) = audited();
    let key = || KeySource::raw([1; 32]);
    let vault = builder.clone().create(path("vault"), key()).unwrap();
    vault.backup(path("backup")).unwrap();
    vault.export(path("export"), key()).unwrap();
    let wrong = KeySource::raw([2; 32]);
    drop(vault);
    builder.clone().open(path("vault"), wrong).unwrap_err();
    let vault = builder.clone().open(path("vault"), key()).unwrap();
    let wrong = KeySource::raw([2; 32]);
    vault.import(path("export"), wrong).unwrap_err();
    vault.import(path("export"), key()).unwrap();
    drop(vault);
    let snapshot = builder.clone().snapshot(path("vault"), key()).unwrap();
    let vault = builder.clone().open(path("vault"), key()).unwrap();
    vault.rotate_master_key([key()]).unwrap();
    drop(vault);
    // The key that was kept is nobody's try.
    snapshot.reload().unwrap_err();
    let wrong = KeySource::raw([2; 32]);
    snapshot.reload_with(wrong).unwrap_err();
    assert!(snapshot.reload_with(key()).unwrap());
    let expected = [
        "vault_created",
        "backed_up",
        "exported",
        "key_refused",
        "vault_opened",
        "key_refused",
        "imported",
        "vault_opened",
        "vault_opened",
        "master_key_rotated",
        "key_refused",
    ];
    assert_eq!(memory.actions(), expected);
}

/// A file that is not as keyward left it: the event says what is wrong with it.
#[cfg(feature = "file")]
#[test]
fn a_file_that_was_tampered_with_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("vault"), folder.path().join("old"));
    let key = || KeySource::raw([1; 32]);
    let vault = Vault::create(&path, key()).unwrap();
    let user = vault.user(UserId::LOCAL);
    user.create(NewSecret::new("a", "value-of-a").bind("t", "k"))
        .unwrap();
    vault.backup(&old).unwrap();
    user.delete("a").unwrap();
    let anchor = vault.anchor().unwrap();
    drop((user, vault));

    let (memory, builder) = audited();
    let snapshot = builder.clone().snapshot(&path, key()).unwrap();
    std::fs::rename(&old, &path).unwrap();
    snapshot.reload().unwrap_err();
    snapshot.reload_with(key()).unwrap_err();
    let demanding = builder.clone().anchor(anchor);
    demanding.clone().open(&path, key()).unwrap_err();
    demanding.snapshot(&path, key()).unwrap_err();
    std::fs::write(&path, b"no vault").unwrap();
    builder.open(&path, key()).unwrap_err();
    let told: Vec<_> = memory.take();
    let told = told.iter().map(|event| {
        let reason = event.reason.map(keyward::audit::AuditReason::as_str);
        (event.action.as_str(), reason)
    });
    let rolled_back = ("integrity_failed", Some("rolled_back"));
    let expected = [
        ("vault_opened", None),
        rolled_back,
        rolled_back,
        rolled_back,
        rolled_back,
        ("integrity_failed", Some("corrupt")),
    ];
    assert!(told.eq(expected));
}

/// Fails when told to.
#[derive(Default)]
struct Unreliable {
    fails: AtomicBool,
    panics: AtomicBool,
    memory: Memory,
}

impl AuditSink for Unreliable {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::Relaxed), "as it was told to");
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is full"));
        }
        self.memory.record(event)
    }
}

#[test]
fn a_sink_that_fails_or_panics_breaks_nothing_and_its_losses_are_counted() {
    let sink = Arc::new(Unreliable::default());
    let builder = Vault::builder().audit(Arc::clone(&sink));
    let vault = builder.in_memory().unwrap();
    let user = vault.user(UserId::LOCAL);
    sink.fails.store(true, Ordering::Relaxed);
    let secret = NewSecret::new("a", "value-of-a").bind("t", "k");
    user.create(secret.default_for_tool()).unwrap();
    sink.panics.store(true, Ordering::Relaxed);
    let mut args = Map::new();
    let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
    assert_eq!(args["k"], "value-of-a");
    assert_eq!(vault.lost_audit_events(), 2);

    sink.fails.store(false, Ordering::Relaxed);
    sink.panics.store(false, Ordering::Relaxed);
    user.delete("a").unwrap();
    let events = sink.memory.take();
    let last = events.last().unwrap();
    assert_eq!(last.lost, 2);
    assert_eq!(json!(last)["lost"], 2);
    assert_eq!(json!(events[0]).get("lost"), None);
    assert_eq!(vault.lost_audit_events(), 2);
}

#[test]
fn a_sink_may_use_the_vault() {
    struct Asks(Mutex<Option<Vault>>);
    impl AuditSink for Asks {
        fn record(&self, _: &AuditEvent) -> io::Result<()> {
            if let Some(vault) = &*self.0.lock().unwrap() {
                vault.user(UserId::LOCAL).secrets().unwrap();
                vault.usage().unwrap();
            }
            Ok(())
        }
    }
    let sink = Arc::new(Asks(Mutex::new(None)));
    let vault = Vault::builder()
        .audit(Arc::clone(&sink))
        .in_memory()
        .unwrap();
    *sink.0.lock().unwrap() = Some(vault.clone());
    let user = vault.user(UserId::LOCAL);
    user.create(
        NewSecret::new("a", "value-of-a")
            .bind("t", "k")
            .default_for_tool(),
    )
    .unwrap();
    let _ = user.inject(&ToolCall::new("t"), &mut Map::new()).unwrap();
    assert_eq!(vault.lost_audit_events(), 0);
    *sink.0.lock().unwrap() = None;
}
