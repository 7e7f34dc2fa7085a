//! Finds injected values in a tool's output, and replaces them by their references.
//!
//! # Design
//!
//! The values are few, long and random; the text is long, and hardly any of it is a value. So the scan passes
//! quickly over text at which no match can begin, and compares what remains by walking value (*needle*) and text
//! side by side ([`needle`]):
//!
//! * A form of a value has many spellings (JSON and percent escapes mix freely), but these begin with few pairs of
//!   bytes: about fifty of 65,536 for a value, most of them base64 characters that hold bits of a neighbor. One
//!   lookup in a bitmap of 8 KiB ([`index`]) passes over all other pairs. For a pair in the bitmap, a sorted list
//!   tells which forms of which values to try, so that the cost grows with the values only where one of them can
//!   begin. The index is built when the first text comes, once for all clones.
//! * At a place all forms of all values are tried, and the longest match wins ([`scan`]). Each walk is a small state
//!   that can be continued. So a stream that comes byte by byte costs no more than one in large chunks: only the
//!   undecided walks continue.
//! * An automaton over all spellings (Aho-Corasick) would need one pass and no backtracking. But its tables are many
//!   times the size of the values, spell them out, and must be built for each call.
//!
//! Text that holds no value passes at hundreds of megabytes a second with one value, and at about ten with a hundred
//! values that begin differently. Each line that is found by itself counts as a value here.
//!
//! In the worst case the cost is the length of the text times the length walked at a place, which is for each value
//! as much of it as the text there agrees with, since after a mismatch the scan goes only one byte further. This
//! takes a value that begins with a long repetition, such as a thousand times the same letter, and a text that
//! consists of just that: a megabyte of it takes seconds, and minutes if the value is as long as one can be, 64 KB, and
//! the text is its base64. Or it takes many values that begin with what everybody knows, such as `ghp_`, and a text
//! that repeats that: for a thousand values that begin with the same 13 bytes, 200 KB of those took seconds as well,
//! for a hundred values a tenth of that, and for one value it takes milliseconds. For keys, tokens, PEM and JSON files
//! a walk ends within a few bytes unless it is a match, and the cost is linear.
//!
//! The text as it came in decides: a reference that was put in is not scanned, and does not count as a neighbor of a
//! short value.

mod index;
mod json;
mod needle;
mod scan;
mod spelling;
mod stream;
mod structure;

