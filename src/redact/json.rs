//! Redaction of JSON values in place.

use std::{borrow::Cow, collections::HashMap};

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
    let mut taken = Taken::default();
    for key in members.keys().filter(|key| !redactor.finds(key)) {
        taken.vacant(key.clone());
    }
    for (mut key, member) in std::mem::take(members) {
        if redactor.finds(&key) {
            replace(redactor, &mut key);
            key = taken.vacant(key);
        }
        members.insert(key, member);
    }
}

/// The keys of an object, and for each the number to try next where it is wanted again.
#[derive(Default)]
struct Taken(HashMap<String, u64>);

impl Taken {
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
