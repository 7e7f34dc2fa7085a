//! How each pattern of an index is to be found.

use std::collections::{HashMap, HashSet};

use super::{
    grams::{ROW, Run, literals_of, parts_of},
    narrow,
    perfect::scaled,
    row::Row,
    words::{Kind, SPREAD, head, tail},
};
use crate::pattern::ToolPattern;

/// Up to how many patterns are listed, which takes less time than finding them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// If at most this many have wildcards, all of them are listed, whatever their form.
    pub(super) few: usize,
    /// If at most this many have wildcards, the ones that have a beginning or an end are listed.
    pub(super) listed: usize,
    /// If more have wildcards, those of the form `prefix*` are listed if they are at most this many, and so are
    /// those of the form `*suffix`.
    pub(super) few_of_a_kind: usize,
    /// If hashes were drawn this often and none kept the keys apart, all patterns with wildcards are listed.
    pub(super) draws: usize,
}

impl Limits {
    pub(super) const USUAL: Limits = Limits {
        few: 16,
        listed: 256,
        few_of_a_kind: 8,
        draws: 16,
    };
}

/// At least this many patterns with an end in common are found by it, so that they are tried all at once.
const MANY_ALIKE: u32 = 8;

/// How many patterns tell which parts are frequent.
const SAMPLE: usize = 128;

/// A bucket of this many patterns is as good as a smaller one.
const SMALL_BUCKET: u32 = 4;

pub(super) struct Plan<'p> {
    /// For each row, how it is found.
    pub(super) places: Vec<Place>,
    /// The patterns that are more than one end, or too few of a kind, in the order of their rows.
    pub(super) inner: Vec<InnerPlan<'p>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// By the key that its pattern is.
    Key(Kind),
    /// As one of the inner patterns.
    Inner(u32),
}

pub(super) struct InnerPlan<'p> {
    /// The first row of the pattern.
    pub(super) row: u32,
    pub(super) anchor: Anchor<'p>,
}

