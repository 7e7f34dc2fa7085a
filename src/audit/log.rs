//! A file of events, one per line.

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
    chain::{self, AuditCheck, AuditFaultKind, AuditHead},
};
use crate::{
    error::{Error, ErrorKind},
    folder,
};

/// A sink that appends events to a file, as lines of JSON that form a chain: [`verify`](AuditLog::verify) finds any
/// line before the last one that was changed, removed or inserted.
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
/// A line is the event as a JSON object, with its number in `sequence`, counting from 1, as the first member and
/// `hash` as the last. The hash is the SHA-256 of 32 bytes, the hash of the line before, followed by the line itself
/// up to, but not including, the comma before `"hash"`; it is written as 64 lower-case hex digits. The hash before
/// the first line is the SHA-256 of `keyward audit log 1`.
///
/// Each line is written at once. A line that a crash or a full disk cut off is recognized by its missing end, and is
/// dropped when the next line is written or the log is opened again; a file that ends in anything else is not
/// touched. The system is not asked to flush lines to disk, so a power failure can lose the last of them: see
/// [`sync`](AuditLog::sync).
///
/// One process writes to a log that was [opened](AuditLog::open), and opening it a second time fails. Several
/// processes can write to a log if each of them opened it as [shared](AuditLog::open_shared). Each file has a chain of
/// its own. A program that runs for long starts a new file with [`switch_to`](AuditLog::switch_to).
///
/// # Security
///
/// The hashes are not keyed. Anyone who can write to the file can cut off lines at its end, or rewrite all of it
/// with correct hashes: that is found only by comparison with a [head](AuditLog::head) that was remembered
/// elsewhere, and only for the lines up to that head. The lines are not encrypted; on Unix, a new file can be read
/// only by its owner.
pub struct AuditLog {
    writer: Mutex<Writer>,
}

struct Writer {
    file: File,
    head: AuditHead,
    /// The length of the file up to the end of its last line.
    length: u64,
    /// Whether the file may hold more than that.
    torn: bool,
    /// Set if others write to the file as well: how long to wait for them. It is locked only while a line is
    /// written.
    shared: Option<Duration>,
    /// Whether the file ended in a torn line when it was opened.
    repaired: bool,
}

impl AuditLog {
    /// Opens the log in a file, or creates one. Existing lines are checked, which takes time proportional to their
    /// number.
    ///
    /// # Errors
    ///
    /// `InUse` if the log is open elsewhere; `Corrupt` if its lines do not form a chain, or it is another file
    /// altogether, in which case no line is ever added: investigate, and start another file; `Storage` if it cannot
    /// be read or written. Those who have [shared](AuditLog::open_shared) the log are noticed only while they write a
    /// line; from then on they cannot, and lose their events.
    pub fn open(path: impl AsRef<Path>) -> Result<AuditLog, Error> {
        AuditLog::open_with(path.as_ref(), None)
    }

    /// Opens a log that other processes write to at the same time, each of them having opened it as shared; together
    /// they write one chain. An event waits for those of other processes, at most for `wait`; after that it is lost.
    /// Lines that others wrote are checked before one is added after them, and none is added after lines that do not
    /// continue the chain. Whether lines were changed that had been checked already, only [`verify`](AuditLog::verify)
    /// tells, and the next opening.
    ///
    /// # Errors
    ///
    /// As for [`open`](AuditLog::open); also `InUse` if it is open but not shared, or is not free in time.
    pub fn open_shared(path: impl AsRef<Path>, wait: Duration) -> Result<AuditLog, Error> {
        AuditLog::open_with(path.as_ref(), Some(wait))
    }

    fn open_with(path: &Path, shared: Option<Duration>) -> Result<AuditLog, Error> {
        Ok(AuditLog {
            writer: Mutex::new(Writer::open(path, shared)?),
        })
    }

    /// Writes all further events to the log in another file, which is opened in the same way as this one. Returns the
    /// head of the old file, whose lines are then on disk. No event is lost, and none is in both files: events of
    /// other threads wait meanwhile.
    ///
    /// If several processes share a log, each of them has to switch, to the same new path. Until it does, it writes to
    /// the old file, which may so grow beyond the head that another process was given. It is best to use each path for
    /// one file only, as in the example. To use the same path again, exactly one process renames the old file before it
    /// switches: if a second process did, it would rename the new file over the old one. Windows does not rename a file
    /// that is open.
    ///
    /// ```
    /// use keyward::{AuditLog, NewSecret, UserId, Vault};
    /// use std::sync::Arc;
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let [november, december] = ["audit-2026-11.jsonl", "audit-2026-12.jsonl"].map(|name| dir.path().join(name));
    /// let log = Arc::new(AuditLog::open(&november)?);
    /// let vault = Vault::builder().audit(Arc::clone(&log)).in_memory()?;
    /// let head = log.switch_to(&december)?;
    /// vault.user(UserId::LOCAL).create(NewSecret::new("linear", "lin_api_Zq8wT3vN"))?;
    ///
    /// assert_eq!(AuditLog::verify(&november, Some(&head))?.fault, None);
    /// assert_eq!(AuditLog::verify(&december, Some(&log.head()))?.head.sequence(), 1);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`open`](AuditLog::open), so `InUse` for the path of this log itself, unless it is shared; also `InUse`
    /// if another process keeps this log for too long, and `Storage` if what was written cannot be brought to the disk.
    /// The log then goes on in the file in which it was; the new file may be there already, and is empty.
    pub fn switch_to(&self, path: impl AsRef<Path>) -> Result<AuditHead, Error> {
        let mut writer = self.writer();
        let next = Writer::open(path.as_ref(), writer.shared)?;
        writer.leave().map_err(failed)?;
        Ok(std::mem::replace(&mut *writer, next).head)
    }

