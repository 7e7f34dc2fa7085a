//! Filling in one call's arguments, all or nothing: [`UserVault::inject`](crate::UserVault::inject).
//!
//! References go in first, then defaults, each once; a value that was put in is never scanned again.

use std::fmt;

use serde_json::{Map, Value};
use smallvec::SmallVec;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    call::{InjectionPolicy, ToolCall},
    crypto::KeyRing,
    entry::Entry,
    error::{Error, ErrorKind},
    location::Location,
    redact::Redactor,
    snapshot::Snapshot,
};

mod forms;
mod guard;
pub(crate) mod place;
pub(crate) mod plan;
mod references;
mod report;
mod text;

pub(crate) use self::{forms::members, text::read as read_text};
pub use self::{
    guard::{Arguments, GuardedArgs},
    plan::{SkipReason, Verdict},
    report::{Filled, Reason, Skipped},
};
use self::{
    place::Undo,
    plan::{Decision, Denial, DenialReason, Plan},
    report::Place,
};

/// The outcome of one call: what was put in, what was skipped, and a redactor for exactly the values put in.
///
/// Its `Debug` form has no values, and neither have the records of what was filled and skipped, which can be serialized
/// as well: all of this can be logged. The values are in the arguments, which belong to the caller, and in the
/// redactor, which wipes them when it is dropped.
///
/// ```
/// use keyward::{inject::Reason, NewSecret, ToolCall, UserId, Vault};
/// use serde_json::json;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("agno__linear__*", "api_key").default_for_tool())?;
/// let before = json!({"title": "Login fails"}).as_object().unwrap().clone();
///
/// let mut args = before.clone();
/// let injection = user.inject(&ToolCall::new("agno__linear__create_issue"), &mut args)?;
/// let filled = &injection.filled()[0];
/// assert_eq!((filled.location().as_pointer(), &*filled.secret().secret_name), ("/api_key", "linear"));
/// assert_eq!(filled.reason(), Reason::Default);
///
/// // … the tool runs …
/// let output = injection.redactor().redact("401: invalid key lin_api_Zq8wT3vN").into_owned();
/// injection.wipe(&mut args);
/// assert_eq!(output, "401: invalid key secret://linear");
/// assert_eq!(args, before);
/// # Ok::<(), keyward::Error>(())
/// ```
#[must_use = "it has the redactor, and undoes what was filled in"]
pub struct Injection {
    filled: SmallVec<[Filled; 1]>,
    skipped: Vec<Skipped>,
    redactor: Redactor,
    /// One for each place that was filled.
    undo: SmallVec<[Undo; 1]>,
    /// The original text, if the arguments are text: the filled text took its place.
    text: Option<Zeroizing<String>>,
    /// Whether the arguments were null and an object was made in place of null.
    was_null: bool,
}

impl Injection {
    /// An injection of nothing, with room for so many places.
    fn with_capacity(places: usize) -> Injection {
        Injection {
            filled: SmallVec::with_capacity(places),
            skipped: Vec::new(),
            redactor: Redactor::with_capacity(places),
            undo: SmallVec::with_capacity(places),
            text: None,
            was_null: false,
        }
    }

    /// Returns what was put in: references in the order of the arguments, then defaults, parents first.
    pub fn filled(&self) -> &[Filled] {
        &self.filled
    }

    /// Returns what matched but was not put in.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Returns a redactor that finds the values that were put in, and nothing else, in the tool's output: each value
    /// bare, and with its [format](crate::NewSecret::format) around it.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Returns the redactor alone.
    pub fn into_redactor(self) -> Redactor {
        self.redactor
    }

    /// Overwrites the values in the arguments and restores what was there before, so that the arguments can be
    /// recorded. Values that were moved or copied elsewhere are not touched. A parent that was created for a value is
    /// removed with everything in it, even if the tool added something.
    ///
    /// Wipe the arguments before they are filled again, for example to retry the tool: a second injection would take
    /// a value from the first one for a value that the call supplied.
    pub fn wipe(&self, args: &mut Map<String, Value>) {
        for filled in &self.filled {
            place::wipe(args, filled.location());
        }
        for (location, undo) in self.undo().rev() {
            undo.restore(location, args);
        }
    }

    /// Keeps the arguments that were filled, and wipes them when what this returns is dropped, however the call ends.
    ///
    /// Give it the arguments in the form in which they were filled. Text that was made of other arguments becomes
    /// empty, as [`wipe_str`](Injection::wipe_str) says.
    pub fn guard<A: Arguments>(self, args: A) -> GuardedArgs<A> {
        GuardedArgs::new(args, self)
    }

    /// What takes back what was put in, and where that is.
    fn undo(&self) -> impl DoubleEndedIterator<Item = (&Location, &Undo)> {
        let locations = self.filled.iter().map(Filled::location);
        locations.zip(&self.undo)
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

/// Fills the arguments of one call.
pub(crate) struct Injector<'a> {
    pub(crate) keys: &'a KeyRing,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) policy: &'a InjectionPolicy,
    pub(crate) call: &'a ToolCall<'a>,
}

/// Why the arguments of a call were not filled.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// What the error of a denied call leaves out; only the audit gets it.
    pub(crate) denial: Option<Denial>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            error,
            denial: None,
        }
    }
}

