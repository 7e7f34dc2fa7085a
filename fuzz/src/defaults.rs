//! Which defaults go into a call, by the rules as they are written.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The best default for a location.
pub struct Best<'a> {
    pub pointer: &'a str,
    pub name: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Supplied {
    Keep,
    Replace,
    Refuse,
}

pub struct Call<'a> {
    pub args: &'a Map<String, Value>,
    pub schema: Option<&'a Value>,
    /// What happens to a value that was supplied.
    pub supplied: Supplied,
    /// Whether `""` counts as no value.
    pub empty_is_absent: bool,
    /// The pointers to the granted references.
    pub references: Vec<&'a str>,
}

/// Checks which defaults went in, by location. Where the schema says too much to be judged here, what happened is
/// accepted. The call must not contain anything that makes it fail.
pub fn check(mut best: Vec<Best<'_>>, call: &Call<'_>, filled: &BTreeMap<&str, &str>) {
    let decided = best.iter().map(|default| default.pointer);
    assert!(
        filled
            .keys()
            .all(|pointer| decided.clone().any(|one| one == *pointer)),
        "none but the best: {filled:?}"
    );
    best.sort_by_key(|default| (default.pointer.matches('/').count(), default.pointer));
    let mut put: Vec<&str> = call.references.clone();
    for (i, default) in best.iter().enumerate() {
        let found = filled.get(default.pointer).copied();
        let others: Vec<&str> = best[..i].iter().map(|other| other.pointer).collect();
        if let Some(goes_in) = call.goes_in(default.pointer, &put, &others) {
            let expected = goes_in.then_some(default.name);
            assert_eq!(found, expected, "at {}", default.pointer);
        }
        if found.is_some() {
            // What was put into a value that is replaced goes with it.
            put.retain(|other| !is_within(other, default.pointer));
            put.push(default.pointer);
        }
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Call<'_> {
    /// Returns whether a default goes in; `None` if that cannot be judged here.
    fn goes_in(&self, pointer: &str, put: &[&str], others: &[&str]) -> Option<bool> {
        let taken = |other: &&str| is_within(pointer, other) || **other == *pointer;
        if put.iter().any(taken) {
            return Some(false);
        }
        let tokens = tokens(pointer);
        let declared = |tokens: &[String], kind| match self.schema {
            None => Some(true),
            Some(schema) => declares(schema, tokens, kind),
        };
        let text = || declared(&tokens, "string");
        // From the outermost value inwards, as far as there is a value.
        let mut at: Option<&Value> = None;
        for (depth, token) in tokens.iter().enumerate() {
            let next = match at {
                None => self.args.get(token),
                Some(Value::Object(members)) => members.get(token),
                Some(Value::Array(items)) if element(items, token).is_some() => {
                    element(items, token)
                }
                Some(_) => {
                    let text = text()?;
                    assert!(
                        !text || is_bound(depth, pointer, others),
                        "{pointer} does not fit"
                    );
                    return Some(false);
                }
            };
            match next {
                None | Some(Value::Null) => {
                    // The parents that are made are objects.
                    let parents = (depth + 1..tokens.len())
                        .map(|length| declared(&tokens[..length], "object"));
                    return parents
                        .chain([text()])
                        .try_fold(true, |all, one| Some(all && one?));
                }
                some => at = some,
            }
        }
        let no_value = self.empty_is_absent && at.is_some_and(|value| value == "");
        if no_value || self.supplied == Supplied::Replace {
            text()
        } else {
            Some(false)
        }
    }
}

/// Returns whether another default is bound to the very value that is not a container. Otherwise that value fails
/// the call.
fn is_bound(depth: usize, pointer: &str, others: &[&str]) -> bool {
    let end = pointer.match_indices('/').nth(depth).map(|(at, _)| at);
    others.contains(&&pointer[..end.expect("it is as deep")])
}

fn element<'a>(items: &'a [Value], token: &str) -> Option<&'a Value> {
    let index: usize = token.parse().ok()?;
    items.get(index).filter(|_| index.to_string() == token)
}

fn tokens(pointer: &str) -> Vec<String> {
    let tokens = pointer.split('/').skip(1);
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// Returns whether the schema names this place and allows this type there; `None` if it says more than can be judged
/// here.
fn declares(schema: &Value, tokens: &[String], kind: &str) -> Option<bool> {
    let node = match schema {
        Value::Object(node) => node,
        Value::Bool(any) => return Some(*any && tokens.is_empty()),
        _ => return None,
    };
    let hard = [
        "$ref",
        "$id",
        "allOf",
        "not",
        "if",
        "items",
        "prefixItems",
        "dependentSchemas",
        "dependencies",
    ];
    if hard.iter().any(|keyword| node.contains_key(*keyword)) {
        return None;
    }
    let types = node.get("type").map(|types| match types {
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    });
    let allows = |kind| types.as_ref().is_none_or(|types| types.contains(&kind));
    let branches = ["anyOf", "oneOf"].map(|keyword| node.get(keyword));
    let Some((token, rest)) = tokens.split_first() else {
        let either = branches.into_iter().flatten().map(|branches| {
            let branches = branches.as_array().filter(|all| !all.is_empty())?;
            let branches = branches.iter().map(|branch| declares(branch, &[], kind));
            branches.fold(Some(false), |any, one| Some(any? | one?))
        });
        let values = node.get("enum").map(|values| values.as_array());
        let values = values
            .into_iter()
            .map(|values| Some(values?.iter().any(|value| has_type(value, kind))));
        let value = node.get("const").map(|value| Some(has_type(value, kind)));
        return either
            .chain(values)
            .chain(value)
            .fold(Some(allows(kind)), |all, one| Some(all? & one?));
    };
    if !allows("object") || branches.iter().any(Option::is_some) {
        return None;
    }
    match node.get("properties") {
        None => Some(false),
        Some(properties) => match properties.as_object()?.get(token) {
            None => Some(false),
            Some(property) => declares(property, rest, kind),
        },
    }
}

fn has_type(value: &Value, kind: &str) -> bool {
    if kind == "string" {
        value.is_string()
    } else {
        value.is_object()
    }
}
