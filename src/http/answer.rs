//! The answers. Nothing here repeats what was asked.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use crate::error::{Error, ErrorKind, FieldError, QuotaScope};

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    NoSuchPath,
    /// The methods that are allowed.
    MethodNotAllowed(&'static str),
    NotAuthenticated,
    /// The body breaks off.
    Unreadable,
    /// The body is longer than any valid one.
    TooLong,
    /// The vault's error.
    Failed(Error),
    /// The work was abandoned, because of a panic or because the runtime shuts down.
    Interrupted,
}

/// The answer of the [router](crate::http::router), for handlers of the program's own. It repeats nothing that the
/// request said, except for the names of arguments that a secret does not fit into; the error itself is among the
/// extensions of the response, in an `Arc`. A [`Validation`](ErrorKind::Validation) error is told to the client whoever
/// caused it: one of the program's own settings is for the program to handle.
///
/// ```
/// use axum::{Router, routing::get};
/// use keyward::{Error, UserId, Vault};
///
/// async fn usage(user: UserId, vault: Vault) -> Result<String, Error> {
///     let user = vault.user(user);
///     tokio::task::spawn_blocking(move || user.usage().map(|usage| usage.secrets.to_string())).await.unwrap()
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let vault = Vault::in_memory()?;
/// let router: Router = Router::new().route("/usage", get(move || usage(UserId::LOCAL, vault.clone())));
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        failure(self)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Refusal {
        Refusal::Failed(Error::validation(vec![error]))
    }
}

/// `drained` means that nothing of the request is left unread; otherwise the connection ends with this answer.
pub(super) fn finish(answer: Result<Response, Refusal>, drained: bool) -> Response {
    let response = answer.unwrap_or_else(refuse);
    if drained {
        return response;
    }
    with_header(response, CONNECTION, HeaderValue::from_static("close"))
}

fn refuse(refusal: Refusal) -> Response {
    match refusal {
        Refusal::NoSuchPath => detail(StatusCode::NOT_FOUND, "Not Found"),
        Refusal::MethodNotAllowed(allowed) => with_header(
            detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            ALLOW,
            HeaderValue::from_static(allowed),
        ),
        Refusal::NotAuthenticated => with_header(
            detail(StatusCode::UNAUTHORIZED, "Not authenticated"),
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer"),
        ),
        Refusal::Unreadable => detail(
            StatusCode::BAD_REQUEST,
            "There was an error parsing the body",
        ),
        Refusal::TooLong => detail(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is longer than that of any valid request",
        ),
        Refusal::Failed(error) => failure(error),
        Refusal::Interrupted => internal(),
    }
}

/// The error itself is added as an extension, for a layer that logs.
fn failure(error: Error) -> Response {
    let status =
        StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match error.kind() {
        ErrorKind::Validation => json(status, &json!({"detail": error.field_errors()})),
        ErrorKind::NotFound => detail(status, "Secret not found"),
        // The vault's own message repeats the name or the place.
        ErrorKind::NameTaken => detail(
            status,
            "The name is taken by another secret, or is a secret's id: choose another one",
        ),
        ErrorKind::DefaultTaken => detail(
            status,
            "Another secret is the default for this tool and argument: set its is_default_for_tool to false first",
        ),
        ErrorKind::QuotaExceeded => match error.quota() {
            Some(quota) if quota.scope == QuotaScope::User => detail(status, &quota.to_string()),
            // How much others store is none of this user's business.
            _ => detail(status, "The total size limit of stored secrets is exceeded"),
        },
        ErrorKind::Locked => detail(status, "The vault is locked"),
        ErrorKind::Unsupported => detail(
            status,
            "This vault cannot do that; if it is a snapshot, it is read-only",
        ),
        ErrorKind::Conflict => detail(
            status,
            "The secret has changed, or exists already: read it again",
        ),
        ErrorKind::Denied => detail(
            status,
            "A secret is not granted, or an argument not allowed",
        ),
        _ => internal(),
    };
    response.extensions_mut().insert(Arc::new(error));
    response
}

fn internal() -> Response {
    detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn detail(status: StatusCode, text: &str) -> Response {
    json(status, &json!({"detail": text}))
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => json_text(status, text),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

pub(super) fn json_text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn redirect(path: &str, query: Option<&str>) -> Result<Response, Refusal> {
    let location = match query {
        Some(query) => HeaderValue::try_from(format!("{path}?{query}")),
        None => HeaderValue::try_from(path),
    };
    let location = location.map_err(|_| Refusal::NoSuchPath)?;
    let response = empty(StatusCode::TEMPORARY_REDIRECT);
    Ok(with_header(response, LOCATION, location))
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn with_header(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}
