//! The Model Context Protocol: secrets between a client and a server.
//!
//! [`Filter`] holds the state of one session: which secrets, what the server listed, and which values it was given
//! so far. It takes messages in two forms:
//!
//! * as they are on the wire, for programs that pass them on (feature `mcp-text`; `keyward mcp` is one): only what
//!   has to change is changed, and every other byte stays;
//! * as the types of the `rmcp` crate, for runtimes in Rust that have a client of their own (feature `mcp`).
//!
//! A runtime whose client is rmcp's need not call the filter itself: with the feature `mcp-client`,
//! `FilteredTransport` does so below the client, for every message, and rmcp neither holds nor logs a value.
//!
//! With the feature `mcp`, a [`NeedsSecret`](crate::check::NeedsSecret) can be turned into a question to the person: an
//! elicitation, which asks for no value.
//!
//! None of this does any input or output or needs an async runtime. Only `FilteredTransport` waits, for the transport
//! inside it.

mod across;
#[cfg(feature = "mcp")]
mod elicitation;
mod filter;
mod json;
mod message;
#[cfg(feature = "mcp")]
mod model;
mod redaction;
#[cfg(test)]
mod tests;
#[cfg(feature = "mcp-client")]
mod transport;

pub use self::filter::{ClientMessage, Filter};
#[cfg(feature = "mcp-client")]
pub use self::transport::FilteredTransport;
