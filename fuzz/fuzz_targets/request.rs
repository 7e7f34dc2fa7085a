//! Property: for any JSON text, and for any that is written from the fields of a request,
//!
//! 1. `from_json` of `NewSecret` and `SecretPatch` reports exactly the invalid fields, each with its `loc` and
//!    `type`, that a model of the contract's rules reports; what it accepts, a vault takes as it was written;
//! 2. the plain `Deserialize` accepts nothing else, and leaves the same errors to the vault;
//! 3. the input is wiped, and no message repeats a text of the request;
//! 4. text that is not JSON, or not an object, is one error that says so.

#![no_main]

use arbitrary::Arbitrary;
use keyward::{
    Bounds, Error, ErrorKind, NewSecret, SecretInfo, SecretPatch, ToolCall, UserId, UserVault,
    Vault,
};
use keyward_fuzz::json::pick;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
enum Input {
    Written(Request),
    Text(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Request {
    members: Vec<(Field, Written)>,
    space: u8,
    explicit_default: bool,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq)]
enum Field {
    Name,
    Value,
    Tool,
    Arg,
    IsDefault,
    Format,
    Other(u8),
}

#[derive(Arbitrary, Debug)]
enum Written {
    Null,
    Bool(bool),
    Number(i32),
    Text(Vec<Piece>),
    List(Vec<u8>),
    Object(Vec<u8>),
}

/// A piece of a text. No message of keyward contains a `Q`, a `Z` or an `X`.
#[derive(Arbitrary, Debug)]
enum Piece {
    Q,
    Z,
    Xs(u16),
    Wide,
    Braces,
    Slash,
    Tilde(u8),
    Dash,
    Star,
    Quote,
    Backslash,
    Control(u8),
    /// A character as an escape, of one unit or of a pair.
    Escaped(char),
    /// Half of a surrogate pair, which is not Unicode text.
    Lone,
}

impl Piece {
    /// Appends what it stands for to `text`, and how it is written to `json`.
    fn push(&self, text: &mut Option<String>, json: &mut String) {
        let mut plain = |part: &str| {
            json.push_str(part);
            if let Some(text) = text {
                text.push_str(part);
            }
        };
        match self {
            Piece::Q => plain("Q"),
            Piece::Z => plain("Z"),
            Piece::Xs(n) => plain(&"X".repeat(usize::from(n % 1026))),
            Piece::Wide => plain("🔑"),
            Piece::Braces => plain("{}"),
            Piece::Slash => plain("/"),
            Piece::Tilde(n) => plain(pick(&["~", "~0", "~1", "~2"], *n)),
            Piece::Dash => plain("-"),
            Piece::Star => plain("*"),
            Piece::Quote => escape("\\\"", '"', text, json),
            Piece::Backslash => escape("\\\\", '\\', text, json),
            Piece::Control(n) => {
                let (written, c) = pick(
                    &[
                        ("\\n", '\n'),
                        ("\\t", '\t'),
                        ("\\b", '\u{8}'),
                        ("\\f", '\u{c}'),
                        ("\\r", '\r'),
                        ("\\/", '/'),
                    ],
                    *n,
                );
                escape(written, c, text, json);
            }
            Piece::Escaped(c) => {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units);
                let written: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                escape(&written, *c, text, json);
            }
            Piece::Lone => {
                json.push_str("\\uDC00");
                *text = None;
            }
        }
    }
}

fn escape(written: &str, c: char, text: &mut Option<String>, json: &mut String) {
    json.push_str(written);
    if let Some(text) = text {
        text.push(c);
    }
}

/// The value of a member, as far as a request has a use for it.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Absent,
    Null,
    Bool(bool),
    Text(String),
    NotUnicode,
    Other,
}

impl Written {
    fn write(&self, json: &mut String) -> Given {
        match self {
            Written::Null => {
                json.push_str("null");
                Given::Null
            }
            Written::Bool(value) => {
                *json += if *value { "true" } else { "false" };
                Given::Bool(*value)
            }
            Written::Number(n) => {
                *json += &n.to_string();
                Given::Other
            }
            Written::Text(pieces) => {
                let mut text = Some(String::new());
                json.push('"');
                for piece in pieces.iter().take(12) {
                    piece.push(&mut text, json);
                }
                json.push('"');
                text.map_or(Given::NotUnicode, Given::Text)
            }
            Written::List(numbers) => {
                let items = numbers
                    .iter()
                    .map(|n| pick(&["[\"ZQ\"]", "{\"]\":1}", "\"\\\\\""], *n));
                *json += &format!("[{}]", items.collect::<Vec<_>>().join(","));
                Given::Other
            }
            Written::Object(numbers) => {
                let items = numbers
                    .iter()
                    .map(|n| pick(&["\"secret_value\":\"ZQ\"", "\"}\":{}", "\"\\\"\":[]"], *n));
                *json += &format!("{{{}}}", items.collect::<Vec<_>>().join(","));
                Given::Other
            }
        }
    }
}

