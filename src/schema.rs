//! What a JSON Schema declares at a location.
//!
//! `inject` puts a default in only where the tool's input schema declares the property and its type allows a string,
//! and `conceal` hides only what `inject` fills. Both ask [`declares`], so that they cannot disagree.
//!
//! The dialect is JSON Schema 2020-12 (the default of MCP's `inputSchema`), or what the root's `$schema` says. The
//! decisions are as follows; section numbers are those of 2020-12, Core unless marked otherwise:
//!
//! * `properties` (§10.3.2.1) declares a property; `prefixItems` and `items` (§10.3.1) declare array elements, also
//!   in the older form in which `items` is an array. `additionalProperties`, `patternProperties` and
//!   `unevaluatedProperties` permit properties but declare none.
//! * `$ref` (§8.2.3.1) is followed within the document, by JSON Pointer. Keywords beside a `$ref` are ignored in drafts
//!   up to 7, as those drafts demand. Other documents are never fetched, and anchors, `$dynamicRef` and embedded
//!   resources with an `$id` of their own are not followed: what they declare is unknown, and unknown counts as not
//!   declared.
//! * `allOf` (§10.2.1.1): declared if a branch declares it, unless another branch forbids a string there, by the
//!   property's type or by an `additionalProperties: false` that does not list it.
//! * `anyOf`, `oneOf` (§10.2.1.2, §10.2.1.3): declared if some branch declares it with a type that allows a string.
//! * `not` (§10.2.1.4) rules out the types of a schema that states only a type, and every type if the schema is
//!   empty; anything else in it is ignored.
//! * `if`, `then`, `else` and `dependentSchemas` say what holds for some arguments, and declare nothing. `conceal`
//!   reports what they name, and what an unknown part may name, as something that [may be declared](may_declare).
//! * `required` and `dependentRequired` (Validation §6.5) declare nothing either. What is only [required](requires)
//!   `conceal` reports in the same way, as the model is asked for it.
//! * A type allows a string if `type` (Validation §6.1.1), where present, names `string`, and `enum` and `const`,
//!   where present, have a string among their values. `const` is no keyword before draft 6. Further limits on the
//!   value, such as `pattern`, are for the tool to check.
//! * Anything that is not a schema declares nothing and never panics. The same goes for endless nesting or
//!   repetition.
//!
//! # Work
//!
//! A schema may come from anyone, and a few kilobytes can stand for an exponentially larger one. A question may use
//! [`LEAST`] units, and more in a larger schema: [`EACH`] for each unit of its size as [`measure`] has it, up to
//! [`FUEL`]. A subschema costs 1, and 1 more for every four of its keywords and of the members of its lists;
//! following a `$ref` costs 1, and 1 more for every 8 bytes of it. So one question takes at most a small constant
//! times `FUEL`, however large the schema is and whatever it refers to: a millisecond or two, plus the time to count
//! the keywords of the subschema at which the units run out. And a list of many small schemas takes no longer than a
//! few large ones: some microseconds for each byte of it. `inject` asks one question for each default, and one for each
//! of its parents that has to be made; two more where a value that is no text is in the place of a default. Nested
//! subschemas are followed to a depth of [`DEPTH`] and no other code here recurses, so a question needs little stack
//! however deep a schema is nested.

mod doubt;
mod place;
mod reference;
#[cfg(test)]
mod tests;
mod types;
mod work;

use std::{cell::Cell, ops::BitOr};

use serde_json::{Map, Value};

use self::work::node_units;
pub(crate) use self::{
    doubt::{may_declare, requires},
    place::{Holder, Place},
    reference::{fragment_pointer, pointer_tokens, resolve},
    types::Types,
    work::{Budget, measure, pointer_units},
};
use crate::location::{Location, array_index};

/// What a schema says about a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declaration {
    /// The schema does not name the property.
    NotDeclared,
    /// The schema names the property, with a type that no string has.
    NoString,
    /// The schema names the property, and its type allows a string.
    String,
}

/// Returns what `schema`, a tool's input schema, declares at `location` for some arguments.
pub(crate) fn declares(schema: &Value, location: &Location) -> Declaration {
    Document::new(schema, Types::NONE).declaration(Place::of(location))
}

