//! Several values, merging, cloning, and what is never shown.

use std::borrow::Cow;

use super::{encodings::hex, forms::redactor};
use keyward::{NewSecret, Redactor, SecretValue, ToolCall, UserId, Vault};
use serde_json::Map;

fn redactor_of(values: &[(&str, &str)]) -> Redactor {
    let mut redactor = Redactor::new();
    for (reference, value) in values {
        redactor.add(*reference, &SecretValue::new(*value));
    }
    redactor
}

#[test]
fn leftmost_longest_first_added() {
    let hex_of_it = hex(b"abcdefghij", false);
    for (values, text, expected) in [
        (
            &[("<s>", "abcdefgh"), ("<l>", "abcdefghij")][..],
            "abcdefghij abcdefghi",
            "<l> <s>i",
        ),
        (
            &[("<l>", "abcdefghij"), ("<s>", "abcdefgh")],
            "abcdefghij abcdefghi",
            "<l> <s>i",
        ),
        (
            &[("<t>", "cdefghij"), ("<l>", "abcdefghij")],
            "abcdefghij bcdefghij",
            "<l> b<t>",
        ),
        (
            &[("<1>", "abcdefghij"), ("<2>", "ghijklmnop")],
            "abcdefghijklmnop",
            "<1>klmnop",
        ),
        (
            &[("<2>", "ghijklmnop"), ("<1>", "abcdefghij")],
            "abcdefghijklmnop",
            "<1>klmnop",
        ),
        (&[("<1>", "aaaaaaaa")], "aaaaaaaaaaaaaaaaaaa", "<1><1>aaa"),
        (
            &[("<1>", "abcdefghij"), ("<2>", &hex_of_it)],
            &hex_of_it,
            "<1>",
        ),
        (
            &[("<2>", &hex_of_it), ("<1>", "abcdefghij")],
            &hex_of_it,
            "<2>",
        ),
        (
            &[("<p>", "4711"), ("<l>", "4711 0815")],
            "4711 0815 4711",
            "<l> <p>",
        ),
        (
            &[("<p>", "1234"), ("<l>", "12345678")],
            "1234 12345678 1234",
            "<p> <l> <p>",
        ),
        (
            &[("<1>", "abcdefgh"), ("<2>", "abcd/efgh")],
            r"abcd\/efgh",
            "<2>",
        ),
    ] {
        let redactor = redactor_of(values);
        assert_eq!(redactor.redact(text), expected, "{text}");
        for at in 0..=text.len() {
            let mut stream = redactor.text_stream();
            let output = stream.push(&text[..at]) + &stream.push(&text[at..]) + &stream.finish();
            assert_eq!(output, expected, "{text} cut at {at}");
        }
    }
}

#[test]
fn a_reference_that_was_put_in_is_not_scanned() {
    let redactor = redactor_of(&[
        ("abcdefgh", "12345678"),
        ("<2>", "abcdefgh"),
        ("<3>", "1212"),
    ]);
    assert_eq!(redactor.redact("12345678 abcdefgh"), "abcdefgh <2>");
    // What borders a short value is the original text, not what was put there.
    assert_eq!(redactor.redact("123456781212"), "abcdefgh1212");
    assert_eq!(redactor.redact("12345678 1212"), "abcdefgh <3>");
}

#[test]
fn merging_keeps_equal_values_once_with_the_first_reference() {
    let mut all = redactor_of(&[("<1>", "abcdefgh"), ("<2>", "ijklmnop")]);
    all.merge(&redactor_of(&[
        ("<other>", "ijklmnop"),
        ("<3>", "qrstuvwx"),
    ]));
    all.merge(&Redactor::new());
    let copy = all.clone();
    all.merge(&copy);
    assert_eq!(all.len(), 3);
    assert_eq!(all.redact("abcdefgh ijklmnop qrstuvwx"), "<1> <2> <3>");
}

