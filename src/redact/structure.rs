//! Values that are objects or arrays in JSON, such as the key of a service account. A tool returns them as objects or
//! arrays, too, and whoever passes JSON on may spell it in another way. So they are compared by what they say.

use serde_json::{Number, Value};
use zeroize::Zeroizing;

use crate::json_text::{self, byte, skip_space, string_end};

/// Values of fewer bytes, without the spaces between their tokens, may be in ordinary text: they are found only as
/// they are spelled.
const SHORT: usize = 8;

/// How deep a value may be nested.
const DEPTH: usize = 128;

/// An object or an array.
pub(super) struct Structure(Node);

enum Node {
    /// Sorted by key.
    Object(Vec<(Zeroizing<String>, Node)>),
    Array(Vec<Node>),
    String(Zeroizing<String>),
    /// A number, a boolean, or null, as it is spelled: what it is parsed to could not be wiped.
    Scalar(Zeroizing<String>),
}

impl Structure {
    /// Reads a value; `None` if it is no object and no array, is too short, or means different things to different
    /// readers.
    pub(super) fn of(value: &str) -> Option<Structure> {
        let value = json_text::trim(value);
        if !value.starts_with(['{', '[']) {
            return None;
        }
        // The grammar comes first, since all that is read in place after it takes it that each string ends.
        serde_json::from_str::<serde::de::IgnoredAny>(value).ok()?;
        if spelled_shortest(value) < SHORT {
            return None;
        }
        let (node, _) = Node::read(value, 0, DEPTH)?;
        Some(Structure(node))
    }

    /// Whether this is the same object or array.
    pub(super) fn is(&self, value: &Value) -> bool {
        self.0.is(value)
    }

    /// The end of the same object or array at this place in a text, however it is spelled.
    pub(super) fn end_at(&self, text: &str, start: usize) -> Option<usize> {
        self.0.end_at(text, start)
    }
}

/// How many bytes are not spaces between tokens.
fn spelled_shortest(value: &str) -> usize {
    let (mut at, mut bytes) = (0, 0);
    while at < value.len() {
        let start = at;
        at = string_end(value, at).unwrap_or(at + 1);
        if !json_text::is_space(value.as_bytes()[start]) {
            bytes += at - start;
        }
    }
    bytes
}

impl Node {
    /// Reads what begins here in a text whose grammar was checked, and returns where it ends.
    fn read(text: &str, start: usize, depth: usize) -> Option<(Node, usize)> {
        let mut at = start + 1;
        match byte(text, start)? {
            b'{' => {
                let depth = depth.checked_sub(1)?;
                let mut members = Vec::new();
                let end = loop {
                    match next(text, at, members.is_empty(), b'}')? {
                        Next::End(end) => break end,
                        Next::Item(key) => {
                            let end = string_end(text, key)?;
                            let content = json_text::unescaped(&text[key + 1..end - 1])?;
                            let (value, end) = Node::read(text, value_of(text, end)?, depth)?;
                            members.push((content, value));
                            at = end;
                        }
                    }
                };
                members.sort_by(|(a, _), (b, _)| a.as_str().cmp(b));
                let is_unambiguous = members.windows(2).all(|two| two[0].0 != two[1].0);
                is_unambiguous.then_some((Node::Object(members), end))
            }
            b'[' => {
                let depth = depth.checked_sub(1)?;
                let mut elements = Vec::new();
                loop {
                    match next(text, at, elements.is_empty(), b']')? {
                        Next::End(end) => return Some((Node::Array(elements), end)),
                        Next::Item(element) => {
                            let (element, end) = Node::read(text, element, depth)?;
                            elements.push(element);
                            at = end;
                        }
                    }
                }
            }
            b'"' => {
                let end = string_end(text, start)?;
                let content = json_text::unescaped(&text[at..end - 1])?;
                Some((Node::String(content), end))
            }
            _ => {
                let end = json_text::scalar_end(text, start);
                let spelled = &text[start..end];
                scalar(spelled)?;
                Some((Node::Scalar(Zeroizing::new(spelled.to_owned())), end))
            }
        }
    }

    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Node::Object(members), Value::Object(others)) => {
                let mut members = members.iter();
                members.len() == others.len()
                    && members.all(|(key, node)| others.get(&**key).is_some_and(|it| node.is(it)))
            }
            (Node::Array(elements), Value::Array(others)) => {
                let mut pairs = elements.iter().zip(others);
                elements.len() == others.len() && pairs.all(|(node, value)| node.is(value))
            }
            (Node::String(content), Value::String(other)) => **content == *other,
            (Node::Scalar(spelled), other) => scalar(spelled).as_ref() == Some(other),
            _ => false,
        }
    }

    /// Ends at the first difference, so it takes as long as text and value agree.
    fn end_at(&self, text: &str, start: usize) -> Option<usize> {
        let mut at = start + 1;
        match (self, byte(text, start)?) {
            (Node::Object(members), b'{') => {
                // Each of them once, in any order.
                let mut found = Vec::new();
                loop {
                    match next(text, at, found.is_empty(), b'}')? {
                        Next::End(end) => {
                            found.sort_unstable();
                            found.dedup();
                            return (found.len() == members.len()).then_some(end);
                        }
                        Next::Item(_) if found.len() == members.len() => return None,
                        Next::Item(key) => {
                            let end = string_end(text, key)?;
                            let number = find(members, &text[key + 1..end - 1])?;
                            at = members[number].1.end_at(text, value_of(text, end)?)?;
                            found.push(number);
                        }
                    }
                }
            }
            (Node::Array(elements), b'[') => {
                for (number, element) in elements.iter().enumerate() {
                    let Next::Item(start) = next(text, at, number == 0, b']')? else {
                        return None;
                    };
                    at = element.end_at(text, start)?;
                }
                match next(text, at, elements.is_empty(), b']')? {
                    Next::End(end) => Some(end),
                    Next::Item(_) => None,
                }
            }
            (Node::String(content), b'"') => {
                let end = string_end(text, start)?;
                is_content(&text[at..end - 1], content).then_some(end)
            }
            (Node::Scalar(spelled), _) => {
                let end = json_text::scalar_end(text, start);
                let other = &text[start..end];
                let is_same = *other == **spelled || scalar(spelled)? == scalar(other)?;
                is_same.then_some(end)
            }
            _ => None,
        }
    }
}

