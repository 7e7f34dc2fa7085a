//! Wiping what calls leave on the stack.
//!
//! A function that handles a key leaves copies of it in its part of the stack: moved values, spilled registers.
//! The ciphers, HMAC, HKDF and Argon2id wipe what they own, but not these. Safe code can overwrite them only if
//! its own part of the stack comes to lie in the same place. A test reads the memory of a process after each use
//! of a key.

use std::hint::black_box;

/// As much stack as a use of a key takes, with a margin; how much that is depends on the compiler. Without
/// optimization, or with the crate compiled in other parts than usual, 4 KiB were not enough.
const BYTES: usize = if cfg!(debug_assertions) {
    16 * 1024
} else {
    8 * 1024
};

/// Calls `work`, and overwrites the stack that it used.
pub(super) fn wiping_stack<T>(work: impl FnOnce() -> T) -> T {
    let _wipe = WipeOnDrop;
    call(work)
}

/// Wipes the stack, also after a panic.
struct WipeOnDrop;

impl Drop for WipeOnDrop {
    fn drop(&mut self) {
        wipe();
    }
}

/// Not inlined into its caller, so that all of `work` lies below.
#[inline(never)]
fn call<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    black_box(&mut [0_u8; BYTES]);
}
