//! What an MCP server prints that is no message.

use std::mem;

use keyward::{Bounds, RedactStream, Redactor};
use zeroize::Zeroizing;

use crate::buffer;

/// Lines that are no messages. They are one text to whoever reads them: a value in it may have several lines.
///
/// The redactor holds back what may be the beginning of a value, often the end of a line. Passed on in whole lines, a
/// text leaves room for an answer of the proxy's own at any time.
pub(super) struct Text {
    stream: RedactStream,
    /// What is certain of a line whose end is not. A value behind an escape may still be in it.
    line: Zeroizing<Vec<u8>>,
}

impl Text {
    pub(super) fn new(redactor: &Redactor) -> Text {
        Text {
            stream: redactor.stream(),
            line: Zeroizing::new(Vec::new()),
        }
    }

    /// Takes the next line, and returns the lines whose end is certain.
    pub(super) fn push(&mut self, line: &[u8], redactor: &Redactor) -> Zeroizing<Vec<u8>> {
        self.stream.merge(redactor);
        let certain = Zeroizing::new(self.stream.push(line));
        let held = self.line.len() + certain.len();
        let whole = match certain.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            // Values that end in a line end make one line of many, without end.
            None if held > LONGEST_HELD => certain.len(),
            None => 0,
        };
        let (whole, rest) = certain.split_at(whole);
        let mut lines = Zeroizing::new(Vec::new());
        if !whole.is_empty() {
            mem::swap(&mut lines, &mut self.line);
            buffer::append(&mut lines, whole);
        }
        buffer::append(&mut self.line, rest);
        lines
    }

    /// What is left of it.
    pub(super) fn end(mut self) -> Zeroizing<Vec<u8>> {
        let rest = Zeroizing::new(self.stream.finish());
        buffer::append(&mut self.line, &rest);
        self.line
    }
}

/// Whether a line that looks like a message may be a line of a value instead. It follows a text, if there is one.
///
/// A value whose lines look like messages is one that `echo` prints, such as JSON with one object to a line. A message
/// is not delayed by this unless it ends as a value begins.
pub(super) fn is_part_of_value(text: Option<&Text>, line: &[u8], redactor: &Redactor) -> bool {
    if !redactor.has_multiline_values() {
        return false;
    }
    let end = &line[line.len().saturating_sub(LONGEST_VALUE)..];
    let (_, undecided) = redacted(redactor.stream(), end);
    if undecided.len() >= line.len().min(TELLING) {
        return true;
    }
    let Some(text) = text else {
        return false;
    };
    let mut stream = text.stream.clone();
    stream.merge(redactor);
    let mut apart = Zeroizing::new(stream.clone().finish());
    let (alone, _) = redacted(redactor.stream(), line);
    buffer::append(&mut apart, &alone);
    let (together, _) = redacted(stream, line);
    together != apart
}

/// Returns what is certain of a stream after one more line, and what is left of it.
fn redacted(mut stream: RedactStream, line: &[u8]) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
    let certain = Zeroizing::new(stream.push(line));
    (certain, Zeroizing::new(stream.finish()))
}

/// Bytes in the longest value.
const LONGEST_VALUE: usize = 4 * *Bounds::MAX_VALUE_CHARS.end();

/// As many bytes of a value and their end of a line, or a whole line, are no accident.
const TELLING: usize = 8;

/// How many bytes of an unfinished line are held back at most.
const LONGEST_HELD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use keyward::SecretValue;

    use super::*;

    #[test]
    fn only_whole_lines_of_a_text_are_passed_on() {
        let mut redactor = Redactor::new();
        redactor.add("secret://ini", &SecretValue::new("[a]\nkey = 1\n"));
        let mut text = Text::new(&redactor);
        let mut push = |line: &str| {
            let lines = text.push(line.as_bytes(), &redactor);
            String::from_utf8(lines.to_vec()).expect("lines of text are text")
        };
        for (line, lines) in [
            ("one\n", "one\n"),
            ("two [a]\n", ""),
            ("key = 2\n", "two [a]\nkey = 2\n"),
            ("[a]\n", ""),
            ("key = 1\n", ""),
            ("three\n", "secret://inithree\n"),
            ("no end", ""),
        ] {
            assert_eq!(push(line), lines, "{line:?}");
        }
        assert!(push(&"-".repeat(LONGEST_HELD)) == format!("no end{}", "-".repeat(LONGEST_HELD)));
        assert_eq!(push("[a]\n"), "");
        assert_eq!(*text.end(), *b"[a]\n");
    }
}
