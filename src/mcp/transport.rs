//! The filter below a client of the `rmcp` crate.

use std::{
    any::Any,
    borrow::Cow,
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    io::{self, Write as _},
    sync::Arc,
};

use rmcp::{
    RoleClient,
    model::{
        ClientJsonRpcMessage, ClientRequest, CustomRequest, ErrorData, GetExtensions,
        JsonRpcMessage, JsonRpcRequest, RequestId, ServerJsonRpcMessage, ServerRequest,
    },
    service::InboundStreamOrigin,
    transport::Transport,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Filter, json::Buffer};
use crate::redact::Redactor;

/// A transport for a client of the `rmcp` crate that passes every message through a [`Filter`], so that what the client
/// holds, and logs, is redacted.
///
/// It stands between rmcp and the transport that reaches the server:
///
/// * in a call of a tool, the secrets are put in after rmcp let go of it. A denied call is not sent: rmcp receives
///   [the answer](Filter::refused_call) at once;
/// * everything that the server sends is redacted, and lists of tools are concealed, before rmcp receives it.
///
/// Do not call [`conceal_tools`](Filter::conceal_tools), [`inject_call`](Filter::inject_call) or
/// [`redact`](Filter::redact) as well.
///
/// ```
/// use std::sync::Arc;
/// use keyward::{NewSecret, UserId, Vault, mcp::{Filter, FilteredTransport}};
/// use rmcp::{ServiceExt, model::CallToolRequestParams, transport::async_rw::AsyncRwTransport};
/// # use serde_json::{Value, json};
/// # use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
/// #
/// # /// A server that says which key it was given.
/// # async fn serve(stream: DuplexStream) {
/// #     let (read, mut write) = tokio::io::split(stream);
/// #     let mut lines = BufReader::new(read).lines();
/// #     while let Some(line) = lines.next_line().await.unwrap() {
/// #         let message: Value = serde_json::from_str(&line).unwrap();
/// #         let result = match message["method"].as_str() {
/// #             Some("initialize") => json!({
/// #                 "protocolVersion": message["params"]["protocolVersion"],
/// #                 "capabilities": {"tools": {}},
/// #                 "serverInfo": {"name": "linear", "version": "1"},
/// #             }),
/// #             Some("tools/call") => {
/// #                 let key = &message["params"]["arguments"]["api_key"];
/// #                 let text = format!("401: bad key {}", key.as_str().unwrap());
/// #                 json!({"content": [{"type": "text", "text": text}], "isError": true})
/// #             }
/// #             _ => continue,
/// #         };
/// #         let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
/// #         write.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
/// #     }
/// # }
/// #
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("linear__*", "api_key").default_for_tool())?;
/// let filter = Arc::new(Filter::new(user).server("linear"));
///
/// let (stream, server) = tokio::io::duplex(4096);
/// # tokio::spawn(serve(server));
/// let (read, write) = tokio::io::split(stream);
/// let transport = FilteredTransport::new(AsyncRwTransport::new(read, write), filter);
/// let client = ().serve(transport).await?;
///
/// // The server was given the key, and said so.
/// let result = client.call_tool(CallToolRequestParams::new("create_issue")).await?;
/// assert_eq!(result.content[0].as_text().unwrap().text, "401: bad key secret://linear");
/// # client.cancel().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The inner transport is anything that is a [`Transport`] for clients: a child process, HTTP, or two streams. The
/// order of what is sent, and how much may be under way, are the inner transport's. Each side's messages are passed on
/// whatever the other side does: only the answers to denied calls wait here, no more of them than there were such
/// calls.
///
/// A message that nothing changes is passed on as it is. One that changes is read again from its redacted text, in
/// which a fraction can differ in its last digit. If a reference stands where rmcp expects something else, such as a
/// number, rmcp receives the message as a custom one, or an error in place of an answer: whoever waits for an answer
/// gets one. A notification that cannot be read at all is dropped.
///
/// # Blocking
///
/// Filtering does not wait, if the user is [loaded](crate::UserVault::load) and the vault's
/// [`AuditSink`](crate::AuditSink), if it has one, does not wait: `send` and `receive` call it on the thread of the
/// async runtime.
///
/// # Errors
///
/// The errors of the inner transport, as [`io::Error`]s: one that is an `io::Error` stays what it is, and any other is
/// [inside](io::Error::get_ref). An error whose text holds a value, as one can that quotes an HTTP body, is replaced by
/// its redacted text. A value of which it quotes only the beginning is not found.
///
/// # Security
///
/// What is above this transport holds no value, other than where the [`Filter`] leaves one: at the `id` and the
/// `method` of a message, its `progressToken` and its `requestId`. What is below it does:
///
/// * **The inner transport can log values.** Those of rmcp log what they cannot read as a message, such as what a
///   server prints for debugging, whole and at level `DEBUG`; and the errors that its HTTP transport logs, at higher
///   levels, can quote an answer. Leave the target `rmcp::transport` out of the logs. rmcp's other parts may be logged
///   at every level.
/// * **It frees what it was given, and what it received, without wiping it.** So does rmcp where it writes and reads
///   messages as JSON. The text that this transport itself makes is wiped.
/// * **What else it does is not seen here:** what a child process prints to its standard error, and what is in the
///   extensions that a transport adds to a message.
pub struct FilteredTransport<T> {
    inner: T,
    filter: Arc<Filter>,
    /// What rmcp is to receive without the server having sent it.
    ///
    /// No channel: both `send` and `receive` have the transport to themselves, so nobody can be waiting in `receive`
    /// while this gets longer.
    answers: VecDeque<ServerJsonRpcMessage>,
}

