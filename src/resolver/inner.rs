//! Patterns that are more than a beginning or an end, or too few of a kind to be looked for: they are tried, most of them
//! on the names only that hold some part of them.

use super::{
    best::{Best, Resolved},
    crowd::{Census, Crowd},
    grams::Grams,
    index::{Index, NONE, Span},
    sketch::{Sketch, View, pairs_in},
};
use crate::{
    inline::InlineVec,
    pattern::{ToolPattern, spots::Spots},
};

/// From so many patterns in a bucket on, it has a [`Crowd`].
pub(super) const MANY: usize = 8;

/// Up to so many are tried one by one by their sketches, if fewer than [`MANY`] of these say little.
pub(super) const MANY_LISTED: usize = 48;

#[derive(Debug)]
pub(super) struct Inner {
    /// In the order of their rows.
    pub(super) patterns: Box<[InnerPattern]>,
    pub(super) buckets: Box<[Bucket]>,
    /// The patterns of buckets, by their numbers, one bucket behind the other.
    pub(super) members: Box<[u32]>,
    /// For each of these the pairs that a name must hold.
    pub(super) pairs: Box<[u64]>,
    pub(super) crowds: Box<[Crowd]>,
    /// Patterns by their parts, if there are any.
    pub(super) grams: Option<Grams>,
    /// Those that every name is tried on.
    pub(super) rest: u32,
    /// The same, if they are few.
    pub(super) listed: Box<[Listed]>,
    /// A bit for each of these whose sketch does not tell all.
    pub(super) unsure: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct InnerPattern {
    /// The first row with this pattern.
    pub(super) row: u32,
    /// All of them.
    pub(super) own: Span,
}

/// A pattern with its sketch.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) sketch: Sketch,
    /// All rows with this pattern.
    pub(super) own: Span,
    /// The best of each location among them.
    pub(super) winners: Span,
}

/// Patterns that are found together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// A part of the list of members, in the order of their rows.
    pub(super) members: Span,
    /// If they are many.
    pub(super) crowd: u32,
}

/// The name of one lookup, and what is made of it when it is needed.
pub(super) struct Tried<'n> {
    name: &'n str,
    pairs: Option<u64>,
    seen: Option<Seen>,
    /// For a name that is not short. It is large, and few names need it: so it is not a part of what is seen.
    long: Option<Spots<2>>,
}

/// What makes it cheap to try many patterns on one name.
struct Seen {
    census: Census,
    short: Option<Spots<1>>,
}

