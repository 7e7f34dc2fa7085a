//! Between an MCP client and an MCP server, on standard input and output.
//!
//! One thread carries what the client says, one what the server says, and one the server's standard error. None
//! waits for another, so requests overlap as they do without the proxy. [`mcp::Filter`](keyward::mcp::Filter)
//! decides about each message.
//!
//! # How it ends
//!
//! * The client closes its end, or dies: the server's standard input is closed, which tells it to end. What it still
//!   says is passed on. If it is still there half a minute later, it is told to end, and then killed.
//! * Somebody tells the proxy to end (SIGTERM, SIGINT, SIGHUP): the server is told to end, and killed two seconds
//!   later.
//! * The server ends, or dies: the proxy ends with its exit code.
//! * The proxy is killed without warning: the server's standard input is closed.
//!
//! On Unix the server has its own process group, which is signaled as a whole: many servers are started by a
//! launcher.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, ExitCode},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use keyward::{RedactStream, mcp::Filter};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    args::Mcp,
    failure::Failure,
    place::Opener,
    program::{self, Prepared},
    server::{self, Event, GRACE, Server},
    watch::Watch,
};

/// How long a server that was not told to end may go on without a client.
const LINGER: Duration = Duration::from_secs(30);

pub(crate) fn proxy(mut opener: Opener, mcp: &Mcp) -> Result<ExitCode, Failure> {
    let vault = opener.read_to_follow()?;
    let user = vault.user(opener.user_id());
    let Prepared {
        mut command,
        redactor,
    } = program::prepare(&mcp.program, mcp.server.as_deref(), &user)?;
    let mut filter = Filter::new(user).redacting(&redactor);
    if let Some(server) = &mcp.server {
        filter = filter.server(server);
    }
    let filter = Arc::new(filter);
    let watch = Watch::new(vault, opener.path());

    let mut server = Server::start(&mut command)?;
    drop(command);
    let (send, events) = mpsc::channel();
    server::listen_for_signals(&send)?;
    let errors = {
        let filter = Arc::clone(&filter);
        server.pass_errors_on(move || filter.redactor())
    };
    if let Some(input) = server.child.stdin.take() {
        let (filter, send) = (Arc::clone(&filter), send.clone());
        thread::spawn(move || {
            let _ = carry_client(input, &filter, watch);
            let _ = send.send(Event::ClientClosed);
        });
    }
    if let Some(output) = server.child.stdout.take() {
        thread::spawn(move || {
            let event = match carry_server(output, &filter) {
                Ok(()) => Event::ServerClosed,
                Err(_) => Event::ClientGone,
            };
            let _ = send.send(event);
        });
    }
    let ended = server.end(&events, LINGER);
    // What a server says last is often what matters. A process that it left behind may hold the other end open
    // forever.
    let _ = errors.recv_timeout(GRACE);
    Ok(program::exit_code(ended?.status))
}

/// Carries what the client says to the server, until either closes its end.
fn carry_client(mut server: ChildStdin, filter: &Filter, mut watch: Watch) -> io::Result<()> {
    let mut client = BufReader::with_capacity(BATCH, io::stdin());
    let mut message = Zeroizing::new(Vec::new());
    let mut batch = Batch::new();
    let mut more = false;
    while client.read_until(b'\n', &mut message)? > 0 {
        if !more {
            watch.look();
        }
        more = client.buffer().contains(&b'\n');
        let passed = filter.client_message(&message);
        if let Some(answer) = passed.to_client() {
            let mut client = io::stdout().lock();
            client.write_all(answer)?;
            client.write_all(b"\n")?;
            client.flush()?;
        }
        if let Some(message) = passed.to_server() {
            batch.add(message, &mut server)?;
        }
        if !more {
            batch.write(&mut server)?;
        }
        drop(passed);
        wipe(&mut message);
    }
    batch.write(&mut server)
}

/// Carries what the server says to the client, until the server closes its end. An error is one of writing to the
/// client.
fn carry_server(server: ChildStdout, filter: &Filter) -> io::Result<()> {
    let mut server = BufReader::with_capacity(BATCH, server);
    let mut message = Zeroizing::new(Vec::new());
    let mut batch = Batch::new();
    // Lines that are no messages are one text to whoever reads them: a value in it may have several lines.
    let mut text: Option<RedactStream> = None;
    while server
        .read_until(b'\n', &mut message)
        .is_ok_and(|length| length > 0)
    {
        if is_message(&message) {
            end(&mut text, filter, &mut batch)?;
            batch.add(&filter.server_message(&message), &mut io::stdout().lock())?;
        } else {
            let redactor = filter.redactor();
            let text = text.get_or_insert_with(|| redactor.stream());
            text.merge(&redactor);
            pass_on(text.push(&message), filter, &mut batch)?;
        }
        if !server.buffer().contains(&b'\n') {
            batch.write(&mut io::stdout().lock())?;
        }
        wipe(&mut message);
    }
    end(&mut text, filter, &mut batch)?;
    batch.write(&mut io::stdout().lock())
}

/// Whether a line looks like a message, or a batch of them.
fn is_message(line: &[u8]) -> bool {
    match line.trim_ascii() {
        [b'{', .., b'}'] => true,
        [b'[', inner @ .., b']'] => inner.trim_ascii().starts_with(b"{"),
        _ => false,
    }
}

/// Passes on what was held back of a text.
fn end(text: &mut Option<RedactStream>, filter: &Filter, batch: &mut Batch) -> io::Result<()> {
    match text.take() {
        Some(text) => pass_on(text.finish(), filter, batch),
        None => Ok(()),
    }
}

/// Passes on a part of a text, in which values of several lines are redacted. Others may be behind an escape.
fn pass_on(text: Vec<u8>, filter: &Filter, batch: &mut Batch) -> io::Result<()> {
    let text = Zeroizing::new(text);
    batch.add(&filter.server_message(&text), &mut io::stdout().lock())
}

/// How many bytes are read and written at once.
const BATCH: usize = 64 * 1024;

/// Whole messages that arrived together and are passed on together.
struct Batch(Zeroizing<Vec<u8>>);

impl Batch {
    fn new() -> Batch {
        Batch(Zeroizing::new(Vec::with_capacity(BATCH)))
    }

    fn add(&mut self, message: &[u8], to: &mut impl Write) -> io::Result<()> {
        if self.0.len() + message.len() > BATCH {
            self.write(to)?;
        }
        if message.len() > BATCH {
            return to.write_all(message);
        }
        self.0.extend_from_slice(message);
        Ok(())
    }

    fn write(&mut self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.0)?;
        wipe(&mut self.0);
        to.flush()
    }
}

/// Wipes the bytes, but not the rest of the capacity, which a large message may have left.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.clear();
}
