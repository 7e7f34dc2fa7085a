//! The operations. The vault works where blocking is allowed, and continues there if the client goes away: every
//! write is completed.

use axum::{extract::RawPathParams, http::StatusCode, response::Response};
use serde::Serialize;

use super::{
    answer::{self, Refusal},
    body::Received,
    id,
    page::Page,
};
use crate::{
    bounds::Bounds,
    error::{Error, FieldError},
    secret::{SecretId, SecretInfo},
    vault::UserVault,
};

/// The secret that a path names.
pub(super) struct Target(Result<SecretId, FieldError>);

impl Target {
    /// `None` stands for a path that is not UTF-8.
    pub(super) fn from_path(params: Option<&RawPathParams>) -> Target {
        let text = params.and_then(|params| {
            // A path that the router is mounted at can have one of the same name, before it.
            let named = params.iter().filter(|(name, _)| *name == "secret_id");
            Some(named.last()?.1)
        });
        Target(id::parse(text, "path", "secret_id"))
    }

    /// Returns the secret and what the body asks for, or the errors of both. Malformed JSON hides every other error,
    /// as in FastAPI, which parses the body first.
    fn with<T>(self, body: Result<T, Error>) -> Result<(SecretId, T), Error> {
        match (self.0, body) {
            (Ok(id), Ok(body)) => Ok((id, body)),
            (Ok(_), Err(error)) => Err(error),
            (Err(path), Ok(_)) => Err(Error::validation(vec![path])),
            (Err(path), Err(error)) => {
                let fields = error.field_errors();
                if fields
                    .iter()
                    .any(|field| field.error_type() == "json_invalid")
                {
                    return Err(error);
                }
                let all = std::iter::once(path).chain(fields.iter().cloned());
                Err(Error::validation(all.collect()))
            }
        }
    }
}

pub(super) async fn create(user: UserVault, body: Received) -> Result<Response, Refusal> {
    blocking(move || user.create(body.new_secret()?)).await
}

pub(super) async fn list(user: UserVault, query: &str) -> Result<Response, Refusal> {
    let page = Page::from_query(query)?;
    blocking(move || {
        let data = user.secrets_after(page.after, page.limit)?;
        Ok(List { data })
    })
    .await
}

#[derive(Serialize)]
struct List {
    data: Vec<SecretInfo>,
}

pub(super) async fn read(user: UserVault, target: Target) -> Result<Response, Refusal> {
    let id = target.0?;
    blocking(move || user.secret(id)).await
}

pub(super) async fn update(
    user: UserVault,
    target: Target,
    body: Received,
    bounds: Bounds,
) -> Result<Response, Refusal> {
    blocking(move || {
        let mut patch = body.patch();
        if target.0.is_err() {
            // There will be no update that checks it.
            patch = patch.and_then(|patch| patch.checked(&bounds));
        }
        let (id, patch) = target.with(patch)?;
        user.update(id, patch)
    })
    .await
}

pub(super) async fn delete(user: UserVault, target: Target) -> Result<Response, Refusal> {
    let id = target.0?;
    blocking(move || user.delete(id)).await
}

/// Runs blocking work. Reads are done here as well: a user's first use waits for the store. So is the writing of the
/// answer: a page can have megabytes of it.
async fn blocking<T: Serialize>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<Response, Refusal> {
    let work = move || Ok(answer::json(StatusCode::OK, &work()?));
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Refusal::Failed),
        Err(_) => Err(Refusal::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread::{self, ThreadId},
    };

    use serde::Serializer;

    use super::*;

    /// Tells which thread writes it.
    struct Written(mpsc::Sender<ThreadId>);

    impl Serialize for Written {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.send(thread::current().id()).unwrap();
            serializer.serialize_unit()
        }
    }

    #[test]
    fn an_answer_is_written_where_blocking_is_allowed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (sender, threads) = mpsc::channel();
        let answer = runtime.block_on(blocking(|| Ok(Written(sender)))).unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_ne!(threads.recv().unwrap(), thread::current().id());
    }
}
