//! What a server sends with its content redacted: what says which message it is stays, so that it arrives.

use std::{borrow::Cow, iter, ops::Range};

use serde_json::json;

use super::json::{self, Member};
use crate::redact::Redactor;

/// The keys that the protocol has. They are the same whatever the values are, and without them no message arrives.
const KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// What the message at this place becomes; `None` if there is nothing to redact.
pub(super) fn message(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    redactor: &Redactor,
) -> Option<String> {
    if redactor.is_empty() {
        return None;
    }
    // How something is read that is no JSON is for its receiver to say: a value may stand outside of all strings there.
    if !json::is_json(&text[at.clone()])
        && let Some(redacted) = everywhere(text, at.clone(), members, redactor)
    {
        let whole = 0..redacted.len();
        let members = json::members(&redacted, whole.clone()).unwrap_or_default();
        return content(&redacted, whole, &members, redactor).or(Some(redacted));
    }
    content(text, at, members, redactor)
}

/// Redacts strings, keys and numbers.
fn content(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    redactor: &Redactor,
) -> Option<String> {
    let mut names = redactor
        .redacted_keys(members.iter().map(|member| &*member.key))
        .into_iter();
    let mut whole = String::new();
    let mut done = at.start;
    for member in members {
        let name = names.next().flatten();
        if let Some(name) = name.filter(|_| !is_of_the_protocol(member)) {
            whole.push_str(&text[done..member.name.start]);
            whole.push_str(&json!(name).to_string());
            done = member.name.end;
        }
        if stays(text, member) {
            continue;
        }
        if let Some(redacted) = json::redact(text, member.value.clone(), redactor) {
            whole.push_str(&text[done..member.value.start]);
            whole.push_str(&redacted);
            done = member.value.end;
        }
    }
    if done == at.start {
        return None;
    }
    whole.push_str(&text[done..at.end]);
    Some(whole)
}

/// Redacts the text as it stands.
fn everywhere(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    redactor: &Redactor,
) -> Option<String> {
    let kept = members.iter().flat_map(|member| {
        let name = is_of_the_protocol(member).then(|| member.name.clone());
        let value = stays(text, member).then(|| member.value.clone());
        name.into_iter().chain(value)
    });
    let mut whole = String::new();
    let mut done = at.start;
    let mut is_changed = false;
    for kept in kept.chain(iter::once(at.end..at.end)) {
        let redacted = redactor.redact(&text[done..kept.start]);
        is_changed |= matches!(redacted, Cow::Owned(_));
        whole.push_str(&redacted);
        whole.push_str(&text[kept.clone()]);
        done = kept.end;
    }
    is_changed.then_some(whole)
}

fn is_of_the_protocol(member: &Member<'_>) -> bool {
    KEYS.contains(&&*member.key)
}

/// Whether a message arrives by this value. None does by an object, by an array, or by what is no JSON.
fn stays(text: &str, member: &Member<'_>) -> bool {
    let value = &text[member.value.clone()];
    match &*member.key {
        "jsonrpc" => value == r#""2.0""#,
        "id" | "method" => !value.starts_with(['{', '[']) && json::is_json(value),
        _ => false,
    }
}
