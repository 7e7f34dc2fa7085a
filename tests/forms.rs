//! Arguments as a JSON value and as JSON text. That every form gets what a map gets is checked with `calls.toml`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{ErrorKind, InjectionPolicy, NewSecret, Origin, ToolCall, UserId, UserVault, Vault};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const CALL: &str = "t";

/// A user with a default for each location; its value is `value-of-` followed by the location.
fn user(locations: &[&str]) -> UserVault {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    for location in locations {
        let secret = NewSecret::new(*location, format!("value-of-{location}"));
        user.create(secret.bind(CALL, *location).default_for_tool())
            .unwrap();
    }
    user
}

#[test]
fn text_changes_only_where_a_secret_goes() {
    for (locations, before, after) in [
        // An object without members, and one with some; whitespace stays.
        (&["k"][..], "{}", r#"{"k":"value-of-k"}"#),
        (&["k"], " { }\n", " {\"k\":\"value-of-k\" }\n"),
        (&["k"], r#"{ "a" : 1 }"#, r#"{ "a" : 1,"k":"value-of-k" }"#),
        (
            &["k", "l"],
            "{\n}",
            "{\"k\":\"value-of-k\",\"l\":\"value-of-l\"\n}",
        ),
        (
            &["k", "l"],
            r#"{"a":[]}"#,
            r#"{"a":[],"k":"value-of-k","l":"value-of-l"}"#,
        ),
        // Null is replaced where it stands.
        (
            &["k", "z"],
            r#"{"k": null, "a": 1}"#,
            r#"{"k": "value-of-k", "a": 1,"z":"value-of-z"}"#,
        ),
        // The order of the keys, repeated spaces, escapes and the digits of numbers stay.
        (
            &["k"],
            r#"{"z":1.50,"a":1e400,"n":123456789012345678901234567890,"s":"\u00e9\/\n"}"#,
            r#"{"z":1.50,"a":1e400,"n":123456789012345678901234567890,"s":"\u00e9\/\n","k":"value-of-k"}"#,
        ),
        // Names are compared after unescaping.
        (&["k"], r#"{"\u006b": null}"#, r#"{"\u006b": "value-of-k"}"#),
        (&["k"], r#"{"\u006b": "theirs"}"#, r#"{"\u006b": "theirs"}"#),
        // Parents, made or existing.
        (
            &["/p/q/r", "/p/s"],
            r#"{"x":0}"#,
            r#"{"x":0,"p":{"q":{"r":"value-of-/p/q/r"},"s":"value-of-/p/s"}}"#,
        ),
        (
            &["/p/q", "k"],
            r#"{"p": {"\"}": "{,", "x": [{}]}}"#,
            r#"{"p": {"\"}": "{,", "x": [{}],"q":"value-of-/p/q"},"k":"value-of-k"}"#,
        ),
        (
            &["/p/q"],
            r#"{"p": null}"#,
            r#"{"p": {"q":"value-of-/p/q"}}"#,
        ),
        (
            &["/p/1/q", "/p/0"],
            r#"{"p":[null, {"a" :1} ,3]}"#,
            r#"{"p":["value-of-/p/0", {"a" :1,"q":"value-of-/p/1/q"} ,3]}"#,
        ),
        // No arguments at all.
        (&["k"], "null", r#"{"k":"value-of-k"}"#),
        (&["k"], "", r#"{"k":"value-of-k"}"#),
        (&["/p/q"], " \n", r#"{"p":{"q":"value-of-/p/q"}}"#),
        (&[], "", ""),
        (&[], " null ", " null "),
    ] {
        let user = user(locations);
        let mut args = before.to_owned();
        let injection = user.inject_str(&ToolCall::new(CALL), &mut args).unwrap();
        assert_eq!(args, after);
        injection.wipe_str(&mut args);
        assert_eq!(args, before);
    }
}

#[test]
fn what_is_no_object_is_refused() {
    let user = user(&["k"]);
    for (text, error_type) in [
        ("[]", "value_error"),
        ("7", "value_error"),
        (r#""{}""#, "value_error"),
        ("{", "json_invalid"),
        ("{} {}", "json_invalid"),
        ("{'k': 1}", "json_invalid"),
        (r#"{"a": "\ud800"}"#, "string_unicode"),
        (r#"{"\ud800": 1}"#, "string_unicode"),
        // It is unknown which of the two the tool reads.
        (r#"{"a": "x", "a": null}"#, "value_error"),
        (r#"{"a": 1, "\u0061": 2}"#, "value_error"),
        (r#"{"b": [{"a": 1, "a": 1}]}"#, "value_error"),
    ] {
        let mut args = text.to_owned();
        let error = user
            .inject_str(&ToolCall::new(CALL), &mut args)
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.field_errors()[0].error_type()),
            (ErrorKind::Validation, error_type),
            "{text}"
        );
        assert_eq!(args, text);
    }
    // Where it is wrong, without what is there.
    let mut args = "{\n  'k': 1}".to_owned();
    let error = user.inject_str(&ToolCall::new(CALL), &mut args);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("from line 2, column 3 on"), "{error}");
    for value in [json!([]), json!(7), json!("{}"), json!(false)] {
        let mut args = value.clone();
        let error = user
            .inject_value(&ToolCall::new(CALL), &mut args)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert_eq!(args, value);
    }
}

#[test]
fn arguments_that_are_nested_too_deep_are_refused() {
    let user = user(&["k"]);
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let inject = |mut args: String| user.inject_str(&ToolCall::new(CALL), &mut args).err();
    let value = |depth| (0..depth).fold(json!([]), |inner, _| json!({ "a": inner }));
    let inject_value = |mut args| user.inject_value(&ToolCall::new(CALL), &mut args).err();
    for depth in [127, 128] {
        assert!(inject(nested(depth)).is_none(), "{depth}");
        assert!(inject(objects(depth)).is_none(), "{depth}");
        assert!(inject_value(value(depth)).is_none(), "{depth}");
    }
    assert_eq!(inject(objects(129)).unwrap().kind(), ErrorKind::Validation);
    assert_eq!(
        inject_value(value(129)).unwrap().kind(),
        ErrorKind::Validation
    );
    for depth in [129, 100_000] {
        let error = inject(nested(depth)).unwrap();
        assert_eq!(error.kind(), ErrorKind::Validation, "{depth}");
    }
}

#[test]
fn null_is_no_arguments() {
    let (user, mut args) = (user(&["k"]), Value::Null);
    let injection = user.inject_value(&ToolCall::new(CALL), &mut args).unwrap();
    assert_eq!(args, json!({"k": "value-of-k"}));
    let mut more = args.clone();
    more["q"] = json!(1);
    injection.wipe_value(&mut more);
    assert_eq!(more, json!({"q": 1}), "what the runtime added");
    injection.wipe_value(&mut args);
    assert_eq!(args, Value::Null);

    let _ = user
        .inject_value(&ToolCall::new("other"), &mut args)
        .unwrap();
    assert_eq!(args, Value::Null, "nothing was put in");
}

#[test]
fn every_form_can_be_guarded() {
    let (user, call) = (user(&["k"]), ToolCall::new(CALL));

    let mut args = Map::from_iter([("a".to_owned(), json!(1))]);
    let before = args.clone();
    let guarded = user.inject(&call, &mut args).unwrap().guard(args);
    assert_eq!(guarded["k"], "value-of-k");
    assert!(!format!("{guarded:?}").contains("value-of-k"));
    assert_eq!(guarded.wipe().0, before);

    let mut args = Value::Null;
    let guarded = user.inject_value(&call, &mut args).unwrap().guard(args);
    assert_eq!(guarded["k"], "value-of-k");
    assert!(!format!("{guarded:?}").contains("value-of-k"));
    assert_eq!(guarded.wipe().0, Value::Null);

    let before = r#"{ "a": 1.50 }"#;
    let mut args = before.to_owned();
    let guarded = user.inject_str(&call, &mut args).unwrap().guard(args);
    assert_eq!(*guarded, r#"{ "a": 1.50,"k":"value-of-k" }"#);
    assert!(!format!("{guarded:?}").contains("value-of-k"));
    let (args, injection) = guarded.wipe();
    assert_eq!((&*args, injection.filled().len()), (before, 1));
}

#[test]
fn a_replaced_value_comes_back() {
    let policy = InjectionPolicy::default().replace_supplied();
    let vault = Vault::builder().injection_policy(policy).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    let secret = NewSecret::new("k", "a \"quoted\" value\u{1}é");
    user.create(secret.bind(CALL, "k").default_for_tool())
        .unwrap();

    let before = r#"{"k": {"theirs": 1.50}, "a": 1}"#;
    let mut args = before.to_owned();
    let injection = user.inject_str(&ToolCall::new(CALL), &mut args).unwrap();
    assert_eq!(args, r#"{"k": "a \"quoted\" value\u0001é", "a": 1}"#);
    assert!(injection.filled()[0].replaced());
    injection.wipe_str(&mut args);
    assert_eq!(args, before);
}

#[test]
fn forms_can_be_mixed() {
    let user = user(&["k"]);
    let mut text = r#"{"a":1}"#.to_owned();
    let injection = user.inject_str(&ToolCall::new(CALL), &mut text).unwrap();
    // The runtime parses the text before it calls the tool.
    let mut value: Value = serde_json::from_str(&text).unwrap();
    injection.wipe_value(&mut value);
    assert_eq!(value, json!({"a": 1}));

    // The runtime writes text before it calls the tool.
    let mut args = Map::new();
    let injection = user.inject(&ToolCall::new(CALL), &mut args).unwrap();
    let mut text = json!(args).to_string();
    injection.wipe_str(&mut text);
    assert_eq!(text, "", "there is no text to put back");
}

/// The text may be the model's, so what it asks for must not cost more than reading it. If each place were looked for
/// by itself, this would take minutes.
#[test]
fn a_long_text_with_many_references_is_filled() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let secret = NewSecret::new("s", "value-of-s").tool_pattern(CALL);
    user.create(secret).unwrap();
    let text = |value| {
        format!(
            r#"{{ "a": [{}] }}"#,
            vec![json!(value).to_string(); 100_000].join(" ,")
        )
    };
    let before = text("secret://s");
    let mut args = before.clone();
    let call = ToolCall::new(CALL).with_origin(Origin::Workflow);
    let injection = user.inject_str(&call, &mut args).unwrap();
    assert_eq!(injection.filled().len(), 100_000);
    assert!(args == text("value-of-s"));
    injection.wipe_str(&mut args);
    assert!(args == before);
}

#[test]
fn a_long_text_with_many_defaults_is_filled() {
    let locations: Vec<String> = (0..500).map(|n| format!("default{n}")).collect();
    let user = user(&locations.iter().map(String::as_str).collect::<Vec<_>>());
    let members: Vec<String> = (0..40_000).map(|n| format!(r#""a{n}":1"#)).collect();
    let mut args = format!("{{{}}}", members.join(","));
    let mut map: Map<String, Value> = serde_json::from_str(&args).unwrap();
    let _ = user.inject_str(&ToolCall::new(CALL), &mut args).unwrap();
    let _ = user.inject(&ToolCall::new(CALL), &mut map).unwrap();
    assert!(serde_json::from_str::<Map<String, Value>>(&args).unwrap() == map);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ab\"\\\\{}\\[\\],: é]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::Object),
        ]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = "[abk\"\\\\{}:, ]{1,2}";
    prop::collection::vec((name, value), 0..5).prop_map(Map::from_iter)
}

proptest! {
    /// Text gets what a map gets, or fails in the same way; and it can be restored.
    #[test]
    fn text_and_map_agree(
        args in object(json()),
        pretty in any::<bool>(),
        locations in prop::collection::btree_set("(/[abk01]){1,3}|[abk]", 0..4),
        replace in any::<bool>(),
    ) {
        let policy = InjectionPolicy::default();
        let policy = if replace { policy.replace_supplied() } else { policy };
        let user = Vault::builder().injection_policy(policy).in_memory().unwrap().user(UserId::LOCAL);
        for location in &locations {
            let secret = NewSecret::new(location, format!("\"value\" of {location}")).bind(CALL, location);
            // `a` and `/a` are one location.
            let _ = user.create(secret.default_for_tool());
        }
        let text = if pretty { format!("{:#}", json!(args)) } else { json!(args).to_string() };
        let (mut map, mut filled) = (args.clone(), text.clone());
        let call = ToolCall::new(CALL);
        match (user.inject(&call, &mut map), user.inject_str(&call, &mut filled)) {
            (Ok(_), Ok(injection)) => {
                prop_assert_eq!(serde_json::from_str::<Map<String, Value>>(&filled).unwrap(), map);
                injection.wipe_str(&mut filled);
            }
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            (a, b) => prop_assert!(false, "{:?} but {:?}", a, b),
        }
        prop_assert_eq!(filled, text);
    }
}
