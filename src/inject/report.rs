//! What is recorded of a call: what was put in where, and what was not. No values.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

use super::plan::SkipReason;
use crate::{
    entry::{About, Entry},
    location::Location,
    pattern::ToolPattern,
    secret::{SecretId, SecretInfo},
};

/// One place that was filled.
///
/// Serializes as an object with `location`, `secret_id`, `secret_name`, `revision`, `pattern`, `reason` and
/// `replaced`, and is compared by these. It keeps in memory what was known of the secret, the mask included, also
/// after the secret was changed or deleted; of the value it keeps nothing else, not even sealed.
///
/// ```
/// use keyward::{inject::Reason, NewSecret, ToolCall, UserId, Vault};
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
        self.place.about.pattern()
    }

    /// Returns why the place was filled.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns whether a value that the model supplied was replaced, as the [policy](crate::InjectionPolicy) says.
    pub fn replaced(&self) -> bool {
        self.replaced
    }

    fn shown(&self) -> shown::Filled<'_> {
        let secret = self.secret();
        shown::Filled {
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
/// Serializes as an object with `location`, `secret_id`, `secret_name` and `reason`, and is compared by these. It keeps
/// the same in memory as [`Filled`].
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

    fn shown(&self) -> shown::Skipped<'_> {
        let secret = self.secret();
        shown::Skipped {
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

/// A secret and a place for it. It shares what is known of the secret and copies none of it: to count one more owner
/// is cheaper than names to copy, and than several such counts.
#[derive(Clone)]
pub(super) struct Place {
    about: Arc<About>,
    /// `None` stands for the location that the secret is bound to.
    elsewhere: Option<Location>,
}

impl Place {
    pub(super) fn new(entry: &Entry, location: &Location) -> Place {
        let is_bound = entry.location() == Some(location);
        Place {
            about: Arc::clone(entry.about()),
            elsewhere: (!is_bound).then(|| location.clone()),
        }
    }

    pub(super) fn location(&self) -> &Location {
        let location = self.elsewhere.as_ref().or(self.about.location());
        location.expect("a place that is not the secret's own is somewhere else")
    }

    fn secret(&self) -> &SecretInfo {
        self.about.info()
    }
}

/// What is shown of the records, and compared.
mod shown {
    use serde::Serialize;

    use super::{Location, Reason, SecretId, SkipReason, ToolPattern};

    #[derive(Debug, PartialEq, Serialize)]
    pub(super) struct Filled<'f> {
        pub(super) location: &'f Location,
        pub(super) secret_id: SecretId,
        pub(super) secret_name: &'f str,
        pub(super) revision: u64,
        pub(super) pattern: Option<&'f ToolPattern>,
        pub(super) reason: Reason,
        pub(super) replaced: bool,
    }

    #[derive(Debug, PartialEq, Serialize)]
    pub(super) struct Skipped<'s> {
        pub(super) location: &'s Location,
        pub(super) secret_id: SecretId,
        pub(super) secret_name: &'s str,
        pub(super) reason: SkipReason,
    }
}

impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}

impl fmt::Debug for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}

impl PartialEq for Filled {
    fn eq(&self, other: &Filled) -> bool {
        self.shown() == other.shown()
    }
}

impl Eq for Filled {}

impl PartialEq for Skipped {
    fn eq(&self, other: &Skipped) -> bool {
        self.shown() == other.shown()
    }
}

impl Eq for Skipped {}

impl Serialize for Filled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

impl Serialize for Skipped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use crate::{NewSecret, ToolCall, UserId, Vault};

    /// The mask shows some of the value's characters, so no log may get it with a record.
    #[test]
    fn a_record_shows_what_was_done_and_no_mask() {
        let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
        let secret =
            |argument: &str| NewSecret::new(argument, "lin_api_Zq8wT3vN").bind("t*", argument);
        let put_in = user.create(secret("a").default_for_tool()).unwrap();
        let left_out = user.create(secret("b").default_for_tool()).unwrap();
        let mut args = Map::from_iter([("b".to_owned(), json!("theirs"))]);
        let injection = user.inject(&ToolCall::new("tool"), &mut args).unwrap();
        let (filled, skipped) = (injection.filled(), injection.skipped());
        let shown = json!([filled, skipped]);
        let expected = json!([
            [{
                "location": "/a", "secret_id": put_in.secret_id, "secret_name": "a", "revision": 1,
                "pattern": "t*", "reason": "default", "replaced": false,
            }],
            [{
                "location": "/b", "secret_id": left_out.secret_id, "secret_name": "b",
                "reason": "supplied",
            }],
        ]);
        assert_eq!(shown, expected);
        let text = format!("{filled:?} {skipped:?} {injection:?} {shown}");
        assert!(text.contains("Filled {") && text.contains("Skipped {"));
        assert!(!text.contains("vN"), "{text}");
        assert_eq!(filled, filled.to_vec());
    }
}
