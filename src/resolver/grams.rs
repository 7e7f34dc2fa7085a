//! Patterns by a run of seven consecutive bytes that they hold anywhere.
//!
//! A name need not be looked at in every place: a run of seven bytes is noted under each of its four parts of four
//! bytes. Wherever the run stands in a name, one of its parts begins at a place whose number is a multiple of four;
//! the bytes around the part tell whether the run is there.

use std::ops::Range;

use super::{narrow, perfect::Perfect, words::Keys};
use crate::pattern::is_wildcard;

/// Bytes in a part, and between two places where a name is looked at.
const LEN: usize = 4;

/// How many parts of a run are noted.
pub(super) const ROW: usize = LEN;

/// Bytes in a run.
const RUN: usize = LEN + ROW - 1;

/// Up to this many runs around a part are looked at one by one.
const FEW: usize = 8;

/// The least number of words in a filter. A part that most names hold should not pass by chance.
const LEAST: usize = 64;

/// The most words in a filter that is asked beforehand whether a name is worth a closer look. With more parts, most
/// names hold some of them.
const MOST: usize = 512;

/// The bytes that patterns are found by.
pub(super) type Run = [u8; RUN];

/// The literals between the wildcards of a pattern, as far as they are long enough for a run.
pub(super) fn literals_of(pattern: &str) -> impl Iterator<Item = &[u8]> {
    let literals = pattern.as_bytes().split(|byte| is_wildcard(*byte));
    literals.filter(|literals| literals.len() >= RUN)
}

/// The parts of some literals.
pub(super) fn parts_of(literals: &[u8]) -> impl Iterator<Item = u32> {
    literals
        .array_windows()
        .map(|part| u32::from_le_bytes(*part))
}

/// Leads from runs to the numbers of buckets.
#[derive(Debug, Clone)]
pub(super) struct Grams {
    /// A bit set with 64 or more bits for each part. It rules out most places in a name.
    filter: Box<[u64]>,
    slots: Perfect,
    /// The parts by their slots, each with the index at which its runs begin; they end where those of the next
    /// begin.
    parts: Box<[(u32, u32)]>,
    /// The runs, part by part and sorted within each, as [`around`] makes them.
    runs: Box<[u64]>,
    /// The buckets of the runs.
    buckets: Box<[u32]>,
}

/// A run under one of its parts.
struct Noted {
    part: u32,
    around: u64,
    bucket: u32,
}

impl Grams {
    /// Builds the index of these runs, which differ, each with its bucket. `None` if other keys have to be drawn.
    pub(super) fn of(runs: &[(Run, u32)], keys: &Keys) -> Option<Grams> {
        let mut noted: Vec<Noted> = Vec::with_capacity(ROW * runs.len());
        for (run, bucket) in runs {
            noted.extend(parts_of(run).enumerate().map(|(place, part)| Noted {
                part,
                around: around(*run, place),
                bucket: *bucket,
            }));
        }
        let hash = |noted: &Noted| keys.part(noted.part);
        let mut hashes: Vec<u64> = noted.iter().map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let slots = Perfect::of(&hashes)?;
        noted.sort_unstable_by_key(|noted| (slots.slot(hash(noted)), noted.around));
        let mut filter = vec![0; hashes.len().next_power_of_two().max(LEAST)];
        let mut parts = vec![(0, 0); slots.slots() + 1];
        for noted in &noted {
            let (part, count) = &mut parts[slots.slot(hash(noted))];
            if *count > 0 && *part != noted.part {
                return None;
            }
            *part = noted.part;
            *count += 1;
            let (word, bit) = filter_bit(keys.part_spread(noted.part), filter.len());
            filter[word] |= 1 << bit;
        }
        let mut start = 0;
        for (_, count) in &mut parts {
            start += std::mem::replace(count, start);
        }
        narrow(noted.len());
        Some(Grams {
            filter: filter.into(),
            slots,
            parts: parts.into(),
            runs: noted.iter().map(|noted| noted.around).collect(),
            buckets: noted.iter().map(|noted| noted.bucket).collect(),
        })
    }

