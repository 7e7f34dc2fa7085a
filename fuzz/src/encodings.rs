//! The forms in which a value may be written, each by its definition.

use std::fmt::Write;

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary, Clone, Copy)]
pub enum Form {
    Raw,
    Json,
    Percent,
    Hex,
    Base64 { url_safe: bool, padded: bool },
}

impl Form {
    /// The value in this form; `choices` decide where it leaves a choice, such as which characters are escaped.
    pub fn encode(self, value: &str, choices: &[bool]) -> String {
        let mut encoded = String::new();
        let mut choices = choices.iter().copied().chain(std::iter::repeat(true));
        let mut choice = || choices.next().unwrap_or(true);
        match self {
            Form::Raw => encoded.push_str(value),
            Form::Json => {
                let mut units = [0; 2];
                for character in value.chars() {
                    match (choice(), choice()) {
                        (false, _) if !matches!(character, '"' | '\\' | '\0'..' ') => {
                            encoded.push(character);
                        }
                        (_, lower) => {
                            for unit in character.encode_utf16(&mut units) {
                                encoded += "\\u";
                                push_hex(&mut encoded, &unit.to_be_bytes(), || lower);
                            }
                        }
                    }
                }
            }
            Form::Percent => {
                for byte in value.bytes() {
                    match (choice(), choice()) {
                        (false, _) if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
                        (_, lower) => {
                            encoded.push('%');
                            push_hex(&mut encoded, &[byte], || lower);
                        }
                    }
                }
            }
            Form::Hex => push_hex(&mut encoded, value.as_bytes(), choice),
            Form::Base64 { url_safe, padded } => {
                encoded = base64(value.as_bytes(), url_safe);
                if padded {
                    encoded.extend(std::iter::repeat_n('=', (4 - encoded.len() % 4) % 4));
                }
            }
        }
        encoded
    }
}

fn push_hex(to: &mut String, bytes: &[u8], mut lower: impl FnMut() -> bool) {
    for byte in bytes {
        if lower() {
            write!(to, "{byte:02x}").unwrap();
        } else {
            write!(to, "{byte:02X}").unwrap();
        }
    }
}

/// Without padding.
pub fn base64(bytes: &[u8], url_safe: bool) -> String {
    let last = if url_safe { b"-_" } else { b"+/" };
    let mut encoded = String::new();
    for group in bytes.chunks(3) {
        let number = group
            .iter()
            .fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        let number = number << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            let sextet = (number >> (18 - 6 * i)) as u8 & 63;
            encoded.push(char::from(match sextet {
                0..=25 => b'A' + sextet,
                26..=51 => b'a' + sextet - 26,
                52..=61 => b'0' + sextet - 52,
                _ => last[usize::from(sextet) - 62],
            }));
        }
    }
    encoded
}

/// Whether the text has, in the base64 of any bytes, the value at this place of three. A character that holds bits of the
/// value and of its neighbour must have the value's.
pub fn has_in_base64(text: &[u8], value: &str, alignment: usize, url_safe: bool) -> bool {
    let mut low = vec![0; alignment];
    let mut high = vec![0xff; alignment];
    for bytes in [&mut low, &mut high] {
        bytes.extend_from_slice(value.as_bytes());
    }
    low.push(0);
    high.push(0xff);
    let [low, high] = [low, high].map(|bytes| base64(&bytes, url_safe));
    let first = 8 * alignment / 6;
    let end = (8 * (alignment + value.len())).div_ceil(6);
    let bounds = || low.bytes().zip(high.bytes()).take(end).skip(first);
    let fits = |(&found, (low, high)): (&u8, (u8, u8))| {
        let [found, low, high] = [found, low, high].map(|byte| sextet(byte, url_safe));
        // The bits in which the two agree are the value's.
        found.is_some_and(|found| {
            let (low, high) = (low.unwrap_or(0), high.unwrap_or(0));
            (found ^ low) & !(low ^ high) & 63 == 0
        })
    };
    text.windows(end - first)
        .any(|part| part.iter().zip(bounds()).all(fits))
}

fn sextet(byte: u8, url_safe: bool) -> Option<u8> {
    let last = if url_safe { b"-_" } else { b"+/" };
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        _ if byte == last[0] => Some(62),
        _ if byte == last[1] => Some(63),
        _ => None,
    }
}
