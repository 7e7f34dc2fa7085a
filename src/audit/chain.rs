//! Lines that form a chain: making them and checking them.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::AuditEvent;
use crate::{
    digits::{decimal, from_hex, hex},
    error::{Error, FieldError},
};

/// The end of a log: the number of its lines, and the hash of the last one, which stands for all of them.
///
/// Written as text, `12:9f86d0…`, it can be kept out of reach of anyone who can change the log, and
/// [later](super::AuditLog::verify) be compared with it.
///
/// ```
/// use keyward::audit::AuditHead;
///
/// let head = AuditHead::default();
/// assert_eq!(head.sequence(), 0);
/// assert_eq!(head.to_string().parse::<AuditHead>()?, head);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    sequence: u64,
    hash: [u8; 32],
}

/// The head of a log without lines.
impl Default for AuditHead {
    fn default() -> AuditHead {
        AuditHead {
            sequence: 0,
            hash: Sha256::digest(b"keyward audit log 1").into(),
        }
    }
}

impl AuditHead {
    /// Returns the number of the last line, counting from 1; 0 if there is none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the hash of the last line.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Returns the head after one more line, which begins with `body`.
    fn after(&self, body: &[u8]) -> AuditHead {
        let hash = Sha256::new().chain_update(self.hash).chain_update(body);
        AuditHead {
            sequence: self.sequence + 1,
            hash: hash.finalize().into(),
        }
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, hex(&self.hash))
    }
}

impl FromStr for AuditHead {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation) if `text` is not what [`Display`](fmt::Display) writes;
    /// zeros before the number and digits in upper case are read as well.
    fn from_str(text: &str) -> Result<AuditHead, Error> {
        let head = text.split_once(':').and_then(|(sequence, hash)| {
            Some(AuditHead {
                sequence: decimal(sequence)?,
                hash: from_hex(hash.as_bytes())?,
            })
        });
        head.ok_or_else(|| {
            let msg = "the head of an audit log is a number, a colon and 64 hexadecimal digits";
            Error::validation(vec![FieldError::value_error("head", msg)])
        })
    }
}

/// What [`AuditLog::verify`](super::AuditLog::verify) found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a log with a fault does not make `verify` fail"]
pub struct AuditCheck {
    /// The head after the last line that continues the chain: before the line at fault, or, if the log was rewritten,
    /// at that line.
    pub head: AuditHead,
    /// Whether the last line is incomplete because a crash or a full disk cut it off. It is not part of the chain,
    /// and is dropped when the log is opened again.
    pub torn: bool,
    /// The first fault, if any.
    pub fault: Option<AuditFault>,
}

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFault {
    /// The number of the line, counting from 1. If lines are missing at the end, the first of them.
    pub line: u64,
    /// What is wrong.
    pub kind: AuditFaultKind,
}

/// The kinds of [`AuditFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditFaultKind {
    /// The line is not a line of an audit log.
    Malformed,
    /// The line's number does not match its position: lines were removed, inserted or exchanged.
    WrongSequence,
    /// The line is not the one that was written after those before it.
    WrongHash,
    /// The log ends before the remembered head.
    Truncated,
    /// The log leads to a different head than the remembered one: it was rewritten.
    Rewritten,
}

impl AuditFault {
    /// Whether the line itself is wrong, whatever head is remembered.
    fn is_of_its_line(&self) -> bool {
        match self.kind {
            AuditFaultKind::Malformed
            | AuditFaultKind::WrongSequence
            | AuditFaultKind::WrongHash => true,
            AuditFaultKind::Truncated | AuditFaultKind::Rewritten => false,
        }
    }
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            AuditFaultKind::Malformed => "is not a line of an audit log",
            AuditFaultKind::WrongSequence => {
                "is out of sequence: lines were removed, inserted or exchanged"
            }
            AuditFaultKind::WrongHash => {
                "is not the line that was written after the ones before it"
            }
            AuditFaultKind::Truncated => "is missing: the log ends before the remembered head",
            AuditFaultKind::Rewritten => {
                "does not lead to the remembered head: the log was rewritten"
            }
        };
        write!(f, "line {} {what}", self.line)
    }
}

/// The most bytes of a line, with its end. Anything longer is not a log, and is not read into memory.
const MAX_LINE_LENGTH: u64 = 64 * 1024;

/// What follows the body of a line: this, the hash, and the end.
const HASH: &[u8] = br#","hash":""#;
const END: &[u8] = br#""}"#;

#[derive(Serialize)]
struct Line<'e> {
    sequence: u64,
    #[serde(flatten)]
    event: &'e AuditEvent,
}

