//! What a call gets, worked out before anything is opened or changed, for both `inject` and `explain`.

use std::{fmt, ops::ControlFlow};

use serde::Serialize;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::{
    place::{Lookup, Obstacle, holders, lookup},
    references::{self, Path},
};
use crate::{
    call::{InjectionPolicy, Origin, Supplied, ToolCall},
    entry::Entry,
    error::{Error, ErrorKind, FieldError, LocSegment},
    location::Location,
    resolver::Match,
    schema::{self, Declaration, Place},
    secret::SecretId,
    snapshot::Snapshot,
};

/// The most denied references that an explanation lists, each counted once more for every [`LONG`] bytes of its
/// location: names in arguments have no limit, and each location holds all that lead to it. An injection ends at the
/// first.
pub(crate) const DENIALS_EXPLAINED: usize = 100;

const LONG: usize = 1_024;

/// How many bytes the locations of all references of a call may have together. Each holds the names that lead to it, so
/// many under one long name would take the product of both.
const ALL_LOCATIONS: usize = 16 * 1024 * 1024;

/// What happens to every reference in the arguments and every default that matches the tool.
pub(crate) struct Plan<'s> {
    pub(crate) references: Vec<PlannedReference<'s>>,
    /// The numbers of the references in the order of their pointers.
    by_pointer: SmallVec<[usize; 4]>,
    /// The best default for each location, parents first.
    pub(crate) defaults: SmallVec<[PlannedDefault<'s>; 1]>,
}

pub(crate) struct PlannedReference<'s> {
    pub(crate) location: Location,
    /// The secret that the reference names, if it exists.
    pub(crate) entry: Option<&'s Entry>,
    pub(crate) verdict: Verdict,
    /// Whether a default replaces the value that contains the reference.
    pub(crate) covered: bool,
}

/// Whether a reference is granted, and if not, why. Not for the model: it tells which secrets exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It is granted.
    Granted,
    /// The user has no secret with this id or name.
    UnknownSecret,
    /// The secret has no tool pattern, so only a workflow may ask for it.
    NoToolPattern,
    /// The secret is for other tools.
    OtherTool,
    /// The secret has no location, so only a workflow may ask for it.
    NoLocation,
    /// The secret is for another location.
    OtherLocation,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Granted => "granted",
            Verdict::UnknownSecret => "denied: the user has no such secret",
            Verdict::NoToolPattern => "denied: the secret has no tool pattern",
            Verdict::OtherTool => "denied: the secret is for other tools",
            Verdict::NoLocation => "denied: the secret has no location",
            Verdict::OtherLocation => "denied: the secret is for another location",
        })
    }
}

pub(crate) struct PlannedDefault<'s> {
    pub(crate) default: Match<'s>,
    pub(crate) entry: &'s Entry,
    pub(crate) decision: Decision,
}

#[derive(Clone, Copy)]
pub(crate) enum Decision {
    Fill {
        /// Whether a value of the call is replaced.
        replaces: bool,
    },
    Skip(SkipReason),
    Fail(FailReason),
}

/// Why the place of a default makes the call fail.
#[derive(Clone, Copy)]
pub(crate) enum FailReason {
    /// The call has a reference there that is not granted.
    Denied,
    /// The call has a value there, and the policy refuses that.
    Refused,
    /// The call has a value there, the policy does not keep it, and the schema declares no text there.
    RefusedUndeclared,
    /// The parent of this depth is no container, or an array without the element.
    Obstructed { depth: usize, by: Obstacle },
}

impl FailReason {
    /// Returns the error of the call.
    pub(crate) fn error(self, location: &Location) -> Error {
        match self {
            FailReason::Denied => denied_error(location),
            FailReason::Refused => refused(location),
            FailReason::RefusedUndeclared => refused_undeclared(location),
            FailReason::Obstructed { depth, by } => obstructed(location, depth, by),
        }
    }
}

