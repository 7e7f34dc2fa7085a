//! Property: for any bindings and any name,
//!
//! 1. `ToolPattern::matches` says what `wildmatch` says;
//! 2. `Resolver::candidates` is every binding whose pattern matches, by location, then by the rules of precedence as
//!    they are written;
//! 3. `Resolver::resolve` is the first candidate of each location;
//!
//! whatever the order in which the bindings are added, and whether they are there from the beginning or come later.

#![no_main]

use std::cmp::Reverse;

use arbitrary::Arbitrary;
use keyward::{Location, Match, Resolver, SecretId, ToolPattern};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;
use wildmatch::WildMatch;

#[derive(Arbitrary, Debug)]
struct Input {
    bindings: Vec<(Text, u8, u8)>,
    names: Vec<Text>,
}

/// A text that is made of few characters, so that patterns and names meet; or any text.
#[derive(Arbitrary, Debug)]
enum Text {
    Few(Vec<Piece>),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Piece {
    A,
    B,
    /// Two characters that begin with the same byte, and one of four bytes.
    E,
    F,
    Key,
    Star,
    Question,
    /// What came before, once more.
    Again,
    Any(char),
}

impl Text {
    fn written_out(&self) -> String {
        let pieces = match self {
            Text::Any(text) => return text.clone(),
            Text::Few(pieces) => pieces,
        };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::A => text.push('a'),
                Piece::B => text.push('b'),
                Piece::E => text.push('é'),
                Piece::F => text.push('è'),
                Piece::Key => text.push('🔑'),
                Piece::Star => text.push('*'),
                Piece::Question => text.push('?'),
                Piece::Again if text.len() < 512 => text.push_str(&text.clone()),
                Piece::Again => {}
                Piece::Any(c) => text.push(*c),
            }
        }
        text
    }
}

type Binding = (Location, ToolPattern, SecretId);

const LOCATIONS: [&str; 12] = [
    "a", "b", "c", "/a/b", "/a/b/c", "d", "e", "f", "g", "h", "i", "j",
];

fn found(matches: &[Match<'_>]) -> Vec<Binding> {
    matches
        .iter()
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
        // What almost is the pattern is a name worth trying.
        names.push(text.replace('*', "").replace('?', "a"));
        for name in &names {
            assert_eq!(
                pattern.matches(name),
                WildMatch::new(&text).matches(name),
                "{text:?} on {name:?}"
            );
        }
        let location = LOCATIONS[usize::from(*location) % LOCATIONS.len()];
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
    // Half of them later, and with what is removed again in between.
    let given = |(location, pattern, id): &Binding| (pattern.clone(), location.clone(), *id);
    let (early, late) = bindings.split_at(bindings.len() / 2);
    let mut half = Resolver::builder();
    for (location, pattern, id) in early {
        half.add(pattern.clone(), location.clone(), *id);
    }
    let changed = half
        .build()
        .with_changes([], late.iter().map(given))
        .with_changes(bindings.iter().step_by(3).map(given), [])
        .with_changes([], bindings.iter().step_by(3).map(given));
    let resolvers = [forward.build(), backward.build(), changed];
    for name in &names {
        let candidates = by_definition(&bindings, name);
        let mut best = candidates.clone();
        best.dedup_by(|later, kept| later.0 == kept.0);
        for resolver in &resolvers {
            assert_eq!(found(&resolver.candidates(name)), candidates, "{name:?}");
            assert_eq!(found(&resolver.resolve(name)), best, "{name:?}");
        }
    }
});