/// A private key of three lines, as a file has it.
const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQDh\nq2Y=\n-----END KEY-----\n";

/// With a comparison of each value with every other one, this would take hours.
#[test]
fn many_values_are_added_and_merged() {
    let values = |count: usize| {
        let mut redactor = Redactor::new();
        for i in 0..count {
            redactor.add(
                format!("secret://{i}"),
                &SecretValue::new(format!("value-{i:06}")),
            );
        }
        redactor
    };
    let many = 300_000;
    let mut all = values(many);
    // Neither has the other's copies, and the smaller one is in another order.
    all.merge(&values(many));
    let mut some = Redactor::new();
    some.add("secret://last", &SecretValue::new("value-299999"));
    some.merge(&all);
    assert_eq!((all.len(), some.len()), (many, many));

    // What a program prints is told of all values at each line.
    let some = values(2_000);
    let mut stream = some.stream();
    for _ in 0..20_000 {
        stream.merge(&some);
    }
    let mut output = stream.push(b"value-001999\n");
    output.extend(stream.finish());
    assert_eq!(output, b"secret://1999\n");
}

#[test]
fn the_lines_of_a_key_are_found_by_themselves() {
    let redactor = redactor_of(&[
        ("<key>", KEY),
        ("<token>", "ghp_R7mKq2xW9c\n"),
        ("<pin>", " 4711"),
        ("<shorter>", "pin "),
    ]);
    assert_eq!(redactor.len(), 4);
    for (label, text, expected) in [
        ("the whole", KEY.to_owned(), "<key>"),
        (
            "other line ends",
            KEY.replace('\n', "\r\n"),
            "-----BEGIN KEY-----\r\n<key>\r\n<key>\r\nq2Y=\r\n-----END KEY-----\r\n",
        ),
        (
            "indented, as in YAML",
            KEY.replace('\n', "\n    "),
            "-----BEGIN KEY-----\n    <key>\n    <key>\n    q2Y=\n    -----END KEY-----\n    ",
        ),
        (
            "JSON in JSON",
            KEY.replace('\n', r"\\n"),
            r"-----BEGIN KEY-----\\n<key>\\n<key>\\nq2Y=\\n-----END KEY-----\\n",
        ),
        (
            "one line",
            "invalid: EFAASCBKcwggSjAgEAAoIBAQDh!".to_owned(),
            "invalid: <key>!",
        ),
        (
            "one line in hex",
            hex(b"EFAASCBKcwggSjAgEAAoIBAQDh", true),
            "<key>",
        ),
        (
            "without the last line end",
            KEY.trim_end().to_owned(),
            "<key>",
        ),
        ("a short line", "q2Y= q2Y=".to_owned(), "q2Y= q2Y="),
        ("a line end less", "ghp_R7mKq2xW9c".to_owned(), "<token>"),
        ("a short value", "47110 4711-".to_owned(), "47110 4711-"),
        ("a short value alone", "(4711)".to_owned(), "(<pin>)"),
        ("a shorter one", "pin".to_owned(), "pin"),
    ] {
        assert_eq!(redactor.redact(&text), expected, "{label}");
    }
}