/// Why a default was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The call has a value there, and the policy keeps it.
    Supplied,
    /// The call has a reference there, and it was granted.
    Reference,
    /// The tool's schema does not declare the property, or its type does not allow a string.
    NotDeclared,
    /// An object that would contain it is absent or null, and the tool's schema declares no object there: most often an
    /// array, of which elements are filled but not made.
    ParentNotMade,
    /// A location that contains this one holds something that is no object: a secret was put in there, or the call
    /// supplied a value there, where another default is bound.
    ParentFilled,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SkipReason::Supplied => "the call has a value there",
            SkipReason::Reference => "the call has a granted reference there",
            SkipReason::NotDeclared => "the tool's schema declares no string there",
            SkipReason::ParentNotMade => {
                "an object around it is missing, and the tool's schema declares no object there"
            }
            SkipReason::ParentFilled => {
                "a location that contains this one holds something that is no object"
            }
        })
    }
}

/// What a denied call asked for, and why it did not get it.
pub(crate) struct Denial {
    pub(crate) location: Location,
    /// The secret that was asked for, if it exists, and its revision.
    pub(crate) secret: Option<(SecretId, u64)>,
    pub(crate) reason: DenialReason,
}

pub(crate) enum DenialReason {
    /// A reference was not granted.
    Reference(Verdict),
    /// A value was supplied where a default is bound, and the policy refuses that.
    Supplied,
}

impl<'s> Plan<'s> {
    /// Plans a call. Stops looking for references once `most_denials` of them (at least 1) were denied.
    pub(crate) fn new(
        snapshot: &'s Snapshot,
        policy: &InjectionPolicy,
        call: &ToolCall<'_>,
        args: &Map<String, Value>,
        most_denials: usize,
    ) -> Result<Plan<'s>, Error> {
        let mut references = Vec::new();
        let mut denials_left = most_denials;
        let mut bytes_left = Some(ALL_LOCATIONS);
        references::find(args, &mut |path, name| {
            let entry = snapshot.by_text(name);
            let verdict = grant(call, path, entry);
            let location = path.location();
            bytes_left = bytes_left.and_then(|left| left.checked_sub(location.as_pointer().len()));
            if bytes_left.is_none() {
                return ControlFlow::Break(());
            }
            if verdict != Verdict::Granted {
                let length = location.as_pointer().len();
                denials_left = denials_left.saturating_sub(1 + length / LONG);
            }
            references.push(PlannedReference {
                location,
                entry,
                verdict,
                covered: false,
            });
            if denials_left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if bytes_left.is_none() {
            return Err(references::too_long());
        }
        let mut by_pointer: SmallVec<[usize; 4]> = (0..references.len()).collect();
        by_pointer.sort_unstable_by_key(|number| references[*number].location.as_pointer());
        let mut plan = Plan {
            references,
            by_pointer,
            defaults: SmallVec::new(),
        };
        for default in &snapshot.resolver().resolve(call.tool()) {
            // The resolver is built from the snapshot's own entries.
            let Some(entry) = snapshot.by_id(default.id()) else {
                continue;
            };
            let decision = plan.decide(policy, call, args, default.location());
            plan.defaults.push(PlannedDefault {
                default: *default,
                entry,
                decision,
            });
        }
        plan.cover();
        Ok(plan)
    }

    /// The first reference that is not granted; it fails the call.
    pub(crate) fn first_denied(&self) -> Option<&PlannedReference<'s>> {
        let mut references = self.references.iter();
        references.find(|reference| reference.verdict != Verdict::Granted)
    }

