//! Secrets that fit one tool and one argument.
//!
//! An agent calls tools, and tools want keys. Keyward is a library that an agent runtime links into its own
//! process: an encrypted vault whose secrets are bound to a tool and an argument, and a resolver that puts the
//! right secret into a tool call at the last moment, so that the model, the transcript and the logs need not hold it.
//! What a tool repeats of it is taken out of the output again.
//! In a lock, the *wards* are the shapes that keep every other key out.
//!
//! ```
//! use keyward::{NewSecret, ToolCall, UserId, Vault};
//! use serde_json::json;
//!
//! let user = Vault::in_memory()?.user(UserId::LOCAL);
//! user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
//!
//! // Before the model is asked: it sees no argument that it cannot know.
//! let schema = json!({
//!     "type": "object",
//!     "properties": {"title": {"type": "string"}, "api_key": {"type": "string"}},
//!     "required": ["title", "api_key"],
//! });
//! let mut shown = schema.clone();
//! user.conceal("agno__linear__create_issue", &mut shown)?;
//! assert_eq!(shown["required"], json!(["title"]));
//! assert!(shown["properties"].get("api_key").is_none());
//!
//! // When the model calls the tool: the key goes in.
//! let mut args = json!({"title": "Login fails"}).as_object().unwrap().clone();
//! let call = ToolCall::new("agno__linear__create_issue").with_schema(&schema);
//! let injection = user.inject(&call, &mut args)?;
//! assert_eq!(args["api_key"], "lin_api_Zq8wT3vN");
//!
//! // When the tool has answered: the key does not come back, and the arguments can be logged.
//! let output = injection.redactor().redact("401: no such key: lin_api_Zq8wT3vN").into_owned();
//! injection.wipe(&mut args);
//! assert_eq!(output, "401: no such key: secret://linear");
//! assert_eq!(json!(args), json!({"title": "Login fails"}));
//! # Ok::<(), keyward::Error>(())
//! ```
//!
//! # Words
//!
//! | word | meaning | type |
//! |---|---|---|
//! | user | the tenant that owns secrets; a program with one user uses [`UserId::LOCAL`] | [`UserId`], [`UserVault`] |
//! | secret | a named value with at most one binding; it can be written, replaced and used, never read back | [`NewSecret`], [`SecretPatch`], [`SecretInfo`] |
//! | binding | (tool pattern, location): where the secret may go | [`ToolPattern`], [`Location`] |
//! | default | a secret that is filled in automatically when the call has no value at its location | [`NewSecret::default_for_tool`] |
//! | reference | the string `secret://NAME` as the whole value of an argument: it asks for a secret by name | [`Origin`] |
//! | injection | filling in the arguments of one call, and the record of what was filled in | [`UserVault::inject`], [`Injection`] |
//!
//! # What a call gets
//!
//! 1. **References.** Every string in the arguments, at any depth, whose whole value is `secret://NAME` asks for a
//!    secret, by its id or by its name. The model gets the secret only if the secret has a tool pattern that
//!    matches and is bound to exactly this location; otherwise a secret could leave through
//!    `send_email(body = "secret://…")`. A workflow written by the program's owner ([`Origin::Workflow`]) also
//!    gets it if the secret leaves the tool, the location or both open. A reference that is not granted fails the
//!    call with [`ErrorKind::Denied`], in the same words whether or not the secret exists.
//! 2. **Defaults.** For each location to which a matching default is bound, the best of these defaults is filled
//!    in if the call has no value there: the key is absent or null. Parents that are absent or null are created.
//!    With the tool's [schema](ToolCall::with_schema), a default is filled in only where the schema declares the
//!    property and allows a string.
//! 3. **Supplied values.** A value that the model supplied where a default is bound is kept. An
//!    [`InjectionPolicy`] can replace or refuse it; its documentation says when to do so.
//! 4. **One pass, all or nothing.** A value that was filled in is never scanned again. On any error the arguments
//!    are left as they were.
//!
//! [`UserVault::explain`] shows all of this for one call without doing it.
//!
//! # Which default is the best
//!
//! Defaults compete only with other defaults, location by location. Among those whose pattern matches the tool,
//! the order is, best first:
//!
//! 1. exact before wildcard;
//! 2. more literal characters before fewer;
//! 3. fewer `*` before more; then fewer `?` before more;
//! 4. the older secret.
//!
//! So for `agno__linear__create_issue` the order is `agno__linear__create_issue`, `agno__linear__*`, `agno__*`,
//! `*`. Two secrets of one user cannot both be the default for the same pattern and location: writing the second
//! one is an error, so there is no silent winner. [`Resolver`] offers this order as a data structure of its own.
//!
//! # What is promised of values
//!
//! * A value is sealed with XChaCha20-Poly1305 as soon as it arrives, and is opened only to be injected, to be sealed
//!   again, to be checked by [`Vault::verify`], or for a redactor: that of an injection, or [`UserVault::redactor`],
//!   which opens them all. Only [`UserVault::inject`] and its variants return it, in the arguments.
//! * No `Debug`, `Display`, error or serialized form of any type shows a value or a key.
//!   [`SecretValue::expose_secret`] is the only way to the text of a value.
//! * A vault is one encrypted file ([`Vault::create`], [`Vault::open`]), or lives in memory with the same behavior
//!   ([`Vault::in_memory`]), apart from what needs a key, such as locking and backup: for that there is
//!   [`VaultBuilder::in_memory_with_key`].
//! * Memory that held a value or a key is wiped when it is dropped, as far as safe Rust allows: `SECURITY.md`
//!   lists what this does not cover.
//! * [`Redactor`] removes injected values from tool output, in the encodings that it lists, whole or in chunks.
//!
//! # Finding your way
//!
//! | for | see |
//! |---|---|
//! | making, opening, sharing, copying and locking a vault | [`Vault`], [`VaultBuilder`], [`Anchor`], [`Progress`] |
//! | what opens a vault | [`KeySource`], [`KeyProvider`], [`KdfParams`], [`KeySlotInfo`], [`KeyKind`] |
//! | a key in the operating system's keyring (feature `keyring`) | `KeyringProvider` |
//! | limits | [`Quota`], [`Usage`], [`Bounds`] |
//! | one user's secrets | [`UserVault`], [`Batch`], [`SecretRef`], [`SecretId`] |
//! | a tool call | [`ToolCall`], [`Origin`], [`InjectionPolicy`], [`Injection`], [`inject`]; arguments as a value or as text: [`UserVault::inject_value`], [`UserVault::inject_str`] |
//! | the model's schema | [`UserVault::conceal`], [`Concealment`], [`conceal`] |
//! | a tool's output | [`Redactor`], [`RedactStream`], [`RedactTextStream`] |
//! | why | [`UserVault::explain`], [`Explanation`], [`explain`] |
//! | what happened | [`AuditSink`], [`AuditEvent`], [`AuditLog`], [`audit`]; with the feature `tracing`, `audit::TracingSink` |
//! | before the first call | [`UserVault::check`], [`check`] |
//! | matching tool names | [`ToolPattern`], [`Resolver`], [`resolver`] |
//! | managing secrets over HTTP | `keyward::http`, with the feature `http` |
//! | an MCP client and its servers (features `mcp`, `mcp-text`) | `mcp::Filter` |
//! | the same for a client of the `rmcp` crate (feature `mcp-client`) | `mcp::FilteredTransport` |
//! | what went wrong | [`Error`], [`ErrorKind`], [`FieldError`], [`QuotaExceeded`] |
//! | where keyward stands in a runtime | [`docs::runtimes`] |
//! | the file, byte for byte | [`docs::format`] |
//! | who is kept from what, and who is not | [`docs::threats`] |
//!
//! # Features
//!
//! `file`, which is on by default, is the vault in a file; without it, vaults live in memory. The others are off:
//! `keyring`, `http`, `mcp`, `mcp-client`, `mcp-text` and `tracing`, which are in the table above, and `cli`, the
//! program `keyward`. No feature changes what the others do.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "file"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "some lead to what `file` brings"
    )
)]