const FIELDS: [&str; 6] = [
    "secret_name",
    "secret_value",
    "tool_name",
    "tool_arg",
    "is_default_for_tool",
    "format",
];

impl Field {
    /// Writes the name, and returns which field it is.
    fn write(self, json: &mut String) -> Option<usize> {
        let known = match self {
            Field::Name => 0,
            Field::Value => 1,
            Field::Tool => 2,
            Field::Arg => 3,
            Field::IsDefault => 4,
            Field::Format => 5,
            Field::Other(n) => {
                let written = [
                    ("secret_id", None),
                    ("Secret_name", None),
                    ("", None),
                    ("\\\"secret_name\\\"", None),
                    ("secret\\u005fname", Some(0)),
                    ("\\u0073ecret_value", Some(1)),
                    ("\\uDC00", None),
                ];
                let (written, known) = pick(&written, n);
                *json += &format!("\"{written}\"");
                return known;
            }
        };
        *json += &format!("\"{}\"", FIELDS[known]);
        Some(known)
    }
}

/// A request as it is understood, and whether all that a plain parser reads of it is Unicode text: the names of all
/// members, and the values of the known ones, even if they are repeated.
struct Model {
    fields: [Given; 6],
    unicode: bool,
    explicit_default: bool,
}

impl Request {
    fn write(&self) -> (String, Model) {
        let space = pick(&["", " ", "\n\t", "\r\n "], self.space);
        let mut json = format!("{space}{{{space}");
        let mut fields = [const { Given::Absent }; 6];
        let mut unicode = true;
        for (i, (field, written)) in self.members.iter().take(12).enumerate() {
            if i > 0 {
                json += &format!("{space},{space}");
            }
            let name = json.len();
            let known = field.write(&mut json);
            // Escapes of whole characters are written in lowercase.
            unicode &= !json[name..].contains("\\uDC00");
            json += &format!("{space}:{space}");
            let given = written.write(&mut json);
            if let Some(known) = known {
                unicode &= given != Given::NotUnicode;
                fields[known] = given;
            }
        }
        json += &format!("{space}}}{space}");
        let model = Model {
            fields,
            unicode,
            explicit_default: self.explicit_default,
        };
        (json, model)
    }
}

impl Model {
    /// The model of JSON that `serde_json` reads: of a repeated member the last counts.
    fn of(members: &Map<String, Value>) -> Model {
        let field = |name: &&str| match members.get(*name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(Value::Bool(value)) => Given::Bool(*value),
            Some(Value::String(text)) => Given::Text(text.clone()),
            Some(_) => Given::Other,
        };
        Model {
            fields: FIELDS.each_ref().map(field),
            unicode: true,
            explicit_default: false,
        }
    }

    /// The `loc` and `type` of every invalid field, sorted.
    fn errors(&self, new: bool) -> Vec<(String, &'static str)> {
        let mut errors = Vec::new();
        let mut note = |field: usize, error| errors.push((FIELDS[field].to_owned(), error));
        for (i, given) in self.fields.iter().enumerate() {
            let is_default = i == 4;
            let required = new && (i < 2 || is_default && self.explicit_default);
            let wrong_type = if is_default {
                "bool_type"
            } else {
                "string_type"
            };
            match given {
                Given::Absent if required => note(i, "missing"),
                Given::Null if required => note(i, wrong_type),
                Given::Absent | Given::Null => {}
                Given::Bool(_) if is_default => {}
                Given::Text(text) if !is_default => {
                    if let Some(error) = invalid(i, text) {
                        note(i, error);
                    }
                }
                Given::NotUnicode if !is_default => note(i, "string_unicode"),
                _ => note(i, wrong_type),
            }
        }
        let given = |i: usize| !matches!(self.fields[i], Given::Absent | Given::Null);
        if new && self.fields[4] == Given::Bool(true) && !(given(2) && given(3)) {
            note(4, "value_error");
        }
        errors.sort();
        errors
    }

    /// What a default loses that it needs, and the error of each.
    fn taken_from_a_default(&self) -> Vec<(String, &'static str)> {
        if !matches!(
            self.fields[4],
            Given::Absent | Given::Null | Given::Bool(true)
        ) {
            return Vec::new();
        }
        let halves = [2, 3].into_iter();
        let lost = halves.filter(|&half| self.fields[half] == Given::Null);
        lost.map(|half| (FIELDS[half].to_owned(), "value_error"))
            .collect()
    }