    fn decide(
        &self,
        policy: &InjectionPolicy,
        call: &ToolCall<'_>,
        args: &Map<String, Value>,
        location: &Location,
    ) -> Decision {
        let tokens = location.tokens();
        let is_reference = |pointer: &str| self.reference_at(pointer).is_some();
        if self.fills_parent_of(location) || location.parents().any(is_reference) {
            return Decision::Skip(SkipReason::ParentFilled);
        }
        if let Some(here) = self.reference_at(location.as_pointer()) {
            return match here.verdict {
                Verdict::Granted => Decision::Skip(SkipReason::Reference),
                _ => Decision::Fail(FailReason::Denied),
            };
        }
        let schema = call.schema();
        let holders = schema.map(|_| holders(args, location)).unwrap_or_default();
        let place = Place::in_arguments(location, &holders);
        let declared = schema.map_or(Declaration::String, |schema| {
            schema::declares_at(schema, place)
        });
        match lookup(args, location) {
            Lookup::Value(value)
                if !(call.origin() == Origin::Model && policy.is_absent(value)) =>
            {
                decide_supplied(policy, call, declared, location, value)
            }
            found if declared != Declaration::String => {
                let is_made =
                    matches!(found, Lookup::Free { present } if present + 1 < tokens.len());
                let is_declared =
                    |schema| schema::declares(schema, location) == Declaration::String;
                Decision::Skip(if is_made && schema.is_some_and(is_declared) {
                    // Such as an array.
                    SkipReason::ParentNotMade
                } else {
                    SkipReason::NotDeclared
                })
            }
            Lookup::Value(_) => Decision::Fill { replaces: false },
            Lookup::Free { present } => {
                let mut made = present + 1..tokens.len();
                let allowed = schema.is_none_or(|schema| {
                    made.all(|depth| schema::allows_object(schema, place.parent(depth)))
                });
                if allowed {
                    Decision::Fill { replaces: false }
                } else {
                    Decision::Skip(SkipReason::ParentNotMade)
                }
            }
            Lookup::Obstructed { depth, .. } if self.binds_parent_of(location, depth) => {
                Decision::Skip(SkipReason::ParentFilled)
            }
            Lookup::Obstructed { depth, by } => {
                Decision::Fail(FailReason::Obstructed { depth, by })
            }
        }
    }

    /// Whether a default is put in where a parent of this location is.
    fn fills_parent_of(&self, location: &Location) -> bool {
        let mut parents = (1..).zip(location.parents());
        parents.any(|(depth, parent)| {
            let default = self.default_at(depth, parent);
            default.is_some_and(|planned| matches!(planned.decision, Decision::Fill { .. }))
        })
    }

    /// Whether another matching default is bound to the parent of this location that has `depth` tokens.
    fn binds_parent_of(&self, location: &Location, depth: usize) -> bool {
        let mut parents = (1..).zip(location.parents());
        let parent = parents.find(|(at, _)| *at == depth);
        parent.is_some_and(|(depth, parent)| self.default_at(depth, parent).is_some())
    }

    /// The default at a location, given its number of tokens and its canonical form, if it is planned already.
    fn default_at(&self, depth: usize, pointer: &str) -> Option<&PlannedDefault<'s>> {
        let found = self.defaults.binary_search_by(|planned| {
            let location = planned.default.location();
            (location.tokens().len(), location.as_pointer()).cmp(&(depth, pointer))
        });
        Some(&self.defaults[found.ok()?])
    }

    fn reference_at(&self, pointer: &str) -> Option<&PlannedReference<'s>> {
        let found = self.by_pointer.binary_search_by_key(&pointer, |number| {
            self.references[*number].location.as_pointer()
        });
        Some(&self.references[self.by_pointer[found.ok()?]])
    }

    /// Marks the references that defaults cover: they disappear with the values that these replace.
    fn cover(&mut self) {
        for number in 0..self.references.len() {
            let location = &self.references[number].location;
            self.references[number].covered = self.fills_parent_of(location);
        }
    }
}

