//! The nodes of a schema, by JSON Pointer: finding them, and copying them to other places.

use std::ptr;

use serde_json::{Map, Value};

use super::KeptReason;
use crate::{
    location::array_index,
    schema::{Budget, Document, Types, measure, pointer_tokens},
};

/// How deep a schema that is changed may be nested, as given and with copies in it. The work on it recurses as deep.
pub(super) const MAX_LEVELS: usize = 256;

pub(super) fn object<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    schema.pointer(pointer)?.as_object()
}

pub(super) fn object_mut<'a>(
    schema: &'a mut Value,
    pointer: &str,
) -> Option<&'a mut Map<String, Value>> {
    schema.pointer_mut(pointer)?.as_object_mut()
}

/// The types that a value can have if the subschemas at all of these pointers apply to it.
pub(super) fn types_at(schema: &Value, pointers: &[String], budget: &Budget) -> Types {
    let document = Document::within(schema, Types::ALL, budget);
    pointers
        .iter()
        .filter_map(|pointer| schema.pointer(pointer))
        .fold(Types::ALL, |types, entry| types & document.types(entry))
}

/// Whether `pointer` leads to where `outer` leads, or into that.
pub(super) fn is_at_or_below(pointer: &str, outer: &str) -> bool {
    pointer
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `pointer` leads to `target` or into it. A copy of `target` that is put there would contain its own place.
pub(super) fn lies_in(pointer: &str, root: &Value, target: &Value) -> bool {
    let mut outer = root;
    let mut tokens = pointer_tokens(pointer);
    loop {
        if ptr::eq(outer, target) {
            return true;
        }
        let inner = tokens.next().and_then(|token| match outer {
            Value::Object(members) => members.get(&*token),
            Value::Array(items) => items.get(array_index(&token)?),
            _ => None,
        });
        match inner {
            Some(inner) => outer = inner,
            None => return false,
        }
    }
}

/// Copies `target`, which will be put at `pointer`.
pub(super) fn copy_to(pointer: &str, target: &Value, budget: &Budget) -> Result<Value, KeptReason> {
    MAX_LEVELS
        .checked_sub(pointer.matches('/').count())
        .and_then(|levels| measure(target, budget.left(), levels))
        .filter(|&units| budget.take(2 * units))
        .map(|_| target.clone())
        .ok_or(KeptReason::TooComplex)
}

/// Replaces the `$ref` at `pointer` by `copy`, a copy of its target. `alone` says that the keywords beside a `$ref` are
/// ignored in this schema.
///
/// If only annotations stand beside it, the copy's keywords join the node. Otherwise the copy becomes a branch of
/// `allOf`, because keywords such as `additionalProperties` look at their neighbors.
pub(super) fn replace_reference(
    schema: &mut Value,
    pointer: &str,
    copy: Value,
    alone: bool,
) -> Result<(), KeptReason> {
    let node = object_mut(schema, pointer).ok_or(KeptReason::Malformed("$ref"))?;
    node.retain(|keyword, _| keyword != "$ref" && (!alone || stays_beside(keyword)));
    match copy {
        Value::Object(copy) if node.keys().all(|keyword| stays_beside(keyword)) => {
            for (keyword, value) in copy {
                if !matches!(
                    &*keyword,
                    "$defs" | "definitions" | "$schema" | "$id" | "id"
                ) {
                    node.entry(keyword).or_insert(value);
                }
            }
        }
        copy => match node.entry("allOf").or_insert(Value::Array(Vec::new())) {
            Value::Array(branches) => branches.push(copy),
            _ => return Err(KeptReason::Malformed("allOf")),
        },
    }
    Ok(())
}

/// Whether a keyword asserts nothing about an instance.
fn stays_beside(keyword: &str) -> bool {
    matches!(
        keyword,
        "title"
            | "description"
            | "default"
            | "example"
            | "examples"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
            | "$comment"
            | "$schema"
            | "$id"
            | "id"
            | "$defs"
            | "definitions"
    )
}
