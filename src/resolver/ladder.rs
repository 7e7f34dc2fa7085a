//! Which beginnings, or ends, of a name can be keys: for all lengths at once.
//!
//! A key of 8·s + r bytes, 1 ≤ r ≤ 8, is noted on the rung s, which is found by the hash of its first 8·s bytes. A
//! rung is a word with a lane of eight bits for each r: 0 if there is no key of this length, 1 if there are several,
//! else a check of the last r bytes of the only one. Multiplying a word by an odd number gives such checks of all
//! its beginnings at once, as the lower bytes of a product do not depend on the upper bytes of its factors. So a
//! rung costs one look, whatever the number of keys.
//!
//! One bit of each lane is left for a filter, so that the same look tells whether any key continues beyond the bytes
//! that lead to the rung: if one does, that bit is set in one of the lanes. The hash tells in which.
//!
//! All keys of up to eight bytes would lie on one rung. So those of five to eight bytes are found by their first
//! four.

use super::{
    perfect::scaled,
    row::NONE,
    words::{End, Keys, SPREAD, WORD},
};

/// The lengths of the keys of one kind.
#[derive(Debug, Clone)]
pub(super) struct Ladder {
    /// The rungs by their hashes. Those that share a slot are noted together: then the slot may let through too
    /// much, never too little.
    rungs: Box<[u64]>,
    /// The rung of the keys of one to four bytes.
    bottom: u64,
    /// Bytes in the longest key.
    pub(super) longest: usize,
    /// The node of the empty key.
    pub(super) root: u32,
}

/// A bit in each lane: the lowest; the highest, which is set in every check; and the one that belongs to the filter.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;
const BEYOND: u64 = LOW << 6;

/// The lanes that in the first word are found by its first four bytes.
const UPPER: u64 = u64::MAX << 32;

/// The bits of the lowest lane that its keys are noted in.
const LANE: u64 = 0xff ^ BEYOND & 0xff;
const SEVERAL: u64 = 1;

impl Ladder {
    /// Returns a ladder with room for this many keys. Without keys it takes no memory, as most resolvers are small.
    pub(super) fn for_keys(keys: usize) -> Ladder {
        let some = usize::from(keys > 0);
        Ladder {
            rungs: vec![0; 2 * keys + some].into(),
            bottom: 0,
            longest: 0,
            root: NONE,
        }
    }

    #[inline]
    pub(super) fn is_used(&self) -> bool {
        self.longest > 0 || self.root != NONE
    }

    /// Notes a key, which is not empty.
    pub(super) fn note(&mut self, key: &[u8], end: End, keys: &Keys) {
        self.longest = self.longest.max(key.len());
        let at = (key.len() - 1) / WORD;
        let lane = 8 * ((key.len() - 1) % WORD);
        let word = end.words(key).at(at);
        let (rung, hash) = match (at, lane) {
            (0, 0..32) => (&mut self.bottom, 0),
            (0, _) => {
                let hash = keys.half_step(word);
                (&mut self.rungs[scaled(hash, self.rungs.len())], hash)
            }
            _ => {
                let (mut sum, words) = (0, end.words(key));
                for before in 0..at {
                    sum = keys.term(before, words.at(before)).wrapping_add(sum);
                    let hash = keys.step(sum);
                    self.rungs[scaled(hash, self.rungs.len())] |= 1 << beyond(hash);
                }
                let hash = keys.step(sum);
                (&mut self.rungs[scaled(hash, self.rungs.len())], hash)
            }
        };
        let check = checks(word, hash) >> lane & LANE;
        let noted = match *rung >> lane & LANE {
            0 => check,
            other if other == check => check,
            _ => SEVERAL,
        };
        *rung = *rung & !(LANE << lane) | noted << lane;
    }

    /// For the first word of a name, a bit for each number of its bytes after which a key may end.
    #[inline]
    pub(super) fn first_lengths(&self, word: u64, keys: &Keys) -> u64 {
        let hash = keys.half_step(word);
        matching(
            self.bottom & !UPPER | self.rung(hash) & UPPER,
            checks(word, 0) & !UPPER | checks(word, hash) & UPPER,
        )
    }

    /// The same for another word, after words with this sum. `None` if no key continues after these.
    #[inline]
    pub(super) fn lengths(&self, word: u64, sum: u64, keys: &Keys) -> Option<u64> {
        let hash = keys.step(sum);
        let rung = self.rung(hash);
        (rung >> beyond(hash) & 1 == 1).then(|| matching(rung, checks(word, hash)))
    }

