//! The other forms in which runtimes carry the arguments of a call: a JSON value, and JSON text.

use std::{borrow::Cow, mem};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::{Failure, Injection, Injector, text};
use crate::error::{Error, FieldError};

impl Injector<'_> {
    /// Fills arguments that are an object, or null if there are none.
    pub(crate) fn inject_value(&self, args: &mut Value) -> Result<Injection, Failure> {
        match args {
            Value::Object(members) => self.inject(members),
            Value::Null => {
                let mut members = Map::new();
                let mut injection = self.inject(&mut members)?;
                if !members.is_empty() {
                    *args = Value::Object(members);
                    injection.was_null = true;
                }
                Ok(injection)
            }
            _ => Err(not_an_object().into()),
        }
    }

    /// Fills arguments that are JSON text. The text changes only where a secret goes.
    ///
    /// The secret is written once, into a buffer allocated at its final length, so that no copy stays behind in
    /// memory that a growing buffer frees.
    pub(crate) fn inject_text(&self, args: &mut String) -> Result<Injection, Failure> {
        let mut read = text::read(args)?;
        let mut injection = self.inject_value(&mut read)?;
        if injection.undo.is_empty() {
            return Ok(injection);
        }
        let filled = if injection.was_null {
            text::new(&read)
        } else {
            let undo = injection.undo();
            let places = undo.map(|(location, undo)| undo.outermost(location));
            text::edit(args, &read, places)
        };
        injection.text = Some(mem::replace(args, filled).into());
        Ok(injection)
    }
}

impl Injection {
    /// Does what [`wipe`](Injection::wipe) does for arguments that are a JSON value, such as those of
    /// [`inject_value`](crate::UserVault::inject_value). If they were null, they become null again.
    pub fn wipe_value(&self, args: &mut Value) {
        if let Value::Object(members) = args {
            self.wipe(members);
            if self.was_null && members.is_empty() {
                *args = Value::Null;
            }
        }
    }

    /// Overwrites the whole text and puts back, byte for byte, the text that
    /// [`inject_str`](crate::UserVault::inject_str) was given. Does nothing if nothing was put in. An injection into
    /// arguments of another form has no text to put back, so it leaves `args` empty.
    pub fn wipe_str(&self, args: &mut String) {
        if self.undo.is_empty() {
            return;
        }
        args.zeroize();
        if let Some(text) = &self.text {
            args.push_str(text);
        }
    }
}

/// Returns the members of arguments that are an object, or null if there are none.
pub(crate) fn members(args: &Value) -> Result<Cow<'_, Map<String, Value>>, Error> {
    match args {
        Value::Object(members) => Ok(Cow::Borrowed(members)),
        Value::Null => Ok(Cow::default()),
        _ => Err(not_an_object()),
    }
}

fn not_an_object() -> Error {
    let msg = "the arguments of a call must be a JSON object, or null for none";
    Error::validation(vec![FieldError::value_error_at([], msg)])
}
