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
    /// Reports a user's write.
    pub(super) fn tell_write(&self, user: UserId, result: &Result<Vec<Applied>, Error>) {
        self.settings.audit.record(|| match result {
            Ok(applied) => applied
                .iter()
                .filter_map(|applied| self.written(applied))
                .collect(),
            Err(error) => {
                let refused = error.quota().map(|quota| AuditEvent {
                    user: Some(user),
                    ..self.settings.quota_refused(quota)
                });
                refused.into_iter().collect::<Vec<_>>()
            }
        });
    }

    /// Reports a call.
    pub(super) fn tell_call(
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
                    denial
                        .map(|denial| denied(event(AuditAction::Denied), denial))
                        .collect::<Vec<_>>()
                }
            }
        });
    }

    /// Reports an operation on the whole vault, if it was done.
    pub(super) fn tell<T>(
        &self,
        action: AuditAction,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        self.settings.tell(action, &result);
        result
    }

    /// Reports that a key was refused, if it was.
    #[cfg(feature = "file")]
    pub(super) fn tell_refused_key<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::WrongKey
        {
            let audit = &self.settings.audit;
            audit.record(|| [self.event(AuditAction::KeyRefused)]);
        }
        result
    }

    /// Does what `tell` does, with more details of the event.
    pub(super) fn tell_with<T>(
        &self,
        action: AuditAction,
        result: Result<T, Error>,
        describe: impl FnOnce(&T, AuditEvent) -> AuditEvent,
    ) -> Result<T, Error> {
        self.settings.tell_with(action, &result, describe);
        result
    }

    #[cfg(feature = "http")]
    pub(super) fn tell_credential_refused(&self) {
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
    pub(super) fn tell<T>(&self, action: AuditAction, result: &Result<T, Error>) {
        self.tell_with(action, result, |_, event| event);
    }

    fn tell_with<T>(
        &self,
        action: AuditAction,
        result: &Result<T, Error>,
        describe: impl FnOnce(&T, AuditEvent) -> AuditEvent,
    ) {
        self.audit.record(|| match result {
            Ok(done) => Some(describe(done, self.event(action))),
            Err(error) if error.kind() == ErrorKind::WrongKey => {
                Some(self.event(AuditAction::KeyRefused))
            }
            Err(error) => error.quota().map(|quota| self.quota_refused(quota)),
        });
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
