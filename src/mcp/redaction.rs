//! Redaction of what a server sends: its content is redacted, but what identifies the message stays, so that it
//! arrives.
//!
//! # Passes
//!
//! A line goes through these passes. A later one leaves alone what an earlier one has *done*: the references that it
//! put in, and what it kept.
//!
//! 1. **What lies across tokens or messages** ([`across`]): only if some value can lie so. This is the only pass that
//!    takes the line as a whole; all others take each message by itself.
//! 2. **Whole objects and arrays**: one that is a value itself, such as the key of a service account, becomes a string
//!    with its reference. Each is looked at before what is in it: with a value in it replaced, it would be another one,
//!    and the rest of it would stay.
//! 3. **Strings, keys and numbers** ([`redact_tokens`]): each by itself, strings without their escapes. A number that
//!    holds a value becomes a string. `true`, `false` and `null` are left: they are words of JSON, whatever the values
//!    are.
//! 4. **Renamed keys** ([`redact_by_object`]): two keys of an object can become equal, and most readers would lose a
//!    member. So where a key was redacted, passes 2 and 3 are done anew, object by object, and a new name that is taken
//!    gets a number appended. A message and its `params` are gone through like this at once, since some of their
//!    members stay.
//!
//! Where arguments are taken out of a list of tools afterwards, what is left beside each other can be a value again:
//! [`across::redact_after_removal`] is the last pass.
//!
//! # What stays
//!
//! The client has to recognize the message and the one that it is about, or it would wait for an answer for ever. So
//! the protocol's keys stay, and with them the version, `id` and `method` ([`kept`]), and the members of the parameters
//! that [`ABOUT`] names. Values of these that are objects or arrays do not stay: no client looks for one there.
//!
//! # What is not JSON
//!
//! How other text is read is up to its receiver, so a value may be outside of all strings, and inside of what looks
//! like one. It is redacted as it is spelled, and then token by token, as far as it has tokens
//! ([`redact_non_json`]).

use std::{borrow::Cow, iter, mem, ops::Range};

use super::{
    across,
    json::{self, Changed, DEPTH, Member, Token},
    message::{ABOUT, META, has_protocol_key, kept, needs_value},
};
use crate::redact::Redactor;

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    pub(super) redactor: &'s Redactor,
    /// The parts of the text, in order, that were looked at before, such as references that were put in.
    pub(super) done: &'s [Range<usize>],
}

/// Returns what the message at this place becomes; `None` if there is nothing to redact.
pub(super) fn redact_message(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    search: Search<'_>,
) -> Option<String> {
    if search.redactor.is_empty() {
        return None;
    }
    if !json::is_json(&text[at.clone()]) {
        let kept = members.iter().flat_map(|member| kept(text, member));
        return redact_non_json(text, at.clone(), kept, search);
    }
    redact_structure(text, at.clone(), search.redactor)
        .or_else(|| redact_message_members(text, at, members, search))
}

/// Returns what text that is no message becomes; `None` if there is nothing to redact.
pub(super) fn redact_other(text: &str, at: Range<usize>, search: Search<'_>) -> Option<String> {
    if search.redactor.is_empty() {
        return None;
    }
    if !json::is_json(&text[at.clone()]) {
        return redact_non_json(text, at, iter::empty(), search);
    }
    redact_value(text, at, search)
}

/// Whether the object or array at this place is a value.
pub(super) fn is_structure(text: &str, at: Range<usize>, redactor: &Redactor) -> bool {
    !redactor.is_empty() && redact_structure(text, at, redactor).is_some()
}

/// Redacts the members of a message, except for what it needs to arrive.
fn redact_message_members(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    search: Search<'_>,
) -> Option<String> {
    let is_renamed = |member: &Member<'_>| !has_protocol_key(member);
    let value = |member: &Member<'_>| {
        let at = member.value.clone();
        match &*member.key {
            "params" => redact_params(text, at, search, Part::Params),
            _ if needs_value(text, member) => None,
            _ => redact_value(text, at, search),
        }
    };
    redact_members(text, at, members, search.redactor, is_renamed, value)
}

