//! What can be said of a pattern without its text: enough to leave it for most names, and to take it for some.

use super::words::{End, WORD, head, is_wildcard, mask, tail};
use crate::pattern::{ANY_RUN, ToolPattern};

/// What a pattern demands of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sketch {
    /// Up to sixteen bytes that a name must begin with, and eight that it must end with, as in [`View`].
    ends: [u64; 3],
    /// Which bits of these count.
    masks: [u64; 3],
    /// The [pairs](pairs_of) that it must hold.
    pairs: u64,
    /// How many bytes it must have at least.
    least: u16,
    /// How many bytes the pattern begins and ends with, up to the first and from the last wildcard.
    head: u16,
    tail: u16,
    /// Whether these and the least number of bytes are all that it demands.
    ends_only: bool,
    /// Whether all of that is in the sketch.
    is_sure: bool,
}

impl Sketch {
    pub(super) fn of(pattern: &ToolPattern) -> Sketch {
        let text = pattern.as_str();
        let (head, tail) = (head(text), tail(text));
        let ends_only = text.len() == head.len() + tail.len() + 1 && text.contains(ANY_RUN);
        Sketch {
            is_sure: ends_only && head.len() <= 2 * WORD && tail.len() <= WORD,
            ends: [
                View::new(head).ends[0],
                View::new(head).ends[1],
                View::new(tail).ends[2],
            ],
            masks: [
                mask(head.len()),
                mask(head.len().saturating_sub(WORD)),
                mask(tail.len()),
            ],
            pairs: pairs_of(text),
            least: short(text.bytes().filter(|byte| *byte != b'*').count()),
            head: short(head.len()),
            tail: short(tail.len()),
            ends_only,
        }
    }

    /// Whether the pairs of a name are worth knowing.
    pub(super) fn wants_pairs(&self) -> bool {
        !self.ends_only
    }

    /// Whether a name can match, as far as its ends tell.
    #[inline]
    pub(super) fn fits(&self, name: &View) -> bool {
        let [a, b, c] = [0, 1, 2].map(|i| (name.ends[i] ^ self.ends[i]) & self.masks[i]);
        a | b | c == 0
    }

    /// Whether a name with these pairs can match.
    #[inline]
    pub(super) fn fits_pairs(&self, pairs: u64) -> bool {
        self.pairs & !pairs == 0
    }

    /// Whether a name that [`fits`](Sketch::fits) and [is long enough](Sketch::is_long_enough) matches.
    #[inline]
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure
    }

    #[inline]
    pub(super) fn is_long_enough(&self, name: &str) -> bool {
        name.len() >= usize::from(self.least)
    }

    /// Whether the pattern matches a name that [`fits`](Sketch::fits).
    pub(super) fn matches(&self, pattern: &ToolPattern, name: &str) -> bool {
        if !self.is_long_enough(name) {
            return false;
        }
        if !self.ends_only {
            return pattern.matches(name);
        }
        let (head, tail) = (usize::from(self.head), usize::from(self.tail));
        let (text, name) = (pattern.as_str().as_bytes(), name.as_bytes());
        name[..head] == text[..head] && name[name.len() - tail..] == text[text.len() - tail..]
    }
}

/// A name, and its ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// The first sixteen bytes, the first one lowest, and the last eight, the last one lowest.
    ends: [u64; 3],
}

impl View {
    #[inline]
    pub(super) fn new(text: &str) -> View {
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first_chunk::<WORD>(), bytes.last_chunk::<WORD>())
        else {
            let word = End::Front.words(bytes).at(0);
            let last = End::Back.words(bytes).at(0);
            return View {
                ends: [word, 0, last],
            };
        };
        // The second word begins earlier in a name of less than sixteen bytes, which is then shifted out.
        let start = (bytes.len() - WORD).min(WORD);
        let second = bytes[start..]
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word));
        let beyond = 4 * (WORD - start);
        let second = second >> beyond >> beyond;
        View {
            ends: [
                u64::from_le_bytes(*first),
                second,
                u64::from_be_bytes(*last),
            ],
        }
    }
}

/// Which pairs of bytes there are in a name, in 64 classes.
pub(super) fn pairs_in(name: &str) -> u64 {
    let mut pairs = 0;
    // Seven pairs at a time.
    let mut rest = name.as_bytes();
    while let Some(word) = rest.first_chunk::<WORD>() {
        let word = u64::from_le_bytes(*word);
        // Each byte beside the next one; what a byte is shifted into the next one does not count.
        let classes = (word << 2 & 0xfcfc_fcfc_fcfc_fcfc) ^ word ^ word >> 8;
        for i in 0..7 {
            pairs |= 1 << (classes >> (8 * i) & 63);
        }
        rest = &rest[7..];
    }
    rest.windows(2)
        .fold(pairs, |pairs, pair| pairs | bit_of(pair[0], pair[1]))
}

/// The pairs that a name must hold that a pattern matches.
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

/// A number of bytes in a pattern, which has at most 4,096.
fn short(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a pattern has at most 1,024 characters")
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
            pattern in "([ab_]{0,12}|[ab]{15,20})[*?]{1,2}([ab]{0,3}[*?])?([ab_]{0,10}|é)",
            fill in "[ab_é]{0,4}",
            other in "[ab_]{0,24}",
        ) {
            let pattern = ToolPattern::new(&pattern).unwrap();
            let sketch = Sketch::of(&pattern);
            let filled: String = pattern.as_str().chars().map(|c| match c {
                '*' => fill.clone(),
                '?' => "a".to_owned(),
                c => c.into(),
            }).collect();
            for name in [filled, other] {
                let view = View::new(&name);
                let fits = sketch.fits(&view) && sketch.fits_pairs(pairs_in(&name));
                let matches = fits && sketch.matches(&pattern, &name);
                prop_assert_eq!(matches, pattern.matches_by_trying(&name), "{}", name);
                if sketch.is_sure() {
                    prop_assert_eq!(fits && sketch.is_long_enough(&name), matches, "{}", name);
                }
            }
        }
    }
}
