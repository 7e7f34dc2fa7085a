//! Texts in words of eight bytes, taken from the beginning or from the end, and the hashes of all beginnings or ends
//! of a text at once.

use std::hash::{BuildHasher, RandomState};

use crate::pattern::is_wildcard;

/// Bytes in a word.
pub(super) const WORD: usize = 8;

/// An odd number whose bits follow no pattern: 2⁶⁴ divided by the golden ratio.
pub(super) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers that nobody who chooses names or patterns can know: one for each word of a text, and six more.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    words: Box<[u64]>,
    finish: u64,
    step: u64,
    /// For the first sixteen bytes of a name, and for what comes between these and the last sixteen.
    first: [u64; 2],
    middle: [u64; 2],
}

impl Keys {
    /// Draws the numbers for texts of up to `longest` bytes.
    pub(super) fn new(longest: usize) -> Keys {
        let mut state = RandomState::new().hash_one(longest);
        // SplitMix64.
        let mut next = || {
            state = state.wrapping_add(SPREAD);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Keys {
            finish: next() | 1,
            step: next() | 1,
            first: [next(), next()],
            middle: [next(), next()],
            words: (0..longest.div_ceil(WORD).max(1)).map(|_| next()).collect(),
        }
    }

    /// The hash of a whole name: a product for each sixteen bytes, and one for the last sixteen, some of which may be
    /// in another one as well. Names of 16 to 48 bytes, which most are, take the same steps, none of which waits for
    /// another: where a name ends cannot be foreseen.
    ///
    /// The length stays out of the products. Combined with the bytes there, it makes up for a difference between them,
    /// as for `10000000` and `100000000`, whose hashes were then the same whatever the random numbers.
    #[inline]
    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        const PAIR: usize = 2 * WORD;
        let length = (name.len() as u64).wrapping_mul(SPREAD);
        let ends = [self.finish, self.step];
        let (Some(first), Some(last)) = (name.first_chunk::<PAIR>(), name.last_chunk::<PAIR>())
        else {
            let words = match (name.first_chunk(), name.last_chunk()) {
                (Some(first), Some(last)) => [first, last].map(|word| u64::from_le_bytes(*word)),
                _ => [short(name), 0],
            };
            return mixed(words, ends) ^ length;
        };
        let second = name[PAIR..].first_chunk::<PAIR>().unwrap_or(last);
        let mut middle = mixed(halves(second), self.middle);
        if name.len() > 3 * PAIR {
            for pair in name[2 * PAIR..name.len() - 1].as_chunks().0 {
                middle = mixed(halves(pair), [self.middle[0], self.middle[1] ^ middle]);
            }
        }
        mixed(halves(first), self.first) ^ mixed(halves(last), ends) ^ middle ^ length
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

    /// The hash of a key.
    pub(super) fn of_key(&self, key: &[u8], kind: Kind) -> u64 {
        match kind {
            Kind::Exact | Kind::None => self.hash(key),
            Kind::Head | Kind::Tail => {
                let sum = self.sum(key, kind.end(), key.len().div_ceil(WORD));
                self.finish(sum, key.len(), kind)
            }
        }
    }

    /// The sum of the terms of the first words of a text.
    pub(super) fn sum(&self, text: &[u8], end: End, words: usize) -> u64 {
        (0..words).fold(0, |sum, at| {
            sum.wrapping_add(self.term(at, end.words(text).at(at)))
        })
    }

    /// The hash of the words before a step, whose sum this is.
    #[inline]
    pub(super) fn step(&self, sum: u64) -> u64 {
        fold(sum ^ self.finish, self.step)
    }

    /// The hash of the first half of the first word.
    #[inline]
    pub(super) fn half_step(&self, word: u64) -> u64 {
        fold((word & 0xffff_ffff) ^ self.finish, self.step)
    }

    /// A part of four bytes, multiplied by a random number: the upper half tells most parts apart.
    #[inline]
    pub(super) fn part_spread(&self, part: u32) -> u64 {
        u64::from(part).wrapping_mul(self.step)
    }

    /// The hash of a part of four bytes.
    #[inline]
    pub(super) fn part(&self, part: u32) -> u64 {
        // Parts differ in a few bits only, and so do their products: so their bits are spread first.
        let spread = u64::from(part).wrapping_mul(SPREAD);
        fold(spread ^ self.step, self.finish)
    }

    /// What the word at `step` adds to the sum.
    #[inline]
    pub(super) fn term(&self, step: usize, word: u64) -> u64 {
        term(word, self.words[step])
    }
}

/// What a hash is of. Texts of different kinds are hashed differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A whole name.
    Exact,
    /// What a pattern begins with.
    Head,
    /// What a pattern ends with.
    Tail,
    /// Nothing.
    None,
}

