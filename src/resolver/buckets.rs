//! Patterns that are found together: at the same key, by the same run, or on every name. They are tried on a name one
//! by one, except for those that hold bytes which the name does not.

use std::slice;

use super::{
    best::Best,
    crowd::{Census, Crowd},
    index::Index,
    narrow, narrow_len,
    row::{Ending, NONE, Span},
    sketch::{pairs_in, pairs_of},
};
use crate::pattern::{self, short_positions::ShortPositions};

/// A bucket of at least this many patterns has a [`Crowd`].
pub(super) const MANY: usize = 8;

/// Patterns that are found together.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    /// The patterns, one bucket after another.
    pub(super) members: Box<[Member]>,
    /// The texts of the members.
    texts: Box<str>,
    /// The members of each bucket that has many.
    crowds: Box<[(Span, Crowd)]>,
}

/// Makes [`Buckets`].
#[derive(Default)]
pub(super) struct BucketsBuilder {
    members: Vec<Member>,
    texts: String,
    crowds: Vec<(Span, Crowd)>,
}

/// A pattern in a bucket, with what most lookups need of its row. None lies across two cache lines.
#[repr(align(32))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The pairs that a name must hold.
    pairs: u64,
    /// Where its text begins, and how many bytes it has.
    start: usize,
    len: u16,
    /// Whether it is the last one of its bucket.
    is_last: bool,
    /// All rows with this pattern.
    pub(super) own: Own,
}

/// The rows with a pattern.
#[derive(Debug, Clone, Copy)]
pub(super) enum Own {
    One(Ending),
    /// A part of the lists of rows.
    Several(Span),
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Member>() == 32);

/// A bit in the number of a bucket. With it, the rest is the number of a crowd; without it, that of the bucket's first
/// member.
const CROWDED: u32 = 1 << 31;

/// The name of one lookup, and what is computed from it when it is needed.
pub(super) struct Tried<'n> {
    pub(super) name: &'n str,
    pub(super) pairs: Option<u64>,
    seen: Option<Seen>,
    /// For a name that is not short. Few names need it and it is large, so it is not a part of [`Seen`].
    long: Option<ShortPositions<2>>,
}

/// What makes it cheap to try many patterns on one name.
struct Seen {
    census: Census,
    short: Option<ShortPositions<1>>,
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

impl Buckets {
    /// Offers those patterns of a bucket that match, if there is one.
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

    pub(super) fn try_members<'r>(
        &'r self,
        bucket: u32,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        if bucket & CROWDED != 0 {
            return self.try_many(bucket ^ CROWDED, index, tried, best);
        }
        let name = tried.name;
        let pairs = *tried.pairs.get_or_insert_with(|| pairs_in(name));
        for member in &self.members[bucket as usize..] {
            best.worked(1);
            if member.pairs & !pairs == 0 {
                let matches = |text: &str| pattern::matches(text, name);
                self.offer_if(member, index, best, name.len(), matches);
            }
            if member.is_last {
                return;
            }
        }
    }

    fn try_many<'r>(
        &'r self,
        crowd: u32,
        index: &'r Index,
        tried: &mut Tried<'_>,
        best: &mut Best<'r>,
    ) {
        let name = tried.name;
        let (members, crowd) = &self.crowds[crowd as usize];
        let members = members.of(&self.members);
        best.worked(members.len());
        let seen = tried.seen.get_or_insert_with(|| Seen {
            census: Census::of(name.bytes()),
            short: ShortPositions::of(name),
        });
        if seen.short.is_none() && tried.long.is_none() {
            tried.long = ShortPositions::of(name);
        }
        let census = &seen.census;
        if let Some(short) = &seen.short {
            crowd.for_each_left(census, |i| {
                let matches = |text: &str| short.matches(text);
                self.offer_if(&members[i], index, best, 0, matches);
            });
        } else if let Some(long) = &tried.long {
            crowd.for_each_left(census, |i| {
                let matches = |text: &str| long.matches(text);
                self.offer_if(&members[i], index, best, 0, matches);
            });
        } else {
            crowd.for_each_left(census, |i| {
                let matches = |text: &str| pattern::matches(text, name);
                self.offer_if(&members[i], index, best, name.len(), matches);
            });
        }
    }

    /// Offers a pattern if it matches. That counts as `steps` steps, and one for each of its bytes.
    #[inline]
    fn offer_if<'r>(
        &'r self,
        member: &'r Member,
        index: &'r Index,
        best: &mut Best<'r>,
        steps: usize,
        matches: impl Fn(&str) -> bool,
    ) {
        best.worked(usize::from(member.len) + steps);
        let text = &self.texts[member.start..][..member.len.into()];
        if matches(text) {
            match &member.own {
                Own::One(ending) if best.keeps_all() => best.offer_all(&[ending.row]),
                Own::One(ending) => best.offer_endings(slice::from_ref(ending)),
                Own::Several(rows) => best.offer_all(rows.of(&index.lists)),
            }
        }
    }
}

impl BucketsBuilder {
    /// Adds a bucket of patterns, and returns its number.
    pub(super) fn add(&mut self, patterns: &[(&str, Own)]) -> u32 {
        let start = narrow(self.members.len());
        for (number, &(text, own)) in patterns.iter().enumerate() {
            self.members.push(Member {
                pairs: pairs_of(text),
                start: self.texts.len(),
                len: narrow_len(text.len()),
                is_last: number + 1 == patterns.len(),
                own,
            });
            self.texts.push_str(text);
        }
        if patterns.len() < MANY {
            return start;
        }
        let end = narrow(self.members.len());
        let crowd = Crowd::of(patterns.iter().map(|(text, _)| *text));
        self.crowds.push((Span { start, end }, crowd));
        CROWDED | narrow(self.crowds.len() - 1)
    }

    pub(super) fn build(self) -> Buckets {
        Buckets {
            members: self.members.into(),
            texts: self.texts.into(),
            crowds: self.crowds.into(),
        }
    }
}
