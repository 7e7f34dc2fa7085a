//! How much work a schema may cause, counted in units: about one for each small JSON value that is looked at, compared
//! or copied.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Units of work that may still be done.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u64>,
}

impl Budget {
    pub(crate) fn new(units: u64) -> Budget {
        Budget {
            left: Cell::new(units),
        }
    }

    /// Takes units. Returns whether there were that many; if not, none are left.
    pub(crate) fn take(&self, units: u64) -> bool {
        let left = self.left.get().checked_sub(units);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    pub(crate) fn give(&self, units: u64) {
        self.left.set(self.left.get().saturating_add(units));
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.get()
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }
}

/// Returns the units that it takes to go through a value once, or to copy it: 4 for an object, 1 for any other
/// value, and 1 for each 32 bytes of its strings and names.
///
/// Returns `None` if that is more than `most_units`, or if the value is nested deeper than `most_levels`. Does not
/// recurse.
pub(crate) fn measure(value: &Value, most_units: u64, most_levels: usize) -> Option<u64> {
    let mut units = OBJECT;
    let mut pending = vec![(0, value)];
    while let Some((level, value)) = pending.pop() {
        if units > most_units || level > most_levels {
            return None;
        }
        match value {
            Value::String(text) => units += text_units(text),
            Value::Array(items) => {
                units += items.len() as u64;
                // Before they are noted: there may be any number of them.
                if units > most_units {
                    return None;
                }
                pending.extend(items.iter().map(|item| (level + 1, item)));
            }
            Value::Object(members) => {
                units += OBJECT - 1 + members.len() as u64;
                if units > most_units {
                    return None;
                }
                for (name, member) in members {
                    units += text_units(name);
                    pending.push((level + 1, member));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    (units <= most_units).then_some(units)
}

/// Objects take most of the time and memory of a copy.
const OBJECT: u64 = 4;

fn text_units(text: &str) -> u64 {
    text.len() as u64 / 32
}

/// The units for looking at one subschema, without the subschemas in it: 1, and 1 more for every four of its
/// keywords and of the members of its lists that may have to be gone through.
pub(super) fn node_units(node: &Map<String, Value>) -> u64 {
    let members = node.iter().map(|(keyword, value)| match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => match &**keyword {
            "properties" | "$defs" | "definitions" => 0,
            // Their lists are gone through as well.
            "not" | "dependentRequired" | "dependencies" => {
                members.len() + members.values().map(list_length).sum::<usize>()
            }
            _ => members.len(),
        },
        _ => 0,
    });
    1 + (node.len() + members.sum::<usize>()) as u64 / 4
}

fn list_length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// The units for following a reference or a pointer: it is decoded, and each of its names is looked up.
pub(crate) fn pointer_units(pointer: &str) -> u64 {
    1 + pointer.len() as u64 / 8
}
