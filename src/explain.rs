//! Why a call gets what it gets, without any values: [`UserVault::explain`](crate::UserVault::explain).

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    call::{InjectionPolicy, ToolCall},
    entry::Entry,
    inject::{
        SkipReason, Verdict,
        plan::{DENIALS_EXPLAINED, Decision, Plan, PlannedReference, denied_error},
    },
    location::Location,
    pattern::ToolPattern,
    resolver::Match,
    secret::SecretId,
    snapshot::Snapshot,
};

/// What [`inject`](crate::UserVault::inject) would do with a call, and why.
///
/// It is for the program's owner and not for the model, because it tells which secrets exist. It holds no value.
///
/// ```
/// use keyward::{NewSecret, ToolCall, UserId, Vault};
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("any", "4QvT9sLm").bind("*", "api_key").default_for_tool())?;
/// user.create(NewSecret::new("linear", "Zc81bKxE").bind("agno__linear__*", "api_key").default_for_tool())?;
///
/// let explanation = user.explain(&ToolCall::new("agno__linear__get_user_details"), &Default::default())?;
/// let names: Vec<_> = explanation.locations[0].candidates.iter().map(|c| &*c.secret_name).collect();
/// assert_eq!(names, ["linear", "any"]);
/// print!("{explanation}");
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The tool's name.
    pub tool: String,
    /// Every location to which a default that matches the tool is bound, parents first.
    pub locations: Vec<ExplainedLocation>,
    /// The references in the arguments, in order; the list ends at the hundredth one that is not granted.
    pub references: Vec<ExplainedReference>,
    /// The error that makes the call fail, as text; `None` if nothing does.
    pub failure: Option<String>,
}

/// The defaults that compete for one location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedLocation {
    /// The location.
    pub location: Location,
    /// What happens to the best of them.
    pub outcome: Outcome,
    /// Every default that matches the tool, best first.
    pub candidates: Vec<Candidate>,
}

/// What happens to a reference, or to the best default for a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It goes in, unless the call fails elsewhere: then nothing does.
    Filled,
    /// It does not go in.
    Skipped(SkipReason),
    /// The call fails there.
    Fails,
}

/// A default that matches the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// The secret.
    pub secret_id: SecretId,
    /// The secret's name.
    pub secret_name: String,
    /// The secret's tool pattern.
    pub pattern: ToolPattern,
    /// How it compares to the best.
    pub rank: Rank,
}

/// Why a default is the best for its location, or by which rule it loses to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rank {
    /// It is the best.
    Best,
    /// It has a wildcard; the best has none.
    Wildcard,
    /// It has fewer literal characters.
    FewerLiterals,
    /// It has more `*`.
    MoreStars,
    /// It has more `?`.
    MoreQuestionMarks,
    /// It is the younger secret.
    Younger,
}

/// A reference in the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedReference {
    /// Where it is in the arguments.
    pub location: Location,
    /// The id of the secret that it names, if there is one.
    pub secret_id: Option<SecretId>,
    /// The name of that secret.
    pub secret_name: Option<String>,
    /// Whether it is granted.
    pub verdict: Verdict,
    /// What happens there. One that is granted is skipped where a default replaces the value that holds it.
    pub outcome: Outcome,
}

pub(crate) fn explain(
    snapshot: &Snapshot,
    policy: &InjectionPolicy,
    call: &ToolCall<'_>,
    args: &Map<String, Value>,
) -> Explanation {
    let plan = match Plan::new(snapshot, policy, call, args, DENIALS_EXPLAINED) {
        Ok(plan) => plan,
        Err(error) => {
            return Explanation {
                tool: call.tool().to_owned(),
                locations: Vec::new(),
                references: Vec::new(),
                failure: Some(error.to_string()),
            };
        }
    };
    let candidates = snapshot.resolver().candidates(call.tool());
    // In the order of the defaults.
    let mut competing = candidates.chunk_by(|one, other| one.location() == other.location());
    let mut failure = plan
        .first_denied()
        .map(|denied| denied_error(&denied.location).to_string());
    let locations = plan
        .defaults
        .iter()
        .map(|planned| {
            let location = planned.default.location();
            let outcome = match &planned.decision {
                Decision::Fill { .. } => Outcome::Filled,
                Decision::Skip(reason) => Outcome::Skipped(*reason),
                Decision::Fail(reason) => {
                    failure.get_or_insert_with(|| reason.error(location).to_string());
                    Outcome::Fails
                }
            };
            let competing = competing.find(|candidates| candidates[0].location() == location);
            ExplainedLocation {
                location: location.clone(),
                outcome,
                candidates: competing
                    .unwrap_or_default()
                    .iter()
                    .map(|candidate| explain_candidate(snapshot, candidate, &planned.default))
                    .collect(),
            }
        })
        .collect();
    Explanation {
        tool: call.tool().to_owned(),
        locations,
        references: plan.references.iter().map(explain_reference).collect(),
        failure,
    }
}

