//! What is found at each key, worked out when the index is built.

use super::{
    best::{Best, keep_best},
    buckets::Own,
    index::{Answer, Holds, Index, Node},
    list::Listed,
    narrow,
    row::{Ending, IN_IDS, NONE, Row, Span},
    sieve::BLOCK,
    words::Kind,
};
use crate::secret::SecretId;

/// The most rows that are found at a key without looking further.
const MERGED: usize = 16;

/// How many steps for each binding it may take to find what wildcard patterns add to exact names.
const LOOKING_UP: usize = 512;

/// Fills in the nodes, their answers, the lists, the ids and the endings. `lists` holds the `own` rows of each node.
pub(super) fn fill(
    index: &mut Index,
    lists: Vec<u32>,
    own: &[Span],
    buckets: &[u32],
    key_rows: &[u32],
    ids: &[SecretId],
) {
    let mut answers = Answers {
        lists,
        found: Vec::new(),
        ids,
    };
    let (mut ends, mut names) = (Vec::new(), Vec::new());
    for (number, node) in (0..).zip(&index.nodes) {
        match node.kind {
            Kind::Exact => names.push(number),
            Kind::Head | Kind::Tail => ends.push(number),
            Kind::None => {}
        }
    }
    end_listed(index, &answers.lists);
    // Shorter keys first, since what is found there is found at the longer ones too.
    ends.sort_unstable_by_key(|number: &u32| index.nodes[*number as usize].len);
    for number in ends {
        let at = number as usize;
        let shorter = shorter(index, &index.nodes[at], key_rows[at]);
        let answer = answers.of_end(index, own[at], buckets[at], shorter);
        answers.put(&mut index.nodes[at], answer, true);
    }
    index.lists = answers.lists.clone().into();
    index.answers = answers.found.clone().into();
    let mut work = LOOKING_UP * index.rows.len();
    for number in names {
        let at = number as usize;
        let name = index.nodes[at].key(key_rows[at], &index.rows);
        let (answer, is_all) = answers.of_name(index, own[at], name, &mut work);
        answers.put(&mut index.nodes[at], answer, is_all);
    }
    index.answers = answers.found.into();
    keep_used(index, &answers.lists);
    place_ids(index, ids);
    place_endings(index);
}

/// The longest other key that the key of this node begins, or ends, with.
fn shorter(index: &Index, node: &Node, row: u32) -> Option<u32> {
    let text = node.key(row, &index.rows);
    let most = text.len().checked_sub(1)?;
    Some(index.longest(node.kind, text, most)).filter(|found| *found != NONE)
}

struct Answers<'i> {
    lists: Vec<u32>,
    found: Vec<Answer>,
    /// The ids of the rows.
    ids: &'i [SecretId],
}

impl Answers<'_> {
    fn of_end(&mut self, index: &Index, own: Span, bucket: u32, shorter: Option<u32>) -> Answer {
        let mut winners = own.of(&self.lists).to_vec();
        best_of_each(index, &mut winners);
        let (mut next, mut beyond) = (NONE, Vec::new());
        if let Some(shorter) = shorter {
            let node = &index.nodes[shorter as usize];
            if node.is_sole() {
                beyond.push(node.value);
            } else {
                let answer = self.found[node.value as usize];
                beyond.extend_from_slice(answer.winners.of(&self.lists));
                next = if answer.bucket == NONE {
                    answer.next
                } else {
                    shorter
                };
            }
            if winners.len() + beyond.len() <= MERGED {
                winners.extend(beyond);
                best_of_each(index, &mut winners);
            } else {
                next = shorter;
            }
        }
        Answer {
            own,
            winners: self.list(own, &winners),
            bucket,
            next,
        }
    }

    /// Also returns whether the winners are those among all patterns, so that a lookup ends here.
    fn of_name(
        &mut self,
        index: &Index,
        own: Span,
        name: &str,
        work: &mut usize,
    ) -> (Answer, bool) {
        let mut best = Best::new(index);
        best.offer_all(own.of(&self.lists));
        let mut is_all = false;
        if *work > 0 {
            let mut all = Best::new(index);
            all.offer_all(own.of(&self.lists));
            index.best_wildcards(name, &mut all);
            *work = work.saturating_sub(all.work());
            is_all = all.rows().len() <= MERGED;
            if is_all {
                best = all;
            }
        }
        let answer = Answer {
            own,
            winners: self.list(own, best.rows()),
            bucket: NONE,
            next: NONE,
        };
        (answer, is_all)
    }

    fn list(&mut self, own: Span, rows: &[u32]) -> Span {
        if own.of(&self.lists) == rows {
            return own;
        }
        let start = narrow(self.lists.len());
        self.lists.extend_from_slice(rows);
        let end = narrow(self.lists.len());
        Span { start, end }
    }

    /// Puts an answer at a node. With `is_all`, a lookup that comes upon it needs no other node except the next one.
    fn put(&mut self, node: &mut Node, answer: Answer, is_all: bool) {
        if let [row] = answer.own.of(&self.lists)
            && answer.winners == answer.own
            && answer.bucket == NONE
            && answer.next == NONE
            && is_all
        {
            (node.holds, node.value, node.id) = (Holds::Row, *row, self.ids[*row as usize]);
        } else {
            if is_all && node.kind == Kind::Exact {
                node.holds = Holds::Endings;
            }
            node.value = narrow(self.found.len());
            self.found.push(answer);
        }
    }
}

