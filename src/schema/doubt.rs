//! Whether a schema may declare a location that it is not known to declare as a string.
//!
//! Nothing is put in at such a location, but the model may be asked for a value there. So `conceal` tells it apart from
//! one that the schema does not have, and `inject` from one that is of another type: only there a policy that keeps
//! foreign values out lets one through.

use std::iter;

use serde_json::{Map, Value};

use super::{Document, Types, branches, element, entry};
use crate::location::{Location, array_index};

/// Returns the keyword under which `schema` may declare `location`, which it does not declare as a string: for some
/// arguments only, or in a part that is not followed.
pub(crate) fn may_declare(schema: &Value, location: &Location) -> Option<&'static str> {
    let tokens = location.tokens();
    let lenient = Document::new(schema, Types::ALL);
    let found = lenient.find(schema, tokens, Types::STRING, 0);
    if found.forbidden && !lenient.gave_up() {
        return None;
    }
    Document::new(schema, Types::ALL).doubt(schema, tokens, 0, "properties")
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
                self.find(schema, tokens, Types::STRING, depth + 1).declared
                    || self
                        .doubt(schema, tokens, depth + 1, or_ref(keyword))
                        .is_some()
            });
            if let Some((keyword, _)) = for_some {
                return Some(keyword);
            }
            let element = array_index(token).and_then(|index| element(node, index));
            let property = entry(node, "properties", token).map(|inner| ("properties", inner));
            let mut inner = property
                .into_iter()
                .chain(element.map(|inner| ("items", inner)));
            let found = inner
                .find_map(|(keyword, inner)| self.doubt(inner, rest, depth + 1, or_ref(keyword)));
            if found.is_some() {
                return found;
            }
        }
        ["allOf", "anyOf", "oneOf"].into_iter().find_map(|keyword| {
            let mut branches = branches(node, keyword).iter();
            branches.find_map(|branch| self.doubt(branch, tokens, depth + 1, or_ref(keyword)))
        })
    }
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
