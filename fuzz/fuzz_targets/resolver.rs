//! Property: for any bindings and any name,
//!
//! 1. `ToolPattern::matches` says what `wildmatch` says;
//! 2. `Resolver::candidates` is every binding whose pattern matches, by location, then by the rules of precedence as
//!    they are written;
//! 3. `Resolver::resolve` is the first candidate of each location;
//!
//! whatever the order in which the bindings are added; among few bindings, and among so many that patterns are found
//! in other ways; and after every change of the bindings.

#![no_main]

use std::cmp::Reverse;

use arbitrary::Arbitrary;
use keyward::{Location, Resolver, SecretId, ToolPattern, resolver::Match};
use keyward_fuzz::{json::pick, text::Text};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;
use wildmatch::WildMatch;

#[derive(Arbitrary, Debug)]
struct Input {
    bindings: Vec<(Text, u8, u8)>,
    names: Vec<Text>,
    /// Whether all bindings are there before the changes, or none.
    full: bool,
    changes: Vec<Change>,
}

/// Bindings that are removed and added in one step: from which one on, and at what distance.
#[derive(Arbitrary, Debug)]
struct Change {
    without: (u8, u8),
    with: (u8, u8),
}

type Binding = (Location, ToolPattern, SecretId);

const LOCATIONS: [&str; 12] = [
    "a", "b", "c", "/a/b", "/a/b/c", "d", "e", "f", "g", "h", "i", "j",
];

/// The location of bindings that only serve to make many of few. They do not compete with the others.
const OTHERS: &str = "others";

/// More patterns with wildcards than are listed.
fn others() -> impl Iterator<Item = (ToolPattern, Location, SecretId)> {
    let pattern = |i| match i % 2 {
        0 => format!("other{i:03}_*"),
        _ => format!("*_other{i:03}"),
    };
    (0..300).map(move |i| {
        (
            ToolPattern::new(&pattern(i)).expect("a pattern"),
            Location::new(OTHERS).expect("a location"),
            SecretId::new(Uuid::from_u128(i)),
        )
    })
}

fn found(matches: &[Match<'_>]) -> Vec<Binding> {
    let others = Location::new(OTHERS).expect("a location");
    matches
        .iter()
        .filter(|m| *m.location() != others)
        .map(|m| (m.location().clone(), m.pattern().clone(), m.id()))
        .collect()
}

fn by_definition(bindings: &[Binding], name: &str) -> Vec<Binding> {
    let mut candidates: Vec<Binding> = bindings
        .iter()
        .filter(|(_, pattern, _)| pattern.matches(name))
        .cloned()
        .collect();
    candidates.sort_by_key(|(location, pattern, id)| {
        let text = pattern.as_str();
        let count = |wanted| text.chars().filter(|c| *c == wanted).count();
        let (stars, questions) = (count('*'), count('?'));
        let literals = text.chars().count() - stars - questions;
        (
            location.clone(),
            stars + questions > 0,
            Reverse(literals),
            stars,
            questions,
            *id,
            text.to_owned(),
        )
    });
    candidates.dedup();
    candidates
}

fuzz_target!(|input: Input| {
    let mut bindings = Vec::new();
    let mut names: Vec<String> = input.names.iter().map(Text::written_out).collect();
    for (text, location, age) in &input.bindings {
        let text = text.written_out();
        let length = text.chars().count();
        let Ok(pattern) = ToolPattern::new(&text) else {
            assert!(
                length == 0 || length > 1024,
                "a text of any other length is a pattern"
            );
            continue;
        };
        assert!((1..=1024).contains(&length));
        // A name that is almost the pattern is worth trying.
        names.push(text.replace('*', "").replace('?', "a"));
        for name in &names {
            assert_eq!(
                pattern.matches(name),
                WildMatch::new(&text).matches(name),
                "{text:?} on {name:?}"
            );
        }
        let location = pick(&LOCATIONS, *location);
        bindings.push((
            Location::new(location).expect("a location"),
            pattern,
            SecretId::new(Uuid::from_u128((age % 8).into())),
        ));
    }

    let (mut forward, mut backward) = (Resolver::builder(), Resolver::builder());
    for (location, pattern, id) in &bindings {
        forward.add(pattern.clone(), location.clone(), *id);
    }
    for (location, pattern, id) in bindings.iter().rev() {
        backward.add(pattern.clone(), location.clone(), *id);
    }
    for (pattern, location, id) in others() {
        backward.add(pattern, location, id);
    }
    let resolvers = [forward.build(), backward.build()];
    for name in &names {
        for resolver in &resolvers {
            check(resolver, &bindings, name);
        }
    }

    let [full, _] = resolvers;
    let (mut changed, mut there) = if input.full {
        (full, bindings.clone())
    } else {
        (Resolver::default(), Vec::new())
    };
    for change in input.changes.iter().take(8) {
        let some = |(first, step): (u8, u8)| {
            let step = usize::from(step) + 1;
            bindings.iter().skip(first.into()).step_by(step)
        };
        let given = |(location, pattern, id): &Binding| (pattern.clone(), location.clone(), *id);
        changed = changed.with_changes(
            some(change.without).map(given),
            some(change.with).map(given),
        );
        there.retain(|binding| !some(change.without).any(|gone| gone == binding));
        there.extend(some(change.with).cloned());
        for name in &names {
            check(&changed, &there, name);
        }
    }
});

fn check(resolver: &Resolver, bindings: &[Binding], name: &str) {
    let candidates = by_definition(bindings, name);
    let mut best = candidates.clone();
    best.dedup_by(|later, kept| later.0 == kept.0);
    assert_eq!(found(&resolver.candidates(name)), candidates, "{name:?}");
    assert_eq!(found(&resolver.resolve(name)), best, "{name:?}");
}
