//! Redaction of JSON values in place.

use std::{borrow::Cow, collections::HashMap, mem};

use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::{Redactor, index::Index};
use crate::wiping;

pub(super) fn redact(redactor: &Redactor, value: &mut Value) {
    // Not by recursion, since a tool may answer with a value that is nested arbitrarily deep.
    let index = redactor.index();
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        if replace_structure(&index, value) {
            continue;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let text = Zeroizing::new(number.to_string());
                if let Some(redacted) = redactor.redact_number(&text) {
                    *value = Value::String(redacted);
                }
            }
            Value::String(text) => replace(redactor, text),
            Value::Array(elements) => pending.extend(elements),
            Value::Object(members) => {
                redact_keys(redactor, members);
                pending.extend(members.values_mut());
            }
        }
    }
}

#[cfg(feature = "mcp")]
pub(super) fn redact_structures(index: &Index, value: &mut Value) {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        if replace_structure(index, value) {
            continue;
        }
        match value {
            Value::Array(elements) => pending.extend(elements),
            Value::Object(members) => pending.extend(members.values_mut()),
            _ => {}
        }
    }
}

/// Replaces an object or an array that is a value, and returns whether it is one.
fn replace_structure(index: &Index, value: &mut Value) -> bool {
    let Some(needle) = index.structure(value) else {
        return false;
    };
    let reference = Value::from(index.reference(needle));
    drop(wiping::Json(mem::replace(value, reference)));
    true
}

fn replace(redactor: &Redactor, text: &mut String) {
    if let Cow::Owned(redacted) = redactor.redact_string(text) {
        text.zeroize();
        *text = redacted;
    }
}

fn redact_keys(redactor: &Redactor, members: &mut Map<String, Value>) {
    let names = names(redactor, members.keys().map(String::as_str));
    if names.is_empty() {
        return;
    }
    for ((mut key, member), name) in mem::take(members).into_iter().zip(names) {
        if let Some(name) = name {
            key.zeroize();
            key = name;
        }
        members.insert(key, member);
    }
}

/// The new names of an object's keys: `None` for each key that keeps its name because it holds no value, and an
/// empty list if no key holds one. A new name gets a number appended if it is taken.
pub(super) fn names<'k>(
    redactor: &Redactor,
    keys: impl Iterator<Item = &'k str>,
) -> Vec<Option<String>> {
    let redacted: Vec<Cow<'_, str>> = keys.map(|key| redactor.redact_string(key)).collect();
    if redacted.iter().all(|key| matches!(key, Cow::Borrowed(_))) {
        return Vec::new();
    }
    let mut taken = Taken::default();
    for key in &redacted {
        if let Cow::Borrowed(key) = key {
            taken.vacant((*key).to_owned());
        }
    }
    let new_name = |key| match key {
        Cow::Owned(name) => Some(taken.vacant(name)),
        Cow::Borrowed(_) => None,
    };
    redacted.into_iter().map(new_name).collect()
}

/// The keys of an object, and for each the number to append if it is wanted again.
#[derive(Default)]
struct Taken(HashMap<String, u64>);

impl Taken {
    /// Takes the key, or the key with a number appended if it is taken already. Returns which it is.
    fn vacant(&mut self, key: String) -> String {
        let Some(&(mut number)) = self.0.get(&key) else {
            self.0.insert(key.clone(), 2);
            return key;
        };
        let numbered = loop {
            let candidate = format!("{key} ({number})");
            number += 1;
            if !self.0.contains_key(&candidate) {
                break candidate;
            }
        };
        self.0.insert(key, number);
        self.0.insert(numbered.clone(), 2);
        numbered
    }
}
