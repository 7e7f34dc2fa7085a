//! Redaction: every form of every value is found, whole and in chunks, and nothing else is changed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod redaction {
    pub(crate) mod encodings;
    pub(crate) mod oracle;

    mod behaviour;
    mod forms;
    mod json;
    mod properties;
    mod streams;
}
