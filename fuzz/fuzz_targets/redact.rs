//! Property: a redactor replaces every value that was written into a text, in whatever form, and nothing else; and
//! however the text is cut into chunks, a stream gives what the whole text gives. A redactor that was merged from several
//! does what one with all their values does.
//!
//! "Nothing else" is checked by writing the text from pieces of a fixed alphabet that no form of a value shares, so
//! that what must be left is known: values are made of lower-case letters, and the rest of the text of what neither
//! they nor their encodings contain. A second text of raw bytes, with values of any characters, checks that none of their
//! forms is left, at any place in other base64, and that the streams agree.

#![no_main]

use arbitrary::Arbitrary;
use keyward::{Redactor, SecretValue};
use keyward_fuzz::{
    encodings::{Form, base64, has_in_base64},
    json::pick,
    text::Text,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    values: Vec<Vec<u8>>,
    any_values: Vec<Text>,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
    written: Vec<Written>,
    cuts: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Plain(Vec<u8>),
    Value {
        which: u8,
        form: Form,
        choices: Vec<bool>,
    },
}

/// A value in the text of raw bytes.
#[derive(Debug, Arbitrary)]
struct Written {
    which: u8,
    at: u16,
    form: Form,
    choices: Vec<bool>,
    /// In the base64 of so many more bytes before it.
    within: Option<u8>,
}

fuzz_target!(|input: Input| {
    let values: Vec<String> = input
        .values
        .iter()
        .take(8)
        .filter(|bytes| bytes.len() >= 8)
        .map(|bytes| {
            bytes
                .iter()
                .map(|byte| char::from(b'a' + byte % 26))
                .collect()
        })
        .collect();
    known_text(&redactor(&values, &["<", ">"]), &values, &input);
    // So that no form of a value can be put together with a reference.
    let any = input
        .any_values
        .iter()
        .take(4)
        .map(|value| value.written_out().replace(BRACKET, ""));
    let all: Vec<String> = values.into_iter().chain(any).collect();
    any_bytes(&redactor(&all, &[BRACKET; 2]), &all, &input);
});

const BRACKET: &str = "\u{1}";

/// Of one piece, and merged from one for each value in turn: the two must be the same.
struct Redactors {
    whole: Redactor,
    merged: Redactor,
}

fn redactor(values: &[String], [before, after]: &[&str; 2]) -> Redactors {
    let (mut whole, mut merged) = (Redactor::new(), Redactor::new());
    for (i, value) in values.iter().enumerate() {
        let (reference, value) = (
            format!("{before}{i}{after}"),
            SecretValue::new(value.as_str()),
        );
        whole.add(reference.clone(), &value);
        let mut one = Redactor::new();
        one.add(reference, &value);
        merged.merge(&one);
        // What is there already is not there twice.
        merged.merge(&one);
    }
    assert_eq!(whole.len(), merged.len());
    Redactors { whole, merged }
}

impl Redactors {
    /// What every way to redact makes of the text.
    fn redact(&self, text: &[u8], cuts: &[u8]) -> Vec<u8> {
        let redacted = self.whole.redact_bytes(text).into_owned();
        assert_eq!(*self.merged.redact_bytes(text), redacted);
        assert_eq!(in_chunks(&self.whole, text, cuts), redacted);
        assert_eq!(in_chunks(&self.merged, text, cuts), redacted);
        if let Ok(text) = str::from_utf8(text) {
            assert_eq!(self.whole.redact(text).as_bytes(), redacted);
        }
        redacted
    }
}

fn known_text(redactors: &Redactors, values: &[String], input: &Input) {
    // Values that overlap themselves or each other are for the second text.
    let apart = |a: &String| values.iter().filter(|b| b.contains(&a[..4])).count() == 1;
    let (mut text, mut expected) = (String::new(), String::new());
    for piece in &input.pieces {
        match piece {
            Piece::Plain(bytes) => {
                const PLAIN: [char; 8] = ['!', ' ', '.', '{', 'é', '🔑', '~', '#'];
                let plain: String = bytes.iter().map(|byte| pick(&PLAIN, *byte)).collect();
                text += &plain;
                expected += &plain;
            }
            Piece::Value {
                which,
                form,
                choices,
            } if !values.is_empty() => {
                let which = usize::from(*which) % values.len();
                if apart(&values[which]) {
                    text += &format!("|{}|", form.encode(&values[which], choices));
                    expected += &format!("|<{which}>|");
                }
            }
            Piece::Value { .. } => {}
        }
    }
    let redacted = redactors.redact(text.as_bytes(), &input.cuts);
    assert_eq!(String::from_utf8(redacted), Ok(expected));
}

fn any_bytes(redactors: &Redactors, values: &[String], input: &Input) {
    let mut text = input.bytes.clone();
    for written in input.written.iter().take(8) {
        let Some(value) = values.get(usize::from(written.which) % values.len().max(1)) else {
            break;
        };
        let encoded = match written.within {
            None => written.form.encode(value, &written.choices),
            Some(before) => {
                let around = vec![b'.'; usize::from(before % 7)];
                let url_safe = written.choices.first() == Some(&true);
                base64(&[&around, value.as_bytes(), &around].concat(), url_safe)
            }
        };
        let at = usize::from(written.at) % (text.len() + 1);
        text.splice(at..at, encoded.into_bytes());
    }
    let redacted = redactors.redact(&text, &input.cuts);
    let has = |part: &str| {
        let part = part.as_bytes();
        redacted.windows(part.len()).any(|found| found == part)
    };
    for value in values.iter().filter(|value| value.len() >= 8) {
        let forms = [Form::Raw, Form::Json, Form::Percent, Form::Hex];
        for form in forms {
            for choices in [
                vec![true; 2 * value.len()],
                [true, false].repeat(value.len()),
            ] {
                let encoded = form.encode(value, &choices);
                assert!(!has(&encoded), "{value:?} survives as {form:?}: {encoded}");
            }
        }
        for (alignment, url_safe) in (0..3).flat_map(|a| [(a, false), (a, true)]) {
            let survives = has_in_base64(&redacted, value, alignment, url_safe);
            assert!(!survives, "{value:?} survives as base64, at {alignment}");
        }
    }
    if redactors.whole.is_empty() {
        assert_eq!(redacted, text);
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
