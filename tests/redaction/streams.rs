//! Output in chunks.

use super::{
    encodings::{Alphabet, SHORT_VALUES, VALUES, all, base64, json_all},
    forms::{REFERENCE, around, in_chunks, redactor},
};
use keyward::{RedactStream, Redactor, SecretValue};

#[test]
fn every_form_is_found_wherever_the_output_is_cut() {
    for value in VALUES {
        let redactor = redactor(value);
        for (label, form) in all(value) {
            let text = around("{\"ключ\": \"".as_bytes(), &form, b"\", \"x\": 1}");
            let expected = around(
                "{\"ключ\": \"".as_bytes(),
                REFERENCE.as_bytes(),
                b"\", \"x\": 1}",
            );
            for at in 0..=text.len() {
                let output = in_chunks(&redactor, [&text[..at], &text[at..]]);
                assert_eq!(output, expected, "{label} of {value:?}, cut at {at}");
            }
            for size in [1, 2, 3, 7] {
                let output = in_chunks(&redactor, text.chunks(size));
                assert_eq!(output, expected, "{label} of {value:?}, chunks of {size}");
            }
            for end in 0..form.len() {
                let whole = redactor.redact_bytes(&form[..end]);
                let output = in_chunks(&redactor, form[..end].chunks(1));
                assert_eq!(output, *whole, "{label} of {value:?}, up to {end}");
            }
        }
    }
}

#[test]
fn the_boundaries_of_short_values_span_chunks() {
    for value in SHORT_VALUES {
        let redactor = redactor(value);
        for side in ["", " ", "x", "é", "𝔸", "🔑", "-", "\u{301}"] {
            for text in [
                format!("{side}{value}"),
                format!("{value}{side}"),
                format!("{value} {side}{value}{side}"),
            ] {
                let whole = redactor.redact(&text);
                for at in 0..=text.len() {
                    let (head, tail) = text.as_bytes().split_at(at);
                    assert_eq!(
                        in_chunks(&redactor, [head, tail]),
                        whole.as_bytes(),
                        "{text:?} cut at {at}"
                    );
                }
                assert_eq!(
                    in_chunks(&redactor, text.as_bytes().chunks(1)),
                    whole.as_bytes(),
                    "{text:?}"
                );
            }
        }
        let invalid = around(b"\xf0\x9d\x94", value.as_bytes(), b"\xf0\x9d\x94");
        let whole = redactor.redact_bytes(&invalid);
        assert_ne!(*whole, *invalid);
        assert_eq!(in_chunks(&redactor, invalid.chunks(1)), *whole);
        // A byte that begins no character is not part of a word, whatever follows.
        let mut stream = redactor.stream();
        let output = stream.push(&around(b"= ", value.as_bytes(), b"\xff and more "));
        assert_eq!(
            output,
            around(b"= ", REFERENCE.as_bytes(), b"\xff and more ")
        );
    }
}

#[test]
fn only_what_may_become_a_match_is_held_back() {
    let redactor = redactor("lin_api_Zq8wT3vN");
    let mut stream = redactor.stream();
    for (chunk, output) in [
        ("Hello, ", "Hello, "),
        ("li", ""),
        ("ne lin_ap", "line "),
        ("p.", "lin_app."),
        ("lin_api_Zq8wT3v", ""),
        ("N", "secret://it"),
        ("\\u006", ""),
        ("d ", "\\u006d "),
        ("6c69", ""),
        ("00 ", "6c6900 "),
    ] {
        assert_eq!(
            String::from_utf8_lossy(&stream.push(chunk.as_bytes())),
            output,
            "after {chunk:?}"
        );
    }
    assert_eq!(stream.finish(), b"");
}

#[test]
fn an_undecided_end_is_given_out_at_the_end() {
    let mut redactor = redactor("lin_api_Zq8wT3vN");
    redactor.add("<longer>", &SecretValue::new("lin_api_Zq8wT3vN-and-more"));
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"lin_api_Zq8wT3vN-and"), b"");
    assert_eq!(stream.finish(), b"secret://it-and");

    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"lin_api_Zq8wT3vN-and"), b"");
    assert_eq!(stream.push(b"-most "), b"secret://it-and-most ");
}

#[test]
fn a_pause_shows_the_end_of_a_line_and_what_is_as_short() {
    for value in VALUES {
        let redactor = redactor(value);
        for last in ' '..='~' {
            for end in ["", "\n", "\r\n"] {
                let line = format!("listening on port 808{last}{end}");
                let mut stream = redactor.stream();
                let mut output = stream.push(line.as_bytes());
                output.extend(stream.pause());
                assert_eq!(String::from_utf8(output).unwrap(), line, "{value:?}");
            }
        }
    }
}