/// The parts of a message that say which other message it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Params,
    /// The metadata in the parameters.
    Meta,
}

/// Redacts the parameters at this place, or the metadata in them, except for what identifies another message.
fn redact_params(text: &str, at: Range<usize>, search: Search<'_>, part: Part) -> Option<String> {
    let Some(members) = json::members(text, at.clone()) else {
        return redact_value(text, at, search);
    };
    if let Some(whole) = redact_structure(text, at.clone(), search.redactor) {
        return Some(whole);
    }
    let is_meta = |member: &Member<'_>| part == Part::Params && *member.key == *META;
    let is_renamed = |member: &Member<'_>| !is_meta(member) && !ABOUT.contains(&&*member.key);
    let value = |member: &Member<'_>| {
        let at = member.value.clone();
        match &*member.key {
            _ if is_meta(member) => redact_params(text, at, search, Part::Meta),
            key if ABOUT.contains(&key) && !text[at.clone()].starts_with(['{', '[']) => None,
            _ => redact_value(text, at, search),
        }
    };
    redact_members(text, at, &members, search.redactor, is_renamed, value)
}

/// Redacts text that is not JSON, except for what is `kept`.
fn redact_non_json(
    text: &str,
    at: Range<usize>,
    kept: impl Iterator<Item = Range<usize>>,
    search: Search<'_>,
) -> Option<String> {
    let tokens = |text: &str, at: Range<usize>, done: &[Range<usize>]| {
        let redacted = redact_tokens(text, at, Search { done, ..search })?;
        Some(redacted.text)
    };
    if !search.done.is_empty() {
        // All of the line was searched as it is spelled, and what is kept in it is done.
        return tokens(text, at, search.done);
    }
    let kept: Vec<_> = kept.collect();
    match across::redact_as_spelled(text, at.clone(), kept.iter().cloned(), search.redactor) {
        Some(mut new) => {
            let redacted = tokens(&new.text, 0..new.text.len(), &new.done);
            Some(redacted.unwrap_or_else(|| mem::take(&mut *new.text)))
        }
        None => tokens(text, at, &kept),
    }
}

/// Redacts the JSON at this place: whole objects, strings, keys and numbers. `None` if there is nothing to redact.
pub(super) fn redact_value(text: &str, at: Range<usize>, search: Search<'_>) -> Option<String> {
    let redacted = redact_tokens(text, at.clone(), search)?;
    if redacted.keys {
        return redact_by_object(text, at, search, DEPTH);
    }
    Some(redacted.text)
}

/// Does the same, object by object, because two keys can become equal. Deeper parts are redacted without regard to
/// that.
fn redact_by_object(
    text: &str,
    at: Range<usize>,
    search: Search<'_>,
    depth: usize,
) -> Option<String> {
    if let Some(whole) = redact_structure(text, at.clone(), search.redactor) {
        return Some(whole);
    }
    if let Some(depth) = depth.checked_sub(1) {
        let redact = |at: &Range<usize>| redact_by_object(text, at.clone(), search, depth);
        if let Some(members) = json::members(text, at.clone()) {
            let value = |member: &Member<'_>| redact(&member.value);
            return redact_members(text, at, &members, search.redactor, |_| true, value);
        }
        if let Some(elements) = json::elements(text, at.clone()) {
            let mut changed = Changed::from(text, at.start);
            for element in elements {
                let new = redact(&element);
                changed.replace(element, new);
            }
            return changed.up_to(at.end);
        }
    }
    redact_tokens(text, at, search).map(|redacted| redacted.text)
}

