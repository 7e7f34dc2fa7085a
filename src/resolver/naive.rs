//! The resolver as it is defined: every binding is tried, and those that match are sorted by the rules as they are
//! written. The compiled resolver is tested against it.

use std::cmp::Reverse;

use crate::{Location, SecretId, ToolPattern};

#[derive(Debug, Default)]
pub(super) struct Naive {
    bindings: Vec<Binding>,
}

pub(super) type Binding = (Location, ToolPattern, SecretId);

impl Naive {
    pub(super) fn new(bindings: &[Binding]) -> Naive {
        Naive {
            bindings: bindings.to_vec(),
        }
    }

    /// All bindings that match, grouped by location, best first.
    pub(super) fn candidates(&self, tool: &str) -> Vec<Binding> {
        let mut found: Vec<Binding> = self
            .bindings
            .iter()
            .filter(|(_, pattern, _)| pattern.matches_by_trying(tool))
            .cloned()
            .collect();
        found.sort_by_key(|(location, pattern, id)| {
            let text = pattern.as_str();
            let count = |wanted: char| text.chars().filter(|c| *c == wanted).count();
            let (stars, questions) = (count('*'), count('?'));
            (
                location.clone(),
                stars + questions > 0,
                Reverse(text.chars().count() - stars - questions),
                stars,
                questions,
                *id,
                // No rule orders bindings of one id, but their order is always the same.
                text.to_owned(),
            )
        });
        found.dedup();
        found
    }

    /// The first candidate of each location.
    pub(super) fn resolve(&self, tool: &str) -> Vec<Binding> {
        let mut found = self.candidates(tool);
        found.dedup_by(|later, kept| later.0 == kept.0);
        found
    }
}
