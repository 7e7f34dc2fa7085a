//! Ids of secrets outside the body of a request.

use uuid::Uuid;

use crate::{error::FieldError, secret::SecretId};

/// Reads the id that a part of the request has under this name. `None` stands for one that is no text.
///
/// Pydantic's message goes on with the character that it found, and where; this one does not.
pub(super) fn parse(
    text: Option<&str>,
    part: &'static str,
    name: &'static str,
) -> Result<SecretId, FieldError> {
    text.and_then(|text| Uuid::try_parse(text).ok())
        .map(SecretId::new)
        .ok_or_else(|| {
            FieldError::outside_body(part, name, "uuid_parsing", "Input should be a valid UUID")
        })
}
