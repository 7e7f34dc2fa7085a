//! How long the fields of a request may be.

use crate::error::FieldError;

/// A range of lengths in characters (Unicode scalar values, as JSON Schema counts them), both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CharRange {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

/// The bounds of a name, a tool pattern, a location and a format.
pub(crate) const TEXT: CharRange = CharRange { min: 1, max: 1024 };

impl CharRange {
    /// # Errors
    ///
    /// In the manner of Pydantic, if `text` is out of the range.
    pub(crate) fn check(self, field: &'static str, text: &str) -> Result<(), FieldError> {
        // A character takes one to four bytes, so most texts need no counting.
        let length = match text.len() {
            bytes if bytes <= self.max && bytes >= self.min * 4 => return Ok(()),
            _ => text.chars().count(),
        };
        if length < self.min {
            let msg = format!(
                "String should have at least {} character{}",
                self.min,
                plural(self.min)
            );
            return Err(FieldError::field(field, "string_too_short", msg));
        }
        if length > self.max {
            let msg = format!(
                "String should have at most {} character{}",
                self.max,
                plural(self.max)
            );
            return Err(FieldError::field(field, "string_too_long", msg));
        }
        Ok(())
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
