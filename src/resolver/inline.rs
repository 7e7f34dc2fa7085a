//! A resolver that lies in its owner's memory.

use std::sync::Arc;

use super::{
    Match, Resolved, Resolver,
    build::{Binding, compile},
    changes::FEW_BINDINGS,
    index::Index,
};

/// A resolver that one owner has: a user's snapshot.
///
/// Where there are many users, hardly anyone's bindings are in the cache, and a place in memory to wait for takes
/// longer than all that a lookup does there. So the index of a few bindings lies in its owner, and is copied with it. A
/// larger one is shared by the owners that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct InlineResolver(Form);

#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are of the large variant, and it is large on purpose"
)]
enum Form {
    /// At most [`FEW_BINDINGS`].
    Few(Index),
    Many(Resolver),
}

impl InlineResolver {
    pub(crate) fn of(bindings: &[Binding]) -> InlineResolver {
        InlineResolver::new(Resolver {
            index: Arc::new(compile(bindings)),
            changes: None,
        })
    }

    fn new(resolver: Resolver) -> InlineResolver {
        InlineResolver(match resolver {
            Resolver {
                index,
                changes: None,
            } if index.rows.len() <= FEW_BINDINGS => {
                // What a few bindings were compiled to is not shared, so this is no copy.
                Form::Few(Arc::unwrap_or_clone(index))
            }
            resolver => Form::Many(resolver),
        })
    }

    /// As [`Resolver::resolve`].
    #[inline]
    pub(crate) fn resolve(&self, tool: &str) -> Resolved<'_> {
        match &self.0 {
            Form::Few(index) => {
                index.prefetch();
                index.resolve(tool)
            }
            Form::Many(resolver) => resolver.resolve(tool),
        }
    }

    /// As [`Resolver::candidates`].
    pub(crate) fn candidates(&self, tool: &str) -> Vec<Match<'_>> {
        match &self.0 {
            Form::Few(index) => index.candidates(tool),
            Form::Many(resolver) => resolver.candidates(tool),
        }
    }

    /// As [`Resolver::with_changes`].
    pub(crate) fn with_changes(
        &self,
        removed: impl IntoIterator<Item = Binding>,
        added: impl IntoIterator<Item = Binding>,
    ) -> InlineResolver {
        InlineResolver::new(match &self.0 {
            Form::Few(index) => Resolver {
                index: Arc::new(index.clone()),
                changes: None,
            }
            .with_changes(removed, added),
            Form::Many(resolver) => resolver.with_changes(removed, added),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{location::Location, pattern::ToolPattern, secret::SecretId};

    fn binding(number: u8) -> Binding {
        let pattern = ["tool", "to*", "*ol", "t*l", "*"][usize::from(number % 5)];
        let location = ["a", "b", "c"][usize::from(number % 3)];
        let id = SecretId::new(Uuid::from_u128(number.into()));
        let pattern = ToolPattern::new(pattern).unwrap();
        (pattern, Location::new(location).unwrap(), id)
    }

    /// What a resolver says of some names, by ids.
    fn said(
        resolve: impl Fn(&str) -> Vec<SecretId>,
        candidates: impl Fn(&str) -> Vec<SecretId>,
    ) -> Vec<Vec<SecretId>> {
        let names = ["tool", "toll", "pool", "tail", "none"];
        names
            .iter()
            .flat_map(|name| [resolve(name), candidates(name)])
            .collect()
    }

    fn ids<'r>(found: impl IntoIterator<Item = Match<'r>>) -> Vec<SecretId> {
        found.into_iter().map(|found| found.id()).collect()
    }

    proptest! {
        /// While bindings come and go, on both sides of what is few.
        #[test]
        fn it_says_what_a_resolver_says(changes in prop::collection::vec((any::<bool>(), 0..120_u8, 1..60_u8), 1..8)) {
            let mut inline = InlineResolver::of(&[]);
            let mut resolver = Resolver::default();
            for (is_removal, first, count) in changes {
                let bindings: Vec<Binding> = (first..first + count).map(binding).collect();
                let (removed, added) = if is_removal { (bindings, vec![]) } else { (vec![], bindings) };
                resolver = resolver.with_changes(removed.clone(), added.clone());
                inline = inline.with_changes(removed, added).clone();
                prop_assert_eq!(
                    said(|name| ids(inline.resolve(name).iter().copied()), |name| ids(inline.candidates(name))),
                    said(|name| ids(resolver.resolve(name).iter().copied()), |name| ids(resolver.candidates(name)))
                );
                let is_few = matches!(inline.0, Form::Few(_));
                prop_assert_eq!(is_few, resolver.len() <= FEW_BINDINGS);
            }
        }
    }
}
