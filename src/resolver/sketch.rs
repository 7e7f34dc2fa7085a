//! What can be said about a pattern without its text: enough to rule it out for most names, and to confirm it for
//! some.

use super::{
    narrow_len,
    words::{End, WORD, head, mask, same, tail},
};
use crate::pattern::{ANY_RUN, ToolPattern, begins_char, is_wildcard};

/// How many words of a name's beginning are looked at.
const HEAD: usize = 3;

/// The words of a [`View`]: those of the beginning, and the last one.
const ENDS: usize = HEAD + 1;

/// Bytes in a view.
pub(super) const VIEWED: usize = ENDS * WORD;

/// What a pattern with wildcards requires of a name's ends. Fills a cache line, which is all that a lookup reads of a
/// pattern whose ends do not fit.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// What a name must begin and end with, as in [`View`].
    words: [u64; ENDS],
    /// Which bits of `words` count.
    masks: [u64; ENDS],
}

const _: () = assert!(size_of::<Ends>() == 64);

/// What such a pattern requires of a name besides its [`Ends`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Sketch {
    /// The [pairs](pairs_of) that a name must hold.
    pairs: u64,
    /// How many bytes a name must have at least.
    least: u16,
    /// How many bytes the pattern has before the first wildcard and after the last one.
    head: u16,
    tail: u16,
    rest: Rest,
}

/// What a sketch and the ends do not tell about their pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing: a name that fits both matches.
    Nothing,
    /// The ends are longer than there is room for, and there is only one `*` between them.
    Ends,
    /// There is only one `?` between the ends, which may be longer than there is room for.
    One,
    /// There is more than one wildcard.
    Middle,
}

impl Ends {
    pub(super) fn of(pattern: &str) -> Ends {
        let (head, tail) = (head(pattern), tail(pattern));
        let [first, second, third, _] = View::new(head).words;
        let [.., last] = View::new(tail).words;
        let of_head = |word: usize| mask(head.len().saturating_sub(word * WORD));
        Ends {
            words: [first, second, third, last],
            masks: [of_head(0), of_head(1), of_head(2), mask(tail.len())],
        }
    }

    /// The byte that a name must have at this place of its [`View`], if the pattern requires one.
    pub(super) fn byte_at(&self, place: usize) -> Option<u8> {
        let of = |words: &[u64; ENDS]| words[place / WORD].to_le_bytes()[place % WORD];
        (of(&self.masks) != 0).then(|| of(&self.words))
    }

    /// For each place of a [`View`], 0 if all of these patterns require the same there.
    pub(super) fn differences(all: &[Ends]) -> [u8; VIEWED] {
        let mut differ = [0; ENDS];
        for pair in all.windows(2) {
            for (i, differ) in differ.iter_mut().enumerate() {
                *differ |=
                    pair[0].words[i] ^ pair[1].words[i] | pair[0].masks[i] ^ pair[1].masks[i];
            }
        }
        bytes_of(&differ)
    }

    /// What a name must begin and end with, as in [`View`]; 0 where the pattern requires nothing.
    pub(super) fn bytes(&self) -> [u8; VIEWED] {
        bytes_of(&self.words)
    }

    /// Returns whether a name has these ends.
    #[inline]
    pub(super) fn fit(&self, name: &View) -> bool {
        let mut different = 0;
        for i in 0..ENDS {
            different |= (name.words[i] ^ self.words[i]) & self.masks[i];
        }
        different == 0
    }
}

impl Sketch {
    pub(super) fn of(pattern: &ToolPattern) -> Sketch {
        let text = pattern.as_str();
        let (head, tail) = (head(text), tail(text));
        let rest = if text.len() > head.len() + tail.len() + 1 {
            Rest::Middle
        } else if !text.contains(ANY_RUN) {
            Rest::One
        } else if head.len() <= HEAD * WORD && tail.len() <= WORD {
            Rest::Nothing
        } else {
            Rest::Ends
        };
        Sketch {
            pairs: pairs_of(text),
            least: narrow_len(text.bytes().filter(|byte| *byte != b'*').count()),
            head: narrow_len(head.len()),
            tail: narrow_len(tail.len()),
            rest,
        }
    }

