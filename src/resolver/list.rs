//! Patterns that are tried on every name, by their sketches.

use super::{
    best::{Best, Resolved},
    index::Index,
    row::Span,
    sieve::{BLOCK, Bits, FEW, LargeSieve, Set, Sieve, SmallSieve},
    sketch::{Ends, Sketch, View, pairs_in},
};

/// Some patterns, those with more literal characters first.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    pub(super) patterns: Box<[Listed]>,
    /// Their ends.
    ends: Box<[Ends]>,
    /// Tells which of them a name can match.
    sifted: Sifted,
}

/// The sieve of a list.
#[derive(Debug, Clone, Default)]
enum Sifted {
    /// There are no patterns.
    #[default]
    None,
    Small(SmallSieve),
    Large(LargeSieve),
}

/// A pattern, but for its ends.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) sketch: Sketch,
    /// All rows with this pattern.
    pub(super) own: Span,
    /// In the list of endings, the best of each location among them and those of the patterns that are implied.
    pub(super) endings: Span,
    /// The patterns of the same block that match whatever this one matches, and whose winners are among `endings`.
    pub(super) implied: Set,
}

impl List {
    /// Makes a list of patterns, given with their texts, whose winners are not known yet.
    pub(super) fn of(patterns: Vec<(Listed, &str)>) -> List {
        let (mut patterns, texts): (Vec<Listed>, Vec<&str>) = patterns.into_iter().unzip();
        let ends: Box<[Ends]> = texts.iter().copied().map(Ends::of).collect();
        for (number, text) in texts.into_iter().enumerate() {
            patterns[number].implied = implied(number, text, &patterns, &ends);
        }
        let sifted = match ends.len() {
            0 => Sifted::None,
            1..=FEW => Sifted::Small(Sieve::of(&ends)),
            _ => Sifted::Large(Sieve::of(&ends)),
        };
        List {
            patterns: patterns.into(),
            ends,
            sifted,
        }
    }

    /// Asks for what a lookup reads of a short list, for a caller in whose cache it hardly ever is.
    #[inline]
    pub(super) fn prefetch(&self) {
        if let Sifted::Small(sieve) = &self.sifted {
            sieve.prefetch();
        }
    }

    /// The best row of each location, where all patterns are listed.
    #[inline]
    pub(super) fn resolve<'r>(&'r self, index: &'r Index, name: &str) -> Resolved<'r> {
        let mut best = Best::new(index);
        self.try_sifted(index, name, &mut None, &mut best);
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
        self.try_sifted(index, name, pairs, best);
    }

    #[inline]
    fn try_sifted<'r>(
        &'r self,
        index: &'r Index,
        name: &str,
        pairs: &mut Option<u64>,
        best: &mut Best<'r>,
    ) {
        match &self.sifted {
            Sifted::None => {}
            Sifted::Small(sieve) => self.try_left(sieve, index, name, pairs, best),
            Sifted::Large(sieve) => self.try_left(sieve, index, name, pairs, best),
        }
    }

    #[inline]
    fn try_left<'r, B: Bits, const PLACES: usize>(
        &'r self,
        sieve: &Sieve<B, PLACES>,
        index: &'r Index,
        name: &str,
        pairs: &mut Option<u64>,
        best: &mut Best<'r>,
    ) {
        let view = View::new(name);
        sieve.for_each_left(&view, |number| {
            if !self.ends[number].fit(&view) {
                return 0;
            }
            let listed = &self.patterns[number];
            if listed.sketch.fits(&view)
                && (listed.sketch.is_sure() || listed.matches(index, name, pairs))
            {
                listed.offer(index, best)
            } else {
                0
            }
        });
    }
}

impl Listed {
    /// Offers its winners, or all of its rows if all are wanted: a pattern may have very many rows, of which few
    /// win. Returns which other patterns of its block need not be tried any more.
    #[inline]
    fn offer<'r>(&self, index: &'r Index, best: &mut Best<'r>) -> Set {
        if best.keeps_all() {
            best.offer_all(self.own.of(&index.lists));
            return 0;
        }
        let endings = self.endings.of(&index.endings);
        best.worked(endings.len());
        best.offer_endings(endings);
        self.implied
    }

    /// Returns whether it matches a name that fits its sketch and has its ends. Most often these decide alone.
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

/// The patterns of the same block that match every name that the one with this number, and this text, matches, as far
/// as sketches tell: they match its text, in which a wildcard can only stand for their `*`.
fn implied(number: usize, text: &str, patterns: &[Listed], ends: &[Ends]) -> Set {
    let view = View::new(text);
    let block = number / BLOCK * BLOCK;
    let others = patterns
        .iter()
        .zip(ends)
        .enumerate()
        .skip(block)
        .take(BLOCK);
    let implied = others.filter(|(other, (Listed { sketch, .. }, ends))| {
        *other != number && sketch.is_sure() && ends.fit(&view) && sketch.fits(&view)
    });
    implied.fold(0, |implied, (other, _)| implied | 1 << (other - block))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::ToolPattern;

    /// For each of these patterns, the numbers of those that it implies.
    fn implied_by(patterns: &[ToolPattern]) -> Vec<Vec<usize>> {
        let listed = |pattern| Listed {
            sketch: Sketch::of(pattern),
            own: Span::default(),
            endings: Span::default(),
            implied: 0,
        };
        let list = List::of(
            patterns
                .iter()
                .map(|pattern| (listed(pattern), pattern.as_str()))
                .collect(),
        );
        let numbers = |set: Set| (0..BLOCK).filter(move |i| set >> i & 1 != 0);
        let implied = list.patterns.iter().map(|listed| listed.implied);
        implied.map(|set| numbers(set).collect()).collect()
    }

    fn patterns(texts: &[String]) -> Vec<ToolPattern> {
        let pattern = |text: &String| ToolPattern::new(text).unwrap();
        texts.iter().map(pattern).collect()
    }

    #[test]
    fn longer_ends_imply_shorter_ones() {
        let texts = [
            "github_get_*",
            "github_*",
            "*_issue",
            "github_*_issue",
            "git?*",
            "git*",
            "*",
        ];
        let implied = implied_by(&patterns(&texts.map(str::to_owned)));
        let expected: [&[usize]; 7] =
            [&[1, 5, 6], &[5, 6], &[6], &[1, 2, 5, 6], &[5, 6], &[6], &[]];
        assert_eq!(implied, expected);
    }

    proptest! {
        #[test]
        fn what_is_implied_matches(
            texts in prop::collection::vec("[ab]{0,3}[*?][ab]{0,2}[*?]?[ab]{0,3}", 1..12),
            names in prop::collection::vec("[ab]{0,8}", 20),
        ) {
            let patterns = patterns(&texts);
            for (pattern, implied) in patterns.iter().zip(implied_by(&patterns)) {
                for name in names.iter().filter(|name| pattern.matches_by_trying(name)) {
                    for &other in &implied {
                        prop_assert!(patterns[other].matches_by_trying(name), "{} {}", pattern, name);
                    }
                }
            }
        }
    }
}
