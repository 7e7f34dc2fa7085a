//! JSON that is made of few words, in their places or not: schemas and arguments.

use arbitrary::Arbitrary;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
pub enum Node {
    Object(Vec<(u8, Node)>),
    Array(Vec<Node>),
    /// Null, a boolean, or one of the usual strings.
    Usual(u8),
    Text(String),
    Number(i8),
}

impl Node {
    /// The value, with these names of members and these usual strings.
    pub fn value(&self, words: &[&str], usual: &[&str]) -> Value {
        match self {
            Node::Object(members) => members
                .iter()
                .map(|(word, node)| (pick(words, *word).to_owned(), node.value(words, usual)))
                .collect::<Map<_, _>>()
                .into(),
            Node::Array(items) => items.iter().map(|item| item.value(words, usual)).collect(),
            Node::Usual(n) => match usize::from(*n) % (usual.len() + 3) {
                0 => Value::Null,
                1 => true.into(),
                2 => false.into(),
                n => usual[n - 3].into(),
            },
            Node::Text(text) => text.as_str().into(),
            Node::Number(n) => (*n).into(),
        }
    }
}

/// A schema made of the words of JSON Schema; or any JSON.
#[derive(Arbitrary, Debug)]
pub enum Schema {
    Words(Node),
    Text(Vec<u8>),
}

impl Schema {
    pub fn value(&self) -> Option<Value> {
        match self {
            Schema::Words(node) => Some(node.value(&KEYWORDS, &USUAL)),
            Schema::Text(bytes) => serde_json::from_slice(bytes).ok(),
        }
    }
}

const KEYWORDS: [&str; 32] = [
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

const USUAL: [&str; 16] = [
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

/// One of them, whatever the number.
pub fn pick<T: Copy>(of: &[T], number: u8) -> T {
    of[usize::from(number) % of.len()]
}
