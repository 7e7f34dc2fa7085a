//! Arguments as JSON text: reading them, and changing the text at some places only.
//!
//! The text is not parsed and written anew, which would lose the order of the keys, the digits of large numbers and every
//! space, and would hand a tool other arguments than the model wrote. `serde_json` checks the grammar; then the text is
//! read here, into the value that the places of secrets are worked out with, and where they lie in the text is found when
//! they are known.
//!
//! A name that an object has twice is an error: readers of JSON differ in which one counts (RFC 8259, section 4), so the
//! tool might read another than the one that was looked at here.

use std::{
    io::{self, Write},
    ops::Range,
};

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{
    place::index,
    references::{DEPTH, too_deep},
};
use crate::error::{Error, FieldError};

/// Reads arguments. Text without anything in it is null: some runtimes write that for a call without arguments.
pub(super) fn read(text: &str) -> Result<Value, Error> {
    if text.trim_matches(WHITESPACE).is_empty() {
        return Ok(Value::Null);
    }
    // The parser's own message is left out, since it may repeat what it found.
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| malformed())?;
    Cursor { text, at: 0 }.read(0)
}

/// The text of arguments in which the values at these places are those of `filled`. A place is where a value is replaced
/// in the text, or where the member of an object is missing; one that lies inside another is part of that.
pub(super) fn edit<'p>(
    text: &str,
    filled: &Value,
    places: impl Iterator<Item = &'p [Box<str>]>,
) -> String {
    let mut places: Vec<&[Box<str>]> = places.collect();
    places.sort_unstable_by_key(|place| place.len());
    let mut edits: Vec<Edit<'_>> = Vec::with_capacity(places.len());
    for place in places {
        if !edits.iter().any(|edit| place.starts_with(edit.place)) {
            edits.extend(Edit::new(text, filled, place));
        }
    }
    edits.sort_by_key(|edit| edit.range.start);
    written(|to| write(to, text, &edits))
}

/// The text of arguments that there were none of.
pub(super) fn new(filled: &Value) -> String {
    written(|to| Ok(serde_json::to_writer(to, filled)?))
}

/// What `write` writes, into a buffer of just that length.
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
    let mut opened = None;
    for edit in edits {
        to.write_all(&text.as_bytes()[at..edit.range.start])?;
        at = edit.range.end;
        if let Some(position) = edit.position {
            let is_first = position == Position::InEmpty && opened != Some(at);
            opened = Some(at);
            if !is_first {
                to.write_all(b",")?;
            }
            serde_json::to_writer(&mut to, &edit.place[edit.place.len() - 1])?;
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

/// A value that takes the place of a part of the text.
struct Edit<'a> {
    place: &'a [Box<str>],
    value: &'a Value,
    range: Range<usize>,
    /// For a member that is added, with its name.
    position: Option<Position>,
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    /// Into an object without members.
    InEmpty,
    AfterOthers,
}

impl<'a> Edit<'a> {
    /// `None` for a place that is neither in the text nor in a container that is; there is none such.
    fn new(text: &str, filled: &'a Value, place: &'a [Box<str>]) -> Option<Edit<'a>> {
        let (range, position) = find(text, place)?;
        let value = place.iter().try_fold(filled, |value, token| match value {
            Value::Object(members) => members.get(&**token),
            Value::Array(elements) => elements.get(index(token)?),
            _ => None,
        })?;
        Some(Edit {
            place,
            value,
            range,
            position,
        })
    }
}

/// Where the value at a place is; or where, in the object that is there, a member with this name would go.
fn find(text: &str, place: &[Box<str>]) -> Option<(Range<usize>, Option<Position>)> {
    let mut cursor = Cursor { text, at: 0 };
    let (last, parents) = place.split_last()?;
    for parent in parents {
        if !cursor.go_to(parent).ok()? {
            return None;
        }
    }
    if cursor.go_to(last).ok()? {
        cursor.skip_whitespace();
        let start = cursor.at;
        cursor.skip_value();
        return Some((start..cursor.at, None));
    }
    let end = cursor.at;
    let position = if text[..end].ends_with('{') {
        Position::InEmpty
    } else {
        Position::AfterOthers
    };
    Some((end..end, Some(position)))
}

