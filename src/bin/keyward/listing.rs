//! Asking an MCP server for its tools.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use keyward::{Redactor, UserVault};
use memchr::memmem;
use serde_json::{Value, json};

use crate::{
    args::Program,
    check::{self, Tool},
    failure::Failure,
    program::{self, Prepared},
    server::{self, Event, GRACE, Server},
};

/// The version of the protocol: the last one that begins with a handshake, which servers of every version
/// understand.
const PROTOCOL: &str = "2025-11-25";

/// The most pages that a server is asked for; its list may have no end.
const MOST_PAGES: usize = 1_000;

/// No list of tools has a longer line.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// Nor is it longer in all its pages.
const LONGEST_LIST: usize = 64 * 1024 * 1024;

/// Starts a server, asks it for its tools, and ends it, even if this program is told to end meanwhile.
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
    let (send, events) = mpsc::channel();
    server::listen_for_signals(&send)?;
    let mut server = Server::start(&mut command)?;
    server.tell_when_it_ends(send.clone());
    drop(command);
    let errors = {
        let redactor = Arc::clone(&redactor);
        server.pass_errors_on(move || Arc::clone(&redactor))
    };
    let (Some(input), Some(output)) = (server.child.stdin.take(), server.child.stdout.take())
    else {
        return Err(Failure::server("the server cannot be reached"));
    };
    // A server that says more than is read has to wait, as for a full pipe.
    let (say, said) = mpsc::sync_channel(1);
    {
        let send = send.clone();
        thread::spawn(move || {
            pass_on(output, &say);
            drop(say);
            let _ = send.send(Event::ServerClosed);
        });
    }
    let (lines, to_write) = mpsc::channel();
    let (tell, written) = mpsc::channel();
    thread::spawn(move || write(input, &to_write, &tell));
    let mut session = Session {
        lines,
        written,
        said,
        redactor,
        deadline: Instant::now().checked_add(Duration::from_secs(seconds)),
        left: LONGEST_LIST,
        last_id: 0,
        asked: "",
    };
    let asking = thread::spawn(move || {
        let tools = session.tools();
        // This closes the server's input.
        drop(session);
        let _ = send.send(Event::ClientClosed);
        tools
    });
    let ended = server.end(&events, GRACE)?;
    // From here on a signal ends the program: something that the server left behind may keep its output open.
    drop(events);
    if let Some(signal) = ended.by {
        server::end_by(signal);
    }
    let tools = asking.join();
    let _ = errors.recv_timeout(GRACE);
    tools.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a server says.
enum Said {
    Line(Vec<u8>),
    /// A longer line than any list has. What follows it is not passed on.
    TooMuch,
}

fn pass_on(output: impl Read, say: &mpsc::SyncSender<Said>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let Ok(length @ 1..) = (&mut output)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
        else {
            return;
        };
        if length as u64 == LONGEST_LINE {
            let _ = say.send(Said::TooMuch);
            break;
        }
        if say.send(Said::Line(line)).is_err() {
            break;
        }
    }
    // Once nobody asks any more, only the end of the output counts.
    let _ = io::copy(&mut output, &mut io::sink());
}

/// Writes lines to the server, which may not read them, and reports each result.
fn write(
    mut input: impl Write,
    lines: &mpsc::Receiver<String>,
    tell: &mpsc::Sender<io::Result<()>>,
) {
    for line in lines {
        let _ = tell.send(input.write_all(line.as_bytes()));
    }
}

struct Session {
    lines: mpsc::Sender<String>,
    /// Whether the last line was written.
    written: mpsc::Receiver<io::Result<()>>,
    said: mpsc::Receiver<Said>,
    redactor: Arc<Redactor>,
    /// `None` if it is beyond what the clock can represent.
    deadline: Option<Instant>,
    /// How much more the server may say.
    left: usize,
    last_id: u64,
    asked: &'static str,
}

