//! JSON that leaves nothing behind when it is dropped, and buffers when they grow.

use std::{
    mem,
    ops::{Deref, DerefMut},
};

use serde_json::Value;
use zeroize::Zeroize;

pub(crate) use self::buffer::append;

mod buffer;

/// Parsed JSON that may hold values: its strings and keys are wiped when it is dropped.
#[derive(Default)]
pub(crate) struct Json(pub(crate) Value);

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl DerefMut for Json {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.0
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Recurses, as dropping does.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(elements) => elements.iter_mut().for_each(wipe),
        Value::Object(members) => {
            for (mut key, mut value) in mem::take(members) {
                key.zeroize();
                wipe(&mut value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
