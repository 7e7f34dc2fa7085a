//! What the operations do.

use axum::{body::Body, http::StatusCode, response::IntoResponse as _};
use jsonschema::Validator;
use keyward::{KeySource, NewSecret, Quota, SecretInfo, SecretPatch, ToolCall, Vault};
use serde_json::{Value, json};

use super::client::{ALICE, BOB, Client, SECRETS, json as json_body, request};

fn schema(name: &str) -> Validator {
    let contract: Value =
        serde_json::from_str(include_str!("../data/secrets.openapi.json")).unwrap();
    let mut schema = json!({"$ref": format!("#/components/schemas/{name}")});
    schema["components"] = contract["components"].clone();
    let options = jsonschema::draft202012::options();
    // Formats are annotations unless asked for.
    options
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[test]
fn a_secret_is_made_read_changed_and_deleted() {
    let client = Client::new();
    let info = schema("SecretInfo");
    let body = r#"{"secret_name": "linear", "secret_value": "lin_api_Zq8wT3vN", "tool_name": "agno__linear__*",
        "tool_arg": "api_key", "is_default_for_tool": true}"#;
    let made = client.send("POST", SECRETS, body);
    assert_eq!(made.status, 200);
    assert!(info.is_valid(&made.json()), "{}", made.text);
    assert_eq!(made.json()["user_id"], ALICE.to_string());
    assert_eq!(made.headers["cache-control"], "no-store");
    assert!(!made.text.contains("lin_api_Zq8wT3vN"));

    let path = format!("{SECRETS}{}", made.json()["secret_id"].as_str().unwrap());
    assert_eq!(client.get(&path).json(), made.json());
    let braced = format!("{SECRETS}{{{}}}", &path[SECRETS.len()..]);
    let braced = braced.replace('{', "%7B").replace('}', "%7D");
    assert_eq!(client.get(&braced).json(), made.json());

    let changed = client.send(
        "PATCH",
        &path,
        r#"{"secret_name": "tracker", "secret_value": "other"}"#,
    );
    assert_eq!(changed.status, 200);
    assert!(info.is_valid(&changed.json()));
    assert_eq!(changed.json()["secret_name"], "tracker");
    assert_eq!(changed.json()["display"], "********");
    assert_eq!(client.get(&path).json(), changed.json());
    for nothing in [
        Body::empty(),
        Body::from("{}"),
        Body::from(r#"{"other": 1}"#),
    ] {
        assert_eq!(client.send("PATCH", &path, nothing).json(), changed.json());
    }

    let deleted = client.send("DELETE", &path, Body::empty());
    assert_eq!(
        (deleted.status.as_u16(), deleted.text.as_str()),
        (200, "null")
    );
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = client.send(method, &path, Body::empty());
        assert_eq!(answer.status, 404, "{method}");
        assert_eq!(answer.json(), json!({"detail": "Secret not found"}));
    }
    assert_eq!(client.vault.usage().unwrap().secrets, 0);
}

#[test]
fn the_pages_of_a_list_are_all_of_it() {
    let client = Client::new();
    let made: Vec<String> = (0..7).map(|n| client.create(&n.to_string())).collect();
    let page = |query: &str| -> Vec<String> {
        let answer = client.get(&format!("{SECRETS}?{query}"));
        assert_eq!(answer.status, 200, "{query}");
        let secrets: Vec<SecretInfo> =
            serde_json::from_value(answer.json()["data"].clone()).unwrap();
        secrets
            .iter()
            .map(|info| info.secret_id.to_string())
            .collect()
    };
    assert_eq!(page(""), made);
    assert_eq!(page("limit=3"), made[..3]);
    assert_eq!(page(&format!("limit=3&after={}", made[2])), made[3..6]);
    assert_eq!(page(&format!("limit=3&after={}", made[5])), made[6..]);
    assert!(page(&format!("after={}", made[6])).is_empty());
    assert_eq!(page("after=00000000-0000-0000-0000-000000000000"), made);

    client.send("DELETE", &format!("{SECRETS}{}", made[2]), Body::empty());
    assert_eq!(page(&format!("limit=3&after={}", made[2])), made[3..6]);

    for (query, error) in [
        ("limit=0", "query.limit greater_than_equal"),
        ("limit=1001", "query.limit less_than_equal"),
        ("limit=many", "query.limit int_parsing"),
        ("after=last", "query.after uuid_parsing"),
    ] {
        assert_eq!(client.get(&format!("{SECRETS}?{query}")).errors(), [error]);
    }
}

