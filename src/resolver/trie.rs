//! The compiled index of wildcard patterns. Its design and worst case are in the parent module's note.

use super::{inline::InlineVec, narrow};

/// No child, no pattern.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// Wildcard patterns, compiled to find all of those that match a name in one pass over it.
#[derive(Debug, Default)]
pub(super) struct Trie {
    /// The root is the first; empty if there are no patterns.
    nodes: Box<[Node]>,
    /// The labels of all nodes. `None` stands for `?`.
    labels: Box<[Option<char>]>,
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
    /// The child behind a `*`. Its label is empty, and it has no such child itself.
    any_run: u32,
    /// The pattern that ends at the end of this node.
    pattern: u32,
    /// For a node behind a `*` that has another `*` above: its number among these.
    inner_run: u32,
}

impl Node {
    const NEW: Node = Node {
        label: (0, 0),
        edges: (0, 0),
        any_char: NONE,
        any_run: NONE,
        pattern: NONE,
        inner_run: NONE,
    };

    /// Whether one more character can lead on from the end of this node.
    fn has_children(&self) -> bool {
        self.edges.0 < self.edges.1 || self.any_char != NONE
    }
}

impl Trie {
    /// Compiles patterns: their canonical texts, sorted and without repetition, each with the number to report.
    pub(super) fn new(patterns: &[(&str, u32)]) -> Trie {
        debug_assert!(patterns.is_sorted_by(|a, b| a.0 < b.0));
        if patterns.is_empty() {
            return Trie::default();
        }
        let (mut nodes, mut labels, mut edges) = (vec![Node::NEW], Vec::new(), Vec::new());
        let mut inner_runs = 0;
        let mut todo = vec![Todo {
            node: ROOT,
            patterns,
            depth: 0,
            below: Below::Start,
        }];
        while let Some(Todo {
            node: id,
            mut patterns,
            mut depth,
            below,
        }) = todo.pop()
        {
            let mut node = Node::NEW;
            match below {
                Below::Start | Below::Run => {
                    node.label.0 = narrow(labels.len());
                    depth += push_common_label(patterns, depth, &mut labels);
                    node.label.1 = narrow(labels.len());
                }
                Below::FirstRunItself => {}
                Below::InnerRunItself => {
                    node.inner_run = inner_runs;
                    inner_runs += 1;
                }
            }
            let under_run = !matches!(below, Below::Start);
            if patterns[0].0.len() == depth {
                node.pattern = patterns[0].1;
                patterns = &patterns[1..];
            }
            node.edges.0 = narrow(edges.len());
            for group in patterns.chunk_by(|a, b| char_at(a.0, depth) == char_at(b.0, depth)) {
                let child = narrow(nodes.len());
                nodes.push(Node::NEW);
                let c = char_at(group[0].0, depth);
                let below = match c {
                    '*' if under_run => Below::InnerRunItself,
                    '*' => Below::FirstRunItself,
                    _ if under_run => Below::Run,
                    _ => Below::Start,
                };
                match c {
                    '*' => node.any_run = child,
                    '?' => node.any_char = child,
                    c => edges.push((c, child)),
                }
                todo.push(Todo {
                    node: child,
                    patterns: group,
                    depth: depth + c.len_utf8(),
                    below,
                });
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
        if !self.nodes.is_empty() {
            Run::new(self, found).over(name);
        }
    }

    fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    /// The child of `node` behind the character itself.
    fn literal_child(&self, node: &Node, c: char) -> Option<u32> {
        let edges = &self.edges[node.edges.0 as usize..node.edges.1 as usize];
        let at = edges.binary_search_by_key(&c, |edge| edge.0).ok()?;
        Some(edges[at].1)
    }
}

/// A node that is still to be filled: from these patterns, which are equal up to the byte `depth`.
struct Todo<'a> {
    node: u32,
    patterns: &'a [(&'a str, u32)],
    depth: usize,
    below: Below,
}

/// What a node stands behind.
#[derive(Clone, Copy)]
enum Below {
    /// No `*`.
    Start,
    /// A `*` that is not its own edge.
    Run,
    /// A `*` as its own edge, the first on the way from the root.
    FirstRunItself,
    /// A `*` as its own edge, not the first.
    InnerRunItself,
}

