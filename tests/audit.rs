//! What a vault reports to its audit sink, and the log whose lines form a chain.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::DateTime;
use keyward::{
    AuditEvent, AuditLog, AuditSink, ErrorKind, InjectionPolicy, KeySource, NewSecret, Origin,
    Quota, SecretPatch, ToolCall, UserId, Vault, VaultBuilder,
    audit::{
        AuditAction,
        AuditFaultKind::{self, Malformed, Rewritten, Truncated, WrongHash, WrongSequence},
        AuditHead,
    },
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

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
    let slot = vault.add_key(key(1), key(2)).unwrap();
    vault.add_key(key(9), key(3)).unwrap_err();
    vault.change_key(key(2), key(3)).unwrap();
    vault.remove_key_slot(slot.id + 1).unwrap();
    vault.rotate_master_key([key(1)]).unwrap();
    vault.rotate_data_key(key(1)).unwrap();
    vault.delete_user(UserId::LOCAL).unwrap();
    vault.verify().unwrap();
    vault.compact().unwrap();
    let _ = vault.user(UserId::LOCAL).redactor().unwrap();
    vault.lock().unwrap();
    // It does nothing then.
    vault.lock().unwrap();
    vault.unlock(key(9)).unwrap_err();
    vault.unlock(key(1)).unwrap();
    let events = memory.take();
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
    fs::rename(&old, &path).unwrap();
    snapshot.reload().unwrap_err();
    snapshot.reload_with(key()).unwrap_err();
    let demanding = builder.clone().anchor(anchor);
    demanding.clone().open(&path, key()).unwrap_err();
    demanding.snapshot(&path, key()).unwrap_err();
    fs::write(&path, b"no vault").unwrap();
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

/// A log with a vault's events in it: the one of the vault, then `events` of secrets.
fn write_log(path: &Path, events: usize) -> AuditHead {
    let log = Arc::new(AuditLog::open(path).unwrap());
    let vault = Vault::builder().audit(Arc::clone(&log)).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    for i in 0..events {
        user.create(NewSecret::new(format!("s{i}"), "value-of-it"))
            .unwrap();
    }
    log.sync().unwrap();
    log.head()
}

fn fault(path: &Path, remembered: Option<&AuditHead>) -> Option<(u64, AuditFaultKind)> {
    let fault = AuditLog::verify(path, remembered).unwrap().fault?;
    Some((fault.line, fault.kind))
}

/// The chain as the documentation of the log describes it, computed without the log.
#[test]
fn the_lines_form_the_chain_that_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let head = write_log(&path, 3);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n') && !text.contains("value-of-it"));
    let mut hash: [u8; 32] = Sha256::digest("keyward audit log 1").into();
    for (i, line) in text.lines().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["sequence"], i + 1);
        let (body, _) = line.rsplit_once(",\"hash\":").unwrap();
        hash = Sha256::digest([&hash[..], body.as_bytes()].concat()).into();
        let digits = event["hash"].as_str().unwrap();
        for (byte, at) in hash.iter().zip((0..64).step_by(2)) {
            assert_eq!(digits[at..at + 2], format!("{byte:02x}"));
        }
    }
    assert_eq!((head.sequence(), head.hash()), (4, &hash));
}

#[test]
fn the_chain_goes_on_when_the_log_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let first = write_log(&path, 2);
    let second = write_log(&path, 2);
    let check = AuditLog::verify(&path, Some(&first)).unwrap();
    assert_eq!((check.head, check.fault, check.torn), (second, None, false));
    assert_eq!(second.sequence(), 6);
}

