//! The resolver: from a tool's name to the bindings that match it, by precedence.
//!
//! # Design
//!
//! Everything that can be decided without the name is decided when the resolver is built.
//!
//! * **Precedence is a position.** The bindings are the rows of a table, by location, then by precedence. So the number
//!   of a row says all: of two with one location the smaller one wins, and the winners in the order of their numbers are
//!   in the order of their locations. A lookup compares neither patterns, nor locations, nor ids.
//! * **Keys.** An exact pattern is a key; so is what `prefix*` begins with, and what `*suffix` ends with. One hash table
//!   leads to all keys (`table.rs`), and what is found at a key is worked out beforehand (`answer.rs`): at a beginning
//!   also what is found at the shorter ones, at an exact name also what the wildcard patterns add. So most lookups of a
//!   bound name end at the first key, whatever wildcard patterns there are.
//! * **The longest beginning** of a name that is a key is found without trying all lengths. The name is taken in steps
//!   of eight bytes (`words.rs`); the hash of each step's beginning leads to a byte that says which of the next eight
//!   lengths exist, and a filter of one bit for each key leaves few of them. A hash of all bytes up to a place is the
//!   sum of a term for each step, so that all of them together take one pass, and no term waits for another. Ends are
//!   the same, read backwards.
//! * **Other patterns** lie each in one bucket (`inner.rs`): at the key that they begin or end with, or under a part of
//!   2, 4 or 8 bytes that they hold anywhere, whichever the fewest others have. A pattern in a bucket is left, most
//!   often, by what is known of it without its text: eight bytes at either end, the least length, and which characters
//!   it has once and twice. What has no literals worth looking for is tried on every name, as are patterns of a kind
//!   that has few, since to find them takes longer than to try them.
//! * **A lookup ends in a comparison of bytes**, always: a hash that meets another one costs a comparison, and never
//!   gives a secret to the wrong tool.
//! * **Changes** (`changes.rs`): a resolver can be another one with a small index of what was added, and a list of what
//!   was removed.
//!
//! # Memory
//!
//! A key is 64 bytes, a line of the cache: its text up to 40 bytes, the id of the secret and the number of its row if
//! that is all there is to find; else an index in a list. A longer text is compared in the pattern itself. The table of
//! keys has four bytes for an entry, the index and as much of the hash as there is room for, so a key that is not there
//! is seldom looked at. A row is 32 bytes: the pattern, shared with its owner, the location, and where the id is, which
//! is kept once. To find beginnings takes 10 bytes for each.
//!
//! # Worst case
//!
//! A name of n bytes, with T patterns tried, each of at most m characters, k matching bindings, and L for the bytes of
//! the longest key (at most 4,096, however long the name), takes at most
//!
//! > O(n · log n + L + T · (m · n/64 + n · log n) + k · log k)
//!
//! steps, but for what colliding hashes add, and needs O(n + k) memory. T is at most the number of patterns with
//! wildcards that are more than one beginning or end; in a bucket of 16 or more, those of them that have no character
//! that the name has not.
//!
//! The reason: a key of each length is looked at once at most. A pattern lies in one bucket. A bucket at a key is
//! visited once, as a name has one beginning of each length, and every answer leads to a shorter one; the buckets of
//! parts are sorted before they are visited, so that one whose part stands in the name twice is visited once, and there
//! are no more of them than places: n · log n. So a pattern is tried once at most. [`ToolPattern::matches`] takes at
//! most m · n/64 + n · log n steps, whatever the pattern and the name: it has a budget for the simple way, and then
//! follows all places in the name at once (`pattern/places.rs`). Nothing else depends on the patterns.
//!
//! # Who chooses names or patterns
//!
//! The numbers in the hashes are drawn for each resolver from the standard library's random state, and leave it in no
//! form but time. Beginnings and ends are hashed by a sum of products (NH), for which two texts that are chosen without
//! these numbers meet with a probability of 2⁻³² before the last step, which mixes only; whole names by folded products,
//! for which no such bound is proven. An attacker who found collisions nevertheless, by measuring time, would get
//! comparisons: a lookup then takes as many as there are keys that meet. One who can add patterns can add such as are
//! tried on every name, at some nanoseconds each for most names; the number of a user's secrets is bounded by the quota.
//! A change to the rows of one user is of no account to another, who has another resolver.
//!
//! # What was tried
//!
//! Nanoseconds for a lookup on the machine of the first measurements, for the mixes of `benches/peers`, 10, 1,000 and
//! 100,000 bindings:
//!
//! | | mix 1 | mix 2 | mix 3, 10 and 1,000 |
//! |---|---|---|---|
//! | a map of exact names with `SipHash`, a trie of the wildcard patterns walked with sets of places | 174, 585, 1,908 | 368, 1,037, 2,915 | 557, 8,059 |
//! | the first version of this, every name taken in steps | 56, 100, 384 | 70, 283, 598 | 251, 2,042 |
//!
//! * **The trie** has a bound of its own, the number of distinct beginnings of patterns, but goes from node to node, each
//!   a line of the cache that it has to wait for. On hostile patterns it is four times slower than trying those that are
//!   left by their characters; and as who is hostile can choose patterns without common beginnings, its bound is not
//!   better.
//! * **Each step's own filter** of 32 bits is full where many keys go on from one step, and those are most: five keys in
//!   a lookup were looked at in vain. One filter for all keys leaves one in 16.
//! * **Probing for a step** until it is found, as in any hash table, is a decision that the processor guesses wrongly.
//!   A step has one slot; steps that share one are taken for one another, which costs a look at the filter.
//! * **One hash for whole names and beginnings** saves a hash where a name is bound by its beginning only. But a name is
//!   faster hashed in sixteen bytes at a time from both ends, and most calls are to tools that are bound exactly: 38
//!   and 25 ns.

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
/// A lookup of a name that is bound exactly takes one hash of the name and one comparison, most of the time; others take
/// some more hashes, one for each eight bytes of the name. In the worst case it takes O(n · log n + T · (m · n/64 + n ·
/// log n) + k · log k) steps, with n for the length of the name, T for the number of patterns that have wildcards and are
/// more than one beginning or end, m for the length of the longest of them, and k for the number of bindings that match.
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
    /// Does not allocate for up to eight locations, unless a pattern with several wildcards almost matches almost
    /// everywhere, or the parts of many stand in the name.
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
