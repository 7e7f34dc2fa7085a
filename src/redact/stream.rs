//! Redaction of output that comes in chunks.

use std::{fmt, mem, sync::Arc};

use zeroize::Zeroizing;

use super::{
    Redactor,
    index::Index,
    scan::{Scan, View},
};
use crate::wiping;

/// How many bytes of a chunk are looked at in one go, so that a large chunk needs no large buffer.
const PIECE: usize = 16 * 1024;

/// How many bytes before the undecided ones are kept: one character, which decides whether a short value may follow
/// it.
const CONTEXT: usize = 4;

/// How many bytes that may be the beginning of a value a pause returns at most, not counting line breaks. With them, it
/// returns at most twice as many.
const SHOWN: usize = 2;

/// Redacts output that comes in chunks, as [`Redactor::redact_bytes`] redacts it in one piece.
///
/// However the output is cut into chunks, even within a character, what [`push`](RedactStream::push) and
/// [`finish`](RedactStream::finish) return adds up to what `redact_bytes` returns for the whole.
///
/// Text that may be the beginning of a value is held back until that is decided. This is never more than 16 times
/// the bytes of the longest value, plus 64, and for ordinary text a few bytes. These are often the end of a line, its
/// last character and its line break, since base64 may go on in the next one. Where somebody waits for the end of a
/// line, or for a prompt, [`pause`](RedactStream::pause) returns it.
///
/// ```
/// use keyward::{Redactor, SecretValue};
///
/// let mut redactor = Redactor::new();
/// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
///
/// let mut stream = redactor.stream();
/// assert_eq!(stream.push(b"the key is lin_api"), b"the key is ");
/// assert_eq!(stream.push(b"_Zq8wT3vN, it se"), b"secret://linear, it se");
/// assert_eq!(stream.finish(), b"");
/// ```
///
/// # Security
///
/// What is held back is wiped when the stream is finished or dropped. A stream that is dropped without `finish` does
/// not return it. A clone holds a copy, and goes on by itself: with one, a program can try what would come of a chunk.
#[derive(Clone)]
pub struct RedactStream {
    redactor: Redactor,
    index: Arc<Index>,
    scan: Scan,
    /// The text from a little before the undecided part on.
    held: Zeroizing<Vec<u8>>,
    /// How many bytes of `held` have been returned or replaced.
    done: usize,
}

impl RedactStream {
    pub(super) fn new(redactor: Redactor) -> RedactStream {
        RedactStream {
            index: redactor.index(),
            redactor,
            scan: Scan::new(),
            held: Zeroizing::new(Vec::new()),
            done: 0,
        }
    }

    /// Takes the next chunk, and returns what has become certain: perhaps nothing, perhaps more than the chunk
    /// holds.
    #[must_use = "what is returned is not returned again"]
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut output = Zeroizing::new(Vec::with_capacity(chunk.len()));
        for piece in chunk.chunks(PIECE) {
            self.hold(piece);
            self.release(&mut output, false);
        }
        mem::take(&mut output)
    }

    /// Returns what is held back if that is too little to reveal anything of a value; otherwise returns nothing. It is
    /// too little if it has at most four bytes, at most two of them are not line breaks, and no value of fewer than 8
    /// bytes begins with one of them.
    ///
    /// Call this when the output stops for now, so that nobody has to wait for the end of a line. If it turns out later
    /// that a value began there, the rest of the value is replaced as usual, and the reference follows the few bytes
    /// that were returned here. A pause makes no other difference.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    ///
    /// let mut stream = redactor.stream();
    /// assert_eq!(stream.push(b"Which protocol"), b"Which protoco");
    /// assert_eq!(stream.pause(), b"l");
    /// assert_eq!(stream.push(b"? Use lin"), b"? Use ");
    /// assert_eq!(stream.pause(), b"");
    /// ```
    #[must_use = "what is returned is not returned again"]
    pub fn pause(&mut self) -> Vec<u8> {
        let undecided = &self.held[self.scan.position()..];
        let shown = undecided.iter().filter(|byte| !b"\r\n".contains(byte));
        if undecided.len() > 2 * SHOWN
            || shown.count() > SHOWN
            || self.index.may_begin_short(undecided)
        {
            return Vec::new();
        }
        let output = self.held[self.done..].to_vec();
        self.done = self.held.len();
        output
    }

    /// Adds the values of another redactor, which are redacted in what was held back and in what comes from now on.
    ///
    /// This is for a program that keeps running: its output is one stream, while it is given values from time to
    /// time.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let (mut first, mut second) = (Redactor::new(), Redactor::new());
    /// first.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    /// second.add("secret://github", &SecretValue::new("ghp_hV5cX2mQ"));
    ///
    /// let mut stream = first.stream();
    /// let mut output = stream.push(b"lin_api");
    /// stream.merge(&second);
    /// output.extend(stream.push(b"_Zq8wT3vN ghp_hV5cX2mQ"));
    /// output.extend(stream.finish());
    /// assert_eq!(output, b"secret://linear secret://github");
    /// ```
    pub fn merge(&mut self, other: &Redactor) {
        let known = self.redactor.len();
        self.redactor.merge(other);
        if self.redactor.len() > known {
            self.index = self.redactor.index();
            self.scan.restart();
        }
    }

    /// Ends the output, and returns what was held back.
    #[must_use = "what is returned is the end of the output"]
    pub fn finish(mut self) -> Vec<u8> {
        let mut output = Zeroizing::new(Vec::with_capacity(self.held.len() - self.done));
        self.release(&mut output, true);
        mem::take(&mut output)
    }

    fn hold(&mut self, piece: &[u8]) {
        // Moving what is held only when more than half of it is stale keeps the cost of all moves linear.
        let finished = self.done.min(self.scan.position());
        let stale = finished.saturating_sub(CONTEXT);
        if stale > self.held.len() / 2 {
            self.held.copy_within(stale.., 0);
            let left = self.held.len() - stale;
            self.held.truncate(left);
            self.scan.discard(stale);
            self.done -= stale;
        }
        wiping::append(&mut self.held, piece);
    }

    /// The output may end in the beginning of a value after all, and a copy of it is not to be left behind.
    fn release(&mut self, output: &mut Zeroizing<Vec<u8>>, last: bool) {
        let view = View {
            index: &self.index,
            text: &self.held,
            last,
        };
        while let Some(found) = self.scan.next(view) {
            // After a pause some of the match may have been returned.
            let before = self.done.min(found.start)..found.start;
            wiping::append(output, &self.held[before]);
            wiping::append(output, self.index.reference(found.needle).as_bytes());
            self.done = found.end;
        }
        let decided = self.scan.position().max(self.done);
        wiping::append(output, &self.held[self.done..decided]);
        self.done = decided;
    }
}

