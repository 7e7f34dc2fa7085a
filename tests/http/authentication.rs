//! Whose request it is.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Request},
};
use futures_core::Stream;
use keyward::{NewSecret, UserId, http::AuthenticatedUser};

use super::client::{ALICE, BOB, Client, SECRETS};

/// The user who owns a secret created with these headers.
fn owner(client: &Client, headers: &[(&str, HeaderValue)]) -> Option<UserId> {
    let mut request = Request::post(SECRETS).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let name = client.vault.usage().unwrap().secrets;
    let body = format!(r#"{{"secret_name": "{name}", "secret_value": "abcd"}}"#);
    let answer = client.call(request.body(Body::from(body)).unwrap());
    if answer.status == 401 {
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(answer.text, r#"{"detail":"Not authenticated"}"#);
        return None;
    }
    assert_eq!(answer.status, 200, "{headers:?}");
    Some(answer.json()["user_id"].as_str().unwrap().parse().unwrap())
}

#[test]
fn any_one_header_is_enough_and_several_must_agree() {
    let client = Client::new();
    for (headers, user) in [
        (&[], None),
        (&[("token", "alice")], Some(ALICE)),
        (&[("x-api-key", "bob")], Some(BOB)),
        (&[("authorization", "alice")], Some(ALICE)),
        (&[("authorization", "Bearer alice")], Some(ALICE)),
        (&[("authorization", "bearer  bob")], Some(BOB)),
        (&[("authorization", "Basic alice")], None),
        (&[("authorization", "Bearer")], None),
        (&[("token", "Bearer alice")], None),
        (&[("token", "")], None),
        (&[("token", "mallory")], None),
        (&[("cookie", "token=alice")], None),
        (
            &[
                ("token", "alice"),
                ("x-api-key", "alice"),
                ("authorization", "Bearer alice"),
            ],
            Some(ALICE),
        ),
        (&[("token", "alice"), ("x-api-key", "bob")], None),
        (&[("token", "alice"), ("x-api-key", "mallory")], None),
        (&[("token", "mallory"), ("x-api-key", "alice")], None),
        (&[("token", "alice"), ("x-api-key", "")], None),
        (&[("token", "alice"), ("token", "alice")], None),
        (&[("token", "alice"), ("Token", "bob")], None),
        (&[("token", "älice")], None),
    ] as [(&[_], _); 20]
    {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value): &(&str, &str)| {
                (*name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect();
        assert_eq!(owner(&client, &headers), user, "{headers:?}");
    }
    let not_utf8 = HeaderValue::from_bytes(b"alice\xff").unwrap();
    assert_eq!(owner(&client, &[("token", not_utf8)]), None);
}

/// What else the request has to show for itself is for the program, which put the user there.
#[test]
fn a_layer_of_the_program_can_say_whose_a_request_is() {
    let client = Client::new();
    for headers in [
        &[][..],
        &[("token", "bob")],
        &[("authorization", "Bearer a.session.of-alice")],
        &[("token", "")],
    ] {
        let mut request = Request::get(SECRETS).extension(AuthenticatedUser(ALICE));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let name = client.vault.usage().unwrap().secrets.to_string();
        let alice = client.vault.user(ALICE);
        alice.create(NewSecret::new(&*name, "abcd")).unwrap();
        let answer = client.call(request.body(Body::empty()).unwrap());
        assert_eq!(answer.status, 200, "{headers:?}");
        assert!(
            answer.text.contains(&format!("\"secret_name\":\"{name}\"")),
            "{headers:?}"
        );
    }
    // A user who is there for another reason is not who asks.
    let request = Request::get(SECRETS).extension(ALICE);
    assert_eq!(
        client.call(request.body(Body::empty()).unwrap()).status,
        401
    );
}

/// A body without an end, which must not be read beyond a limit.
struct Endless {
    chunks: usize,
}

impl Stream for Endless {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks = self.chunks.checked_sub(1).expect("it is read too far");
        Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 1_000]))))
    }
}

#[test]
fn nobody_learns_anything_else() {
    let client = Client::new();
    let id = client.create("a");
    let unknown = "0192f000-0000-7000-8000-000000000001";
    let secret = |id: &str| format!("{SECRETS}{id}");
    for (method, path) in [
        ("GET", SECRETS.to_owned()),
        ("GET", format!("{SECRETS}?limit=x")),
        ("POST", SECRETS.to_owned()),
        ("GET", secret(&id)),
        ("GET", secret(unknown)),
        ("PATCH", secret(&id)),
        ("PATCH", secret("no-uuid")),
        ("DELETE", secret(&id)),
        ("DELETE", secret("%ff")),
    ] {
        let request = Request::builder().method(method).uri(&path);
        let request = request.header("token", "mallory");
        let endless = Body::from_stream(Endless { chunks: 80 });
        let answer = client.call(request.body(endless).unwrap());
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.text, r#"{"detail":"Not authenticated"}"#);
        assert_eq!(answer.headers["connection"], "close");
    }
    assert_eq!(client.get(&secret(&id)).status, 200);
}

#[test]
fn a_client_that_waits_is_not_told_to_go_on() {
    let client = Client::new();
    for name in ["alice", "mallory"] {
        let request = Request::delete(SECRETS)
            .header("token", name)
            .header("expect", "100-continue");
        let unread = Body::from_stream(Endless { chunks: 0 });
        let answer = client.call(request.body(unread).unwrap());
        assert_eq!(answer.status, 405);
        assert_eq!(answer.headers["connection"], "close");
    }
}

#[test]
fn users_are_apart() {
    let client = Client::new();
    let path = format!("{SECRETS}{}", client.create("a"));
    let as_bob = |method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("token", "bob");
        client.call(request.body(Body::empty()).unwrap())
    };
    let unknown = as_bob(
        "GET",
        "/api/v1/secrets/0192f000-0000-7000-8000-000000000001",
    );
    assert_eq!(unknown.status, 404);
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = as_bob(method, &path);
        assert_eq!(answer.status, 404, "{method}");
        assert_eq!(answer.text, unknown.text, "{method}");
        assert_eq!(answer.headers, unknown.headers, "{method}");
    }
    assert_eq!(as_bob("GET", SECRETS).text, r#"{"data":[]}"#);
    assert_eq!(client.get(&path).status, 200);
}
