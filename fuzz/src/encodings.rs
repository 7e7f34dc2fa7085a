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
    /// The value in this form. `choices` decide where the form leaves a choice, such as which characters are
    /// escaped.
    pub fn encode(self, value: &str, choices: &[bool]) -> String {
        let mut encoded = String::new();
        let mut choices = choices.iter().copied().chain(std::iter::repeat(true));
        let mut choice = || choices.next().unwrap_or(true);
        match self {
            Form::Raw => encoded.push_str(value),
            Form::Json => {
                for character in value.chars() {
                    match (choice(), choice(), short_escape(character)) {
                        (false, false, _) => encoded.push(character),
                        (false, true, Some(letter)) => encoded.extend(['\\', letter]),
                        (_, lower, _) => {
                            for unit in character.encode_utf16(&mut [0; 2]) {
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
                        (false, true) if byte == b' ' => encoded.push('+'),
                        (false, _) if byte.is_ascii() => encoded.push(byte.into()),
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

fn short_escape(character: char) -> Option<char> {
    Some(match character {
        '"' | '\\' | '/' => character,
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        _ => return None,
    })
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

/// Base64 without padding.
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
