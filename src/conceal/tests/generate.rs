//! Schemas and arguments made from a string of bytes. The same bytes give the same result, and once they run out
//! everything is as simple as it can be, so that failing cases shrink.

use serde_json::{Map, Value, json};

use crate::location::Location;

/// Few names, so that keywords collide.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

const LOCATIONS: [&str; 12] = [
    "/a", "/b", "/c", "/a/b", "/a/c", "/b/a", "/a/b/c", "/a/b/d", "/c/a", "/a/0", "/d/d", "/b/c",
];

/// Keywords, to be given values that are right, wrong, or right elsewhere.
const KEYWORDS: [&str; 35] = [
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
    "examples",
    "$ref",
    "$defs",
    "$schema",
    "$id",
    "id",
    "$anchor",
    "a",
];

pub(super) struct Entropy<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Entropy<'_> {
    pub(super) fn new(bytes: &[u8]) -> Entropy<'_> {
        Entropy {
            bytes: bytes.iter(),
        }
    }

    /// A number below `n`; 0 when the bytes have run out.
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % n
    }

    /// True about once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn names(&mut self, most: usize) -> Vec<&'static str> {
        let count = self.below(most + 1);
        let mut names: Vec<_> = (0..count).map(|_| self.pick(&NAMES)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Locations, most of which `schema` declares.
    pub(super) fn locations(&mut self, schema: &Value) -> Vec<Location> {
        let count = 1 + self.below(4);
        (0..count)
            .map(|_| match self.below(3) {
                0 => Location::new(self.pick(&LOCATIONS)).unwrap(),
                _ => self.declared(schema),
            })
            .collect()
    }

    fn declared(&mut self, mut schema: &Value) -> Location {
        let root = schema;
        let mut tokens: Vec<Box<str>> = Vec::new();
        for _ in 0..8 {
            let target = schema["$ref"]
                .as_str()
                .and_then(|reference| root.pointer(reference.get(1..)?));
            let inner = target
                .or(schema["anyOf"].get(0))
                .or(schema["allOf"].get(0).filter(|_| self.once_in(2)));
            if let Some(inner) = inner {
                schema = inner;
                continue;
            }
            let Some(properties) = schema["properties"].as_object().filter(|p| !p.is_empty())
            else {
                break;
            };
            let names: Vec<&String> = properties.keys().collect();
            let name = self.pick(&names);
            tokens.push(name.as_str().into());
            schema = &properties[name];
        }
        if tokens.is_empty() {
            tokens.push("a".into());
        }
        Location::from_tokens(tokens)
    }

    /// A string that a vault could put in.
    pub(super) fn secret(&mut self, max: usize) -> String {
        let length = [4, max, 5, max - 1][self.below(4)];
        self.pick(&["x", "é", "1"]).repeat(length)
    }

    /// A tool's input schema, usually of objects within objects.
    pub(super) fn schema(&mut self) -> Value {
        let mut schema = self.object(3);
        if self.once_in(4) {
            self.declare_twice(&mut schema);
        }
        let any = self.pick(&[
            json!({"description": "anything"}),
            json!({"type": ["object", "null"]}),
        ]);
        let definitions = json!({"T": self.object(2), "U": self.property(1), "Any": any});
        let root = schema.as_object_mut().unwrap();
        root.insert("$defs".into(), definitions);
        if !self.once_in(2) {
            return schema;
        }
        let (dialect, is_older) = self.pick(&[
            ("http://json-schema.org/draft-07/schema#", true),
            ("http://json-schema.org/draft-07/schema#", true),
            ("http://json-schema.org/draft-04/schema#", true),
            ("https://json-schema.org/draft/2019-09/schema", false),
        ]);
        root.insert("$schema".into(), dialect.into());
        if is_older {
            let text = schema.to_string().replace("$defs", "definitions");
            return serde_json::from_str(&text).unwrap();
        }
        schema
    }

    /// Moves the properties into a branch of `allOf`, and declares them once more in a way that says little.
    fn declare_twice(&mut self, schema: &mut Value) {
        let properties = schema["properties"].take();
        let names = properties.as_object().into_iter().flat_map(Map::keys);
        let loose: Map<String, Value> = names
            .map(|name| {
                let property = self.pick(&[
                    json!(true),
                    json!({}),
                    json!({"$ref": "#/$defs/Any"}),
                    json!({"$ref": "#/properties/a"}),
                    json!({"type": ["object", "null"]}),
                ]);
                (name.clone(), property)
            })
            .collect();
        schema["properties"] = loose.into();
        schema["allOf"] = json!([{"properties": properties}]);
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut node = Map::new();
        if !self.once_in(6) {
            node.insert("type".into(), "object".into());
        }
        let mut properties = Map::new();
        for name in NAMES {
            if self.below(3) < 2 {
                properties.insert(name.into(), self.property(depth));
            }
        }
        node.insert("properties".into(), properties.into());
        if self.once_in(2) {
            node.insert("required".into(), self.names(3).into());
        }
        if self.once_in(3) {
            let closed = self.pick(&[
                json!(false),
                json!(true),
                json!({"type": "string"}),
                json!({"type": "integer"}),
            ]);
            node.insert("additionalProperties".into(), closed);
        }
        if self.once_in(3) {
            let keywords = 1 + self.below(2);
            for _ in 0..keywords {
                self.constrain(&mut node, depth);
            }
        }
        node.into()
    }

    /// Adds one of the keywords that make concealing difficult.
    fn constrain(&mut self, node: &mut Map<String, Value>, depth: usize) {
        let name = self.pick(&NAMES);
        let (keyword, value) = match self.below(18) {
            0 => ("allOf", json!([self.branch(depth)])),
            1 => ("allOf", json!([self.branch(depth), self.branch(depth)])),
            2 => ("anyOf", json!([self.branch(depth), self.branch(depth)])),
            3 => ("oneOf", json!([self.branch(depth), {"type": "null"}])),
            4 => ("not", self.branch(depth)),
            5 => {
                node.insert("then".into(), self.branch(depth));
                ("if", self.branch(depth))
            }
            6 | 7 => ("dependentRequired", json!({name: self.names(2)})),
            8 => ("dependentSchemas", json!({name: self.branch(depth)})),
            9 => ("dependencies", json!({name: self.names(2)})),
            17 => ("dependencies", json!({name: self.branch(depth)})),
            10 => ("minProperties", self.below(3).into()),
            11 => ("maxProperties", self.below(4).into()),
            12 => ("propertyNames", json!({"maxLength": self.below(2)})),
            13 => (
                "patternProperties",
                json!({self.pick(&["^a", "b", "^c$", "."]): self.property(0)}),
            ),
            14 => ("unevaluatedProperties", json!(self.once_in(2))),
            15 => ("default", self.value(2)),
            _ => ("examples", json!([self.value(2), self.value(1)])),
        };
        node.insert(keyword.into(), value);
    }

    /// A schema for `allOf` and the like.
    fn branch(&mut self, depth: usize) -> Value {
        match self.below(8) {
            0 => json!({"required": self.names(2)}),
            1 | 2 if depth > 0 => self.object(depth - 1),
            3 => json!({"properties": {self.pick(&NAMES): self.property(depth.saturating_sub(1))}}),
            4 => json!({"$ref": "#/$defs/T"}),
            5 => json!({"minProperties": self.below(3)}),
            6 => json!(!self.once_in(3)),
            _ => json!({"type": "object", "required": self.names(1)}),
        }
    }

    fn property(&mut self, depth: usize) -> Value {
        match self.below(16) {
            0..=2 => json!({"type": "string"}),
            3 => json!({"anyOf": [{"type": "string"}, {"type": "null"}], "default": null}),
            4 => json!({"type": ["string", "null"], "maxLength": 7 + self.below(3)}),
            5 => json!({"type": "string", "minLength": 3 + self.below(3)}),
            6 => self.pick(&[
                json!(true),
                json!({}),
                json!({"type": "integer"}),
                json!({"enum": ["xxxx", null]}),
                json!({"type": "string", "pattern": "^x"}),
                json!({"not": {"type": "integer"}}),
                json!({"oneOf": [{"type": "string"}, {"type": "null"}]}),
                json!({"oneOf": [{"type": "string"}, {"const": 5}]}),
                json!({"if": {"minLength": 5}, "then": {"maxLength": 6}}),
            ]),
            7 => {
                json!({"$ref": self.pick(&["#/$defs/T", "#/$defs/U", "#/properties/a", "#/properties/b", "#", ""])})
            }
            8 if depth > 0 => {
                json!({"anyOf": [self.object(depth - 1), {"type": "null"}], "default": null})
            }
            9 if depth > 0 => json!({"allOf": [{"$ref": "#/$defs/T"}], "default": {}}),
            10 if depth > 0 => {
                let mut object = self.object(depth - 1);
                object["type"] = json!(["object", "null"]);
                object
            }
            11 if depth > 0 => json!({"type": "array", "items": self.property(depth - 1)}),
            _ if depth > 0 => self.object(depth - 1),
            _ => json!({"type": "string"}),
        }
    }

    /// Arguments for a schema: mostly its required properties and some others.
    pub(super) fn arguments(&mut self, schema: &Value) -> Value {
        let mut arguments = Map::new();
        self.fill(&mut arguments, schema, schema, 3);
        arguments.into()
    }

    fn fill(
        &mut self,
        arguments: &mut Map<String, Value>,
        root: &Value,
        schema: &Value,
        depth: usize,
    ) {
        for name in NAMES {
            let required = schema["required"]
                .as_array()
                .is_some_and(|names| names.iter().any(|required| required == name));
            let property = &schema["properties"][name];
            let present = if required {
                !self.once_in(12)
            } else if property.is_null() {
                self.once_in(8)
            } else {
                self.once_in(3)
            };
            if present {
                let value = self.value_for(root, property, depth);
                arguments.insert(name.into(), value);
            }
        }
    }

    fn value_for(&mut self, root: &Value, schema: &Value, depth: usize) -> Value {
        let target = schema["$ref"]
            .as_str()
            .and_then(|reference| root.pointer(reference.get(1..)?));
        if depth == 0 || self.once_in(8) {
            return self.value(1);
        }
        if let Some(target) = target {
            return self.value_for(root, target, depth - 1);
        }
        if let Some(branch) = schema["anyOf"].get(0).or(schema["allOf"].get(0)) {
            return if self.once_in(3) {
                Value::Null
            } else {
                self.value_for(root, branch, depth - 1)
            };
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.pick(kinds),
            kind => kind.clone(),
        };
        match kind.as_str() {
            Some("object") => {
                let mut object = Map::new();
                self.fill(&mut object, root, schema, depth - 1);
                object.into()
            }
            Some("string") => "xxxxx".into(),
            Some("null") => Value::Null,
            Some("integer") => 1.into(),
            _ => self.value(depth),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(6) {
            0 => Value::Null,
            1 => "x".into(),
            2 => 1.into(),
            3 => json!(["xxxx"]),
            _ if depth > 0 => {
                let names = self.names(3);
                names
                    .into_iter()
                    .map(|name| (name.to_owned(), self.value(depth - 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            _ => "xxxxx".into(),
        }
    }

    /// JSON with the words of JSON Schema in the wrong places.
    pub(super) fn json_like_a_schema(&mut self, depth: usize) -> Value {
        match self.below(12) {
            _ if depth == 0 => self.value(0),
            0..=5 => {
                let count = self.below(6);
                (0..count)
                    .map(|_| {
                        let keyword = self.pick(&KEYWORDS);
                        (keyword.to_owned(), self.json_like_a_schema(depth - 1))
                    })
                    .collect::<Map<_, _>>()
                    .into()
            }
            6 => {
                let names = self.names(4);
                names
                    .into_iter()
                    .map(|name| (name.to_owned(), self.json_like_a_schema(depth - 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            7 => (0..self.below(3))
                .map(|_| self.json_like_a_schema(depth - 1))
                .collect(),
            8 => self.pick(&[json!("object"), json!("string"), json!(["object", "null"])]),
            9 => self.pick(&[
                json!("#"),
                json!("#/properties/a"),
                json!("#/$defs/a"),
                json!("x"),
                json!(""),
            ]),
            10 => json!(self.once_in(2)),
            _ => self.object(1),
        }
    }
}
