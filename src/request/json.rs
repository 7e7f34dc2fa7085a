//! Reading the fields of a request from JSON.
//!
//! [`read`] leaves no copy of a value behind. A general JSON parser cannot promise that: it unescapes a string in
//! scratch space that it does not wipe. So `serde_json` checks the grammar, which needs no copies. The extents of
//! the members are then found here, as slices of the input, and the strings among them are unescaped, each into a
//! buffer that never grows and is wiped. (`serde_json`'s own `RawValue` would give the extents as well, but its
//! feature changes how every program that links this crate reads JSON: a certain key then stands for nested JSON
//! text.)

use std::str::Utf8Error;

use serde::de::IgnoredAny;
use zeroize::{Zeroize, Zeroizing};

use super::fields::{ARG, FORMAT, Fields, Given, IS_DEFAULT, NAME, TOOL, VALUE};
use crate::{
    error::{Error, FieldError, LocSegment},
    json_text,
    secret::SecretValue,
};

mod position;

/// Reads the fields of a JSON object and wipes the text, whether or not it was valid.
pub(super) fn read(json: &mut [u8]) -> Result<Fields, Error> {
    let fields = read_unwiped(json);
    json.zeroize();
    fields
}

fn read_unwiped(json: &[u8]) -> Result<Fields, Error> {
    let text = std::str::from_utf8(json).map_err(|error| malformed(not_unicode(json, error)))?;
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|_| malformed(position::of_error(text).unwrap_or_default()))?;
    let body = json_text::trim(text);
    if !body.starts_with('{') {
        return Err(not_an_object());
    }
    let mut fields = Fields::default();
    let mut members = Members::of(body);
    while let Some((key, member)) = members.next() {
        match key.as_str() {
            NAME => fields.name = string(member, plain),
            VALUE => fields.value = string(member, SecretValue::from),
            TOOL => fields.tool_name = string(member, plain),
            ARG => fields.tool_arg = string(member, plain),
            IS_DEFAULT => fields.is_default = boolean(member),
            FORMAT => fields.format = string(member, plain),
            _ => {}
        }
    }
    Ok(fields)
}

pub(crate) fn not_an_object() -> Error {
    let msg = "Input should be a valid dictionary or object to extract fields from";
    Error::validation(vec![FieldError::new([], "model_attributes_type", msg)])
}

/// The error of text that stops being JSON after `offset` characters. The parser's own message is left out, since it
/// may repeat what it found there.
fn malformed(offset: usize) -> Error {
    let loc = [LocSegment::Index(offset)];
    Error::validation(vec![FieldError::new(
        loc,
        "json_invalid",
        "JSON decode error",
    )])
}

fn not_unicode(json: &[u8], error: Utf8Error) -> usize {
    let valid = &json[..error.valid_up_to()];
    std::str::from_utf8(valid).map_or(0, |text| text.chars().count())
}

/// A position in a JSON object whose grammar was checked.
struct Members<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Members<'a> {
    /// The members of the object that `text` is.
    fn of(text: &'a str) -> Members<'a> {
        Members { text, at: 1 }
    }

    /// Returns the next member: its name, and its value as written.
    fn next(&mut self) -> Option<(Zeroizing<String>, &'a str)> {
        let key = self.value()?;
        let member = self.value()?;
        // A name that is not Unicode text is none of the known names.
        let key =
            json_text::unescaped(key.strip_prefix('"')?.strip_suffix('"')?).unwrap_or_default();
        Some((key, member))
    }

    /// Returns the next value as written, without the punctuation before it.
    fn value(&mut self) -> Option<&'a str> {
        let is_between = |byte: &u8| json_text::is_space(*byte) || matches!(byte, b',' | b':');
        let rest = self.text.as_bytes()[self.at..].iter();
        let start = self.at + rest.take_while(|byte| is_between(byte)).count();
        self.at = json_text::value_end(self.text, start)?;
        Some(&self.text[start..self.at])
    }
}

fn plain(mut text: Zeroizing<String>) -> String {
    std::mem::take(&mut *text)
}

fn string<T>(member: &str, make: fn(Zeroizing<String>) -> T) -> Given<T> {
    match member.as_bytes() {
        b"null" => Given::Null,
        [b'"', .., b'"'] => match json_text::unescaped(&member[1..member.len() - 1]) {
            Some(text) => Given::Value(make(text)),
            None => Given::NotUnicode,
        },
        _ => Given::WrongType,
    }
}

fn boolean(member: &str) -> Given<bool> {
    match member {
        "null" => Given::Null,
        "true" => Given::Value(true),
        "false" => Given::Value(false),
        _ => Given::WrongType,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `\u` escapes with lower-case hexadecimal digits.
    fn units(c: char) -> String {
        let units = c.encode_utf16(&mut [0; 2]).to_vec();
        units
            .into_iter()
            .fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}"))
    }

    /// Any legal escape of a character, chosen by `choice`.
    fn escape(c: char, choice: u8) -> String {
        let short = match c {
            '"' | '\\' | '/' => Some(c),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        let needed = c < ' ' || c == '"' || c == '\\';
        match (choice % 4, short) {
            (0, _) if !needed => c.to_string(),
            (1, Some(short)) => format!("\\{short}"),
            (2, _) => units(c).to_uppercase().replace("\\U", "\\u"),
            _ => units(c),
        }
    }

    proptest! {
        #[test]
        fn every_escape_is_read_as_the_parser_of_serde_json_reads_it(
            value in "([ -~]|[\\\\\"/\n\t\r\u{8}\u{c}]|\\PC){0,40}",
            choices in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let escaped: String = value.chars().zip(choices.iter().cycle()).map(|(c, &n)| escape(c, n)).collect();
            let json = format!("\"{escaped}\"");
            prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &value);
            let Given::Value(read) = string(&json, plain) else { panic!("no string: {json}") };
            prop_assert_eq!(read, value);
        }

        #[test]
        fn the_buffer_does_not_grow(value in "\\PC{0,40}", choices in prop::collection::vec(any::<u8>(), 1..20)) {
            let escaped: String = value.chars().zip(choices.iter().cycle()).map(|(c, &n)| escape(c, n)).collect();
            let text = json_text::unescaped(&escaped).unwrap();
            prop_assert_eq!(text.capacity(), String::with_capacity(escaped.len()).capacity());
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é😀]{0,12}".prop_map(Value::from),
            Just(Value::from(r#"}],{["\,:"#)),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"\\\\:,{}]{0,3}", inner), 0..4)
                    .prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_extents_of_members_are_those_of_the_parser(
            members in prop::collection::vec(("[a-z\"\\\\:,{}]{0,5}", any_json()), 0..6),
            pretty in any::<bool>(),
        ) {
            let object = serde_json::Value::from_iter(members);
            let text = if pretty { format!("{object:#}") } else { object.to_string() };
            let mut members = Members::of(&text);
            let mut found = serde_json::Map::new();
            while let Some((key, member)) = members.next() {
                found.insert(key.to_string(), serde_json::from_str(member).unwrap());
            }
            prop_assert_eq!(serde_json::Value::Object(found), object);
        }
    }
}