impl Session {
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
            all.extend(page.ok_or_else(|| {
                Failure::server("what the server answers is no list of tools, each with a name")
            })?);
            match next {
                Some(Value::String(cursor)) => params = json!({"cursor": cursor}),
                _ => return Ok(all),
            }
        }
        Err(Failure::server("the server's list of tools does not end"))
    }

    fn request(&mut self, method: &'static str, params: &Value) -> Result<Value, Failure> {
        self.last_id += 1;
        self.asked = method;
        let id = json!(self.last_id);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut message = self.receive()?;
            if message.get("method").is_some() {
                self.decline(&message)?;
            } else if message
                .get("id")
                .is_some_and(|answered| is_id(answered, self.last_id))
            {
                if let Some(error) = message.get("error") {
                    let text = error.get("message").and_then(Value::as_str);
                    let text = text.unwrap_or("an error");
                    return Err(Failure::server(format!(
                        "the server answered {method} with: {text}"
                    )));
                }
                return Ok(message
                    .get_mut("result")
                    .map(Value::take)
                    .unwrap_or_default());
            }
        }
    }

    /// Declines a request of the server, except for a ping: it needs little of a client that calls no tool.
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
        // If the writer is gone, the wait for its result below reports that.
        let _ = self.lines.send(format!("{message}\n"));
        let written = self.in_time(&self.written)?;
        let written = written.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        written.map_err(|error| Failure::server(format!("the server is not reading: {error}")))
    }

    /// Returns the next message, redacted. Some programs write other things there, which are skipped.
    fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            let line = match self.in_time(&self.said)? {
                Some(Said::Line(line)) => line,
                Some(Said::TooMuch) => {
                    return Err(Failure::server(
                        "the server sent a line of more than 16 MiB",
                    ));
                }
                None => {
                    return Err(Failure::server(format!(
                        "the server ended before answering {}",
                        self.asked
                    )));
                }
            };
            self.left = self.left.checked_sub(line.len()).ok_or_else(|| {
                Failure::server(
                    "the server said more than 64 MiB, and its list of tools does not end",
                )
            })?;
            match serde_json::from_slice(&line) {
                Ok(mut message @ Value::Object(_)) => {
                    self.redactor.redact_json(&mut message);
                    return Ok(message);
                }
                // A message, which would be waited for until the deadline.
                Err(error) if memmem::find(&line, b"\"jsonrpc\"").is_some() => {
                    return Err(Failure::server(format!(
                        "before answering {}, the server sent what is not valid JSON, or nested too deep: column {}",
                        self.asked,
                        error.column()
                    )));
                }
                _ => {}
            }
        }
    }

    /// Waits for the next item until the deadline; `None` if no more items come.
    fn in_time<T>(&self, from: &mpsc::Receiver<T>) -> Result<Option<T>, Failure> {
        let left = self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        // An item that is already there would be received even after the deadline.
        let next = if left.is_zero() {
            Err(mpsc::RecvTimeoutError::Timeout)
        } else {
            from.recv_timeout(left)
        };
        match next {
            Ok(next) => Ok(Some(next)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Failure::server(format!(
                "the server did not answer {} in time",
                self.asked
            ))),
        }
    }
}

/// Whether an answer is to the request with this id. Some servers answer a number with its text, and clients accept
/// that.
fn is_id(answered: &Value, id: u64) -> bool {
    answered.as_u64() == Some(id) || answered.as_str() == Some(&id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's end of a session.
    struct Other {
        lines: mpsc::Receiver<String>,
        written: mpsc::Sender<io::Result<()>>,
        say: mpsc::SyncSender<Said>,
    }

    fn session(deadline: Option<Instant>, left: usize) -> (Session, Other) {
        let (to_server, lines) = mpsc::channel();
        let (written, was_written) = mpsc::channel();
        let (say, said) = mpsc::sync_channel(3);
        let session = Session {
            lines: to_server,
            written: was_written,
            said,
            redactor: Arc::default(),
            deadline,
            left,
            last_id: 0,
            asked: "tools/list",
        };
        (
            session,
            Other {
                lines,
                written,
                say,
            },
        )
    }

    #[test]
    fn after_the_deadline_nothing_is_heard_that_is_there_already() {
        let (mut session, server) = session(Some(Instant::now()), LONGEST_LIST);
        let late = "the server did not answer tools/list in time";
        server.say.send(Said::Line(b"{}".to_vec())).unwrap();
        assert_eq!(session.receive().unwrap_err().to_string(), late);
        server.written.send(Ok(())).unwrap();
        assert_eq!(session.send(&json!({})).unwrap_err().to_string(), late);
        assert_eq!(server.lines.recv().unwrap(), "{}\n");
    }

    #[test]
    fn an_answer_may_have_its_id_as_text() {
        for (id, is_answer) in [
            (json!(1), true),
            (json!("1"), true),
            (json!(2), false),
            (json!("01"), false),
            (Value::Null, false),
        ] {
            let (mut session, server) = session(None, LONGEST_LIST);
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"it": "is"}});
            for line in [answer.to_string(), "{what is no message}".to_owned()] {
                server.say.send(Said::Line(line.into())).unwrap();
            }
            server.written.send(Ok(())).unwrap();
            drop(server.say);
            let result = session.request("initialize", &json!({}));
            assert_eq!(result.ok(), is_answer.then(|| json!({"it": "is"})), "{id}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_is_not_waited_for() {
        let (mut session, server) = session(None, LONGEST_LIST);
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let line = format!(r#"{{"jsonrpc": "2.0", "id": 1, "result": {deep}}}"#);
        server.say.send(Said::Line(line.into())).unwrap();
        let error = session.receive().unwrap_err().to_string();
        let expected = "before answering tools/list, the server sent what is not valid JSON, or nested too deep: column 165";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_list_without_an_end_is_not_kept() {
        let (mut session, server) = session(None, 5);
        for line in ["no", "{}", "{}"] {
            server.say.send(Said::Line(line.into())).unwrap();
        }
        assert_eq!(session.receive().ok(), Some(json!({})));
        let error = session.receive().unwrap_err().to_string();
        assert!(error.contains("64 MiB"), "{error}");
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let (say, said) = mpsc::sync_channel(3);
        let long = io::repeat(b'x').take(LONGEST_LINE);
        pass_on(b"a\n".chain(long).chain(&b"\nb\n"[..]), &say);
        drop(say);
        assert!(matches!(said.recv(), Ok(Said::Line(line)) if line == b"a\n"));
        assert!(matches!(said.recv(), Ok(Said::TooMuch)));
        assert!(said.recv().is_err());
    }
}
