//! What the audit records of requests.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{body::Body, http::Request};
use keyward::{AuditEvent, AuditSink, Quota, UserId, Vault};

use super::client::{ALICE, BOB, Client, SECRETS};

#[derive(Default)]
struct Memory(Mutex<Vec<AuditEvent>>);

impl AuditSink for Memory {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[test]
fn requests_are_told_as_other_writes_are_and_refused_credentials_besides() {
    let memory = Arc::new(Memory::default());
    let builder = Vault::builder().audit(Arc::clone(&memory));
    let quota = Quota::default().user_secrets(1);
    let client = Client::over(builder.quota(quota).in_memory().unwrap());
    let call = |method: &str, path: &str, credential: Option<&str>, body: &str| {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("content-type", "application/json");
        if let Some(credential) = credential {
            request = request.header("x-api-key", credential);
        }
        client.call(request.body(Body::from(body.to_owned())).unwrap())
    };
    let new = r#"{"secret_name": "linear", "secret_value": "lin_api_Zq8wT3vN"}"#;
    memory.0.lock().unwrap().clear();

    let created = call("POST", SECRETS, Some("alice"), new).json();
    let id = created["secret_id"].as_str().unwrap();
    let path = format!("{SECRETS}{id}");
    call("POST", SECRETS, Some("alice"), &new.replace("linear", "b"));
    call("PATCH", &path, Some("alice"), r#"{"secret_name": "c"}"#);
    call("GET", &path, Some("alice"), "");
    call("DELETE", &path, Some("bob"), "");
    call("DELETE", &path, Some("mallory"), "");
    call("DELETE", &path, Some(""), "");
    call("DELETE", &path, None, "");
    call("GET", "/openapi.json", Some("mallory"), "");
    call("DELETE", &path, Some("alice"), "");
    call("POST", SECRETS, Some("bob"), new);

    let events = memory.0.lock().unwrap();
    let told: Vec<(&str, Option<UserId>, Option<u64>, bool)> = events
        .iter()
        .map(|event| {
            let is_this = event.secret_id.is_some_and(|told| told.to_string() == id);
            (event.action.as_str(), event.user, event.revision, is_this)
        })
        .collect();
    let expected = [
        ("created", Some(ALICE), Some(1), true),
        ("quota_refused", Some(ALICE), None, false),
        ("updated", Some(ALICE), Some(2), true),
        ("credential_refused", None, None, false),
        ("credential_refused", None, None, false),
        ("deleted", Some(ALICE), Some(2), true),
        ("created", Some(BOB), Some(1), false),
    ];
    assert_eq!(told, expected);
    let lines = serde_json::to_string(&*events).unwrap();
    for text in ["linear", "lin_api", "mallory", "alice"] {
        assert!(!lines.contains(text), "{lines}");
    }
}
