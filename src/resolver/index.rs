//! The compiled index: what is kept of the bindings, and the way from a name to those that match it.

use super::{
    best::{Best, Resolved},
    inner::{GRAMS, Grams, Name, Sketch},
    table::{Steps, Table},
    words::{Keys, Kind, WORD, Words, mask},
};
use crate::{inline::InlineVec, location::Location, pattern::ToolPattern, secret::SecretId};

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// How many words of a name are taken apart without being asked for: keys are seldom longer.
pub(super) const USUAL_WORDS: usize = 8;

/// How many words a key has at most: 1,024 characters of four bytes, and one more for what follows.
pub(super) const MOST_WORDS: usize = 513;

pub(super) struct Index {
    /// By location, then by precedence.
    pub(super) rows: Box<[Row]>,
    /// The ids of rows that are not in a node.
    pub(super) ids: Box<[SecretId]>,
    /// In the order of locations.
    pub(super) locations: Box<[Location]>,
    pub(super) nodes: Box<[Node]>,
    /// From the hashes of keys to their nodes.
    pub(super) table: Table,
    pub(super) answers: Box<[Answer]>,
    /// What spans are of: rows, one list behind the other.
    pub(super) lists: Box<[u32]>,
    pub(super) keys: Keys,
    /// Bytes in the longest exact pattern.
    pub(super) longest_exact: usize,
    pub(super) heads: Ladder,
    pub(super) tails: Ladder,
    pub(super) inner: Inner,
}

/// A binding.
pub(super) struct Row {
    pub(super) pattern: ToolPattern,
    pub(super) location: u32,
    /// A node, or with [`IN_IDS`] an index in `ids`.
    pub(super) id_at: u32,
}

pub(super) const IN_IDS: u32 = 1 << 31;

/// One key: an exact pattern, or what others begin or end with. It fills a line of the cache, with what most lookups
/// end in.
#[repr(align(64))]
#[derive(Clone)]
pub(super) struct Node {
    /// The key; where there is no room for it, a row that has it in its pattern.
    pub(super) text: [u8; INLINE],
    /// If the node is sole, of the secret.
    pub(super) id: SecretId,
    /// If the node is sole, the row; else an index in `answers`.
    pub(super) value: u32,
    /// Bytes in the key.
    pub(super) len: u16,
    pub(super) kind: Kind,
    /// Whether one row is all that there is to find here.
    pub(super) sole: bool,
}

/// Bytes that a key may have to be in its node.
pub(super) const INLINE: usize = 40;

/// What there is to find at a node, where that is more or less than one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// The rows of the pattern that is this key.
    pub(super) own: Span,
    /// The best of each location among these and what is found without looking further: for a head or a tail the
    /// shorter ones, up to `next`; for an exact name, if it is closed, all.
    pub(super) winners: Span,
    /// Patterns that have this key, and more.
    pub(super) bucket: Span,
    /// The shorter head or tail at which to go on.
    pub(super) next: u32,
    pub(super) closed: bool,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.start as usize..self.end as usize]
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// The keys of one kind, found by their lengths.
#[derive(Debug)]
pub(super) struct Ladder {
    pub(super) steps: Steps,
    /// Bytes in the longest key.
    pub(super) longest: usize,
    /// The node of the empty key.
    pub(super) root: u32,
}

/// Patterns that are more than one end.
#[derive(Debug)]
pub(super) struct Inner {
    /// Those of a bucket lie together, in the order of their rows.
    pub(super) patterns: Box<[InnerPattern]>,
    /// What each demands of a name.
    pub(super) features: Box<[u64]>,
    /// By the length of the parts by which patterns are found, as in [`GRAMS`].
    pub(super) grams: [Grams; 3],
    pub(super) buckets: Box<[Span]>,
    /// Those that every name is tried on.
    pub(super) rest: Span,
}

#[derive(Debug)]
pub(super) struct InnerPattern {
    pub(super) sketch: Sketch,
    /// A row with this pattern.
    pub(super) row: u32,
    pub(super) own: Span,
}

/// From how many patterns in a bucket on they are left by their features first.
const MANY: usize = 16;

impl Index {
    pub(super) fn id(&self, row: u32) -> &SecretId {
        let at = self.rows[row as usize].id_at;
        if at & IN_IDS == 0 {
            &self.nodes[at as usize].id
        } else {
            &self.ids[(at ^ IN_IDS) as usize]
        }
    }

    #[inline]
    pub(super) fn location(&self, row: u32) -> u32 {
        self.rows[row as usize].location
    }

