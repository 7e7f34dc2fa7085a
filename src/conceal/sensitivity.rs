//! Whether a subschema can distinguish an object before a property is put in from the object after.
//!
//! The answer errs on one side: a subschema counts as insensitive only if nothing in it can look at the property, so
//! that an object satisfies it with the property exactly if it does so without.

use std::{collections::HashSet, ptr};

use serde_json::{Map, Value};

use super::KeptReason;
use crate::schema::{Document, entry};

/// Keywords whose subschemas apply to some objects only, or do not have to hold.
pub(super) const CONDITIONS: [&str; 6] = [
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];

/// Targets of references that were already followed: they have been, or are being, looked at.
type Seen = HashSet<*const Value>;

/// Whether a subschema may answer differently before and after the property `token` is put into an object.
pub(super) struct Sensitivity<'a> {
    document: &'a Document<'a>,
    token: &'a str,
}

impl<'a> Sensitivity<'a> {
    pub(super) fn new(document: &'a Document<'a>, token: &'a str) -> Sensitivity<'a> {
        Sensitivity { document, token }
    }

    pub(super) fn of(&self, schema: &Value) -> bool {
        self.find(schema, &mut Seen::new(), 0)
    }

    /// Returns the first conditional keyword of the node that may answer differently.
    pub(super) fn of_conditions(&self, node: &Map<String, Value>) -> Option<&'static str> {
        CONDITIONS
            .into_iter()
            .find(|keyword| self.in_keyword(node, keyword, &mut Seen::new(), 0))
    }

    fn find(&self, schema: &Value, seen: &mut Seen, depth: usize) -> bool {
        let node = match schema {
            Value::Object(node) => node,
            Value::Bool(_) => return false,
            _ => return true,
        };
        if !self.document.spend(node, depth) || check_object(node, self.token).is_err() {
            return true;
        }
        if let Some(reference) = node.get("$ref") {
            let Some(target) = self.document.resolve(reference) else {
                return true;
            };
            if seen.insert(ptr::from_ref(target)) && self.find(target, seen, depth + 1) {
                return true;
            }
            if self.document.ref_hides_siblings() {
                return false;
            }
        }
        let names = |keyword| {
            node.get(keyword)
                .and_then(Value::as_array)
                .is_some_and(|names| names.iter().any(|name| name == self.token))
        };
        entry(node, "properties", self.token).is_some()
            || names("required")
            || is_constraint(node, "additionalProperties")
            || is_constraint(node, "unevaluatedProperties")
            || ["dependentRequired", "dependencies"]
                .iter()
                .any(|keyword| self.in_dependencies(node, keyword))
            || ["allOf", "anyOf", "oneOf"]
                .iter()
                .chain(&CONDITIONS)
                .any(|keyword| self.in_keyword(node, keyword, seen, depth))
    }

    /// Whether a list of dependent properties names the property.
    fn in_dependencies(&self, node: &Map<String, Value>, keyword: &str) -> bool {
        let Some(dependencies) = node.get(keyword).and_then(Value::as_object) else {
            return node.contains_key(keyword);
        };
        dependencies.iter().any(|(name, dependents)| {
            name == self.token
                || dependents
                    .as_array()
                    .is_some_and(|names| names.iter().any(|name| name == self.token))
        })
    }

    /// Whether a subschema under `keyword` may answer differently.
    fn in_keyword(
        &self,
        node: &Map<String, Value>,
        keyword: &str,
        seen: &mut Seen,
        depth: usize,
    ) -> bool {
        let Some(value) = node.get(keyword) else {
            return false;
        };
        match (keyword, value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(branches)) => branches
                .iter()
                .any(|branch| self.find(branch, seen, depth + 1)),
            ("dependentSchemas" | "dependencies", Value::Object(dependencies)) => {
                dependencies.iter().any(|(name, dependency)| {
                    name == self.token
                        || (!dependency.is_array() && self.find(dependency, seen, depth + 1))
                })
            }
            ("not" | "if" | "then" | "else", schema) => self.find(schema, seen, depth + 1),
            _ => true,
        }
    }
}

/// Refuses keywords that limit an object's properties as such.
pub(super) fn check_object(node: &Map<String, Value>, token: &str) -> Result<(), KeptReason> {
    for keyword in ["minProperties", "maxProperties", "propertyNames"] {
        if is_constraint(node, keyword) {
            return Err(KeptReason::ConstrainedObject(keyword));
        }
    }
    for keyword in ["enum", "const"] {
        if names_object(node, keyword) {
            return Err(KeptReason::ConstrainedObject(keyword));
        }
    }
    if may_match_pattern(node, token) {
        return Err(KeptReason::ConstrainedObject("patternProperties"));
    }
    if node
        .get("properties")
        .is_some_and(|properties| !properties.is_object())
    {
        return Err(KeptReason::Malformed("properties"));
    }
    for keyword in ["required", "allOf", "anyOf", "oneOf"] {
        if node.get(keyword).is_some_and(|value| !value.is_array()) {
            return Err(KeptReason::Malformed(keyword));
        }
    }
    for keyword in ["$dynamicRef", "$recursiveRef"] {
        if node.contains_key(keyword) {
            return Err(KeptReason::UnsupportedReference(keyword));
        }
    }
    Ok(())
}

/// Whether the keyword is there and constrains anything: `true`, `{}` and `"minProperties": 0` do not.
pub(super) fn is_constraint(node: &Map<String, Value>, keyword: &str) -> bool {
    node.get(keyword).is_some_and(|value| match value {
        Value::Number(least) => least.as_u64() != Some(0) || keyword == "maxProperties",
        schema => !is_trivial(schema),
    })
}

/// Whether a schema is seen at once to accept everything.
pub(super) fn is_trivial(schema: &Value) -> bool {
    match schema {
        Value::Bool(always) => *always,
        Value::Object(node) => node.is_empty(),
        _ => false,
    }
}

/// Whether `enum` or `const` holds an object, so that an instance may have to equal it.
fn names_object(node: &Map<String, Value>, keyword: &str) -> bool {
    match node.get(keyword) {
        Some(Value::Array(values)) if keyword == "enum" => values.iter().any(Value::is_object),
        Some(value) => value.is_object(),
        None => false,
    }
}

/// Whether a pattern of `patternProperties` may match the name and constrain the property.
///
/// There is no regular expression engine here. The only patterns known not to match consist of letters, digits, `_`,
/// `-` and spaces, perhaps after `^`, are not very long, and are not contained in the name (after `^`: not at its
/// beginning).
fn may_match_pattern(node: &Map<String, Value>, name: &str) -> bool {
    let patterns = match node.get("patternProperties") {
        None => return false,
        Some(Value::Object(patterns)) => patterns,
        Some(_) => return true,
    };
    patterns.iter().any(|(pattern, schema)| {
        let (literal, anchored) = match pattern.strip_prefix('^') {
            Some(literal) => (literal, true),
            None => (&**pattern, false),
        };
        let plain = literal.len() <= 256
            && literal
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '));
        let cannot_match = plain
            && if anchored {
                !name.starts_with(literal)
            } else {
                !name.contains(literal)
            };
        !cannot_match && !is_trivial(schema)
    })
}