impl fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedactStream")
            .field("values", &self.redactor.len())
            .finish_non_exhaustive()
    }
}

/// Redacts text that comes in chunks of whole characters, as [`Redactor::redact`] redacts it in one piece.
///
/// This is [`RedactStream`] for text; what its documentation says holds here as well.
///
/// ```
/// use keyward::{Redactor, SecretValue};
///
/// let mut redactor = Redactor::new();
/// redactor.add("secret://bank", &SecretValue::new("pa\"ss\nwörd"));
///
/// let mut stream = redactor.text_stream();
/// let mut shown = stream.push(r#"{"error": "no user has pa\"ss"#);
/// shown += &stream.push(r#"\nw\u00F6rd"}"#);
/// shown += &stream.finish();
/// assert_eq!(shown, r#"{"error": "no user has secret://bank"}"#);
/// ```
#[derive(Debug, Clone)]
pub struct RedactTextStream(RedactStream);

impl RedactTextStream {
    pub(super) fn new(redactor: Redactor) -> RedactTextStream {
        RedactTextStream(RedactStream::new(redactor))
    }

    /// Takes the next chunk, and returns what has become certain: perhaps nothing, perhaps more than the chunk
    /// holds.
    #[must_use = "what is returned is not returned again"]
    pub fn push(&mut self, chunk: &str) -> String {
        text(self.0.push(chunk.as_bytes()))
    }

    /// Returns what is held back if that is too little to reveal anything of a value, as [`RedactStream::pause`] does.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    ///
    /// let mut stream = redactor.text_stream();
    /// assert_eq!(stream.push("Bitte Schlüssel"), "Bitte Schlüsse");
    /// assert_eq!(stream.pause(), "l");
    /// ```
    #[must_use = "what is returned is not returned again"]
    pub fn pause(&mut self) -> String {
        text(self.0.pause())
    }

    /// Adds the values of another redactor, as [`RedactStream::merge`] does.
    ///
    /// ```
    /// use keyward::{Redactor, SecretValue};
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.add("secret://linear", &SecretValue::new("lin_api_Zq8wT3vN"));
    ///
    /// let mut stream = Redactor::new().text_stream();
    /// let mut output = stream.push("Schlüssel: ");
    /// stream.merge(&redactor);
    /// output += &stream.push("lin_api_Zq8wT3vN");
    /// output += &stream.finish();
    /// assert_eq!(output, "Schlüssel: secret://linear");
    /// ```
    pub fn merge(&mut self, other: &Redactor) {
        self.0.merge(other);
    }

    /// Ends the text, and returns what was held back.
    #[must_use = "what is returned is the end of the text"]
    pub fn finish(self) -> String {
        text(self.0.finish())
    }
}

/// Turns the bytes of a text stream into text. Whole characters went in, and matches begin and end between
/// characters: a form begins with the first byte of a character, and nothing is held back from within one.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{
        memory_scan::{deep, in_child},
        secret::SecretValue,
    };

    /// What is held back is returned if the output ends there, and in a clone that may be for nothing.
    #[test]
    fn what_is_returned_of_a_value_that_does_not_end_is_in_no_other_place() {
        let test = "redact::stream::tests::what_is_returned_of_a_value_that_does_not_end_is_in_no_other_place";
        in_child(test, |memory| {
            let canary = memory.canary("value", 300);
            deep(|| {
                // A line with spaces, and one that is found by itself.
                let value = canary.within("", " y z\n4QvT9sLm4QvT9sLm\nend");
                let reference = "r".repeat(1_000);
                let mut redactor = Redactor::new();
                let shown = std::str::from_utf8(&value).unwrap();
                redactor.add(
                    reference,
                    &SecretValue::from(Zeroizing::new(shown.to_owned())),
                );
                let mut stream = redactor.stream();
                let held = &value[..value.len() - "end".len()];
                assert_eq!(stream.push(held), b"");
                // The output begins between others, so that it has to move when it grows.
                let others: Vec<_> = (0..64).map(|_| vec![1_u8; held.len()]).collect();
                let _others: Vec<_> = others.into_iter().step_by(2).collect();
                let tried = Zeroizing::new(stream.clone().finish());
                assert!(tried.ends_with(b"rrr\n") && tried.starts_with(&value[..300]));
                assert!(stream.push(b"end").ends_with(b"rrr"));
            });
            memory.assert_clean("after a try");
        });
    }
}
