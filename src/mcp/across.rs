//! Values that lie across several tokens of JSON, several elements of a batch, or a message and what is around it.
//!
//! A value that has a bracket, a comma, a colon or a quote in it, such as a list of keys, may be in no token as a
//! whole; nor may a short one with spaces around it. So the line is searched as it is spelled, before anything in it is
//! redacted by itself:
//!
//! * in JSON, the smallest object, array or string in which all of the value is becomes a string with its reference,
//!   so that the line stays JSON. A value in a single token is left to the pass over tokens, which undoes escapes and
//!   knows which tokens stay;
//! * in other text, the value itself is replaced, except in what a message needs to arrive.

use std::{mem, ops::Range};

use zeroize::Zeroizing;

use super::{
    json::{self, Changed, Token},
    message::kept,
};
use crate::{json_text, redact::Redactor};

/// Text in which values were replaced.
pub(super) struct Replaced {
    /// It may still hold other values.
    pub(super) text: Zeroizing<String>,
    /// The parts of it, in order, that are done: references, and what was kept.
    pub(super) done: Vec<Range<usize>>,
}

/// Redacts what lies across several elements of a batch, several tokens, or a message and the space around it; `None`
/// if nothing does.
pub(super) fn redact_line(line: &str, redactor: &Redactor) -> Option<Replaced> {
    if !redactor.spans_tokens() {
        return None;
    }
    let at = json::trimmed(line);
    if json::is_json(&line[at.clone()]) {
        return redact_json(line, redactor);
    }
    let messages = json::elements(line, at.clone()).unwrap_or_else(|| vec![at]);
    let members = messages
        .into_iter()
        .filter_map(|at| json::members(line, at));
    let kept: Vec<_> = members
        .flatten()
        .flat_map(|member| kept(line, &member))
        .collect();
    redact_as_spelled(line, 0..line.len(), kept.into_iter(), redactor)
}

/// Redacts a line that was redacted, but from which parts were taken out since: what is left beside each other can be
/// a value. `None` if nothing is.
pub(super) fn redact_after_removal(line: &str, redactor: &Redactor) -> Option<String> {
    let across = redact_line(line, redactor).map(|replaced| replaced.text);
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
    new.or_else(|| across.map(|mut text| mem::take(&mut *text)))
}

/// Redacts the text at this place as it is spelled, except for what is `kept`, unless a value lies across that and what
/// is around it.
pub(super) fn redact_as_spelled(
    text: &str,
    at: Range<usize>,
    kept: impl Iterator<Item = Range<usize>>,
    redactor: &Redactor,
) -> Option<Replaced> {
    let mut kept = kept.peekable();
    let mut draft = Draft::from(text, at.start);
    for found in matches(text, at.clone(), redactor) {
        while let Some(before) = kept.next_if(|kept| kept.end <= found.at.start) {
            draft.keep(before);
        }
        let is_kept =
            |kept: &Range<usize>| kept.start <= found.at.start && found.at.end <= kept.end;
        if !kept.peek().is_some_and(is_kept) {
            draft.replace(found.at, &found.reference);
        }
    }
    kept.for_each(|behind| draft.keep(behind));
    draft.up_to(at.end)
}

/// Redacts JSON in which a value lies across several tokens, or is a string with its quotes.
fn redact_json(line: &str, redactor: &Redactor) -> Option<Replaced> {
    let matches = matches(line, 0..line.len(), redactor);
    if matches.is_empty() {
        return None;
    }
    let Enclosures {
        mut whole, pending, ..
    } = Enclosures::of(line, matches);
    if let Some(Match { reference, .. }) = pending.into_iter().next() {
        // It begins or ends in the space around it all.
        let at = 0..line.len();
        whole = vec![Match { at, reference }];
    }
    let mut draft = Draft::from(line, 0);
    for Match { at, reference } in whole {
        draft.replace(at, &json::quoted(&reference));
    }
    draft.up_to(line.len())
}

