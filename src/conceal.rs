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
//! A location whose attempt runs out of units is kept as [`KeptReason::TooComplex`]. A unit takes on the order of 50
//! ns and, copied, 100 bytes. The schema grows by no more than was copied, so by less than the same bound.
//!
//! Copying, comparing and dropping a `Value` recurse as deep as it is nested. A schema nested deeper than
//! 256 levels, twice what `serde_json` parses unless told to parse more, is therefore detected without recursion and
//! left as it is; no copy makes a schema deeper than that.

mod changes;
mod edit;
mod nodes;
mod references;
mod report;
mod sensitivity;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use self::nodes::MAX_LEVELS;
pub use self::report::{Concealment, KeptLocation, KeptReason};
use crate::{
    location::Location,
    schema::{
        Budget, Declaration, Document, Place, Types, declares, may_declare, measure, requires,
    },
};

/// Removes `locations` from `schema`, so that the model is not asked for them.
///
/// `max_value_chars` is the length in characters of the longest string that can be put in, including a format.
pub(crate) fn conceal<'l>(
    schema: &mut Value,
    locations: impl IntoIterator<Item = &'l Location>,
    max_value_chars: usize,
) -> Concealment {
    let mut kept = BTreeMap::new();
    let declared = declared_as_strings(schema, locations, &mut kept);
    let mut batch = Batch::default();
    if !declared.is_empty() {
        match Work::on(schema, declared.len()) {
            Ok(work) => batch = hide_all(schema, declared, max_value_chars, &work),
            Err(reason) => kept.extend(declared.into_iter().map(|location| (location, reason))),
        }
    }
    kept.extend(batch.failures);
    if let Some(concealed) = batch.concealed {
        *schema = concealed;
    }
    Concealment {
        hidden: batch.hidden.into_iter().cloned().collect(),
        removed_parents: batch.removed_parents.into_iter().collect(),
        kept: kept
            .into_iter()
            .map(|(location, reason)| KeptLocation {
                location: location.clone(),
                reason,
            })
            .collect(),
    }
}

/// Returns the locations that the schema declares as strings; the others are added to `kept`.
fn declared_as_strings<'l>(
    schema: &Value,
    locations: impl IntoIterator<Item = &'l Location>,
    kept: &mut BTreeMap<&'l Location, KeptReason>,
) -> BTreeSet<&'l Location> {
    let mut strings: BTreeSet<&Location> = BTreeSet::new();
    let mut pointers: HashSet<&str> = HashSet::new();
    // In order, so that a location comes after those that contain it.
    let locations: BTreeSet<&Location> = locations.into_iter().collect();
    for location in locations {
        let reason = if location.parents().any(|outer| pointers.contains(outer)) {
            KeptReason::InsideAnother
        } else {
            let reason = match declares(schema, location) {
                Declaration::NotDeclared => requires(schema, location)
                    .map_or(KeptReason::NotDeclared, KeptReason::MayBeDeclared),
                Declaration::NoString => KeptReason::NotAString,
                Declaration::String => {
                    strings.insert(location);
                    pointers.insert(location.as_pointer());
                    continue;
                }
            };
            may_declare(schema, location).map_or(reason, KeptReason::MayBeDeclared)
        };
        kept.insert(location, reason);
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
    fn on(schema: &Value, locations: usize) -> Result<Work, KeptReason> {
        let size = measure(schema, u64::MAX, MAX_LEVELS).ok_or(KeptReason::TooComplex)?;
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
        hide: impl FnOnce(&Budget) -> Result<T, KeptReason>,
    ) -> Result<T, KeptReason> {
        let given = self.each.min(self.total.left());
        let budget = Budget::new(given);
        let result = hide(&budget);
        self.total.take(given - budget.left());
        // Whatever failed, it may have failed only because the budget ran out.
        if budget.is_spent() {
            return Err(KeptReason::TooComplex);
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
    failures: BTreeMap<&'l Location, KeptReason>,
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
) -> Result<(Value, Vec<Location>), KeptReason> {
    let mut path = walk::expand(schema, location.tokens(), max_value_chars, budget)?;
    let removed = edit::remove(&mut path, location.tokens(), with, budget)?;
    let mut concealed = path.schema;
    references::mend(schema, &mut concealed, budget)?;
    let document = Document::within(&concealed, Types::NONE, budget);
    let declaration = document.declaration(Place::of(location));
    if document.is_spent() {
        return Err(KeptReason::TooComplex);
    }
    if declaration != Declaration::NotDeclared {
        return Err(KeptReason::SharedSchema);
    }
    Ok((concealed, removed))
}
