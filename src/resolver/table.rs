//! Two open hash tables of single words: a probe touches one line of the cache, most of the time.

/// From hashes to indices. Part of the hash is kept beside the index, so that what is not there is seldom compared.
#[derive(Debug)]
pub(super) struct Table {
    /// The index and one more in the low bits, part of the hash above them; 0 is free.
    entries: Box<[u32]>,
    index_bits: u32,
}

/// A table that is small even if most of it is free.
const SMALL: usize = 4_096;

impl Table {
    /// For at most `most` entries. Then 3 of 5 are taken, or 1 of 3 where memory is no matter.
    pub(super) fn for_entries(most: usize) -> Table {
        let spare = if most <= SMALL {
            2 * most
        } else {
            most * 2 / 3
        };
        Table {
            entries: vec![0; most + spare + 1].into(),
            index_bits: usize::BITS - most.leading_zeros(),
        }
    }

    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        low(hash).checked_shl(self.index_bits).unwrap_or(0)
    }

    pub(super) fn insert(&mut self, hash: u64, index: u32) {
        let entry = self.tag(hash) | (index + 1);
        let mut at = slot(hash, self.entries.len());
        while self.entries[at] != 0 {
            at = next(at, self.entries.len());
        }
        self.entries[at] = entry;
    }

    /// The index of which `is` says that it is the one that is looked for.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = self.tag(hash);
        let mut at = slot(hash, self.entries.len());
        loop {
            let entry = self.entries[at];
            if entry == 0 {
                return None;
            }
            // Nothing is left if the upper bits are the same, but the index.
            let rest = entry ^ tag;
            if u64::from(rest) >> self.index_bits == 0 && is(rest - 1) {
                return Some(rest - 1);
            }
            at = next(at, self.entries.len());
        }
    }
}

/// Which keys go on after a step of eight bytes: a key of 8·s + r bytes, 1 ≤ r ≤ 8, is noted at step s with its first
/// 8·s bytes. Says too much at times, never too little.
#[derive(Debug)]
pub(super) struct Steps {
    /// Each step has one slot, so that looking at it takes no decision; those that share one are noted together. In the
    /// low byte of an entry there is a bit for each r; above it part of the hash, or 0 if it is of several steps.
    entries: Box<[u32]>,
    /// A bit for each key, among sixteen.
    filter: Box<[u64]>,
}

const LENGTHS: u32 = 8;

impl Steps {
    /// For at most `most` keys.
    pub(super) fn for_keys(most: usize) -> Steps {
        Steps {
            entries: vec![0; 2 * most + 1].into(),
            filter: vec![0; most / 4 + 1].into(),
        }
    }

    /// Notes a key by the hash of its first 8·s bytes, its r, and its own hash.
    pub(super) fn note(&mut self, step: u64, rest: usize, key: u64) {
        let entry = &mut self.entries[slot(step, self.entries.len())];
        let tag = low(step) << LENGTHS;
        if *entry == 0 {
            *entry = tag;
        } else if (*entry ^ tag) >> LENGTHS != 0 {
            *entry &= u32::MAX >> (32 - LENGTHS);
        }
        *entry |= 1 << (rest - 1);
        let (word, bit) = self.filter_bit(key);
        self.filter[word] |= 1 << bit;
    }

    /// For each r whether there may be a key, a bit.
    #[inline]
    pub(super) fn lengths(&self, step: u64) -> u64 {
        let entry = self.entries[slot(step, self.entries.len())];
        let tag = low(step) << LENGTHS;
        let is_this = (entry ^ tag) >> LENGTHS == 0 || entry >> LENGTHS == 0;
        std::hint::select_unpredictable(is_this, u64::from(entry & 0xff), 0)
    }

    /// Whether there may be a key with this hash.
    #[inline]
    pub(super) fn may_hold(&self, key: u64) -> bool {
        let (word, bit) = self.filter_bit(key);
        self.filter[word] >> bit & 1 == 1
    }

    #[inline]
    fn filter_bit(&self, key: u64) -> (usize, usize) {
        // The slot of a key in the table is in the upper half of its hash.
        let bit = slot(key << 32, 64 * self.filter.len());
        (bit / 64, bit % 64)
    }
}

/// By the upper half of the hash.
#[inline]
fn slot(hash: u64, len: usize) -> usize {
    narrow_slot((hash >> 32) * len as u64)
}

#[cfg_attr(
    target_pointer_width = "32",
    expect(
        clippy::cast_possible_truncation,
        reason = "less than the length of a slice"
    )
)]
#[inline]
fn narrow_slot(scaled: u64) -> usize {
    (scaled >> 32) as usize
}

#[inline]
fn next(at: usize, len: usize) -> usize {
    if at + 1 == len { 0 } else { at + 1 }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline]
fn low(hash: u64) -> u32 {
    hash as u32
}
