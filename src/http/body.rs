//! The body of a request: read within a limit, into memory that is wiped.

use std::{future::poll_fn, pin::Pin};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{
        HeaderMap,
        header::{CONTENT_TYPE, EXPECT},
    },
};
use zeroize::Zeroizing;

use super::answer::Refusal;
use crate::{
    bounds::{Bounds, TEXT},
    error::{Error, FieldError},
    request::{NewSecret, SecretPatch, not_an_object},
    wiping,
};

/// The longest body that is read, in bytes: every field at its longest with every character escaped, and some room
/// for names, space and ignored fields.
pub(super) fn limit(bounds: &Bounds) -> usize {
    /// `\ud83d\ude00`.
    const LONGEST_CHARACTER: usize = 12;
    /// Name, tool pattern, location and format.
    const TEXTS: usize = 4;
    const ROOM: usize = 16 * 1024;
    LONGEST_CHARACTER * (TEXTS * TEXT.max + bounds.value().max) + ROOM
}

/// A body as it was received.
pub(super) enum Received {
    Empty,
    /// The body is not JSON by its content type.
    NotJson,
    Json(Zeroizing<Vec<u8>>),
}

impl Received {
    /// # Errors
    ///
    /// Fails if the body is longer than `limit` or breaks off.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: &mut Body,
        limit: usize,
    ) -> Result<Received, Refusal> {
        let text = collect(body, limit).await?;
        if text.is_empty() {
            return Ok(Received::Empty);
        }
        if !is_json(headers) {
            return Ok(Received::NotJson);
        }
        Ok(Received::Json(text))
    }

    /// Its fields are not checked.
    pub(super) fn new_secret(self) -> Result<NewSecret, Error> {
        match self {
            Received::Json(mut text) => NewSecret::from_json_unchecked(&mut text),
            Received::NotJson => Err(not_an_object()),
            Received::Empty => Err(Error::validation(vec![FieldError::new(
                [],
                "missing",
                "Field required",
            )])),
        }
    }

    /// Its fields are not checked. In the contract, a patch may have no body.
    pub(super) fn patch(self) -> Result<SecretPatch, Error> {
        match self {
            Received::Json(mut text) => SecretPatch::from_json_unchecked(&mut text),
            Received::NotJson => Err(not_an_object()),
            Received::Empty => Ok(SecretPatch::new()),
        }
    }
}

/// Discards what is left of a body. A server that closes a connection with unread data in it resets it, and the
/// client may then never see the answer.
///
/// Returns `false` if more than `limit` is left, or if the client waits to be told to continue (RFC 9110, section
/// 10.1.1), which does not happen.
pub(super) async fn drain(headers: &HeaderMap, mut body: Body, limit: usize) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if headers.contains_key(EXPECT) || is_longer(&body, limit) {
        return false;
    }
    let mut left = limit;
    while let Some(Ok(data)) = next_data(&mut body).await {
        match left.checked_sub(data.len()) {
            Some(less) => left = less,
            None => return false,
        }
    }
    true
}

/// Whether a body declares a length of more than `limit`.
fn is_longer(body: &Body, limit: usize) -> bool {
    usize::try_from(body.size_hint().lower()).map_or(true, |length| length > limit)
}

async fn collect(body: &mut Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    if is_longer(body, limit) {
        return Err(Refusal::TooLong);
    }
    let mut text = Zeroizing::new(Vec::new());
    while let Some(data) = next_data(body).await {
        let data = data.map_err(|_| Refusal::Unreadable)?;
        if data.len() > limit - text.len() {
            return Err(Refusal::TooLong);
        }
        wiping::append(&mut text, &data);
    }
    // Not every body that was read to its end knows that nothing is left of it.
    *body = Body::empty();
    Ok(text)
}

/// Returns the next data of a body. Trailers are skipped.
async fn next_data(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(|frame| frame.into_data().ok()) {
            Ok(None) => {}
            Ok(Some(data)) => return Some(Ok(data)),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Whether FastAPI would read it as JSON: `application/json`, or any `application/…+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application")
        && !subtype.contains('/')
        && (subtype == "json" || subtype.ends_with("+json"))
}
