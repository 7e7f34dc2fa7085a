//! The JSON forms are those of the REST contract, in both directions.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use jsonschema::Validator;
use keyward::{Error, ErrorKind, NewSecret, SecretInfo, SecretPatch, UserId, Vault};
use serde_json::{Value, json};

/// A validator for one of the contract's schemas.
fn schema(name: &str) -> Validator {
    let contract: Value = serde_json::from_str(include_str!("data/secrets.openapi.json")).unwrap();
    let mut schema = json!({"$ref": format!("#/components/schemas/{name}")});
    schema["components"] = contract["components"].clone();
    let options = jsonschema::draft202012::options();
    // Formats are annotations unless asked for.
    options
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// Every combination of values that the optional fields of a request can have.
fn optional_fields() -> Vec<Value> {
    let texts = [
        None,
        Some(json!(null)),
        Some(json!("tool_*")),
        Some(json!("é")),
    ];
    let bools = [
        None,
        Some(json!(null)),
        Some(json!(false)),
        Some(json!(true)),
    ];
    let mut all = Vec::new();
    for tool in &texts {
        for arg in &texts {
            for default in &bools {
                let mut fields = json!({});
                let named = [
                    ("tool_name", tool),
                    ("tool_arg", arg),
                    ("is_default_for_tool", default),
                ];
                for (name, value) in named {
                    if let Some(value) = value {
                        fields[name] = value.clone();
                    }
                }
                all.push(fields);
            }
        }
    }
    all
}

#[test]
fn every_new_secret_of_the_contract_becomes_a_secret_info_of_the_contract() {
    let (new_schema, info_schema) = (schema("NewSecret"), schema("SecretInfo"));
    for mut body in optional_fields() {
        body["secret_name"] = json!("the name");
        body["secret_value"] = json!("the value");
        assert!(new_schema.is_valid(&body), "{body}");
        let is = |name: &str| body.get(name).filter(|value| !value.is_null());
        let is_default = is("is_default_for_tool") == Some(&json!(true));
        let complete = is("tool_name").is_some() && is("tool_arg").is_some();

        let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
        let secret = NewSecret::from_json(&mut body.to_string().into_bytes());
        if is_default && !complete {
            assert_eq!(secret.unwrap_err().kind(), ErrorKind::Validation, "{body}");
            continue;
        }
        let info = user.create(secret.unwrap()).unwrap();
        let json = serde_json::to_value(&info).unwrap();
        assert!(info_schema.is_valid(&json), "{json}");
        for (name, wrong) in [("user_id", "alice"), ("created_at", "2026-02-30T12:00:00Z")] {
            let mut json = json.clone();
            json[name] = json!(wrong);
            assert!(!info_schema.is_valid(&json), "{json}");
        }
        assert_eq!(
            json.as_object().unwrap().len(),
            9,
            "no more fields than the contract's: {json}"
        );
        assert_eq!(json["secret_name"], "the name");
        for name in ["tool_name", "tool_arg"] {
            assert_eq!(
                json[name],
                is(name).cloned().unwrap_or(Value::Null),
                "{body}"
            );
        }
        assert_eq!(json["is_default_for_tool"], is_default);
        assert!(
            json["created_at"].as_str().unwrap().ends_with('Z'),
            "{json}"
        );
        let read: SecretInfo = serde_json::from_value(json).unwrap();
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            serde_json::to_string(&info).unwrap()
        );
    }
}

#[test]
fn every_patch_of_the_contract_is_understood() {
    let patch_schema = schema("SecretPatch");
    for mut body in optional_fields() {
        body["secret_value"] = json!("new value");
        assert!(patch_schema.is_valid(&body), "{body}");
        let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
        let before = user
            .create(NewSecret::new("n", "the value").bind("t", "a"))
            .unwrap();
        let patch = SecretPatch::from_json(&mut body.to_string().into_bytes()).unwrap();
        let text = |name: &str, old: &Option<String>| match body.get(name) {
            None => old.clone(),
            Some(value) => value.as_str().map(str::to_owned),
        };
        let expected = (
            text("tool_name", &before.tool_name),
            text("tool_arg", &before.tool_arg),
            body.get("is_default_for_tool") == Some(&json!(true)),
        );
        match user.update("n", patch) {
            Ok(info) => {
                assert_eq!(
                    (info.tool_name, info.tool_arg, info.is_default_for_tool),
                    expected,
                    "{body}"
                );
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Validation);
                assert!(
                    expected.2 && (expected.0.is_none() || expected.1.is_none()),
                    "{body}: {error}"
                );
            }
        }
    }
}

#[test]
fn what_the_contract_refuses_is_refused_in_its_words() {
    let (new_schema, error_schema) = (schema("NewSecret"), schema("HTTPValidationError"));
    let long = "é".repeat(1025);
    let fields = [
        (
            "secret_name",
            vec![json!(""), json!(long), json!(7), json!(null)],
        ),
        (
            "secret_value",
            vec![json!("abc"), json!(long), json!([]), json!(null)],
        ),
        ("tool_name", vec![json!(""), json!(long), json!(false)]),
        ("tool_arg", vec![json!(""), json!(long), json!({})]),
        ("is_default_for_tool", vec![json!("true"), json!(1)]),
    ];
    for (field, values) in fields {
        for value in values {
            let mut body = json!({"secret_name": "n", "secret_value": "abcd"});
            body[field] = value;
            assert!(!new_schema.is_valid(&body), "{body}");
            let error = NewSecret::from_json(&mut body.to_string().into_bytes()).unwrap_err();
            assert_error(&error, field, &error_schema);
        }
    }
}

fn assert_error(error: &Error, field: &str, schema: &Validator) {
    let detail = json!({"detail": error.field_errors()});
    assert!(schema.is_valid(&detail), "{detail}");
    assert_eq!(detail["detail"].as_array().unwrap().len(), 1, "{detail}");
    assert_eq!(detail["detail"][0]["loc"], json!(["body", field]));
}

#[test]
fn a_format_is_in_the_json_only_if_it_is_set() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let info = user
        .create(NewSecret::new("a", "abcd").format("Bearer {}"))
        .unwrap();
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["format"], "Bearer {}");
    assert_eq!(
        serde_json::from_value::<SecretInfo>(json).unwrap().format,
        info.format
    );
    let plain = user.create(NewSecret::new("b", "abcd")).unwrap();
    assert!(
        serde_json::to_value(&plain)
            .unwrap()
            .get("format")
            .is_none()
    );
    assert!(
        serde_json::to_value(&plain)
            .unwrap()
            .get("revision")
            .is_none()
    );
}
