//! Finds the ranges of JSON text in which filled arguments differ from the text.
//!
//! A model can write a long text with many references in it, so the places are not looked for one by one: one pass
//! goes through the text with all of them. At each object or array, the places inside it are grouped by the member or
//! element that they are in, and each group is passed on to that member or element. So each token of each place is
//! looked at once, and each byte of the text is passed once. Members and elements without a place are skipped.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Map, Value};

use super::Cursor;
use crate::location::array_index;

/// A value that replaces a range of the text.
pub(super) struct Edit<'a> {
    pub(super) range: Range<usize>,
    pub(super) value: &'a Value,
    /// Set for a member that is added together with its name.
    pub(super) member: Option<Member<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    /// Whether another member comes before it.
    pub(super) comma: bool,
}

/// Returns the edits that take the values at `places` from `filled`, in the order of the text. Members that are added
/// to one object are in the order of their places.
pub(super) fn find<'a>(
    text: &'a str,
    filled: &'a Value,
    places: impl Iterator<Item = &'a [Box<str>]>,
) -> Vec<Edit<'a>> {
    let places: Vec<Place<'_>> = places
        .enumerate()
        .map(|(order, rest)| Place { order, rest })
        .collect();
    let mut search = Search {
        cursor: Cursor { text, at: 0 },
        edits: Vec::with_capacity(places.len()),
    };
    search.value(places, filled);
    search.edits
}

/// A place, relative to the value that is being passed.
struct Place<'a> {
    order: usize,
    /// The tokens that lead from that value to the place; none if that value is the place.
    rest: &'a [Box<str>],
}

struct Search<'a> {
    cursor: Cursor<'a>,
    edits: Vec<Edit<'a>>,
}

impl<'a> Search<'a> {
    /// Passes the value that begins here, to which `places` are relative. `filled` is what becomes of it. If the value
    /// itself is one of the places, all of it is replaced, and the places inside it need no edits of their own.
    fn value(&mut self, places: Vec<Place<'a>>, filled: &'a Value) {
        match (self.cursor.next_byte(), filled) {
            _ if ending(&places).is_some() => self.replace(filled),
            (b'{', Value::Object(filled)) => self.members(places, filled),
            (b'[', Value::Array(filled)) => self.elements(places, filled),
            _ => self.cursor.skip_value(),
        }
    }

    fn replace(&mut self, value: &'a Value) {
        let start = self.cursor.at;
        self.cursor.skip_value();
        self.edits.push(Edit {
            range: start..self.cursor.at,
            value,
            member: None,
        });
    }

    fn members(&mut self, places: Vec<Place<'a>>, filled: &'a Map<String, Value>) {
        let mut wanted = by_first_token(places, Some);
        self.cursor.at += 1;
        let start = self.cursor.at;
        let mut end = start;
        while self.cursor.is_more(b'}') {
            let name = self.cursor.name();
            let inner = name.ok().and_then(|name| {
                let places = wanted.remove(name.as_str())?;
                Some((places, filled.get(name.as_str())?))
            });
            self.value_or_other(inner);
            end = self.cursor.at;
        }
        self.add(wanted, filled, end, end != start);
    }

    fn elements(&mut self, places: Vec<Place<'a>>, filled: &'a [Value]) {
        let mut wanted = by_first_token(places, array_index);
        self.cursor.at += 1;
        let mut elements = filled.iter().enumerate();
        while self.cursor.is_more(b']') {
            let inner = elements
                .next()
                .and_then(|(at, filled)| Some((wanted.remove(&at)?, filled)));
            self.value_or_other(inner);
        }
    }

    /// Passes a value that holds places, or one that holds none.
    fn value_or_other(&mut self, inner: Option<(Vec<Place<'a>>, &'a Value)>) {
        match inner {
            Some((places, filled)) => self.value(places, filled),
            None => self.cursor.skip_value(),
        }
    }

