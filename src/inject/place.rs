//! Places in a call's arguments: looking at one, putting something there, and taking it out again.

use serde_json::{Map, Value};
use smallvec::SmallVec;
use zeroize::Zeroize;

use crate::{
    location::{Location, array_index},
    schema::Holder,
    wiping,
};

type Args = Map<String, Value>;

/// What was found at a location.
#[derive(Debug, PartialEq)]
pub(crate) enum Lookup<'a> {
    /// A value other than null.
    Value(&'a Value),
    /// Nothing, or null.
    Free {
        /// The number of tokens that lead to an existing container.
        present: usize,
    },
    /// The first `depth` tokens lead to a value that has no place for the next one.
    Obstructed { depth: usize, by: Obstacle },
}

/// The kind of a value that has no place for the next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    String,
    Number,
    Bool,
    /// An array in which the next token is not the index of an element.
    Array,
}

/// Returns what is at a location in the arguments.
pub(crate) fn lookup<'a>(args: &'a Args, location: &Location) -> Lookup<'a> {
    let tokens = location.tokens();
    let mut current = match args.get(&*tokens[0]) {
        None | Some(Value::Null) => return Lookup::Free { present: 0 },
        Some(value) => value,
    };
    for (depth, token) in tokens.iter().enumerate().skip(1) {
        let obstructed = |by| Lookup::Obstructed { depth, by };
        let next = match current {
            Value::Object(members) => members.get(&**token),
            Value::Array(elements) => match array_index(token).and_then(|i| elements.get(i)) {
                None => return obstructed(Obstacle::Array),
                element => element,
            },
            Value::String(_) => return obstructed(Obstacle::String),
            Value::Number(_) => return obstructed(Obstacle::Number),
            Value::Bool(_) => return obstructed(Obstacle::Bool),
            Value::Null => None,
        };
        current = match next {
            None | Some(Value::Null) => return Lookup::Free { present: depth },
            Some(value) => value,
        };
    }
    Lookup::Value(current)
}

/// Returns what the arguments have around a location, as far as it is there.
pub(crate) fn holders(args: &Args, location: &Location) -> SmallVec<[Holder; 8]> {
    let mut holders = SmallVec::from_iter([Holder::Object]);
    let (_, parents) = split_last(location.tokens());
    let mut parents = parents.iter();
    let mut current = parents.next().and_then(|token| args.get(&**token));
    while let Some(value) = current {
        let member = |token: &str| match value {
            Value::Object(members) => members.get(token),
            Value::Array(elements) => elements.get(array_index(token)?),
            _ => None,
        };
        holders.push(match value {
            Value::Object(_) => Holder::Object,
            Value::Array(_) => Holder::Array,
            _ => break,
        });
        current = parents.next().and_then(|token| member(token));
    }
    holders
}

/// What it takes to undo one [`put`], together with its location.
pub(crate) struct Undo {
    /// The number of tokens that lead to the outermost value that was replaced or made.
    depth: usize,
    /// The value that was there; `None` if there was none. It may come from an earlier injection that was not wiped.
    previous: Option<wiping::Json>,
}

/// Puts a string at a location, making the parents that are absent or null.
///
/// # Errors
///
/// Gives the string back if it does not fit; the arguments are then unchanged.
pub(crate) fn put(args: &mut Args, location: &Location, text: String) -> Result<Undo, String> {
    let tokens = location.tokens();
    let present = match lookup(args, location) {
        Lookup::Obstructed { .. } => return Err(text),
        Lookup::Value(_) => tokens.len() - 1,
        Lookup::Free { present } => present,
    };
    let made = tokens[present + 1..]
        .iter()
        .rev()
        .fold(Value::String(text), |inner, token| {
            Value::Object(Map::from_iter([(String::from(token.clone()), inner)]))
        });
    let token = &tokens[present];
    let previous = match container(args, &tokens[..present]) {
        Some(Container::Object(members)) => members.insert(token.clone().into(), made),
        Some(Container::Array(elements)) => {
            match array_index(token).and_then(|i| elements.get_mut(i)) {
                Some(element) => Some(std::mem::replace(element, made)),
                None => unreachable!("looked at before"),
            }
        }
        None => unreachable!("looked at before"),
    };
    Ok(Undo {
        depth: present + 1,
        previous: previous.map(wiping::Json),
    })
}

/// Overwrites a string that was put in, if the parents of its location are still there.
pub(crate) fn wipe(args: &mut Args, location: &Location) {
    let (last, parents) = split_last(location.tokens());
    let value = match container(args, parents) {
        Some(Container::Object(members)) => members.get_mut(last),
        Some(Container::Array(elements)) => array_index(last).and_then(|i| elements.get_mut(i)),
        None => None,
    };
    if let Some(Value::String(text)) = value {
        text.zeroize();
    }
}

impl Undo {
    /// The tokens that lead to the outermost value that was replaced or made.
    pub(super) fn outermost<'a>(&self, location: &'a Location) -> &'a [Box<str>] {
        &location.tokens()[..self.depth]
    }

    /// Puts back what was there before.
    pub(crate) fn restore(&self, location: &Location, args: &mut Args) {
        let (last, parents) = split_last(self.outermost(location));
        let previous = self.previous.as_deref().cloned();
        match (container(args, parents), previous) {
            (Some(Container::Object(members)), Some(previous)) => {
                members.insert(last.to_string(), previous);
            }
            (Some(Container::Object(members)), None) => {
                members.remove(last);
            }
            (Some(Container::Array(elements)), Some(previous)) => {
                if let Some(element) = array_index(last).and_then(|i| elements.get_mut(i)) {
                    *element = previous;
                }
            }
            _ => {}
        }
    }
}

