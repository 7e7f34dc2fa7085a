//! Every form of every value, on its own and inside longer data.

use super::encodings::{Alphabet, SHORT_VALUES, VALUES, all, base64};
use keyward::{Redactor, SecretValue};

pub(crate) const REFERENCE: &str = "secret://it";

pub(crate) fn redactor(value: &str) -> Redactor {
    let mut redactor = Redactor::new();
    redactor.add(REFERENCE, &SecretValue::new(value));
    redactor
}

pub(crate) fn around(before: &[u8], form: &[u8], after: &[u8]) -> Vec<u8> {
    [before, form, after].concat()
}

/// Joins what a stream makes of the chunks.
pub(crate) fn in_chunks<'a>(
    redactor: &Redactor,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut output = Vec::new();
    for chunk in chunks {
        output.extend(stream.push(chunk));
    }
    output.extend(stream.finish());
    output
}

#[track_caller]
fn assert_redacts(redactor: &Redactor, text: &[u8], expected: &[u8], label: &str) {
    let redacted = redactor.redact_bytes(text);
    assert_eq!(
        String::from_utf8_lossy(&redacted),
        String::from_utf8_lossy(expected),
        "{label} in {}",
        String::from_utf8_lossy(text),
    );
    assert_eq!(*redacted, *expected);
    if let (Ok(text), Ok(expected)) = (std::str::from_utf8(text), std::str::from_utf8(expected)) {
        assert_eq!(redactor.redact(text), expected, "{label}, as text");
    }
}

#[test]
fn every_form_of_every_value_is_found() {
    for value in VALUES {
        let redactor = redactor(value);
        for (label, form) in all(value) {
            for (before, after) in [
                ("", ""),
                ("key=", "&x=1"),
                ("\"", "\","),
                ("é", "é"),
                ("\\n", "\\n"),
            ] {
                let text = around(before.as_bytes(), &form, after.as_bytes());
                let expected = around(before.as_bytes(), REFERENCE.as_bytes(), after.as_bytes());
                assert_redacts(
                    &redactor,
                    &text,
                    &expected,
                    &format!("{label} of {value:?}"),
                );
            }
            let twice = [&form[..], b" and ", &form].concat();
            assert_redacts(&redactor, &twice, b"secret://it and secret://it", &label);
            let broken = around(b"\xf0\x9f", &form, b"\xff");
            assert_redacts(&redactor, &broken, b"\xf0\x9fsecret://it\xff", &label);
        }
    }
}

#[test]
fn a_form_with_one_byte_changed_is_no_form() {
    for value in VALUES {
        let redactor = redactor(value);
        for (label, form) in all(value) {
            // A match does not need the padding.
            let certain = if label.starts_with("base64") {
                form.len().saturating_sub(12)
            } else {
                form.len()
            };
            for at in 0..certain {
                // A quote or a backslash may occur without the backslash that escapes it.
                if label.contains("json") && form[at] == b'\\' {
                    continue;
                }
                // The escape of a `1` ends in a `1`, which may stand for itself.
                if value.starts_with('1')
                    && form.starts_with(b"\\") | form.starts_with(b"%")
                    && at < 6
                {
                    continue;
                }
                let mut changed = form.clone();
                changed[at] = b'\0';
                assert_redacts(
                    &redactor,
                    &changed,
                    &changed,
                    &format!("{label} of {value:?}, changed at {at}"),
                );
                // Lines may end anywhere.
                if !label.contains("wrapped") {
                    let missing = [&form[..at], &form[at + 1..]].concat();
                    let label = format!("{label} of {value:?} without byte {at}");
                    assert_redacts(&redactor, &missing, &missing, &label);
                }
            }
        }
    }
}

#[test]
fn what_is_missing_its_end_or_its_beginning_is_no_form() {
    for value in VALUES {
        let redactor = redactor(value);
        let bytes = value.as_bytes();
        for part in [&bytes[..bytes.len() - 1], &bytes[1..]] {
            for encoded in [
                part.to_vec(),
                super::encodings::hex(part, false).into_bytes(),
                super::encodings::percent(part, true, |_| false),
                base64(part, Alphabet::Standard, false).into_bytes(),
                base64(part, Alphabet::UrlSafe, true).into_bytes(),
            ] {
                assert_redacts(&redactor, &encoded, &encoded, value);
            }
        }
    }
}

