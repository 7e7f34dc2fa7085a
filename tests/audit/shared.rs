//! Several who write to one log.

use std::{
    fs,
    io::{self, Write},
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use keyward::{AuditLog, AuditSink, ErrorKind, NewSecret, ToolCall, UserId, Vault};
use serde_json::Map;

use super::{SOON, event, fault};

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
