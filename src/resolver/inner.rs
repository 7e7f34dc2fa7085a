//! Patterns that are more than a beginning or an end: each lies in one bucket, under one part of it that a name must
//! hold, and is tried on the names that hold that part.

use super::words::{WORD, head, mask, tail};
use crate::pattern::{ANY_CHAR, ANY_RUN, ToolPattern};

/// What can be said of a pattern without its text: enough to leave it, most of the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sketch {
    /// Up to eight bytes that a name must begin and end with, as [`ends`] gives them.
    ends: [u64; 2],
    /// Which bits of these count.
    masks: [u64; 2],
    /// The least number of bytes that a name must have.
    least: u16,
    /// How many bytes the pattern begins and ends with, up to the first and from the last wildcard.
    head: u16,
    tail: u16,
    /// Whether that and the least number of bytes is all that it demands.
    ends_only: bool,
}

impl Sketch {
    pub(super) fn of(pattern: &ToolPattern) -> Sketch {
        let text = pattern.as_str();
        let (head, tail) = (head(text), tail(text));
        Sketch {
            ends: [ends(head.as_bytes())[0], ends(tail.as_bytes())[1]],
            masks: [mask(head.len()), mask(tail.len())],
            least: short(text.bytes().filter(|byte| *byte != b'*').count()),
            head: short(head.len()),
            tail: short(tail.len()),
            ends_only: text.len() == head.len() + tail.len() + 1 && text.contains(ANY_RUN),
        }
    }

    /// Whether a name can match as far as its ends and its length tell.
    #[inline]
    pub(super) fn fits(&self, name: &Name<'_>) -> bool {
        let [front, back] = [0, 1].map(|i| (name.ends[i] ^ self.ends[i]) & self.masks[i]);
        front | back == 0 && name.text.len() >= usize::from(self.least)
    }

    /// Whether the pattern matches a name that [`fits`](Sketch::fits).
    #[inline]
    pub(super) fn matches(&self, pattern: &ToolPattern, name: &Name<'_>) -> bool {
        let (head, tail) = (usize::from(self.head), usize::from(self.tail));
        if !self.ends_only {
            return pattern.matches(name.text);
        }
        if head.max(tail) <= WORD {
            return true;
        }
        let (text, name) = (pattern.as_str().as_bytes(), name.text.as_bytes());
        name[..head] == text[..head] && name[name.len() - tail..] == text[text.len() - tail..]
    }

    /// Which [`features`] a name must have that the pattern matches.
    pub(super) fn features_of(pattern: &ToolPattern) -> u64 {
        features(pattern.as_str().bytes().filter(|byte| !is_wildcard(*byte)))
    }
}

/// A name, and what patterns are left by.
pub(super) struct Name<'n> {
    pub(super) text: &'n str,
    ends: [u64; 2],
}

impl<'n> Name<'n> {
    #[inline]
    pub(super) fn new(text: &'n str) -> Name<'n> {
        Name {
            text,
            ends: ends(text.as_bytes()),
        }
    }

    pub(super) fn features(&self) -> u64 {
        features(self.text.bytes())
    }
}

/// Up to eight bytes from the beginning and from the end, the first of each end lowest.
#[inline]
fn ends(text: &[u8]) -> [u64; 2] {
    match (text.first_chunk::<WORD>(), text.last_chunk::<WORD>()) {
        (Some(first), Some(last)) => [u64::from_le_bytes(*first), u64::from_be_bytes(*last)],
        _ => [
            text.iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
            text.iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        ],
    }
}

/// Which bytes there are, in 32 classes, and above that, which are there twice. What matches a pattern has all that its
/// literals have.
fn features(bytes: impl Iterator<Item = u8>) -> u64 {
    let (mut once, mut twice) = (0u64, 0);
    for byte in bytes {
        let class = 1 << (byte & 31);
        twice |= once & class;
        once |= class;
    }
    once | twice << 32
}

fn is_wildcard(byte: u8) -> bool {
    byte == b'*' || byte == b'?'
}

/// A number of bytes in a pattern, which has at most 4,096.
fn short(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a pattern has at most 1,024 characters")
}

/// How long the parts are by which patterns are found: the longest that a pattern has.
pub(super) const GRAMS: [usize; 3] = [8, 4, 2];

/// The parts of `len` bytes of each run of literals in a pattern, as [`gram`]s.
pub(super) fn grams_of(text: &str, len: usize) -> impl Iterator<Item = u64> {
    text.split([ANY_RUN, ANY_CHAR])
        .flat_map(move |run| run.as_bytes().windows(len))
        .map(gram)
}

/// Some bytes as a number; the same only for the same bytes, among as many.
#[inline]
fn gram(bytes: &[u8]) -> u64 {
    match bytes {
        [a, b] => u64::from(u16::from_le_bytes([*a, *b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        bytes => bytes
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word)),
    }
}

/// Buckets by a part of some bytes that the patterns in them have anywhere.
#[derive(Debug)]
pub(super) struct Grams {
    /// A bit for each slot that a part is in: most places in a name are left by it.
    filter: Box<[u64]>,
    /// 64 less the binary logarithm of the number of bits.
    shift: u32,
    odd: u64,
    /// The parts, sorted.
    parts: Box<[u64]>,
    /// For each part its bucket.
    buckets: Box<[u32]>,
}

impl Grams {
    /// `buckets` are sorted by their parts, which are different.
    pub(super) fn new(buckets: &[(u64, u32)], odd: u64) -> Grams {
        let bits = (buckets.len() * 16).next_power_of_two().max(64);
        let mut grams = Grams {
            filter: vec![0; bits / 64].into(),
            shift: 64 - bits.trailing_zeros(),
            odd,
            parts: buckets.iter().map(|(gram, _)| *gram).collect(),
            buckets: buckets.iter().map(|(_, bucket)| *bucket).collect(),
        };
        for (gram, _) in buckets {
            let bit = grams.bit(*gram);
            grams.filter[bit / 64] |= 1 << (bit % 64);
        }
        grams
    }

    #[expect(clippy::cast_possible_truncation, reason = "a bit of the filter")]
    #[inline]
    fn bit(&self, gram: u64) -> usize {
        (gram.wrapping_mul(self.odd) >> self.shift) as usize
    }

    /// Calls `found` with the bucket of each part of `len` bytes in `name` that has one; with some more than once.
    #[inline]
    pub(super) fn for_each_in(&self, name: &str, len: usize, mut found: impl FnMut(u32)) {
        // A match of its own for each length: then a part is one load.
        match len {
            8 => self.for_each_window::<8>(name, &mut found),
            4 => self.for_each_window::<4>(name, &mut found),
            _ => self.for_each_window::<2>(name, &mut found),
        }
    }

    #[inline]
    fn for_each_window<const LEN: usize>(&self, name: &str, found: &mut impl FnMut(u32)) {
        for window in name.as_bytes().windows(LEN) {
            let gram = gram(window);
            let bit = self.bit(gram);
            if self.filter[bit / 64] >> (bit % 64) & 1 == 1
                && let Ok(at) = self.parts.binary_search(&gram)
            {
                found(self.buckets[at]);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
