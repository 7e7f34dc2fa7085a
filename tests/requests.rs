//! What a request may hold, as a table in `requests.toml`, through both ways of reading one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{
    Bounds, Error, ErrorKind, FieldError, NewSecret, SecretId, SecretInfo, SecretPatch, ToolCall,
    UserId, UserVault, Vault,
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};
use serde_json::json;

#[derive(Deserialize)]
struct Suite {
    new: Vec<Case>,
    patch: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    body: String,
    #[serde(default)]
    errors: Vec<String>,
}

fn suite() -> Suite {
    toml::from_str(include_str!("requests.toml")).expect("requests.toml is well-formed")
}

impl Case {
    fn body(&self) -> String {
        let mut body = self.body.clone();
        for n in [1024, 1025] {
            body = body.replace(&format!("{{long:{n}}}"), &"é".repeat(n));
        }
        body
    }

    fn check(&self, result: &Result<SecretInfo, Error>) {
        let name = &self.name;
        let errors = match result {
            Ok(_) => Vec::new(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Validation, "{name}");
                assert_eq!(error.http_status(), 422, "{name}");
                assert!(!error.to_string().is_empty(), "{name}");
                error.field_errors().iter().map(loc_and_type).collect()
            }
        };
        assert_eq!(errors, self.errors, "{name}");
    }
}

fn loc_and_type(error: &keyward::FieldError) -> String {
    let json = serde_json::to_value(error).unwrap();
    let loc: Vec<&str> = json["loc"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part.as_str().unwrap())
        .collect();
    assert_eq!(loc[0], "body");
    format!("{} {}", loc[1..].join("."), json["type"].as_str().unwrap())
}

fn new_user() -> UserVault {
    Vault::in_memory().unwrap().user(UserId::LOCAL)
}

fn bound() -> NewSecret {
    NewSecret::new("n", "abcd")
        .bind("t", "a")
        .default_for_tool()
}

#[test]
fn new_secrets_from_json() {
    for case in suite().new {
        let user = new_user();
        let mut body = case.body().into_bytes();
        let result = NewSecret::from_json(&mut body).and_then(|secret| user.create(secret));
        assert!(
            body.iter().all(|&byte| byte == 0),
            "{}: the input is wiped",
            case.name
        );
        assert_eq!(
            user.secrets().unwrap().len(),
            usize::from(result.is_ok()),
            "{}",
            case.name
        );
        case.check(&result);
    }
}

#[test]
fn patches_from_json() {
    for case in suite().patch {
        let user = new_user();
        let before = user.create(bound()).unwrap();
        let mut body = case.body().into_bytes();
        let result = SecretPatch::from_json(&mut body).and_then(|patch| user.update("n", patch));
        assert!(
            body.iter().all(|&byte| byte == 0),
            "{}: the input is wiped",
            case.name
        );
        if result.is_err() {
            assert_eq!(
                user.secret(&before).unwrap(),
                before,
                "{}: nothing changed",
                case.name
            );
        }
        case.check(&result);
    }
}

/// Each builder method changes what the same JSON does, and nothing else.
#[test]
fn a_patch_in_code_is_the_patch_in_json() {
    let new = SecretPatch::new;
    for (patch, json) in [
        (new(), json!({})),
        (new().name("m"), json!({"secret_name": "m"})),
        (new().value("efgh"), json!({"secret_value": "efgh"})),
        (
            new().bind("u*", "b"),
            json!({"tool_name": "u*", "tool_arg": "b"}),
        ),
        (new().tool_pattern("u*"), json!({"tool_name": "u*"})),
        (new().location("b"), json!({"tool_arg": "b"})),
        (
            new().clear_tool_pattern().is_default_for_tool(false),
            json!({"tool_name": null, "is_default_for_tool": false}),
        ),
        (
            new().clear_location().is_default_for_tool(false),
            json!({"tool_arg": null, "is_default_for_tool": false}),
        ),
        (
            new().unbind(),
            json!({"tool_name": null, "tool_arg": null, "is_default_for_tool": false}),
        ),
        (
            new().is_default_for_tool(false),
            json!({"is_default_for_tool": false}),
        ),
        (new().format("<{}>"), json!({"format": "<{}>"})),
    ] {
        let of_json = SecretPatch::from_json(&mut json.to_string().into_bytes()).unwrap();
        let [code, of_json] = [patch, of_json].map(|patch| {
            let user = new_user();
            user.create(bound().format("[{}]")).unwrap();
            let info = user.update("n", patch).unwrap();
            let mut args = json!({"of_the_call": 1});
            let _ = user.inject_value(&ToolCall::new("t"), &mut args).unwrap();
            (
                args,
                info.secret_name,
                info.display,
                info.tool_name,
                info.tool_arg,
                info.is_default_for_tool,
                info.format,
            )
        });
        assert_eq!(code, of_json, "{json}");
    }
}

