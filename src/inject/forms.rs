//! The other forms in which runtimes carry the arguments of a call: a JSON value, and JSON text.

use std::mem;

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::{Failure, Injection, Injector, place::Undo, text};
use crate::error::{Error, FieldError};

impl Injector<'_> {
    /// Fills arguments that are an object, or null for none.
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
    /// A secret is written once, into a text that is as long as it has to be from the start, so that none is left in what
    /// a growing text lets go of.
    pub(crate) fn inject_text(&self, args: &mut String) -> Result<Injection, Failure> {
        let mut read = text::read(args)?;
        let mut injection = self.inject_value(&mut read)?;
        if injection.undo.is_empty() {
            return Ok(injection);
        }
        let filled = if injection.was_null {
            text::new(&read)
        } else {
            let places = injection.undo.iter().map(Undo::outermost);
            text::edit(args, &read, places)
        };
        injection.wipe_value(&mut read);
        injection.text = Some(mem::replace(args, filled).into());
        Ok(injection)
    }
}

impl Injection {
    /// Does what [`wipe`](Injection::wipe) does, in arguments that are a JSON value: those of
    /// [`inject_value`](crate::UserVault::inject_value). Null becomes null again.
    pub fn wipe_value(&self, args: &mut Value) {
        if let Value::Object(members) = args {
            self.wipe(members);
            if self.was_null && members.is_empty() {
                *args = Value::Null;
            }
        }
    }

    /// Overwrites the whole text, and puts back the one that [`inject_str`](crate::UserVault::inject_str) was given, to the
    /// byte. Does nothing if nothing was put in. An injection into arguments of another form has no text to put back: what
    /// is left is empty.
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

fn not_an_object() -> Error {
    let msg = "Value error, the arguments of a call are a JSON object, or null for none";
    Error::validation(vec![FieldError::new([], "value_error", msg)])
}
