//! A terminal that shows nothing of what is typed.

use std::{fs, sync::Arc, thread, time::Duration};

use rustix::{
    io::ioctl_fionread,
    termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr},
};

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
    /// `None` if there is no terminal.
    pub(crate) fn new() -> Option<Quiet> {
        let file = fs::File::open("/dev/tty").ok()?;
        let before = tcgetattr(&file).ok()?;
        let terminal = Arc::new(Terminal { file, before });
        // First, so that no signal comes in between.
        let quiet = Quiet(Arc::clone(&terminal));
        signals::receive(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM], move |signal| {
            terminal.restore();
            signals::end_by(signal);
        })
        .ok()?;
        quiet.0.without(LocalModes::ECHO | LocalModes::ECHONL);
        Some(quiet)
    }

    /// Drops what was pasted beyond the line that was read. Returns whether there was anything.
    pub(crate) fn drop_the_rest(&self) -> bool {
        let terminal = &self.0;
        // With lines, one that has no end yet is not seen.
        terminal.without(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        let mut any = false;
        for _ in 0..MOST_PARTS {
            thread::sleep(PASTING);
            if ioctl_fionread(&terminal.file).unwrap_or(0) == 0 {
                break;
            }
            any = true;
            let _ = tcflush(&terminal.file, QueueSelector::IFlush);
        }
        any
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.restore();
    }
}

impl Terminal {
    fn without(&self, modes: LocalModes) {
        let mut other = self.before.clone();
        other.local_modes.remove(modes);
        let _ = tcsetattr(&self.file, OptionalActions::Now, &other);
    }

    fn restore(&self) {
        let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
    }
}
