//! Reading the fields of a request from any format of `serde`.
//!
//! Unlike [`json::read`](super::json::read), this cannot promise to leave no copy of a value behind: what the format's
//! own parser keeps is out of reach.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use zeroize::Zeroizing;

use super::{
    NewSecret, SecretPatch,
    fields::{ARG, FORMAT, Fields, Given, IS_DEFAULT, NAME, TOOL, VALUE},
    json::not_an_object,
};
use crate::{error::Error, secret::SecretValue};

impl<'de> Deserialize<'de> for NewSecret {
    /// # Security
    ///
    /// The format's parser may keep copies of the value that nobody wipes: `serde_json`, for one, unescapes strings
    /// in such a buffer. Use [`NewSecret::from_json`] if the input is JSON text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NewSecret, D::Error> {
        let fields = deserialize_fields(deserializer)?;
        Ok(NewSecret { fields })
    }
}

impl<'de> Deserialize<'de> for SecretPatch {
    /// # Security
    ///
    /// As for [`NewSecret`]: use [`SecretPatch::from_json`] if the input is JSON text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretPatch, D::Error> {
        let fields = deserialize_fields(deserializer)?;
        Ok(SecretPatch {
            fields,
            if_revision: None,
        })
    }
}

/// Reports all fields of a wrong type together. Other errors in them are found when the request is used.
fn deserialize_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
    // Not `deserialize_map`: a format that finds no map would report what it found, and so repeat a value that was
    // given by itself.
    let fields = deserializer.deserialize_any(FieldsVisitor)?;
    let errors = fields.type_errors();
    if errors.is_empty() {
        Ok(fields)
    } else {
        Err(de::Error::custom(Error::validation(errors)))
    }
}

/// The methods of [`FieldsVisitor`] for what is no map.
macro_rules! refuse {
    ($($visit:ident($type:ty),)*) => {
        $(fn $visit<E: de::Error>(self, _: $type) -> Result<Fields, E> {
            Err(E::custom(not_an_object()))
        })*
    };
}

/// Accepts a map. For anything else, `serde`'s own message would repeat it, and it may be a secret value.
struct FieldsVisitor;

/// The only member of the object as which `serde_json` passes a number on, in a program that turns on its feature
/// `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a secret")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            match &*key {
                NAME => fields.name = members.next_value()?,
                VALUE => {
                    fields.value = members.next_value::<Given<String>>()?.map(SecretValue::new);
                }
                TOOL => fields.tool_name = members.next_value()?,
                ARG => fields.tool_arg = members.next_value()?,
                IS_DEFAULT => fields.is_default = members.next_value()?,
                FORMAT => fields.format = members.next_value()?,
                NUMBER => return Err(de::Error::custom(not_an_object())),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }

    refuse! {
        visit_bool(bool),
        visit_i64(i64),
        visit_i128(i128),
        visit_u64(u64),
        visit_u128(u128),
        visit_f64(f64),
        visit_str(&str),
        visit_bytes(&[u8]),
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Fields, E> {
        drop(Zeroizing::new(text));
        Err(E::custom(not_an_object()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Fields, E> {
        Err(E::custom(not_an_object()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Fields, A::Error> {
        Err(de::Error::custom(not_an_object()))
    }
}

impl<'de> Deserialize<'de> for Given<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(GivenVisitor)
            .map(|scalar| match scalar {
                Scalar::Null => Given::Null,
                Scalar::String(text) => Given::Value(text),
                Scalar::Bool(_) | Scalar::Other => Given::WrongType,
            })
    }
}

impl<'de> Deserialize<'de> for Given<bool> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(GivenVisitor)
            .map(|scalar| match scalar {
                Scalar::Null => Given::Null,
                Scalar::Bool(value) => Given::Value(value),
                Scalar::String(text) => {
                    drop(Zeroizing::new(text));
                    Given::WrongType
                }
                Scalar::Other => Given::WrongType,
            })
    }
}

enum Scalar {
    Null,
    Bool(bool),
    String(String),
    Other,
}

/// The methods of [`GivenVisitor`] for types that no field has.
macro_rules! other {
    ($($visit:ident($type:ty)),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Scalar, E> {
            Ok(Scalar::Other)
        })*
    };
}

/// Accepts a value of any type, so that a wrong type is distinguished from malformed input and the fields behind it
/// are still read.
struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::String(text))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_none<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }

    other! { visit_i64(i64), visit_i128(i128), visit_u64(u64), visit_u128(u128), visit_f64(f64), visit_bytes(&[u8]) }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}
