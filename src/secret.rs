//! A secret: its ids, what can be read of it, its value, and the mask.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Error, FieldError};

/// The owner of secrets: a tenant's UUID. It is parsed from text, or made from a `Uuid` of the crate `uuid`, version 1.
/// Where users have ids of another form, derive it from those: `Uuid::new_v5` makes the same one of the same text.
///
/// ```
/// use keyward::UserId;
///
/// let alice: UserId = "6f2c1b6e-6a0e-4d0a-9f3e-2b8a4a9f5f10".parse()?;
/// assert_ne!(alice, UserId::LOCAL);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(#[serde(with = "uuid_text")] Uuid);

impl UserId {
    /// The user of a program that has only one user: the nil UUID.
    pub const LOCAL: UserId = UserId(Uuid::nil());

    /// Creates a user id from a UUID.
    pub const fn new(id: Uuid) -> UserId {
        UserId(id)
    }

    /// Returns the UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

/// The id of a secret, made by keyward: a UUID of version 7 (RFC 9562).
///
/// The ids of one vault grow strictly, so of two secrets the older has the smaller id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretId(#[serde(with = "uuid_text")] Uuid);

impl SecretId {
    /// Creates an id from a UUID.
    ///
    /// This is for ids that come from elsewhere, such as a URL: keyward makes the ids of new secrets itself.
    pub const fn new(id: Uuid) -> SecretId {
        SecretId(id)
    }

    /// Returns the UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// Parses an id in the hyphenated form, in either case; `None` for any other text.
    pub(crate) fn from_hyphenated(text: &str) -> Option<SecretId> {
        const HYPHENATED: usize = 36;
        if text.len() != HYPHENATED {
            return None;
        }
        Uuid::try_parse(text).ok().map(SecretId)
    }
}

macro_rules! id_conversions {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.0.as_hyphenated(), f)
            }
        }

        impl From<Uuid> for $id {
            fn from(id: Uuid) -> $id {
                $id(id)
            }
        }

        impl From<$id> for Uuid {
            fn from(id: $id) -> Uuid {
                id.0
            }
        }

        impl FromStr for $id {
            type Err = Error;

            /// # Errors
            ///
            /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) if `text` is not a UUID.
            fn from_str(text: &str) -> Result<$id, Error> {
                Uuid::try_parse(text).map($id).map_err(|_| {
                    let msg = "Input should be a valid UUID";
                    Error::validation(vec![FieldError::new([], "uuid_parsing", msg)])
                })
            }
        }
    };
}

id_conversions!(UserId);
id_conversions!(SecretId);

/// UUIDs as hyphenated text in every format, so that an id reads the same wherever it is stored.
mod uuid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Uuid, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Uuid::try_parse(&text).map_err(|_| D::Error::custom("a UUID is not well-formed"))
    }
}

/// A reference to a user's secret, by id or by text.
///
/// A text means what NAME means in the reference `secret://NAME`: if it is the id of one of the user's secrets, in
/// hyphenated form, that secret; otherwise the secret with that name.
///
/// ```
/// use keyward::SecretRef;
///
/// let by_name = SecretRef::from("github-token");
/// assert!(matches!(by_name, SecretRef::Text(_)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretRef {
    /// The secret with this id.
    Id(SecretId),
    /// The secret that has this text as its id or name.
    Text(String),
}

impl From<SecretId> for SecretRef {
    fn from(id: SecretId) -> SecretRef {
        SecretRef::Id(id)
    }
}

impl From<&SecretInfo> for SecretRef {
    fn from(info: &SecretInfo) -> SecretRef {
        SecretRef::Id(info.secret_id)
    }
}

impl From<String> for SecretRef {
    fn from(text: String) -> SecretRef {
        SecretRef::Text(text)
    }
}

impl From<&str> for SecretRef {
    fn from(text: &str) -> SecretRef {
        SecretRef::Text(text.to_owned())
    }
}

impl From<&String> for SecretRef {
    fn from(text: &String) -> SecretRef {
        SecretRef::Text(text.clone())
    }
}

/// Everything that can be read of a secret. Its value is not part of it.
///
/// The JSON form is that of the REST contract's `SecretInfo`.
///
/// ```
/// use keyward::{NewSecret, UserId, Vault};
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// let info = user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key"))?;
/// assert_eq!(info.display.as_deref(), Some("li********vN"));
/// assert_eq!(serde_json::to_value(&info).unwrap()["tool_name"], "agno__linear__*");
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SecretInfo {
    /// The id, made by keyward.
    pub secret_id: SecretId,
    /// The owner.
    pub user_id: UserId,
    /// The name, 1 to 1,024 characters, unique among the owner's secrets.
    pub secret_name: String,
    /// A mask of the value, made when it was written; `None` where a policy turns it off.
    pub display: Option<String>,
    /// The tool pattern of the binding, as it was given.
    pub tool_name: Option<String>,
    /// The location of the binding, as it was given.
    pub tool_arg: Option<String>,
    /// Whether the secret is put in automatically when a call has no value at its location.
    pub is_default_for_tool: bool,
    /// The text that is put around the value where it is injected, with `{}` for the value. Not part of the REST
    /// contract, and absent from the JSON unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// When the secret was created, to the microsecond.
    pub created_at: DateTime<Utc>,
    /// When the secret was last written, to the microsecond. Never goes backwards.
    pub updated_at: DateTime<Utc>,
    /// How many times the secret was written, counting from 1. Not part of the JSON: it is 0 in what was read from
    /// JSON, which therefore does not equal what it was written from, and no secret has the revision that
    /// [`if_revision`](crate::SecretPatch::if_revision) demands with it.
    #[serde(skip)]
    pub revision: u64,
}

