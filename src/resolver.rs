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
//! * **Wildcard patterns** are a compressed trie over their characters (`trie.rs`), in which `?` and `*` count as two
//!   more. A lookup goes down the trie, not along the name: with each node it has the set of *all* places in the
//!   name that the beginning of the patterns can have come to, one bit for each (`pattern/places.rs`), and it leaves a
//!   branch when the set is empty. Patterns share the nodes of their common beginning. As long as
//!   literals leave only one way down, it is followed without sets.
//! * **What was found** is kept in place up to eight locations, and the sets are one word for a name of up to 63
//!   characters: the usual call does not touch the heap.
//!
//! # Worst case
//!
//! For a name of n characters, and wildcard patterns that have P distinct beginnings (at most the sum of their
//! lengths), a lookup takes at most
//!
//! > O(P · (n/64 + log n + log F) + n · log n + k · log k)
//!
//! steps, where F is the greatest number of characters that can follow one beginning, and k is the number of bindings
//! that match. For 1,000 patterns of 1,024 characters and a name of 1,024 that is 2²⁰ beginnings of 17 words each, about
//! 18 million operations on words.
//!
//! The reason: each character in the trie, in a label or at an edge, is one distinct beginning of a pattern. A node has
//! one parent and is put on the list when that is visited, so no node is visited twice, whatever the patterns and the
//! name. A character of a label is one step of a set: n/64 + 1 words, and finding where the character stands, which is
//! a table for ASCII and a binary search for the rest. The literal children of a node are either tried one by one, a
//! step for each, or looked up by the characters that stand at the places in the set; the latter only if there are
//! fewer places than children, so it takes no more steps than there are children, each with a binary search among them.
//! At last, n · log n is for collecting where each character of the name stands.
//!
//! Nothing is tried twice, there is no budget to run out of, and a name that almost matches costs no more than one that
//! does. Every node that waits to be visited has a set of its own, and a pattern below it that no other has: with N
//! wildcard patterns, the memory is at most N · (n/64 + 1) words and O(n) for the name. It is given back after the call.
//!
//! There were two alternatives. Going along the name with the set of all places in the trie takes n · P steps: where
//! the patterns are made for it, a place for every beginning is alive at every character, and it is the patterns that
//! are many, not the characters of a name. Trying each pattern by itself (`ToolPattern::matches`) has the same bound as
//! the trie with N · m for P, but pays for each pattern in every lookup, where the trie leaves most of them at once.
//! `benches/resolver.rs` measures the trie and the latter, on patterns of the worst kind too.

use std::{fmt, sync::Arc};

use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

use changes::Changes;
use index::Index;

pub use best::{Match, Resolved};

mod answer;
mod best;
mod build;
mod changes;
mod index;
mod inner;
#[cfg(test)]
mod naive;
mod table;
#[cfg(test)]
mod tests;
mod words;

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
/// A lookup takes one hash of the name, and one walk through an index of the wildcard patterns. With n for the number
/// of characters in the name, P for that of distinct beginnings of the wildcard patterns (at most the sum of their
/// lengths in characters), F for the greatest number of characters that follow one beginning, and k for the number of
/// bindings that match, it takes at most O(P · (n/64 + log n + log F) + n · log n + k · log k) steps, whatever the
/// patterns and the name, and usually O(n + k).
#[derive(Clone)]
pub struct Resolver {
    index: Arc<Index>,
    /// What is different from the index, if anything is.
    changes: Option<Arc<Changes>>,
}

impl Resolver {
    /// A builder without bindings.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
    }

    /// The best binding for each location at which one matches, in the order of locations: parents first.
    ///
    /// Does not allocate for up to eight locations and a name of up to 63 ASCII characters, unless many patterns match
    /// a beginning of the name.
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
        match &self.changes {
            None => self.index.resolve(tool),
            Some(changes) => changes.resolve(&self.index, tool),
        }
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
        match &self.changes {
            None => self.index.candidates(tool),
            Some(changes) => changes.candidates(&self.index, tool),
        }
    }

    /// This resolver without some bindings and with others. It shares most of its memory with this one, and takes a
    /// small part of the time that it takes to build one; this one stays as it is.
    ///
    /// A binding that is removed without being there changes nothing, nor does one that is added again. One that is
    /// both removed and added is there.
    ///
    /// # Cost
    ///
    /// With n bindings, a change takes O(√n) steps most of the time. Once in √n changes, or in 64 if n is small, the
    /// resolver is built anew. Lookups meanwhile take little longer, and somewhat longer for names that a removed
    /// binding would have won.
    ///
    /// ```
    /// use keyward::{Location, Resolver, SecretId, ToolPattern};
    /// # use uuid::Uuid;
    /// # let [team, personal] = [1, 2].map(|n| SecretId::new(Uuid::from_u128(n)));
    ///
    /// let token = Location::new("token")?;
    /// let of_team = (ToolPattern::new("github_*")?, token.clone(), team);
    /// let of_mine = (ToolPattern::new("github_get_issue")?, token, personal);
    /// let resolver = Resolver::default().with_changes([], [of_team, of_mine.clone()]);
    /// assert_eq!(resolver.resolve("github_get_issue")[0].id(), personal);
    ///
    /// let without = resolver.with_changes([of_mine], []);
    /// assert_eq!(without.resolve("github_get_issue")[0].id(), team);
    /// # Ok::<(), keyward::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Like [`ResolverBuilder::build`].
    #[must_use]
    pub fn with_changes(
        &self,
        removed: impl IntoIterator<Item = (ToolPattern, Location, SecretId)>,
        added: impl IntoIterator<Item = (ToolPattern, Location, SecretId)>,
    ) -> Resolver {
        changes::change(self, removed, added)
    }

    /// The number of different bindings.
    pub fn len(&self) -> usize {
        match &self.changes {
            None => self.index.rows.len(),
            Some(changes) => changes.len(&self.index),
        }
    }

    /// Whether there is no binding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
            .finish_non_exhaustive()
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
        Resolver {
            index: Arc::new(build::compile(&self.bindings)),
            changes: None,
        }
    }
}

/// An index as it is kept. The greatest `u32` is none.
fn narrow(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .filter(|&index| index != u32::MAX)
        .expect("fewer than 2^32 - 1 bindings")
}
