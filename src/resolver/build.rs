//! Compiling bindings into an [`Index`].

use std::collections::HashMap;

use super::{
    answer,
    buckets::{BucketsBuilder, MANY, Own},
    grams::{Grams, Run},
    index::{Index, Node},
    inner::Inner,
    ladder::Ladder,
    list::{List, Listed},
    narrow, narrow_len,
    plan::{Anchor, Limits, Place, Plan, shape},
    row::{Ending, NONE, Row, Span},
    sketch::Sketch,
    slots::Slots,
    words::{Keys, Kind},
};
use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

pub(super) type Binding = (ToolPattern, Location, SecretId);

pub(super) fn compile(bindings: &[Binding]) -> Index {
    compile_within(bindings, Limits::USUAL)
}

/// Compiles with these limits, which are [`Limits::USUAL`] except in tests.
pub(super) fn compile_within(bindings: &[Binding], limits: Limits) -> Index {
    let Sorted {
        locations,
        rows,
        ids,
        shapes,
    } = Sorted::of(bindings);
    let mut plan = Plan::of(&rows, &shapes, limits);
    let longest = plan.longest(&rows);
    let mut draws = 0;
    // The hashes are random. Those of up to 255 keys often cannot be kept apart in the simple ways, so these are only
    // tried at first; those of more keys seldom fail, unless these are hundreds of thousands of beginnings or ends that
    // were chosen for it. No two exact names have the same hash whatever is drawn.
    let (draft, (inner, buckets)) = loop {
        if draws == limits.draws {
            let all = Limits {
                few: usize::MAX,
                listed: usize::MAX,
                ..limits
            };
            plan = Plan::of(&rows, &shapes, all);
        }
        let perfect = draws >= limits.draws / 2;
        draws += 1;
        let keys = Keys::new(longest);
        if let Some(draft) = Draft::of(&rows, &plan, keys, perfect)
            && let Some(inner) = draft.inner(&plan)
        {
            break (draft, inner);
        }
    };
    let [heads, tails] = [Kind::Head, Kind::Tail].map(|kind| draft.ladder(kind));
    let longest_exact = draft.longest_exact();
    let inner_count = plan.inner.len();
    let Draft {
        keys,
        slots,
        nodes,
        key_rows,
        spans,
        lists,
        ..
    } = draft;
    let is_list = !heads.is_used() && !tails.is_used() && inner.is_list();
    let mut index = Index {
        rows,
        ids: Box::default(),
        locations,
        nodes,
        slots,
        answers: Box::default(),
        endings: Box::default(),
        lists: Box::default(),
        keys,
        longest_exact,
        heads,
        tails,
        inner,
        is_list,
    };
    answer::fill(
        &mut index,
        lists,
        &spans[inner_count..],
        &buckets,
        &key_rows,
        &ids,
    );
    index
}

/// The bindings, each once, sorted by location, then by precedence.
struct Sorted {
    locations: Box<[Location]>,
    rows: Box<[Row]>,
    /// The ids of the rows.
    ids: Vec<SecretId>,
    shapes: Vec<Kind>,
}

impl Sorted {
    fn of(bindings: &[Binding]) -> Sorted {
        // Each copy of a location is read once: there can be as many of them in memory as bindings.
        let mut seen: HashMap<&Location, usize> = HashMap::new();
        let first_seen: Vec<usize> = bindings
            .iter()
            .map(|(_, location, _)| {
                let count = seen.len();
                *seen.entry(location).or_insert(count)
            })
            .collect();
        let mut locations: Vec<(&Location, usize)> = seen.into_iter().collect();
        locations.sort_unstable();
        let mut numbers = vec![0; locations.len()];
        for (number, (_, seen)) in (0..).zip(&locations) {
            numbers[*seen] = number;
        }
        let mut order: Vec<_> = bindings
            .iter()
            .zip(first_seen)
            .map(|((pattern, _, id), seen)| {
                // Here the texts are read in the order in which they are likely to lie in memory.
                let shape = shape(pattern);
                (numbers[seen], pattern.specificity(), *id, pattern, shape)
            })
            .collect();
        // The pattern comes last: no rule decides between bindings of one id, and chance must not either.
        order.sort_unstable_by(|a, b| {
            (a.0, a.1, a.2)
                .cmp(&(b.0, b.1, b.2))
                .then_with(|| a.3.as_str().cmp(b.3.as_str()))
        });
        order.dedup_by(|a, b| (a.0, a.2, a.3) == (b.0, b.2, b.3));
        narrow(order.len());
        let row = |&(location, _, _, pattern, _): &(u32, _, _, &ToolPattern, _)| Row {
            pattern: pattern.clone(),
            location,
            id_at: NONE,
        };
        let locations = locations.into_iter().map(|(location, _)| location.clone());
        Sorted {
            locations: locations.collect(),
            rows: order.iter().map(row).collect(),
            ids: order.iter().map(|(_, _, id, ..)| *id).collect(),
            shapes: order.iter().map(|(.., shape)| *shape).collect(),
        }
    }
}

