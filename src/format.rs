//! The text that is put around a value where it is injected.

use zeroize::Zeroizing;

use crate::{bounds::TEXT, error::FieldError, secret::SecretValue};

const PLACEHOLDER: &str = "{}";

/// A text with one `{}`, such as `Bearer {}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Box<str>);

impl Format {
    /// Parses a format; `None` for `{}`, which puts nothing around the value.
    pub(crate) fn parse(text: &str) -> Result<Option<Format>, FieldError> {
        const FIELD: &str = "format";
        TEXT.check(FIELD, text)?;
        if text.matches(PLACEHOLDER).count() != 1 {
            let msg = "a format must contain `{}` exactly once, where the value goes";
            return Err(FieldError::value_error(FIELD, msg));
        }
        Ok((text != PLACEHOLDER).then(|| Format(text.into())))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of characters that it adds to a value.
    pub(crate) fn added_chars(&self) -> usize {
        self.0.chars().count() - PLACEHOLDER.len()
    }

    /// The text with the value in place of `{}`.
    pub(crate) fn apply(&self, value: &SecretValue) -> SecretValue {
        let value = value.expose_secret();
        let (before, after) = self.0.split_once(PLACEHOLDER).unwrap_or_default();
        // The exact capacity: a string that grows leaves an unwiped copy behind.
        let mut text = Zeroizing::new(String::with_capacity(
            before.len() + value.len() + after.len(),
        ));
        for part in [before, value, after] {
            text.push_str(part);
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_has_one_place_for_the_value() {
        for (text, ok) in [
            ("Bearer {}", true),
            ("{}:", true),
            ("a { } {} }{", true),
            ("Bearer", false),
            ("{}{}", false),
            ("", false),
        ] {
            assert_eq!(Format::parse(text).is_ok(), ok, "{text}");
        }
        assert_eq!(Format::parse("{}"), Ok(None));
    }

    #[test]
    fn the_value_goes_where_the_braces_are() {
        let format = Format::parse("<é {}>").unwrap().unwrap();
        assert_eq!(format.apply(&"a{}b".into()).expose_secret(), "<é a{}b>");
    }
}
