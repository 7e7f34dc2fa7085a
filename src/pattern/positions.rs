//! The positions of a name, as sets, so that a pattern can be followed at all of them at once.
//!
//! A name of n characters has n + 1 positions: one before each character, and the end. Matching goes over the
//! *pattern*, character by character, and keeps the set of all positions that the pattern can have come to:
//!
//! * at first, the position 0;
//! * after a literal, the positions that follow those of the set at which this character stands;
//! * after `?`, the positions that follow those of the set; none follows the end;
//! * after `*`, all positions from the first of the set on.
//!
//! The pattern matches if the last set contains the end. This is the definition of the language and no more. A set
//! is n + 1 bits, so a step takes n/64 + 1 words, whatever the pattern and the name.
//!
//! This is the Shift-And algorithm, which runs a nondeterministic automaton in the bits of words (Baeza-Yates and
//! Gonnet, "A new approach to text searching", Communications of the ACM 35(10), 1992), with the parts swapped: there
//! the bits are positions in the pattern, and the text is read character by character.
//!
//! The sets of positions at which a character stands are made once for a name. To keep their memory proportional to n,
//! only the ASCII characters, and others that are frequent, have sets in words; the positions of the rest are listed.

use smallvec::SmallVec;

use super::{ANY_CHAR, ANY_RUN};

/// A set of positions, one bit for each. Bits beyond the end of the name mean nothing.
pub(crate) type Set = SmallVec<[u64; 2]>;

const BITS: usize = 64;

/// The positions at which each character of a name stands.
pub(crate) struct Positions {
    chars: SmallVec<[char; 64]>,
    /// How many words a set has.
    words: usize,
    /// The sets, one after another. The first is that of all characters.
    sets: SmallVec<[u64; 32]>,
    /// For each ASCII character, the number of its set; 0 if it does not occur.
    ascii: [u8; 128],
    /// For each other character that is frequent, the number of its set, in the order of characters. A character is
    /// frequent if it occurs at least once for each word of a set, so these are at most 64.
    frequent: Vec<(char, usize)>,
    /// The other characters and the positions at which they stand, in order.
    others: Vec<(char, usize)>,
}

impl Positions {
    pub(crate) fn of(name: &str) -> Positions {
        let mut positions = Positions {
            chars: SmallVec::new(),
            words: 0,
            sets: SmallVec::new(),
            ascii: [0; 128],
            frequent: Vec::new(),
            others: Vec::new(),
        };
        let end = name.chars().count();
        positions.words = end / BITS + 1;
        positions.sets.resize(end / BITS, u64::MAX);
        positions.sets.push((1 << (end % BITS)) - 1);
        for (position, c) in name.chars().enumerate() {
            positions.chars.push(c);
            let Some(number) = positions.ascii.get_mut(c as usize) else {
                positions.others.push((c, position));
                continue;
            };
            if *number == 0 {
                let next = positions.sets.len() / positions.words;
                *number = u8::try_from(next).expect("one of 128 ASCII characters");
                positions
                    .sets
                    .resize(positions.sets.len() + positions.words, 0);
            }
            let number = usize::from(*number);
            positions.insert(number, position);
        }
        positions.sort_others();
        positions
    }

    fn sort_others(&mut self) {
        let mut others = std::mem::take(&mut self.others);
        others.sort_unstable();
        for group in others.chunk_by(|a, b| a.0 == b.0) {
            if group.len() >= self.words {
                let set = self.add_set();
                self.frequent.push((group[0].0, set));
                for &(_, position) in group {
                    self.insert(set, position);
                }
            }
        }
        self.others = others;
    }

    fn add_set(&mut self) -> usize {
        let number = self.sets.len() / self.words;
        self.sets.resize(self.sets.len() + self.words, 0);
        number
    }

    fn insert(&mut self, set: usize, position: usize) {
        self.sets[set * self.words + position / BITS] |= 1 << (position % BITS);
    }

    /// The set that contains only the first position.
    pub(crate) fn first(&self) -> Set {
        let mut set = Set::from_elem(0, self.words);
        set[0] = 1;
        set
    }

    /// Advances a set by one character of a pattern, a wildcard or not. Returns whether a position is left.
    pub(crate) fn follow(&self, set: &mut [u64], c: char) -> bool {
        match c {
            ANY_RUN => {
                self.go_anywhere(set);
                true
            }
            ANY_CHAR => self.advance(set, None),
            c => self.advance(set, Some(c)),
        }
    }

    /// Advances a set by one character, `None` for any. Returns whether a position is left.
    pub(crate) fn advance(&self, set: &mut [u64], c: Option<char>) -> bool {
        match self.standing(c) {
            Standing::Words(words) => advance(set, words.iter().copied()),
            Standing::Listed(listed) => advance(set, words_of(listed)),
        }
    }

