//! What calls leave on the stack.
//!
//! A function that handles a key has copies of it in its part of the stack: values that were moved, registers that were
//! spilled. The ciphers, HMAC, HKDF and Argon2id wipe what they own, not these. No safe code reaches them, but for one
//! that comes to lie in the same place. A test reads the memory of a process after each use of a key.

use std::hint::black_box;

/// As much as a use of a key takes.
const BYTES: usize = 4096;

/// Calls `work`, and writes over the stack that it used.
pub(super) fn wiping_stack<T>(work: impl FnOnce() -> T) -> T {
    let result = call(work);
    wipe();
    result
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
