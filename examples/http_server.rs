//! The REST contract on loopback, over a vault in a file.
//!
//! ```text
//! KEYWARD_PASSPHRASE='correct horse battery staple' \
//! KEYWARD_TOKENS='sk-alice=6f2c1b6e-6a0e-4d0a-9f3e-2b8a4a9f5f10' \
//! cargo run --features http --example http_server -- secrets.keyward 8080
//!
//! curl -H 'x-api-key: sk-alice' -H 'content-type: application/json' http://127.0.0.1:8080/api/v1/secrets/ \
//!     -d '{"secret_name": "linear", "secret_value": "lin_api_Zq8wT3vN"}'
//! ```
//!
//! The vault is created if it does not exist. Port 0 means any free port; the first line of output says which.
//! With `check` instead of a port, everything stored is verified, and each user's usage is printed.
//!
//! A real server has TLS in front of it, rate and time limits, and other ways than its environment to get keys.

use std::{env, error::Error};

use keyward::{
    KeySource, UserId, Vault,
    http::{Authenticator, Credential},
};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(path), Some(port)) = (args.next(), args.next()) else {
        return Err("usage: http_server VAULT PORT, or http_server VAULT check".into());
    };
    // Before the runtime starts, since a passphrase deliberately takes time.
    let key = KeySource::passphrase(variable("KEYWARD_PASSPHRASE")?);
    if port == "check" {
        return check(&Vault::open(path, key)?);
    }
    let vault = Vault::open_or_create(path, key)?;
    let tokens = Tokens::parse(&variable("KEYWARD_TOKENS")?)?;
    serve(vault, tokens, port.parse()?)
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}

fn check(vault: &Vault) -> Result<(), Box<dyn Error>> {
    vault.verify()?;
    for user in vault.users()? {
        let usage = vault.user(user).usage()?;
        println!("{user} {} {}", usage.secrets, usage.bytes);
    }
    Ok(())
}

#[tokio::main]
async fn serve(vault: Vault, tokens: Tokens, port: u16) -> Result<(), Box<dyn Error>> {
    let router = keyward::http::router(vault, tokens);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

/// The users by token. Only the digest of a token is kept.
struct Tokens(Vec<([u8; 32], UserId)>);

impl Tokens {
    /// Reads `token=user,token=user`.
    fn parse(text: &str) -> Result<Tokens, Box<dyn Error>> {
        let pairs = text.split(',').map(|pair| {
            let (token, user) = pair.rsplit_once('=').ok_or("a token has no user")?;
            Ok((Sha256::digest(token).into(), user.parse()?))
        });
        pairs.collect::<Result<_, Box<dyn Error>>>().map(Tokens)
    }
}

impl Authenticator for Tokens {
    /// Takes constant time: every token is compared in full. Digests have one length, whatever was sent.
    async fn authenticate(&self, credential: Credential<'_>) -> Option<UserId> {
        let sent: [u8; 32] = Sha256::digest(credential.text()).into();
        let (mut found, mut at) = (Choice::from(0), 0);
        for (i, (token, _)) in (0_u64..).zip(&self.0) {
            let same = token.ct_eq(&sent);
            at = u64::conditional_select(&at, &i, same);
            found |= same;
        }
        let (_, user) = self.0.get(usize::try_from(at).ok()?)?;
        bool::from(found).then_some(*user)
    }
}