#[test]
fn a_pause_shows_two_bytes_of_a_value_at_most() {
    let mut redactor = redactor("lin_api_Zq8wT3vN");
    redactor.add("<pin>", &SecretValue::new("4711"));
    let mut stream = redactor.stream();
    for (chunk, pushed, paused) in [
        ("= li", "= ", "li"),
        ("n_ap", "", ""),
        ("i_Zq8wT3vN, ", "secret://it, ", ""),
        ("li", "", "li"),
        ("ne", "ne", ""),
        (" lin", " ", ""),
        (" l", "lin ", "l"),
        ("i", "", "i"),
        ("n", "", ""),
        (" 4", "n ", ""),
        ("711", "", ""),
        (" 6", "<pin> ", "6"),
        ("c\n", "", "c\n"),
        ("69", "", ""),
        ("6e5f6170695f5a713877543376", "", ""),
        ("4e", "secret://it", ""),
        (".4", ".", ""),
    ] {
        let output = [stream.push(chunk.as_bytes()), stream.pause()];
        let output = output.map(|output| String::from_utf8(output).unwrap());
        assert_eq!(output, [pushed, paused], "after {chunk:?}");
    }
    assert_eq!(stream.finish(), b"4");

    // Of line breaks, too.
    let breaks = self::redactor("a\n\n\n\n\n\n\n");
    let mut stream = breaks.stream();
    assert_eq!([stream.push(b"a\n\n\n\n"), stream.pause()], [b"", b""]);
}

#[test]
fn what_is_held_back_is_bounded() {
    for value in VALUES {
        let redactor = redactor(value);
        let bound = 16 * value.len() + 64;
        let spread = |text: String, line_break: &str| {
            let characters: Vec<String> = text.chars().map(String::from).collect();
            characters.join(line_break)
        };
        let base64 = base64(value.as_bytes(), Alphabet::Standard, true);
        let base64 = spread(base64, "%0D%0A")
            .replace('+', "\\u002b")
            .replace('/', "\\u002f");
        for form in [json_all(value, true), base64] {
            let mut stream = redactor.stream();
            let mut held = 0;
            for byte in form.bytes() {
                held += 1;
                let output = stream.push(&[byte]);
                held -= output.len().min(held);
                assert!(held <= bound, "{held} bytes of {form:?}");
            }
            drop(stream);
        }
    }
}

#[test]
fn long_output_goes_through_in_large_and_small_chunks() {
    let value = "lin_api_Zq8wT3vN";
    let redactor = redactor(value);
    let line = "a line of a log, line by line, lin_api_Zq8wT3 and lin_api_Zq8wT3vN; ";
    let text = line.repeat(3000);
    let expected = line.replace(value, REFERENCE).repeat(3000);
    assert_eq!(redactor.redact(&text), expected);
    for size in [1, 13, 4096, 16 * 1024, 50_000, text.len()] {
        let output = in_chunks(&redactor, text.as_bytes().chunks(size));
        assert!(output == expected.as_bytes(), "chunks of {size}");
    }
}

#[test]
fn a_long_value_is_found_in_small_chunks() {
    let value: String = (0..20_000)
        .map(|i: u32| char::from_u32(0x4e00 + i % 5000).unwrap())
        .collect();
    let redactor = redactor(&value);
    for form in [value.clone(), json_all(&value, false)] {
        let text = format!("<{form}>");
        let output = in_chunks(&redactor, text.as_bytes().chunks(1));
        assert!(output == format!("<{REFERENCE}>").as_bytes());
    }
}

#[test]
fn text_streams_give_whole_characters() {
    for value in VALUES {
        let redactor = redactor(value);
        for (label, form) in all(value) {
            let Ok(form) = String::from_utf8(form) else {
                continue;
            };
            let text = format!("schlüssel: {form}🔑");
            let mut stream = redactor.text_stream();
            let mut output = String::new();
            for character in text.chars() {
                output += &stream.push(character.encode_utf8(&mut [0; 4]));
            }
            output += &stream.finish();
            assert_eq!(output, redactor.redact(&text), "{label} of {value:?}");
        }
    }
}

#[test]
fn a_stream_is_independent_and_can_be_sent() {
    fn is_send<T: Send + Sync + 'static>(_: &T) {}
    let source = redactor("lin_api_Zq8wT3vN");
    let mut stream = source.stream();
    drop(source);
    is_send(&stream);
    let output = std::thread::spawn(move || {
        let mut output = stream.push(b"lin_api_");
        output.extend(stream.push(b"Zq8wT3vN"));
        output.extend(stream.finish());
        output
    });
    assert_eq!(output.join().unwrap(), REFERENCE.as_bytes());
}

#[test]
fn a_stream_of_no_values_changes_and_holds_nothing() {
    let mut stream: RedactStream = Redactor::new().stream();
    assert_eq!(stream.push(b"lin_\xff"), b"lin_\xff");
    assert_eq!(stream.push(b""), b"");
    assert_eq!(stream.finish(), b"");
}

