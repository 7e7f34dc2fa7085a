//! References in a call's arguments: strings that ask for a secret.

use std::ops::ControlFlow;

use serde_json::{Map, Value};

use crate::{
    error::{Error, FieldError},
    location::Location,
};

/// The prefix of a reference; the rest of the string is the name.
const REFERENCE: &str = "secret://";

/// The number of keys and indices that may lead to a value: no fewer than `serde_json` allows by default. Deeper
/// arguments could exhaust the stack, here or in the tool.
pub(super) const DEPTH: usize = 128;

/// Calls `visit` with the path and the name of every string value that is, as a whole, a reference, until `visit`
/// returns `Break`. All of the arguments are searched nevertheless: if they are nested too deep anywhere, that is an
/// error.
pub(super) fn find(
    args: &Map<String, Value>,
    visit: &mut impl FnMut(&Path<'_>, &str) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut goes_on = true;
    let found = members(args, None, &mut |path, name| {
        goes_on = goes_on && visit(path, name).is_continue();
    });
    match found {
        ControlFlow::Break(TooDeep) => Err(too_deep()),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The last step on the way to a value, linked to the steps before it.
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    token: Token<'p>,
    depth: usize,
}

enum Token<'p> {
    Name(&'p str),
    Index(usize),
}

impl Path<'_> {
    /// Whether this is where `location` leads. Copies nothing, because the keys are the model's and may be long.
    pub(super) fn is(&self, location: &Location) -> bool {
        let mut next = Some(self);
        for expected in location.tokens().iter().rev() {
            let Some(path) = next else { return false };
            let same = match path.token {
                Token::Name(name) => *name == **expected,
                Token::Index(index) => index.to_string() == **expected,
            };
            if !same {
                return false;
            }
            next = path.parent;
        }
        next.is_none()
    }

    pub(super) fn location(&self) -> Location {
        let mut tokens: Vec<Box<str>> = Vec::with_capacity(self.depth);
        let mut next = Some(self);
        while let Some(path) = next {
            tokens.push(match path.token {
                Token::Name(name) => name.into(),
                Token::Index(index) => index.to_string().into(),
            });
            next = path.parent;
        }
        tokens.reverse();
        Location::from_tokens(tokens)
    }
}

struct TooDeep;

type Visit<'v> = dyn FnMut(&Path<'_>, &str) + 'v;

fn members(
    args: &Map<String, Value>,
    parent: Option<&Path<'_>>,
    visit: &mut Visit<'_>,
) -> ControlFlow<TooDeep> {
    let depth = 1 + parent.map_or(0, |parent| parent.depth);
    for (name, value) in args {
        search(
            value,
            &Path {
                parent,
                token: Token::Name(name),
                depth,
            },
            visit,
        )?;
    }
    ControlFlow::Continue(())
}

fn search(value: &Value, path: &Path<'_>, visit: &mut Visit<'_>) -> ControlFlow<TooDeep> {
    if path.depth > DEPTH {
        return ControlFlow::Break(TooDeep);
    }
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(REFERENCE) {
                visit(path, name);
            }
            ControlFlow::Continue(())
        }
        Value::Object(inner) => members(inner, Some(path), visit),
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                let path = Path {
                    parent: Some(path),
                    token: Token::Index(index),
                    depth: path.depth + 1,
                };
                search(value, &path, visit)?;
            }
            ControlFlow::Continue(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => ControlFlow::Continue(()),
    }
}

pub(super) fn too_deep() -> Error {
    let msg = format!("the arguments are nested more than {DEPTH} levels deep: make them flatter");
    Error::validation(vec![FieldError::value_error_at([], msg)])
}

pub(super) fn too_long() -> Error {
    let msg = "there are too many references at places with long names: use shorter names, or fewer references";
    Error::validation(vec![FieldError::value_error_at([], msg)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reference_is_found_where_it_stands() {
        let args = json!({
            "a": "secret://x",
            "b": ["secret://", {"c~/d": "secret://y z", "secret://key": 1}, [["secret://deep"]]],
            "c": "no secret://x",
            "d": {"0": "secret://zero"},
        });
        let args = args.as_object().unwrap();
        let mut found = Vec::new();
        find(args, &mut |path, name| {
            let location = path.location();
            assert!(path.is(&location));
            for other in [
                "/a",
                "/b/0",
                "/b/1/c~0~1d",
                "/b/2/0/0",
                "/d/0",
                "/b",
                "/0",
                "/b/0/0",
            ] {
                let other = Location::new(other).unwrap();
                assert_eq!(path.is(&other), other == location, "{other} {location}");
            }
            found.push((location.to_string(), name.to_owned()));
            ControlFlow::Continue(())
        })
        .unwrap();
        let expected = [
            ("/a", "x"),
            ("/b/0", ""),
            ("/b/1/c~0~1d", "y z"),
            ("/b/2/0/0", "deep"),
            ("/d/0", "zero"),
        ];
        assert_eq!(
            found,
            expected.map(|(location, name)| (location.to_owned(), name.to_owned()))
        );
    }

    #[test]
    fn the_visitor_ends_the_search_but_not_for_what_is_too_deep() {
        let deep = (0..128).fold(json!("secret://x"), |inner, _| json!([inner]));
        for (last, fits) in [(json!("secret://z"), true), (deep, false)] {
            let args = json!({"a": "secret://x", "b": ["secret://y"], "c": last});
            let mut seen = 0;
            let result = find(args.as_object().unwrap(), &mut |_, _| {
                seen += 1;
                if seen == 2 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            assert_eq!(result.is_ok(), fits);
            assert_eq!(seen, 2);
        }
    }
}
