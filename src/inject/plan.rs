//! What a call gets: worked out before anything is opened or changed, for `inject` and `explain` alike.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::place::{Found, Spot, look};
use crate::{
    call::{InjectionPolicy, Origin, Supplied, ToolCall},
    error::{Error, ErrorKind, FieldError, LocSegment},
    location::Location,
    resolver::Match,
    schema::{self, Declaration},
    snapshot::{Entry, Snapshot},
};

/// What starts a reference; the rest of the string is the name.
const REFERENCE: &str = "secret://";

/// What becomes of every reference in the arguments and of every default that matches the tool.
pub(crate) struct Plan<'s> {
    pub(crate) references: Vec<PlannedReference<'s>>,
    /// The best default for each location, parents first.
    pub(crate) defaults: Vec<PlannedDefault<'s>>,
}

pub(crate) struct PlannedReference<'s> {
    pub(crate) location: Location,
    /// What the reference names, if there is such a secret.
    pub(crate) entry: Option<&'s Entry>,
    pub(crate) verdict: Verdict,
    /// A default takes the place of what the reference stands in.
    pub(crate) covered: bool,
}

/// Whether a reference is granted. Not for the model: it tells which secrets exist.
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

pub(crate) enum Decision {
    Fill,
    Skip(SkipReason),
    Fail(Error),
}

/// Why a default was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The call has a value there, and the policy keeps it.
    Supplied,
    /// The call has a reference there, which was granted.
    Reference,
    /// The tool's schema does not declare the property, or its type allows no string.
    NotDeclared,
    /// Something was put in at a location that contains this one.
    ParentFilled,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SkipReason::Supplied => "the call has a value there",
            SkipReason::Reference => "the call has a granted reference there",
            SkipReason::NotDeclared => "the tool's schema declares no text there",
            SkipReason::ParentFilled => "something was put in at a location that contains this one",
        })
    }
}

impl<'s> Plan<'s> {
    pub(crate) fn new(
        snapshot: &'s Snapshot,
        policy: &InjectionPolicy,
        call: &ToolCall<'_>,
        args: &Map<String, Value>,
    ) -> Plan<'s> {
        let mut references = Vec::new();
        find_references(args, &mut |location, name| {
            let entry = snapshot.by_text(name).map(|entry| &**entry);
            let verdict = grant(call, &location, entry);
            references.push(PlannedReference {
                location,
                entry,
                verdict,
                covered: false,
            });
        });
        let mut plan = Plan {
            references,
            defaults: Vec::new(),
        };
        for default in &snapshot.resolver().resolve(call.tool()) {
            // The resolver is made of the snapshot's own entries.
            let Some(entry) = snapshot.by_id(default.id()) else {
                continue;
            };
            let decision = plan.decide(policy, call, args, default.location());
            if matches!(decision, Decision::Fill) {
                plan.cover(default.location());
            }
            plan.defaults.push(PlannedDefault {
                default: *default,
                entry,
                decision,
            });
        }
        plan
    }

    fn decide(
        &self,
        policy: &InjectionPolicy,
        call: &ToolCall<'_>,
        args: &Map<String, Value>,
        location: &Location,
    ) -> Decision {
        let tokens = location.tokens();
        if self.put_locations().any(|put| put.contains(location)) {
            return Decision::Skip(SkipReason::ParentFilled);
        }
        if self
            .references
            .iter()
            .any(|reference| reference.location == *location)
        {
            return Decision::Skip(SkipReason::Reference);
        }
        let declared = call
            .schema()
            .is_none_or(|schema| schema::declares(schema, location) == Declaration::String);
        if !declared {
            return Decision::Skip(SkipReason::NotDeclared);
        }
        match look(args, location) {
            Spot::Value(value) if call.origin() == Origin::Model => match policy.supplied() {
                _ if policy.is_absent(value) => Decision::Fill,
                Supplied::Keep => Decision::Skip(SkipReason::Supplied),
                Supplied::Replace => Decision::Fill,
                Supplied::Refuse => Decision::Fail(refused(location)),
            },
            Spot::Value(_) => Decision::Skip(SkipReason::Supplied),
            Spot::Free { present } => {
                let mut made = present + 1..tokens.len();
                let allowed = call.schema().is_none_or(|schema| {
                    made.all(|depth| schema::allows_object(schema, &tokens[..depth]))
                });
                if allowed {
                    Decision::Fill
                } else {
                    Decision::Skip(SkipReason::NotDeclared)
                }
            }
            Spot::Misfit { depth, found } => Decision::Fail(misfit(location, depth, found)),
        }
    }

    /// Where something is put in, so far.
    fn put_locations(&self) -> impl Iterator<Item = &Location> {
        let references = self
            .references
            .iter()
            .filter(|reference| !reference.covered);
        let defaults = self
            .defaults
            .iter()
            .filter(|planned| matches!(planned.decision, Decision::Fill));
        references
            .map(|reference| &reference.location)
            .chain(defaults.map(|planned| planned.default.location()))
    }

    /// A default goes in at `location`: what is put into the value that it replaces goes away with it.
    fn cover(&mut self, location: &Location) {
        for reference in &mut self.references {
            reference.covered |= location.contains(&reference.location);
        }
    }
}

