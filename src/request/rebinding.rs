//! What a change does to a secret's binding, which a default needs as a whole.

use super::fields::{ARG, Fields, Given, TOOL, check_default};
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
    pub(super) fn of(fields: &Fields) -> Rebinding {
        let half = |field: &Given<String>| match field {
            Given::Absent => None,
            Given::Null => Some(Half::Removed),
            _ => Some(Half::Set),
        };
        Rebinding {
            is_default: match fields.is_default {
                Given::Value(is_default) => Some(is_default),
                Given::Absent | Given::Null => None,
                // It may have been meant to be none.
                Given::WrongType | Given::NotUnicode => Some(false),
            },
            tool: half(&fields.tool_name),
            arg: half(&fields.tool_arg),
        }
    }

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
