//! Events for the program's own tracing.

use std::io;

use tracing::{field, info, warn};

use super::{AuditEvent, AuditReason, AuditSink};

/// A sink that emits each event of a vault as an event of the `tracing` crate, with the target `keyward::audit`: at
/// the level `WARN` if something was refused, otherwise at `INFO`. Fields that an event does not have are left out.
///
/// ```
/// use keyward::{Vault, audit::TracingSink};
///
/// let vault = Vault::builder().audit(TracingSink).in_memory()?;
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// The sink does not know whether anyone listens: an event that nobody listens to does not count as
/// [lost](AuditSink).
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
                    // Tools and locations can be the model's own text: escaped, they cannot forge a line.
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

#[cfg(test)]
mod tests {
    use std::{
        fmt::{Debug, Write},
        sync::{Arc, Mutex},
    };

    use chrono::DateTime;
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
        subscriber,
    };

    use super::*;
    use crate::{audit::AuditAction, secret::UserId};

    /// Keeps each event as a line.
    #[derive(Default, Clone)]
    struct Lines(Arc<Mutex<String>>);

    impl Visit for Lines {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0.lock().unwrap(), " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let (level, target) = (event.metadata().level(), event.metadata().target());
            write!(self.0.lock().unwrap(), "{level} {target}").unwrap();
            event.record(&mut self.clone());
            self.0.lock().unwrap().push('\n');
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn an_event_has_the_fields_that_are_there_and_the_level_of_its_action() {
        let locked = AuditEvent::new(AuditAction::Locked, DateTime::default());
        let denied = AuditEvent {
            user: Some(UserId::LOCAL),
            tool: Some("t".to_owned()),
            location: Some("/a\nb".to_owned()),
            reason: Some(AuditReason::UnknownSecret),
            lost: 2,
            ..AuditEvent::new(AuditAction::Denied, DateTime::default())
        };
        let lines = Lines::default();
        subscriber::with_default(lines.clone(), || {
            TracingSink.record(&locked).unwrap();
            TracingSink.record(&denied).unwrap();
        });
        let expected = r#"INFO keyward::audit action="locked" lost=0
WARN keyward::audit action="denied" user=00000000-0000-0000-0000-000000000000 tool="t" location="/a\nb" reason="unknown_secret" lost=2
"#;
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }
}
