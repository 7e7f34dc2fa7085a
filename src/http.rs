//! The REST contract as an [`axum::Router`], for a runtime that lets its users manage their secrets.
//!
//! The paths, schemas and statuses are those of the secret management API of hosted agent platforms, so that their
//! clients work unchanged. Needs the feature `http`.
//!
//! ```
//! use axum::{body::Body, http::Request};
//! use keyward::{UserId, Vault, http::{Authenticator, Credential}};
//! use tower::ServiceExt;
//!
//! /// One user, one key. A real one looks the credential up, and compares it in constant time.
//! struct OneKey;
//!
//! impl Authenticator for OneKey {
//!     async fn authenticate(&self, credential: Credential<'_>) -> Option<UserId> {
//!         (credential.text() == "sk-demo").then_some(UserId::LOCAL)
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let router = keyward::http::router(Vault::in_memory()?, OneKey);
//! let request = Request::post("/api/v1/secrets/")
//!     .header("x-api-key", "sk-demo")
//!     .header("content-type", "application/json")
//!     .body(Body::from(r#"{"secret_name": "linear", "secret_value": "lin_api_Zq8wT3vN"}"#))
//!     .unwrap();
//! assert_eq!(router.oneshot(request).await.unwrap().status(), 200);
//! # Ok::<(), keyward::Error>(())
//! # }).unwrap();
//! ```
//!
//! `examples/http_server.rs` serves it on loopback, over a vault in a file.
//!
//! # Operations
//!
//! | request | answer |
//! |---|---|
//! | `POST /api/v1/secrets/` with a `NewSecret` | the [`SecretInfo`](crate::SecretInfo) |
//! | `GET /api/v1/secrets/?limit=N&after=ID` | `{"data": [SecretInfo, …]}`, oldest first |
//! | `GET /api/v1/secrets/{secret_id}` | the `SecretInfo` |
//! | `PATCH /api/v1/secrets/{secret_id}` with a `SecretPatch` | the `SecretInfo` after the change |
//! | `DELETE /api/v1/secrets/{secret_id}` | `null` |
//! | `GET /openapi.json` | this table as an OpenAPI document, for anyone: [`openapi()`] |
//!
//! A page has at most `limit` secrets, from 1 to 1,000; the default is 100. The next page is the one after the last
//! `secret_id` of this one; a page with fewer than `limit` secrets is the last. A patch without a body changes
//! nothing. A missing or extra trailing slash is redirected (307), as FastAPI does.
//!
//! # Who asks
//!
//! Any one of the headers `token`, `Authorization` (with or without `Bearer`) and `x-api-key` is enough; an
//! [`Authenticator`] maps its content to a user. If several are sent, all must name the same user. A header that is
//! sent twice, is empty, or is not visible ASCII names nobody. Only the path and the method of a request are looked
//! at before the user is known: anyone gets 405 for a method that is not served, 307 for a missing or extra trailing
//! slash, 404 for a path that is not served, and the document at `/openapi.json`. For everything else, a request that
//! names no user gets 401, whatever the rest of it is; while the vault is locked, one that does gets 423 in the same
//! way.
//!
//! A program that knows its users already, by a session's cookie or by mutual TLS, says so in a layer around the
//! router: the [`AuthenticatedUser`] that it puts into the request's extensions is the user, and the authenticator is
//! not asked.
//!
//! ```
//! # use axum::{body::Body, http::Request};
//! # use keyward::{UserId, Vault, http::{Authenticator, Credential}};
//! # use tower::ServiceExt;
//! use axum::Extension;
//! use keyward::http::AuthenticatedUser;
//!
//! struct Nobody;
//!
//! impl Authenticator for Nobody {
//!     async fn authenticate(&self, _: Credential<'_>) -> Option<UserId> {
//!         None
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let request = || Request::get("/api/v1/secrets/").body(Body::empty()).unwrap();
//! let router = keyward::http::router(Vault::in_memory()?, Nobody);
//! // Here for everyone; a real layer finds out whose the request is.
//! let session = router.clone().layer(Extension(AuthenticatedUser(UserId::LOCAL)));
//! assert_eq!(session.oneshot(request()).await.unwrap().status(), 200);
//! assert_eq!(router.oneshot(request()).await.unwrap().status(), 401);
//! # Ok::<(), keyward::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Errors
//!
//! | status | when | `detail` |
//! |---|---|---|
//! | 400 | the body breaks off | a text |
//! | 401 | no user | a text |
//! | 404 | the user has no such secret, even if another user does | a text |
//! | 409 | the name is taken, or another secret is the default for the same pattern and location | a text |
//! | 413 | a quota would be exceeded, or the body is longer than any that says only what the contract names | a text |
//! | 422 | the request is invalid | every error, as `{loc, msg, type}` |
//! | 423 | the vault is locked | a text |
//! | 500 | the store failed | a text |
//! | 501 | a write to a snapshot of a vault | a text |
//!
//! For a 422, `loc` and `type` are those of FastAPI with Pydantic 2 and the same models with strict types, and so is
//! `msg` where it does not repeat the input. Only JSON of RFC 8259 in UTF-8 without a byte order mark is read;
//! anything else is `json_invalid`. FastAPI also accepts `NaN` and UTF-16, and answers bytes that are not text with
//! a 400 that the contract does not name.
//!
//! A body is read only if the request's `content-type` is JSON; otherwise it is no object, which is a 422 as well.
//!
//! No answer repeats what was sent, other than a redirection, which repeats the query. The full
//! [`Error`](crate::Error), for a log, is among the extensions of the response, in an `Arc`. Its message may name a
//! secret or a place, but never holds a value.
//!
//! # Audit
//!
//! The [sink](crate::VaultBuilder::audit) of the vault receives what is done through the router like any other
//! write: what was created, updated and deleted, by which user, and which quota was refused. It also receives each
//! request that had a credential and was refused because of it, as
//! [`CredentialRefused`](crate::audit::AuditAction::CredentialRefused), on a thread where the sink may block; a request
//! without any is not worth a line. Events have no id of the request, and reads are not recorded: no answer has a
//! value in it. So anyone who reaches the router can make a log grow: the rate limit belongs before it.
//!
//! # Security
//!
//! * Serve this over TLS, or on loopback. The router has no rate limit and no time limit: put them around it. No
//!   more of a body is read than the longest valid request could take. The rest of a body that an answer did not
//!   need is discarded as it arrives, up to that limit, so that the answer gets through; beyond it the connection
//!   ends.
//! * The body is collected in a buffer that is wiped after use, and read without leaving copies. The server's own
//!   socket buffers are out of keyward's reach: hyper, for one, keeps a buffer for each connection, and frees it
//!   without wiping it.
//! * This module writes no log and opens no span. A layer around it that logs bodies logs secrets, and one that logs
//!   headers logs credentials.
//! * A request whose client goes away is done completely or not at all.
//! * The vault works on tokio's threads for blocking work, so this needs a tokio runtime.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, RawPathParams, Request, State},
    http::{Method, StatusCode, request::Parts},
    response::Response,
    routing::any,
};
use uuid::Uuid;

