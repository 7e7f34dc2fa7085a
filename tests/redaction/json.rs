//! JSON values.

use super::forms::redactor;
use keyward::{Redactor, SecretValue};
use serde_json::{Value, json};

fn redacted(redactor: &Redactor, mut value: Value) -> Value {
    redactor.redact_json(&mut value);
    value
}

#[test]
fn strings_and_keys_at_any_depth() {
    let redactor = redactor("pa\"ss\\word");
    assert_eq!(
        redacted(
            &redactor,
            json!({
                "headers": [{"Authorization": "Bearer pa\"ss\\word"}, null, true, 1.5, "pa\"ss"],
                "pa\"ss\\word": {"x-pa%22ss%5Cword": []},
                "as text": "{\"key\": \"pa\\\"ss\\\\word\"}",
            }),
        ),
        json!({
            "headers": [{"Authorization": "Bearer secret://it"}, null, true, 1.5, "pa\"ss"],
            "secret://it": {"x-secret://it": []},
            "as text": "{\"key\": \"secret://it\"}",
        }),
    );
    assert_eq!(
        redacted(&redactor, json!("pa\"ss\\word")),
        json!("secret://it")
    );
}

/// Also where the keys were sorted, and the spaces are gone.
#[test]
fn a_value_that_is_an_object_is_found_as_one() {
    let account = r#"{"type": "service_account", "key": "-----BEGIN\nMIIE\u002B"}"#;
    let mut redactor = redactor(account);
    redactor.add("secret://type", &SecretValue::new("service_account"));
    let account: Value = serde_json::from_str(account).unwrap();
    let mut other = account.clone();
    other["type"] = json!("authorized_user");
    assert_eq!(
        redacted(
            &redactor,
            json!({"a": [account, other], "service_account": account})
        ),
        json!({"a": ["secret://it", other], "secret://type": "secret://it"}),
    );
    assert_eq!(redacted(&redactor, account), json!("secret://it"));
}

/// What begins in an object that is replaced does not count, and hides nothing that begins behind the object.
#[test]
fn a_value_behind_an_object_is_found_whatever_lies_across_both() {
    let mut redactor = redactor("12345678ABCDEFGH");
    redactor.add("secret://object", &SecretValue::new(r#"{"k":"aaaa"}"#));
    redactor.add("secret://across", &SecretValue::new(r#"aaaa"}1234"#));
    for (text, expected) in [
        (r#"{"k": "aaaa"}12345678ABCDEFGH!"#, "secret://object!"),
        (r#"{"k": "aaaa"}1234!"#, "secret://object!"),
        (
            r#"{"k": "aaaa"}, 12345678ABCDEFGH"#,
            "secret://object, secret://it",
        ),
    ] {
        assert_eq!(redacted(&redactor, json!(text)), json!(expected));
    }
}

/// Where a value that is no JSON has a quotation mark that ends nowhere, and very many others behind it.
#[test]
fn a_value_of_nothing_but_quotation_marks_is_read_once() {
    let value = format!("[\"{}", "\\\"".repeat(30_000));
    let redactor = redactor(&value);
    // If the rest were searched at each of them, this would take a minute.
    assert_eq!(redacted(&redactor, json!(value)), json!("secret://it"));
}

#[test]
fn keys_that_become_equal_are_all_kept() {
    let redactor = redactor("lin_api_Zq8wT3vN");
    let output = redacted(
        &redactor,
        json!({
            "lin_api_Zq8wT3vN": 1,
            "lin%5Fapi_Zq8wT3vN": 2,
            "lin%5fapi_Zq8wT3vN": 3,
            "secret://it": "stays",
            "secret://it (3)": "stays as well",
        }),
    );
    let members = output.as_object().unwrap();
    assert_eq!(members.len(), 5);
    assert_eq!(members["secret://it"], "stays");
    assert_eq!(members["secret://it (3)"], "stays as well");
    let mut numbers: Vec<i64> = ["secret://it (2)", "secret://it (4)", "secret://it (5)"]
        .iter()
        .map(|key| members[*key].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

/// A key that a number was added to may equal what another key becomes.
#[test]
fn a_key_with_a_number_is_taken_as_well() {
    let mut redactor = Redactor::new();
    redactor.add("K", &SecretValue::new("abcdefgh"));
    redactor.add("K (2)", &SecretValue::new("ijklmnop"));
    assert_eq!(
        redacted(&redactor, json!({"K": 0, "abcdefgh": 1, "ijklmnop": 2})),
        json!({"K": 0, "K (2)": 1, "K (2) (2)": 2})
    );
}

#[test]
fn numbers_whose_text_contains_a_value() {
    let mut redactor = redactor("12345678");
    redactor.add("secret://pin", &SecretValue::new("4711"));
    redactor.add("secret://fraction", &SecretValue::new("271.828182"));
    assert_eq!(
        redacted(
            &redactor,
            json!([
                12345678,
                -12345678,
                9123456780_i64,
                4711,
                47110,
                -4711,
                271.828182,
                1234567
            ])
        ),
        json!([
            "secret://it",
            "-secret://it",
            "9secret://it0",
            "secret://pin",
            47110,
            -4711,
            "secret://fraction",
            1234567
        ]),
    );
}

#[test]
fn a_number_is_found_however_it_is_spelled() {
    let mut redactor = Redactor::new();
    for (reference, value) in [
        ("amount", "4711.50"),
        ("same", "4711.5"),
        ("power", "12e9"),
        ("long", "123456789012345678901234"),
        ("fraction", "12345678901.2345678"),
        ("text", "+471100"),
        ("negative", "-8.000"),
    ] {
        redactor.add(format!("secret://{reference}"), &SecretValue::new(value));
    }
    let text = r#"[4711.50, 4711.5, 4.7115e3, 12e9, 12000000000.0, 12000000000, 123456789012345678901234,
        123456789012345680000000, 12345678901.2345678, 471100, -8.0, 8.0, {"4711.500": "-8.0"}]"#;
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        redacted(&redactor, value),
        json!([
            "secret://same",
            "secret://same",
            "secret://same",
            "secret://power",
            "secret://power",
            12_000_000_000_u64,
            "secret://long",
            "secret://long",
            "secret://fraction",
            471_100,
            "secret://negative",
            8.0,
            {"4711.500": "-8.0"}
        ]),
    );
}

#[test]
fn a_string_is_a_text_of_its_own() {
    let redactor = redactor("4711");
    assert_eq!(
        redacted(&redactor, json!(["4711", "x4711", {"4711": "4711x"}])),
        json!(["secret://it", "x4711", {"secret://it": "4711x"}])
    );
}

#[test]
fn what_holds_no_value_is_as_it_was() {
    let value = json!({"b": [1, 2.5, {"a": null}], "a": "lin_api", "secret://it": false});
    assert_eq!(
        redacted(&redactor("lin_api_Zq8wT3vN"), value.clone()),
        value
    );
    assert_eq!(redacted(&Redactor::new(), value.clone()), value);
}
