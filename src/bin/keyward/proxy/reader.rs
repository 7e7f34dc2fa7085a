//! Reading messages, in buffers that leave nothing behind.

use std::{
    io::{self, Read},
    ops::Range,
};

use memchr::memchr;
use zeroize::Zeroizing;

use super::BATCH;
use crate::buffer;

/// Reads lines. What it buffers is wiped when it is dropped, as that of a [`BufReader`](io::BufReader) is not.
pub(super) struct Reader<R> {
    from: R,
    buffer: Zeroizing<Vec<u8>>,
    /// Where the bytes are that are in no line yet.
    unread: Range<usize>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Reader<R> {
        Reader {
            from,
            buffer: Zeroizing::new(vec![0; BATCH]),
            unread: 0..0,
        }
    }

    /// Appends the next line with its end, which the last line may lack; returns whether there was one.
    pub(super) fn read_line(&mut self, line: &mut Zeroizing<Vec<u8>>) -> io::Result<bool> {
        loop {
            let unread = &self.buffer[self.unread.clone()];
            let end = memchr(b'\n', unread).map(|end| end + 1);
            let part = end.unwrap_or(unread.len());
            buffer::append(line, &unread[..part]);
            self.unread.start += part;
            if end.is_some() {
                return Ok(true);
            }
            if !self.fill()? {
                return Ok(!line.is_empty());
            }
        }
    }

    /// Whether the next line can be returned without waiting for it.
    pub(super) fn has_line(&self) -> bool {
        memchr(b'\n', &self.buffer[self.unread.clone()]).is_some()
    }

    /// Fills the buffer, all of which was read; returns whether there was more to come.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            match self.from.read(&mut self.buffer) {
                Ok(length) => {
                    self.unread = 0..length;
                    return Ok(length > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// An input that comes in pieces, and is interrupted before each.
    struct Pieces {
        pieces: VecDeque<Vec<u8>>,
        interrupted: bool,
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let piece = self.pieces.pop_front().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn lines_are_read_whole_however_they_come() {
        let long = "-".repeat(3 * BATCH);
        let lines = ["{}\n", "\n", "[1,\r\n", &long, "\n", "no end"];
        let all = lines.concat();
        for length in [1, 2, 7, BATCH - 1, BATCH] {
            let pieces = all.as_bytes().chunks(length).map(<[u8]>::to_vec).collect();
            let mut reader = Reader::new(Pieces {
                pieces,
                interrupted: false,
            });
            let mut line = Zeroizing::new(Vec::new());
            let mut read = Vec::new();
            while reader.read_line(&mut line).expect("nothing fails") {
                read.push(String::from_utf8(line.to_vec()).expect("it is text"));
                line.clear();
            }
            let expected: Vec<&str> = all.split_inclusive('\n').collect();
            assert!(read == expected, "{length}");
        }
    }

    #[test]
    fn a_line_is_there_if_its_end_is() {
        let mut reader = Reader::new(&b"one\ntwo\nthree"[..]);
        let mut line = Zeroizing::new(Vec::new());
        assert!(!reader.has_line(), "nothing was read yet");
        for there in [true, false, false] {
            assert!(reader.read_line(&mut line).expect("nothing fails"));
            assert_eq!(reader.has_line(), there, "{line:?}");
        }
        assert_eq!(**line, *b"one\ntwo\nthree");
    }
}
