//! The [`Resolver`]: from a tool's name to the bindings that match it, by precedence.
//!
//! # Design
//!
//! Everything that can be decided without the name is decided when the resolver is built. A lookup looks for an
//! exact pattern first. Unless that decides, it goes from the longest beginning and the longest end that the name
//! shares with patterns to the shorter ones, and then tries the patterns that are found in other ways.
//!
//! * **Precedence is a position.** The bindings are the rows of a table, sorted by location, then by precedence. Of
//!   two rows with the same location the one with the smaller number wins, and the winners in the order of their
//!   numbers are in the order of their locations. A lookup compares neither patterns, nor locations, nor ids.
//! * **Keys.** An exact pattern is a key; so is the text before the `*` of `prefix*`, and the text after the `*` of
//!   `*suffix`. Each key has a *node*. The hash of a text leads to the only node whose key the text can be, without
//!   probing (`slots.rs`). Up to sixteen keys are told apart by one byte of their hashes, their *tags*; up to 255 lie
//!   in *pairs*, in one table that is wide enough; with more there is a perfect hash (`perfect.rs`). Tags are kept
//!   apart from the nodes, and rule out most texts that are not keys. What is found at a key is worked out beforehand
//!   (`answer.rs`): at a beginning, also what is found at the shorter ones; at an exact name, also what the wildcard
//!   patterns add. So most lookups of a bound name end at the first node, whatever wildcard patterns there are. Where
//!   an exact name has winners at several locations, its node leads to its *endings*: one list of all winners and of
//!   where their ids are.
//! * **The longest beginning** of a name that is a key is found without trying all lengths (`ladder.rs`). The name
//!   is taken in words of eight bytes (`words.rs`). The hash of what comes before a word leads to a *rung*: eight
//!   *lanes* of eight bits, one for each of the next eight lengths, each with a check of the bytes that a key of
//!   that length continues with. Few lengths are left, most often one. A filter tells after which words no key
//!   continues: the search ends there. The hash of all bytes up to a place is a sum with one term for each word, so
//!   that no term waits for another. The rungs of all beginnings are a *ladder*; ends have another one, and are read
//!   backwards.
//! * **Other patterns**, which are neither `prefix*` nor `*suffix`, lie in *buckets* (`buckets.rs`): at the key that
//!   they begin or end with, or under a *run*, seven consecutive bytes that they hold anywhere (`grams.rs`). The
//!   choice falls on what the fewest other patterns have and names seldom hold. A run is noted under each of its
//!   four *parts* of four bytes, so that a name has to be looked at in every fourth place only; the bytes around a
//!   part there tell which runs the name holds. In a bucket of fewer than eight, a pattern is compared only if the
//!   name has all of its pairs of adjacent bytes, each pair as one of 64 bits.
//! * **A few patterns with wildcards** are not looked for by keys, but *listed* (`list.rs`):
//!
//!   | patterns with wildcards | listed |
//!   | --- | --- |
//!   | up to 16 | all, except for those without a beginning or an end if there are eight or more of these |
//!   | up to 256 | those with a beginning or an end, except for those in a bucket: of an end that eight or more share and continue beyond, or of a run that fewer have than share their ends |
//!   | more | `prefix*` if there are eight of these or fewer, and likewise `*suffix` |
//!
//!   A *sieve* (`sieve.rs`) decides by a few bytes of the name for all patterns of the list at once, and leaves one to
//!   three; these are tried by their ends, then by their *sketches* (`sketch.rs`), which hold the least length and what
//!   is left to compare. Those with more literals go first: one that matches has the winners of those that it *implies*
//!   among its own endings, such as `github_*` beside `github_get_*`, and these are not tried any more. So most lookups
//!   end in one list of endings. Where all wildcard patterns are listed like this, the list is the answer.
//! * **Patterns with neither an end nor such a run** are tried on every name: in the list where that is all there is,
//!   else in a bucket. A few are ruled out by the pairs of bytes that they hold. Eight or more form a *crowd*
//!   (`crowd.rs`), in which sets rule out, all at once, those that hold more bytes of some class than the name does.
//!   What is left is matched over all positions of the name at once, as the bits of a word or two
//!   (`pattern/short_positions.rs`).
//! * **A lookup always ends in a comparison of bytes**: a hash that collides with another one costs a comparison,
//!   and never gives a secret to the wrong tool.
//! * **Changes** (`changes.rs`): a resolver of more than a few bindings can be another one's index, with a small
//!   index of what was added and a list of what was removed. An index of a few lies where its owner is (`inline.rs`),
//!   and is made anew for each change.
//!
//! # Memory
//!
//! * A key takes a node of 64 bytes, one cache line: its text, if that is up to 40 bytes, and the id of the secret
//!   and the number of the row, if these are all there is to find; otherwise an index in a list. A longer text is
//!   compared in the pattern itself. With 17 to 255 keys, the pairs of each take 32 to 64 bytes. With more, there are
//!   17 nodes for 16 keys, and each key takes up to a byte of the perfect hash and one for its tag as well. An exact
//!   name that several rows win takes 32 bytes more, and up to twelve for each of them.
//! * A row takes 24 bytes: the pattern, shared with its owner, the location, and where the id is, which is kept
//!   once.
//! * The ladder of beginnings, or of ends, takes 16 bytes for each of them. A pattern in a list takes some 100, and
//!   the sieve of a list 2 KiB for each 64 patterns. In the index itself there is room for a sieve of up to eight, 136
//!   bytes, whether or not it has one.
//! * A pattern in a bucket takes 32, and its text once more, beside the others of its bucket: its owner's copy would
//!   be two more places in memory to wait for. From eight patterns on, a bucket has sets of 1 KiB for each 64 of
//!   them, or of 4 KiB for each 256. A run takes 120 to 150, less where it shares parts: it is noted four times. Up
//!   to sixteen runs have a filter of 4 KiB in common.
//!
//! # Worst case
//!
//! A lookup takes at most
//!
//! > O(n · log n + L + P / 8 + T · (m · n/64 + n · log n) + k · log k)
//!
//! steps, apart from what colliding hashes add, and needs O(n + k) memory, where
//!
//! * n is the length of the name in bytes;
//! * L is the length of the longest key in bytes (at most 4,096, however long the name);
//! * P is the number of patterns with wildcards other than `prefix*` and `*suffix`, or that are listed;
//! * T is the number of those of them that are left to be compared: in a bucket of eight or more, those that have no
//!   class of bytes more often than the name has, as far as 32 classes and counts up to four tell; in a list, those
//!   that allow the name's first 24 and last 8 bytes;
//! * m is the number of characters of the longest of these patterns;
//! * k is the number of bindings that match.
//!
//! This is why:
//!
//! * A key of each length is looked up at most once.
//! * A pattern is tried at most once, as it lies in one bucket, which is visited once. A bucket at a key is visited
//!   once because a name has one beginning of each length, and every answer leads to a shorter one. For the buckets
//!   of runs: a name has at most as many runs as positions, and each is found by halving among those with the same
//!   part, in 32 steps. Their buckets are sorted before they are visited, so that one whose run stands in the name
//!   twice is visited once: n · log n.
//! * A crowd takes 32 steps for each 256 of its patterns, or for each 64 if there are fewer than 128, and a sieve
//!   eight for each 64.
//! * [`ToolPattern::matches`] takes at most m · n/64 + n · log n steps, whatever the pattern and the name: it has a
//!   budget for the simple way, and after that follows all positions in the name at once (`pattern/positions.rs`).
//!
//! Nothing else depends on the patterns. A resolver with changes asks both of its indices, and counts the characters
//! of two patterns for each location at which both have found one: O(m) more for each.
//!
//! # Who chooses names or patterns
//!
//! The numbers in the hashes are drawn for each resolver from the standard library's random state, and are exposed only
//! through timing. Beginnings and ends are hashed by a sum of products (NH): two texts that are chosen without knowing
//! these numbers collide with a probability of 2⁻³² before the last step, which only mixes. Whole names are hashed by
//! folded products, for which no such bound is proven; but no two have the same hash whatever is drawn. Keys that
//! collide are told apart by drawing new numbers. Among hundreds of thousands of long beginnings that were chosen for
//! it, some collide whatever is drawn: then all patterns with wildcards are listed, so that the build ends, and a
//! lookup takes eight steps for each 64 of them.
//!
//! Whoever can add patterns can add ones that are tried on every name; the number of a user's secrets is bounded by
//! the quota. A change to the rows of one user does not affect another, who has another resolver.
//!
//! # What was tried
//!
//! Lookups of mix 1 and 2 of `benches/peers` among 1,000 bindings, as multiples of the floor, one hash and one
//! comparison, on two shared cores with much else going on:
//!
//! | | mix 1 | mix 2 |
//! |---|---|---|
//! | a hash table with linear probing; for each rung a filter of one bit for each key; parts of 8, 4 and 2 bytes at every place; every other pattern compared | 8.2 | 15 |
//! | the present design, without the sieve and the filters of ladders | 3.3 | 4.7 |
//! | with them | 2.6 | 4.5 |
//! | and with results made in one piece and implied patterns, on a quieter core | 2.1 | 3.7 |
//!
//! * **A sieve over more patterns**: of 600 it leaves five if it looks at eight places, and two if it looks at
//!   twelve. Both took as long as keys do.
//! * **No sieve for lists of up to eight**, but all sketches: 1.1 times as long for 100 bindings of mix 1 and for ten
//!   of mix 2.
//! * **A sieve of 128 patterns at a time**, so that a name is asked only once whether any of them is left: 1.02 times
//!   as long for 1,000 bindings of mix 1.
//! * **A few patterns without ends in the list**, where others are found by keys: 1.07 times as long for 10,000 bindings
//!   of mix 2, three of which are such patterns.
//! * **Ends of listed patterns without masks**, compared byte by byte where the pattern has one that is not 0: 1.1
//!   times as long for 1,000 bindings of mix 1. By itself it is ten instructions, but not where a lookup has it.
//! * **A filter of its own for a ladder**, beside the rungs: the same time, and one more table.
//! * **All parts of a name at once** in the search for runs, in a loop of as many steps as most names have: the same
//!   time where the name was asked beforehand whether any passes, and 1.02 times as long where it was not.
//! * **Keys moved on by a distance**, in place of the multipliers of the perfect hash: an addition after the look at
//!   the table instead of two multiplications. Up to 1,000 bindings it took 0.98 of the time; but distances that are
//!   short enough for two bytes seldom serve for ten thousand keys and more.
//! * **A perfect hash for up to 255 keys too**: 1.04 times as long for 100 bindings, since it is two tables to wait
//!   for.
//! * **A hash in a loop of sixteen bytes a step**: 1.06 times as long for 100 bindings of mix 1, where a name ends at
//!   one of several steps, and 0.97 for ten, whose names the processor gets to know.
//! * **A filter of bits for a few runs**, in place of one byte for each place: 1.03 times as long for 100 bindings of
//!   mix 2.
//! * **A filter of single bits in place of the tags**, which can be asked while the multiplier is on its way: 0.95 of
//!   the time for a million bindings of mix 2, but 1.04 for exact names up to 10,000, as the bits take more shifts.
//! * **Signs of a bucket's keys beside its multiplier** in the perfect hash, some bits for all of them instead of a
//!   byte for each node: 0.97 of the time for 100 and 1,000 bindings, but 1.04 for exact names among 10,000, as the
//!   table is larger.
//! * **Results and what gathers them passed by value**, so that they were copied: a copy of 64 bytes or more takes 32
//!   at a time, and waits until those that were written four or eight at a time have reached the cache. Several
//!   locations took 10 ns more for each copy, half of the floor. So a result of up to four matches is made in one
//!   piece where it stays, and what gathers rows stays where it is.
//! * **Literals after a `*` eight bytes at a time** in [`ToolPattern::matches`]: one in a hundred less for mix 2.
//! * **An answer in sixteen bytes for each location**, with an index in place of a reference to the id: four
//!   locations took 1.44 times as long as one instead of 1.57 as they did at that time, but a single one took 1.05
//!   times as long.
//! * **All winners of a beginning in one list with their ids**, as those of an exact name are: a little faster with ten
//!   bindings, and 1.04 times as long for 1,000 of mix 2.
//! * **A result whose matches lie in a smallvec**: two nanoseconds less for four locations, as no places are filled
//!   that stay empty. But it is invariant in its lifetime, and so not fit for a public type.
//! * **A result that is always a list**, without a form of its own for a single match, which most are: 1.15 times as
//!   long.
//! * **Sketches of exact names too**, with no hash at all where there are ten patterns in all: 2.5 times the floor
//!   instead of 1.6, as a sketch costs some 30 instructions.
//! * **A trie** has a bound of its own, the number of distinct beginnings of patterns, but goes from node to node,
//!   and each is a cache line to wait for. On hostile patterns it was four times slower than trying those that their
//!   characters do not rule out; and an attacker can choose patterns without common beginnings, so its bound is no
//!   better.
//! * **Probing a table of four-byte entries** before the node is another cache line to wait for: with 100,000 exact
//!   names, 1.7 times the floor instead of the 1.4 that it took at that time.
//! * **One filter of single bits for all beginnings** needs the hash of each length that a rung has, whereas the
//!   checks of eight lengths are one multiplication.
//! * **Parts of four bytes at every second place**, and of eight at every fourth, found patterns with shorter runs,
//!   and were more selective; but looking at twice as many places cost more than leaving those few patterns to the
//!   other ways.
//! * **Buckets of all patterns with a part**, instead of a run, took 1.3 times as long at a million in mix 2, where
//!   all parts with digits among their four bytes are in use. Up to 10,000 it made no difference.
//! * **Comparing the only pattern with a run at once**, without asking for its pairs, made those that match faster
//!   by a twentieth, and all others slower by as much.
//! * **One hash for whole names and beginnings** saves a hash where a name is bound by its beginning only. But
//!   hashing a name sixteen bytes at a time from both ends is faster, and most calls are to tools that are bound
//!   exactly: these took 38 ns with one hash for both, and 25 with one of their own.

