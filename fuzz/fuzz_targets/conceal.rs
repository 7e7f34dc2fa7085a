//! Property: for any schema and any locations, `UserVault::conceal` never panics, and
//!
//! 1. each location is reported once, as hidden or as left;
//! 2. a default goes into a hidden location under the schema as it was, and the concealed one no longer declares it;
//! 3. a schema of which nothing is hidden is unchanged.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use keyward::{LeftLocation, LeftReason, Location, NewSecret, ToolCall, UserId, UserVault, Vault};
use keyward_fuzz::json::{Schema, pick};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

#[derive(Arbitrary, Debug)]
struct Input {
    schema: Schema,
    locations: Vec<u8>,
}

/// Where defaults are bound.
const LOCATIONS: [&str; 8] = ["/a", "/b", "/c", "/a/b", "/a/c", "/b/a", "/a/b/c", "/a/0"];

fuzz_target!(|input: Input| {
    let Some(schema) = input.schema.value() else {
        return;
    };
    let bound: BTreeSet<Location> = input
        .locations
        .iter()
        .map(|n| pick(&LOCATIONS, *n))
        .map(|location| Location::new(location).expect("a location"))
        .collect();
    let user = Vault::in_memory().expect("a vault").user(UserId::LOCAL);
    for location in &bound {
        let pointer = location.as_pointer();
        let secret = NewSecret::new(pointer, "Zq8wT3vN").bind("tool", pointer);
        user.create(secret.default_for_tool()).expect("a secret");
    }

    let mut concealed = schema.clone();
    let report = user
        .conceal("tool", &mut concealed)
        .expect("no reason to fail");

    let mut reported: Vec<&Location> = report.hidden().iter().collect();
    reported.extend(report.left().iter().map(LeftLocation::location));
    reported.sort();
    assert!(reported.into_iter().eq(&bound), "{report:?}");
    if report.hidden().is_empty() {
        assert_eq!(concealed, schema);
        assert!(report.removed_parents().is_empty());
    }
    let (before, after) = (filled(&user, &schema), filled(&user, &concealed));
    for location in report.hidden() {
        assert!(before.contains(location), "{location} {schema}");
        assert!(!after.contains(location), "{location} {schema} {concealed}");
    }
    for left in report.left() {
        let nothing_is_put_in = matches!(
            left.reason(),
            LeftReason::NotDeclared | LeftReason::NotAString
        );
        assert!(
            !(nothing_is_put_in && before.contains(left.location())),
            "{left} {schema}"
        );
    }
});

/// What `schema` lets defaults be put into when a call gives nothing: the one judge of what a schema declares.
fn filled(user: &UserVault, schema: &Value) -> BTreeSet<Location> {
    let call = ToolCall::new("tool").with_schema(schema);
    let injection = user.inject(&call, &mut Map::new()).expect("all fits");
    injection
        .filled()
        .iter()
        .map(|filled| filled.location.clone())
        .collect()
}
