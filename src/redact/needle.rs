//! One value, and how each form of it is recognized at a place in a text.
//!
//! No form is ever written out: a form is recognized by walking the value and the text side by side. So nothing but
//! the value itself has to be wiped, whatever the number of its spellings, and a walk that runs out of text can
//! continue where it stopped when there is more.

use std::{iter, sync::Arc};

use zeroize::Zeroizing;

use super::spelling::{
    self, Sextet, Step, base64_character, hex_byte, json_character, percent_byte, plain_run,
    word_begins_at, word_ends_at,
};

/// Values of fewer bytes are found only in their raw form, and only between word boundaries, with a format or without.
const SHORT: usize = 8;

/// A value that would have fewer bytes than this without the whitespace around it is found only with that whitespace.
const SHORTEST: usize = 4;

/// Lines of fewer bytes are not found by themselves.
const SHORT_LINE: usize = 16;

/// Nor are lines of fewer different bytes, none of them a letter or a digit: they are drawn between others.
const FEW_BYTES: usize = 4;

const LINE_ENDS: [char; 2] = ['\n', '\r'];

/// How line ends are written where a line has to be one, such as in a variable of an environment or in JSON. Whoever
/// uses the key puts line ends in their place.
const ESCAPED_LINE_ENDS: [&str; 2] = [r"\n", r"\r"];

/// A value to find, or a part of one, and the reference to put in its place.
pub(super) struct Needle {
    value: Zeroizing<Box<str>>,
    reference: Arc<str>,
    is_short: bool,
    /// Whether it is a value in its format, whose lines are not searched for by themselves: they may be the format's.
    is_formatted: bool,
}

/// The forms in which a value is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Raw,
    Json,
    Percent,
    Hex,
    Base64(Lead),
}

/// Where in a base64 character a value begins: how many of the character's six bits come before the value. A byte
/// begins at the first, the third or the fifth bit of a character, so there are no other places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lead {
    Bits0,
    Bits2,
    Bits4,
}

impl Lead {
    pub(super) const ALL: [Lead; 3] = [Lead::Bits0, Lead::Bits2, Lead::Bits4];

    fn bits(self) -> usize {
        match self {
            Lead::Bits0 => 0,
            Lead::Bits2 => 2,
            Lead::Bits4 => 4,
        }
    }
}

/// The last character of a base64 match that also holds bits of its neighbor: another value may begin in that same
/// character.
#[derive(Clone, Copy)]
pub(super) struct Carry {
    lead: Lead,
    sextet: u8,
}

/// A match of one form that is not complete yet: how far the comparison has come. It holds no part of the value except
/// the last base64 character.
#[derive(Clone, Copy)]
pub(super) struct PartialMatch {
    form: Form,
    /// How much of the value has been matched: base64 characters in base64, else bytes of the value.
    matched: usize,
    /// How many bytes of the text were matched, without padding.
    length: usize,
    /// The base64 character that was matched last.
    tail: Option<u8>,
}

impl PartialMatch {
    pub(super) fn new(form: Form) -> PartialMatch {
        PartialMatch {
            form,
            matched: 0,
            length: 0,
            tail: None,
        }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// How much of a match of `length` bytes is padding.
    pub(super) fn padding(&self, length: usize) -> usize {
        length - self.length
    }

    fn pass(&mut self, bytes: usize) {
        self.matched += bytes;
        self.length += bytes;
    }

    /// The length of the line break before the next unit, 0 if there is none; `None` if the text ends before that
    /// can be told.
    fn line_break(&self, text: &[u8]) -> Option<usize> {
        if self.matched == 0 {
            return Some(0);
        }
        match spelling::line_break(text) {
            Step::Match(length) => Some(length),
            Step::Mismatch => Some(0),
            Step::More => None,
        }
    }
}

impl Needle {
    /// Creates a needle with its own copy of the value, in a buffer of exactly its size.
    pub(super) fn new(reference: Arc<str>, value: &str) -> Needle {
        Needle {
            value: Zeroizing::new(Box::from(value)),
            reference,
            is_short: value.len() < SHORT,
            is_formatted: false,
        }
    }

    /// Creates a needle for what a format makes of a value. It is no less likely to be ordinary text than the value.
    pub(super) fn formatted(reference: Arc<str>, text: &str, value: &str) -> Needle {
        Needle {
            is_short: value.len() < SHORT,
            is_formatted: true,
            ..Needle::new(reference, text)
        }
    }

