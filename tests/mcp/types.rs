//! The types of `rmcp`.

use std::{
    io,
    sync::{Arc, Mutex},
};

use keyward::{
    AuditEvent, AuditSink, ErrorKind, NewSecret, Redactor, SecretValue, UserId, Vault,
    audit::AuditAction, mcp::Filter,
};
#[expect(
    deprecated,
    reason = "sampling and logging are to go, and servers still use them"
)]
use rmcp::model::{
    CallToolRequestParams, CallToolResult, CreateMessageRequestParams, ElicitRequestParams,
    ErrorData, GetPromptResult, ListResourcesResult, ListToolsResult,
    LoggingMessageNotificationParam, ProgressNotificationParam, ReadResourceResult,
    ServerJsonRpcMessage,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, from_value, json, to_value};

use super::{KEY, filter, filter_that_knows_the_key};

/// Reads a message as this type, redacts it, and compares it with the same message with a reference instead.
fn redacts<T: Serialize + DeserializeOwned>(message: Value) {
    let what = std::any::type_name::<T>();
    let typed: T = from_value(message).unwrap();
    let before = to_value(&typed).unwrap().to_string();
    assert!(before.matches(KEY).count() >= 2, "{what}: {before}");
    let after = filter_that_knows_the_key().redact(typed).unwrap();
    let expected: Value = serde_json::from_str(&before.replace(KEY, "secret://linear")).unwrap();
    assert_eq!(to_value(&after).unwrap(), expected, "{what}");
}

#[test]
#[expect(
    deprecated,
    reason = "sampling and logging are to go, and servers still use them"
)]
fn everything_that_a_server_sends_is_redacted() {
    let text = json!({"type": "text", "text": format!("Bearer {KEY}")});
    let contents = json!({"uri": format!("memo://{KEY}"), "mimeType": "text/plain", "text": KEY});
    redacts::<CallToolResult>(json!({
        "content": [
            text,
            {"type": "resource", "resource": contents},
            {"type": "resource_link", "uri": format!("https://x.example/?key={KEY}"), "name": KEY},
        ],
        "structuredContent": {KEY: [KEY, {"deep": {KEY: format!("{{\"quoted\":\"{KEY}\"}}")}}]},
        "isError": true,
        "_meta": {"trace": KEY},
    }));
    redacts::<ErrorData>(
        json!({"code": -32000, "message": format!("401 {KEY}"), "data": {KEY: KEY}}),
    );
    redacts::<ProgressNotificationParam>(json!({
        "progressToken": 1, "progress": 0.5, "total": 1.0, "message": format!("{KEY}, then {KEY}"),
    }));
    redacts::<LoggingMessageNotificationParam>(
        json!({"level": "error", "logger": KEY, "data": {"key": KEY, KEY: 1}}),
    );
    redacts::<CreateMessageRequestParams>(json!({
        "messages": [{"role": "user", "content": text}], "systemPrompt": KEY, "maxTokens": 10,
    }));
    redacts::<ElicitRequestParams>(json!({
        "mode": "form",
        "message": format!("Is {KEY} right?"),
        "requestedSchema": {"type": "object", "properties": {"ok": {"type": "boolean", "description": KEY}}},
    }));
    redacts::<ReadResourceResult>(json!({"contents": [contents]}));
    redacts::<GetPromptResult>(
        json!({"description": KEY, "messages": [{"role": "user", "content": text}]}),
    );
    redacts::<ListResourcesResult>(
        json!({"resources": [{"uri": format!("memo://{KEY}"), "name": KEY}]}),
    );
    for message in [
        json!({"id": 1, "result": {"content": [text, text]}}),
        json!({"id": 1, "error": {"code": -32000, "message": KEY, "data": KEY}}),
        json!({"method": "notifications/progress", "params": {"progressToken": KEY, "progress": 1.0, "message": KEY}}),
        json!({"method": "notifications/message", "params": {"level": "info", "data": [KEY, KEY]}}),
        json!({"method": "notifications/resources/updated", "params": {"uri": format!("memo://{KEY}/{KEY}")}}),
        json!({"id": "s", "method": "sampling/createMessage",
               "params": {"messages": [{"role": "user", "content": text}], "systemPrompt": KEY, "maxTokens": 10}}),
    ] {
        let mut message = message;
        message["jsonrpc"] = json!("2.0");
        redacts::<ServerJsonRpcMessage>(message);
    }
}

