//! Patterns by a run of seven consecutive bytes that they hold anywhere.
//!
//! A name need not be looked at in every place: a run of seven bytes is noted under each of its four parts of four
//! bytes. Wherever the run stands in a name, one of its parts begins at a place whose number is a multiple of four;
//! the bytes around the part tell whether the run is there.

use std::ops::Range;

use super::{
    narrow,
    perfect::Perfect,
    words::{Keys, WORD},
};
use crate::pattern::is_wildcard;

/// Bytes in a part, and between two places where a name is looked at.
const LEN: usize = 4;

/// How many parts of a run are noted.
pub(super) const ROW: usize = LEN;

/// Bytes in a run.
const RUN: usize = LEN + ROW - 1;

/// Up to this many runs around a part are looked at one by one.
const FEW: usize = 8;

/// Up to this many parts have a filter of bytes.
const SMALL: usize = PLACES / 64;

/// How many places such a filter has.
const PLACES: usize = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 12;

/// Up to this many parts are asked beforehand whether a name is worth a closer look. With more, most names hold some
/// of them.
const ASKED: usize = 512;

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
    filter: Filter,
    slots: Perfect,
    /// The parts by their slots, each with the index at which its runs begin; they end where those of the next
    /// begin.
    parts: Box<[(u32, u32)]>,
    /// The runs, part by part and sorted within each, as [`around`] makes them.
    runs: Box<[u64]>,
    /// The buckets of the runs.
    buckets: Box<[u32]>,
}

/// Rules out most parts of a name: a set with room for 64 times as many parts as it holds. Each part of a run sets a
/// place that some of its hash tells; a part of a name whose place is not set is in no run.
#[derive(Debug, Clone)]
enum Filter {
    /// For few parts, a byte for each place, which is sooner got at than a bit.
    Small(Box<[u8; PLACES]>),
    /// A bit for each place.
    Large(Box<[u64]>),
}

impl Filter {
    /// Makes a filter of this many parts, which may be given more than once, by their spreads.
    fn of(parts: usize, spreads: impl Iterator<Item = u64>) -> Filter {
        if parts <= SMALL {
            let mut bytes = Box::new([0; _]);
            for spread in spreads {
                bytes[byte(spread)] = 1;
            }
            return Filter::Small(bytes);
        }
        let mut words = vec![0; parts.next_power_of_two()];
        for spread in spreads {
            let (word, bit) = bit(spread, words.len());
            words[word] |= 1 << bit;
        }
        Filter::Large(words.into())
    }

    #[inline]
    fn has(&self, spread: u64) -> bool {
        match self {
            Filter::Small(bytes) => bytes[byte(spread)] != 0,
            Filter::Large(words) => in_bits(words, spread),
        }
    }
}

