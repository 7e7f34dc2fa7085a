//! The references of a schema that was changed in part.

use std::{collections::BTreeSet, ptr};

use serde_json::{Map, Value};

use super::{
    KeptReason,
    changes::Changes,
    nodes::{copy_to, is_at_or_below, replace_reference},
};
use crate::{
    location::push_token,
    schema::{
        Budget, Dialect, Document, Types, entry, fragment_pointer, measure, pointer_tokens, resolve,
    },
};

/// How many references may be replaced by copies of their targets to mend a schema.
const MAX_COPIES: usize = 64;

/// Returns why a schema as a whole cannot be changed safely, if so: it contains an anchor or a resource of its own,
/// which a copy would duplicate, or a reference that may lead anywhere.
pub(super) fn unsupported(schema: &Value) -> Option<KeptReason> {
    let (mut absolute, mut has_references) = (false, false);
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
                    has_references = true;
                    absolute |= !text.is_empty() && !text.starts_with('#');
                    continue;
                }
                _ => continue,
            };
            return Some(KeptReason::UnsupportedReference(keyword));
        }
    }
    let mut named = schema.get("$id").is_some();
    if Dialect::of(schema) == Dialect::Draft4 {
        // Without references it does not matter what anything is called.
        if has_references && embeds_resource(schema) {
            return Some(KeptReason::UnsupportedReference("id"));
        }
        named |= schema.get("id").is_some();
    }
    let may_mean_itself = absolute && named;
    may_mean_itself.then_some(KeptReason::UnsupportedReference("$ref"))
}

/// Whether a subschema has an `id`, as draft 4 calls `$id`. Properties and members of samples often have that name:
/// it counts only where a schema may stand, which includes keywords that are not known here.
fn embeds_resource(root: &Value) -> bool {
    let mut pending = vec![root];
    while let Some(value) = pending.pop() {
        let is_resource = value.get("id").is_some_and(Value::is_string);
        if is_resource && !ptr::eq(value, root) {
            return true;
        }
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(node) => {
                for (keyword, value) in node {
                    match (&**keyword, value) {
                        ("default" | "example" | "examples" | "enum" | "const", _) => {}
                        (
                            "properties" | "patternProperties" | "$defs" | "definitions"
                            | "dependencies",
                            Value::Object(schemas),
                        ) => pending.extend(schemas.values()),
                        _ => pending.push(value),
                    }
                }
            }
            _ => {}
        }
    }
    false
}

/// Makes every reference in `concealed` mean what it meant in `schema`: a reference whose target was changed or
/// removed is replaced by a copy of the original target.
pub(super) fn mend(
    schema: &Value,
    concealed: &mut Value,
    budget: &Budget,
) -> Result<(), KeptReason> {
    let alone = Document::new(schema, Types::ALL).ref_hides_siblings();
    // Where copies were put, and what they are copies of.
    let mut copies: Vec<(String, &Value)> = Vec::new();
    loop {
        let found = {
            let changes = changes_between(schema, concealed, budget)?;
            let found = find_references(concealed, MAX_COPIES + 1, &|reference| {
                changes.concern(reference)
            });
            if found.is_empty() {
                return if keeps_references(&changes, concealed) {
                    Ok(())
                } else {
                    Err(KeptReason::SharedSchema)
                };
            }
            found
        };
        let round = copies.len();
        for place in found {
            // This place may now lie in a new copy; the next round looks at it.
            if copies[round..]
                .iter()
                .any(|(copied, _)| is_at_or_below(&place, copied))
            {
                continue;
            }
            let target = concealed
                .pointer(&place)
                .and_then(|node| resolve(schema, node.get("$ref")?))
                .ok_or(KeptReason::SharedSchema)?;
            // A target that contains itself would be copied again and again.
            let recursion = copies
                .iter()
                .any(|(copied, of)| ptr::eq(*of, target) && is_at_or_below(&place, copied));
            if recursion || copies.len() == MAX_COPIES {
                return Err(KeptReason::SharedSchema);
            }
            let copy = copy_to(&place, target, budget)?;
            replace_reference(concealed, &place, copy, alone)?;
            copies.push((place, target));
        }
    }
}

/// Compares the two, if the budget allows for that and for a pass over the references.
fn changes_between<'a>(
    before: &'a Value,
    after: &'a Value,
    budget: &Budget,
) -> Result<Changes<'a>, KeptReason> {
    let units = measure(after, budget.left(), usize::MAX).ok_or(KeptReason::TooComplex)?;
    if !budget.take(2 * units) {
        return Err(KeptReason::TooComplex);
    }
    Ok(Changes::between(before, after))
}

