//! Tool patterns: the language, the order of precedence, and matching a single pattern.

use std::{
    cmp::{Ordering, Reverse},
    fmt,
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    bounds::TEXT,
    error::{Error, FieldError},
};

use positions::Positions;

pub(crate) mod positions;
pub(crate) mod short_positions;
#[cfg(test)]
mod tests;

pub(crate) const ANY_RUN: char = '*';
pub(crate) const ANY_CHAR: char = '?';

/// How many steps the simple matcher gets for each byte. It needs one or two, unless the parts of a pattern almost
/// match almost everywhere.
const PATIENCE: usize = 4;

/// An exact tool name, or a wildcard pattern over tool names.
///
/// * `*` matches any run of characters, including none.
/// * `?` matches exactly one character.
/// * Everything else stands for itself, and case matters. There is no escape: a pattern cannot ask for a literal `*`
///   or `?`, though both wildcards match these characters in a name.
///
/// A pattern matches the whole name, not a part of it. A character is a Unicode scalar value, not a byte and not a
/// grapheme: `?` matches `é` only where it is written as one scalar value.
///
/// ```
/// use keyward::ToolPattern;
///
/// let pattern = ToolPattern::new("agno__linear__*")?;
/// assert!(pattern.matches("agno__linear__create_issue"));
/// assert!(!pattern.matches("agno__jira__create_issue"));
///
/// assert!(ToolPattern::new("caf?")?.matches("café"));
/// assert_eq!(ToolPattern::new("a**b")?, ToolPattern::new("a*b")?);
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// Patterns are equal if their canonical forms are, in which a run of `*` is written as one. `*?` and `?*` are two
/// patterns, although they match the same names.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ToolPattern {
    /// The canonical form, by which patterns are compared.
    text: Arc<str>,
}

/// The first three rules of precedence. The derived order compares the fields from first to last; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Specificity {
    pub(crate) wildcard: bool,
    pub(crate) literals: Reverse<u16>,
    pub(crate) any_runs: u16,
    pub(crate) any_chars: u16,
}

impl ToolPattern {
    /// Creates a pattern from its text. Every text of an allowed length is a pattern.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation), for the field `tool_name`, if `text` is empty or longer
    /// than 1,024 characters, counted before runs of `*` are collapsed.
    pub fn new(text: &str) -> Result<ToolPattern, Error> {
        ToolPattern::parse(text).map_err(|error| Error::validation(vec![error]))
    }

    pub(crate) fn parse(text: &str) -> Result<ToolPattern, FieldError> {
        TEXT.check("tool_name", text)?;
        Ok(ToolPattern {
            text: canonical(text),
        })
    }

    /// Returns whether the pattern matches the whole of `name`.
    ///
    /// The name may be any text, including an empty one or one longer than a pattern may be.
    ///
    /// Takes at most O(m · n/64 + n · log n) steps and O(n) memory, where n and m are the numbers of characters in
    /// the name and in the pattern; usually O(n + m) steps and no memory.
    ///
    /// ```
    /// use keyward::ToolPattern;
    ///
    /// let pattern = ToolPattern::new("*_search*")?;
    /// assert!(pattern.matches("duckduckgo_search"));
    /// assert!(!pattern.matches("duckduckgo_Search"));
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.text, name)
    }

    /// Matches in the simple way to its end, which [`matches`](ToolPattern::matches) is tested against.
    #[cfg(test)]
    pub(crate) fn matches_by_trying(&self, name: &str) -> bool {
        matches_greedily(&self.text, name, usize::MAX).expect("it ends some time")
    }

    /// Returns the canonical form, in which a run of `*` is written as one.
    ///
    /// ```
    /// assert_eq!(keyward::ToolPattern::new("linear_***")?.as_str(), "linear_*");
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the pattern has neither a `*` nor a `?`, so that it matches one name only: itself.
    ///
    /// ```
    /// use keyward::ToolPattern;
    ///
    /// assert!(ToolPattern::new("linear_create_issue")?.is_exact());
    /// assert!(!ToolPattern::new("linear_create_issue?")?.is_exact());
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn is_exact(&self) -> bool {
        !self.text.bytes().any(is_wildcard)
    }

    /// Compares two patterns by precedence.
    ///
    /// The pattern that goes before the other is [`Ordering::Less`], so that sorting puts the best first. An exact
    /// pattern goes before a wildcard pattern; then more literal characters go before fewer, then fewer `*` before
    /// more, then fewer `?` before more. Different patterns can be [`Ordering::Equal`] here; among bindings the
    /// older secret then decides.
    ///
    /// Takes as many steps as both patterns have characters.
    ///
    /// ```
    /// use keyward::ToolPattern;
    ///
    /// let mut patterns = ["*", "search_*", "search_web", "search_???", "*search_*"].map(|text| ToolPattern::new(text).unwrap());
    /// patterns.sort_by(ToolPattern::cmp_specificity);
    /// assert_eq!(
    ///     patterns.each_ref().map(ToolPattern::as_str),
    ///     ["search_web", "search_???", "search_*", "*search_*", "*"],
    /// );
    /// ```
    pub fn cmp_specificity(&self, other: &ToolPattern) -> Ordering {
        self.specificity().cmp(&other.specificity())
    }

    /// Counted anew each time: keeping it would take eight bytes of memory for each binding.
    pub(crate) fn specificity(&self) -> Specificity {
        let (mut chars, mut any_runs, mut any_chars) = (0, 0, 0);
        for byte in self.text.bytes() {
            any_runs += u16::from(char::from(byte) == ANY_RUN);
            any_chars += u16::from(char::from(byte) == ANY_CHAR);
            chars += u16::from(begins_char(byte));
        }
        Specificity {
            wildcard: any_runs + any_chars > 0,
            literals: Reverse(chars - any_runs - any_chars),
            any_runs,
            any_chars,
        }
    }
}

