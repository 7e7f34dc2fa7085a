//! What a body may be.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use futures_core::Stream;
use keyward::{Bounds, Vault};
use serde::Deserialize;

use super::client::{Client, SECRETS, json, request};

const VALID: &str = r#"{"secret_name": "n", "secret_value": "abcd"}"#;

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

/// The bodies of `requests.toml`, which mean the same over HTTP.
#[test]
fn the_bodies_of_requests() {
    let suite: Suite = toml::from_str(include_str!("../requests.toml")).unwrap();
    let check = |case: &Case, method: &str, path: &str, client: &Client| {
        let mut body = case.body.clone();
        for n in [1024, 1025] {
            body = body.replace(&format!("{{long:{n}}}"), &"é".repeat(n));
        }
        let answer = client.send(method, path, body);
        if case.errors.is_empty() {
            assert_eq!(answer.status, 200, "{}: {}", case.name, answer.text);
        } else {
            let expected: Vec<String> = case
                .errors
                .iter()
                .map(|error| format!("body.{error}"))
                .collect();
            assert_eq!(answer.errors(), expected, "{}", case.name);
        }
    };
    for case in &suite.new {
        check(case, "POST", SECRETS, &Client::new());
    }
    for case in &suite.patch {
        let client = Client::new();
        let bound = r#"{"secret_name": "n", "secret_value": "abcd", "tool_name": "t", "tool_arg": "a", "is_default_for_tool": true}"#;
        let made = client.send("POST", SECRETS, bound).json();
        let path = format!("{SECRETS}{}", made["secret_id"].as_str().unwrap());
        check(case, "PATCH", &path, &client);
    }
}

#[test]
fn what_is_no_json_object() {
    let client = Client::new();
    let secret = format!("{SECRETS}{}", client.create("a"));
    for (body, post, patch) in [
        ("", &["body missing"][..], &[][..]),
        (" ", &["body.1 json_invalid"], &["body.1 json_invalid"]),
        (
            "null",
            &["body model_attributes_type"],
            &["body model_attributes_type"],
        ),
        (
            "[1]",
            &["body model_attributes_type"],
            &["body model_attributes_type"],
        ),
        (
            "\"é\"",
            &["body model_attributes_type"],
            &["body model_attributes_type"],
        ),
        (
            "{\"é\": x}",
            &["body.6 json_invalid"],
            &["body.6 json_invalid"],
        ),
        ("{} {}", &["body.3 json_invalid"], &["body.3 json_invalid"]),
        (
            "\u{feff}{}",
            &["body.0 json_invalid"],
            &["body.0 json_invalid"],
        ),
        (
            r#"{"x": NaN}"#,
            &["body.6 json_invalid"],
            &["body.6 json_invalid"],
        ),
        (
            r#"{"secret_name": "\ud800", "secret_value": "abcd"}"#,
            &["body.secret_name string_unicode"],
            &["body.secret_name string_unicode"],
        ),
    ] {
        assert_eq!(
            client.send("POST", SECRETS, body).errors(),
            post,
            "POST {body}"
        );
        let answer = client.send("PATCH", &secret, body);
        if patch.is_empty() {
            assert_eq!(answer.status, 200, "PATCH {body}");
        } else {
            assert_eq!(answer.errors(), patch, "PATCH {body}");
        }
    }
    for (not_utf8, error) in [
        (&b"{\"\xc3\xa9\": \"\xff\"}"[..], "body.7 json_invalid"),
        (b"\xff\xfe{\0}\0", "body.0 json_invalid"),
        (b"\xed\xa0\x80", "body.0 json_invalid"),
    ] {
        let answer = client.send("POST", SECRETS, not_utf8);
        assert_eq!(answer.errors(), [error]);
    }
}

/// Whether a default loses its binding depends on the secret; the other fields, and the path, do not.
#[test]
fn what_is_invalid_for_a_secret_is_told_with_the_rest() {
    let client = Client::new();
    let bound = r#"{"secret_name": "n", "secret_value": "abcd", "tool_name": "t", "tool_arg": "a", "is_default_for_tool": true}"#;
    let unbound = r#"{"secret_name": "m", "secret_value": "abcd"}"#;
    let [made, other] = [bound, unbound].map(|new| client.send("POST", SECRETS, new).json());
    let body = r#"{"secret_name": "", "tool_name": null}"#;
    // What has a wrong type may have been meant to be right for the rest.
    for (secret, unclear, error) in [
        (
            &made,
            r#"{"is_default_for_tool": "false", "tool_name": null}"#,
            "body.is_default_for_tool bool_type",
        ),
        (
            &other,
            r#"{"is_default_for_tool": true, "tool_name": 7, "tool_arg": "a"}"#,
            "body.tool_name string_type",
        ),
    ] {
        let id = secret["secret_id"].as_str().unwrap();
        let answer = client.send("PATCH", &format!("{SECRETS}{id}"), unclear);
        assert_eq!(answer.errors(), [error]);
    }
    for (id, errors) in [
        (
            made["secret_id"].as_str().unwrap(),
            [
                "body.secret_name string_too_short",
                "body.tool_name value_error",
            ],
        ),
        (
            "no-uuid",
            [
                "path.secret_id uuid_parsing",
                "body.secret_name string_too_short",
            ],
        ),
    ] {
        let answer = client.send("PATCH", &format!("{SECRETS}{id}"), body);
        assert_eq!(answer.errors(), errors, "{id}");
    }
}