    /// Returns whether this name can hold a run. `false` for most names that hold none, if there are not many runs.
    #[inline]
    pub(super) fn can_be_in(&self, name: &str, keys: &Keys) -> bool {
        /// So many parts are looked at at least, the last one again and again where there are fewer: most names have
        /// no more, and a loop of just as many steps as each has would end where the processor does not expect it.
        const USUAL: usize = 8;
        if self.filter.len() > MOST {
            return true;
        }
        let (parts, _) = name.as_bytes().as_chunks::<LEN>();
        let Some((last, _)) = parts.split_last() else {
            return false;
        };
        let has_bit = |part: &[u8; LEN]| {
            let spread = keys.part_spread(u32::from_le_bytes(*part));
            let (word, bit) = filter_bit(spread, self.filter.len());
            self.filter[word] >> bit & 1
        };
        let mut passed = 0;
        for place in 0..USUAL {
            passed |= has_bit(parts.get(place).unwrap_or(last));
        }
        for part in parts.iter().skip(USUAL) {
            passed |= has_bit(part);
        }
        passed != 0
    }

    /// Calls `found` with the bucket of each run in `name`, once for each time that the run occurs.
    #[inline]
    pub(super) fn for_each_in(&self, name: &str, keys: &Keys, mut found: impl FnMut(u32)) {
        /// As many as a word has bits. Which parts pass is decided for all of them before any is looked up.
        const AT_ONCE: usize = 64;
        let name = name.as_bytes();
        let (parts, _) = name.as_chunks();
        for (block, parts) in parts.chunks(AT_ONCE).enumerate() {
            let mut passed = 0u64;
            for (place, part) in (0..).zip(parts) {
                let spread = keys.part_spread(u32::from_le_bytes(*part));
                let (word, bit) = filter_bit(spread, self.filter.len());
                passed |= (self.filter[word] >> bit & 1) << place;
            }
            while passed != 0 {
                let place = passed.trailing_zeros() as usize;
                passed &= passed - 1;
                let part = u32::from_le_bytes(parts[place]);
                let slot = self.slots.slot(keys.part(part));
                let [(noted, start), (_, end)] = [self.parts[slot], self.parts[slot + 1]];
                if noted == part {
                    let at = LEN * (AT_ONCE * block + place);
                    self.for_each_around(name, at, start as usize..end as usize, &mut found);
                }
            }
        }
    }

    /// Calls `found` with the bucket of each of these runs that is around the part at `at`.
    fn for_each_around(
        &self,
        name: &[u8],
        at: usize,
        noted: Range<usize>,
        found: &mut impl FnMut(u32),
    ) {
        let buckets = &self.buckets[noted.clone()];
        let runs = &self.runs[noted];
        let seen = |place: usize| {
            let start = at.checked_sub(place)?;
            name[start..].first_chunk().map(|run| around(*run, place))
        };
        if runs.len() <= FEW {
            for (run, bucket) in runs.iter().zip(buckets) {
                if seen(place_of(*run)) == Some(*run) {
                    found(*bucket);
                }
            }
            return;
        }
        for run in (0..ROW).filter_map(seen) {
            if let Ok(number) = runs.binary_search(&run) {
                found(buckets[number]);
            }
        }
    }
}

/// The word and the bit of a part in a filter of `words` words, by the upper half of its spread.
#[inline]
fn filter_bit(spread: u64, words: usize) -> (usize, u32) {
    let word = (spread >> 32) as usize & (words - 1);
    (word, (spread >> 58) as u32)
}

/// A run, and in the highest byte the place in the run of the part that it is noted under.
#[inline]
fn around(run: Run, place: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..RUN].copy_from_slice(&run);
    u64::from_le_bytes(bytes) | (place as u64) << (8 * RUN)
}

#[inline]
fn place_of(around: u64) -> usize {
    (around >> (8 * RUN)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_is_found_wherever_it_stands(
            runs in prop::collection::btree_set("[a-c]{7}", 1..200),
            before in "[a-c]{0,300}",
            after in "[a-c]{0,9}",
        ) {
            let runs: Vec<(Run, u32)> = (0..).zip(runs).map(|(number, run)| (run.as_bytes().try_into().unwrap(), number)).collect();
            let name = format!("{before}{}{after}", std::str::from_utf8(&runs[0].0).unwrap());
            let grams = (0..9).find_map(|_| {
                let keys = Keys::new(0);
                Grams::of(&runs, &keys).map(|grams| (grams, keys))
            });
            let (grams, keys) = grams.expect("few runs, and many keys");
            let mut found = Vec::new();
            grams.for_each_in(&name, &keys, |bucket| found.push(bucket));
            let in_name = name.as_bytes().array_windows().filter_map(|seen: &Run| runs.iter().find(|(run, _)| run == seen));
            let mut expected: Vec<u32> = in_name.map(|(_, number)| *number).collect();
            prop_assert!(grams.can_be_in(&name, &keys));
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
