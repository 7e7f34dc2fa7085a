//! Buffers that leave nothing behind when they grow, and JSON that leaves nothing when it is dropped.

use std::{
    mem,
    ops::{Deref, DerefMut},
};

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

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

/// Appends bytes that may hold a value. A vector that grows by itself frees its old memory without wiping it.
pub(crate) fn append(to: &mut Zeroizing<Vec<u8>>, more: &[u8]) {
    let needed = to.len() + more.len();
    if needed > to.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * to.capacity())));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_keeps_what_is_there() {
        let mut bytes = Zeroizing::new(Vec::with_capacity(3));
        for (more, all) in [("ab", "ab"), ("c", "abc"), ("", "abc"), ("defg", "abcdefg")] {
            append(&mut bytes, more.as_bytes());
            assert_eq!(**bytes, *all.as_bytes());
        }
        // Twice as much at least, so that the cost of all moves is linear.
        append(&mut bytes, b"h");
        assert!(bytes.capacity() >= 14);
    }
}
