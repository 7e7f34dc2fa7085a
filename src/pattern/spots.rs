//! Where the characters of a short name stand: what makes it cheap to match one name with many patterns.
//!
//! This is [`Places`](super::places::Places) for names of ASCII characters, of which there are less than bits in a word:
//! then a set of places is one word, and each step of a pattern takes some instructions.

/// A name of less than 64 ASCII characters.
pub(crate) struct Spots {
    /// For each character the places where it stands, a bit for each.
    standing: [u64; 128],
    /// The places before a character.
    before: u64,
}

impl Spots {
    /// `None` for other names.
    pub(crate) fn of(name: &str) -> Option<Spots> {
        if name.len() >= 64 || !name.is_ascii() {
            return None;
        }
        let mut standing = [0; 128];
        for (place, byte) in name.bytes().enumerate() {
            standing[usize::from(byte & 0x7f)] |= 1 << place;
        }
        Some(Spots {
            standing,
            before: (1 << name.len()) - 1,
        })
    }

    /// Whether a pattern matches the name.
    #[inline]
    pub(crate) fn matches(&self, pattern: &str) -> bool {
        let mut places = 1u64;
        for byte in pattern.bytes() {
            places = match byte {
                // From the lowest place on.
                b'*' => places | places.wrapping_neg(),
                b'?' => (places & self.before) << 1,
                byte => (places & self.standing.get(usize::from(byte)).unwrap_or(&0)) << 1,
            };
            if places == 0 {
                return false;
            }
        }
        // The end is the place behind all characters.
        places & (self.before + 1) != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::ToolPattern;

    proptest! {
        #[test]
        fn agrees_with_trying(pattern in "[ab*?é]{1,12}", name in "[ab]{0,20}|[ab]{60,70}|[abé]{0,9}") {
            let pattern = ToolPattern::new(&pattern).unwrap();
            let spots = Spots::of(&name);
            prop_assert_eq!(spots.is_some(), name.len() < 64 && name.is_ascii());
            if let Some(spots) = spots {
                prop_assert_eq!(spots.matches(pattern.as_str()), pattern.matches_by_trying(&name));
            }
        }
    }
}
