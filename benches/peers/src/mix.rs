//! The workloads: bindings, and the names that are looked up among them, in several mixes, the same in every run.

use std::collections::HashSet;

use keyward::{Location, SecretId, ToolPattern};
use serde::Deserialize;
use uuid::Uuid;

pub type Binding = (ToolPattern, Location, SecretId);

/// How many names are looked up in turn, so that neither they nor what they lead to stay in the nearest cache.
pub const DRAWS: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Of a hundred bindings, ninety are exact, nine are `prefix*`, and one is of another kind.
    Exact,
    /// Of ten bindings, four are exact, four are `prefix*`, one is `*suffix`, and one has several stars.
    Wildcards,
    /// Stars and single letters, made to match almost everywhere, and names that almost match.
    Hostile,
}

impl Mix {
    pub const ALL: [Mix; 3] = [Mix::Exact, Mix::Wildcards, Mix::Hostile];

    pub fn number(self) -> u8 {
        match self {
            Mix::Exact => 1,
            Mix::Wildcards => 2,
            Mix::Hostile => 3,
        }
    }

    pub fn sizes(self) -> &'static [usize] {
        match self {
            Mix::Exact | Mix::Wildcards => &[10, 100, 1_000, 10_000, 100_000, 1_000_000],
            Mix::Hostile => &[10, 100, 1_000, 10_000],
        }
    }
}

#[derive(Deserialize)]
struct Tool {
    tool: String,
    args: Vec<String>,
}

/// A small generator with a fixed seed (`SplitMix64`).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of<'t>(&mut self, items: &'t [String]) -> &'t String {
        &items[self.below(items.len())]
    }
}

/// Names one after another in memory, as a parser leaves them.
#[derive(Default)]
pub struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    pub fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn first(&self, count: usize) -> Names {
        let ends = self.ends[..count.min(self.len())].to_vec();
        Names {
            text: self.text[..ends.last().copied().unwrap_or(0)].to_owned(),
            ends,
        }
    }

    /// All names, `len` at a time.
    pub fn parts(&self, len: usize) -> Vec<Names> {
        let mut parts: Vec<Names> = Vec::new();
        for (i, name) in self.iter().enumerate() {
            if i % len == 0 {
                parts.push(Names::default());
            }
            if let Some(part) = parts.last_mut() {
                part.push(name);
            }
        }
        parts
    }

    #[inline]
    pub fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }
}

pub struct Workload {
    pub bindings: Vec<Binding>,
    /// Of twenty names, nine have a binding of their own, nine are matched by a wildcard pattern, and two are not
    /// matched by the pattern that they were made from.
    pub names: Names,
    /// Names with a binding of their own.
    pub exact_hits: Names,
}

pub fn workload(mix: Mix, size: usize, draws: usize) -> Workload {
    let tools: Vec<Tool> = serde_json::from_str(include_str!("../../../tests/data/tools.json"))
        .expect("the list of tools is JSON");
    let mut random = Random::new(size as u64 + u64::from(mix.number()));
    let mut maker = Maker {
        tools: &tools,
        size,
        random: &mut random,
    };
    let (mut exact, mut wildcards, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    while bindings.len() < size {
        let age = bindings.len();
        let (pattern, location) = maker.pattern(mix, age);
        if !seen.insert(pattern.clone()) {
            continue;
        }
        bindings.push((
            ToolPattern::new(&pattern).expect("a pattern"),
            Location::new(location).expect("a location"),
            SecretId::new(Uuid::from_u128(age as u128 + 1)),
        ));
        if pattern.contains(['*', '?']) {
            wildcards.push(pattern);
        } else {
            exact.push(pattern);
        }
    }
    let (mut names, mut exact_hits) = (Names::default(), Names::default());
    for i in 0..draws {
        match i % 20 {
            0..9 if !exact.is_empty() => names.push(maker.random.of(&exact)),
            0..18 => {
                let pattern = maker.random.of(&wildcards).clone();
                names.push(&maker.fill(mix, &pattern));
            }
            _ => {
                let pattern = maker.random.of(&wildcards).clone();
                let filled = maker.fill(mix, &pattern);
                names.push(&maker.miss(mix, &filled));
            }
        }
    }
    let mut shuffled = Names::default();
    let mut order: Vec<usize> = (0..names.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, maker.random.below(i + 1));
    }
    for i in order {
        shuffled.push(names.get(i));
    }
    if !exact.is_empty() {
        for _ in 0..draws {
            exact_hits.push(maker.random.of(&exact));
        }
    }
    Workload {
        bindings,
        names: shuffled,
        exact_hits,
    }
}

struct Maker<'t> {
    tools: &'t [Tool],
    size: usize,
    random: &'t mut Random,
}

