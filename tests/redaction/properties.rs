//! Random texts, values and chunks against the oracle.

use super::{
    encodings::{Alphabet, Mix, base64, hex_mixed, json_mixed, percent_mixed, wrapped},
    oracle::{self, Named},
};
use keyward::{RedactStream, Redactor, SecretValue};
use proptest::prelude::*;

const REFERENCES: [&str; 3] = ["<first>", "<second>", "<third>"];

fn redactor(values: &[Named<'_>]) -> Redactor {
    let mut redactor = Redactor::new();
    for Named { reference, value } in values {
        redactor.add(*reference, &SecretValue::new(*value));
    }
    redactor
}

fn it(value: &str) -> [Named<'_>; 1] {
    let reference = "<it>";
    [Named { reference, value }]
}

fn in_chunks(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    streamed(redactor, text, cuts, |_| Vec::new())
}

/// What a stream makes of the text if it pauses after each chunk.
fn with_pauses(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    streamed(redactor, text, cuts, RedactStream::pause)
}

fn streamed(
    redactor: &Redactor,
    text: &[u8],
    cuts: &[usize],
    between: impl Fn(&mut RedactStream) -> Vec<u8>,
) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut output = Vec::new();
    let mut rest = text;
    for cut in cuts {
        let (chunk, tail) = rest.split_at(cut % (rest.len() + 1));
        output.extend(stream.push(chunk));
        output.extend(between(&mut stream));
        rest = tail;
    }
    output.extend(stream.push(rest));
    output.extend(stream.finish());
    output
}

/// Short strings over few letters, so that values repeat, overlap and occur by chance.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{4,7}",
        "[ab]{8,10}",
        "[ab/ \"é🔑]{4,9}",
        r"[nu05\\%/]{8,12}",
        "[a-zA-Z0-9_+=-]{8,20}",
        // Lines that are found by themselves, and lines that are too short, have a space, or are drawn.
        r"[abcd]{4,18}((\r?\n|\\n|\\r)[abcd ]{14,18}){1,3}\n?",
        r"[abcd]{4,18}((\n|\\n)[-=|]{16,18}){1,3}\n?",
    ]
}

/// How many kinds of forms there are.
const KINDS: usize = 7;

fn encoded(value: &str, kind: usize, seed: u64) -> Vec<u8> {
    let mix = &mut Mix::new(seed);
    let bytes = value.as_bytes();
    let filled =
        |before: usize, after: usize| [&vec![b':'; before], bytes, &vec![b'z'; after]].concat();
    match kind {
        0 => bytes.to_vec(),
        1 => json_mixed(value, mix).into_bytes(),
        2 => percent_mixed(bytes, mix),
        3 => hex_mixed(bytes, mix).into_bytes(),
        4 => base64(&filled(mix.below(4), 0), Alphabet::Standard, true).into_bytes(),
        5 => base64(
            &filled(mix.below(4), mix.below(4)),
            Alphabet::UrlSafe,
            mix.below(2) == 0,
        )
        .into_bytes(),
        _ => {
            let encoded = base64(&filled(mix.below(4), 0), Alphabet::Standard, true);
            let line_break = ["\n", "\r\n", r"\n", "%0A"][mix.below(4)];
            wrapped(&encoded, 4 + mix.below(8), line_break).into_bytes()
        }
    }
}

/// A text of encoded values, beginnings of them, and other text over the same few letters.
fn text(values: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => (any::<prop::sample::Index>(), 0..KINDS, any::<u64>())
            .prop_map({
                let values = values.clone();
                move |(which, kind, seed)| encoded(which.get::<String>(&values), kind, seed)
            }),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..KINDS, any::<u64>())
            .prop_map({
                let values = values.clone();
                move |(which, line, kind, seed)| {
                    let value = which.get::<String>(&values).replace(r"\n", "\n").replace(r"\r", "\r");
                    let lines: Vec<&str> = value.split(['\n', '\r']).collect();
                    encoded(line.get::<&str>(&lines), kind, seed)
                }
            }),
        1 => (any::<prop::sample::Index>(), 0..KINDS, any::<u64>(), any::<prop::sample::Index>())
            .prop_map(move |(which, kind, seed, end)| {
                let mut form = encoded(which.get::<String>(&values), kind, seed);
                form.truncate(end.index(form.len()));
                form
            }),
        2 => "[ab /+=]{0,6}".prop_map(String::into_bytes),
        1 => "\\PC{0,3}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn values_and_text() -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    prop::collection::vec(value(), 1..=3)
        .prop_flat_map(|values| (Just(values.clone()), text(values)))
}

