//! Messages of the protocol as JSON text: whether one is a call, its arguments and its id, how it is refused, and what
//! of it has to stay so that it arrives.

use std::{fmt, ops::Range};

use serde_json::{Map, Value, json};

use super::json;
use crate::{
    error::{Error, ErrorKind},
    wiping,
};

/// The keys of the protocol. They do not depend on any value, and without them no message arrives.
const KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The member of `params` with metadata, and the members of both that identify the message that this one is about.
/// Their values stay, so that the client can tell which message that is.
pub(super) const META: &str = "_meta";
pub(super) const ABOUT: [&str; 2] = ["progressToken", "requestId"];

/// The parts of a member that a message needs to arrive.
pub(super) fn kept(
    text: &str,
    member: &json::Member<'_>,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let name = has_protocol_key(member).then(|| member.name.clone());
    let value = needs_value(text, member).then(|| member.value.clone());
    name.into_iter().chain(value)
}

pub(super) fn has_protocol_key(member: &json::Member<'_>) -> bool {
    KEYS.contains(&&*member.key)
}

/// Whether the message needs the value of this member to arrive. None needs an object, an array, or anything that is
/// not JSON.
pub(super) fn needs_value(text: &str, member: &json::Member<'_>) -> bool {
    let value = &text[member.value.clone()];
    match &*member.key {
        "jsonrpc" => value == r#""2.0""#,
        "id" | "method" => !value.starts_with(['{', '[']) && json::is_json(value),
        _ => false,
    }
}

/// Whether some reader of JSON may take this message for a call. Of two members with the same key, some readers take
/// the first, and to some readers keys are the same that differ only in case.
pub(super) fn may_be_call(text: &str, message: &[json::Member<'_>]) -> bool {
    let is_method = |member: &&json::Member<'_>| json::without_case(&member.key) == "method";
    let mut methods = message.iter().filter(is_method);
    methods.any(|method| {
        json::string(text, method.value.clone()).is_some_and(|method| method == "tools/call")
    })
}

/// Returns the arguments at this place, an object, which is empty if there are none. An error is why the call is
/// refused: what is no object could not be checked, but some servers read an object in it.
pub(super) fn arguments(text: &str, at: Option<Range<usize>>) -> Result<wiping::Json, String> {
    let none = || wiping::Json(Value::Object(Map::new()));
    let Some(at) = at else {
        return Ok(none());
    };
    let Some(args) = json::parse(text, at.clone()) else {
        return Err(refusal(unreadable(&text[at])));
    };
    match *args {
        _ if json::has_keys_twice(text, at, &args) => Err(refusal(AMBIGUOUS)),
        Value::Null => Ok(none()),
        Value::Object(_) => Ok(args),
        _ => Err(refusal(NO_OBJECT)),
    }
}

/// Why a call is refused in which a member comes twice, or in another case: readers of JSON differ in which one counts
/// (RFC 8259, section 4), so the server might read another one than was checked here.
pub(super) const AMBIGUOUS: &str =
    "an object in the call has a duplicate name, or one in the wrong case: give each name once";

const NO_OBJECT: &str = "the arguments are no JSON object: write them as one";

/// Tells the model what it can do about a refusal: the text of an error holds no value, and is the same whether a
/// secret exists or not.
pub(super) fn refusal(reason: impl fmt::Display) -> String {
    format!("the tool was not called: {reason}")
}

/// Why arguments that begin like an object or an array cannot be read.
fn unreadable(args: &str) -> String {
    if json::is_json(args) {
        let depth = json::DEPTH;
        format!("the arguments are nested more than {depth} levels deep: make them flatter")
    } else {
        "the arguments are not valid JSON: write them as a JSON object".to_owned()
    }
}

/// Tells the model why nothing could be put in, as far as it can do something about that.
pub(super) fn refusal_of(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Denied | ErrorKind::Validation => refusal(error),
        kind => refusal(format_args!(
            "its credentials are not available at the moment ({kind}); repeating the call does not help, but whoever \
             runs this program can"
        )),
    }
}

pub(super) fn tool_error(id: &str, text: &str) -> String {
    let id = if json::is_json(id) { id } else { "null" };
    let result = json!({"content": [{"type": "text", "text": text}], "isError": true});
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// Returns the same key for an id however it is written; `None` if it is nested too deep. Some servers answer a number
/// with its text, and clients accept that.
pub(super) fn id_key(id: &str) -> Option<String> {
    Some(match &*json::parse(id, 0..id.len())? {
        // Out of range for a `serde_json` number.
        Value::Number(_) if !json::is_number(id) => id.to_owned(),
        // `1.0` is 1. Whole numbers are not converted: beyond 2^53, floating-point numbers do not tell them apart.
        Value::Number(number) if number.is_f64() => number.as_f64()?.to_string(),
        Value::String(text) => text.clone(),
        id => id.to_string(),
    })
}