#[test]
fn what_was_changed_is_found_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let head = write_log(&path, 4);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let other = folder.path().join("other.jsonl");
    write_log(&other, 4);
    let rewritten = fs::read_to_string(&other).unwrap();

    let hash = &lines[1][lines[1].len() - 66..];
    let changes: [(&str, String, _, _); 9] = [
        (
            "a field",
            text.replacen("created\",\"user", "deleted\",\"user", 1),
            Some((2, WrongHash)),
            None,
        ),
        (
            "taken out",
            join(&[lines[0], lines[2], lines[3], lines[4]]),
            Some((2, WrongSequence)),
            None,
        ),
        (
            "exchanged",
            join(&[lines[0], lines[2], lines[1], lines[3], lines[4]]),
            Some((2, WrongSequence)),
            None,
        ),
        (
            "put in",
            join(&[lines[0], "{}", lines[1]]),
            Some((2, Malformed)),
            None,
        ),
        (
            "the hash",
            text.replacen("\"hash\":\"", "\"hash\":\"0", 1),
            Some((1, Malformed)),
            None,
        ),
        (
            "how the hash is written",
            text.replacen(hash, &hash.to_uppercase(), 1),
            Some((2, Malformed)),
            None,
        ),
        // These are found only with a remembered head.
        ("the end", join(&lines[..3]), None, Some((4, Truncated))),
        ("all of it", String::new(), None, Some((1, Truncated))),
        ("written anew", rewritten, None, Some((5, Rewritten))),
    ];
    assert_eq!(fault(&path, Some(&head)), None);
    let never: AuditHead = format!("0:{}", "0".repeat(64)).parse().unwrap();
    assert_eq!(fault(&path, Some(&AuditHead::default())), None);
    assert_eq!(fault(&path, Some(&never)), Some((0, Rewritten)));
    for (what, changed, alone, remembered) in changes {
        fs::write(&path, changed).unwrap();
        assert_eq!(fault(&path, None), alone, "{what}");
        assert_eq!(fault(&path, Some(&head)), remembered.or(alone), "{what}");
        // Nothing is added to a log that was changed.
        let opened = AuditLog::open(&path).map(drop);
        let kind = opened.map_err(|error| error.kind()).err();
        assert_eq!(kind, alone.map(|_| ErrorKind::Corrupt), "{what}");
    }
}

#[test]
fn a_torn_line_is_recognized_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let before = write_log(&path, 1);
    let whole = fs::read(&path).unwrap();
    write_log(&path, 1);
    let more = fs::read(&path).unwrap();
    let next_end = whole.len()
        + more[whole.len()..]
            .iter()
            .position(|b| *b == b'\n')
            .unwrap();
    let torn = [whole.len() + 1, next_end - 1, next_end].map(|length| more[..length].to_vec());
    // A power failure may leave zeros.
    let zeros = torn.clone().into_iter().chain([whole.clone()]);
    let zeros = zeros.map(|torn| [torn, vec![0; 300]].concat());
    for torn in torn.clone().into_iter().chain(zeros) {
        fs::write(&path, torn).unwrap();
        let check = AuditLog::verify(&path, Some(&before)).unwrap();
        assert_eq!((check.torn, check.fault, check.head), (true, None, before));
        let log = AuditLog::open(&path).unwrap();
        assert!(log.was_repaired());
        assert_eq!(log.head(), before);
        assert_eq!(fs::read(&path).unwrap(), whole);
        drop(log);
        let after = write_log(&path, 1);
        assert_eq!(fault(&path, Some(&after)), None);
        assert!(!AuditLog::open(&path).unwrap().was_repaired());
    }
}

#[test]
fn a_file_that_is_no_log_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let log = folder.path().join("audit.jsonl");
    write_log(&log, 1);
    let lines = fs::read_to_string(&log).unwrap();
    let texts = [
        "k",
        &"7".repeat(64),
        r#"{"mcpServers": {}}"#,
        r#"{"sequence":2,"time"#,
        &(lines + "notes"),
    ];
    for text in texts {
        fs::write(&path, text).unwrap();
        for opened in [AuditLog::open(&path), AuditLog::open_shared(&path, SOON)] {
            let error = opened.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
            let is_log = text.ends_with("notes");
            let said = if is_log {
                "was changed: line 3"
            } else {
                "no audit log"
            };
            assert!(error.to_string().contains(said), "{error}");
        }
        let check = AuditLog::verify(&path, None).unwrap();
        assert_eq!(
            (check.torn, check.fault.map(|fault| fault.kind)),
            (false, Some(Malformed))
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

/// A log tells which tools are used, when, and for whom.
#[cfg(unix)]
#[test]
fn nobody_else_reads_a_log_and_nothing_but_a_file_is_one() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    write_log(&path, 1);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let error = AuditLog::open("/dev/null").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("regular file"), "{error}");
}

