//! Property: a redactor replaces every value in a text, in whatever form, and nothing else: its result is what the
//! rules, applied at one place after another, make of the text. However the text is cut into chunks, a stream
//! returns what the whole text gives, but for two bytes before a reference where it pauses; text, bytes, and the
//! strings, keys and numbers of JSON are treated alike; and a redactor that was merged from several does what one with
//! all their values does.
//!
//! The texts are made of values in all their forms, whole and cut off, wrapped into lines, escaped once more, and
//! encoded together with others. The values are made of few characters, of repetitions, and of parts and forms of
//! each other, so that they overlap.

#![no_main]

use std::borrow::Cow;

use arbitrary::Arbitrary;
use keyward::{RedactStream, Redactor, SecretValue};
use keyward_fuzz::{
    encodings::{Form, base64},
    json::pick,
    redaction::{self, Named},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value as Json, json};

#[derive(Debug, Arbitrary)]
struct Input {
    values: Vec<Value>,
    pieces: Vec<Piece>,
    cuts: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Value {
    /// Letters and digits, of which most values consist.
    Usual(Vec<u8>),
    /// Characters that are escaped somewhere, or look like the beginning of an escape.
    Escaped(Vec<u8>),
    Repeated {
        unit: [u8; 2],
        characters: u8,
        length: u8,
    },
    Any(String),
    /// A part of another value, with something after it.
    Part {
        of: u8,
        from: u8,
        length: u8,
        then: Vec<u8>,
    },
    Both(u8, u8),
    /// Others as lines.
    Lines {
        of: Vec<u8>,
        line_break: u8,
    },
    /// Another value in one of its forms.
    Form(u8, Form),
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Value {
        which: u8,
        /// One of its lines instead.
        line: Option<u8>,
        form: Form,
        choices: Vec<bool>,
        wrapped: Option<Wrapped>,
        /// How much is missing at the beginning and at the end.
        cut: Option<(u8, u8)>,
    },
    /// Base64 of several values in a row, each with something before it.
    Together {
        parts: Vec<(u8, u8)>,
        url_safe: bool,
        padded: bool,
        wrapped: Option<Wrapped>,
        escaped: Escaped,
    },
    Plain(Vec<u8>),
    Bytes(Vec<u8>),
}

/// How base64 is escaped within JSON or a URL.
#[derive(Debug, Arbitrary)]
enum Escaped {
    No,
    Json,
    JsonUpper,
    Percent,
    PercentUpper,
}

#[derive(Debug, Arbitrary, Clone, Copy)]
struct Wrapped {
    every: u8,
    line_break: u8,
}

/// The most bytes of a text, since applying the rules takes its time.
const MOST_BYTES: usize = 1024;

fuzz_target!(|input: Input| {
    let mut values: Vec<String> = Vec::new();
    for value in input.values.iter().take(6) {
        let value = value.text(&values);
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    }
    let mut text = Vec::new();
    for piece in &input.pieces {
        piece.write(&values, &mut text);
    }
    text.truncate(MOST_BYTES);

    let references: Vec<String> = (0..values.len()).map(|i| format!("<{i}>")).collect();
    let named: Vec<Named<'_>> = references
        .iter()
        .zip(&values)
        .map(|(reference, value)| Named { reference, value })
        .collect();
    let expected = redaction::redact(&text, &named);
    let [whole, merged] = redactors(&named);
    for redactor in [&whole, &merged] {
        let redacted = redactor.redact_bytes(&text);
        same(&redacted, &expected);
        assert_eq!(matches!(redacted, Cow::Borrowed(_)), expected == text);
        same(&in_chunks(redactor, &text, &input.cuts), &expected);
    }
    let every_byte = vec![1; text.len()];
    same(&in_chunks(&whole, &text, &every_byte), &expected);
    for cuts in [&input.cuts, &every_byte] {
        let output = with_pauses(&whole, &text, cuts);
        assert!(
            redaction::is_same_but_for_pauses(&output, &expected, &references),
            "{} instead of {}",
            String::from_utf8_lossy(&output),
            String::from_utf8_lossy(&expected),
        );
    }
    if let (Ok(text), Ok(expected)) = (str::from_utf8(&text), str::from_utf8(&expected)) {
        assert_eq!(whole.redact(text), expected);
        assert_eq!(in_chunks_of_text(&whole, text, &input.cuts), expected);
        in_json(&whole, text, expected);
        in_numbers(&whole, text, &named);
    }
});

impl Value {
    fn text(&self, others: &[String]) -> String {
        let other = |which: &u8| match others {
            [] => "",
            others => others[usize::from(*which) % others.len()].as_str(),
        };
        match self {
            Value::Usual(characters) => characters
                .iter()
                .map(|n| char::from(pick(b"abUz019_-", *n)))
                .collect(),
            Value::Escaped(characters) => spelled(characters),
            Value::Repeated {
                unit,
                characters,
                length,
            } => spelled(&unit[..usize::from(1 + characters % 2)])
                .chars()
                .cycle()
                .take((length % 32).into())
                .collect(),
            Value::Any(text) => text.chars().take(64).collect(),
            Value::Part {
                of,
                from,
                length,
                then,
            } => other(of)
                .chars()
                .skip((from % 16).into())
                .take((length % 16).into())
                .chain(spelled(then).chars())
                .collect(),
            Value::Both(first, second) => other(first)
                .chars()
                .chain(other(second).chars())
                .take(128)
                .collect(),
            Value::Lines { of, line_break } => {
                let lines: Vec<&str> = of.iter().take(4).map(other).collect();
                let line_break = pick(&["\n", "\r\n", "\n  ", " \r"], *line_break);
                (lines.join(line_break) + line_break)
                    .chars()
                    .take(128)
                    .collect()
            }
            Value::Form(of, form) => form.encode(other(of), &[]).chars().take(128).collect(),
        }
    }
}

/// A text of characters that matter to some form.
fn spelled(characters: &[u8]) -> String {
    const CHARACTERS: [char; 26] = [
        'a', 'b', 'U', '5', '0', '2', 'n', 'r', 'u', '\\', '"', '/', '+', '%', ' ', '=', '-', '_',
        '\n', '\r', '\t', 'é', '🔑', 'è', '字', '𝒳',
    ];
    characters.iter().map(|n| pick(&CHARACTERS, *n)).collect()
}

impl Piece {
    fn write(&self, values: &[String], text: &mut Vec<u8>) {
        let value = |which: &u8| match values {
            [] => "",
            values => values[usize::from(*which) % values.len()].as_str(),
        };
        match self {
            Piece::Value {
                which,
                line,
                form,
                choices,
                wrapped,
                cut,
            } => {
                let value = value(which);
                let line = line.and_then(|line| value.lines().nth(usize::from(line % 4)));
                let encoded = form.encode(line.unwrap_or(value), choices).into_bytes();
                let mut encoded = wrap(&encoded, *wrapped);
                if let Some((before, after)) = cut {
                    encoded.truncate(encoded.len().saturating_sub((after % 8).into()));
                    encoded.drain(..usize::from(before % 4).min(encoded.len()));
                }
                text.extend(encoded);
            }
            Piece::Together {
                parts,
                url_safe,
                padded,
                wrapped,
                escaped,
            } => {
                let mut bytes = Vec::new();
                for (before, which) in parts.iter().take(8) {
                    bytes.extend(std::iter::repeat_n(b'?', (before % 4).into()));
                    bytes.extend_from_slice(value(which).as_bytes());
                }
                let mut encoded = base64(&bytes, *url_safe);
                if *padded {
                    encoded.extend(std::iter::repeat_n('=', (4 - encoded.len() % 4) % 4));
                }
                let escapes = match escaped {
                    Escaped::No => ["/", "+", "="],
                    Escaped::Json => ["\\/", "\\u002b", "\\u003d"],
                    Escaped::JsonUpper => ["\\u002F", "\\u002B", "\\u003D"],
                    Escaped::Percent => ["%2f", "%2b", "%3d"],
                    Escaped::PercentUpper => ["%2F", "%2B", "%3D"],
                };
                let mut encoded = wrap(encoded.as_bytes(), *wrapped);
                for (plain, escape) in ["/", "+", "="].into_iter().zip(escapes) {
                    let escaped = String::from_utf8_lossy(&encoded).replace(plain, escape);
                    encoded = escaped.into_bytes();
                }
                text.extend(encoded);
            }
            Piece::Plain(characters) => text.extend(spelled(characters).into_bytes()),
            Piece::Bytes(bytes) => text.extend(bytes),
        }
    }
}

fn wrap(encoded: &[u8], wrapped: Option<Wrapped>) -> Vec<u8> {
    const LINE_BREAKS: [&[u8]; 10] = [
        b"\n", b"\r\n", b"\\n", b"\\r\\n", b"%0A", b"%0a", b"%0D%0A", b"%0d%0a", b"\r", b"\n\n",
    ];
    match wrapped {
        None => encoded.to_vec(),
        Some(Wrapped { every, line_break }) => encoded
            .chunks(usize::from(every % 16) + 1)
            .collect::<Vec<_>>()
            .join(pick(&LINE_BREAKS, line_break)),
    }
}

/// A redactor made at once, and one merged from redactors for each value in turn: both must do the same.
fn redactors(values: &[Named<'_>]) -> [Redactor; 2] {
    let (mut whole, mut merged) = (Redactor::new(), Redactor::new());
    for Named { reference, value } in values {
        let value = SecretValue::new(*value);
        whole.add(*reference, &value);
        let mut one = Redactor::new();
        one.add(*reference, &value);
        merged.merge(&one);
        // A value that is there already is not added twice.
        merged.merge(&one);
    }
    assert_eq!([whole.len(), merged.len()], [values.len(); 2]);
    [whole, merged]
}

fn in_chunks(redactor: &Redactor, text: &[u8], cuts: &[u8]) -> Vec<u8> {
    streamed(redactor, text, cuts, |_| Vec::new())
}

/// What a stream makes of the text if it pauses after each chunk.
fn with_pauses(redactor: &Redactor, text: &[u8], cuts: &[u8]) -> Vec<u8> {
    streamed(redactor, text, cuts, RedactStream::pause)
}

fn streamed(
    redactor: &Redactor,
    text: &[u8],
    cuts: &[u8],
    between: impl Fn(&mut RedactStream) -> Vec<u8>,
) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut output = Vec::new();
    let mut rest = text;
    for &cut in cuts {
        let (chunk, tail) = rest.split_at(usize::from(cut).min(rest.len()));
        output.extend(stream.push(chunk));
        output.extend(between(&mut stream));
        rest = tail;
    }
    output.extend(stream.push(rest));
    output.extend(stream.finish());
    output
}

fn in_chunks_of_text(redactor: &Redactor, text: &str, cuts: &[u8]) -> String {
    let mut stream = redactor.text_stream();
    let mut output = String::new();
    let mut rest = text;
    for &cut in cuts {
        let (chunk, tail) = rest.split_at(rest.ceil_char_boundary(cut.into()));
        output += &stream.push(chunk);
        rest = tail;
    }
    output += &stream.push(rest);
    output += &stream.finish();
    output
}

/// Checks a text as a string within arrays and objects, and as a key beside another key that has the name it gets.
fn in_json(redactor: &Redactor, text: &str, expected: &str) {
    let mut found = json!([{"": [text]}, {text: null}]);
    redactor.redact_json(&mut found);
    assert_eq!(found, json!([{"": [expected]}, {expected: null}]));
    if text != expected {
        let mut found = json!({text: null, expected: true});
        redactor.redact_json(&mut found);
        let members = found.as_object().expect("an object");
        // The key that was there keeps its name, unless it holds a value itself.
        let keeps_its_name = redactor.redact(expected) == expected;
        assert!(members.len() == 2 && (!keeps_its_name || members[expected] == true));
    }
}

/// Checks the digits of the text as a number.
fn in_numbers(redactor: &Redactor, text: &str, values: &[Named<'_>]) {
    let digits: String = text.chars().filter(char::is_ascii_digit).take(19).collect();
    let Ok(number) = digits.parse::<u64>() else {
        return;
    };
    let written = number.to_string();
    let expected = redaction::redact(written.as_bytes(), values);
    let expected = match String::from_utf8(expected) {
        Ok(expected) if expected != written => Json::from(expected),
        _ => Json::from(number),
    };
    let mut found = Json::from(number);
    redactor.redact_json(&mut found);
    assert_eq!(found, expected);
}

fn same(found: &[u8], expected: &[u8]) {
    assert!(
        found == expected,
        "{}\nexpected\n{}",
        found.escape_ascii(),
        expected.escape_ascii()
    );
}
