//! The compiled index: what is kept of the bindings, and the way from a name to the bindings that match it.

use super::{
    best::{Best, Match, Resolved},
    buckets::Tried,
    inner::Inner,
    ladder::Ladder,
    row::{Ending, IN_IDS, NONE, Row, Span},
    slots::Slots,
    words::{End, Keys, Kind, WORD, mask, same},
};
use crate::{location::Location, secret::SecretId};

/// The most bytes that keys have, with few exceptions.
const USUAL: usize = 64;

/// The most words that a key has: 1,024 characters of four bytes.
const MOST_WORDS: usize = 512;

#[derive(Clone)]
pub(super) struct Index {
    /// Sorted by location, then by precedence.
    pub(super) rows: Box<[Row]>,
    /// The ids that are not in a node.
    pub(super) ids: Box<[SecretId]>,
    /// In the order of locations.
    pub(super) locations: Box<[Location]>,
    /// The nodes by their slots, some of which are empty.
    pub(super) nodes: Box<[Node]>,
    /// Leads from the hashes of keys to their nodes.
    pub(super) slots: Slots,
    pub(super) answers: Box<[Answer]>,
    /// What a lookup ends in where several rows win, or a listed pattern: the endings of nodes and of listed patterns.
    pub(super) endings: Box<[Ending]>,
    /// Lists of rows, one after another, of which most spans are parts.
    pub(super) lists: Box<[u32]>,
    pub(super) keys: Keys,
    /// Bytes in the longest exact pattern.
    pub(super) longest_exact: usize,
    pub(super) heads: Ladder,
    pub(super) tails: Ladder,
    pub(super) inner: Inner,
    /// Whether all patterns with wildcards are listed.
    pub(super) is_list: bool,
}

/// One key: an exact pattern, or what other patterns begin or end with. A node fills a cache line, and has what most
/// lookups end in.
#[repr(align(64))]
#[derive(Clone)]
pub(super) struct Node {
    /// The key, or where there is no room for it the number of a row whose pattern has it.
    pub(super) text: [u8; INLINE],
    /// The id of the secret, if the node is sole.
    pub(super) id: SecretId,
    pub(super) value: u32,
    /// Bytes in the key.
    pub(super) len: u16,
    pub(super) kind: Kind,
    pub(super) holds: Holds,
}

/// What the value of a node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A row, which is all there is to find here: the node is sole.
    Row,
    /// For an exact name, an index in `endings`, where everything to find is. The first one there has the index of
    /// the answer and the number of those that follow.
    Endings,
    /// An index in `answers`.
    Answer,
}

/// The most bytes of a key that is kept in its node.
pub(super) const INLINE: usize = 40;

/// What there is to find at a node, where that is not one row alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// The rows of the pattern that is this key.
    pub(super) own: Span,
    /// The best of each location among these rows and what else is found without looking further: for a head or a
    /// tail, the rows of the shorter ones, up to `next`; for an exact name whose node holds endings, all that match.
    pub(super) winners: Span,
    /// The bucket of the patterns that have this key and continue beyond it.
    pub(super) bucket: u32,
    /// The node of the shorter head or tail to continue at.
    pub(super) next: u32,
}

impl Node {
    /// The node in a slot that belongs to no key.
    pub(super) const EMPTY: Node = Node {
        text: [0; INLINE],
        id: SecretId::new(uuid::Uuid::nil()),
        value: NONE,
        len: 0,
        kind: Kind::None,
        holds: Holds::Answer,
    };

    #[inline]
    pub(super) fn is_sole(&self) -> bool {
        self.holds == Holds::Row
    }

    /// The key. For a key that has no room in the node, `row` is one whose pattern has it. All other keys are read
    /// from the node itself, which matters to callers that read very many.
    pub(super) fn key<'n>(&'n self, row: u32, rows: &'n [Row]) -> &'n str {
        let inline = self.text.get(..self.len.into());
        inline
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_else(|| self.kind.key(rows[row as usize].pattern.as_str()))
    }
}

impl Index {
    pub(super) fn id(&self, row: u32) -> &SecretId {
        self.id_at(self.rows[row as usize].id_at)
    }

    #[inline]
    pub(super) fn id_at(&self, at: u32) -> &SecretId {
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

    /// Asks for what a lookup reads of a short list, for a caller in whose cache it hardly ever is.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.inner.list.prefetch();
    }

