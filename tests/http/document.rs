//! The OpenAPI document.

use axum::{body::Body, http::Request};
use keyward::{Bounds, Vault};
use serde_json::{Value, json};

use super::client::Client;

fn contract() -> Value {
    serde_json::from_str(include_str!("../data/secrets.openapi.json")).unwrap()
}

/// Asserts that `whole` is `part` with nothing but additions: more members in objects, and the same everywhere else.
fn assert_contains(whole: &Value, part: &Value, at: &str) {
    match part {
        Value::Object(members) => {
            for (name, member) in members {
                let found = whole
                    .get(name)
                    .unwrap_or_else(|| panic!("{at} has no {name}"));
                assert_contains(found, member, &format!("{at}/{name}"));
            }
        }
        _ => assert_eq!(whole, part, "{at}"),
    }
}

#[test]
fn it_has_the_contract_unchanged_and_the_rest() {
    let client = Client::new();
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let document = client.call(request).json();
    assert_contains(&document, &contract(), "");
    assert_eq!(document, keyward::http::openapi(&client.vault));

    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let responses = operation["responses"].as_object().unwrap();
            let mut expected = vec!["401", "422", "423"];
            if operation.get("requestBody").is_some() {
                expected.extend(["400", "409", "413"]);
            }
            for status in expected {
                assert!(
                    responses.contains_key(status),
                    "{method} {path} says nothing of {status}"
                );
            }
        }
    }
    assert_eq!(operations, 5);
    assert_eq!(
        document["security"],
        json!([{"token": []}, {"bearer": []}, {"api_key": []}])
    );
    for requirement in document["security"].as_array().unwrap() {
        for scheme in requirement.as_object().unwrap().keys() {
            assert!(
                document["components"]["securitySchemes"]
                    .get(scheme)
                    .is_some(),
                "{scheme}"
            );
        }
    }
}

#[test]
fn it_says_what_the_vault_accepts() {
    let bounds = Bounds::default()
        .max_value_chars(8_192)
        .require_explicit_default();
    let vault = Vault::builder().bounds(bounds).in_memory().unwrap();
    let schemas = &keyward::http::openapi(&vault)["components"]["schemas"];
    let new = &schemas["NewSecret"];
    assert_eq!(new["properties"]["secret_value"]["maxLength"], 8_192);
    assert_eq!(new["properties"]["is_default_for_tool"]["type"], "boolean");
    assert_eq!(
        new["required"],
        json!(["secret_name", "secret_value", "is_default_for_tool"])
    );
    let patch = &schemas["SecretPatch"]["properties"]["secret_value"];
    assert_eq!(patch["anyOf"][0]["maxLength"], 8_192);
}
