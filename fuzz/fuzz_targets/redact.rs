//! Property: a redactor replaces every value that was written into a text, in whatever form, and nothing else; and
//! however the text is cut into chunks, a stream gives what the whole text gives.
//!
//! "Nothing else" is checked by writing the text from pieces of a fixed alphabet that no form of a value shares, so
//! that what must be left is known: values are made of lower-case letters, and the rest of the text of what neither
//! they nor their encodings contain. A second text of raw bytes checks the streams, and that what stays is in its
//! place.

#![no_main]

use std::fmt::Write;

use arbitrary::Arbitrary;
use keyward::{Redactor, SecretValue};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    values: Vec<Vec<u8>>,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
    cuts: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Plain(Vec<u8>),
    Value { which: u8, form: Form, choices: Vec<bool> },
}

#[derive(Debug, Arbitrary)]
enum Form {
    Raw,
    Json,
    Percent,
    Hex,
    Base64 { url_safe: bool, padded: bool },
}

fuzz_target!(|input: Input| {
    let values: Vec<String> = input
        .values
        .iter()
        .take(8)
        .filter(|bytes| bytes.len() >= 8)
        .map(|bytes| bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect())
        .collect();
    let mut redactor = Redactor::new();
    for (i, value) in values.iter().enumerate() {
        redactor.add(format!("<{i}>"), &SecretValue::new(value.as_str()));
    }
    known_text(&redactor, &values, &input);
    any_bytes(&redactor, &values, &input);
});

fn known_text(redactor: &Redactor, values: &[String], input: &Input) {
    // Values that overlap themselves or each other are for the second text.
    let apart = |a: &String| values.iter().filter(|b| b.contains(&a[..4])).count() == 1;
    let (mut text, mut expected) = (String::new(), String::new());
    for piece in &input.pieces {
        match piece {
            Piece::Plain(bytes) => {
                const PLAIN: [char; 8] = ['!', ' ', '.', '{', 'é', '🔑', '~', '#'];
                let plain: String =
                    bytes.iter().map(|byte| PLAIN[usize::from(byte % 8)]).collect();
                text += &plain;
                expected += &plain;
            }
            Piece::Value { which, form, choices } if !values.is_empty() => {
                let which = usize::from(*which) % values.len();
                if apart(&values[which]) {
                    write!(text, "|{}|", encode(&values[which], form, choices)).unwrap();
                    write!(expected, "|<{which}>|").unwrap();
                }
            }
            Piece::Value { .. } => {}
        }
    }
    assert_eq!(redactor.redact(&text), expected);
    assert_eq!(in_chunks(redactor, text.as_bytes(), &input.cuts), expected.as_bytes());
}

fn any_bytes(redactor: &Redactor, values: &[String], input: &Input) {
    let mut text = input.bytes.clone();
    for (i, value) in values.iter().enumerate() {
        let form = match input.cuts.get(i).unwrap_or(&0) % 5 {
            0 => Form::Raw,
            1 => Form::Json,
            2 => Form::Percent,
            3 => Form::Hex,
            _ => Form::Base64 { url_safe: i % 2 == 0, padded: false },
        };
        let at = text.len() / (i + 1);
        text.splice(at..at, encode(value, &form, &[]).into_bytes());
    }
    let redacted = redactor.redact_bytes(&text);
    for value in values {
        let raw = redacted.windows(value.len()).any(|part| part == value.as_bytes());
        // A value that was cut by the replacement of another cannot be put together again by it: the
        // references contain no letters.
        assert!(!raw, "{value} survives");
    }
    assert_eq!(in_chunks(redactor, &text, &input.cuts), *redacted);
    if redactor.is_empty() {
        assert_eq!(*redacted, *text);
    }
}

fn in_chunks(redactor: &Redactor, text: &[u8], cuts: &[u8]) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut output = Vec::new();
    let mut rest = text;
    for &cut in cuts {
        let (chunk, tail) = rest.split_at(usize::from(cut).min(rest.len()));
        output.extend(stream.push(chunk));
        rest = tail;
    }
    output.extend(stream.push(rest));
    output.extend(stream.finish());
    output
}

fn encode(value: &str, form: &Form, choices: &[bool]) -> String {
    let mut encoded = String::new();
    let mut choices = choices.iter().copied().chain(std::iter::repeat(true));
    let mut choice = || choices.next().unwrap_or(true);
    match form {
        Form::Raw => encoded.push_str(value),
        Form::Json => {
            for character in value.chars() {
                match (choice(), choice()) {
                    (false, _) => encoded.push(character),
                    (true, true) => write!(encoded, "\\u{:04x}", u32::from(character)).unwrap(),
                    (true, false) => write!(encoded, "\\u{:04X}", u32::from(character)).unwrap(),
                }
            }
        }
        Form::Percent => {
            for byte in value.bytes() {
                match (choice(), choice()) {
                    (false, _) => encoded.push(char::from(byte)),
                    (true, true) => write!(encoded, "%{byte:02x}").unwrap(),
                    (true, false) => write!(encoded, "%{byte:02X}").unwrap(),
                }
            }
        }
        Form::Hex => {
            for byte in value.bytes() {
                if choice() {
                    write!(encoded, "{byte:02x}").unwrap();
                } else {
                    write!(encoded, "{byte:02X}").unwrap();
                }
            }
        }
        Form::Base64 { url_safe, padded } => base64(value, *url_safe, *padded, &mut encoded),
    }
    encoded
}

fn base64(value: &str, url_safe: bool, padded: bool, encoded: &mut String) {
    for group in value.as_bytes().chunks(3) {
        let number = group.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        let number = number << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            let sextet = (number >> (18 - 6 * i)) as u8 & 63;
            encoded.push(match sextet {
                0..=25 => char::from(b'A' + sextet),
                26..=51 => char::from(b'a' + sextet - 26),
                52..=61 => char::from(b'0' + sextet - 52),
                62 => if url_safe { '-' } else { '+' },
                _ => if url_safe { '_' } else { '/' },
            });
        }
        if padded {
            encoded.extend(std::iter::repeat_n('=', 3 - group.len()));
        }
    }
}
