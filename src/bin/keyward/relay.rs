//! Passing on what another program prints, redacted.

use std::{
    io::{self, Write},
    sync::Arc,
};

use keyward::Redactor;
use zeroize::Zeroizing;

/// Copies an output, redacted, as it comes. The set of redacted values can grow meanwhile. When the output pauses,
/// somebody may be waiting for the end of a line: then what is held back is passed on if it reveals nothing of a value.
pub(crate) fn copy(
    mut from: impl Pipe,
    mut to: impl Write,
    redactor: impl Fn() -> Arc<Redactor>,
) -> io::Result<()> {
    let mut stream = redactor().stream();
    let mut buffer = Zeroizing::new(vec![0; 64 * 1024]);
    loop {
        if from.pauses() {
            to.write_all(&stream.pause())?;
            to.flush()?;
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        stream.merge(&redactor());
        to.write_all(&stream.push(&buffer[..length]))?;
        to.flush()?;
    }
    to.write_all(&stream.finish())?;
    to.flush()
}

/// The output of another program.
pub(crate) trait Pipe: io::Read {
    /// Waits until there is something to read or the output ends, but not for long; returns whether it took too long.
    fn pauses(&self) -> bool;
}

#[cfg(unix)]
impl<T: io::Read + std::os::fd::AsFd> Pipe for T {
    fn pauses(&self) -> bool {
        use rustix::{
            event::{PollFd, PollFlags, Timespec, poll},
            io::retry_on_intr,
        };

        const SILENCE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let mut output = [PollFd::new(self, PollFlags::IN)];
        retry_on_intr(|| poll(&mut output, Some(&SILENCE))) == Ok(0)
    }
}

/// Elsewhere a pipe cannot be asked without unsafe code, so that the end of a line may wait for the next one.
#[cfg(not(unix))]
impl<T: io::Read> Pipe for T {
    fn pauses(&self) -> bool {
        false
    }
}