impl<'n> Tried<'n> {
    #[inline]
    pub(super) fn new(name: &'n str) -> Tried<'n> {
        Tried {
            name,
            pairs: None,
            seen: None,
            long: None,
        }
    }
}

impl Inner {
    /// Offers the patterns that are found by no end.
    #[inline]
    pub(super) fn anywhere<'r>(
        &'r self,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        if let Some(grams) = &self.grams {
            self.by_grams(grams, index, tried, best);
        }
        if !self.listed.is_empty() {
            self.try_listed(index, tried.name, best);
        } else if self.rest != NONE {
            self.try_members(self.rest, index, tried, best);
        }
    }

    fn by_grams<'r>(
        &'r self,
        grams: &'r Grams,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        let mut found: InlineVec<u32, 16> = InlineVec::new(NONE);
        grams.for_each_in(tried.name, &index.keys, |bucket| found.push(bucket));
        if found.is_empty() {
            return;
        }
        // A part that stands twice in the name leads to a bucket twice.
        found.sort_unstable();
        let mut last = NONE;
        for &bucket in &*found {
            if bucket != last {
                self.try_members(bucket, index, tried, best);
                last = bucket;
            }
        }
    }

    #[inline]
    pub(super) fn try_bucket<'r>(
        &'r self,
        bucket: u32,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        if bucket != NONE {
            self.try_members(bucket, index, tried, best);
        }
    }

    fn try_members<'r>(
        &'r self,
        bucket: u32,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        let bucket = self.buckets[bucket as usize];
        let members = bucket.members.of(&self.members);
        let name = tried.name;
        best.worked(members.len());
        let Some(crowd) = self.crowds.get(bucket.crowd as usize) else {
            let pairs = *tried.pairs.get_or_insert_with(|| pairs_in(name));
            for (member, wanted) in members.iter().zip(bucket.members.of(&self.pairs)) {
                if wanted & !pairs == 0 {
                    let matches = |pattern: &ToolPattern| pattern.matches(name);
                    self.try_member(*member, index, best, name.len(), matches);
                }
            }
            return;
        };
        let seen = tried.seen.get_or_insert_with(|| Seen {
            census: Census::of(name.bytes()),
            short: Spots::of(name),
        });
        if seen.short.is_none() && tried.long.is_none() {
            tried.long = Spots::of(name);
        }
        let census = &seen.census;
        if let Some(short) = &seen.short {
            let matches = |pattern: &ToolPattern| short.matches(pattern.as_str());
            self.try_crowd(crowd, census, members, index, best, 0, matches);
        } else if let Some(long) = &tried.long {
            let matches = |pattern: &ToolPattern| long.matches(pattern.as_str());
            self.try_crowd(crowd, census, members, index, best, 0, matches);
        } else {
            let matches = |pattern: &ToolPattern| pattern.matches(name);
            self.try_crowd(crowd, census, members, index, best, name.len(), matches);
        }
    }

    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "a part of its only caller, once for each way to match"
    )]
    fn try_crowd<'r>(
        &'r self,
        crowd: &Crowd,
        name: &Census,
        members: &[u32],
        index: &'r Index,
        best: &mut Best<'r>,
        steps: usize,
        matches: impl Fn(&ToolPattern) -> bool,
    ) {
        crowd.for_each_left(name, |i| {
            self.try_member(members[i], index, best, steps, &matches);
        });
    }

    #[inline]
    fn try_member<'r>(
        &'r self,
        number: u32,
        index: &'r Index,
        best: &mut Best<'r>,
        steps: usize,
        matches: impl Fn(&ToolPattern) -> bool,
    ) {
        let pattern = &self.patterns[number as usize];
        let text = &index.rows[pattern.row as usize].pattern;
        best.worked(text.as_str().len() + steps);
        if matches(text) {
            best.offer_all(pattern.own.of(&index.lists));
        }
    }

    /// Whether all patterns that are not found by their ends are listed, if there are any.
    pub(super) fn is_list(&self) -> bool {
        self.grams.is_none() && self.rest == NONE
    }

    /// The best row of each location, where all patterns are listed.
    #[inline]
    pub(super) fn resolve_listed<'r>(&'r self, index: &'r Index, name: &str) -> Resolved<'r> {
        let mut left = self.listed_in(index, name);
        let Some(listed) = self.listed.get(left.trailing_zeros() as usize) else {
            return Resolved::of_rows(index, &[]);
        };
        left &= left - 1;
        let winners = listed.winners.of(&index.lists);
        if left == 0 {
            return Resolved::of_rows(index, winners);
        }
        let mut best = Best::new(index);
        best.offer_all(winners);
        self.offer_listed(left, index, &mut best);
        best.finish()
    }

    fn try_listed<'r>(&'r self, index: &'r Index, name: &str, best: &mut Best<'r>) {
        best.worked(self.listed.len() + name.len());
        let left = self.listed_in(index, name);
        self.offer_listed(left, index, best);
    }

    fn offer_listed<'r>(&'r self, mut left: u64, index: &'r Index, best: &mut Best<'r>) {
        while left != 0 {
            let listed = &self.listed[left.trailing_zeros() as usize];
            left &= left - 1;
            best.offer_all(listed.own.of(&index.lists));
        }
    }

    /// A bit for each listed pattern that matches.
    #[inline]
    fn listed_in(&self, index: &Index, name: &str) -> u64 {
        let view = View::new(name);
        // Which of them fit is not decided one by one. They are fewer than bits in a word.
        let mut fit = 0u64;
        for (i, listed) in (0..).zip(&self.listed) {
            fit |= u64::from(listed.sketch.fits(&view)) << i;
        }
        if fit & self.unsure == 0 {
            fit
        } else {
            self.confirmed(fit, index, name)
        }
    }

    /// Of those that fit, those that match.
    fn confirmed(&self, mut fit: u64, index: &Index, name: &str) -> u64 {
        let mut pairs = None;
        let mut unsure = fit & self.unsure;
        while unsure != 0 {
            let i = unsure.trailing_zeros();
            unsure &= unsure - 1;
            let Listed { sketch, own, .. } = &self.listed[i as usize];
            let can_match = !sketch.wants_pairs()
                || sketch.fits_pairs(*pairs.get_or_insert_with(|| pairs_in(name)));
            let matches = || {
                let row = own.of(&index.lists)[0];
                sketch.matches(&index.rows[row as usize].pattern, name)
            };
            fit ^= u64::from(!(can_match && matches())) << i;
        }
        fit
    }
}