#[test]
fn what_is_taken_is_a_conflict() {
    let client = Client::new();
    let new = |name: &str, arg: &str| {
        let body = format!(
            r#"{{"secret_name": "{name}", "secret_value": "abcd", "tool_name": "t", "tool_arg": "{arg}",
                "is_default_for_tool": true}}"#
        );
        client.send("POST", SECRETS, body)
    };
    assert_eq!(new("first-taken-text", "first-taken-text").status, 200);
    let other = new("second-taken-text", "second-taken-text").json();
    let other = format!("{SECRETS}{}", other["secret_id"].as_str().unwrap());
    for answer in [
        new("first-taken-text", "third-taken-text"),
        new("third-taken-text", "/first-taken-text"),
        client.send("PATCH", &other, r#"{"secret_name": "first-taken-text"}"#),
        client.send("PATCH", &other, r#"{"tool_arg": "first-taken-text"}"#),
    ] {
        assert_eq!(answer.status, 409);
        assert!(!answer.text.contains("taken-text"), "{}", answer.text);
        assert!(answer.json()["detail"].is_string());
    }
    assert_eq!(client.vault.usage().unwrap().secrets, 2);
}

#[test]
fn a_quota_says_what_is_used_but_not_by_others() {
    let quota = Quota::default().user_secrets(1);
    let client = Client::over(Vault::builder().quota(quota).in_memory().unwrap());
    client.create("a");
    let body = r#"{"secret_name": "b", "secret_value": "abcd"}"#;
    let answer = client.send("POST", SECRETS, body);
    assert_eq!(answer.status, 413);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("has 1") && detail.contains("needs 1"),
        "{detail}"
    );

    let quota = Quota::default().vault_bytes(10);
    let client = Client::over(Vault::builder().quota(quota).in_memory().unwrap());
    client
        .vault
        .user(BOB)
        .create(NewSecret::new("b", "abcdef"))
        .unwrap();
    let answer = client.send("POST", SECRETS, body);
    assert_eq!(answer.status, 413);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(!detail.contains(|c: char| c.is_ascii_digit()), "{detail}");
}

