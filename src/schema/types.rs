//! The types that JSON Schema tells apart.

use std::ops::{BitAnd, BitOr, Not};

use serde_json::Value;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const NONE: Types = Types(0);
    pub(crate) const NULL: Types = Types(1);
    pub(crate) const OBJECT: Types = Types(1 << 1);
    pub(crate) const ARRAY: Types = Types(1 << 2);
    pub(crate) const STRING: Types = Types(1 << 3);
    const BOOLEAN: Types = Types(1 << 4);
    const INTEGER: Types = Types(1 << 5);
    /// All numbers, integers included.
    const NUMBER: Types = Types((1 << 6) | (1 << 5));
    pub(crate) const ALL: Types = Types((1 << 7) - 1);

    pub(crate) fn contains(self, other: Types) -> bool {
        self & other == other
    }

    pub(super) fn named(name: &Value) -> Types {
        match name.as_str() {
            Some("null") => Types::NULL,
            Some("object") => Types::OBJECT,
            Some("array") => Types::ARRAY,
            Some("string") => Types::STRING,
            Some("boolean") => Types::BOOLEAN,
            Some("integer") => Types::INTEGER,
            Some("number") => Types::NUMBER,
            _ => Types::NONE,
        }
    }

    pub(super) fn of(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Number(_) => Types::NUMBER,
            Value::String(_) => Types::STRING,
            Value::Array(_) => Types::ARRAY,
            Value::Object(_) => Types::OBJECT,
        }
    }
}

impl BitAnd for Types {
    type Output = Types;

    fn bitand(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }
}

impl BitOr for Types {
    type Output = Types;

    fn bitor(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }
}

impl Not for Types {
    type Output = Types;

    fn not(self) -> Types {
        Types(!self.0) & Types::ALL
    }
}
