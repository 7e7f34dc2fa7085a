//! Schemas that would cause a lot of work, and what becomes of them.

use serde_json::json;

use super::*;

/// Conceals the locations; returns the schema, and each location that is left with the reason.
fn concealed(schema: &Value, locations: &[&str]) -> (Value, Vec<(String, KeptReason)>) {
    let locations: Vec<Location> = locations
        .iter()
        .map(|location| Location::new(location).unwrap())
        .collect();
    let mut concealed = schema.clone();
    let report = conceal(&mut concealed, &locations, MAX_CHARS);
    let left = report
        .kept()
        .iter()
        .map(|left| (left.location().to_string(), left.reason()))
        .collect();
    (concealed, left)
}

fn size(schema: &Value) -> u64 {
    measure(schema, u64::MAX, usize::MAX).unwrap()
}

/// The units that an attempt to hide the location takes, and its failure, if any.
fn attempt(schema: &Value, location: &str) -> (u64, Option<KeptReason>) {
    let location = Location::new(location).unwrap();
    let work = Work::new(size(schema), 1);
    let before = work.total.left();
    let result = work.attempt(|budget| {
        hide(
            schema,
            &location,
            &BTreeSet::from([&location]),
            MAX_CHARS,
            budget,
        )
    });
    (before - work.total.left(), result.err())
}

#[test]
fn what_contains_its_reference_is_not_copied() {
    for count in [1, 2, 12, 16, 30, 300] {
        let references = vec![json!({"$ref": "#/properties"}); count];
        let schema = json!({"type": "object", "properties": {
            "headers": {"allOf": references},
            "properties": {"Authorization": {"type": "string"}},
        }});
        let location = "/headers/Authorization";
        let expected = vec![(location.to_owned(), KeptReason::SharedSchema)];
        assert_eq!(concealed(&schema, &[location]), (schema.clone(), expected));
        let (units, _) = attempt(&schema, location);
        assert!(units < 4 * size(&schema), "{units} units for {count}");
    }
}

/// Each branch holds the one before it twice, so it is twice as large once the references in it are replaced.
fn doubling(count: usize, members: usize) -> Value {
    let mut members: Map<String, Value> = (0..members)
        .map(|i| (format!("member{i}"), json!({})))
        .collect();
    members.insert("Authorization".to_owned(), json!({"type": "string"}));
    let mut branches = vec![json!({"properties": members})];
    for i in 1..count {
        let reference = json!({"$ref": format!("#/properties/headers/allOf/{}", i - 1)});
        branches.push(json!({"allOf": [reference, reference]}));
    }
    json!({"type": "object", "properties": {
        "headers": {"allOf": branches},
        "token": {"type": "string"},
        "q": {"type": "string"},
    }})
}

#[test]
fn copies_of_copies_are_given_up() {
    for (count, members) in [(9, 100), (9, 1000)] {
        let schema = doubling(count, members);
        let location = "/headers/Authorization";
        let (units, reason) = attempt(&schema, location);
        assert_eq!(reason, Some(KeptReason::TooComplex));
        assert!(units <= 50_000 + 16 * size(&schema));

        // The other locations are unaffected.
        let (without, left) = concealed(&schema, &[location, "token"]);
        assert_eq!(left, [(location.to_owned(), KeptReason::TooComplex)]);
        let mut expected = schema;
        let properties = expected["properties"].as_object_mut().unwrap();
        properties.remove("token");
        assert_eq!(without, expected);
    }
}

#[test]
fn a_call_gives_up_when_all_attempts_together_were_too_much() {
    let schema = doubling(9, 100);
    let work = Work::new(size(&schema), 1);
    let location = Location::new("/headers/Authorization").unwrap();
    let locations = BTreeSet::from([&location]);
    let mut attempts = 0;
    while !work.total.is_spent() {
        let batch = hide_most(&schema, &locations, MAX_CHARS, &work);
        assert_eq!(batch.failures[&location], KeptReason::TooComplex);
        attempts += 1;
    }
    assert!((2..30).contains(&attempts), "{attempts}");
    let token = Location::new("token").unwrap();
    let batch = hide_most(&schema, &BTreeSet::from([&token]), MAX_CHARS, &work);
    assert_eq!(batch.failures[&token], KeptReason::TooComplex);
    assert_eq!(batch.concealed, None);
}