use std::{fmt, sync::Arc};

use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

use changes::Changes;
use index::Index;

pub use best::{Match, Resolved};
pub(crate) use inline::InlineResolver;

mod answer;
mod best;
mod buckets;
mod build;
mod changes;
mod crowd;
mod grams;
mod index;
mod inline;
mod inner;
mod ladder;
mod list;
#[cfg(test)]
mod naive;
mod perfect;
mod plan;
mod row;
mod sieve;
mod sketch;
mod slots;
#[cfg(test)]
mod tests;
mod words;

/// A compiled, immutable index from a tool's name to the bindings that match it.
///
/// At each location one binding wins, by the first of these rules that decides:
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
/// A clone shares the index, so it costs nothing to hand one to every thread. A resolver never changes: to change
/// the bindings, build another.
///
/// # Cost
///
/// Most lookups of a name that is bound exactly take one hash of the name and one comparison. Lookups of other names
/// take some steps more with up to 256 wildcard patterns, and a hash for each eight bytes of the name with more
/// patterns.
///
/// In the worst case a lookup takes O(n · log n + T · (m · n/64 + n · log n) + k · log k) steps, where n is the
/// length of the name, T the number of patterns with wildcards other than `prefix*` and `*suffix`, plus up to
/// 256 others, m the length of the longest of them, and k the number of bindings that match. (Where none of sixteen
/// random draws of the hashes keeps the keys apart, which takes hundreds of thousands of patterns that were chosen for
/// it, T is the number of all patterns with wildcards.)
#[derive(Clone)]
pub struct Resolver {
    index: Arc<Index>,
    /// What differs from the index, if anything does.
    changes: Option<Arc<Changes>>,
}