impl<T> FilteredTransport<T> {
    /// Puts a filter above a transport. The filter is for one session: make another one for each connection. Keep a
    /// clone of the [`Arc`] to redact what goes around the transport, with [`Filter::redactor`].
    pub fn new(inner: T, filter: impl Into<Arc<Filter>>) -> FilteredTransport<T> {
        FilteredTransport {
            inner,
            filter: filter.into(),
            answers: VecDeque::new(),
        }
    }

    /// Returns what the server gets, if anything.
    fn outgoing(&mut self, mut message: ClientJsonRpcMessage) -> Option<ClientJsonRpcMessage> {
        let id = match &mut message {
            JsonRpcMessage::Request(JsonRpcRequest { id, request, .. }) => {
                if let ClientRequest::CallToolRequest(call) = request {
                    let id = id.clone();
                    // Not as text: there is no other copy of a value than the one that is sent.
                    let injected = self
                        .filter
                        .inject_call_with_id(&mut call.params, &id.to_string());
                    let Err(denied) = injected else {
                        return Some(message);
                    };
                    let refused = Filter::refused_call(&denied);
                    let answer = JsonRpcMessage::response(refused.into(), id);
                    self.answers.push_back(answer);
                    return None;
                }
                Some(id.clone())
            }
            JsonRpcMessage::Notification(_) => None,
            // The filter passes these on as they are.
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => return Some(message),
        };
        // It holds no value yet, and the inner transport cannot write it either: it reports that.
        let Some(text) = to_json(&message) else {
            return Some(message);
        };
        let passed = self.filter.client_message(&text);
        if let Some(answer) = passed.to_client() {
            let answer = serde_json::from_slice(answer).unwrap_or_else(|_| unreadable(id.clone()));
            self.answers.push_back(answer);
        }
        let changed = passed.to_server()?;
        if changed == text.as_slice() {
            return Some(message);
        }
        // A call that rmcp does not know to be one.
        let changed = serde_json::from_slice(changed).ok();
        if changed.is_none() && id.is_some() {
            self.answers.push_back(unreadable(id));
        }
        changed
    }

    /// Returns what rmcp receives, if anything.
    fn incoming(&self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        let Some(text) = to_json(&message) else {
            return in_place_of(message);
        };
        let Cow::Owned(redacted) = self.filter.server_message(&text) else {
            return Some(message);
        };
        let Ok(mut redacted) = serde_json::from_slice(&redacted) else {
            return in_place_of(message);
        };
        // Nothing else that is beside the text is carried over: it may hold what the text no longer does.
        if let JsonRpcMessage::Request(old) = &message
            && let JsonRpcMessage::Request(new) = &mut redacted
        {
            let new: &mut JsonRpcRequest<ServerRequest> = new;
            if let Some(origin) = old.request.extensions().get::<InboundStreamOrigin>() {
                new.request.extensions_mut().insert(origin.clone());
            }
        }
        Some(redacted)
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for FilteredTransport<T> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        // Here, and not in the future: messages are filtered and handed on in the order in which they come.
        let message = self.outgoing(message);
        let sent = message.map(|message| self.inner.send(message));
        let filter = Arc::clone(&self.filter);
        async move {
            match sent {
                Some(sent) => sent
                    .await
                    .map_err(|error| redacted_error(error, &filter.redactor())),
                None => Ok(()),
            }
        }
    }

