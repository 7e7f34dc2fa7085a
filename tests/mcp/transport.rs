//! The transport below a client of `rmcp`. The server at its other end is written by hand.

use std::{
    collections::VecDeque,
    error::Error,
    fmt::{self, Write as _},
    future::{Future, pending, ready},
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use keyward::{
    Redactor, SecretValue,
    mcp::{Filter, FilteredTransport},
};
use rmcp::{
    RoleClient, Service, ServiceError, ServiceExt,
    model::{
        CallToolRequestParams, ClientConfig, ClientJsonRpcMessage, ClientRequest, ClientResult,
        CustomRequest, ErrorData, GetExtensions, JsonRpcMessage, ReadResourceRequestParams,
        ServerJsonRpcMessage, ServerNotification, ServerRequest,
    },
    service::{
        InboundStreamOrigin, NotificationContext, QuitReason, RequestContext, RunningService,
    },
    transport::{Transport, async_rw::AsyncRwTransport},
};
use serde_json::{Value, from_value, json, to_value};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
        duplex, split,
    },
    runtime,
    time::timeout,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber,
};

use super::{KEY, filter, filter_that_knows_the_key};

const REFERENCE: &str = "secret://linear";

/// Runs a test, and fails it if everybody waits for somebody else. The clock stands still, and moves on only when there
/// is nothing else to do: no limit is too short.
fn run(test: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let test = async { timeout(Duration::from_hours(1), test).await };
    runtime.unwrap().block_on(test).unwrap();
}

/// The other end of a stream.
struct Server {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    write: WriteHalf<DuplexStream>,
}

impl Server {
    /// Returns `None` once the client closed its end.
    async fn hear(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    async fn say(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        let line = format!("{message}\n");
        self.write.write_all(line.as_bytes()).await.unwrap();
    }

    /// Hears a request, and answers it.
    async fn answer(&mut self, method: &str, result: Value) -> Value {
        let request = self.hear().await.unwrap();
        assert_eq!(request["method"], method);
        self.say(json!({"id": request["id"], "result": result}))
            .await;
        request
    }
}

/// A client that keeps everything that it receives, as it would show it.
#[derive(Clone, Default)]
struct Client(Arc<Mutex<Vec<String>>>);

impl Client {
    fn keep(&self, received: &impl fmt::Debug) {
        self.0.lock().unwrap().push(format!("{received:?}"));
    }

    fn received(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Service<RoleClient> for Client {
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        self.keep(&(request, context.id, context.meta));
        Ok(ClientResult::empty(()))
    }

    async fn handle_notification(
        &self,
        notification: ServerNotification,
        context: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        self.keep(&(notification, context.meta));
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }
}

/// Connects a client to a server.
async fn connect(filter: Filter) -> (RunningService<RoleClient, Client>, Server) {
    let (ours, theirs) = duplex(1 << 16);
    let (read, write) = split(ours);
    let transport = FilteredTransport::new(AsyncRwTransport::new(read, write), filter);
    let (read, write) = split(theirs);
    let mut server = Server {
        lines: BufReader::new(read).lines(),
        write,
    };
    let welcome = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}, "resources": {}},
        "serverInfo": {"name": "by hand", "version": "1"},
    });
    let (client, _) = tokio::join!(
        Client::default().serve(transport),
        server.answer("initialize", welcome)
    );
    let initialized = server.hear().await.unwrap();
    assert_eq!(initialized["method"], "notifications/initialized");
    (client.unwrap(), server)
}