/// Keeps the best row of each location.
fn best_of_each(index: &Index, rows: &mut Vec<u32>) {
    let len = keep_best(index, rows);
    rows.truncate(len);
}

/// Keeps those parts of the lists that are looked at: most bindings are the only ones at their nodes, which hold
/// them themselves.
fn keep_used(index: &mut Index, lists: &[u32]) {
    let mut kept = Vec::new();
    let mut keep = |span: &mut Span| {
        let start = narrow(kept.len());
        kept.extend_from_slice(span.of(lists));
        let end = narrow(kept.len());
        *span = Span { start, end };
    };
    for answer in &mut index.answers {
        let are_same = answer.own == answer.winners;
        keep(&mut answer.own);
        if are_same {
            answer.winners = answer.own;
        } else {
            keep(&mut answer.winners);
        }
    }
    for listed in &mut index.inner.list.patterns {
        keep(&mut listed.own);
    }
    for member in &mut index.inner.buckets.members {
        if let Own::Several(rows) = &mut member.own {
            keep(rows);
        }
    }
    index.lists = kept.into();
}

/// Keeps each id once: in the node whose only row it belongs to, or in a list.
fn place_ids(index: &mut Index, ids: &[SecretId]) {
    for (number, node) in (0..).zip(&index.nodes) {
        if node.is_sole() {
            index.rows[node.value as usize].id_at = number;
        }
    }
    let mut others = Vec::new();
    for (row, id) in index.rows.iter_mut().zip(ids) {
        if row.id_at == NONE {
            row.id_at = narrow(others.len()) | IN_IDS;
            others.push(*id);
        }
    }
    index.ids = others.into();
}

/// Makes the endings of listed patterns, in which it is not known yet where the ids are.
fn end_listed(index: &mut Index, lists: &[u32]) {
    let mut list = std::mem::take(&mut index.inner.list);
    let of_own = |listed: &Listed| {
        let mut winners = listed.own.of(lists).to_vec();
        best_of_each(index, &mut winners);
        winners
    };
    let winners: Vec<Vec<u32>> = list.patterns.iter().map(of_own).collect();
    let mut endings = Vec::new();
    for (block, winners) in list.patterns.chunks_mut(BLOCK).zip(winners.chunks(BLOCK)) {
        for (listed, own) in block.iter_mut().zip(winners) {
            let implied = (0..).zip(winners);
            let implied = implied.filter(|(i, _)| listed.implied >> *i & 1 != 0);
            let mut all = own.clone();
            all.extend(implied.flat_map(|(_, rows)| rows).take(MERGED));
            if all.len() <= MERGED {
                best_of_each(index, &mut all);
            } else {
                (listed.implied, all) = (0, own.clone());
            }
            let start = narrow(endings.len());
            endings.extend(all.iter().map(|&row| Ending { row, id_at: NONE }));
            let end = narrow(endings.len());
            listed.endings = Span { start, end };
        }
    }
    index.inner.list = list;
    index.endings = endings.into();
}

/// Fills in where the ids are, in the endings of listed patterns and of members. Then makes the endings of exact names,
/// whose nodes lead to answers until then.
fn place_endings(index: &mut Index) {
    let mut endings = std::mem::take(&mut index.endings).into_vec();
    let ending = |row: u32, rows: &[Row]| Ending {
        row,
        id_at: rows[row as usize].id_at,
    };
    for listed in &mut endings {
        *listed = ending(listed.row, &index.rows);
    }
    for member in &mut index.inner.buckets.members {
        if let Own::One(own) = &mut member.own {
            *own = ending(own.row, &index.rows);
        }
    }
    for node in &mut index.nodes {
        if node.holds != Holds::Endings {
            continue;
        }
        let winners = index.answers[node.value as usize].winners.of(&index.lists);
        let (answer, count) = (node.value, narrow(winners.len()));
        node.value = narrow(endings.len());
        endings.push(Ending {
            row: answer,
            id_at: count,
        });
        endings.extend(winners.iter().map(|&row| ending(row, &index.rows)));
    }
    index.endings = endings.into();
}
