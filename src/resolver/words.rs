//! A text in words of eight bytes, taken from its beginning or from its end, and the hashes of all its beginnings or
//! ends at once.

use std::hash::{BuildHasher, RandomState};

use crate::pattern::{ANY_CHAR, ANY_RUN};

/// Bytes in a word.
pub(super) const WORD: usize = 8;

/// Numbers that nobody can know who chooses names or patterns: one for each word of a text, and two more.
#[derive(Debug)]
pub(super) struct Keys {
    words: Box<[u64]>,
    finish: u64,
    step: u64,
}

impl Keys {
    /// For texts of up to `longest` bytes.
    pub(super) fn new(longest: usize) -> Keys {
        let mut state = RandomState::new().hash_one(longest);
        // SplitMix64.
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Keys {
            finish: next() | 1,
            step: next() | 1,
            words: (0..longest.div_ceil(WORD).max(1)).map(|_| next()).collect(),
        }
    }

    /// How many bytes of a text are looked at.
    pub(super) fn reach(&self) -> usize {
        self.words.len() * WORD
    }

    /// An odd number for other hashes.
    pub(super) fn odd(&self) -> u64 {
        self.step
    }

    /// The hash of a whole name: sixteen bytes a step, the last of which may have been in the step before.
    #[inline]
    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        let mut hash = self.step ^ name.len() as u64;
        let (Some(first), Some(last)) = (name.first_chunk::<WORD>(), name.last_chunk::<WORD>())
        else {
            return fold(short(name) ^ self.finish, hash);
        };
        let mut rest = name;
        while let Some((pair, after)) = rest.split_first_chunk::<{ 2 * WORD }>()
            && !after.is_empty()
        {
            let [a, b] = halves(pair);
            hash = fold(a ^ self.finish, b ^ hash);
            rest = after;
        }
        let [a, b] = match name.last_chunk::<{ 2 * WORD }>() {
            Some(pair) => halves(pair),
            None => [u64::from_le_bytes(*first), u64::from_le_bytes(*last)],
        };
        fold(a ^ self.finish, b ^ hash)
    }

    /// The hash of a text of `len` bytes whose words have this sum.
    #[inline]
    pub(super) fn finish(&self, sum: u64, len: usize, kind: Kind) -> u64 {
        let label = (len as u64) << 2 | kind as u64;
        fold(
            sum.wrapping_add(label.wrapping_mul(0xd6e8_feb8_6659_fd93)),
            self.finish,
        )
    }

    /// The hash of the words before a step.
    #[inline]
    pub(super) fn finish_step(&self, sum: u64, step: usize) -> u64 {
        let label = (step as u64).wrapping_mul(0xa076_1d64_78bd_642f);
        fold(sum.wrapping_add(label), self.step)
    }

    /// What the word at `step` adds to the sum.
    #[inline]
    pub(super) fn term(&self, step: usize, word: u64) -> u64 {
        term(word, self.words[step])
    }
}

/// What a hash is of; texts of different kinds do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole name.
    Exact,
    /// What a pattern begins with.
    Head,
    /// What a pattern ends with.
    Tail,
}

impl Kind {
    /// The part of a pattern that is a key of this kind.
    pub(super) fn key(self, pattern: &str) -> &str {
        match self {
            Kind::Exact => pattern,
            Kind::Head => head(pattern),
            Kind::Tail => tail(pattern),
        }
    }

    /// From which end of a name its keys are counted.
    #[inline]
    pub(super) fn end(self) -> End {
        match self {
            Kind::Exact | Kind::Head => End::Front,
            Kind::Tail => End::Back,
        }
    }
}

/// What a pattern begins with before the first wildcard.
pub(super) fn head(pattern: &str) -> &str {
    pattern
        .split([ANY_RUN, ANY_CHAR])
        .next()
        .unwrap_or_default()
}

/// What a pattern ends with after the last wildcard.
pub(super) fn tail(pattern: &str) -> &str {
    pattern
        .rsplit([ANY_RUN, ANY_CHAR])
        .next()
        .unwrap_or_default()
}

/// Two halves, each with a random number added, multiplied (NH): two texts of as many words have the same sum with a
/// probability of 2⁻³², whatever the texts, and the terms do not wait for one another.
#[inline]
fn term(word: u64, key: u64) -> u64 {
    let high = (word >> 32).wrapping_add(key >> 32) & 0xffff_ffff;
    (word.wrapping_add(key) & 0xffff_ffff) * high
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    low(product) ^ low(product >> 64)
}