    pub(super) fn reference(&self) -> &str {
        &self.reference
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// The parts of the value that are replaced also where they occur without the rest: the value without the
    /// whitespace around it, and its lines that are long and have no spaces. Other lines may be ordinary text, which is
    /// no secret.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        let trimmed = self.value.trim_ascii();
        let whole = (trimmed.len() >= SHORTEST).then_some(trimmed);
        let lines = self.value.split(LINE_ENDS).flat_map(|line| {
            let escaped = line.split(ESCAPED_LINE_ENDS[0]);
            let escaped = escaped.flat_map(|line| line.split(ESCAPED_LINE_ENDS[1]));
            iter::once(line).chain(escaped)
        });
        let lines = lines.map(str::trim_ascii);
        let is_like_a_key = |line: &&str| {
            !self.is_formatted
                && line.len() >= SHORT_LINE
                && !line.contains(|c: char| c.is_ascii_whitespace())
                && !is_drawn(line.as_bytes())
        };
        whole.into_iter().chain(lines.filter(is_like_a_key))
    }

    pub(super) fn is_multiline(&self) -> bool {
        // Not by `contains`, which searches for text with vectors, and may leave them on the stack.
        let is_written_end =
            |pair: &[u8]| ESCAPED_LINE_ENDS.iter().any(|end| end.as_bytes() == pair);
        self.value.contains(LINE_ENDS) || self.value.as_bytes().windows(2).any(is_written_end)
    }

    /// A needle for a part of the value, with the same reference.
    pub(super) fn part(&self, text: &str) -> Needle {
        let part = Needle::new(Arc::clone(&self.reference), text);
        Needle {
            is_short: self.is_short || part.is_short,
            ..part
        }
    }

    /// Whether it may lie across several tokens of JSON: it has a character that stands between them, or around a
    /// string, or it is short but for the whitespace around it.
    #[cfg(feature = "mcp-text")]
    pub(super) fn spans_tokens(&self) -> bool {
        let without_space = self.value.trim_ascii().len();
        self.value.contains(['{', '}', '[', ']', ',', ':', '"'])
            || (without_space < SHORT && without_space < self.value.len())
    }

    pub(super) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether all that `other` finds is found by this one too, whose value is the same.
    pub(super) fn covers(&self, other: &Needle) -> bool {
        self.is_short <= other.is_short && self.is_formatted <= other.is_formatted
    }

    /// Continues a walk that began at `start`. Unless `last`, more text may follow `text`.
    pub(super) fn advance(
        &self,
        partial: &mut PartialMatch,
        text: &[u8],
        start: usize,
        last: bool,
    ) -> Step {
        let step = match partial.form {
            Form::Raw => self.raw(partial, text, start, last),
            Form::Json => self.json(partial, &text[start..], last),
            Form::Percent => self.percent(partial, &text[start..], last),
            Form::Hex => self.hex(partial, &text[start..]),
            Form::Base64(lead) => self.base64(lead, partial, &text[start..], last),
        };
        match step {
            Step::More if last => Step::Mismatch,
            step => step,
        }
    }

    fn raw(&self, partial: &mut PartialMatch, text: &[u8], start: usize, last: bool) -> Step {
        let value = &self.value.as_bytes()[partial.matched..];
        let rest = &text[start + partial.length..];
        let common = value.len().min(rest.len());
        if value[..common] != rest[..common] {
            return Step::Mismatch;
        }
        partial.pass(common);
        if common < value.len() {
            return Step::More;
        }
        if !self.is_short() {
            return Step::Match(partial.length);
        }
        if word_ends_at(&text[..start]) {
            return Step::Mismatch;
        }
        match word_begins_at(&text[start + partial.length..]) {
            Some(word) => Step::matching(!word, partial.length),
            None if last => Step::Match(partial.length),
            None => Step::More,
        }
    }

    /// RFC 8259, section 7: any character may be escaped. `"`, control characters, and a backslash that does not
    /// begin an escape of the next character of the value may stand for themselves, since not every writer is
    /// strict. A sequence that the end of the text cuts off is not an escape.
    fn json(&self, partial: &mut PartialMatch, text: &[u8], last: bool) -> Step {
        let value = self.value.as_bytes();
        let mut run = plain_run(&value[partial.matched..], &text[partial.length..], b'\\');
        while !self.value.is_char_boundary(partial.matched + run) {
            run -= 1;
        }
        partial.pass(run);
        while let Some(character) = self.value[partial.matched..].chars().next() {
            let rest = &text[partial.length..];
            match json_character(character, rest) {
                Step::Match(length) => partial.length += length,
                Step::More if last && character == '\\' && !rest.is_empty() => partial.length += 1,
                other => return other,
            }
            partial.matched += character.len_utf8();
        }
        Step::Match(partial.length)
    }