/// The number, boolean or null that is spelled so; `None` if there is none that can be represented.
fn scalar(spelled: &str) -> Option<Value> {
    serde_json::from_str(spelled).ok()
}

/// The number that is spelled so.
pub(super) fn number(spelled: &str) -> Option<Number> {
    if !spelled.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    serde_json::from_str(spelled).ok()
}

/// What is next in an object or an array.
enum Next {
    Item(usize),
    /// Behind the closing bracket.
    End(usize),
}

/// What follows the opening bracket, or an item, that ends here; `None` if it is not JSON.
fn next(text: &str, after: usize, is_first: bool, close: u8) -> Option<Next> {
    let at = skip_space(text, after);
    match byte(text, at)? {
        byte if byte == close => Some(Next::End(at + 1)),
        _ if is_first => Some(Next::Item(at)),
        b',' => Some(Next::Item(skip_space(text, at + 1))),
        _ => None,
    }
}

/// Where the value of the member begins whose key ends here.
fn value_of(text: &str, key_end: usize) -> Option<usize> {
    let colon = skip_space(text, key_end);
    (byte(text, colon)? == b':').then(|| skip_space(text, colon + 1))
}

/// The member with this key, which is the content of a string.
fn find(members: &[(Zeroizing<String>, Node)], key: &str) -> Option<usize> {
    let find = |key: &str| members.binary_search_by(|(other, _)| other.as_str().cmp(key));
    if key.contains('\\') {
        find(&json_text::unescaped(key)?).ok()
    } else {
        find(key).ok()
    }
}

