//! Compiling bindings into an [`Index`].

use std::collections::HashMap;

use super::{
    answer,
    index::{
        INLINE, Index, Inner, InnerPattern, Ladder, MOST_WORDS, NONE, Node, Row, Span, USUAL_WORDS,
    },
    inner::{GRAMS, Grams, Sketch, grams_of},
    narrow,
    table::{Steps, Table},
    words::{Keys, Kind, WORD, Words, head, tail},
};
use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

/// So many patterns of one kind are tried one by one: it takes less than finding them.
const FEW: usize = 8;

/// The same of patterns that are found by a part anywhere, which takes longer.
const FEW_PARTS: usize = 2;

/// Up to so many, long parts are not worth looking at every place in a name once more.
const MANY_PARTS: usize = 2_000;

/// A bucket of so many patterns is as good as one that is smaller.
const SMALL_BUCKET: u32 = 4;

pub(super) type Binding = (ToolPattern, Location, SecretId);

pub(super) fn compile(bindings: &[Binding]) -> Index {
    let (locations, rows, ids) = sorted(bindings);
    let plan = Plan::of(&rows);
    let mut draft = Draft::new(&rows, &plan);
    let (inner, buckets) = draft.add_patterns(&plan);
    let (heads, tails) = draft.ladders();
    let Draft {
        keys,
        table,
        nodes,
        key_rows,
        own,
        lists,
        longest_exact,
        ..
    } = draft;
    let mut index = Index {
        rows,
        ids: Box::default(),
        locations,
        nodes: nodes.into(),
        table,
        answers: Box::default(),
        lists: Box::default(),
        keys,
        longest_exact,
        heads,
        tails,
        inner,
    };
    answer::fill(&mut index, lists, &own, &buckets, &key_rows, &ids);
    index
}

/// The bindings by location, then by precedence, each once; and their ids.
fn sorted(bindings: &[Binding]) -> (Box<[Location]>, Box<[Row]>, Vec<SecretId>) {
    let mut numbers: HashMap<&Location, u32> = HashMap::new();
    for (_, location, _) in bindings {
        numbers.entry(location).or_insert(0);
    }
    let mut locations: Vec<&Location> = numbers.keys().copied().collect();
    locations.sort_unstable();
    for (number, location) in (0..).zip(&locations) {
        numbers.insert(location, number);
    }
    let mut order: Vec<_> = bindings
        .iter()
        .map(|binding| {
            let (pattern, location, id) = binding;
            (numbers[location], pattern.specificity(), *id, pattern)
        })
        .collect();
    // The pattern at last: one id more than once is not decided by any rule, and must not be by chance either.
    order.sort_unstable_by(|a, b| {
        (a.0, a.1, a.2)
            .cmp(&(b.0, b.1, b.2))
            .then_with(|| a.3.as_str().cmp(b.3.as_str()))
    });
    order.dedup_by(|a, b| (a.0, a.2, a.3) == (b.0, b.2, b.3));
    narrow(order.len());
    let row = |&(location, _, _, pattern): &(u32, _, _, &ToolPattern)| Row {
        pattern: pattern.clone(),
        location,
        id_at: NONE,
    };
    (
        locations.into_iter().cloned().collect(),
        order.iter().map(row).collect(),
        order.iter().map(|(_, _, id, _)| *id).collect(),
    )
}

/// How each pattern is to be found.
struct Plan<'p> {
    /// For each row.
    places: Vec<Place>,
    /// The patterns that are more than one end, or too few of a kind.
    inner: Vec<InnerPlan<'p>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// By the key that it is.
    Key(Kind),
    /// As one of the inner patterns.
    Inner(u32),
}

struct InnerPlan<'p> {
    /// The first row of the pattern.
    row: u32,
    anchor: Anchor<'p>,
}

