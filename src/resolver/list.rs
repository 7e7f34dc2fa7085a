//! Patterns that are tried on every name, by their sketches.

use super::{
    best::{Best, Resolved},
    index::{Index, Span},
    sieve::Sieve,
    sketch::{Sketch, View, pairs_in},
};

/// Up to this many patterns are looked at one by one, without a sieve.
const FEW: usize = 8;

/// Some patterns, in the order of their rows.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) patterns: Box<[Listed]>,
    /// Tells which of them a name can match, if they are not few.
    sieve: Option<Box<Sieve>>,
    /// If they are few, a bit for each whose sketch does not decide alone.
    unsure: u64,
}

/// A pattern with its sketch.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) sketch: Sketch,
    /// All rows with this pattern.
    pub(super) own: Span,
    /// The best of each location among them.
    pub(super) winners: Span,
    /// The same winners in the list of endings, if the list is the answer and has few patterns.
    pub(super) endings: Span,
}

impl List {
    /// Makes a list of patterns whose winners are not known yet.
    pub(super) fn of(patterns: Box<[Listed]>) -> List {
        let sketches: Vec<&Sketch> = patterns.iter().map(|listed| &listed.sketch).collect();
        let few = (0..FEW).zip(&sketches);
        List {
            unsure: few.fold(0, |bits, (i, sketch)| {
                bits | u64::from(!sketch.is_sure()) << i
            }),
            sieve: (sketches.len() > FEW).then(|| Box::new(Sieve::of(&sketches))),
            patterns,
        }
    }

    /// Returns whether the patterns are looked at one by one.
    pub(super) fn is_few(&self) -> bool {
        self.sieve.is_none()
    }

    /// The best row of each location, where all patterns are listed.
    #[inline]
    pub(super) fn resolve<'r>(&'r self, index: &'r Index, name: &str) -> Resolved<'r> {
        let mut pairs = None;
        if let Some(sieve) = &self.sieve {
            let mut best = Best::new(index);
            self.try_left(sieve, index, name, &mut pairs, &mut best);
            return best.finish();
        }
        let mut left = self.matching(index, name, &mut pairs);
        let Some(listed) = self.patterns.get(left.trailing_zeros() as usize) else {
            return Resolved::of_rows(index, &[]);
        };
        left &= left - 1;
        if left == 0 {
            return Resolved::of_endings(index, listed.endings.of(&index.endings));
        }
        let mut best = Best::new(index);
        listed.offer(index, &mut best);
        self.offer(left, index, &mut best);
        best.finish()
    }

    /// Offers the patterns that match. `pairs` are those of the name, once they are known.
    #[inline]
    pub(super) fn try_all<'r>(
        &'r self,
        index: &'r Index,
        name: &str,
        pairs: &mut Option<u64>,
        best: &mut Best<'r>,
    ) {
        best.worked(self.patterns.len() + name.len());
        if let Some(sieve) = &self.sieve {
            self.try_left(sieve, index, name, pairs, best);
        } else if !self.patterns.is_empty() {
            self.offer(self.matching(index, name, pairs), index, best);
        }
    }

    /// The same for many patterns.
    #[inline]
    fn try_left<'r>(
        &'r self,
        sieve: &Sieve,
        index: &'r Index,
        name: &str,
        pairs: &mut Option<u64>,
        best: &mut Best<'r>,
    ) {
        let view = View::new(name);
        sieve.for_each_left(&view, |number| {
            let listed = &self.patterns[number];
            if listed.sketch.fits(&view)
                && (listed.sketch.is_sure() || listed.matches(index, name, pairs))
            {
                listed.offer(index, best);
            }
        });
    }

    /// For few patterns, a bit for each that matches.
    #[inline]
    fn matching(&self, index: &Index, name: &str, pairs: &mut Option<u64>) -> u64 {
        let view = View::new(name);
        // Computed without a branch for each of them.
        let fit = (0..).zip(&self.patterns).fold(0, |fit, (i, listed)| {
            fit | u64::from(listed.sketch.fits(&view)) << i
        });
        if fit & self.unsure == 0 {
            fit
        } else {
            self.confirmed(fit, index, name, pairs)
        }
    }

    /// The patterns that match, of those that fit.
    fn confirmed(&self, mut fit: u64, index: &Index, name: &str, pairs: &mut Option<u64>) -> u64 {
        let mut unsure = fit & self.unsure;
        while unsure != 0 {
            let i = unsure.trailing_zeros();
            unsure &= unsure - 1;
            let matches = self.patterns[i as usize].matches(index, name, pairs);
            fit ^= u64::from(!matches) << i;
        }
        fit
    }

    #[inline]
    fn offer<'r>(&'r self, mut left: u64, index: &'r Index, best: &mut Best<'r>) {
        while left != 0 {
            let listed = &self.patterns[left.trailing_zeros() as usize];
            left &= left - 1;
            listed.offer(index, best);
        }
    }
}

impl Listed {
    /// Offers its winners, or all of its rows if all are wanted: a pattern may have very many rows, of which few
    /// win.
    #[inline]
    fn offer<'r>(&self, index: &'r Index, best: &mut Best<'r>) {
        let rows = if best.keeps_all() {
            self.own
        } else {
            self.winners
        };
        let rows = rows.of(&index.lists);
        best.worked(rows.len());
        best.offer_all(rows);
    }

    /// Returns whether it matches a name that fits. Most sketches decide alone.
    #[inline]
    fn matches(&self, index: &Index, name: &str, pairs: &mut Option<u64>) -> bool {
        let fits = !self.sketch.wants_pairs()
            || self
                .sketch
                .fits_pairs(*pairs.get_or_insert_with(|| pairs_in(name)));
        fits && self.is_confirmed(index, name)
    }

    #[inline(never)]
    fn is_confirmed(&self, index: &Index, name: &str) -> bool {
        let row = self.own.of(&index.lists)[0];
        self.sketch.matches(&index.rows[row as usize].pattern, name)
    }
}
