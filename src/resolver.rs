//! The resolver: from a tool's name to the bindings that match it, by precedence.
//!
//! # Design
//!
//! Everything that can be decided without the name is decided when the resolver is built.
//!
//! * **Precedence is a position.** The bindings are sorted by location, then by precedence. So a binding's index says
//!   all: of two with one location the smaller index wins, and the winners in the order of their indices are in the
//!   order of their locations. Looking up never compares patterns, locations or ids.
//! * **Exact names** are keys of a hash map (`SipHash` with a random seed: who chooses tool names cannot choose
//!   collisions). One lookup, whatever the number of bindings.
//! * **Wildcard patterns** are a compressed trie over their characters (`trie.rs`), in which `?` and `*` are edges of
//!   their own. A name is read once, from left to right, with the set of all places in the trie that fit what was
//!   read. A place behind a `*` stays in the set for good. Bindings with one pattern share a place, and patterns
//!   share the places of their common beginning; the usual set has one or two members.
//! * **What was found** is kept in place up to eight locations, and so are the sets up to sixteen members: the usual
//!   call does not touch the heap.
//!
//! # Worst case
//!
//! For a name of n characters, and wildcard patterns that have P distinct beginnings (at most the sum of their
//! lengths), a lookup takes O(n · P · log F + k · log k) steps, where F is the greatest number of characters that can
//! follow one beginning, and k is the number of bindings that match.
//!
//! The reason: a place in the trie is one beginning of a pattern. It is entered only from its only parent, by one
//! character of the name, hence at most once for each character as long as the parent is in the set at most once. The
//! parent behind a `*` is the one that could be entered again while it is still there; it is marked when it is first
//! reached, and not entered again. So the set never has more than P members, each takes one step for a character, and
//! a step is a comparison, or at a fork a binary search among F edges. Nothing is tried twice, so a name that almost
//! matches costs no more than one that does. The memory is at most proportional to P, and is given back after the call.
//!
//! Trying each pattern by itself (`ToolPattern::matches`) was the alternative. It needs no set, but it costs a try for
//! every pattern that begins with a wildcard, where the trie only pays for those whose next part is under way. It is
//! the better one where thousands of places fit at once, which takes patterns made for it: the set then goes through
//! the cache for every character, and a `*` that is passed by a later one keeps its places alive although nothing
//! depends on them any more. `benches/resolver.rs` measures both, on patterns of the worst kind too.

use std::{collections::HashMap, fmt, ops::Deref, sync::Arc};

use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

use inline::InlineVec;
use trie::Trie;

mod inline;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
mod trie;

/// How many locations a lookup can return without allocating.
const USUAL_LOCATIONS: usize = 8;

/// A compiled, immutable index from a tool's name to the bindings that match it.
///
/// For every location, the binding that goes before the others is, in this order:
///
/// 1. the one with an exact pattern rather than a wildcard pattern;
/// 2. the one with more literal characters in its pattern;
/// 3. the one with fewer `*`, then the one with fewer `?`;
/// 4. the one of the older secret, which has the smaller id.
///
/// Bindings of different locations do not compete.
///
/// ```
/// use keyward::{Location, Resolver, SecretId, ToolPattern};
/// # use uuid::Uuid;
///
/// let api_key = Location::new("api_key")?;
/// let [personal, team] = [1, 2].map(|n| SecretId::new(Uuid::from_u128(n)));
/// let resolver = Resolver::builder()
///     .add(ToolPattern::new("agno__linear__*")?, api_key.clone(), team)
///     .add(ToolPattern::new("agno__linear__create_issue")?, api_key.clone(), personal)
///     .build();
///
/// let resolved = resolver.resolve("agno__linear__create_issue");
/// assert_eq!(resolved.len(), 1);
/// assert_eq!((resolved[0].location(), resolved[0].id()), (&api_key, personal));
///
/// assert_eq!(resolver.resolve("agno__linear__update_issue")[0].id(), team);
/// assert!(resolver.resolve("agno__jira__create_issue").is_empty());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// A clone shares the index, so that it costs nothing to hand one to every thread. A resolver never changes: build
/// another to change the bindings.
///
/// # Cost
///
/// A lookup takes one hash of the name, and one pass over its n characters. With P for the number of distinct
/// beginnings of the wildcard patterns (at most the sum of their lengths in characters), F for the greatest number of
/// characters that follow one beginning, and k for the number of bindings that match, it takes at most
/// O(n · P · log F + k · log k) steps, whatever the patterns and the name, and usually O(n + k).
#[derive(Clone)]
pub struct Resolver(Arc<Index>);

