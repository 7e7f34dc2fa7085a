//! Buffers that leave nothing behind when they grow.
//!
//! The program compiles this file as well, for what it reads.

use zeroize::Zeroizing;

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