impl SecretInfo {
    /// Returns the reference that asks for the secret, for a model that is told which secrets it may ask for;
    /// redaction puts the same in place of its value. It is `secret://NAME` if the name has only letters and digits
    /// of ASCII, `.`, `_` and `-`, and is no UUID; otherwise it has the id in place of the name.
    ///
    /// ```
    /// use keyward::{NewSecret, UserId, Vault};
    ///
    /// let user = Vault::in_memory()?.user(UserId::LOCAL);
    /// let named = user.create(NewSecret::new("github-token", "ghp_hV5cX2mQ9rT4"))?;
    /// assert_eq!(named.reference(), "secret://github-token");
    /// let other = user.create(NewSecret::new("the bank", "s3cr3t-4QvT9sLm"))?;
    /// assert_eq!(other.reference(), format!("secret://{}", other.secret_id));
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn reference(&self) -> String {
        reference(&self.secret_name, self.secret_id)
    }
}

/// The reference that stands for a secret in what a model sees: by name where it reads back as the name, otherwise
/// by id.
pub(crate) fn reference(name: &str, id: SecretId) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && name.chars().all(plain) && Uuid::try_parse(name).is_err() {
        ["secret://", name].concat()
    } else {
        format!("secret://{id}")
    }
}

/// A value that must not be seen: redacted in `Debug`, without `Display` or `Serialize`, wiped when dropped.
///
/// ```
/// use keyward::SecretValue;
///
/// let value = SecretValue::new("lin_api_Zq8wT3vN");
/// assert_eq!(format!("{value:?}"), "SecretValue([redacted])");
/// assert_eq!(value.expose_secret(), "lin_api_Zq8wT3vN");
/// ```
///
/// # Security
///
/// A `&str` is copied: the copy is wiped, but the original remains with the caller. A `String` is taken over as it
/// is and wiped when dropped, but copies that it left in memory when it grew earlier are out of reach.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes over the value.
    pub fn new(value: impl Into<String>) -> SecretValue {
        SecretValue(Zeroizing::new(value.into()))
    }

    /// Returns the value itself. This is the only access to it, so that uses can be found by name.
    pub fn expose_secret(&self) -> &str {
        &self.0
    }

    /// Returns the value as a plain string, which is no longer wiped.
    pub(crate) fn into_string(mut self) -> String {
        std::mem::take(&mut *self.0)
    }
}

impl From<Zeroizing<String>> for SecretValue {
    fn from(value: Zeroizing<String>) -> SecretValue {
        SecretValue(value)
    }
}

impl From<String> for SecretValue {
    fn from(value: String) -> SecretValue {
        SecretValue::new(value)
    }
}

impl From<&str> for SecretValue {
    fn from(value: &str) -> SecretValue {
        SecretValue::new(value)
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([redacted])")
    }
}

/// Masks a value so that a person can tell it from others: eight `*` if it has fewer than 12 characters; otherwise
/// its first and last `min(4, length / 8)` characters around eight `*`.
pub(crate) fn mask(value: &str) -> String {
    const STARS: &str = "********";
    let length = value.chars().count();
    if length < 12 {
        return STARS.to_owned();
    }
    let shown = (length / 8).min(4);
    let head = value.chars().take(shown);
    let tail = value.chars().skip(length - shown);
    head.chain(STARS.chars()).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_name_only_where_it_reads_back_as_the_name() {
        let id = SecretId::new(Uuid::from_u128(0x0192_7000_0000_7000_8000_0000_0000_00ab));
        for name in ["linear", "Git.Hub_2-x", "-", "0192700000007000800000000000"] {
            assert_eq!(reference(name, id), format!("secret://{name}"));
        }
        let uuids = [
            id.to_string(),
            id.to_string().to_uppercase(),
            id.as_uuid().simple().to_string(),
            id.as_uuid().braced().to_string(),
            id.as_uuid().urn().to_string(),
        ];
        let others = ["", "my key", "a/b", "naïve", "a\nb", "a\"b", "secret://x"];
        for name in uuids.iter().map(String::as_str).chain(others) {
            assert_eq!(reference(name, id), format!("secret://{id}"), "{name:?}");
        }
    }

    #[test]
    fn the_mask_shows_no_more_than_it_may() {
        let cases = [
            ("abcd", "********"),
            ("abcdefghijk", "********"),
            ("abcdefghijkl", "a********l"),
            ("abcdefghijklmno", "a********o"),
            ("abcdefghijklmnop", "ab********op"),
            ("abcdefghijklmnopqrstuvwxyz012345", "abcd********2345"),
            (
                "0123456789012345678901234567890123456789012345678901234567890123",
                "0123********0123",
            ),
            ("ééééééééééé", "********"),
            ("éabcdefghijü", "é********ü"),
        ];
        for (value, expected) in cases {
            assert_eq!(mask(value), expected, "of {value}");
        }
    }

    #[test]
    fn only_the_hyphenated_form_is_an_id_in_text() {
        let id = SecretId::new(Uuid::from_u128(0x0192_7000_0000_7000_8000_0000_0000_00ab));
        assert_eq!(SecretId::from_hyphenated(&id.to_string()), Some(id));
        assert_eq!(
            SecretId::from_hyphenated(&id.to_string().to_uppercase()),
            Some(id)
        );
        for text in [
            id.as_uuid().simple().to_string(),
            id.as_uuid().braced().to_string(),
            id.as_uuid().urn().to_string(),
            "github-token".to_owned(),
            "éééééééééééééééééé".to_owned(),
        ] {
            assert_eq!(SecretId::from_hyphenated(&text), None, "{text}");
        }
    }
}
