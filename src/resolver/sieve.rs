//! Which of a list of patterns a name can match, as far as a few of its bytes tell, for all of them at once.
//!
//! For some places near a name's ends, and each class of bytes, there is the set of patterns that allow such a byte
//! there, one bit for each pattern. The name's own bytes choose one set for each place; the patterns in all of these
//! sets are left. So up to 64 patterns take one step for each place, whatever they are. The places are chosen when the
//! index is built, one after another: each time the one that leaves the fewest patterns to names that begin and end
//! like the patterns.

use std::{borrow::Borrow, hint::black_box, ops::BitOr};

use super::sketch::{Ends, VIEWED, View};

/// Two bytes that differ by a multiple of this are not told apart. Letters of the same case are.
const CLASSES: usize = 32;

/// A set of patterns of a list, one bit for each.
pub(super) type Set = u64;

/// How many patterns are sifted at once.
pub(super) const BLOCK: usize = Set::BITS as usize;

/// How many names tell which places are best.
const SAMPLE: usize = 64;

/// The places among which a sieve chooses: those at which the patterns differ, and the first one, which rules out most
/// names that begin otherwise where there is nothing more to tell apart. Where there are many, a sieve of few patterns
/// chooses among every other one, which mostly does as well: it is built often.
fn candidates<const PLACES: usize>(patterns: &[Ends]) -> Vec<u8> {
    let differ = Ends::differences(patterns);
    let all = (0..).zip(differ);
    let all = all.filter(|(place, differ)| *place == 0 || *differ != 0);
    let mut places: Vec<u8> = all.map(|(place, _)| place).collect();
    if PLACES < 8 && places.len() > VIEWED / 2 {
        places = places.into_iter().step_by(2).collect();
    }
    places
}

/// The sieve of any number of patterns. More places would leave fewer patterns, but cost more than that saves.
pub(super) type LargeSieve = Sieve<Set, 8>;

/// The sieve of up to eight patterns.
pub(super) type SmallSieve = Sieve<u8, 4>;

/// How many patterns a small sieve is for.
pub(super) const FEW: usize = <u8 as Bits>::COUNT;

/// For some places, and each class of bytes there, the patterns that allow it. `B` has a bit for each pattern of a
/// block.
#[derive(Debug, Clone)]
pub(super) struct Sieve<B: Bits, const PLACES: usize> {
    /// Places in a [`View`].
    places: [u8; PLACES],
    blocks: B::Blocks<PLACES>,
}

/// The sets of the patterns of one block, for each place.
type Block<B, const PLACES: usize> = [Sets<B>; PLACES];

type Sets<B> = [B; CLASSES];

/// A set of the patterns of one block.
pub(super) trait Bits: Copy + Default + BitOr<Output = Self> + Into<Set> {
    const COUNT: usize = 8 * size_of::<Self>();

    /// The blocks of a sieve.
    type Blocks<const PLACES: usize>: TryFrom<Vec<Block<Self, PLACES>>>
        + Borrow<[Block<Self, PLACES>]>
        + Clone;

    fn of_one(bit: usize) -> Self;
}

impl Bits for u8 {
    /// A single one, which lies where the list is. Hardly anyone's secrets are in the cache if there are many users,
    /// and each further place in memory takes longer than all that a lookup does there.
    type Blocks<const PLACES: usize> = [Block<u8, PLACES>; 1];

    fn of_one(bit: usize) -> u8 {
        1 << bit
    }
}

impl Bits for Set {
    type Blocks<const PLACES: usize> = Box<[Block<Set, PLACES>]>;

    fn of_one(bit: usize) -> Set {
        1 << bit
    }
}