/// What a pattern that is more than one end is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Anchor<'p> {
    Head(&'p str),
    Tail(&'p str),
    /// A part with the length that has this index in [`GRAMS`].
    Gram(usize, u64),
    /// It is tried on every name.
    Nothing,
}

impl<'p> Plan<'p> {
    fn of(rows: &'p [Row]) -> Plan<'p> {
        let shapes: Vec<Place> = rows.iter().map(|row| shape(&row.pattern)).collect();
        let count = |kind| {
            shapes
                .iter()
                .filter(|place| **place == Place::Key(kind))
                .count()
        };
        let few = [Kind::Head, Kind::Tail].map(|kind| count(kind) <= FEW);
        let mut plan = Plan {
            places: shapes,
            inner: Vec::new(),
        };
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        for (row, place) in (0..).zip(&mut plan.places) {
            let text = rows[row as usize].pattern.as_str();
            let (is_key, stays) = match place {
                Place::Key(Kind::Head) => (true, !few[0] || text.len() == 1),
                Place::Key(Kind::Tail) => (true, !few[1]),
                Place::Key(Kind::Exact) => continue,
                Place::Inner(_) => (false, false),
            };
            if stays {
                continue;
            }
            let number = *numbers.entry(text).or_insert_with(|| {
                let anchor = if is_key {
                    Anchor::Nothing
                } else {
                    Anchor::Head("")
                };
                plan.inner.push(InnerPlan { row, anchor });
                narrow(plan.inner.len() - 1)
            });
            *place = Place::Inner(number);
        }
        plan.choose_anchors(rows);
        plan
    }

    fn choose_anchors(&mut self, rows: &'p [Row]) {
        // Those that were few of their kind keep what they have.
        let open = |inner: &InnerPlan| inner.anchor != Anchor::Nothing;
        let count = self.inner.iter().filter(|inner| open(inner)).count();
        if count <= FEW {
            for inner in &mut self.inner {
                inner.anchor = Anchor::Nothing;
            }
            return;
        }
        let longest = usize::from(count <= MANY_PARTS);
        let mut census: HashMap<Anchor<'_>, u32> = HashMap::new();
        for inner in self.inner.iter().filter(|inner| open(inner)) {
            for anchor in anchors(rows[inner.row as usize].pattern.as_str(), longest) {
                *census.entry(anchor).or_default() += 1;
            }
        }
        let mut by_grams = [0; GRAMS.len()];
        for inner in self.inner.iter_mut().filter(|inner| open(inner)) {
            let text = rows[inner.row as usize].pattern.as_str();
            inner.anchor = anchors(text, longest)
                .min_by_key(|anchor| anchor.rank(census[anchor]))
                .unwrap_or(Anchor::Nothing);
            if let Anchor::Gram(kind, _) = inner.anchor {
                by_grams[kind] += 1;
            }
        }
        // To look for parts takes longer than to try a few patterns.
        for inner in &mut self.inner {
            if let Anchor::Gram(kind, _) = inner.anchor
                && by_grams[kind] <= FEW_PARTS
            {
                inner.anchor = Anchor::Nothing;
            }
        }
    }

    /// Bytes in the longest key.
    fn longest(&self, rows: &[Row]) -> usize {
        let of_rows = self
            .places
            .iter()
            .zip(rows)
            .map(|(place, row)| match place {
                Place::Key(_) => row.pattern.as_str().len(),
                Place::Inner(_) => 0,
            });
        let of_inner = self.inner.iter().map(|inner| match inner.anchor {
            Anchor::Head(text) | Anchor::Tail(text) => text.len(),
            Anchor::Gram(..) | Anchor::Nothing => 0,
        });
        of_rows.chain(of_inner).max().unwrap_or(0)
    }
}

/// The kind of key that a pattern is by itself, if it is one.
fn shape(pattern: &ToolPattern) -> Place {
    let text = pattern.as_str();
    if pattern.is_exact() {
        Place::Key(Kind::Exact)
    } else if head(text).len() + 1 == text.len() && text.ends_with('*') {
        Place::Key(Kind::Head)
    } else if tail(text).len() + 1 == text.len() && text.starts_with('*') {
        Place::Key(Kind::Tail)
    } else {
        Place::Inner(NONE)
    }
}

impl Anchor<'_> {
    /// Less is better, where so many patterns have this one.
    fn rank(&self, patterns: u32) -> (u32, u8) {
        let kind = match self {
            // Names are taken apart for the ends anyway.
            Anchor::Head(_) => 0,
            Anchor::Tail(_) => 1,
            // As few lengths as possible: every place in a name is looked at for each.
            Anchor::Gram(1, _) => 2,
            Anchor::Gram(0, _) => 3,
            Anchor::Gram(..) => 4,
            Anchor::Nothing => 5,
        };
        (patterns.max(SMALL_BUCKET), kind)
    }
}

/// What a pattern could be found by: its ends, and parts of it, of the lengths from `longest` on in [`GRAMS`].
fn anchors(text: &str, longest: usize) -> impl Iterator<Item = Anchor<'_>> {
    let (head, tail) = (head(text), tail(text));
    let ends = [
        (!head.is_empty()).then_some(Anchor::Head(head)),
        (!tail.is_empty()).then_some(Anchor::Tail(tail)),
    ];
    let has = |kind: usize| grams_of(text, GRAMS[kind]).next().is_some();
    // Short parts only where there are no others.
    let short = !has(1);
    let grams = (longest..GRAMS.len())
        .filter(move |kind| *kind < 2 || short)
        .flat_map(move |kind| {
            grams_of(text, GRAMS[kind]).map(move |gram| Anchor::Gram(kind, gram))
        });
    ends.into_iter().flatten().chain(grams)
}