#[derive(Deserialize)]
struct Sequence {
    sequence: u64,
}

/// Returns the line for an event after `head`, with its line end, and the new head.
pub(super) fn line(head: &AuditHead, event: &AuditEvent) -> io::Result<(Vec<u8>, AuditHead)> {
    let sequence = head.sequence + 1;
    let mut line = serde_json::to_vec(&Line { sequence, event })?;
    line.pop();
    let head = head.after(&line);
    line.extend_from_slice(HASH);
    line.extend_from_slice(hex(&head.hash).as_bytes());
    line.extend_from_slice(END);
    line.push(b'\n');
    if line.len() as u64 > MAX_LINE_LENGTH {
        let message = "the event is too long for a line of the audit log";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok((line, head))
}

/// Returns the head that a line, given without its line end, makes after `head`.
fn follow(head: &AuditHead, line: &[u8]) -> Result<AuditHead, AuditFaultKind> {
    let parts = line.strip_suffix(END).and_then(|line| {
        let (line, hash) = line.split_at_checked(line.len().checked_sub(64)?)?;
        Some((line.strip_suffix(HASH)?, read_hash(hash)?))
    });
    let (body, hash) = parts.ok_or(AuditFaultKind::Malformed)?;
    let sequence: Sequence =
        serde_json::from_slice(&[body, b"}"].concat()).map_err(|_| AuditFaultKind::Malformed)?;
    let next = head.after(body);
    if sequence.sequence != next.sequence {
        Err(AuditFaultKind::WrongSequence)
    } else if hash != next.hash {
        Err(AuditFaultKind::WrongHash)
    } else {
        Ok(next)
    }
}

/// Checks a log to its end or to the first fault. Also returns the length in bytes of the good lines.
pub(super) fn check(
    log: impl BufRead,
    remembered: Option<&AuditHead>,
) -> io::Result<(AuditCheck, u64)> {
    check_after(AuditHead::default(), log, remembered)
}

/// Checks the log in a file that others may write to. Between two reads a torn line may have gone, and another one
/// come: so a line at fault is read again.
pub(super) fn check_file(
    mut file: impl Read + Seek,
    remembered: Option<&AuditHead>,
) -> io::Result<AuditCheck> {
    let (mut check, mut length) = check(BufReader::new(&mut file), remembered)?;
    while check.fault.as_ref().is_some_and(AuditFault::is_of_its_line) {
        file.seek(SeekFrom::Start(length))?;
        let more;
        (check, more) = check_after(check.head, BufReader::new(&mut file), remembered)?;
        length += more;
        if more == 0 {
            break;
        }
    }
    Ok(check)
}

/// Checks what comes after `head`, as [`check`] does.
pub(super) fn check_after(
    head: AuditHead,
    mut log: impl BufRead,
    remembered: Option<&AuditHead>,
) -> io::Result<(AuditCheck, u64)> {
    let mut check = AuditCheck {
        head,
        torn: false,
        fault: None,
    };
    let mut length = 0;
    let mut line = Vec::new();
    let mut fault = mismatch(&check.head, remembered);
    while fault.is_none() {
        line.clear();
        let read = log
            .by_ref()
            .take(MAX_LINE_LENGTH)
            .read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            fault = missing(&check.head, remembered);
            break;
        }
        if line.pop_if(|end| *end == b'\n').is_none() {
            let is_short = read < MAX_LINE_LENGTH || line.ends_with(&[0]) && is_zero(&mut log)?;
            if is_short && begins_a_line(&line, &check.head) {
                check.torn = true;
                fault = missing(&check.head, remembered);
            } else {
                fault = Some(AuditFaultKind::Malformed);
            }
            // If somebody is writing that line, there may be more of it by now, which is no line by itself.
            break;
        }
        match follow(&check.head, &line) {
            Ok(head) => {
                length += read;
                check.head = head;
                fault = mismatch(&head, remembered);
            }
            Err(kind) => fault = Some(kind),
        }
    }
    check.fault = fault.map(|kind| AuditFault {
        line: check.head.sequence + u64::from(kind != AuditFaultKind::Rewritten),
        kind,
    });
    Ok((check, length))
}

/// Whether `torn` is what a crash can have left of the line after `head`: a part of it, and zeros where the file
/// system had not written yet. Anything else was written by somebody else, perhaps as another file altogether, and is
/// not to be dropped.
fn begins_a_line(torn: &[u8], head: &AuditHead) -> bool {
    let zeros = torn.iter().rev().take_while(|byte| **byte == 0).count();
    let torn = &torn[..torn.len() - zeros];
    let begin = format!("{{\"sequence\":{},\"time\":\"", head.sequence + 1);
    torn.starts_with(begin.as_bytes()) || begin.as_bytes().starts_with(torn)
}