#[test]
fn the_longest_line_is_read_and_a_longer_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(AuditLog::open(&path).unwrap());
    let vault = Vault::builder().audit(Arc::clone(&log)).in_memory();
    // A control character is six bytes of JSON.
    let text = "\u{1}".repeat(2_000);
    let mut args = Map::from_iter([(text.clone(), json!("secret://a"))]);
    let call = ToolCall::new(&*text).with_id(&*text);
    let user = vault.unwrap().user(UserId::LOCAL);
    user.inject(&call, &mut args).unwrap_err();
    assert_eq!(fault(&path, Some(&log.head())), None);
    drop(user);
    drop(log);

    let good = fs::read(&path).unwrap();
    for begin in ["", r#"{"sequence":3,"#] {
        for bytes in [64 * 1024, 1024 * 1024] {
            let longer = begin.to_owned() + &"x".repeat(bytes - begin.len());
            fs::write(&path, [&good, longer.as_bytes()].concat()).unwrap();
            assert_eq!(fault(&path, None), Some((3, Malformed)), "{bytes}");
        }
    }
}

/// It would make a log of it that cannot be opened again.
#[test]
fn an_event_that_is_too_long_for_a_line_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(&path).unwrap();
    let of_length = |chars: usize| {
        let mut event = event();
        event.tool = Some("x".repeat(chars));
        event
    };
    let short = fs::read(&path).unwrap().len();
    log.record(&of_length(1)).unwrap();
    let room = 64 * 1024 - (fs::read(&path).unwrap().len() - short) + 1;
    let error = log.record(&of_length(room + 1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    log.record(&of_length(room)).unwrap();
    let head = log.head();
    drop(log);
    assert_eq!(fault(&path, Some(&head)), None);
    assert_eq!(AuditLog::open(&path).unwrap().head(), head);
}

#[test]
fn a_head_is_read_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let head = write_log(&folder.path().join("audit.jsonl"), 11);
    for head in [AuditHead::default(), head] {
        assert_eq!(head.to_string().parse::<AuditHead>().unwrap(), head);
    }
    let text = head.to_string();
    let (sequence, hash) = text.split_once(':').unwrap();
    assert_eq!(sequence, "12");
    let other = format!("012:{}", hash.to_uppercase());
    assert_eq!(other.parse::<AuditHead>().unwrap(), head);
    for wrong in [
        String::new(),
        sequence.to_owned(),
        format!(":{hash}"),
        format!("+12:{hash}"),
        format!(" 12:{hash}"),
        format!("{}:{hash}", u128::from(u64::MAX) + 1),
        format!("12:{}", &hash[1..]),
        format!("12:{hash}0"),
        format!("12:{}g", &hash[1..]),
    ] {
        let error = wrong.parse::<AuditHead>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{wrong}");
    }
}

#[test]
fn what_is_refused_is_a_refusal() {
    use AuditAction::{
        Created, CredentialRefused, Denied, Injected, IntegrityFailed, KeyRefused, Locked,
        QuotaRefused,
    };
    for refusal in [
        Denied,
        QuotaRefused,
        KeyRefused,
        CredentialRefused,
        IntegrityFailed,
    ] {
        assert!(refusal.is_refusal(), "{refusal}");
    }
    for other in [Created, Injected, Locked] {
        assert!(!other.is_refusal(), "{other}");
    }
}

#[test]
fn one_process_writes_to_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(&path).unwrap();
    let error = AuditLog::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    drop(log);
    AuditLog::open(&path).unwrap();
    let error = AuditLog::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
}

const SOON: Duration = Duration::from_mins(1);

fn event() -> AuditEvent {
    AuditEvent::new(AuditAction::Locked, DateTime::default())
}

