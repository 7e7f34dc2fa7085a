//! What is recorded of a call: what was put in where, and what was not. No values.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

use super::plan::SkipReason;
use crate::{
    location::Location,
    pattern::ToolPattern,
    secret::{SecretId, SecretInfo},
    snapshot::Entry,
};

/// One place that was filled.
///
/// Serializes as an object with `location`, `secret_id`, `secret_name`, `revision`, `pattern`, `reason` and
/// `replaced`. Two are equal if these are. It keeps what the vault has of the secret in memory, the value sealed, also
/// after the secret was changed or deleted.
///
/// ```
/// use keyward::{NewSecret, Reason, ToolCall, UserId, Vault};
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("linear_*", "api_key").default_for_tool())?;
///
/// let injection = user.inject(&ToolCall::new("linear_search"), &mut Default::default())?;
/// let filled = &injection.filled()[0];
/// assert_eq!(filled.location().as_pointer(), "/api_key");
/// assert_eq!(filled.secret().secret_name, "linear");
/// assert_eq!(filled.secret().display.as_deref(), Some("li********vN"));
/// assert_eq!(filled.pattern().unwrap().as_str(), "linear_*");
/// assert_eq!((filled.reason(), filled.replaced()), (Reason::Default, false));
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Clone)]
pub struct Filled {
    place: Place,
    reason: Reason,
    replaced: bool,
}

impl Filled {
    pub(super) fn new(place: Place, reason: Reason, replaced: bool) -> Filled {
        Filled {
            place,
            reason,
            replaced,
        }
    }

    /// Returns where the value was put in.
    pub fn location(&self) -> &Location {
        self.place.location()
    }

    /// Returns the secret that was put in, as it was then: its revision tells which of its successive values it was.
    ///
    /// It has the mask as well, which shows some of the value's characters: what is to be logged is the record itself.
    pub fn secret(&self) -> &SecretInfo {
        self.place.secret()
    }

    /// Returns the secret's tool pattern, which matched; `None` if it has none.
    pub fn pattern(&self) -> Option<&ToolPattern> {
        self.place.entry.pattern.as_ref()
    }

    /// Returns why the place was filled.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns whether a value that the model supplied was replaced, as the [policy](crate::InjectionPolicy) says.
    pub fn replaced(&self) -> bool {
        self.replaced
    }

    fn record(&self) -> FilledRecord<'_> {
        let secret = self.secret();
        FilledRecord {
            location: self.location(),
            secret_id: secret.secret_id,
            secret_name: &secret.secret_name,
            revision: secret.revision,
            pattern: self.pattern(),
            reason: self.reason,
            replaced: self.replaced,
        }
    }
}

/// A secret that matched but was not put in.
///
/// Serializes as an object with `location`, `secret_id`, `secret_name` and `reason`. Two are equal if these are.
#[derive(Clone)]
pub struct Skipped {
    place: Place,
    reason: SkipReason,
}

impl Skipped {
    pub(super) fn new(place: Place, reason: SkipReason) -> Skipped {
        Skipped { place, reason }
    }

    /// Returns where the secret would have gone.
    pub fn location(&self) -> &Location {
        self.place.location()
    }

    /// Returns the secret, as it was then, with its mask: what is to be logged is the record itself.
    pub fn secret(&self) -> &SecretInfo {
        self.place.secret()
    }

    /// Returns why it was not put in.
    pub fn reason(&self) -> SkipReason {
        self.reason
    }

    fn record(&self) -> SkippedRecord<'_> {
        let secret = self.secret();
        SkippedRecord {
            location: self.location(),
            secret_id: secret.secret_id,
            secret_name: &secret.secret_name,
            reason: self.reason,
        }
    }
}

/// Why a place was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The secret is the best default for the tool and the location, and the call had no value there or one that the
    /// policy replaces.
    Default,
    /// The call had a reference to the secret there, and it was granted.
    Reference,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Default => "default",
            Reason::Reference => "reference",
        })
    }
}

/// A secret and a place for it. It shares the entry and copies nothing of it: to count one more owner of the entry is
/// cheaper than names to copy, and than several such counts.
#[derive(Clone)]
pub(super) struct Place {
    entry: Arc<Entry>,
    /// `None` stands for the location that the secret is bound to.
    elsewhere: Option<Location>,
}

impl Place {
    pub(super) fn new(entry: &Arc<Entry>, location: &Location) -> Place {
        let is_bound = entry.location.as_ref() == Some(location);
        Place {
            entry: Arc::clone(entry),
            elsewhere: (!is_bound).then(|| location.clone()),
        }
    }

    pub(super) fn location(&self) -> &Location {
        let own = self.entry.location.as_ref();
        let location = self.elsewhere.as_ref().or(own);
        location.expect("a place that is not the secret's own is somewhere else")
    }

    fn secret(&self) -> &SecretInfo {
        self.entry.info()
    }
}

/// What is shown of a [`Filled`], and compared.
#[derive(PartialEq, Serialize)]
struct FilledRecord<'f> {
    location: &'f Location,
    secret_id: SecretId,
    secret_name: &'f str,
    revision: u64,
    pattern: Option<&'f ToolPattern>,
    reason: Reason,
    replaced: bool,
}

/// What is shown of a [`Skipped`], and compared.
#[derive(PartialEq, Serialize)]
struct SkippedRecord<'s> {
    location: &'s Location,
    secret_id: SecretId,
    secret_name: &'s str,
    reason: SkipReason,
}

#[expect(
    clippy::missing_fields_in_debug,
    reason = "the place is shown by its parts"
)]
impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret();
        f.debug_struct("Filled")
            .field("location", self.location())
            .field("secret_id", &secret.secret_id)
            .field("secret_name", &secret.secret_name)
            .field("revision", &secret.revision)
            .field("pattern", &self.pattern())
            .field("reason", &self.reason)
            .field("replaced", &self.replaced)
            .finish()
    }
}

#[expect(
    clippy::missing_fields_in_debug,
    reason = "the place is shown by its parts"
)]
impl fmt::Debug for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret();
        f.debug_struct("Skipped")
            .field("location", self.location())
            .field("secret_id", &secret.secret_id)
            .field("secret_name", &secret.secret_name)
            .field("reason", &self.reason)
            .finish()
    }
}

impl PartialEq for Filled {
    fn eq(&self, other: &Filled) -> bool {
        self.record() == other.record()
    }
}

impl Eq for Filled {}

impl PartialEq for Skipped {
    fn eq(&self, other: &Skipped) -> bool {
        self.record() == other.record()
    }
}

impl Eq for Skipped {}

impl Serialize for Filled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record().serialize(serializer)
    }
}

impl Serialize for Skipped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record().serialize(serializer)
    }
}
