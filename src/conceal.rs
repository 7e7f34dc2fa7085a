//! What the model's schema shows: a tool's input schema without the locations that defaults fill
//! ([`UserVault::conceal`](crate::UserVault::conceal)).
//!
//! # The property
//!
//! Take arguments that have no value (nothing, or null) at any hidden location or removed parent. If they are valid
//! under the concealed schema, they are valid under the original one once the defaults are put in there, whatever
//! strings of 4 characters up to the vault's bound these are. Where this cannot be guaranteed, the location stays in
//! the schema exactly as it was, and the report says why. The concealed schema may ask for more than the original,
//! never for less.
//!
//! # How
//!
//! `walk` expands the path to a location: it finds every subschema that the objects on the path must satisfy
//! (through `allOf`, `$ref`, and an `anyOf` or `oneOf` with a single branch that takes objects, as in "an object or
//! null"). It gives up where a keyword could tell the arguments before from those after, which `sensitivity`
//! decides. A `$ref` on the path is replaced by a copy of its target, so that other places that share the target
//! keep it, unless the target contains the `$ref`. `edit` then removes the property from all of these subschemas.
//! `references` mends references into the parts that were changed, which it learns from one comparison of the two
//! schemas (`changes`), and drops definitions that nothing refers to any more.
//!
//! An absent object is made when a default goes into it. If the original schema asks for something else in it, such
//! an object would be invalid: the concealed schema then requires the object and no longer allows null for it, so
//! that the model supplies the rest.
//!
//! Locations are hidden one after the other, deepest first, and the property above carries over from step to step.
//! While one is hidden, the others are assumed to be filled (so that an object that requires two hidden properties
//! can be made); if one fails, the work starts again without it.
//!
//! # Work
//!
//! A schema may come from anyone. Let `n` be its size in units, as `schema::measure` defines them (about one for
//! each JSON value, and four for an object), and `L` the number of the locations that it declares as strings. A call
//! then does at most
//!
//! * L questions of `FUEL` units each: what does the schema declare at a location? (For any other location there are
//!   this and three more, whether it may declare it all the same or asks for it by name, and no other work.)
//! * 500,000 + 32·(L+1)·n units in all other work: looking at subschemas, following references, comparing and
//!   copying. One attempt to hide one location gets at most 50,000 + 16·n of these; an ordinary one takes about 8·n.
//!
//! A location whose attempt runs out of units is left as [`LeftReason::TooComplex`]. A unit takes on the order of 50
//! ns and, copied, 100 bytes. The schema grows by no more than was copied, so by less than the same bound.
//!
//! Copying, comparing and dropping a `Value` recurse as deep as it is nested. A schema nested deeper than
//! 256 levels, twice what `serde_json` parses unless told to parse more, is therefore detected without recursion and
//! left as it is; no copy makes a schema deeper than that.

mod changes;
mod edit;
mod nodes;
mod references;
mod sensitivity;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use serde::{Serialize, Serializer};
use serde_json::Value;

use self::nodes::MAX_LEVELS;
use crate::{
    location::Location,
    schema::{Budget, Declaration, Document, Types, declares, may_declare, measure, requires},
};

/// What was hidden from a tool's input schema, what was not, and why.
///
/// Serializes for logs, without any secret value:
/// `{"hidden": ["/token"], "removed_parents": [], "left": [{"location": "/pin", "reason": "constrained_value",
/// "keyword": "pattern"}]}`.
///
/// ```
/// use keyward::{conceal::LeftReason, NewSecret, UserId, Vault};
/// use serde_json::json;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// for (name, location) in [("linear", "/headers/Authorization"), ("pin", "pin")] {
///     user.create(NewSecret::new(name, "Zq8wT3vN").bind("fetch", location).default_for_tool())?;
/// }
///
/// let mut schema = json!({
///     "type": "object",
///     "properties": {
///         "url": {"type": "string"},
///         "pin": {"type": "string", "pattern": "^[0-9]{4}$"},
///         "headers": {
///             "type": "object",
///             "properties": {"Authorization": {"type": "string"}},
///             "required": ["Authorization"],
///         },
///     },
///     "required": ["url", "headers"],
/// });
/// let report = user.conceal("fetch", &mut schema)?;
///
/// // Nothing was left to ask for in `headers`; not every secret is a pin.
/// assert_eq!(schema, json!({
///     "type": "object",
///     "properties": {"url": {"type": "string"}, "pin": {"type": "string", "pattern": "^[0-9]{4}$"}},
///     "required": ["url"],
/// }));
/// assert_eq!(report.hidden()[0].as_pointer(), "/headers/Authorization");
/// assert_eq!(report.removed_parents()[0].as_pointer(), "/headers");
/// assert_eq!(report.left()[0].location().as_pointer(), "/pin");
/// assert_eq!(report.left()[0].reason(), LeftReason::ConstrainedValue("pattern"));
/// assert!(!report.is_complete());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// A schema may come from anyone, so the work on it is bounded: by a constant, plus an amount for each location that
/// is proportional to the schema's size. A schema nested deeper than 256 levels is left as it is, with
/// [`LeftReason::TooComplex`]. (Cloning or dropping a very deeply nested `Value` can itself overflow the stack;
/// `serde_json` does not parse one.)
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Concealment {
    #[serde(serialize_with = "as_pointers")]
    hidden: Vec<Location>,
    #[serde(serialize_with = "as_pointers")]
    removed_parents: Vec<Location>,
    left: Vec<LeftLocation>,
}