impl Injector<'_> {
    pub(crate) fn inject(&self, args: &mut Map<String, Value>) -> Result<Injection, Failure> {
        let plan = Plan::new(self.snapshot, self.policy, self.call, args, 1)?;
        refuse(&plan)?;
        let most = plan.references.len() + plan.defaults.len();
        if most == 0 {
            return Ok(Injection::with_capacity(0));
        }
        let mut injection = Injection::with_capacity(most);
        for (location, entry, outcome) in outcomes(&plan) {
            let filled = match outcome {
                Ok(purpose) => self.fill(entry, location, purpose, args, &mut injection),
                Err(reason) => {
                    let place = Place::new(entry, location);
                    injection.skipped.push(Skipped::new(place, reason));
                    Ok(())
                }
            };
            if let Err(error) = filled {
                injection.wipe(args);
                return Err(error.into());
            }
        }
        Ok(injection)
    }

    /// Puts one secret in. On failure, leaves the arguments as they were.
    fn fill(
        &self,
        entry: &Entry,
        location: &Location,
        (reason, replaced): (Reason, bool),
        args: &mut Map<String, Value>,
        injection: &mut Injection,
    ) -> Result<(), Error> {
        let value = entry.open(self.keys)?;
        let text = entry.format().map(|format| format.apply(&value));
        let redactor = &mut injection.redactor;
        if let Some(text) = &text {
            redactor.insert_formatted(entry.reference(), text, &value);
        }
        redactor.insert(entry.reference(), &value);
        let text = text.unwrap_or(value).into_string();
        let undo = place::put(args, location, text).map_err(|mut text| {
            text.zeroize();
            let message = "a secret does not fit into the arguments";
            Error::new(ErrorKind::Validation, message)
        })?;
        let place = Place::new(entry, location);
        injection.filled.push(Filled::new(place, reason, replaced));
        injection.undo.push(undo);
        Ok(())
    }
}

/// Where, which secret, and why it is put in and whether it replaces a value of the call, or why it is skipped.
type Outcome<'p> = (&'p Location, &'p Entry, Result<(Reason, bool), SkipReason>);

/// The steps of the plan in the order in which they are done. The plan must hold nothing that makes the call fail.
fn outcomes<'p>(plan: &'p Plan<'_>) -> impl Iterator<Item = Outcome<'p>> {
    let references = plan.references.iter().filter_map(|reference| {
        let outcome = if reference.covered {
            Err(SkipReason::ParentFilled)
        } else {
            Ok((Reason::Reference, false))
        };
        Some((&reference.location, reference.entry?, outcome))
    });
    let defaults = plan.defaults.iter().filter_map(|planned| {
        let outcome = match planned.decision {
            Decision::Fill { replaces } => Ok((Reason::Default, replaces)),
            Decision::Skip(reason) => Err(reason),
            Decision::Fail(_) => return None,
        };
        Some((planned.default.location(), planned.entry, outcome))
    });
    references.chain(defaults)
}

/// Returns the first failure in the plan, if there is one.
fn refuse(plan: &Plan<'_>) -> Result<(), Failure> {
    if let Some(denied) = plan.first_denied() {
        return Err(Failure {
            error: plan::denied_error(&denied.location),
            denial: Some(Denial {
                location: denied.location.clone(),
                secret: denied
                    .entry
                    .map(|entry| (entry.id(), entry.info().revision)),
                reason: DenialReason::Reference(denied.verdict),
            }),
        });
    }
    for planned in &plan.defaults {
        let Decision::Fail(reason) = planned.decision else {
            continue;
        };
        let location = planned.default.location();
        let error = reason.error(location);
        let denial = (error.kind() == ErrorKind::Denied).then(|| Denial {
            location: location.clone(),
            secret: Some((planned.entry.id(), planned.entry.info().revision)),
            reason: DenialReason::Supplied,
        });
        return Err(Failure { error, denial });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        crypto::{UserRoot, VaultId},
        metadata::Metadata,
        sealed::{Sealed, SealedRoot, SealedRow},
        secret::{SecretValue, UserId},
    };

    /// Values that precede it are already in the arguments when it fails.
    #[test]
    fn a_value_that_does_not_open_leaves_the_arguments_as_they_were() {
        let keys = KeyRing::random(VaultId::random().unwrap()).unwrap();
        let locations = ["/a", "/b", "/c/d"];
        let snapshot = |damaged: Option<usize>| {
            let changes = (0..).zip(locations).map(|(i, location)| {
                let metadata = Metadata::of_default(i as u128, location, "tool", location);
                let row = keys.seal_row(&metadata, &SecretValue::new("4QvT9sLm"));
                let row = match row.unwrap() {
                    row if damaged == Some(i) => SealedRow {
                        value: row.metadata.clone(),
                        ..row
                    },
                    row => row,
                };
                let id = metadata.info.secret_id;
                (id, Entry::new(metadata, Arc::new(row), []))
            });
            let root = SealedRoot {
                key_id: 1,
                root: Sealed::new([]),
            };
            let empty = Snapshot::empty(UserId::LOCAL);
            empty.changed(UserRoot::new(UserId::LOCAL), root, changes.collect())
        };
        let policy = InjectionPolicy::default().replace_supplied();
        let before = json!({"a": null, "b": "of the call", "e": 1});
        for damaged in [None, Some(0), Some(1), Some(2)] {
            let snapshot = snapshot(damaged);
            let injector = Injector {
                keys: &keys,
                snapshot: &snapshot,
                policy: &policy,
                call: &ToolCall::new("tool"),
            };
            let mut args = before.clone();
            match (injector.inject_value(&mut args), damaged) {
                (Ok(injection), None) => assert_eq!(injection.filled().len(), locations.len()),
                (Err(failure), Some(_)) => {
                    assert_eq!(failure.error.kind(), ErrorKind::Corrupt);
                    assert_eq!(args, before);
                }
                (result, _) => panic!("{damaged:?}: {}", result.is_ok()),
            }
        }
    }
}