    /// RFC 3986, section 2.1, with `+` for a space as in HTML forms. A percent sign may stand for itself if it does
    /// not begin an escape of the next byte of the value, or if the end of the text cuts the escape off.
    fn percent(&self, partial: &mut PartialMatch, text: &[u8], last: bool) -> Step {
        let value = &self.value.as_bytes()[partial.matched..];
        let run = plain_run(value, &text[partial.length..], b'%');
        partial.pass(run);
        for &byte in &value[run..] {
            let rest = &text[partial.length..];
            match percent_byte(byte, rest) {
                Step::Match(length) => partial.length += length,
                Step::More if last && byte == b'%' && !rest.is_empty() => partial.length += 1,
                other => return other,
            }
            partial.matched += 1;
        }
        Step::Match(partial.length)
    }

    /// RFC 4648, section 8, in either case, possibly wrapped into lines between two bytes.
    fn hex(&self, partial: &mut PartialMatch, text: &[u8]) -> Step {
        for &byte in &self.value.as_bytes()[partial.matched..] {
            let rest = &text[partial.length..];
            let Some(skipped) = partial.line_break(rest) else {
                return Step::More;
            };
            match hex_byte(byte, &rest[skipped..]) {
                Step::Match(length) => partial.length += skipped + length,
                other => return other,
            }
            partial.matched += 1;
        }
        Step::Match(partial.length)
    }

    /// RFC 4648, sections 4 and 5, possibly wrapped into lines between two characters. The padding is part of the
    /// match if all of it is there.
    fn base64(&self, lead: Lead, partial: &mut PartialMatch, text: &[u8], last: bool) -> Step {
        let characters = self.characters(lead);
        while partial.matched < characters {
            let rest = &text[partial.length..];
            let Some(skipped) = partial.line_break(rest) else {
                return Step::More;
            };
            let (step, sextet) =
                base64_character(self.sextet(lead, partial.matched), &rest[skipped..]);
            match step {
                Step::Match(length) => partial.length += skipped + length,
                other => return other,
            }
            partial.tail = Some(sextet);
            partial.matched += 1;
        }
        let mut padded = partial.length;
        for _ in 0..self.free_bits(lead) / 2 {
            match spelling::padding(&text[padded..]) {
                Step::Match(length) => padded += length,
                Step::More if !last => return Step::More,
                Step::More | Step::Mismatch => return Step::Match(partial.length),
            }
        }
        Step::Match(padded)
    }

    /// How many base64 characters hold bits of the value.
    fn characters(&self, lead: Lead) -> usize {
        (lead.bits() + 8 * self.value.len()).div_ceil(6)
    }

    /// How many bits of the last base64 character do not belong to the value: two for each `=` of the padding, if
    /// the value is the end of what was encoded.
    fn free_bits(&self, lead: Lead) -> usize {
        6 * self.characters(lead) - (lead.bits() + 8 * self.value.len())
    }

    /// The bits of the value in one of its base64 characters.
    pub(super) fn sextet(&self, lead: Lead, index: usize) -> Sextet {
        // Bits are counted from one byte before the value, so that no number is negative.
        let bit = 6 * index + 8 - lead.bits();
        let byte = |i: usize| Some(*self.value.as_bytes().get(i.checked_sub(1)?)?);
        let pair = [byte(bit / 8), byte(bit / 8 + 1)];
        Sextet {
            bits: six_bits(pair.map(Option::unwrap_or_default), bit % 8),
            mask: six_bits(
                pair.map(|byte| if byte.is_some() { 0xff } else { 0 }),
                bit % 8,
            ),
        }
    }

    /// The last character of a base64 match of this needle, if a value that follows at once may begin in it.
    pub(super) fn carry(&self, partial: &PartialMatch) -> Option<Carry> {
        let Form::Base64(lead) = partial.form else {
            return None;
        };
        let lead = match self.free_bits(lead) {
            2 => Lead::Bits4,
            4 => Lead::Bits2,
            _ => return None,
        };
        let sextet = partial.tail?;
        Some(Carry { lead, sextet })
    }

    /// The start of a walk through base64 whose first character is the last one of the match before.
    pub(super) fn carried(&self, carry: Carry) -> Option<PartialMatch> {
        let fits = !self.is_short() && self.sextet(carry.lead, 0).allows(carry.sextet);
        fits.then_some(PartialMatch {
            form: Form::Base64(carry.lead),
            matched: 1,
            length: 0,
            tail: Some(carry.sextet),
        })
    }
}

fn six_bits(pair: [u8; 2], skip: usize) -> u8 {
    (u16::from_be_bytes(pair) << skip).to_be_bytes()[0] >> 2
}

fn is_drawn(line: &[u8]) -> bool {
    let is_new = |at: &usize| !line[..*at].contains(&line[*at]);
    // Nearly every line has a letter, so this is asked first.
    !line.iter().any(u8::is_ascii_alphanumeric)
        && (0..line.len()).filter(is_new).nth(FEW_BYTES - 1).is_none()
}
