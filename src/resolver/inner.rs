//! Patterns that are more than a beginning or an end, or too few of a kind to be looked for. They are tried, most of
//! them only on names that hold some part of them.

use smallvec::SmallVec;

use super::{
    best::Best,
    buckets::{Buckets, Tried},
    grams::Grams,
    index::Index,
    list::List,
    row::NONE,
};

#[derive(Debug, Clone)]
pub(super) struct Inner {
    pub(super) buckets: Buckets,
    /// Patterns by their runs, if there are any.
    pub(super) grams: Option<Box<Grams>>,
    /// The bucket of the patterns without ends, which are tried on every name, unless they are listed.
    pub(super) endless: u32,
    /// The patterns that are tried on every name, but which sketches rule out for most.
    pub(super) list: List,
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
        self.buckets.try_bucket(self.endless, index, tried, best);
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
            self.buckets.try_members(bucket, index, tried, best);
        }
    }

    /// Returns whether all patterns that are not found by their ends are listed.
    pub(super) fn is_list(&self) -> bool {
        self.grams.is_none() && self.endless == NONE
    }
}
