//! The log of what is done.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use keyward::{AuditEvent, AuditLog, AuditSink, audit::AuditHead};
use serde_json::json;

use crate::{
    failure::Failure,
    output::{self, Output, printable},
};

/// Writes the log, and complains once it cannot; what was asked for is done anyway.
pub(crate) struct Recorder {
    log: AuditLog,
    has_failed: AtomicBool,
}

impl Recorder {
    pub(crate) fn new(path: &Path, wait: Duration) -> Result<Recorder, Failure> {
        let log = AuditLog::open_shared(path, wait);
        Ok(Recorder {
            log: log.map_err(|error| Failure::from(error).of_file(path))?,
            has_failed: AtomicBool::new(false),
        })
    }
}

impl AuditSink for Recorder {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        let recorded = self.log.record(event);
        if let Err(error) = &recorded
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            output::complain(format_args!(
                "keyward: the audit log is incomplete from here on: {error}"
            ));
        }
        recorded
    }
}

pub(crate) fn verify(
    output: Output,
    path: &Path,
    remembered: Option<&AuditHead>,
) -> Result<(), Failure> {
    let check =
        AuditLog::verify(path, remembered).map_err(|error| Failure::from(error).of_file(path))?;
    if let Some(fault) = check.fault {
        let message = format!("{}: {fault}", path.display());
        return Err(Failure::audit_log_changed(message, fault.line));
    }
    let (lines, head) = (check.head.sequence(), check.head.to_string());
    let torn = if check.torn {
        "; an incomplete line follows: it is being written, or its writer crashed"
    } else {
        ""
    };
    output.answer(
        &json!({"lines": lines, "torn": check.torn, "head": head}),
        || {
            let path = path.display().to_string();
            let path = printable(&path);
            format!("{path}: all {lines} lines are unchanged{torn}\nhead  {head}\n")
        },
    )
}
