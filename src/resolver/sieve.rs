//! Which of a list of patterns a name can match, as far as a few of its bytes tell: for all of them at once.
//!
//! For some places near a name's ends, and each class of bytes, there is the set of patterns that allow such a byte there,
//! a bit for each. What is in all the sets that a name's own bytes choose is left. So 128 patterns take one step for each
//! place, whatever they are. The places are chosen when the index is built, those first that leave the fewest patterns of a
//! sample of names.

use super::sketch::{Sketch, VIEWED, View};

/// How many places are looked at.
const PLACES: usize = 8;

const ALL_PLACES: std::ops::Range<u8> = 0..32;
const _: () = assert!(ALL_PLACES.end as usize == VIEWED);

/// Two bytes that differ by a multiple of this are not told apart. Letters are.
const CLASSES: usize = 32;

/// Words in a set.
const WORDS: usize = 2;

/// Patterns that are sifted together.
const BLOCK: usize = 64 * WORDS;

type Set = [u64; WORDS];

/// The sets of some patterns, in their order.
#[derive(Debug)]
pub(super) struct Sieve {
    /// In a [`View`].
    places: [u8; PLACES],
    /// For each place and class, of each 128 patterns.
    blocks: Box<[[[Set; CLASSES]; PLACES]]>,
}

impl Sieve {
    /// For names like these.
    pub(super) fn of<'s>(
        sketches: &(impl ExactSizeIterator<Item = &'s Sketch> + Clone),
        sample: &[View],
    ) -> Sieve {
        let blocks = sketches.len().div_ceil(BLOCK);
        let of_place = |place: usize| {
            let mut sets = vec![[[0; WORDS]; CLASSES]; blocks];
            for (number, sketch) in sketches.clone().enumerate() {
                let (block, bit) = (number / BLOCK, number % BLOCK);
                let sets = &mut sets[block];
                let allowed = match sketch.byte_at(place) {
                    Some(byte) => std::slice::from_mut(&mut sets[class(byte)]),
                    None => sets,
                };
                for set in allowed {
                    set[bit / 64] |= 1 << (bit % 64);
                }
            }
            sets
        };
        let all: [Vec<[Set; CLASSES]>; VIEWED] = std::array::from_fn(of_place);
        let places = choose(&all, sample);
        let block = |number: usize| places.map(|place| all[usize::from(place)][number]);
        Sieve {
            places,
            blocks: (0..blocks).map(block).collect(),
        }
    }

    /// Calls `found` with the number of each pattern that is left for this name.
    #[inline]
    pub(super) fn for_each_left(&self, name: &View, mut found: impl FnMut(usize)) {
        let bytes = name.bytes();
        let classes = self
            .places
            .map(|place| class(bytes[usize::from(place) % VIEWED]));
        for (number, block) in self.blocks.iter().enumerate() {
            let mut left = [u64::MAX; WORDS];
            for (sets, class) in block.iter().zip(classes) {
                for (left, set) in left.iter_mut().zip(sets[class % CLASSES]) {
                    *left &= set;
                }
            }
            for (i, mut left) in left.into_iter().enumerate() {
                let first = number * BLOCK + i * 64;
                while left != 0 {
                    found(first + left.trailing_zeros() as usize);
                    left &= left - 1;
                }
            }
        }
    }
}

/// The places that leave the fewest patterns of the sample, one after the other.
fn choose(all: &[Vec<[Set; CLASSES]>; VIEWED], sample: &[View]) -> [u8; PLACES] {
    let mut left = vec![[u64::MAX; WORDS]; sample.len() * all[0].len()];
    let sets = |place: usize| {
        let of_name = move |name: &View| {
            let class = class(name.bytes()[place]);
            all[place].iter().map(move |block| block[class])
        };
        sample.iter().flat_map(of_name)
    };
    std::array::from_fn(|_| {
        let count = |place: &u8| -> u32 {
            let sets = sets((*place).into()).zip(&left);
            sets.map(|(set, left)| {
                (0..WORDS)
                    .map(|i| (set[i] & left[i]).count_ones())
                    .sum::<u32>()
            })
            .sum()
        };
        let best = ALL_PLACES.min_by_key(count).unwrap_or(0);
        for (left, set) in left.iter_mut().zip(sets(best.into())) {
            for (left, set) in left.iter_mut().zip(set) {
                *left &= set;
            }
        }
        best
    })
}

#[inline]
fn class(byte: u8) -> usize {
    usize::from(byte) % CLASSES
}
