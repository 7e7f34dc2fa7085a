//! What was done to a schema.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::location::Location;

/// What was hidden from a tool's input schema, what was not, and why.
///
/// Serializes for logs, without any secret value:
/// `{"hidden": ["/token"], "removed_parents": [], "kept": [{"location": "/pin", "reason": "constrained_value",
/// "keyword": "pattern"}]}`.
///
/// ```
/// use keyward::{conceal::KeptReason, NewSecret, UserId, Vault};
/// use serde_json::json;
///
/// let user = Vault::in_memory()?.user(UserId::LOCAL);
/// for (name, location) in [("linear", "/headers/Authorization"), ("pin", "pin")] {
///     user.create(NewSecret::new(name, "Zq8wT3vN").bind("fetch", location).default_for_tool())?;
/// }
///
/// let mut schema = json!({
///     "type": "object",
///     "properties": {
///         "url": {"type": "string"},
///         "pin": {"type": "string", "pattern": "^[0-9]{4}$"},
///         "headers": {
///             "type": "object",
///             "properties": {"Authorization": {"type": "string"}},
///             "required": ["Authorization"],
///         },
///     },
///     "required": ["url", "headers"],
/// });
/// let report = user.conceal("fetch", &mut schema)?;
///
/// // Nothing was left to ask for in `headers`; not every secret is a pin.
/// assert_eq!(schema, json!({
///     "type": "object",
///     "properties": {"url": {"type": "string"}, "pin": {"type": "string", "pattern": "^[0-9]{4}$"}},
///     "required": ["url"],
/// }));
/// assert_eq!(report.hidden()[0].as_pointer(), "/headers/Authorization");
/// assert_eq!(report.removed_parents()[0].as_pointer(), "/headers");
/// assert_eq!(report.kept()[0].location().as_pointer(), "/pin");
/// assert_eq!(report.kept()[0].reason(), KeptReason::ConstrainedValue("pattern"));
/// assert!(!report.is_complete());
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// A schema may come from anyone, so the work on it is bounded: by a constant, plus an amount for each location that is
/// proportional to the schema's size. A schema nested deeper than 256 levels is left as it is: what could be hidden
/// otherwise is kept with [`KeptReason::TooComplex`]. (Cloning or dropping a very deeply nested `Value` can itself
/// overflow the stack; `serde_json` does not parse one.)
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Concealment {
    #[serde(serialize_with = "as_pointers")]
    pub(super) hidden: Vec<Location>,
    #[serde(serialize_with = "as_pointers")]
    pub(super) removed_parents: Vec<Location>,
    pub(super) kept: Vec<KeptLocation>,
}

impl Concealment {
    /// Returns the locations that are no longer in the schema, in order.
    pub fn hidden(&self) -> &[Location] {
        &self.hidden
    }

    /// Returns the objects that are no longer in the schema because nothing is left in them to ask for. They are
    /// made when the defaults go in.
    ///
    /// An object whose `additionalProperties` is `true` or a schema can take anything and is kept. One without the
    /// keyword lists what it takes, as in schemas generated from types, and is removed.
    pub fn removed_parents(&self) -> &[Location] {
        &self.removed_parents
    }

    /// Returns the locations that stay as they were, in order, and why.
    pub fn kept(&self) -> &[KeptLocation] {
        &self.kept
    }

    /// Returns whether the model is asked for none of the locations of defaults: each is hidden, or the schema neither
    /// declares nor requires it. (What a schema takes under any name, by `additionalProperties` or `patternProperties`,
    /// it does not declare.)
    ///
    /// A description can name anything, and a sample in a definition that several places share may stay as it is:
    /// neither asks for anything.
    pub fn is_complete(&self) -> bool {
        self.kept
            .iter()
            .all(|kept| kept.reason == KeptReason::NotDeclared)
    }
}

/// A location that `conceal` kept in the schema, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptLocation {
    #[serde(serialize_with = "as_pointer")]
    pub(super) location: Location,
    #[serde(flatten)]
    pub(super) reason: KeptReason,
}

impl KeptLocation {
    /// Returns the location.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns why it stays in the schema.
    pub fn reason(&self) -> KeptReason {
        self.reason
    }
}

impl fmt::Display for KeptLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location.in_line(), self.reason)
    }
}

