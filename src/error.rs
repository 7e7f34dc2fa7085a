//! The one public error type.

use std::{borrow::Cow, error::Error as StdError, fmt};

use serde::{Serialize, Serializer};

/// What went wrong, what to do about it, and details that depend on the kind.
///
/// No error carries a value or a key: not in its message, not in its `Debug` form, not in its source.
///
/// ```
/// use keyward::{ErrorKind, ToolPattern};
///
/// let error = ToolPattern::new("").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Validation);
/// assert_eq!(error.http_status(), 422);
/// assert_eq!(error.field_errors()[0].error_type(), "string_too_short");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    detail: Detail,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

enum Detail {
    None,
    Fields(Vec<FieldError>),
    Quota(QuotaExceeded),
    /// It is not known whether the store kept the write.
    Uncertain,
}

/// The kinds of [`Error`], one for each way in which a caller may want to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// One or more fields are invalid; see [`Error::field_errors`].
    Validation,
    /// The user has no such secret.
    NotFound,
    /// Another secret of this user has the name, or the name is the id of one.
    NameTaken,
    /// Another secret of this user is the default for the same tool pattern and location.
    DefaultTaken,
    /// The current revision is not the one that the update demanded; or an import has a secret that is here already.
    Conflict,
    /// A limit would be exceeded; see [`Error::quota`].
    QuotaExceeded,
    /// A reference was not granted, or the policy refuses a supplied value.
    Denied,
    /// The vault is locked.
    Locked,
    /// The key does not open the vault, or its [provider](crate::KeyProvider) failed: then what the provider says is
    /// the source.
    WrongKey,
    /// The stored data is damaged or was changed outside keyward.
    Corrupt,
    /// The stored data is older than it should be, or belongs to a different vault than the demanded
    /// [anchor](crate::VaultBuilder::anchor).
    RolledBack,
    /// The vault was written by a version of keyward that this one cannot read.
    UnsupportedVersion,
    /// The vault file or the audit log is already open, in this process or another. See
    /// [`VaultBuilder::wait`](crate::VaultBuilder::wait).
    InUse,
    /// The store failed. Nothing changed, unless [`Error::may_have_written`] says that this is unknown. If a file is
    /// missing, or something exists where a file was to be made, the source is a [`std::io::Error`] of the kind
    /// `NotFound` or `AlreadyExists`.
    Storage,
    /// This vault cannot do what was asked, whatever the arguments: for example, a vault made without a key cannot
    /// be locked.
    Unsupported,
}