/// Returns what `schema` declares at `place`.
pub(crate) fn declares_at(schema: &Value, place: Place<'_>) -> Declaration {
    Document::new(schema, Types::NONE).declaration(place)
}

/// Returns what `schema` declares at `location` in arguments that have none of its parents: nothing if `budget` does
/// not suffice to find out.
pub(crate) fn declares_within(schema: &Value, location: &Location, budget: &Budget) -> Declaration {
    Document::within(schema, Types::NONE, budget).declaration(Place::to_be_made(location))
}

/// Whether `schema` allows a missing object to be created at `parent`: it declares `parent` with a type that allows an
/// object. A part of the schema that is not known, such as another document, counts as allowing one: what is asked for
/// lies in `parent`, so the rest of the schema takes it for an object.
pub(crate) fn allows_object(schema: &Value, parent: Place<'_>) -> bool {
    Document::new(schema, Types::ALL).declares_object(parent)
}

/// Whether a secret can be put in at `location` when none of its parents exists yet: `schema` declares the location
/// with a type that allows a string, and each parent with a type that allows an object.
pub(crate) fn can_be_filled(schema: &Value, location: &Location) -> bool {
    let place = Place::to_be_made(location);
    declares_at(schema, place) == Declaration::String
        && place.parents().all(|parent| allows_object(schema, parent))
}

/// Whether `schema` allows an object at each parent of `location`, as far as `budget` suffices to find out.
pub(crate) fn allows_parents_within(schema: &Value, location: &Location, budget: &Budget) -> bool {
    let document = || Document::within(schema, Types::ALL, budget);
    let mut parents = Place::to_be_made(location).parents();
    parents.all(|parent| document().declares_object(parent))
}

/// How many units of work one question may cause, however large the schema is.
const FUEL: u64 = 20_000;

/// How many it may cause however small the schema is.
const LEAST: u64 = 1_000;

/// How many it may cause for each unit of the schema's size.
const EACH: u64 = 64;

/// How deep subschemas may be nested, counting `$ref`.
const DEPTH: usize = 100;

