//! An MCP server as a process, and how it ends.

use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use keyward::Redactor;

use crate::{failure::Failure, output::Patient, program, relay};

/// How long a server may take to end once it was told to.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How often to look whether a server that has closed its output has ended.
const POLL: Duration = Duration::from_millis(2);

/// What can end a session.
#[derive(PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing more comes from the client.
    ClientClosed,
    /// Nobody reads what the server says, or the server does not read what a client said that is not there any more.
    ClientGone,
    /// Nothing more comes from the server.
    ServerClosed,
    /// The process that was started has ended. What it started may still be there, and may be the server.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix tells"))]
    ServerEnded,
    /// The program was told to end, by this signal.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has them"))]
    Signal(i32),
}

/// Sends an event for each signal that tells the program to end. Once nobody receives them, a signal ends the
/// program.
#[cfg(unix)]
pub(crate) fn listen_for_signals(send: &mpsc::Sender<Event>) -> Result<(), Failure> {
    use crate::signals::{self, SIGHUP, SIGINT, SIGTERM};

    let send = send.clone();
    signals::receive_unless_ignored(&[SIGHUP, SIGINT, SIGTERM], move |received| {
        if send.send(Event::Signal(received.signal)).is_err() {
            signals::end_by(received.signal);
        }
    })?;
    Ok(())
}

#[cfg(unix)]
pub(crate) use crate::signals::end_by;

#[cfg(not(unix))]
pub(crate) fn end_by(_: i32) {}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(crate) fn listen_for_signals(_: &mpsc::Sender<Event>) -> Result<(), Failure> {
    Ok(())
}

/// How a session ended.
pub(crate) struct Ended {
    /// The server's.
    pub(crate) status: ExitStatus,
    /// The signal that told the program to end, if one did.
    pub(crate) by: Option<i32>,
}

impl Ended {
    /// Takes a signal that has come meanwhile into account.
    fn with(status: ExitStatus, by: Option<i32>, events: &mpsc::Receiver<Event>) -> Ended {
        let signals = events.try_iter().filter_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            _ => None,
        });
        let by = signals.last().or(by);
        Ended { status, by }
    }
}

/// A running MCP server.
pub(crate) struct Server {
    pub(crate) child: Child,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Result<Server, Failure> {
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

    /// Passes on what the server writes to standard error, redacted. The returned channel closes when all of it was
    /// passed on.
    pub(crate) fn pass_errors_on(
        &mut self,
        redactor: impl Fn() -> Arc<Redactor> + Send + 'static,
    ) -> mpsc::Receiver<()> {
        let (are_passed_on, passed_on) = mpsc::channel();
        if let Some(errors) = self.child.stderr.take() {
            thread::spawn(move || {
                let _ = relay::copy(errors, Patient(io::stderr()), redactor);
                drop(are_passed_on);
            });
        }
        passed_on
    }

    /// Sends an event when the process ends, which is left to be waited for.
    #[cfg(unix)]
    pub(crate) fn tell_when_it_ends(&self, send: mpsc::Sender<Event>) {
        use rustix::{
            io::retry_on_intr,
            process::{Pid, WaitId, WaitIdOptions, waitid},
        };

        let process = Pid::from_child(&self.child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        thread::spawn(move || {
            // An error says that it has been waited for.
            let _ = retry_on_intr(|| waitid(WaitId::Pid(process), options));
            let _ = send.send(Event::ServerEnded);
        });
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn tell_when_it_ends(&self, _: mpsc::Sender<Event>) {}

    /// Waits for the session to end, from whichever side. A server that was not told to end may go on for `linger`
    /// without a client, whether or not it has closed its output.
    pub(crate) fn end(
        mut self,
        events: &mpsc::Receiver<Event>,
        linger: Duration,
    ) -> Result<Ended, Failure> {
        let mut by = None;
        let mut deadline: Option<Instant> = None;
        let mut told = false;
        let mut closed = false;
        let mut failed = false;
        loop {
            let event = match deadline {
                None => events
                    .recv()
                    .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // No event tells that the server has ended.
                    events.recv_timeout(if closed { left.min(POLL) } else { left })
                }
            };
            let mut tell = false;
            match event {
                Ok(Event::ClientClosed) if !told => deadline = Some(Instant::now() + linger),
                Ok(Event::ClientClosed) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(Event::ClientGone) => tell = true,
                Ok(Event::ServerEnded) => {
                    // A launcher that leaves the server behind ends well.
                    let status = self.child.try_wait()?;
                    failed = status.is_some_and(|status| !status.success());
                    let soon = Instant::now() + GRACE;
                    if failed && deadline.is_none_or(|deadline| deadline > soon) {
                        deadline = Some(soon);
                    }
                }
                Ok(Event::Signal(signal)) => {
                    by = Some(signal);
                    tell = true;
                }
                Ok(Event::ServerClosed) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    closed = true;
                    deadline.get_or_insert_with(|| Instant::now() + GRACE);
                }
            }
            if event == Err(mpsc::RecvTimeoutError::Disconnected) {
                thread::sleep(POLL);
            }
            if closed && let Some(status) = self.child.try_wait()? {
                // A launcher may have left the server itself behind.
                self.terminate();
                return Ok(Ended::with(status, by, events));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                if told || failed {
                    if told {
                        self.kill();
                    } else {
                        self.terminate();
                    }
                    let status = self.child.wait()?;
                    return Ok(Ended::with(status, by, events));
                }
                tell = true;
            }
            if tell && !told {
                self.terminate();
                deadline = Some(Instant::now() + GRACE);
                told = true;
            }
        }
    }
}

#[cfg(unix)]
impl Server {
    /// Tells the server, and whatever it started, to end.
    fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Kills the server, and what is left of whatever it started.
    fn kill(&mut self) {
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
    fn terminate(&self) {}

    fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_also_when_it_comes_while_the_server_ends() {
        for (before, meanwhile, by) in [
            (None, &[][..], None),
            (Some(2), &[], Some(2)),
            (None, &[15], Some(15)),
            (Some(2), &[1, 15], Some(15)),
        ] {
            let (send, events) = mpsc::channel();
            send.send(Event::ClientClosed).expect("it is received");
            for signal in meanwhile {
                send.send(Event::Signal(*signal)).expect("it is received");
            }
            send.send(Event::ServerClosed).expect("it is received");
            let ended = Ended::with(ExitStatus::default(), before, &events);
            assert_eq!(ended.by, by);
        }
    }
}
