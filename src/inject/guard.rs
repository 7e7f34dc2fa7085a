//! Filled arguments that are wiped however the call ends.

use std::{fmt, mem, ops::Deref};

use serde_json::{Map, Value};

use super::Injection;

/// A form in which the arguments of a call come: the members of an object, a JSON value, or JSON text. These are all.
pub trait Arguments: Default + sealed::Wipe {}

impl Arguments for Map<String, Value> {}
impl Arguments for Value {}
impl Arguments for String {}

mod sealed {
    use super::{Injection, Map, Value};

    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Wipe {
        /// Takes out what the injection filled in.
        fn wipe(&mut self, injection: &Injection);
    }

    impl Wipe for Map<String, Value> {
        fn wipe(&mut self, injection: &Injection) {
            injection.wipe(self);
        }
    }

    impl Wipe for Value {
        fn wipe(&mut self, injection: &Injection) {
            injection.wipe_value(self);
        }
    }

    impl Wipe for String {
        fn wipe(&mut self, injection: &Injection) {
            injection.wipe_str(self);
        }
    }
}

/// Filled arguments that are wiped when this is dropped: also when the tool panics, or when its future is dropped at a
/// timeout. Made by [`Injection::guard`]; it can be used as the arguments.
///
/// ```
/// use keyward::{NewSecret, ToolCall, UserId, Vault};
/// use serde_json::Map;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// user.create(NewSecret::new("linear", "lin_api_Zq8wT3vN").bind("linear__*", "api_key").default_for_tool())?;
///
/// let mut args = Map::new();
/// let injection = user.inject(&ToolCall::new("linear__list"), &mut args)?;
/// let args = injection.guard(args);
/// // … the tool runs …
/// let output = format!("401: no such key: {}", args["api_key"].as_str().unwrap());
/// assert_eq!(args.injection().redactor().redact(&output), "401: no such key: secret://linear");
///
/// let (args, injection) = args.wipe(); // for a record; dropping it would do otherwise
/// assert!(args.is_empty());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// # Security
///
/// Copies that the tool made of the arguments are the tool's. Whoever forgets the guard, as by `mem::forget`, wipes
/// nothing.
#[must_use = "the arguments are wiped when this is dropped"]
pub struct GuardedArgs<A: Arguments = Map<String, Value>> {
    args: A,
    injection: Injection,
}

impl<A: Arguments> GuardedArgs<A> {
    pub(super) fn new(args: A, injection: Injection) -> GuardedArgs<A> {
        GuardedArgs { args, injection }
    }

    /// Returns the injection that filled the arguments.
    pub fn injection(&self) -> &Injection {
        &self.injection
    }

    /// Does what [`Injection::wipe`] does, or its form for these arguments, and returns the arguments as they were
    /// before, with the injection.
    pub fn wipe(mut self) -> (A, Injection) {
        self.args.wipe(&self.injection);
        let nothing = Injection::with_capacity(0);
        (
            mem::take(&mut self.args),
            mem::replace(&mut self.injection, nothing),
        )
    }
}

impl<A: Arguments> Deref for GuardedArgs<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.args
    }
}

impl<A: Arguments> Drop for GuardedArgs<A> {
    fn drop(&mut self) {
        self.args.wipe(&self.injection);
    }
}

impl<A: Arguments> fmt::Debug for GuardedArgs<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedArgs")
            .field("injection", &self.injection)
            .finish_non_exhaustive()
    }
}