/// This holds wherever the output is cut before the value is complete.
#[test]
fn a_value_can_be_added_that_what_is_held_back_begins() {
    for value in VALUES {
        let mut added = Redactor::new();
        added.add("<longer>", &SecretValue::new(format!("{value}-and-more")));
        let mut both = redactor(value);
        both.merge(&added);
        for text in [
            format!("= {value}-and-more."),
            format!("= {value}-and-most."),
        ] {
            let expected = both.redact(&text);
            for at in 0..value.len() + 2 {
                let (head, tail) = text.as_bytes().split_at(at);
                let output = merging(&redactor(value), head, &added, tail);
                assert_eq!(output, expected, "{text:?}, cut at {at}");
            }
        }
    }
}

/// This holds wherever the output is cut before it, even where a value shares a base64 character with the one
/// before.
#[test]
fn a_value_can_be_added_before_it_comes() {
    let mut added = Redactor::new();
    added.add("<later>", &SecretValue::new("ghp_hV5cX2mQ9rT4"));
    for value in VALUES {
        let mut both = redactor(value);
        both.merge(&added);
        let twice = format!("{value}{value}");
        let encoded = base64(twice.as_bytes(), Alphabet::Standard, false);
        for begin in [twice, encoded] {
            let text = format!("= {begin} ghp_hV5cX2mQ9rT4.");
            let expected = both.redact(&text);
            for at in 0..begin.len() + 3 {
                let (head, tail) = text.as_bytes().split_at(at);
                let output = merging(&redactor(value), head, &added, tail);
                assert_eq!(output, expected, "{text:?}, cut at {at}");
            }
        }
    }
}

/// A repetition matches at two alignments at once. They are as long, but are not decided after the same byte, and only
/// one of them leaves the character to the next value that both share.
#[test]
fn of_equal_matches_of_a_value_the_same_one_counts_wherever_the_output_is_cut() {
    for length in 8..24 {
        let value = "U".repeat(length);
        let redactor = redactor(&value);
        for before in 0..=3 {
            let text = base64(
                [&"???"[..before], &value, &value].concat().as_bytes(),
                Alphabet::Standard,
                false,
            );
            let expected = redactor.redact_bytes(text.as_bytes());
            assert_eq!(
                in_chunks(&redactor, text.as_bytes().chunks(1)),
                *expected,
                "{text}"
            );
        }
    }
}

/// The two share a base64 character, and at some cuts the first is found before the second is known.
#[test]
fn a_value_can_be_added_that_shares_a_character_with_a_match() {
    let (first, second) = ("ghp_AAAAxyzw1", "ghp_BBBBqrst2");
    let mut added = Redactor::new();
    added.add("<second>", &SecretValue::new(second));
    let mut both = redactor(first);
    both.merge(&added);
    let text = base64(
        [first, second].concat().as_bytes(),
        Alphabet::Standard,
        true,
    );
    let expected = both.redact(&text);
    assert_eq!(expected, "secret://it<second>");
    // Up to there the text might also go on with the first value once more.
    for at in 0..=23 {
        let (head, tail) = text.as_bytes().split_at(at);
        let output = merging(&redactor(first), head, &added, tail);
        assert_eq!(output, expected, "cut at {at}");
    }
}

/// The first value is matched when what follows shows that it has no padding, the second as soon as its end is
/// there.
#[test]
fn of_equal_matches_that_of_the_first_value_counts_whichever_ends_first() {
    let encoded = base64(b"lin_api_", Alphabet::Standard, false);
    let mut redactor = Redactor::new();
    redactor.add("<1>", &SecretValue::new("lin_api_"));
    redactor.add("<2>", &SecretValue::new(encoded.as_str()));
    for chunks in [&[&*encoded, "."][..], &[&*format!("{encoded}.")]] {
        let chunks = chunks.iter().map(|chunk| chunk.as_bytes());
        assert_eq!(in_chunks(&redactor, chunks), b"<1>.");
    }
}

/// The output of a stream that learns more values between two chunks.
fn merging(redactor: &Redactor, head: &[u8], added: &Redactor, tail: &[u8]) -> String {
    let mut stream = redactor.stream();
    let mut output = stream.push(head);
    stream.merge(added);
    output.extend(stream.push(tail));
    output.extend(stream.finish());
    String::from_utf8(output).unwrap()
}

#[test]
fn a_value_that_is_added_again_changes_nothing() {
    let source = redactor("lin_api_Zq8wT3vN");
    let mut stream = source.stream();
    let mut output = stream.push(b"lin_api_");
    stream.merge(&source);
    output.extend(stream.push(b"Zq8wT3vN"));
    output.extend(stream.finish());
    assert_eq!(output, REFERENCE.as_bytes());
}
