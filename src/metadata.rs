//! What a sealed record contains besides the value, and its byte form.
//!
//! All numbers are little-endian. A text is preceded by its length in bytes (`u32`); an optional one by a byte, 0
//! or 1, that says whether it is present.
//!
//! ```text
//! version u8 = 1 | value_bytes u32 | secret_id [16] | user_id [16] | revision u64
//! | created_at i64 | updated_at i64 (both µs since 1970) | is_default u8
//! | secret_name text | display? | tool_name? | tool_arg? | format?
//! ```

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    bytes::{Reader, put_bytes},
    quota::Usage,
    secret::{SecretId, SecretInfo, UserId},
};

const VERSION: u8 = 1;

/// Everything that is known of a secret without opening its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) info: SecretInfo,
    /// The length of the value in UTF-8 bytes.
    pub(crate) value_bytes: u32,
}

impl Metadata {
    /// Returns what the secret counts for in a quota.
    pub(crate) fn usage(&self) -> Usage {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let info = &self.info;
        let texts = info.secret_name.len() + length(&info.tool_name) + length(&info.tool_arg);
        Usage::new(1, u64::from(self.value_bytes) + texts as u64)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let info = &self.info;
        let mut bytes = Vec::with_capacity(128);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.value_bytes.to_le_bytes());
        bytes.extend_from_slice(info.secret_id.as_uuid().as_bytes());
        bytes.extend_from_slice(info.user_id.as_uuid().as_bytes());
        bytes.extend_from_slice(&info.revision.to_le_bytes());
        bytes.extend_from_slice(&info.created_at.timestamp_micros().to_le_bytes());
        bytes.extend_from_slice(&info.updated_at.timestamp_micros().to_le_bytes());
        bytes.push(info.is_default_for_tool.into());
        put_bytes(&mut bytes, info.secret_name.as_bytes());
        for text in [&info.display, &info.tool_name, &info.tool_arg, &info.format] {
            bytes.push(text.is_some().into());
            if let Some(text) = text {
                put_bytes(&mut bytes, text.as_bytes());
            }
        }
        bytes
    }

    /// Returns `None` if these bytes are not a version 1 record.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Metadata> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != [VERSION] {
            return None;
        }
        let value_bytes = reader.u32()?;
        let info = SecretInfo {
            secret_id: SecretId::new(Uuid::from_bytes(reader.array()?)),
            user_id: UserId::new(Uuid::from_bytes(reader.array()?)),
            revision: reader.u64()?,
            created_at: time(&mut reader)?,
            updated_at: time(&mut reader)?,
            is_default_for_tool: reader.bool()?,
            secret_name: reader.text()?,
            display: optional_text(&mut reader)?,
            tool_name: optional_text(&mut reader)?,
            tool_arg: optional_text(&mut reader)?,
            format: optional_text(&mut reader)?,
        };
        reader.end()?;
        Some(Metadata { info, value_bytes })
    }
}

fn time(reader: &mut Reader<'_>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(reader.i64()?)
}

#[expect(clippy::option_option, reason = "outer: malformed; inner: absent")]
fn optional_text(reader: &mut Reader<'_>) -> Option<Option<String>> {
    if reader.bool()? {
        reader.text().map(Some)
    } else {
        Some(None)
    }
}

#[cfg(test)]
impl Metadata {
    /// Creates the metadata of a default of the local user, with a value of eight bytes.
    pub(crate) fn of_default(id: u128, name: &str, tool: &str, location: &str) -> Metadata {
        Metadata {
            info: SecretInfo {
                secret_id: SecretId::new(Uuid::from_u128(id)),
                user_id: UserId::LOCAL,
                secret_name: name.to_owned(),
                display: None,
                tool_name: Some(tool.to_owned()),
                tool_arg: Some(location.to_owned()),
                is_default_for_tool: true,
                format: None,
                created_at: DateTime::UNIX_EPOCH,
                updated_at: DateTime::UNIX_EPOCH,
                revision: 1,
            },
            value_bytes: 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;

    fn any_metadata() -> impl Strategy<Value = Metadata> {
        let text = || option::of("\\PC{0,30}");
        let numbers = (
            any::<u128>(),
            any::<u128>(),
            any::<u64>(),
            any::<u32>(),
            any::<bool>(),
        );
        let times = (0..4_102_444_800_000_000_i64, 0..4_102_444_800_000_000_i64);
        (numbers, times, "\\PC{0,30}", text(), text(), text(), text()).prop_map(
            |(numbers, times, secret_name, display, tool_name, tool_arg, format)| Metadata {
                info: SecretInfo {
                    secret_id: SecretId::new(Uuid::from_u128(numbers.0)),
                    user_id: UserId::new(Uuid::from_u128(numbers.1)),
                    revision: numbers.2,
                    created_at: DateTime::from_timestamp_micros(times.0).unwrap(),
                    updated_at: DateTime::from_timestamp_micros(times.1).unwrap(),
                    secret_name,
                    display,
                    tool_name,
                    tool_arg,
                    is_default_for_tool: numbers.4,
                    format,
                },
                value_bytes: numbers.3,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(metadata in any_metadata()) {
            let bytes = metadata.encode();
            prop_assert_eq!(Metadata::decode(&bytes), Some(metadata));
            for end in 0..bytes.len() {
                prop_assert_eq!(Metadata::decode(&bytes[..end]), None);
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(metadata) = Metadata::decode(&bytes) {
                prop_assert_eq!(metadata.encode(), bytes);
            }
        }
    }
}