    /// The best row of each location.
    #[inline]
    pub(super) fn resolve(&self, name: &str) -> Resolved<'_> {
        match self.exact(name) {
            Some(node) if node.is_sole() => Resolved::one(self, node.value, &node.id),
            Some(node) if node.holds == Holds::Endings => {
                Resolved::of_endings(self, self.endings(node))
            }
            None if self.is_list => self.inner.list.resolve(self, name),
            node => self.resolve_further(name, node),
        }
    }

    /// Resolves a name for which the exact pattern is not the whole answer.
    fn resolve_further(&self, name: &str, exact: Option<&Node>) -> Resolved<'_> {
        let mut best = Best::new(self);
        if let Some(node) = exact {
            let answer = &self.answers[node.value as usize];
            best.offer_all(answer.winners.of(&self.lists));
        }
        self.best_wildcards(name, &mut best);
        best.finish()
    }

    /// Offers the winners among the wildcard patterns.
    #[inline]
    pub(super) fn best_wildcards<'r>(&'r self, name: &str, best: &mut Best<'r>) {
        let mut tried = Tried::new(name);
        if self.heads.is_used() {
            let longest = self.longest_head(name, usize::MAX);
            self.climb(longest, &mut tried, best);
        }
        if self.tails.is_used() {
            let longest = self.longest_tail(name, usize::MAX);
            self.climb(longest, &mut tried, best);
        }
        self.inner.anywhere(self, &mut tried, best);
    }

    /// All bindings that match, in order.
    pub(super) fn candidates(&self, name: &str) -> Vec<Match<'_>> {
        let mut best = Best::keeping_all(self);
        self.all(name, &mut best);
        let rows = best.into_all_rows();
        rows.into_iter().map(|row| Match::new(self, row)).collect()
    }

    /// Offers all rows that match, in no order.
    pub(super) fn all<'r>(&'r self, name: &str, best: &mut Best<'r>) {
        let mut tried = Tried::new(name);
        if let Some(node) = self.exact(name) {
            best.offer_all(self.own(node));
        }
        let mut visit = |node: u32| {
            let node = &self.nodes[node as usize];
            best.offer_all(self.own(node));
            if !node.is_sole() {
                let bucket = self.answers[node.value as usize].bucket;
                self.inner
                    .buckets
                    .try_bucket(bucket, self, &mut tried, best);
            }
            false
        };
        self.find_on_ladder::<false>(name, usize::MAX, &mut visit);
        self.find_on_ladder::<true>(name, usize::MAX, &mut visit);
        self.inner.anywhere(self, &mut tried, best);
    }

    /// The rows of the pattern that this node's key is or stands for.
    pub(super) fn own<'r>(&'r self, node: &'r Node) -> &'r [u32] {
        let answer = match node.holds {
            Holds::Row => return std::slice::from_ref(&node.value),
            Holds::Endings => self.endings[node.value as usize].row,
            Holds::Answer => node.value,
        };
        self.answers[answer as usize].own.of(&self.lists)
    }

    #[inline]
    fn endings(&self, node: &Node) -> &[Ending] {
        let (first, rest) = self.endings[node.value as usize..]
            .split_first()
            .expect("the first one tells how many follow");
        &rest[..first.id_at as usize]
    }

    #[inline]
    fn exact(&self, name: &str) -> Option<&Node> {
        if name.len() > self.longest_exact {
            return None;
        }
        let hash = self.keys.hash(name.as_bytes());
        let node = self.node(hash, Kind::Exact, name.as_bytes())?;
        Some(&self.nodes[node])
    }

    /// The node of a key with this hash.
    #[inline]
    fn node(&self, hash: u64, kind: Kind, key: &[u8]) -> Option<usize> {
        let slot = self.slots.find(hash)?;
        let node = self.nodes.get(slot)?;
        if node.kind != kind || usize::from(node.len) != key.len() {
            return None;
        }
        let is_this = match node.text.get(..key.len()) {
            Some(text) => same(text, key),
            None => self.is_long_key(node, key),
        };
        is_this.then_some(slot)
    }

    /// Returns whether the key of this node, which has no room for it, is `key`.
    #[cold]
    fn is_long_key(&self, node: &Node, key: &[u8]) -> bool {
        let row = node
            .text
            .first_chunk()
            .map_or(0, |row| u32::from_le_bytes(*row));
        let pattern = self.rows[row as usize].pattern.as_str();
        node.kind.key(pattern).as_bytes() == key
    }

    /// The node of the longest key of a kind that `name` begins or ends with, among keys of at most `most` bytes.
    pub(super) fn longest(&self, kind: Kind, name: &str, most: usize) -> u32 {
        match kind {
            Kind::Tail => self.longest_tail(name, most),
            _ => self.longest_head(name, most),
        }
    }

    #[inline]
    fn longest_head(&self, name: &str, most: usize) -> u32 {
        self.find_on_ladder::<false>(name, most, &mut |_| true)
    }

    #[inline]
    fn longest_tail(&self, name: &str, most: usize) -> u32 {
        self.find_on_ladder::<true>(name, most, &mut |_| true)
    }

    /// The first wanted node among those of the keys that `name` begins or ends with, the longest key first.
    #[inline]
    fn find_on_ladder<const BACK: bool>(
        &self,
        name: &str,
        most: usize,
        wanted: &mut impl FnMut(u32) -> bool,
    ) -> u32 {
        let ladder = if BACK { &self.tails } else { &self.heads };
        let name = name.as_bytes();
        let most = most.min(name.len()).min(ladder.longest);
        let found = match most {
            0 => NONE,
            1..=USUAL => self.climb_down::<BACK, { USUAL / WORD }, 1>(ladder, name, most, wanted),
            _ => self.climb_down_far::<BACK>(ladder, name, most, wanted),
        };
        match found {
            NONE if ladder.root != NONE && wanted(ladder.root) => ladder.root,
            found => found,
        }
    }

    #[cold]
    fn climb_down_far<const BACK: bool>(
        &self,
        ladder: &Ladder,
        name: &[u8],
        most: usize,
        wanted: &mut impl FnMut(u32) -> bool,
    ) -> u32 {
        self.climb_down::<BACK, MOST_WORDS, { MOST_WORDS / 8 }>(ladder, name, most, wanted)
    }

    /// The same for keys of one to `most` bytes, which are at most `WORDS` words and `64 * BLOCKS` bytes.
    #[inline]
    fn climb_down<const BACK: bool, const WORDS: usize, const BLOCKS: usize>(
        &self,
        ladder: &Ladder,
        name: &[u8],
        most: usize,
        wanted: &mut impl FnMut(u32) -> bool,
    ) -> u32 {
        let (end, kind) = if BACK {
            (End::Back, Kind::Tail)
        } else {
            (End::Front, Kind::Head)
        };
        let taken = end.words(name);
        let first = taken.at(0);
        let mut sums = [0; WORDS];
        let mut lengths = [0u64; BLOCKS];
        lengths[0] = ladder.first_lengths(first, &self.keys);
        let mut sum = self.keys.term(0, first);
        for at in 1..most.div_ceil(WORD).min(WORDS) {
            let word = taken.at(at);
            sums[at] = sum;
            let Some(ends) = ladder.lengths(word, sum, &self.keys) else {
                break;
            };
            lengths[at / 8] |= ends << (at % 8 * 8);
            sum = sum.wrapping_add(self.keys.term(at, word));
        }
        let last = (most - 1) / 64;
        lengths[last] &= u64::MAX >> (63 - (most - 1) % 64);
        for block in (0..=last).rev() {
            let mut lengths = lengths[block];
            while lengths != 0 {
                let bit = lengths.ilog2() as usize;
                lengths ^= 1 << bit;
                let at = block * 8 + bit / 8;
                let word = taken.at(at) & mask(bit % 8 + 1);
                let sum = sums[at].wrapping_add(self.keys.term(at, word));
                let len = block * 64 + bit + 1;
                let hash = self.keys.finish(sum, len, kind);
                if let Some(node) = self.node(hash, kind, end.cut(name, len)) {
                    let node = super::narrow(node);
                    if wanted(node) {
                        return node;
                    }
                }
            }
        }
        NONE
    }

    /// Offers what is found at a node and at shorter keys.
    #[inline]
    fn climb<'r>(&'r self, from: u32, tried: &mut Tried<'_>, best: &mut Best<'r>) {
        if let Some(node) = self.nodes.get(from as usize) {
            if node.is_sole() {
                best.offer_sole(node.value, &node.id);
            } else {
                self.climb_on(node, tried, best);
            }
        }
    }

    fn climb_on<'r>(&'r self, mut node: &'r Node, tried: &mut Tried<'_>, best: &mut Best<'r>) {
        while !node.is_sole() {
            let answer = &self.answers[node.value as usize];
            best.offer_all(answer.winners.of(&self.lists));
            self.inner
                .buckets
                .try_bucket(answer.bucket, self, tried, best);
            match self.nodes.get(answer.next as usize) {
                Some(next) => node = next,
                None => return,
            }
        }
        best.offer_sole(node.value, &node.id);
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}