/// Returns whether `has` is not 0 for one of the parts of a name that are looked at.
#[inline]
fn holds_any(name: &str, has: impl Fn(u32) -> u8) -> bool {
    /// At least so many words of two parts are looked at; where there are fewer, the last one is repeated. Most names
    /// have no more, and a loop of just as many steps as a name has would end where the processor does not expect it.
    const USUAL: usize = 4;
    let bytes = name.as_bytes().as_chunks::<LEN>().0.as_flattened();
    let Some(last) = bytes.last_chunk::<WORD>() else {
        return true;
    };
    let mut passed = 0;
    for number in 0..USUAL {
        let from = bytes.get(number * WORD..).unwrap_or_default();
        let word = u64::from_le_bytes(*from.first_chunk().unwrap_or(last));
        passed |= has(low(word)) | has(low(word >> 32));
    }
    let rest = bytes.get(USUAL * WORD..).unwrap_or_default();
    for part in rest.as_chunks().0 {
        passed |= has(u32::from_le_bytes(*part));
    }
    passed != 0
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
fn low(word: u64) -> u32 {
    word as u32
}

/// The byte of a part in a small filter, by its spread.
#[inline]
fn byte(spread: u64) -> usize {
    (spread >> (u64::BITS - PLACE_BITS)) as usize
}

/// The word and the bit of a part in a large filter of so many words, by the upper half of its spread.
#[inline]
fn bit(spread: u64, words: usize) -> (usize, u32) {
    let word = (spread >> 32) as usize & (words - 1);
    (word, (spread >> 58) as u32)
}

#[inline]
fn in_bits(words: &[u64], spread: u64) -> bool {
    let (word, bit) = bit(spread, words.len());
    words[word] >> bit & 1 != 0
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
        let mut parts = vec![(0, 0); slots.slots() + 1];
        for noted in &noted {
            let (part, count) = &mut parts[slots.slot(hash(noted))];
            if *count > 0 && *part != noted.part {
                return None;
            }
            *part = noted.part;
            *count += 1;
        }
        let mut start = 0;
        for (_, count) in &mut parts {
            start += std::mem::replace(count, start);
        }
        narrow(noted.len());
        let spreads = noted.iter().map(|noted| keys.part_spread(noted.part));
        Some(Grams {
            filter: Filter::of(hashes.len(), spreads),
            slots,
            parts: parts.into(),
            runs: noted.iter().map(|noted| noted.around).collect(),
            buckets: noted.iter().map(|noted| noted.bucket).collect(),
        })
    }

    /// Returns whether this name can hold a run. `false` for most names that hold none, if there are not many runs.
    #[inline]
    pub(super) fn can_be_in(&self, name: &str, keys: &Keys) -> bool {
        match &self.filter {
            Filter::Small(bytes) => holds_any(name, |part| bytes[byte(keys.part_spread(part))]),
            Filter::Large(words) if words.len() <= ASKED => {
                holds_any(name, |part| in_bits(words, keys.part_spread(part)).into())
            }
            Filter::Large(_) => true,
        }
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
                passed |= u64::from(self.filter.has(spread)) << place;
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
    use crate::resolver::words::SPREAD;

    fn grams(runs: &[(Run, u32)]) -> (Grams, Keys) {
        let drawn = (0..9).find_map(|_| {
            let keys = Keys::new(0);
            Grams::of(runs, &keys).map(|grams| (grams, keys))
        });
        drawn.expect("few runs, and many keys")
    }

    /// So many runs, and whether their filter is a small one.
    const COUNTS: [(u32, bool); 2] = [(10, true), (100, false)];

    fn numbered(count: u32) -> Vec<(Run, u32)> {
        let run = |number: u32| format!("{number:03}.run").into_bytes().try_into().unwrap();
        (0..count).map(|number| (run(number), number)).collect()
    }

    #[test]
    fn every_place_in_a_name_is_looked_at() {
        for (count, is_small) in COUNTS {
            let (grams, keys) = grams(&numbered(count));
            assert_eq!(matches!(grams.filter, Filter::Small(_)), is_small);
            for (before, after) in
                (0..80).flat_map(|before| (0..9).map(move |after| (before, after)))
            {
                let name = format!("{:-<before$}007.run{:-<after$}", "", "");
                assert!(grams.can_be_in(&name, &keys), "{name}");
                let mut found = Vec::new();
                grams.for_each_in(&name, &keys, |bucket| found.push(bucket));
                assert_eq!(found, [7], "{name}");
            }
        }
    }

    #[test]
    fn a_name_without_a_run_seldom_passes() {
        for (count, _) in COUNTS {
            let (grams, keys) = grams(&numbered(count));
            let can_hold = |number: &u64| {
                let [first, second] = [SPREAD, !SPREAD].map(|by| number.wrapping_mul(by));
                grams.can_be_in(&format!("{first:016x}{second:016x}"), &keys)
            };
            let passed = (1..=1000).filter(can_hold).count();
            assert!(passed < 300, "{count}: {passed}");
        }
    }

    proptest! {
        #[test]
        fn a_run_is_found_wherever_it_stands(
            runs in prop::collection::btree_set("[a-c]{7}", 1..200),
            before in "[a-c]{0,300}",
            after in "[a-c]{0,9}",
        ) {
            let runs: Vec<(Run, u32)> = (0..).zip(runs).map(|(number, run)| (run.as_bytes().try_into().unwrap(), number)).collect();
            let name = format!("{before}{}{after}", std::str::from_utf8(&runs[0].0).unwrap());
            let (grams, keys) = grams(&runs);
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
