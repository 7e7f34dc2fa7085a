//! Checks of a user's secrets against the tools that a runtime has, before the first call:
//! [`UserVault::check`](crate::UserVault::check).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, iter,
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    call::{InjectionPolicy, Supplied, ToolCall},
    entry::Entry,
    explain::{self, Rank},
    inject::plan::{Decision, Plan},
    location::Location,
    pattern::{ToolPattern, has_wildcards},
    resolver::Match,
    schema::can_be_filled,
    secret::SecretId,
    snapshot::Snapshot,
};

mod arguments;
mod finding;
mod narrow;
mod words;

use self::arguments::{Argument, Arguments, Pool};
pub use self::finding::{Destination, Finding, NamedSecret, NeedsSecret};

/// A tool that a runtime has.
///
/// ```
/// use keyward::check::ToolSpec;
/// use serde_json::json;
///
/// let schema = json!({"type": "object", "properties": {"api_key": {"type": "string"}}});
/// let tool = ToolSpec::new("agno__linear__create_issue").with_schema(&schema);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ToolSpec<'a> {
    name: &'a str,
    schema: Option<&'a Value>,
}

impl<'a> ToolSpec<'a> {
    /// Creates a tool with this name, whose arguments are unknown.
    pub fn new(name: &'a str) -> ToolSpec<'a> {
        ToolSpec { name, schema: None }
    }

    /// Sets the tool's input schema, as for [`ToolCall::with_schema`]: the original, not the concealed one.
    #[must_use]
    pub fn with_schema(mut self, schema: &'a Value) -> ToolSpec<'a> {
        self.schema = Some(schema);
        self
    }

    /// Returns the tool's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the tool's input schema, if one was set.
    pub fn schema(&self) -> Option<&'a Value> {
        self.schema
    }

    fn call(&self) -> ToolCall<'a> {
        let call = ToolCall::new(self.name);
        match self.schema {
            Some(schema) => call.with_schema(schema),
            None => call,
        }
    }

    /// Whether a string can go to `location`, as far as is known.
    fn takes(&self, location: &Location) -> bool {
        self.schema
            .is_none_or(|schema| can_be_filled(schema, location))
    }
}

/// Creates a tool from its name and its input schema.
impl<'a> From<(&'a str, &'a Value)> for ToolSpec<'a> {
    fn from((name, schema): (&'a str, &'a Value)) -> ToolSpec<'a> {
        ToolSpec::new(name).with_schema(schema)
    }
}

