//! The rivals. Each is given all patterns by precedence, and is asked for all that match.

use crate::{
    design::{Build, Built, Design, Ranked},
    mix::Binding,
};

/// A rival, and the largest sizes at which it was found to build within some seconds and some gigabytes.
pub struct Peer {
    pub name: &'static str,
    pub build: Build,
    /// The greatest size of each mix that it can handle.
    pub most: [usize; 3],
    /// What prevents larger sizes.
    pub why: &'static str,
}

pub const PEERS: [Peer; 7] = [
    Peer {
        name: "wildmatch",
        build: WildMatches::build,
        most: [1_000_000, 1_000_000, 10_000],
        why: "",
    },
    Peer {
        name: "wildcard",
        build: Wildcards::build,
        most: [1_000_000, 1_000_000, 10_000],
        why: "",
    },
    Peer {
        name: "globset",
        build: GlobSet::build,
        most: [100_000, 1_000, 1_000],
        why: "its regexes take minutes and gigabytes to build, or minutes for a lookup",
    },
    Peer {
        name: "glob-set",
        build: GlobSetLike::build,
        most: [1_000_000, 1_000_000, 0],
        why: "",
    },
    Peer {
        name: "regex RegexSet",
        build: RegexSet::build,
        most: [10_000, 1_000, 100],
        why: "it takes minutes to build, or for a lookup, which falls back to the slowest engine",
    },
    Peer {
        name: "regex-automata dense",
        build: Dense::build,
        most: [1_000, 1_000, 0],
        why: "the automaton takes gigabytes to build",
    },
    Peer {
        name: "regex-automata hybrid",
        build: Hybrid::build,
        most: [10_000, 1_000, 100],
        why: "its cache is given up and built again in every lookup",
    },
];

struct WildMatches(Vec<wildmatch::WildMatch>, Ranked);

impl WildMatches {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let patterns = ranked.patterns(bindings);
        Ok(Box::new(WildMatches(
            patterns.map(wildmatch::WildMatch::new).collect(),
            ranked,
        )))
    }
}

impl Design for WildMatches {
    fn answer(&mut self, name: &str) -> u64 {
        self.1.first_of_each(|at| self.0[at].matches(name))
    }
}

struct Wildcards(Vec<wildcard::Wildcard<'static>>, Ranked);

impl Wildcards {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let patterns = ranked
            .patterns(bindings)
            .map(|text| {
                wildcard::WildcardBuilder::from_owned(text.as_bytes().to_vec())
                    .without_escape()
                    .build()
            })
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        Ok(Box::new(Wildcards(patterns, ranked)))
    }
}

impl Design for Wildcards {
    fn answer(&mut self, name: &str) -> u64 {
        self.1
            .first_of_each(|at| self.0[at].is_match(name.as_bytes()))
    }
}

struct GlobSet(globset::GlobSet, Vec<usize>, Ranked);

impl GlobSet {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let mut builder = globset::GlobSetBuilder::new();
        for text in ranked.patterns(bindings) {
            let glob = globset::GlobBuilder::new(text)
                .backslash_escape(false)
                .build();
            builder.add(glob.map_err(|error| error.to_string())?);
        }
        let set = builder.build().map_err(|error| error.to_string())?;
        Ok(Box::new(GlobSet(set, Vec::new(), ranked)))
    }
}

impl Design for GlobSet {
    fn answer(&mut self, name: &str) -> u64 {
        self.0.matches_into(name, &mut self.1);
        self.2.best_of(self.1.iter().copied())
    }
}

struct GlobSetLike(glob_set::GlobSet, Vec<usize>, Ranked);

impl GlobSetLike {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let mut builder = glob_set::GlobSetBuilder::new();
        for text in ranked.patterns(bindings) {
            builder.add(glob_set::Glob::new(text).map_err(|error| error.to_string())?);
        }
        let set = builder.build().map_err(|error| error.to_string())?;
        Ok(Box::new(GlobSetLike(set, Vec::new(), ranked)))
    }
}

impl Design for GlobSetLike {
    fn answer(&mut self, name: &str) -> u64 {
        self.1.clear();
        self.0.matches_into(name, &mut self.1);
        self.1.sort_unstable();
        self.2.best_of(self.1.iter().copied())
    }
}

/// The pattern as a regular expression for the whole name.
fn regex(pattern: &str) -> String {
    let mut text = String::from(r"(?s)\A");
    for c in pattern.chars() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push_str(r"\z");
    text
}

fn regexes(ranked: &Ranked, bindings: &[Binding]) -> Vec<String> {
    ranked.patterns(bindings).map(regex).collect()
}

struct RegexSet(regex::RegexSet, Ranked);

impl RegexSet {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let set = regex::RegexSetBuilder::new(regexes(&ranked, bindings))
            .size_limit(1 << 30)
            .dfa_size_limit(1 << 28)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Box::new(RegexSet(set, ranked)))
    }
}

impl Design for RegexSet {
    fn answer(&mut self, name: &str) -> u64 {
        self.1.best_of(self.0.matches(name).iter())
    }
}

use regex_automata::{
    Anchored, Input, MatchKind, PatternSet,
    dfa::{Automaton, dense},
    hybrid::dfa,
    nfa::thompson,
};

struct Dense(dense::DFA<Vec<u32>>, PatternSet, Ranked);

impl Dense {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let automaton = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(regex_automata::dfa::StartKind::Anchored)
                    .dfa_size_limit(Some(1 << 26))
                    .determinize_size_limit(Some(1 << 26)),
            )
            .thompson(thompson::Config::new().nfa_size_limit(Some(1 << 30)))
            .build_many(&regexes(&ranked, bindings))
            .map_err(|error| error.to_string())?;
        let found = PatternSet::new(automaton.pattern_len());
        Ok(Box::new(Dense(automaton, found, ranked)))
    }
}

impl Design for Dense {
    fn answer(&mut self, name: &str) -> u64 {
        self.1.clear();
        let input = Input::new(name).anchored(Anchored::Yes);
        self.0
            .try_which_overlapping_matches(&input, &mut self.1)
            .expect("there is nothing at which it could give up");
        self.2
            .best_of(self.1.iter().map(|pattern| pattern.as_usize()))
    }
}

struct Hybrid(dfa::DFA, dfa::Cache, PatternSet, Ranked);

impl Hybrid {
    fn build(bindings: &[Binding]) -> Built {
        let ranked = Ranked::new(bindings);
        let automaton = dfa::Builder::new()
            .configure(
                dfa::Config::new()
                    .match_kind(MatchKind::All)
                    .cache_capacity(1 << 28),
            )
            .thompson(thompson::Config::new().nfa_size_limit(Some(1 << 30)))
            .build_many(&regexes(&ranked, bindings))
            .map_err(|error| error.to_string())?;
        let cache = automaton.create_cache();
        let found = PatternSet::new(automaton.pattern_len());
        Ok(Box::new(Hybrid(automaton, cache, found, ranked)))
    }
}

impl Design for Hybrid {
    fn answer(&mut self, name: &str) -> u64 {
        self.2.clear();
        let input = Input::new(name).anchored(Anchored::Yes);
        self.0
            .try_which_overlapping_matches(&mut self.1, &input, &mut self.2)
            .expect("there is nothing at which it could give up");
        self.3
            .best_of(self.2.iter().map(|pattern| pattern.as_usize()))
    }
}
