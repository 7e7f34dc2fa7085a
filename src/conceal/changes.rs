//! What differs between two versions of a schema.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use crate::schema::{fragment_pointer, pointer_tokens, resolve};

/// The places in which a schema differs from an earlier version of it.
///
/// Comparing the two takes time proportional to their size; asking afterwards whether the target of a reference has
/// changed takes time proportional to the length of the reference.
pub(super) struct Changes<'a> {
    before: &'a Value,
    after: &'a Value,
    root: Change<'a>,
}

enum Change<'a> {
    Nothing,
    /// Only in these members.
    Below(BTreeMap<Cow<'a, str>, Change<'a>>),
    Everything,
}

impl<'a> Changes<'a> {
    pub(super) fn between(before: &'a Value, after: &'a Value) -> Changes<'a> {
        Changes {
            before,
            after,
            root: compare(before, after),
        }
    }

    /// Whether a `$ref` with this value means something else after than before.
    pub(super) fn concern(&self, reference: &Value) -> bool {
        let Some(pointer) = fragment_pointer(reference) else {
            return false;
        };
        let mut change = &self.root;
        for token in pointer_tokens(&pointer) {
            change = match change {
                Change::Nothing => return false,
                Change::Below(members) => match members.get(&token) {
                    Some(change) => change,
                    None => return false,
                },
                Change::Everything => {
                    let leads = |schema| resolve(schema, reference).is_some();
                    return leads(self.before) || leads(self.after);
                }
            };
        }
        !matches!(change, Change::Nothing)
    }
}

/// Recurses as deep as both are nested.
fn compare<'a>(before: &'a Value, after: &'a Value) -> Change<'a> {
    let mut changed = BTreeMap::new();
    let mut add = |name: Cow<'a, str>, old: Option<&'a Value>, new: Option<&'a Value>| {
        let change = match (old, new) {
            (Some(old), Some(new)) => compare(old, new),
            _ => Change::Everything,
        };
        if !matches!(change, Change::Nothing) {
            changed.insert(name, change);
        }
    };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                add(name.into(), Some(value), new.get(name));
            }
            for (name, value) in new {
                if !old.contains_key(name) {
                    add(name.into(), None, Some(value));
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for i in 0..old.len().max(new.len()) {
                add(i.to_string().into(), old.get(i), new.get(i));
            }
        }
        _ if before == after => {}
        _ => return Change::Everything,
    }
    if changed.is_empty() {
        Change::Nothing
    } else {
        Change::Below(changed)
    }
}
