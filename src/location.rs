//! A location: the place of one value in a call's arguments.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    bounds::TEXT,
    error::{Error, FieldError},
};

/// The place of one value in the JSON arguments of a tool call.
///
/// Text that begins with `/` is a JSON Pointer ([RFC 6901]) into the arguments; any other text is the name of a
/// top-level argument. Two texts that name the same place are equal. A location is exact: there are no wildcards.
///
/// ```
/// use keyward::Location;
///
/// assert_eq!(Location::new("token")?, Location::new("/token")?);
/// assert_eq!(Location::new("/headers/Authorization")?.tokens().len(), 2);
/// assert_eq!(Location::new("a/b")?.as_pointer(), "/a~1b");
/// # Ok::<(), keyward::Error>(())
/// ```
///
/// In an array, a token such as `0` is the index of an element, which must exist; in an object, it is a member's name.
/// A parent that is absent or null is created as an object, whatever its tokens look like.
///
/// Locations are ordered parents first: a shallower location comes before a deeper one.
///
/// The limit of 1,024 characters is for the text that is given. The canonical form can be longer: it begins with `/`,
/// and each `~` and `/` in a name takes two characters. So the canonical form of a location near the limit, which is
/// also what it serializes as, may be too long to be parsed again.
///
/// [RFC 6901]: https://www.rfc-editor.org/rfc/rfc6901
#[derive(Clone)]
pub struct Location(Arc<Parts>);

/// Shared, so that cloning a location copies no text.
struct Parts {
    /// The canonical form, by which locations are compared.
    pointer: Box<str>,
    tokens: Box<[Box<str>]>,
}

impl Location {
    /// Parses a location: a JSON Pointer if `text` begins with `/`, otherwise the name of a top-level argument.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Validation`](crate::ErrorKind::Validation), for the field `tool_arg`, if `text` is empty or
    /// longer than 1,024 characters; if it is a malformed pointer (a `~` that is followed by neither `0` nor `1`);
    /// or if one of its tokens is `-`, which RFC 6901 reserves for the element after an array's last one: a secret
    /// goes only to an element that exists.
    pub fn new(text: &str) -> Result<Location, Error> {
        match Location::parse(text) {
            Ok(location) => Ok(location),
            Err(error) => Err(Error::validation(vec![error])),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Location, FieldError> {
        const FIELD: &str = "tool_arg";
        TEXT.check(FIELD, text)?;
        let tokens: Vec<Box<str>> = match text.strip_prefix('/') {
            Some(pointer) => pointer
                .split('/')
                .map(unescape)
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    FieldError::value_error(
                        FIELD,
                        "in a JSON Pointer, write `~` as `~0`, and `/` inside a name as `~1`",
                    )
                })?,
            None => vec![text.into()],
        };
        if tokens.iter().any(|token| &**token == "-") {
            let msg =
                "`-` does not name an existing element: give an index, or the name of an argument";
            return Err(FieldError::value_error(FIELD, msg));
        }
        Ok(Location::from_tokens(tokens))
    }

    /// Creates the location that these names and indices lead to, outermost first.
    pub(crate) fn from_tokens(tokens: Vec<Box<str>>) -> Location {
        let mut pointer = String::new();
        for token in &tokens {
            push_token(&mut pointer, token);
        }
        Location(Arc::new(Parts {
            pointer: pointer.into(),
            tokens: tokens.into(),
        }))
    }

    /// Returns the canonical form: a JSON Pointer, even if the location was given as a name.
    pub fn as_pointer(&self) -> &str {
        &self.0.pointer
    }

    /// A text that [`Location::new`] takes for this place: the canonical form, or else the name. `None` if there is no
    /// such text, as the names of a location that was found in a schema can be anything.
    pub(crate) fn text(&self) -> Option<&str> {
        let name = match self.tokens() {
            [name] if !name.starts_with('/') => Some(&**name),
            _ => None,
        };
        let mut texts = [Some(self.as_pointer()), name].into_iter().flatten();
        texts.find(|text| Location::parse(text).is_ok())
    }

    /// The canonical form, escaped for a line of output: names can come from a server or a model and hold anything.
    pub(crate) fn in_line(&self) -> impl fmt::Display {
        self.0.pointer.escape_debug()
    }

    /// Returns the names and array indices that lead to the value, outermost first and unescaped; there is at least
    /// one.
    pub fn tokens(&self) -> &[Box<str>] {
        &self.0.tokens
    }

    /// The canonical forms of the locations that contain this one, outermost first: those of one token, of two, and so
    /// on.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        let pointer = self.as_pointer();
        let ends = pointer.match_indices('/').skip(1);
        ends.map(|(end, _)| &pointer[..end])
    }
}

/// Appends `/` and the token with `~` and `/` escaped.
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// Unescapes a token; `None` if an escape is malformed.
fn unescape(escaped: &str) -> Option<Box<str>> {
    let mut token = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        token.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(token.into())
}

/// The array index that a token of a JSON Pointer stands for: no sign, no leading zeros (RFC 6901, section 4).
pub(crate) fn array_index(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || !token.starts_with(['0', '+']);
    is_canonical.then(|| token.parse().ok())?
}

impl<'de> Deserialize<'de> for Location {
    /// Deserializes the text that [`Location::new`] takes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Location, D::Error> {
        let parsed = Location::parse(&String::deserialize(deserializer)?);
        parsed.map_err(|error| de::Error::custom(error.reason()))
    }
}