#[test]
fn references_to_what_was_copied_are_mended_within_bounds() {
    // 60 references to the object that the property is hidden in: each needs a copy of all of it.
    let members: Map<String, Value> = (0..400).map(|i| (format!("m{i}"), json!({}))).collect();
    let mut properties: Map<String, Value> = (0..60)
        .map(|i| (format!("p{i}"), json!({"$ref": "#/properties/headers"})))
        .collect();
    properties.insert(
        "headers".to_owned(),
        json!({"type": "object", "properties": members}),
    );
    properties["headers"]["properties"]["Authorization"] = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": properties});
    let (after, left) = concealed(&schema, &["/headers/Authorization"]);
    assert_eq!(
        left,
        [("/headers/Authorization".to_owned(), KeptReason::TooComplex)]
    );
    assert_eq!(after, schema);
}

#[test]
fn work_is_linear_in_ordinary_schemas() {
    let ordinary = |count: usize| {
        let shared: Map<String, Value> = (0..count)
            .map(|i| {
                (
                    format!("field{i}"),
                    json!({"type": "string", "title": "Field"}),
                )
            })
            .collect();
        let mut properties: Map<String, Value> = (0..count)
            .map(|i| (format!("p{i}"), json!({"$ref": "#/$defs/Shared"})))
            .collect();
        properties.insert("headers".to_owned(), json!({"$ref": "#/$defs/Headers"}));
        json!({"type": "object", "properties": properties, "$defs": {
            "Shared": {"type": "object", "properties": shared},
            "Headers": {"type": "object", "properties": {"Authorization": {"type": "string"}}},
        }})
    };
    for count in [10, 100, 1000] {
        let schema = ordinary(count);
        let (units, reason) = attempt(&schema, "/headers/Authorization");
        assert_eq!(reason, None);
        assert!(units < 10 * size(&schema), "{units} units for {count}");
    }
}

#[test]
fn lists_of_dependent_properties_are_paid_for_each_time() {
    for keyword in ["dependentRequired", "dependencies"] {
        let schema = |count: usize| {
            let names: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
            json!({
                "type": "object",
                "properties": {"token": {"type": "string"}, "q": {"type": "string"}},
                "anyOf": vec![json!({"$ref": "#/$defs/x"}); 400],
                "$defs": {"x": {keyword: {"q": names}}},
            })
        };
        let (few, reason) = attempt(&schema(10), "token");
        assert_eq!(reason, None);
        let (more, reason) = attempt(&schema(100), "token");
        assert_eq!(reason, None);
        assert!(more - few > 400 * 90 / 4, "{keyword}: {few}, {more}");
        let (_, reason) = attempt(&schema(20_000), "token");
        assert_ne!(reason, None, "{keyword}: too much to look at");
    }
}

#[test]
fn many_locations_of_a_large_schema_are_hidden() {
    let properties: Map<String, Value> = (0..400)
        .map(|i| (format!("p{i}"), json!({"type": "string"})))
        .collect();
    let schema = json!({"type": "object", "properties": properties});
    let locations: Vec<String> = (0..30).map(|i| format!("p{i}")).collect();
    let locations: Vec<&str> = locations.iter().map(|location| &**location).collect();
    let (after, left) = concealed(&schema, &locations);
    assert_eq!(left, []);
    assert_eq!(after["properties"].as_object().unwrap().len(), 370);
}

#[test]
fn a_long_reference_is_not_decoded_again_and_again() {
    let schema = |bytes: usize, again: bool| {
        let reference = json!({"$ref": format!("#/$defs/{}", "%41".repeat(bytes / 3))});
        let branches = if again {
            vec![reference.clone(); 2]
        } else {
            vec![]
        };
        json!({
            "type": "object",
            "properties": {"token": {"type": "string"}, "q": {"type": "string"}},
            "allOf": [reference],
            "$defs": {"A".repeat(bytes / 3): {"allOf": branches}},
        })
    };
    let reasons = |schema: &Value| {
        let (after, left) = concealed(schema, &["token"]);
        assert_eq!(after == *schema, !left.is_empty());
        left.into_iter().map(|(_, reason)| reason).next()
    };
    assert_eq!(reasons(&schema(30_000, false)), None);
    // `inject` cannot find this out either, and so puts nothing in.
    for bytes in [30, 30_000, 300_000] {
        assert_eq!(
            reasons(&schema(bytes, true)),
            Some(KeptReason::MayBeDeclared("$ref"))
        );
    }
    assert_eq!(
        reasons(&schema(300_000, false)),
        Some(KeptReason::MayBeDeclared("$ref"))
    );
}

/// Puts `inner` into as many schemas as `levels` says, each of which has the one inside under `keyword`.
fn nested(keyword: &str, levels: usize, inner: Value) -> Value {
    (0..levels).fold(inner, |inner, _| match keyword {
        "allOf" => json!({"allOf": [inner]}),
        "dependentSchemas" => json!({"dependentSchemas": {"a": inner}}),
        _ => json!({keyword: inner}),
    })
}

