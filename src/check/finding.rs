//! What a check finds, and what to do about it.

use std::fmt;

use serde::Serialize;

use crate::{
    entry::Entry,
    explain::Rank,
    location::Location,
    pattern::{ToolPattern, has_wildcards},
    request::NewSecret,
    secret::{SecretId, SecretValue},
};

/// One problem that a check found.
///
/// `Display` says what is wrong and what to do about it; [`code`](Finding::code) is the name of its kind for
/// programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// A tool requires an argument that looks like a credential, and the user has no secret for it. This is left out
    /// where none could be bound: where the tool's name is no exact [`ToolPattern`], or the place no [`Location`] that
    /// can be written as text.
    NeedsSecret(NeedsSecret),
    /// A tool requires an argument that looks like a credential, and the secret that is bound there is no default,
    /// so the model has to know that it may ask for it.
    #[non_exhaustive]
    NoDefault {
        /// The secret.
        secret: NamedSecret,
        /// The tool.
        tool: String,
        /// The argument.
        location: Location,
    },
    /// A secret goes into a tool whose destination the model chooses: it also has an argument for a URL or a host. A
    /// model that was talked into it can have the secret sent to an attacker without ever seeing it.
    #[non_exhaustive]
    OpenDestination {
        /// The secret.
        secret: NamedSecret,
        /// The tool.
        tool: String,
        /// Where the secret goes.
        location: Location,
        /// The arguments that the model chooses.
        destinations: Vec<Destination>,
    },
    /// A tool's schema says more than is searched for credentials and destinations, so other findings about it may be
    /// missing here. A schema of a useful tool is hardly ever that large; one that is made to hide an argument can be.
    /// All schemas of a list have a bound together, too, beside a share for each that grows with its size; so of a long
    /// list of small schemas that stand for much larger ones, by referring to themselves, the last can be searched in
    /// part.
    #[non_exhaustive]
    PartlySearched {
        /// The tool.
        tool: String,
    },
    /// A tool has a wildcard in its name, so no pattern is for this tool alone: a secret that is bound to its name is
    /// bound to all tools that the name matches as a pattern. So no secret is said to be missing for it. A server
    /// that chooses such a name may want the keys of other servers' tools.
    #[non_exhaustive]
    WildcardName {
        /// The tool.
        tool: String,
    },
    /// A secret's pattern matches no tool.
    #[non_exhaustive]
    UnusedPattern {
        /// The secret.
        secret: NamedSecret,
    },
    /// No tool that a secret's pattern matches declares its location as text, so it goes nowhere.
    #[non_exhaustive]
    UndeclaredLocation {
        /// The secret.
        secret: NamedSecret,
        /// Its location.
        location: Location,
        /// The tools that its pattern matches.
        tools: Vec<String>,
        /// An argument of theirs that may be meant: it has the same letters and digits, looks like a credential or a
        /// destination, and takes a string.
        similar: Option<Location>,
    },
    /// A secret's wildcard pattern matches some tools that declare its location and some that do not. It would go
    /// into the latter as well in a call without a schema, or once they declare something else by this name.
    #[non_exhaustive]
    BroadPattern {
        /// The secret.
        secret: NamedSecret,
        /// Its location.
        location: Location,
        /// The tools that declare it.
        declared_by: Vec<String>,
        /// The tools that match but do not declare it.
        not_declared_by: Vec<String>,
        /// A pattern that matches all of the former and fewer of the latter, if there is a simple one.
        narrower: Option<ToolPattern>,
    },
    /// A default loses to others for every tool that it matches.
    #[non_exhaustive]
    ShadowedDefault {
        /// The secret that is never put in automatically.
        secret: NamedSecret,
        /// The defaults that it loses to.
        by: Vec<NamedSecret>,
        /// The tools that it matches.
        tools: Vec<String>,
    },
    /// Of two defaults for one location, one wins for a reason that few expect: neither is for fewer tools than the
    /// other, so the letters of the patterns decide, or the age of the secrets.
    #[non_exhaustive]
    SurprisingPrecedence {
        /// The secret that goes in.
        winner: NamedSecret,
        /// The secret that does not go in.
        loser: NamedSecret,
        /// What the loser loses by.
        rank: Rank,
        /// The tools that both match.
        tools: Vec<String>,
    },
}