fn explain_candidate(snapshot: &Snapshot, candidate: &Match<'_>, best: &Match<'_>) -> Candidate {
    let name = snapshot
        .by_id(candidate.id())
        .map(|entry| entry.info().secret_name.clone());
    Candidate {
        secret_id: candidate.id(),
        secret_name: name.unwrap_or_default(),
        pattern: candidate.pattern().clone(),
        rank: rank(candidate, best),
    }
}

/// Returns the first rule of precedence by which the candidate loses to the best.
pub(crate) fn rank(candidate: &Match<'_>, best: &Match<'_>) -> Rank {
    let [this, other] = [candidate, best].map(|default| default.pattern().specificity());
    if candidate.id() == best.id() {
        Rank::Best
    } else if this.wildcard != other.wildcard {
        Rank::Wildcard
    } else if this.literals != other.literals {
        Rank::FewerLiterals
    } else if this.any_runs != other.any_runs {
        Rank::MoreStars
    } else if this.any_chars != other.any_chars {
        Rank::MoreQuestionMarks
    } else {
        Rank::Younger
    }
}

fn explain_reference(reference: &PlannedReference<'_>) -> ExplainedReference {
    ExplainedReference {
        location: reference.location.clone(),
        secret_id: reference.entry.map(Entry::id),
        secret_name: reference
            .entry
            .map(|entry| entry.info().secret_name.clone()),
        verdict: reference.verdict,
        outcome: match reference.verdict {
            Verdict::Granted if reference.covered => Outcome::Skipped(SkipReason::ParentFilled),
            Verdict::Granted => Outcome::Filled,
            _ => Outcome::Fails,
        },
    }
}

impl fmt::Display for Explanation {
    /// Writes one line for each location, candidate and reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.tool.escape_debug())?;
        // Of a call that fails for its form, nothing was looked at.
        let is_empty = self.locations.is_empty() && self.references.is_empty();
        if is_empty && self.failure.is_none() {
            writeln!(f, "  no default matches, and there is no reference")?;
        }
        for reference in &self.references {
            write!(f, "  {}: reference", reference.location.in_line())?;
            if let Some(name) = &reference.secret_name {
                write!(f, " {name:?}")?;
            }
            write!(f, ": {}", reference.verdict)?;
            match reference.outcome {
                Outcome::Skipped(_) => writeln!(f, ", but {}", reference.outcome)?,
                _ => writeln!(f)?,
            }
        }
        for explained in &self.locations {
            let location = explained.location.in_line();
            writeln!(f, "  {location}: {}", explained.outcome)?;
            for candidate in &explained.candidates {
                let Candidate {
                    secret_name,
                    pattern,
                    rank,
                    ..
                } = candidate;
                let [name, pattern] = [secret_name, pattern.as_str()].map(str::escape_debug);
                writeln!(f, "    {name} ({pattern}): {rank}")?;
            }
        }
        if let Some(failure) = &self.failure {
            writeln!(f, "  the call fails: {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Filled => f.write_str("filled"),
            Outcome::Skipped(reason) => write!(f, "skipped: {reason}"),
            Outcome::Fails => f.write_str("fails"),
        }
    }
}

impl Rank {
    /// What a default that loses by this rule is or has, for a sentence that says what it is compared to.
    pub(crate) fn difference(self) -> &'static str {
        match self {
            Rank::Best => "best",
            Rank::Wildcard => "has a wildcard",
            Rank::FewerLiterals => "has fewer literal characters",
            Rank::MoreStars => "has more `*`",
            Rank::MoreQuestionMarks => "has more `?`",
            Rank::Younger => "is younger",
        }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let than = match self {
            Rank::Best => "",
            Rank::Wildcard => ", and the best has none",
            _ => " than the best",
        };
        write!(f, "{}{than}", self.difference())
    }
}
