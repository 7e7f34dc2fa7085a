//! Events for the program's own tracing.

use std::io;

use tracing::{field, info, warn};

use super::{AuditEvent, AuditReason, AuditSink};

/// A sink that emits an event of the crate `tracing` for each of a vault's, with the target `keyward::audit`: a warning where
/// something was refused, else at the level `INFO`. Fields that an event does not have are left out.
///
/// ```
/// use keyward::{TracingSink, Vault};
///
/// let vault = Vault::builder().audit(TracingSink).in_memory()?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// Whether anyone listens is not known here: what nobody listens to does not count as [lost](AuditSink).
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

impl AuditSink for TracingSink {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        macro_rules! emit {
            ($level:ident) => {
                $level!(
                    target: "keyward::audit",
                    action = event.action.as_str(),
                    user = event.user.map(field::display),
                    // Tools and locations can be the model's own text: escaped, it forges no line.
                    tool = event.tool.as_ref().map(field::debug),
                    location = event.location.as_ref().map(field::debug),
                    secret_id = event.secret_id.map(field::display),
                    revision = event.revision,
                    reason = event.reason.map(AuditReason::as_str),
                    call_id = event.call_id.as_ref().map(field::debug),
                    key_slot = event.key_slot,
                    lost = event.lost,
                )
            };
        }
        if event.action.is_refusal() {
            emit!(warn);
        } else {
            emit!(info);
        }
        Ok(())
    }
}
