//! JSON text that is changed in places and otherwise left as it is, byte for byte.
//!
//! A message that is passed on must not lose what a parsed form does not keep: the order of members, the digits of
//! numbers, escapes, duplicate members, unpaired surrogates. So text stays text: what is needed is found by its
//! position, and changes are made in place.
//!
//! What is read here is a superset of JSON: whether a message is well-formed is for its receiver to judge. If a key
//! occurs twice, the last one counts, as in almost every parser. Where another reading would matter, callers ask
//! whether one does.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::{self, Write},
    mem,
    ops::Range,
};

use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    json_text::{self, byte, is_structure, scalar_end, skip_space, string_end, value_end},
    wiping,
};

/// How deep values may be nested where they are parsed: as deep as `serde_json` allows.
pub(super) const DEPTH: usize = 128;

/// A member of an object, by its position in the text.
pub(super) struct Member<'t> {
    pub(super) key: Cow<'t, str>,
    /// The key with its quotes.
    pub(super) name: Range<usize>,
    /// From the key's first quote to the end of the value.
    pub(super) at: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Whether this is strictly JSON, and not only what is read here as if it were. It may be nested to any depth.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        wipe(&mut self.key);
    }
}

/// Returns the members of the object at this place; `None` if there is none.
pub(super) fn members(text: &str, at: Range<usize>) -> Option<Vec<Member<'_>>> {
    let mut members = Vec::new();
    items(text, at, b'{', b'}', |start| {
        let key_end = string_end(text, start)?;
        let colon = skip_space(text, key_end);
        if byte(text, colon) != Some(b':') {
            return None;
        }
        let value_start = skip_space(text, colon + 1);
        let end = value_end(text, value_start)?;
        members.push(Member {
            key: unescape(&text[start + 1..key_end - 1]),
            name: start..key_end,
            at: start..end,
            value: value_start..end,
        });
        Some(end)
    })?;
    Some(members)
}

/// Returns the elements of the array at this place; `None` if there is none.
pub(super) fn elements(text: &str, at: Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut elements = Vec::new();
    items(text, at, b'[', b']', |start| {
        let end = value_end(text, start)?;
        elements.push(start..end);
        Some(end)
    })?;
    Some(elements)
}

/// A string, a number, a literal, or one character of what is between these.
pub(super) struct Token {
    pub(super) at: Range<usize>,
    /// What is between the quotes of a string, or all of a number or a literal.
    pub(super) content: Option<Range<usize>>,
}

impl Token {
    /// Reads the token that begins here. A string without an end takes all of the text.
    pub(super) fn read(text: &str, start: usize) -> Token {
        let (end, content) = match text.as_bytes()[start] {
            b'"' => match string_end(text, start) {
                Some(end) => (end, Some(start + 1..end - 1)),
                None => (text.len(), Some(start + 1..text.len())),
            },
            first if is_structure(first) => (start + 1, None),
            _ => {
                let end = scalar_end(text, start);
                (end, Some(start..end))
            }
        };
        Token {
            at: start..end,
            content,
        }
    }

    /// Whether a colon follows.
    pub(super) fn is_key(&self, text: &str) -> bool {
        byte(text, skip_space(text, self.at.end)) == Some(b':')
    }
}

/// Returns the place of the value of the last member with this key.
pub(super) fn find(members: &[Member<'_>], key: &str) -> Option<Range<usize>> {
    let last = members.iter().rev().find(|member| member.key == key)?;
    Some(last.value.clone())
}

/// Whether all readers find the same members: no two have the same key, and none has one of `read` in another case.
/// Some readers, such as Go's, do not tell cases apart, and take the last member that is left.
pub(super) fn are_unambiguous(members: &[Member<'_>], read: &[&str]) -> bool {
    let mut keys = HashSet::new();
    members.iter().all(|member| {
        let key = without_case(&member.key);
        let is_as_read = *key == *member.key || !read.contains(&&*key);
        is_as_read && keys.insert(key)
    })
}

/// The key as readers compare it that do not tell cases apart. In both cases, since some letters have one of another
/// alphabet in one of them: `\u{17f}` and `S`, `\u{212a}` and `k`.
pub(super) fn without_case(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}

/// Whether an object in the value here has a key twice; `value` is the value parsed.
pub(super) fn has_keys_twice(text: &str, at: Range<usize>, value: &Value) -> bool {
    // Each member has one colon that is in no string, and of those with one key the last one is parsed. Keys that
    // differ in half surrogates only are one key here.
    let (mut colons, mut next) = (0, at.start);
    while next < at.end {
        match text.as_bytes()[next] {
            b'"' => next = string_end(text, next).unwrap_or(at.end),
            byte => {
                colons += usize::from(byte == b':');
                next += 1;
            }
        }
    }
    colons != member_count(value)
}

fn member_count(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(member_count).sum::<usize>(),
        Value::Array(values) => values.iter().map(member_count).sum(),
        _ => 0,
    }
}

/// Decodes bytes, with U+FFFD where they are not UTF-8.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    // Almost every message is valid, and this check is fast.
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    // It may hold a value, so it must not move because it grows.
    let parts = || {
        bytes.utf8_chunks().flat_map(|chunk| {
            let is_whole = chunk.invalid().is_empty();
            [chunk.valid(), if is_whole { "" } else { "\u{fffd}" }]
        })
    };
    let mut text = String::with_capacity(parts().map(str::len).sum());
    text.extend(parts());
    Cow::Owned(text)
}