impl Concealment {
    /// Returns the locations that are no longer in the schema, in order.
    pub fn hidden(&self) -> &[Location] {
        &self.hidden
    }

    /// Returns the objects that are no longer in the schema because nothing is left in them to ask for. They are
    /// made when the defaults go in.
    ///
    /// An object whose `additionalProperties` is `true` or a schema can take anything and is kept. One without the
    /// keyword lists what it takes, as in schemas generated from types, and is removed.
    pub fn removed_parents(&self) -> &[Location] {
        &self.removed_parents
    }

    /// Returns the locations that stay as they were, in order, and why.
    pub fn left(&self) -> &[LeftLocation] {
        &self.left
    }

    /// Returns whether the model is asked for none of the locations of defaults: each is hidden, or the schema neither
    /// declares nor requires it. (What a schema takes under any name, by `additionalProperties` or `patternProperties`,
    /// it does not declare.)
    ///
    /// A description can name anything, and a sample in a definition that several places share may stay as it is:
    /// neither asks for anything.
    pub fn is_complete(&self) -> bool {
        self.left
            .iter()
            .all(|left| left.reason == LeftReason::NotDeclared)
    }
}

/// A location that `conceal` left in the schema, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftLocation {
    #[serde(serialize_with = "as_pointer")]
    location: Location,
    #[serde(flatten)]
    reason: LeftReason,
}

impl LeftLocation {
    /// Returns the location.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns why it stays in the schema.
    pub fn reason(&self) -> LeftReason {
        self.reason
    }
}

impl fmt::Display for LeftLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location.in_line(), self.reason)
    }
}

