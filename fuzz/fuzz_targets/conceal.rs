//! Property: for any schema and any locations, `UserVault::conceal` never panics, and
//!
//! 1. each location is reported once, as hidden or as left;
//! 2. a default goes into a hidden location under the schema as it was, and the concealed one no longer declares it;
//! 3. a schema of which nothing is hidden is unchanged;
//! 4. arguments that hold no value where something was hidden, and are valid under the concealed schema, are valid
//!    under the original one after `inject` has put in what was hidden, whether that is as short or as long as a
//!    value can be. `jsonschema` decides what is valid.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use keyward::{
    Concealment, Location, NewSecret, ToolCall, UserId, UserVault, Vault,
    conceal::{KeptLocation, KeptReason},
};
use keyward_fuzz::{
    json::pick,
    schema::{Schema, arguments},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Where secrets are bound, and which secrets.
    bound: Vec<(u8, u8)>,
    arguments: Vec<Vec<u8>>,
    /// Last, since it takes all bytes that are left.
    schema: Schema,
}

/// Where defaults are bound.
const LOCATIONS: [&str; 12] = [
    "/a", "/b", "/c", "/a/b", "/a/c", "/b/a", "/a/b/c", "/a/0", "/c/a", "/a/b/d", "/d/d", "/b/c",
];

fuzz_target!(|input: Input| {
    let Some(schema) = input.schema.value() else {
        return;
    };
    let vault = Vault::in_memory().expect("a vault");
    let user = vault.user(UserId::LOCAL);
    let mut bound = BTreeSet::new();
    for (location, value) in input.bound.iter().take(8) {
        let location = Location::new(pick(&LOCATIONS, *location)).expect("a location");
        if !bound.contains(&location) {
            user.create(secret(&location, *value)).expect("a secret");
            bound.insert(location);
        }
    }

    let mut concealed = schema.clone();
    let report = user
        .conceal("tool", &mut concealed)
        .expect("no reason to fail");

    let mut reported: Vec<&Location> = report.hidden().iter().collect();
    reported.extend(report.kept().iter().map(KeptLocation::location));
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
    for left in report.kept() {
        let nothing_is_put_in = matches!(
            left.reason(),
            KeptReason::NotDeclared | KeptReason::NotAString | KeptReason::MayBeDeclared(_)
        );
        assert!(
            !(nothing_is_put_in && before.contains(left.location())),
            "{left} {schema}"
        );
    }
    if !report.hidden().is_empty() {
        let other = vault.user(UserId::new(Uuid::from_u128(1)));
        for (location, (_, value)) in report.hidden().iter().zip(input.bound.iter().cycle()) {
            other.create(secret(location, *value)).expect("a secret");
        }
        let well_formed = matches!(input.schema, Schema::Usual(_));
        let schemas = [&schema, &concealed];
        valid_once_filled(&other, schemas, well_formed, &report, &input.arguments);
    }
});

fn secret(location: &Location, value: u8) -> NewSecret {
    let length = pick(&[4, 1024, 5, 1023], value);
    let value = pick(&["x", "é", "1"], value / 4).repeat(length);
    let pointer = location.as_pointer();
    let secret = NewSecret::new(pointer, value).bind("tool", pointer);
    secret.default_for_tool()
}

/// The locations into which defaults go under `schema` when a call gives nothing. This alone decides what a schema
/// declares.
fn filled(user: &UserVault, schema: &Value) -> BTreeSet<Location> {
    let call = ToolCall::new("tool").with_schema(schema);
    let injection = user.inject(&call, &mut Map::new()).expect("all fits");
    injection
        .filled()
        .iter()
        .map(|filled| filled.location().clone())
        .collect()
}

fn is_schema_of_the_newest_draft(schema: &Value) -> bool {
    let mut schema = schema.clone();
    if let Some(root) = schema.as_object_mut() {
        root.remove("$schema");
    }
    jsonschema::validator_for(&schema).is_ok()
}

/// Asserts that arguments which are valid under the concealed schema are valid under the original one once `user`,
/// who has what was hidden and nothing else, has filled them.
fn valid_once_filled(
    user: &UserVault,
    [schema, concealed]: [&Value; 2],
    well_formed: bool,
    report: &Concealment,
    choices: &[Vec<u8>],
) {
    let Ok(original) = jsonschema::validator_for(schema) else {
        return;
    };
    let Ok(shown) = jsonschema::validator_for(concealed) else {
        // A schema that is malformed where its draft does not look may, once concealed, be malformed where it does
        // look. This includes a reference to nothing below a keyword that its draft does not have.
        assert!(
            !(well_formed && is_schema_of_the_newest_draft(schema)),
            "no schema any more:\n{schema}\n{concealed}"
        );
        return;
    };
    let choices = choices.iter().take(8).map(Vec::as_slice);
    for choices in choices.chain([&[][..]]) {
        let given = arguments(concealed, choices);
        let before = Value::Object(given.clone());
        let mut hidden = report.hidden().iter().chain(report.removed_parents());
        let holds_one = hidden.any(|location| {
            let value = before.pointer(location.as_pointer());
            value.is_some_and(|value| !value.is_null())
        });
        if holds_one || !shown.is_valid(&before) {
            continue;
        }
        let mut args = given;
        let call = ToolCall::new("tool").with_schema(schema);
        let injection = user.inject(&call, &mut args);
        let injection =
            injection.unwrap_or_else(|error| panic!("{error}: {before}\n{schema}\n{concealed}"));
        assert_eq!(injection.filled().len(), report.hidden().len());
        let after = Value::Object(args);
        assert!(
            original.is_valid(&after),
            "{before} is valid, {after} is not:\n{schema}\n{concealed}\n{report:?}"
        );
    }
}