    /// Returns whether a name is long enough.
    #[inline]
    pub(super) fn fits(&self, name: &View) -> bool {
        name.len >= usize::from(self.least)
    }

    /// Returns whether every name that [`fits`](Sketch::fits), and whose ends fit, matches.
    pub(super) fn is_sure(&self) -> bool {
        self.rest == Rest::Nothing
    }

    /// Returns whether the ends and the length rule out most names: the pattern has ends of some bytes, or only one
    /// wildcard.
    pub(super) fn is_selective(&self) -> bool {
        self.head + self.tail >= 3 || self.rest != Rest::Middle
    }

    /// Returns whether the pairs of a name are worth computing.
    pub(super) fn wants_pairs(&self) -> bool {
        !self.is_selective()
    }

    /// Returns whether a name with these pairs can match.
    #[inline]
    pub(super) fn fits_pairs(&self, pairs: u64) -> bool {
        self.pairs & !pairs == 0
    }

    /// Returns whether the pattern matches a name that [`fits`](Sketch::fits), and whose ends fit.
    pub(super) fn matches(&self, pattern: &ToolPattern, name: &str) -> bool {
        let one = match self.rest {
            Rest::Nothing => return true,
            Rest::Middle => return pattern.matches(name),
            Rest::Ends => false,
            Rest::One => true,
        };
        let (text, name) = (pattern.as_str().as_bytes(), name.as_bytes());
        let (head, tail) = (usize::from(self.head), usize::from(self.tail));
        // What there is room for in the ends is compared already.
        (head <= HEAD * WORD || same(&text[..head], &name[..head]))
            && (tail <= WORD || same(&text[text.len() - tail..], &name[name.len() - tail..]))
            && (!one || is_one_char(&name[head..name.len() - tail]))
    }
}

/// A name as a sketch sees it: its ends and its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// The first 24 bytes, of each word the first byte lowest, and the last eight, the last byte lowest.
    words: [u64; ENDS],
    len: usize,
}

impl View {
    /// The bytes of the ends.
    #[inline]
    pub(super) fn bytes(&self) -> [u8; VIEWED] {
        bytes_of(&self.words)
    }

    #[inline]
    pub(super) fn new(text: &str) -> View {
        let bytes = text.as_bytes();
        let len = bytes.len();
        let (Some(first), Some(last)) = (bytes.first_chunk::<WORD>(), bytes.last_chunk::<WORD>())
        else {
            let first = End::Front.words(bytes).at(0);
            let last = End::Back.words(bytes).at(0);
            return View {
                words: [first, 0, 0, last],
                len,
            };
        };
        // Where fewer than eight bytes are left, a word begins earlier, with bytes that are then shifted out.
        let word = |at: usize| {
            let start = (len - WORD).min(at);
            let word = bytes[start..].first_chunk();
            let beyond = 4 * (at - start).min(WORD);
            word.map_or(0, |word| u64::from_le_bytes(*word)) >> beyond >> beyond
        };
        View {
            words: [
                u64::from_le_bytes(*first),
                word(WORD),
                word(2 * WORD),
                u64::from_be_bytes(*last),
            ],
            len,
        }
    }
}

/// The pairs of adjacent bytes in a name: one bit for each of 64 classes of pairs.
pub(super) fn pairs_in(name: &str) -> u64 {
    /// Pairs in a word.
    const STEP: usize = WORD - 1;
    let name = name.as_bytes();
    let Some(last) = name.last_chunk() else {
        return name
            .windows(2)
            .fold(0, |pairs, pair| pairs | bit_of(pair[0], pair[1]));
    };
    let mut pairs = pairs_in_word(*last);
    let mut rest = name;
    while let Some(word) = rest.first_chunk() {
        pairs |= pairs_in_word(*word);
        rest = &rest[STEP..];
    }
    pairs
}