impl FromStr for Location {
    type Err = Error;

    /// Does what [`Location::new`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Location::new`].
    fn from_str(text: &str) -> Result<Location, Error> {
        Location::new(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.pointer)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").field(&self.0.pointer).finish()
    }
}

impl Serialize for Location {
    /// Serializes the canonical form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.pointer)
    }
}

impl From<Location> for String {
    fn from(location: Location) -> String {
        location.as_pointer().to_owned()
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Location) -> bool {
        self.0.pointer == other.0.pointer
    }
}

impl Eq for Location {}

impl Hash for Location {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.pointer.hash(state);
    }
}

impl PartialOrd for Location {
    fn partial_cmp(&self, other: &Location) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Location {
    fn cmp(&self, other: &Location) -> Ordering {
        (self.0.tokens.len(), &*self.0.pointer).cmp(&(other.0.tokens.len(), &*other.0.pointer))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_location_contains_what_its_names_lead_to() {
        for (outer, inner, expected) in [
            ("/a", "/a/b", true),
            ("/a", "/a/", true),
            ("/a/b", "/a/b/c/d", true),
            ("a/b", "/a~1b/c", true),
            ("/", "//a", true),
            ("/a", "/a", false),
            ("/a/b", "/a", false),
            ("/a", "/ab", false),
            ("/a", "/ab/c", false),
            ("/a", "/a~1b", false),
            ("/a/b", "/a~1b/c", false),
        ] {
            let [outer, inner] = [outer, inner].map(|text| Location::new(text).unwrap());
            let is_parent = inner.parents().any(|parent| parent == outer.as_pointer());
            assert_eq!(is_parent, expected, "{outer} {inner}");
        }
    }

    proptest! {
        #[test]
        fn parents_have_the_first_tokens(tokens in prop::collection::vec("[a/~]{0,3}", 1..6)) {
            let of = |tokens: &[String]| {
                let tokens = tokens.iter().map(|token| token.as_str().into());
                Location::from_tokens(tokens.collect())
            };
            let expected: Vec<Location> = (1..tokens.len()).map(|len| of(&tokens[..len])).collect();
            let location = of(&tokens);
            let parents: Vec<&str> = location.parents().collect();
            let expected: Vec<&str> = expected.iter().map(Location::as_pointer).collect();
            prop_assert_eq!(parents, expected);
        }
    }

    #[test]
    fn what_is_no_location_is_not_deserialized() {
        for (json, says) in [
            ("\"\"", "at least 1 character"),
            ("\"/a~2\"", "`~0`"),
            ("7", "string"),
        ] {
            let error = serde_json::from_str::<Location>(json).unwrap_err();
            assert!(error.to_string().contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn a_name_and_its_pointer_are_one_location() {
        for (text, pointer, tokens) in [
            ("token", "/token", &["token"][..]),
            ("/token", "/token", &["token"]),
            ("a/b", "/a~1b", &["a/b"]),
            ("a~b", "/a~0b", &["a~b"]),
            ("/a~1b", "/a~1b", &["a/b"]),
            ("/m~0n/0", "/m~0n/0", &["m~n", "0"]),
            ("/~01", "/~01", &["~1"]),
            ("/", "/", &[""]),
            ("/a/", "/a/", &["a", ""]),
            (" ", "/ ", &[" "]),
            ("schlüssel", "/schlüssel", &["schlüssel"]),
        ] {
            let location = Location::new(text).unwrap();
            assert_eq!(location.as_pointer(), pointer, "{text}");
            let found: Vec<&str> = location.tokens().iter().map(|token| &**token).collect();
            assert_eq!(found, tokens, "{text}");
            assert_eq!(Location::new(pointer).unwrap(), location, "{text}");
            assert_eq!(location.to_string(), pointer);
            let json = serde_json::to_value(&location).unwrap();
            assert_eq!(json, pointer);
            for json in [json, text.into()] {
                let read: Location = serde_json::from_value(json).unwrap();
                assert_eq!(read, location);
            }
            assert_eq!(String::from(location), pointer);
        }
    }

    #[test]
    fn what_is_no_location_is_refused() {
        let long = "é".repeat(1025);
        for (text, error_type) in [
            ("", "string_too_short"),
            (&*long, "string_too_long"),
            ("/a~", "value_error"),
            ("/a~2b", "value_error"),
            ("/~/b", "value_error"),
            ("/items/-", "value_error"),
            ("/items/-/token", "value_error"),
            ("/-", "value_error"),
            ("-", "value_error"),
        ] {
            let error = Location::new(text).unwrap_err();
            assert_eq!(error.field_errors()[0].error_type(), error_type, "{text}");
        }
        assert!(
            Location::new(&"é".repeat(1024)).is_ok(),
            "1,024 characters, not bytes"
        );
    }

    #[test]
    fn equal_locations_have_one_hash() {
        let state = RandomState::new();
        let hash = |text| state.hash_one(Location::new(text).unwrap());
        assert_eq!(hash("token"), hash("/token"));
        assert_ne!(hash("/token"), hash("/api_key"));
    }

    #[test]
    fn parents_come_first() {
        let mut locations = ["/a/b", "/b", "/a/b/c", "/a"].map(|text| Location::new(text).unwrap());
        locations.sort();
        assert_eq!(
            locations.map(|l| l.as_pointer().to_owned()),
            ["/a", "/b", "/a/b", "/a/b/c"]
        );
    }
}
