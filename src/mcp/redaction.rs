//! Redaction of what a server sends: its content is redacted, but what identifies the message stays, so that it
//! arrives.

use std::{borrow::Cow, iter, ops::Range};

use zeroize::Zeroizing;

use super::json::{self, Changed, DEPTH, Member};
use crate::{json_text, redact::Redactor};

/// The keys of the protocol. They do not depend on any value, and without them no message arrives.
const KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The member of `params` with metadata, and the members of both that identify the message that this one is about.
/// Their values stay, so that the client can tell which message that is.
const META: &str = "_meta";
const ABOUT: [&str; 2] = ["progressToken", "requestId"];

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    pub(super) redactor: &'s Redactor,
    /// The parts of the text, in order, that were looked at before, such as references that were put in.
    pub(super) done: &'s [Range<usize>],
}

/// Returns what a line becomes when what lies across several elements of a batch, several tokens, or a message and the
/// space around it, is redacted, and which parts of that are done; `None` if nothing does.
pub(super) fn across(line: &str, redactor: &Redactor) -> Option<(String, Vec<Range<usize>>)> {
    if !redactor.spans_tokens() {
        return None;
    }
    let at = json::trimmed(line);
    if json::is_json(&line[at.clone()]) {
        return across_tokens(line, redactor);
    }
    let messages = json::elements(line, at.clone()).unwrap_or_else(|| vec![at]);
    let members = messages
        .into_iter()
        .filter_map(|at| json::members(line, at));
    let members = members.flatten();
    let kept: Vec<_> = members.flat_map(|member| kept(line, &member)).collect();
    let (new, done) = as_it_is(line, 0..line.len(), kept.into_iter(), redactor)?;
    Some(((*new).clone(), done))
}

/// Returns what a redacted line becomes from which parts were taken out since: what is left beside each other can be a
/// value; `None` if nothing is.
pub(super) fn closed_up(line: &str, redactor: &Redactor) -> Option<String> {
    let across = across(line, redactor).map(|(new, _)| Zeroizing::new(new));
    let text = across.as_deref().map_or(line, String::as_str);
    let mut changed = Changed::from(text, 0);
    let mut next = 0;
    while next < text.len() {
        let start = next;
        next = json_text::string_end(text, start).unwrap_or(start + 1);
        if matches!(text.as_bytes()[start], b'{' | b'[')
            && let Some((end, reference)) = redactor.structure_at(text, start)
        {
            changed.replace(start..end, Some(json::quoted(reference)));
            next = end;
        }
    }
    let new = changed.up_to(text.len());
    new.or_else(|| across.map(|text| (*text).clone()))
}

/// The parts of a member that a message needs to arrive.
fn kept(text: &str, member: &Member<'_>) -> impl Iterator<Item = Range<usize>> + use<> {
    let name = is_of_the_protocol(member).then(|| member.name.clone());
    let value = stays(text, member).then(|| member.value.clone());
    name.into_iter().chain(value)
}

/// Redacts JSON in which a value lies across several tokens, such as a list of keys, or is a string with its quotes:
/// the smallest object, array or string in which all of it is becomes a string with its reference.
fn across_tokens(text: &str, redactor: &Redactor) -> Option<(String, Vec<Range<usize>>)> {
    let mut matches = matches(text, 0..text.len(), redactor)
        .into_iter()
        .peekable();
    matches.peek()?;
    // The matches that are in no token, and begin in what is open.
    let mut pending: Vec<(Range<usize>, String)> = Vec::new();
    let mut whole: Vec<(Range<usize>, String)> = Vec::new();
    let mut open = Vec::new();
    let mut next = 0;
    while next < text.len() {
        let start = next;
        let first = text.as_bytes()[start];
        next = match first {
            b'"' => json_text::string_end(text, start).unwrap_or(text.len()),
            _ if json_text::is_structure(first) => start + 1,
            _ => json_text::scalar_end(text, start),
        };
        if matches!(first, b'{' | b'[') {
            open.push(start);
        }
        while let Some((found, reference)) = matches.next_if(|(found, _)| found.start < next) {
            let is_key = || json_text::byte(text, json_text::skip_space(text, next)) == Some(b':');
            let is_inside = match first {
                b'"' => found.start > start && found.end < next,
                _ if json_text::is_structure(first) => false,
                _ => found.end <= next,
            };
            if first == b'"' && found == (start..next) && !is_key() {
                whole.push((found, reference));
            } else if !is_inside {
                pending.push((found, reference));
            }
        }
        if matches!(first, b'}' | b']')
            && let Some(start) = open.pop()
        {
            let inside = pending.iter().rposition(|(found, _)| found.start < start);
            let mut inside = pending.split_off(inside.map_or(0, |last| last + 1));
            // At most the last one goes on behind this object or array.
            let further = inside.pop_if(|(found, _)| found.end > next);
            if let Some((_, reference)) = inside.into_iter().next() {
                whole.truncate(whole.partition_point(|(part, _)| part.start < start));
                whole.push((start..next, reference));
            }
            pending.extend(further);
        }
    }
    if let Some((_, reference)) = pending.into_iter().next() {
        // It begins or ends in the space around it all.
        let reference = json::quoted(&reference);
        let done = 0..reference.len();
        return Some((reference, vec![done]));
    }
    let mut changed = Changed::from(text, 0);
    let mut done = Vec::new();
    for (at, reference) in whole {
        let reference = json::quoted(&reference);
        changed.replace(at, Some(&reference));
        done.push(changed.len() - reference.len()..changed.len());
    }
    let new = changed.up_to(text.len())?;
    Some((new, done))
}

