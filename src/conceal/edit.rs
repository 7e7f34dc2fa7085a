//! Removing a property from every subschema that applies to its object, and what this entails for its parents.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    KeptReason,
    nodes::{object, object_mut, types_at},
    walk::{Level, Path},
};
use crate::{
    location::Location,
    schema::{Budget, Document, Types, branches, entry},
};

/// Removes what `tokens` name from the path's schema. Returns the parents that this left empty, which are removed
/// too.
///
/// `with` holds all the locations that will be hidden.
pub(super) fn remove(
    path: &mut Path,
    tokens: &[Box<str>],
    with: &BTreeSet<&Location>,
    budget: &Budget,
) -> Result<Vec<Location>, KeptReason> {
    let Path { schema, levels } = path;
    let demanded = (1..levels.len())
        .rev()
        .find(|&depth| !can_be_made(schema, &levels[depth], &tokens[..=depth], with))
        .unwrap_or(0);

    let mut removed = Vec::new();
    let mut kept = levels.len();
    remove_property(schema, &levels[kept - 1], &tokens[kept - 1]);
    while kept - 1 > demanded && is_empty(schema, &levels[kept - 1]) {
        kept -= 1;
        remove_property(schema, &levels[kept - 1], &tokens[kept - 1]);
        removed.push(Location::from_tokens(tokens[..kept].to_vec()));
    }
    for (depth, level) in levels[..kept].iter().enumerate() {
        strip_samples(schema, level, &tokens[depth..kept]);
    }

    for (level, name) in levels.iter().zip(tokens).take(demanded) {
        require(schema, level, name)?;
    }
    for depth in (1..kept).rev() {
        if levels[depth].types == Types::ALL {
            declare_object(schema, &levels[depth]).ok_or(KeptReason::ParentNotObject)?;
        } else if depth <= demanded && levels[depth].types.contains(Types::NULL) {
            rule_out_null(schema, &levels[depth], budget)?;
        }
    }
    Ok(removed)
}

/// Whether an object that holds only the property at the end of `tokens` and the others that will be hidden
/// satisfies all nodes.
fn can_be_made(
    schema: &Value,
    level: &Level,
    tokens: &[Box<str>],
    with: &BTreeSet<&Location>,
) -> bool {
    let Some((next, parents)) = tokens.split_last() else {
        return true;
    };
    let mut will_be_there: BTreeSet<&str> = with
        .iter()
        .filter_map(|other| other.tokens().split_last())
        .filter(|(_, others)| *others == parents)
        .map(|(last, _)| &**last)
        .collect();
    will_be_there.insert(next);
    let asks_for_nothing_else = |node: &Map<String, Value>| {
        branches(node, "required")
            .iter()
            .filter_map(Value::as_str)
            .all(|name| will_be_there.contains(name))
    };
    !level.opaque
        && level
            .nodes
            .iter()
            .filter_map(|pointer| object(schema, pointer))
            .all(asks_for_nothing_else)
}

/// Whether nothing is left in an object that anyone could usefully fill.
fn is_empty(schema: &Value, level: &Level) -> bool {
    let lists_nothing = |keyword: &str, node: &Map<String, Value>| match node.get(keyword) {
        None => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(_) => false,
    };
    let admits_nothing = |keyword: &str, node: &Map<String, Value>| {
        matches!(node.get(keyword), None | Some(Value::Bool(false)))
    };
    !level.opaque
        && level
            .nodes
            .iter()
            .filter_map(|pointer| object(schema, pointer))
            .all(|node| {
                [
                    "properties",
                    "required",
                    "patternProperties",
                    "dependentRequired",
                ]
                .iter()
                .all(|keyword| lists_nothing(keyword, node))
                    && ["additionalProperties", "unevaluatedProperties"]
                        .iter()
                        .all(|keyword| admits_nothing(keyword, node))
            })
}

/// Removes the property `name`, and every requirement of it, from the nodes of `level`.
fn remove_property(schema: &mut Value, level: &Level, name: &str) {
    for pointer in &level.nodes {
        let Some(node) = object_mut(schema, pointer) else {
            continue;
        };
        if let Some(Value::Object(properties)) = node.get_mut("properties") {
            properties.retain(|property, _| property != name);
        }
        if let Some(Value::Array(required)) = node.get_mut("required") {
            required.retain(|required| required != name);
            if required.is_empty() {
                node.retain(|keyword, _| keyword != "required");
            }
        }
        for keyword in ["dependentRequired", "dependencies"] {
            let Some(Value::Object(dependencies)) = node.get_mut(keyword) else {
                continue;
            };
            dependencies.retain(|_, names| match names {
                Value::Array(names) => {
                    names.retain(|required| required != name);
                    !names.is_empty()
                }
                _ => true,
            });
            if dependencies.is_empty() {
                node.retain(|name, _| name != keyword);
            }
        }
    }
}