/// Base64 of prefix, value and suffix together: exactly the characters with bits of the value are replaced, and the
/// padding if the value comes last.
#[test]
fn base64_is_found_at_every_alignment() {
    const ESCAPES: [fn(&str) -> String; 3] = [
        |encoded| encoded.to_owned(),
        |encoded| encoded.replace('/', "\\/").replace('+', "\\u002B"),
        |encoded| {
            encoded
                .replace('/', "%2F")
                .replace('+', "%2b")
                .replace('=', "%3D")
        },
    ];
    for value in VALUES {
        let redactor = redactor(value);
        for alphabet in [Alphabet::Standard, Alphabet::UrlSafe] {
            for padded in [false, true] {
                for (before, after) in (0..=3).flat_map(|b| (0..=3).map(move |a| (b, a))) {
                    for fill in [0x00, 0xff, b':'] {
                        let data =
                            [&vec![fill; before], value.as_bytes(), &vec![fill; after]].concat();
                        let encoded = base64(&data, alphabet, padded);
                        let begin = before * 8 / 6;
                        let end = if after == 0 {
                            encoded.len()
                        } else {
                            ((before + value.len()) * 8).div_ceil(6)
                        };
                        let label = format!("{value:?}, {before} before, {after} after, {fill}");
                        for escape in ESCAPES {
                            let text = escape(&encoded);
                            let expected = [
                                &escape(&encoded[..begin]),
                                REFERENCE,
                                &escape(&encoded[end..]),
                            ]
                            .concat();
                            assert_redacts(&redactor, text.as_bytes(), expected.as_bytes(), &label);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn boundary_characters_must_agree_with_the_value() {
    let value = "lin_api_Zq8wT3vN";
    let redactor = redactor(value);
    let encoded = base64(format!(":{value}").as_bytes(), Alphabet::Standard, false);
    // The second character holds two bits of the colon, followed by four bits of the value.
    let mut found = 0;
    for character in ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
    {
        let changed = format!("{}{character}{}", &encoded[..1], &encoded[2..]);
        let redacted = redactor.redact(&changed).into_owned();
        if redacted == changed {
            continue;
        }
        assert_eq!(redacted, format!("{}{REFERENCE}", &encoded[..1]));
        found += 1;
    }
    assert_eq!(
        found, 4,
        "the two free bits can be anything, the others cannot"
    );
}

/// The character that ends the first value begins the second.
#[test]
fn base64_of_values_one_after_the_other_leaves_nothing() {
    for first in VALUES {
        for second in VALUES {
            let mut redactor = Redactor::new();
            redactor.add("<1>", &SecretValue::new(first));
            redactor.add("<2>", &SecretValue::new(second));
            let data = [first, second, first].concat();
            let expected = if first == second {
                "<1><1><1>"
            } else {
                "<1><2><1>"
            };
            for padded in [false, true] {
                let encoded = base64(data.as_bytes(), Alphabet::Standard, padded);
                assert_redacts(&redactor, encoded.as_bytes(), expected.as_bytes(), &data);
                let output = in_chunks(&redactor, encoded.as_bytes().chunks(1));
                assert_eq!(String::from_utf8_lossy(&output), expected);
            }
        }
    }
}

/// What the character holds of the second value is compared too.
#[test]
fn base64_of_something_else_behind_a_value_is_left_alone() {
    let (first, second) = ("lin_api_", "ghp_hV5cX2mQ9rT4");
    let mut redactor = Redactor::new();
    redactor.add("<1>", &SecretValue::new(first));
    redactor.add("<2>", &SecretValue::new(second));
    let mut data = [first, second].concat().into_bytes();
    let redacted = |data: &[u8]| {
        redactor
            .redact(&base64(data, Alphabet::Standard, false))
            .into_owned()
    };
    assert_eq!(redacted(&data), "<1><2>");
    data[first.len()] ^= 0x40;
    let encoded = base64(&data, Alphabet::Standard, false);
    // Eight bytes end within the eleventh character.
    assert_eq!(redacted(&data), format!("<1>{}", &encoded[11..]));
}

/// Not even where it would begin with the character that ends another value.
#[test]
fn base64_of_a_short_value_behind_another_value_is_left_alone() {
    let mut redactor = Redactor::new();
    redactor.add("<1>", &SecretValue::new("abcdefgh"));
    redactor.add("<2>", &SecretValue::new("4711"));
    let encoded = base64(b"abcdefgh4711", Alphabet::Standard, false);
    assert_eq!(encoded, "YWJjZGVmZ2g0NzEx");
    assert_redacts(&redactor, encoded.as_bytes(), b"<1>0NzEx", "a PIN");
}

/// A long run that is the same in both is compared in one step, but not across an escape.
#[test]
fn a_backslash_of_a_long_value_is_no_text_where_the_rest_is_escaped() {
    let run = "a".repeat(62);
    for run in [format!(r"\\{run}"), r"\".repeat(64)] {
        let redactor = redactor(&format!("{run}ébcdefgh"));
        let escaped = run.replace('\\', r"\\");
        for (text, redacts) in [
            (format!("{run}ébcdefgh"), true),
            (format!(r"{escaped}\u00e9bcdefgh"), true),
            (format!(r"{run}\u00e9bcdefgh"), false),
        ] {
            let expected = if redacts { REFERENCE } else { &text };
            assert_redacts(&redactor, text.as_bytes(), expected.as_bytes(), &run);
        }
    }
}

/// This is for queries, so a `+` of the value is written differently there.
#[test]
fn a_plus_is_a_space_and_nothing_else() {
    let redactor = redactor("lin api+Zq8wT3vN");
    let form = b"lin+api%2BZq8wT3v%4E";
    assert_redacts(&redactor, form, REFERENCE.as_bytes(), "as it is");
    for at in (0..form.len()).filter(|&at| form[at] != b'+') {
        let mut changed = *form;
        changed[at] = b'+';
        assert_redacts(&redactor, &changed, &changed, &at.to_string());
    }
    for (value, form) in [(" lin_api_", "+lin_api_"), ("l in_api_", "l+in_api_")] {
        let found = self::redactor(value);
        assert_redacts(&found, form.as_bytes(), REFERENCE.as_bytes(), form);
    }
}

/// What may be padding may also be the beginning of another value.
#[test]
fn a_value_behind_base64_is_found_if_it_begins_like_padding() {
    let values = ["=3=a+d_s", "==3=a+d_", "lin_api_Zq8wT3vN", "=abc"];
    let mut redactor = Redactor::new();
    for (i, value) in values.into_iter().enumerate() {
        redactor.add(format!("<{i}>"), &SecretValue::new(value));
    }
    for (i, value) in values.into_iter().enumerate().take(3) {
        let bare = base64(value.as_bytes(), Alphabet::Standard, false);
        for (after, expected) in [
            ("=3=a+d_s.", "<0>."),
            (r"\u003D3\u003Da+d_s.", "<0>."),
            ("%3D3%3Da%2Bd_s.", "<0>."),
            ("==3=a+d_.", "<1>."),
            (r"=\u003d3=a+d_.", "<1>."),
            ("==3=a+d_s.", "<1>s."),
            ("==abc.", "<3>."),
            ("=x", "x"),
            ("==x", "x"),
        ] {
            let text = format!("{bare}{after}");
            let padding = (3 - value.len() % 3) % 3;
            let expected = match after.strip_suffix('x') {
                Some(signs) if signs.len() < padding => format!("<{i}>{after}"),
                Some(signs) => format!("<{i}>{}x", &signs[padding..]),
                None => format!("<{i}>{expected}"),
            };
            assert_redacts(&redactor, text.as_bytes(), expected.as_bytes(), value);
            let output = in_chunks(&redactor, text.as_bytes().chunks(1));
            assert_eq!(String::from_utf8_lossy(&output), expected, "{text}");
        }
    }
}

#[test]
fn a_value_within_padding_is_replaced_with_it() {
    let mut redactor = Redactor::new();
    redactor.add("<1>", &SecretValue::new("lin_api_Zq8wT3vN"));
    redactor.add("<2>", &SecretValue::new("="));
    let padded = base64(b"lin_api_Zq8wT3vN", Alphabet::Standard, true);
    let text = format!("{padded} = {padded}.");
    assert_redacts(&redactor, text.as_bytes(), b"<1> <2> <1>.", "padding");
}

#[test]
fn padding_is_replaced_only_if_all_of_it_is_there() {
    let redactor = redactor("lin_api_Zq8wT3vN");
    let bare = base64(b"lin_api_Zq8wT3vN", Alphabet::Standard, false);
    for (after, left) in [
        ("==", ""),
        ("===", "="),
        ("=", "="),
        ("=1", "=1"),
        ("&", "&"),
        ("%3D%3d", ""),
        ("%3D", "%3D"),
        ("=\\u003D", ""),
        ("= =", "= ="),
    ] {
        assert_redacts(
            &redactor,
            format!("{bare}{after}").as_bytes(),
            format!("{REFERENCE}{left}").as_bytes(),
            after,
        );
    }
}

#[test]
fn json_text_with_escapes_of_other_characters_is_left_alone() {
    let redactor = redactor("a/b\\c\nd\"e");
    for text in [
        r"a\u002fb\\c\nd\'e",
        r"a\Ub\\c\nd\u0022e",
        r"a/b\\c\u000dd\u0022e",
        r"a\u02fb\\c\u000ad\u0022e",
        r"a\x2fb\\c\u000ad\u0022e",
    ] {
        assert_redacts(&redactor, text.as_bytes(), text.as_bytes(), text);
    }
    for text in [
        r"a\u002Fb\\c\nd\u0022e",
        "a/b\\c\\nd\"e",
        "a\\/b\\\\c\nd\\\"e",
        "a\\/b\\c\\u000Ad\\\"e",
    ] {
        assert_redacts(&redactor, text.as_bytes(), REFERENCE.as_bytes(), text);
    }
}

#[test]
fn short_values_are_found_raw_and_only_between_boundaries() {
    for value in SHORT_VALUES {
        let redactor = redactor(value);
        for boundary in [
            "", " ", "\"", "=", ".", "/", "\n", "€", "🔑", "\\", "%", "\u{301}",
        ] {
            let text = format!("{boundary}{value}{boundary}");
            let expected = format!("{boundary}{REFERENCE}{boundary}");
            assert_redacts(&redactor, text.as_bytes(), expected.as_bytes(), value);
        }
        for word in ["a", "Z", "0", "_", "-", "é", "ж", "鍵", "𝔸", "٣"] {
            for text in [
                format!("{word}{value}"),
                format!("{value}{word}"),
                format!("x {value}{word} y"),
            ] {
                assert_redacts(&redactor, text.as_bytes(), text.as_bytes(), value);
            }
        }
        for invalid in [&b"\xff"[..], b"\xc3", b"\xe9\x8d", b"\x9f\x94\x91"] {
            let text = around(invalid, value.as_bytes(), invalid);
            let expected = around(invalid, REFERENCE.as_bytes(), invalid);
            assert_redacts(&redactor, &text, &expected, value);
            let word = around(value.as_bytes(), b"x", invalid);
            assert_redacts(&redactor, &word, &word, value);
        }
        for (label, form) in all(value) {
            if form != value.as_bytes() {
                let text = around(b" ", &form, b" ");
                assert_redacts(&redactor, &text, &text, &format!("{label} of {value:?}"));
            }
        }
    }
}

#[test]
fn eight_bytes_are_found_within_words() {
    let redactor = redactor("12345678");
    assert_redacts(&redactor, b"x12345678x", b"xsecret://itx", "raw");
    assert_redacts(&redactor, b"31323334353637383", b"secret://it3", "hex");
}

/// Plain text is compared in steps of 64 bytes.
#[test]
fn a_character_that_two_steps_share_is_compared_as_a_whole() {
    let of = |c: char| format!("{}{c}-{}", "a".repeat(63), "b".repeat(80));
    let redactor = redactor(&of('é'));
    assert_eq!(redactor.redact(&of('é')), REFERENCE);
    assert_eq!(redactor.redact(&of('è')), of('è'));
}

/// A character of base64 that two values share is the last one of the first: no padding comes between them.
#[test]
fn no_value_goes_on_behind_padding() {
    let value = "lin_api_Zq8wT3vN";
    let twice = base64(value.repeat(2).as_bytes(), Alphabet::Standard, false);
    let (first, rest) = twice.split_at(22);
    let redactor = redactor(value);
    assert_eq!(redactor.redact(&twice), REFERENCE.repeat(2));
    assert_eq!(
        redactor.redact(&format!("{first}=={rest}")),
        format!("{REFERENCE}{rest}")
    );
}

/// An escape that the end of the text cuts off is not an escape: what looks like its beginning is the end of the
/// value.
#[test]
fn the_end_of_a_value_may_look_like_the_beginning_of_an_escape() {
    for (value, form) in [
        (r#"ab"cdefg\"#, r#"ab\"cdefg\"#),
        (r#"ab"cdefg\u00"#, r#"ab\"cdefg\u00"#),
        ("ab cdefg%", "ab%20cdefg%"),
        ("ab cdefg%2", "ab+cdefg%2"),
    ] {
        let redactor = redactor(value);
        assert_redacts(&redactor, form.as_bytes(), REFERENCE.as_bytes(), "the end");
        let output = in_chunks(&redactor, form.as_bytes().chunks(1));
        assert_eq!(output, REFERENCE.as_bytes(), "{form}");
        let inside = around(b"<", form.as_bytes(), b">");
        assert_redacts(&redactor, &inside, b"<secret://it>", "within");
    }
}