/// A reference by the model needs a whole binding: otherwise a secret could leave through any argument of any tool.
fn grant(call: &ToolCall<'_>, location: &Location, entry: Option<&Entry>) -> Verdict {
    let Some(entry) = entry else {
        return Verdict::UnknownSecret;
    };
    let needs_all = call.origin() == Origin::Model;
    match &entry.pattern {
        None if needs_all => return Verdict::NoToolPattern,
        Some(pattern) if !pattern.matches(call.tool()) => return Verdict::OtherTool,
        _ => {}
    }
    match &entry.location {
        None if needs_all => Verdict::NoLocation,
        Some(bound) if bound != location => Verdict::OtherLocation,
        _ => Verdict::Granted,
    }
}

/// The same whether the secret exists or not.
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
            "the call supplies a value at {}, which is filled in for it: leave it out",
            clipped(location)
        ),
    )
}

fn misfit(location: &Location, depth: usize, found: Found) -> Error {
    let what = match found {
        Found::String => "is a string, not an object or an array",
        Found::Number => "is a number, not an object or an array",
        Found::Bool => "is a boolean, not an object or an array",
        Found::Array => "is an array without this element",
    };
    let parents = &location.tokens()[..depth];
    let parent = Location::from_tokens(parents.to_vec());
    let loc = parents
        .iter()
        .map(|token| LocSegment::Name(token.to_string().into()));
    Error::validation(vec![FieldError::new(
        loc,
        "value_error",
        format!(
            "Value error, a secret goes to {}, but {} {what}",
            clipped(location),
            clipped(&parent)
        ),
    )])
}

/// Locations of references are made of the model's own keys, which have no bound.
fn clipped(location: &Location) -> String {
    const MOST: usize = 100;
    let mut chars = location.as_pointer().chars();
    let mut text: String = chars.by_ref().take(MOST).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

/// One step on the way to a value.
#[derive(Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    token: Token<'p>,
}

#[derive(Clone, Copy)]
enum Token<'p> {
    Name(&'p str),
    Index(usize),
}

impl Path<'_> {
    fn location(&self) -> Location {
        let mut tokens: Vec<Box<str>> = Vec::new();
        let mut next = Some(self);
        while let Some(path) = next {
            tokens.push(match path.token {
                Token::Name(name) => name.into(),
                Token::Index(index) => index.to_string().into(),
            });
            next = path.parent;
        }
        tokens.reverse();
        Location::from_tokens(tokens)
    }
}

/// Every string value that is a reference as a whole, with where it stands.
fn find_references<'a>(args: &'a Map<String, Value>, found: &mut impl FnMut(Location, &'a str)) {
    for (name, value) in args {
        search(
            value,
            Path {
                parent: None,
                token: Token::Name(name),
            },
            found,
        );
    }
}

fn search<'a>(value: &'a Value, path: Path<'_>, found: &mut impl FnMut(Location, &'a str)) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(REFERENCE) {
                found(path.location(), name);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                search(
                    value,
                    Path {
                        parent: Some(&path),
                        token: Token::Name(name),
                    },
                    found,
                );
            }
        }
        Value::Array(elements) => {
            for (i, value) in elements.iter().enumerate() {
                search(
                    value,
                    Path {
                        parent: Some(&path),
                        token: Token::Index(i),
                    },
                    found,
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