/// Removes what is at `tokens` from the sample objects of this place: those in its entries, and in all subschemas of
/// them for the same place, whether or not these must hold. Samples assert nothing.
///
/// A sample behind a `$ref` that is not replaced stays, as other places may share it.
fn strip_samples(schema: &mut Value, level: &Level, tokens: &[Box<str>]) {
    for pointer in &level.entries {
        if let Some(entry) = schema.pointer_mut(pointer) {
            strip_samples_of(entry, tokens);
        }
    }
}

/// Recurses as deep as the schema is nested.
fn strip_samples_of(schema: &mut Value, tokens: &[Box<str>]) {
    let Value::Object(node) = schema else {
        return;
    };
    for (keyword, value) in node {
        match (&**keyword, value) {
            ("default" | "example", sample) => strip_sample(sample, tokens),
            ("examples", Value::Array(samples)) => {
                for sample in samples {
                    strip_sample(sample, tokens);
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                for schema in schemas {
                    strip_samples_of(schema, tokens);
                }
            }
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                for (_, schema) in schemas {
                    strip_samples_of(schema, tokens);
                }
            }
            ("not" | "if" | "then" | "else", schema) => strip_samples_of(schema, tokens),
            _ => {}
        }
    }
}

fn strip_sample(mut sample: &mut Value, tokens: &[Box<str>]) {
    let Some((name, parents)) = tokens.split_last() else {
        return;
    };
    for parent in parents {
        match sample.get_mut(&**parent) {
            Some(inner) => sample = inner,
            None => return,
        }
    }
    if let Value::Object(sample) = sample {
        sample.retain(|member, _| member != &**name);
    }
}

/// Adds `name` to `required` in a node that declares it.
fn require(schema: &mut Value, level: &Level, name: &str) -> Result<(), KeptReason> {
    let required = level
        .nodes
        .iter()
        .filter_map(|pointer| object(schema, pointer))
        .any(|node| branches(node, "required").iter().any(|other| other == name));
    if required {
        return Ok(());
    }
    let declares = |pointer: &&String| {
        object(schema, pointer)
            .and_then(|node| entry(node, "properties", name))
            .is_some()
    };
    let pointer = level
        .nodes
        .iter()
        .find(declares)
        .ok_or(KeptReason::NotDeclared)?;
    let node = object_mut(schema, pointer).ok_or(KeptReason::NotDeclared)?;
    match node.entry("required").or_insert(Value::Array(Vec::new())) {
        Value::Array(required) => required.push(name.into()),
        _ => return Err(KeptReason::Malformed("required")),
    }
    Ok(())
}

/// Gives the type `object` to a place, in the first of its entries in which a keyword counts: it is no boolean, and
/// has no `$ref` that hides what stands beside it. `None` if there is no such entry.
fn declare_object(schema: &mut Value, level: &Level) -> Option<()> {
    let ref_hides_siblings = Document::new(schema, Types::ALL).ref_hides_siblings();
    let pointer = level.entries.iter().find(|pointer| {
        object(schema, pointer)
            .is_some_and(|node| !(ref_hides_siblings && node.contains_key("$ref")))
    })?;
    object_mut(schema, pointer)?.insert("type".to_owned(), "object".into());
    Some(())
}

/// Removes null from the types of a place: from `type`, and the branches of `anyOf` and `oneOf` that allow only
/// null.
fn rule_out_null(schema: &mut Value, level: &Level, budget: &Budget) -> Result<(), KeptReason> {
    for pointer in &level.entries {
        let types: Vec<Types> = {
            let document = Document::within(schema, Types::ALL, budget);
            let node = object(schema, pointer);
            ["anyOf", "oneOf"]
                .iter()
                .flat_map(|keyword| node.map_or(&[][..], |node| branches(node, keyword)))
                .map(|branch| document.types(branch))
                .collect()
        };
        let Some(node) = object_mut(schema, pointer) else {
            continue;
        };
        if let Some(Value::Array(names)) = node.get_mut("type") {
            names.retain(|name| name != "null");
        }
        let mut types = types.into_iter();
        for keyword in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = node.get_mut(keyword) {
                branches.retain(|_| types.next() != Some(Types::NULL));
            }
        }
        if node.get("default") == Some(&Value::Null) {
            node.retain(|keyword, _| keyword != "default");
        }
    }
    if types_at(schema, &level.entries, budget).contains(Types::NULL) {
        declare_object(schema, level).ok_or(KeptReason::ParentNullable)?;
    }
    Ok(())
}