/// Why a location stays in the schema.
///
/// With [`NotDeclared`](LeftReason::NotDeclared) there is nothing to ask for. With
/// [`NotAString`](LeftReason::NotAString) and [`MayBeDeclared`](LeftReason::MayBeDeclared) the model may be asked, and
/// nothing is filled in. With every other reason the model may be asked, and the default goes in if it gives no value.
/// Where a reason carries a keyword, it is the JSON Schema keyword that stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "reason", content = "keyword", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftReason {
    /// The schema neither declares nor requires it: there is nothing to hide, and nothing is put in.
    NotDeclared,
    /// The schema declares it with a type that no string has: nothing is put in.
    NotAString,
    /// The schema declares it for some arguments only, as by `then`, or may do so in a part that is not followed: in
    /// another document, without an end, or too large. Or it does not declare it, and requires it all the same, by
    /// `required` or the like. Nothing is put in, but the model may be asked for a value.
    MayBeDeclared(&'static str),
    /// The schema accepts only some strings there, so the tool might refuse the secret.
    ConstrainedValue(&'static str),
    /// What the schema asks for depends on whether the property is there.
    ConditionalSchema(&'static str),
    /// The schema limits which properties, or how many, an object on the path may have.
    ConstrainedObject(&'static str),
    /// Something on the path may be neither an object nor null.
    ParentNotObject,
    /// An object on the path may be null, would be invalid if it were made, and null cannot be ruled out.
    ParentNullable,
    /// It lies inside an array, which may have no such element.
    InsideArray,
    /// It lies inside another location that takes a string.
    InsideAnother,
    /// The schema has a reference that is not followed: to another document, to an anchor, or a dynamic one.
    UnsupportedReference(&'static str),
    /// Another part of the schema refers to this one in a way that cannot be untangled, such as a recursion.
    SharedSchema,
    /// A keyword has a value that JSON Schema does not allow.
    Malformed(&'static str),
    /// The schema is too large or too deep.
    TooComplex,
}

impl LeftReason {
    /// Returns the keyword that stands in the way, for reasons that have one.
    pub fn keyword(self) -> Option<&'static str> {
        match self {
            LeftReason::MayBeDeclared(keyword)
            | LeftReason::ConstrainedValue(keyword)
            | LeftReason::ConditionalSchema(keyword)
            | LeftReason::ConstrainedObject(keyword)
            | LeftReason::UnsupportedReference(keyword)
            | LeftReason::Malformed(keyword) => Some(keyword),
            _ => None,
        }
    }
}

impl fmt::Display for LeftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            LeftReason::NotDeclared => "the schema does not declare it",
            LeftReason::NotAString => "the schema declares it with a type that excludes strings",
            LeftReason::MayBeDeclared(_) => {
                "the schema only requires it, or declares it for some arguments only or in a part that is not followed"
            }
            LeftReason::ConstrainedValue(_) => "the schema accepts only some strings there",
            LeftReason::ConditionalSchema(_) => {
                "what the schema requires depends on whether it is present"
            }
            LeftReason::ConstrainedObject(_) => {
                "the schema limits which or how many properties there may be"
            }
            LeftReason::ParentNotObject => {
                "one of its parents may be something other than an object or null"
            }
            LeftReason::ParentNullable => {
                "one of its parents may be null, and an object created in its place would be invalid"
            }
            LeftReason::InsideArray => "it lies inside an array",
            LeftReason::InsideAnother => "it lies inside another location that takes a string",
            LeftReason::UnsupportedReference(_) => {
                "the schema has references that are not followed"
            }
            LeftReason::SharedSchema => "another part of the schema refers to this one",
            LeftReason::Malformed(_) => "the schema is malformed",
            LeftReason::TooComplex => "the schema is too large or too deep",
        };
        f.write_str(text)?;
        match self.keyword() {
            Some(keyword) => write!(f, " (`{keyword}`)"),
            None => Ok(()),
        }
    }
}

/// Removes `locations` from `schema`, so that the model is not asked for them.
///
/// `max_value_chars` is the length in characters of the longest string that can be put in, including a format.
pub(crate) fn conceal<'l>(
    schema: &mut Value,
    locations: impl IntoIterator<Item = &'l Location>,
    max_value_chars: usize,
) -> Concealment {
    let mut left = BTreeMap::new();
    let declared = declared_as_strings(schema, locations, &mut left);
    let mut batch = Batch::default();
    if !declared.is_empty() {
        match Work::on(schema, declared.len()) {
            Ok(work) => batch = hide_all(schema, declared, max_value_chars, &work),
            Err(reason) => left.extend(declared.into_iter().map(|location| (location, reason))),
        }
    }
    left.extend(batch.failures);
    if let Some(concealed) = batch.concealed {
        *schema = concealed;
    }
    Concealment {
        hidden: batch.hidden.into_iter().cloned().collect(),
        removed_parents: batch.removed_parents.into_iter().collect(),
        left: left
            .into_iter()
            .map(|(location, reason)| LeftLocation {
                location: location.clone(),
                reason,
            })
            .collect(),
    }
}

/// Returns the locations that the schema declares as strings; the others are added to `left`.
fn declared_as_strings<'l>(
    schema: &Value,
    locations: impl IntoIterator<Item = &'l Location>,
    left: &mut BTreeMap<&'l Location, LeftReason>,
) -> BTreeSet<&'l Location> {
    let mut strings: BTreeSet<&Location> = BTreeSet::new();
    let mut pointers: HashSet<&str> = HashSet::new();
    // In order, so that a location comes after those that contain it.
    let locations: BTreeSet<&Location> = locations.into_iter().collect();
    for location in locations {
        let reason = if location.parents().any(|outer| pointers.contains(outer)) {
            LeftReason::InsideAnother
        } else {
            let reason = match declares(schema, location) {
                Declaration::NotDeclared => requires(schema, location)
                    .map_or(LeftReason::NotDeclared, LeftReason::MayBeDeclared),
                Declaration::NoString => LeftReason::NotAString,
                Declaration::String => {
                    strings.insert(location);
                    pointers.insert(location.as_pointer());
                    continue;
                }
            };
            may_declare(schema, location).map_or(reason, LeftReason::MayBeDeclared)
        };
        left.insert(location, reason);
    }
    strings
}

/// The work that one call may cause; see the top of this module.
struct Work {
    /// The schema's size.
    size: u64,
    each: u64,
    total: Budget,
}

impl Work {
    /// Fails if the schema cannot be worked on at all.
    fn on(schema: &Value, locations: usize) -> Result<Work, LeftReason> {
        let size = measure(schema, u64::MAX, MAX_LEVELS).ok_or(LeftReason::TooComplex)?;
        match references::unsupported(schema) {
            None => Ok(Work::new(size, locations)),
            Some(reason) => Err(reason),
        }
    }