use std::{
    borrow::{Borrow, Cow},
    cmp::Reverse,
    collections::HashSet,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

pub use self::stream::{RedactStream, RedactTextStream};
use self::{
    index::{Index, SharedIndex},
    needle::Needle,
    scan::{Scan, View},
};
use crate::secret::SecretValue;

/// Replaces secret values in a tool's output by their references.
///
/// An injection comes with a redactor for exactly the values that were put in. A program that shows a model more
/// than one output merges their redactors into one for the whole conversation. A redactor is independent of the
/// vault: it works when the vault is locked or dropped.
///
/// ```
/// use keyward::{Redactor, SecretValue};
///
/// let mut redactor = Redactor::new();
/// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
///
/// // HTTP Basic authentication is base64 of `user:lin_api_Zq8wT3vN`. The character that holds the end of
/// // the colon and the beginning of the value goes with the value.
/// let output = "GET /?key=lin%5Fapi%5FZq8wT3vN\nAuthorization: Basic dXNlcjpsaW5fYXBpX1pxOHdUM3ZO";
/// assert_eq!(
///     redactor.redact(output),
///     "GET /?key=secret://linear\nAuthorization: Basic dXNlcjsecret://linear",
/// );
/// ```
///
/// # What is found
///
/// A value of 8 bytes (of UTF-8) or more is found wherever it stands, as
///
/// * itself;
/// * the content of a JSON string (RFC 8259), with any legal escapes: each character may be itself, `\uXXXX` with
///   hex digits in either case (twice for a character beyond U+FFFF), or one of `\"`, `\\`, `\/`, `\b`, `\f`, `\n`,
///   `\r`, `\t`. `"`, `\` and control characters may also be themselves, since not every writer is strict. Only one
///   level of escapes is undone, so a value in JSON within a JSON string is not found if it is escaped twice;
/// * percent-encoded text (RFC 3986): each byte may be itself or `%XX` in either case, and a space may also be `+`;
/// * hex (RFC 4648, section 8), each digit in either case;
/// * base64, standard and URL-safe (RFC 4648, sections 4 and 5), padded or not, also within longer data that was
///   encoded as a whole. A character that holds bits of the value and of its neighbor is compared in the value's
///   bits only, and is replaced with the value, so that none of the value's bits is left. The padding is replaced
///   where the value is the end of the data, and another value may begin in it. `+`, `/` and `=` may be escaped as
///   in JSON or percent-encoded. If two values were encoded with nothing between them, both are found, although they
///   may share a character.
///
/// What can be read as an escape is read as one: a value that has `%41` or `\n` in it as such is found in text that
/// is percent-encoded or escaped as in JSON only if its `%` or `\` is, too.
///
/// Hex and base64 may be wrapped into lines, as tools do by default: between two bytes of hex, or two characters of
/// base64, there may be one LF or CRLF, which in turn may be escaped as in JSON (`\n`) or percent-encoded (`%0A`).
/// No line break may come before the padding, as lines are multiples of four characters.
///
/// Tools print what is in a file line by line: indented, numbered, or with other line ends. So a line of a value is
/// found by itself as well, in all these forms, if it has 16 bytes or more and no whitespace except around it, as the
/// lines of a private key have, and is not a drawn one: up to three different bytes, none a letter or a digit. It then
/// is replaced wherever it stands, so in a value of several settings, `LOG_LEVEL=information` is, too: make a secret of
/// what is one. The lines may also end in `\n` as two characters, as they do in a variable of an environment and in the
/// JSON file of a service account: whoever uses the key puts line ends in their place. Lines with spaces, such as those
/// of prose or of indented JSON, are found only as parts of the whole value. A value that has whitespace around it,
/// such as a line break at its end, is also found without that. What is put in the place of such a part is the
/// reference of its value.
///
/// A value under 8 bytes, with or without its format, is found only as itself, and only between characters that are
/// not letters or digits (of any script), `_` or `-`; the beginning and the end of the text serve as well, and so do
/// bytes that are not UTF-8. Otherwise a PIN of 4 digits would mutilate ordinary text. An empty value is never found.
/// In JSON text an escape before such a value ends in a letter, as in `\n4711`, so the value is not found there; use
/// [`redact_json`](Redactor::redact_json), which looks at the strings themselves.
///
/// Where matches overlap, the one that begins first is replaced; of those that begin together, the longest; and of
/// those as long, the value that was added first. Nothing else is changed.
///
/// # Cost
///
/// Text in which nothing begins like a value passes fastest. At a place that the first two bytes of a form fit, the
/// values that begin so are compared one after the other, each as far as it agrees with the text. Tokens soon differ.
/// But n values that all begin with the same k bytes take n · k steps for each byte of a text that repeats these, such
/// as a text of one letter.
///
/// # Security
///
/// Values are held in buffers of exactly their size, which are wiped when the last clone is dropped; so is the index
/// that is made from them. `Debug` shows only the number of values.
///
/// A redactor guards against accidents, not against a tool that means to leak a value: there are more encodings than
/// anyone can list. Bind a secret only to tools that you trust with it.
#[derive(Clone, Default)]
pub struct Redactor {
    values: Vec<Arc<Needle>>,
    /// The same ones by their text, once they are more than [`FEW`].
    #[expect(
        clippy::box_collection,
        reason = "a set is more than half of a redactor, and few redactors have one"
    )]
    known: Option<Box<HashSet<Known>>>,
    index: SharedIndex,
}

impl Redactor {
    /// Creates a redactor that replaces nothing.
    ///
    /// ```
    /// assert!(keyward::Redactor::new().is_empty());
    /// ```
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// Creates a redactor that replaces nothing, with room for so many values.
    pub(crate) fn with_capacity(values: usize) -> Redactor {
        Redactor {
            values: Vec::with_capacity(values),
            ..Redactor::default()
        }
    }

    /// Adds a value, which is replaced by `reference` from now on.
    ///
    /// If the same value was added before, nothing changes. The value is meant to be one that a vault accepts, of at
    /// least 4 characters. An empty one is ignored.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://pin", &SecretValue::new("4711"));
    /// redactor.add("secret://other-name", &SecretValue::new("4711"));
    /// assert_eq!(redactor.len(), 1);
    /// assert_eq!(redactor.redact("pin 4711, order 47110815"), "pin secret://pin, order 47110815");
    /// ```
    pub fn add(&mut self, reference: impl Into<String>, value: &SecretValue) {
        self.insert(reference.into().into(), value);
    }

