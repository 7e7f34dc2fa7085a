//! A file of events, line by line.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufReader, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    AuditEvent, AuditSink,
    chain::{self, AuditCheck, AuditHead},
};
use crate::error::{Error, ErrorKind};

/// A sink that appends events to a file, as lines of JSON that form a chain: nothing can be changed, taken out or put in
/// before the last line without this being [found](AuditLog::verify).
///
/// ```
/// use keyward::{AuditLog, NewSecret, UserId, Vault};
/// use std::sync::Arc;
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("audit.jsonl");
/// let log = Arc::new(AuditLog::open(&path)?);
/// let vault = Vault::builder().audit(Arc::clone(&log)).in_memory()?;
/// vault.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
///
/// // To be kept elsewhere:
/// let head = log.head().to_string();
///
/// let check = AuditLog::verify(&path, Some(&head.parse()?))?;
/// assert_eq!((check.fault, check.head.sequence()), (None, 2));
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # The chain
///
/// A line is the event as a JSON object, with its number in `sequence` as the first member, from 1, and `hash` as the last.
/// The hash is the SHA-256 of 32 bytes, the hash of the line before, and of the line itself up to, but not including, the
/// comma before `"hash"`; in 64 lower-case hex digits. Before the first line stands the SHA-256 of `keyward audit log 1`.
///
/// Each line is written at once. What a crash or a full disk leaves of a line is recognized, as it has no end, and goes when
/// the next one is written, or the log is opened again. The system is not asked to put lines on the disk, so a power failure
/// can take the last of them: see [`sync`](AuditLog::sync).
///
/// One process writes to a log that was [opened](AuditLog::open), and opening it a second time fails. Many can write to one that
/// each of them opened as [shared](AuditLog::open_shared). To begin a new file, drop the log, rename the file, and open a new
/// one, which has a chain of its own.
///
/// # Security
///
/// The hashes take no key. Who can write to the file can cut off lines at its end, or write the whole of it anew, with hashes
/// that are right: that is found only against a [head](AuditLog::head) that was remembered elsewhere, and only for what came
/// before that. What is in the lines is not encrypted; on Unix, a new file can be read by its owner alone.
pub struct AuditLog {
    writer: Mutex<Writer>,
    repaired: bool,
}

struct Writer {
    file: File,
    head: AuditHead,
    /// The length of the file up to the end of its last line.
    length: u64,
    /// Whether there may be more in the file than that.
    torn: bool,
    /// For a file that others write to as well: how long to wait for them. It is locked only while a line is written.
    shared: Option<Duration>,
}

impl AuditLog {
    /// Opens the log in a file, or begins one. The lines that there are, are checked: this takes time in proportion to them.
    ///
    /// # Errors
    ///
    /// `InUse` if the log is open elsewhere; `Corrupt` if its lines form no chain, to which none is added then: look into
    /// it, and begin another file; `Storage` if it cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<AuditLog, Error> {
        AuditLog::open_with(path.as_ref(), None)
    }

    /// Opens a log that other processes write to at the same time, each through a log that is shared as well; one chain comes
    /// of it. An event waits for those of others, at most for `wait`, and is lost else. What others wrote is checked before a
    /// line is put after it; nothing is, once it was changed.
    ///
    /// # Errors
    ///
    /// As for [`open`](AuditLog::open); `InUse` if it is open otherwise, or is not free in time.
    pub fn open_shared(path: impl AsRef<Path>, wait: Duration) -> Result<AuditLog, Error> {
        AuditLog::open_with(path.as_ref(), Some(wait))
    }

    fn open_with(path: &Path, shared: Option<Duration>) -> Result<AuditLog, Error> {
        let file = options().open(path).map_err(failed)?;
        lock(&file, shared.unwrap_or_default()).map_err(|error| match error {
            TryLockError::WouldBlock => Error::new(
                ErrorKind::InUse,
                "the audit log is open elsewhere: one process writes to it, or all share it",
            ),
            TryLockError::Error(error) => failed(error),
        })?;
        let (check, length) = chain::check(BufReader::new(&file), None).map_err(failed)?;
        if let Some(fault) = check.fault {
            let message = format!("the audit log was changed: {fault}; begin another file");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let mut writer = Writer {
            file,
            head: check.head,
            length,
            torn: check.torn,
            shared,
        };
        writer.repair().map_err(failed)?;
        if shared.is_some() {
            writer.file.unlock().map_err(failed)?;
        }
        Ok(AuditLog {
            writer: Mutex::new(writer),
            repaired: check.torn,
        })
    }

    /// The head of the log as it is now; of one that is shared, after the last line that this process wrote. Kept elsewhere,
    /// it shows later that nothing up to here is missing.
    pub fn head(&self) -> AuditHead {
        self.writer().head
    }

    /// Whether the log ended in a torn line when it was opened, which was dropped.
    pub fn was_repaired(&self) -> bool {
        self.repaired
    }

    /// Waits until the disk has every line so far.
    ///
    /// # Errors
    ///
    /// `Storage` if the system fails to.
    pub fn sync(&self) -> Result<(), Error> {
        self.writer().file.sync_data().map_err(failed)
    }

    /// Checks the lines in a file, up to its end or the first fault. With a head that was remembered, the log must have led
    /// to it: else lines at its end could be missing, or all of it be written anew.
    ///
    /// # Errors
    ///
    /// `Storage` if the file cannot be read; on Windows, that is so while it is open as a log.
    pub fn verify(
        path: impl AsRef<Path>,
        remembered: Option<&AuditHead>,
    ) -> Result<AuditCheck, Error> {
        let file = File::open(path).map_err(failed)?;
        let (check, _) = chain::check(BufReader::new(file), remembered).map_err(failed)?;
        Ok(check)
    }

    /// What is guarded is whole at every moment, so a panic elsewhere does not spoil it.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for AuditLog {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        self.writer().append(event)
    }
}

impl Writer {
    fn append(&mut self, event: &AuditEvent) -> io::Result<()> {
        let Some(wait) = self.shared else {
            return self.write(event);
        };
        lock(&self.file, wait)?;
        let written = self.catch_up().and_then(|()| self.write(event));
        written.and(self.file.unlock())
    }

    /// Takes in what others wrote since.
    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length == self.length {
            return Ok(());
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.length))?;
        let (check, more) = chain::check_after(self.head, BufReader::new(file), None)?;
        if length < self.length || check.fault.is_some() {
            let message = "the audit log was changed: begin another file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.head = check.head;
        self.length += more;
        self.torn = check.torn;
        Ok(())
    }

    fn write(&mut self, event: &AuditEvent) -> io::Result<()> {
        self.repair()?;
        let (line, head) = chain::line(&self.head, event)?;
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        self.head = head;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Drops what there is of a line that was not written as a whole.
    fn repair(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        Ok(())
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// How long to wait before a lock that another process has is tried again.
const POLL: Duration = Duration::from_millis(1);

fn lock(file: &File, wait: Duration) -> Result<(), TryLockError> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if start.elapsed() < wait => thread::sleep(POLL),
            done => return done,
        }
    }
}

fn failed(source: io::Error) -> Error {
    let message = "the audit log cannot be read or written: check the path and the disk";
    Error::new(ErrorKind::Storage, message).with_source(source)
}
