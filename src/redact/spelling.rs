//! The spellings of one unit (a character, a byte, six bits), and what counts as a word.

/// The line breaks that may stand inside hex and base64, since tools wrap them by default: plain, in a JSON string,
/// and percent-encoded. None is the beginning of another.
const LINE_BREAKS: [&[u8]; 8] = [
    b"\n", b"\r\n", b"\\n", b"\\r\\n", b"%0A", b"%0a", b"%0D%0A", b"%0d%0a",
];

/// The spellings of `+` and `/` in base64 that stands in a JSON string or is percent-encoded.
const ESCAPED_SEXTETS: [(&[u8], u8); 9] = [
    (b"\\/", 63),
    (b"\\u002b", 62),
    (b"\\u002B", 62),
    (b"\\u002f", 63),
    (b"\\u002F", 63),
    (b"%2b", 62),
    (b"%2B", 62),
    (b"%2f", 63),
    (b"%2F", 63),
];

/// The padding of base64: plain, in a JSON string, and percent-encoded.
const PADDING: [&[u8]; 5] = [b"=", b"\\u003d", b"\\u003D", b"%3d", b"%3D"];

/// The outcome of matching something against the text at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is there, and takes this many bytes.
    Match(usize),
    Mismatch,
    /// The text ends before this can be told.
    More,
}

impl Step {
    pub(super) fn matching(condition: bool, length: usize) -> Step {
        if condition {
            Step::Match(length)
        } else {
            Step::Mismatch
        }
    }
}

fn literal(expected: &[u8], text: &[u8]) -> Step {
    if text.len() < expected.len() && expected.starts_with(text) {
        return Step::More;
    }
    Step::matching(text.starts_with(expected), expected.len())
}

/// Matches any one of several literals, none of which is the beginning of another.
fn one_of<'a>(literals: impl IntoIterator<Item = &'a [u8]>, text: &[u8]) -> Step {
    let mut outcome = Step::Mismatch;
    for expected in literals {
        match literal(expected, text) {
            Step::Match(length) => return Step::Match(length),
            Step::More => outcome = Step::More,
            Step::Mismatch => {}
        }
    }
    outcome
}

pub(super) fn line_break(text: &[u8]) -> Step {
    match text.first() {
        Some(b'\n' | b'\r' | b'\\' | b'%') => one_of(LINE_BREAKS, text),
        Some(_) => Step::Mismatch,
        None => Step::More,
    }
}

pub(super) fn padding(text: &[u8]) -> Step {
    one_of(PADDING, text)
}

/// How many bytes at the beginning of both are the same, up to the first `escape`, counted in steps and so perhaps a
/// few too few. Most walks that get far go through plain text, and this is several times as fast as unit by unit.
pub(super) fn plain_run(value: &[u8], text: &[u8], escape: u8) -> usize {
    const STEP: usize = 64;
    let steps = value.chunks_exact(STEP).zip(text.chunks_exact(STEP));
    let plain = |text: &[u8]| {
        text.iter()
            .fold(0, |any, &byte| any | u8::from(byte == escape))
            == 0
    };
    STEP * steps
        .take_while(|(value, text)| value == text && plain(text))
        .count()
}

/// Matches one character of a JSON string.
pub(super) fn json_character(character: char, text: &[u8]) -> Step {
    match text.first() {
        None => Step::More,
        Some(b'\\') => match json_escape(character, text) {
            Step::Mismatch if character == '\\' => Step::Match(1),
            step => step,
        },
        Some(_) => literal(character.encode_utf8(&mut [0; 4]).as_bytes(), text),
    }
}

fn json_escape(character: char, text: &[u8]) -> Step {
    match text.get(1) {
        None => Step::More,
        Some(b'u') => unicode_escape(character, text),
        Some(&letter) => Step::matching(short_escape(character) == Some(letter), 2),
    }
}

