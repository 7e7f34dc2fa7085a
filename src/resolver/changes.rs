//! A resolver that differs a little from another one: it shares the other one's index, and has a list of what was
//! removed from it and a small index of what was added.
//!
//! A change compiles anew all that was added so far, at most √n for n bindings, so it takes O(√n) steps. When that
//! limit is reached, everything is compiled, which again is O(√n) for each change. A lookup asks both indices. If
//! one of the winners was removed, it goes back to all bindings that match, to find the next best one. Few bindings
//! are all compiled with each change: that takes no longer, and a lookup then asks one index.

use std::{borrow::Borrow, sync::Arc};

use smallvec::SmallVec;

use super::{
    Match, Resolved, Resolver,
    build::{Binding, compile},
    index::Index,
};

/// Up to this many changes are kept aside, however few bindings there are.
const FEW_CHANGES: usize = 64;

/// Up to this many bindings are compiled anew with every change.
pub(super) const FEW_BINDINGS: usize = 64;

/// What differs from an index.
#[derive(Debug)]
pub(super) struct Changes {
    /// Rows of the index, sorted.
    removed: Box<[u32]>,
    added: Index,
}

impl Changes {
    pub(super) fn len(&self, index: &Index) -> usize {
        index.rows.len() - self.removed.len() + self.added.rows.len()
    }

    pub(super) fn resolve<'r>(&'r self, index: &'r Index, name: &str) -> Resolved<'r> {
        let new = self.added.resolve(name);
        if self.removed.is_empty() && new.is_empty() {
            // Made where the caller wants it: a copy takes as long as a part of the lookup.
            return index.resolve(name);
        }
        self.resolve_with(&new, index, name)
    }

    /// The best of what was added and what was left.
    fn resolve_with<'r>(&self, new: &[Match<'r>], index: &'r Index, name: &str) -> Resolved<'r> {
        let old = index.resolve(name);
        let is_removed = |found: &Match<'_>| self.removed.binary_search(&found.row()).is_ok();
        if old.iter().any(is_removed) {
            let left = self.best_left(index, name);
            return merge(left.into_iter(), new.iter().copied());
        }
        if new.is_empty() {
            return old;
        }
        merge(old.iter().copied(), new.iter().copied())
    }

    /// All bindings that match, in order.
    pub(super) fn candidates<'r>(&'r self, index: &'r Index, name: &str) -> Vec<Match<'r>> {
        let (old, new) = (self.left(index, name), self.added.candidates(name));
        let mut all = Vec::with_capacity(old.len() + new.len());
        // Few are new. Their places among the others, of which there may be very many, are found by halving.
        let mut rest = &old[..];
        for found in new {
            let (before, after) =
                rest.split_at(rest.partition_point(|other| other.cmp(&found).is_lt()));
            all.extend_from_slice(before);
            all.push(found);
            rest = after;
        }
        all.extend_from_slice(rest);
        all
    }

    /// The best binding of each location that matches and was not removed, in order. The others are dropped here,
    /// since there may be very many, and comparing one with what was added takes as long as their patterns are.
    pub(super) fn best_left<'r>(&self, index: &'r Index, name: &str) -> Vec<Match<'r>> {
        let mut left = self.left(index, name);
        left.dedup_by_key(|found| index.location(found.row()));
        left
    }

    /// All bindings of the index that match and were not removed, in order.
    fn left<'r>(&self, index: &'r Index, name: &str) -> Vec<Match<'r>> {
        let mut all = index.candidates(name);
        all.retain(|found| self.removed.binary_search(&found.row()).is_err());
        all
    }
}

/// The best match of each location, from two lists in order, the best first.
fn merge<'r>(
    old: impl Iterator<Item = Match<'r>>,
    new: impl Iterator<Item = Match<'r>>,
) -> Resolved<'r> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let mut best: SmallVec<[Match<'r>; 8]> = SmallVec::new();
    loop {
        let next = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a.cmp(b).is_lt() => old.next(),
            (_, Some(_)) => new.next(),
            _ => old.next(),
        };
        let Some(next) = next else { break };
        if best
            .last()
            .is_none_or(|last| last.location() != next.location())
        {
            best.push(next);
        }
    }
    Resolved::of(&best)
}

impl Index {
    /// The row of a binding.
    fn row_of(&self, (pattern, location, id): &Binding) -> Option<u32> {
        let location = self.locations.binary_search(location).ok()?;
        let specificity = pattern.specificity();
        let row = self.rows.binary_search_by(|row| {
            let at = (row.location as usize).cmp(&location);
            at.then_with(|| row.pattern.specificity().cmp(&specificity))
                .then_with(|| self.id_at(row.id_at).cmp(id))
                .then_with(|| row.pattern.as_str().cmp(pattern.as_str()))
        });
        row.ok().map(super::narrow)
    }

    fn binding(&self, row: u32) -> Binding {
        let found = Match::new(self, row);
        (
            found.pattern().clone(),
            found.location().clone(),
            found.id(),
        )
    }

    fn all_rows(&self) -> impl Iterator<Item = u32> {
        0..super::narrow(self.rows.len())
    }
}

/// The resolver with these changes. It is compiled anew if it has at most `few_bindings` bindings: [`FEW_BINDINGS`],
/// except in tests.
pub(super) fn change(
    resolver: &Resolver,
    removed: impl IntoIterator<Item = impl Borrow<Binding>>,
    added: impl IntoIterator<Item = Binding>,
    few_bindings: usize,
) -> Resolver {
    let index = &resolver.index;
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    if let Some(changes) = &resolver.changes {
        gone.extend_from_slice(&changes.removed);
        new.extend(
            changes
                .added
                .all_rows()
                .map(|row| changes.added.binding(row)),
        );
    }
    for binding in removed {
        let binding = binding.borrow();
        new.retain(|other| other != binding);
        gone.extend(index.row_of(binding));
    }
    let mut kept = Vec::new();
    for binding in added {
        match index.row_of(&binding) {
            Some(row) => kept.push(row),
            None => new.push(binding),
        }
    }
    kept.sort_unstable();
    gone.retain(|row| kept.binary_search(row).is_err());
    gone.sort_unstable();
    gone.dedup();
    let bindings = index.rows.len() - gone.len() + new.len();
    let most = FEW_CHANGES.max(index.rows.len().isqrt());
    if bindings <= few_bindings || gone.len() + new.len() > most {
        let left = index
            .all_rows()
            .filter(|row| gone.binary_search(row).is_err());
        new.extend(left.map(|row| index.binding(row)));
        return Resolver {
            index: Arc::new(compile(&new)),
            changes: None,
        };
    }
    Resolver {
        index: Arc::clone(index),
        changes: Some(Arc::new(Changes {
            removed: gone.into(),
            added: compile(&new),
        })),
    }
}