/// Whether nothing but zeros follows.
fn is_zero(log: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let rest = log.fill_buf()?;
        let length = rest.len();
        if length == 0 {
            return Ok(true);
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        log.consume(length);
    }
}

/// The fault of a log that ends at `head`, if it has one.
fn missing(head: &AuditHead, remembered: Option<&AuditHead>) -> Option<AuditFaultKind> {
    remembered
        .filter(|remembered| remembered.sequence > head.sequence)
        .map(|_| AuditFaultKind::Truncated)
}

fn mismatch(head: &AuditHead, remembered: Option<&AuditHead>) -> Option<AuditFaultKind> {
    remembered
        .filter(|remembered| remembered.sequence == head.sequence && *remembered != head)
        .map(|_| AuditFaultKind::Rewritten)
}

/// Decodes 64 lower-case hex digits.
fn read_hash(digits: &[u8]) -> Option<[u8; 32]> {
    let is_lower_case = !digits.iter().any(u8::is_ascii_uppercase);
    is_lower_case.then(|| from_hex(digits))?
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::audit::AuditAction;

    /// A file that ends between its parts each time it is read, as one does that is being written.
    struct Growing(Vec<Vec<u8>>);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let part = self.0.remove(0);
            buffer[..part.len()].copy_from_slice(&part);
            Ok(part.len())
        }
    }

    /// A file whose content is another one from the second read on.
    struct Replaced {
        contents: [Vec<u8>; 2],
        /// How much of the first one is read at once.
        first: usize,
        reads: usize,
        at: usize,
    }

    impl Read for Replaced {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let content = if self.reads == 0 {
                &self.contents[0][..self.first]
            } else {
                &self.contents[1]
            };
            self.reads += 1;
            let rest = content.get(self.at..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            self.at += length;
            Ok(length)
        }
    }

    impl Seek for Replaced {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let SeekFrom::Start(at) = to else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            self.at = usize::try_from(at).unwrap();
            Ok(at)
        }
    }

    #[test]
    fn a_torn_line_that_is_replaced_while_it_is_read_is_no_fault() {
        let event = |action| AuditEvent::new(action, DateTime::default());
        let (first, one) = line(&AuditHead::default(), &event(AuditAction::Locked)).unwrap();
        let (torn, _) = line(&one, &event(AuditAction::Verified)).unwrap();
        let (second, two) = line(&one, &event(AuditAction::Unlocked)).unwrap();
        let (third, three) = line(&two, &event(AuditAction::Locked)).unwrap();
        let (wrong, _) = line(&AuditHead::default(), &event(AuditAction::Exported)).unwrap();
        // With all of its hash, it would be the line itself.
        for cut in 1..torn.len() - END.len() - 1 {
            for (last, head, fault) in [(&third, three, None), (&wrong, two, Some(3))] {
                let file = Replaced {
                    contents: [
                        [&first[..], &torn].concat(),
                        [&first[..], &second, last].concat(),
                    ],
                    first: first.len() + cut,
                    reads: 0,
                    at: 0,
                };
                let check = check_file(file, None).unwrap();
                let line = check.fault.map(|fault| fault.line);
                assert_eq!(
                    (check.head, check.torn, line),
                    (head, false, fault),
                    "{cut}"
                );
            }
        }
    }

    #[test]
    fn a_line_that_is_completed_while_it_is_read_is_no_fault() {
        let event = AuditEvent::new(AuditAction::Locked, DateTime::default());
        let (first, one) = line(&AuditHead::default(), &event).unwrap();
        let (second, two) = line(&one, &event).unwrap();
        for cut in 1..second.len() {
            let (begin, rest) = second.split_at(cut);
            let parts = || [&[&first[..], begin].concat(), &[][..], rest].map(<[u8]>::to_vec);
            let verify = |remembered: Option<&AuditHead>| {
                let log = BufReader::new(Growing(parts().into()));
                let (check, length) = check(log, remembered).unwrap();
                assert_eq!(length, first.len() as u64);
                check
            };
            for remembered in [None, Some(&one)] {
                let check = verify(remembered);
                assert_eq!(
                    (check.head, check.torn, check.fault),
                    (one, true, None),
                    "{cut}"
                );
            }
            let fault = verify(Some(&two))
                .fault
                .map(|fault| (fault.line, fault.kind));
            assert_eq!(fault, Some((2, AuditFaultKind::Truncated)), "{cut}");
        }
    }
}