impl<'t> Maker<'t> {
    fn tool(&mut self) -> &'t Tool {
        &self.tools[self.random.below(self.tools.len())]
    }

    fn pattern(&mut self, mix: Mix, age: usize) -> (String, &'t str) {
        let Tool { tool, args } = self.tool();
        let location = match args.len() {
            0 => "api_key",
            n => &args[self.random.below(n)],
        };
        // In the smallest size the ten bindings are a sample of the mix, instead of being drawn.
        let percent = match (mix, self.size) {
            (_, 10) => age * 10,
            _ => self.random.below(100),
        };
        let (service, action) = self.numbered(tool);
        let number = self.random.below(self.size);
        let pattern = match (mix, percent) {
            (Mix::Exact, 0..90) | (Mix::Wildcards, 0..40) => format!("{service}_{action}"),
            (Mix::Exact, 90..99) | (Mix::Wildcards, 40..80) => self.prefix(&service, action),
            (Mix::Wildcards, 80..90) => format!("*{number}_{action}"),
            (Mix::Wildcards, _) => self.several_stars(&service, action, number),
            (Mix::Exact, _) => match self.random.below(3) {
                0 => format!("*{number}_{action}"),
                1 => self.several_stars(&service, action, number),
                _ => format!("{service}_{action}?"),
            },
            (Mix::Hostile, _) => self.hostile(tool),
        };
        (pattern, location)
    }

    /// The service of a tool, with a number appended if there are many services, and its action.
    fn numbered(&mut self, tool: &'t str) -> (String, &'t str) {
        let (service, action) = tool.rsplit_once("__").unwrap_or_else(|| {
            let (service, action) = tool.split_once('_').unwrap_or((tool, "run"));
            (service, action)
        });
        if self.size <= 100 {
            return (service.to_owned(), action);
        }
        (format!("{service}{}", self.random.below(self.size)), action)
    }

    fn prefix(&mut self, service: &str, action: &str) -> String {
        match self.random.below(3) {
            0 => format!("{service}_{}*", &action[..action.len().div_ceil(2)]),
            _ => format!("{service}_*"),
        }
    }

    fn several_stars(&mut self, service: &str, action: &str, number: usize) -> String {
        let (verb, object) = action.split_once('_').unwrap_or((action, "all"));
        match self.random.below(4) {
            0 => format!("{service}*_{object}*"),
            1 => format!("*{service}_{verb}*"),
            2 => format!("{service}_*_{object}"),
            _ => format!("*_{verb}*{object}{number}*"),
        }
    }

    /// A pattern with stars between letters of a real name, of one kind or another.
    fn hostile(&mut self, tool: &str) -> String {
        let mut pattern = String::from("*");
        match self.random.below(4) {
            // A letter here and there.
            0 => {
                for c in tool.chars() {
                    if self.random.below(3) == 0 {
                        pattern.push(c);
                        pattern.push('*');
                    }
                }
            }
            // The same with `?`, and with the last letter at the end.
            1 => {
                for c in tool.chars() {
                    match self.random.below(5) {
                        0 => pattern.extend(['?', c, '*']),
                        1 => pattern.extend([c, '?', '*']),
                        _ => {}
                    }
                }
                pattern.extend(tool.chars().last());
            }
            // One letter again and again, and another at the end.
            2 => {
                let c = char::from(b'a' + self.random.below(26) as u8);
                for _ in 0..2 + self.random.below(14) {
                    pattern.push(c);
                    pattern.push('*');
                }
                pattern.push(char::from(b'a' + self.random.below(26) as u8));
            }
            // Two letters here and there.
            _ => {
                let chars: Vec<char> = tool.chars().collect();
                for pair in chars.windows(2) {
                    if self.random.below(6) == 0 {
                        pattern.extend(pair);
                        pattern.push('*');
                    }
                }
            }
        }
        pattern
    }

    /// A name that `pattern` matches.
    fn fill(&mut self, mix: Mix, pattern: &str) -> String {
        let mut name = String::new();
        for c in pattern.chars() {
            match c {
                '*' if mix == Mix::Hostile => {
                    for _ in 0..self.random.below(3) {
                        let again = name.chars().last().unwrap_or('a');
                        name.push(again);
                    }
                }
                '*' => {
                    let Tool { tool, .. } = self.tool();
                    name.push_str(tool.rsplit('_').next().unwrap_or("run"));
                }
                '?' => name.push(char::from(b'a' + self.random.below(26) as u8)),
                c => name.push(c),
            }
        }
        name
    }

    /// Almost the name: one letter is replaced, in the first half or, against hostile patterns, anywhere.
    fn miss(&mut self, mix: Mix, name: &str) -> String {
        let mut chars: Vec<char> = name.chars().collect();
        if let Some(last) = chars.len().checked_sub(1) {
            let end = if mix == Mix::Hostile { last } else { last / 2 };
            chars[self.random.below(end + 1)] = 'Q';
        }
        chars.into_iter().collect()
    }
}
