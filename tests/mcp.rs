//! The filter between an MCP client and an MCP server, on the wire and on the types of `rmcp`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{InjectionPolicy, NewSecret, UserId, UserVault, Vault, mcp::Filter};
use serde_json::Value;

#[path = "mcp/awkward.rs"]
mod awkward;
#[path = "mcp/supplied.rs"]
mod supplied;
#[cfg(feature = "mcp-client")]
#[path = "mcp/transport.rs"]
mod transport;
#[path = "mcp/types.rs"]
mod types;

const KEY: &str = "lin_api_Zq8wT3vN";

fn user(policy: InjectionPolicy) -> UserVault {
    let vault = Vault::builder().injection_policy(policy).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    let linear = NewSecret::new("linear", KEY).bind("create_issue", "api_key");
    user.create(linear.default_for_tool()).unwrap();
    user
}

fn filter() -> Filter {
    Filter::new(user(InjectionPolicy::default().replace_supplied()))
}

/// A filter after a call that took the key to the server.
fn filter_that_knows_the_key() -> Filter {
    let filter = filter();
    let sent = to_server(&filter, &call("1", "{}")).unwrap();
    assert!(sent.contains(KEY));
    filter
}

fn call(id: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"create_issue","arguments":{arguments}}}}}"#
    )
}

fn to_server(filter: &Filter, message: &str) -> Option<String> {
    let passed = filter.client_message(message.as_bytes());
    passed
        .to_server()
        .map(|sent| String::from_utf8(sent.to_vec()).unwrap())
}

fn to_client(filter: &Filter, message: &str) -> String {
    String::from_utf8(filter.server_message(message.as_bytes()).into_owned()).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