const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A place in JSON text whose grammar was checked.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    /// Reads the value that begins here, which is `depth` deep in others.
    fn read(&mut self, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH {
            return Err(too_deep());
        }
        match self.next_byte() {
            b'{' => {
                self.at += 1;
                let mut members = Map::new();
                while self.is_more(b'}') {
                    let name = self.name()?;
                    let value = self.read(depth + 1)?;
                    if members.insert(name, value).is_some() {
                        return Err(duplicate());
                    }
                }
                Ok(Value::Object(members))
            }
            b'[' => {
                self.at += 1;
                let mut elements = Vec::new();
                while self.is_more(b']') {
                    elements.push(self.read(depth + 1)?);
                }
                Ok(Value::Array(elements))
            }
            first => match serde_json::from_str(self.scalar()) {
                Ok(value) => Ok(value),
                // Half of a surrogate pair is grammar, but no text.
                Err(_) if first == b'"' => Err(no_text()),
                // A number beyond what a value can hold: that it is one is all that counts here.
                Err(_) => Ok(Value::from(0)),
            },
        }
    }

    /// Goes to the value of the member or element that `token` names in the object or array that begins here; or, if there
    /// is none, behind the last one. Whether there is one.
    fn go_to(&mut self, token: &str) -> Result<bool, Error> {
        let is_object = match self.next_byte() {
            b'{' => true,
            b'[' => false,
            _ => return Ok(false),
        };
        self.at += 1;
        let (mut end, mut place) = (self.at, 0);
        while self.is_more(if is_object { b'}' } else { b']' }) {
            let found = if is_object {
                self.name()? == token
            } else {
                index(token) == Some(place)
            };
            if found {
                return Ok(true);
            }
            self.skip_value();
            (end, place) = (self.at, place + 1);
        }
        self.at = end;
        Ok(false)
    }

    /// Whether there is another member or element before `end`, which is passed if there is not.
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

    /// Passes the name of a member, and the colon behind it.
    fn name(&mut self) -> Result<String, Error> {
        self.skip_whitespace();
        let name = serde_json::from_str(self.scalar()).map_err(|_| no_text())?;
        self.skip_whitespace();
        self.at += 1;
        Ok(name)
    }

    /// Passes the value that begins here, whatever it is.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.next_byte() {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    self.scalar();
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Passes the string, number, boolean or null that begins here.
    fn scalar(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let length = if rest.starts_with('"') {
            string_length(rest)
        } else {
            rest.find(|c| WHITESPACE.contains(&c) || matches!(c, ',' | '}' | ']'))
                .unwrap_or(rest.len())
        };
        self.at += length;
        &rest[..length]
    }

    /// The first byte here that is no space; there is one.
    fn next_byte(&mut self) -> u8 {
        self.skip_whitespace();
        self.text.as_bytes()[self.at]
    }

    fn skip_whitespace(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(WHITESPACE).len();
    }
}

/// The length of the string that the text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().enumerate().skip(1).find(|&(_, byte)| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn malformed() -> Error {
    let msg = "JSON decode error: the arguments of the call are no JSON text";
    Error::validation(vec![FieldError::new([], "json_invalid", msg)])
}

/// Of a string whose grammar was checked.
fn no_text() -> Error {
    let msg = "Input should be a valid string: one in the arguments has half of a surrogate pair, so that no reader of \
               text can have it as it is; leave it out, or write both halves";
    Error::validation(vec![FieldError::new([], "string_unicode", msg)])
}

fn duplicate() -> Error {
    let msg = "Value error, an object in the arguments has one name twice: give it once";
    Error::validation(vec![FieldError::new([], "value_error", msg)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A text that grows leaves what was in it behind.
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