fn named(values: &[String]) -> Vec<Named<'_>> {
    REFERENCES
        .into_iter()
        .zip(values)
        .map(|(reference, value)| Named { reference, value })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn redaction_is_what_the_oracle_says((values, text) in values_and_text()) {
        let values = named(&values);
        let redacted = redactor(&values).redact_bytes(&text).into_owned();
        let expected = oracle::redact(&text, &values);
        prop_assert_eq!(String::from_utf8_lossy(&redacted), String::from_utf8_lossy(&expected));
    }

    /// An escape from one form may end another form that was cut off before it.
    #[test]
    fn base64_that_goes_on_in_an_escape_is_what_the_oracle_says(
        value in "[/?>o+~]{8,11}",
        cut in any::<prop::sample::Index>(),
        kind in 3..6_usize,
        seed in any::<u64>(),
        escape in prop::sample::select(vec![r"\u002F", r"\u002f", r"\/", "%2f", "%2F", r"\u002B", r"\u002b", "%2b", "%2B", "/", "_", "-"]),
    ) {
        let mut text = encoded(&value, kind, seed);
        text.truncate(cut.index(text.len()));
        text.extend(escape.bytes());
        text.extend(encoded(&value, kind, seed).iter().skip(text.len() + 1 - escape.len()));
        let values = it(&value);
        let redacted = redactor(&values).redact_bytes(&text).into_owned();
        let expected = oracle::redact(&text, &values);
        prop_assert_eq!(String::from_utf8_lossy(&redacted), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn chunks_make_no_difference(
        (values, text) in values_and_text(),
        cuts in prop::collection::vec(0..12_usize, 0..40),
    ) {
        let redactor = redactor(&named(&values));
        let whole = redactor.redact_bytes(&text).into_owned();
        prop_assert_eq!(in_chunks(&redactor, &text, &cuts), whole.clone());
        prop_assert_eq!(in_chunks(&redactor, &text, &vec![1; text.len()]), whole);
    }

    #[test]
    fn pauses_show_two_bytes_of_a_value_at_most(
        (values, text) in values_and_text(),
        cuts in prop::collection::vec(0..12_usize, 0..40),
    ) {
        let redactor = redactor(&named(&values));
        let expected = redactor.redact_bytes(&text);
        let references = REFERENCES.map(str::to_owned);
        for cuts in [cuts, vec![1; text.len()]] {
            let output = with_pauses(&redactor, &text, &cuts);
            prop_assert!(
                oracle::is_same_but_for_pauses(&output, &expected, &references),
                "{} instead of {}",
                String::from_utf8_lossy(&output),
                String::from_utf8_lossy(&expected),
            );
        }
    }

    #[test]
    fn text_and_bytes_agree((values, text) in values_and_text()) {
        let text = String::from_utf8_lossy(&text).into_owned();
        let redactor = redactor(&named(&values));
        let bytes = redactor.redact_bytes(text.as_bytes()).into_owned();
        prop_assert_eq!(redactor.redact(&text).into_owned().into_bytes(), bytes);
    }

    #[test]
    fn text_without_a_value_is_unchanged(text in prop::collection::vec(any::<u8>(), 0..400), seed in any::<u64>()) {
        let value = format!("sk-live-{seed:016x}");
        prop_assert_eq!(&*redactor(&it(&value)).redact_bytes(&text), &text[..]);
    }

    #[test]
    fn surrounding_text_is_unchanged(before in "\\PC{0,40}", after in "\\PC{0,40}", kind in 0..4_usize, seed in any::<u64>()) {
        let value = format!("sk/live \"{seed:016x}");
        let text = [before.as_bytes(), &encoded(&value, kind, seed), after.as_bytes()].concat();
        let expected = [before.as_bytes(), b"<it>", after.as_bytes()].concat();
        let redactor = redactor(&it(&value));
        prop_assert_eq!(&*redactor.redact_bytes(&text), &expected[..]);
    }

    #[test]
    fn nothing_of_the_value_survives_any_encoding(kind in 0..6_usize, seed in any::<u64>(), value in "\\PC{8,40}") {
        let redactor = redactor(&it(&value));
        let form = encoded(&value, kind, seed);
        let redacted = redactor.redact_bytes(&form).into_owned();
        let shown = String::from_utf8_lossy(&redacted);
        prop_assert!(shown.contains("<it>"), "{}", shown);
        // Base64 leaves characters for up to three bytes on either side.
        let left = if kind < 4 { 0 } else { 10 };
        prop_assert!(shown.len() <= "<it>".len() + left, "{}", shown);
    }
}
