//! The filter's promises, checked against the parsed forms.

use std::{
    borrow::Cow,
    io,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Filter, json as text, redaction};
#[cfg(target_os = "linux")]
use crate::memory_scan::{deep, in_child};
use crate::{
    AuditEvent, AuditSink, InjectionPolicy, NewSecret, Redactor, SecretValue, UserId, UserVault,
    Vault, secret,
};

const KEY: &str = "lin_api_Zq8\"wT3vN";

fn user() -> UserVault {
    let policy = InjectionPolicy::default().replace_supplied();
    let vault = Vault::builder()
        .injection_policy(policy)
        .in_memory()
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    let linear = NewSecret::new("linear", KEY).bind("srv__create_issue", "api_key");
    user.create(linear.default_for_tool()).unwrap();
    let header = NewSecret::new("header", "4QvT9sLm").bind("srv__fetch", "/headers/Authorization");
    user.create(header.format("Bearer {}").default_for_tool())
        .unwrap();
    user
}

fn filter() -> Filter {
    Filter::new(user()).server("srv")
}

fn to_server(filter: &Filter, message: &str) -> String {
    let passed = filter.client_message(message.as_bytes());
    String::from_utf8(passed.to_server().unwrap().to_vec()).unwrap()
}

fn to_client(filter: &Filter, message: &str) -> String {
    String::from_utf8(filter.server_message(message.as_bytes()).into_owned()).unwrap()
}

#[test]
fn a_call_gets_its_secret_and_nothing_else_changes() {
    let filter = filter();
    let escaped = &json!(KEY).to_string();
    let cases = [
        (
            r#"{ "id":"a", "method":"tools/call", "params":{"name":"create_issue","arguments":{"z":1.10,"b":12345678901234567890123,"a":"\u00e9\ud800"},"_meta":{"progressToken":1}}, "x":1e400 }"#,
            r#"{ "id":"a", "method":"tools/call", "params":{"name":"create_issue","arguments":{"z":1.10,"b":12345678901234567890123,"a":"\u00e9\ud800","api_key":KEY},"_meta":{"progressToken":1}}, "x":1e400 }"#,
        ),
        (
            r#"{"id":1,"method":"tools/call","params":{"name":"create_issue"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"create_issue","arguments":{"api_key":KEY}}}"#,
        ),
        (
            r#"{"id":1,"method":"tools/call","params":{"name":"create_issue","arguments":{ }}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"create_issue","arguments":{"api_key":KEY }}}"#,
        ),
        (
            r#"{"id":1,"method":"tools/call","params":{"name":"fetch","arguments":{"headers" : {"A": 1}, "url":"x"}}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"fetch","arguments":{"headers" : {"A": 1,"Authorization":"Bearer 4QvT9sLm"}, "url":"x"}}}"#,
        ),
        (
            r#"[{"id":1,"method":"ping"} , {"id":2,"method":"tools/call","params":{"name":"create_issue","arguments":null}}]"#,
            r#"[{"id":1,"method":"ping"},{"id":2,"method":"tools/call","params":{"name":"create_issue","arguments":{"api_key":KEY}}}]"#,
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(
            to_server(&filter, message),
            expected.replace("KEY", escaped)
        );
    }
}

#[test]
fn a_denied_call_is_answered_in_the_same_words_whether_the_secret_exists_or_not() {
    let filter = filter();
    let answer = |secret: &str| {
        let message = format!(
            r#"{{"id":"q","method":"tools/call","params":{{"name":"send","arguments":{{"body":"secret://{secret}"}}}}}}"#
        );
        let passed = filter.client_message(message.as_bytes());
        assert_eq!(passed.to_server(), None);
        let answer: Value = serde_json::from_slice(passed.to_client().unwrap()).unwrap();
        assert_eq!(answer["id"], "q");
        assert_eq!(answer["result"]["isError"], true);
        answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(answer("linear"), answer("nosuch"));
}

#[test]
fn objects_and_arrays_are_parsed_as_deep_as_serde_json_goes() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
        let each = open.matches(['[', '{']).count();
        for (times, fits) in [(128 / each, true), (128 / each + 1, false)] {
            let message = format!("{}1{}", open.repeat(times), close.repeat(times));
            let parsed = text::parse(&message, 0..message.len());
            assert_eq!(parsed.is_some(), fits, "{open} {times}");
        }
    }
}