/// Why a location stays in the schema.
///
/// With [`NotDeclared`](KeptReason::NotDeclared) there is nothing to ask for. With
/// [`NotAString`](KeptReason::NotAString) and [`MayBeDeclared`](KeptReason::MayBeDeclared) the model may be asked, and
/// nothing is filled in. With every other reason the model may be asked, and the default is filled in if it gives no
/// value; where a location lies [inside an array](KeptReason::InsideArray), if the call has that element of an array
/// and the schema declares it, and where it lies [inside another](KeptReason::InsideAnother), if the schema also
/// declares it as a string, and the call has an object around it, so that the other is not filled in. Where a reason
/// carries a keyword, it is the JSON Schema keyword that stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "reason", content = "keyword", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeptReason {
    /// The schema neither declares nor requires it: there is nothing to hide, and nothing is put in.
    NotDeclared,
    /// The schema declares it with a type that no string has: nothing is put in.
    NotAString,
    /// The schema declares it for some arguments only, as by `then`, or may do so in a part that is not followed: in
    /// another document, without an end, or too large. Or it does not declare it, and requires it all the same, by
    /// `required` or the like. Nothing is put in, but the model may be asked for a value.
    MayBeDeclared(&'static str),
    /// The schema accepts only some strings there, so the tool might refuse the secret.
    ConstrainedValue(&'static str),
    /// What the schema asks for depends on whether the property is there.
    ConditionalSchema(&'static str),
    /// The schema limits which properties, or how many, an object on the path may have.
    ConstrainedObject(&'static str),
    /// Something on the path may be neither an object nor null.
    ParentNotObject,
    /// An object on the path may be null, would be invalid if it were made, and null cannot be ruled out.
    ParentNullable,
    /// It lies inside an array, which may have no such element.
    InsideArray,
    /// It lies inside another location that takes a string.
    InsideAnother,
    /// The schema has a reference that is not followed: to another document, to an anchor, or a dynamic one.
    UnsupportedReference(&'static str),
    /// Another part of the schema refers to this one in a way that cannot be untangled, such as a recursion.
    SharedSchema,
    /// A keyword has a value that JSON Schema does not allow.
    Malformed(&'static str),
    /// The schema is too large or too deep.
    TooComplex,
}

impl KeptReason {
    /// Returns the keyword that stands in the way, for reasons that have one.
    pub fn keyword(self) -> Option<&'static str> {
        match self {
            KeptReason::MayBeDeclared(keyword)
            | KeptReason::ConstrainedValue(keyword)
            | KeptReason::ConditionalSchema(keyword)
            | KeptReason::ConstrainedObject(keyword)
            | KeptReason::UnsupportedReference(keyword)
            | KeptReason::Malformed(keyword) => Some(keyword),
            _ => None,
        }
    }
}

impl fmt::Display for KeptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            KeptReason::NotDeclared => "the schema does not declare it",
            KeptReason::NotAString => "the schema declares it with a type that excludes strings",
            KeptReason::MayBeDeclared(_) => {
                "the schema only requires it, or declares it for some arguments only or in a part that is not followed"
            }
            KeptReason::ConstrainedValue(_) => "the schema accepts only some strings there",
            KeptReason::ConditionalSchema(_) => {
                "what the schema requires depends on whether it is present"
            }
            KeptReason::ConstrainedObject(_) => {
                "the schema limits which or how many properties there may be"
            }
            KeptReason::ParentNotObject => {
                "one of its parents may be something other than an object or null"
            }
            KeptReason::ParentNullable => {
                "one of its parents may be null, and an object created in its place would be invalid"
            }
            KeptReason::InsideArray => "it lies inside an array",
            KeptReason::InsideAnother => "it lies inside another location that takes a string",
            KeptReason::UnsupportedReference(_) => {
                "the schema has references that are not followed"
            }
            KeptReason::SharedSchema => "another part of the schema refers to this one",
            KeptReason::Malformed(_) => "the schema is malformed",
            KeptReason::TooComplex => "the schema is too large or too deep",
        };
        f.write_str(text)?;
        match self.keyword() {
            Some(keyword) => write!(f, " (`{keyword}`)"),
            None => Ok(()),
        }
    }
}

fn as_pointers<S: Serializer>(locations: &[Location], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(locations.iter().map(Location::as_pointer))
}

fn as_pointer<S: Serializer>(location: &Location, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(location.as_pointer())
}
