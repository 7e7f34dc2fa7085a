//! The filter on the types of the `rmcp` crate.

use std::{borrow::Cow, sync::Arc};

use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, ListToolsResult, Tool};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Filter, message::refusal_of};
use crate::{
    conceal::Concealment,
    error::{Error, ErrorKind},
    inject::Injection,
    wiping,
};

/// For runtimes that have an MCP client in Rust.
///
/// **If that client is rmcp's, use `FilteredTransport` instead** (feature `mcp-client`). rmcp logs messages by itself,
/// with the values that go through it: notifications at level `INFO`, requests of the server at `DEBUG`, and all
/// messages, with the arguments that were put in, at `TRACE`. What is called here comes too late for the
/// server's messages and too early for the arguments. It is for clients that only use the types, or that leave rmcp out
/// of their logs.
///
/// ```
/// use keyward::{NewSecret, UserId, Vault, mcp::Filter};
/// use rmcp::model::{CallToolRequestParams, CallToolResult, ListToolsResult};
/// use serde_json::{from_value, json};
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("linear__*", "api_key").default_for_tool())?;
/// let filter = Filter::new(user).server("linear");
///
/// // What the server listed, before the model sees it.
/// let schema = json!({"type": "object", "properties": {"title": {"type": "string"}, "api_key": {"type": "string"}}});
/// let mut listed: ListToolsResult =
///     from_value(json!({"tools": [{"name": "create_issue", "inputSchema": schema}]})).unwrap();
/// filter.conceal_tools(&mut listed)?;
/// assert!(!listed.tools[0].input_schema["properties"].as_object().unwrap().contains_key("api_key"));
///
/// // What the model calls, before it goes to the server.
/// let mut call: CallToolRequestParams =
///     from_value(json!({"name": "create_issue", "arguments": {"title": "Login fails"}})).unwrap();
/// let injection = match filter.inject_call(&mut call) {
///     Ok(injection) => injection,
///     Err(error) => panic!("the model gets {:?}", Filter::refused_call(&error)),
/// };
/// assert_eq!(call.arguments.as_ref().unwrap()["api_key"], "lin_api_Zq8wT3vN");
///
/// // What the server answered, before the model sees it; the arguments, before they are recorded.
/// let result: CallToolResult =
///     from_value(json!({"content": [{"type": "text", "text": "401: bad key lin_api_Zq8wT3vN"}]})).unwrap();
/// let result = filter.redact(result)?;
/// assert_eq!(result.content[0].as_text().unwrap().text, "401: bad key secret://linear");
/// if let Some(args) = &mut call.arguments {
///     injection.wipe(args);
/// }
/// assert!(!call.arguments.unwrap().contains_key("api_key"));
/// # Ok::<(), keyward::Error>(())
/// ```
impl Filter {
    /// Removes the arguments that defaults will fill from each tool's schema, and remembers the original schemas for
    /// [`inject_call`](Filter::inject_call). Returns what was done to each tool, in order. Values that were put in so
    /// far are redacted in the schemas, and nowhere else in the list: for that there is [`redact`](Filter::redact).
    ///
    /// # Errors
    ///
    /// Those of [`UserVault::conceal`](crate::UserVault::conceal). The tools before the one that failed are then
    /// already concealed and redacted.
    pub fn conceal_tools(&self, listed: &mut ListToolsResult) -> Result<Vec<Concealment>, Error> {
        let redactor = self.redactor();
        // All of them, even if one cannot be concealed: the calls are of tools that the client has seen.
        let schemas: Vec<_> = listed
            .tools
            .iter()
            .map(|tool| {
                let schema = wiping::Json(Value::Object((*tool.input_schema).clone()));
                (tool.name.to_string(), Arc::new(schema))
            })
            .collect();
        let conceal = |(tool, (_, schema)): (&mut Tool, &(String, Arc<wiping::Json>))| {
            let mut shown = Value::clone(schema);
            redactor.redact_json(&mut shown);
            let name = self.matched_name(&tool.name);
            let report = self.user().conceal(&name, &mut shown)?;
            // What is left of it can be a value.
            redactor.redact_structures(&mut shown);
            // A schema that was a value as a whole is a reference now, and says nothing.
            tool.input_schema = Arc::new(match shown {
                Value::Object(shown) => shown,
                _ => Map::new(),
            });
            Ok(report)
        };
        let reports = listed.tools.iter_mut().zip(&schemas).map(conceal).collect();
        self.remember(schemas);
        reports
    }

    /// Puts the right secrets into a call's arguments, as [`UserVault::inject`](crate::UserVault::inject) does. From
    /// then on, [`redact`](Filter::redact) finds them.
    ///
    /// # Errors
    ///
    /// As for [`UserVault::inject`](crate::UserVault::inject): the call is then unchanged, and must not be sent. See
    /// [`refused_call`](Filter::refused_call).
    pub fn inject_call(&self, call: &mut CallToolRequestParams) -> Result<Injection, Error> {
        self.inject(call, None)
    }

    /// Does what [`inject_call`](Filter::inject_call) does, and records `id` in the audit as the [call's
    /// id](crate::ToolCall::with_id): the one that the model gave it, or that of the request if the runtime makes those
    /// itself.
    ///
    /// # Errors
    ///
    /// As for [`inject_call`](Filter::inject_call).
    pub fn inject_call_with_id(
        &self,
        call: &mut CallToolRequestParams,
        id: &str,
    ) -> Result<Injection, Error> {
        self.inject(call, Some(id))
    }

    fn inject(
        &self,
        call: &mut CallToolRequestParams,
        id: Option<&str>,
    ) -> Result<Injection, Error> {
        let schema = self.schema(&call.name);
        let tool = self.tool_call(&call.name, schema.as_deref(), id.map(Cow::Borrowed));
        let had_arguments = call.arguments.is_some();
        let args = call.arguments.get_or_insert_default();
        let injection = self.user().inject(&tool, args);
        if !had_arguments && args.is_empty() {
            call.arguments = None;
        }
        let injection = injection?;
        self.learn(injection.redactor());
        Ok(injection)
    }

    /// Returns what the model gets in place of a result when a call was not sent: an error that it can understand,
    /// without a value. For a reference that is not granted it is the same whether the secret exists or not. Where
    /// the model can do nothing, as about a locked vault, it says no more than that.
    pub fn refused_call(error: &Error) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(refusal_of(error))])
    }

    /// Redacts anything that a server sends (a result, an error, a notification or a request), in all its strings
    /// and keys, with every value that was put in so far.
    ///
    /// # Errors
    ///
    /// `Unsupported` if a value is where the type cannot hold a reference, such as in a number. The message is then
    /// lost.
    pub fn redact<T: Serialize + DeserializeOwned>(&self, message: T) -> Result<T, Error> {
        let redactor = self.redactor();
        if redactor.is_empty() {
            return Ok(message);
        }
        // The source of such an error can quote the message.
        let unsupported = |_| {
            let message = "a value is where this message cannot hold a reference: drop the message";
            Error::new(ErrorKind::Unsupported, message)
        };
        let mut json = serde_json::to_value(&message).map_err(unsupported)?;
        drop(message);
        redactor.redact_json(&mut json);
        serde_json::from_value(json).map_err(unsupported)
    }
}
