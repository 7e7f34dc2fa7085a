//! What redaction means, said in the slowest way: at each place, every form by itself.
//!
//! For values without `\` and `%`, whose own spellings can be read in more than one way.

use std::fmt::Write;

use super::encodings::json_spellings;

/// The text with each value replaced by its reference.
pub(crate) fn redact(text: &[u8], values: &[(&str, &str)]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let mut best: Option<(usize, &str)> = None;
        for (reference, value) in values {
            if let Some(end) = longest(text, at, value)
                && best.is_none_or(|(longest, _)| end > longest)
            {
                best = Some((end, reference));
            }
        }
        if let Some((end, reference)) = best {
            output.extend_from_slice(reference.as_bytes());
            at = end;
        } else {
            output.push(text[at]);
            at += 1;
        }
    }
    output
}

/// The end of the longest form of the value that begins at `at`.
fn longest(text: &[u8], at: usize, value: &str) -> Option<usize> {
    if value.len() < 8 {
        let end = at + value.len();
        let bounded = text[at..].starts_with(value.as_bytes())
            && !String::from_utf8_lossy(&text[..at]).ends_with(is_word)
            && !String::from_utf8_lossy(&text[end..]).starts_with(is_word);
        return bounded.then_some(end);
    }
    let json = value.chars().map(json_spellings);
    let percent = value.bytes().map(|byte| {
        let mut spellings = vec![format!("%{byte:02x}")];
        spellings.extend((byte == b' ').then(|| "+".to_owned()));
        spellings
    });
    let hex = value.bytes().map(|byte| vec![format!("{byte:02x}")]);
    [
        spelled(text, at, json, value),
        spelled(text, at, percent, value),
        spelled(text, at, hex, ""),
        (0..3)
            .filter_map(|skipped| base64(text, at, value, skipped))
            .max(),
    ]
    .into_iter()
    .flatten()
    .max()
}

/// Follows all spellings of all units at once. The bytes of `plain` may stand for themselves.
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
                if candidate.is_some_and(|text| text.eq_ignore_ascii_case(spelling.as_bytes())) {
                    next.push(end + spelling.len());
                }
            }
            if let Some(byte) = plain.get(i)
                && text[end..].starts_with(byte)
            {
                next.push(end + byte.len());
            }
        }
        ends = next;
    }
    ends.into_iter().max()
}

/// Reads the bits of the characters from `at` on, and compares those that are the value's if it follows
/// `skipped` bytes of a group of three. Only unescaped base64 in one line.
fn base64(text: &[u8], at: usize, value: &str, skipped: usize) -> Option<usize> {
    const STANDARD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let lead = skipped * 8 % 6;
    let count = (lead + value.len() * 8).div_ceil(6);
    let mut bits = String::new();
    for &character in text.get(at..at + count)? {
        let standard = match char::from(character) {
            '-' => '+',
            '_' => '/',
            other => other,
        };
        write!(bits, "{:06b}", STANDARD.find(standard)?).expect("a string takes it");
    }
    let mut expected = String::new();
    for byte in value.bytes() {
        write!(expected, "{byte:08b}").expect("a string takes it");
    }
    if bits[lead..lead + expected.len()] != expected {
        return None;
    }
    let padding = (3 - (skipped + value.len()) % 3) % 3;
    let end = at + count;
    let padded = text[end..].starts_with(&b"=="[..padding]);
    Some(if padded { end + padding } else { end })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '-'
}