/// A schema as a whole, within which references are resolved.
pub(crate) struct Document<'a> {
    root: &'a Value,
    dialect: Dialect,
    /// The types to assume where they cannot be known.
    unknown: Types,
    fuel: Budget,
    /// Whether the fuel is that for a schema of this size. The size is of no interest to a question that takes little.
    is_measured: Cell<bool>,
    /// Whether a subschema was too deep to be looked at.
    is_cut: Cell<bool>,
    /// The budget that this question shares with others.
    shared: Option<&'a Budget>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(root: &'a Value, unknown: Types) -> Document<'a> {
        Document {
            root,
            dialect: Dialect::of(root),
            unknown,
            fuel: Budget::new(LEAST),
            is_measured: Cell::new(false),
            is_cut: Cell::new(false),
            shared: None,
        }
    }

    /// Creates a document for questions that together may cost no more than `budget`. Once that is spent, types are
    /// `unknown` and nothing is declared.
    pub(crate) fn within(root: &'a Value, unknown: Types, budget: &'a Budget) -> Document<'a> {
        Document {
            shared: Some(budget),
            ..Document::new(root, unknown)
        }
    }

    pub(crate) fn declaration(&self, place: Place<'_>) -> Declaration {
        let found = self.find(self.root, place, Types::STRING, 0);
        if found.is_allowed() {
            Declaration::String
        } else if found.declared {
            Declaration::NoString
        } else {
            Declaration::NotDeclared
        }
    }

    fn declares_object(&self, place: Place<'_>) -> bool {
        self.find(self.root, place, Types::OBJECT, 0).is_allowed()
    }

    fn find(&self, schema: &Value, place: Place<'_>, wanted: Types, depth: usize) -> Found {
        let Some((token, holder, rest)) = place.split_first() else {
            let fits = self.types_at(schema, depth).contains(wanted);
            return Found {
                declared: true,
                fits,
                forbidden: !fits,
            };
        };
        let node = match schema {
            Value::Object(node) if self.spend(node, depth) => node,
            Value::Bool(true) => return Found::default(),
            _ => return Found::FORBIDDEN,
        };
        let mut found = Found::default();
        if let Some(reference) = node.get("$ref") {
            match self.resolve(reference) {
                Some(target) => found = found.and(self.find(target, place, wanted, depth + 1)),
                None if self.is_spent() => return Found::FORBIDDEN,
                None => {}
            }
            if self.ref_hides_siblings() {
                return found;
            }
        }

        let own = self.own_types(node) & holder.types();
        let may_be_object = own.contains(Types::OBJECT);
        let index = array_index(token).filter(|_| own.contains(Types::ARRAY));
        if may_be_object {
            if let Some(property) = entry(node, "properties", token) {
                found = found.and(self.find(property, rest, wanted, depth + 1));
            } else if index.is_none()
                && node.get("additionalProperties") == Some(&Value::Bool(false))
                && !node.contains_key("patternProperties")
            {
                found.forbidden = true;
            }
        } else if index.is_none() {
            found.forbidden = true;
        }
        if let Some(element) = index.and_then(|index| element(node, index)) {
            found = found.and(self.find(element, rest, wanted, depth + 1));
        }

        for branch in branches(node, "allOf") {
            found = found.and(self.find(branch, place, wanted, depth + 1));
        }
        for keyword in ["anyOf", "oneOf"] {
            let either = branches(node, keyword)
                .iter()
                .map(|branch| self.find(branch, place, wanted, depth + 1))
                .reduce(Found::or);
            found = found.and(either.unwrap_or_default());
        }
        found
    }

    /// A superset of the types that an instance of `schema` can have.
    pub(crate) fn types(&self, schema: &Value) -> Types {
        self.types_at(schema, 0)
    }

    fn types_at(&self, schema: &Value, depth: usize) -> Types {
        let node = match schema {
            Value::Object(node) if self.spend(node, depth) => node,
            Value::Bool(true) => return Types::ALL,
            Value::Bool(false) => return Types::NONE,
            _ => return self.unknown,
        };
        let mut types = Types::ALL;
        if let Some(reference) = node.get("$ref") {
            types = match self.resolve(reference) {
                Some(target) => self.types_at(target, depth + 1),
                None => self.unknown,
            };
            if self.ref_hides_siblings() {
                return types;
            }
        }
        types = types & self.own_types(node);
        for branch in branches(node, "allOf") {
            types = types & self.types_at(branch, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            let either = branches(node, keyword)
                .iter()
                .map(|branch| self.types_at(branch, depth + 1))
                .reduce(Types::bitor);
            types = types & either.unwrap_or(Types::ALL);
        }
        types
    }

    /// The types that this node alone allows, without its subschemas other than `not`.
    fn own_types(&self, node: &Map<String, Value>) -> Types {
        self.named_types(node) & !self.excluded_types(node)
    }

    /// The types that `type`, `enum` and `const` of this node alone allow.
    fn named_types(&self, node: &Map<String, Value>) -> Types {
        let mut types = match node.get("type") {
            None => Types::ALL,
            Some(Value::Array(names)) => names
                .iter()
                .map(Types::named)
                .fold(Types::NONE, Types::bitor),
            Some(name) => Types::named(name),
        };
        if let Some(Value::Array(values)) = node.get("enum") {
            types = types & values.iter().map(Types::of).fold(Types::NONE, Types::bitor);
        }
        if let Some(value) = node.get("const")
            && self.dialect != Dialect::Draft4
        {
            types = types & Types::of(value);
        }
        types
    }

    /// The types that `not` rules out entirely: those of a schema that states only a type, or all if the schema is
    /// empty.
    fn excluded_types(&self, node: &Map<String, Value>) -> Types {
        match node.get("not") {
            Some(Value::Bool(true)) => Types::ALL,
            Some(Value::Object(not)) if not.is_empty() => Types::ALL,
            Some(Value::Object(not)) if not.len() == 1 && not.contains_key("type") => {
                self.named_types(not)
            }
            _ => Types::NONE,
        }
    }

    /// Returns the schema that the value of a `$ref` names within this document.
    pub(crate) fn resolve(&self, reference: &Value) -> Option<&'a Value> {
        let units = pointer_units(reference.as_str()?);
        self.charge(units).then(|| resolve(self.root, reference))?
    }

    /// Whether keywords beside a `$ref` are ignored.
    pub(crate) fn ref_hides_siblings(&self) -> bool {
        self.dialect != Dialect::Modern
    }

    /// Pays for one more subschema. Returns whether it may be looked at. Once the units ran out, not even its keywords
    /// are counted, as many more subschemas can be met on the way back from there.
    pub(crate) fn spend(&self, node: &Map<String, Value>, depth: usize) -> bool {
        if depth > DEPTH {
            self.is_cut.set(true);
            return false;
        }
        !self.is_spent() && self.charge(node_units(node))
    }

    /// Whether something was not looked at, as it was too deep or too much.
    fn gave_up(&self) -> bool {
        self.is_cut.get() || self.is_spent()
    }

    /// Whether the units ran out. Answers are then guesses on the safe side: types are `unknown`, and nothing is
    /// declared.
    pub(crate) fn is_spent(&self) -> bool {
        self.is_measured.get() && self.fuel.is_spent() || self.shared.is_some_and(Budget::is_spent)
    }

    /// Takes units of work. Returns whether there were that many; if not, none are left.
    pub(crate) fn charge(&self, units: u64) -> bool {
        let shared = self.shared.is_none_or(|budget| budget.take(units));
        if self.fuel.left() < units && !self.is_measured.replace(true) {
            let size = measure(self.root, FUEL / EACH, usize::MAX);
            let all = size.map_or(FUEL, |size| (EACH * size).max(LEAST));
            self.fuel.give(all - LEAST);
        }
        self.fuel.take(units) && shared
    }
}