#[test]
fn a_message_without_room_for_a_reference_is_an_error_that_does_not_repeat_it() {
    let mut digits = Redactor::new();
    digits.add("secret://pin", &SecretValue::new("12345678"));
    let filter = filter().redacting(&digits);
    let progress = json!({"progressToken": 1, "progress": 12345678.0});
    let typed: ProgressNotificationParam = from_value(progress).unwrap();
    let error = filter.redact(typed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!format!("{error} {error:?}").contains("12345678"));
}

#[test]
fn nothing_is_redacted_before_anything_was_put_in() {
    let result: CallToolResult =
        from_value(json!({"content": [{"type": "text", "text": KEY}]})).unwrap();
    assert_eq!(filter().redact(result.clone()).unwrap(), result);
}

fn listed() -> ListToolsResult {
    let text = json!({"type": "string"});
    let tool = |name: &str, properties: Value, required: Value| json!({"name": name, "inputSchema": {"type": "object", "properties": properties, "required": required}});
    from_value(json!({
        "tools": [
            tool("create_issue", json!({"title": text, "api_key": text}), json!(["title", "api_key"])),
            tool("search", json!({"query": text}), json!(["query"])),
        ],
        "nextCursor": "2",
    }))
    .unwrap()
}

#[test]
fn a_list_of_tools_hides_what_is_filled_and_decides_over_calls() {
    let filter = filter();
    // It goes wherever it is bound to, but not to a tool that does not declare it.
    let everywhere = NewSecret::new("everywhere", "value-of-everywhere").bind("*", "api_key");
    filter.user().create(everywhere.default_for_tool()).unwrap();
    let (before, mut shown) = (listed(), listed());
    let reports = filter.conceal_tools(&mut shown).unwrap();
    let hidden: Vec<usize> = reports.iter().map(|report| report.hidden().len()).collect();
    assert_eq!(hidden, [1, 0]);
    let schema = Value::Object((*shown.tools[0].input_schema).clone());
    let title = json!({"title": {"type": "string"}});
    assert_eq!(
        schema,
        json!({"type": "object", "properties": title, "required": ["title"]})
    );
    assert_eq!(shown.tools[1], before.tools[1]);
    assert_eq!(shown.next_cursor, before.next_cursor);

    for (tool, expected) in [
        ("create_issue", true),
        ("search", false),
        ("made_up", false),
    ] {
        let mut call = CallToolRequestParams::new(tool);
        let injection = filter.inject_call(&mut call).unwrap();
        assert_eq!(injection.filled().len(), usize::from(expected), "{tool}");
        assert_eq!(call.arguments.is_some(), expected, "{tool}");
    }
}

#[test]
fn a_list_without_any_tools_is_a_list() {
    let filter = filter();
    let mut call = CallToolRequestParams::new("create_issue");
    assert_eq!(filter.inject_call(&mut call).unwrap().filled().len(), 1);
    let mut empty: ListToolsResult = from_value(json!({"tools": []})).unwrap();
    filter.conceal_tools(&mut empty).unwrap();
    let mut call = CallToolRequestParams::new("create_issue");
    assert!(filter.inject_call(&mut call).unwrap().filled().is_empty());
}

#[test]
fn a_locked_vault_conceals_nothing_and_puts_nothing_in() {
    let vault = Vault::builder()
        .in_memory_with_key(keyward::KeySource::raw([7; 32]))
        .unwrap();
    let filter = Filter::new(vault.user(UserId::LOCAL));
    vault.lock().unwrap();
    let mut shown = listed();
    assert_eq!(
        filter.conceal_tools(&mut shown).unwrap_err().kind(),
        ErrorKind::Locked
    );
    assert_eq!(shown, listed());
    let mut call = CallToolRequestParams::new("create_issue");
    let error = filter.inject_call(&mut call).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(call, CallToolRequestParams::new("create_issue"));

    // The client has the list nevertheless, and calls what is in it.
    vault.unlock(keyward::KeySource::raw([7; 32])).unwrap();
    let linear = NewSecret::new("linear", KEY).bind("create_issue", "api_key");
    let linear = linear.default_for_tool();
    vault.user(UserId::LOCAL).create(linear).unwrap();
    assert_eq!(filter.inject_call(&mut call).unwrap().filled().len(), 1);
    vault.lock().unwrap();

    // The model, which can unlock nothing, is not told to.
    let says = "the tool was not called: its credentials are not available at the moment (locked); repeating the \
                call does not help, but whoever runs this program can";
    let result = Filter::refused_call(&error);
    assert_eq!(result.content[0].as_text().unwrap().text, says);
    let message = crate::call("1", "{}");
    let answer = filter.client_message(message.as_bytes());
    let answer = crate::parsed(std::str::from_utf8(answer.to_client().unwrap()).unwrap());
    assert_eq!(answer["result"]["content"][0]["text"], says);
}