#[test]
fn only_json_is_read() {
    for (content_type, is_json) in [
        (Some("application/json"), true),
        (Some("application/json; charset=utf-8"), true),
        (Some("Application/JSON"), true),
        (Some("application/vnd.api+json"), true),
        (Some("text/json"), false),
        (Some("text/plain"), false),
        (Some("application/jsonx"), false),
        (Some("application/x/y+json"), false),
        (Some("application/x-www-form-urlencoded"), false),
        (Some("json"), false),
        (Some(""), false),
        (None, false),
    ] {
        let client = Client::new();
        let mut post = request("POST", SECRETS);
        if let Some(content_type) = content_type {
            post = post.header("content-type", content_type);
        }
        let answer = client.call(post.body(Body::from(VALID)).unwrap());
        if is_json {
            assert_eq!(answer.status, 200, "{content_type:?}");
        } else {
            assert_eq!(
                answer.errors(),
                ["body model_attributes_type"],
                "{content_type:?}"
            );
        }
    }
}

#[test]
fn no_depth_is_too_deep() {
    let client = Client::new();
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"secret_name": "{depth}", "secret_value": "abcd", "other": {open}{close}}}"#)
    };
    for depth in [100, 1_000, 30_000] {
        assert_eq!(
            client.send("POST", SECRETS, deep(depth)).status,
            200,
            "{depth}"
        );
    }
    let open = "{\"a\":".repeat(10_000);
    assert_eq!(
        client.send("POST", SECRETS, open).errors(),
        ["body.50000 json_invalid"]
    );
}

/// A body that comes in pieces and does not say how long it is.
struct Pieces(VecDeque<Result<Bytes, std::io::Error>>);

impl Stream for Pieces {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn pieces(text: &str, length: usize) -> VecDeque<Result<Bytes, std::io::Error>> {
    text.as_bytes()
        .chunks(length)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect()
}

fn post(client: &Client, body: Body) -> super::client::Answer {
    client.call(json(request("POST", SECRETS)).body(body).unwrap())
}

#[test]
fn a_body_may_come_in_pieces() {
    for length in [1, 2, 7, 1_000] {
        let client = Client::new();
        let body = Body::from_stream(Pieces(pieces(VALID, length)));
        assert_eq!(post(&client, body).status, 200, "{length}");
    }
}

/// A client that was told to go on, and has sent all of it.
#[test]
fn a_body_that_was_waited_for_leaves_the_connection_open() {
    let client = Client::new();
    let body = Body::from_stream(Pieces(pieces(VALID, 7)));
    let waiting = json(request("POST", SECRETS)).header("expect", "100-continue");
    let answer = client.call(waiting.body(body).unwrap());
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("connection"));
}

#[test]
fn a_body_that_breaks_off_writes_nothing() {
    let client = Client::new();
    let mut broken = pieces(VALID, 1_000);
    broken.push_back(Err(std::io::Error::other("gone")));
    let answer = post(&client, Body::from_stream(Pieces(broken)));
    assert_eq!(answer.status, 400);
    assert_eq!(client.vault.usage().unwrap().secrets, 0);
}

/// The longest request: no field may be longer, and no character can be written in a longer way.
fn longest(max_value_chars: usize) -> String {
    let text = |chars: usize| r"\ud83d\ude00".repeat(chars);
    format!(
        r#"{{"secret_name": "{0}", "secret_value": "{1}", "tool_name": "{0}", "tool_arg": "{0}", "is_default_for_tool": false, "format": "{{}}{2}"}}"#,
        text(1_024),
        text(max_value_chars),
        text(1_022),
    )
}

#[test]
fn the_longest_request_is_accepted_and_no_body_of_twice_its_length() {
    for max_value_chars in [1_024, 65_536] {
        let bounds = Bounds::default().max_value_chars(max_value_chars);
        let vault = Vault::builder().bounds(bounds).in_memory().unwrap();
        let client = Client::over(vault);
        let longest = longest(max_value_chars);
        assert_eq!(post(&client, Body::from(longest.clone())).status, 200);
        let too_long = format!("{VALID}{}", " ".repeat(2 * longest.len()));
        assert_eq!(post(&client, Body::from(too_long.clone())).status, 413);
        // The same holds for a body sent in pieces, which is not read to its end.
        let mut endless = pieces(&too_long, 1_000);
        endless.push_back(Err(std::io::Error::other("read too far")));
        let answer = post(&client, Body::from_stream(Pieces(endless)));
        assert_eq!(answer.status, 413);
        assert_eq!(answer.headers["connection"], "close");
    }
}

#[test]
fn no_answer_repeats_what_was_sent() {
    let client = Client::new();
    let secret = format!("{SECRETS}{}", client.create("a"));
    for body in [
        r#"{"secret_name": "hunter2", "secret_value": "hunter2", "tool_name": {"hunter2": 1}, "tool_arg": ["hunter2"], "is_default_for_tool": "hunter2", "format": "hunter2"}"#,
        r#"{"secret_name": "n", "secret_value": "abcd", "tool_arg": "/hunter2/~"}"#,
        r#"{"secret_name": "n", "secret_value": hunter2}"#,
        r#""hunter2""#,
        "hunter2",
    ] {
        for (method, path) in [
            ("POST", SECRETS),
            ("PATCH", &*secret),
            ("PATCH", "/api/v1/secrets/hunter2"),
        ] {
            let answer = client.send(method, path, body);
            assert_eq!(answer.status, 422, "{method} {body}");
            assert!(
                !answer.text.contains("hunter"),
                "{method} {body}: {}",
                answer.text
            );
            let error = answer.error.unwrap();
            assert!(
                !format!("{error} {error:?}").contains("hunter"),
                "{error:?}"
            );
        }
    }
}
