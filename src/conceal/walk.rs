//! The path to a location: which subschemas the objects on it must satisfy, and whether a default can change the
//! answer of any other.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    KeptReason,
    nodes::{copy_to, is_at_or_below, lies_in, object, replace_reference, types_at},
    sensitivity::{CONDITIONS, Sensitivity, check_object, is_constraint, is_trivial},
    value::{accepts_every_string, unresolved},
};
use crate::{
    location::{array_index, push_token},
    schema::{Budget, Document, Types, branches, entry, pointer_units},
};

/// How many references may be replaced by copies of their targets for one location.
const MAX_COPIES: usize = 32;

/// How deep in-place subschemas may be nested.
const MAX_DEPTH: usize = 64;

/// A schema in which the path to a location is free of references, and that path.
pub(super) struct Path {
    pub(super) schema: Value,
    /// One level for each object on the path: the arguments, then the parents, outermost first.
    pub(super) levels: Vec<Level>,
}

/// What an object on the path must satisfy.
#[derive(Default)]
pub(super) struct Level {
    /// Where the schemas of this place begin, as JSON Pointers into the schema. All of them apply.
    pub(super) entries: Vec<String>,
    /// The entries, and the subschemas in them that also apply to every object here.
    pub(super) nodes: Vec<String>,
    /// Whether other subschemas apply as well, which do not depend on the next property.
    pub(super) opaque: bool,
    /// The types that the place can have.
    pub(super) types: Types,
}

/// Expands the path through `schema` to the place that `tokens` name.
///
/// Take an object that satisfies all nodes and does not have the property at the end of the path. This succeeds only if
/// putting a string in there makes no subschema invalid, and no condition true or false, other than where
/// [`remove`](super::edit::remove) takes care of it.
pub(super) fn expand(
    schema: &Value,
    tokens: &[Box<str>],
    max_chars: usize,
    budget: &Budget,
) -> Result<Path, KeptReason> {
    let mut walk = Walk {
        schema: copy_to("", schema, budget)?,
        copies: 0,
        budget,
    };
    let mut levels: Vec<Level> = Vec::new();
    let mut entries = vec![String::new()];
    for (depth, token) in tokens.iter().enumerate() {
        let mut level = Level {
            entries,
            ..Level::default()
        };
        for entry in level.entries.clone() {
            walk.expand(entry, token, &mut level, 0, false)?;
        }
        level.types = types_at(&walk.schema, &level.entries, budget);
        if depth > 0 {
            check_parent(level.types, token)?;
        }
        let last = depth + 1 == tokens.len();
        entries = walk.descend(&level, token, last.then_some(max_chars))?;
        levels.push(level);
    }
    let document = walk.document();
    for entry in &entries {
        if let Some(property) = walk.schema.pointer(entry) {
            accepts_every_string(&document, property, max_chars)?;
        }
    }
    Ok(Path {
        schema: walk.schema,
        levels,
    })
}

/// A parent must be an object. One that may be null becomes an object once a default is in it; one without a type is
/// given that type.
fn check_parent(types: Types, token: &str) -> Result<(), KeptReason> {
    let object_or_null = Types::OBJECT | Types::NULL;
    if types == Types::ALL || types & object_or_null == types && types.contains(Types::OBJECT) {
        Ok(())
    } else if types.contains(Types::ARRAY) && array_index(token).is_some() {
        Err(KeptReason::InsideArray)
    } else {
        Err(KeptReason::ParentNotObject)
    }
}

struct Walk<'b> {
    schema: Value,
    copies: usize,
    budget: &'b Budget,
}