/// A missing secret: a question for the person to whom the secrets belong.
///
/// ```
/// use keyward::{check::NeedsSecret, UserId, Vault};
/// use serde_json::json;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// let schema = json!({"type": "object", "properties": {"api_key": {"type": "string"}}, "required": ["api_key"]});
/// let tools = [("linear_search", &schema)];
///
/// for needs in user.check(tools)?.needs() {
///     println!("{} needs a value for {}", needs.tool, needs.location);
///     let answer = "lin_api_Zq8wT3vN";
///     user.create(needs.answer("linear", answer))?;
/// }
/// assert!(user.check(tools)?.is_clean());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Security
///
/// The names of the tool and of the argument come from the tool's author. Ask in a way that keeps the answer away
/// from the model and the transcript. With the feature `mcp` there are two functions for the person behind an MCP
/// client: `elicit_at` and `elicit_done`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NeedsSecret {
    /// The tool.
    pub tool: String,
    /// The argument.
    pub location: Location,
}

impl NeedsSecret {
    /// Creates a secret that fills the need: the default for this argument of this tool. To make it the default for
    /// several tools, set another [pattern](NewSecret::tool_pattern).
    pub fn answer(&self, name: impl Into<String>, value: impl Into<SecretValue>) -> NewSecret {
        NewSecret::new(name, value)
            .bind(&*self.tool, self.location_text())
            .default_for_tool()
    }

    /// The location as a text that can be parsed.
    pub(crate) fn location_text(&self) -> &str {
        let location = &self.location;
        location.text().unwrap_or_else(|| location.as_pointer())
    }
}

impl fmt::Display for NeedsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NeedsSecret { tool, location } = self;
        write!(
            f,
            "{tool:?} requires {}, and nothing fills it: create a secret that is the default there",
            location.in_line()
        )
    }
}

/// A secret, as findings name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamedSecret {
    /// The secret's id.
    pub id: SecretId,
    /// The secret's name.
    pub name: String,
    /// The secret's tool pattern; `None` if it has none.
    pub pattern: Option<ToolPattern>,
}

impl NamedSecret {
    pub(super) fn of(entry: &Entry) -> NamedSecret {
        NamedSecret {
            id: entry.id(),
            name: entry.info().secret_name.clone(),
            pattern: entry.pattern().cloned(),
        }
    }
}

impl fmt::Display for NamedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        match &self.pattern {
            Some(pattern) => write!(f, " (for {:?})", pattern.as_str()),
            None => Ok(()),
        }
    }
}

/// An argument that tells a tool where to send something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Destination {
    /// The argument.
    pub location: Location,
    /// Whether a default fills it. The model can still choose it by supplying a value, since the policy keeps that.
    pub is_filled: bool,
}