#[test]
fn no_more_references_are_replaced_than_anyone_uses() {
    for (count, expected) in [(32, None), (33, Some(KeptReason::TooComplex))] {
        let schema = json!({
            "type": "object",
            "properties": {"q": {"type": "string"}},
            "allOf": vec![json!({"$ref": "#/$defs/x"}); count],
            "$defs": {"x": {"properties": {"token": {"type": "string"}}}},
        });
        assert_eq!(attempt(&schema, "token").1, expected, "{count}");
    }
}

#[test]
fn what_applies_is_not_followed_deeper_than_anyone_nests() {
    for (levels, expected) in [(64, None), (65, Some(KeptReason::TooComplex))] {
        let inner = json!({"properties": {"token": {"type": "string"}}});
        let mut schema = nested("allOf", levels, inner);
        schema["properties"] = json!({"q": {"type": "string"}});
        assert_eq!(attempt(&schema, "token").1, expected, "{levels}");
    }
}

/// What is left of a schema is asked one more question, which may take more than looking at each target once.
#[test]
fn what_cannot_be_looked_at_afterwards_is_not_hidden() {
    for (count, expected) in [(10, None), (60, Some(KeptReason::TooComplex))] {
        let references = vec![json!({"$ref": "#/$defs/x"}); count];
        let schema = json!({
            "type": "object",
            "properties": {"token": {"type": "string"}, "q": {"type": "string"}},
            "anyOf": [{}, {"allOf": references}],
            "$defs": {"x": {"anyOf": vec![json!({"title": "x"}); 400]}},
        });
        let token = Location::new("token").unwrap();
        assert_eq!(declares(&schema, &token), Declaration::String);
        assert_eq!(attempt(&schema, "token").1, expected, "{count}");
    }
}

#[test]
fn a_condition_that_is_too_deep_to_look_at_stands_in_the_way() {
    let conditional = Some(KeptReason::ConditionalSchema("not"));
    for (levels, expected) in [(90, None), (110, conditional)] {
        let chain: Map<String, Value> = (0..levels)
            .map(|i| {
                let next = json!({"$ref": format!("#/$defs/{}", i + 1)});
                (i.to_string(), next)
            })
            .chain([(levels.to_string(), json!({}))])
            .collect();
        for condition in [
            nested("not", levels, json!({})),
            nested("allOf", levels, json!({})),
            nested("dependentSchemas", levels, json!({})),
            json!({"$ref": "#/$defs/0"}),
        ] {
            let schema = json!({
                "type": "object",
                "properties": {"token": {"type": "string"}, "q": {"type": "string"}},
                "not": condition,
                "$defs": chain,
            });
            assert_eq!(attempt(&schema, "token").1, expected, "{levels}");
        }
    }
}

#[test]
fn a_condition_on_a_value_that_is_too_deep_to_look_at_stands_in_the_way() {
    let constrained = Some(KeptReason::ConstrainedValue("if"));
    for (levels, expected) in [(90, None), (110, constrained)] {
        for keyword in ["then", "else"] {
            let wrap = |inner, _| json!({"if": {}, keyword: inner});
            let mut token = (0..levels).fold(json!({}), wrap);
            token["type"] = json!("string");
            let schema = json!({"type": "object", "properties": {"token": token, "q": {}}});
            assert_eq!(attempt(&schema, "token").1, expected, "{levels} {keyword}");
        }
    }
}

/// `clone`, `==` and dropping would overflow the stack on such a `Value`, so the test does none of them.
#[test]
fn depth_is_found_out_without_recursion() {
    let wrap = |mut inner: Value, levels: usize| {
        for _ in 0..levels {
            inner = Value::Array(vec![inner]);
        }
        inner
    };
    for (levels, expected) in [
        (MAX_LEVELS - 1, None),
        (100_000, Some(KeptReason::TooComplex)),
    ] {
        let mut schema = json!({"properties": {"token": {"type": "string"}}});
        schema["x-notes"] = wrap(Value::Null, levels);
        let token = Location::new("token").unwrap();
        let report = conceal(&mut schema, [&token], MAX_CHARS);
        assert_eq!(report.kept().first().map(KeptLocation::reason), expected);
        assert_eq!(
            schema["properties"].get("token").is_some(),
            expected.is_some()
        );

        let mut inner = schema["x-notes"].take();
        while let Value::Array(mut items) = inner {
            inner = items.pop().unwrap_or_default();
        }
    }
}