/// Returns what the message at this place becomes; `None` if there is nothing to redact.
pub(super) fn message(
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
        return everywhere(text, at.clone(), kept, search);
    }
    structure(text, at.clone(), search.redactor).or_else(|| content(text, at, members, search))
}

/// Returns what text that is no message becomes; `None` if there is nothing to redact.
pub(super) fn text(text: &str, at: Range<usize>, search: Search<'_>) -> Option<String> {
    if search.redactor.is_empty() {
        return None;
    }
    if !json::is_json(&text[at.clone()]) {
        return everywhere(text, at, iter::empty(), search);
    }
    redact(text, at, search)
}

/// Redacts strings, keys and numbers.
fn content(
    text: &str,
    at: Range<usize>,
    members: &[Member<'_>],
    search: Search<'_>,
) -> Option<String> {
    let is_renamed = |member: &Member<'_>| !is_of_the_protocol(member);
    let value = |member: &Member<'_>| {
        let at = member.value.clone();
        match &*member.key {
            "params" => params(text, at, search, Part::Params),
            _ => (!stays(text, member)).then(|| redact(text, at, search))?,
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
fn params(text: &str, at: Range<usize>, search: Search<'_>, part: Part) -> Option<String> {
    let Some(members) = json::members(text, at.clone()) else {
        return redact(text, at, search);
    };
    if let Some(whole) = structure(text, at.clone(), search.redactor) {
        return Some(whole);
    }
    let is_meta = |member: &Member<'_>| part == Part::Params && *member.key == *META;
    let is_renamed = |member: &Member<'_>| !is_meta(member) && !ABOUT.contains(&&*member.key);
    let value = |member: &Member<'_>| {
        let at = member.value.clone();
        match &*member.key {
            _ if is_meta(member) => params(text, at, search, Part::Meta),
            key if ABOUT.contains(&key) && !text[at.clone()].starts_with(['{', '[']) => None,
            _ => redact(text, at, search),
        }
    };
    redact_members(text, at, &members, search.redactor, is_renamed, value)
}

/// Redacts text that is not JSON, except for what is `kept`: how it is read is up to its receiver, so a value may be
/// outside of all strings, and inside of what looks like one.
fn everywhere(
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
    match as_it_is(text, at.clone(), kept.iter().cloned(), search.redactor) {
        Some((new, done)) => {
            Some(tokens(&new, 0..new.len(), &done).unwrap_or_else(|| (*new).clone()))
        }
        None => tokens(text, at, &kept),
    }
}

/// Redacts text as it is spelled, except for what is `kept`, unless a value lies across that and what is around it.
/// Returns also what in it was looked at, in order: what was kept, and the references.
fn as_it_is(
    text: &str,
    at: Range<usize>,
    kept: impl Iterator<Item = Range<usize>>,
    redactor: &Redactor,
) -> Option<(Zeroizing<String>, Vec<Range<usize>>)> {
    let mut matches = matches(text, at.clone(), redactor).into_iter().peekable();
    let mut new = Zeroizing::new(String::with_capacity(at.len()));
    let mut done = Vec::new();
    let mut is_new = false;
    let mut copied = at.start;
    for kept in kept.chain(iter::once(at.end..at.end)) {
        while let Some((found, reference)) = matches.next_if(|(found, _)| found.start < kept.end) {
            if found.start < kept.start || kept.end < found.end {
                json::push_wiping(&mut new, &text[copied..found.start]);
                done.push(new.len()..new.len() + reference.len());
                json::push_wiping(&mut new, &reference);
                copied = found.end;
                is_new = true;
            }
        }
        if copied <= kept.start {
            json::push_wiping(&mut new, &text[copied..kept.start]);
            done.push(new.len()..new.len() + kept.len());
            copied = kept.start;
        }
    }
    json::push_wiping(&mut new, &text[copied..at.end]);
    is_new.then_some((new, done))
}

/// Where values are in the text at this place, as it is spelled, and their references. An object or an array that is a
/// value is among them however it is spelled, since a value within it, replaced by itself, would make it another one.
fn matches(text: &str, at: Range<usize>, redactor: &Redactor) -> Vec<(Range<usize>, String)> {
    let mut matches = Vec::new();
    redactor.each_match_in_json(&text[at.clone()], |start, end, reference| {
        matches.push((at.start + start..at.start + end, reference.to_owned()));
    });
    matches
}

/// What stands for the object or array at this place if that is a value, as a service account's key is: a string with
/// the value's reference.
fn structure(text: &str, at: Range<usize>, redactor: &Redactor) -> Option<String> {
    let (end, reference) = redactor.structure_at(&text[..at.end], at.start)?;
    (end == at.end).then(|| json::quoted(reference))
}

/// Whether the object or array at this place is a value.
pub(super) fn is_structure(text: &str, at: Range<usize>, redactor: &Redactor) -> bool {
    !redactor.is_empty() && structure(text, at, redactor).is_some()
}

fn is_of_the_protocol(member: &Member<'_>) -> bool {
    KEYS.contains(&&*member.key)
}

/// Whether the message needs this value to arrive. None needs an object, an array, or anything that is not JSON.
fn stays(text: &str, member: &Member<'_>) -> bool {
    let value = &text[member.value.clone()];
    match &*member.key {
        "jsonrpc" => value == r#""2.0""#,
        "id" | "method" => !value.starts_with(['{', '[']) && json::is_json(value),
        _ => false,
    }
}

/// Redacts every string, key and number of the text at this place; `None` if there is nothing to redact.
pub(super) fn redact(text: &str, at: Range<usize>, search: Search<'_>) -> Option<String> {
    let redacted = redact_tokens(text, at.clone(), search)?;
    if redacted.keys {
        return redact_within(text, at, search, DEPTH);
    }
    Some(redacted.text)
}

/// Does the same, object by object, because two keys can become equal. Deeper parts are redacted without regard to
/// that.
fn redact_within(text: &str, at: Range<usize>, search: Search<'_>, depth: usize) -> Option<String> {
    if let Some(whole) = structure(text, at.clone(), search.redactor) {
        return Some(whole);
    }
    if let Some(depth) = depth.checked_sub(1) {
        let redact = |at: &Range<usize>| redact_within(text, at.clone(), search, depth);
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

struct Redacted {
    text: String,
    /// Whether a key was among what was redacted.
    keys: bool,
}

/// Redacts each string and each number by itself. What is done stays.
fn redact_tokens(text: &str, at: Range<usize>, search: Search<'_>) -> Option<Redacted> {
    let Search { redactor, done } = search;
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
        let content = if first == b'"' {
            let end = json_text::string_end(text, start).filter(|&end| end <= at.end);
            next = end.unwrap_or(at.end);
            start + 1..end.map_or(at.end, |end| end - 1)
        } else if json_text::is_structure(first) {
            let found = matches!(first, b'{' | b'[')
                .then(|| redactor.structure_at(&text[..at.end], start))
                .flatten();
            next = found.map_or(start + 1, |(end, _)| end);
            if let Some((_, reference)) = found {
                changed.replace(start..next, Some(json::quoted(reference)));
            }
            continue;
        } else {
            next = json_text::scalar_end(text, start).min(at.end);
            if !matches!(first, b'-' | b'0'..=b'9') {
                continue;
            }
            start..next
        };
        let inside = done.iter().take_while(|done| done.end <= content.end);
        let (inside, behind) = done.split_at(inside.count());
        done = behind;
        if let Some(redacted) = redact_content(text, content, inside, redactor) {
            changed.replace(start..next, Some(json::quoted(&redacted)));
            keys |= json_text::byte(text, json_text::skip_space(text, next)) == Some(b':');
        }
    }
    let text = changed.up_to(at.end)?;
    Some(Redacted { text, keys })
}

/// Redacts the content of a string, or a number, between the parts that are `done`; `None` if there is nothing to
/// redact.
fn redact_content(
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
