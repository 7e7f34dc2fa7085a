//! Calls the router, and checks what must hold for every answer.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{HeaderMap, Request, StatusCode, request::Builder},
    response::Response,
};
use keyward::{
    Error, UserId, Vault,
    http::{Authenticator, Credential, router},
};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const ALICE: UserId = user(1);
pub(crate) const BOB: UserId = user(2);
pub(crate) const SECRETS: &str = "/api/v1/secrets/";

const fn user(n: u128) -> UserId {
    UserId::new(uuid::Uuid::from_u128(n))
}

/// Everybody's credential is their name.
pub(crate) struct Names;

impl Authenticator for Names {
    async fn authenticate(&self, credential: Credential<'_>) -> Option<UserId> {
        match credential.text() {
            "alice" => Some(ALICE),
            "bob" => Some(BOB),
            _ => None,
        }
    }
}

pub(crate) struct Client {
    pub(crate) vault: Vault,
    router: Router,
    runtime: tokio::runtime::Runtime,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) error: Option<Arc<Error>>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The errors of a 422, each as `loc.loc type`.
    pub(crate) fn errors(&self) -> Vec<String> {
        assert_eq!(self.status, 422, "{}", self.text);
        let json = self.json();
        let detail = json["detail"].as_array().unwrap();
        detail.iter().map(error).collect()
    }
}

fn error(error: &Value) -> String {
    assert_eq!(error.as_object().unwrap().len(), 3, "{error}");
    assert!(!error["msg"].as_str().unwrap().is_empty(), "{error}");
    let loc: Vec<String> = error["loc"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            part.as_str()
                .map_or_else(|| part.to_string(), str::to_owned)
        })
        .collect();
    format!("{} {}", loc.join("."), error["type"].as_str().unwrap())
}

impl Client {
    pub(crate) fn new() -> Client {
        Client::over(Vault::in_memory().unwrap())
    }

    pub(crate) fn over(vault: Vault) -> Client {
        Client::mounted(vault, |router| router)
    }

    pub(crate) fn mounted(vault: Vault, mount: impl FnOnce(Router) -> Router) -> Client {
        Client {
            router: mount(router(vault.clone(), Names)),
            vault,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
        }
    }

    pub(crate) fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request);
        self.answer(self.runtime.block_on(response).unwrap())
    }

    /// Reads a response, whoever made it.
    pub(crate) fn answer(&self, response: Response) -> Answer {
        self.runtime.block_on(async {
            let (parts, body) = response.into_parts();
            Answer {
                status: parts.status,
                headers: parts.headers,
                text: read(body).await,
                error: parts.extensions.get::<Arc<Error>>().cloned(),
            }
        })
    }

    /// Polls the router's answer to a request until it has waited `waits` times, then drops it.
    pub(crate) fn give_up(&self, request: Request<Body>, waits: usize) {
        let mut call = std::pin::pin!(self.router.clone().oneshot(request));
        self.runtime.block_on(async {
            for _ in 0..waits {
                let poll =
                    |context: &mut Context<'_>| Poll::Ready(call.as_mut().poll(context).is_ready());
                if std::future::poll_fn(poll).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
    }

    /// Returns the vault, once everything that was begun is done.
    pub(crate) fn finish(self) -> Vault {
        drop(self.runtime);
        self.vault
    }

    /// Sends a request as Alice.
    pub(crate) fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.call(json(request(method, path)).body(body.into()).unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::empty())
    }

    /// Creates a secret of Alice and returns its id.
    pub(crate) fn create(&self, name: &str) -> String {
        let body = format!(r#"{{"secret_name": "{name}", "secret_value": "7Jq2mWzX"}}"#);
        let answer = self.send("POST", SECRETS, body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["secret_id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn request(method: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("x-api-key", "alice")
}

pub(crate) fn json(request: Builder) -> Builder {
    request.header("content-type", "application/json")
}

async fn read(mut body: Body) -> String {
    let mut text = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
    {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    String::from_utf8(text).unwrap()
}
