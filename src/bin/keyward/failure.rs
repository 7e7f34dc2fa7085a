//! What went wrong, for people, for programs, and as an exit code.

use std::{fmt, io, path::Path};

use keyward::{Error, ErrorKind, LocSegment};
use serde_json::{Value, json};

/// Why a command was not done. Holds no value and no key.
pub(crate) struct Failure {
    code: u8,
    kind: &'static str,
    message: String,
    fields: Value,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(2, "usage", message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(5, "validation", message)
    }

    pub(crate) fn taken(message: impl Into<String>) -> Failure {
        Failure::new(4, "taken", message)
    }

    pub(crate) fn denied(message: impl Into<String>) -> Failure {
        Failure::new(10, "denied", message)
    }

    pub(crate) fn command_not_run(message: impl Into<String>) -> Failure {
        Failure::new(126, "command_not_run", message)
    }

    pub(crate) fn command_not_found(message: impl Into<String>) -> Failure {
        Failure::new(127, "command_not_found", message)
    }

    pub(crate) fn no_vault(message: impl Into<String>) -> Failure {
        Failure::new(1, "no_vault", message)
    }

    pub(crate) fn no_key(message: impl Into<String>) -> Failure {
        Failure::new(7, "no_key", message)
    }

    /// An MCP server did not do what one should.
    pub(crate) fn server(message: impl Into<String>) -> Failure {
        Failure::new(1, "server", message)
    }

    /// A log is not as it was written; `line` is the first such line.
    pub(crate) fn audit_log_changed(message: impl Into<String>, line: u64) -> Failure {
        let mut failure = Failure::new(9, "audit_log_changed", message);
        failure.fields = json!({"line": line});
        failure
    }

    /// A file cannot be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Failure {
        Failure::new(1, "io", format!("{}: {error}", path.display()))
    }

    /// A part of what a command printed is lost.
    pub(crate) fn output(error: &io::Error) -> Failure {
        let message = format!("what the command prints cannot be passed on: {error}");
        Failure::new(1, "io", message)
    }

    /// Says which file the failure is about.
    pub(crate) fn of_file(mut self, path: &Path) -> Failure {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    /// Says that the command was done, and only its answer could not be written: it is not to be repeated.
    pub(crate) fn after_success(mut self) -> Failure {
        self.kind = "answer_not_written";
        self.message = format!(
            "this was done, but the answer cannot be written: {}",
            self.message
        );
        self
    }

    fn new(code: u8, kind: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            code,
            kind,
            message: message.into(),
            fields: Value::Null,
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
                format!("{name}: {}", field.msg())
            })
            .collect();
        let mut failure = Failure::from(error);
        if !lines.is_empty() {
            failure.message = format!("nothing was added: {}", lines.join("; "));
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
    pub(crate) fn may_have_changed_the_vault(&self) -> bool {
        self.kind == "storage"
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
        let (code, kind) = match error.kind() {
            ErrorKind::NotFound => (3, "not_found"),
            ErrorKind::NameTaken => (4, "name_taken"),
            ErrorKind::DefaultTaken => (4, "default_taken"),
            ErrorKind::Conflict => (4, "conflict"),
            ErrorKind::Validation => (5, "validation"),
            ErrorKind::QuotaExceeded => (6, "quota_exceeded"),
            ErrorKind::WrongKey => (7, "wrong_key"),
            ErrorKind::Locked => (7, "locked"),
            ErrorKind::InUse => (8, "in_use"),
            ErrorKind::Corrupt => (9, "corrupt"),
            ErrorKind::RolledBack => (9, "rolled_back"),
            ErrorKind::UnsupportedVersion => (9, "unsupported_version"),
            ErrorKind::Denied => (10, "denied"),
            ErrorKind::Unsupported => (1, "unsupported"),
            // Somebody was faster.
            ErrorKind::Storage if is_about_a_vacant_path(&error) => (4, "taken"),
            _ => (1, "storage"),
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let mut failure = Failure::new(code, kind, in_own_words(&message));
        if !error.field_errors().is_empty() {
            failure.fields = json!(error.field_errors());
        } else if let Some(quota) = error.quota() {
            failure.fields = json!(quota);
        }
        failure
    }
}

/// Says what to do in the command line's words, where the library says it in those of its API. The details for programs
/// stay as they are.
fn in_own_words(message: &str) -> String {
    const WORDS: [(&str, &str); 3] = [
        (
            "set is_default_for_tool to false in the same update",
            "also give --no-default",
        ),
        (
            "set its is_default_for_tool to false first",
            "update that one with --no-default first",
        ),
        (
            "or set is_default_for_tool to false",
            "or leave out --default",
        ),
    ];
    WORDS
        .iter()
        .fold(message.to_owned(), |message, (api, own)| {
            message.replace(api, own)
        })
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
        Failure::new(1, "io", error.to_string())
    }
}
