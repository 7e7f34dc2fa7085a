//! What went wrong, for people, for programs, and as an exit code.

use std::{fmt, io, path::Path};

use keyward::{Error, ErrorKind, FieldError, LocSegment};
use serde::Serialize;
use serde_json::{Value, json};

/// Why a command was not done. Holds no value and no key.
pub(crate) struct Failure {
    code: u8,
    kind: Kind,
    message: String,
    fields: Value,
    /// Whether a write may have been kept in spite of it.
    may_have_written: bool,
}

/// What kind of failure it is. Programs read its name, in snake case.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    AnswerNotWritten,
    AuditLogChanged,
    CommandNotFound,
    CommandNotRun,
    Conflict,
    Corrupt,
    DefaultTaken,
    Denied,
    InUse,
    Io,
    Locked,
    NameTaken,
    NoKey,
    NoVault,
    NotFound,
    QuotaExceeded,
    RolledBack,
    Server,
    Storage,
    Taken,
    Unsupported,
    UnsupportedVersion,
    Usage,
    Validation,
    WrongKey,
}

impl Kind {
    fn of(error: &Error) -> Kind {
        match error.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::NameTaken => Kind::NameTaken,
            ErrorKind::DefaultTaken => Kind::DefaultTaken,
            ErrorKind::Conflict => Kind::Conflict,
            ErrorKind::Validation => Kind::Validation,
            ErrorKind::QuotaExceeded => Kind::QuotaExceeded,
            ErrorKind::WrongKey => Kind::WrongKey,
            ErrorKind::Locked => Kind::Locked,
            ErrorKind::InUse => Kind::InUse,
            ErrorKind::Corrupt => Kind::Corrupt,
            ErrorKind::RolledBack => Kind::RolledBack,
            ErrorKind::UnsupportedVersion => Kind::UnsupportedVersion,
            ErrorKind::Denied => Kind::Denied,
            ErrorKind::Unsupported => Kind::Unsupported,
            // Somebody was faster.
            ErrorKind::Storage if is_about_a_vacant_path(error) => Kind::Taken,
            _ => Kind::Storage,
        }
    }

    /// The exit code. The help of the command line says what each one means.
    fn code(self) -> u8 {
        match self {
            Kind::AnswerNotWritten
            | Kind::Io
            | Kind::NoVault
            | Kind::Server
            | Kind::Storage
            | Kind::Unsupported => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Conflict | Kind::DefaultTaken | Kind::NameTaken | Kind::Taken => 4,
            Kind::Validation => 5,
            Kind::QuotaExceeded => 6,
            Kind::Locked | Kind::NoKey | Kind::WrongKey => 7,
            Kind::InUse => 8,
            Kind::AuditLogChanged | Kind::Corrupt | Kind::RolledBack | Kind::UnsupportedVersion => {
                9
            }
            Kind::Denied => 10,
            Kind::CommandNotRun => 126,
            Kind::CommandNotFound => 127,
        }
    }
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Validation, message)
    }

    pub(crate) fn taken(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Taken, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(Kind::NotFound, message)
    }

    pub(crate) fn denied(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Denied, message)
    }

    pub(crate) fn command_not_run(message: impl Into<String>) -> Failure {
        Failure::new(Kind::CommandNotRun, message)
    }

    pub(crate) fn command_not_found(message: impl Into<String>) -> Failure {
        Failure::new(Kind::CommandNotFound, message)
    }

    pub(crate) fn no_vault(message: impl Into<String>) -> Failure {
        Failure::new(Kind::NoVault, message)
    }

    pub(crate) fn no_key(message: impl Into<String>) -> Failure {
        Failure::new(Kind::NoKey, message)
    }

    /// An MCP server did not do what one should.
    pub(crate) fn server(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Server, message)
    }

    /// A log is not as it was written; `line` is the first such line.
    pub(crate) fn audit_log_changed(message: impl Into<String>, line: u64) -> Failure {
        let mut failure = Failure::new(Kind::AuditLogChanged, message);
        failure.fields = json!({"line": line});
        failure
    }

    /// A file cannot be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Failure {
        Failure::new(Kind::Io, format!("{}: {error}", path.display()))
    }

    /// A part of what a command printed is lost.
    pub(crate) fn output(error: &io::Error) -> Failure {
        let message = format!("what the command prints cannot be passed on: {error}");
        Failure::new(Kind::Io, message)
    }

    /// Says which file the failure is about.
    pub(crate) fn of_file(mut self, path: &Path) -> Failure {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    /// Says that the command was done, and only its answer could not be written: it is not to be repeated.
    pub(crate) fn after_success(mut self) -> Failure {
        self.kind = Kind::AnswerNotWritten;
        self.message = format!(
            "this was done, but the answer cannot be written: {}",
            self.message
        );
        self
    }

    fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure {
            code: kind.code(),
            kind,
            message: message.into(),
            fields: Value::Null,
            may_have_written: false,
        }
    }

    /// Creates the failure of a batch whose operations have these names.
    pub(crate) fn of_batch(error: Error, names: &[String]) -> Failure {
        let lines: Vec<String> = error
            .field_errors()
            .iter()
            .map(|field| {
                let index = field.loc().iter().find_map(|segment| match segment {
                    LocSegment::Index(index) => names.get(*index),
                    _ => None,
                });
                let name = index.map_or("", String::as_str);
                format!("{name}: {}", field.reason())
            })
            .collect();
        let mut failure = Failure::from(error);
        if !lines.is_empty() {
            failure.message = format!("nothing was added: {}", lines.join("; "));
        }
        failure
    }

    /// Creates the failure for an error of the library, with advice in words of the command line. The details for
    /// programs stay as they are. `cleared` are the fields that the command takes away from a secret.
    pub(crate) fn of(error: &Error, cleared: &[&str]) -> Failure {
        let fields = error.field_errors();
        let mut message = if error.kind() == ErrorKind::DefaultTaken {
            let advice = "update that one with --no-default first";
            with_advice(&error.to_string(), advice)
        } else if error.kind() == ErrorKind::InUse {
            with_advice(
                &error.to_string(),
                "close it there, or wait longer with --wait",
            )
        } else if fields.is_empty() {
            error.to_string()
        } else {
            let texts = fields.iter().map(|field| invalid_field(field, cleared));
            texts.collect::<Vec<_>>().join("; ")
        };
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let mut failure = Failure::new(Kind::of(error), message);
        failure.may_have_written = error.may_have_written();
        if !fields.is_empty() {
            failure.fields = json!(fields);
        } else if let Some(quota) = error.quota() {
            failure.fields = json!(quota);
        }
        failure
    }

    /// For a command that ends with another program's exit code: makes this failure's code distinguishable from
    /// that.
    pub(crate) fn with_own_code(mut self) -> Failure {
        if !matches!(self.code, 126 | 127) {
            self.code = 125;
        }
        self
    }

    /// Whether a write may have been kept in spite of it: a store that fails does not always know.
    pub(crate) fn may_have_written(&self) -> bool {
        self.may_have_written
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// `{"error": {"kind": …, "message": …}}`, with the contract's `detail` if fields are invalid, or other details.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({"kind": self.kind, "message": self.message});
        if !self.fields.is_null() {
            error["detail"] = self.fields.clone();
        }
        json!({"error": error})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::of(&error, &[])
    }
}

