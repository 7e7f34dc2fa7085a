//! The log whose lines form a chain: what it holds, and what is found where it was changed.

use std::{fs, io, sync::Arc};

use keyward::{
    AuditLog, AuditSink, ErrorKind, ToolCall, UserId, Vault,
    audit::{
        AuditAction,
        AuditFaultKind::{Malformed, Rewritten, Truncated, WrongHash, WrongSequence},
        AuditHead,
    },
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{SOON, event, fault, write_log};

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
    let zeros = zeros
        .flat_map(|torn| [300, 70_000, 200_000].map(|zeros| [&torn[..], &vec![0; zeros]].concat()));
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
        r#"{"sequence":1,"mine":"and nobody else's"}"#,
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
