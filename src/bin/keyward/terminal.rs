//! A terminal that shows nothing of what is typed.

use std::{fs, io::Read, sync::Arc, thread, time::Duration};

use rustix::{
    io::ioctl_fionread,
    process::getpgrp,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};
use zeroize::Zeroizing;

use crate::signals::{self, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// How long the rest of what was pasted may take to arrive.
const PASTING: Duration = Duration::from_millis(50);

/// More parts than what was pasted arrives in. What is typed without end is not waited for.
const MOST_PARTS: usize = 100;

/// A terminal without echo. The prompt is shown before `rpassword` turns the echo off, so without this, text that is
/// pasted or typed ahead could be seen. A signal that ends the program turns the echo on again.
pub(crate) struct Quiet(Arc<Terminal>);

struct Terminal {
    file: fs::File,
    before: Termios,
}

impl Quiet {
    /// Turns the echo off. `None` if there is no terminal, or if this job runs in the background: the system stops such
    /// a job when it uses the terminal, and a signal must then be able to end it, so none is received here.
    pub(crate) fn new() -> Option<Quiet> {
        let file = fs::File::open("/dev/tty").ok()?;
        if !is_in_front(&file) {
            return None;
        }
        let before = tcgetattr(&file).ok()?;
        let terminal = Arc::new(Terminal { file, before });
        // First, so that no signal comes in between.
        let quiet = Quiet(Arc::clone(&terminal));
        signals::receive_unless_ignored(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM], move |received| {
            terminal.restore();
            signals::end_by(received.signal);
        })
        .ok()?;
        quiet.0.without(LocalModes::ECHO | LocalModes::ECHONL);
        Some(quiet)
    }

    /// Drops what was pasted beyond the line that was read. Returns whether there was more than ends of lines.
    pub(crate) fn drop_the_rest(&self) -> bool {
        let terminal = &self.0;
        // With lines, one that has no end yet is not seen.
        terminal.without(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        let mut any = false;
        let mut buffer = Zeroizing::new([0; 4096]);
        for _ in 0..MOST_PARTS {
            thread::sleep(PASTING);
            if ioctl_fionread(&terminal.file).unwrap_or(0) == 0 {
                break;
            }
            let read = (&terminal.file).read(&mut *buffer).unwrap_or(0);
            any |= buffer[..read]
                .iter()
                .any(|byte| !matches!(byte, b'\r' | b'\n'));
        }
        any
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.restore();
        // From here on a signal must not set the terminal to how it was before the prompt.
        let _ = signals::end_by_any();
    }
}

impl Terminal {
    fn without(&self, modes: LocalModes) {
        let mut other = self.before.clone();
        other.local_modes.remove(modes);
        let _ = tcsetattr(&self.file, OptionalActions::Now, &other);
    }

    fn restore(&self) {
        if is_in_front(&self.file) {
            let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
        }
    }
}

/// Whether a terminal belongs to this job. Any other one is stopped when it changes the terminal.
fn is_in_front(terminal: &fs::File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|in_front| in_front == getpgrp())
}
