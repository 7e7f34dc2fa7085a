//! What the proxy costs: the time per call, and the calls per second with 64 in flight, compared with a pipe that
//! only passes bytes on.
//!
//! ```text
//! cargo bench --bench proxy --features cli
//! ```
//!
//! The server answers each call with a kilobyte; the proxy puts a secret into each call and looks for it in each
//! answer. The server, the pipe and the proxy are separate processes, as in use.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "this is the report")]

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use keyward::{KeySource, NewSecret, UserId, Vault};

const KEY: [u8; 32] = *b"a key for a vault of a benchmark";
const VALUE: &str = "lin_api_Zq8wT3vN5cX2mQ9r";
const IN_FLIGHT: usize = 64;

fn main() {
    match env::args().nth(1).as_deref() {
        Some("server") => server(),
        Some("pipe") => pipe(),
        _ => compare(env::args().any(|arg| arg == "--test")),
    }
}

fn compare(is_test: bool) {
    let (rounds, calls) = if is_test { (1, 200) } else { (7, 20_000) };
    let dir = tempfile::tempdir().unwrap();
    let vault = dir.path().join("vault.keyward");
    let key = dir.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let secret = NewSecret::new("key", VALUE)
        .bind("create_issue", "api_key")
        .default_for_tool();
    let user = Vault::create(&vault, KeySource::raw(KEY))
        .unwrap()
        .user(UserId::LOCAL);
    user.create(secret).unwrap();
    drop(user);

    let this = env::current_exe().unwrap();
    let mut direct = Command::new(&this);
    direct.arg("server");
    let mut piped = Command::new(&this);
    piped.arg("pipe");
    let mut proxied = Command::new(env!("CARGO_BIN_EXE_keyward"));
    proxied.args(["mcp", "--"]).arg(&this).arg("server");
    proxied
        .env("KEYWARD_VAULT", vault)
        .env("KEYWARD_KEY_FILE", key);

    println!(
        "{:<8} {:>14} {:>22}",
        "", "time per call", "calls/s, 64 in flight"
    );
    let mut results = Vec::new();
    for (name, command) in [
        ("direct", &mut direct),
        ("pipe", &mut piped),
        ("proxy", &mut proxied),
    ] {
        let mut best = (Duration::MAX, 0.0_f64);
        for _ in 0..rounds {
            let mut session = Session::start(command, name == "proxy");
            let latency = session.latency(calls / 10);
            best = (best.0.min(latency), best.1.max(session.throughput(calls)));
            session.end();
        }
        println!(
            "{name:<8} {:>11.1} µs {:>22.0}",
            best.0.as_secs_f64() * 1e6,
            best.1
        );
        results.push(best);
    }
    println!(
        "proxy to pipe: {:.2} times the time per call, {:.2} times the calls per second",
        results[2].0.as_secs_f64() / results[1].0.as_secs_f64(),
        results[2].1 / results[1].1,
    );
}

/// A client of the server, the pipe or the proxy.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: String,
    is_redacted: bool,
}

impl Session {
    fn start(command: &mut Command, is_redacted: bool) -> Session {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Session {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            line: String::new(),
            is_redacted,
        }
    }

    /// The median time of a call, one call after another.
    fn latency(&mut self, calls: usize) -> Duration {
        let mut times: Vec<Duration> = (0..calls)
            .map(|id| {
                let start = Instant::now();
                self.input.write_all(call(id).as_bytes()).unwrap();
                self.answer();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn throughput(&mut self, calls: usize) -> f64 {
        let start = Instant::now();
        for id in 0..calls + IN_FLIGHT {
            if id < calls {
                self.input.write_all(call(id).as_bytes()).unwrap();
            }
            if id >= IN_FLIGHT {
                self.answer();
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "there are not that many calls")]
        let calls = calls as f64;
        calls / start.elapsed().as_secs_f64()
    }

    fn answer(&mut self) {
        self.line.clear();
        self.output.read_line(&mut self.line).unwrap();
        let says = if self.is_redacted {
            "key secret://key"
        } else {
            "key none"
        };
        assert!(self.line.contains(says), "{}", self.line);
    }

    fn end(mut self) {
        drop(self.input);
        self.output.read_to_string(&mut self.line).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

fn call(id: usize) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"create_issue\",\
         \"arguments\":{{\"title\":\"Login fails\",\"body\":\"It says that the password is wrong, and it is not.\"}}}}}}\n"
    )
}

/// Answers each call with the key that it was given, and fills the answer up to a kilobyte.
fn server() {
    let mut output = io::stdout().lock();
    let filler = "An answer is text that holds no value. ".repeat(25);
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let id = line
            .split("\"id\":")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .unwrap();
        let key = line
            .split("\"api_key\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or("none");
        let answer = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"key {key} {filler}\"}}]}}}}\n"
        );
        output.write_all(answer.as_bytes()).unwrap();
        output.flush().unwrap();
    }
}

/// Passes bytes on in both directions.
fn pipe() {
    let mut server = Command::new(env::current_exe().unwrap())
        .arg("server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (input, output) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
    thread::spawn(move || copy(io::stdin().lock(), input));
    copy(output, io::stdout().lock());
    server.wait().unwrap();
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        to.write_all(&buffer[..length]).unwrap();
        to.flush().unwrap();
    }
}