impl ErrorKind {
    /// Returns the kind's name in snake case, for programs: a label of a metric, or a field of a log. The names do not
    /// change.
    ///
    /// ```
    /// use keyward::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::QuotaExceeded.as_str(), "quota_exceeded");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Validation => "validation",
            ErrorKind::NotFound => "not_found",
            ErrorKind::NameTaken => "name_taken",
            ErrorKind::DefaultTaken => "default_taken",
            ErrorKind::Conflict => "conflict",
            ErrorKind::QuotaExceeded => "quota_exceeded",
            ErrorKind::Denied => "denied",
            ErrorKind::Locked => "locked",
            ErrorKind::WrongKey => "wrong_key",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::RolledBack => "rolled_back",
            ErrorKind::UnsupportedVersion => "unsupported_version",
            ErrorKind::InUse => "in_use",
            ErrorKind::Storage => "storage",
            ErrorKind::Unsupported => "unsupported",
        }
    }

    /// Returns the corresponding HTTP status.
    pub fn http_status(self) -> u16 {
        match self {
            ErrorKind::Validation => 422,
            ErrorKind::NotFound => 404,
            ErrorKind::NameTaken | ErrorKind::DefaultTaken | ErrorKind::Conflict => 409,
            ErrorKind::QuotaExceeded => 413,
            ErrorKind::Denied => 403,
            ErrorKind::Locked => 423,
            ErrorKind::Unsupported => 501,
            ErrorKind::WrongKey
            | ErrorKind::Corrupt
            | ErrorKind::RolledBack
            | ErrorKind::UnsupportedVersion
            | ErrorKind::InUse
            | ErrorKind::Storage => 500,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// Returns the kind, on which a caller can decide what to do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the HTTP status that corresponds to the [`kind`](Error::kind).
    pub fn http_status(&self) -> u16 {
        self.kind().http_status()
    }

    /// Returns every invalid field of the request, in the order of the request's fields; empty unless the kind is
    /// [`ErrorKind::Validation`].
    pub fn field_errors(&self) -> &[FieldError] {
        match &self.0.detail {
            Detail::Fields(fields) => fields,
            _ => &[],
        }
    }

    /// Returns the limit, the usage and the amount requested; `None` unless the kind is
    /// [`ErrorKind::QuotaExceeded`].
    pub fn quota(&self) -> Option<&QuotaExceeded> {
        match &self.0.detail {
            Detail::Quota(quota) => Some(quota),
            _ => None,
        }
    }

    /// Whether the write that failed may have been kept nevertheless: as a whole, or not at all. The vault has to be
    /// opened again to find out. A write that fails with any other error has changed nothing. (A rotation of the data
    /// key is many writes: it keeps those that it has done.)
    pub fn may_have_written(&self) -> bool {
        matches!(self.0.detail, Detail::Uncertain)
    }

    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            detail: Detail::None,
            source: None,
        }))
    }

    #[cold]
    pub(crate) fn validation(fields: Vec<FieldError>) -> Error {
        debug_assert!(!fields.is_empty(), "a validation error names a field");
        let mut error = Error::new(ErrorKind::Validation, "");
        error.0.detail = Detail::Fields(fields);
        error
    }

    #[cold]
    pub(crate) fn quota_exceeded(quota: QuotaExceeded) -> Error {
        let mut error = Error::new(ErrorKind::QuotaExceeded, "");
        error.0.detail = Detail::Quota(quota);
        error
    }

    /// The error of a store that does not know whether it kept a write.
    #[cold]
    pub(crate) fn uncertain(message: &'static str) -> Error {
        let mut error = Error::new(ErrorKind::Storage, message);
        error.0.detail = Detail::Uncertain;
        error
    }

    /// Sets the source, for [`std::error::Error::source`]. The source must not hold a value or a key.
    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Says which secret of an import the invalid fields are of: its id follows the leading `body` of every field's
    /// `loc`.
    #[cfg(feature = "file")]
    pub(crate) fn of_secret(mut self, id: impl fmt::Display) -> Error {
        if let Detail::Fields(fields) = &mut self.0.detail {
            let id = id.to_string();
            for field in fields {
                field.loc.insert(1, LocSegment::Name(id.clone().into()));
            }
        }
        self
    }

    /// Says which operation of a batch the error is of, counting from 0: `index` follows the leading `body` of every
    /// field's `loc`.
    pub(crate) fn at_index(mut self, index: usize) -> Error {
        match &mut self.0.detail {
            Detail::Fields(fields) => {
                for field in fields {
                    field.loc.insert(1, LocSegment::Index(index));
                }
            }
            Detail::None | Detail::Uncertain => {
                self.0.message = format!(
                    "operation {index} of the batch, counted from 0: {}",
                    self.0.message
                )
                .into();
            }
            Detail::Quota(_) => {}
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.detail {
            Detail::None | Detail::Uncertain => f.write_str(&self.0.message),
            Detail::Fields(fields) => {
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{field}")?;
                }
                Ok(())
            }
            Detail::Quota(quota) => write!(f, "{quota}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The first step of the place of whatever is in a request's body.
const BODY: &str = "body";

/// What Pydantic puts before the message of a check that is a program's own.
const VALUE_ERROR: &str = "Value error, ";

/// One invalid field of a request, in the form of the REST contract's `ValidationError`.
///
/// Serializes as `{"loc": […], "msg": …, "type": …}`. The message never repeats the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    loc: Vec<LocSegment>,
    msg: Cow<'static, str>,
    #[serde(rename = "type")]
    error_type: &'static str,
}

impl FieldError {
    pub(crate) fn new(
        path: impl IntoIterator<Item = LocSegment>,
        error_type: &'static str,
        msg: impl Into<Cow<'static, str>>,
    ) -> FieldError {
        let mut loc = vec![LocSegment::from(BODY)];
        loc.extend(path);
        FieldError {
            loc,
            msg: msg.into(),
            error_type,
        }
    }

    /// Creates the error of a part of a request outside its body: `path` or `query`.
    #[cfg(feature = "http")]
    pub(crate) fn outside_body(
        part: &'static str,
        name: &'static str,
        error_type: &'static str,
        msg: impl Into<Cow<'static, str>>,
    ) -> FieldError {
        FieldError {
            loc: vec![LocSegment::from(part), LocSegment::from(name)],
            msg: msg.into(),
            error_type,
        }
    }

    pub(crate) fn field(
        name: &'static str,
        error_type: &'static str,
        msg: impl Into<Cow<'static, str>>,
    ) -> FieldError {
        FieldError::new([LocSegment::from(name)], error_type, msg)
    }

    /// Creates an error of type `value_error`: the field has the right type and length but is still invalid.
    pub(crate) fn value_error(name: &'static str, msg: impl fmt::Display) -> FieldError {
        FieldError::value_error_at([LocSegment::from(name)], msg)
    }

    /// Creates an error of type `value_error` for what is at this path in the body, or for the whole of it.
    pub(crate) fn value_error_at(
        path: impl IntoIterator<Item = LocSegment>,
        msg: impl fmt::Display,
    ) -> FieldError {
        FieldError::new(path, "value_error", format!("{VALUE_ERROR}{msg}"))
    }

    /// Returns where in the request the field is: `body`, then the field's name, preceded in a batch by the index of
    /// the operation, and in an import by the id of the secret. For malformed JSON, it is the number of characters
    /// before the place where the text stops being JSON.
    pub fn loc(&self) -> &[LocSegment] {
        &self.loc
    }

    /// Returns what is wrong, for a person, in the contract's words.
    pub fn msg(&self) -> &str {
        &self.msg
    }

    /// Returns what is wrong, for a person, without the `Value error, ` that the contract puts before some messages.
    /// This is what `Display` writes after the place.
    ///
    /// ```
    /// use keyward::Location;
    ///
    /// let error = Location::new("/items/-").unwrap_err();
    /// let field = &error.field_errors()[0];
    /// assert_eq!(field.msg(), format!("Value error, {}", field.reason()));
    /// assert_eq!(field.to_string(), format!("tool_arg: {}", field.reason()));
    /// ```
    pub fn reason(&self) -> &str {
        self.msg.strip_prefix(VALUE_ERROR).unwrap_or(&self.msg)
    }

    /// Returns what is wrong, for a program: `missing`, `string_type`, `string_unicode` (an unpaired surrogate),
    /// `string_too_short`, `string_too_long`, `bool_type`, `value_error`, `json_invalid`, `model_attributes_type`
    /// (the body is not a JSON object) or `uuid_parsing`; over HTTP, for a query, also `int_parsing`,
    /// `greater_than_equal` or `less_than_equal`.
    pub fn error_type(&self) -> &str {
        self.error_type
    }
}

impl fmt::Display for FieldError {
    /// Writes where the field is and what is wrong, without what belongs to the contract's form alone: the leading
    /// `body`, and `Value error, `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason();
        let place = match &self.loc[..] {
            [LocSegment::Name(part), place @ ..] if part == BODY => place,
            all => all,
        };
        match place {
            [] => f.write_str(reason),
            [LocSegment::Index(at)] if self.error_type == "json_invalid" => {
                write!(f, "{reason} at character {at}")
            }
            [first, others @ ..] => {
                write!(f, "{first}")?;
                for segment in others {
                    write!(f, ".{segment}")?;
                }
                write!(f, ": {reason}")
            }
        }
    }
}

/// One step of [`FieldError::loc`]: the name of a field, or an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LocSegment {
    /// The name of a field.
    Name(Cow<'static, str>),
    /// An index from 0.
    Index(usize),
}

impl From<&'static str> for LocSegment {
    fn from(name: &'static str) -> LocSegment {
        LocSegment::Name(Cow::Borrowed(name))
    }
}

