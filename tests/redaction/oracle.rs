//! What redaction means, written in the slowest way: at each place, every form of every value by itself.
//!
//! The tests and the fuzz targets share it, so that a rule cannot change for one of them alone.

#![allow(unreachable_pub, reason = "the fuzz targets are a crate of their own")]

use std::collections::HashSet;

/// A value, and the reference that stands for it.
pub struct Named<'a> {
    pub reference: &'a str,
    pub value: &'a str,
}

/// The text with each value, and each line like a key of one, replaced: the leftmost match first, of those the longest,
/// of those the value that comes first.
pub fn redact(text: &[u8], values: &[Named<'_>]) -> Vec<u8> {
    let values: Vec<Named<'_>> = values.iter().flat_map(with_parts).collect();
    let values = &*values;
    let mut output = Vec::new();
    let (mut at, mut replaced) = (0, 0);
    let mut shared = None;
    while at < text.len() {
        let after = shared.take().and_then(|shared| {
            longest(values, |value| {
                vec![base64(text, at, value, Begin::Shared(shared))]
            })
        });
        let found = after.or_else(|| longest(values, |value| forms(text, at, value)));
        if let Some((found, reference)) = found.filter(|(found, _)| found.end > replaced) {
            output.extend_from_slice(reference.as_bytes());
            at = found.padding;
            replaced = found.end;
            shared = found.shared;
        } else {
            if at >= replaced {
                output.push(text[at]);
            }
            at += 1;
        }
    }
    output
}

/// A value, and what is found of it alone: the value without whitespace around it; and 16 bytes or more that stand
/// between line breaks, with nothing but whitespace around them and none within, one of them a letter or a digit, or
/// four of them different. A line break may be written as `\n` or `\r`.
fn with_parts<'a>(value: &Named<'a>) -> Vec<Named<'a>> {
    let named = |found: &'a str| Named {
        reference: value.reference,
        value: found,
    };
    let mut all = vec![named(value.value)];
    let trimmed = value.value.trim_ascii();
    if trimmed.len() >= 4 {
        all.push(named(trimmed));
    }
    for line in value.value.split(['\n', '\r']) {
        let written = line.split("\\n").flat_map(|line| line.split("\\r"));
        for line in written.chain([line]) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if let [word] = *words
                && word.len() >= 16
                && (word.contains(|c: char| c.is_ascii_alphanumeric())
                    || word.bytes().collect::<HashSet<u8>>().len() >= 4)
            {
                all.push(named(word));
            }
        }
    }
    all
}

#[derive(Clone, Copy)]
struct Found {
    end: usize,
    /// Where its padding begins, in which another value may begin.
    padding: usize,
    /// The base64 character that the match ends in, if that also holds bits of what comes next.
    shared: Option<Shared>,
}

#[derive(Clone, Copy)]
struct Shared {
    sextet: u8,
    /// How many of its last bits do not belong to the value.
    free: usize,
}

fn longest<'a>(
    values: &[Named<'a>],
    find: impl Fn(&str) -> Vec<Option<Found>>,
) -> Option<(Found, &'a str)> {
    let mut best: Option<(Found, &str)> = None;
    for Named { reference, value } in values {
        for found in find(value).into_iter().flatten() {
            if best.is_none_or(|(best, _)| found.end > best.end) {
                best = Some((found, reference));
            }
        }
    }
    best
}

fn forms(text: &[u8], at: usize, value: &str) -> Vec<Option<Found>> {
    let plain = |end| Found {
        end,
        padding: end,
        shared: None,
    };
    let raw = text[at..]
        .starts_with(value.as_bytes())
        .then_some(at + value.len());
    if value.len() < 8 {
        // A character has four bytes at most.
        let alone = |end: &usize| {
            let (before, after) = (&text[at.saturating_sub(4)..at], &text[*end..]);
            !String::from_utf8_lossy(before).ends_with(is_word)
                && !String::from_utf8_lossy(&after[..after.len().min(4)]).starts_with(is_word)
        };
        return vec![raw.filter(alone).map(plain)];
    }
    let mut found: Vec<_> = [
        raw,
        json(text, at, value),
        percent(text, at, value),
        hex(text, at, value),
    ]
    .map(|end| end.map(plain))
    .into();
    found.extend([0, 2, 4].map(|lead| base64(text, at, value, Begin::Lead(lead))));
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '-'
}

/// Matches JSON. A backslash stands for itself only where it does not begin an escape of the expected character.
fn json(text: &[u8], mut at: usize, value: &str) -> Option<usize> {
    for character in value.chars() {
        at += match json_escape(text.get(at..)?, character) {
            Some(length) => length,
            None => plain(text, at, character.encode_utf8(&mut [0; 4]).as_bytes())?,
        };
    }
    Some(at)
}

/// The length of the escape of this character that the text begins with.
fn json_escape(text: &[u8], character: char) -> Option<usize> {
    if text.first() != Some(&b'\\') {
        return None;
    }
    let letters = [
        "\"\"", "\\\\", "//", "\u{8}b", "\u{c}f", "\nn", "\rr", "\tt",
    ];
    let letter = letters.iter().find(|pair| pair.starts_with(character));
    if letter.is_some_and(|pair| text.get(1) == pair.as_bytes().get(1)) {
        return Some(2);
    }
    let mut length = 0;
    for unit in character.encode_utf16(&mut [0; 2]) {
        let [high, low] = unit.to_be_bytes();
        let fits = text.get(length..)?.starts_with(b"\\u")
            && hex_pair(text, length + 2) == Some(high)
            && hex_pair(text, length + 4) == Some(low);
        if !fits {
            return None;
        }
        length += 6;
    }
    Some(length)
}

