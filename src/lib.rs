//! Secrets that fit one tool and one argument.
//!
//! (front page to be written)
#![forbid(unsafe_code)]

mod bounds;
mod conceal;
mod error;
mod location;
mod schema;
mod secret;

pub use crate::{
    conceal::{Concealment, LeftLocation, LeftReason},
    error::{Error, ErrorKind, FieldError, LocSegment, QuotaExceeded, QuotaResource, QuotaScope},
    location::Location,
    secret::{SecretId, SecretInfo, SecretValue, UserId},
};