impl Resolver {
    /// Returns a builder without bindings.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
    }

    /// Returns the best binding for each location at which one matches, in the order of locations: parents first.
    ///
    /// Does not allocate for up to eight locations, unless a pattern with several wildcards almost matches almost
    /// everywhere, the name contains the parts of many patterns, or a winner was removed by
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

    /// Returns every binding that matches, in the order of locations, and for each location best first: what
    /// [`resolve`](Resolver::resolve) chooses from.
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

    /// Returns this resolver with some bindings removed and others added.
    ///
    /// The new resolver shares most of its memory with this one, which stays as it is, and takes a small part of the
    /// time of a build.
    ///
    /// Removing a binding that is not there changes nothing, nor does adding one that is there already. A binding
    /// that is both removed and added is there.
    ///
    /// # Cost
    ///
    /// With n bindings, changing a few takes O(√n) steps most of the time. Once in √n changes, or in 64 if n is
    /// small, the resolver is built anew; with up to 64 bindings it always is. In between, lookups take a little
    /// longer, and somewhat longer for names that a removed binding would have won.
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
    /// As [`ResolverBuilder::build`] does.
    #[must_use]
    pub fn with_changes(
        &self,
        removed: impl IntoIterator<Item = (ToolPattern, Location, SecretId)>,
        added: impl IntoIterator<Item = (ToolPattern, Location, SecretId)>,
    ) -> Resolver {
        changes::change(self, removed, added, changes::FEW_BINDINGS)
    }

    /// Returns the number of different bindings.
    pub fn len(&self) -> usize {
        match &self.changes {
            None => self.index.rows.len(),
            Some(changes) => changes.len(&self.index),
        }
    }

    /// Returns whether there are no bindings.
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
    /// Adds a binding.
    ///
    /// The order in which bindings are added does not matter, and adding one again changes nothing. Several secrets
    /// may be bound to one pattern and location: the oldest wins.
    pub fn add(
        &mut self,
        pattern: ToolPattern,
        location: Location,
        id: SecretId,
    ) -> &mut ResolverBuilder {
        self.bindings.push((pattern, location, id));
        self
    }

    /// Compiles the bindings that were added so far. The builder can be used again.
    ///
    /// # Panics
    ///
    /// If there are 2²⁹ bindings or more, or 2³¹ entries in the lists of those that win together. (Some resolvers of
    /// up to 2³¹ bindings can be built.)
    pub fn build(&self) -> Resolver {
        Resolver {
            index: Arc::new(build::compile(&self.bindings)),
            changes: None,
        }
    }
}

/// Narrows an index to the form in which it is kept. The greatest `u32` stands for none, and the highest bit tells
/// which list the index of an id is in.
fn narrow(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .filter(|&index| index < row::IN_IDS)
        .expect("fewer than 2^31 bindings, and entries in lists")
}

/// Narrows a number of bytes in a pattern, of which there are at most 4,096.
fn narrow_len(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a pattern has at most 1,024 characters")
}
