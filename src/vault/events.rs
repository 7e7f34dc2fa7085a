//! The audit events of a vault. They are recorded after the fact, with no lock held.

use super::{plan::Applied, settings::Settings, state::State};
use crate::{
    audit::{AuditAction, AuditEvent, AuditReason, clipped},
    call::ToolCall,
    error::{Error, ErrorKind, QuotaExceeded, QuotaResource, QuotaScope},
    inject::{
        Failure, Filled, Injection, Reason, Verdict,
        plan::{Denial, DenialReason},
    },
    location::Location,
    secret::UserId,
};

impl State {
    /// Records a user's write.
    pub(super) fn record_write(&self, user: UserId, result: &Result<Vec<Applied>, Error>) {
        self.settings.audit.record(|| match result {
            Ok(applied) => applied
                .iter()
                .filter_map(|applied| self.written(applied))
                .collect(),
            Err(error) => {
                let failed = self.settings.failed(error);
                let failed = failed.map(|event| of_user(event, user));
                failed.into_iter().collect::<Vec<_>>()
            }
        });
    }

    /// Records that all of a user's secrets were deleted, if there were any, or why not, if that is recorded.
    pub(super) fn record_deleted_user(
        &self,
        user: UserId,
        result: Result<bool, Error>,
    ) -> Result<(), Error> {
        self.settings.audit.record(|| {
            let event = match &result {
                Ok(true) => Some(self.event(AuditAction::UserDeleted)),
                Ok(false) => None,
                Err(error) => self.settings.failed(error),
            };
            event.map(|event| of_user(event, user))
        });
        result.map(drop)
    }

    /// Records that a user's secrets could not be read because they are not as keyward left them, if that is so.
    #[cold]
    pub(super) fn record_failed_read(&self, user: UserId, error: &Error) {
        let failed = || self.settings.failed_integrity(error);
        let audit = &self.settings.audit;
        audit.record(|| failed().map(|event| of_user(event, user)));
    }

    /// Records that all values of a user were opened.
    pub(super) fn record_redactor(&self, user: UserId) {
        let event = || of_user(self.event(AuditAction::RedactorMade), user);
        self.settings.audit.record(|| [event()]);
    }

    /// Records a call.
    pub(super) fn record_call(
        &self,
        user: UserId,
        call: &ToolCall<'_>,
        result: &Result<Injection, Failure>,
    ) {
        self.settings.audit.record(|| {
            let event = |action| AuditEvent {
                user: Some(user),
                tool: Some(clipped(call.tool())),
                call_id: call.id().map(clipped),
                ..self.event(action)
            };
            match result {
                Ok(injection) => injection
                    .filled()
                    .iter()
                    .map(|filled| injected(event(AuditAction::Injected), filled))
                    .collect(),
                Err(failure) => {
                    let denial = failure.denial.iter();
                    let denied = denial.map(|denial| denied(event(AuditAction::Denied), denial));
                    let failed = self.settings.failed_integrity(&failure.error);
                    let failed = failed.map(|AuditEvent { action, reason, .. }| AuditEvent {
                        reason,
                        ..event(action)
                    });
                    denied.chain(failed).collect::<Vec<_>>()
                }
            }
        });
    }

    /// Records an operation on the whole vault, if it was done, or why it failed, if that is recorded.
    pub(super) fn record<T>(
        &self,
        action: AuditAction,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        self.settings.record(action, &result);
        result
    }

    /// Records why a snapshot could not be reloaded, if that is recorded. That the key that was kept no longer serves
    /// is nobody's try.
    #[cfg(feature = "file")]
    pub(super) fn record_reload<T>(
        &self,
        with_key: bool,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if !with_key {
            return self.record_failed(result);
        }
        if let Err(error) = &result {
            self.settings.audit.record(|| self.settings.failed(error));
        }
        result
    }

