//! Tests resolvers with changes against those that are built from nothing.

use proptest::prelude::*;

use super::{
    Binding, Given, LOCATIONS, Naive, assert_says, binding, bindings_of, found, given, resolver,
};
use crate::resolver::changes::{FEW_BINDINGS, change};

const NONE: [Given; 0] = [];

/// Changes, each of which removes or adds some bindings.
fn changes_of(
    pattern: &'static str,
    locations: usize,
) -> impl Strategy<Value = Vec<(bool, Vec<Binding>)>> {
    prop::collection::vec((any::<bool>(), bindings_of(pattern, locations, 12)), 1..14)
}

/// Applies changes one after another, and compares each resolver with one that is built from nothing.
fn assert_changes_agree(start: &[Binding], changes: &[(bool, Vec<Binding>)], names: &[String]) {
    // With 0 as if there were many bindings: then changes are kept aside.
    for few_bindings in [0, FEW_BINDINGS] {
        assert_changes_agree_for(start, changes, names, few_bindings);
    }
}

fn assert_changes_agree_for(
    start: &[Binding],
    changes: &[(bool, Vec<Binding>)],
    names: &[String],
    few_bindings: usize,
) {
    let mut all: Vec<Binding> = start.to_vec();
    let mut derived = resolver(start);
    for (is_removal, bindings) in changes {
        let before = derived.clone();
        let expected_before = Naive::new(&all);
        if *is_removal {
            // Some bindings that are there, and some that may be.
            let there: Vec<Binding> = all
                .iter()
                .step_by(3)
                .take(bindings.len() / 2)
                .cloned()
                .collect();
            let gone: Vec<&Binding> = bindings.iter().chain(&there).collect();
            let removed = gone.iter().copied().map(given);
            derived = change(&derived, removed, [], few_bindings);
            let gone: Vec<Binding> = gone.into_iter().cloned().collect();
            all.retain(|binding| !gone.contains(binding));
        } else {
            derived = change(&derived, NONE, bindings.iter().map(given), few_bindings);
            all.extend_from_slice(bindings);
        }
        assert_eq!(derived.len(), resolver(&all).len());
        assert_says(&derived, &Naive::new(&all), &all, names);
        for name in names {
            assert_eq!(
                found(&before.resolve(name)),
                expected_before.resolve(name),
                "{name:?}: it derived"
            );
        }
    }
}

proptest! {
    #[test]
    fn changes_agree(
        start in bindings_of("[ab*?]{1,4}", 3, 100),
        changes in changes_of("[ab*?]{1,4}", 3),
        names in prop::collection::vec("[ab]{0,6}", 6),
    ) {
        assert_changes_agree(&start, &changes, &names);
    }

    #[test]
    fn changes_agree_with_many_locations(
        start in bindings_of("[ab]{1,2}\\*?", LOCATIONS.len(), 40),
        changes in changes_of("[ab]\\*|\\*", LOCATIONS.len()),
        names in prop::collection::vec("[ab]{0,3}", 4),
    ) {
        assert_changes_agree(&start, &changes, &names);
    }
}

/// However many bindings are left, few are compared with what was added.
#[test]
fn of_what_is_left_the_best_of_each_location_counts() {
    let of = |location, age| binding("t*", location, age);
    let start: Vec<Binding> = ["a", "b"]
        .iter()
        .flat_map(|location| (0..100).map(|age| of(location, age)))
        .collect();
    let derived = change(&resolver(&start), [given(&of("a", 0))], [], 0);
    let changes = derived.changes.as_ref().expect("it is kept aside");
    let left = changes.best_left(&derived.index, "tool");
    assert_eq!(found(&left), [of("a", 1), of("b", 0)]);
}