impl Kind {
    /// The part of a pattern that is a key of this kind.
    pub(super) fn key(self, pattern: &str) -> &str {
        match self {
            Kind::Exact => pattern,
            Kind::Head => head(pattern),
            Kind::Tail => tail(pattern),
            Kind::None => "",
        }
    }

    /// The end of a name from which keys of this kind are counted.
    #[inline]
    pub(super) fn end(self) -> End {
        match self {
            Kind::Tail => End::Back,
            _ => End::Front,
        }
    }
}

/// The part of a pattern before the first wildcard.
pub(super) fn head(pattern: &str) -> &str {
    let end = pattern.bytes().position(is_wildcard);
    &pattern[..end.unwrap_or(pattern.len())]
}

/// The part of a pattern after the last wildcard.
pub(super) fn tail(pattern: &str) -> &str {
    let last = pattern.bytes().rposition(is_wildcard);
    &pattern[last.map_or(0, |last| last + 1)..]
}

/// The term of a word: its halves, each with a random number added, multiplied (NH). Two texts with the same number
/// of words have the same sum with a probability of 2⁻³², whatever the texts, and the terms do not wait for one
/// another.
#[inline]
pub(super) fn term(word: u64, key: u64) -> u64 {
    let high = (word >> 32).wrapping_add(key >> 32) & 0xffff_ffff;
    (word.wrapping_add(key) & 0xffff_ffff) * high
}

/// The product of two words, each with a random number mixed in.
#[inline]
fn mixed(words: [u64; 2], keys: [u64; 2]) -> u64 {
    fold(words[0] ^ keys[0], words[1] ^ keys[1])
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    low(product) ^ low(product >> 64)
}

#[inline]
pub(super) fn halves(pair: &[u8; 2 * WORD]) -> [u64; 2] {
    let pair = u128::from_le_bytes(*pair);
    [low(pair), low(pair >> 64)]
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
fn low(wide: u128) -> u64 {
    wide as u64
}

/// A mask of the lowest `bytes` bytes of a word.
#[inline]
pub(super) fn mask(bytes: usize) -> u64 {
    let others = 64 - 8 * bytes.min(WORD);
    // All 64 cannot be shifted out at once.
    (u64::MAX >> (others / 2)) >> (others - others / 2)
}

/// The end from which the words of a text are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

impl End {
    /// The `len` bytes of a text at this end, or all of a shorter one.
    #[inline]
    pub(super) fn cut(self, text: &[u8], len: usize) -> &[u8] {
        match self {
            End::Front => &text[..len.min(text.len())],
            End::Back => &text[text.len() - len.min(text.len())..],
        }
    }

    /// The words of a text.
    #[inline]
    pub(super) fn words(self, text: &[u8]) -> Words<'_> {
        match self {
            End::Front => {
                let (whole, rest) = text.as_chunks();
                let last = match text.last_chunk() {
                    _ if rest.is_empty() => 0,
                    Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
                    None => short(rest),
                };
                Words {
                    whole,
                    last,
                    end: self,
                }
            }
            End::Back => {
                let (rest, whole) = text.as_rchunks();
                let last = match text.first_chunk() {
                    _ if rest.is_empty() => 0,
                    Some(first) => u64::from_be_bytes(*first) >> (64 - 8 * rest.len()),
                    None => short(rest).swap_bytes() >> (64 - 8 * rest.len()),
                };
                Words {
                    whole,
                    last,
                    end: self,
                }
            }
        }
    }
}

/// A text in words of eight bytes. The first byte of a word, as seen from the end that the words are counted from,
/// is its lowest byte; what is beyond the text is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'t> {
    whole: &'t [[u8; WORD]],
    /// The bytes that do not fill a word.
    last: u64,
    end: End,
}

impl Words<'_> {
    /// The word at an index. Beyond the last word the result means nothing.
    #[inline]
    pub(super) fn at(&self, at: usize) -> u64 {
        match self.end {
            End::Front => self.whole.get(at).map(|word| u64::from_le_bytes(*word)),
            End::Back => {
                let at = self.whole.len().wrapping_sub(at + 1);
                self.whole.get(at).map(|word| u64::from_be_bytes(*word))
            }
        }
        .unwrap_or(self.last)
    }
}