struct Index {
    /// By location, then by precedence.
    bindings: Box<[Binding]>,
    /// In the order of locations.
    locations: Box<[Location]>,
    /// By text, each once.
    patterns: Box<[ToolPattern]>,
    /// For each pattern its bindings, in their order; those of one pattern lie together.
    by_pattern: Box<[u32]>,
    /// For each pattern where its bindings begin in `by_pattern`, and at last where all end.
    starts: Box<[u32]>,
    /// The exact patterns, to their index.
    exact: HashMap<Arc<str>, u32>,
    /// The wildcard patterns, to their index.
    wildcards: Trie,
}

#[derive(PartialEq)]
struct Binding {
    location: u32,
    pattern: u32,
    id: SecretId,
}

impl Resolver {
    /// A builder without bindings.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
    }

    /// The best binding for each location at which one matches, in the order of locations: parents first.
    ///
    /// Does not allocate for up to eight locations, unless very many patterns match the beginning of the name.
    ///
    /// ```
    /// use keyward::{Location, Resolver, SecretId, ToolPattern};
    /// # use uuid::Uuid;
    /// # let [user, password] = [1, 2].map(|n| SecretId::new(Uuid::from_u128(n)));
    ///
    /// let resolver = Resolver::builder()
    ///     .add(ToolPattern::new("smtp_*")?, Location::new("/login/password")?, password)
    ///     .add(ToolPattern::new("smtp_*")?, Location::new("user")?, user)
    ///     .build();
    /// let found: Vec<String> = resolver.resolve("smtp_send").iter().map(|m| m.location().to_string()).collect();
    /// assert_eq!(found, ["/user", "/login/password"]);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn resolve(&self, tool: &str) -> Resolved<'_> {
        let mut best = Best::new(&self.0);
        self.0.for_each_match(tool, |binding| best.offer(binding));
        best.finish()
    }

    /// Every binding that matches, in the order of locations, and for each location best first: what
    /// [`resolve`](Resolver::resolve) chose from.
    ///
    /// ```
    /// use keyward::{Location, Resolver, SecretId, ToolPattern};
    /// # use uuid::Uuid;
    /// # let [a, b] = [1, 2].map(|n| SecretId::new(Uuid::from_u128(n)));
    ///
    /// let resolver = Resolver::builder()
    ///     .add(ToolPattern::new("*")?, Location::new("token")?, a)
    ///     .add(ToolPattern::new("github_*")?, Location::new("token")?, b)
    ///     .build();
    /// let candidates = resolver.candidates("github_get_issue");
    /// assert_eq!(candidates.iter().map(|m| m.pattern().as_str()).collect::<Vec<_>>(), ["github_*", "*"]);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    pub fn candidates(&self, tool: &str) -> Vec<Match<'_>> {
        let mut bindings = Vec::new();
        self.0
            .for_each_match(tool, |binding| bindings.push(binding));
        bindings.sort_unstable();
        let index = &*self.0;
        bindings
            .into_iter()
            .map(|binding| Match { index, binding })
            .collect()
    }

    /// The number of different bindings.
    pub fn len(&self) -> usize {
        self.0.bindings.len()
    }

    /// Whether there is no binding.
    pub fn is_empty(&self) -> bool {
        self.0.bindings.is_empty()
    }
}

