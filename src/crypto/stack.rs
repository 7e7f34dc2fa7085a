//! What calls leave on the stack.
//!
//! A function that handles a key has copies of it in its part of the stack: values that were moved, registers that were
//! spilled. The ciphers, HMAC, HKDF and Argon2id wipe what they own, not these. No safe code reaches them, but for one
//! that comes to lie in the same place. A test reads the memory of a process after each use of a key.

use std::hint::black_box;

/// As much as a use of a key takes, and some more: how much that is, is up to the compiler. Without optimization, or with
/// the crate compiled in other parts than usual, 4 KiB were not enough.
const BYTES: usize = if cfg!(debug_assertions) {
    16 * 1024
} else {
    8 * 1024
};

/// Calls `work`, and writes over the stack that it used.
pub(super) fn wiping_stack<T>(work: impl FnOnce() -> T) -> T {
    let _wipe = WipeOnDrop;
    call(work)
}

/// Also after a panic.
struct WipeOnDrop;

impl Drop for WipeOnDrop {
    fn drop(&mut self) {
        wipe();
    }
}

/// No part of its caller, so that all of `work` lies below.
#[inline(never)]
fn call<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    black_box(&mut [0_u8; BYTES]);
}
