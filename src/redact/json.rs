//! Redaction of JSON values in place.

use std::{borrow::Cow, collections::HashSet};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::Redactor;

pub(super) fn redact(redactor: &Redactor, value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            if let Cow::Owned(redacted) = redactor.redact(&number.to_string()) {
                *value = Value::String(redacted);
            }
        }
        Value::String(text) => replace(redactor, text),
        Value::Array(elements) => {
            for element in elements {
                redact(redactor, element);
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                redact(redactor, member);
            }
            if members.keys().any(|key| redactor.finds(key)) {
                redact_keys(redactor, members);
            }
        }
    }
}

fn replace(redactor: &Redactor, text: &mut String) {
    if let Cow::Owned(redacted) = redactor.redact(text) {
        text.zeroize();
        *text = redacted;
    }
}

/// Keys without a value keep their names. The others get a number behind theirs if it is taken.
fn redact_keys(redactor: &Redactor, members: &mut Map<String, Value>) {
    let mut taken: HashSet<String> = members
        .keys()
        .filter(|key| !redactor.finds(key))
        .cloned()
        .collect();
    for (mut key, member) in std::mem::take(members) {
        if redactor.finds(&key) {
            replace(redactor, &mut key);
            key = vacant(key, &taken);
            taken.insert(key.clone());
        }
        members.insert(key, member);
    }
}

fn vacant(key: String, taken: &HashSet<String>) -> String {
    if !taken.contains(&key) {
        return key;
    }
    (2_u64..)
        .map(|number| format!("{key} ({number})"))
        .find(|key| !taken.contains(key))
        .unwrap_or(key)
}