/// A resolver without bindings.
impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::builder().build()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("bindings", &self.len())
            .field("locations", &self.0.locations.len())
            .field("patterns", &self.0.patterns.len())
            .finish_non_exhaustive()
    }
}

impl Index {
    /// Calls `found` with the index of every binding that matches `tool`, once for each, in no order.
    fn for_each_match(&self, tool: &str, mut found: impl FnMut(u32)) {
        let mut found_all = |pattern: u32| {
            let pattern = pattern as usize;
            let (start, end) = (self.starts[pattern], self.starts[pattern + 1]);
            for &binding in &self.by_pattern[start as usize..end as usize] {
                found(binding);
            }
        };
        if let Some(&pattern) = self.exact.get(tool) {
            found_all(pattern);
        }
        self.wildcards.for_each_match(tool, found_all);
    }

    fn binding(&self, index: u32) -> &Binding {
        &self.bindings[index as usize]
    }
}

/// Collects the bindings for a [`Resolver`].
///
/// ```
/// use keyward::{Location, Resolver, SecretId, ToolPattern};
/// # use uuid::Uuid;
/// # let ids = [1, 2].map(|n| SecretId::new(Uuid::from_u128(n)));
///
/// let mut builder = Resolver::builder();
/// for (id, tool) in ids.into_iter().zip(["linear_*", "jira_*"]) {
///     builder.add(ToolPattern::new(tool)?, Location::new("api_key")?, id);
/// }
/// assert_eq!(builder.build().len(), 2);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ResolverBuilder {
    bindings: Vec<(ToolPattern, Location, SecretId)>,
}

impl ResolverBuilder {
    /// Adds a binding. The order in which bindings are added is of no account, and one that is added again changes
    /// nothing. Several secrets may be bound to one pattern and location: the oldest wins.
    pub fn add(
        &mut self,
        pattern: ToolPattern,
        location: Location,
        id: SecretId,
    ) -> &mut ResolverBuilder {
        self.bindings.push((pattern, location, id));
        self
    }

    /// Compiles what was added so far. The builder can be used again.
    ///
    /// # Panics
    ///
    /// If there are 2³² - 1 bindings or more, or as many characters in their wildcard patterns.
    pub fn build(&self) -> Resolver {
        let (patterns, pattern_of) = distinct(
            &self.bindings,
            |(pattern, _, _)| pattern,
            |a, b| a.as_str().cmp(b.as_str()),
        );
        let (locations, location_of) =
            distinct(&self.bindings, |(_, location, _)| location, Location::cmp);

        let mut bindings: Vec<Binding> = self
            .bindings
            .iter()
            .zip(pattern_of.iter().zip(&location_of))
            .map(|((_, _, id), (&pattern, &location))| Binding {
                location,
                pattern,
                id: *id,
            })
            .collect();
        // The pattern at last: one id more than once is not decided by any rule, and must not be by chance either.
        bindings.sort_unstable_by_key(|binding| {
            let specificity = patterns[binding.pattern as usize].specificity();
            (binding.location, specificity, binding.id, binding.pattern)
        });
        bindings.dedup();

        let (by_pattern, starts) = group_by_pattern(&bindings, patterns.len());
        let mut exact = HashMap::new();
        let mut wildcards = Vec::new();
        for (pattern, index) in patterns.iter().zip(0..) {
            if pattern.is_exact() {
                exact.insert(pattern.shared_text(), index);
            } else {
                wildcards.push((pattern.as_str(), index));
            }
        }
        exact.shrink_to_fit();
        Resolver(Arc::new(Index {
            wildcards: Trie::new(&wildcards),
            bindings: bindings.into(),
            locations: locations.into(),
            patterns: patterns.into(),
            by_pattern,
            starts,
            exact,
        }))
    }
}