    /// Advances a set by any run of characters. There has to be a position in the set.
    #[expect(clippy::unused_self, reason = "a set is used with its name")]
    pub(crate) fn go_anywhere(&self, set: &mut [u64]) {
        if let Some(first) = set.iter().position(|word| *word != 0) {
            // From the lowest bit on.
            set[first] |= set[first].wrapping_neg();
            set[first + 1..].fill(u64::MAX);
        }
    }

    pub(crate) fn is_at_end(&self, set: &[u64]) -> bool {
        let end = self.chars.len();
        set[end / BITS] >> (end % BITS) & 1 == 1
    }

    /// The positions at which `c` stands, `None` for any character.
    fn standing(&self, c: Option<char>) -> Standing<'_> {
        let number = match c {
            None => 0,
            Some(c) if c.is_ascii() => match self.ascii[c as usize] {
                0 => return Standing::Listed(&[]),
                number => usize::from(number),
            },
            Some(c) => {
                let Ok(at) = self
                    .frequent
                    .binary_search_by_key(&c, |frequent| frequent.0)
                else {
                    let from = &self.others[self.others.partition_point(|other| other.0 < c)..];
                    return Standing::Listed(&from[..from.partition_point(|other| other.0 == c)]);
                };
                self.frequent[at].1
            }
        };
        Standing::Words(&self.sets[number * self.words..][..self.words])
    }
}

/// The set of positions at which a character stands, in one of two forms.
enum Standing<'p> {
    Words(&'p [u64]),
    Listed(&'p [(char, usize)]),
}

/// The words of the set of the positions in a list.
fn words_of(mut listed: &[(char, usize)]) -> impl Iterator<Item = u64> {
    (0..).map(move |i| {
        let mut word = 0;
        while let [(_, position), rest @ ..] = listed
            && position / BITS == i
        {
            word |= 1 << (position % BITS);
            listed = rest;
        }
        word
    })
}

fn advance(set: &mut [u64], standing: impl Iterator<Item = u64>) -> bool {
    let (mut left, mut carry) = (0, 0);
    for (word, standing) in set.iter_mut().zip(standing) {
        let stay = *word & standing;
        *word = stay << 1 | carry;
        carry = stay >> (BITS - 1);
        left |= stay;
    }
    left != 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(positions: &Positions, set: &[u64]) -> BTreeSet<usize> {
        (0..=positions.chars.len())
            .filter(|position| set[position / BITS] >> (position % BITS) & 1 == 1)
            .collect()
    }

    /// Advances a plain set by one character, `None` for any.
    fn model(name: &[char], set: &BTreeSet<usize>, op: Option<char>) -> BTreeSet<usize> {
        set.iter()
            .filter(|position| {
                name.get(**position)
                    .is_some_and(|found| op.is_none_or(|c| c == *found))
            })
            .map(|position| position + 1)
            .collect()
    }

    proptest! {
        #[test]
        fn sets_are_sets(
            name in "[a-cé€]{0,70}|[aé]{120,300}|([aé€🔑]|\\PC){60,200}",
            ops in prop::collection::vec((0u8..8, any::<prop::sample::Index>()), 0..40),
        ) {
            let chars: Vec<char> = name.chars().collect();
            let positions = Positions::of(&name);
            let mut set = positions.first();
            let mut expected = BTreeSet::from([0]);
            for (op, at) in ops {
                let c = match op {
                    0 => {
                        positions.go_anywhere(&mut set);
                        expected = (expected.first().copied().unwrap()..=chars.len()).collect();
                        None
                    }
                    1 => Some('€'),
                    2 => Some('x'),
                    3 if !chars.is_empty() => Some(chars[at.index(chars.len())]),
                    4.. => expected.first().and_then(|position| chars.get(*position)).copied(),
                    _ => None,
                };
                prop_assert_eq!(members(&positions, &set), expected.clone());
                prop_assert_eq!(positions.is_at_end(&set), expected.contains(&chars.len()));
                let next = model(&chars, &expected, c);
                let mut advanced = set.clone();
                prop_assert_eq!(positions.advance(&mut advanced, c), !next.is_empty());
                if next.is_empty() {
                    continue;
                }
                (set, expected) = (advanced, next);
            }
        }
    }

    #[test]
    fn memory_is_proportional_to_the_name() {
        let all_different: String = ('\0'..).take(60_000).filter(|c| *c != '\u{d7ff}').collect();
        let all_frequent: String = ('\u{100}'..).take(60).cycle().take(60_000).collect();
        for name in [all_different, all_frequent] {
            let positions = Positions::of(&name);
            assert!(positions.sets.len() <= 3 * (positions.chars.len() + BITS));
            assert!(positions.frequent.len() <= BITS);
        }
    }
}