/// The range of a message without the space around it.
pub(super) fn trimmed(text: &str) -> Range<usize> {
    let start = skip_space(text, 0);
    start..start + json_text::trim(text).len()
}

/// Parses the value at this place; `None` if there is none, or it is nested too deep.
pub(super) fn parse(text: &str, at: Range<usize>) -> Option<wiping::Json> {
    let mut value = wiping::Json::default();
    parse_within(text, at, DEPTH, &mut value)?;
    Some(value)
}

/// Parses to where the value stays, so that what was parsed is wiped if the rest cannot be.
fn parse_within(text: &str, at: Range<usize>, depth: usize, to: &mut Value) -> Option<()> {
    let raw = &text[at.clone()];
    match raw.as_bytes().first()? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            *to = Value::Object(Map::new());
            let map = to.as_object_mut()?;
            for member in members(text, at)? {
                if !map.contains_key(&*member.key) {
                    map.insert(member.key.to_string(), Value::Null);
                }
                let value = &mut map[&*member.key];
                drop(wiping::Json(mem::take(value)));
                parse_within(text, member.value.clone(), depth, value)?;
            }
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let elements = elements(text, at)?;
            *to = Value::Array(vec![Value::Null; elements.len()]);
            for (at, to) in elements.into_iter().zip(to.as_array_mut()?) {
                parse_within(text, at, depth, to)?;
            }
        }
        b'"' => *to = Value::String(string(text, at)?.into_owned()),
        _ => {
            *to = match raw {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                // Out of range for a `serde_json` number, such as `1e400`. Its value is not zero, but it does not
                // matter to a schema or a secret.
                number => Value::Number(number_in(number).unwrap_or_else(|| Number::from(0))),
            }
        }
    }
    Some(())
}

/// Returns what the string at this place stands for; `None` if there is none.
pub(super) fn string(text: &str, at: Range<usize>) -> Option<Cow<'_, str>> {
    let content = text[at].strip_prefix('"')?.strip_suffix('"')?;
    Some(unescape(content))
}

/// Whether this is a number that [`parse`] can represent.
pub(super) fn is_number(text: &str) -> bool {
    number_in(text).is_some()
}

fn number_in(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok()
}

/// Writes `new` in place of the value here. Parts that are the same keep their form. Of members with the same key only
/// the last one is written.
pub(super) fn rewrite(text: &str, at: Range<usize>, new: &Value, out: &mut Buffer) {
    match new {
        Value::Object(map) => {
            if let Some(members) = members(text, at.clone()) {
                return rewrite_object(text, at, &members, map, out);
            }
        }
        Value::Array(values) => {
            if let Some(elements) = elements(text, at.clone())
                && elements.len() == values.len()
            {
                let mut done = at.start;
                for (element, value) in elements.into_iter().zip(values) {
                    out.push(&text[done..element.start]);
                    done = element.end;
                    rewrite(text, element, value, out);
                }
                return out.push(&text[done..at.end]);
            }
        }
        scalar => {
            if parse(text, at.clone()).as_deref() == Some(scalar) {
                return out.push(&text[at]);
            }
        }
    }
    out.push_json(new);
}

fn rewrite_object(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    map: &Map<String, Value>,
    out: &mut Buffer,
) {
    let last: HashMap<&str, usize> = (0..)
        .zip(members)
        .map(|(index, member)| (&*member.key, index))
        .collect();
    // What precedes a member: the brace before the first one, otherwise a comma, each with the space around it.
    let mut before = members
        .first()
        .map_or(at.start..at.start + 1, |first| at.start..first.at.start);
    out.push(&text[before.clone()]);
    let mut is_first = true;
    let mut last_end = before.end;
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            before = last_end..member.at.start;
        }
        last_end = member.at.end;
        let Some(value) = map.get(&*member.key) else {
            continue;
        };
        if last[&*member.key] != index {
            continue;
        }
        if !is_first {
            out.push(&text[before.clone()]);
        }
        is_first = false;
        out.push(&text[member.at.start..member.value.start]);
        rewrite(text, member.value.clone(), value, out);
    }
    for (key, value) in map
        .iter()
        .filter(|(key, _)| !last.contains_key(key.as_str()))
    {
        if !is_first {
            out.push(",");
        }
        is_first = false;
        out.push_json(key);
        out.push(":");
        out.push_json(value);
    }
    out.push(&text[last_end..at.end]);
}