#[inline]
fn halves(pair: &[u8; 2 * WORD]) -> [u64; 2] {
    let pair = u128::from_le_bytes(*pair);
    [low(pair), low(pair >> 64)]
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
fn low(wide: u128) -> u64 {
    wide as u64
}

/// The lowest bytes of a word, so many of them.
#[inline]
pub(super) fn mask(bytes: usize) -> u64 {
    let others = 64 - 8 * bytes.min(WORD);
    // All 64 cannot be shifted out at once.
    (u64::MAX >> (others / 2)) >> (others - others / 2)
}

/// From which end the words of a text are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

impl End {
    /// So many bytes from this end, at most.
    #[inline]
    pub(super) fn cut(self, text: &[u8], len: usize) -> &[u8] {
        match self {
            End::Front => &text[..len.min(text.len())],
            End::Back => &text[text.len() - len.min(text.len())..],
        }
    }
}

/// A text of at most `8 * N` bytes, in words. The first byte of a word, as seen from the end that the words are counted
/// from, is its lowest; what is beyond the text is 0.
pub(super) struct Words<const N: usize> {
    pub(super) values: [u64; N],
    /// For each word the sum of the terms of those before it.
    pub(super) sums: [u64; N],
    /// The sum of the terms of all words.
    pub(super) sum: u64,
    /// Bytes in the text.
    pub(super) len: usize,
}

impl<const N: usize> Words<N> {
    /// The words of `text`, or of as much of it from this end as there are keys for.
    #[inline]
    pub(super) fn front(text: &[u8], keys: &Keys) -> Words<N> {
        let text = End::Front.cut(text, keys.reach().min(N * WORD));
        let (whole, rest) = text.as_chunks::<WORD>();
        let last = match text.last_chunk::<WORD>() {
            _ if rest.is_empty() => 0,
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => short(rest),
        };
        let whole = whole.iter().map(|word| u64::from_le_bytes(*word));
        Words::of(whole, last, text.len(), keys)
    }

    /// The same from the end of the text, backwards.
    #[inline]
    pub(super) fn back(text: &[u8], keys: &Keys) -> Words<N> {
        let text = End::Back.cut(text, keys.reach().min(N * WORD));
        let (rest, whole) = text.as_rchunks::<WORD>();
        let last = match text.first_chunk::<WORD>() {
            _ if rest.is_empty() => 0,
            Some(first) => u64::from_be_bytes(*first) >> (64 - 8 * rest.len()),
            None => short(rest).swap_bytes() >> (64 - 8 * rest.len()),
        };
        let whole = whole.iter().rev().map(|word| u64::from_be_bytes(*word));
        Words::of(whole, last, text.len(), keys)
    }

    pub(super) fn new(text: &[u8], end: End, keys: &Keys) -> Words<N> {
        match end {
            End::Front => Words::front(text, keys),
            End::Back => Words::back(text, keys),
        }
    }

    #[inline]
    fn of(whole: impl Iterator<Item = u64>, last: u64, len: usize, keys: &Keys) -> Words<N> {
        let (mut words, mut sums, mut sum) = ([0; N], [0; N], 0u64);
        for ((word, key), (slot, before)) in
            whole.zip(&keys.words).zip(words.iter_mut().zip(&mut sums))
        {
            *slot = word;
            *before = sum;
            sum = sum.wrapping_add(term(word, *key));
        }
        if !len.is_multiple_of(WORD) {
            let at = len / WORD;
            words[at] = last;
            sums[at] = sum;
            sum = sum.wrapping_add(keys.term(at, last));
        }
        Words {
            values: words,
            sums,
            sum,
            len,
        }
    }

    /// How many words there are, the last one perhaps not full.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.len.div_ceil(WORD)
    }
}

/// Less than a word, as one.
#[inline]
fn short(text: &[u8]) -> u64 {
    let len = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        // They overlap, in bytes that are the same in both.
        let last = u64::from(u32::from_le_bytes(*last));
        return u64::from(u32::from_le_bytes(*first)) | last << (8 * (len - 4));
    }
    text.iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_the_bytes_from_either_end(text in prop::collection::vec(any::<u8>(), 0..70), longest in 1usize..100) {
            let keys = Keys::new(longest);
            let reach = text.len().min(keys.reach()).min(64);
            let front = Words::<8>::front(&text, &keys);
            let back = Words::<8>::back(&text, &keys);
            prop_assert_eq!((front.len, back.len), (reach, reach));
            for i in 0..64 {
                let byte = |words: &Words<8>| words.values[i / 8].to_le_bytes()[i % 8];
                let expected = |at: Option<usize>| at.filter(|_| i < reach).map_or(0, |at| text[at]);
                prop_assert_eq!(byte(&front), expected(Some(i)));
                prop_assert_eq!(byte(&back), expected((text.len()).checked_sub(i + 1)));
            }
        }

        #[test]
        fn a_beginning_has_the_hash_of_the_text_it_is(text in "\\PC{0,40}", end in 0usize..41) {
            let text = text.as_bytes();
            let text = &text[..text.len().min(64)];
            let keys = Keys::new(64);
            let all = Words::<8>::front(text, &keys);
            let beginning = &text[..end.min(text.len())];
            let (step, rest) = (beginning.len() / WORD, beginning.len() % WORD);
            let part = Words::<8>::front(beginning, &keys);
            let mut sum = all.sum;
            for at in (step..all.count()).rev() {
                sum = sum.wrapping_sub(keys.term(at, all.values[at]));
            }
            if rest > 0 {
                sum = sum.wrapping_add(keys.term(step, all.values[step] & mask(rest)));
            }
            prop_assert_eq!(sum, part.sum);
        }
    }

    #[test]
    fn hashes_tell_texts_kinds_and_lengths_apart() {
        let keys = Keys::new(64);
        let hash = |text: &str, kind| {
            let words = Words::<8>::front(text.as_bytes(), &keys);
            keys.finish(words.sum, text.len(), kind)
        };
        let mut hashes = Vec::new();
        for text in [
            "",
            "\0",
            "\0\0",
            "a",
            "a\0",
            "abcdefgh",
            "abcdefgh\0",
            "abcdefghi",
        ] {
            for kind in [Kind::Exact, Kind::Head, Kind::Tail] {
                hashes.push(hash(text, kind));
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 24);
        assert_ne!(
            keys.finish,
            Keys::new(64).finish,
            "each resolver has its own"
        );
    }
}