/// A value in a text.
struct Match {
    at: Range<usize>,
    reference: String,
}

/// The values in the text at this place, as it is spelled. An object or an array that is a value is among them however
/// it is spelled, since a value within it, replaced by itself, would make it another one.
fn matches(text: &str, at: Range<usize>, redactor: &Redactor) -> Vec<Match> {
    let mut matches = Vec::new();
    redactor.each_match_in_json(&text[at.clone()], |start, end, reference| {
        matches.push(Match {
            at: at.start + start..at.start + end,
            reference: reference.to_owned(),
        });
    });
    matches
}

/// The smallest strings, objects and arrays around matches, while JSON is read token by token.
#[derive(Default)]
struct Enclosures {
    /// Where the objects and arrays begin that have not ended yet.
    open: Vec<usize>,
    /// The matches that lie across tokens and have not been enclosed yet, in order.
    pending: Vec<Match>,
    /// What is replaced as a whole, in order: where it is, and the reference of the first match in it.
    whole: Vec<Match>,
}

impl Enclosures {
    fn of(line: &str, matches: Vec<Match>) -> Enclosures {
        let mut enclosures = Enclosures::default();
        let mut matches = matches.into_iter().peekable();
        let mut next = 0;
        while next < line.len() {
            let token = Token::read(line, next);
            next = token.at.end;
            let first = line.as_bytes()[token.at.start];
            if matches!(first, b'{' | b'[') {
                enclosures.open.push(token.at.start);
            }
            while let Some(found) = matches.next_if(|found| found.at.start < next) {
                enclosures.add(found, &token, line);
            }
            if matches!(first, b'}' | b']') {
                enclosures.close(next);
            }
        }
        enclosures
    }

    /// Adds a match that begins in this token, unless all of it is in the token's content.
    fn add(&mut self, found: Match, token: &Token, line: &str) {
        let is_string = || line[token.at.clone()].starts_with('"');
        let has =
            |content: &Range<usize>| content.start <= found.at.start && found.at.end <= content.end;
        if found.at == token.at && is_string() && !token.is_key(line) {
            self.whole.push(found);
        } else if !token.content.as_ref().is_some_and(has) {
            self.pending.push(found);
        }
    }

    /// Ends the innermost object or array that is open. It is replaced if all of a pending match is in it.
    fn close(&mut self, end: usize) {
        let Some(start) = self.open.pop() else {
            return;
        };
        let before = self.pending.partition_point(|found| found.at.start < start);
        let mut inside = self.pending.split_off(before);
        // At most the last one goes on behind this object or array.
        let further = inside.pop_if(|found| found.at.end > end);
        if let Some(first) = inside.into_iter().next() {
            let before = self.whole.partition_point(|part| part.at.start < start);
            self.whole.truncate(before);
            self.whole.push(Match {
                at: start..end,
                reference: first.reference,
            });
        }
        self.pending.extend(further);
    }
}

/// What a text becomes, from its beginning to its end.
struct Draft<'t> {
    changed: Changed<'t>,
    done: Vec<Range<usize>>,
}

impl Draft<'_> {
    fn from(text: &str, start: usize) -> Draft<'_> {
        Draft {
            changed: Changed::from(text, start),
            done: Vec::new(),
        }
    }

    fn replace(&mut self, at: Range<usize>, by: &str) {
        self.changed.replace(at, Some(by));
        let end = self.changed.len();
        self.done.push(end - by.len()..end);
    }

    /// Has later passes leave what is at this place as it is, unless it was replaced in part.
    fn keep(&mut self, at: Range<usize>) {
        if let Some(start) = self.changed.new_place(at.start) {
            self.done.push(start..start + at.len());
        }
    }

    fn up_to(self, end: usize) -> Option<Replaced> {
        let text = Zeroizing::new(self.changed.up_to(end)?);
        Some(Replaced {
            text,
            done: self.done,
        })
    }
}
