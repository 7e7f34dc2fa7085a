//! The arguments of a tool that look like a credential, or like a place to send something to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::words;
use crate::{
    location::Location,
    schema::{Budget, Declaration, Document, Types, branches, declares_within},
};

/// As deep are arguments looked for.
const LEVELS: usize = 4;

/// As deep do subschemas of one object lie in one another.
const DEPTH: usize = 16;

/// An argument that takes a string.
pub(super) struct Argument {
    pub(super) location: Location,
    /// Whether arguments without it are not valid.
    pub(super) is_required: bool,
    pub(super) is_credential: bool,
    pub(super) is_destination: bool,
}

/// Those of a tool's arguments that look like a credential or a destination, in the order of their locations.
pub(super) fn arguments(schema: &Value, budget: &Budget) -> Vec<Argument> {
    let mut search = Search {
        document: Document::within(schema, Types::NONE, budget),
        found: Vec::new(),
    };
    search.object(&[schema], &mut Vec::new(), true);
    let mut arguments = search.found;
    arguments.retain(|argument| {
        declares_within(schema, &argument.location, budget) == Declaration::String
    });
    arguments.sort_by(|a, b| a.location.cmp(&b.location));
    arguments
}

struct Search<'a> {
    document: Document<'a>,
    found: Vec<Argument>,
}

impl<'a> Search<'a> {
    /// Looks for arguments in an object that all of these schemas are about.
    fn object(&mut self, schemas: &[&'a Value], path: &mut Vec<Box<str>>, is_required: bool) {
        let mut members: BTreeMap<&'a str, Member<'a>> = BTreeMap::new();
        for schema in schemas {
            self.members(schema, &mut members, 0);
        }
        for (name, member) in members {
            let is_required = is_required && member.is_required;
            path.push(name.into());
            let hints = Hints::of(&member.schemas);
            let is_credential =
                !hints.is_fixed && (hints.is_credential || words::is_credential(name));
            let is_destination = !hints.is_fixed
                && !is_credential
                && (hints.is_destination || words::is_destination(name));
            if !member.schemas.is_empty() && (is_credential || is_destination) {
                self.found.push(Argument {
                    location: Location::from_tokens(path.clone()),
                    is_required,
                    is_credential,
                    is_destination,
                });
            }
            if path.len() < LEVELS {
                self.object(&member.schemas, path, is_required);
            }
            path.pop();
        }
    }

    /// What `schema` says of the members of an object.
    fn members(
        &self,
        schema: &'a Value,
        members: &mut BTreeMap<&'a str, Member<'a>>,
        depth: usize,
    ) {
        let Some(node) = schema.as_object() else {
            return;
        };
        if depth > DEPTH || !self.document.spend(node, depth) {
            return;
        }
        let target = node.get("$ref").and_then(|to| self.document.resolve(to));
        if let Some(target) = target {
            self.members(target, members, depth + 1);
        }
        if node.contains_key("$ref") && self.document.ref_hides_siblings() {
            return;
        }
        if let Some(Value::Object(properties)) = node.get("properties") {
            for (name, property) in properties {
                members.entry(name).or_default().schemas.push(property);
            }
        }
        for name in branches(node, "required").iter().filter_map(Value::as_str) {
            members.entry(name).or_default().is_required = true;
        }
        for branch in branches(node, "allOf") {
            self.members(branch, members, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            self.either(branches(node, keyword), members, depth);
        }
    }

    /// Of several schemas one holds: what is required is what all of them require, but for those that take no object.
    fn either(
        &self,
        branches: &'a [Value],
        members: &mut BTreeMap<&'a str, Member<'a>>,
        depth: usize,
    ) {
        let mut all: Vec<BTreeMap<&str, Member<'a>>> = Vec::new();
        for branch in branches {
            if self.document.types(branch).contains(Types::OBJECT) {
                let mut of_branch = BTreeMap::new();
                self.members(branch, &mut of_branch, depth + 1);
                all.push(of_branch);
            }
        }
        let mut required: BTreeMap<&str, usize> = BTreeMap::new();
        let count = all.len();
        for (name, member) in all.into_iter().flatten() {
            *required.entry(name).or_default() += usize::from(member.is_required);
            members
                .entry(name)
                .or_default()
                .schemas
                .extend(member.schemas);
        }
        for (name, times) in required {
            members.entry(name).or_default().is_required |= times == count;
        }
    }
}

#[derive(Default)]
struct Member<'a> {
    /// Every schema that is about it.
    schemas: Vec<&'a Value>,
    is_required: bool,
}

/// What schemas say of an argument, besides its name.
struct Hints {
    is_credential: bool,
    is_destination: bool,
    /// It takes one of some values that the schema has, so it is neither.
    is_fixed: bool,
}

impl Hints {
    fn of(schemas: &[&Value]) -> Hints {
        let nodes: Vec<&Map<String, Value>> = schemas
            .iter()
            .filter_map(|schema| schema.as_object())
            .collect();
        let has_format = |formats: &[&str]| {
            nodes.iter().any(|node| {
                let format = node.get("format").and_then(Value::as_str);
                format.is_some_and(|format| formats.contains(&format))
            })
        };
        Hints {
            is_credential: has_format(&["password"])
                || nodes
                    .iter()
                    .any(|node| node.get("writeOnly") == Some(&Value::Bool(true))),
            is_destination: has_format(&["hostname", "idn-hostname", "ipv4", "ipv6"]),
            is_fixed: nodes
                .iter()
                .any(|node| node.contains_key("enum") || node.contains_key("const")),
        }
    }
}