/// What an inner pattern is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor<'p> {
    /// The literals that it begins with, or ends with.
    Key(Kind, &'p str),
    /// A run that it holds.
    Run(&'p Run),
    /// It is tried on every name.
    Nothing,
}

impl<'p> Plan<'p> {
    /// Plans for rows; `shapes` has for each row the kind of key that its pattern is.
    pub(super) fn of(rows: &'p [Row], shapes: &[Kind], limits: Limits) -> Plan<'p> {
        let place = |kind: &Kind| match kind {
            Kind::None => Place::Inner(u32::MAX),
            kind => Place::Key(*kind),
        };
        let mut plan = Plan {
            places: shapes.iter().map(place).collect(),
            inner: Vec::new(),
        };
        let at_most = |limit, wanted: &dyn Fn(&Place) -> bool| {
            let rows = rows.iter().zip(&plan.places);
            are_at_most(
                limit,
                rows.filter(|(_, place)| wanted(place)).map(|(row, _)| row),
            )
        };
        let is_wildcard = |place: &Place| *place != Place::Key(Kind::Exact);
        let few = at_most(limits.few, &is_wildcard);
        let is_listed = at_most(limits.listed, &is_wildcard);
        let few_of =
            |kind| is_listed || at_most(limits.few_of_a_kind, &|place| *place == Place::Key(kind));
        let (few_heads, few_tails) = (few_of(Kind::Head), few_of(Kind::Tail));
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut undecided = Vec::new();
        for (row, place) in (0..).zip(&mut plan.places) {
            let text = rows[row as usize].pattern.as_str();
            let is_key = match place {
                Place::Key(Kind::Head) if !few_heads => continue,
                Place::Key(Kind::Tail) if !few_tails => continue,
                Place::Key(Kind::Head | Kind::Tail) => true,
                Place::Key(_) => continue,
                Place::Inner(_) => false,
            };
            let number = *numbers.entry(text).or_insert_with(|| {
                let number = plan.inner.len();
                let anchor = Anchor::Nothing;
                plan.inner.push(InnerPlan { row, anchor });
                if !few && !is_key {
                    undecided.push(number);
                }
                narrow(number)
            });
            *place = Place::Inner(number);
        }
        plan.choose_anchors(rows, &undecided, is_listed);
        plan
    }

    /// Chooses the anchors of these inner patterns. With `is_listed`, those that share their best end with few
    /// others are listed instead.
    fn choose_anchors(&mut self, rows: &'p [Row], numbers: &[usize], is_listed: bool) {
        let text = |inner: &InnerPlan<'_>| rows[inner.row as usize].pattern.as_str();
        let texts = numbers.iter().map(|number| text(&self.inner[*number]));
        let choices = Choices::of(rows, texts);
        for number in numbers {
            let inner = &mut self.inner[*number];
            inner.anchor = match choices.best_of(text(inner)) {
                Anchor::Key(kind, key) if is_listed && choices.keys[&(kind, key)] < MANY_ALIKE => {
                    Anchor::Nothing
                }
                anchor => anchor,
            };
        }
    }

    /// Returns whether there are keys that are the ends of patterns.
    pub(super) fn has_ends(&self) -> bool {
        let is_end = |place: &Place| matches!(place, Place::Key(Kind::Head | Kind::Tail));
        self.places.iter().any(is_end)
            || self
                .inner
                .iter()
                .any(|inner| matches!(inner.anchor, Anchor::Key(..)))
    }

    /// An upper bound for the bytes in the longest key.
    pub(super) fn longest(&self, rows: &[Row]) -> usize {
        let of_rows = self
            .places
            .iter()
            .zip(rows)
            .map(|(place, row)| match place {
                Place::Key(_) => row.pattern.as_str().len(),
                Place::Inner(_) => 0,
            });
        let of_inner = self.inner.iter().map(|inner| match inner.anchor {
            Anchor::Key(_, text) => text.len(),
            Anchor::Run(_) | Anchor::Nothing => 0,
        });
        of_rows.chain(of_inner).max().unwrap_or(0)
    }
}

/// Whether these rows have at most `limit` different patterns.
fn are_at_most<'r>(limit: usize, mut rows: impl Iterator<Item = &'r Row> + Clone) -> bool {
    let mut seen = HashSet::new();
    let is_one_too_many = |row: &'r Row| seen.insert(row.pattern.as_str()) && seen.len() > limit;
    rows.clone().nth(limit).is_none() || !rows.any(is_one_too_many)
}

/// The kind of key that a pattern is by itself.
pub(super) fn shape(pattern: &ToolPattern) -> Kind {
    let text = pattern.as_str();
    let head = head(text).len();
    if head == text.len() {
        Kind::Exact
    } else if head + 1 == text.len() && text.ends_with('*') {
        Kind::Head
    } else if tail(text).len() + 1 == text.len() && text.starts_with('*') {
        Kind::Tail
    } else {
        Kind::None
    }
}

/// How many patterns could be found by each key and each part.
struct Choices<'p> {
    keys: HashMap<(Kind, &'p str), u32>,
    /// How often each part is in the patterns.
    parts: Counts,
    /// How often each part is in a sample of all patterns: what is frequent there is frequent in names.
    usual: Counts,
}

impl<'p> Choices<'p> {
    fn of(rows: &[Row], patterns: impl Iterator<Item = &'p str>) -> Choices<'p> {
        let (mut keys, mut parts) = (HashMap::new(), Vec::new());
        for text in patterns {
            for key in ends(text) {
                *keys.entry(key).or_default() += 1;
            }
            parts.extend(literals_of(text).flat_map(parts_of));
        }
        let mut usual = Vec::new();
        if !parts.is_empty() {
            let sample = rows.iter().step_by(rows.len() / SAMPLE + 1);
            let literals = sample.flat_map(|row| literals_of(row.pattern.as_str()));
            usual.extend(literals.flat_map(parts_of));
        }
        Choices {
            keys,
            parts: Counts::of(&parts),
            usual: Counts::of(&usual),
        }
    }

    /// The anchor that the fewest other patterns have. Among equally good ones an end goes first, since names are
    /// taken apart for the ends anyway, then what is seldom in names.
    fn best_of(&self, text: &'p str) -> Anchor<'p> {
        let keys = ends(text).map(|key| (self.keys[&key], 0, Anchor::Key(key.0, key.1)));
        let runs = literals_of(text).flat_map(|literals| {
            let counts: Vec<(u32, u32)> = parts_of(literals)
                .map(|part| (self.parts.get(part), self.usual.get(part)))
                .collect();
            literals.array_windows().enumerate().map(move |(at, run)| {
                let counts = &counts[at..at + ROW];
                let patterns = counts.iter().map(|(patterns, _)| *patterns).max();
                let usual: u32 = counts.iter().map(|(_, usual)| *usual).sum();
                (patterns.unwrap_or(0), 1 + usual, Anchor::Run(run))
            })
        });
        keys.chain(runs)
            .min_by_key(|(patterns, usual, _)| (*patterns.max(&SMALL_BUCKET), *usual))
            .map_or(Anchor::Nothing, |(.., anchor)| anchor)
    }
}

/// How often each part occurs. Parts that share a place are counted together, which makes a choice worse, not wrong.
struct Counts(Box<[u32]>);

impl Counts {
    fn of(parts: &[u32]) -> Counts {
        let mut counts = Counts(vec![0; 2 * parts.len() + 1].into());
        for part in parts {
            let count = &mut counts.0[place(*part, 2 * parts.len() + 1)];
            *count = count.saturating_add(1);
        }
        counts
    }

    fn get(&self, part: u32) -> u32 {
        self.0[place(part, self.0.len())]
    }
}

/// The place, of `places`, where a part is counted.
fn place(part: u32, places: usize) -> usize {
    scaled(u64::from(part).wrapping_mul(SPREAD), places)
}

/// The literal beginning and end of a pattern, as far as it has them.
fn ends(text: &str) -> impl Iterator<Item = (Kind, &str)> {
    [(Kind::Head, head(text)), (Kind::Tail, tail(text))]
        .into_iter()
        .filter(|(_, key)| !key.is_empty())
}
