//! The resolver: from a tool's name to the bindings that match it, by precedence.
//!
//! # Design
//!
//! Everything that can be decided without the name is decided when the resolver is built.
//!
//! * **Precedence is a position.** The bindings are the rows of a table, by location, then by precedence. So the number
//!   of a row says all: of two with one location the smaller one wins, and the winners in the order of their numbers are
//!   in the order of their locations. A lookup compares neither patterns, nor locations, nor ids.
//! * **Keys.** An exact pattern is a key; so is what `prefix*` begins with, and what `*suffix` ends with. A perfect
//!   hash (`perfect.rs`) leads to the one node that can be of a key, without probing; a byte of each node's hash,
//!   kept apart from it (`slots.rs`), says of most texts that are no key that they are none. Of up to sixteen keys
//!   these bytes alone tell which node it is. What is found at a key is worked out beforehand (`answer.rs`): at a
//!   beginning also what is found at the shorter ones, at an exact name also what the wildcard patterns add. So most
//!   lookups of a bound name end at the first node, whatever wildcard patterns there are; where several locations
//!   win, the node leads to all of them, and to their ids, in one list.
//! * **The longest beginning** of a name that is a key is found without trying all lengths (`ladder.rs`). The name is taken
//!   in words of eight bytes (`words.rs`); the hash of what is before a word leads to a rung, eight lanes of eight bits: for
//!   each of the next eight lengths a check of the bytes that a key goes on with. Few lengths are left, most often one. A
//!   filter tells behind which words no key goes on, where the search ends. A hash of all bytes up to a place is the sum of
//!   a term for each word, so that no term waits for another. Ends are the same, read backwards.
//! * **Other patterns** lie in buckets (`inner.rs`): at the key that they begin or end with, or under seven bytes in a row
//!   that they hold anywhere (`grams.rs`), whichever the fewest others have and names seldom hold. The four parts of four
//!   bytes of such a run are noted, so that a name is looked at in every fourth place only; what is around a part there
//!   tells which runs the name holds. In a bucket of few, a pattern is compared only if the name has the pairs of
//!   characters that it has, each as one of 64 bits.
//! * **Up to 256 patterns with wildcards** are not looked for by keys: those that have an end are listed (`list.rs`), but
//!   for such as share it with eight or more and go on behind it. Up to sixteen are all listed; of more than 256, those of
//!   the form `prefix*`, or `*suffix`, if these are eight or fewer. What a few bytes of a name tell leaves one or two of the
//!   list, for all at once (`sieve.rs`); these are tried by sketches of them, their ends and their length (`sketch.rs`). Of
//!   eight or fewer all sketches are tried. Where all wildcard patterns are listed like this, the list is the answer.
//! * **What has neither an end nor such a run** is tried on every name: a few patterns by the pairs of characters that they
//!   hold, in the list; many all at once, by sets of those that hold more of a character than the name does (`crowd.rs`).
//!   What is left is compared over the places of the name as bits of a word or two (`pattern/spots.rs`).
//! * **A lookup ends in a comparison of bytes**, always: a hash that meets another one costs a comparison, and never
//!   gives a secret to the wrong tool.
//! * **Changes** (`changes.rs`): a resolver of more than a few bindings can be another one with a small index of what was
//!   added, and a list of what was removed.
//!
//! # Memory
//!
//! A key is 64 bytes, a line of the cache: its text up to 40 bytes, the id of the secret and the number of its row if
//! that is all there is to find; else an index in a list. A longer text is compared in the pattern itself. There are 17
//! nodes for 16 keys, and half a byte of the perfect hash and one of a node's hash for each, if there are more than
//! sixteen. An exact name that several rows win takes 32 bytes more, and up to twelve for each of them. A row is 24
//! bytes: the pattern, shared with its owner, the location, and where the id is, which is kept once. To find beginnings
//! takes 18 bytes for each, a pattern in a list some 100, and the sieve of a list 4 KiB for each 128 patterns. A pattern in
//! a bucket takes 24, and its bucket 12 or more; from eight patterns on a bucket has sets of 4 KiB for each 64 of them, or
//! of 16 KiB for each 256. A run takes some 100: it is noted four times.
//!
//! # Worst case
//!
//! A name of n bytes, with T patterns tried, each of at most m characters, k matching bindings, and L for the bytes of
//! the longest key (at most 4,096, however long the name), takes at most
//!
//! > O(n · log n + L + P / 8 + T · (m · n/64 + n · log n) + k · log k)
//!
//! steps, but for what colliding hashes add, and needs O(n + k) memory. P is the number of patterns with wildcards that
//! are more than one beginning or end, or that are listed; T is the number of those of them that are left to be compared:
//! in a bucket of eight or more, those that have no class of bytes more often than the name has, as far as 32 classes and
//! numbers up to four tell; in a list, those that allow the name's first 24 and last 8 bytes.
//!
//! The reason: a key of each length is looked at once at most. A pattern lies in one bucket. A bucket at a key is visited
//! once, as a name has one beginning of each length, and every answer leads to a shorter one. A name has as many runs as
//! places at most, each found among those with the same part by halving, in 32 steps; their buckets are sorted before they
//! are visited, so that one whose run stands in the name twice is visited once: n · log n. So a pattern is tried once at
//! most. A crowd takes 32 steps for each 256 of its patterns, or for each 64 if there are fewer than 128, and a sieve eight
//! for each 128.
//! [`ToolPattern::matches`] takes at most m · n/64 + n · log n steps, whatever the pattern and the name: it has a budget
//! for the simple way, and then follows all places in the name
//! at once (`pattern/places.rs`). Nothing else depends on the patterns. A resolver with changes asks both of its indices,
//! and counts the characters of two patterns for each location at which both have found one: O(m) more for each.
//!
//! # Who chooses names or patterns
//!
//! The numbers in the hashes are drawn for each resolver from the standard library's random state, and leave it in no
//! form but time. Beginnings and ends are hashed by a sum of products (NH), for which two texts that are chosen without
//! these numbers meet with a probability of 2⁻³² before the last step, which mixes only; whole names by folded
//! products, for which no such bound is proven. Keys that meet are told apart by numbers that are drawn anew. Among
//! hundreds of thousands of long beginnings that were chosen for it some meet whatever is drawn: then all patterns with
//! wildcards are listed, so that the build ends, and a lookup takes eight steps for each 128 of them. One who can add
//! patterns can add such as are tried on every name; the number of a user's secrets is bounded by the quota. A change
//! to the rows of one user is of no account to another, who has another resolver.
//!
//! # What was tried
//!
//! Lookups of mix 1 and 2 of `benches/peers` among 1,000 bindings, as multiples of the floor, one hash and one comparison, on
//! two shared cores with much else going on:
//!
//! | | mix 1 | mix 2 |
//! |---|---|---|
//! | a hash table with linear probing; for each rung a filter of one bit for each key; parts of 8, 4 and 2 bytes at every place; every other pattern compared | 8.2 | 15 |
//! | as it is, but for the sieve and the filters of ladders | 3.3 | 4.7 |
//! | as it is | 2.6 | 4.5 |
//!
//! * **A sieve over more patterns**: of 600 it leaves five where eight places are looked at, and two where twelve are. Both
//!   took as long as keys do. With fewer places and classes for lists of up to sixteen it took as long as all sketches.
//! * **Signs of a bucket's keys beside its multiplier**, some bits for all of them instead of a byte for each node: 0.97 of
//!   the time for 100 and 1,000 bindings, but 1.04 for exact names among 10,000, as the table is larger.
//! * **From the only pattern that a sieve leaves to its endings**, without gathering rows: no difference.
//! * **An answer in sixteen bytes for each location**, with an index for a reference to the id: four locations in 1.44 times
//!   the time of one instead of 1.57, but each single one in 1.05 of what it takes.
//! * **All winners of a beginning in one list with their ids**, as those of an exact name are: a little faster with ten
//!   bindings, and 1.04 times as long for 1,000 of mix 2.
//! * **A result whose matches lie in a smallvec**: two nanoseconds less for four locations, as no places are filled that stay
//!   empty. But it is invariant in its lifetime, and so not for a public type.
//! * **A result that is always a list**, without a form of its own for a single match, which most are: 1.15 times as long.
//! * **Sketches of exact names too**, with no hash at all where there are ten patterns in all: a sketch costs some 30
//!   instructions. It took 2.5 times the floor instead of 1.6.
//! * **A trie** has a bound of its own, the number of distinct beginnings of patterns, but goes from node to node, each
//!   a line of the cache that it has to wait for. On hostile patterns it was four times slower than trying those that are
//!   left by their characters; and as who is hostile can choose patterns without common beginnings, its bound is not
//!   better.
//! * **Probing a table of four-byte entries** before the node is another line of the cache to wait for: of 100,000 exact
//!   names, 1.7 times the floor instead of the 1.4 that it took at that time.
//! * **One filter of single bits for all beginnings** needs the hash of each length that a rung has, where the checks of
//!   eight lengths are one multiplication.
//! * **Parts of four bytes at every second place**, and of eight at every fourth, found patterns with shorter runs, and more
//!   selectively; but to look at twice as many places cost more than to leave those few to the others.
//! * **Buckets of all patterns with a part**, instead of a run, took 1.3 times as long at a million in mix 2: four bytes
//!   with digits among them are all in use then. Up to 10,000 it made no difference.
//! * **To compare the only pattern with a run at once**, without asking for its pairs, made those that match faster by a
//!   twentieth, and all others slower by as much.
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
mod crowd;
mod grams;
mod index;
mod inner;
mod ladder;
mod list;
#[cfg(test)]
mod naive;
mod perfect;
mod plan;
mod sieve;
mod sketch;
mod slots;
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
/// A lookup of a name that is bound exactly takes one hash of the name and one comparison, most of the time. With up to
/// 256 wildcard patterns others take some steps more, and with more patterns a hash for each eight bytes of the name. In
/// the worst case it takes O(n · log n + T · (m · n/64 + n ·
/// log n) + k · log k) steps, with n for the length of the name, T for the number of patterns that have wildcards and are
/// more than one beginning or end, and of up to 256 others, m for the length of the longest of them, and k for the number
/// of bindings that match.
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
    /// everywhere, the parts of many stand in the name, or a winner was removed by
    /// [`with_changes`](Resolver::with_changes).
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
    #[inline]
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
    /// With n bindings, a change of few takes O(√n) steps most of the time. Once in √n changes, or in 64 if n is small, the
    /// resolver is built anew, and always for up to 64 bindings. Lookups meanwhile take little longer, and somewhat longer
    /// for names that a removed binding would have won.
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
        changes::change(self, removed, added, changes::FEW_BINDINGS)
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
    /// If there are 2³¹ bindings or more, or as many entries in the lists of those that win together.
    pub fn build(&self) -> Resolver {
        Resolver {
            index: Arc::new(build::compile(&self.bindings)),
            changes: None,
        }
    }
}

/// An index as it is kept. The greatest `u32` is none, and the highest bit says which list the index of an id is in.
fn narrow(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .filter(|&index| index < index::IN_IDS)
        .expect("fewer than 2^31 bindings, and entries in lists")
}