fn call(tool: &str, arguments: &Value) -> CallToolRequestParams {
    from_value(json!({"name": tool, "arguments": arguments})).unwrap()
}

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        write!(self.0.lock().unwrap(), "\n{level} {target}").unwrap();
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn the_server_gets_the_value_and_rmcp_neither_returns_nor_logs_it() {
    run(async {
        let log = Log::default();
        let _guard = subscriber::set_default(log.clone());
        let (client, mut server) = connect(filter()).await;

        let text = json!({"type": "string"});
        let schema = json!({"type": "object", "properties": {"title": text, "api_key": text}});
        let tools = json!([{"name": "create_issue", "inputSchema": schema}]);
        let (listed, _) = tokio::join!(
            client.list_tools(None),
            server.answer("tools/list", json!({"tools": tools}))
        );
        let listed = to_value(listed.unwrap()).unwrap();
        let shown = &listed["tools"][0]["inputSchema"]["properties"];
        assert_eq!(*shown, json!({"title": {"type": "string"}}));

        let arguments = json!({"title": "x", "ratio": 0.1});
        let (result, ()) = tokio::join!(
            client.call_tool(call("create_issue", &arguments)),
            async {
                let heard = server.hear().await.unwrap();
                let args = &heard["params"]["arguments"];
                assert_eq!(*args, json!({"title": "x", "ratio": 0.1, "api_key": KEY}));
                let token = &heard["params"]["_meta"]["progressToken"];
                let content = json!({"type": "text", "text": format!("given {args}")});
                for message in [
                    json!({"method": "notifications/progress",
                   "params": {"progressToken": token, "progress": 0.5, "message": KEY, "_meta": {"a": KEY}}}),
                    json!({"method": "notifications/message", "params": {"level": "error", "data": args}}),
                    json!({"method": "notifications/resources/updated", "params": {"uri": format!("memo://{KEY}")}}),
                    json!({"method": "notifications/of_their_own", "params": {KEY: KEY}}),
                    json!({"id": 70, "method": "sampling/createMessage",
                   "params": {"messages": [{"role": "user", "content": content}], "maxTokens": 10}}),
                    json!({"id": 71, "method": "of/their_own", "params": {"a": [KEY], "_meta": {"a": KEY}}}),
                    json!({"id": heard["id"], "result": {
                        "content": [content], "structuredContent": {"given": args, KEY: 1}, "_meta": {"a": KEY},
                    }}),
                ] {
                    server.say(message).await;
                }
            }
        );
        let result = format!("{:?}", result.unwrap());
        let mut answered = Vec::new();
        for _ in 0..2 {
            let answer = server.hear().await.unwrap();
            answered.push(answer["id"].as_i64().unwrap());
        }
        answered.sort_unstable();
        assert_eq!(answered, [70, 71]);

        let memo = ReadResourceRequestParams::new("memo://1");
        let (failed, ()) = tokio::join!(client.read_resource(memo), async {
            let heard = server.hear().await.unwrap();
            let error =
                json!({"code": -32000, "message": format!("no {KEY}"), "data": {"key": KEY}});
            server.say(json!({"id": heard["id"], "error": error})).await;
        });
        let failed = failed.unwrap_err();
        let failed = format!("{failed} {failed:?}");

        let received = client.service().received();
        client.cancel().await.unwrap();
        let log = log.0.lock().unwrap().clone();
        for (what, text, references) in [
            ("the result", result, 3),
            ("the error", failed, 3),
            // The notifications, and then the requests.
            ("what the client received", received, 8),
            ("the log", log.clone(), 20),
        ] {
            assert!(!text.contains(KEY), "{what}: {text}");
            let found = text.matches(REFERENCE).count();
            assert!(found >= references, "{what}: {found} references in {text}");
        }
        for logged in [
            "INFO rmcp::service message=received notification",
            "DEBUG rmcp::service message=received request",
            "TRACE rmcp::service message=new event",
            "CallToolRequestParams",
        ] {
            assert!(log.contains(logged), "{logged}: {log}");
        }
    });
}

#[test]
fn a_denied_call_is_answered_without_the_server_and_the_others_go_on() {
    run(async {
        let (client, mut server) = connect(filter()).await;
        let mut denied = Vec::new();
        let (first, (), last) = tokio::join!(
            client.call_tool(call("create_issue", &json!({"n": 1}))),
            async {
                for name in ["linear", "nosuch", "linear"] {
                    let arguments = json!({"body": format!("secret://{name}")});
                    denied.push(client.call_tool(call("send", &arguments)).await.unwrap());
                }
                // The denied calls were answered while the server owed another answer.
                let result = json!({"content": []});
                let heard = server.answer("tools/call", result.clone()).await;
                assert_eq!(heard["params"]["arguments"]["n"], 1);
                let heard = server.answer("tools/call", result).await;
                assert_eq!(heard["params"]["arguments"]["n"], 2);
            },
            client.call_tool(call("create_issue", &json!({"n": 2}))),
        );
        assert_eq!(first.unwrap().is_error, None);
        assert_eq!(last.unwrap().is_error, None);
        assert_eq!(denied.len(), 3);
        for result in &denied {
            assert_eq!(result, &denied[0]);
            assert_eq!(result.is_error, Some(true));
            let text = &result.content[0].as_text().unwrap().text;
            assert!(text.contains("/body") && !text.contains("linear"), "{text}");
        }
    });
}

