//! From the hash of a text to the only node whose key the text can be.
//!
//! One byte of each key's hash, its tag, is kept apart from the node: a text that is not a key seldom leads further.
//! Each table on the way is one to wait for. So the fewer keys there are, the fewer tables lead to them.

use super::perfect::{Perfect, upper_half};

/// Up to this many keys have tags that are all different, next to each other. They need no perfect hash, and so no
/// table to wait for. But other hashes have to be drawn two times in five for sixteen keys, and one time in six for
/// ten.
const FEW: usize = size_of::<u128>();

/// Up to this many keys lie in pairs, by some bits of their hashes: a single table, where a perfect hash has two. With
/// more keys, it would have to be too large. Other hashes have to be drawn in up to half of the cases.
const PAIRED: usize = u8::MAX as usize;

/// Where the nodes of keys are.
#[derive(Debug, Clone)]
pub(super) enum Slots {
    /// A tag in each byte, in the order of the keys' hashes.
    Few { tags: u128, len: usize },
    /// Eight pairs or more for each key; their number is a power of two.
    Pairs { pairs: Box<[Pair]>, len: usize },
    /// A tag for each slot.
    Many { perfect: Perfect, tags: Box<[u8]> },
}

/// Up to two keys. Where there is only one, it is there twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    tags: [u8; 2],
    /// Their numbers in the order of the keys' hashes. Beyond the last where there are no keys.
    slots: [u8; 2],
}

impl Slots {
    /// Finds slots for keys with these hashes, which are sorted and different. `None` if there are none: then other
    /// hashes have to be chosen. With `perfect`, there mostly are some.
    pub(super) fn of(hashes: &[u64], perfect: bool) -> Option<Slots> {
        if hashes.len() <= FEW && !perfect {
            return Slots::of_few(hashes);
        }
        if hashes.len() <= PAIRED && !perfect {
            return Slots::of_pairs(hashes);
        }
        let perfect = Perfect::of(hashes)?;
        let mut tags = vec![0; perfect.slots()];
        for &hash in hashes {
            tags[perfect.slot(hash)] = tag(hash);
        }
        Some(Slots::Many {
            perfect,
            tags: tags.into(),
        })
    }

    fn of_few(hashes: &[u64]) -> Option<Slots> {
        let mut tags = [0; FEW];
        for (i, &hash) in hashes.iter().enumerate() {
            tags[i] = tag(hash);
            if tags[..i].contains(&tags[i]) {
                return None;
            }
        }
        Some(Slots::Few {
            tags: u128::from_le_bytes(tags),
            len: hashes.len(),
        })
    }

    fn of_pairs(hashes: &[u64]) -> Option<Slots> {
        let empty = Pair {
            tags: [0; 2],
            slots: [u8::MAX; 2],
        };
        let mut pairs = vec![empty; (8 * hashes.len()).next_power_of_two()];
        for (&hash, slot) in hashes.iter().zip(0..) {
            let at = pair_of(hash, pairs.len());
            let pair = &mut pairs[at];
            let [first, second] = pair.slots;
            if first == u8::MAX {
                *pair = Pair {
                    tags: [tag(hash); 2],
                    slots: [slot; 2],
                };
            } else if first == second && pair.tags[0] != tag(hash) {
                (pair.tags[1], pair.slots[1]) = (tag(hash), slot);
            } else {
                return None;
            }
        }
        Some(Slots::Pairs {
            pairs: pairs.into(),
            len: hashes.len(),
        })
    }

    /// The number of slots, some of which may belong to no key.
    pub(super) fn len(&self) -> usize {
        match self {
            Slots::Few { len, .. } | Slots::Pairs { len, .. } => *len,
            Slots::Many { tags, .. } => tags.len(),
        }
    }

    /// The slot of the key that has this hash, if one has. The hash of a text that is not a key may also lead to a
    /// slot, or to one beyond the last.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<usize> {
        match self {
            Slots::Few { tags, .. } => byte_in(*tags, tag(hash)),
            Slots::Pairs { pairs, .. } => {
                let pair = &pairs[pair_of(hash, pairs.len())];
                let at = pair.tags.iter().position(|other| *other == tag(hash))?;
                Some(pair.slots[at].into())
            }
            Slots::Many { perfect, tags } => {
                let slot = perfect.slot(hash);
                (tags[slot] == tag(hash)).then_some(slot)
            }
        }
    }
}

/// The pair that a key belongs to, by the upper half of its hash.
#[inline]
fn pair_of(hash: u64, pairs: usize) -> usize {
    upper_half(hash) & (pairs - 1)
}

/// The lowest byte of a hash.
#[inline]
fn tag(hash: u64) -> u8 {
    hash.to_le_bytes()[0]
}

