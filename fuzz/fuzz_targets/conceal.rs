//! Property: for any schema and any locations, `UserVault::conceal` never panics, and
//!
//! 1. each location is reported once, as hidden or as left;
//! 2. a default goes into a hidden location under the schema as it was, and the concealed one no longer declares it;
//! 3. a schema of which nothing is hidden is unchanged.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use keyward::{LeftLocation, LeftReason, Location, NewSecret, ToolCall, UserId, UserVault, Vault};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
struct Input {
    schema: Schema,
    locations: Vec<u8>,
}

/// A schema made of the words of JSON Schema, in their places or not; or any JSON.
#[derive(Arbitrary, Debug)]
enum Schema {
    Words(Node),
    Text(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Node {
    Object(Vec<(u8, Node)>),
    Array(Vec<Node>),
    Value(u8),
    Text(String),
    Number(i8),
}

/// Where defaults are bound.
const LOCATIONS: [&str; 8] = ["/a", "/b", "/c", "/a/b", "/a/c", "/b/a", "/a/b/c", "/a/0"];

const WORDS: [&str; 32] = [
    "a",
    "b",
    "c",
    "type",
    "properties",
    "required",
    "items",
    "prefixItems",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "enum",
    "const",
    "pattern",
    "minLength",
    "maxLength",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "default",
    "$ref",
    "$defs",
];

const VALUES: [&str; 16] = [
    "a",
    "b",
    "c",
    "^a",
    "object",
    "string",
    "null",
    "array",
    "#",
    "#/$defs/a",
    "#/$defs/b",
    "#/properties",
    "#/properties/a",
    "#/properties/a/allOf/0",
    "#/properties/%61",
    "https://example.com/",
];

impl Schema {
    fn value(&self) -> Option<Value> {
        match self {
            Schema::Words(node) => Some(node.value()),
            Schema::Text(bytes) => serde_json::from_slice(bytes).ok(),
        }
    }
}

impl Node {
    fn value(&self) -> Value {
        match self {
            Node::Object(members) => members
                .iter()
                .map(|(word, node)| {
                    let word = WORDS[usize::from(*word) % WORDS.len()];
                    (word.to_owned(), node.value())
                })
                .collect::<Map<_, _>>()
                .into(),
            Node::Array(items) => items.iter().map(Node::value).collect(),
            Node::Value(n) => match usize::from(*n) % (VALUES.len() + 3) {
                0 => Value::Null,
                1 => true.into(),
                2 => false.into(),
                n => VALUES[n - 3].into(),
            },
            Node::Text(text) => text.as_str().into(),
            Node::Number(n) => (*n).into(),
        }
    }
}

fuzz_target!(|input: Input| {
    let Some(schema) = input.schema.value() else {
        return;
    };
    let bound: BTreeSet<Location> = input
        .locations
        .iter()
        .map(|n| LOCATIONS[usize::from(*n) % LOCATIONS.len()])
        .map(|location| Location::new(location).expect("a location"))
        .collect();
    let user = Vault::in_memory().expect("a vault").user(UserId::LOCAL);
    for location in &bound {
        let pointer = location.as_pointer();
        let secret = NewSecret::new(pointer, "Zq8wT3vN").bind("tool", pointer);
        user.create(secret.default_for_tool()).expect("a secret");
    }

    let mut concealed = schema.clone();
    let report = user
        .conceal("tool", &mut concealed)
        .expect("no reason to fail");

    let mut reported: Vec<&Location> = report.hidden().iter().collect();
    reported.extend(report.left().iter().map(LeftLocation::location));
    reported.sort();
    assert!(reported.into_iter().eq(&bound), "{report:?}");
    if report.hidden().is_empty() {
        assert_eq!(concealed, schema);
        assert!(report.removed_parents().is_empty());
    }
    let (before, after) = (filled(&user, &schema), filled(&user, &concealed));
    for location in report.hidden() {
        assert!(before.contains(location), "{location} {schema}");
        assert!(!after.contains(location), "{location} {schema} {concealed}");
    }
    for left in report.left() {
        let nothing_is_put_in = matches!(
            left.reason(),
            LeftReason::NotDeclared | LeftReason::NotAString
        );
        assert!(
            !(nothing_is_put_in && before.contains(left.location())),
            "{left} {schema}"
        );
    }
});

/// What `schema` lets defaults be put into when a call gives nothing: the one judge of what a schema declares.
fn filled(user: &UserVault, schema: &Value) -> BTreeSet<Location> {
    let call = ToolCall::new("tool").with_schema(schema);
    let injection = user.inject(&call, &mut Map::new()).expect("all fits");
    injection
        .filled()
        .iter()
        .map(|filled| filled.location.clone())
        .collect()
}