#[test]
fn a_client_notices_that_the_server_is_gone() {
    run(async {
        let (client, mut server) = connect(filter()).await;
        let (result, ()) = tokio::join!(
            client.call_tool(call("create_issue", &json!({}))),
            async move {
                server.hear().await.unwrap();
                drop(server);
            }
        );
        let result = result.unwrap_err();
        assert!(matches!(result, ServiceError::TransportClosed), "{result}");
        let reason = client.waiting().await.unwrap();
        assert!(matches!(reason, QuitReason::Closed), "{reason:?}");
    });
}

#[test]
fn a_server_notices_that_the_client_is_gone() {
    run(async {
        let (client, mut server) = connect(filter()).await;
        let reason = client.cancel().await.unwrap();
        assert!(matches!(reason, QuitReason::Cancelled), "{reason:?}");
        assert_eq!(server.hear().await, None);
    });
}

/// An inner transport that does what a test says.
#[derive(Clone, Default)]
struct Inner(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    sent: Vec<ClientJsonRpcMessage>,
    /// What comes of sending and of closing.
    fails: Option<Failure>,
    received: VecDeque<ServerJsonRpcMessage>,
    closed: bool,
}

impl Inner {
    fn filtered(&self, filter: Filter) -> FilteredTransport<Inner> {
        FilteredTransport::new(self.clone(), filter)
    }

    fn to_receive(&self, message: Value) {
        let message = server_message(message);
        self.0.lock().unwrap().received.push_back(message);
    }

    fn sent(&self) -> Vec<Value> {
        let sent = &self.0.lock().unwrap().sent;
        sent.iter()
            .map(|message| to_value(message).unwrap())
            .collect()
    }
}

impl Transport<RoleClient> for Inner {
    type Error = Failure;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let mut state = self.0.lock().unwrap();
        state.sent.push(message);
        ready(state.fails.clone().map_or(Ok(()), Err))
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        let next = self.0.lock().unwrap().received.pop_front();
        match next {
            Some(message) => Some(message),
            None => pending().await,
        }
    }

    async fn close(&mut self) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap();
        state.closed = true;
        state.fails.clone().map_or(Ok(()), Err)
    }
}

#[derive(Clone, Debug)]
struct Failure {
    shown: &'static str,
    detail: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown)
    }
}

impl Error for Failure {}

fn server_message(mut message: Value) -> ServerJsonRpcMessage {
    message["jsonrpc"] = json!("2.0");
    from_value(message).unwrap()
}

fn client_message(mut message: Value) -> ClientJsonRpcMessage {
    message["jsonrpc"] = json!("2.0");
    from_value(message).unwrap()
}

fn tool_call(id: i64, arguments: &Value) -> ClientJsonRpcMessage {
    let params = json!({"name": "create_issue", "arguments": arguments});
    client_message(json!({"id": id, "method": "tools/call", "params": params}))
}

fn denied() -> Value {
    json!({"title": "secret://nosuch"})
}

/// What is there without waiting.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn received(transport: &mut FilteredTransport<Inner>) -> Option<Value> {
    now(transport.receive()).map(|message| to_value(message.unwrap()).unwrap())
}

fn assert_to_spawn<F: Future + Send + 'static>(future: F) -> F {
    future
}

#[test]
fn messages_are_handed_on_in_the_order_in_which_they_come() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter());
    let mut sends = Vec::new();
    for id in 0..10 {
        let arguments = if id % 3 == 0 { denied() } else { json!({}) };
        sends.push(assert_to_spawn(transport.send(tool_call(id, &arguments))));
    }
    // Whatever becomes of the futures.
    let sent: Vec<Value> = inner.sent().iter().map(|sent| sent["id"].clone()).collect();
    assert_eq!(sent, [1, 2, 4, 5, 7, 8].map(|id| json!(id)));
    for send in sends.into_iter().rev() {
        now(send).unwrap().unwrap();
    }
    for id in [0, 3, 6, 9] {
        let answer = received(&mut transport).unwrap();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["isError"], true);
    }
    assert!(received(&mut transport).is_none());
}