use crate::{
    secret::UserId,
    vault::{UserVault, Vault},
};

mod answer;
mod auth;
mod body;
mod id;
mod openapi;
mod operations;
mod page;

pub use self::auth::{AuthenticatedUser, Authenticator, Credential, CredentialHeader};
use self::{answer::Refusal, body::Received, operations::Target};

const SECRETS: &str = "/api/v1/secrets/";
const SECRET: &str = "/api/v1/secrets/{secret_id}";

/// Creates a router that serves the REST contract over a vault: see the [module](self).
///
/// The router has no fallback, so that it can be merged into another one; its paths are those of the contract, and
/// `/openapi.json`.
pub fn router<A: Authenticator>(vault: Vault, authenticator: A) -> Router {
    let service = Service {
        document: openapi(&vault).to_string(),
        body_limit: body::limit(vault.bounds()),
        vault,
        authenticator,
    };
    let at = |path: Path| {
        any(move |State(service): State<Arc<Service<A>>>, request| service.handle(path, request))
    };
    Router::new()
        .route(SECRETS, at(Path::Secrets))
        .route(SECRET, at(Path::Secret))
        .route(SECRETS.trim_end_matches('/'), at(Path::SecretsWithoutSlash))
        .route(&format!("{SECRET}/"), at(Path::SecretWithSlash))
        .route("/openapi.json", at(Path::Document))
        .with_state(Arc::new(service))
}

