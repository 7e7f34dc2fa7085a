//! A filter between an MCP client and an MCP server, message by message, without any input or output of its own.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt, mem,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::{
    across,
    json::{self, Buffer, Changed},
    message::{AMBIGUOUS, arguments, id_key, may_be_call, refusal, refusal_of, tool_error},
    redaction::{self, Search},
};
use crate::{call::ToolCall, redact::Redactor, vault::UserVault, wiping};

/// Stands between one client and one server of the Model Context Protocol.
///
/// It takes the messages as they are on the wire, one JSON text each, and returns what to pass on in their place:
///
/// * in a server's answer to `tools/list`, the arguments that defaults will fill are removed from each tool's
///   `inputSchema`, as by [`UserVault::conceal`];
/// * in a `tools/call`, the secrets are put in, as by [`UserVault::inject`], with the tool's schema as the server
///   last listed it. A tool that the server did not list gets no default, nor does one whose schema cannot be read;
///   before there is any list, defaults go in wherever they match. A call whose `arguments` are neither an object nor
///   null is denied, as nothing can be checked there. A denied call does not reach the server: the
///   client gets a result with `isError`, without a value. Its text is the same whether or not the secret that a
///   reference names exists. The audit records the message's `id` as the [id of the call](ToolCall::with_id);
/// * a `tools/call` in which an object has a duplicate name is denied as well, because the server might read another
///   one of the two values than the one that was checked here. This covers the message itself, its `params`, and all
///   objects in the arguments. In the message and its `params`, names that differ only in case count as duplicates,
///   because some servers ignore case;
/// * in everything that a server sends (answers, errors, notifications and requests), every value that was put in so
///   far is redacted: in each string, key and number, and anywhere in what is not JSON. Where a value lies across
///   several of them, or is an object or an array itself, the smallest object, array or string with all of it is
///   replaced. What the client needs to recognize the message is left as it is: the keys of the protocol, the version
///   `2.0`, an `id` or `method` that is not an object or array, and `progressToken` and `requestId` in its `params`;
///   unless a value lies across one of these and what is around it.
///
/// Everything else is passed on as it is. A message in which nothing has to change is passed on byte for byte, and
/// in any other only what has to change differs, apart from bytes that are not UTF-8: they become U+FFFD.
///
/// ```
/// use keyward::{NewSecret, UserId, Vault, mcp::Filter};
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("create_issue", "api_key").default_for_tool())?;
/// let filter = Filter::new(user);
///
/// let call = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"create_issue","arguments":{"title":"x"}}}"#;
/// let passed = filter.client_message(call);
/// assert_eq!(
///     passed.to_server().unwrap(),
///     br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"create_issue","arguments":{"title":"x","api_key":"lin_api_Zq8wT3vN"}}}"#,
/// );
///
/// let answer = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"bad key lin_api_Zq8wT3vN"}]}}"#;
/// assert_eq!(
///     *filter.server_message(answer),
///     *br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"bad key secret://linear"}]}}"#,
/// );
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// The vault's [policy](crate::InjectionPolicy) decides what happens to a value that the model supplies at a hidden
/// argument. For a client that shows the model what is listed, choose to
/// [replace](crate::InjectionPolicy::replace_supplied) it.
pub struct Filter {
    user: UserVault,
    server: Option<String>,
    redactor: Mutex<Arc<Redactor>>,
    /// Each tool's input schema by name, as the server last listed it: it may repeat a value. `None` before there is
    /// any list.
    schemas: Mutex<Option<HashMap<String, Arc<wiping::Json>>>>,
    /// The ids of `tools/list` requests that are not answered yet.
    listings: Mutex<HashSet<String>>,
}

/// The outcome of a message from the client.
pub struct ClientMessage<'a> {
    to_server: Option<Passed<'a>>,
    to_client: Option<Vec<u8>>,
}

enum Passed<'a> {
    Unchanged(&'a [u8]),
    /// It may hold values.
    Changed(Zeroizing<Vec<u8>>),
}

impl ClientMessage<'_> {
    /// Returns what goes to the server, if anything.
    pub fn to_server(&self) -> Option<&[u8]> {
        self.to_server.as_ref().map(|passed| match passed {
            Passed::Unchanged(message) => *message,
            Passed::Changed(message) => message.as_slice(),
        })
    }

    /// Returns what goes back to the client at once, if anything: the answer to a denied call. It has no line end.
    pub fn to_client(&self) -> Option<&[u8]> {
        self.to_client.as_deref()
    }
}

impl fmt::Debug for ClientMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMessage")
            .field("goes_on", &self.to_server.is_some())
            .field("answered", &self.to_client.is_some())
            .finish()
    }
}