#[test]
fn a_refused_call_is_an_error_in_the_same_words_whether_the_secret_exists_or_not() {
    let filter = filter();
    let refused = |name: &str| {
        let params = json!({"name": "send", "arguments": {"body": format!("secret://{name}")}});
        let mut call: CallToolRequestParams = from_value(params).unwrap();
        Filter::refused_call(&filter.inject_call(&mut call).unwrap_err())
    };
    let result = refused("linear");
    assert_eq!(result, refused("nosuch"));
    assert_eq!(result.is_error, Some(true));
    let text = &result.content[0].as_text().unwrap().text;
    assert!(text.contains("/body") && !text.contains("linear"), "{text}");
}

#[derive(Default)]
struct Calls(Mutex<Vec<(AuditAction, Option<String>)>>);

impl AuditSink for Calls {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .push((event.action, event.call_id.clone()));
        Ok(())
    }
}

#[test]
fn the_audit_has_the_id_of_a_call_that_has_one() {
    let calls = Arc::new(Calls::default());
    let vault = Vault::builder()
        .audit(Arc::clone(&calls))
        .in_memory()
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    let linear = NewSecret::new("linear", KEY).bind("create_issue", "api_key");
    user.create(linear.default_for_tool()).unwrap();
    let filter = Filter::new(user);
    calls.0.lock().unwrap().clear();

    let mut call = CallToolRequestParams::new("create_issue");
    let _ = filter.inject_call_with_id(&mut call, "toolu_7").unwrap();
    assert_eq!(call.arguments.unwrap()["api_key"], KEY);
    let params = json!({"name": "send", "arguments": {"body": "secret://linear"}});
    let mut denied: CallToolRequestParams = from_value(params).unwrap();
    filter
        .inject_call_with_id(&mut denied, "toolu_8")
        .unwrap_err();
    let _ = filter
        .inject_call(&mut CallToolRequestParams::new("create_issue"))
        .unwrap();

    let id = |id: &str| Some(id.to_owned());
    assert_eq!(
        *calls.0.lock().unwrap(),
        [
            (AuditAction::Injected, id("toolu_7")),
            (AuditAction::Denied, id("toolu_8")),
            (AuditAction::Injected, None),
        ]
    );
}

#[test]
fn a_schema_that_is_a_value_is_not_shown() {
    let schema = json!({"type": "object", "key": "4QvT9sLm"});
    let mut redactor = Redactor::new();
    redactor.add("secret://schema", &SecretValue::new(schema.to_string()));
    let filter = filter().redacting(&redactor);
    let listed = json!({"tools": [{"name": "x", "inputSchema": schema}]});
    let mut listed: ListToolsResult = from_value(listed).unwrap();
    filter.conceal_tools(&mut listed).unwrap();
    assert!(!json!(listed).to_string().contains("4QvT9sLm"));
}

/// Beside an argument that is hidden there can be the rest of a list that is a value.
#[test]
fn what_is_left_of_a_schema_can_be_a_value() {
    let mut redactor = Redactor::new();
    redactor.add("secret://keys", &SecretValue::new(r#"["key-1","key-2"]"#));
    let filter = filter().redacting(&redactor);
    let required = ["api_key", "key-1", "key-2"];
    let schema = json!({"type": "object", "properties": {"api_key": {}}, "required": required});
    let listed = json!({"tools": [{"name": "create_issue", "inputSchema": schema}]});
    let mut listed: ListToolsResult = from_value(listed).unwrap();
    filter.conceal_tools(&mut listed).unwrap();
    let shown = &listed.tools[0].input_schema;
    assert_eq!(shown["required"], "secret://keys");
}
