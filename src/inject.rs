//! Filling one call's arguments, all or nothing.
//!
//! References first, then defaults, each put in once; what was put in is never looked at again.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::{
    call::{InjectionPolicy, ToolCall},
    crypto::KeyRing,
    error::{Error, ErrorKind},
    location::Location,
    pattern::ToolPattern,
    redact::{self, Redactor},
    secret::SecretId,
    snapshot::{Entry, Snapshot},
};

pub(crate) mod place;
pub(crate) mod plan;

pub use self::plan::{SkipReason, Verdict};
use self::{
    place::Undo,
    plan::{Decision, Plan},
};

/// What became of one call: what was put in, what was skipped, and a redactor for exactly the values put in.
///
/// The record is value-free: it can be logged. The values are in the arguments, which are the caller's, and in the
/// redactor, which wipes them when it is dropped.
///
/// ```
/// use keyward::{NewSecret, Reason, ToolCall, UserId, Vault};
/// use serde_json::json;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
/// let before = json!({"title": "Login fails"}).as_object().unwrap().clone();
///
/// let mut args = before.clone();
/// let injection = user.inject(&ToolCall::new("agno__linear__create_issue"), &mut args)?;
/// let filled = &injection.filled()[0];
/// assert_eq!((filled.location.as_pointer(), &*filled.secret_name), ("/api_key", "linear"));
/// assert_eq!(filled.reason, Reason::Default);
///
/// // … the tool runs …
/// let output = injection.redactor().redact("401: invalid key lin_api_Zq8wT3vN").into_owned();
/// injection.wipe(&mut args);
/// assert_eq!(output, "401: invalid key secret://linear");
/// assert_eq!(args, before);
/// # Ok::<(), keyward::Error>(())
/// ```
pub struct Injection {
    filled: Vec<Filled>,
    skipped: Vec<Skipped>,
    redactor: Redactor,
    undo: Vec<Undo>,
}

/// One place that was filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Filled {
    /// Where.
    pub location: Location,
    /// From which secret.
    pub secret_id: SecretId,
    /// Its name.
    pub secret_name: String,
    /// Its revision: which of the values that it had over time.
    pub revision: u64,
    /// Its tool pattern, which matched; `None` if it has none.
    pub pattern: Option<ToolPattern>,
    /// Why.
    pub reason: Reason,
    /// Whether a value that the model supplied had to go: the [policy](InjectionPolicy) replaces it.
    pub replaced: bool,
}

/// Why a place was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The secret is the best default for the tool and the location, and the call had no value there, or one that the
    /// policy replaces.
    Default,
    /// The call had a reference to the secret there, which was granted.
    Reference,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Default => "default",
            Reason::Reference => "reference",
        })
    }
}

/// One secret that matched and was not put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Skipped {
    /// Where it would have gone.
    pub location: Location,
    /// The secret.
    pub secret_id: SecretId,
    /// Its name.
    pub secret_name: String,
    /// Why not.
    pub reason: SkipReason,
}

impl Injection {
    /// What was put in: references in the order of the arguments, then defaults, parents first.
    pub fn filled(&self) -> &[Filled] {
        &self.filled
    }

    /// What matched and was not put in.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Finds the values that were put in, and nothing else, in what the tool says.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The redactor alone.
    pub fn into_redactor(self) -> Redactor {
        self.redactor
    }

    /// Overwrites the values in the arguments and restores what stood there before, so that the arguments can be
    /// recorded. Of what was moved or copied elsewhere it knows nothing.
    pub fn wipe(&self, args: &mut Map<String, Value>) {
        for undo in &self.undo {
            undo.wipe(args);
        }
        for undo in self.undo.iter().rev() {
            undo.clone().restore(args);
        }
    }
}

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection")
            .field("filled", &self.filled)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

/// Fills the arguments of a call.
pub(crate) fn inject(
    keys: &KeyRing,
    snapshot: &Snapshot,
    policy: &InjectionPolicy,
    call: &ToolCall<'_>,
    args: &mut Map<String, Value>,
) -> Result<Injection, Error> {
    let mut injection = Injection {
        filled: Vec::new(),
        skipped: Vec::new(),
        redactor: Redactor::new(),
        undo: Vec::new(),
    };
    let mut texts = Vec::new();
    for (location, entry, outcome) in outcomes(Plan::new(snapshot, policy, call, args))? {
        let info = entry.info();
        let reason = match outcome {
            Ok(reason) => reason,
            Err(reason) => {
                injection.skipped.push(Skipped {
                    location,
                    secret_id: info.secret_id,
                    secret_name: info.secret_name.clone(),
                    reason,
                });
                continue;
            }
        };
        let value = keys.open_value(info, &entry.row)?;
        injection
            .redactor
            .add(redact::reference(&info.secret_name, info.secret_id), &value);
        texts.push(match &entry.format {
            Some(format) => format.apply(&value),
            None => value,
        });
        injection.filled.push(Filled {
            location,
            secret_id: info.secret_id,
            secret_name: info.secret_name.clone(),
            revision: info.revision,
            pattern: entry.pattern.clone(),
            reason,
            replaced: false,
        });
    }
    for (filled, text) in injection.filled.iter_mut().zip(texts) {
        match place::put(args, &filled.location, text.into_string()) {
            Ok(undo) => {
                filled.replaced = filled.reason == Reason::Default && undo.replaced_a_value();
                injection.undo.push(undo);
            }
            Err(mut text) => {
                text.zeroize();
                injection.wipe(args);
                return Err(Error::new(
                    ErrorKind::Validation,
                    "a secret does not fit into the arguments",
                ));
            }
        }
    }
    Ok(injection)
}

type Outcome<'s> = (Location, &'s Entry, Result<Reason, SkipReason>);

/// What to do, or the first thing that makes the call fail.
fn outcomes(plan: Plan<'_>) -> Result<Vec<Outcome<'_>>, Error> {
    let mut outcomes = Vec::with_capacity(plan.references.len() + plan.defaults.len());
    for reference in plan.references {
        match (reference.entry, reference.verdict) {
            (Some(entry), Verdict::Granted) => outcomes.push((
                reference.location,
                entry,
                if reference.covered {
                    Err(SkipReason::ParentFilled)
                } else {
                    Ok(Reason::Reference)
                },
            )),
            _ => return Err(plan::denied_error(&reference.location)),
        }
    }
    for planned in plan.defaults {
        let outcome = match planned.decision {
            Decision::Fill => Ok(Reason::Default),
            Decision::Skip(reason) => Err(reason),
            Decision::Fail(error) => return Err(error),
        };
        outcomes.push((planned.default.location().clone(), planned.entry, outcome));
    }
    Ok(outcomes)
}
