//! Between an MCP client and an MCP server, on standard input and output.
//!
//! One thread carries what the client says, one what the server says, one its standard error; none waits for another, so
//! requests overlap as they do without the proxy. [`mcp::Filter`](keyward::mcp::Filter) decides over each message.
//!
//! # How it ends
//!
//! * The client closes its end, or dies: the server's standard input is closed, which tells it to end. What it still says
//!   is passed on. If it is there half a minute later, it is told to end, and then made to.
//! * Somebody tells the proxy to end (SIGTERM, SIGINT, SIGHUP): so is the server, which is made to two seconds later.
//! * The server ends, or dies: so does the proxy, with its exit code.
//! * The proxy is killed without a word: the server's standard input is closed.
//!
//! On Unix the server has a process group of its own, which is told as a whole: many a server is started by a launcher.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use keyward::{ErrorKind, Vault, mcp::Filter};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    args::Mcp,
    failure::Failure,
    place::Opener,
    program::{self, Prepared},
};

/// How long a server that was not told to end may go on without a client.
const LINGER: Duration = Duration::from_secs(30);

/// How long a server that was told to end may take.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) fn proxy(mut opener: Opener, mcp: &Mcp) -> Result<ExitCode, Failure> {
    let vault = opener.read()?;
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
    listen_for_signals(&send)?;
    let (errors_are_done, errors_done) = mpsc::channel::<()>();
    if let Some(errors) = server.child.stderr.take() {
        let filter = Arc::clone(&filter);
        thread::spawn(move || {
            let _ = program::copy(errors, io::stderr(), || filter.redactor());
            drop(errors_are_done);
        });
    }
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
    let code = server.end(&events);
    // What a server says last is often what matters. Something that it left behind may hold the other end for ever.
    let _ = errors_done.recv_timeout(GRACE);
    code
}

/// What the client says, to the server, until either closes its end.
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

/// What the server says, to the client, until the server closes its end. An error is the client's.
fn carry_server(server: ChildStdout, filter: &Filter) -> io::Result<()> {
    let mut server = BufReader::with_capacity(BATCH, server);
    let mut message = Zeroizing::new(Vec::new());
    let mut batch = Batch::new();
    while server
        .read_until(b'\n', &mut message)
        .is_ok_and(|length| length > 0)
    {
        batch.add(&filter.server_message(&message), &mut io::stdout().lock())?;
        if !server.buffer().contains(&b'\n') {
            batch.write(&mut io::stdout().lock())?;
        }
        wipe(&mut message);
    }
    batch.write(&mut io::stdout().lock())
}

/// As many bytes are read and written at once.
const BATCH: usize = 64 * 1024;

/// Whole messages that came together and go on together.
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

/// Not all of the capacity, which a large message may have left.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.clear();
}

enum Event {
    /// There is nothing more to come from the client.
    ClientClosed,
    /// Nobody reads what the server says.
    ClientGone,
    /// There is nothing more to come from the server.
    ServerClosed,
    /// The proxy was told to end.
    Signal,
}

struct Server {
    child: Child,
}

impl Server {
    fn start(command: &mut Command) -> Result<Server, Failure> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        Ok(Server {
            child: program::spawn(command)?,
        })
    }

    /// Waits for the end, from whichever side; the server's exit code.
    fn end(mut self, events: &mpsc::Receiver<Event>) -> Result<ExitCode, Failure> {
        let mut deadline: Option<Instant> = None;
        let mut told = false;
        let in_time = loop {
            let event = match deadline {
                None => events
                    .recv()
                    .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
            };
            match event {
                Ok(Event::ClientClosed) => {
                    deadline.get_or_insert_with(|| Instant::now() + LINGER);
                }
                Err(mpsc::RecvTimeoutError::Timeout) if told => break false,
                Ok(Event::ClientGone | Event::Signal) | Err(mpsc::RecvTimeoutError::Timeout) => {
                    if !told {
                        self.tell();
                        deadline = Some(Instant::now() + GRACE);
                    }
                    told = true;
                }
                Ok(Event::ServerClosed) | Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            }
        };
        // Who closed its output has little left to do.
        let deadline = Instant::now() + if in_time { GRACE } else { Duration::ZERO };
        loop {
            if let Some(status) = self.child.try_wait()? {
                // A launcher may have left the server itself behind.
                self.tell();
                return Ok(program::exit_code(status));
            }
            if Instant::now() >= deadline {
                self.make();
                return Ok(program::exit_code(self.child.wait()?));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(unix)]
impl Server {
    /// Tells the server, and whatever it started, to end.
    fn tell(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Ends what is left of it.
    fn make(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

#[cfg(not(unix))]
impl Server {
    #[expect(clippy::unused_self, reason = "as on Unix")]
    fn tell(&self) {}

    fn make(&mut self) {
        let _ = self.child.kill();
    }
}

#[cfg(unix)]
fn listen_for_signals(send: &mpsc::Sender<Event>) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let send = send.clone();
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = send.send(Event::Signal);
        }
    });
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn listen_for_signals(_: &mpsc::Sender<Event>) -> Result<(), Failure> {
    Ok(())
}

/// Keeps a snapshot as new as the vault's file.
struct Watch {
    vault: Vault,
    path: PathBuf,
    /// What the file looked like when it was read last, if that says that it is still the same.
    seen: Option<Look>,
    /// Not before this is it tried again.
    rest_until: Option<Instant>,
    broken: bool,
}

#[derive(PartialEq, Eq)]
struct Look {
    modified: SystemTime,
    length: u64,
}

impl Watch {
    /// How long a file must have been left alone for its time to tell that it is the same: file systems count time in
    /// steps.
    const SETTLED: Duration = Duration::from_secs(2);

    /// How long to work with what there is while another process has the vault open.
    const REST: Duration = Duration::from_secs(10);

    fn new(vault: Vault, path: &Path) -> Watch {
        Watch {
            vault,
            path: path.to_owned(),
            seen: None,
            rest_until: None,
            broken: false,
        }
    }

    /// Reads the file again if it may have changed.
    fn look(&mut self) {
        if self.broken || self.rest_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let look = fs::metadata(&self.path).and_then(|file| {
            Ok(Look {
                modified: file.modified()?,
                length: file.len(),
            })
        });
        let look = look.ok();
        if look.is_some() && look == self.seen {
            return;
        }
        match self.vault.reload() {
            Ok(_) => {
                let settled =
                    |look: &Look| look.modified.elapsed().is_ok_and(|age| age > Self::SETTLED);
                self.seen = look.filter(settled);
                self.rest_until = None;
            }
            // It is being written to: until that is done, what was there before holds.
            Err(error) if error.kind() == ErrorKind::InUse => {
                self.rest_until = Some(Instant::now() + Self::REST);
            }
            // The owner may have taken the vault away, so nothing is given out any more.
            Err(error) => {
                self.broken = true;
                let _ = self.vault.lock();
                eprintln!(
                    "keyward: the vault cannot be read again, so calls are refused until the proxy is started anew: {error}"
                );
            }
        }
    }
}