    /// Safe to cancel if the inner transport is: nothing that was received is held while this waits.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        loop {
            let message = self.inner.receive().await?;
            if let Some(message) = self.incoming(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        let closed = self.inner.close().await;
        closed.map_err(|error| redacted_error(error, &self.filter.redactor()))
    }
}

impl<T> fmt::Debug for FilteredTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilteredTransport")
            .field("filter", &self.filter)
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

/// Returns a message as JSON text; `None` if it cannot be written as JSON.
fn to_json(message: &impl Serialize) -> Option<Zeroizing<Vec<u8>>> {
    let mut text = Buffer::default();
    serde_json::to_writer(&mut text, message).ok()?;
    Some(text.into_bytes())
}

/// What rmcp receives in place of a message that is lost, if anybody would wait for it.
fn in_place_of(lost: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
    match lost {
        JsonRpcMessage::Response(answer) => Some(unreadable(Some(answer.id))),
        JsonRpcMessage::Error(answer) => Some(unreadable(answer.id)),
        // The server waits. rmcp answers a request that it does not know.
        JsonRpcMessage::Request(JsonRpcRequest { id, .. }) => {
            let unknown = CustomRequest::new("keyward/unreadable", None);
            Some(JsonRpcMessage::request(unknown.into(), id))
        }
        JsonRpcMessage::Notification(_) => None,
    }
}

fn unreadable(id: Option<RequestId>) -> ServerJsonRpcMessage {
    let message = "keyward: a value is where this message cannot hold a reference, and the message was dropped";
    JsonRpcMessage::error(ErrorData::internal_error(message, None), id)
}

/// Keeps an error whose text holds no value, so that its cause can still be told, and the text alone of any other.
fn redacted_error(error: impl StdError + Send + Sync + 'static, redactor: &Redactor) -> io::Error {
    // A `String` would leave copies behind where it grows.
    let mut all = Buffer::default();
    let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(error) = next {
        let _ = write!(all, "{error}\n{error:?}\n");
        next = error.source();
    }
    if matches!(redactor.redact_bytes(&all.into_bytes()), Cow::Owned(_)) {
        let kind = (&error as &dyn Any)
            .downcast_ref()
            .map_or(io::ErrorKind::Other, io::Error::kind);
        let mut shown = Buffer::default();
        let _ = write!(shown, "{error}");
        let shown = shown.into_bytes();
        let redacted = redactor.redact_bytes(&shown);
        return io::Error::new(kind, String::from_utf8_lossy(&redacted).into_owned());
    }
    let error: Box<dyn StdError + Send + Sync> = Box::new(error);
    match error.downcast::<io::Error>() {
        Ok(error) => *error,
        Err(error) => io::Error::other(error),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{
        memory_scan::{deep, in_child},
        secret::SecretValue,
    };

    /// An error that quotes what a server answered.
    struct Quoting(Zeroizing<String>);

    impl fmt::Display for Quoting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "401: {}", *self.0)?;
            for _ in 0..8 {
                // What is allocated behind a buffer makes it move when it grows.
                Box::leak(Box::new([0_u8; 24]));
                f.write_str(&"-".repeat(100))?;
            }
            Ok(())
        }
    }

    impl fmt::Debug for Quoting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }

    impl StdError for Quoting {}

    #[test]
    fn no_error_leaves_a_copy_of_a_value() {
        let test = "mcp::transport::tests::no_error_leaves_a_copy_of_a_value";
        in_child(test, |memory| {
            let value = memory.canary("value", 60);
            deep(|| {
                let mut redactor = Redactor::new();
                redactor.add("secret://a", &SecretValue::new(value.unwiped()));
                let shown = redacted_error(Quoting(value.wiped()), &redactor).to_string();
                assert!(shown.starts_with("401: secret://a-"), "{shown}");
            });
            memory.assert_clean("an error was redacted");
        });
    }
}