/// The drafts of JSON Schema, as far as they differ here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Drafts 3 and 4, in which `const` is no keyword, and `id` stands for `$id`.
    Draft4,
    /// Drafts 6 and 7, in which, as before them, keywords beside a `$ref` are ignored.
    Draft7,
    /// 2019-09 and 2020-12, and a root that does not say.
    Modern,
}

impl Dialect {
    pub(crate) fn of(root: &Value) -> Dialect {
        let named = root.get("$schema").and_then(Value::as_str);
        let named = named.filter(|name| name.len() <= 256).unwrap_or_default();
        let is_one_of = |drafts: [&str; 2]| drafts.iter().any(|draft| named.contains(draft));
        if is_one_of(["draft-03", "draft-04"]) {
            Dialect::Draft4
        } else if is_one_of(["draft-06", "draft-07"]) {
            Dialect::Draft7
        } else {
            Dialect::Modern
        }
    }
}

/// What a subschema says about the place in question.
#[derive(Default, Clone, Copy)]
struct Found {
    declared: bool,
    /// Declared somewhere with the wanted type.
    fits: bool,
    /// No value of the wanted type is valid here.
    forbidden: bool,
}

impl Found {
    const FORBIDDEN: Found = Found {
        declared: false,
        fits: false,
        forbidden: true,
    };

    fn and(self, other: Found) -> Found {
        Found {
            declared: self.declared || other.declared,
            fits: self.fits || other.fits,
            forbidden: self.forbidden || other.forbidden,
        }
    }

    fn or(self, other: Found) -> Found {
        Found {
            declared: self.declared || other.declared,
            fits: self.is_allowed() || other.is_allowed(),
            forbidden: self.forbidden && other.forbidden,
        }
    }

    fn is_allowed(self) -> bool {
        self.fits && !self.forbidden
    }
}

/// The member `name` of the object under `keyword`.
pub(crate) fn entry<'a>(
    node: &'a Map<String, Value>,
    keyword: &str,
    name: &str,
) -> Option<&'a Value> {
    node.get(keyword)?.as_object()?.get(name)
}

/// The subschemas in the array under `keyword`.
pub(crate) fn branches<'a>(node: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    node.get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The schema of the array element at `index`, in the form of 2020-12 or of earlier drafts.
fn element(node: &Map<String, Value>, index: usize) -> Option<&Value> {
    match node.get("items") {
        Some(Value::Array(items)) => items.get(index).or_else(|| node.get("additionalItems")),
        items => branches(node, "prefixItems").get(index).or(items),
    }
}