/// The letter of the two-character escape that RFC 8259 defines for `character`.
pub(super) fn short_escape(character: char) -> Option<u8> {
    Some(match character {
        '"' => b'"',
        '\\' => b'\\',
        '/' => b'/',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => return None,
    })
}

/// Matches `\uXXXX`, twice for a character beyond the Basic Multilingual Plane.
fn unicode_escape(character: char, text: &[u8]) -> Step {
    let mut text = text.iter();
    let mut length = 0;
    for unit in character.encode_utf16(&mut [0; 2]) {
        let [high, low] = unit.to_be_bytes();
        for expected in [b'\\', b'u'] {
            match text.next() {
                None => return Step::More,
                Some(&byte) if byte == expected => {}
                Some(_) => return Step::Mismatch,
            }
        }
        for expected in [high >> 4, high & 15, low >> 4, low & 15] {
            match text.next() {
                None => return Step::More,
                Some(&byte) if hex_digit(byte) == Some(expected) => {}
                Some(_) => return Step::Mismatch,
            }
        }
        length += 6;
    }
    Step::Match(length)
}

/// Matches one byte, percent-encoded or not.
pub(super) fn percent_byte(byte: u8, text: &[u8]) -> Step {
    match text.first() {
        None => Step::More,
        Some(b'%') => match hex_byte(byte, &text[1..]) {
            Step::Match(length) => Step::Match(1 + length),
            Step::Mismatch if byte == b'%' => Step::Match(1),
            step => step,
        },
        Some(b'+') if byte == b' ' => Step::Match(1),
        Some(&first) => Step::matching(first == byte, 1),
    }
}

/// Matches one byte as two hex digits.
pub(super) fn hex_byte(byte: u8, text: &[u8]) -> Step {
    for (i, expected) in [byte >> 4, byte & 15].into_iter().enumerate() {
        match text.get(i) {
            None => return Step::More,
            Some(&digit) if hex_digit(digit) == Some(expected) => {}
            Some(_) => return Step::Mismatch,
        }
    }
    Step::Match(2)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// What the six bits of a base64 character must be where `mask` is set; the other bits do not belong to the value.
#[derive(Clone, Copy)]
pub(super) struct Sextet {
    pub(super) bits: u8,
    pub(super) mask: u8,
}

impl Sextet {
    pub(super) fn allows(self, sextet: u8) -> bool {
        sextet & self.mask == self.bits
    }
}

/// Matches one character of base64 in either alphabet; also returns its six bits if it matches.
pub(super) fn base64_character(expected: Sextet, text: &[u8]) -> (Step, u8) {
    let Some(&first) = text.first() else {
        return (Step::More, 0);
    };
    if let Some(sextet) = sextet_of(first) {
        return (Step::matching(expected.allows(sextet), 1), sextet);
    }
    let mut outcome = Step::Mismatch;
    for (spelling, sextet) in ESCAPED_SEXTETS {
        if !expected.allows(sextet) {
            continue;
        }
        match literal(spelling, text) {
            Step::Match(length) => return (Step::Match(length), sextet),
            Step::More => outcome = Step::More,
            Step::Mismatch => {}
        }
    }
    (outcome, 0)
}

fn sextet_of(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Returns whether the text ends in a letter, a digit, `_` or `-`. Bytes that are not valid UTF-8 are none of these.
pub(super) fn word_ends_at(text: &[u8]) -> bool {
    (1..=text.len().min(4))
        .find_map(|length| std::str::from_utf8(&text[text.len() - length..]).ok())
        .and_then(|tail| tail.chars().next_back())
        .is_some_and(is_word)
}

/// Returns whether the text begins with a letter, a digit, `_` or `-`; `None` if that depends on what follows.
pub(super) fn word_begins_at(text: &[u8]) -> Option<bool> {
    let head = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return error.error_len().map(|_| false),
    };
    valid.chars().next().map(is_word)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-')
}
