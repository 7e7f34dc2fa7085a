//! What redaction means, expressed in the slowest way: at each position, every form by itself.
//!
//! For values without `\` and `%`, whose own spellings can be read in more than one way.

use std::{collections::BTreeSet, fmt::Write};

use super::encodings::json_spellings;

/// A form of a value in the text: its end, and where its padding begins, which may be the beginning of another value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    end: usize,
    padding: usize,
}

impl Match {
    fn unpadded(end: usize) -> Match {
        Match { end, padding: end }
    }
}

/// Returns the text with each value, and each of its lines that is like a key, replaced by its reference.
pub(crate) fn redact(text: &[u8], values: &[(&str, &str)]) -> Vec<u8> {
    let mut wanted = Vec::new();
    for (reference, value) in values {
        wanted.push((*reference, *value));
        let trimmed = value.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.len() >= 4 {
            wanted.push((*reference, trimmed));
        }
        let lines = value.lines().flat_map(|line| line.split('\r'));
        for line in lines.map(|line| line.trim_matches([' ', '\t'])) {
            let different: BTreeSet<char> = line.chars().collect();
            if line.len() >= 16 && different.len() >= 4 && !line.contains([' ', '\t']) {
                wanted.push((*reference, line));
            }
        }
    }
    let mut output = Vec::new();
    let (mut at, mut replaced) = (0, 0);
    while at < text.len() {
        let mut best: Option<(Match, &str)> = None;
        for (reference, value) in &wanted {
            if let Some(found) = longest(text, at, value)
                && found.end > replaced
                && best.is_none_or(|(best, _)| found.end > best.end)
            {
                best = Some((found, reference));
            }
        }
        if let Some((found, reference)) = best {
            output.extend_from_slice(reference.as_bytes());
            at = found.padding;
            replaced = found.end;
        } else {
            if at >= replaced {
                output.push(text[at]);
            }
            at += 1;
        }
    }
    output
}

/// The longest form of the value that begins at `at`.
fn longest(text: &[u8], at: usize, value: &str) -> Option<Match> {
    if value.len() < 8 {
        let end = at + value.len();
        let bounded = text[at..].starts_with(value.as_bytes())
            && !String::from_utf8_lossy(&text[..at]).ends_with(is_word)
            && !String::from_utf8_lossy(&text[end..]).starts_with(is_word);
        return bounded.then_some(Match::unpadded(end));
    }
    let json = value.chars().map(json_spellings);
    let percent = value.bytes().map(|byte| {
        let mut spellings = vec![format!("%{byte:02x}")];
        spellings.extend((byte == b' ').then(|| "+".to_owned()));
        spellings
    });
    let hex = value.bytes().map(|byte| vec![format!("{byte:02x}")]);
    [
        spelled(text, at, json, value).map(Match::unpadded),
        spelled(text, at, percent, value).map(Match::unpadded),
        spelled(text, at, hex, "").map(Match::unpadded),
        (0..3)
            .filter_map(|skipped| base64(text, at, value, skipped))
            .max(),
    ]
    .into_iter()
    .flatten()
    .max()
}

/// Follows all spellings of all units at once. The characters or bytes of `plain` may stand for themselves.
fn spelled(
    text: &[u8],
    at: usize,
    units: impl Iterator<Item = Vec<String>>,
    plain: &str,
) -> Option<usize> {
    let mut ends = vec![at];
    let units: Vec<_> = units.collect();
    let by_character = units.len() == plain.chars().count();
    let plain: Vec<Vec<u8>> = if by_character {
        plain.chars().map(|c| c.to_string().into_bytes()).collect()
    } else {
        plain.bytes().map(|b| vec![b]).collect()
    };
    for (i, spellings) in units.iter().enumerate() {
        let mut next = Vec::new();
        for &end in &ends {
            for spelling in spellings {
                let candidate = text.get(end..end + spelling.len());
                if candidate.is_some_and(|text| is_spelled(text, spelling.as_bytes())) {
                    next.push(end + spelling.len());
                }
            }
            if let Some(byte) = plain.get(i)
                && text[end..].starts_with(byte)
            {
                next.push(end + byte.len());
            }
        }
        next.sort_unstable();
        next.dedup();
        ends = next;
    }
    ends.into_iter().max()
}

/// Hex digits, also those of escapes, may be in either case. A character, and a one-letter escape of RFC 8259, may
/// not.
fn is_spelled(text: &[u8], spelling: &[u8]) -> bool {
    if let [_] | [b'\\', _] = spelling {
        return text == spelling;
    }
    text.iter().zip(spelling).all(|(text, expected)| {
        text == expected || expected.is_ascii_hexdigit() && text.eq_ignore_ascii_case(expected)
    })
}

/// Reads the bits of the characters from `at` on, and compares them with those of the value if it follows `skipped`
/// bytes of a group of three. Only for base64 in one line.
fn base64(text: &[u8], at: usize, value: &str, skipped: usize) -> Option<Match> {
    let lead = skipped * 8 % 6;
    let count = (lead + value.len() * 8).div_ceil(6);
    let (mut bits, mut begin) = (String::new(), at);
    for _ in 0..count {
        let (sextet, length) = base64_character(text.get(begin..)?)?;
        write!(bits, "{sextet:06b}").expect("a string takes it");
        begin += length;
    }
    let mut expected = String::new();
    for byte in value.bytes() {
        write!(expected, "{byte:08b}").expect("a string takes it");
    }
    if bits[lead..lead + expected.len()] != expected {
        return None;
    }
    let mut end = begin;
    for _ in 0..(3 - (skipped + value.len()) % 3) % 3 {
        let one = ["=", "%3d", "%3D", r"\u003d", r"\u003D"]
            .into_iter()
            .find(|one| text[end..].starts_with(one.as_bytes()));
        match one {
            Some(one) => end += one.len(),
            None => return Some(Match::unpadded(begin)),
        }
    }
    Some(Match {
        end,
        padding: begin,
    })
}

/// The six bits of a character, which may be escaped if it is neither a letter nor a digit, and its length.
fn base64_character(text: &[u8]) -> Option<(usize, usize)> {
    const STANDARD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL_SAFE: &str = "-_";
    let spellings = ["%2b", r"\u002b", "%2f", r"\u002f", r"\/"]
        .into_iter()
        .zip([62, 62, 63, 63, 63]);
    let plain = char::from(*text.first()?);
    let sextet = STANDARD
        .find(plain)
        .or_else(|| Some(62 + URL_SAFE.find(plain)?));
    sextet.map(|sextet| (sextet, 1)).or_else(|| {
        let (spelling, sextet) = spellings.into_iter().find(|(spelling, _)| {
            text.get(..spelling.len())
                .is_some_and(|text| is_spelled(text, spelling.as_bytes()))
        })?;
        Some((sextet, spelling.len()))
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '-'
}