    /// The same as [`add`](Redactor::add), with a reference that is shared with others.
    pub(crate) fn insert(&mut self, reference: Arc<str>, value: &SecretValue) {
        self.insert_needle(Needle::new(reference, value.expose_secret()));
    }

    /// Adds what a format makes of a value. The value itself has to be added as well.
    pub(crate) fn insert_formatted(
        &mut self,
        reference: Arc<str>,
        text: &SecretValue,
        value: &SecretValue,
    ) {
        let (text, value) = (text.expose_secret(), value.expose_secret());
        self.insert_needle(Needle::formatted(reference, text, value));
    }

    fn insert_needle(&mut self, needle: Needle) {
        if !needle.value().is_empty() && !self.has(&needle) {
            self.push(Arc::new(needle));
        }
    }

    /// Adds all values of `other`.
    ///
    /// A value that both have keeps the reference that it has here. The values are shared, not copied.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut conversation = Redactor::new();
    /// for (name, value) in [("linear", "lin_api_Zq8wT3vN"), ("github", "ghp_R7mKq2xW9c")] {
    ///     let mut call = Redactor::new();
    ///     call.add(format!("secret://{name}"), &SecretValue::new(value));
    ///     conversation.merge(&call);
    /// }
    /// assert_eq!(conversation.redact("ghp_R7mKq2xW9c lin_api_Zq8wT3vN"), "secret://github secret://linear");
    /// ```
    pub fn merge(&mut self, other: &Redactor) {
        for (at, needle) in other.values.iter().enumerate() {
            // One that grew out of the other begins with the same needles: a stream is told of all values again and
            // again.
            let same = |own| Arc::ptr_eq(own, needle);
            if !self.values.get(at).is_some_and(same) && !self.has(needle) {
                self.push(Arc::clone(needle));
            }
        }
    }

    /// Whether `other` has no value that this one does not have.
    #[cfg(feature = "mcp-text")]
    pub(crate) fn has_all(&self, other: &Redactor) -> bool {
        other.values.iter().all(|needle| self.has(needle))
    }