#[inline]
fn pairs_in_word(word: [u8; WORD]) -> u64 {
    let word = u64::from_le_bytes(word);
    // Each byte is combined with the next one. Bits that are shifted into another byte are masked out.
    let classes = (word << 2 & 0xfcfc_fcfc_fcfc_fcfc) ^ word ^ word >> 8;
    (0..7).fold(0, |bits, i| bits | 1 << (classes >> (8 * i) & 63))
}

#[inline]
fn bytes_of(words: &[u64; ENDS]) -> [u8; VIEWED] {
    let mut bytes = [0; VIEWED];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// The pairs held by every name that this pattern matches.
pub(super) fn pairs_of(pattern: &str) -> u64 {
    pattern
        .as_bytes()
        .windows(2)
        .filter(|pair| !pair.iter().any(|byte| is_wildcard(*byte)))
        .fold(0, |pairs, pair| pairs | bit_of(pair[0], pair[1]))
}

#[inline]
fn bit_of(first: u8, second: u8) -> u64 {
    1 << (((first << 2) ^ first ^ second) & 63)
}

/// Returns whether this part of a name, which is cut between characters, is one character.
fn is_one_char(part: &[u8]) -> bool {
    part.iter().filter(|byte| begins_char(**byte)).count() == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_has_the_pairs_that_stand_in_it(name in "\\PC{0,40}") {
            let bytes = name.as_bytes();
            let expected = bytes.windows(2).fold(0, |pairs, pair| pairs | bit_of(pair[0], pair[1]));
            prop_assert_eq!(pairs_in(&name), expected);
        }

        #[test]
        fn a_sketch_leaves_no_name_that_matches(
            pattern in "([ab_]{0,12}|[ab]{15,40})[*?]{1,2}([ab]{0,3}[*?])?([ab_]{0,10}|é)",
            fill in "[ab_é]{0,4}",
            other in "[ab_]{0,24}",
        ) {
            let pattern = ToolPattern::new(&pattern).unwrap();
            let (ends, sketch) = (Ends::of(pattern.as_str()), Sketch::of(&pattern));
            let filled: String = pattern.as_str().chars().map(|c| match c {
                '*' => fill.clone(),
                '?' if fill.contains('é') => "é".to_owned(),
                '?' => "a".to_owned(),
                c => c.into(),
            }).collect();
            for name in [filled, other] {
                let view = View::new(&name);
                let fits = ends.fit(&view) && sketch.fits(&view);
                let fits = fits && sketch.fits_pairs(pairs_in(&name));
                let matches = fits && sketch.matches(&pattern, &name);
                prop_assert_eq!(matches, pattern.matches_by_trying(&name), "{}", name);
                if sketch.is_sure() {
                    prop_assert_eq!(fits, matches, "{}", name);
                }
            }
        }
    }

    #[test]
    fn each_byte_of_the_ends_counts_however_long_they_are() {
        let lengths = (22..28).flat_map(|head| (6..12).map(move |tail| (head, tail)));
        for ((head, tail), wildcard) in lengths.flat_map(|of| ['*', '?'].map(|c| (of, c))) {
            let pattern = format!("{:a<head$}{wildcard}{:a<tail$}", "", "");
            let pattern = ToolPattern::new(&pattern).unwrap();
            let (ends, sketch) = (Ends::of(pattern.as_str()), Sketch::of(&pattern));
            for at in 0..=head + tail {
                let mut name = "a".repeat(head + 1 + tail);
                name.replace_range(at..=at, "b");
                let view = View::new(&name);
                let fits = ends.fit(&view) && sketch.fits(&view);
                let matches = fits && sketch.matches(&pattern, &name);
                assert_eq!(matches, at == head, "{pattern} {name}");
                assert!(matches || !(fits && sketch.is_sure()), "{pattern} {name}");
            }
        }
    }
}
