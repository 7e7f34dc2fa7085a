//! Secrets that fit one tool and one argument.
//!
//! (front page to be written)
#![forbid(unsafe_code)]

mod bounds;
mod bytes;
mod call;
mod conceal;
mod crypto;
mod error;
mod explain;
mod format;
mod inject;
mod inline;
mod location;
mod metadata;
mod pattern;
mod quota;
mod redact;
mod request;
mod resolver;
mod schema;
mod sealed;
mod secret;
mod snapshot;
mod storage;
mod vault;

pub use crate::{
    bounds::Bounds,
    call::{InjectionPolicy, Origin, ToolCall},
    conceal::{Concealment, LeftLocation, LeftReason},
    crypto::{KdfParams, KeyProvider, KeySource},
    error::{Error, ErrorKind, FieldError, LocSegment, QuotaExceeded, QuotaResource, QuotaScope},
    explain::{Candidate, ExplainedLocation, ExplainedReference, Explanation, Outcome, Rank},
    inject::{Filled, Injection, Reason, SkipReason, Skipped, Verdict},
    location::Location,
    pattern::ToolPattern,
    quota::{Quota, Usage},
    redact::{RedactStream, RedactTextStream, Redactor},
    request::{NewSecret, SecretPatch},
    resolver::{Match, Resolved, Resolver, ResolverBuilder},
    secret::{SecretId, SecretInfo, SecretRef, SecretValue, UserId},
    vault::{Batch, UserVault, Vault, VaultBuilder},
};
