//! Patterns by a part of four bytes that they hold anywhere.
//!
//! To look at every place in a name is not needed: of a long run of literals the four parts are noted that begin at four
//! places in a row. Wherever the run stands in a name, one of them begins at every fourth place.

use super::{
    index::NONE,
    perfect::Perfect,
    words::{Keys, is_wildcard},
};

/// Bytes in a part, and from one place where a name is looked at to the next one.
pub(super) const LEN: usize = 4;

/// How many parts in a row are noted.
pub(super) const ROW: usize = LEN;

/// The runs of literals in a pattern that are long enough.
pub(super) fn runs_of(pattern: &str) -> impl Iterator<Item = &[u8]> {
    let runs = pattern.as_bytes().split(|byte| is_wildcard(*byte));
    runs.filter(|run| run.len() >= LEN + ROW - 1)
}

/// The parts of a run.
pub(super) fn parts_of(run: &[u8]) -> impl Iterator<Item = u32> {
    run.array_windows().map(|part| u32::from_le_bytes(*part))
}

/// From parts to the numbers of buckets.
#[derive(Debug)]
pub(super) struct Grams {
    /// Bits, sixteen or more for each part: most places in a name are left by them.
    filter: Box<[u64]>,
    slots: Perfect,
    /// By their slots, each with its bucket.
    parts: Box<[(u32, u32)]>,
}

impl Grams {
    /// Of parts that are different, each with its bucket. `None` if other keys have to be chosen.
    pub(super) fn of(buckets: &[(u32, u32)], keys: &Keys) -> Option<Grams> {
        let mut hashes: Vec<u64> = buckets.iter().map(|(part, _)| keys.part(*part)).collect();
        hashes.sort_unstable();
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let slots = Perfect::of(&hashes)?;
        let mut grams = Grams {
            filter: vec![0; buckets.len().next_power_of_two()].into(),
            parts: vec![(0, NONE); slots.slots()].into(),
            slots,
        };
        for &(part, bucket) in buckets {
            let (word, bit) = grams.filter_bit(keys.part_spread(part));
            grams.filter[word] |= 1 << bit;
            grams.parts[grams.slots.slot(keys.part(part))] = (part, bucket);
        }
        Some(grams)
    }

    /// By the upper half of the spread.
    #[inline]
    fn filter_bit(&self, spread: u64) -> (usize, u32) {
        let word = (spread >> 32) as usize & (self.filter.len() - 1);
        (word, (spread >> 58) as u32)
    }

    /// Calls `found` with the bucket of each part in `name`, with some more than once.
    #[inline]
    pub(super) fn for_each_in(&self, name: &str, keys: &Keys, mut found: impl FnMut(u32)) {
        let (parts, _) = name.as_bytes().as_chunks();
        // As many as bits in a word. Which of them pass is not decided one by one.
        for parts in parts.chunks(64) {
            let mut passed = 0u64;
            for (place, part) in (0..).zip(parts) {
                let spread = keys.part_spread(u32::from_le_bytes(*part));
                let (word, bit) = self.filter_bit(spread);
                passed |= (self.filter[word] >> bit & 1) << place;
            }
            while passed != 0 {
                let part = u32::from_le_bytes(parts[passed.trailing_zeros() as usize]);
                passed &= passed - 1;
                let (noted, bucket) = self.parts[self.slots.slot(keys.part(part))];
                if noted == part && bucket != NONE {
                    found(bucket);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_is_found_wherever_it_stands(
            runs in prop::collection::vec("[a-c]{7}", 1..20),
            before in "[a-c]{0,300}",
            after in "[a-c]{0,9}",
        ) {
            let mut buckets: Vec<(u32, u32)> = runs.iter().flat_map(|run| parts_of(run.as_bytes())).map(|part| (part, part)).collect();
            buckets.sort_unstable();
            buckets.dedup();
            let (keys, grams) = loop {
                let keys = Keys::new(0);
                if let Some(grams) = Grams::of(&buckets, &keys) {
                    break (keys, grams);
                }
            };
            for run in runs {
                let name = format!("{before}{run}{after}");
                let mut found = Vec::new();
                grams.for_each_in(&name, &keys, |bucket| found.push(bucket));
                prop_assert!(parts_of(run.as_bytes()).any(|part| found.contains(&part)));
                let places = name.as_bytes().chunks_exact(4).map(|part| u32::from_le_bytes(part.try_into().unwrap()));
                let expected: Vec<u32> = places.filter(|part| buckets.contains(&(*part, *part))).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
