//! A log that goes on in another file.

use std::{fs, time::Duration};

use keyward::{AuditLog, AuditSink, ErrorKind};

use super::{SOON, event, fault};

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
