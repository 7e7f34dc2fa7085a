//! Between an MCP client and an MCP server, on standard input and output.
//!
//! One thread carries what the client says, one what the server says, and one the server's standard error. None
//! waits for another, so requests overlap as they do without the proxy. [`mcp::Filter`](keyward::mcp::Filter)
//! decides about each message.
//!
//! # How it ends
//!
//! * The client closes its end, or dies: the server's standard input is closed, which tells it to end. What it still
//!   says is passed on. If it is still there half a minute later, it is told to end, and then killed. So it is if it
//!   does not read, for as long, what such a client has said.
//! * The server closes its output while the client is there: it is about to end by itself. If it is still there two
//!   seconds later, it is told to end, and then killed.
//! * Somebody tells the proxy to end (SIGTERM, SIGINT, SIGHUP): the server is told to end, and killed two seconds
//!   later.
//! * The server ends, or dies, and so does whatever else holds its output open: the proxy ends with its exit code. A
//!   launcher may end before the server that it has started. If it ends with a failure, or is killed, then what it has
//!   started is told to end two seconds later: a client would wait for answers.
//! * The proxy is killed without warning: the server's standard input is closed.
//!
//! On Unix the server has its own process group, which is signaled as a whole: many servers are started by a
//! launcher.

use std::{
    io::{self, Read, Write},
    process::{ChildStdin, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use keyward::mcp::Filter;
use zeroize::{Zeroize, Zeroizing};

use self::{
    reader::Reader,
    text::Text,
    writer::{Batch, ToClient},
};
use crate::{
    args::Mcp,
    failure::Failure,
    opener::Opener,
    output::Patient,
    program::{self, Prepared},
    server::{self, Event, GRACE, Server},
    watch::Watch,
};

mod reader;
mod text;
mod writer;

/// How long a server that was not told to end may go on without a client.
const LINGER: Duration = Duration::from_secs(30);

pub(crate) fn proxy(mut opener: Opener, mcp: &Mcp) -> Result<ExitCode, Failure> {
    let (user, watch) = opener.read_to_follow()?;
    let Prepared {
        mut command,
        redactor,
    } = program::prepare(&mcp.program, mcp.server.as_deref(), &user)?;
    let mut filter = Filter::new(user).redacting(&redactor);
    if let Some(server) = &mcp.server {
        filter = filter.server(server);
    }
    let filter = Arc::new(filter);
    let client = Arc::new(ToClient::new(Patient(io::stdout())));

    let mut server = Server::start(&mut command)?;
    drop(command);
    let (send, events) = mpsc::channel();
    server::listen_for_signals(&send)?;
    server.tell_when_it_ends(send.clone());
    let errors = {
        let filter = Arc::clone(&filter);
        server.pass_errors_on(move || filter.redactor())
    };
    if let Some(input) = server.child.stdin.take() {
        let carried = Arc::new(AtomicU64::new(0));
        #[cfg(unix)]
        {
            let (carried, send) = (Arc::clone(&carried), send.clone());
            thread::spawn(move || {
                if waits_for_client_in_vain(&io::stdin(), &carried, LINGER) {
                    let _ = send.send(Event::ClientGone);
                }
            });
        }
        let (filter, client, send) = (Arc::clone(&filter), Arc::clone(&client), send.clone());
        thread::spawn(move || {
            let _ = carry_client(input, &filter, &client, watch, &carried);
            let _ = send.send(Event::ClientClosed);
        });
    }
    if let Some(output) = server.child.stdout.take() {
        thread::spawn(move || {
            let event = match carry_server(output, &filter, &client) {
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

/// Returns when the client has closed its end, and no message of it was carried any further for so long: who writes to
/// a server that does not read cannot see that. Returns `false` at once if such an end cannot be seen, as with some
/// terminals.
#[cfg(unix)]
fn waits_for_client_in_vain(
    client: &impl std::os::fd::AsFd,
    carried: &AtomicU64,
    long: Duration,
) -> bool {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::retry_on_intr,
    };

    // That the other end is closed is told in any case.
    let mut end = [PollFd::new(client, PollFlags::empty())];
    let polled = retry_on_intr(|| poll(&mut end, None));
    if polled.is_err() || !end[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return false;
    }
    loop {
        let before = carried.load(Ordering::Relaxed);
        thread::sleep(long);
        if carried.load(Ordering::Relaxed) == before {
            return true;
        }
    }
}

/// Carries what the client says to the server, until either closes its end. Counts the messages.
fn carry_client(
    mut server: ChildStdin,
    filter: &Filter,
    to_client: &ToClient<impl Write>,
    mut watch: Watch,
    carried: &AtomicU64,
) -> io::Result<()> {
    let mut client = Reader::new(Patient(io::stdin()));
    let mut message = Zeroizing::new(Vec::new());
    let mut batch = Batch::new();
    let mut more = false;
    while client.read_line(&mut message)? {
        if !more {
            watch.look();
        }
        more = client.has_line();
        let passed = filter.client_message(&message);
        if let Some(answer) = passed.to_client() {
            let mut client = to_client.lock();
            client.end_line()?;
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
        carried.fetch_add(1, Ordering::Relaxed);
    }
    batch.write(&mut server)
}

/// Carries what the server says to the client, until the server closes its end. An error is one of writing to the
/// client.
fn carry_server(
    server: impl Read,
    filter: &Filter,
    client: &ToClient<impl Write>,
) -> io::Result<()> {
    let mut server = Reader::new(server);
    let mut message = Zeroizing::new(Vec::new());
    let mut batch = Batch::new();
    let mut text: Option<Text> = None;
    while server.read_line(&mut message).is_ok_and(|read| read) {
        let redactor = filter.redactor();
        if is_message(&message) && !text::is_part_of_value(text.as_ref(), &message, &redactor) {
            if let Some(text) = text.take() {
                batch.add(&filter.server_message(&text.end()), &mut *client.lock())?;
            }
            batch.end_line(&mut *client.lock())?;
            batch.add(&filter.server_message(&message), &mut *client.lock())?;
        } else {
            let text = text.get_or_insert_with(|| Text::new(&redactor));
            let lines = text.push(&message, &redactor);
            batch.add(&filter.server_message(&lines), &mut *client.lock())?;
        }
        if !server.has_line() {
            batch.write(&mut *client.lock())?;
        }
        wipe(&mut message);
    }
    if let Some(text) = text {
        batch.add(&filter.server_message(&text.end()), &mut *client.lock())?;
    }
    batch.write(&mut *client.lock())
}

/// Whether a line looks like a message, or a batch of them.
fn is_message(line: &[u8]) -> bool {
    match line.trim_ascii() {
        [b'{', .., b'}'] => true,
        [b'[', inner @ .., b']'] => inner.trim_ascii().starts_with(b"{"),
        _ => false,
    }
}

/// How many bytes are read and written at once.
const BATCH: usize = 64 * 1024;

/// Wipes the bytes, but not the rest of the capacity, which a large message may have left.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.clear();
}

#[cfg(test)]
mod tests {
    use keyward::{Redactor, SecretValue, UserId, Vault};

    use super::*;

    const OBJECTS: &str = "[\n  {\"user\": \"ann\", \"password\": \"h 2\"}\n]\n";
    const LINES: &str = "{\"a\": \"x y\"}\n{\"b\": \"z\"}";

    const VALUES: [(&str, &str); 3] = [
        ("secret://ini", "[a]\nkey = 1\n"),
        ("secret://objects", OBJECTS),
        ("secret://lines", LINES),
    ];

    /// What the client reads of what the server says, and of an answer by the proxy after that.
    fn read_by_client(said: &[u8], values: &[(&str, &str)]) -> String {
        let vault = Vault::builder().in_memory().expect("it needs nothing");
        let mut redactor = Redactor::new();
        for &(reference, value) in values {
            redactor.add(reference, &SecretValue::new(value));
        }
        let filter = Filter::new(vault.user(UserId::LOCAL)).redacting(&redactor);
        let client = ToClient::new(Vec::new());
        carry_server(said, &filter, &client).expect("a vector takes everything");
        let mut client = client.lock();
        client.end_line().expect("a vector takes everything");
        client
            .write_all(b"ANSWER\n")
            .expect("a vector takes everything");
        String::from_utf8(client.to.clone()).expect("what the server says is text")
    }

    /// The server reads no more, so nobody sees the end of what the client says.
    #[cfg(unix)]
    #[test]
    fn a_client_that_is_gone_is_noticed_also_where_its_messages_are_not_read_to_the_end() {
        use io::{Read as _, Write as _};

        let (mut client, mut says) = io::pipe().expect("there are pipes");
        let carried = AtomicU64::new(0);
        thread::scope(|scope| {
            let waits = scope
                .spawn(|| waits_for_client_in_vain(&client, &carried, Duration::from_millis(1)));
            says.write_all(b"{}\n").expect("there is room");
            for _ in 0..100 {
                carried.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
            assert!(!waits.is_finished(), "the client is there");
            drop(says);
            assert!(waits.join().expect("it ends"));
        });
        let mut unread = String::new();
        client.read_to_string(&mut unread).expect("it is text");
        assert_eq!(unread, "{}\n");
    }

    #[test]
    fn a_message_has_a_line_of_its_own() {
        for (said, read) in [
            ("", "ANSWER\n"),
            ("{}\n", "{}\nANSWER\n"),
            ("{}", "{}\nANSWER\n"),
            ("text", "text\nANSWER\n"),
            ("text\n{}\n", "text\n{}\nANSWER\n"),
            ("[a]\nkey = 1\n{}\n", "secret://ini\n{}\nANSWER\n"),
            ("a\nb [a]\nkey = 1\n{}\n", "a\nb secret://ini\n{}\nANSWER\n"),
            ("[a]\nkey\n{}\n", "[a]\nkey\n{}\nANSWER\n"),
            (
                "[a]\nkey = 1\n[a]\nkey = 1\n",
                "secret://inisecret://ini\nANSWER\n",
            ),
        ] {
            assert_eq!(read_by_client(said.as_bytes(), &VALUES), read, "{said:?}");
        }
    }

    #[test]
    fn a_line_of_a_value_is_no_message() {
        for (said, read) in [
            (OBJECTS.to_owned(), "secret://objects\nANSWER\n"),
            (
                format!("is {OBJECTS}{{}}\n"),
                "is secret://objects\n{}\nANSWER\n",
            ),
            (format!("{LINES}\n"), "secret://lines\nANSWER\n"),
            (
                format!("{{}}\n{LINES}\n{{}}\n"),
                "{}\nsecret://lines\n{}\nANSWER\n",
            ),
            (
                format!("text\n{{\"c\": {LINES}\n"),
                "text\n{\"c\": secret://lines\nANSWER\n",
            ),
            (
                "[\n{\"user\": 1}\n]\n".to_owned(),
                "[\n{\"user\": 1}\n]\nANSWER\n",
            ),
            (
                "{\"a\": \"x y\"}\n{\"c\": 1}\n".to_owned(),
                "{\"a\": \"x y\"}\n{\"c\": 1}\nANSWER\n",
            ),
        ] {
            assert_eq!(read_by_client(said.as_bytes(), &VALUES), read, "{said:?}");
        }
    }

    #[test]
    fn a_short_line_of_a_value_is_no_message() {
        let value = "{}\n{\"b\": \"y 1\"}";
        for (said, read) in [
            (format!("{value}\n"), "secret://short\nANSWER\n"),
            (format!("{value}\n{{}}\n"), "secret://short\n{}\nANSWER\n"),
            ("{}\n{\"b\": 1}\n".to_owned(), "{}\n{\"b\": 1}\nANSWER\n"),
        ] {
            let shown = read_by_client(said.as_bytes(), &[("secret://short", value)]);
            assert_eq!(shown, read, "{said:?}");
        }
    }

    #[test]
    fn a_value_that_became_known_in_the_middle_of_a_text_is_found() {
        let mut redactor = Redactor::new();
        redactor.add("secret://other", &SecretValue::new("[\nother"));
        let mut text = Text::new(&redactor);
        assert!(text.push(b"[\n", &redactor).is_empty());
        redactor.add("secret://objects", &SecretValue::new(OBJECTS));
        let line = OBJECTS.lines().nth(1).expect("three lines").to_owned() + "\n";
        assert!(text::is_part_of_value(
            Some(&text),
            line.as_bytes(),
            &redactor
        ));
    }

    /// Whoever waits for a message gets it before the server says anything else.
    #[test]
    fn a_message_is_not_held_back() {
        let mut redactor = Redactor::new();
        for value in ["[a]\nkey = 1\n", OBJECTS, LINES, "\n}\n{}", "}}\n--"] {
            redactor.add("secret://a", &SecretValue::new(value));
        }
        let mut text = Text::new(&redactor);
        let _ = text.push(b"[\n", &redactor);
        for message in [
            "{}\n",
            "{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {}}\n",
            "{\"user\": {\"id\": {}}}\r\n",
        ] {
            for text in [None, Some(&text)] {
                let is_part = text::is_part_of_value(text, message.as_bytes(), &redactor);
                assert!(!is_part, "{message:?} after text: {}", text.is_some());
            }
        }
    }
}
