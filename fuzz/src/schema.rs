//! Input schemas of tools, and arguments for them.

use arbitrary::Arbitrary;
use serde_json::{Map, Value, json};

use crate::json::{Node, pick};

/// A schema of nested objects; one in which the words of JSON Schema stand anywhere; or any JSON.
#[derive(Arbitrary, Debug)]
pub enum Schema {
    Usual(Usual),
    Words(Node),
    Text(Vec<u8>),
}

impl Schema {
    pub fn value(&self) -> Option<Value> {
        match self {
            Schema::Usual(usual) => Some(usual.value()),
            Schema::Words(node) => Some(node.value(&KEYWORDS, &USUAL)),
            Schema::Text(bytes) => serde_json::from_slice(bytes).ok(),
        }
    }
}

/// A schema that a tool may have, with the keywords that make it hard to tell what it asks for.
#[derive(Arbitrary, Debug)]
pub struct Usual {
    root: Object,
    /// The definitions of `T` and `U`.
    definitions: Option<(Object, Property)>,
    draft_7: bool,
}

#[derive(Arbitrary, Debug)]
pub struct Object {
    untyped: bool,
    properties: Vec<(u8, Property)>,
    required: Names,
    additional: Option<Additional>,
    keywords: Vec<Keyword>,
}

#[derive(Arbitrary, Debug)]
enum Additional {
    Bool(bool),
    Text,
    Integer,
}

#[derive(Arbitrary, Debug)]
pub enum Property {
    Text,
    TextOrNull,
    OptionalText,
    /// Lengths around the bounds of values.
    LongText(u8),
    ShortText(u8),
    Odd(u8),
    Reference(u8),
    Object(Object),
    ObjectOrNull(Object),
    OptionalObject(Object),
    WrappedDefinition,
    Array(Box<Property>),
}

#[derive(Arbitrary, Debug)]
enum Keyword {
    AllOf(Vec<Branch>),
    AnyOf(Vec<Branch>),
    OneOf(Branch),
    Not(Branch),
    If(Branch, Branch, Option<Branch>),
    DependentRequired(u8, Names),
    DependentSchemas(u8, Branch),
    Dependencies(u8, Names),
    MinProperties(u8),
    MaxProperties(u8),
    PropertyNames(u8),
    PatternProperties(u8, Box<Property>),
    UnevaluatedProperties(bool),
    Default(Node),
    Examples(Node),
}

/// A branch of `allOf` and the like.
#[derive(Arbitrary, Debug)]
enum Branch {
    Required(Names),
    Object(Object),
    Property(u8, Box<Property>),
    Definition,
    MinProperties(u8),
    Bool(bool),
    TypedRequired(Names),
}

/// Few names, so that keywords meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Some of the names, one bit for each.
#[derive(Arbitrary, Debug, Clone, Copy)]
struct Names(u8);

impl Names {
    fn value(self) -> Value {
        NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect()
    }
}

/// How deeply objects are nested.
const DEPTH: usize = 4;

impl Usual {
    fn value(&self) -> Value {
        let mut schema = self.root.members(DEPTH);
        if let Some((object, property)) = &self.definitions {
            let definitions = json!({"T": object.value(DEPTH - 1), "U": property.value(1)});
            schema.insert("$defs".to_owned(), definitions);
        }
        if self.draft_7 {
            let draft_7 = "http://json-schema.org/draft-07/schema#";
            schema.insert("$schema".to_owned(), draft_7.into());
        }
        schema.into()
    }
}

impl Object {
    fn value(&self, depth: usize) -> Value {
        self.members(depth).into()
    }

    fn members(&self, depth: usize) -> Map<String, Value> {
        let mut members = Map::new();
        let mut set = |keyword: &str, value: Value| drop(members.insert(keyword.to_owned(), value));
        if !self.untyped {
            set("type", "object".into());
        }
        let properties: Map<String, Value> = self
            .properties
            .iter()
            .take(4)
            .map(|(name, property)| (pick(&NAMES, *name).to_owned(), property.value(depth - 1)))
            .collect();
        set("properties", properties.into());
        if self.required.0 & 15 != 0 {
            set("required", self.required.value());
        }
        if let Some(additional) = &self.additional {
            let additional = match additional {
                Additional::Bool(any) => (*any).into(),
                Additional::Text => json!({"type": "string"}),
                Additional::Integer => json!({"type": "integer"}),
            };
            set("additionalProperties", additional);
        }
        for keyword in self.keywords.iter().take(3) {
            keyword.set(depth, &mut set);
        }
        members
    }
}

impl Property {
    fn value(&self, depth: usize) -> Value {
        let object = |object: &Object| match depth {
            0 => json!({"type": "object"}),
            depth => object.value(depth),
        };
        match self {
            Property::Text => json!({"type": "string"}),
            Property::TextOrNull => json!({"type": ["string", "null"]}),
            Property::OptionalText => {
                json!({"anyOf": [{"type": "string"}, {"type": "null"}], "default": null})
            }
            Property::LongText(n) => {
                json!({"type": "string", "maxLength": 1023 + u32::from(n % 4)})
            }
            Property::ShortText(n) => json!({"type": "string", "minLength": 3 + n % 3}),
            Property::Odd(n) => match n % 9 {
                0 => json!(true),
                1 => json!({}),
                2 => json!({"type": "integer"}),
                3 => json!({"enum": ["xxxx", null]}),
                4 => json!({"type": "string", "pattern": "^x"}),
                5 => json!({"not": {"type": "integer"}}),
                6 => json!({"oneOf": [{"type": "string"}, {"type": "null"}]}),
                7 => json!({"if": {"minLength": 5}, "then": {"maxLength": 1000}}),
                _ => json!({"const": "xxxx"}),
            },
            Property::Reference(n) => json!({"$ref": match n % 5 {
                0 => "#/$defs/T",
                1 => "#/$defs/U",
                2 => "#/properties/a",
                3 => "#/properties/b",
                _ => "#",
            }}),
            Property::Object(of) => object(of),
            Property::ObjectOrNull(of) => {
                let mut object = object(of);
                object["type"] = json!(["object", "null"]);
                object
            }
            Property::OptionalObject(of) => {
                json!({"anyOf": [object(of), {"type": "null"}], "default": null})
            }
            Property::WrappedDefinition => {
                json!({"allOf": [{"$ref": "#/$defs/T"}], "default": {}})
            }
            Property::Array(_) if depth == 0 => json!({"type": "array"}),
            Property::Array(of) => json!({"type": "array", "items": of.value(depth - 1)}),
        }
    }
}