/// What an index is made of, while keys are added.
struct Draft<'p> {
    rows: &'p [Row],
    keys: Keys,
    table: Table,
    nodes: Vec<Node>,
    /// For each node a row that has its key.
    key_rows: Vec<u32>,
    /// For each node the rows of the pattern that is its key.
    own: Vec<Span>,
    lists: Vec<u32>,
    longest_exact: usize,
}

impl<'p> Draft<'p> {
    fn new(rows: &'p [Row], plan: &Plan<'_>) -> Draft<'p> {
        Draft {
            rows,
            keys: Keys::new(plan.longest(rows)),
            // A row adds one key at most.
            table: Table::for_entries(rows.len()),
            nodes: Vec::new(),
            key_rows: Vec::new(),
            own: Vec::new(),
            lists: Vec::new(),
            longest_exact: 0,
        }
    }

    /// Adds what the plan says; returns for each node the bucket of the patterns that are found there.
    fn add_patterns(&mut self, plan: &Plan<'_>) -> (Inner, Vec<Span>) {
        let inner_count = plan.inner.len();
        let mut places: Vec<u32> = Vec::with_capacity(self.rows.len());
        // The inner patterns first, then the nodes.
        for (row, place) in (0..).zip(&plan.places) {
            places.push(match place {
                Place::Inner(number) => *number,
                Place::Key(kind) => narrow(inner_count) + self.node(*kind, row),
            });
        }
        let mut buckets: HashMap<Anchor<'_>, Vec<u32>> = HashMap::new();
        for (number, inner) in (0..).zip(&plan.inner) {
            buckets.entry(inner.anchor).or_default().push(number);
        }
        let at_nodes: Vec<(u32, Vec<u32>)> = plan
            .inner
            .iter()
            .filter_map(|inner| {
                let kind = match inner.anchor {
                    Anchor::Head(_) => Kind::Head,
                    Anchor::Tail(_) => Kind::Tail,
                    Anchor::Gram(..) | Anchor::Nothing => return None,
                };
                Some((self.node(kind, inner.row), buckets.remove(&inner.anchor)?))
            })
            .collect();
        let spans = self.group(&places, inner_count + self.nodes.len());
        self.own = spans[inner_count..].to_vec();

        let mut patterns = Vec::with_capacity(inner_count);
        let mut add = |members: &[u32]| {
            let start = narrow(patterns.len());
            for &member in members {
                let row = plan.inner[member as usize].row;
                patterns.push((
                    InnerPattern {
                        sketch: Sketch::of(&self.rows[row as usize].pattern),
                        row,
                        own: spans[member as usize],
                    },
                    Sketch::features_of(&self.rows[row as usize].pattern),
                ));
            }
            let end = narrow(patterns.len());
            Span { start, end }
        };
        let mut node_buckets = vec![Span::default(); self.nodes.len()];
        for (node, members) in at_nodes {
            node_buckets[node as usize] = add(&members);
        }
        let rest = add(buckets.get(&Anchor::Nothing).map_or(&[], Vec::as_slice));
        let mut by_gram: [Vec<(u64, u32)>; GRAMS.len()] = Default::default();
        let mut gram_buckets = Vec::new();
        for (anchor, members) in &buckets {
            if let Anchor::Gram(kind, gram) = anchor {
                by_gram[*kind].push((*gram, narrow(gram_buckets.len())));
                gram_buckets.push(add(members));
            }
        }
        let odd = self.keys.odd();
        let inner = Inner {
            grams: by_gram.map(|mut buckets| {
                buckets.sort_unstable();
                Grams::new(&buckets, odd)
            }),
            buckets: gram_buckets.into(),
            rest,
            features: patterns.iter().map(|(_, features)| *features).collect(),
            patterns: patterns.into_iter().map(|(pattern, _)| pattern).collect(),
        };
        (inner, node_buckets)
    }

    /// For each place the rows that are at it: a part of `lists`.
    fn group(&mut self, places: &[u32], count: usize) -> Vec<Span> {
        let mut spans = vec![Span::default(); count];
        for &place in places {
            spans[place as usize].end += 1;
        }
        let mut sum = 0;
        for span in &mut spans {
            let len = span.end;
            (span.start, span.end) = (sum, sum);
            sum += len;
        }
        self.lists = vec![0; places.len()];
        for (row, &place) in (0..).zip(places) {
            let span = &mut spans[place as usize];
            self.lists[span.end as usize] = row;
            span.end += 1;
        }
        spans
    }

    /// The node of the key of a kind that is in the pattern of `row`.
    fn node(&mut self, kind: Kind, row: u32) -> u32 {
        let text = kind.key(self.rows[row as usize].pattern.as_str());
        let hash = match kind {
            Kind::Exact => self.keys.hash(text.as_bytes()),
            Kind::Head | Kind::Tail => {
                let words = KeyWords::of(text, kind, &self.keys);
                self.keys.finish(words.sum, text.len(), kind)
            }
        };
        let found = self.table.find(hash, |node| {
            let found = self.key_rows[node as usize];
            self.nodes[node as usize].kind == kind
                && kind.key(self.rows[found as usize].pattern.as_str()) == text
        });
        if let Some(node) = found {
            return node;
        }
        let node = narrow(self.nodes.len());
        self.table.insert(hash, node);
        if kind == Kind::Exact {
            self.longest_exact = self.longest_exact.max(text.len());
        }
        let mut new = Node {
            text: [0; INLINE],
            id: SecretId::new(uuid::Uuid::nil()),
            value: NONE,
            len: u16::try_from(text.len()).expect("a pattern has at most 1,024 characters"),
            kind,
            sole: false,
        };
        match new.text.get_mut(..text.len()) {
            Some(inline) => inline.copy_from_slice(text.as_bytes()),
            None => new.text[..4].copy_from_slice(&row.to_le_bytes()),
        }
        self.nodes.push(new);
        self.key_rows.push(row);
        node
    }

    fn ladders(&self) -> (Ladder, Ladder) {
        (self.ladder(Kind::Head), self.ladder(Kind::Tail))
    }

    fn ladder(&self, kind: Kind) -> Ladder {
        let nodes = || (0..).zip(&self.nodes).filter(|(_, node)| node.kind == kind);
        let mut ladder = Ladder {
            steps: Steps::for_keys(nodes().count()),
            longest: 0,
            root: NONE,
        };
        for (number, _) in nodes() {
            let row = self.key_rows[number as usize] as usize;
            let text = kind.key(self.rows[row].pattern.as_str());
            if text.is_empty() {
                ladder.root = number;
                continue;
            }
            ladder.longest = ladder.longest.max(text.len());
            let words = KeyWords::of(text, kind, &self.keys);
            let (at, rest) = ((text.len() - 1) / WORD, (text.len() - 1) % WORD + 1);
            let step = self.keys.finish_step(words.before_last, at);
            let key = self.keys.finish(words.sum, text.len(), kind);
            ladder.steps.note(step, rest, key);
        }
        ladder
    }
}

/// What is needed of the words of a key.
struct KeyWords {
    sum: u64,
    /// The sum of all but the last word.
    before_last: u64,
}

impl KeyWords {
    fn of(text: &str, kind: Kind, keys: &Keys) -> KeyWords {
        if text.len() <= USUAL_WORDS * WORD {
            KeyWords::by::<USUAL_WORDS>(text, kind, keys)
        } else {
            KeyWords::by::<MOST_WORDS>(text, kind, keys)
        }
    }

    fn by<const N: usize>(text: &str, kind: Kind, keys: &Keys) -> KeyWords {
        let words = Words::<N>::new(text.as_bytes(), kind.end(), keys);
        KeyWords {
            sum: words.sum,
            before_last: words.sums[text.len().saturating_sub(1) / WORD],
        }
    }
}
