//! Arguments as JSON text: reading them, and changing the text only where something is put in.
//!
//! The text is not parsed and serialized again: that would lose the order of the keys, the digits of large numbers
//! and the whitespace, and so give the tool other arguments than the model wrote. `serde_json` checks the grammar.
//! The text is then read here, into a value that is used to work out where secrets go; once these places are known,
//! they are found in the text.
//!
//! A name that occurs twice in an object is an error: JSON parsers differ in which one counts (RFC 8259, section 4),
//! so the tool might read a different value than the one that was checked here.

use std::{
    io::{self, Write},
    mem,
};

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

mod edits;

use self::edits::{Edit, Member};
use super::references::{DEPTH, too_deep};
use crate::{
    error::{Error, FieldError},
    json_text, wiping,
};

/// Reads arguments. Empty or blank text is null: some runtimes write that for a call without arguments.
///
/// The text may hold values that were put in before, and were not wiped.
pub(crate) fn read(text: &str) -> Result<wiping::Json, Error> {
    let mut value = wiping::Json::default();
    if json_text::trim(text).is_empty() {
        return Ok(value);
    }
    // The parser's own message is left out, since it may repeat part of the text.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| malformed(&error))?;
    Cursor { text, at: 0 }.read(0, &mut value)?;
    Ok(value)
}

/// Returns the text with the values at `places` taken from `filled`. A place is either a value that is replaced in
/// the text, or a member that is missing from its object. A place inside another one needs no edit of its own.
pub(super) fn edit<'a>(
    text: &'a str,
    filled: &'a Value,
    places: impl Iterator<Item = &'a [Box<str>]>,
) -> String {
    let edits = edits::find(text, filled, places);
    written(|to| write(to, text, &edits))
}

/// Returns the text of filled arguments for a call that had none.
pub(super) fn new(filled: &Value) -> String {
    written(|to| Ok(serde_json::to_writer(to, filled)?))
}

/// Returns what `write` writes, in a buffer allocated at exactly that length.
fn written(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> String {
    let mut length = Length(0);
    let mut buffer = Vec::new();
    let done = write(&mut length).and_then(|()| {
        buffer.reserve_exact(length.0);
        write(&mut buffer)
    });
    debug_assert!(
        done.is_ok() && buffer.len() == length.0,
        "memory takes what is written to it"
    );
    String::from_utf8(buffer).unwrap_or_default()
}

fn write(mut to: &mut dyn Write, text: &str, edits: &[Edit<'_>]) -> io::Result<()> {
    let mut at = 0;
    for edit in edits {
        to.write_all(&text.as_bytes()[at..edit.range.start])?;
        at = edit.range.end;
        if let Some(Member { name, comma }) = edit.member {
            if comma {
                to.write_all(b",")?;
            }
            serde_json::to_writer(&mut to, name)?;
            to.write_all(b":")?;
        }
        serde_json::to_writer(&mut to, edit.value)?;
    }
    to.write_all(&text.as_bytes()[at..])
}

/// Counts bytes.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A position in JSON text whose grammar was checked.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    /// Reads the value that begins here, `depth` levels deep, to where it stays: so what was read is wiped after an
    /// error, too.
    fn read(&mut self, depth: usize, to: &mut Value) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(too_deep());
        }
        match self.next_byte() {
            b'{' => {
                self.at += 1;
                *to = Value::Object(Map::new());
                while let Value::Object(members) = to
                    && self.is_more(b'}')
                {
                    let mut name = self.name()?;
                    if members.contains_key(&*name) {
                        return Err(duplicate());
                    }
                    let value = members.entry(mem::take(&mut *name));
                    self.read(depth + 1, value.or_insert(Value::Null))?;
                }
            }
            b'[' => {
                self.at += 1;
                *to = Value::Array(Vec::new());
                while let Value::Array(elements) = to
                    && self.is_more(b']')
                {
                    elements.push(Value::Null);
                    let last = elements.len() - 1;
                    self.read(depth + 1, &mut elements[last])?;
                }
            }
            b'"' => *to = Value::String(mem::take(&mut *self.string()?)),
            // A number too large for a `Value` becomes 0; it only matters that it is a number.
            _ => *to = serde_json::from_str(self.scalar()).unwrap_or_else(|_| Value::from(0)),
        }
        Ok(())
    }

    /// Whether another member or element comes before `end`; if not, passes `end`.
    fn is_more(&mut self, end: u8) -> bool {
        let mut byte = self.next_byte();
        if byte == b',' {
            self.at += 1;
            byte = self.next_byte();
        }
        if byte == end {
            self.at += 1;
        }
        byte != end
    }

    /// Passes the name of a member and the colon behind it.
    fn name(&mut self) -> Result<Zeroizing<String>, Error> {
        self.skip_space();
        let name = self.string()?;
        self.skip_space();
        self.at += 1;
        Ok(name)
    }

    /// Passes the string that begins here. Half of a surrogate pair is valid grammar, but not text.
    fn string(&mut self) -> Result<Zeroizing<String>, Error> {
        let literal = self.scalar();
        json_text::unescaped(&literal[1..literal.len() - 1]).ok_or_else(no_text)
    }

    /// Passes the value that begins here, whatever it is.
    fn skip_value(&mut self) {
        self.skip_space();
        self.pass(json_text::value_end(self.text, self.at));
    }

    /// Passes the string, number, boolean or null that begins here.
    fn scalar(&mut self) -> &'t str {
        let start = self.at;
        self.pass(json_text::value_end(self.text, start));
        &self.text[start..self.at]
    }

    /// Goes on to where something ends, which is always known where the grammar was checked.
    fn pass(&mut self, end: Option<usize>) {
        debug_assert!(end.is_some(), "the text is JSON");
        self.at = end.unwrap_or(self.text.len());
    }

    /// The next byte that is not whitespace; there must be one.
    fn next_byte(&mut self) -> u8 {
        self.skip_space();
        self.text.as_bytes()[self.at]
    }

    fn skip_space(&mut self) {
        self.at = json_text::skip_space(self.text, self.at);
    }
}

/// Says where, and not what is there: it may be a value.
fn malformed(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let msg = format!(
        "JSON decode error: the arguments of the call are not valid JSON, from line {line}, column {column} on"
    );
    Error::validation(vec![FieldError::new([], "json_invalid", msg)])
}

/// The error of a string that passed the grammar check but does not decode.
fn no_text() -> Error {
    let msg = "Input should be a valid string: a string in the arguments has an unpaired surrogate, so it is not valid \
               text; leave it out, or write both halves";
    Error::validation(vec![FieldError::new([], "string_unicode", msg)])
}

fn duplicate() -> Error {
    let msg = "an object in the arguments has a duplicate name: give each name once";
    Error::validation(vec![FieldError::value_error_at([], msg)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A string that grows leaves copies of its content behind in memory.
    #[test]
    fn what_is_written_has_its_length_from_the_start() {
        let filled = json!({"p": {"k": "v".repeat(500)}, "a": "x".repeat(500)});
        let place: [Box<str>; 2] = ["p".into(), "k".into()];
        let text = format!(r#"{{"p": {{}}, "a": "{}"}}"#, "x".repeat(500));
        for written in [edit(&text, &filled, [&place[..]].into_iter()), new(&filled)] {
            assert_eq!(written.capacity(), written.len());
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), filled);
        }
    }
}
