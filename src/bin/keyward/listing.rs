//! Asking an MCP server for its tools.

use std::{
    io::{BufRead, BufReader, Write},
    process::ChildStdin,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use keyward::{Redactor, UserVault};
use serde_json::{Value, json};

use crate::{
    args::Program,
    check::{self, Tool},
    failure::Failure,
    program::{self, Prepared},
    server::{Event, GRACE, Server},
};

/// The version of the protocol: the last one that begins with a handshake, which servers of every version understand.
const PROTOCOL: &str = "2025-11-25";

/// A server that has no end of pages is not asked for more of them.
const MOST_PAGES: usize = 1_000;

/// Starts a server and asks it; ends it again.
pub(crate) fn ask(
    program: &Program,
    name: Option<&str>,
    user: &UserVault,
    seconds: u64,
) -> Result<Vec<Tool>, Failure> {
    let Prepared {
        mut command,
        redactor,
    } = program::prepare(program, name, user)?;
    let redactor = Arc::new(redactor);
    let mut server = Server::start(&mut command)?;
    drop(command);
    let errors = {
        let redactor = Arc::clone(&redactor);
        server.pass_errors_on(move || Arc::clone(&redactor))
    };
    let (Some(input), Some(output)) = (server.child.stdin.take(), server.child.stdout.take())
    else {
        return Err(Failure::server("the server cannot be spoken to"));
    };
    let (send, events) = mpsc::channel();
    let (say, said) = mpsc::channel();
    {
        let send = send.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                // Once nobody asks any more, only the end counts.
                let _ = say.send(line);
            }
            drop(say);
            let _ = send.send(Event::ServerClosed);
        });
    }
    let mut session = Session {
        input,
        said,
        redactor: &redactor,
        deadline: Instant::now() + Duration::from_secs(seconds),
        last_id: 0,
    };
    let tools = session.tools();
    // This closes the server's input.
    drop(session);
    let _ = send.send(Event::ClientClosed);
    server.end(&events, GRACE)?;
    let _ = errors.recv_timeout(GRACE);
    tools
}

struct Session<'a> {
    input: ChildStdin,
    said: mpsc::Receiver<Vec<u8>>,
    redactor: &'a Redactor,
    deadline: Instant,
    last_id: u64,
}

impl Session<'_> {
    fn tools(&mut self) -> Result<Vec<Tool>, Failure> {
        let client = json!({"name": "keyward", "version": env!("CARGO_PKG_VERSION")});
        let hello = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client});
        self.request("initialize", &hello)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        let mut all = Vec::new();
        let mut params = json!({});
        for _ in 0..MOST_PAGES {
            let mut result = self.request("tools/list", &params)?;
            let next = result.get_mut("nextCursor").map(Value::take);
            let page = check::tools(result);
            all.extend(page.ok_or_else(|| Failure::server("the server lists no tools"))?);
            match next {
                Some(Value::String(cursor)) => params = json!({"cursor": cursor}),
                _ => return Ok(all),
            }
        }
        Err(Failure::server("the server's list of tools has no end"))
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.last_id += 1;
        let id = json!(self.last_id);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut message = self.receive(method)?;
            if message.get("method").is_some() {
                self.decline(&message)?;
            } else if message.get("id") == Some(&id) {
                if let Some(error) = message.get("error") {
                    let text = error.get("message").and_then(Value::as_str);
                    let text = text.unwrap_or("an error");
                    return Err(Failure::server(format!(
                        "the server answers to {method}: {text}"
                    )));
                }
                return Ok(message
                    .get_mut("result")
                    .map(Value::take)
                    .unwrap_or_default());
            }
        }
    }

    /// Answers what the server asks. It needs little of a client that calls no tool.
    fn decline(&mut self, request: &Value) -> Result<(), Failure> {
        let Some(id) = request.get("id") else {
            return Ok(());
        };
        if request["method"] == "ping" {
            return self.send(&json!({"jsonrpc": "2.0", "id": id, "result": {}}));
        }
        let error = json!({"code": -32601, "message": "Method not found"});
        self.send(&json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        let sent = self.input.write_all(format!("{message}\n").as_bytes());
        sent.map_err(|error| Failure::server(format!("the server does not listen: {error}")))
    }

    /// The next message, redacted. Some programs write other things there, too.
    fn receive(&mut self, method: &str) -> Result<Value, Failure> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).map_err(|error| {
                Failure::server(match error {
                    mpsc::RecvTimeoutError::Timeout => {
                        format!("the server does not answer to {method} in time")
                    }
                    mpsc::RecvTimeoutError::Disconnected => {
                        format!("the server ended before it answered to {method}")
                    }
                })
            })?;
            if let Ok(mut message @ Value::Object(_)) = serde_json::from_slice(&line) {
                self.redactor.redact_json(&mut message);
                return Ok(message);
            }
        }
    }
}