/// Appends what all patterns have in common from `depth` on, up to a `*`; returns its length in bytes.
fn push_common_label(
    patterns: &[(&str, u32)],
    depth: usize,
    labels: &mut Vec<Option<char>>,
) -> usize {
    // They are sorted, so what the first and the last have in common is common to all.
    let (first, last) = (patterns[0].0, patterns[patterns.len() - 1].0);
    first[depth..]
        .chars()
        .zip(last[depth..].chars())
        .take_while(|(a, b)| a == b && *a != '*')
        .map(|(c, _)| {
            labels.push((c != '?').then_some(c));
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

/// A way down the trie that fits the name so far: what is left of a node's label.
#[derive(Debug, Clone, Copy)]
struct Thread {
    node: u32,
    at: u32,
    end: u32,
}

impl Thread {
    const NONE: Thread = Thread {
        node: NONE,
        at: 0,
        end: 0,
    };
}

/// One pass over a name.
struct Run<'t, F> {
    trie: &'t Trie,
    found: F,
    threads: InlineVec<Thread, 16>,
    /// The threads behind the character at hand, while it is looked at.
    next: InlineVec<Thread, 16>,
    /// The nodes behind a `*` that was reached. They stay reached for the rest of the name.
    runs: InlineVec<u32, 8>,
    /// Which of the nodes with an `inner_run` were reached, as a bit set that is grown when needed.
    inner_runs: InlineVec<u64, 4>,
}

impl<'t, F: FnMut(u32)> Run<'t, F> {
    fn new(trie: &'t Trie, found: F) -> Run<'t, F> {
        Run {
            trie,
            found,
            threads: InlineVec::new(Thread::NONE),
            next: InlineVec::new(Thread::NONE),
            runs: InlineVec::new(NONE),
            inner_runs: InlineVec::new(0),
        }
    }

    fn over(mut self, name: &str) {
        self.enter(ROOT);
        std::mem::swap(&mut self.threads, &mut self.next);
        for c in name.chars() {
            if self.threads.is_empty() && self.runs.is_empty() {
                return;
            }
            self.step(c);
        }
        for thread in &*self.threads {
            let pattern = self.trie.node(thread.node).pattern;
            if thread.at == thread.end && pattern != NONE {
                (self.found)(pattern);
            }
        }
    }

    fn step(&mut self, c: char) {
        // A `*` that is reached by `c` leads on from the next character.
        let runs = self.runs.len();
        for i in 0..self.threads.len() {
            let Thread { node, at, end } = self.threads[i];
            if at == end {
                self.branch(node, c);
            } else if self.trie.labels[at as usize].is_none_or(|expected| expected == c) {
                self.advance(Thread {
                    node,
                    at: at + 1,
                    end,
                });
            }
        }
        for i in 0..runs {
            self.branch(self.runs[i], c);
        }
        std::mem::swap(&mut self.threads, &mut self.next);
        self.next.clear();
    }

    /// Goes on from the end of a node with `c`.
    fn branch(&mut self, node: u32, c: char) {
        let node = self.trie.node(node);
        if let Some(child) = self.trie.literal_child(node, c) {
            self.enter(child);
        }
        if node.any_char != NONE {
            self.enter(node.any_char);
        }
    }

    fn enter(&mut self, id: u32) {
        let (at, end) = self.trie.node(id).label;
        self.advance(Thread { node: id, at, end });
    }

    fn advance(&mut self, thread: Thread) {
        if thread.at == thread.end {
            let node = self.trie.node(thread.node);
            if node.any_run != NONE {
                self.enter_run(node.any_run);
            }
            if node.pattern == NONE && !node.has_children() {
                return;
            }
        }
        self.next.push(thread);
    }

    fn enter_run(&mut self, id: u32) {
        let node = self.trie.node(id);
        if node.inner_run != NONE && !self.mark(node.inner_run) {
            return;
        }
        if node.pattern != NONE {
            (self.found)(node.pattern);
        }
        if node.has_children() {
            self.runs.push(id);
        }
    }

    /// Whether this is the first time.
    fn mark(&mut self, inner_run: u32) -> bool {
        let (word, bit) = ((inner_run / 64) as usize, 1 << (inner_run % 64));
        while self.inner_runs.len() <= word {
            self.inner_runs.push(0);
        }
        let first = self.inner_runs[word] & bit == 0;
        self.inner_runs[word] |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_beginnings_are_kept_once() {
        let texts = [
            "agno__*",
            "agno__jira__*",
            "agno__jira__get_?",
            "agno__linear__*",
        ];
        let patterns: Vec<(&str, u32)> = texts.into_iter().zip(0..).collect();
        let trie = Trie::new(&patterns);
        let label: String = trie.labels[..trie.node(ROOT).label.1 as usize]
            .iter()
            .map(|c| c.unwrap_or('?'))
            .collect();
        assert_eq!(label, "agno__");
        assert!(trie.labels.len() < "agno__jira__get_linear__".len());
        assert_eq!(size_of::<Node>(), 32);
        assert_eq!(size_of::<Option<char>>(), 4);
    }

    #[test]
    fn threads_never_outnumber_the_distinct_beginnings_of_patterns() {
        // Every choice of `a` and `?` matches every other, and behind the stars all of it stays alive.
        let mut texts: Vec<String> = (0..64)
            .map(|bits: u32| {
                let part: String = (0..6)
                    .map(|i| if bits >> i & 1 == 0 { 'a' } else { '?' })
                    .collect();
                format!("*{part}*{part}b")
            })
            .collect();
        texts.sort();
        let patterns: Vec<(&str, u32)> = texts.iter().map(String::as_str).zip(0..).collect();
        let trie = Trie::new(&patterns);
        let limit = trie.labels.len() + trie.nodes.len();
        let mut run = Run::new(&trie, |_| panic!("there is no `b`"));
        run.enter(ROOT);
        for _ in 0..200 {
            run.step('a');
            assert!(run.threads.len() + run.runs.len() <= limit);
        }
        assert_eq!(run.runs.len(), 65, "each star is reached once");
    }
}
