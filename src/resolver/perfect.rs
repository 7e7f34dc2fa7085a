//! A perfect hash: it leads from each key of a set that is known beforehand to a slot of its own, by one look at a
//! small table.
//!
//! The keys are divided into small buckets. For each bucket, the largest first, multipliers are tried until all of
//! its keys get slots that are free (CHD: Belazzougui, Botelho, Dietzfelbinger, *Hash, displace, and compress*, ESA
//! 2009).

use super::narrow;

/// The most keys in a bucket, on average.
const BUCKET: usize = 4;

/// How many multipliers are tried for a bucket. Seldom none of them serves: at most once in twenty times, where keys
/// are few and alike.
const TRIES: u16 = 1 << 15;

/// Leads from the hash of a key to its slot. The hash of a text that is not a key leads to some slot, too.
#[derive(Debug, Clone)]
pub(super) struct Perfect {
    /// One for each bucket. Their number is a power of two, so that a bucket is found without another multiplication.
    multipliers: Box<[u16]>,
    /// How many bits of the upper half of a hash do not tell the bucket.
    rest: u32,
    slots: u32,
}

impl Perfect {
    /// Finds a perfect hash for keys with these hashes, which are sorted and different. `None` if there is none:
    /// then other hashes have to be chosen.
    pub(super) fn of(hashes: &[u64]) -> Option<Perfect> {
        let buckets = hashes.len().div_ceil(BUCKET).next_power_of_two();
        let mut perfect = Perfect {
            multipliers: vec![1; buckets].into(),
            rest: u32::BITS - buckets.ilog2(),
            slots: narrow(hashes.len() + hashes.len() / 16 + 1),
        };
        let mut buckets: Vec<&[u64]> = hashes
            .chunk_by(|a, b| perfect.bucket(*a) == perfect.bucket(*b))
            .collect();
        buckets.sort_by_key(|bucket| std::cmp::Reverse(bucket.len()));
        let mut taken = vec![false; perfect.slots as usize];
        let mut places: Vec<usize> = Vec::new();
        for bucket in buckets {
            let multiplier = (0..TRIES).map(odd).find(|&multiplier| {
                places.clear();
                bucket.iter().all(|&hash| {
                    let place = slot(hash, multiplier, perfect.slots);
                    let is_free = !taken[place] && !places.contains(&place);
                    places.push(place);
                    is_free
                })
            })?;
            let number = perfect.bucket(bucket[0]);
            perfect.multipliers[number] = multiplier;
            for &place in &places {
                taken[place] = true;
            }
        }
        Some(perfect)
    }

    /// The number of slots, which is a little more than the number of keys.
    pub(super) fn slots(&self) -> usize {
        self.slots as usize
    }

    #[inline]
    pub(super) fn slot(&self, hash: u64) -> usize {
        slot(hash, self.multipliers[self.bucket(hash)], self.slots)
    }

    /// The bucket of a key, by the upper bits of its hash: buckets are in the order of hashes.
    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        upper_half(hash >> self.rest)
    }
}

/// The slot of a key, with the multiplier of its bucket. It depends on the lower half of the hash, in which the keys
/// of a bucket have nothing in common.
#[inline]
fn slot(hash: u64, multiplier: u16, slots: u32) -> usize {
    scaled((hash << 32).wrapping_mul(multiplier.into()), slots as usize)
}

/// The upper half of a hash, scaled to an index below `end`.
#[inline]
pub(super) fn scaled(hash: u64, end: usize) -> usize {
    upper_half((hash >> 32) * end as u64)
}

#[cfg_attr(
    target_pointer_width = "32",
    expect(clippy::cast_possible_truncation, reason = "32 bits are left")
)]
#[inline]
pub(super) fn upper_half(wide: u64) -> usize {
    (wide >> 32) as usize
}

/// The multipliers, in the order in which they are tried: odd, and far from each other.
fn odd(number: u16) -> u16 {
    number.wrapping_mul(0x9e37) << 1 | 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_key_has_a_slot_of_its_own(hashes in prop::collection::btree_set(any::<u64>(), 0..3_000)) {
            let hashes: Vec<u64> = hashes.into_iter().collect();
            let Some(perfect) = Perfect::of(&hashes) else {
                return Err(TestCaseError::reject("other hashes have to be chosen"));
            };
            let mut slots: Vec<usize> = hashes.iter().map(|hash| perfect.slot(*hash)).collect();
            slots.sort_unstable();
            slots.dedup();
            prop_assert_eq!(slots.len(), hashes.len());
            prop_assert!(slots.iter().all(|slot| *slot < perfect.slots()));
            prop_assert!(perfect.slots() <= hashes.len() * 17 / 16 + 1);
        }
    }

    #[test]
    fn hashes_that_nothing_tells_apart_are_refused() {
        // In one bucket, with one lower half.
        assert!(Perfect::of(&[1 << 40, 2 << 40]).is_none());
        assert!(Perfect::of(&[1 << 40, 1 << 40 | 1 << 20]).is_some());
    }
}