/// Matches percent-encoding. A percent sign stands for itself only where it does not begin an escape of the expected
/// byte.
fn percent(text: &[u8], mut at: usize, value: &str) -> Option<usize> {
    for byte in value.bytes() {
        at += if text.get(at) == Some(&b'%') && hex_pair(text, at + 1) == Some(byte) {
            3
        } else if byte == b' ' && text.get(at) == Some(&b'+') {
            1
        } else {
            plain(text, at, &[byte])?
        };
    }
    Some(at)
}

fn hex(text: &[u8], mut at: usize, value: &str) -> Option<usize> {
    for (i, byte) in value.bytes().enumerate() {
        if i > 0 {
            at += line_break(text, at);
        }
        if hex_pair(text, at)? != byte {
            return None;
        }
        at += 2;
    }
    Some(at)
}

fn plain(text: &[u8], at: usize, expected: &[u8]) -> Option<usize> {
    text.get(at..)?
        .starts_with(expected)
        .then_some(expected.len())
}

fn hex_pair(text: &[u8], at: usize) -> Option<u8> {
    let digits = text.get(at..at + 2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

/// The length of the line break here; 0 if there is none.
fn line_break(text: &[u8], at: usize) -> usize {
    let breaks = [
        "\r\n", "\n", "\\r\\n", "\\n", "%0D%0A", "%0d%0a", "%0A", "%0a",
    ];
    let found = breaks
        .iter()
        .find(|line_break| text[at..].starts_with(line_break.as_bytes()));
    found.map_or(0, |found| found.len())
}

#[derive(Clone, Copy)]
enum Begin {
    /// This many bits of the first character belong to what comes before the value.
    Lead(usize),
    /// The value begins in a character before this place.
    Shared(Shared),
}

/// Reads the bits of as many characters as the value needs, and compares those that belong to it.
fn base64(text: &[u8], mut at: usize, value: &str, begin: Begin) -> Option<Found> {
    if value.len() < 8 {
        return None;
    }
    let (lead, mut sextet, mut read) = match begin {
        Begin::Lead(lead) => (lead, 0, 0),
        Begin::Shared(Shared { sextet, free }) => (6 - free, sextet, 6),
    };
    let end = lead + 8 * value.len();
    // Whether the bits of the last character read agree with the value, as far as they belong to it.
    let fits = |sextet: u8, read: usize| {
        (read - 6..read)
            .filter(|bit| (lead..end).contains(bit))
            .all(|bit| {
                let found = sextet >> (read - 1 - bit) & 1;
                let byte = value.as_bytes()[(bit - lead) / 8];
                found == byte >> (7 - (bit - lead) % 8) & 1
            })
    };
    if read > 0 && !fits(sextet, read) {
        return None;
    }
    while read < end {
        if read > 0 {
            at += line_break(text, at);
        }
        let length;
        (sextet, length) = read_sextet(text, at)?;
        read += 6;
        at += length;
        if !fits(sextet, read) {
            return None;
        }
    }
    let free = read - end;
    let plain = Found {
        end: at,
        padding: at,
        shared: (free > 0).then_some(Shared { sextet, free }),
    };
    let padded = padding(text, at, free / 2).map(|end| Found {
        end,
        padding: at,
        shared: None,
    });
    padded.filter(|_| free > 0).or(Some(plain))
}

/// The six bits of the character at this place, and its length.
fn read_sextet(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let spelled = |spellings: &[&str]| {
        spellings
            .iter()
            .find(|spelling| text[at..].starts_with(spelling.as_bytes()))
            .map(|spelling| spelling.len())
    };
    if let Some(length) = spelled(&["+", "-", "\\u002b", "\\u002B", "%2b", "%2B"]) {
        return Some((62, length));
    }
    if let Some(length) = spelled(&["/", "_", "\\/", "\\u002f", "\\u002F", "%2f", "%2F"]) {
        return Some((63, length));
    }
    let sextet = match *text.get(at)? {
        byte @ b'A'..=b'Z' => byte - b'A',
        byte @ b'a'..=b'z' => byte - b'a' + 26,
        byte @ b'0'..=b'9' => byte - b'0' + 52,
        _ => return None,
    };
    Some((sextet, 1))
}

/// The place where `count` characters of padding end, if all of them are there.
fn padding(text: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        let spellings = ["=", "\\u003d", "\\u003D", "%3d", "%3D"];
        let found = spellings
            .iter()
            .find(|spelling| text[at..].starts_with(spelling.as_bytes()));
        at += found?.len();
    }
    Some(at)
}

/// Whether one output is the other, but for up to two bytes, and two of line breaks, before each reference.
pub fn is_same_but_for_pauses(output: &[u8], expected: &[u8], references: &[String]) -> bool {
    let is_line_break = |byte: &u8| b"\r\n".contains(byte);
    // The places in the output at which what was compared so far can end.
    let mut ends = vec![0];
    let mut at = 0;
    while at < expected.len() && !ends.is_empty() {
        let rest = &expected[at..];
        let reference = references.iter().find(|it| rest.starts_with(it.as_bytes()));
        let (step, most) = match reference {
            Some(reference) => (reference.as_bytes(), 2),
            None => (&rest[..1], 0),
        };
        let mut next = Vec::new();
        for end in ends {
            let mut shown = 0;
            for (from, byte) in (end..).zip(&output[end..]) {
                if output[from..].starts_with(step) {
                    next.push(from + step.len());
                }
                shown += usize::from(!is_line_break(byte));
                if shown > most || reference.is_none() || from - end >= 4 {
                    break;
                }
            }
        }
        next.sort_unstable();
        next.dedup();
        ends = next;
        at += step.len();
    }
    ends.contains(&output.len())
}
