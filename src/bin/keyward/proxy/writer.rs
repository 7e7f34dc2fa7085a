//! Writing messages: to the client, and together.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;

use super::{BATCH, wipe};

/// What the client reads. The server's messages and the proxy's own are written by different threads.
pub(super) struct ToClient<W>(Mutex<Lines<W>>);

impl<W: Write> ToClient<W> {
    pub(super) fn new(to: W) -> ToClient<W> {
        ToClient(Mutex::new(Lines {
            to,
            unfinished: false,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lines<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer that knows whether its last line has an end: a message needs a line of its own.
pub(super) struct Lines<W> {
    pub(super) to: W,
    unfinished: bool,
}

impl<W: Write> Lines<W> {
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        if self.unfinished {
            self.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        if let Some(last) = bytes[..written].last() {
            self.unfinished = *last != b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whole messages that arrived together and are passed on together.
pub(super) struct Batch(Zeroizing<Vec<u8>>);

impl Batch {
    pub(super) fn new() -> Batch {
        Batch(Zeroizing::new(Vec::with_capacity(BATCH)))
    }

    pub(super) fn add(&mut self, message: &[u8], to: &mut impl Write) -> io::Result<()> {
        if self.0.len() + message.len() > BATCH {
            self.write(to)?;
        }
        if message.len() > BATCH {
            return to.write_all(message);
        }
        self.0.extend_from_slice(message);
        Ok(())
    }

    /// Ends the last line, be it here or with the client. Only this thread leaves lines there that have no end.
    pub(super) fn end_line(&mut self, to: &mut Lines<impl Write>) -> io::Result<()> {
        match self.0.last() {
            None => to.end_line(),
            Some(b'\n') => Ok(()),
            Some(_) => self.add(b"\n", to),
        }
    }

    pub(super) fn write(&mut self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.0)?;
        wipe(&mut self.0);
        to.flush()
    }
}
