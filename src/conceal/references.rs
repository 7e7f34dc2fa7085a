//! The references of a schema of which a part was changed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{LeftReason, walk::replace_reference};
use crate::{
    location::push_token,
    schema::{Document, Types, entry, percent_decode},
};

/// How many references may be replaced by copies of their targets to mend a schema.
const MAX_COPIES: usize = 64;

/// The keyword for which a schema as a whole cannot be changed safely: an anchor or a resource of its own inside it,
/// which a copy would repeat, or a reference that may lead to any place.
pub(super) fn unsupported(schema: &Value) -> Option<LeftReason> {
    let mut absolute = false;
    for (depth, node) in objects(schema) {
        for (keyword, value) in node {
            let Some(text) = value.as_str() else {
                continue;
            };
            let keyword = match &**keyword {
                "$dynamicRef" => "$dynamicRef",
                "$recursiveRef" => "$recursiveRef",
                "$anchor" => "$anchor",
                "$dynamicAnchor" => "$dynamicAnchor",
                "$id" if depth > 0 => "$id",
                "$ref" if text.starts_with('#') && text != "#" && !text.starts_with("#/") => "$ref",
                "$ref" => {
                    absolute |= !text.starts_with('#');
                    continue;
                }
                _ => continue,
            };
            return Some(LeftReason::UnsupportedReference(keyword));
        }
    }
    let may_mean_itself = absolute && schema.get("$id").is_some();
    may_mean_itself.then_some(LeftReason::UnsupportedReference("$ref"))
}

/// Makes every reference in `concealed` mean what it meant in `schema`: one whose target was changed or removed is
/// replaced by a copy of what the target was.
pub(super) fn mend(schema: &Value, concealed: &mut Value) -> Result<(), LeftReason> {
    let before = Document::new(schema, Types::ALL);
    for _ in 0..MAX_COPIES {
        let after = Document::new(concealed, Types::ALL);
        let changed = |reference: &Value| before.resolve(reference) != after.resolve(reference);
        let Some(pointer) = find_reference(concealed, &changed) else {
            return if keeps_references(schema, concealed) {
                Ok(())
            } else {
                Err(LeftReason::SharedSchema)
            };
        };
        let target = concealed
            .pointer(&pointer)
            .and_then(|node| before.resolve(node.get("$ref")?))
            .cloned()
            .ok_or(LeftReason::SharedSchema)?;
        let alone = before.ref_hides_siblings();
        replace_reference(concealed, &pointer, target, alone)?;
    }
    Err(LeftReason::SharedSchema)
}

/// Removes the definitions of the root that `before` referred to and `after` does not.
pub(super) fn drop_unused_definitions(before: &Value, after: &mut Value) {
    let (used_before, used_after) = (used_definitions(before), used_definitions(after));
    let mut pruned = after.clone();
    let Value::Object(root) = &mut pruned else {
        return;
    };
    for keyword in DEFINITIONS {
        let Some(Value::Object(definitions)) = root.get_mut(keyword) else {
            continue;
        };
        let count = definitions.len();
        definitions.retain(|name, _| {
            let definition = (keyword, name.clone());
            used_after.contains(&definition) || !used_before.contains(&definition)
        });
        if definitions.is_empty() && count > 0 {
            root.retain(|name, _| name != keyword);
        }
    }
    if keeps_references(after, &pruned) {
        *after = pruned;
    }
}

const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The definitions of the root that something outside of the definitions leads to.
fn used_definitions(schema: &Value) -> BTreeSet<(&'static str, String)> {
    let mut used = BTreeSet::new();
    let Value::Object(root) = schema else {
        return used;
    };
    let mut references: Vec<&Value> = root.get("$ref").into_iter().collect();
    for (keyword, value) in root {
        if !DEFINITIONS.contains(&&**keyword) {
            references.extend(references_in(value));
        }
    }
    while let Some(reference) = references.pop() {
        let Some((keyword, name)) = definition_name(reference) else {
            continue;
        };
        if let Some(definition) = entry(root, keyword, &name)
            && used.insert((keyword, name))
        {
            references.extend(references_in(definition));
        }
    }
    used
}

/// The definition of the root at or in which a reference ends.
fn definition_name(reference: &Value) -> Option<(&'static str, String)> {
    let pointer = percent_decode(reference.as_str()?.strip_prefix("#/")?)?.into_owned();
    let mut tokens = pointer.split('/');
    let container = tokens.next()?;
    let keyword = DEFINITIONS.into_iter().find(|&known| known == container)?;
    let name = tokens.next()?.replace("~1", "/").replace("~0", "~");
    Some((keyword, name))
}

/// Whether every reference in `after` means what it means in `before`.
fn keeps_references(before: &Value, after: &Value) -> bool {
    let (old, new) = (
        Document::new(before, Types::ALL),
        Document::new(after, Types::ALL),
    );
    references_in(after)
        .into_iter()
        .all(|reference| old.resolve(reference) == new.resolve(reference))
}

fn references_in(value: &Value) -> Vec<&Value> {
    objects(value)
        .into_iter()
        .filter_map(|(_, node)| node.get("$ref"))
        .collect()
}

/// Where a schema has a `$ref` that `wanted` accepts, looking only where JSON Schema puts schemas.
fn find_reference(root: &Value, wanted: &dyn Fn(&Value) -> bool) -> Option<String> {
    let mut pending = vec![(String::new(), root)];
    while let Some((pointer, schema)) = pending.pop() {
        let Value::Object(node) = schema else {
            continue;
        };
        if node.get("$ref").is_some_and(wanted) {
            return Some(pointer);
        }
        for (keyword, value) in node {
            let mut pointer = pointer.clone();
            push_token(&mut pointer, keyword);
            match (&**keyword, value) {
                (
                    "properties" | "patternProperties" | "$defs" | "definitions"
                    | "dependentSchemas" | "dependencies",
                    Value::Object(schemas),
                ) => {
                    for (name, schema) in schemas {
                        let mut pointer = pointer.clone();
                        push_token(&mut pointer, name);
                        pending.push((pointer, schema));
                    }
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                    for (i, schema) in schemas.iter().enumerate() {
                        pending.push((format!("{pointer}/{i}"), schema));
                    }
                }
                (
                    "items"
                    | "additionalItems"
                    | "unevaluatedItems"
                    | "contains"
                    | "additionalProperties"
                    | "unevaluatedProperties"
                    | "propertyNames"
                    | "not"
                    | "if"
                    | "then"
                    | "else"
                    | "contentSchema",
                    schema,
                ) => pending.push((pointer, schema)),
                _ => {}
            }
        }
    }
    None
}

/// Every JSON object in `value`, whatever it means, with its depth.
fn objects(value: &Value) -> Vec<(usize, &Map<String, Value>)> {
    let mut found = Vec::new();
    let mut pending = vec![(0, value)];
    while let Some((depth, value)) = pending.pop() {
        match value {
            Value::Object(node) => {
                found.push((depth, node));
                pending.extend(node.values().map(|value| (depth + 1, value)));
            }
            Value::Array(items) => pending.extend(items.iter().map(|value| (depth + 1, value))),
            _ => {}
        }
    }
    found
}
