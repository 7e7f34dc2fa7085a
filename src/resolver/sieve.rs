//! Which of a list of patterns a name can match, as far as a few of its bytes tell, for all of them at once.
//!
//! For some places near a name's ends, and each class of bytes, there is the set of patterns that allow such a byte
//! there, one bit for each pattern. The name's own bytes choose one set for each place; the patterns in all of these
//! sets are left. So 64 patterns take one step for each place, whatever they are. The places are chosen when the
//! index is built, one after another: each time the one that leaves the fewest patterns to names that begin and end
//! like the patterns.

use std::ops::Range;

use super::sketch::{Sketch, VIEWED, View};

/// How many places are looked at. More would leave fewer patterns, but cost more than that saves.
const PLACES: usize = 8;

/// Two bytes that differ by a multiple of this are not told apart. Letters of the same case are.
const CLASSES: usize = 32;

/// A set of patterns, one bit for each.
pub(super) type Set = u64;

/// How many patterns are sifted at once.
pub(super) const BLOCK: usize = Set::BITS as usize;

/// For each class of bytes at one place, the patterns that allow it.
type Sets = [Set; CLASSES];

/// How many names tell which places are best.
const SAMPLE: usize = 64;

const ALL_PLACES: Range<u8> = 0..32;
const _: () = assert!(ALL_PLACES.end as usize == VIEWED);

/// The sets of some patterns, in their order.
#[derive(Debug)]
pub(super) struct Sieve {
    /// Places in a [`View`].
    places: [u8; PLACES],
    blocks: Box<[[Sets; PLACES]]>,
}

impl Sieve {
    pub(super) fn of(sketches: &[&Sketch]) -> Sieve {
        let sets_at = |place: u8| -> Vec<Sets> {
            let blocks = sketches.chunks(BLOCK);
            blocks.map(|sketches| sets(sketches, place)).collect()
        };
        let all: Vec<Vec<Sets>> = ALL_PLACES.map(sets_at).collect();
        let count = sketches.len().min(SAMPLE);
        let sample = (0..count).map(|i| sketches[i * sketches.len() / count]);
        let names: Vec<[u8; VIEWED]> = sample.map(Sketch::bytes).collect();
        let places = choose(&all, &names);
        let block = |number: usize| places.map(|place| all[usize::from(place)][number]);
        Sieve {
            places,
            blocks: (0..sketches.len().div_ceil(BLOCK)).map(block).collect(),
        }
    }

    /// Calls `found` with the number of each pattern that is left for this name, in order. It returns which others
    /// of the same block to skip.
    #[inline]
    pub(super) fn for_each_left(&self, name: &View, mut found: impl FnMut(usize) -> Set) {
        let bytes = name.bytes();
        let classes = self
            .places
            .map(|place| class(bytes[usize::from(place) % VIEWED]));
        for (number, block) in self.blocks.iter().enumerate() {
            let mut left = Set::MAX;
            for (sets, class) in block.iter().zip(classes) {
                left &= sets[class];
            }
            while left != 0 {
                let skipped = found(number * BLOCK + left.trailing_zeros() as usize);
                left &= (left - 1) & !skipped;
            }
        }
    }
}

/// For each class, the patterns that allow it at a place.
fn sets(sketches: &[&Sketch], place: u8) -> Sets {
    let (mut sets, mut all) = ([0; CLASSES], 0);
    for (bit, sketch) in sketches.iter().enumerate() {
        match sketch.byte_at(place.into()) {
            Some(byte) => sets[class(byte)] |= 1 << bit,
            None => all |= 1 << bit,
        }
    }
    sets.map(|set| set | all)
}

/// The places that leave the fewest patterns to these names, chosen one after another.
fn choose(all: &[Vec<Sets>], names: &[[u8; VIEWED]]) -> [u8; PLACES] {
    let at = |place: u8| {
        let of_name = move |name: &[u8; VIEWED]| {
            let class = class(name[usize::from(place)]);
            all[usize::from(place)].iter().map(move |sets| sets[class])
        };
        names.iter().flat_map(of_name)
    };
    // For each name, what is left in each block.
    let mut left: Vec<Set> = at(0).map(|_| Set::MAX).collect();
    std::array::from_fn(|_| {
        let count = |place: &u8| -> u32 {
            let sets = left.iter().zip(at(*place));
            sets.map(|(left, set)| (left & set).count_ones()).sum()
        };
        let best = ALL_PLACES.min_by_key(count).unwrap_or(0);
        for (left, set) in left.iter_mut().zip(at(best)) {
            *left &= set;
        }
        best
    })
}

#[inline]
fn class(byte: u8) -> usize {
    usize::from(byte) % CLASSES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::ToolPattern;

    /// The numbers of the patterns that a sieve leaves to a name.
    fn left(sieve: &Sieve, name: &str) -> Vec<usize> {
        let mut left = Vec::new();
        sieve.for_each_left(&View::new(name), |number| {
            left.push(number);
            0
        });
        left
    }

    proptest! {
        #[test]
        fn those_are_left_whose_ends_fit_at_the_places(
            patterns in prop::collection::vec("[a-dQ]{0,12}[*?][a-dQ]{0,4}", 1..300),
            name in "[a-dQ]{0,20}",
        ) {
            let patterns: Vec<ToolPattern> = patterns.iter().map(|text| ToolPattern::new(text).unwrap()).collect();
            let sketches: Vec<Sketch> = patterns.iter().map(Sketch::of).collect();
            let sieve = Sieve::of(&sketches.iter().collect::<Vec<_>>());
            let left = left(&sieve, &name);
            let bytes = View::new(&name).bytes();
            let allows = |sketch: &Sketch, place: u8| {
                let byte = sketch.byte_at(place.into());
                byte.is_none_or(|byte| byte % 32 == bytes[usize::from(place)] % 32)
            };
            let expected: Vec<usize> = (0..patterns.len())
                .filter(|&i| sieve.places.iter().all(|&place| allows(&sketches[i], place)))
                .collect();
            prop_assert_eq!(&left, &expected);
            for (i, pattern) in patterns.iter().enumerate() {
                prop_assert!(!pattern.matches_by_trying(&name) || left.contains(&i), "{}", pattern);
            }
        }
    }

    #[test]
    fn the_places_tell_patterns_apart() {
        let texts = (0..200).map(|i| match i % 2 {
            0 => format!("service{i:03}_*"),
            _ => format!("*_action{i:03}"),
        });
        let patterns: Vec<ToolPattern> =
            texts.map(|text| ToolPattern::new(&text).unwrap()).collect();
        let sketches: Vec<Sketch> = patterns.iter().map(Sketch::of).collect();
        let sieve = Sieve::of(&sketches.iter().collect::<Vec<_>>());
        assert_eq!(left(&sieve, "service042_list"), [42]);
        assert_eq!(left(&sieve, "some_action137"), [137]);
        assert_eq!(left(&sieve, "something_else"), [0; 0]);
    }
}
