//! The positions of the characters of a short name, which make it cheap to match one name with many patterns.
//!
//! This is the Shift-And algorithm (Baeza-Yates and Gonnet, 1992) of [`Positions`](super::positions::Positions), for
//! names of ASCII characters that are shorter than one or two words have bits: then each step of a pattern takes a few
//! instructions.

/// A set of positions in a name, one bit for each, including the position after all characters.
type Set<const WORDS: usize> = [u64; WORDS];

/// A name of ASCII characters, fewer than 64 for each word.
pub(crate) struct ShortPositions<const WORDS: usize> {
    /// For each character, the positions at which it stands.
    standing: [Set<WORDS>; 128],
    /// The positions before a character.
    before: Set<WORDS>,
    /// The position after all characters.
    end: Set<WORDS>,
}

impl<const WORDS: usize> ShortPositions<WORDS> {
    /// Finds the positions of a name. `None` if it is too long or not ASCII.
    pub(crate) fn of(name: &str) -> Option<ShortPositions<WORDS>> {
        if name.len() >= 64 * WORDS || !name.is_ascii() {
            return None;
        }
        let mut positions = ShortPositions {
            standing: [[0; WORDS]; 128],
            before: [0; WORDS],
            end: [0; WORDS],
        };
        for (position, byte) in name.bytes().enumerate() {
            let (word, bit) = (position / 64, 1 << (position % 64));
            positions.standing[usize::from(byte & 0x7f)][word] |= bit;
            positions.before[word] |= bit;
        }
        positions.end[name.len() / 64] = 1 << (name.len() % 64);
        Some(positions)
    }

    /// Returns whether a pattern matches the name.
    #[inline]
    pub(crate) fn matches(&self, pattern: &str) -> bool {
        let mut set = [0; WORDS];
        set[0] = 1;
        for byte in pattern.bytes() {
            set = match byte {
                b'*' => from_lowest_on(set),
                b'?' => behind(set, &self.before),
                byte => match self.standing.get(usize::from(byte)) {
                    Some(standing) => behind(set, standing),
                    None => return false,
                },
            };
            if set == [0; WORDS] {
                return false;
            }
        }
        both(set, &self.end) != [0; WORDS]
    }
}

#[inline]
fn both<const WORDS: usize>(mut positions: Set<WORDS>, others: &Set<WORDS>) -> Set<WORDS> {
    for (positions, others) in positions.iter_mut().zip(others) {
        *positions &= others;
    }
    positions
}

/// The positions that follow those which are in both sets.
#[inline]
fn behind<const WORDS: usize>(positions: Set<WORDS>, others: &Set<WORDS>) -> Set<WORDS> {
    let mut positions = both(positions, others);
    let mut carry = 0;
    for word in &mut positions {
        let next = *word >> 63;
        *word = *word << 1 | carry;
        carry = next;
    }
    positions
}

/// All positions from the lowest one on.
#[inline]
fn from_lowest_on<const WORDS: usize>(mut positions: Set<WORDS>) -> Set<WORDS> {
    let mut behind = 0;
    for word in &mut positions {
        *word |= word.wrapping_neg() | behind;
        behind = 0_u64.wrapping_sub(*word >> 63);
    }
    positions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::ToolPattern;

    proptest! {
        #[test]
        fn agrees_with_trying(
            pattern in "[ab*?é]{1,12}|([ab?]{0,3}\\*){1,30}[ab]{0,2}|[ab?]{60,70}\\*?|[ab?]{125,130}\\*?b?",
            name in "[ab]{0,20}|[ab]{60,70}|[ab]{120,135}|[abé]{0,9}",
            star in "[ab]{0,9}",
        ) {
            let pattern = ToolPattern::new(&pattern).unwrap();
            // Also a name that the pattern matches, if it is short enough.
            let filled: String = pattern.as_str().chars().map(|c| match c {
                '*' => star.clone(),
                '?' => "b".to_owned(),
                c => c.into(),
            }).collect();
            for name in [name, filled] {
                let expected = pattern.matches_by_trying(&name);
                let one = ShortPositions::<1>::of(&name).map(|name| name.matches(pattern.as_str()));
                let two = ShortPositions::<2>::of(&name).map(|name| name.matches(pattern.as_str()));
                let is_short = |most: usize| name.len() < most && name.is_ascii();
                prop_assert_eq!(one, is_short(64).then_some(expected), "{} on {}", pattern, name);
                prop_assert_eq!(two, is_short(128).then_some(expected), "{} on {}", pattern, name);
            }
        }
    }
}