/// Returns whether two texts of the same length are equal. Most are short, and a call to compare them takes longer.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    const PAIR: usize = 2 * WORD;
    // The parts overlap, so that texts of most lengths take the same way.
    if let (Some((first_a, rest_a)), Some((first_b, rest_b))) =
        (a.split_first_chunk::<PAIR>(), b.split_first_chunk::<PAIR>())
    {
        let (last_a, last_b) = (a.last_chunk::<PAIR>(), b.last_chunk::<PAIR>());
        let mut different = differing(Some(first_a), Some(first_b)) | differing(last_a, last_b);
        if rest_a.len() > PAIR {
            for (a, b) in rest_a.as_chunks().0.iter().zip(rest_b.as_chunks().0) {
                different |= differing(Some(a), Some(b));
            }
        }
        return different == 0;
    }
    let (Some(last_a), Some(last_b)) = (a.last_chunk::<WORD>(), b.last_chunk::<WORD>()) else {
        return short(a) == short(b);
    };
    a.first_chunk::<WORD>() == b.first_chunk() && last_a == last_b
}

/// The bits in which two parts differ.
#[inline]
fn differing(a: Option<&[u8; 2 * WORD]>, b: Option<&[u8; 2 * WORD]>) -> u128 {
    let of = |pair: Option<&[u8; 2 * WORD]>| pair.map_or(0, |pair| u128::from_le_bytes(*pair));
    of(a) ^ of(b)
}

/// The bytes of a text shorter than a word, as a word.
#[inline]
fn short(text: &[u8]) -> u64 {
    let len = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        // They may overlap, in bytes that are the same in both.
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
        fn words_are_the_bytes_from_either_end(text in prop::collection::vec(any::<u8>(), 0..70)) {
            for i in 0..80 {
                let byte = |end: End| end.words(&text).at(i / 8).to_le_bytes()[i % 8];
                if i < text.len().next_multiple_of(8) {
                    prop_assert_eq!(byte(End::Front), text.get(i).copied().unwrap_or(0));
                    prop_assert_eq!(byte(End::Back), text.iter().rev().nth(i).copied().unwrap_or(0));
                }
            }
        }

        #[test]
        fn the_same_is_the_same((a, b) in (0usize..100).prop_flat_map(|len| {
            let text = || prop::collection::vec(prop::sample::select(vec![0, 1]), len);
            (text(), text(), any::<bool>(), any::<prop::sample::Index>()).prop_map(|(a, b, alike, at)| {
                let mut other = a.clone();
                if let Some(at) = (!a.is_empty()).then(|| at.index(a.len())) {
                    other[at] ^= 1;
                }
                if alike { (a.clone(), if b.first() == Some(&0) { a } else { other }) } else { (a, b) }
            })
        })) {
            prop_assert_eq!(same(&a, &b), a == b);
        }
    }

    #[test]
    fn what_differs_in_one_byte_is_not_the_same() {
        for len in 0..100 {
            let text = vec![b'a'; len];
            assert!(same(&text, &text.clone()), "{len}");
            for at in 0..len {
                let mut other = text.clone();
                other[at] = b'b';
                assert!(!same(&text, &other), "{at} of {len}");
            }
        }
    }

    /// If the hashes of two names were the same whatever the random numbers, no index with both could be built.
    fn may_differ(name: &str, other: &str) -> bool {
        let differ = |_| {
            let keys = Keys::new(0);
            keys.hash(name.as_bytes()) != keys.hash(other.as_bytes())
        };
        (0..4).any(differ)
    }

    #[test]
    fn a_difference_in_length_does_not_make_up_for_one_in_the_bytes() {
        for (name, other) in [
            ("10000000", "100000000"),
            ("xabbbbbbz", "xabbbbbbbz"),
            ("xaaaaaaaaabbbbbbz", "xaaaaaaaaabbbbbbbz"),
            ("\t", "\t\0\0\0\0\0\0\0"),
        ] {
            assert!(may_differ(name, other), "{name:?} {other:?}");
        }
    }

    #[test]
    fn each_byte_of_a_name_changes_its_hash() {
        for len in 1..100 {
            let name = "a".repeat(len);
            for at in 0..len {
                let mut other = name.clone();
                other.replace_range(at..=at, "b");
                assert!(may_differ(&name, &other), "{at} of {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_two_names_have_the_same_hash_whatever_the_keys(
            head in "[01]{1,10}",
            run in prop_oneof![Just("0"), Just("1")],
            count in 4..70_usize,
        ) {
            let name = |count: usize| format!("{head}{}", run.repeat(count));
            prop_assert!(may_differ(&name(count), &name(count + 1)));
        }
    }

    #[test]
    fn hashes_tell_texts_kinds_and_lengths_apart() {
        let keys = Keys::new(64);
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
                hashes.push(keys.of_key(text.as_bytes(), kind));
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