    /// Returns the head of the log as it is now; for a shared log, after the last line that this process wrote. Kept
    /// elsewhere, it shows later that no line up to here is missing.
    pub fn head(&self) -> AuditHead {
        self.writer().head
    }

    /// Returns whether the log ended in a torn line when its file was opened; that line was dropped.
    pub fn was_repaired(&self) -> bool {
        self.writer().repaired
    }

    /// Waits until all lines so far are on disk.
    ///
    /// # Errors
    ///
    /// `Storage` if the system fails to do so.
    pub fn sync(&self) -> Result<(), Error> {
        self.writer().file.sync_data().map_err(failed)
    }

    /// Checks the lines in a file, up to its end or the first fault. If a remembered head is given, the log must
    /// lead to it: without one, lines could be missing at the end, or all of it could have been rewritten. The log may
    /// be written to meanwhile; a line that is not complete yet is reported as [torn](AuditCheck::torn).
    ///
    /// The lines can also come from a pipe, such as that of a program which decompresses them; a named one waits for
    /// whoever writes to it.
    ///
    /// # Errors
    ///
    /// `Storage` if the file cannot be read, which on Windows includes while it is open as a log.
    pub fn verify(
        path: impl AsRef<Path>,
        remembered: Option<&AuditHead>,
    ) -> Result<AuditCheck, Error> {
        let file = File::open(path).map_err(failed)?;
        let checked = if file.metadata().map_err(failed)?.is_file() {
            chain::check_file(file, remembered)
        } else {
            chain::check(BufReader::new(file), remembered).map(|(check, _)| check)
        };
        checked.map_err(failed)
    }

    /// The writer is consistent at every moment, so a panic elsewhere does not spoil it.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for AuditLog {
    fn record(&self, event: &AuditEvent) -> io::Result<()> {
        // Other threads may wait for the same lock, each of them before the next one can.
        let start = Instant::now();
        self.writer().append(event, start)
    }
}

impl Writer {
    fn open(path: &Path, shared: Option<Duration>) -> Result<Writer, Error> {
        // Opening a pipe would wait for a reader.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let message = "the audit log is not a regular file: give the path of one";
            return Err(Error::new(ErrorKind::Storage, message));
        }
        let mut file = options().open(path).map_err(failed)?;
        let (mut head, mut checked) = (AuditHead::default(), 0);
        if shared.is_some() {
            // Most of the log, while others can write. What is at fault may be a torn line that was just replaced; and
            // Windows does not let a file be read that somebody else has locked.
            if let Ok((check, length)) = chain::check(BufReader::new(&file), None)
                && check.fault.is_none()
            {
                (head, checked) = (check.head, length);
            }
        }
        lock(&file, shared.unwrap_or_default()).map_err(|error| failed(error.into()))?;
        if file.metadata().map_err(failed)?.len() < checked {
            (head, checked) = (AuditHead::default(), 0);
        }
        file.seek(SeekFrom::Start(checked)).map_err(failed)?;
        let (check, more) =
            chain::check_after(head, BufReader::new(&file), None).map_err(failed)?;
        let length = checked + more;
        if let Some(fault) = check.fault {
            let message = if fault.line == 1 && fault.kind == AuditFaultKind::Malformed {
                "this is no audit log, or it was changed from its first line on: give the path of one, or of a new file".into()
            } else {
                format!("the audit log was changed: {fault}; start a new file")
            };
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let mut writer = Writer {
            file,
            head: check.head,
            length,
            torn: check.torn,
            shared,
            repaired: check.torn,
        };
        writer.repair().map_err(failed)?;
        if length == 0 {
            folder::sync(path).map_err(failed)?;
        }
        if shared.is_some() {
            writer.file.unlock().map_err(failed)?;
        }
        Ok(writer)
    }

    /// Writes a line that has been waiting to be written since `start`.
    fn append(&mut self, event: &AuditEvent, start: Instant) -> io::Result<()> {
        let Some(wait) = self.shared else {
            return self.write(event);
        };
        lock(&self.file, wait.saturating_sub(start.elapsed()))?;
        let written = self.catch_up().and_then(|()| self.write(event));
        written.and(self.file.unlock())
    }