impl<B: Bits, const PLACES: usize> Sieve<B, PLACES> {
    pub(super) fn of(patterns: &[Ends]) -> Self {
        let blocks = patterns.len().div_ceil(B::COUNT);
        let candidates = candidates::<PLACES>(patterns);
        let mut all: Vec<Sets<B>> = Vec::with_capacity(candidates.len() * blocks);
        for &place in &candidates {
            let blocks = patterns.chunks(B::COUNT);
            all.extend(blocks.map(|patterns| sets(patterns, place)));
        }

        let names = sample(patterns);
        let words = (names.len() * blocks * B::COUNT).div_ceil(64);
        let mut left = vec![0; candidates.len() * words];
        let of_places = all.chunks_exact(blocks).zip(left.chunks_exact_mut(words));
        for (place, (sets, left)) in candidates.iter().zip(of_places) {
            let of_name = |name: &[u8; VIEWED]| {
                let class = class(name[usize::from(*place)]);
                sets.iter().map(move |sets| sets[class])
            };
            pack(names.iter().flat_map(of_name), left);
        }
        let chosen: [usize; PLACES] = choose(&left, words);
        let block = |number: usize| chosen.map(|candidate| all[candidate * blocks + number]);
        let blocks: Vec<Block<B, PLACES>> = (0..blocks).map(block).collect();
        let Ok(blocks) = blocks.try_into() else {
            unreachable!("a small sieve is made of a few patterns");
        };
        Sieve {
            places: chosen.map(|candidate| candidates[candidate]),
            blocks,
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
        for (number, block) in self.blocks.borrow().iter().enumerate() {
            let mut left = Set::MAX;
            for (sets, class) in block.iter().zip(classes) {
                left &= sets[class].into();
            }
            while left != 0 {
                let skipped = found(number * B::COUNT + left.trailing_zeros() as usize);
                left &= (left - 1) & !skipped;
            }
        }
    }
}

impl SmallSieve {
    /// Reads a byte of each cache line of the sets. Which of them a name chooses is known only when the places have
    /// arrived, so that a lookup would wait for memory twice.
    #[inline]
    pub(super) fn prefetch(&self) {
        let sets = self.blocks[0].as_flattened();
        for line in sets.chunks(64) {
            black_box(line[0]);
        }
        black_box(sets[sets.len() - 1]);
    }
}

/// Names that begin and end like some of the patterns.
fn sample(patterns: &[Ends]) -> Vec<[u8; VIEWED]> {
    let count = patterns.len().min(SAMPLE);
    let sample = (0..count).map(|i| &patterns[i * patterns.len() / count]);
    sample.map(Ends::bytes).collect()
}

/// For each class, the patterns that allow it at a place.
fn sets<B: Bits>(patterns: &[Ends], place: u8) -> Sets<B> {
    let (mut sets, mut all) = ([B::default(); CLASSES], B::default());
    for (bit, ends) in patterns.iter().enumerate() {
        let of = match ends.byte_at(place.into()) {
            Some(byte) => &mut sets[class(byte)],
            None => &mut all,
        };
        *of = *of | B::of_one(bit);
    }
    sets.map(|set| set | all)
}

/// Packs sets into empty words, small ones together.
fn pack<B: Bits>(sets: impl Iterator<Item = B>, words: &mut [u64]) {
    for (i, set) in sets.enumerate() {
        let bit = i * B::COUNT;
        words[bit / 64] |= set.into() << (bit % 64);
    }
}

/// Chooses places one after another, each time the one that leaves the fewest patterns to the names of a sample, given
/// what each place alone leaves to them, in so many words.
fn choose<const PLACES: usize>(all_left: &[u64], words: usize) -> [usize; PLACES] {
    let mut left = vec![u64::MAX; words];
    std::array::from_fn(|_| {
        let count = |(_, at): &(usize, &[u64])| -> u32 {
            let words = left.iter().zip(*at);
            words.map(|(left, word)| (left & word).count_ones()).sum()
        };
        let places = all_left.chunks_exact(words).enumerate();
        let Some((best, at)) = places.min_by_key(count) else {
            return 0;
        };
        for (left, word) in left.iter_mut().zip(at) {
            *left &= word;
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
    fn left<B: Bits, const PLACES: usize>(sieve: &Sieve<B, PLACES>, name: &str) -> Vec<usize> {
        let mut left = Vec::new();
        sieve.for_each_left(&View::new(name), |number| {
            left.push(number);
            0
        });
        left
    }

    /// Those are left whose ends fit at the places.
    fn check<B: Bits, const PLACES: usize>(patterns: &[String], name: &str) {
        let patterns = patterns.iter().map(|text| ToolPattern::new(text));
        let patterns: Vec<ToolPattern> = patterns.collect::<Result<_, _>>().unwrap();
        let ends: Vec<Ends> = patterns
            .iter()
            .map(|pattern| Ends::of(pattern.as_str()))
            .collect();
        let sieve = Sieve::<B, PLACES>::of(&ends);
        let left = left(&sieve, name);
        let bytes = View::new(name).bytes();
        let allows = |ends: &Ends, place: u8| {
            let byte = ends.byte_at(place.into());
            byte.is_none_or(|byte| byte % 32 == bytes[usize::from(place)] % 32)
        };
        let all_allow = |i: &usize| {
            let mut places = sieve.places.iter();
            places.all(|&place| allows(&ends[*i], place))
        };
        let expected: Vec<usize> = (0..patterns.len()).filter(all_allow).collect();
        assert_eq!(left, expected);
        for (i, pattern) in patterns.iter().enumerate() {
            assert!(
                !pattern.matches_by_trying(name) || left.contains(&i),
                "{pattern}"
            );
        }
    }

    proptest! {
        #[test]
        fn those_are_left_whose_ends_fit_at_the_places(
            patterns in prop::collection::vec("[a-dQ]{0,12}[*?][a-dQ]{0,4}", 1..300),
            name in "[a-dQ]{0,20}",
        ) {
            check::<Set, 8>(&patterns, &name);
            check::<u8, 4>(&patterns[..patterns.len().min(FEW)], &name);
        }
    }

    #[test]
    fn the_places_tell_patterns_apart() {
        let ends = (0..200).map(|i| match i % 2 {
            0 => Ends::of(&format!("service{i:03}_*")),
            _ => Ends::of(&format!("*_action{i:03}")),
        });
        let sieve = LargeSieve::of(&ends.collect::<Vec<_>>());
        assert_eq!(left(&sieve, "service042_list"), [42]);
        assert_eq!(left(&sieve, "some_action137"), [137]);
        assert_eq!(left(&sieve, "something_else"), [0; 0]);
    }

    #[test]
    fn the_only_place_at_which_patterns_differ_is_found() {
        for place in 0..24 {
            let text = |digit: u8| format!("{:a<place$}{digit}{:b<20}*", "", "");
            let sieve = SmallSieve::of(&[1, 2, 3].map(|digit| Ends::of(&text(digit))));
            assert_eq!(left(&sieve, &text(2)), [1], "{place}");
            assert_eq!(left(&sieve, &text(4)), [0; 0], "{place}");
            if place > 0 {
                let other = text(2).replacen('a', "z", 1);
                assert_eq!(left(&sieve, &other), [0; 0], "{place}: {other}");
            }
        }
    }
}