impl Filter {
    /// Creates a filter for one session of a client with a server, with this user's secrets.
    pub fn new(user: UserVault) -> Filter {
        Filter {
            user,
            server: None,
            redactor: Mutex::default(),
            schemas: Mutex::default(),
            listings: Mutex::default(),
        }
    }

    /// Names the server: its tool `create_issue` is then matched as `NAME__create_issue`. Messages keep the tool's
    /// own name.
    #[must_use]
    pub fn server(mut self, name: impl Into<String>) -> Filter {
        self.server = Some(name.into());
        self
    }

    /// Also redacts these values: those that the server was given in other ways, such as in its environment.
    #[must_use]
    pub fn redacting(self, redactor: &Redactor) -> Filter {
        self.learn(redactor);
        self
    }

    /// Returns the user whose secrets are put in.
    pub fn user(&self) -> &UserVault {
        &self.user
    }

    /// Returns a redactor that finds every value that the server was given so far.
    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&hold(&self.redactor))
    }

    /// Filters a message, or a batch of them, from the client.
    #[must_use = "what goes on is what this returns, and not the message"]
    pub fn client_message<'a>(&self, message: &'a [u8]) -> ClientMessage<'a> {
        let text = json::decode(message);
        let at = json::trimmed(&text);
        let unchanged = || ClientMessage {
            to_server: Some(Passed::Unchanged(message)),
            to_client: None,
        };
        let Some(batch) = json::elements(&text, at.clone()) else {
            return match self.request(&text, at.clone()) {
                Request::Unchanged => unchanged(),
                Request::Changed(changed) => {
                    let mut whole = Buffer::default();
                    whole.push(&text[..at.start]);
                    whole.push_bytes(&changed);
                    whole.push(&text[at.end..]);
                    ClientMessage {
                        to_server: Some(Passed::Changed(whole.into_bytes())),
                        to_client: None,
                    }
                }
                Request::Answered(answer) => ClientMessage {
                    to_server: None,
                    to_client: answer.map(String::into_bytes),
                },
            };
        };
        self.batch(&text, at, &batch).unwrap_or_else(unchanged)
    }

    /// Filters a message, or a batch of them, from the server. While the vault is locked, nothing is hidden in a list
    /// of tools, and no default goes in. Anything else is redacted as text: some programs write arbitrary output
    /// there. A value of several lines is found in such text only if all of its lines are passed at once.
    #[must_use = "what goes on is what this returns, and not the message"]
    pub fn server_message<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        let redactor = self.redactor();
        let mut text = json::decode(message);
        let across = across::redact_line(&text, &redactor);
        let is_across = across.is_some();
        let mut done = Vec::new();
        if let Some(mut across) = across {
            json::wipe(&mut text);
            text = Cow::Owned(mem::take(&mut *across.text));
            done = across.done;
        }
        let search = Search {
            redactor: &redactor,
            done: &done,
        };
        let at = json::trimmed(&text);
        let members = |at: Range<usize>| (at.clone(), json::members(&text, at));
        // A value can be a list itself. It is no batch.
        let is_value = redaction::is_structure(&text, at.clone(), &redactor);
        let parts = match json::elements(&text, at.clone()).filter(|_| !is_value) {
            Some(batch) => batch.into_iter().map(members).collect(),
            None => match members(at) {
                (_, None) => vec![(0..text.len(), None)],
                message => vec![message],
            },
        };
        let mut changed = Changed::from(&text, 0);
        let mut is_concealed = false;
        for (at, members) in parts {
            let new = match members {
                Some(members) => {
                    self.answer(&text, at.clone(), &members, search, &mut is_concealed)
                }
                None => redaction::redact_other(&text, at.clone(), search),
            };
            changed.replace(at, new);
        }
        match changed.up_to(text.len()) {
            Some(mut new) => {
                if is_concealed
                    && let Some(redacted) = across::redact_after_removal(&new, &redactor)
                {
                    new.zeroize();
                    new = redacted;
                }
                json::wipe(&mut text);
                Cow::Owned(new.into_bytes())
            }
            None if is_across => Cow::Owned(text.into_owned().into_bytes()),
            None => {
                json::wipe(&mut text);
                Cow::Borrowed(message)
            }
        }
    }

    /// Returns `None` if every message of the batch is passed on as it is.
    fn batch(
        &self,
        text: &str,
        at: Range<usize>,
        batch: &[Range<usize>],
    ) -> Option<ClientMessage<'static>> {
        let requests: Vec<Request> = batch
            .iter()
            .map(|at| self.request(text, at.clone()))
            .collect();
        if requests
            .iter()
            .all(|request| matches!(request, Request::Unchanged))
        {
            return None;
        }
        let mut whole = Buffer::default();
        let mut answers = Vec::new();
        let mut goes_on = 0;
        whole.push(&text[..at.start]);
        for (request, at) in requests.into_iter().zip(batch) {
            if let Request::Answered(answer) = request {
                answers.extend(answer);
                continue;
            }
            whole.push(if goes_on == 0 { "[" } else { "," });
            goes_on += 1;
            match request {
                Request::Changed(changed) => whole.push_bytes(&changed),
                _ => whole.push(&text[at.clone()]),
            }
        }
        whole.push("]");
        whole.push(&text[at.end..]);
        Some(ClientMessage {
            to_server: (goes_on > 0).then(|| Passed::Changed(whole.into_bytes())),
            to_client: (!answers.is_empty())
                .then(|| format!("[{}]", answers.join(",")).into_bytes()),
        })
    }

    fn request(&self, text: &str, at: Range<usize>) -> Request {
        let Some(message) = json::members(text, at.clone()) else {
            return Request::Unchanged;
        };
        let id = json::find(&message, "id").map(|at| &text[at]);
        let refused = |refusal: String| Request::Answered(id.map(|id| tool_error(id, &refusal)));
        if may_be_call(text, &message)
            && !json::are_unambiguous(&message, &["id", "method", "params"])
        {
            return refused(refusal(AMBIGUOUS));
        }
        let method = json::find(&message, "method").and_then(|at| json::string(text, at));
        match method.as_deref() {
            Some("tools/list") => {
                if let Some(key) = id.and_then(id_key) {
                    hold(&self.listings).insert(key);
                }
                Request::Unchanged
            }
            Some("tools/call") => {
                let params = json::find(&message, "params");
                match params.map_or(Ok(None), |params| self.call(text, &at, params, id)) {
                    Ok(None) => Request::Unchanged,
                    Ok(Some(changed)) => Request::Changed(changed),
                    Err(refusal) => refused(refusal),
                }
            }
            _ => Request::Unchanged,
        }
    }

    /// Returns the call with its secrets; `None` if it is passed on as it is.
    fn call(
        &self,
        text: &str,
        message: &Range<usize>,
        params: Range<usize>,
        id: Option<&str>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let Some(members) = json::members(text, params) else {
            return Ok(None);
        };
        if !json::are_unambiguous(&members, &["name", "arguments"]) {
            return Err(refusal(AMBIGUOUS));
        }
        let name = json::find(&members, "name").and_then(|at| json::string(text, at));
        let (Some(name), Some(last)) = (name, members.last()) else {
            return Ok(None);
        };
        let at = json::find(&members, "arguments");
        let mut args = arguments(text, at.clone())?;
        let schema = self.schema(&name);
        let id = id.map(|id| json::string(id, 0..id.len()).unwrap_or(Cow::Borrowed(id)));
        let call = self.tool_call(&name, schema.as_deref(), id);
        let injection = self.user.inject_value(&call, &mut args);
        let injection = injection.map_err(|error| refusal_of(&error))?;
        if injection.filled().is_empty() {
            return Ok(None);
        }
        // Before the server can have any of it.
        self.learn(injection.redactor());
        let mut changed = Buffer::default();
        if let Some(at) = at {
            changed.push(&text[message.start..at.start]);
            json::rewrite(text, at.clone(), &args, &mut changed);
            changed.push(&text[at.end..message.end]);
        } else {
            changed.push(&text[message.start..last.at.end]);
            changed.push(",\"arguments\":");
            changed.push_json(&*args);
            changed.push(&text[last.at.end..message.end]);
        }
        Ok(Some(changed.into_bytes()))
    }

    /// Returns what a message of the server becomes; `None` if it stays as it is. Tells whether something was hidden
    /// in it.
    fn answer(
        &self,
        text: &str,
        at: Range<usize>,
        members: &[json::Member<'_>],
        search: Search<'_>,
        is_concealed: &mut bool,
    ) -> Option<String> {
        let redacted = redaction::redact_message(text, at.clone(), members, search);
        if !self.is_listing(text, members) {
            return redacted;
        }
        let names = self.remember_listed(text, at.clone());
        // What is shown is copied here and there: a value in it must be gone before that.
        let (text, at) = match &redacted {
            Some(redacted) => (&**redacted, 0..redacted.len()),
            None => (text, at),
        };
        let mut changed = Changed::from(text, at.start);
        for (at, schema) in self.conceal(text, at.clone(), &names) {
            changed.replace(at, Some(schema.as_text()));
            *is_concealed = true;
        }
        changed.up_to(at.end).or(redacted)
    }

    /// Whether this is the answer to a `tools/list`.
    fn is_listing(&self, text: &str, members: &[json::Member<'_>]) -> bool {
        let mut listings = hold(&self.listings);
        if listings.is_empty() || json::find(members, "method").is_some() {
            return false;
        }
        let id = json::find(members, "id").and_then(|id| id_key(&text[id]));
        id.and_then(|id| listings.take(&id)).is_some() && json::find(members, "result").is_some()
    }

    /// Remembers the schemas in a list of tools. Returns the tools' names, as far as they have some.
    fn remember_listed(&self, text: &str, message: Range<usize>) -> Vec<Option<String>> {
        let mut schemas = Vec::new();
        let tools = listed_tools(text, message).into_iter();
        let names = tools
            .map(|tool| {
                let tool = json::members(text, tool)?;
                let name = json::string(text, json::find(&tool, "name")?)?.into_owned();
                let schema = json::find(&tool, "inputSchema").and_then(|at| json::parse(text, at));
                // If there is none, or it cannot be read, nothing is declared, even if an earlier list declared more.
                schemas.push((name.clone(), Arc::new(schema.unwrap_or_else(nothing))));
                Some(name)
            })
            .collect();
        self.remember(schemas);
        names
    }

    /// Returns the changes to the schemas in a list of the tools with these names: where they are, and what to put
    /// there.
    fn conceal(
        &self,
        text: &str,
        message: Range<usize>,
        names: &[Option<String>],
    ) -> Vec<(Range<usize>, Buffer)> {
        let mut changes = Vec::new();
        for (tool, name) in listed_tools(text, message).into_iter().zip(names) {
            let place = json::members(text, tool).and_then(|tool| json::find(&tool, "inputSchema"));
            let (Some(at), Some(name)) = (place, name) else {
                continue;
            };
            let Some(schema) = json::parse(text, at.clone()) else {
                continue;
            };
            let mut shown = Value::clone(&schema);
            // If the vault is locked, or worse, nothing is hidden; then nothing is put in either.
            let report = self.user.conceal(&self.matched_name(name), &mut shown);
            if report.is_ok() && shown != *schema {
                let mut rewritten = Buffer::default();
                json::rewrite(text, at.clone(), &shown, &mut rewritten);
                changes.push((at, rewritten));
            }
        }
        changes
    }

    /// Returns the schema that decides where a default may go. Once there is a list, a tool that is not on it
    /// declares nothing: a model that makes up a tool's name gets no secret sent there. Before there is any list,
    /// nothing is known.
    pub(super) fn schema(&self, tool: &str) -> Option<Arc<wiping::Json>> {
        let schemas = hold(&self.schemas);
        let schema = schemas.as_ref()?.get(tool);
        Some(schema.map_or_else(|| Arc::new(nothing()), Arc::clone))
    }

    /// Remembers the schemas in a list of tools, even if it is empty. A call that is on its way meanwhile is decided by
    /// what was known before the list or by all of it.
    pub(super) fn remember(&self, listed: Vec<(String, Arc<wiping::Json>)>) {
        let mut schemas = hold(&self.schemas);
        schemas.get_or_insert_default().extend(listed);
    }

    pub(super) fn tool_call<'a>(
        &self,
        tool: &str,
        schema: Option<&'a wiping::Json>,
        id: Option<Cow<'a, str>>,
    ) -> ToolCall<'a> {
        let mut call = ToolCall::new(self.matched_name(tool));
        if let Some(schema) = schema {
            call = call.with_schema(schema);
        }
        if let Some(id) = id {
            call = call.with_id(id);
        }
        call
    }

    pub(super) fn matched_name(&self, tool: &str) -> String {
        match &self.server {
            Some(server) => format!("{server}__{tool}"),
            None => tool.to_owned(),
        }
    }

    pub(super) fn learn(&self, redactor: &Redactor) {
        let mut known = hold(&self.redactor);
        // A conversation gives the same values over and over: nothing is copied then, and the index is kept.
        if !known.has_all(redactor) {
            let mut merged = Redactor::clone(&known);
            merged.merge(redactor);
            *known = Arc::new(merged);
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("user", &self.user)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

enum Request {
    Unchanged,
    Changed(Zeroizing<Vec<u8>>),
    /// Not for the server; `None` if nobody waits for an answer.
    Answered(Option<String>),
}

/// The schema of a tool that declares no argument.
fn nothing() -> wiping::Json {
    wiping::Json(json!({"properties": {}, "additionalProperties": false}))
}

/// Returns where the tools are in the answer to a `tools/list`.
fn listed_tools(text: &str, message: Range<usize>) -> Vec<Range<usize>> {
    let member = |at, key| json::find(&json::members(text, at)?, key);
    let tools = member(message, "result").and_then(|result| member(result, "tools"));
    tools
        .and_then(|tools| json::elements(text, tools))
        .unwrap_or_default()
}

/// What these locks guard is consistent even if a holder panics.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