impl Walk<'_> {
    fn document(&self) -> Document<'_> {
        Document::within(&self.schema, Types::ALL, self.budget)
    }

    /// Adds to `level` the subschema at `pointer` and those in it that apply to the same object. `unevaluated` says
    /// that `unevaluatedProperties` around it constrain the object.
    fn expand(
        &mut self,
        pointer: String,
        token: &str,
        level: &mut Level,
        depth: usize,
        unevaluated: bool,
    ) -> Result<(), KeptReason> {
        if depth > MAX_DEPTH || !self.budget.take(pointer_units(&pointer)) {
            return Err(KeptReason::TooComplex);
        }
        if self.replace_references(&pointer, token, level)? == Beside::Ignored {
            return Ok(());
        }
        let older_draft = self.document().ref_hides_siblings();
        let unevaluated = unevaluated || self.constrains_unevaluated(&pointer);
        if !older_draft && unevaluated && self.depends(&pointer, token) {
            return Err(KeptReason::ConditionalSchema("dependencies"));
        }
        let node = match self.schema.pointer_mut(&pointer) {
            Some(Value::Object(node)) => node,
            Some(Value::Bool(true)) => return Ok(()),
            Some(Value::Bool(false)) => {
                return Err(KeptReason::ConditionalSchema("dependentSchemas"));
            }
            _ => return Err(KeptReason::Malformed("properties")),
        };
        settle_dependencies(node, token, older_draft)?;

        let document = self.document();
        let Some(node) = self.schema.pointer(&pointer).and_then(Value::as_object) else {
            return Err(KeptReason::Malformed("properties"));
        };
        if !document.spend(node, 0) {
            return Err(KeptReason::TooComplex);
        }
        let sensitivity = Sensitivity::new(&document, token);
        check_object(node, token)?;
        if let Some(keyword) = sensitivity.of_conditions(node) {
            return Err(KeptReason::ConditionalSchema(keyword));
        }
        level.opaque |= CONDITIONS.iter().any(|&keyword| node.contains_key(keyword));

        let mut next = Vec::new();
        if node.contains_key("allOf") {
            let count = branches(node, "allOf").len();
            next.extend((0..count).map(|i| format!("{pointer}/allOf/{i}")));
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches = branches(node, keyword);
            if branches.iter().all(|branch| !sensitivity.of(branch)) {
                level.opaque |= node.contains_key(keyword);
                continue;
            }
            let mut takes_objects = (0..branches.len())
                .filter(|&i| document.types(&branches[i]).contains(Types::OBJECT));
            match (takes_objects.next(), takes_objects.next()) {
                (Some(only), None) => next.push(format!("{pointer}/{keyword}/{only}")),
                _ => return Err(KeptReason::ConditionalSchema(keyword)),
            }
        }
        level.nodes.push(pointer);
        for pointer in next {
            self.expand(pointer, token, level, depth + 1, unevaluated)?;
        }
        Ok(())
    }

    /// Whether `dependencies` at `pointer` have a schema for the property `token`. Then `unevaluatedProperties` there
    /// or around it look at what that schema lists.
    ///
    /// From 2019-09 on, `dependencies` is no keyword, but many validators still know it. `settle_dependencies` replaces
    /// it by an `allOf`, which is as strict as either reading with one exception: it evaluates the properties that it
    /// lists. A validator that ignores `dependencies` leaves them to `unevaluatedProperties`.
    fn depends(&self, pointer: &str, token: &str) -> bool {
        object(&self.schema, pointer)
            .and_then(|node| entry(node, "dependencies", token))
            .is_some_and(|dependency| !dependency.is_array())
    }

    fn constrains_unevaluated(&self, pointer: &str) -> bool {
        object(&self.schema, pointer)
            .is_some_and(|node| is_constraint(node, "unevaluatedProperties"))
    }

    /// Replaces the `$ref` at `pointer` by a copy of its target if the target depends on the property.
    fn replace_references(
        &mut self,
        pointer: &str,
        token: &str,
        level: &mut Level,
    ) -> Result<Beside, KeptReason> {
        loop {
            let document = self.document();
            let node = self.schema.pointer(pointer);
            let Some(reference) = node.and_then(|node| node.get("$ref")) else {
                return Ok(Beside::Applies);
            };
            let target = document
                .resolve(reference)
                .ok_or_else(|| unresolved(&document))?;
            if !Sensitivity::new(&document, token).of(target) {
                level.opaque = true;
                return Ok(if document.ref_hides_siblings() {
                    Beside::Ignored
                } else {
                    Beside::Applies
                });
            }
            if self.copies == MAX_COPIES {
                return Err(KeptReason::TooComplex);
            }
            if lies_in(pointer, &self.schema, target) {
                return Err(KeptReason::SharedSchema);
            }
            let copy = copy_to(pointer, target, self.budget)?;
            let alone = document.ref_hides_siblings();
            self.copies += 1;
            replace_reference(&mut self.schema, pointer, copy, alone)?;
        }
    }

    /// Returns where the schemas of the property `token` of the objects of `level` are.
    ///
    /// `max_chars` is set if the property is the location itself.
    fn descend(
        &self,
        level: &Level,
        token: &str,
        max_chars: Option<usize>,
    ) -> Result<Vec<String>, KeptReason> {
        let document = self.document();
        // Each node, and whether it declares the property; a node comes before those that it contains.
        let nodes: Vec<(&String, &Map<String, Value>, bool)> = level
            .nodes
            .iter()
            .filter_map(|pointer| {
                let node = object(&self.schema, pointer)?;
                Some((pointer, node, entry(node, "properties", token).is_some()))
            })
            .collect();
        for (i, &(pointer, node, declares)) in nodes.iter().enumerate() {
            if let Some(additional) = node
                .get("additionalProperties")
                .filter(|schema| !declares && !is_trivial(schema))
            {
                let accepts = max_chars.is_some_and(|max_chars| {
                    accepts_every_string(&document, additional, max_chars).is_ok()
                });
                if !accepts {
                    return Err(KeptReason::ConstrainedObject("additionalProperties"));
                }
            }
            let evaluates = || {
                nodes[i..]
                    .iter()
                    .take_while(|(inner, ..)| is_at_or_below(inner, pointer))
                    .any(|&(.., declares)| declares)
            };
            if is_constraint(node, "unevaluatedProperties") && !evaluates() {
                return Err(KeptReason::ConstrainedObject("unevaluatedProperties"));
            }
        }
        let declaring = nodes.into_iter().filter(|&(.., declares)| declares);
        let entries: Vec<String> = declaring
            .map(|(pointer, ..)| {
                let mut pointer = format!("{pointer}/properties");
                push_token(&mut pointer, token);
                pointer
            })
            .collect();
        if entries.is_empty() {
            // It is declared somewhere, or this would not be reached: as an element, where this may be an array.
            return Err(if array_index(token).is_some() {
                KeptReason::InsideArray
            } else {
                KeptReason::ParentNotObject
            });
        }
        Ok(entries)
    }
}

