//! What happened to a vault, without any values, for a log that others read: set a sink with
//! [`VaultBuilder::audit`](crate::VaultBuilder::audit).

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::secret::{SecretId, UserId};

mod chain;
mod log;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(feature = "tracing")]
pub use self::trace::TracingSink;
pub use self::{
    chain::{AuditCheck, AuditFault, AuditFaultKind, AuditHead},
    log::AuditLog,
};

/// Receives the events of a vault; see [`VaultBuilder::audit`](crate::VaultBuilder::audit).
///
/// ```
/// use std::{io, sync::{Arc, Mutex}};
/// use keyward::{AuditEvent, AuditSink, NewSecret, ToolCall, UserId, Vault};
///
/// #[derive(Default)]
/// struct Lines(Mutex<Vec<String>>);
///
/// impl AuditSink for Lines {
///     fn record(&self, event: &AuditEvent) -> io::Result<()> {
///         self.0.lock().unwrap().push(event.action.to_string());
///         Ok(())
///     }
/// }
///
/// let lines = Arc::new(Lines::default());
/// let vault = Vault::builder().audit(Arc::clone(&lines)).in_memory()?;
/// let user = vault.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("linear_*", "api_key").default_for_tool())?;
/// user.inject(&ToolCall::new("linear_search"), &mut Default::default())?;
/// assert_eq!(*lines.0.lock().unwrap(), ["vault_created", "created", "injected"]);
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # What a sink may do
///
/// It is called after the fact, in the thread that did what the event reports, with no lock held: it may take its
/// time, at the expense of that thread, and may use the vault. Events of concurrent threads may arrive in a
/// different order than they happened in; the revision of a secret tells which of two writes came first.
///
/// # When it fails
///
/// What happened is not undone, and the caller of the vault does not see the sink's error: a full disk must not take
/// the tools away. An event that a sink does not record, because it returns an error or panics, is lost. Every event
/// says how many were lost before it ([`AuditEvent::lost`]), and so does
/// [`Vault::lost_audit_events`](crate::Vault::lost_audit_events): a program that would rather stop than work without
/// a record checks this number and [locks](crate::Vault::lock) the vault. (In a program built to abort on panic, a
/// sink that panics ends it.)
pub trait AuditSink: Send + Sync {
    /// Records one event.
    ///
    /// # Errors
    ///
    /// Returns an error if the event could not be recorded; the event then counts as lost.
    fn record(&self, event: &AuditEvent) -> io::Result<()>;
}

/// Lets the program keep a handle to the sink.
impl<S: AuditSink + ?Sized> AuditSink for Arc<S> {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        (**self).record(event)
    }
}

/// One thing that happened, described without any value or name of a secret, only its id: it can be shown to anyone
/// who may know which tools are used.
///
/// Names are left out because people put into them what they should not (the customer, the account, at worst the
/// value), and because a log is kept longer and read by more people than a vault. Those who may know the name get it
/// from [`UserVault::secret`](crate::UserVault::secret).
///
/// Serializes as an object that has only the fields that are set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub struct AuditEvent {
    /// When it happened, by the clock of this process.
    #[serde(serialize_with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// What happened.
    pub action: AuditAction,
    /// The user whose secret it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The tool that is called, or, if a secret was written or deleted, its tool pattern. At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The place in the arguments, as a JSON Pointer, or, if a secret was written or deleted, its location. If a
    /// call was denied, the names in it are the model's and may be anything. At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The secret. For a denied call, the one that was asked for, if it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<SecretId>,
    /// The secret's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<AuditReason>,
    /// The [id of the call](crate::ToolCall::with_id), if it has one. At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The key slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_slot: Option<u32>,
    /// The number of events before this one that the sink did not record. See [`AuditSink`].
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
}

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            /// Returns the name that it is written as, which is the same in every version.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// What an [`AuditEvent`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// A secret was created.
    Created,
    /// A secret was changed: its value, its binding, or anything else about it.
    Updated,
    /// A secret was deleted.
    Deleted,
    /// A secret was put into a call. There is one event for each place.
    Injected,
    /// A call was denied. The event has the reason, which the error leaves out.
    Denied,
    /// A write would have exceeded a limit. The event has the user who writes; that of an import has none.
    QuotaRefused,
    /// Everything that a user had was deleted.
    UserDeleted,
    /// The vault was created.
    VaultCreated,
    /// The vault was opened, for writing or as a snapshot.
    VaultOpened,
    /// The vault was locked.
    Locked,
    /// The vault was unlocked, or a key for unlocking it was checked.
    Unlocked,
    /// A key was tried that opens no key slot.
    KeyRefused,
    /// A request over HTTP had a credential that is nobody's. The event has neither the credential nor what was
    /// asked for.
    CredentialRefused,
    /// A key slot was added.
    KeySlotAdded,
    /// A key slot was replaced by another.
    KeySlotChanged,
    /// A key slot was removed.
    KeySlotRemoved,
    /// A new master key was made.
    MasterKeyRotated,
    /// Every secret was sealed again under a new data key.
    DataKeyRotated,
    /// The secrets of another vault were imported.
    Imported,
    /// All secrets were copied for another vault.
    Exported,
    /// The vault was copied.
    BackedUp,
    /// Everything that is stored was checked, and is as keyward left it.
    Verified,
    /// The vault was compacted: its file, if it has one, was made as short as possible.
    Compacted,
    /// All values of a user were opened for a redactor.
    RedactorMade,
    /// What is stored, in the vault or in a file that was to be imported, is not what keyward left there: it was
    /// damaged, or changed or rolled back outside keyward. What was tried failed. The event has the user whose secrets
    /// were read; that of a check, a copy or an import of all secrets has none.
    IntegrityFailed,
}