#[test]
fn those_who_share_a_log_write_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    thread::scope(|scope| {
        for _ in 0..4 {
            // As separate processes would: each has its own log.
            scope.spawn(|| {
                let log = AuditLog::open_shared(&path, SOON).unwrap();
                for _ in 0..50 {
                    log.record(&event()).unwrap();
                }
            });
        }
    });
    let check = AuditLog::verify(&path, None).unwrap();
    assert_eq!((check.fault, check.head.sequence()), (None, 200));
}

#[test]
fn those_who_share_a_log_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let logs = [(); 3].map(|()| AuditLog::open_shared(&path, SOON).unwrap());
    for (lines, turn) in (1..).zip([0, 0, 1, 1, 0, 2, 1, 0, 0, 2]) {
        logs[turn].record(&event()).unwrap();
        assert_eq!(logs[turn].head().sequence(), lines);
        assert_eq!(fault(&path, Some(&logs[turn].head())), None);
    }
}

#[test]
fn a_shared_log_is_free_between_its_lines_and_is_waited_for_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let shared = AuditLog::open_shared(&path, Duration::ZERO).unwrap();
    shared.record(&event()).unwrap();
    let alone = AuditLog::open(&path).unwrap();
    let error = shared.record(&event()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let error = AuditLog::open_shared(&path, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    let next = folder.path().join("next.jsonl");
    assert_eq!(
        shared.switch_to(&next).unwrap_err().kind(),
        ErrorKind::InUse
    );
    alone.record(&event()).unwrap();
    drop(alone);
    shared.record(&event()).unwrap();
    assert_eq!(shared.head().sequence(), 3);
    assert_eq!(fault(&path, Some(&shared.head())), None);
}

#[test]
fn a_line_waits_for_whoever_has_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open_shared(&path, SOON).unwrap();
    let other = fs::File::open(&path).unwrap();
    let (turn, mut lost) = (Barrier::new(2), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50 {
                turn.wait();
                lost += u32::from(log.record(&event()).is_err());
                turn.wait();
            }
        });
        for _ in 0..50 {
            other.lock().unwrap();
            turn.wait();
            // Enough for the line to come meanwhile, most of the time.
            for _ in 0..1_000 {
                thread::yield_now();
            }
            other.unlock().unwrap();
            turn.wait();
        }
    });
    assert_eq!((lost, log.head().sequence()), (0, 50));
}

#[test]
fn a_shared_log_repairs_what_another_writer_left_and_adds_nothing_to_one_that_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open_shared(&path, SOON).unwrap();
    log.record(&event()).unwrap();
    let append = |text: &str| {
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append(r#"{"sequence":2,"#);
    log.record(&event()).unwrap();
    assert_eq!(fault(&path, Some(&log.head())), None);

    let whole = fs::read_to_string(&path).unwrap();
    for changed in [
        format!("{whole}{{}}\n"),
        whole[..whole.len() - 10].to_owned(),
    ] {
        fs::write(&path, &changed).unwrap();
        let error = log.record(&event()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    }
    fs::write(&path, whole).unwrap();
    log.record(&event()).unwrap();
    assert_eq!(log.head().sequence(), 3);
}

#[test]
fn a_log_goes_on_in_another_file_with_nothing_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let wait = Duration::from_secs(10);
    for (which, shared) in [("own", false), ("shared", true)] {
        let names = [1, 2, 3].map(|n| path(&format!("{which}{n}")));
        let [first, second, third] = &names;
        let log = if shared {
            AuditLog::open_shared(first, wait).unwrap()
        } else {
            AuditLog::open(first).unwrap()
        };
        log.record(&event()).unwrap();
        log.record(&event()).unwrap();
        let left = log.switch_to(second).unwrap();
        log.record(&event()).unwrap();
        assert_eq!((left.sequence(), log.head().sequence()), (2, 1));
        assert_eq!(fault(first, Some(&left)), None);
        assert_eq!(fault(second, Some(&log.head())), None);
        // The file that was left is free, and the other is held as the first was.
        drop(AuditLog::open(first).unwrap());
        assert_eq!(AuditLog::open(second).is_ok(), shared);

        // With the path kept.
        fs::rename(second, third).unwrap();
        let left = log.switch_to(second).unwrap();
        log.record(&event()).unwrap();
        assert_eq!(fault(third, Some(&left)), None);
        assert_eq!(fault(second, Some(&log.head())), None);
        // Back to where there are lines: their chain goes on.
        log.switch_to(first).unwrap();
        log.record(&event()).unwrap();
        assert_eq!(log.head().sequence(), 3);
        assert_eq!(fault(first, Some(&log.head())), None);
    }
}

/// Each by itself, and the one that renames is the first; what the other one writes until then is in the old file.
#[test]
fn those_who_share_a_log_go_on_in_another_file_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let [path, old] = ["log", "old"].map(|name| dir.path().join(name));
    let [first, second] = [(); 2].map(|()| AuditLog::open_shared(&path, SOON).unwrap());
    first.record(&event()).unwrap();
    second.record(&event()).unwrap();
    fs::rename(&path, &old).unwrap();
    // With the line of the other one, which it had not seen.
    let left = first.switch_to(&path).unwrap();
    assert_eq!((left.sequence(), fault(&old, Some(&left))), (2, None));
    first.record(&event()).unwrap();
    second.record(&event()).unwrap();
    let left = second.switch_to(&path).unwrap();
    assert_eq!((left.sequence(), fault(&old, Some(&left))), (3, None));
    second.record(&event()).unwrap();
    assert_eq!(second.head().sequence(), 2);
    assert_eq!(fault(&path, Some(&second.head())), None);
}