/// Encodes a JSON string.
pub(super) fn quoted(content: &str) -> String {
    serde_json::to_string(content).expect("a string is written to memory")
}

/// Text with parts of it replaced, in order.
pub(super) struct Changed<'t> {
    text: &'t str,
    /// The position up to which the text was copied.
    done: usize,
    new: String,
    is_new: bool,
}

impl Changed<'_> {
    /// Begins at this place in the text.
    pub(super) fn from(text: &str, start: usize) -> Changed<'_> {
        Changed {
            text,
            done: start,
            new: String::new(),
            is_new: false,
        }
    }

    /// Replaces what is at this place; `None` leaves it as it is.
    pub(super) fn replace(&mut self, at: Range<usize>, by: Option<impl AsRef<str>>) {
        if let Some(by) = by {
            self.push(self.done..at.start);
            push_wiping(&mut self.new, by.as_ref());
            self.done = at.end;
            self.is_new = true;
        }
    }

    /// The length of the new text so far: it ends with what was put in last.
    pub(super) fn len(&self) -> usize {
        self.new.len()
    }

    /// Where this place of the text, or a later one, comes to be in the new text; `None` if it was replaced.
    pub(super) fn new_place(&self, at: usize) -> Option<usize> {
        Some(self.new.len() + at.checked_sub(self.done)?)
    }

    /// Returns the text up to this place; `None` if nothing was replaced.
    pub(super) fn up_to(mut self, end: usize) -> Option<String> {
        if !self.is_new {
            return None;
        }
        self.push(self.done..end);
        Some(self.new)
    }

    fn push(&mut self, at: Range<usize>) {
        push_wiping(&mut self.new, &self.text[at]);
    }
}

/// Appends to text that may hold a value: it is wiped where it moves because it grows.
pub(super) fn push_wiping(text: &mut String, more: &str) {
    let needed = text.len() + more.len();
    if needed > text.capacity() {
        let mut larger = String::with_capacity(needed.max(2 * text.capacity()));
        larger.push_str(text);
        text.zeroize();
        *text = larger;
    }
    text.push_str(more);
}

/// Wipes text if it is a copy.
pub(super) fn wipe(text: &mut Cow<'_, str>) {
    if let Cow::Owned(text) = text {
        text.zeroize();
    }
}

/// Text that may hold a value: wiped when dropped, and whenever it moves because it grows.
#[derive(Default)]
pub(super) struct Buffer(Zeroizing<Vec<u8>>);

impl Buffer {
    pub(super) fn push(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    pub(super) fn push_json(&mut self, value: &impl serde::Serialize) {
        serde_json::to_writer(self, value).expect("a JSON value is written to memory");
    }

    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    pub(super) fn as_text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("what is pushed is text")
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        wiping::append(&mut self.0, bytes);
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push_bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Goes through the comma-separated items between `open` and `close`. `item` takes the position where an item
/// begins, and returns where it ends.
fn items(
    text: &str,
    at: Range<usize>,
    open: u8,
    close: u8,
    mut item: impl FnMut(usize) -> Option<usize>,
) -> Option<()> {
    if byte(text, at.start) != Some(open) {
        return None;
    }
    let mut next = skip_space(text, at.start + 1);
    if byte(text, next) == Some(close) {
        return (next + 1 == at.end).then_some(());
    }
    loop {
        next = skip_space(text, item(next)?);
        let separator = byte(text, next)?;
        if separator == close {
            return (next + 1 == at.end).then_some(());
        }
        if separator != b',' {
            return None;
        }
        next = skip_space(text, next + 1);
    }
}

/// Unescapes the content of a JSON string. Half a surrogate pair becomes U+FFFD.
pub(super) fn unescape(content: &str) -> Cow<'_, str> {
    if !content.contains('\\') {
        return Cow::Borrowed(content);
    }
    // It may hold a value, so it must not move because it grows.
    let mut text = String::with_capacity(content.len() + content.len() / 2);
    json_text::unescape(content, &mut text);
    Cow::Owned(text)
}
