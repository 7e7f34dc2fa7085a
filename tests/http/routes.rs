//! Paths and methods.

use axum::{Router, body::Body, routing::get};
use keyward::Vault;

use super::client::{Client, SECRETS};

const ID: &str = "0192f000-0000-7000-8000-000000000001";

#[test]
fn other_methods_are_refused_as_by_fastapi() {
    let client = Client::new();
    let secret = format!("{SECRETS}{ID}");
    for (path, allowed) in [
        (SECRETS, "GET, POST"),
        (&*secret, "GET, PATCH, DELETE"),
        ("/openapi.json", "GET"),
    ] {
        for method in [
            "HEAD", "OPTIONS", "PUT", "TRACE", "POST", "PATCH", "DELETE", "BREW",
        ] {
            if allowed.contains(method) {
                continue;
            }
            let answer = client.send(method, path, Body::empty());
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.text, r#"{"detail":"Method Not Allowed"}"#);
            }
        }
    }
}

#[test]
fn slashes_are_redirected_wherever_the_router_is() {
    let nested = |router| Router::new().nest("/mounted", router);
    for (client, at) in [
        (Client::new(), ""),
        (
            Client::mounted(Vault::in_memory().unwrap(), nested),
            "/mounted",
        ),
    ] {
        for (path, location) in [
            ("/api/v1/secrets", "secrets/"),
            ("/api/v1/secrets?limit=2&x", "secrets/?limit=2&x"),
            (&format!("{SECRETS}{ID}/"), &format!("../{ID}")),
            (&format!("{SECRETS}{ID}/?x"), &format!("../{ID}?x")),
        ] {
            for method in ["GET", "POST"] {
                let answer = client.send(method, &format!("{at}{path}"), Body::empty());
                assert_eq!(answer.status, 307, "{at}{path}");
                assert_eq!(answer.headers["location"], *location);
                assert_eq!(answer.text, "");
            }
        }
        assert_eq!(client.get(&format!("{at}{SECRETS}")).status, 200);
        assert_eq!(client.get(&format!("{at}{SECRETS}{ID}")).status, 404);
    }
}

#[test]
fn the_id_is_the_last_one_in_the_path() {
    let nested = |router| Router::new().nest("/of/{secret_id}", router);
    let client = Client::mounted(Vault::in_memory().unwrap(), nested);
    let at = format!("/of/{ID}{SECRETS}");
    assert_eq!(
        client.get(&format!("{at}x")).errors(),
        ["path.secret_id uuid_parsing"]
    );
    assert_eq!(client.get(&format!("/of/x{SECRETS}{ID}")).status, 404);
}

#[test]
fn other_paths_are_none() {
    let client = Client::new();
    for path in [
        "/",
        "/api/v1/secrets//",
        "/api/v1/secrets/../",
        "/api/v1/secrets/%2e%2e/",
        "/api/v1/secrets/https%3A%2F%2Fevil.example/",
        "/api/v1/secrets/\u{e9}/",
        "/api/v1",
        "//api/v1/secrets/",
        "/api/v1/secrets/a/b",
    ] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn it_merges_into_a_router_with_a_fallback() {
    let client = Client::mounted(Vault::in_memory().unwrap(), |router| {
        Router::new()
            .route("/", get(|| async { "home" }))
            .fallback(|| async { "elsewhere" })
            .merge(router)
    });
    assert_eq!(client.get("/").text, "home");
    assert_eq!(client.get("/x").text, "elsewhere");
    assert_eq!(client.get(SECRETS).text, r#"{"data":[]}"#);
}

#[test]
fn an_id_that_is_none_is_an_error_of_the_path() {
    let client = Client::new();
    for id in [
        "x",
        "%ff",
        "%20",
        "a%2Fb",
        "0192f000-0000-7000-8000-00000000000",
        "..%2f",
    ] {
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = client.send(method, &format!("{SECRETS}{id}"), Body::empty());
            assert_eq!(
                answer.errors(),
                ["path.secret_id uuid_parsing"],
                "{method} {id}"
            );
            assert!(
                answer
                    .text
                    .contains(r#""msg":"Input should be a valid UUID""#)
            );
        }
    }
    for (body, errors) in [
        ("{}", &["path.secret_id uuid_parsing"][..]),
        ("{", &["body.1 json_invalid"]),
        (
            "[]",
            &["path.secret_id uuid_parsing", "body model_attributes_type"],
        ),
        (
            r#"{"secret_value": 1, "tool_arg": "/~"}"#,
            &[
                "path.secret_id uuid_parsing",
                "body.secret_value string_type",
                "body.tool_arg value_error",
            ],
        ),
    ] {
        let answer = client.send("PATCH", &format!("{SECRETS}x"), body);
        assert_eq!(answer.errors(), errors, "{body}");
    }
}