impl fmt::Display for LocSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocSegment::Name(name) => f.write_str(name),
            LocSegment::Index(index) => write!(f, "{index}"),
        }
    }
}

impl Serialize for LocSegment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LocSegment::Name(name) => serializer.serialize_str(name),
            LocSegment::Index(index) => serializer.serialize_u64(*index as u64),
        }
    }
}

/// The limit that a write would have exceeded. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuotaExceeded {
    /// Whose limit it is.
    pub scope: QuotaScope,
    /// What is limited.
    pub resource: QuotaResource,
    /// The limit.
    pub limit: u64,
    /// How much is used now.
    pub used: u64,
    /// How much the write would add.
    pub requested: u64,
}

/// Whose limit a [`QuotaExceeded`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuotaScope {
    /// One user's limit.
    User,
    /// The limit of the whole vault.
    Vault,
}

/// What the limit of a [`QuotaExceeded`] applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuotaResource {
    /// The number of secrets.
    Secrets,
    /// The UTF-8 bytes of value, name, tool pattern and argument of all secrets together.
    Bytes,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            QuotaScope::User => "the user",
            QuotaScope::Vault => "the vault",
        };
        let (unit, remedy) = match self.resource {
            QuotaResource::Secrets => ("secret", "delete a secret"),
            QuotaResource::Bytes => ("byte", "delete or shorten a secret"),
        };
        let plural = if self.limit == 1 { "" } else { "s" };
        write!(
            f,
            "{scope} may store {limit} {unit}{plural} and has {used}; this needs {requested} more: {remedy}, or have the quota raised",
            limit = self.limit,
            used = self.used,
            requested = self.requested,
        )
    }
}