/// The parts of an index while it is built.
struct Draft<'p> {
    rows: &'p [Row],
    keys: Keys,
    slots: Slots,
    nodes: Box<[Node]>,
    /// For each node, a row whose pattern has its key.
    key_rows: Vec<u32>,
    /// Nodes, and the inner patterns that are found there.
    at_nodes: Vec<(usize, Vec<u32>)>,
    /// For each inner pattern, and then for each node, the part of `lists` with its rows.
    spans: Vec<Span>,
    lists: Vec<u32>,
}

/// A key, and the row or inner pattern that is found by it.
struct Entry {
    hash: u64,
    kind: Kind,
    /// A row that has the key in its pattern.
    row: u32,
    /// The inner pattern, or `NONE` if the row is found by the key.
    inner: u32,
}

impl<'p> Draft<'p> {
    fn of(rows: &'p [Row], plan: &Plan<'_>, keys: Keys, perfect: bool) -> Option<Draft<'p>> {
        let mut entries = entries(rows, plan, &keys);
        entries.sort_unstable_by_key(|entry| (entry.hash, entry.row));
        let hashes: Vec<u64> = entries
            .chunk_by(|a, b| a.hash == b.hash)
            .map(|same| same[0].hash)
            .collect();
        let slots = Slots::of(&hashes, perfect)?;
        let count = slots.len();
        let mut draft = Draft {
            rows,
            keys,
            slots,
            nodes: vec![Node::EMPTY; count].into(),
            key_rows: vec![NONE; count],
            at_nodes: Vec::new(),
            spans: Vec::new(),
            lists: Vec::new(),
        };
        let inner_count = narrow(plan.inner.len());
        let mut places: Vec<u32> = plan
            .places
            .iter()
            .map(|place| match place {
                Place::Inner(number) => *number,
                Place::Key(_) => NONE,
            })
            .collect();
        for same in entries.chunk_by(|a, b| a.hash == b.hash) {
            let key = |entry: &Entry| {
                (
                    entry.kind,
                    entry.kind.key(rows[entry.row as usize].pattern.as_str()),
                )
            };
            let ((kind, text), row) = (key(&same[0]), same[0].row);
            if same.iter().any(|entry| key(entry) != (kind, text)) {
                return None;
            }
            let slot = draft.slots.find(same[0].hash);
            let slot = slot.expect("each key has one");
            draft.nodes[slot] = node(kind, text, row);
            draft.key_rows[slot] = row;
            let mut members = Vec::new();
            for entry in same {
                if entry.inner == NONE {
                    places[entry.row as usize] = inner_count + narrow(slot);
                } else {
                    members.push(entry.inner);
                }
            }
            if !members.is_empty() {
                draft.at_nodes.push((slot, members));
            }
        }
        draft.group(&places, plan.inner.len() + count);
        Some(draft)
    }

    /// Lists the rows of each place.
    fn group(&mut self, places: &[u32], count: usize) {
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
        self.spans = spans;
    }

    /// Builds the inner patterns; also returns the bucket at each node. `None` if other hashes have to be chosen.
    fn inner(&self, plan: &Plan<'_>) -> Option<(Inner, Vec<u32>)> {
        let text = |number: u32| {
            let row = plan.inner[number as usize].row;
            &self.rows[row as usize].pattern
        };
        let mut buckets = BucketsBuilder::default();
        let mut bucket = |numbers: &mut dyn Iterator<Item = u32>| {
            let member = |number: u32| (text(number).as_str(), self.own(number));
            let patterns: Vec<(&str, Own)> = numbers.map(member).collect();
            buckets.add(&patterns)
        };
        let mut at_nodes = vec![NONE; self.nodes.len()];
        for (node, numbers) in &self.at_nodes {
            at_nodes[*node] = bucket(&mut numbers.iter().copied());
        }
        let mut rest = Vec::new();
        let mut by_run: Vec<(&Run, u32)> = Vec::new();
        for (number, inner) in (0..).zip(&plan.inner) {
            match inner.anchor {
                Anchor::Key(..) => {}
                Anchor::Nothing => rest.push(number),
                Anchor::Run(run) => by_run.push((run, number)),
            }
        }
        by_run.sort_unstable();
        let mut runs = Vec::new();
        for same in by_run.chunk_by(|a, b| a.0 == b.0) {
            runs.push((
                *same[0].0,
                bucket(&mut same.iter().map(|(_, number)| *number)),
            ));
        }
        // A sketch says little about a pattern without ends. A few of those are listed only where nothing else is looked
        // for, so that the list is the answer.
        let is_endless = |number: &u32| !Sketch::of(text(*number)).is_selective();
        let is_list = runs.is_empty() && !plan.has_ends();
        let enough = if is_list { MANY } else { 1 };
        let mut endless = NONE;
        if rest.iter().filter(|number| is_endless(number)).count() >= enough {
            endless = bucket(&mut rest.extract_if(.., |number| is_endless(number)));
        }
        let inner = Inner {
            grams: match &*runs {
                [] => None,
                runs => Some(Box::new(Grams::of(runs, &self.keys)?)),
            },
            endless,
            list: self.list(&rest, text),
            buckets: buckets.build(),
        };
        Some((inner, at_nodes))
    }

    /// The rows with an inner pattern. Where the id of a single one is is not known yet.
    fn own(&self, number: u32) -> Own {
        let span = self.spans[number as usize];
        match span.of(&self.lists) {
            [row] => Own::One(Ending {
                row: *row,
                id_at: NONE,
            }),
            _ => Own::Several(span),
        }
    }

    /// Builds a list of these inner patterns.
    fn list<'r>(&self, numbers: &[u32], text: impl Fn(u32) -> &'r ToolPattern) -> List {
        let mut numbers = numbers.to_vec();
        // A pattern that implies another one has more literal characters.
        numbers.sort_by_cached_key(|number| text(*number).specificity());
        let listed = |number: u32| {
            let listed = Listed {
                sketch: Sketch::of(text(number)),
                own: self.spans[number as usize],
                endings: Span::default(),
                implied: 0,
            };
            (listed, text(number).as_str())
        };
        List::of(numbers.into_iter().map(listed).collect())
    }

    fn longest_exact(&self) -> usize {
        let exact = self.nodes.iter().filter(|node| node.kind == Kind::Exact);
        exact.map(|node| usize::from(node.len)).max().unwrap_or(0)
    }

    fn ladder(&self, kind: Kind) -> Ladder {
        let nodes = || (0..).zip(&self.nodes).filter(|(_, node)| node.kind == kind);
        let mut ladder = Ladder::for_keys(nodes().count());
        for (number, node) in nodes() {
            if node.len == 0 {
                ladder.root = number;
                continue;
            }
            let text = node.key(self.key_rows[number as usize], self.rows);
            ladder.note(text.as_bytes(), kind.end(), &self.keys);
        }
        ladder
    }
}

fn entries(rows: &[Row], plan: &Plan<'_>, keys: &Keys) -> Vec<Entry> {
    let entry = |kind: Kind, row: u32, inner: u32| {
        let text = kind.key(rows[row as usize].pattern.as_str()).as_bytes();
        Entry {
            hash: keys.of_key(text, kind),
            kind,
            row,
            inner,
        }
    };
    let mut entries = Vec::with_capacity(rows.len());
    for (row, place) in (0..).zip(&plan.places) {
        if let Place::Key(kind) = place {
            entries.push(entry(*kind, row, NONE));
        }
    }
    for (number, inner) in (0..).zip(&plan.inner) {
        if let Anchor::Key(kind, _) = inner.anchor {
            entries.push(entry(kind, inner.row, number));
        }
    }
    entries
}

/// The node of a key before it is known what is found there.
fn node(kind: Kind, key: &str, row: u32) -> Node {
    let mut node = Node {
        kind,
        len: narrow_len(key.len()),
        ..Node::EMPTY
    };
    match node.text.get_mut(..key.len()) {
        Some(text) => text.copy_from_slice(key.as_bytes()),
        None => node.text[..4].copy_from_slice(&row.to_le_bytes()),
    }
    node
}
