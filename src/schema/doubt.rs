//! Whether a schema may declare a location that it is not known to declare as a string.
//!
//! Nothing is put in at such a location, but the model may be asked for a value there. So `conceal` tells it apart from
//! one that the schema does not have.

use std::iter;

use serde_json::{Map, Value};

use super::{Declaration, Document, Types, branches, element, entry};
use crate::location::{Location, array_index};

/// Returns the keyword under which `schema` may declare `location`, which it does not declare as a string: for some
/// arguments only, or in a part that is not followed.
pub(crate) fn may_declare(schema: &Value, location: &Location) -> Option<&'static str> {
    // Whatever else there is cannot make a string of what is known to be none.
    let lenient = Document::new(schema, Types::ALL);
    if lenient.declaration(location) == Declaration::NoString && !lenient.is_spent() {
        return None;
    }
    Document::new(schema, Types::NONE).doubt(schema, location.tokens(), 0)
}

impl Document<'_> {
    fn doubt(&self, schema: &Value, tokens: &[Box<str>], depth: usize) -> Option<&'static str> {
        let Value::Object(node) = schema else {
            return None;
        };
        if !self.spend(node, depth) {
            return Some("$ref");
        }
        if let Some(reference) = node.get("$ref") {
            let Some(target) = self.resolve(reference) else {
                return Some("$ref");
            };
            let found = self.doubt(target, tokens, depth + 1);
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
            let for_some = conditional(node).find(|(_, schema)| {
                self.find(schema, tokens, Types::STRING, depth + 1).declared
                    || self.doubt(schema, tokens, depth + 1).is_some()
            });
            if let Some((keyword, _)) = for_some {
                return Some(keyword);
            }
            let element = array_index(token).and_then(|index| element(node, index));
            let inner = entry(node, "properties", token).into_iter().chain(element);
            let found = inner.filter_map(|inner| self.doubt(inner, rest, depth + 1));
            if let Some(keyword) = found.into_iter().next() {
                return Some(keyword);
            }
        }
        ["allOf", "anyOf", "oneOf"]
            .iter()
            .flat_map(|keyword| branches(node, keyword))
            .find_map(|branch| self.doubt(branch, tokens, depth + 1))
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
