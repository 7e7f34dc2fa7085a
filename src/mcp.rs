//! The Model Context Protocol: secrets between a client and a server.
//!
//! [`Filter`] holds the state of one session: which secrets, what the server listed, and which values it was given
//! so far. It takes messages in two forms:
//!
//! * as they are on the wire, for programs that pass them on (feature `mcp-text`; `keyward mcp` is one): only what
//!   has to change is changed, and every other byte stays;
//! * as the types of the `rmcp` crate, for runtimes in Rust that have a client of their own (feature `mcp`).
//!
//! With the feature `mcp`, a [`NeedsSecret`](crate::NeedsSecret) can be turned into a question to the person: an
//! elicitation, which asks for no value.
//!
//! None of this does any input or output, waits, or needs an async runtime.

#[cfg(feature = "mcp")]
mod elicitation;
mod filter;
mod json;
#[cfg(feature = "mcp")]
mod model;
mod redaction;
#[cfg(test)]
mod tests;

pub use self::filter::{ClientMessage, Filter};
