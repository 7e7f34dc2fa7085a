//! Checks of a user's secrets against the tools that a runtime has, before the first call.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    call::{InjectionPolicy, Supplied, ToolCall},
    explain::{self, Rank},
    inject::plan::{Decision, Plan},
    location::Location,
    pattern::has_wildcards,
    resolver::Match,
    schema::{Budget, can_be_filled},
    secret::SecretId,
    snapshot::{Entry, Snapshot},
};

mod arguments;
mod finding;
mod narrow;
mod words;

use self::arguments::{Argument, Arguments};
pub use self::finding::{Destination, Finding, NamedSecret, NeedsSecret};

/// A tool that a runtime has.
///
/// ```
/// use keyward::ToolSpec;
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
#[must_use = "what was found is no error"]
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
        findings: Vec::new(),
    };
    for tool in tools {
        check.tool(tool);
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
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    /// Checks a tool's name, and what its schema says about its arguments.
    fn tool(&mut self, tool: &ToolSpec<'a>) {
        if has_wildcards(tool.name) {
            self.findings.push(Finding::WildcardName {
                tool: tool.name.to_owned(),
            });
        }
        let Some(schema) = tool.schema else { return };
        let arguments = arguments::search(schema, &Budget::new(arguments::MAX_UNITS));
        if !arguments.is_whole {
            self.findings.push(Finding::PartlySearched {
                tool: tool.name.to_owned(),
            });
        }
        let filled = self.filled(tool);
        self.missing_credentials(tool, &arguments, &filled);
        self.open_destinations(tool, &arguments, &filled);
    }

    /// Finds the required credentials that a call without arguments would leave out.
    fn missing_credentials(
        &mut self,
        tool: &ToolSpec<'a>,
        arguments: &Arguments,
        filled: &[(Location, &'a Entry)],
    ) {
        let mut provided: Vec<&Location> = filled.iter().map(|(at, _)| at).collect();
        let wanted = |argument: &&Argument| argument.is_required && argument.is_credential;
        for argument in arguments.found.iter().filter(wanted) {
            let location = &argument.location;
            // A credential may be accepted either as a string or as an object with its parts, and one of the two is
            // enough. Arguments come parents first, so the string is the one that is asked for.
            let is_related =
                |at: &&Location| *at == location || at.contains(location) || location.contains(at);
            if provided.iter().any(is_related) {
                continue;
            }
            provided.push(location);
            let (tool, location) = (tool.name.to_owned(), argument.location.clone());
            if let Some(entry) = self.bound(&tool, &location) {
                self.findings.push(Finding::NoDefault {
                    secret: NamedSecret::of(entry),
                    tool,
                    location,
                });
            } else if !has_wildcards(&tool) {
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
                && entry.location.as_ref() == Some(location)
                && entry
                    .pattern
                    .as_ref()
                    .is_some_and(|pattern| pattern.matches(tool))
        };
        let entries = self.snapshot.entries().values();
        entries.map(|entry| &**entry).find(is_bound)
    }

    /// Checks whether the binding of a secret is useful and no wider than necessary.
    fn binding(&mut self, entry: &'a Entry) {
        let Some(pattern) = &entry.pattern else {
            return;
        };
        let tools = self.tools.iter();
        let matching: Vec<&ToolSpec<'_>> =
            tools.filter(|tool| pattern.matches(tool.name)).collect();
        if matching.is_empty() {
            self.findings.push(Finding::UnusedPattern {
                secret: NamedSecret::of(entry),
            });
            return;
        }
        let Some(location) = &entry.location else {
            return;
        };
        let (taking, others): (Vec<&ToolSpec<'_>>, Vec<_>) =
            matching.iter().partition(|tool| tool.takes(location));
        let names = |tools: &[&ToolSpec<'_>]| -> Vec<String> {
            tools.iter().map(|tool| tool.name.to_owned()).collect()
        };
        if taking.is_empty() {
            self.findings.push(Finding::UndeclaredLocation {
                secret: NamedSecret::of(entry),
                location: location.clone(),
                tools: names(&matching),
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
    fn precedence(&mut self) {
        let mut lost: BTreeMap<SecretId, Lost> = BTreeMap::new();
        let mut won: Vec<SecretId> = Vec::new();
        let mut surprises: BTreeMap<(SecretId, SecretId), Surprise> = BTreeMap::new();
        for tool in self.tools {
            let candidates = self.snapshot.resolver().candidates(tool.name);
            for competing in candidates.chunk_by(|a, b| a.location() == b.location()) {
                let Some((best, losers)) = competing.split_first() else {
                    continue;
                };
                won.push(best.id());
                for loser in losers {
                    lost.entry(loser.id()).or_default().add(best, tool.name);
                    let surprise = surprises
                        .entry((best.id(), loser.id()))
                        .or_insert_with(|| Some((self.surprise(best, loser)?, Vec::new())));
                    if let Some((_, tools)) = surprise {
                        tools.push(tool.name.to_owned());
                    }
                }
            }
        }
        won.sort_unstable();
        for (id, lost) in lost {
            if won.binary_search(&id).is_err() {
                let winners = lost.winners.iter().filter_map(|id| self.named(*id));
                let shadowed = self.named(id).map(|secret| Finding::ShadowedDefault {
                    secret,
                    by: winners.collect(),
                    tools: lost.tools,
                });
                self.findings.extend(shadowed);
            }
        }
        for ((winner, loser), surprise) in surprises {
            let secrets = (self.named(winner), self.named(loser));
            if let ((Some(winner), Some(loser)), Some((rank, tools))) = (secrets, surprise) {
                self.findings.push(Finding::SurprisingPrecedence {
                    winner,
                    loser,
                    rank,
                    tools,
                });
            }
        }
    }

    /// What the loser loses by, unless it is what everyone expects: that the pattern for fewer tools wins.
    fn surprise(&self, winner: &Match<'_>, loser: &Match<'_>) -> Option<Rank> {
        let rank = explain::rank(loser, winner);
        let mut tools = self.tools.iter().map(|tool| tool.name);
        let is_within =
            tools.all(|tool| !winner.pattern().matches(tool) || loser.pattern().matches(tool));
        (rank == Rank::Younger || !is_within).then_some(rank)
    }

    fn named(&self, id: SecretId) -> Option<NamedSecret> {
        self.snapshot.by_id(id).map(|entry| NamedSecret::of(entry))
    }
}

/// What one of two defaults loses by, and for which tools; `None` if it is what everyone expects.
type Surprise = Option<(Rank, Vec<String>)>;

/// What a default lost to, and for which tools.
#[derive(Default)]
struct Lost {
    winners: Vec<SecretId>,
    tools: Vec<String>,
}

impl Lost {
    fn add(&mut self, winner: &Match<'_>, tool: &str) {
        if !self.winners.contains(&winner.id()) {
            self.winners.push(winner.id());
        }
        self.tools.push(tool.to_owned());
    }
}
