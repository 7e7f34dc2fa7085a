//! Secrets that fit one tool and one argument.
//!
//! (front page to be written)
#![forbid(unsafe_code)]

mod bounds;
mod error;
mod location;
mod pattern;
mod resolver;
mod secret;

pub use crate::{
    error::{Error, ErrorKind, FieldError, LocSegment, QuotaExceeded, QuotaResource, QuotaScope},
    location::Location,
    pattern::ToolPattern,
    resolver::{Match, Resolved, Resolver, ResolverBuilder},
    secret::{SecretId, SecretInfo, SecretValue, UserId},
};
