//! The compiled index of wildcard patterns. Its design and worst case are in the parent module's note.

use super::narrow;
use crate::{
    inline::InlineVec,
    pattern::{
        ANY_CHAR, ANY_RUN,
        places::{Places, Set},
    },
};

/// No child, no pattern.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// Wildcard patterns, compiled to find all of those that match a name with no beginning of them looked at twice.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// The root is the first; empty if there are no patterns.
    nodes: Box<[Node]>,
    /// The labels of all nodes, with wildcards as they are written in a pattern.
    labels: Box<[char]>,
    /// The literal children of all nodes; those of one node lie together, in the order of their characters.
    edges: Box<[(char, u32)]>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// What is to be matched between the edge to this node and its end, where its children begin.
    label: (u32, u32),
    edges: (u32, u32),
    /// The child behind a `?`.
    any_char: u32,
    /// The child behind a `*`.
    any_run: u32,
    /// The pattern that ends at the end of this node.
    pattern: u32,
}

impl Node {
    const NEW: Node = Node {
        label: (0, 0),
        edges: (0, 0),
        any_char: NONE,
        any_run: NONE,
        pattern: NONE,
    };
}

impl Trie {
    /// Compiles patterns: their canonical texts, sorted and without repetition, each with the number to report.
    pub(super) fn new(patterns: &[(&str, u32)]) -> Trie {
        debug_assert!(patterns.is_sorted_by(|a, b| a.0 < b.0));
        if patterns.is_empty() {
            return Trie::default();
        }
        let (mut nodes, mut labels, mut edges) = (vec![Node::NEW], Vec::new(), Vec::new());
        // Nodes still to be filled, each from these patterns, which are equal up to the byte at `depth`.
        let mut todo = vec![(ROOT, patterns, 0)];
        while let Some((id, mut patterns, mut depth)) = todo.pop() {
            let mut node = Node::NEW;
            node.label.0 = narrow(labels.len());
            depth += push_common_label(patterns, depth, &mut labels);
            node.label.1 = narrow(labels.len());
            if patterns[0].0.len() == depth {
                node.pattern = patterns[0].1;
                patterns = &patterns[1..];
            }
            node.edges.0 = narrow(edges.len());
            for group in patterns.chunk_by(|a, b| char_at(a.0, depth) == char_at(b.0, depth)) {
                let child = narrow(nodes.len());
                nodes.push(Node::NEW);
                let c = char_at(group[0].0, depth);
                match c {
                    '*' => node.any_run = child,
                    '?' => node.any_char = child,
                    c => edges.push((c, child)),
                }
                todo.push((child, group, depth + c.len_utf8()));
            }
            node.edges.1 = narrow(edges.len());
            nodes[id as usize] = node;
        }
        Trie {
            nodes: nodes.into(),
            labels: labels.into(),
            edges: edges.into(),
        }
    }

    /// Calls `found` with the number of every pattern that matches `name`, once for each, in no order.
    pub(super) fn for_each_match(&self, name: &str, found: impl FnMut(u32)) {
        if let Some((node, rest)) = self.descend(name) {
            Walk::new(self, node, &Places::of(rest), found).run();
        }
    }

    /// Goes down as long as there is one way to go, by literals only: to the node that all patterns that can match are
    /// at or below, and what its label and the rest are to match. `None` if there are no such patterns.
    ///
    /// Most names need not be turned into [`Places`] then, or only a part of them.
    fn descend<'n>(&self, name: &'n str) -> Option<(u32, &'n str)> {
        let (mut id, mut rest) = (ROOT, name);
        loop {
            let node = self.nodes.get(id as usize)?;
            let mut chars = rest.chars();
            for &c in self.label(node) {
                if c == ANY_RUN || c == ANY_CHAR {
                    return Some((id, rest));
                }
                if chars.next() != Some(c) {
                    return None;
                }
            }
            if node.any_run != NONE || node.any_char != NONE {
                return Some((id, rest));
            }
            // No pattern ends here: there is a wildcard in each.
            id = child(self.edges(node), chars.next()?)?;
            rest = chars.as_str();
        }
    }

    fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    fn label(&self, node: &Node) -> &[char] {
        &self.labels[node.label.0 as usize..node.label.1 as usize]
    }

    fn edges(&self, node: &Node) -> &[(char, u32)] {
        &self.edges[node.edges.0 as usize..node.edges.1 as usize]
    }
}

/// Appends what all patterns have in common from `depth` on; returns its length in bytes.
fn push_common_label(patterns: &[(&str, u32)], depth: usize, labels: &mut Vec<char>) -> usize {
    // They are sorted, so what the first and the last have in common is common to all.
    let (first, last) = (patterns[0].0, patterns[patterns.len() - 1].0);
    first[depth..]
        .chars()
        .zip(last[depth..].chars())
        .take_while(|(a, b)| a == b)
        .map(|(c, _)| {
            labels.push(c);
            c.len_utf8()
        })
        .sum()
}

/// The character at the byte `depth`, which is not the end.
fn char_at(text: &str, depth: usize) -> char {
    text[depth..]
        .chars()
        .next()
        .expect("a longer pattern comes after its own beginning")
}

/// The child among `edges` behind `c`.
fn child(edges: &[(char, u32)], c: char) -> Option<u32> {
    let at = edges.binary_search_by_key(&c, |edge| edge.0).ok()?;
    Some(edges[at].1)
}