    /// The best row of each location.
    #[inline]
    pub(super) fn resolve(&self, name: &str) -> Resolved<'_> {
        match self.exact(name) {
            Some(node) if node.sole => Resolved::one(self, node.value, &node.id),
            node => self.resolve_further(name, node),
        }
    }

    /// Where there is more to it than one exact pattern.
    fn resolve_further(&self, name: &str, exact: Option<&Node>) -> Resolved<'_> {
        let mut best = Best::new(self);
        if let Some(node) = exact {
            let answer = &self.answers[node.value as usize];
            let winners = answer.winners.of(&self.lists);
            if answer.closed {
                return Resolved::of_rows(self, winners);
            }
            best.offer_all(winners);
        }
        self.best_wildcards(name, &mut best);
        best.finish()
    }

    /// Offers the winners among the wildcard patterns.
    pub(super) fn best_wildcards<'r>(&'r self, name: &str, best: &mut Best<'r>) {
        let mut tried = Tried::new(name);
        if self.heads.longest > 0 {
            let longest = self.longest(Kind::Head, name, usize::MAX);
            self.climb(longest, &mut tried, best);
        } else {
            self.climb(self.heads.root, &mut tried, best);
        }
        if self.tails.longest > 0 {
            let longest = self.longest(Kind::Tail, name, usize::MAX);
            self.climb(longest, &mut tried, best);
        }
        self.anywhere(&mut tried, best);
    }

    /// Every row that matches, in no order.
    pub(super) fn all<'r>(&'r self, name: &str, best: &mut Best<'r>) {
        let mut tried = Tried::new(name);
        if let Some(node) = self.exact(name) {
            best.offer_all(self.own(node));
        }
        let mut visit = |node: u32| {
            let node = &self.nodes[node as usize];
            best.offer_all(self.own(node));
            if !node.sole {
                self.try_bucket(self.answers[node.value as usize].bucket, &mut tried, best);
            }
            false
        };
        self.find_on_ladder(Kind::Head, name, usize::MAX, &mut visit);
        self.find_on_ladder(Kind::Tail, name, usize::MAX, &mut visit);
        self.anywhere(&mut tried, best);
    }

    /// The rows of the pattern that is this node's key.
    pub(super) fn own<'r>(&'r self, node: &'r Node) -> &'r [u32] {
        if node.sole {
            std::slice::from_ref(&node.value)
        } else {
            self.answers[node.value as usize].own.of(&self.lists)
        }
    }

    #[inline]
    fn exact(&self, name: &str) -> Option<&Node> {
        if name.len() > self.longest_exact {
            return None;
        }
        let hash = self.keys.hash(name.as_bytes());
        let node = self.node(hash, Kind::Exact, name.as_bytes())?;
        Some(&self.nodes[node as usize])
    }

    /// The node of a key with this hash.
    #[inline]
    fn node(&self, hash: u64, kind: Kind, key: &[u8]) -> Option<u32> {
        self.table.find(hash, |node| {
            let node = &self.nodes[node as usize];
            if node.kind != kind || usize::from(node.len) != key.len() {
                return false;
            }
            match node.text.get(..key.len()) {
                Some(text) => text == key,
                None => self.is_long_key(node, key),
            }
        })
    }

    /// Whether a key for which there is no room in the node is this one.
    #[cold]
    fn is_long_key(&self, node: &Node, key: &[u8]) -> bool {
        let row = node
            .text
            .first_chunk()
            .map_or(0, |row| u32::from_le_bytes(*row));
        let pattern = self.rows[row as usize].pattern.as_str();
        node.kind.key(pattern).as_bytes() == key
    }

    fn ladder(&self, kind: Kind) -> &Ladder {
        match kind {
            Kind::Exact | Kind::Head => &self.heads,
            Kind::Tail => &self.tails,
        }
    }

    /// The node of the longest key of a kind that `name` begins or ends with, among keys of at most `most` bytes.
    #[inline]
    pub(super) fn longest(&self, kind: Kind, name: &str, most: usize) -> u32 {
        self.find_on_ladder(kind, name, most, &mut |_| true)
    }

    /// The first of the nodes of keys that `name` begins or ends with of which `wanted` says so, longest first.
    #[inline]
    fn find_on_ladder(
        &self,
        kind: Kind,
        name: &str,
        most: usize,
        wanted: &mut impl FnMut(u32) -> bool,
    ) -> u32 {
        let ladder = self.ladder(kind);
        let name = name.as_bytes();
        let most = most.min(name.len()).min(ladder.longest);
        let end = kind.end();
        let found = if most <= USUAL_WORDS * WORD {
            let words = Words::<USUAL_WORDS>::new(end.cut(name, most), end, &self.keys);
            self.climb_down(kind, name, &words, wanted)
        } else {
            let words = Words::<MOST_WORDS>::new(end.cut(name, most), end, &self.keys);
            self.climb_down(kind, name, &words, wanted)
        };
        match found {
            NONE if ladder.root != NONE && wanted(ladder.root) => ladder.root,
            found => found,
        }
    }

    #[inline]
    fn climb_down<const N: usize>(
        &self,
        kind: Kind,
        name: &[u8],
        words: &Words<N>,
        wanted: &mut impl FnMut(u32) -> bool,
    ) -> u32 {
        let steps = &self.ladder(kind).steps;
        // Eight steps at a time, from the longest on: as many lengths as bits in a word.
        for first in (0..words.count()).step_by(8).rev() {
            let mut lengths = 0;
            for at in first..words.count().min(first + 8) {
                let step = self.keys.finish_step(words.sums[at], at);
                lengths |= steps.lengths(step) << (8 * (at - first));
            }
            if words.len - first * WORD < 64 {
                lengths &= (1 << (words.len - first * WORD)) - 1;
            }
            let hash = |bit: usize| {
                let at = first + bit / 8;
                let part = words.values[at] & mask(bit % 8 + 1);
                let sum = words.sums[at].wrapping_add(self.keys.term(at, part));
                self.keys.finish(sum, first * WORD + bit + 1, kind)
            };
            while lengths != 0 {
                let step = lengths.ilog2() as usize / 8;
                let mut noted = lengths & (0xff << (8 * step));
                lengths ^= noted;
                // Without a decision for each: which lengths are left is as good as random.
                let mut left = 0;
                while noted != 0 {
                    let bit = noted.trailing_zeros() as usize;
                    noted &= noted - 1;
                    left |= u64::from(steps.may_hold(hash(bit))) << bit;
                }
                while left != 0 {
                    let bit = left.ilog2() as usize;
                    left ^= 1 << bit;
                    let key = kind.end().cut(name, first * WORD + bit + 1);
                    if let Some(node) = self.node(hash(bit), kind, key)
                        && wanted(node)
                    {
                        return node;
                    }
                }
            }
        }
        NONE
    }

    /// Offers what there is to find from a node on towards shorter keys.
    #[inline]
    fn climb<'r>(&'r self, from: u32, tried: &mut Tried<'_>, best: &mut Best<'r>) {
        let mut at = from;
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.sole {
                best.offer_sole(node.value, &node.id);
                return;
            }
            let answer = &self.answers[node.value as usize];
            best.offer_all(answer.winners.of(&self.lists));
            self.try_bucket(answer.bucket, tried, best);
            at = answer.next;
        }
    }

    /// Offers the patterns that are found by no end.
    #[inline]
    fn anywhere<'r>(&'r self, tried: &mut Tried<'_>, best: &mut Best<'r>) {
        for (grams, len) in self.inner.grams.iter().zip(GRAMS) {
            if grams.is_empty() {
                continue;
            }
            let mut buckets: InlineVec<u32, 16> = InlineVec::new(0);
            grams.for_each_in(tried.name.text, len, |bucket| buckets.push(bucket));
            // A part that stands twice in the name leads to a bucket twice.
            buckets.sort_unstable();
            let mut last = NONE;
            for &bucket in &*buckets {
                if bucket != last {
                    self.try_bucket(self.inner.buckets[bucket as usize], tried, best);
                    last = bucket;
                }
            }
        }
        self.try_bucket(self.inner.rest, tried, best);
    }

    #[inline]
    fn try_bucket<'r>(&'r self, bucket: Span, tried: &mut Tried<'_>, best: &mut Best<'r>) {
        if bucket.is_empty() {
            return;
        }
        let patterns = bucket.of(&self.inner.patterns);
        best.worked(patterns.len());
        if patterns.len() < MANY {
            for pattern in patterns {
                if pattern.sketch.fits(&tried.name) {
                    self.try_pattern(pattern, tried, best);
                }
            }
            return;
        }
        let missing = !tried.features();
        for (pattern, features) in patterns.iter().zip(bucket.of(&self.inner.features)) {
            if features & missing == 0 && pattern.sketch.fits(&tried.name) {
                self.try_pattern(pattern, tried, best);
            }
        }
    }

    #[inline(never)]
    fn try_pattern<'r>(&'r self, pattern: &InnerPattern, tried: &Tried<'_>, best: &mut Best<'r>) {
        let row = &self.rows[pattern.row as usize];
        best.worked(row.pattern.as_str().len() + tried.name.text.len());
        if pattern.sketch.matches(&row.pattern, &tried.name) {
            best.offer_all(pattern.own.of(&self.lists));
        }
    }
}

/// The name of one lookup, and what is made of it when it is needed.
struct Tried<'n> {
    name: Name<'n>,
    features: Option<u64>,
}

impl<'n> Tried<'n> {
    #[inline]
    fn new(name: &'n str) -> Tried<'n> {
        Tried {
            name: Name::new(name),
            features: None,
        }
    }

    #[inline]
    fn features(&mut self) -> u64 {
        *self.features.get_or_insert_with(|| self.name.features())
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}