pub mod audit;
mod bounds;
mod bytes;
mod call;
pub mod check;
pub mod conceal;
mod crypto;
mod digits;
#[cfg(doc)]
pub mod docs;
mod entry;
mod error;
pub mod explain;
mod folder;
mod format;
#[cfg(feature = "http")]
pub mod http;
pub mod inject;
mod json_text;
#[cfg(feature = "keyring")]
mod keyring;
mod location;
#[cfg(feature = "mcp-text")]
pub mod mcp;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[cfg_attr(
    not(feature = "file"),
    expect(dead_code, reason = "parts of it are for tests of files")
)]
mod memory_scan;
mod metadata;
mod pattern;
mod quota;
mod redact;
mod request;
pub mod resolver;
mod schema;
mod sealed;
mod secret;
mod snapshot;
mod storage;
mod vault;
mod wiping;

#[doc(inline)]
pub use crate::{
    audit::{AuditEvent, AuditLog, AuditSink},
    conceal::Concealment,
    explain::Explanation,
    inject::Injection,
    resolver::Resolver,
};
pub use crate::{
    bounds::Bounds,
    call::{InjectionPolicy, Origin, ToolCall},
    crypto::{KdfParams, KeyKind, KeyProvider, KeySlotInfo, KeySource},
    error::{Error, ErrorKind, FieldError, LocSegment, QuotaExceeded, QuotaResource, QuotaScope},
    location::Location,
    pattern::ToolPattern,
    quota::{Quota, Usage},
    redact::{RedactStream, RedactTextStream, Redactor},
    request::{NewSecret, SecretPatch},
    secret::{SecretId, SecretInfo, SecretRef, SecretValue, UserId},
    vault::{Anchor, Batch, Progress, UserVault, Vault, VaultBuilder},
};

#[cfg(feature = "keyring")]
pub use crate::keyring::KeyringProvider;
#[cfg(all(fuzzing, feature = "file"))]
#[doc(hidden)]
pub use crate::vault::fuzzing;

// Runs the README's code with the other doc examples.
#[cfg(all(doctest, feature = "file"))]
#[doc = include_str!("../README.md")]
struct Readme;