/// Returns whether a pattern in canonical form matches the whole of `name`, as [`ToolPattern::matches`] does.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    matches_greedily(pattern, name, PATIENCE * (pattern.len() + name.len()))
        .unwrap_or_else(|| matches_by_positions(pattern, name))
}

/// Matches in the simple way: tries what follows a `*` at every place, from the left. `None` if that takes more
/// than `steps`.
///
/// Where it ends by itself, it took at most n · (s + 1) + m steps, where s is the length of the longest part of
/// the pattern between two `*` (or an end): a failed attempt costs at most s + 1, and each attempt after the
/// first begins at least one byte later in the name than the one before.
///
/// It goes byte by byte: a literal is found between two characters or not at all, as no character begins with a
/// byte that another one continues with. Only `?` has to take a whole character, and to be tried where one
/// begins.
fn matches_greedily(pattern: &str, name: &str, steps: usize) -> Option<bool> {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let first = same_literals(pattern, name);
    let (mut at, mut place) = (first, first);
    // What follows the last `*`, and where in the name it was tried last. Earlier ones need no second try: where
    // what follows them was found first, it serves as well as anywhere else.
    let mut retry = None;
    for _ in 0..steps {
        match (pattern.get(at), name.get(place)) {
            (Some(b'*'), _) => {
                at += 1;
                if at == pattern.len() {
                    return Some(true);
                }
                retry = Some((at, place));
                continue;
            }
            (Some(b'?'), Some(_)) => {
                at += 1;
                place = next_char(name, place);
                continue;
            }
            (Some(expected), Some(found)) if expected == found => {
                at += 1;
                place += 1;
                continue;
            }
            (None, None) => return Some(true),
            // The name is too short already, and a later attempt leaves less of it.
            (Some(_), None) => return Some(false),
            (_, Some(_)) => {}
        }
        let Some((after, start)) = retry else {
            return Some(false);
        };
        let mut start = next_char(name, start);
        // What follows the `*` is tried only where it begins as it should.
        if pattern[after] != b'?' {
            start += name[start..]
                .iter()
                .take_while(|byte| **byte != pattern[after])
                .count();
        }
        (at, place, retry) = (after, start, Some((after, start)));
    }
    None
}

/// Matches in the bounded way: follows all positions in the name at once.
fn matches_by_positions(pattern: &str, name: &str) -> bool {
    let name = Positions::of(name);
    let mut set = name.first();
    pattern.chars().all(|c| name.follow(&mut set, c)) && name.is_at_end(&set)
}

/// Returns whether a text, as a pattern, stands for more than itself.
pub(crate) fn has_wildcards(text: &str) -> bool {
    text.bytes().any(is_wildcard)
}

/// Returns whether a byte is a wildcard. The bytes of wildcards are not part of any other character.
pub(crate) fn is_wildcard(byte: u8) -> bool {
    char::from(byte) == ANY_RUN || char::from(byte) == ANY_CHAR
}

/// Returns whether a character begins with this byte. The bytes that it continues with are 0b10...
pub(crate) fn begins_char(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// The text of a pattern with each run of `*` written as one.
fn canonical(text: &str) -> Arc<str> {
    if !text.as_bytes().array_windows().any(|pair| pair == b"**") {
        return text.into();
    }
    let mut canonical = String::with_capacity(text.len());
    for c in text.chars() {
        if c != ANY_RUN || !canonical.ends_with(ANY_RUN) {
            canonical.push(c);
        }
    }
    canonical.into()
}

/// How many bytes at the beginning are the same, up to the first wildcard.
fn same_literals(pattern: &[u8], name: &[u8]) -> usize {
    const LOW: u64 = u64::MAX / 0xff;
    // Sets the highest bit of the first byte that equals `byte`. Bits of bytes after it may be wrong.
    let is = |word: u64, byte: u8| {
        let other = word ^ (LOW * u64::from(byte));
        other.wrapping_sub(LOW) & !other & LOW << 7
    };
    let words = pattern.as_chunks().0.iter().zip(name.as_chunks().0);
    let mut same = 0;
    for (pattern, name) in words {
        let (expected, found) = (u64::from_le_bytes(*pattern), u64::from_le_bytes(*name));
        let end = (expected ^ found) | is(expected, b'*') | is(expected, b'?');
        if end != 0 {
            return same + end.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    let literal =
        |(expected, found): &(&u8, &u8)| expected == found && !matches!(**expected, b'*' | b'?');
    let rest = pattern[same..].iter().zip(&name[same..]);
    same + rest.take_while(literal).count()
}

/// Where the character after the one at `place` begins.
fn next_char(name: &[u8], place: usize) -> usize {
    let rest = name.get(place + 1..).unwrap_or_default();
    place + 1 + rest.iter().take_while(|byte| !begins_char(**byte)).count()
}

impl Serialize for ToolPattern {
    /// Serializes the pattern as its canonical form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ToolPattern {
    /// Deserializes the text that [`ToolPattern::new`] takes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ToolPattern, D::Error> {
        let parsed = ToolPattern::parse(&String::deserialize(deserializer)?);
        parsed.map_err(|error| de::Error::custom(error.reason()))
    }
}

impl FromStr for ToolPattern {
    type Err = Error;

    /// Does what [`ToolPattern::new`] does.
    ///
    /// # Errors
    ///
    /// Those of [`ToolPattern::new`].
    fn from_str(text: &str) -> Result<ToolPattern, Error> {
        ToolPattern::new(text)
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolPattern").field(&self.text).finish()
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> String {
        pattern.as_str().to_owned()
    }
}