/// Decides what happens to a default where the call has this value. The schema matters only when the policy replaces or
/// refuses it. An argument that the schema does not declare may still reach the tool, as an additional
/// property does, so it is no way around a policy that keeps foreign values out.
fn decide_supplied(
    policy: &InjectionPolicy,
    call: &ToolCall<'_>,
    declared: Declaration,
    location: &Location,
    value: &Value,
) -> Decision {
    let supplied = match call.origin() {
        Origin::Model => policy.supplied(),
        Origin::Workflow => Supplied::Keep,
    };
    let is_known = || {
        let doubt = |schema| schema::may_declare(schema, location);
        call.schema().and_then(doubt).is_none()
    };
    match (supplied, declared) {
        (Supplied::Keep, _) => Decision::Skip(SkipReason::Supplied),
        // The tool has another use for this argument, and text is not meant for that.
        (_, Declaration::NoString) if !value.is_string() && is_known() => {
            Decision::Skip(SkipReason::NotDeclared)
        }
        (Supplied::Replace, Declaration::String) => Decision::Fill { replaces: true },
        (Supplied::Refuse, Declaration::String) => Decision::Fail(FailReason::Refused),
        (Supplied::Replace | Supplied::Refuse, _) => Decision::Fail(FailReason::RefusedUndeclared),
    }
}

/// Decides on a reference. From the model it needs a secret with both a tool pattern and a location: otherwise a
/// secret could leave through any argument of any tool.
fn grant(call: &ToolCall<'_>, path: &Path<'_>, entry: Option<&Entry>) -> Verdict {
    let Some(entry) = entry else {
        return Verdict::UnknownSecret;
    };
    let needs_all = call.origin() == Origin::Model;
    match entry.pattern() {
        None if needs_all => return Verdict::NoToolPattern,
        Some(pattern) if !pattern.matches(call.tool()) => return Verdict::OtherTool,
        _ => {}
    }
    match entry.location() {
        None if needs_all => Verdict::NoLocation,
        Some(bound) if !path.is(bound) => Verdict::OtherLocation,
        _ => Verdict::Granted,
    }
}

/// The error of a denied reference; the same whether the secret exists or not.
pub(crate) fn denied_error(location: &Location) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!(
            "the secret reference at {} is not granted: a secret goes only to the tool and the argument that it is \
             bound to",
            clipped(location)
        ),
    )
}

fn refused(location: &Location) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!(
            "the call supplies a value at {}, which is filled in automatically: leave it out",
            clipped(location)
        ),
    )
}

fn refused_undeclared(location: &Location) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!(
            "the call may not supply this value at {}, where the tool's schema declares no text: leave it out",
            clipped(location)
        ),
    )
}

fn obstructed(location: &Location, depth: usize, by: Obstacle) -> Error {
    let what = match by {
        Obstacle::String => "is a string, not an object or an array: leave it out",
        Obstacle::Number => "is a number, not an object or an array: leave it out",
        Obstacle::Bool => "is a boolean, not an object or an array: leave it out",
        Obstacle::Array => "is an array without this element: add the element",
    };
    let parents = &location.tokens()[..depth];
    let parent = Location::from_tokens(parents.to_vec());
    let loc = parents
        .iter()
        .map(|token| LocSegment::Name(token.to_string().into()));
    Error::validation(vec![FieldError::value_error_at(
        loc,
        format!(
            "a secret goes to {}, but {} {what}",
            clipped(location),
            clipped(&parent)
        ),
    )])
}

/// Clips a location for an error message: those of references consist of the model's own keys, which have no length
/// limit and may hold any characters.
fn clipped(location: &Location) -> String {
    const MOST: usize = 100;
    let mut chars = location.as_pointer().chars();
    let mut text: String = chars
        .by_ref()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_in_a_message_is_short_and_of_one_line() {
        for (name, shown) in [
            ("é".repeat(99), format!("/{}", "é".repeat(99))),
            ("é".repeat(100), format!("/{}…", "é".repeat(99))),
            ("a\n\u{1b}b".to_owned(), r"/a\n\u{1b}b".to_owned()),
        ] {
            let location = Location::from_tokens(vec![name.into()]);
            assert_eq!(clipped(&location), shown);
            for error in [denied_error(&location), refused(&location)] {
                assert!(error.to_string().contains(&shown), "{error}");
            }
        }
    }
}
