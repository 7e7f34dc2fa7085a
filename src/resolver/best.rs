//! What a lookup gathers and what it returns.

use std::{cmp::Ordering, fmt, ops::Deref};

use super::{index::Index, row::Ending};
use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

/// How many locations a lookup can return without allocating.
const USUAL_LOCATIONS: usize = 8;

/// How many rows are gathered before all but the best of each location are dropped.
const GATHERED: usize = 16;

/// Gathers the best row of each location, or all rows.
pub(super) struct Best<'r> {
    index: &'r Index,
    /// In no order; the first `len` of them count.
    few: [u32; GATHERED],
    len: usize,
    /// The rows for which `few` has no room.
    many: Vec<u32>,
    /// The id of the first row that was offered, if it came with it.
    first_id: Option<&'r SecretId>,
    /// The first endings that were offered, whose rows are not among the others: most often nothing else is.
    first: &'r [Ending],
    /// Whether all are wanted.
    keep_all: bool,
    /// How many steps were taken so far, roughly.
    work: usize,
}

impl<'r> Best<'r> {
    #[inline]
    pub(super) fn new(index: &'r Index) -> Best<'r> {
        Best {
            index,
            few: [0; GATHERED],
            len: 0,
            many: Vec::new(),
            first_id: None,
            first: &[],
            keep_all: false,
            work: 0,
        }
    }

    pub(super) fn keeping_all(index: &'r Index) -> Best<'r> {
        Best {
            keep_all: true,
            ..Best::new(index)
        }
    }

    #[inline]
    pub(super) fn keeps_all(&self) -> bool {
        self.keep_all
    }

    #[inline]
    pub(super) fn offer_sole(&mut self, row: u32, id: &'r SecretId) {
        if self.len == 0 {
            self.first_id = Some(id);
        }
        self.offer(row);
    }

    #[inline]
    pub(super) fn offer_all(&mut self, rows: &[u32]) {
        for &row in rows {
            self.offer(row);
        }
    }

    /// Offers rows, one for each location, in order. If all rows are wanted, they are offered in another way: these
    /// are not among them.
    #[inline]
    pub(super) fn offer_endings(&mut self, endings: &'r [Ending]) {
        debug_assert!(!self.keep_all);
        if self.first.is_empty() {
            self.first = endings;
        } else {
            self.offer_rows_of(endings);
        }
    }

    fn offer_rows_of(&mut self, endings: &[Ending]) {
        for ending in endings {
            self.offer(ending.row);
        }
    }

    #[inline]
    fn offer(&mut self, row: u32) {
        if self.len == GATHERED {
            self.make_room();
        }
        self.few[self.len] = row;
        self.len += 1;
    }

    #[inline]
    pub(super) fn worked(&mut self, steps: usize) {
        self.work += steps;
    }

    pub(super) fn work(&self) -> usize {
        self.work
    }

    #[cold]
    fn make_room(&mut self) {
        self.first_id = None;
        if self.keep_all {
            self.many.extend_from_slice(&self.few);
            self.len = 0;
            return;
        }
        self.len = keep_best(self.index, &mut self.few);
        if self.len > GATHERED / 2 {
            self.many.extend_from_slice(&self.few[..self.len]);
            self.len = 0;
            // Between two sorts as many are added as there are locations, so they are sorted seldom.
            if self.many.len() > 2 * self.index.locations.len() + GATHERED {
                let len = keep_best(self.index, &mut self.many);
                self.many.truncate(len);
            }
        }
    }

    /// The best row of each location, in the order of locations.
    pub(super) fn rows(&mut self) -> &[u32] {
        let first = std::mem::take(&mut self.first);
        self.offer_rows_of(first);
        if self.many.is_empty() {
            self.len = keep_best(self.index, &mut self.few[..self.len]);
            return &self.few[..self.len];
        }
        self.many.extend_from_slice(&self.few[..self.len]);
        self.len = 0;
        let len = keep_best(self.index, &mut self.many);
        self.many.truncate(len);
        &self.many
    }

    /// All rows that were offered and not dropped, in order.
    pub(super) fn into_all_rows(mut self) -> Vec<u32> {
        self.many.extend_from_slice(&self.few[..self.len]);
        self.many.sort_unstable();
        self.many
    }

    #[inline]
    pub(super) fn finish(&mut self) -> Resolved<'r> {
        let index = self.index;
        if !self.first.is_empty() {
            if self.len == 0 && self.many.is_empty() {
                return Resolved::of_endings(index, self.first);
            }
            return Resolved::of_rows(index, self.rows());
        }
        if !self.many.is_empty() {
            return Resolved::of_rows(index, self.rows());
        }
        match &mut self.few[..self.len] {
            [] => Resolved(Found::Nothing),
            [row] => {
                let id = self.first_id.unwrap_or_else(|| index.id(*row));
                Resolved::one(index, *row, id)
            }
            rows => {
                let len = keep_best(index, rows);
                Resolved::of_rows(index, &rows[..len])
            }
        }
    }
}

/// Brings the best row of each location to the front, in order, and returns how many these are.
pub(super) fn keep_best(index: &Index, rows: &mut [u32]) -> usize {
    // Rows are in the order of locations, then of precedence.
    rows.sort_unstable();
    let mut kept = 0;
    for i in 0..rows.len() {
        let row = rows[i];
        if kept == 0 || index.location(rows[kept - 1]) != index.location(row) {
            rows[kept] = row;
            kept += 1;
        }
    }
    kept
}

/// What [`Resolver::resolve`](crate::Resolver::resolve) found: a slice of [`Match`]es, one for each location, in the
/// order of locations.
#[derive(Clone)]
pub struct Resolved<'r>(Found<'r>);