impl Finding {
    /// Returns the name of its kind, which is the same in every version.
    pub fn code(&self) -> &'static str {
        match self {
            Finding::NeedsSecret(_) => "needs_secret",
            Finding::NoDefault { .. } => "no_default",
            Finding::OpenDestination { .. } => "open_destination",
            Finding::PartlySearched { .. } => "partly_searched",
            Finding::WildcardName { .. } => "wildcard_name",
            Finding::UnusedPattern { .. } => "unused_pattern",
            Finding::UndeclaredLocation { .. } => "undeclared_location",
            Finding::BroadPattern { .. } => "broad_pattern",
            Finding::ShadowedDefault { .. } => "shadowed_default",
            Finding::SurprisingPrecedence { .. } => "surprising_precedence",
        }
    }

    /// The rank of its kind: first what keeps a tool from working, then what is dangerous, then what is useless.
    pub(super) fn order(&self) -> u8 {
        match self {
            Finding::NeedsSecret(_) => 0,
            Finding::NoDefault { .. } => 1,
            Finding::OpenDestination { .. } => 2,
            Finding::PartlySearched { .. } => 3,
            Finding::WildcardName { .. } => 4,
            Finding::UndeclaredLocation { .. } => 5,
            Finding::UnusedPattern { .. } => 6,
            Finding::BroadPattern { .. } => 7,
            Finding::ShadowedDefault { .. } => 8,
            Finding::SurprisingPrecedence { .. } => 9,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::NeedsSecret(needs) => needs.fmt(f),
            Finding::NoDefault {
                secret,
                tool,
                location,
            } => write!(
                f,
                "{tool:?} requires {}, and the secret {secret} goes there only when it is asked for: make it the default",
                location.in_line()
            ),
            Finding::OpenDestination {
                secret,
                tool,
                location,
                destinations,
            } => {
                write!(
                    f,
                    "the secret {secret} goes to {} of {tool:?}, and the model chooses {}",
                    location.in_line(),
                    list(
                        destinations
                            .iter()
                            .map(|destination| destination.location.in_line())
                    )
                )?;
                if destinations.iter().all(|destination| destination.is_filled) {
                    f.write_str(
                        " by supplying a value, which the policy keeps: let the policy replace or refuse it",
                    )
                } else {
                    f.write_str(
                        ": if the tool sends the secret there, also create a default there, with a policy that replaces \
                         what the model supplies, or bind the secret to a tool with one destination",
                    )
                }
            }
            Finding::PartlySearched { tool } => write!(
                f,
                "the schema of {tool:?} says more than is searched: look for credentials and destinations in it yourself, or \
                 do not use the tool"
            ),
            Finding::WildcardName { tool } => write!(
                f,
                "the name {tool:?} has a wildcard in it, so no secret can be bound to this tool alone: bind none to its name, \
                 and do not use the tool if you do not trust where it comes from"
            ),
            Finding::UnusedPattern { secret } => write!(
                f,
                "the secret {secret} matches no tool: check the pattern, or delete the secret"
            ),
            Finding::UndeclaredLocation {
                secret,
                location,
                tools,
                similar,
            } => write!(
                f,
                "the secret {secret} goes to {}, which no tool that it matches declares as a string {}",
                location.in_line(),
                spelling_advice(tools, similar.as_ref())
            ),
            Finding::BroadPattern {
                secret,
                location,
                declared_by,
                not_declared_by,
                narrower,
            } => {
                let total = declared_by.len() + not_declared_by.len();
                write!(
                    f,
                    "the secret {secret} goes to {}, which {} of the {total} tools that it matches declare: {}",
                    location.in_line(),
                    declared_by.len(),
                    narrow_advice(narrower.as_ref(), declared_by)
                )
            }
            Finding::ShadowedDefault { secret, by, tools } => write!(
                f,
                "the secret {secret} is never filled in automatically, since {} {} precedence for every tool that it \
                 matches ({}): delete it, or make its pattern more specific",
                list(by),
                if by.len() == 1 { "takes" } else { "take" },
                names(tools)
            ),
            Finding::SurprisingPrecedence {
                winner,
                loser,
                rank,
                tools,
            } => write!(
                f,
                "for {}, the secret {winner} takes precedence over {loser}, which {}: bind the one that you want there to \
                 fewer tools than the other",
                names(tools),
                rank.difference()
            ),
        }
    }
}

/// Which tools do not declare an argument, and what to do about a secret for it.
fn spelling_advice(tools: &[String], similar: Option<&Location>) -> String {
    let tools = names(tools);
    match similar {
        Some(similar) => format!(
            "({tools}): bind it to {} if that is meant",
            similar.in_line()
        ),
        None => format!(
            "({tools}): check the name of the argument, or let the model write the secret's reference there if the tool \
             takes any name"
        ),
    }
}

/// What to bind a secret to whose pattern matches more tools than `wanted`.
fn narrow_advice(narrower: Option<&ToolPattern>, wanted: &[String]) -> String {
    let mut alone = wanted.iter().filter(|name| !has_wildcards(name)).peekable();
    match narrower {
        Some(narrower) => format!("bind it to {:?}", narrower.as_str()),
        None if alone.peek().is_none() => {
            "no pattern is for these alone, since they have wildcards in their names".to_owned()
        }
        None => format!("bind secrets to {}", names(alone)),
    }
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// The first few names.
fn names<'t>(tools: impl IntoIterator<Item = &'t String>) -> String {
    const MOST: usize = 3;
    let mut tools = tools.into_iter();
    let some = list(tools.by_ref().take(MOST).map(|name| format!("{name:?}")));
    match tools.count() {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