    /// Adds members that were not found in their object, whose last one ends at `at`.
    fn add(
        &mut self,
        missing: BTreeMap<&'a str, Vec<Place<'a>>>,
        filled: &'a Map<String, Value>,
        at: usize,
        mut comma: bool,
    ) {
        let mut names: Vec<(usize, &str)> = missing
            .into_iter()
            .filter_map(|(name, places)| Some((ending(&places)?.order, name)))
            .collect();
        names.sort_unstable();
        for (_, name) in names {
            if let Some(value) = filled.get(name) {
                self.edits.push(Edit {
                    range: at..at,
                    value,
                    member: Some(Member { name, comma }),
                });
                comma = true;
            }
        }
    }
}

/// The first of the places that is the value itself to which they are relative, and not inside it.
fn ending<'p, 'a>(places: &'p [Place<'a>]) -> Option<&'p Place<'a>> {
    places.iter().find(|place| place.rest.is_empty())
}

/// Groups places by the key of their first token, and makes them relative to the member or element that it leads to.
fn by_first_token<'a, K: Ord>(
    places: Vec<Place<'a>>,
    key: impl Fn(&'a str) -> Option<K>,
) -> BTreeMap<K, Vec<Place<'a>>> {
    let mut groups: BTreeMap<K, Vec<Place<'a>>> = BTreeMap::new();
    for Place { order, rest } in places {
        if let Some((first, rest)) = rest.split_first()
            && let Some(key) = key(first)
        {
            groups.entry(key).or_default().push(Place { order, rest });
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use serde_json::json;

    use super::{
        super::{edit, read},
        *,
    };
    use crate::{inject::place::put, location::Location};

    impl Cursor<'_> {
        /// Goes to the value that `token` names in the object or array that begins here, and returns true. If there
        /// is no such value, goes behind the last member or element and returns false.
        fn go_to(&mut self, token: &str) -> bool {
            let end = if self.next_byte() == b'{' { b'}' } else { b']' };
            self.at += 1;
            let (mut behind, mut elements) = (self.at, 0);
            while self.is_more(end) {
                let found = if end == b'}' {
                    *self.name().unwrap() == token
                } else {
                    array_index(token) == Some(elements)
                };
                if found {
                    return true;
                }
                self.skip_value();
                (behind, elements) = (self.at, elements + 1);
            }
            self.at = behind;
            false
        }
    }

    /// Does what `edit` does, the slow way: looks for each place from the beginning of the text, outer ones first, and
    /// changes the text there before it looks for the next one.
    fn edit_one_by_one<'p>(
        text: &str,
        filled: &Value,
        places: impl Iterator<Item = &'p [Box<str>]>,
    ) -> String {
        let mut places: Vec<_> = places.collect();
        places.sort_by_key(|place| place.len());
        let mut text = text.to_owned();
        for (at, place) in places.iter().enumerate() {
            if places[..at].iter().any(|outer| place.starts_with(outer)) {
                continue;
            }
            let mut cursor = Cursor { text: &text, at: 0 };
            let (last, parents) = place.split_last().unwrap();
            assert!(parents.iter().all(|parent| cursor.go_to(parent)));
            let value = place.iter().fold(filled, |value, token| match value {
                Value::Array(elements) => &elements[array_index(token).unwrap()],
                value => &value[&**token],
            });
            let (start, edit) = if cursor.go_to(last) {
                cursor.skip_space();
                let start = cursor.at;
                cursor.skip_value();
                (start, value.to_string())
            } else {
                let is_empty = text[..cursor.at].ends_with('{');
                let comma = if is_empty { "" } else { "," };
                (cursor.at, format!("{comma}{}:{value}", json!(last)))
            };
            let end = cursor.at;
            text.replace_range(start..end, &edit);
        }
        text
    }

    /// Puts a value at each location that can hold one, and returns the places of these.
    fn fill<'l>(args: &mut Value, locations: &'l [Location]) -> Vec<&'l [Box<str>]> {
        let args = args.as_object_mut().unwrap();
        let values = (0..).map(|n| format!("\"value\" {n}"));
        let filled = locations.iter().zip(values);
        filled
            .filter_map(|(location, value)| {
                let undo = put(args, location, value).ok()?;
                Some(undo.outermost(location))
            })
            .collect()
    }

    /// JSON text, and what it says. Of members with the same name it says the first.
    type Json = (String, Value);

    fn json() -> impl Strategy<Value = Json> {
        const LEAVES: &[&str] = &["null", "true", "1.50", r#""""#, r#"" {\"a\\\": [,""#];
        let leaf = select(LEAVES).prop_map(|text| (text.to_owned(), text.parse().unwrap()));
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![array(inner.clone()), object(inner)]
        })
    }

    fn array(element: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
        (prop::collection::vec(element, 0..4), space()).prop_map(|(elements, space)| {
            let (texts, values): (Vec<_>, Vec<_>) = elements.into_iter().unzip();
            let between = format!("{space},{space}");
            let text = format!("[{space}{}{space}]", texts.join(&between));
            (text, Value::Array(values))
        })
    }

    fn object(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
        const NAMES: &[&str] = &[
            r#""a""#,
            r#""\u0061""#,
            r#""b""#,
            r#""0""#,
            r#""1""#,
            r#""\"}""#,
        ];
        let member = (select(NAMES), value);
        (prop::collection::vec(member, 0..5), space()).prop_map(|(members, space)| {
            let mut said = Map::new();
            let mut texts = Vec::new();
            for (name, (text, value)) in members {
                said.entry(serde_json::from_str::<String>(name).unwrap())
                    .or_insert(value);
                texts.push(format!("{name}{space}:{space}{text}"));
            }
            let between = format!("{space},{space}");
            let text = format!("{{{space}{}{space}}}", texts.join(&between));
            (text, Value::Object(said))
        })
    }

    fn space() -> impl Strategy<Value = &'static str> {
        select(&["", " ", "\r\n\t"][..])
    }

    fn locations() -> impl Strategy<Value = Vec<Location>> {
        let location = "(/(a|b|c|0|1|2|\"\\}|~0)){1,5}";
        prop::collection::vec(
            location.prop_map(|text| Location::new(&text).unwrap()),
            0..12,
        )
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_a_search_for_each_place_finds(
            (text, before) in object(json()),
            locations in locations(),
        ) {
            let mut filled = before.clone();
            let filled_places = fill(&mut filled, &locations);
            let places = || filled_places.iter().copied();
            let edited = edit(&text, &filled, places());
            prop_assert_eq!(&edited, &edit_one_by_one(&text, &filled, places()));
            // Arguments with a name twice are refused before they are filled.
            if let Ok(value) = read(&text) {
                prop_assert_eq!(&*value, &before);
                prop_assert_eq!(&*read(&edited).unwrap(), &filled);
            }
        }
    }

    /// With a search for each place this would take minutes.
    #[test]
    fn many_places_in_a_long_text() {
        let many = 0..100_000;
        let list = |text: fn(usize) -> String| many.clone().map(text).collect::<Vec<_>>().join(",");
        let text = format!(
            r#"{{"list": [{}], "members": {{{}}}, "missing": {{{}}}}}"#,
            list(|_| "null".to_owned()),
            list(|n| format!(r#""{n}": null"#)),
            list(|n| format!(r#""other {n}": null"#)),
        );
        let parents = ["list", "members", "missing"];
        let locations: Vec<Location> = parents
            .iter()
            .flat_map(|parent| many.clone().map(move |n| format!("/{parent}/{n}")))
            .map(|location| Location::new(&location).unwrap())
            .collect();
        let mut filled = read(&text).unwrap();
        let places = fill(&mut filled, &locations);
        assert_eq!(places.len(), locations.len());
        let edited = edit(&text, &filled, places.into_iter());
        assert!(*read(&edited).unwrap() == *filled);
    }
}