/// Returns the OpenAPI document that the [`router`] of a vault serves: the operations of the contract, and what
/// surrounds them.
pub fn openapi(vault: &Vault) -> serde_json::Value {
    openapi::document(vault.bounds())
}

struct Service<A> {
    vault: Vault,
    authenticator: A,
    /// The text of the OpenAPI document.
    document: String,
    /// In bytes.
    body_limit: usize,
}

#[derive(Clone, Copy)]
enum Path {
    Secrets,
    Secret,
    SecretsWithoutSlash,
    SecretWithSlash,
    Document,
}

impl Path {
    /// The methods that are served here, as for the header `Allow`; `None` where every request is redirected.
    fn methods(self) -> Option<&'static str> {
        match self {
            Path::Secrets => Some("GET, POST"),
            Path::Secret => Some("GET, PATCH, DELETE"),
            Path::SecretsWithoutSlash | Path::SecretWithSlash => None,
            Path::Document => Some("GET"),
        }
    }
}

impl<A: Authenticator> Service<A> {
    async fn handle(self: Arc<Self>, path: Path, request: Request) -> Response {
        let (mut parts, mut body) = request.into_parts();
        let answer = self.dispatch(path, &mut parts, &mut body).await;
        let drained = match answer {
            Err(Refusal::TooLong) => false,
            _ => body::drain(&parts.headers, body, self.body_limit).await,
        };
        answer::finish(answer, drained)
    }

    async fn dispatch(
        &self,
        path: Path,
        parts: &mut Parts,
        body: &mut Body,
    ) -> Result<Response, Refusal> {
        let allowed = path.methods();
        if let Some(allowed) = allowed
            && !allowed.split(", ").any(|method| parts.method == method)
        {
            return Err(Refusal::MethodNotAllowed(allowed));
        }
        match path {
            Path::Secrets => self.secrets(parts, body).await,
            Path::Secret => self.secret(parts, body).await,
            // The locations are relative, so that they are right wherever the router is mounted and whatever the
            // request says about its host. A location repeats only text that can be an id.
            Path::SecretsWithoutSlash => answer::redirect("secrets/", parts.uri.query()),
            Path::SecretWithSlash => {
                let path = parts.uri.path().trim_end_matches('/');
                match path.rsplit('/').next() {
                    Some(id) if Uuid::try_parse(id).is_ok() => {
                        answer::redirect(&format!("../{id}"), parts.uri.query())
                    }
                    _ => Err(Refusal::NoSuchPath),
                }
            }
            Path::Document => Ok(answer::json_text(StatusCode::OK, self.document.clone())),
        }
    }

    async fn secrets(&self, parts: &Parts, body: &mut Body) -> Result<Response, Refusal> {
        let user = self.user(parts).await?;
        if parts.method == Method::GET {
            return operations::list(user, parts.uri.query().unwrap_or_default()).await;
        }
        let body = Received::read(&parts.headers, body, self.body_limit).await?;
        operations::create(user, body).await
    }

    async fn secret(&self, parts: &mut Parts, body: &mut Body) -> Result<Response, Refusal> {
        let user = self.user(parts).await?;
        let params = RawPathParams::from_request_parts(parts, &()).await.ok();
        let target = Target::from_path(params.as_ref());
        match parts.method {
            Method::GET => operations::read(user, target).await,
            Method::DELETE => operations::delete(user, target).await,
            _ => {
                let body = Received::read(&parts.headers, body, self.body_limit).await?;
                operations::update(user, target, body, self.vault.bounds().clone()).await
            }
        }
    }

    /// Nothing else of a request is looked at while the vault is locked.
    async fn user(&self, parts: &Parts) -> Result<UserVault, Refusal> {
        let user = self.vault.user(self.user_id(parts).await?);
        user.bounds_if_unlocked()?;
        Ok(user)
    }

    async fn user_id(&self, parts: &Parts) -> Result<UserId, Refusal> {
        if let Some(AuthenticatedUser(user)) = parts.extensions.get() {
            return Ok(*user);
        }
        let user = auth::user(&self.authenticator, &parts.headers).await;
        if user.is_err() && self.vault.is_audited() && auth::has_credential(&parts.headers) {
            let vault = self.vault.clone();
            // A sink may take its time.
            let told = tokio::task::spawn_blocking(move || vault.record_refused_credential());
            told.await.map_err(|_| Refusal::Interrupted)?;
        }
        user
    }
}
