//! Authentication: whose request it is.

use std::{fmt, future::Future};

use axum::http::{HeaderMap, HeaderValue};

use super::answer::Refusal;
use crate::secret::UserId;

/// Finds out whose a credential is.
///
/// # Security
///
/// A comparison that ends at the first difference reveals how much of a guess is right: compare in constant time, or
/// look up a digest of the credential. Whether a credential is unknown, expired or revoked is nobody's business: for
/// all of these, return `None`, and the caller gets 401.
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the user whose credential this is; `None` if it is nobody's.
    ///
    /// Called once for every credential of a request, before its body is read.
    fn authenticate(
        &self,
        credential: Credential<'_>,
    ) -> impl Future<Output = Option<UserId>> + Send;
}

/// The user whose request it is, as a layer of the program's own says it in the request's extensions: see
/// [Who asks](super#who-asks).
///
/// # Security
///
/// Whoever is in here is the user, whatever credentials the request has. A layer takes it from what it has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthenticatedUser(pub UserId);

/// What a request presents to show whose it is. Redacted in `Debug`.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    header: CredentialHeader,
    text: &'a str,
}

/// The header that a [`Credential`] came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialHeader {
    /// `token`: in the contract, a JWT.
    Token,
    /// `Authorization`, with or without `Bearer`: in the contract, an API key.
    Authorization,
    /// `x-api-key`: in the contract, an API key that an SDK's client sends.
    ApiKey,
}

impl<'a> Credential<'a> {
    /// Returns the header that it came in.
    pub fn header(&self) -> CredentialHeader {
        self.header
    }

    /// Returns the credential itself, which is non-empty visible ASCII. `Bearer` is removed.
    pub fn text(&self) -> &'a str {
        self.text
    }

    fn new(header: CredentialHeader, value: &'a HeaderValue) -> Option<Credential<'a>> {
        let mut text = value.to_str().ok()?.trim();
        if header == CredentialHeader::Authorization {
            text = without_scheme(text);
        }
        (!text.is_empty()).then_some(Credential { header, text })
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl CredentialHeader {
    const ALL: [CredentialHeader; 3] = [
        CredentialHeader::Token,
        CredentialHeader::Authorization,
        CredentialHeader::ApiKey,
    ];

    fn name(self) -> &'static str {
        match self {
            CredentialHeader::Token => "token",
            CredentialHeader::Authorization => "authorization",
            CredentialHeader::ApiKey => "x-api-key",
        }
    }
}

/// Returns the user whom every credential of a request names. The authenticator is asked about all of them, so that
/// the time reveals only how many there are.
pub(super) async fn user<A: Authenticator>(
    authenticator: &A,
    headers: &HeaderMap,
) -> Result<UserId, Refusal> {
    let mut users = Vec::new();
    for credential in credentials(headers)? {
        users.push(authenticator.authenticate(credential).await);
    }
    match users.as_slice() {
        [Some(user), others @ ..] if others.iter().all(|other| other.as_ref() == Some(user)) => {
            Ok(*user)
        }
        _ => Err(Refusal::NotAuthenticated),
    }
}

/// Whether a request tries to show whose it is.
pub(super) fn has_credential(headers: &HeaderMap) -> bool {
    let mut known = CredentialHeader::ALL.iter();
    known.any(|header| headers.contains_key(header.name()))
}

/// Each header may occur only once: if it has two values, a proxy in front of this server may have checked the other
/// one.
fn credentials(headers: &HeaderMap) -> Result<Vec<Credential<'_>>, Refusal> {
    let mut credentials = Vec::new();
    for header in CredentialHeader::ALL {
        let mut values = headers.get_all(header.name()).iter();
        if let Some(value) = values.next() {
            let credential = Credential::new(header, value).ok_or(Refusal::NotAuthenticated)?;
            credentials.push(credential);
        }
        if values.next().is_some() {
            return Err(Refusal::NotAuthenticated);
        }
    }
    Ok(credentials)
}

/// `Bearer` is a scheme in any case (RFC 9110), even without a credential after it.
fn without_scheme(text: &str) -> &str {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_taken_off_an_authorization_only() {
        let text = |header, value: &'static str| {
            let value = HeaderValue::from_static(value);
            Credential::new(header, &value).map(|credential| credential.text().to_owned())
        };
        let authorization = |value| text(CredentialHeader::Authorization, value);
        for value in ["k", "Bearer k", "bearer k", "BEARER   k ", " k"] {
            assert_eq!(authorization(value).as_deref(), Some("k"), "{value:?}");
        }
        for value in ["", " ", "Bearer", "Bearer  "] {
            assert_eq!(authorization(value), None, "{value:?}");
        }
        assert_eq!(authorization("Basic k").as_deref(), Some("Basic k"));
        assert_eq!(authorization("Bearerk").as_deref(), Some("Bearerk"));
        let token = text(CredentialHeader::Token, "Bearer k");
        assert_eq!(token.as_deref(), Some("Bearer k"));
    }

    #[test]
    fn debug_shows_no_credential() {
        let value = HeaderValue::from_static("sk-demo");
        let credential = Credential::new(CredentialHeader::ApiKey, &value).unwrap();
        let shown = format!("{credential:?}");
        assert!(
            shown.contains("ApiKey") && !shown.contains("demo"),
            "{shown}"
        );
    }
}
