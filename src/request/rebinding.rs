//! What a change does to a secret's binding, which a default needs as a whole.

use super::{ARG, IS_DEFAULT, TOOL};
use crate::{error::FieldError, secret::SecretInfo};

/// What a patch does to a secret's binding. Its fields may be invalid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rebinding {
    pub(super) is_default: Option<bool>,
    pub(super) tool: Option<Half>,
    pub(super) arg: Option<Half>,
}

/// What becomes of one half of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Set,
    Removed,
}

impl Rebinding {
    /// Checks that a default keeps both halves.
    pub(crate) fn check(self, old: &SecretInfo) -> Vec<FieldError> {
        let is_there = |half: Option<Half>, was: &Option<String>| match half {
            Some(half) => half == Half::Set,
            None => was.is_some(),
        };
        let checked = check_default(
            self.is_default.unwrap_or(old.is_default_for_tool),
            is_there(self.tool, &old.tool_name),
            is_there(self.arg, &old.tool_arg),
        );
        let Err(missing) = checked else {
            return Vec::new();
        };
        let halves = [(TOOL, self.tool), (ARG, self.arg)].into_iter();
        let removed = halves.filter(|(_, half)| *half == Some(Half::Removed));
        let errors: Vec<FieldError> = removed
            .map(|(field, _)| {
                let msg = "a default needs this field: set is_default_for_tool to false in the same update";
                FieldError::value_error(field, msg)
            })
            .collect();
        if errors.is_empty() {
            return vec![missing];
        }
        errors
    }
}

/// Checks that a default has a tool pattern and a location.
pub(super) fn check_default(
    is_default: bool,
    has_tool: bool,
    has_arg: bool,
) -> Result<(), FieldError> {
    let (missing, them) = match (is_default, has_tool, has_arg) {
        (false, _, _) | (true, true, true) => return Ok(()),
        (true, false, true) => ("tool_name", "it"),
        (true, true, false) => ("tool_arg", "it"),
        (true, false, false) => ("tool_name and tool_arg", "them"),
    };
    Err(FieldError::value_error(
        IS_DEFAULT,
        format_args!("a default needs {missing}: give {them}, or set is_default_for_tool to false"),
    ))
}