/// Keys are kept in one line in variables of an environment, and in JSON.
#[test]
fn the_lines_of_a_key_are_found_where_it_is_kept_as_one() {
    for line_end in [r"\n", r"\r\n"] {
        let key = KEY.replace('\n', line_end);
        for value in [
            key.clone(),
            format!(r#"{{"type":"account","key":"{key}","id":1}}"#),
            format!("{{\n  \"type\": \"account\",\n  \"key\": \"{key}\"\n}}"),
        ] {
            let redactor = redactor(&value);
            assert_eq!(
                redactor.redact(KEY),
                "-----BEGIN KEY-----\nsecret://it\nsecret://it\nq2Y=\n-----END KEY-----\n"
            );
            assert_eq!(redactor.redact(&value), "secret://it");
            assert!(redactor.has_multiline_values());
        }
    }
    assert!(!redactor(r"C:\temp\token").has_multiline_values());
}

#[test]
fn lines_of_ordinary_text_are_left_alone() {
    let account = "{\n  \"type\": \"service_account\",\n  \"key\": \"Zq8wT3vNlin_api_Zq8wT3vN\"\n}";
    let redactor = redactor(account);
    for text in [
        r#""type": "service_account","#,
        "{\n  }",
        "Zq8wT3vNlin_api_Zq8wT3vN",
    ] {
        assert_eq!(redactor.redact(text), text);
    }
}

#[test]
fn a_line_that_is_drawn_is_not_replaced() {
    for (line, is_found) in [
        ("----------------", false),
        ("+--------+=====+", false),
        ("+--------+====|+", true),
        ("────────────────", false),
        // As many digits as lines are long here are hard to guess.
        ("0110100110010110", true),
        ("----------a-----", true),
    ] {
        let redactor = redactor(&format!("title\n{line}\npassw0rd"));
        let found = redactor.redact(line) != line;
        assert_eq!(found, is_found, "{line}");
    }
}

#[test]
fn a_value_added_later_is_found_too() {
    let mut redactor = redactor("lin_api_Zq8wT3vN");
    assert_eq!(redactor.redact("ijklmnop"), "ijklmnop");
    let before = redactor.clone();
    redactor.add("<2>", &SecretValue::new("ijklmnop"));
    assert_eq!(
        redactor.redact("ijklmnop lin_api_Zq8wT3vN"),
        "<2> secret://it"
    );
    assert_eq!(
        before.redact("ijklmnop lin_api_Zq8wT3vN"),
        "ijklmnop secret://it"
    );
}

#[test]
fn clones_and_merged_redactors_outlive_their_source() {
    let value = SecretValue::new("lin_api_Zq8wT3vN");
    let mut source = Redactor::new();
    source.add("<1>", &value);
    drop(value);
    let clone = source.clone();
    let mut merged = Redactor::default();
    merged.merge(&source);
    drop(source);
    for redactor in [clone, merged] {
        assert_eq!(redactor.redact("lin_api_Zq8wT3vN"), "<1>");
    }
}

#[test]
fn an_empty_redactor_and_an_empty_value_replace_nothing() {
    let mut redactor = Redactor::new();
    redactor.add("<nothing>", &SecretValue::new(""));
    assert!(redactor.is_empty());
    assert_eq!(redactor.len(), 0);
    assert_eq!(redactor.redact("text"), "text");
    redactor.add("<x>", &SecretValue::new("x"));
    assert_eq!(redactor.redact("x xx\0x"), "<x> xx\0<x>");
    assert!(!redactor.is_empty());
}

#[test]
fn text_without_a_value_is_borrowed() {
    let redactor = redactor("lin_api_Zq8wT3vN");
    assert!(matches!(
        redactor.redact("lin_api"),
        Cow::Borrowed("lin_api")
    ));
    assert!(matches!(redactor.redact(""), Cow::Borrowed("")));
    assert!(matches!(
        redactor.redact_bytes(b"\xff"),
        Cow::Borrowed(b"\xff")
    ));
}

#[test]
fn debug_shows_a_count_only() {
    let redactor = redactor("lin_api_Zq8wT3vN");
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"lin_api_Zq8"), b"");
    let mut text_stream = redactor.text_stream();
    assert_eq!(text_stream.push("lin_api_Zq8"), "");
    for shown in [
        format!("{redactor:?}"),
        format!("{stream:#?}"),
        format!("{text_stream:?}"),
    ] {
        for part in ["lin", "Zq8", "108, 105"] {
            assert!(!shown.contains(part), "{shown}");
        }
        assert!(shown.contains("values: 1"), "{shown}");
    }
}

#[test]
fn the_types_can_be_shared() {
    fn is_shared<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    is_shared::<Redactor>();
    is_shared::<keyward::RedactStream>();
    is_shared::<keyward::RedactTextStream>();
}

