//! `tests/conceal.toml` says what becomes of given schemas. The properties are checked on random schemas, with the
//! `jsonschema` crate as the judge of what is valid: on a few by default, and on `PROPTEST_CASES` of them if that is
//! set.

mod generate;
mod work;

use std::{collections::HashSet, fmt::Write, ptr};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::generate::Entropy;
use super::*;
use crate::schema::{Place, allows_object, branches, resolve};

/// The bound on values in these tests; `generate` puts lengths around it into schemas.
const MAX_CHARS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    case: Vec<Case>,
}

/// One case of `tests/conceal.toml`, which says what the fields mean.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    schema: String,
    locations: Vec<String>,
    concealed: Option<String>,
    #[serde(default)]
    hidden: Vec<String>,
    #[serde(default)]
    removed_parents: Vec<String>,
    #[serde(default)]
    kept: Vec<String>,
    #[serde(default = "usual_bound")]
    max_value_chars: usize,
}

fn usual_bound() -> usize {
    1024
}

#[test]
fn the_suite() {
    let suite: Suite = toml::from_str(include_str!("../../tests/conceal.toml")).unwrap();
    assert!(suite.case.len() >= 60, "{} cases", suite.case.len());
    let mut failures = String::new();
    for case in suite.case {
        let parse = |json: &str| -> Value {
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{}: {error}", case.name))
        };
        let original = parse(&case.schema);
        let locations: Vec<Location> = case
            .locations
            .iter()
            .map(|location| Location::new(location).unwrap())
            .collect();
        let mut concealed = original.clone();
        let report = conceal(&mut concealed, &locations, case.max_value_chars);
        let expected = case.concealed.as_deref().map_or(original, parse);
        let kept: Vec<String> = report
            .kept()
            .iter()
            .map(|kept| {
                let json = serde_json::to_value(kept).unwrap();
                let keyword = json["keyword"].as_str();
                assert_eq!(kept.reason().keyword(), keyword, "{}", case.name);
                let (text, place) = (kept.to_string(), kept.location());
                assert!(text.starts_with(&format!("{place}: ")), "{text}");
                let quoted = keyword.map_or_else(String::new, |keyword| format!(" (`{keyword}`)"));
                assert!(
                    text.ends_with(&quoted) && text.len() > place.to_string().len() + 20,
                    "{text}"
                );
                ["location", "reason", "keyword"]
                    .iter()
                    .filter_map(|field| json[field].as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        let pointers = |locations: &[Location]| -> Vec<String> {
            locations
                .iter()
                .map(|location| location.as_pointer().to_owned())
                .collect()
        };
        let found = (
            &concealed,
            pointers(report.hidden()),
            pointers(report.removed_parents()),
            kept,
        );
        let wanted = (&expected, case.hidden, case.removed_parents, case.kept);
        if found != wanted {
            let _ = writeln!(
                failures,
                "{}\n  found  {} {:?}\n  wanted {} {:?}",
                case.name,
                found.0,
                (found.1, found.2, found.3),
                wanted.0,
                (wanted.1, wanted.2, wanted.3),
            );
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// A model may be asked for what is left, unless nothing declares it.
#[test]
fn only_what_no_part_declares_may_be_left_when_all_is_concealed() {
    let then = |property: &str| {
        let then = json!({"properties": {property: {"type": "string"}}});
        json!({"properties": {"q": {}}, "if": {"required": ["q"]}, "then": then})
    };
    for (mut schema, is_complete) in [
        (json!({"properties": {"token": {"type": "string"}}}), true),
        (then("other"), true),
        (then("token"), false),
        (json!({"properties": {"token": {"type": "integer"}}}), false),
    ] {
        let report = conceal(&mut schema, &[Location::new("token").unwrap()], MAX_CHARS);
        assert_eq!(report.is_complete(), is_complete, "{schema}");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_valid_concealed_is_valid_once_filled(bytes in entropy()) {
        check(&mut Entropy::new(&bytes));
    }

    #[test]
    fn anything_at_all_is_no_reason_to_panic(bytes in entropy()) {
        let mut entropy = Entropy::new(&bytes);
        let schema = entropy.json_like_a_schema(5);
        let locations = entropy.locations(&schema);
        let mut concealed = schema.clone();
        let report = conceal(&mut concealed, &locations, MAX_CHARS);
        for location in report.hidden() {
            prop_assert_eq!(declares(&schema, location), Declaration::String);
            prop_assert_eq!(declares(&concealed, location), Declaration::NotDeclared);
        }
        if report.hidden().is_empty() {
            prop_assert_eq!(concealed, schema);
        }
    }
}

fn config() -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default()
    } else {
        ProptestConfig::with_cases(96)
    }
}

fn entropy() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..2500)
}

/// The random checks above are useful only if they reach hidden locations with valid arguments.
#[test]
fn the_random_checks_are_not_vacuous() {
    let mut tally = Tally::default();
    let mut state = 1_u64;
    for _ in 0..250 {
        let bytes: Vec<u8> = (0..2500)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        tally = tally.plus(check(&mut Entropy::new(&bytes)));
    }
    assert!(tally.hidden > 80, "{tally:?}");
    assert!(tally.nested > 30, "{tally:?}");
    assert!(tally.kept > 80, "{tally:?}");
    assert!(tally.filled > 700, "{tally:?}");
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    hidden: usize,
    nested: usize,
    kept: usize,
    /// Arguments that were valid under the concealed schema.
    filled: usize,
}

impl Tally {
    fn plus(self, other: Tally) -> Tally {
        Tally {
            hidden: self.hidden + other.hidden,
            nested: self.nested + other.nested,
            kept: self.kept + other.kept,
            filled: self.filled + other.filled,
        }
    }
}

/// Checks every property on one schema.
fn check(entropy: &mut Entropy<'_>) -> Tally {
    let original = entropy.schema();
    let locations = entropy.locations(&original);
    let mut tally = Tally::default();
    let Ok(valid_before) = jsonschema::validator_for(&original) else {
        return tally;
    };
    let mut concealed = original.clone();
    let report = conceal(&mut concealed, &locations, MAX_CHARS);
    let context = || format!("{original}\n{concealed}\n{report:?}");

    tally.hidden = report.hidden().len();
    tally.kept = report.kept().len();
    assert_reported_once(&report, &locations);
    for location in report.hidden() {
        let (parents, nested) = (location.tokens().len() - 1, location.tokens().len() > 1);
        tally.nested += usize::from(nested);
        assert_eq!(declares(&original, location), Declaration::String);
        assert_eq!(
            declares(&concealed, location),
            Declaration::NotDeclared,
            "{}",
            context()
        );
        for parent in 1..=parents {
            assert!(allows_object(&original, Place::of(location).parent(parent)));
        }
    }
    for kept in report.kept() {
        let gone = report.removed_parents().contains(kept.location());
        if kept.reason() != KeptReason::InsideAnother && !gone {
            let shown = |schema| declares(schema, kept.location()) != Declaration::NotDeclared;
            assert!(shown(&concealed) || !shown(&original), "{}", context());
            let takes_string = declares(&original, kept.location()) == Declaration::String;
            let nothing_is_put_in = matches!(
                kept.reason(),
                KeptReason::NotDeclared | KeptReason::NotAString | KeptReason::MayBeDeclared(_)
            );
            assert_ne!(takes_string, nothing_is_put_in, "{}", context());
        }
    }
    if report.hidden().is_empty() {
        assert_eq!(concealed, original);
    }
    let mut again = concealed.clone();
    // A schema that depended on a hidden property now holds always, and may declare what was not declared before.
    let bound = locations
        .iter()
        .filter(|location| declares(&original, location) == Declaration::String);
    let second = conceal(&mut again, bound, MAX_CHARS);
    assert_eq!(again, concealed, "not idempotent: {}", context());
    assert_eq!(second.hidden(), []);

    let valid_after = jsonschema::validator_for(&concealed)
        .unwrap_or_else(|error| panic!("no schema any more: {error}\n{}", context()));
    if is_circular(&original) {
        return tally;
    }
    for _ in 0..40 {
        let mut arguments = entropy.arguments(&concealed);
        let holds_one = report
            .hidden()
            .iter()
            .chain(report.removed_parents())
            .any(|location| {
                let value = arguments.pointer(location.as_pointer());
                value.is_some_and(|value| !value.is_null())
            });
        if holds_one || !valid_after.is_valid(&arguments) {
            continue;
        }
        let given = arguments.clone();
        for location in report.hidden() {
            fill(&mut arguments, location.tokens(), entropy.secret(MAX_CHARS))
                .unwrap_or_else(|| panic!("{location} does not fit {given}: {}", context()));
        }
        assert!(
            valid_before.is_valid(&arguments),
            "{given} is valid, {arguments} is not:\n{}",
            context()
        );
        tally.filled += usize::from(!report.hidden().is_empty());
    }
    tally
}

/// Whether some schema leads back to itself for the same value, for example through `not`, so that validity is
/// undefined (2020-12, Core §9.4.1).
fn is_circular(root: &Value) -> bool {
    let mut done = HashSet::new();
    let mut pending = vec![root];
    while let Some(value) = pending.pop() {
        if leads_back(root, value, &mut Vec::new(), &mut done) {
            return true;
        }
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(members) => pending.extend(members.values()),
            _ => {}
        }
    }
    false
}

fn leads_back<'a>(
    root: &'a Value,
    schema: &'a Value,
    outer: &mut Vec<&'a Value>,
    done: &mut HashSet<*const Value>,
) -> bool {
    if outer.iter().any(|outer| ptr::eq(*outer, schema)) {
        return true;
    }
    let Some(node) = schema.as_object() else {
        return false;
    };
    if !done.insert(ptr::from_ref(schema)) {
        return false;
    }
    let target = node.get("$ref").and_then(|to| resolve(root, to));
    let keywords = ["allOf", "anyOf", "oneOf"].into_iter();
    let branches = keywords.flat_map(|keyword| branches(node, keyword));
    let keywords = ["not", "if", "then", "else"].into_iter();
    let single = keywords.filter_map(|keyword| node.get(keyword));
    let dependent = ["dependentSchemas", "dependencies"].into_iter();
    let dependent = dependent.filter_map(|keyword| node.get(keyword)?.as_object());
    let dependent = dependent.flat_map(Map::values);
    outer.push(schema);
    let circular = target
        .into_iter()
        .chain(branches)
        .chain(single)
        .chain(dependent)
        .any(|inner| leads_back(root, inner, outer, done));
    outer.pop();
    circular
}

fn assert_reported_once(report: &Concealment, locations: &[Location]) {
    let mut reported: Vec<&Location> = report.hidden().iter().collect();
    reported.extend(report.kept().iter().map(KeptLocation::location));
    reported.sort();
    let mut asked: Vec<&Location> = locations.iter().collect();
    asked.sort();
    asked.dedup();
    assert_eq!(reported, asked);
}

/// Puts a default in, as `inject` does: parents that are absent or null are made.
fn fill(mut place: &mut Value, tokens: &[Box<str>], secret: String) -> Option<()> {
    for token in tokens {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = place
            .as_object_mut()?
            .entry(&**token)
            .or_insert(Value::Null);
    }
    if place.is_null() {
        *place = secret.into();
    }
    Some(())
}