/// Redacts those keys of the object at this place for which `is_renamed` holds, and replaces its values as `value`
/// says; `None` if nothing changes.
fn redact_members(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    redactor: &Redactor,
    is_renamed: impl Fn(&Member<'_>) -> bool,
    value: impl Fn(&Member<'_>) -> Option<String>,
) -> Option<String> {
    let keys = members.iter().map(|member| &*member.key);
    let mut names = redactor.redacted_keys(keys).into_iter();
    let mut changed = Changed::from(text, at.start);
    for member in members {
        let name = names.next().flatten();
        let name = name.filter(|_| is_renamed(member));
        changed.replace(member.name.clone(), name.as_deref().map(json::quoted));
        changed.replace(member.value.clone(), value(member));
    }
    changed.up_to(at.end)
}

/// What stands for the object or array at this place if that is a value: a string with the value's reference.
fn redact_structure(text: &str, at: Range<usize>, redactor: &Redactor) -> Option<String> {
    let (end, reference) = redactor.structure_at(&text[..at.end], at.start)?;
    (end == at.end).then(|| json::quoted(reference))
}

struct Redacted {
    text: String,
    /// Whether a key was among what was redacted.
    keys: bool,
}

/// Redacts each string and each number by itself, and each object or array that is a value. What is done stays.
fn redact_tokens(text: &str, at: Range<usize>, search: Search<'_>) -> Option<Redacted> {
    let Search { redactor, done } = search;
    let text = &text[..at.end];
    let mut done = &done[done.partition_point(|done| done.end <= at.start)..];
    let mut changed = Changed::from(text, at.start);
    let mut keys = false;
    let mut next = at.start;
    while next < at.end {
        let start = next;
        while let Some((first, rest)) = done.split_first()
            && first.start <= start
        {
            next = next.max(first.end);
            done = rest;
        }
        if next > start {
            continue;
        }
        let first = text.as_bytes()[start];
        if matches!(first, b'{' | b'[')
            && let Some((end, reference)) = redactor.structure_at(text, start)
        {
            changed.replace(start..end, Some(json::quoted(reference)));
            next = end;
            continue;
        }
        let token = Token::read(text, start);
        next = token.at.end;
        let is_searched = matches!(first, b'"' | b'-' | b'0'..=b'9');
        let Some(content) = token.content.clone().filter(|_| is_searched) else {
            continue;
        };
        let inside = done.iter().take_while(|done| done.end <= content.end);
        let (inside, behind) = done.split_at(inside.count());
        done = behind;
        let redacted = if first != b'"' && inside.is_empty() {
            redactor.redact_number(&text[content])
        } else {
            redact_token(text, content, inside, redactor)
        };
        if let Some(redacted) = redacted {
            keys |= token.is_key(text);
            changed.replace(token.at, Some(json::quoted(&redacted)));
        }
    }
    let text = changed.up_to(at.end)?;
    Some(Redacted { text, keys })
}

/// Redacts the content of a string, or a number, between the parts that are `done`; `None` if there is nothing to
/// redact.
fn redact_token(
    text: &str,
    at: Range<usize>,
    done: &[Range<usize>],
    redactor: &Redactor,
) -> Option<String> {
    let redact = |at: Range<usize>| {
        let mut content = json::unescape(&text[at]);
        let redacted = redactor.redact_string(&content);
        let is_new = matches!(redacted, Cow::Owned(_));
        // What stays the same is needed only beside something else.
        let redacted = (is_new || !done.is_empty()).then(|| redacted.into_owned());
        json::wipe(&mut content);
        (redacted.unwrap_or_default(), is_new)
    };
    let mut whole = String::new();
    let mut any_is_new = false;
    let mut next = at.start;
    for done in done {
        let (part, is_new) = redact(next..done.start);
        whole += &part;
        whole += &text[done.clone()];
        any_is_new |= is_new;
        next = done.end;
    }
    let (last, is_new) = redact(next..at.end);
    whole += &last;
    (any_is_new || is_new).then_some(whole)
}
