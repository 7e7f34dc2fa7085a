//! Filled arguments that are wiped however the call ends.

use std::{fmt, mem, ops::Deref};

use serde_json::{Map, Value};

use super::Injection;

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
pub struct GuardedArgs {
    args: Map<String, Value>,
    injection: Injection,
}

impl GuardedArgs {
    pub(super) fn new(args: Map<String, Value>, injection: Injection) -> GuardedArgs {
        GuardedArgs { args, injection }
    }

    /// Returns the injection that filled the arguments.
    pub fn injection(&self) -> &Injection {
        &self.injection
    }

    /// Does what [`Injection::wipe`] does, and returns the arguments as they were before, with the injection.
    pub fn wipe(mut self) -> (Map<String, Value>, Injection) {
        self.injection.wipe(&mut self.args);
        let nothing = Injection::with_capacity(0);
        (
            mem::take(&mut self.args),
            mem::replace(&mut self.injection, nothing),
        )
    }
}

impl Deref for GuardedArgs {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        &self.args
    }
}

impl Drop for GuardedArgs {
    fn drop(&mut self) {
        self.injection.wipe(&mut self.args);
    }
}

impl fmt::Debug for GuardedArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedArgs")
            .field("injection", &self.injection)
            .finish_non_exhaustive()
    }
}