/// An invalid field as the library says it, but with advice in words of the command line.
fn invalid_field(field: &FieldError, cleared: &[&str]) -> String {
    let text = field.to_string();
    match advice(field, cleared) {
        Some(advice) => {
            let place = text.strip_suffix(field.reason()).unwrap_or_default();
            format!("{place}{}", with_advice(field.reason(), advice))
        }
        None => text,
    }
}

/// What to do about an invalid field where the library says it in words of its API. An update that takes these fields
/// away can do that to a secret that is a default; they cannot be wrong in another way then.
fn advice(field: &FieldError, cleared: &[&str]) -> Option<&'static str> {
    match field.loc() {
        [_, LocSegment::Name(name)] if field.error_type() == "value_error" => match &**name {
            "is_default_for_tool" => Some("give --tool and --arg, or leave out --default"),
            name if cleared.contains(&name) => Some("also give --no-default"),
            _ => None,
        },
        _ => None,
    }
}

/// Says what to do in words of the command line. The library says it after a colon, at the end.
fn with_advice(message: &str, advice: &str) -> String {
    let problem = message.rsplit_once(": ");
    let problem = problem.map_or(message, |(problem, _)| problem);
    format!("{problem}: {advice}")
}

/// Whether a file was to be made where something is already.
fn is_about_a_vacant_path(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(Kind::Io, error.to_string())
    }
}