/// One lookup: every node whose beginning fits the name somewhere, each with the places it leads to.
struct Walk<'t, 'n, F> {
    trie: &'t Trie,
    name: &'n Places,
    found: F,
    /// The places that were come to at the node at hand.
    set: Set,
    /// The nodes that are still to be visited.
    todo: InlineVec<u32, 16>,
    /// For each of these the places behind the edge to it, one set behind the other.
    sets: InlineVec<u64, 16>,
    /// How many nodes were visited.
    #[cfg(test)]
    visited: usize,
}

impl<'t, 'n, F: FnMut(u32)> Walk<'t, 'n, F> {
    /// From the node `start` on, which has to match all of `name`.
    fn new(trie: &'t Trie, start: u32, name: &'n Places, found: F) -> Walk<'t, 'n, F> {
        let set = name.first();
        let mut walk = Walk {
            trie,
            name,
            found,
            set,
            todo: InlineVec::new(NONE),
            sets: InlineVec::new(0),
            #[cfg(test)]
            visited: 0,
        };
        walk.sets.extend_from_slice(&walk.set);
        walk.todo.push(start);
        walk
    }

    fn run(&mut self) {
        while let Some(id) = self.todo.pop() {
            self.visit(self.trie.node(id));
        }
    }

    fn visit(&mut self, node: &'t Node) {
        #[cfg(test)]
        {
            self.visited += 1;
        }
        let rest = self.sets.len() - self.set.len();
        self.set.copy_from_slice(&self.sets[rest..]);
        self.sets.truncate(rest);
        for &c in self.trie.label(node) {
            if !self.name.follow(&mut self.set, c) {
                return;
            }
        }
        if node.pattern != NONE && self.name.is_at_end(&self.set) {
            (self.found)(node.pattern);
        }
        if node.any_run != NONE {
            let rest = self.sets.len();
            self.sets.extend_from_slice(&self.set);
            self.name.go_anywhere(&mut self.sets[rest..]);
            self.todo.push(node.any_run);
        }
        if node.any_char != NONE {
            self.enter(node.any_char, None);
        }
        self.enter_by_literals(self.trie.edges(node));
    }

    /// Enters those of the children behind literals that fit at a place in the set.
    fn enter_by_literals(&mut self, edges: &[(char, u32)]) {
        let places: u32 = self.set.iter().map(|word| word.count_ones()).sum();
        if edges.len() <= places as usize {
            for &(c, child) in edges {
                self.enter(child, Some(c));
            }
            return;
        }
        // Few places and many children: look for the children by what stands at the places.
        let mut set = self.set.clone();
        while let Some(c) = self.name.first_char(&set) {
            self.name.remove(&mut set, c);
            if let Some(child) = child(edges, c) {
                self.enter(child, Some(c));
            }
        }
    }

    /// Enters a child by a character, `None` for `?`, if there is a place in the set where it fits.
    fn enter(&mut self, child: u32, c: Option<char>) {
        let rest = self.sets.len();
        self.sets.extend_from_slice(&self.set);
        if self.name.advance(&mut self.sets[rest..], c) {
            self.todo.push(child);
        } else {
            self.sets.truncate(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(mut texts: Vec<String>) -> Trie {
        texts.sort();
        texts.dedup();
        let patterns: Vec<(&str, u32)> = texts.iter().map(String::as_str).zip(0..).collect();
        Trie::new(&patterns)
    }

    #[test]
    fn common_beginnings_are_kept_once() {
        let texts = [
            "agno__*",
            "agno__jira__*",
            "agno__jira__get_?",
            "agno__linear__*",
        ];
        let trie = trie(texts.map(String::from).to_vec());
        let label: String = trie.label(trie.node(ROOT)).iter().collect();
        assert_eq!(label, "agno__");
        assert!(trie.labels.len() < "agno__jira__get_linear__".len());
        assert_eq!(size_of::<Node>(), 28);
    }

    #[test]
    fn literal_beginnings_are_followed_without_places() {
        let texts = ["ab_c*", "ab_cd?e", "ab_x?", "ab_x?y*"].map(String::from);
        let trie = trie(texts.to_vec());
        let rest = |name: &'static str| trie.descend(name).map(|(_, rest)| rest);
        for miss in ["", "a", "b", "ab_", "ab_d", "éab_c"] {
            assert_eq!(rest(miss), None, "{miss}");
        }
        assert_eq!(rest("ab_c"), Some(""));
        assert_eq!(rest("ab_cde"), Some("de"));
        assert_eq!(rest("ab_xé"), Some("é"), "a label is matched as a whole");
        assert_eq!(
            self::trie(vec!["*a".into(), "ab*".into()]).descend("x"),
            Some((ROOT, "x"))
        );
        assert_eq!(Trie::default().descend("a"), None);
    }

    #[test]
    fn nodes_are_visited_once_and_only_where_they_fit() {
        // Every choice of `a` and `?` matches every other, so all of them are visited, once.
        let trie = trie(
            (0..64)
                .map(|bits: u32| {
                    let part: String = (0..6)
                        .map(|i| if bits >> i & 1 == 0 { 'a' } else { '?' })
                        .collect();
                    format!("*{part}*{part}b")
                })
                .collect(),
        );
        let visited = |name: &str| {
            let places = Places::of(name);
            let mut walk = Walk::new(&trie, ROOT, &places, |_| panic!("there is no `b`"));
            walk.run();
            walk.visited
        };
        let nodes = trie.nodes.len();
        assert_eq!(visited(&"a".repeat(200)), nodes);
        assert!(visited(&"c".repeat(200)) < nodes / 10);
        assert_eq!(visited(""), 1, "the root, which begins with the star");
    }
}