    fn text(&self, field: usize) -> Option<String> {
        match &self.fields[field] {
            Given::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

fn invalid(field: usize, text: &str) -> Option<&'static str> {
    let (length, least) = (text.chars().count(), if field == 1 { 4 } else { 1 });
    if length < least {
        return Some("string_too_short");
    }
    if length > 1024 {
        return Some("string_too_long");
    }
    let valid = match field {
        3 => match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').all(|token| {
                let escapes = token.replace("~0", "").replace("~1", "");
                token != "-" && !escapes.contains('~')
            }),
            None => text != "-",
        },
        5 => text.matches("{}").count() == 1,
        _ => true,
    };
    (!valid).then_some("value_error")
}

fuzz_target!(|input: Input| {
    match input {
        Input::Written(request) => {
            let (json, model) = request.write();
            check_new(&json, &model);
            check_patch(&json, &model);
        }
        Input::Text(bytes) => any_text(&bytes),
    }
});

fn bounds(model: &Model) -> Bounds {
    if model.explicit_default {
        Bounds::default().require_explicit_default()
    } else {
        Bounds::default()
    }
}

fn user(model: &Model) -> UserVault {
    let builder = Vault::builder().bounds(bounds(model));
    builder.in_memory().expect("a vault").user(UserId::LOCAL)
}

fn check_new(json: &str, model: &Model) {
    let mut bytes = json.as_bytes().to_vec();
    let read = NewSecret::from_json_within(&mut bytes, &bounds(model));
    assert!(bytes.iter().all(|&byte| byte == 0), "the input is wiped");
    let expected = model.errors(true);
    let user = user(model);
    match read {
        Ok(secret) => {
            assert!(expected.is_empty(), "not found: {expected:?}");
            quiet(&format!("{secret:?}"), model.text(1));
            let info = user.create(secret).expect("a valid secret");
            let of = |field| model.text(field);
            assert_eq!(Some(&info.secret_name), of(0).as_ref());
            assert_eq!((&info.tool_name, &info.tool_arg), (&of(2), &of(3)));
            let is_default = model.fields[4] == Given::Bool(true);
            assert_eq!(info.is_default_for_tool, is_default);
            assert_eq!(info.format, of(5).filter(|format| format != "{}"));
            goes_in(&user, &info, &of(1).unwrap_or_default());
        }
        Err(error) => same(&error, &expected),
    }
    match serde_json::from_str::<NewSecret>(json) {
        Ok(secret) => {
            assert!(model.unicode);
            // Another vault is needed if the name was taken above.
            let other = self::user(model);
            match other.create(secret) {
                Ok(_) => assert!(expected.is_empty(), "not found: {expected:?}"),
                Err(error) => same(&error, &expected),
            }
        }
        Err(error) => plain(&error, model, &expected),
    }
}

fn check_patch(json: &str, model: &Model) {
    let mut bytes = json.as_bytes().to_vec();
    let read = SecretPatch::from_json_within(&mut bytes, &bounds(model));
    assert!(bytes.iter().all(|&byte| byte == 0), "the input is wiped");
    let expected = model.errors(false);
    match read {
        Ok(patch) => {
            assert!(expected.is_empty(), "not found: {expected:?}");
            patched(patch, model);
        }
        Err(error) => same(&error, &expected),
    }
    match serde_json::from_str::<SecretPatch>(json) {
        Ok(patch) => {
            assert!(model.unicode);
            if expected.is_empty() {
                patched(patch, model);
            } else {
                let user = user(model);
                let new = NewSecret::new("n", "abcd").bind("t", "a");
                user.create(new.default_for_tool()).expect("a secret");
                let mut expected = expected.clone();
                expected.extend(model.taken_from_a_default());
                expected.sort();
                same(&user.update("n", patch).expect_err("invalid"), &expected);
            }
        }
        Err(error) => plain(&error, model, &expected),
    }
}

/// Checks what a valid patch makes of a default.
fn patched(patch: SecretPatch, model: &Model) {
    let user = user(model);
    let new = NewSecret::new("n", "abcd")
        .bind("t", "a")
        .default_for_tool();
    let before = user.create(new).expect("a secret");
    let half = |field: usize, old: &Option<String>| match &model.fields[field] {
        Given::Text(text) => Some(text.clone()),
        Given::Null => None,
        _ => old.clone(),
    };
    let (tool, arg) = (half(2, &before.tool_name), half(3, &before.tool_arg));
    let is_default = model.fields[4] != Given::Bool(false);
    match user.update("n", patch) {
        Ok(info) => {
            assert!(!is_default || tool.is_some() && arg.is_some());
            assert_eq!(info.secret_name, model.text(0).unwrap_or("n".to_owned()));
            assert_eq!((&info.tool_name, &info.tool_arg), (&tool, &arg));
            assert_eq!(info.is_default_for_tool, is_default);
            assert_eq!(info.format, model.text(5).filter(|format| format != "{}"));
            let metadata = [0, 2, 3].iter().any(|&field| half(field, &None).is_some());
            if model.text(1).is_some() {
                assert_eq!(info.revision, 2, "a value is always a write");
            } else if !metadata && info == before {
                assert_eq!(info.revision, 1, "an update that says nothing is none");
            }
            goes_in(&user, &info, &model.text(1).unwrap_or("abcd".to_owned()));
        }
        Err(error) => {
            assert!(is_default && !(tool.is_some() && arg.is_some()));
            assert_eq!(error.kind(), ErrorKind::Validation);
            quiet(&format!("{error} {error:?}"), None);
            assert_eq!(user.secret("n").expect("it is there"), before);
        }
    }
}