/// The ordinary `Deserialize` reports every field of a wrong type in its own error, and leaves the rest to the
/// vault.
#[test]
fn plain_deserialize_says_the_same() {
    let suite = suite();
    for case in &suite.new {
        match serde_json::from_str::<NewSecret>(&case.body()) {
            Ok(secret) => case.check(&new_user().create(secret)),
            Err(error) => assert_wrong_types(case, &error),
        }
    }
    assert!(serde_json::from_str::<NewSecret>(r#"{"secret_name": 1}"#).is_err());
    assert!(serde_json::from_str::<SecretPatch>(r#"{"tool_arg": 1}"#).is_err());
    for case in &suite.patch {
        match serde_json::from_str::<SecretPatch>(&case.body()) {
            Ok(patch) => {
                let user = new_user();
                user.create(bound()).unwrap();
                case.check(&user.update("n", patch));
            }
            Err(error) => assert_wrong_types(case, &error),
        }
    }
}

#[test]
fn an_update_reports_what_is_invalid_for_this_secret_as_well() {
    let new = SecretPatch::new;
    let unbound = || NewSecret::new("n", "abcd");
    for (secret, patch, errors) in [
        (
            Some(bound()),
            new().name("").value("abc").clear_tool_pattern(),
            &[
                "secret_name string_too_short",
                "secret_value string_too_short",
                "tool_name value_error",
            ][..],
        ),
        (
            Some(bound()),
            new().tool_pattern("").clear_location(),
            &["tool_name string_too_short", "tool_arg value_error"],
        ),
        (
            Some(bound()),
            new().name("").unbind(),
            &["secret_name string_too_short"],
        ),
        (
            Some(unbound()),
            new()
                .name("")
                .clear_tool_pattern()
                .is_default_for_tool(true),
            &["secret_name string_too_short", "tool_name value_error"],
        ),
        (
            Some(unbound()),
            new().name("").is_default_for_tool(true),
            &[
                "secret_name string_too_short",
                "is_default_for_tool value_error",
            ],
        ),
        (
            Some(unbound()),
            new()
                .tool_pattern("")
                .location("a")
                .is_default_for_tool(true),
            &["tool_name string_too_short"],
        ),
        (
            Some(bound()),
            new().location("").format("x").clear_tool_pattern(),
            &[
                "tool_name value_error",
                "tool_arg string_too_short",
                "format value_error",
            ],
        ),
        (
            None,
            new().name("").clear_tool_pattern(),
            &["secret_name string_too_short"],
        ),
    ] {
        let user = new_user();
        if let Some(secret) = secret {
            user.create(secret).unwrap();
        }
        let before = user.secrets().unwrap();
        let error = user.update("n", patch).unwrap_err();
        let found: Vec<String> = error.field_errors().iter().map(loc_and_type).collect();
        assert_eq!(found, errors);
        assert_eq!(user.secrets().unwrap(), before);
    }
}

/// As in the parsers of the contract's service and of `serde_json`.
#[test]
fn of_a_field_that_is_given_twice_the_last_counts() {
    let twice = |member: &str, last: &str| {
        let rest =
            r#""secret_name": "n", "secret_value": "abcd", "tool_name": "t", "tool_arg": "k""#;
        format!("{{{rest}, {member}, {last}}}")
    };
    for (first, last) in [
        (r#""secret_name": 1"#, r#""secret_name": "m""#),
        (
            r#""secret_value": 1"#,
            r#""secret_value": "a longer value""#,
        ),
        (r#""tool_name": "u""#, r#""tool_name": null"#),
        (r#""tool_arg": "l""#, r#""tool_arg": "/m""#),
        (
            r#""is_default_for_tool": 1"#,
            r#""is_default_for_tool": true"#,
        ),
        (r#""format": 1"#, r#""format": "x{}""#),
    ] {
        let made = |json: String| {
            let plain: NewSecret = serde_json::from_str(&json).unwrap();
            let read = NewSecret::from_json(&mut json.into_bytes()).unwrap();
            let [plain, read] = [plain, read].map(|secret| {
                let user = new_user();
                let info = user.create(secret).unwrap();
                (
                    info.secret_name,
                    info.tool_name,
                    info.tool_arg,
                    info.is_default_for_tool,
                    info.format,
                    // The value is known by its length.
                    user.usage().unwrap(),
                )
            });
            assert_eq!(plain, read);
            read
        };
        assert_eq!(made(twice(first, last)), made(twice(last, last)), "{first}");
    }
}

#[test]
fn a_length_is_told_as_the_contract_s_service_does() {
    for (name, value, messages) in [
        (
            String::new(),
            "abc".to_owned(),
            [
                "String should have at least 1 character",
                "String should have at least 4 characters",
            ],
        ),
        (
            "n".repeat(1025),
            "v".repeat(1025),
            ["String should have at most 1024 characters"; 2],
        ),
    ] {
        let error = new_user().create(NewSecret::new(name, value)).unwrap_err();
        let found: Vec<&str> = error.field_errors().iter().map(FieldError::msg).collect();
        assert_eq!(found, messages);
    }
}

fn assert_wrong_types(case: &Case, error: &serde_json::Error) {
    let types: Vec<&String> = case
        .errors
        .iter()
        .filter(|error| error.ends_with("_type"))
        .collect();
    assert!(!types.is_empty(), "{}: {error}", case.name);
    for expected in types {
        let field = expected.split(' ').next().unwrap();
        assert!(
            error.to_string().contains(&format!("{field}: ")),
            "{}: {error}",
            case.name
        );
    }
}

#[test]
fn what_is_no_json_object() {
    for (body, error_type, loc) in [
        ("", "json_invalid", r#"["body",0]"#),
        ("{", "json_invalid", r#"["body",1]"#),
        (
            "{\"secret_name\": \"n\",\n \"secret_value\": hunter2}",
            "json_invalid",
            r#"["body",38]"#,
        ),
        ("{} {}", "json_invalid", r#"["body",3]"#),
        ("[1]", "model_attributes_type", r#"["body"]"#),
        ("\"secret\"", "model_attributes_type", r#"["body"]"#),
        ("null", "model_attributes_type", r#"["body"]"#),
        (
            r#"{"secret_name": "\ud800", "secret_value": "abcd"}"#,
            "string_unicode",
            r#"["body","secret_name"]"#,
        ),
    ] {
        let mut bytes = body.as_bytes().to_vec();
        let error = NewSecret::from_json(&mut bytes).unwrap_err();
        assert!(bytes.iter().all(|&byte| byte == 0), "{body}");
        let json = serde_json::to_value(error.field_errors()).unwrap();
        assert_eq!(json[0]["type"], error_type, "{body}");
        assert_eq!(json[0]["loc"].to_string(), loc, "{body}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let error = NewSecret::from_json(&mut b"{\"\xc3\xa9\xff\": 1}".to_vec()).unwrap_err();
    assert_eq!(
        serde_json::to_value(error.field_errors()).unwrap(),
        json!([{"loc": ["body", 3], "msg": "JSON decode error", "type": "json_invalid"}])
    );
}

#[test]
fn no_message_repeats_a_value() {
    for body in [
        r#"{"secret_name": "n", "secret_value": "xyz"}"#,
        r#"{"secret_name": "n", "secret_value": ["xyz"]}"#,
        r#"{"secret_name": "n", "secret_value": "xyzxyzxyz", "is_default_for_tool": "xyz"}"#,
        r#"{"secret_name": "n", "secret_value": "xyz" xyz}"#,
        // This is what is sent if a body is encoded twice, or if only the value is sent.
        r#""{\"secret_name\": \"n\", \"secret_value\": \"xyzxyzxyz\"}""#,
        r#"["xyzxyzxyz"]"#,
    ] {
        let error = NewSecret::from_json(&mut body.as_bytes().to_vec()).unwrap_err();
        let json = serde_json::to_string(error.field_errors()).unwrap();
        assert!(
            !format!("{error} {error:?} {json}").contains("xyz"),
            "{error:?}"
        );
        if let Err(error) = serde_json::from_str::<NewSecret>(body) {
            assert!(!format!("{error} {error:?}").contains("xyz"), "{error:?}");
        }
    }
    // What stands where an id belongs may be a value.
    let id = serde_json::from_str::<SecretId>(r#""xyzxyzxyz""#).unwrap_err();
    let user = serde_json::from_str::<UserId>(r#""xyzxyzxyz""#).unwrap_err();
    for error in [id, user] {
        assert!(!format!("{error} {error:?}").contains("xyz"), "{error:?}");
    }
    for value in [
        json!(4711),
        json!(-4711),
        json!(47.11),
        json!("4711"),
        json!(["4711"]),
        // What a number looks like in a program with serde_json's `arbitrary_precision`.
        json!({"$serde_json::private::Number": "4711"}),
    ] {
        for error in [
            serde_json::from_str::<NewSecret>(&value.to_string()).unwrap_err(),
            serde_json::from_value::<SecretPatch>(value).unwrap_err(),
        ] {
            assert!(!format!("{error} {error:?}").contains("47"), "{error:?}");
            assert!(
                error.to_string().contains("dictionary or object"),
                "{error:?}"
            );
        }
    }
    let other_formats = [
        refusal(true),
        refusal(()),
        refusal(-4711_i128),
        refusal(4711_u128),
        refusal(&b"4711"[..]),
    ];
    for message in other_formats {
        assert!(message.contains("dictionary or object"), "{message}");
        assert!(!message.contains("47"), "{message}");
    }
}

/// What is said when this stands in the place of a secret, in a format that has it.
fn refusal<'de>(instead: impl IntoDeserializer<'de, value::Error>) -> String {
    let refused = NewSecret::deserialize(instead.into_deserializer());
    refused.unwrap_err().to_string()
}

#[test]
fn a_vault_may_allow_longer_values_and_demand_an_explicit_default() {
    let bounds = Bounds::default()
        .max_value_chars(5_000)
        .require_explicit_default();
    let vault = Vault::builder().bounds(bounds).in_memory().unwrap();
    let user = vault.user(UserId::LOCAL);
    let body = |chars: usize, rest: &str| {
        format!(
            r#"{{"secret_name": "n", "secret_value": "{}"{rest}}}"#,
            "é".repeat(chars)
        )
        .into_bytes()
    };
    let check = |mut body: Vec<u8>, expected: &[&str]| {
        let errors = NewSecret::from_json_within(&mut body, vault.bounds())
            .err()
            .map_or_else(Vec::new, |error| {
                error.field_errors().iter().map(loc_and_type).collect()
            });
        assert_eq!(errors, expected);
    };
    check(body(5_000, r#", "is_default_for_tool": false"#), &[]);
    check(body(5_000, ""), &["is_default_for_tool missing"]);
    check(
        body(5_000, r#", "is_default_for_tool": null"#),
        &["is_default_for_tool bool_type"],
    );
    check(
        body(5_001, ""),
        &[
            "secret_value string_too_long",
            "is_default_for_tool missing",
        ],
    );

    let too_long = NewSecret::new("n", "é".repeat(5_001)).is_default_for_tool(false);
    assert_eq!(user.create(too_long).unwrap_err().field_errors().len(), 1);
    assert_eq!(
        user.create(NewSecret::new("n", "é".repeat(5_000)))
            .unwrap_err()
            .field_errors()
            .len(),
        1
    );
    user.create(NewSecret::new("n", "é".repeat(5_000)).is_default_for_tool(false))
        .unwrap();

    for chars in [0, 3, 1_023, 65_537] {
        let builder = Vault::builder().bounds(Bounds::default().max_value_chars(chars));
        assert_eq!(
            builder.in_memory().unwrap_err().kind(),
            ErrorKind::Validation,
            "{chars}"
        );
    }
    for chars in [1_024, 65_536] {
        let builder = Vault::builder().bounds(Bounds::default().max_value_chars(chars));
        let user = builder.in_memory().unwrap().user(UserId::LOCAL);
        user.create(NewSecret::new("n", "é".repeat(chars))).unwrap();
        assert!(
            user.create(NewSecret::new("m", "é".repeat(chars + 1)))
                .is_err()
        );
    }
}

/// Only the JSON form is the contract's.
#[test]
fn what_an_error_says_to_a_person_is_about_no_body() {
    let said = |error: &Error| error.to_string();
    let id = "zz".parse::<UserId>().unwrap_err();
    assert_eq!(said(&id), "Input should be a valid UUID");
    assert_eq!(id.field_errors()[0].loc(), ["body".into()]);

    let secret = || NewSecret::new("", "abcd").format("Bearer");
    let error = new_user().create(secret()).unwrap_err();
    assert_eq!(
        said(&error),
        "secret_name: String should have at least 1 character; \
         format: a format must contain `{}` exactly once, where the value goes"
    );
    assert!(error.field_errors()[1].msg().starts_with("Value error, "));
    let error = new_user()
        .batch(|batch| batch.create(secret()))
        .unwrap_err();
    assert!(said(&error).starts_with("0.secret_name: "), "{error}");

    let error = NewSecret::from_json(&mut b"{} {}".to_vec()).unwrap_err();
    assert_eq!(said(&error), "JSON decode error at character 3");
    let error = serde_json::from_str::<keyward::Location>("\"/~\"").unwrap_err();
    assert!(
        error.to_string().starts_with("in a JSON Pointer, "),
        "{error}"
    );
}