    fn new(size: u64, locations: usize) -> Work {
        let rounds = 32 * (locations as u64 + 1);
        Work {
            size,
            each: size.saturating_mul(16).saturating_add(50_000),
            total: Budget::new(size.saturating_mul(rounds).saturating_add(500_000)),
        }
    }

    /// Runs one attempt to hide one location.
    fn attempt<T>(
        &self,
        hide: impl FnOnce(&Budget) -> Result<T, LeftReason>,
    ) -> Result<T, LeftReason> {
        let given = self.each.min(self.total.left());
        let budget = Budget::new(given);
        let result = hide(&budget);
        self.total.take(given - budget.left());
        // Whatever failed, it may have failed only because the budget ran out.
        if budget.is_spent() {
            return Err(LeftReason::TooComplex);
        }
        result
    }
}

/// Locations that were to be hidden together, and what became of them.
#[derive(Default)]
struct Batch<'l> {
    /// The schema without the hidden locations; `None` if no location is hidden.
    concealed: Option<Value>,
    hidden: BTreeSet<&'l Location>,
    removed_parents: BTreeSet<Location>,
    failures: BTreeMap<&'l Location, LeftReason>,
}

/// Hides as many of the locations as it can.
///
/// What was in the way of one location may be gone with another, so this tries again until nothing more can be hidden.
fn hide_all<'l>(
    schema: &Value,
    mut pending: BTreeSet<&'l Location>,
    max_value_chars: usize,
    work: &Work,
) -> Batch<'l> {
    let mut all = Batch::default();
    // The first reason for each location: it is about the schema as it was given.
    let mut reasons = BTreeMap::new();
    while !pending.is_empty() {
        let base = all.concealed.as_ref().unwrap_or(schema);
        let batch = hide_most(base, &pending, max_value_chars, work);
        for (&location, &reason) in &batch.failures {
            reasons.entry(location).or_insert(reason);
        }
        let Some(mut next) = batch.concealed else {
            break;
        };
        if work.total.take(2 * work.size) {
            references::drop_unused_definitions(schema, &mut next, &work.total);
        }
        all.concealed = Some(next);
        all.removed_parents.extend(batch.removed_parents);
        all.hidden.extend(batch.hidden);
        pending = batch.failures.into_keys().collect();
    }
    reasons.retain(|location, _| pending.contains(location));
    all.failures = reasons;
    all
}

/// Hides those of the locations that can be hidden together.
fn hide_most<'l>(
    schema: &Value,
    locations: &BTreeSet<&'l Location>,
    max_value_chars: usize,
    work: &Work,
) -> Batch<'l> {
    let mut batch = Batch {
        concealed: None,
        hidden: locations.clone(),
        removed_parents: BTreeSet::new(),
        failures: BTreeMap::new(),
    };
    loop {
        let failed_before = batch.failures.len();
        let mut concealed: Option<Value> = None;
        let mut removed_parents = BTreeSet::new();
        for &location in batch.hidden.iter().rev() {
            let base = concealed.as_ref().unwrap_or(schema);
            let hidden =
                work.attempt(|budget| hide(base, location, &batch.hidden, max_value_chars, budget));
            match hidden {
                Ok((next, parents)) => {
                    concealed = Some(next);
                    removed_parents.extend(parents);
                }
                Err(reason) => {
                    batch.failures.insert(location, reason);
                }
            }
        }
        if batch.failures.len() == failed_before {
            batch.concealed = concealed;
            batch.removed_parents = removed_parents;
            return batch;
        }
        batch
            .hidden
            .retain(|location| !batch.failures.contains_key(location));
    }
}

/// Returns the schema without `location`, and the parents that this left empty. `with` holds all the locations that
/// will be hidden.
fn hide(
    schema: &Value,
    location: &Location,
    with: &BTreeSet<&Location>,
    max_value_chars: usize,
    budget: &Budget,
) -> Result<(Value, Vec<Location>), LeftReason> {
    let mut path = walk::expand(schema, location.tokens(), max_value_chars, budget)?;
    let removed = edit::remove(&mut path, location.tokens(), with, budget)?;
    let mut concealed = path.schema;
    references::mend(schema, &mut concealed, budget)?;
    let document = Document::within(&concealed, Types::NONE, budget);
    let declaration = document.declaration(location);
    if document.is_spent() {
        return Err(LeftReason::TooComplex);
    }
    if declaration != Declaration::NotDeclared {
        return Err(LeftReason::SharedSchema);
    }
    Ok((concealed, removed))
}

fn as_pointer<S: Serializer>(location: &Location, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(location.as_pointer())
}

fn as_pointers<S: Serializer>(locations: &[Location], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(locations.iter().map(Location::as_pointer))
}
