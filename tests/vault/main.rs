//! The life of secrets: every operation, every error, and what does not change when one fails.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{Error, ErrorKind, SecretInfo, ToolCall, Usage, UserId, UserVault, Vault};
use serde_json::Map;

mod batch;
mod quota;
mod secrets;
mod whole;

const ALICE: &str = "6f2c1b6e-6a0e-4d0a-9f3e-2b8a4a9f5f10";

const BOB: &str = "0b0e5c64-52a0-4f5e-8f6b-0c9ff1f8c0aa";

fn vault() -> Vault {
    Vault::in_memory().unwrap()
}

fn local(vault: &Vault) -> UserVault {
    vault.user(UserId::LOCAL)
}

/// What a tool whose call has no arguments gets at `k`.
fn injected(user: &UserVault, tool: &str) -> Option<String> {
    let mut args = Map::new();
    let _ = user.inject(&ToolCall::new(tool), &mut args).unwrap();
    args.get("k")
        .map(|value| value.as_str().unwrap().to_owned())
}

fn size(info: &SecretInfo, value: &str) -> u64 {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    (value.len() + info.secret_name.len() + optional(&info.tool_name) + optional(&info.tool_arg))
        as u64
}

fn usage(user: &UserVault) -> (u64, u64) {
    let Usage { secrets, bytes, .. } = user.usage().unwrap();
    (secrets, bytes)
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) -> Error {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.to_string().is_empty());
    error
}