impl Keyword {
    fn set(&self, depth: usize, set: &mut impl FnMut(&str, Value)) {
        let depth = depth - 1;
        let all = |branches: &[Branch]| -> Value {
            let branches = branches.iter().take(3);
            branches.map(|branch| branch.value(depth)).collect()
        };
        match self {
            // An empty list is not a valid schema.
            Keyword::AllOf(branches) | Keyword::AnyOf(branches) if branches.is_empty() => {}
            Keyword::AllOf(branches) => set("allOf", all(branches)),
            Keyword::AnyOf(branches) => set("anyOf", all(branches)),
            Keyword::OneOf(branch) => {
                set("oneOf", json!([branch.value(depth), {"type": "null"}]));
            }
            Keyword::Not(branch) => set("not", branch.value(depth)),
            Keyword::If(condition, then, otherwise) => {
                set("if", condition.value(depth));
                set("then", then.value(depth));
                if let Some(otherwise) = otherwise {
                    set("else", otherwise.value(depth));
                }
            }
            Keyword::DependentRequired(name, names) => {
                set(
                    "dependentRequired",
                    json!({pick(&NAMES, *name): names.value()}),
                );
            }
            Keyword::DependentSchemas(name, branch) => {
                set(
                    "dependentSchemas",
                    json!({pick(&NAMES, *name): branch.value(depth)}),
                );
            }
            Keyword::Dependencies(name, names) => {
                set("dependencies", json!({pick(&NAMES, *name): names.value()}));
            }
            Keyword::MinProperties(n) => set("minProperties", (n % 4).into()),
            Keyword::MaxProperties(n) => set("maxProperties", (n % 4).into()),
            Keyword::PropertyNames(n) => set("propertyNames", json!({"maxLength": n % 2})),
            Keyword::PatternProperties(n, property) => {
                let pattern = pick(&["^a", "b", "^c$", "."], *n);
                set(
                    "patternProperties",
                    json!({pattern: property.value(depth.min(1))}),
                );
            }
            Keyword::UnevaluatedProperties(any) => set("unevaluatedProperties", (*any).into()),
            Keyword::Default(node) => set("default", node.value(&NAMES, &["xxxxx"])),
            Keyword::Examples(node) => {
                set("examples", json!([node.value(&NAMES, &["xxxxx"])]));
            }
        }
    }
}

impl Branch {
    fn value(&self, depth: usize) -> Value {
        match self {
            Branch::Required(names) => json!({"required": names.value()}),
            Branch::Object(_) if depth == 0 => json!(true),
            Branch::Object(object) => object.value(depth),
            Branch::Property(name, property) => {
                let depth = depth.saturating_sub(1);
                json!({"properties": {pick(&NAMES, *name): property.value(depth)}})
            }
            Branch::Definition => json!({"$ref": "#/$defs/T"}),
            Branch::MinProperties(n) => json!({"minProperties": n % 3}),
            Branch::Bool(any) => json!(any),
            Branch::TypedRequired(names) => json!({"type": "object", "required": names.value()}),
        }
    }
}

/// Arguments, many of which are valid: the bytes choose among what the schema asks for. When no bytes are left, the
/// arguments are as few as it asks for.
pub fn arguments(schema: &Value, bytes: &[u8]) -> Map<String, Value> {
    let mut choices = Choices(bytes.iter());
    choices.object(schema, schema, DEPTH)
}

struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn object(&mut self, root: &Value, schema: &Value, depth: usize) -> Map<String, Value> {
        let mut object = Map::new();
        for name in NAMES {
            let names = schema["required"].as_array();
            let required = names.is_some_and(|names| names.iter().any(|required| required == name));
            let choice = self.next();
            if required == (choice % 8 != 7) {
                let property = &schema["properties"][name];
                let value = self.value(root, property, depth - 1);
                object.insert(name.to_owned(), value);
            }
        }
        object
    }

    fn value(&mut self, root: &Value, schema: &Value, depth: usize) -> Value {
        let choice = self.next();
        if choice % 8 == 7 {
            return [
                json!(null),
                json!("x"),
                json!(1),
                json!(["xxxx"]),
                json!({}),
            ][usize::from(choice / 8) % 5]
                .clone();
        }
        let target = schema["$ref"].as_str();
        let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
        let branch = target
            .or(schema["anyOf"].get(usize::from(choice / 8) % 2))
            .or(schema["allOf"].get(0));
        if let Some(branch) = branch.filter(|_| depth > 0) {
            return self.value(root, branch, depth - 1);
        }
        let of = &schema["type"];
        match of.get(usize::from(choice / 8) % 2).unwrap_or(of).as_str() {
            Some("object") if depth > 0 => self.object(root, schema, depth).into(),
            Some("object") => json!({}),
            Some("null") => Value::Null,
            Some("integer") => 1.into(),
            Some("array") => json!([]),
            _ => "xxxxx".into(),
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