/// Checks that the value is the one that was written, which goes in where a workflow asks for it.
fn goes_in(user: &UserVault, info: &SecretInfo, value: &str) {
    if !info.is_default_for_tool {
        return;
    }
    let (Some(tool), Some(arg)) = (&info.tool_name, &info.tool_arg) else {
        panic!("a default without a binding");
    };
    let mut args = Map::new();
    let _ = user
        .inject(&ToolCall::new(tool.as_str()), &mut args)
        .expect("no reason to fail");
    let pointer = if arg.starts_with('/') {
        arg.clone()
    } else {
        format!("/{}", arg.replace('~', "~0").replace('/', "~1"))
    };
    let format = info.format.as_deref().unwrap_or("{}");
    let text = format.replacen("{}", value, 1);
    let args = Value::Object(args);
    assert_eq!(args.pointer(&pointer), Some(&Value::from(text)));
}

fn same(error: &Error, expected: &[(String, &str)]) {
    assert_eq!(error.kind(), ErrorKind::Validation);
    let fields = serde_json::to_string(error.field_errors()).expect("JSON");
    quiet(&format!("{error} {error:?} {fields}"), None);
    assert_eq!(locs(error), expected);
}

/// Checks the error of a plain parser. It stops at half of a surrogate pair; otherwise it reports fields of a wrong
/// type. Null does not count as one, as it is not known yet what it is for.
fn plain(error: &serde_json::Error, model: &Model, expected: &[(String, &str)]) {
    let message = format!("{error} {error:?}");
    quiet(&message, None);
    if model.unicode {
        let is_null = |field: &str| {
            let mut fields = FIELDS.iter().zip(&model.fields);
            fields.any(|(name, given)| *name == field && *given == Given::Null)
        };
        let mut wrong = expected
            .iter()
            .filter(|(field, kind)| kind.ends_with("_type") && !is_null(field))
            .peekable();
        assert!(wrong.peek().is_some(), "refused for no reason: {message}");
        assert!(wrong.all(|(field, _)| message.contains(&format!("{field}: "))));
    }
}

/// Checks that no text of a request is repeated.
fn quiet(message: &str, value: Option<String>) {
    match value {
        // What is shown of a valid request may contain its other texts.
        Some(value) => assert!(value.len() < 8 || !message.contains(&value)),
        None => assert!(!message.contains(['Q', 'Z', 'X', '🔑']), "{message}"),
    }
}

fn any_text(bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    let new = NewSecret::from_json(&mut copy);
    assert!(copy.iter().all(|&byte| byte == 0), "the input is wiped");
    let patch = SecretPatch::from_json(&mut bytes.to_vec());
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(members)) => {
            let model = Model::of(&members);
            let found = [new.map(drop), patch.map(drop)];
            for (found, new) in found.iter().zip([true, false]) {
                let found = found.as_ref().err().map(locs).unwrap_or_default();
                assert_eq!(found, model.errors(new));
            }
        }
        Ok(_) => {
            for error in [new.map(drop), patch.map(drop)].map(Result::unwrap_err) {
                let [field] = error.field_errors() else {
                    panic!("one error: {error:?}");
                };
                assert_eq!(field.error_type(), "model_attributes_type");
            }
        }
        Err(_) => {
            if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
                for error in [new.map(drop), patch.map(drop)].map(Result::unwrap_err) {
                    let [field] = error.field_errors() else {
                        panic!("one error: {error:?}");
                    };
                    assert_eq!(field.error_type(), "json_invalid");
                    let loc = serde_json::to_value(field.loc()).expect("JSON");
                    let at = loc[1].as_u64().expect("a place");
                    assert!(at <= bytes.len() as u64, "{loc}");
                }
            }
        }
    }
}

/// The `loc` and `type` of every invalid field, sorted.
fn locs(error: &Error) -> Vec<(String, &str)> {
    let mut found: Vec<_> = error
        .field_errors()
        .iter()
        .map(|error| {
            let loc = serde_json::to_value(error.loc()).expect("JSON");
            assert_eq!(loc[0], "body", "{error:?}");
            let field = loc[1].as_str().unwrap_or_default().to_owned();
            (field, error.error_type())
        })
        .collect();
    found.sort_unstable();
    found
}