    /// Flushes the file to disk, after taking in the lines of other processes and dropping a torn line. Only the flush
    /// has to succeed: a log that was tampered with, or is on a full disk, must not keep the program from leaving it.
    fn leave(&mut self) -> io::Result<()> {
        if let Some(wait) = self.shared {
            lock(&self.file, wait)?;
            let _ = self.catch_up().and_then(|()| self.repair());
            self.file.unlock()?;
        } else {
            let _ = self.repair();
        }
        self.file.sync_data()
    }

    /// Checks and takes in the lines that others have written since.
    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length == self.length {
            return Ok(());
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.length))?;
        let (check, more) = chain::check_after(self.head, BufReader::new(file), None)?;
        if length < self.length || check.fault.is_some() {
            let message = "the audit log was changed: start a new file";
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
        if cfg!(windows) {
            self.file.seek(SeekFrom::End(0))?;
        }
        self.file.write_all(&line)?;
        self.torn = false;
        self.head = head;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Drops what there is of a line that was not completely written.
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
    options.read(true).create(true);
    // What is torn is cut off, which on Windows takes the right to write anywhere: a file opened to append has not.
    if cfg!(windows) {
        options.write(true).truncate(false);
    } else {
        options.append(true);
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// How long to wait between attempts to take a lock that another process holds.
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
    if source.kind() == io::ErrorKind::WouldBlock {
        return Error::new(
            ErrorKind::InUse,
            "the audit log is open elsewhere: one process writes to it, or all share it",
        );
    }
    let message = "the audit log cannot be read or written: check the path and the disk";
    Error::new(ErrorKind::Storage, message).with_source(source)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{env, fs, process::Command};

    use chrono::DateTime;

    use super::*;
    use crate::audit::AuditAction;

    /// Set for a run of this test program that may write files of 4 or 8 KiB: the log.
    const CHILD: &str = "KEYWARD_TEST_TORN";

    fn event(tool: usize) -> AuditEvent {
        AuditEvent {
            tool: Some("t".repeat(tool)),
            ..AuditEvent::new(AuditAction::Injected, DateTime::default())
        }
    }

    /// Writes long lines until one of them is torn.
    fn tear(log: &AuditLog, path: &Path) {
        while log.record(&event(3000)).is_ok() {}
        let check = AuditLog::verify(path, Some(&log.head())).unwrap();
        assert!(check.torn && check.fault.is_none(), "{check:?}");
    }

    /// Who has waited for the log already, behind another thread, does not wait for as long once more.
    #[test]
    fn the_time_to_wait_begins_when_an_event_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let wait = Duration::from_hours(1);
        let log = AuditLog::open_shared(&path, wait).unwrap();
        let held = File::open(&path).unwrap();
        held.lock().unwrap();
        let came = Instant::now().checked_sub(wait).unwrap();
        let error = log.writer().append(&event(1), came).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        held.unlock().unwrap();
        log.writer().append(&event(1), came).unwrap();
    }

    #[test]
    fn a_line_that_is_torn_is_dropped_by_who_writes_next() {
        if let Ok(path) = env::var(CHILD) {
            let path = Path::new(&path);
            for shared in [false, true] {
                let open = || {
                    if shared {
                        AuditLog::open_shared(path, Duration::ZERO).unwrap()
                    } else {
                        AuditLog::open(path).unwrap()
                    }
                };
                let log = open();
                tear(&log, path);
                log.record(&event(1)).unwrap();
                let head = log.head();
                let check = AuditLog::verify(path, Some(&head)).unwrap();
                assert_eq!((check.head, check.torn, check.fault), (head, false, None));
                if shared {
                    // Another one, which was there before and which comes later.
                    let other = open();
                    tear(&log, path);
                    other.record(&event(1)).unwrap();
                    tear(&other, path);
                    let third = open();
                    assert!(third.was_repaired());
                    third.record(&event(1)).unwrap();
                    log.record(&event(2)).unwrap();
                    let head = log.head();
                    assert_eq!(head.sequence(), third.head().sequence() + 1);
                    let check = AuditLog::verify(path, Some(&head)).unwrap();
                    assert_eq!((check.head, check.torn, check.fault), (head, false, None));
                }
                tear(&log, path);
                let next = path.with_extension("next");
                let head = log.switch_to(&next).unwrap();
                let check = AuditLog::verify(path, Some(&head)).unwrap();
                assert_eq!((check.head, check.torn, check.fault), (head, false, None));
                drop(log);
                fs::remove_file(path).unwrap();
                fs::remove_file(next).unwrap();
            }
            println!("all of it");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("sh")
            .args([
                "-c",
                "trap '' XFSZ && ulimit -f 8 && exec \"$0\" --exact \"$1\" --nocapture",
            ])
            .arg(env::current_exe().unwrap())
            .arg("audit::log::tests::a_line_that_is_torn_is_dropped_by_who_writes_next")
            .env(CHILD, folder.path().join("log"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        let failed = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("all of it"), "{said}{failed}");
    }
}
