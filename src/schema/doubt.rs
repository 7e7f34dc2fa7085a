//! Whether a schema may declare a location that it is not known to declare as a string, or requires it undeclared.
//!
//! Nothing is put in at such a location, but the model may be asked for a value there. So `conceal` tells it apart from
//! one that the schema does not have. And `inject` tells one that may be declared from one that is declared with
//! another type: only at the latter does a policy that keeps foreign values out let a value through, if it is no text.

use std::iter;

use serde_json::{Map, Value};

use super::{Document, Place, Types, branches, element, entry};
use crate::location::{Location, array_index};

/// Returns the keyword under which `schema` may declare `location`, which it does not declare as a string: for some
/// arguments only, or in a part that is not followed.
pub(crate) fn may_declare(schema: &Value, location: &Location) -> Option<&'static str> {
    let tokens = location.tokens();
    let lenient = Document::new(schema, Types::ALL);
    let found = lenient.find(schema, Place::of(location), Types::STRING, 0);
    if found.forbidden && !lenient.gave_up() {
        return None;
    }
    Document::new(schema, Types::ALL).doubt(schema, tokens, 0, "properties")
}

/// Returns the keyword by which `schema` asks for `location` by its name, though it may not declare it: one that lists
/// required properties, wherever it holds for at least some arguments.
pub(crate) fn requires(schema: &Value, location: &Location) -> Option<&'static str> {
    let (name, parents) = location.tokens().split_last()?;
    Document::new(schema, Types::ALL).requirement(schema, parents, name, 0, "properties")
}

impl Document<'_> {
    /// `keyword` is the one that leads to this schema, or a `$ref` before it: if there is too much to look at, that is
    /// what is not followed.
    fn doubt(
        &self,
        schema: &Value,
        tokens: &[Box<str>],
        depth: usize,
        keyword: &'static str,
    ) -> Option<&'static str> {
        let Value::Object(node) = schema else {
            return None;
        };
        if !self.spend(node, depth) {
            return Some(keyword);
        }
        let or_ref = |inner| if keyword == "$ref" { keyword } else { inner };
        if let Some(reference) = node.get("$ref") {
            let Some(target) = self.resolve(reference) else {
                return Some("$ref");
            };
            let found = self.doubt(target, tokens, depth + 1, "$ref");
            if found.is_some() || self.ref_hides_siblings() {
                return found;
            }
        }
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if node.contains_key(keyword) {
                return Some(keyword);
            }
        }
        if let Some((token, rest)) = tokens.split_first() {
            let for_some = conditional(node).find(|(keyword, schema)| {
                let place = Place::below(tokens);
                self.find(schema, place, Types::STRING, depth + 1).declared
                    || self
                        .doubt(schema, tokens, depth + 1, or_ref(keyword))
                        .is_some()
            });
            if let Some((keyword, _)) = for_some {
                return Some(keyword);
            }
            let found = members(node, token)
                .find_map(|(keyword, inner)| self.doubt(inner, rest, depth + 1, or_ref(keyword)));
            if found.is_some() {
                return found;
            }
        }
        applicators(node)
            .find_map(|(keyword, inner)| self.doubt(inner, tokens, depth + 1, or_ref(keyword)))
    }

    /// `name` is that of a property of the object at `parents`; `keyword` is as for [`doubt`](Document::doubt).
    fn requirement(
        &self,
        schema: &Value,
        parents: &[Box<str>],
        name: &str,
        depth: usize,
        keyword: &'static str,
    ) -> Option<&'static str> {
        let Value::Object(node) = schema else {
            return None;
        };
        if !self.spend(node, depth) {
            return Some(keyword);
        }
        let or_ref = |inner| if keyword == "$ref" { keyword } else { inner };
        if let Some(reference) = node.get("$ref") {
            let found = match self.resolve(reference) {
                Some(target) => self.requirement(target, parents, name, depth + 1, "$ref"),
                None => self.is_spent().then_some("$ref"),
            };
            if found.is_some() || self.ref_hides_siblings() {
                return found;
            }
        }
        let found = match parents.split_first() {
            None => listed_under(node, name),
            Some((token, rest)) => members(node, token).find_map(|(keyword, inner)| {
                self.requirement(inner, rest, name, depth + 1, or_ref(keyword))
            }),
        };
        found.or_else(|| {
            applicators(node)
                .chain(conditional(node))
                .find_map(|(keyword, inner)| {
                    self.requirement(inner, parents, name, depth + 1, or_ref(keyword))
                })
        })
    }
}

/// The keyword under which the node lists the property `name` as required.
fn listed_under(node: &Map<String, Value>, name: &str) -> Option<&'static str> {
    let lists = |names: &Value| {
        let names = names.as_array();
        names.is_some_and(|names| names.iter().any(|other| other == name))
    };
    if node.get("required").is_some_and(lists) {
        return Some("required");
    }
    ["dependentRequired", "dependencies"]
        .into_iter()
        .find(|keyword| {
            let dependencies = node.get(*keyword).and_then(Value::as_object);
            dependencies.is_some_and(|dependencies| dependencies.values().any(lists))
        })
}

/// The subschemas for the member or element `token`, with their keywords.
fn members<'a>(
    node: &'a Map<String, Value>,
    token: &str,
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    let element = array_index(token).and_then(|index| element(node, index));
    let property = entry(node, "properties", token).map(|inner| ("properties", inner));
    property
        .into_iter()
        .chain(element.map(|inner| ("items", inner)))
}

/// The subschemas of which all, some or one must hold, with their keywords.
fn applicators(node: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &Value)> {
    ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .flat_map(|keyword| iter::repeat(keyword).zip(branches(node, keyword)))
}

/// The subschemas that hold for some arguments only, with their keywords.
fn conditional(node: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &Value)> {
    let branches = ["then", "else"].into_iter();
    let branches = branches
        .filter(|_| node.contains_key("if"))
        .filter_map(|keyword| Some((keyword, node.get(keyword)?)));
    let dependent = ["dependentSchemas", "dependencies"].into_iter();
    let dependent = dependent.flat_map(|keyword| {
        let schemas = node.get(keyword).and_then(Value::as_object);
        iter::repeat(keyword).zip(schemas.into_iter().flat_map(Map::values))
    });
    branches.chain(dependent)
}