#[test]
fn nothing_is_lost_when_receiving_is_cancelled() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter_that_knows_the_key());
    // Whoever drops a future that is not ready tries again.
    for id in 0..20 {
        assert!(now(transport.receive()).is_none());
        drop(transport.receive());
        if id % 2 == 0 {
            now(transport.send(tool_call(id, &denied())))
                .unwrap()
                .unwrap();
        } else {
            let content = json!([{"type": "text", "text": KEY}]);
            inner.to_receive(json!({"id": id, "result": {"content": content}}));
        }
        drop(transport.receive());
        let answer = received(&mut transport).unwrap();
        assert_eq!(answer["id"], id);
    }
    assert!(received(&mut transport).is_none());
}

/// What arrives here was read and is written again, with its members in another order.
#[test]
fn a_value_that_is_an_object_is_found_although_it_is_spelled_anew() {
    let account = r#"{"type": "service_account", "private_key": "-----BEGIN\nMIIEvQIBADANBg\n"}"#;
    let mut redactor = Redactor::new();
    redactor.add("secret://account", &SecretValue::new(account));
    let inner = Inner::default();
    let mut transport = inner.filtered(filter().redacting(&redactor));
    let account: Value = serde_json::from_str(account).unwrap();
    inner.to_receive(
        json!({"id": 1, "result": {"content": [], "structuredContent": {"given": account}}}),
    );
    let answer = received(&mut transport).unwrap();
    let given = &answer["result"]["structuredContent"]["given"];
    assert_eq!(*given, "secret://account");
}

/// Opens as many arrays as no reader of JSON text accepts.
fn deep() -> Value {
    let mut deep = json!(KEY);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    deep
}

#[test]
fn whoever_waits_for_an_answer_that_cannot_be_redacted_gets_an_error() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter_that_knows_the_key());
    inner.to_receive(json!({"id": 1, "result": {"content": [], "structuredContent": deep()}}));
    inner.to_receive(json!({"id": "2", "error": {"code": -1, "message": "no", "data": deep()}}));
    // Nobody waits for this one.
    inner.to_receive(
        json!({"method": "notifications/message", "params": {"level": "info", "data": deep()}}),
    );
    inner.to_receive(json!({"id": 3, "method": "of/their_own", "params": {"a": deep()}}));
    for id in [json!(1), json!("2")] {
        let answer = received(&mut transport).unwrap();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["error"]["code"], -32603);
        assert!(!answer.to_string().contains(KEY), "{answer}");
    }
    // rmcp answers that it does not know this method.
    let unknown = json!({"jsonrpc": "2.0", "id": 3, "method": "keyward/unreadable"});
    let mut request = received(&mut transport).unwrap();
    request
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    assert_eq!(request, unknown);
    assert!(received(&mut transport).is_none());
}

/// The filter also knows a value that is a number.
fn filter_that_knows_a_number() -> Filter {
    let mut digits = Redactor::new();
    digits.add("secret://pin", &SecretValue::new("12345678"));
    filter().redacting(&digits)
}

#[test]
fn a_reference_in_place_of_a_number_does_not_make_a_caller_wait() {
    run(async {
        let (client, mut server) = connect(filter_that_knows_a_number()).await;
        let pin = 12_345_678;
        let (listed, _) = tokio::join!(
            client.list_tools(None),
            server.answer("tools/list", json!({"tools": [], "ttlMs": pin}))
        );
        let memo = ReadResourceRequestParams::new("memo://1");
        let (failed, ()) = tokio::join!(client.read_resource(memo), async {
            let heard = server.hear().await.unwrap();
            let error = json!({"code": pin, "message": "no"});
            server.say(json!({"id": heard["id"], "error": error})).await;
        });
        let (result, ()) = tokio::join!(client.call_tool(call("other", &json!({}))), async {
            let heard = server.hear().await.unwrap();
            let params = json!({"progressToken": heard["params"]["_meta"]["progressToken"], "progress": pin});
            server
                .say(json!({"method": "notifications/progress", "params": params}))
                .await;
            server
                .say(json!({"id": heard["id"], "result": {"content": []}}))
                .await;
        });
        result.unwrap();
        let shown = format!("{listed:?} {failed:?} {}", client.service().received());
        assert!(listed.is_err() && failed.is_err(), "{shown}");
        assert!(shown.contains("secret://pin"), "{shown}");
        assert!(!shown.contains("12345678"), "{shown}");
    });
}