#[test]
fn the_audit_has_the_id_of_the_message() {
    struct Ids(Mutex<Vec<Option<String>>>);
    impl AuditSink for Ids {
        fn record(&self, event: &AuditEvent) -> io::Result<()> {
            self.0.lock().unwrap().push(event.call_id.clone());
            Ok(())
        }
    }
    let ids = Arc::new(Ids(Mutex::default()));
    let vault = Vault::builder().audit(Arc::clone(&ids)).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    let secret = NewSecret::new("a", "value-of-a").bind("t", "k");
    user.create(secret.default_for_tool()).unwrap();
    let filter = Filter::new(user);
    ids.0.lock().unwrap().clear();
    for id in [r#""id":7,"#, r#""id":"call-7","#, ""] {
        for arguments in ["{}", r#"{"b":"secret://a"}"#] {
            let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
            let call = format!(r#"{{{id}"method":"tools/call","params":{params}}}"#);
            let _ = filter.client_message(call.as_bytes());
        }
    }
    let expected = ["7", "7", "call-7", "call-7"].map(|id| Some(id.to_owned()));
    let ids = ids.0.lock().unwrap();
    assert_eq!(ids[..4], expected);
    assert_eq!(ids[4..], [None, None]);
}

#[test]
fn a_list_of_tools_changes_only_where_an_argument_is_hidden() {
    let filter = filter();
    assert!(
        filter
            .client_message(br#"{"id":1,"method":"tools/list"}"#)
            .to_server()
            .is_some()
    );
    let listing = r#"{"jsonrpc":"2.0","result": {"tools":[{"name":"create_issue","inputSchema":{"type":"object","properties":{"z":{"type":"string"},"api_key":{"type":"string"},"a":{"minimum":1.0}},"required":["z", "api_key"],"x-y":1e2},"annotations":{"k":1}},{"name":"fetch","inputSchema":{"type":"object","properties":{}}}],"nextCursor":"c"},"id":1.0}"#;
    let shown = to_client(&filter, listing);
    let expected = listing
        .replace(r#","api_key":{"type":"string"}"#, "")
        .replace(r#""required":["z", "api_key"]"#, r#""required":["z"]"#);
    assert_eq!(shown, expected);
}

/// Text that grows leaves a copy of what it was.
#[test]
fn what_is_not_utf_8_is_decoded_into_a_buffer_of_its_length() {
    let bytes = [b"a\xff".repeat(40), b"\xe2\x82x\xc3".to_vec()].concat();
    let Cow::Owned(text) = text::decode(&bytes) else {
        panic!("it is no text");
    };
    assert_eq!(text, String::from_utf8_lossy(&bytes));
    assert_eq!(text.capacity(), text.len());
}

/// What is shown is redacted; what decides is the list as it was.
#[test]
fn a_list_that_repeats_values_is_redacted_and_means_what_it_meant() {
    let mut redactor = Redactor::new();
    for (reference, value) in [("secret://pin", "4711"), ("secret://name", "fetch")] {
        redactor.add(reference, &SecretValue::new(value));
    }
    let filter = filter().redacting(&redactor);
    let _ = filter.client_message(br#"{"id":1,"method":"tools/list"}"#);
    let listing = r##" {"id":1,"result":{"tools":[{"name":"fetch","inputSchema":{"properties":{"headers":{"$ref":"#/$defs/4711"},"a":{"default":"4711"}},"$defs":{"4711":{"type":"object","properties":{"Authorization":{"type":"string"}}}}}},{"name":"create_issue","inputSchema":{"properties":{"api_key":{"const":4711}}}},7]}}"##;
    let redacted = listing
        .replace("fetch", "secret://name")
        .replace(":4711", ":\"secret://pin\"")
        .replace("4711", "secret://pin");
    assert_eq!(to_client(&filter, listing), redacted);
    let call = |tool: &str| {
        let message = json!({"id": 2, "method": "tools/call", "params": {"name": tool}});
        let sent: Value = serde_json::from_str(&to_server(&filter, &message.to_string())).unwrap();
        sent["params"]["arguments"].clone()
    };
    assert_eq!(
        call("fetch"),
        json!({"headers": {"Authorization": "Bearer 4QvT9sLm"}})
    );
    assert_eq!(call("create_issue"), Value::Null);
}

#[cfg(target_os = "linux")]
#[test]
fn no_message_of_a_server_leaves_a_copy_of_a_value() {
    let test = "mcp::tests::no_message_of_a_server_leaves_a_copy_of_a_value";
    in_child(test, |memory| {
        let value = memory.canary("value", 60);
        for (before, after) in [
            (r#"{"result":"a\n"#, r#"\t"}"#),
            (r#"{"result":{"\u0061"#, r#"":1}}"#),
            (r#"{"result":{"x":["a\n"#, r#""]},"y":NaN}"#),
            (r#"[0,"a\n"#, r#""]"#),
            (r#"said "a\n"#, r#"", and more"#),
            (
                r#"{"id":1,"result":{"tools":[{"name":"create_issue","inputSchema":{"properties":{"api_key":{},"a":{"default":["\n"#,
                r#""]}}}},{"name":"create_issue","inputSchema":{}}]}}"#,
            ),
        ] {
            deep(|| {
                let mut redactor = Redactor::new();
                redactor.add("secret://a", &SecretValue::new(value.unwiped()));
                let filter = filter().redacting(&redactor);
                drop(redactor);
                let _ = filter.client_message(br#"{"id":1,"method":"tools/list"}"#);
                let message = value.within(before, after);
                let shown = filter.server_message(&message);
                let shown = std::str::from_utf8(&shown).unwrap();
                assert!(shown.contains("secret://a"), "{before}");
                assert!(!shown.contains("api_key"), "{before}");
            });
            memory.assert_clean(before);
        }
    });
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        Just(Value::from(KEY)),
        Just(Value::from(format!("x{KEY}"))),
        Just(Value::from("a\n4711\tb")),
        Just(Value::from(12_345_678)),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        let key = prop_oneof![
            "[a-d\"\\\\é]{0,3}",
            Just(KEY.to_owned()),
            Just("secret://linear".to_owned())
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Pieces of text that is JSON, or nearly so.
fn pieces() -> impl Strategy<Value = &'static str> {
    const PIECES: [&str; 17] = [
        "{", "}", "[", "]", ",", ":", "\"", "'", "\\", " ", "1", "x", "null", "\"x\"", "\"x\":",
        "{}", "[]",
    ];
    prop_oneof![
        Just("lin_api_Zq8wT3vN"),
        Just("\"lin_api_Zq8wT3vN\""),
        prop::sample::select(&PIECES[..]),
        prop::sample::select(&PIECES[..]),
    ]
}

/// Values in which nothing is escaped: an escape is found as what it says, and not as it is spelled.
fn plain_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c ,:\\[{]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c:]{0,9}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// How many values and members there are in one.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.iter().map(size).sum::<usize>() + 1,
        Value::Object(members) => members.values().map(size).sum::<usize>() + 1,
        _ => 1,
    }
}

proptest! {
    #[test]
    fn rewritten_text_is_the_new_value_and_the_same_value_is_the_same_text(old in values(), new in values(), pretty: bool) {
        let old_text = if pretty { serde_json::to_string_pretty(&old) } else { serde_json::to_string(&old) }.unwrap();
        let rewritten = |value: &Value| {
            let mut out = text::Buffer::default();
            text::rewrite(&old_text, 0..old_text.len(), value, &mut out);
            String::from_utf8(out.into_bytes().to_vec()).unwrap()
        };
        prop_assert_eq!(&*text::parse(&old_text, 0..old_text.len()).unwrap(), &serde_json::from_str::<Value>(&old_text).unwrap());
        prop_assert_eq!(rewritten(&serde_json::from_str(&old_text).unwrap()), old_text.clone());
        prop_assert_eq!(serde_json::from_str::<Value>(&rewritten(&new)).unwrap(), serde_json::from_str::<Value>(&new.to_string()).unwrap());
    }

    #[test]
    fn redacted_text_is_the_redacted_value(value in values()) {
        let mut redactor = Redactor::new();
        let id = crate::SecretId::new(uuid::Uuid::nil());
        redactor.add(secret::reference("linear", id), &SecretValue::new(KEY));
        let message = value.to_string();
        let search = redaction::Search { redactor: &redactor, done: &[] };
        let redacted = redaction::redact_value(&message, 0..message.len(), search).unwrap_or_else(|| message.clone());
        let mut expected: Value = serde_json::from_str(&message).unwrap();
        redactor.redact_json(&mut expected);
        prop_assert_eq!(serde_json::from_str::<Value>(&redacted).unwrap(), expected);
    }

    #[test]
    fn no_value_is_left_whatever_the_text_is(pieces in prop::collection::vec(pieces(), 0..12)) {
        let mut redactor = Redactor::new();
        redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
        let filter = filter().redacting(&redactor);
        for message in [pieces.concat(), format!("{{\"a\":{}}}", pieces.concat())] {
            prop_assert!(!to_client(&filter, &message).contains("lin_api_Zq8wT3vN"), "{message}");
        }
    }

    #[test]
    fn of_json_nothing_is_left_lost_or_broken_whatever_it_says(parts in prop::collection::vec(values(), 1..4), form in 0..4) {
        let mut redactor = Redactor::new();
        for (reference, value) in [("secret://linear", KEY), ("secret://pin", "4711"), ("secret://account", "12345678")] {
            redactor.add(reference, &SecretValue::new(value));
        }
        let filter = filter().redacting(&redactor);
        let message = match form {
            0 => parts[0].clone(),
            1 => json!(parts),
            2 => json!([{"jsonrpc": "2.0", "id": 1, "result": parts[0]}, {"method": parts[parts.len() - 1], "params": parts}]),
            _ => json!({"jsonrpc": "2.0", "id": parts[0], "error": {"data": parts}, "x": parts}),
        };
        let message: Value = serde_json::from_str(&message.to_string()).unwrap();
        let shown = to_client(&filter, &message.to_string());
        let shown: Value = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(size(&shown), size(&message));
        let routed = |message: &Value| {
            let mut message = message.clone();
            let members = message.as_object_mut().into_iter();
            members.for_each(|members| members.retain(|key, value| {
                !matches!(&**key, "id" | "method") || value.is_array() || value.is_object()
            }));
            message
        };
        let rest = match &shown {
            Value::Array(batch) => batch.iter().map(routed).collect(),
            message => routed(message),
        };
        let mut redacted = rest.clone();
        redactor.redact_json(&mut redacted);
        prop_assert_eq!(redacted, rest);
    }

    /// Whatever part of the line a value is: it is not there any more, and JSON is JSON.
    #[test]
    fn no_part_of_a_message_is_left(parts in prop::collection::vec(plain_values(), 1..4), form in 0..3, from in any::<prop::sample::Index>(), length in 8_usize..40) {
        let message = match form {
            0 => json!(parts),
            1 => json!([{"jsonrpc": "2.0", "id": 1, "result": parts[0]}, {"method": "x", "params": parts}]),
            _ => json!({"jsonrpc": "2.0", "id": 1, "error": {"data": parts}}),
        };
        let message = message.to_string();
        let places: Vec<usize> = message.char_indices().map(|(at, _)| at).collect();
        let start = *from.get(&places);
        let value: String = message[start..].chars().take(length).collect();
        if value.len() < 8 || "secret://v".contains(&value) {
            return Ok(());
        }
        let mut redactor = Redactor::new();
        redactor.add("secret://v", &SecretValue::new(&*value));
        let filter = Filter::new(user()).redacting(&redactor);
        let shown = to_client(&filter, &message);
        prop_assert!(!shown.contains(&value), "{shown}");
        prop_assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{shown}");
    }

    #[test]
    fn no_text_is_too_strange(message in "[\\[\\]{}:,\" \\\\ua1-]{0,40}") {
        let filter = filter();
        to_client(&filter, &message);
        let _ = filter.client_message(message.as_bytes());
        text::parse(&message, text::trimmed(&message));
    }
}

/// If the value were compared and parsed at each bracket, this would take minutes.
#[test]
fn brackets_that_begin_like_a_value() {
    let mut redactor = Redactor::new();
    redactor.add("secret://brackets", &SecretValue::new("[".repeat(65_536)));
    redactor.add("secret://json", &SecretValue::new("[[8, 9]]"));
    let filter = Filter::new(user()).redacting(&redactor);
    let result = |inner: &str| {
        let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{open}{inner}{close}}}"#)
    };
    let message = result("[[8, 9]]");
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":"secret://brackets"}"#;
    assert!(to_client(&filter, &message) == expected);

    let mut redactor = Redactor::new();
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
    redactor.add("secret://json", &SecretValue::new(deep("8, 9")));
    redactor.add("secret://other", &SecretValue::new(deep("7,9")));
    let filter = Filter::new(user()).redacting(&redactor);
    // Spelled differently, so that it is compared at each bracket.
    let message = result(&deep("8,9"));
    assert!(to_client(&filter, &message) == result(r#""secret://json""#));
}

/// Of two that begin together, the longer one counts, if it is there.
#[test]
fn a_value_that_goes_on_behind_an_object_hides_no_other() {
    let mut redactor = Redactor::new();
    redactor.add("secret://list", &SecretValue::new(r#"{"a": 123}, "b""#));
    redactor.add("secret://object", &SecretValue::new(r#"{"a": 123}"#));
    let filter = Filter::new(user()).redacting(&redactor);
    let result = |of: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{of}]}}"#);
    for (of, expected) in [
        (r#"1, [{"a": 123}, "b"]"#, r#"1, "secret://list""#),
        (r#"{"a": 123},"b""#, r#""secret://object","b""#),
        (r#"{"a":123}, "b""#, r#""secret://object", "b""#),
    ] {
        assert_eq!(to_client(&filter, &result(of)), result(expected));
    }
}

#[test]
fn a_reference_in_the_place_of_several_tokens_is_not_looked_at_again() {
    let mut redactor = Redactor::new();
    for (reference, value) in [
        ("secret://postgres-keys", r#"k1","k2-4QvT9sLm"#),
        ("secret://postgres-pair", "a,b:4QvT9sLm"),
        ("secret://db-user", "postgres"),
    ] {
        redactor.add(reference, &SecretValue::new(value));
    }
    let filter = Filter::new(user()).redacting(&redactor);
    for (line, expected) in [
        (
            r#"{"id":1,"result":{"postgres":["k1","k2-4QvT9sLm"],"x":["postgres",["k1","k2-4QvT9sLm"]]}}"#,
            r#"{"id":1,"result":{"secret://db-user":"secret://postgres-keys","x":["secret://db-user","secret://postgres-keys"]}}"#,
        ),
        (
            "postgres has a,b:4QvT9sLm \"a,b:4QvT9sLm postgres\"",
            "secret://db-user has secret://postgres-pair \"secret://postgres-pair secret://db-user\"",
        ),
        (
            r#"[{"id":1,"x":NaN,"y":"a,b:4QvT9sLm\npostgres"},{"y":"a,b:4QvT9sLm"}]"#,
            r#"[{"id":1,"x":NaN,"y":"secret://postgres-pair\nsecret://db-user"},{"y":"secret://postgres-pair"}]"#,
        ),
    ] {
        assert_eq!(to_client(&filter, line), expected);
    }
}

#[test]
fn a_line_that_is_a_list_of_objects_can_be_a_value() {
    let mut redactor = Redactor::new();
    let value = SecretValue::new(r#"[{"user": "ann", "password": "h 2"}]"#);
    redactor.add("secret://users", &value);
    let filter = Filter::new(user()).redacting(&redactor);
    for (line, expected) in [
        (
            r#" [{"password":"h 2","user":"ann"}] "#,
            r#" "secret://users" "#,
        ),
        (
            r#"[{"password":"h 2","user":"ann"},{}]"#,
            r#"[{"password":"h 2","user":"ann"},{}]"#,
        ),
    ] {
        assert_eq!(to_client(&filter, line), expected);
    }
}

/// Beside what is hidden there can be the rest of a list that is a value.
#[test]
fn what_is_left_of_a_schema_can_be_a_value() {
    let listing = |required: &str| {
        format!(
            r#"{{"id":1,"result":{{"tools":[{{"name":"create_issue","inputSchema":{{"properties":{{"api_key":{{}}}},"required":{required}}}}}]}}}}"#
        )
    };
    for (value, required, expected) in [
        (
            r#"["key-one", "key-two"]"#,
            r#"["api_key","key-one","key-two"]"#,
            r#""secret://keys""#,
        ),
        (
            r#"key-one","key-two"#,
            r#"["key-one","api_key","key-two"]"#,
            r#""secret://keys""#,
        ),
        (
            r#"["key-one", "key-two"]"#,
            r#"["api_key","key-one","key-two","c"]"#,
            r#"["key-one","key-two","c"]"#,
        ),
    ] {
        let mut redactor = Redactor::new();
        redactor.add("secret://keys", &SecretValue::new(value));
        let filter = filter().redacting(&redactor);
        let _ = filter.client_message(br#"{"id":1,"method":"tools/list"}"#);
        let shown = to_client(&filter, &listing(required));
        let hidden = listing(expected).replace(r#""api_key":{}"#, "");
        assert_eq!(shown, hidden, "{required}");
    }
}

/// Tools repeat as text what they return as an object.
#[test]
fn an_object_in_a_string_is_found_however_it_is_spelled() {
    let mut redactor = Redactor::new();
    let account = "{\n  \"type\": \"account\",\n  \"key\": \"4QvT9sLm\"\n}\n";
    redactor.add("secret://account", &SecretValue::new(account));
    redactor.add(
        "secret://key",
        &SecretValue::new(r#"key: {"key":"4QvT9sLm"#),
    );
    let filter = Filter::new(user()).redacting(&redactor);
    let object = json!({"key": "4QvT9sLm", "type": "account"});
    for (text, expected) in [
        (object.to_string(), "secret://account"),
        (
            format!("[1] bad {object}{object}!"),
            "[1] bad secret://accountsecret://account!",
        ),
        (account.to_owned(), "secret://account"),
        // What overlaps goes with what begins first.
        (format!("key: {object}!"), "secret://key!"),
    ] {
        let message = json!({"id": 1, "result": {"text": text, "object": object}});
        let expected = json!({"id": 1, "result": {"text": expected, "object": "secret://account"}});
        let shown: Value = serde_json::from_str(&to_client(&filter, &message.to_string())).unwrap();
        assert_eq!(shown, expected);
        let mut shown = message;
        redactor.redact_json(&mut shown);
        assert_eq!(shown, expected);
    }
}

/// Replaced by itself, a value within an object would make the object another one, and leave the rest of it.
#[test]
fn an_object_with_another_value_in_it_is_found_however_it_is_spelled() {
    let mut redactor = Redactor::new();
    let all = r#"{"token": "abc123def456", "db": {"user":"ann","password":"h 2"}}"#;
    redactor.add("secret://all", &SecretValue::new(all));
    let db = SecretValue::new(r#"{"user":"ann","password":"h 2"}"#);
    redactor.add("secret://db", &db);
    redactor.add("secret://pair", &SecretValue::new(r#""ann","password""#));
    let filter = Filter::new(user()).redacting(&redactor);
    let object = r#"{"db":{"user":"ann","password":"h 2"},"token":"abc123def456"}"#;
    for (line, expected) in [
        (
            format!(r#"{{"id":1,"result":[{object},{{"user":"ann","password":"h 2"}}]}}"#),
            r#"{"id":1,"result":["secret://all","secret://db"]}"#,
        ),
        (format!("[1] bad {object}!"), "[1] bad secret://all!"),
        // A quotation mark that ends nowhere.
        (
            format!("on the 12\" disk: {object}"),
            "on the 12\" disk: secret://all",
        ),
    ] {
        assert_eq!(to_client(&filter, &line), expected);
    }
}