/// Whether the content of a string stands for this text.
fn is_content(content: &str, text: &str) -> bool {
    if !content.contains('\\') {
        return content == text;
    }
    // `\u` and four digits stand for one byte at least.
    content.len() <= 6 * text.len()
        && json_text::unescaped(content).is_some_and(|content| *content == *text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{redact::Redactor, secret::SecretValue};

    /// Any JSON, some of it nested.
    fn any_json() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            "[a\"\\\\\n\u{e9}]{0,3}".prop_map(Value::from),
        ];
        scalar.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab\"]{1,2}", inner, 0..3)
                    .prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    /// The same in another spelling: members in the reverse order, spaces between tokens, characters escaped.
    #[cfg(feature = "mcp-text")]
    fn spelled(value: &Value, to: &mut String) {
        use std::fmt::Write;

        match value {
            Value::String(text) => {
                *to += "\"";
                for unit in text.encode_utf16() {
                    write!(to, "\\u{unit:04X}").unwrap();
                }
                *to += "\"";
            }
            Value::Array(elements) => {
                *to += "[ ";
                for (number, element) in elements.iter().enumerate() {
                    *to += if number == 0 { "\t" } else { " , " };
                    spelled(element, to);
                }
                *to += "\r\n]";
            }
            Value::Object(members) => {
                *to += "{ ";
                for (number, (key, value)) in members.iter().rev().enumerate() {
                    *to += if number == 0 { "\t" } else { " , " };
                    spelled(&Value::from(&**key), to);
                    *to += " : ";
                    spelled(value, to);
                }
                *to += "\r\n}";
            }
            scalar => *to += &scalar.to_string(),
        }
    }

    proptest! {
        /// However they are spelled, two values are the same if, and only if, they are when parsed.
        #[test]
        fn what_is_the_same_is_found(value in any_json(), other in any_json(), is_same in any::<bool>()) {
            let other = if is_same { value.clone() } else { other };
            let Some(structure) = Structure::of(&value.to_string()) else {
                let is_long = value.to_string().len() >= SHORT;
                prop_assert!(!is_long || !(value.is_object() || value.is_array()));
                return Ok(());
            };
            prop_assert_eq!(structure.is(&other), value == other);
            #[cfg(feature = "mcp-text")]
            {
                let mut text = String::from("x");
                spelled(&other, &mut text);
                let end = text.len();
                text += ", 1]";
                prop_assert_eq!(structure.end_at(&text, 1), (value == other).then_some(end));
                // No text ends too early for it.
                for cut in 1..end {
                    if text.is_char_boundary(cut) {
                        prop_assert_eq!(structure.end_at(&text[..cut], 1), None);
                    }
                }
            }
        }
    }

    #[test]
    fn some_values_are_no_structures() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let cases = [
            (r#"{"a":"b"}"#, true),
            ("[1, 2, 3, 4]", true),
            (" [1,2,3,4]\n", true),
            // Seven bytes without the spaces.
            ("[1, 2, 3]", false),
            (r#"{ "a" : 1 }"#, false),
            ("[      ]", false),
            (r#""a string""#, false),
            ("12345678", false),
            (r#"{"a":"b"} "#, true),
            (r#"{"a":"b"}}"#, false),
            (r#"{"a":"b",}"#, false),
            (r#"{"a":"b","\u0061":"c"}"#, false),
            (r#"["\ud800", 1]"#, false),
            ("[1e400, 12]", false),
            (&deep(DEPTH), true),
            (&deep(DEPTH + 1), false),
        ];
        for (value, expected) in cases {
            assert_eq!(Structure::of(value).is_some(), expected, "{value}");
        }
    }

    #[cfg(feature = "mcp-text")]
    #[test]
    fn what_is_no_json_is_no_structure() {
        let structure = Structure::of(r#"{"a": [1, "b"], "c": null}"#).unwrap();
        let cases = [
            (r#"{"a":[1,"b"],"c":null}"#, true),
            (r#"{"c":null,"a":[1.0,"b"]}"#, false),
            (r#"{"a":[1,"b"],"a":[1,"b"]}"#, false),
            (r#"{"a":[1,"b"],"c":null,"c":null}"#, false),
            (r#"{"a":[1,"b"],"c":null,}"#, false),
            (r#"{,"a":[1,"b"],"c":null}"#, false),
            (r#"{"a":[1,"b",],"c":null}"#, false),
            (r#"{"a":[1 "b"],"c":null}"#, false),
            (r#"{"a":[1,"b"],"c" null}"#, false),
            (r#"{"a":[1,"b"],"c":nul}"#, false),
            (r#"{"a":[1,"\ud800"],"c":null}"#, false),
            // More of the same.
            (r#"{"a":[1,"b"],"c":null,"d":1}"#, false),
            (r#"{"a":[1,"b",2],"c":null}"#, false),
            (r#"{"a":[1],"c":null}"#, false),
        ];
        for (text, expected) in cases {
            assert_eq!(structure.end_at(text, 0).is_some(), expected, "{text}");
        }
        let list = Structure::of("[1, 2, 3, 4]").unwrap();
        let ends = ["[1,2,3,4]", "[1,2,3,4,5]", "[1,2,3]"].map(|text| list.end_at(text, 0));
        assert_eq!(ends, [Some(9), None, None]);
    }

    #[test]
    fn more_or_less_of_the_same_is_another_value() {
        let structure = Structure::of(r#"{"a": [1, "b"], "c": null}"#).unwrap();
        let cases = [
            (r#"{"c":null,"a":[1,"b"]}"#, true),
            (r#"{"a":[1,"b"],"c":null,"d":1}"#, false),
            (r#"{"a":[1,"b",2],"c":null}"#, false),
            (r#"{"a":[1],"c":null}"#, false),
            (r#"{"a":[1,"b"]}"#, false),
        ];
        for (value, expected) in cases {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(structure.is(&value), expected, "{value}");
        }
    }

    /// What a format makes of a short value is no less likely to be ordinary text than the value.
    #[test]
    fn a_short_value_in_its_format_is_no_structure() {
        let mut redactor = Redactor::new();
        let value = SecretValue::new("4711");
        let formatted = SecretValue::new(r#"{"pin": "4711"}"#);
        redactor.insert("secret://pin".into(), &value);
        redactor.insert_formatted("secret://pin".into(), &formatted, &value);
        let mut output = serde_json::json!({"pin": "4711"});
        redactor.redact_json(&mut output);
        assert_eq!(output, serde_json::json!({"pin": "secret://pin"}));
    }
}
