//! What a vault reports to its audit sink, and the log whose lines form a chain.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, sync::Arc, time::Duration};

use chrono::DateTime;
use keyward::{
    AuditEvent, AuditLog, NewSecret, UserId, Vault,
    audit::{
        AuditAction,
        AuditFaultKind::{self},
        AuditHead,
    },
};

mod events;
mod log;
mod shared;
mod switching;

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

const SOON: Duration = Duration::from_mins(1);

fn event() -> AuditEvent {
    AuditEvent::new(AuditAction::Locked, DateTime::default())
}