names!(AuditAction {
    Created = "created",
    Updated = "updated",
    Deleted = "deleted",
    Injected = "injected",
    Denied = "denied",
    QuotaRefused = "quota_refused",
    UserDeleted = "user_deleted",
    VaultCreated = "vault_created",
    VaultOpened = "vault_opened",
    Locked = "locked",
    Unlocked = "unlocked",
    KeyRefused = "key_refused",
    CredentialRefused = "credential_refused",
    KeySlotAdded = "key_slot_added",
    KeySlotChanged = "key_slot_changed",
    KeySlotRemoved = "key_slot_removed",
    MasterKeyRotated = "master_key_rotated",
    DataKeyRotated = "data_key_rotated",
    Imported = "imported",
    Exported = "exported",
    BackedUp = "backed_up",
    Verified = "verified",
    Compacted = "compacted",
    RedactorMade = "redactor_made",
    IntegrityFailed = "integrity_failed",
});

impl AuditAction {
    /// Returns whether something was refused: what failed the check of its integrity is refused as well.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            AuditAction::Denied
                | AuditAction::QuotaRefused
                | AuditAction::KeyRefused
                | AuditAction::CredentialRefused
                | AuditAction::IntegrityFailed
        )
    }
}

/// Why the thing that an [`AuditEvent`] reports happened. Not for the model: it tells which secrets exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditReason {
    /// Injected: the secret is the best default there.
    Default,
    /// Injected: the secret is the best default there, and replaced a value that the model supplied.
    DefaultReplacing,
    /// Injected: the call asked for the secret.
    Reference,
    /// Denied: the call asked for a secret that the user does not have.
    UnknownSecret,
    /// Denied: the secret has no tool pattern, and the model asked for it.
    NoToolPattern,
    /// Denied: the secret is for other tools.
    OtherTool,
    /// Denied: the secret has no location, and the model asked for it.
    NoLocation,
    /// Denied: the secret is for another location.
    OtherLocation,
    /// Denied: the model supplied a value where a default is bound, and the policy refuses that.
    SuppliedValue,
    /// Quota refused: the user would have too many secrets.
    UserSecrets,
    /// Quota refused: the user would have too many bytes.
    UserBytes,
    /// Quota refused: the vault would have too many secrets.
    VaultSecrets,
    /// Quota refused: the vault would have too many bytes.
    VaultBytes,
    /// Integrity failed: [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    Corrupt,
    /// Integrity failed: [`ErrorKind::RolledBack`](crate::ErrorKind::RolledBack).
    RolledBack,
}

names!(AuditReason {
    Default = "default",
    DefaultReplacing = "default_replacing",
    Reference = "reference",
    UnknownSecret = "unknown_secret",
    NoToolPattern = "no_tool_pattern",
    OtherTool = "other_tool",
    NoLocation = "no_location",
    OtherLocation = "other_location",
    SuppliedValue = "supplied_value",
    UserSecrets = "user_secrets",
    UserBytes = "user_bytes",
    VaultSecrets = "vault_secrets",
    VaultBytes = "vault_bytes",
    Corrupt = "corrupt",
    RolledBack = "rolled_back",
});

impl AuditEvent {
    /// Creates an event with this action and time and no other fields. For tests of sinks: a vault makes its own
    /// events.
    pub fn new(action: AuditAction, time: DateTime<Utc>) -> AuditEvent {
        AuditEvent {
            time,
            action,
            user: None,
            tool: None,
            location: None,
            secret_id: None,
            revision: None,
            reason: None,
            call_id: None,
            key_slot: None,
            lost: 0,
        }
    }
}

/// Clips a text that others wrote to what an event keeps of it.
pub(crate) fn clipped(text: &str) -> String {
    const MAX_CHARS: usize = 1_024;
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

/// Where the events of a vault go, if anywhere.
#[derive(Clone, Default)]
pub(crate) struct Audit {
    sink: Option<Arc<AssertUnwindSafe<Box<dyn AuditSink>>>>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    pub(crate) fn new(sink: impl AuditSink + 'static) -> Audit {
        Audit {
            sink: Some(Arc::new(AssertUnwindSafe(Box::new(sink)))),
            lost: Arc::default(),
        }
    }

    /// Records events. They are made only if there is a sink.
    pub(crate) fn record<E: IntoIterator<Item = AuditEvent>>(&self, events: impl FnOnce() -> E) {
        let Some(sink) = &self.sink else { return };
        for mut event in events() {
            event.lost = self.lost();
            let recorded = catch_unwind(AssertUnwindSafe(|| sink.record(&event)));
            if !matches!(recorded, Ok(Ok(()))) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[cfg(feature = "http")]
    pub(crate) fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("is_on", &self.sink.is_some())
            .finish_non_exhaustive()
    }
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