enum Container<'a> {
    Object(&'a mut Args),
    Array(&'a mut Vec<Value>),
}

fn container<'a>(args: &'a mut Args, tokens: &[Box<str>]) -> Option<Container<'a>> {
    let Some((first, rest)) = tokens.split_first() else {
        return Some(Container::Object(args));
    };
    let mut current = args.get_mut(&**first)?;
    for token in rest {
        current = match current {
            Value::Object(members) => members.get_mut(&**token)?,
            Value::Array(elements) => elements.get_mut(array_index(token)?)?,
            _ => return None,
        };
    }
    match current {
        Value::Object(members) => Some(Container::Object(members)),
        Value::Array(elements) => Some(Container::Array(elements)),
        _ => None,
    }
}

fn split_last(tokens: &[Box<str>]) -> (&str, &[Box<str>]) {
    match tokens.split_last() {
        Some((last, parents)) => (last, parents),
        None => unreachable!("a location has a token"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args(value: Value) -> Args {
        let Value::Object(args) = value else {
            panic!("no object")
        };
        args
    }

    #[test]
    fn a_location_has_a_value_is_free_or_is_obstructed() {
        let args = args(json!({
            "a": {"b": "v", "n": null, "t": true},
            "items": [{"k": "w"}, null, 7],
            "null": null,
            "01": {"x": "y"},
        }));
        let value = json!("v");
        let element = json!("w");
        for (location, expected) in [
            ("/a/b", Lookup::Value(&value)),
            ("/a/n", Lookup::Free { present: 1 }),
            ("/a/x", Lookup::Free { present: 1 }),
            ("/a/x/y", Lookup::Free { present: 1 }),
            ("/x", Lookup::Free { present: 0 }),
            ("/x/y/z", Lookup::Free { present: 0 }),
            ("/null/y", Lookup::Free { present: 0 }),
            (
                "/a/b/c",
                Lookup::Obstructed {
                    depth: 2,
                    by: Obstacle::String,
                },
            ),
            (
                "/a/t/c",
                Lookup::Obstructed {
                    depth: 2,
                    by: Obstacle::Bool,
                },
            ),
            ("/items/0/k", Lookup::Value(&element)),
            ("/items/1", Lookup::Free { present: 1 }),
            ("/items/1/k", Lookup::Free { present: 1 }),
            (
                "/items/2/k",
                Lookup::Obstructed {
                    depth: 2,
                    by: Obstacle::Number,
                },
            ),
            (
                "/items/3",
                Lookup::Obstructed {
                    depth: 1,
                    by: Obstacle::Array,
                },
            ),
            (
                "/items/00",
                Lookup::Obstructed {
                    depth: 1,
                    by: Obstacle::Array,
                },
            ),
            (
                "/items/+1",
                Lookup::Obstructed {
                    depth: 1,
                    by: Obstacle::Array,
                },
            ),
            (
                "/items/k",
                Lookup::Obstructed {
                    depth: 1,
                    by: Obstacle::Array,
                },
            ),
            ("/01/x", Lookup::Value(&json!("y"))),
        ] {
            assert_eq!(
                lookup(&args, &Location::new(location).unwrap()),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn what_was_put_in_is_taken_out_again() {
        for (before, location, after) in [
            (json!({}), "/k", json!({"k": "S"})),
            (json!({"k": null}), "/k", json!({"k": "S"})),
            (json!({"k": 7}), "/k", json!({"k": "S"})),
            (json!({}), "/a/b/c", json!({"a": {"b": {"c": "S"}}})),
            (
                json!({"a": null, "z": 1}),
                "/a/b",
                json!({"a": {"b": "S"}, "z": 1}),
            ),
            (
                json!({"a": {"x": 1}}),
                "/a/b",
                json!({"a": {"x": 1, "b": "S"}}),
            ),
            (
                json!({"a": [null, {"x": 1}]}),
                "/a/0",
                json!({"a": ["S", {"x": 1}]}),
            ),
            (
                json!({"a": [null, {"x": 1}]}),
                "/a/0/b",
                json!({"a": [{"b": "S"}, {"x": 1}]}),
            ),
            (
                json!({"a": [null, {"x": 1}]}),
                "/a/1/b",
                json!({"a": [null, {"x": 1, "b": "S"}]}),
            ),
        ] {
            let mut found = args(before.clone());
            let location = Location::new(location).unwrap();
            let undo = put(&mut found, &location, "S".to_owned());
            let undo = undo.unwrap_or_else(|_| panic!("{location} fits into {before}"));
            assert_eq!(Value::Object(found.clone()), after);
            wipe(&mut found, &location);
            assert!(
                !Value::Object(found.clone()).to_string().contains('S'),
                "{location} of {before}"
            );
            undo.restore(&location, &mut found);
            assert_eq!(Value::Object(found), before);
        }
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        for (before, location) in [(json!({"a": "x"}), "/a/b"), (json!({"a": []}), "/a/0")] {
            let mut found = args(before.clone());
            assert!(
                put(
                    &mut found,
                    &Location::new(location).unwrap(),
                    "S".to_owned()
                )
                .is_err()
            );
            assert_eq!(Value::Object(found), before);
        }
    }
}