/// For handlers of the program's own: the same answers as the router's, and one for every error of a user's vault.
#[test]
fn an_error_is_an_answer_that_repeats_nothing() {
    let client = Client::new();
    let user = client.vault.user(ALICE);
    let secret = |name: &str| {
        NewSecret::new(name, "value-of-it")
            .bind("its_tool", "its_argument")
            .default_for_tool()
    };
    user.create(secret("its name")).unwrap();
    let key = |byte| KeySource::raw([byte; 32]);
    let lockable = Vault::builder().in_memory_with_key(key(7)).unwrap();
    let mut args = json!({"x": "secret://its name"})
        .as_object()
        .unwrap()
        .clone();
    for (error, status, detail) in [
        (
            user.create(secret("its name")).unwrap_err(),
            409,
            "The name is taken",
        ),
        (
            user.create(secret("another name")).unwrap_err(),
            409,
            "is the default",
        ),
        (
            user.delete("its other name").unwrap_err(),
            404,
            "Secret not found",
        ),
        (
            user.update("its name", SecretPatch::new().if_revision(7))
                .unwrap_err(),
            409,
            "The secret has changed",
        ),
        (
            user.inject(&ToolCall::new("its_tool"), &mut args)
                .unwrap_err(),
            403,
            "not granted",
        ),
        (
            user.create(secret("")).unwrap_err(),
            422,
            "string_too_short",
        ),
        (client.vault.lock().unwrap_err(), 501, "read-only"),
        (
            lockable.add_key(key(8), key(9)).unwrap_err(),
            500,
            "Internal Server Error",
        ),
    ] {
        let (status, kind) = (StatusCode::from_u16(status).unwrap(), error.kind());
        let answer = client.answer(error.into_response());
        assert_eq!(
            (answer.status, answer.error.as_ref().unwrap().kind()),
            (status, kind)
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(answer.text.contains(detail), "{}", answer.text);
        for said in [
            "its name",
            "its other",
            "its_tool",
            "its_argument",
            "value-of",
        ] {
            assert!(!answer.text.contains(said), "{}", answer.text);
        }
    }
}

#[test]
fn a_locked_vault_says_so() {
    let key = || KeySource::raw([7; 32]);
    let vault = Vault::builder().in_memory_with_key(key()).unwrap();
    let client = Client::over(vault.clone());
    let path = format!("{SECRETS}{}", client.create("a"));
    vault.lock().unwrap();
    let body = r#"{"secret_name": "b", "secret_value": "abcd"}"#;
    for (method, path, body) in [
        ("POST", SECRETS, body),
        ("GET", SECRETS, ""),
        ("GET", &path, ""),
        ("PATCH", &path, r#"{"secret_value": "abcd"}"#),
        ("DELETE", &path, ""),
        // Whatever else is wrong with the request.
        ("POST", SECRETS, ""),
        ("POST", SECRETS, "{"),
        ("POST", SECRETS, &" ".repeat(100_000)),
        ("GET", "/api/v1/secrets/?limit=0", ""),
        ("GET", "/api/v1/secrets/x", ""),
        ("PATCH", &path, "[]"),
        ("PATCH", "/api/v1/secrets/x", r#"{"secret_value": 1}"#),
        ("DELETE", "/api/v1/secrets/x", ""),
    ] {
        let answer = client.send(method, path, body.to_owned());
        assert_eq!(answer.status, 423, "{method} {path} {}", body.trim());
        assert_eq!(answer.json(), json!({"detail": "The vault is locked"}));
        assert_eq!(answer.error.unwrap().http_status(), 423);
    }
    vault.unlock(key()).unwrap();
    assert_eq!(client.get(&path).status, 200);
}

#[cfg(feature = "file")]
#[test]
fn a_snapshot_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let key = || KeySource::raw([7; 32]);
    let vault = Vault::create(&path, key()).unwrap();
    let made = vault
        .user(ALICE)
        .create(NewSecret::new("a", "abcd"))
        .unwrap();
    drop(vault);
    let client = Client::over(Vault::snapshot(&path, key()).unwrap());
    let secret = format!("{SECRETS}{}", made.secret_id);
    assert_eq!(client.get(&secret).json()["secret_name"], "a");
    let body = r#"{"secret_name": "b", "secret_value": "abcd"}"#;
    for (method, path) in [("POST", SECRETS), ("PATCH", &*secret), ("DELETE", &*secret)] {
        let answer = client.send(method, path, body);
        assert_eq!(answer.status, 501, "{method}");
        assert_eq!(
            answer.json(),
            json!({"detail": "This vault cannot do that; if it is a snapshot, it is read-only"})
        );
    }
}

#[test]
fn a_request_that_is_given_up_is_done_as_a_whole_or_not_at_all() {
    let client = Client::new();
    for waits in 0..60 {
        let body =
            format!(r#"{{"secret_name": "n{waits}", "secret_value": "abcd", "tool_name": "t"}}"#);
        let post = json_body(request("POST", SECRETS));
        client.give_up(post.body(Body::from(body)).unwrap(), waits % 3);
    }
    let vault = client.finish();
    vault.verify().unwrap();
    let user = vault.user(ALICE);
    let made = user.secrets().unwrap();
    let size = made
        .iter()
        .map(|info| info.secret_name.len() + "abcd".len() + "t".len());
    let usage = user.usage().unwrap();
    assert_eq!(usage.secrets, made.len() as u64);
    assert_eq!(usage.bytes, size.sum::<usize>() as u64);
    assert!(
        made.iter()
            .all(|info| info.tool_name.as_deref() == Some("t"))
    );
    assert!(!made.is_empty(), "none was begun");
}
