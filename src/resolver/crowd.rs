//! Many patterns that only the characters that they hold tell apart: which of them a name can match is found for all
//! at once.
//!
//! A byte belongs to one of 32 classes. For each class and each count from zero to three there is the set of
//! patterns that hold more bytes of the class than that, one bit for each pattern. The name's own counts choose one
//! set for each class; a pattern in any of these sets cannot match. So a block of 64 patterns takes 32 steps of one
//! word each, and a block of 256 patterns takes 32 steps of four words each. A class that the name has four times or
//! more rules out nothing.

use crate::pattern::is_wildcard;

const CLASSES: usize = 32;

/// Counts from this one on are not told apart.
const MOST: usize = 4;

/// From this many patterns on, blocks are wide.
const WIDE: usize = 128;

/// The sets of some patterns, in their order.
#[derive(Debug, Clone)]
pub(super) enum Crowd {
    /// Blocks of 64 patterns.
    Narrow(Blocks<1>),
    /// Blocks of 256 patterns.
    Wide(Blocks<4>),
}

/// Blocks whose sets have `WORDS` words.
#[derive(Debug, Clone)]
pub(super) struct Blocks<const WORDS: usize> {
    blocks: Box<[Block<WORDS>]>,
    patterns: usize,
}

/// For each class and each count less than [`MOST`], the patterns that hold more bytes of the class.
type Block<const WORDS: usize> = [[[u64; WORDS]; MOST]; CLASSES];

/// How many bytes of each class there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Census([u8; CLASSES]);

impl Census {
    pub(super) fn of(bytes: impl Iterator<Item = u8>) -> Census {
        let mut counts = [0u8; CLASSES];
        for byte in bytes {
            let count = &mut counts[usize::from(byte) % CLASSES];
            *count = count.saturating_add(1);
        }
        Census(counts)
    }
}

impl Crowd {
    pub(super) fn of<'p>(patterns: impl ExactSizeIterator<Item = &'p str>) -> Crowd {
        if patterns.len() < WIDE {
            Crowd::Narrow(Blocks::of(patterns))
        } else {
            Crowd::Wide(Blocks::of(patterns))
        }
    }

    /// Calls `found` with the number of each pattern that a name with this census can match, in their order.
    #[inline]
    pub(super) fn for_each_left(&self, name: &Census, found: impl FnMut(usize)) {
        match self {
            Crowd::Narrow(blocks) => blocks.for_each_left(name, found),
            Crowd::Wide(blocks) => blocks.for_each_left(name, found),
        }
    }
}

impl<const WORDS: usize> Blocks<WORDS> {
    const PATTERNS: usize = 64 * WORDS;

    fn of<'p>(patterns: impl ExactSizeIterator<Item = &'p str>) -> Blocks<WORDS> {
        let count = patterns.len();
        let empty: Block<WORDS> = [[[0; WORDS]; MOST]; CLASSES];
        let mut blocks = vec![empty; count.div_ceil(Self::PATTERNS)];
        for (number, pattern) in patterns.enumerate() {
            let Census(held) = Census::of(pattern.bytes().filter(|byte| !is_wildcard(*byte)));
            let at = number % Self::PATTERNS;
            for (sets, held) in blocks[number / Self::PATTERNS].iter_mut().zip(held) {
                for set in sets.iter_mut().take(held.into()) {
                    set[at / 64] |= 1 << (at % 64);
                }
            }
        }
        Blocks {
            blocks: blocks.into(),
            patterns: count,
        }
    }

    #[inline]
    fn for_each_left(&self, name: &Census, mut found: impl FnMut(usize)) {
        for (number, block) in self.blocks.iter().enumerate() {
            let mut out = [0u64; WORDS];
            for (sets, held) in block.iter().zip(name.0) {
                if let Some(set) = sets.get(usize::from(held)) {
                    for (out, set) in out.iter_mut().zip(set) {
                        *out |= set;
                    }
                }
            }
            for (i, out) in out.into_iter().enumerate() {
                let first = number * Self::PATTERNS + i * 64;
                let mut left = !out & ones(self.patterns.saturating_sub(first));
                while left != 0 {
                    found(first + left.trailing_zeros() as usize);
                    left &= left - 1;
                }
            }
        }
    }
}

/// The lowest `bits` bits, at most 64.
fn ones(bits: usize) -> u64 {
    if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn those_are_left_that_hold_no_more_than_the_name(
            patterns in prop::collection::vec("[*?a-dA-C_]{0,12}", 0..600),
            name in "[a-dA-C_]{0,20}",
        ) {
            let crowd = Crowd::of(patterns.iter().map(String::as_str));
            let mut left = Vec::new();
            crowd.for_each_left(&Census::of(name.bytes()), |pattern| left.push(pattern));
            let held = |text: &str, class: u8| {
                text.bytes().filter(|byte| !is_wildcard(*byte) && byte % 32 == class).count()
            };
            let expected: Vec<usize> = (0..patterns.len())
                .filter(|&i| (0..32).all(|class| {
                    held(&patterns[i], class).min(MOST) <= held(&name, class)
                }))
                .collect();
            prop_assert_eq!(left, expected);
        }
    }
}