/// The redactor of a call that gets this value in this format.
fn of_format(name: &str, value: &str, format: &str) -> Redactor {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let secret = NewSecret::new(name, value)
        .bind("t", "key")
        .default_for_tool();
    user.create(secret.format(format)).unwrap();
    let injection = user.inject(&ToolCall::new("t"), &mut Map::new()).unwrap();
    let redactor = injection.into_redactor();
    let said = format!("key: {}.", format.replace("{}", value));
    assert_eq!(
        redactor.redact(&said),
        user.redactor().unwrap().redact(&said)
    );
    redactor
}

#[test]
fn a_short_value_in_its_format_is_as_likely_to_be_ordinary_text() {
    for (format, text, redacted) in [
        ("pin={}", "pin=4711", "secret://a"),
        ("pin={}", "pin=47110", "pin=47110"),
        ("pin={}", "xpin=4711", "xpin=secret://a"),
        ("pin={}", "xpin=4711x", "xpin=4711x"),
        ("pin={}", "cGluPTQ3MTE=", "cGluPTQ3MTE="),
        ("pin={}\n", "a pin=4711, b", "a secret://a, b"),
        ("pin={}\n", "a pin=4711b", "a pin=4711b"),
        ("Bearer v-{}", "Bearer v-4711", "secret://a"),
        ("Bearer v-{}", "Bearer v-4711f", "Bearer v-4711f"),
        ("v-{}-", "v-4711-", "secret://a"),
        ("Bearer {}", "Bearer 4711", "secret://a"),
        ("Bearer {}", "Bearer 4711deadbeef", "Bearer 4711deadbeef"),
    ] {
        let redactor = of_format("a", "4711", format);
        assert_eq!(redactor.redact(text), redacted, "{format:?} {text:?}");
    }
}

#[test]
fn a_value_of_eight_bytes_is_long_in_its_format_too() {
    let redactor = of_format("a", "4QvT9sLm", "k={}");
    assert_eq!(redactor.redact("xk=4QvT9sLmx"), "xsecret://ax");
}

/// That is no secret, and a tool may print it by itself.
#[test]
fn a_line_of_a_format_is_not_replaced() {
    let redactor = of_format("a", "4QvT9sLm", "X-Service-Credentials\n{}");
    assert_eq!(
        redactor.redact("X-Service-Credentials\nX-Service-Credentials\n4QvT9sLm"),
        "X-Service-Credentials\nsecret://a"
    );
    let mut all = redactor;
    let whole = SecretValue::new("X-Service-Credentials\n4QvT9sLm");
    all.add("secret://b", &whole);
    assert_eq!(
        all.redact("X-Service-Credentials"),
        "secret://b",
        "it is secret now"
    );
}

#[test]
fn a_long_value_is_found_in_all_forms_though_it_is_a_short_one_in_its_format() {
    let short = of_format("a", "4711", "pin={}");
    let mut long = Redactor::new();
    long.add("secret://b", &SecretValue::new("pin=4711"));
    let mut many = Redactor::new();
    for i in 0..20 {
        many.add(
            format!("secret://{i}"),
            &SecretValue::new(format!("value-{i:06}")),
        );
    }
    let merged = |order: &[&Redactor]| {
        let mut all = Redactor::new();
        for redactor in order {
            all.merge(redactor);
        }
        all
    };
    for order in [
        &[&short, &long][..],
        &[&long, &short],
        &[&many, &short, &long],
        &[&many, &long, &short],
        &[&short, &many, &long],
    ] {
        let mut all = merged(order);
        let redacted = all.redact("xpin=47110 cGluPTQ3MTE=");
        assert_eq!(redacted, "xsecret://b0 secret://b");
        let count = all.len();
        for redactor in order {
            all.merge(redactor);
        }
        assert_eq!(all.len(), count);
    }
}