/// The different keys of `items` in their order, and for each item the index of its key.
fn distinct<I, K: Clone>(
    items: &[I],
    key: impl Fn(&I) -> &K,
    cmp: impl Fn(&K, &K) -> std::cmp::Ordering,
) -> (Vec<K>, Vec<u32>) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by(|&a, &b| cmp(key(&items[a]), key(&items[b])));
    let mut keys: Vec<K> = Vec::new();
    let mut index_of = vec![0; items.len()];
    for item in order {
        let new = key(&items[item]);
        if keys.last().is_none_or(|last| cmp(last, new).is_ne()) {
            keys.push(new.clone());
        }
        index_of[item] = narrow(keys.len() - 1);
    }
    (keys, index_of)
}

/// The indices of the bindings, pattern by pattern, and where each pattern's begin.
fn group_by_pattern(bindings: &[Binding], patterns: usize) -> (Box<[u32]>, Box<[u32]>) {
    let mut by_pattern: Vec<u32> = (0..narrow(bindings.len())).collect();
    by_pattern.sort_by_key(|&binding| bindings[binding as usize].pattern);
    let mut starts = vec![0; patterns + 1];
    for binding in bindings {
        starts[binding.pattern as usize + 1] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    (by_pattern.into(), starts.into())
}

/// An index as it is kept. The greatest `u32` is none.
fn narrow(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .filter(|&index| index != u32::MAX)
        .expect("fewer than 2^32 - 1 bindings")
}

/// Gathers the best binding of each location.
struct Best<'r> {
    index: &'r Index,
    /// By location, one for each, until this is on the heap; then all that were offered since, in no order.
    matches: InlineVec<Match<'r>, USUAL_LOCATIONS>,
}

impl<'r> Best<'r> {
    fn new(index: &'r Index) -> Best<'r> {
        let fill = Match { index, binding: 0 };
        Best {
            index,
            matches: InlineVec::new(fill),
        }
    }

    fn offer(&mut self, binding: u32) {
        let new = Match {
            index: self.index,
            binding,
        };
        if self.matches.is_spilled() {
            self.matches.push(new);
            return;
        }
        let location = self.index.binding(binding).location;
        let found = self
            .matches
            .binary_search_by_key(&location, Match::location_index);
        match found {
            Ok(at) if binding < self.matches[at].binding => self.matches[at] = new,
            Ok(_) => {}
            Err(at) => self.matches.insert(at, new),
        }
    }

    fn finish(mut self) -> Resolved<'r> {
        if let Some(matches) = self.matches.spilled_mut() {
            matches.sort_unstable_by_key(|found| found.binding);
            matches.dedup_by_key(|found| found.location_index());
        }
        Resolved(self.matches)
    }
}

/// What [`Resolver::resolve`] found: a slice of [`Match`]es, one for each location, in the order of locations.
#[derive(Clone)]
pub struct Resolved<'r>(InlineVec<Match<'r>, USUAL_LOCATIONS>);

impl<'r> Deref for Resolved<'r> {
    type Target = [Match<'r>];

    fn deref(&self) -> &[Match<'r>] {
        &self.0
    }
}

impl<'a, 'r> IntoIterator for &'a Resolved<'r> {
    type Item = &'a Match<'r>;
    type IntoIter = std::slice::Iter<'a, Match<'r>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Resolved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// A binding that matches a tool.
#[derive(Clone, Copy)]
pub struct Match<'r> {
    index: &'r Index,
    binding: u32,
}

impl<'r> Match<'r> {
    /// Where the secret may go.
    pub fn location(&self) -> &'r Location {
        &self.index.locations[self.location_index() as usize]
    }

    /// The pattern that matches.
    pub fn pattern(&self) -> &'r ToolPattern {
        &self.index.patterns[self.index.binding(self.binding).pattern as usize]
    }

    /// The secret.
    pub fn id(&self) -> SecretId {
        self.index.binding(self.binding).id
    }

    fn location_index(&self) -> u32 {
        self.index.binding(self.binding).location
    }
}

impl fmt::Debug for Match<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Match")
            .field("location", self.location())
            .field("pattern", self.pattern())
            .field("id", &self.id())
            .finish()
    }
}
