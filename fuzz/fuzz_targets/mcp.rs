//! Property: whatever a server sends, a line that the filter passes on holds no value as it is, and what is JSON stays
//! JSON; and whatever a client sends, a call that cannot be read is no way around the filter.
//!
//! The lines are made of tokens of JSON and of what messages consist of, in any order. The value is a part of the line,
//! or a line that is a value itself.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use keyward::{InjectionPolicy, NewSecret, Redactor, SecretValue, UserId, Vault, mcp::Filter};
use keyward_fuzz::json::pick;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

#[derive(Debug, Arbitrary)]
struct Input {
    pieces: Vec<u8>,
    /// The part of the line that is the value.
    from: u8,
    length: u8,
    /// Whether spaces and line breaks come between the pieces.
    spaced: bool,
}

const PIECES: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "0",
    "12345678",
    "-1.5e3",
    "true",
    "null",
    "NaN",
    "a",
    "bcdefghi",
    "é",
    "\"a\"",
    "\"bc\"",
    "\"a\":1",
    "\"a b\":",
    "\"jsonrpc\":\"2.0\"",
    "\"result\":",
    "\"params\":",
    "\"error\":",
    "\"content\":[",
    "\"_meta\":{",
    "{\"a\":1}",
    "[1,2]",
    "[]",
    "{}",
    "\"\\u0061\"",
    "\"d:{,\"",
    "},{",
    "],[",
    "\",\"",
    "\":\"",
    "{\"result\":{",
    "}}",
    "[{",
    "}]",
    "'",
];

/// What is put in the place of the value: no line has this character.
const REFERENCE: &str = "☃";

/// The keys of the protocol of which a value could be one.
const KEYS: [&str; 3] = ["\"jsonrpc\"", "\"result\"", "\"params\""];

const KEY: &str = "lin_api_Zq8wT3vN";

static VAULT: LazyLock<Vault> = LazyLock::new(|| {
    let policy = InjectionPolicy::default().refuse_supplied();
    let vault = Vault::builder().injection_policy(policy).in_memory();
    let vault = vault.expect("a vault in memory");
    let secret = NewSecret::new("linear", KEY).bind("tool", "a");
    let made = vault.user(UserId::LOCAL).create(secret.default_for_tool());
    made.expect("a valid secret");
    vault
});

fuzz_target!(|input: Input| {
    let pieces = input.pieces.iter().take(64).map(|n| pick(&PIECES, *n));
    let line = pieces
        .collect::<Vec<_>>()
        .join(if input.spaced { " " } else { "" });
    from_a_server(&line, &input);
    from_a_client(&line);
});

fn from_a_server(line: &str, input: &Input) {
    let start = line.floor_char_boundary(input.from.into());
    let end = line.ceil_char_boundary(start + 8 + usize::from(input.length));
    let value = &line[start..end.min(line.len())];
    let mut redactor = Redactor::new();
    redactor.add(REFERENCE, &SecretValue::new(value));
    let filter = Filter::new(VAULT.user(UserId::LOCAL)).redacting(&redactor);
    let passed = filter.server_message(line.as_bytes());
    let passed = str::from_utf8(&passed).expect("a line stays text");
    if serde_json::from_str::<IgnoredAny>(line).is_ok() {
        let is_json = serde_json::from_str::<IgnoredAny>(passed).is_ok();
        assert!(is_json, "{line}\nbecame\n{passed}");
    }
    // A shorter one may be a part of a word, an escape is found as what it says, spaces say nothing, and without its
    // keys no message arrives.
    let is_key = KEYS.iter().any(|key| key.contains(value));
    if value.len() >= 8 && !line.contains('\\') && !value.trim().is_empty() && !is_key {
        assert!(
            !passed.contains(value),
            "{value:?} in {line:?} became {passed:?}"
        );
    }
}

/// The arguments of a call are an object that was checked, or the call is refused.
fn from_a_client(arguments: &str) {
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"tool","arguments":{arguments}}}}}"#
    );
    let filter = Filter::new(VAULT.user(UserId::LOCAL));
    let passed = filter.client_message(call.as_bytes());
    let Ok(message) = serde_json::from_str::<serde_json::Value>(&call) else {
        return;
    };
    let Some(sent) = passed.to_server() else {
        assert!(passed.to_client().is_some());
        return;
    };
    let sent: serde_json::Value = serde_json::from_slice(sent).expect("a call stays JSON");
    let mut expected = message;
    if expected["method"] == "tools/call" && expected["params"]["name"] == "tool" {
        let arguments = &mut expected["params"]["arguments"];
        if arguments.is_null() {
            *arguments = serde_json::json!({});
        }
        assert!(arguments.is_object(), "{call}");
        arguments["a"] = KEY.into();
    }
    assert_eq!(sent, expected);
}