/// Removes the root's definitions that `before` referred to and `after` does not.
pub(super) fn drop_unused_definitions(before: &Value, after: &mut Value, budget: &Budget) {
    let (used_before, used_after) = (used_definitions(before), used_definitions(after));
    let Value::Object(root) = &*after else {
        return;
    };
    let unused: BTreeSet<(&str, String)> = DEFINITIONS
        .into_iter()
        .filter_map(|keyword| Some((keyword, root.get(keyword)?.as_object()?)))
        .flat_map(|(keyword, definitions)| {
            definitions.keys().map(move |name| (keyword, name.clone()))
        })
        .filter(|name| used_before.contains(name) && !used_after.contains(name))
        .collect();
    let Some(mut pruned) = (!unused.is_empty())
        .then(|| copy_to("", after, budget).ok())
        .flatten()
    else {
        return;
    };
    let Value::Object(root) = &mut pruned else {
        return;
    };
    for keyword in DEFINITIONS {
        let Some(Value::Object(definitions)) = root.get_mut(keyword) else {
            continue;
        };
        let count = definitions.len();
        definitions.retain(|name, _| !unused.contains(&(keyword, name.clone())));
        if definitions.is_empty() && count > 0 {
            root.retain(|name, _| name != keyword);
        }
    }
    let kept = changes_between(after, &pruned, budget)
        .is_ok_and(|changes| keeps_references(&changes, &pruned));
    if kept {
        *after = pruned;
    }
}

const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The root's definitions that something outside of the definitions leads to.
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

/// The root's definition that a reference leads to or into.
fn definition_name(reference: &Value) -> Option<(&'static str, String)> {
    let pointer = fragment_pointer(reference)?;
    let mut tokens = pointer_tokens(&pointer);
    let container = tokens.next()?;
    let keyword = DEFINITIONS.into_iter().find(|&known| known == container)?;
    Some((keyword, tokens.next()?.into_owned()))
}

/// Whether every reference in `after` means what it meant before.
fn keeps_references(changes: &Changes<'_>, after: &Value) -> bool {
    !references_in(after)
        .into_iter()
        .any(|reference| changes.concern(reference))
}

fn references_in(value: &Value) -> Vec<&Value> {
    objects(value)
        .into_iter()
        .filter_map(|(_, node)| node.get("$ref"))
        .collect()
}

/// Returns the places of `$ref`s that `wanted` accepts, looking only where JSON Schema puts schemas: the first
/// `most` of them, outer ones before those inside.
fn find_references(root: &Value, most: usize, wanted: &dyn Fn(&Value) -> bool) -> Vec<String> {
    let mut search = Search {
        wanted,
        most,
        place: String::new(),
        found: Vec::new(),
    };
    search.schema(root);
    search.found
}

struct Search<'a> {
    wanted: &'a dyn Fn(&Value) -> bool,
    most: usize,
    /// The current place of the search.
    place: String,
    found: Vec<String>,
}

impl Search<'_> {
    fn schema(&mut self, schema: &Value) {
        let Value::Object(node) = schema else {
            return;
        };
        if self.found.len() == self.most {
            return;
        }
        if node.get("$ref").is_some_and(self.wanted) {
            self.found.push(self.place.clone());
        }
        for (keyword, value) in node {
            match (&**keyword, value) {
                (
                    "properties" | "patternProperties" | "$defs" | "definitions"
                    | "dependentSchemas" | "dependencies",
                    Value::Object(schemas),
                ) => self.at(keyword, |search| {
                    for (name, schema) in schemas {
                        search.at(name, |search| search.schema(schema));
                    }
                }),
                ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                    self.at(keyword, |search| {
                        for (i, schema) in schemas.iter().enumerate() {
                            search.at(&i.to_string(), |search| search.schema(schema));
                        }
                    });
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
                ) => self.at(keyword, |search| search.schema(schema)),
                _ => {}
            }
        }
    }

    fn at(&mut self, token: &str, look: impl FnOnce(&mut Self)) {
        let length = self.place.len();
        push_token(&mut self.place, token);
        look(self);
        self.place.truncate(length);
    }
}

/// Every JSON object in `value`, whatever its meaning, with its depth.
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