/// The index of the first byte of a word that equals `byte`.
#[inline]
fn byte_in(word: u128, byte: u8) -> Option<usize> {
    const LOW: u128 = u128::from_ne_bytes([1; FEW]);
    const HIGH: u128 = LOW << 7;
    let different = word ^ u128::from_ne_bytes([byte; FEW]);
    // The lowest bit that is left is in the first byte that is 0, since borrows only go up from there.
    let found = different.wrapping_sub(LOW) & !different & HIGH;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;
    use crate::resolver::words::{Keys, Kind};

    proptest! {
        #[test]
        fn each_key_has_a_slot_of_its_own(hashes in prop_oneof![
            btree_set(any::<u64>(), 0..=FEW),
            btree_set(any::<u64>(), FEW + 1..=PAIRED),
            btree_set(any::<u64>(), PAIRED + 1..500),
        ], perfect: bool) {
            let hashes: Vec<u64> = hashes.into_iter().collect();
            let Some(slots) = Slots::of(&hashes, perfect) else {
                return Err(TestCaseError::reject("other hashes have to be chosen"));
            };
            let mut found: Vec<usize> = hashes.iter().filter_map(|hash| slots.find(*hash)).collect();
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found.len(), hashes.len());
            prop_assert!(found.iter().all(|slot| *slot < slots.len()));
        }

        /// Most texts that are not keys lead nowhere.
        #[test]
        fn what_has_no_keys_tag_has_no_slot(tags in btree_set(any::<u8>(), 0..=FEW)) {
            let hashes: Vec<u64> = tags.iter().copied().map(u64::from).collect();
            let slots = Slots::of(&hashes, false).expect("the tags are different");
            for byte in 0..=u8::MAX {
                let slot = hashes.iter().position(|hash| *hash == u64::from(byte));
                let found = slots.find(1 << 63 | u64::from(byte)).filter(|slot| *slot < slots.len());
                prop_assert_eq!(found, slot);
            }
        }

        /// Otherwise a node would be looked at for most texts that are not keys.
        #[test]
        fn a_slot_is_of_a_key_with_the_same_tag(
            hashes in btree_set(any::<u64>(), FEW + 1..500),
            others in btree_set(any::<u64>(), 50),
        ) {
            let hashes: Vec<u64> = hashes.into_iter().collect();
            let Some(slots) = Slots::of(&hashes, false) else {
                return Err(TestCaseError::reject("other hashes have to be chosen"));
            };
            for other in others {
                let found = slots.find(other);
                let key = hashes.iter().find(|key| found.is_some() && slots.find(**key) == found);
                if let Some(key) = key {
                    prop_assert_eq!(tag(other), tag(*key));
                }
            }
        }

        #[test]
        fn the_first_byte_is_found(bytes in prop::array::uniform16(0..4_u8), byte in 0..4_u8) {
            let at = bytes.iter().position(|other| *other == byte);
            prop_assert_eq!(byte_in(u128::from_le_bytes(bytes), byte), at);
        }
    }

    /// Names that are alike, in numbers for which all tags have to differ, or just no longer have to.
    #[test]
    fn hashes_are_seldom_drawn_often() {
        for count in [FEW, FEW + 1, 64, 128, PAIRED, PAIRED + 1] {
            let names = (0..count).map(|i| format!("service{i}__list"));
            let names: Vec<String> = names.collect();
            let serves = |_: &u32| {
                let keys = Keys::new(0);
                let hash = |name: &String| keys.of_key(name.as_bytes(), Kind::Exact);
                let mut hashes: Vec<u64> = names.iter().map(hash).collect();
                hashes.sort_unstable();
                Slots::of(&hashes, false).is_some()
            };
            // Half of them are expected, or more.
            assert!((0..100).filter(serves).count() > 25, "{count}");
        }
    }

    #[test]
    fn few_keys_with_one_tag_are_refused() {
        assert!(Slots::of(&[1 << 8, 2 << 8], false).is_none());
    }

    #[test]
    fn three_keys_that_belong_in_one_pair_are_refused_and_two_with_one_tag() {
        let others: Vec<u64> = (0..2 * FEW as u64).map(|i| (i + 1) << 32).collect();
        for (added, is_refused) in [
            (&[][..], false),
            (&[1], false),
            (&[1, 2], true),
            (&[1 << 8], true),
        ] {
            let mut hashes = others.clone();
            hashes.extend(added.iter().map(|other| 1 << 32 | other));
            hashes.sort_unstable();
            assert_eq!(Slots::of(&hashes, false).is_none(), is_refused, "{added:?}");
        }
    }
}