/// The matches, in a form for each usual number of them: a lookup writes no more than it found, each match where it
/// stays. A list that is filled in a loop and then copied is read before its parts have reached the cache together,
/// and waiting for that takes as long as a lookup of an exact name.
#[derive(Clone)]
enum Found<'r> {
    Nothing,
    One(Match<'r>),
    Two([Match<'r>; 2]),
    Three([Match<'r>; 3]),
    Four([Match<'r>; 4]),
    Few([Match<'r>; USUAL_LOCATIONS], usize),
    Many(Vec<Match<'r>>),
}

impl<'r> Resolved<'r> {
    #[inline]
    pub(super) fn one(index: &'r Index, row: u32, id: &'r SecretId) -> Resolved<'r> {
        Resolved(Found::One(Match { index, id, row }))
    }

    /// Makes the result from rows in order, one for each location.
    pub(super) fn of_rows(index: &'r Index, rows: &[u32]) -> Resolved<'r> {
        Resolved::of_each(rows, |row| Match::new(index, *row))
    }

    /// Makes the result from endings in order, one for each location.
    pub(super) fn of_endings(index: &'r Index, endings: &[Ending]) -> Resolved<'r> {
        Resolved::of_each(endings, |ending| Match {
            index,
            id: index.id_at(ending.id_at),
            row: ending.row,
        })
    }

    #[inline]
    fn of_each<T>(all: &[T], found: impl Fn(&T) -> Match<'r>) -> Resolved<'r> {
        Resolved(match all {
            [] => Found::Nothing,
            [one] => Found::One(found(one)),
            [a, b] => Found::Two([found(a), found(b)]),
            [a, b, c] => Found::Three([found(a), found(b), found(c)]),
            [a, b, c, d] => Found::Four([found(a), found(b), found(c), found(d)]),
            all => return Resolved::of_more(all, found),
        })
    }

    fn of_more<T>(all: &[T], found: impl Fn(&T) -> Match<'r>) -> Resolved<'r> {
        if all.len() > USUAL_LOCATIONS {
            return Resolved(Found::Many(all.iter().map(found).collect()));
        }
        let last = all.len() - 1;
        let few = std::array::from_fn(|i| found(&all[i.min(last)]));
        Resolved(Found::Few(few, all.len()))
    }

    /// Makes the result from matches in the order of locations.
    pub(super) fn of(found: &[Match<'r>]) -> Resolved<'r> {
        Resolved::of_each(found, |found| *found)
    }

    #[cfg(test)]
    pub(super) fn is_on_the_heap(&self) -> bool {
        matches!(self.0, Found::Many(_))
    }
}

impl<'r> Deref for Resolved<'r> {
    type Target = [Match<'r>];

    #[inline]
    fn deref(&self) -> &[Match<'r>] {
        match &self.0 {
            Found::Nothing => &[],
            Found::One(found) => std::slice::from_ref(found),
            Found::Two(found) => found,
            Found::Three(found) => found,
            Found::Four(found) => found,
            Found::Few(found, len) => &found[..*len],
            Found::Many(found) => found,
        }
    }
}

impl<'a, 'r> IntoIterator for &'a Resolved<'r> {
    type Item = &'a Match<'r>;
    type IntoIter = std::slice::Iter<'a, Match<'r>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Resolved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// A binding that matches a tool.
#[derive(Clone, Copy)]
pub struct Match<'r> {
    index: &'r Index,
    /// The id where the lookup came upon it, since that place is in the cache.
    id: &'r SecretId,
    row: u32,
}

impl<'r> Match<'r> {
    pub(super) fn new(index: &'r Index, row: u32) -> Match<'r> {
        let id = index.id(row);
        Match { index, id, row }
    }

    /// The binding's place in its index.
    pub(super) fn row(&self) -> u32 {
        self.row
    }

    /// Compares by location, then by precedence. The matches may be of different indices.
    pub(super) fn cmp(&self, other: &Match<'_>) -> Ordering {
        let (pattern, other_pattern) = (self.pattern(), other.pattern());
        self.location()
            .cmp(other.location())
            .then_with(|| pattern.cmp_specificity(other_pattern))
            .then_with(|| self.id().cmp(&other.id()))
            .then_with(|| pattern.as_str().cmp(other_pattern.as_str()))
    }

    /// Returns the location that the secret goes into.
    pub fn location(&self) -> &'r Location {
        &self.index.locations[self.index.location(self.row) as usize]
    }

    /// Returns the pattern that matches.
    pub fn pattern(&self) -> &'r ToolPattern {
        &self.index.rows[self.row as usize].pattern
    }

    /// Returns the id of the secret.
    #[inline]
    pub fn id(&self) -> SecretId {
        *self.id
    }
}

impl fmt::Debug for Match<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Match")
            .field("location", self.location())
            .field("pattern", self.pattern())
            .field("id", &self.id())
            .finish()
    }
}
