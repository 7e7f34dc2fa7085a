//! Secrets that fit one tool and one argument.
//!
//! (front page to be written)
#![forbid(unsafe_code)]

mod bounds;
mod error;
mod location;
mod redact;
mod secret;

pub use crate::{
    error::{Error, ErrorKind, FieldError, LocSegment, QuotaExceeded, QuotaResource, QuotaScope},
    location::Location,
    redact::{RedactStream, RedactTextStream, Redactor},
    secret::{SecretId, SecretInfo, SecretValue, UserId},
};