/// What happens to the keywords beside a `$ref`.
#[derive(PartialEq, Eq)]
enum Beside {
    Applies,
    Ignored,
}

/// Turns what depends on the property `token` into what always holds, since the property will be there.
///
/// `older_draft` means a draft up to 7, in which only `dependencies` has this effect.
fn settle_dependencies(
    node: &mut Map<String, Value>,
    token: &str,
    older_draft: bool,
) -> Result<(), KeptReason> {
    for keyword in ["dependentRequired", "dependentSchemas", "dependencies"] {
        let Some(dependencies) = node.get_mut(keyword) else {
            continue;
        };
        let dependencies = dependencies
            .as_object_mut()
            .ok_or(KeptReason::Malformed(keyword))?;
        let mut settled = None;
        dependencies.retain(|name, dependency| {
            let other = name != token;
            if !other {
                settled = Some(dependency.take());
            }
            other
        });
        if dependencies.is_empty() {
            node.retain(|name, _| name != keyword);
        }
        let (keyword, more) = match settled {
            None => continue,
            // In older drafts this is no keyword, so it asks for nothing, and a reference in it may lead nowhere.
            Some(_) if older_draft && keyword != "dependencies" => continue,
            Some(Value::Array(names)) => ("required", names),
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => ("allOf", vec![schema]),
            Some(_) => return Err(KeptReason::Malformed(keyword)),
        };
        match node.entry(keyword).or_insert(Value::Array(Vec::new())) {
            Value::Array(items) => {
                let text = |item: &Value| item.as_str().map(str::to_owned);
                let mut present: BTreeSet<String> = items.iter().filter_map(text).collect();
                items.extend(
                    more.into_iter()
                        .filter(|item| text(item).is_none_or(|name| present.insert(name))),
                );
            }
            _ => return Err(KeptReason::Malformed(keyword)),
        }
    }
    Ok(())
}