/// What [`UserVault::check`](crate::UserVault::check) found.
///
/// It is for the program's owner or the person whose secrets these are, and not for the model, because it tells
/// which secrets exist. It holds no value. `Display` writes one line for each finding. It serializes as an object in
/// which every finding has its machine-readable name under `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[must_use = "a check that finds something does not fail"]
pub struct Report {
    /// The number of tools that were checked.
    pub tools: usize,
    /// The number of secrets that were checked.
    pub secrets: usize,
    /// The findings. Those that keep a tool from working come first; within a kind, they are in the order of the
    /// tools and of the secrets.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns whether there are no findings.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns the missing secrets, each of which a runtime can ask the person for.
    pub fn needs(&self) -> impl Iterator<Item = &NeedsSecret> {
        self.findings.iter().filter_map(|finding| match finding {
            Finding::NeedsSecret(needs) => Some(needs),
            _ => None,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{}: {finding}", finding.code())?;
        }
        Ok(())
    }
}

/// Checks a user's secrets against these tools.
pub(crate) fn check(
    snapshot: &Snapshot,
    policy: &InjectionPolicy,
    tools: &[ToolSpec<'_>],
) -> Report {
    let mut check = Check {
        snapshot,
        policy,
        tools,
        pool: Pool::new(),
        by_letters: Vec::new(),
        findings: Vec::new(),
    };
    for tool in tools {
        let found = check.tool(tool);
        check.by_letters.push(found);
    }
    for entry in snapshot.entries().values() {
        check.binding(entry);
    }
    check.precedence();
    // A stable sort: findings of one kind stay in the order of the tools and of the secrets.
    check.findings.sort_by_key(Finding::order);
    Report {
        tools: tools.len(),
        secrets: snapshot.entries().size(),
        findings: check.findings,
    }
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    policy: &'a InjectionPolicy,
    tools: &'a [ToolSpec<'a>],
    pool: Pool,
    /// The arguments that were found in each tool, by their letters.
    by_letters: Vec<HashMap<String, Location>>,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    /// Checks a tool's name, and what its schema says about its arguments. Returns those that were found, by their
    /// letters.
    fn tool(&mut self, tool: &ToolSpec<'a>) -> HashMap<String, Location> {
        if has_wildcards(tool.name) {
            self.findings.push(Finding::WildcardName {
                tool: tool.name.to_owned(),
            });
        }
        let Some(schema) = tool.schema else {
            return HashMap::new();
        };
        let arguments = self.pool.search(schema);
        if !arguments.is_whole {
            self.findings.push(Finding::PartlySearched {
                tool: tool.name.to_owned(),
            });
        }
        let filled = self.filled(tool);
        self.missing_credentials(tool, &arguments, &filled);
        self.open_destinations(tool, &arguments, &filled);
        let found = arguments.found.into_iter();
        found
            .map(|argument| (letters(&argument.location), argument.location))
            .collect()
    }

    /// Finds the required credentials that a call without arguments would leave out.
    fn missing_credentials(
        &mut self,
        tool: &ToolSpec<'a>,
        arguments: &Arguments,
        filled: &[(Location, &'a Entry)],
    ) {
        let mut provided = Provided::default();
        for (location, _) in filled {
            provided.add(location);
        }
        let wanted = |argument: &&Argument| argument.is_required && argument.is_credential;
        for argument in arguments.found.iter().filter(wanted) {
            let location = &argument.location;
            // A credential may be accepted either as a string or as an object with its parts, and one of the two is
            // enough. Arguments come parents first, so the string is the one that is asked for.
            if provided.is_related_to(location) {
                continue;
            }
            provided.add(location);
            let (tool, location) = (tool.name.to_owned(), argument.location.clone());
            if let Some(entry) = self.bound(&tool, &location) {
                self.findings.push(Finding::NoDefault {
                    secret: NamedSecret::of(entry),
                    tool,
                    location,
                });
            } else if ToolPattern::parse(&tool).is_ok_and(|pattern| pattern.is_exact())
                && location.text().is_some()
            {
                let needs = NeedsSecret { tool, location };
                self.findings.push(Finding::NeedsSecret(needs));
            }
        }
    }

    /// Finds the secrets that the model could have sent to a destination of its choice.
    fn open_destinations(
        &mut self,
        tool: &ToolSpec<'a>,
        arguments: &Arguments,
        filled: &[(Location, &'a Entry)],
    ) {
        let is_filled = |location: &Location| filled.iter().any(|(at, _)| at == location);
        let destinations: Vec<Destination> = arguments
            .found
            .iter()
            .filter(|argument| argument.is_destination)
            .map(|argument| Destination {
                location: argument.location.clone(),
                is_filled: is_filled(&argument.location),
            })
            // The model cannot choose what is filled in, unless the policy keeps supplied values.
            .filter(|destination| {
                !destination.is_filled || self.policy.supplied() == Supplied::Keep
            })
            .collect();
        for (location, entry) in filled {
            let others = destinations
                .iter()
                .filter(|other| other.location != *location);
            let destinations: Vec<Destination> = others.cloned().collect();
            // What goes to a destination is an address and not a secret. Below the levels that were searched it is
            // unknown which locations are destinations.
            let may_be_destination = location.tokens().len() > arguments.levels
                || arguments
                    .found
                    .iter()
                    .any(|argument| argument.is_destination && argument.location == *location);
            if !destinations.is_empty() && !may_be_destination {
                self.findings.push(Finding::OpenDestination {
                    secret: NamedSecret::of(entry),
                    tool: tool.name.to_owned(),
                    location: location.clone(),
                    destinations,
                });
            }
        }
    }

    /// Where defaults go in a call without arguments.
    fn filled(&self, tool: &ToolSpec<'_>) -> Vec<(Location, &'a Entry)> {
        let plan = Plan::new(self.snapshot, self.policy, &tool.call(), &Map::new(), 1);
        let defaults = plan.map(|plan| plan.defaults).unwrap_or_default();
        defaults
            .into_iter()
            .filter(|planned| matches!(planned.decision, Decision::Fill { .. }))
            .map(|planned| (planned.default.location().clone(), planned.entry))
            .collect()
    }

    /// The oldest secret that is bound to this place and is no default.
    fn bound(&self, tool: &str, location: &Location) -> Option<&'a Entry> {
        let is_bound = |entry: &&Entry| {
            !entry.info().is_default_for_tool
                && entry.location() == Some(location)
                && entry.pattern().is_some_and(|pattern| pattern.matches(tool))
        };
        let entries = self.snapshot.entries().values();
        entries.into_iter().find(is_bound)
    }

    /// Checks whether the binding of a secret is useful and no wider than necessary.
    fn binding(&mut self, entry: &'a Entry) {
        let Some(pattern) = entry.pattern() else {
            return;
        };
        let tools = self.tools.iter().enumerate();
        let (numbers, matching): (Vec<usize>, Vec<&ToolSpec<'_>>) =
            tools.filter(|(_, tool)| pattern.matches(tool.name)).unzip();
        if matching.is_empty() {
            self.findings.push(Finding::UnusedPattern {
                secret: NamedSecret::of(entry),
            });
            return;
        }
        let Some(location) = entry.location() else {
            return;
        };
        let (taking, others): (Vec<&ToolSpec<'_>>, Vec<_>) =
            matching.iter().partition(|tool| tool.takes(location));
        let names = |tools: &[&ToolSpec<'_>]| -> Vec<String> {
            tools.iter().map(|tool| tool.name.to_owned()).collect()
        };
        if taking.is_empty() {
            let meant = letters(location);
            let mut found = numbers.iter().map(|at| &self.by_letters[*at]);
            let similar = found.find_map(|found| found.get(&meant)).cloned();
            self.findings.push(Finding::UndeclaredLocation {
                secret: NamedSecret::of(entry),
                location: location.clone(),
                tools: names(&matching),
                similar,
            });
        } else if !others.is_empty() && !pattern.is_exact() {
            let (taking, others) = (names(&taking), names(&others));
            self.findings.push(Finding::BroadPattern {
                secret: NamedSecret::of(entry),
                location: location.clone(),
                narrower: narrow::narrower(&taking, &others),
                declared_by: taking,
                not_declared_by: others,
            });
        }
    }

    /// Finds the defaults that never win, and those that win for a reason that few expect.
    ///
    /// Both tools and secrets can be many, and a default can compete with any other at any tool. So each pair is looked
    /// at once, and which tools a default matches is kept as bits.
    fn precedence(&mut self) {
        let mut matched: BTreeMap<SecretId, Tools> = BTreeMap::new();
        let mut won: BTreeMap<SecretId, Tools> = BTreeMap::new();
        let mut lost: BTreeMap<SecretId, Vec<SecretId>> = BTreeMap::new();
        let mut pairs: BTreeMap<(SecretId, SecretId), (Match<'a>, Match<'a>)> = BTreeMap::new();
        for (at, tool) in self.tools.iter().enumerate() {
            let candidates = self.snapshot.resolver().candidates(tool.name);
            for competing in candidates.chunk_by(|a, b| a.location() == b.location()) {
                let Some((best, losers)) = competing.split_first() else {
                    continue;
                };
                for candidate in competing {
                    matched.entry(candidate.id()).or_default().insert(at);
                }
                won.entry(best.id()).or_default().insert(at);
                for loser in losers {
                    let pair = (best.id(), loser.id());
                    if pairs.insert(pair, (*best, *loser)).is_none() {
                        lost.entry(loser.id()).or_default().push(best.id());
                    }
                }
            }
        }
        for (id, winners) in &lost {
            if !won.contains_key(id) {
                let winners = winners.iter().filter_map(|id| self.named(*id));
                let shadowed = self.named(*id).map(|secret| Finding::ShadowedDefault {
                    secret,
                    by: winners.collect(),
                    tools: self.names_of(matched[id].iter()),
                });
                self.findings.extend(shadowed);
            }
        }
        for ((winner, loser), (best, other)) in pairs {
            // Everyone expects that the pattern for fewer tools wins.
            let rank = explain::rank(&other, &best);
            if rank != Rank::Younger && matched[&winner].are_within(&matched[&loser]) {
                continue;
            }
            let tools = self.names_of(won[&winner].both(&matched[&loser]));
            if let (Some(winner), Some(loser)) = (self.named(winner), self.named(loser)) {
                self.findings.push(Finding::SurprisingPrecedence {
                    winner,
                    loser,
                    rank,
                    tools,
                });
            }
        }
    }

    fn names_of(&self, tools: impl Iterator<Item = usize>) -> Vec<String> {
        tools.map(|at| self.tools[at].name.to_owned()).collect()
    }

    fn named(&self, id: SecretId) -> Option<NamedSecret> {
        self.snapshot.by_id(id).map(NamedSecret::of)
    }
}

/// What is left of a location whose parts are joined and spelled in another way: `headers.apiKey` is
/// `/headers/api_key`.
fn letters(location: &Location) -> String {
    let chars = location.tokens().iter().flat_map(|token| token.chars());
    chars
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Locations that a call provides, by their canonical forms.
#[derive(Default)]
struct Provided<'l> {
    locations: HashSet<&'l str>,
    /// What contains them.
    parents: HashSet<&'l str>,
}

impl<'l> Provided<'l> {
    fn add(&mut self, location: &'l Location) {
        self.locations.insert(location.as_pointer());
        self.parents.extend(location.parents());
    }

    /// Whether this is a provided location, or contains one or lies in one.
    fn is_related_to(&self, location: &Location) -> bool {
        let pointer = location.as_pointer();
        self.locations.contains(pointer)
            || self.parents.contains(pointer)
            || location
                .parents()
                .any(|parent| self.locations.contains(parent))
    }
}

/// Some of the tools, by their numbers: a bit for each.
#[derive(Default)]
struct Tools(Vec<u64>);

impl Tools {
    fn insert(&mut self, at: usize) {
        let (word, bit) = (at / 64, at % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        numbers(self.0.iter().copied())
    }

    fn both(&self, other: &Tools) -> impl Iterator<Item = usize> {
        numbers(self.0.iter().zip(&other.0).map(|(a, b)| a & b))
    }

    fn are_within(&self, other: &Tools) -> bool {
        let others = other.0.iter().copied().chain(iter::repeat(0));
        self.0.iter().zip(others).all(|(a, b)| a & !b == 0)
    }
}

fn numbers(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(i, word)| {
        let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
        bits.map(move |bit| 64 * i + bit)
    })
}