    #[inline]
    fn rung(&self, hash: u64) -> u64 {
        self.rungs[scaled(hash, self.rungs.len())]
    }
}

/// The bit of a rung that is set if a key continues beyond what has this hash.
#[inline]
fn beyond(hash: u64) -> u64 {
    hash & 0x38 | 6
}

/// A check for each lane: of as many bytes of the word as the lane is for, and of what was before the word.
#[inline]
fn checks(word: u64, hash: u64) -> u64 {
    // The rung is found by the upper half of the hash.
    let lower = hash & !UPPER;
    word.wrapping_mul(SPREAD) ^ (lower | lower << 32) | HIGH
}

/// A bit for each lane of a rung that holds this check or stands for several.
#[inline]
fn matching(rung: u64, checks: u64) -> u64 {
    let several = rung << 7 & !rung;
    // The highest bit of a lane is set in `same` if all bits of the lane are 0 in `other`.
    let other = (rung ^ checks) & !BEYOND;
    let same = !((other & !HIGH).wrapping_add(!HIGH) | other);
    let lanes = (several | same) & HIGH;
    // The product brings the eight bits together in its highest byte.
    (lanes >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lane_matches_its_check_and_several(rung in any::<[u8; 8]>(), checks in any::<[u8; 8]>(), same in any::<u8>()) {
            let checks = checks.map(|check| check | 0x80);
            let filter = rung.map(|lane| lane & 0x40);
            let lanes: [u8; 8] = std::array::from_fn(|i| match rung[i] & 0xbf {
                _ if same >> i & 1 == 1 => checks[i] & 0xbf,
                other @ 0x80.. => other,
                other => other & 1,
            });
            let is_meant = |i: &usize| lanes[*i] == 1 || lanes[*i] == checks[*i] & 0xbf;
            let expected = (0..8).filter(is_meant).fold(0, |bits, i| bits | 1 << i);
            let rung: [u8; 8] = std::array::from_fn(|i| lanes[i] | filter[i]);
            prop_assert_eq!(matching(u64::from_le_bytes(rung), u64::from_le_bytes(checks)), expected);
        }

        #[test]
        fn every_key_is_found_among_the_beginnings_of_a_name(
            texts in prop::collection::btree_set("[ab]{1,4}|[ab]{5,20}|agno__[a-c]{1,9}", 1..40),
            rest in "[ab]{0,9}",
            end in prop::sample::select(vec![End::Front, End::Back]),
        ) {
            let keys = Keys::new(64);
            let mut ladder = Ladder::for_keys(texts.len());
            for text in &texts {
                ladder.note(text.as_bytes(), end, &keys);
            }
            for text in &texts {
                let name = match end {
                    End::Front => format!("{text}{rest}"),
                    End::Back => format!("{rest}{text}"),
                };
                let found = lengths(&ladder, &name, end, &keys);
                for key in texts.iter().filter(|key| end.cut(name.as_bytes(), key.len()) == key.as_bytes()) {
                    prop_assert!(found.contains(&key.len()), "{} in {}", key, name);
                }
            }
        }
    }

    /// The lengths of which there may be a key in `name`.
    fn lengths(ladder: &Ladder, name: &str, end: End, keys: &Keys) -> Vec<usize> {
        let name = name.as_bytes();
        let of_word = |at: usize| {
            let word = end.words(name).at(at);
            let lengths = match at {
                0 => ladder.first_lengths(word, keys),
                _ => ladder
                    .lengths(word, keys.sum(name, end, at), keys)
                    .unwrap_or(0),
            };
            (1..=8)
                .filter(move |len| lengths >> (len - 1) & 1 == 1)
                .map(move |len| at * WORD + len)
        };
        (0..name.len().div_ceil(WORD))
            .flat_map(of_word)
            .filter(|len| *len <= name.len())
            .collect()
    }

    #[test]
    fn what_is_no_key_is_seldom_taken_for_one() {
        let keys = Keys::new(64);
        let mut ladder = Ladder::for_keys(1_000);
        let text = |i: u32| format!("agno__service{i:05}__");
        for i in 0..1_000 {
            ladder.note(text(i).as_bytes(), End::Front, &keys);
        }
        let count = |i: u32| lengths(&ladder, &text(i), End::Front, &keys).len();
        let found: usize = (0..1_000).map(count).sum();
        let others: usize = (50_000..51_000).map(count).sum();
        assert!((1_000..1_300).contains(&found), "{found}");
        assert!(others < 150, "{others}");
    }
}
