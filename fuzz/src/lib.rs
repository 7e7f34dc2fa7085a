//! What the fuzz targets share: structured input, and the ways in which a value may be written.

pub mod edits;
pub mod encodings;
pub mod json;
pub mod text;
