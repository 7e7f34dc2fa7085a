//! Patterns that are more than a beginning or an end, or too few of a kind to be looked for. They are tried, most of
//! them only on names that hold some part of them.

use smallvec::SmallVec;

use super::{
    best::Best,
    crowd::{Census, Crowd},
    grams::Grams,
    index::{Index, NONE, Span},
    list::List,
    sketch::pairs_in,
};
use crate::pattern::{ToolPattern, spots::Spots};

/// A bucket of at least this many patterns has a [`Crowd`].
pub(super) const MANY: usize = 8;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) buckets: Box<[Bucket]>,
    /// The patterns in buckets, one bucket after another.
    pub(super) members: Box<[Member]>,
    pub(super) crowds: Box<[Crowd]>,
    /// Patterns by their runs, if there are any.
    pub(super) grams: Option<Box<Grams>>,
    /// The bucket of the patterns that are tried on every name.
    pub(super) rest: u32,
    /// The patterns that are tried on every name, but which sketches rule out for most.
    pub(super) list: List,
}

/// A pattern in a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The pairs that a name must hold.
    pub(super) pairs: u64,
    /// The first row with this pattern.
    pub(super) row: u32,
    /// All rows with this pattern.
    pub(super) own: Span,
}

/// Patterns that are found together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// A part of the list of members, in the order of their rows.
    pub(super) members: Span,
    /// The number of the crowd, if the members are many.
    pub(super) crowd: u32,
}

/// The name of one lookup, and what is computed from it when it is needed.
pub(super) struct Tried<'n> {
    name: &'n str,
    pairs: Option<u64>,
    seen: Option<Seen>,
    /// For a name that is not short. Few names need it and it is large, so it is not a part of [`Seen`].
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
    /// Offers those matching patterns that are not found by their ends.
    #[inline]
    pub(super) fn anywhere<'r>(
        &'r self,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        if let Some(grams) = &self.grams
            && grams.can_be_in(tried.name, &index.keys)
        {
            self.by_grams(grams, index, tried, best);
        }
        self.list.try_all(index, tried.name, &mut tried.pairs, best);
        self.try_bucket(self.rest, index, tried, best);
    }

    fn by_grams<'r>(
        &'r self,
        grams: &'r Grams,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        let mut found: SmallVec<[u32; 16]> = SmallVec::new();
        grams.for_each_in(tried.name, &index.keys, |bucket| {
            found.push(bucket);
        });
        // A run that occurs twice in the name leads to its bucket twice.
        found.sort_unstable();
        found.dedup();
        for bucket in found {
            self.try_members(bucket, index, tried, best);
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
            for member in members.iter().filter(|member| member.pairs & !pairs == 0) {
                let matches = |pattern: &ToolPattern| pattern.matches(name);
                member.offer_if(index, best, name.len(), matches);
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
            try_crowd(crowd, census, members, index, best, 0, matches);
        } else if let Some(long) = &tried.long {
            let matches = |pattern: &ToolPattern| long.matches(pattern.as_str());
            try_crowd(crowd, census, members, index, best, 0, matches);
        } else {
            let matches = |pattern: &ToolPattern| pattern.matches(name);
            try_crowd(crowd, census, members, index, best, name.len(), matches);
        }
    }

    /// Returns whether all patterns that are not found by their ends are listed.
    pub(super) fn is_list(&self) -> bool {
        self.grams.is_none() && self.rest == NONE
    }
}

impl Member {
    /// Offers the pattern if it matches. That counts as `steps` steps, and one for each of its bytes.
    #[inline]
    fn offer_if<'r>(
        &self,
        index: &'r Index,
        best: &mut Best<'r>,
        steps: usize,
        matches: impl Fn(&ToolPattern) -> bool,
    ) {
        let text = &index.rows[self.row as usize].pattern;
        best.worked(text.as_str().len() + steps);
        if matches(text) {
            best.offer_all(self.own.of(&index.lists));
        }
    }
}

#[inline]
fn try_crowd<'r>(
    crowd: &Crowd,
    name: &Census,
    members: &[Member],
    index: &'r Index,
    best: &mut Best<'r>,
    steps: usize,
    matches: impl Fn(&ToolPattern) -> bool,
) {
    crowd.for_each_left(name, |i| {
        members[i].offer_if(index, best, steps, &matches);
    });
}