/// Such as one that was changed, or whose last line another writer did not finish.
#[test]
fn a_log_in_which_no_line_can_be_written_can_be_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (what, spoil) in [
        (
            "changed",
            (|text| text.replace("locked", "opened")) as fn(String) -> String,
        ),
        ("shorter", |text| {
            text.lines().next().unwrap().to_owned() + "\n"
        }),
        ("torn", |text| text + "{\"sequence\":3,"),
    ] {
        let [from, to] = ["from", "to"].map(|name| path(&format!("{what}, {name}")));
        let log = AuditLog::open_shared(&from, SOON).unwrap();
        log.record(&event()).unwrap();
        log.record(&event()).unwrap();
        fs::write(&from, spoil(fs::read_to_string(&from).unwrap())).unwrap();
        let left = log.switch_to(&to).unwrap();
        assert_eq!(left.sequence(), 2, "{what}");
        log.record(&event()).unwrap();
        assert_eq!(fault(&to, Some(&log.head())), None, "{what}");
        // The head tells that something is wrong with the file that was left; a torn line is removed.
        let check = AuditLog::verify(&from, Some(&left)).unwrap();
        assert_eq!(
            (check.fault.is_none(), check.torn),
            (what == "torn", false),
            "{what}"
        );
    }
}

#[test]
fn a_log_that_cannot_go_on_elsewhere_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let log = AuditLog::open(path("log")).unwrap();
    let other = AuditLog::open(path("other")).unwrap();
    fs::write(path("no log"), "text\n").unwrap();
    for (to, kind) in [
        ("log", ErrorKind::InUse),
        ("other", ErrorKind::InUse),
        ("no log", ErrorKind::Corrupt),
        (".", ErrorKind::Storage),
        ("no folder/log", ErrorKind::Storage),
    ] {
        assert_eq!(log.switch_to(path(to)).unwrap_err().kind(), kind, "{to}");
        log.record(&event()).unwrap();
    }
    assert_eq!(log.head().sequence(), 5);
    assert_eq!(fault(&path("log"), Some(&log.head())), None);
    drop(other);
    assert_eq!(fs::read_to_string(path("other")).unwrap(), "");
}

#[test]
fn threads_write_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(AuditLog::open(&path).unwrap());
    let vault = Vault::builder()
        .audit(Arc::clone(&log))
        .in_memory()
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    let secret = NewSecret::new("a", "value-of-a").bind("t", "k");
    user.create(secret.default_for_tool()).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _ = user.inject(&ToolCall::new("t"), &mut Map::new()).unwrap();
                }
            });
        }
    });
    let check = AuditLog::verify(&path, Some(&log.head())).unwrap();
    assert_eq!((check.fault, check.head.sequence()), (None, 202));
    assert_eq!(vault.lost_audit_events(), 0);
}