    /// Records that something failed because what is stored is not as keyward left it, if that is so.
    pub(super) fn record_failed<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let audit = &self.settings.audit;
            audit.record(|| self.settings.failed_integrity(error));
        }
        result
    }

    /// Does what `record` does, with more details of the event.
    pub(super) fn record_with<T>(
        &self,
        action: AuditAction,
        result: Result<T, Error>,
        describe: impl FnOnce(&T, AuditEvent) -> AuditEvent,
    ) -> Result<T, Error> {
        self.settings.record_with(action, &result, describe);
        result
    }

    #[cfg(feature = "http")]
    pub(super) fn record_refused_credential(&self) {
        let audit = &self.settings.audit;
        audit.record(|| [self.event(AuditAction::CredentialRefused)]);
    }

    fn event(&self, action: AuditAction) -> AuditEvent {
        self.settings.event(action)
    }

    fn written(&self, applied: &Applied) -> Option<AuditEvent> {
        let (action, info) = match applied {
            Applied::Created(info) => (AuditAction::Created, info),
            Applied::Updated(info) => (AuditAction::Updated, info),
            Applied::Deleted(info) => (AuditAction::Deleted, info),
            Applied::Unchanged(_) => return None,
        };
        let location = info
            .tool_arg
            .as_deref()
            .and_then(|arg| Location::parse(arg).ok());
        Some(AuditEvent {
            user: Some(info.user_id),
            tool: info.tool_name.clone(),
            location: location.map(|location| clipped(location.as_pointer())),
            secret_id: Some(info.secret_id),
            revision: Some(info.revision),
            ..self.event(action)
        })
    }
}

impl Settings {
    pub(super) fn record<T>(&self, action: AuditAction, result: &Result<T, Error>) {
        self.record_with(action, result, |_, event| event);
    }

    fn record_with<T>(
        &self,
        action: AuditAction,
        result: &Result<T, Error>,
        describe: impl FnOnce(&T, AuditEvent) -> AuditEvent,
    ) {
        self.audit.record(|| match result {
            Ok(done) => Some(describe(done, self.event(action))),
            Err(error) => self.failed(error),
        });
    }

    /// The event of a failure, if there is one.
    fn failed(&self, error: &Error) -> Option<AuditEvent> {
        if error.kind() == ErrorKind::WrongKey {
            return Some(self.event(AuditAction::KeyRefused));
        }
        let quota = error.quota().map(|quota| self.quota_refused(quota));
        quota.or_else(|| self.failed_integrity(error))
    }

    /// The event of an error that says that what is stored is not what keyward left there.
    fn failed_integrity(&self, error: &Error) -> Option<AuditEvent> {
        let reason = match error.kind() {
            ErrorKind::Corrupt => AuditReason::Corrupt,
            ErrorKind::RolledBack => AuditReason::RolledBack,
            _ => return None,
        };
        Some(AuditEvent {
            reason: Some(reason),
            ..self.event(AuditAction::IntegrityFailed)
        })
    }

    fn event(&self, action: AuditAction) -> AuditEvent {
        AuditEvent::new(action, self.clock.now())
    }

    fn quota_refused(&self, quota: &QuotaExceeded) -> AuditEvent {
        AuditEvent {
            reason: Some(match (quota.scope, quota.resource) {
                (QuotaScope::User, QuotaResource::Secrets) => AuditReason::UserSecrets,
                (QuotaScope::User, QuotaResource::Bytes) => AuditReason::UserBytes,
                (QuotaScope::Vault, QuotaResource::Secrets) => AuditReason::VaultSecrets,
                (QuotaScope::Vault, QuotaResource::Bytes) => AuditReason::VaultBytes,
            }),
            ..self.event(AuditAction::QuotaRefused)
        }
    }
}

fn of_user(event: AuditEvent, user: UserId) -> AuditEvent {
    AuditEvent {
        user: Some(user),
        ..event
    }
}

fn injected(event: AuditEvent, filled: &Filled) -> AuditEvent {
    let secret = filled.secret();
    AuditEvent {
        location: Some(clipped(filled.location().as_pointer())),
        secret_id: Some(secret.secret_id),
        revision: Some(secret.revision),
        reason: Some(match filled.reason() {
            Reason::Default if filled.replaced() => AuditReason::DefaultReplacing,
            Reason::Default => AuditReason::Default,
            Reason::Reference => AuditReason::Reference,
        }),
        ..event
    }
}

fn denied(event: AuditEvent, denial: &Denial) -> AuditEvent {
    AuditEvent {
        location: Some(clipped(denial.location.as_pointer())),
        secret_id: denial.secret.map(|(id, _)| id),
        revision: denial.secret.map(|(_, revision)| revision),
        reason: match denial.reason {
            DenialReason::Supplied => Some(AuditReason::SuppliedValue),
            DenialReason::Reference(verdict) => match verdict {
                Verdict::Granted => None,
                Verdict::UnknownSecret => Some(AuditReason::UnknownSecret),
                Verdict::NoToolPattern => Some(AuditReason::NoToolPattern),
                Verdict::OtherTool => Some(AuditReason::OtherTool),
                Verdict::NoLocation => Some(AuditReason::NoLocation),
                Verdict::OtherLocation => Some(AuditReason::OtherLocation),
            },
        },
        ..event
    }
}