    /// Returns whether there is no value to replace.
    ///
    /// ```
    /// assert!(keyward::Redactor::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the number of different texts that are replaced: a value, and what its format makes of it, are two.
    ///
    /// ```
    /// assert_eq!(keyward::Redactor::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns the text with each value replaced by its reference, or the text itself if no value is in it.
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    /// assert_eq!(redactor.redact(r"lin\u005fapi\u005fZq8wT3vN"), "secret://linear");
    /// assert!(matches!(redactor.redact("nothing to see"), Cow::Borrowed("nothing to see")));
    /// ```
    #[must_use = "the text itself stays as it is"]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut output = String::new();
        let mut done = 0;
        self.each_match(text.as_bytes(), |start, end, reference| {
            output.push_str(&text[done..start]);
            output.push_str(reference);
            done = end;
        });
        if done == 0 {
            return Cow::Borrowed(text);
        }
        output.push_str(&text[done..]);
        Cow::Owned(output)
    }

    /// Does what [`redact`](Redactor::redact) does, for bytes that need not be UTF-8.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    /// assert_eq!(*redactor.redact_bytes(b"\xff\0lin_api_Zq8wT3vN\xfe"), *b"\xff\0secret://linear\xfe");
    /// ```
    #[must_use = "the bytes themselves stay as they are"]
    pub fn redact_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut output = Vec::new();
        let mut done = 0;
        self.each_match(bytes, |start, end, reference| {
            output.extend_from_slice(&bytes[done..start]);
            output.extend_from_slice(reference.as_bytes());
            done = end;
        });
        if done == 0 {
            return Cow::Borrowed(bytes);
        }
        output.extend_from_slice(&bytes[done..]);
        Cow::Owned(output)
    }

    /// Replaces values in all strings and keys of a JSON value, and numbers whose text contains a value.
    ///
    /// Each string is a text of its own. A redacted key that would be the same as another key gets a number
    /// appended, so that no member is lost; keys without a value keep their names. A redacted number becomes a
    /// string. What is replaced is wiped.
    ///
    /// A value that is an object or an array in JSON, such as the key of a service account, is found as one as well,
    /// however it was spelled, if it has 8 bytes or more without the spaces between its tokens. It becomes a string.
    /// It is also found in a string that has it as JSON; in the plain text of [`redact`](Redactor::redact) and of
    /// streams it is found only as it was spelled.
    ///
    /// The text of a number is the one that `serde_json` writes. A value that is a number is also found as the same
    /// number in another spelling: `4711.50` in 4711.5, and one of more than 19 digits in what it is rounded to.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    /// use serde_json::json;
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://account", &SecretValue::new("12345678"));
    ///
    /// let mut output = json!({"account": 12345678, "by_account": {"12345678": [1, "no 12345678"]}});
    /// redactor.redact_json(&mut output);
    /// assert_eq!(
    ///     output,
    ///     json!({"account": "secret://account", "by_account": {"secret://account": [1, "no secret://account"]}}),
    /// );
    /// ```
    pub fn redact_json(&self, value: &mut serde_json::Value) {
        if !self.is_empty() {
            json::redact(self, value);
        }
    }

    /// Does what [`redact`](Redactor::redact) does for a string of JSON. An object or an array in it that is a value is
    /// found however it is spelled: programs write JSON into strings.
    pub(crate) fn redact_string<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut output = String::new();
        let mut done = 0;
        self.each_match_in_json(text, |start, end, reference| {
            output.push_str(&text[done..start]);
            output.push_str(reference);
            done = end;
        });
        if done == 0 {
            return Cow::Borrowed(text);
        }
        output.push_str(&text[done..]);
        Cow::Owned(output)
    }

    /// What is left of a number, as it is spelled; `None` if there is nothing to redact.
    pub(crate) fn redact_number(&self, spelled: &str) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let index = self.index.get(&self.values);
        if let Some(needle) = index.number(spelled) {
            return Some(index.reference(needle).to_owned());
        }
        match self.redact(spelled) {
            Cow::Owned(redacted) => Some(redacted),
            Cow::Borrowed(_) => None,
        }
    }

    /// Replaces only those objects and arrays in a JSON value that are values.
    #[cfg(feature = "mcp")]
    pub(crate) fn redact_structures(&self, value: &mut serde_json::Value) {
        if !self.is_empty() {
            json::redact_structures(&self.index(), value);
        }
    }

    /// The new names of an object's keys, as in [`redact_json`](Redactor::redact_json): `None` for each key that
    /// keeps its name, and an empty list if no key holds a value.
    #[cfg(feature = "mcp-text")]
    pub(crate) fn redacted_keys<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
    ) -> Vec<Option<String>> {
        json::names(self, keys)
    }

    /// The end of the object or array at this place in a text, and the reference to put in its place, if it is a value.
    #[cfg(feature = "mcp-text")]
    pub(crate) fn structure_at(&self, text: &str, start: usize) -> Option<(usize, &str)> {
        let index = self.index.get(&self.values);
        let (needle, end) = index.structure_at(text, start)?;
        Some((end, index.reference(needle)))
    }

    /// Whether a value may lie across several tokens of JSON.
    #[cfg(feature = "mcp-text")]
    pub(crate) fn spans_tokens(&self) -> bool {
        !self.is_empty() && self.index().spans_tokens
    }

    /// Returns whether a value has a line break, be it as the two characters `\n`: then a line of an output may be a
    /// line of that value.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    /// assert!(!redactor.has_multiline_values());
    /// redactor.add("secret://config", &SecretValue::new("[a]\nkey = 1"));
    /// assert!(redactor.has_multiline_values());
    /// ```
    pub fn has_multiline_values(&self) -> bool {
        !self.is_empty() && self.index().is_multiline
    }

    /// Returns a stream that redacts output which comes in chunks of bytes.
    ///
    /// It shares the values that this redactor has now.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    /// let mut stream = redactor.stream();
    /// let mut output = stream.push(b"key: lin_");
    /// output.extend(stream.push(b"api_Zq8wT3vN\n"));
    /// output.extend(stream.finish());
    /// assert_eq!(output, b"key: secret://linear\n");
    /// ```
    pub fn stream(&self) -> RedactStream {
        RedactStream::new(self.clone())
    }

    /// Returns a stream that redacts text which comes in chunks of whole characters.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    /// let mut stream = redactor.text_stream();
    /// let mut output = stream.push("Schlüssel: lin_");
    /// output += &stream.push("api_Zq8wT3vN");
    /// output += &stream.finish();
    /// assert_eq!(output, "Schlüssel: secret://linear");
    /// ```
    pub fn text_stream(&self) -> RedactTextStream {
        RedactTextStream::new(self.clone())
    }

    fn push(&mut self, needle: Arc<Needle>) {
        self.values.push(needle);
        self.index = SharedIndex::default();
        if self.values.len() > FEW {
            let known = self.known.get_or_insert_default();
            let from = if known.is_empty() {
                0
            } else {
                self.values.len() - 1
            };
            let unknown = &self.values[from..];
            // Of two with the same value, the later one finds more.
            for needle in unknown {
                known.replace(Known(Arc::clone(needle)));
            }
        }
    }

    fn has(&self, needle: &Needle) -> bool {
        let value = needle.value();
        if let Some(known) = &self.known {
            return known.get(value).is_some_and(|own| own.0.covers(needle));
        }
        let mut own = self.values.iter();
        own.any(|own| own.value() == value && own.covers(needle))
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(self.index.get(&self.values))
    }

    /// Calls `on_match` with the start, the end and the reference of each match, in order.
    fn each_match(&self, text: &[u8], mut on_match: impl FnMut(usize, usize, &str)) {
        if self.is_empty() {
            return;
        }
        let index = self.index();
        let view = View {
            index: &index,
            text,
            last: true,
        };
        let mut scan = Scan::new();
        while let Some(found) = scan.next(view) {
            on_match(found.start, found.end, index.reference(found.needle));
        }
    }

    /// Does the same for text with JSON in it. Objects and arrays that are values are found however they are spelled.
    pub(crate) fn each_match_in_json(
        &self,
        text: &str,
        mut on_match: impl FnMut(usize, usize, &str),
    ) {
        if self.is_empty() {
            return;
        }
        let index = self.index();
        let mut found = index.structures_in(text);
        if found.is_empty() {
            return self.each_match(text.as_bytes(), on_match);
        }
        let view = View {
            index: &index,
            text: text.as_bytes(),
            last: true,
        };
        let mut scan = Scan::new();
        let structures: Vec<_> = found.iter().map(|found| found.start..found.end).collect();
        let mut structures = structures.into_iter().peekable();
        while let Some(other) = scan.next(view) {
            while structures.next_if(|at| at.end <= other.start).is_some() {}
            // It does not count if it begins in an object, so what begins behind that may lie in it.
            if let Some(at) = structures.next_if(|at| at.start < other.start && at.end < other.end)
            {
                scan = Scan::from(at.end);
            }
            found.push(other);
        }
        found.sort_by_key(|found| (found.start, Reverse(found.end), found.needle));
        let mut found = found.into_iter().peekable();
        while let Some(first) = found.next() {
            // Of two that overlap the first one counts, of those that begin together the longer one, and what is left
            // of the other one goes with it.
            let mut end = first.end;
            while let Some(other) = found.next_if(|other| other.start < end) {
                end = end.max(other.end);
            }
            on_match(first.start, end, index.reference(first.needle));
        }
    }
}

/// Up to this many values are compared one by one, as almost every call has one or two.
const FEW: usize = 16;

/// A needle, known by its value.
#[derive(Clone)]
struct Known(Arc<Needle>);

impl Borrow<str> for Known {
    fn borrow(&self) -> &str {
        self.0.value()
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.value().hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Known) -> bool {
        self.0.value() == other.0.value()
    }
}

impl Eq for Known {}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("values", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_have_one_index_whichever_needs_it_first() {
        let mut redactor = Redactor::new();
        redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
        let clone = redactor.clone();
        let of_clone = clone.index();
        assert!(Arc::ptr_eq(&of_clone, &redactor.index()));
        assert!(Arc::ptr_eq(&of_clone, &clone.clone().index()));
        redactor.add("secret://github", &SecretValue::new("ghp_R7mKq2xW9c"));
        assert!(!Arc::ptr_eq(&of_clone, &redactor.index()));
        assert!(Arc::ptr_eq(&of_clone, &clone.index()));
    }
}