#[test]
fn a_call_that_rmcp_does_not_know_to_be_one_is_a_call() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter());
    for (id, arguments) in [(1, json!({"title": "x"})), (2, denied())] {
        let params = json!({"name": "create_issue", "arguments": arguments});
        let custom = CustomRequest::new("tools/call", Some(params));
        let request = ClientRequest::CustomRequest(custom);
        let message = JsonRpcMessage::request(request, rmcp::model::NumberOrString::Number(id));
        now(transport.send(message)).unwrap().unwrap();
    }
    let sent = inner.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["id"], 1);
    assert_eq!(
        sent[0]["params"]["arguments"],
        json!({"title": "x", "api_key": KEY})
    );
    let answer = received(&mut transport).unwrap();
    assert_eq!(answer["id"], 2);
    assert_eq!(answer["result"]["isError"], true);
}

#[test]
fn what_a_transport_says_of_where_a_request_came_from_stays() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter_that_knows_the_key());
    for text in ["x", KEY] {
        let content = json!({"type": "text", "text": text});
        let params = json!({"messages": [{"role": "user", "content": content}], "maxTokens": 1, "_meta": {"a": text}});
        let mut message =
            server_message(json!({"id": 1, "method": "sampling/createMessage", "params": params}));
        let JsonRpcMessage::Request(request) = &mut message else {
            unreachable!()
        };
        let extensions = request.request.extensions_mut();
        extensions.insert(InboundStreamOrigin::Unassociated);
        inner.0.lock().unwrap().received.push_back(message);

        let message = now(transport.receive()).unwrap().unwrap();
        let shown = to_value(&message).unwrap();
        let reference = if text == KEY { REFERENCE } else { text };
        assert_eq!(shown["params"]["_meta"]["a"], reference);
        let JsonRpcMessage::Request(request) = message else {
            unreachable!()
        };
        let origin = request.request.extensions().get();
        assert_eq!(origin, Some(&InboundStreamOrigin::Unassociated));
    }
}

#[test]
fn closing_reaches_the_inner_transport() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter());
    now(transport.close()).unwrap().unwrap();
    assert!(inner.0.lock().unwrap().closed);
}

#[test]
fn an_error_is_kept_unless_it_tells_a_value() {
    let harmless = Failure {
        shown: "503",
        detail: "try later",
    };
    let shown = Failure {
        shown: "401: bad key lin_api_Zq8wT3vN",
        detail: "",
    };
    let hidden = Failure {
        shown: "401",
        detail: "bad key lin_api_Zq8wT3vN",
    };
    for (failure, text, is_kept) in [
        (harmless, "503", true),
        (shown, "401: bad key secret://linear", false),
        (hidden, "401", false),
    ] {
        let inner = Inner::default();
        inner.0.lock().unwrap().fails = Some(failure.clone());
        let mut transport = inner.filtered(filter());
        // The value becomes known with the very message that fails.
        let sent = now(transport.send(tool_call(1, &json!({})))).unwrap();
        let closed = now(transport.close()).unwrap();
        for error in [sent.unwrap_err(), closed.unwrap_err()] {
            assert_eq!(error.to_string(), text);
            assert!(!format!("{error:?}").contains(KEY), "{error:?}");
            let kept = error.get_ref().and_then(|error| error.downcast_ref());
            let kept: Option<&Failure> = kept;
            assert_eq!(
                kept.map(|kept| kept.detail),
                is_kept.then_some(failure.detail)
            );
        }
    }
}

#[test]
fn an_error_of_input_and_output_stays_what_it_is() {
    run(async {
        let (ours, theirs) = duplex(64);
        let (read, write) = split(ours);
        let mut transport =
            FilteredTransport::new(AsyncRwTransport::new_client(read, write), filter());
        drop(theirs);
        let error: io::Error = transport.send(tool_call(1, &json!({}))).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(transport.receive().await.is_none());
    });
}

#[test]
fn nothing_is_shown_of_what_is_under_way() {
    let inner = Inner::default();
    let mut transport = inner.filtered(filter_that_knows_the_key());
    drop(transport.send(tool_call(1, &denied())));
    let shown = format!("{transport:?}");
    assert!(
        shown.contains("answers: 1") && !shown.contains(KEY),
        "{shown}"
    );
}
