//! What the fuzz targets share: structured input, and what is right, written in the simplest way.

pub mod defaults;
pub mod edits;
pub mod encodings;
pub mod json;
pub mod model;
pub mod operations;
/// What redaction means.
#[path = "../../tests/redaction/oracle.rs"]
pub mod redaction;
pub mod schema;
pub mod store;
pub mod text;
