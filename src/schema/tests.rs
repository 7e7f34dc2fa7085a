use serde_json::json;

use super::*;

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn what_is_declared() {
    use Declaration::{NoString, NotDeclared, String};
    let string = json!({"type": "string"});
    let integer = json!({"type": "integer"});
    let token = |schema: &Value| json!({"properties": {"token": schema}});
    let nest = |keyword: &str, mut schema: Value| {
        for _ in 0..300 {
            schema = json!({keyword: [schema]});
        }
        schema
    };
    let chain: Map<_, Value> = (0..300)
        .map(|i| (i.to_string(), json!({"$ref": format!("#/$defs/{}", i + 1)})))
        .chain([("300".to_owned(), string.clone())])
        .collect();
    let deep = |token: &str| format!("/{token}").repeat(60);
    for (expected, location, schema) in [
        (String, "token", token(&string)),
        (String, "token", token(&json!({}))),
        (String, "token", token(&json!(true))),
        (NoString, "token", token(&json!(false))),
        (NoString, "token", token(&integer)),
        (NoString, "token", token(&json!({"type": "text"}))),
        (
            NoString,
            "token",
            json!({"allOf": [token(&string), {"type": "array"}]}),
        ),
        (
            NoString,
            "token",
            json!({"anyOf": [{"allOf": [token(&string), token(&integer)]}, {"type": "object"}]}),
        ),
        // The name of the definition is `~1`.
        (
            String,
            "token",
            json!({
                "properties": {"token": {"$ref": "#/$defs/~01"}},
                "$defs": {"~1": string, "/": integer},
            }),
        ),
        (NoString, "token", token(&json!("string"))),
        (String, "token", token(&json!({"type": ["null", "string"]}))),
        (
            NoString,
            "token",
            token(&json!({"type": ["null", "array"]})),
        ),
        (String, "token", token(&json!({"enum": [1, "a"]}))),
        (NoString, "token", token(&json!({"enum": [1, null]}))),
        (
            NoString,
            "token",
            token(&json!({"enum": ["a"], "type": "integer"})),
        ),
        (NoString, "token", token(&json!({"const": {}}))),
        (
            String,
            "token",
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"token": {"const": {}}}}),
        ),
        (String, "token", token(&json!({"pattern": "^x$"}))),
        (
            String,
            "token",
            token(&json!({"anyOf": [string, {"type": "null"}]})),
        ),
        (
            NoString,
            "token",
            token(&json!({"oneOf": [integer, {"type": "null"}]})),
        ),
        (
            NoString,
            "token",
            token(&json!({"allOf": [string, integer]})),
        ),
        (NoString, "token", token(&json!({"not": string}))),
        (String, "token", token(&json!({"not": {"const": "a"}}))),
        (NoString, "token", token(&json!({"not": {}}))),
        (
            NotDeclared,
            "token",
            json!({"properties": {"other": string}}),
        ),
        (
            NotDeclared,
            "token",
            json!({"additionalProperties": string}),
        ),
        (
            NotDeclared,
            "token",
            json!({"patternProperties": {"token": string}}),
        ),
        (
            NotDeclared,
            "token",
            json!({"if": {}, "then": token(&string)}),
        ),
        (
            NotDeclared,
            "token",
            json!({"dependentSchemas": {"a": token(&string)}}),
        ),
        (NotDeclared, "token", json!({"required": ["token"]})),
        (
            String,
            "token",
            json!({"allOf": [token(&string), {"required": ["a"]}]}),
        ),
        (
            NoString,
            "token",
            json!({"allOf": [token(&string), token(&integer)]}),
        ),
        (
            NoString,
            "token",
            json!({"allOf": [token(&string), {"additionalProperties": false}]}),
        ),
        (
            String,
            "token",
            json!({"allOf": [token(&string), {"additionalProperties": false, "patternProperties": {"^t": {}}}]}),
        ),
        (
            String,
            "token",
            json!({"anyOf": [token(&integer), token(&string)]}),
        ),
        (NoString, "token", json!({"anyOf": [token(&integer), {}]})),
        (
            String,
            "token",
            json!({"anyOf": [token(&integer), {}], "properties": {"token": {}}}),
        ),
        (
            NoString,
            "token",
            json!({"anyOf": [token(&integer)], "properties": {"token": {}}}),
        ),
        (
            NotDeclared,
            "token",
            json!({"type": "array", "properties": {"token": string}}),
        ),
        (
            NotDeclared,
            "token",
            json!({"not": {"type": "object"}, "properties": {"token": string}}),
        ),
        (
            NotDeclared,
            "token",
            json!({"anyOf": [{"not": {}, "properties": {"token": string}}, {}]}),
        ),
        (
            NotDeclared,
            "token",
            json!({"anyOf": [{"not": true, "properties": {"token": string}}, {}]}),
        ),
        (
            String,
            "token",
            json!({"not": {"type": "array"}, "properties": {"token": string}}),
        ),
        (
            String,
            "token",
            json!({"not": {"type": "object", "required": ["a"]}, "properties": {"token": string}}),
        ),
        (
            String,
            "/a/b",
            json!({"properties": {"a": {"properties": {"b": string}}}}),
        ),
        (
            NotDeclared,
            "/a/b",
            json!({"properties": {"a": {"type": "object"}}}),
        ),
        (NotDeclared, "/a/b", json!({"properties": {"a": true}})),
        (
            String,
            "/a/b",
            json!({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"properties": {"b": string}}}}),
        ),
        (
            String,
            "/a/a/a/b",
            json!({"properties": {"a": {"$ref": "#"}, "b": string}}),
        ),
        (
            String,
            "/a/a/a/b",
            json!({"properties": {"a": {"$ref": ""}, "b": string}}),
        ),
        (
            String,
            "token",
            json!({"$ref": "#/x%20y/0", "x y": [token(&string)]}),
        ),
        (NotDeclared, "token", json!({"$ref": "#/%zz"})),
        (NotDeclared, "token", json!({"$ref": "#"})),
        (
            NotDeclared,
            "token",
            json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        ),
        (
            NoString,
            "token",
            token(&json!({"$ref": "https://example.com/"})),
        ),
        (
            String,
            "token",
            json!({"$ref": "https://example.com/", "properties": {"token": string}}),
        ),
        (
            NotDeclared,
            "token",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/A", "definitions": {"A": {}}, "properties": {"token": string}}),
        ),
        (
            String,
            "/a/0",
            json!({"properties": {"a": {"items": string}}}),
        ),
        (
            NotDeclared,
            "/a/0",
            json!({"properties": {"a": {"not": {"type": "array"}, "items": string}}}),
        ),
        (
            String,
            "/a/7",
            json!({"properties": {"a": {"type": ["array", "null"], "items": string}}}),
        ),
        (
            NoString,
            "/a/0",
            json!({"properties": {"a": {"prefixItems": [integer], "items": string}}}),
        ),
        (
            String,
            "/a/1",
            json!({"properties": {"a": {"prefixItems": [integer], "items": string}}}),
        ),
        (
            String,
            "/a/1",
            json!({"properties": {"a": {"items": [integer, string]}}}),
        ),
        (
            NotDeclared,
            "/a/2",
            json!({"properties": {"a": {"items": [integer, string]}}}),
        ),
        (
            String,
            "/a/2",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"items": [integer, integer], "additionalItems": string}}}),
        ),
        (
            NotDeclared,
            "/a/01",
            json!({"properties": {"a": {"items": string}}}),
        ),
        (
            NotDeclared,
            "/a/x",
            json!({"properties": {"a": {"items": string}}}),
        ),
        (
            String,
            "/a/0",
            json!({"properties": {"a": {"type": "object", "properties": {"0": string}}}}),
        ),
        (NotDeclared, "token", json!(["token"])),
        (
            NotDeclared,
            "token",
            json!({"properties": ["token"], "allOf": {}, "anyOf": 1, "$ref": []}),
        ),
        (NotDeclared, "token", nest("allOf", token(&string))),
        (NotDeclared, "token", nest("anyOf", token(&string))),
        (NoString, "token", token(&nest("allOf", string.clone()))),
        (NoString, "token", token(&nest("anyOf", string.clone()))),
        (
            NoString,
            "token",
            json!({"properties": {"token": {"$ref": "#/$defs/0"}}, "$defs": chain}),
        ),
        (
            NotDeclared,
            &*deep("a"),
            json!({"properties": {"a": {"$ref": "#"}}}),
        ),
        (NotDeclared, &*deep("0"), json!({"items": {"$ref": "#"}})),
    ] {
        let location = Location::new(location).unwrap();
        assert_eq!(
            declares(&schema, &location),
            expected,
            "{location} {schema}"
        );
    }
}

#[test]
fn where_an_object_may_be_made() {
    let schema = json!({"properties": {
        "object": {"type": ["object", "null"]},
        "any": {},
        "string": {"type": "string"},
        "optional": {"anyOf": [{"properties": {"inner": {"type": "object"}}}, {"type": "null"}]},
    }});
    for (expected, tokens) in [
        (true, &["object"][..]),
        (true, &["any"]),
        (false, &["string"]),
        (true, &["optional"]),
        (true, &["optional", "inner"]),
        (false, &["optional", "other"]),
        (false, &["missing"]),
    ] {
        let tokens: Vec<Box<str>> = tokens.iter().map(|&token| token.into()).collect();
        let location = Location::from_tokens(tokens);
        let place = Place::of(&location);
        assert_eq!(allows_object(&schema, place), expected, "{location}");
    }
}

#[test]
fn a_schema_that_stands_for_a_huge_one_is_given_up() {
    let mut definitions = Map::new();
    for i in 0..60 {
        let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
        definitions.insert(format!("d{i}"), json!({"allOf": [next, next]}));
    }
    definitions.insert("d60".to_owned(), json!({"properties": {"token": {}}}));
    let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let location = Location::new("token").unwrap();
    assert_eq!(declares(&schema, &location), Declaration::NotDeclared);
}

#[test]
fn a_value_is_measured_up_to_a_size_and_a_depth() {
    let text = |bytes: usize| "x".repeat(bytes);
    let nothing = measure(&json!([]), u64::MAX, usize::MAX).unwrap();
    for (units, levels, value) in [
        (1, 1, json!(null)),
        (1, 1, json!(7)),
        (1, 1, json!(text(31))),
        (2, 1, json!(text(32))),
        (3, 1, json!(text(64))),
        (1, 1, json!([])),
        (3, 2, json!([1, 2])),
        (4, 1, json!({})),
        (5, 2, json!({"a": 1})),
        (7, 2, json!({text(64): 1})),
        (12, 3, json!({"a": {}, "b": [1, "c"], "d": 2})),
    ] {
        let (all, value) = (nothing + units, json!([value]));
        let found = |units, levels| measure(&value, units, levels);
        assert_eq!(found(u64::MAX, usize::MAX), Some(all), "{value}");
        assert_eq!(found(all, levels), Some(all), "{value}");
        assert_eq!(found(all - 1, levels), None, "{value}");
        assert_eq!(found(all, levels - 1), None, "{value}");
    }
}

/// The units that a question takes, and its answer.
fn ask(schema: &Value) -> (u64, Declaration) {
    let location = Location::new("token").unwrap();
    let budget = Budget::new(u64::MAX);
    let answer = declares_within(schema, &location, &budget);
    assert_eq!(declares(schema, &location), answer);
    (u64::MAX - budget.left(), answer)
}

#[test]
fn a_long_reference_costs_its_length() {
    let question = |bytes: usize| {
        let reference = json!({"$ref": format!("#/$defs/{}", "%41".repeat(bytes / 3))});
        ask(&json!({
            "properties": {"token": {"type": "string"}},
            "allOf": [reference],
            "$defs": {"A".repeat(bytes / 3): {"title": "A"}},
        }))
    };
    assert_eq!(question(30).1, Declaration::String);
    let (units, answer) = question(30_000);
    assert_eq!(answer, Declaration::String);
    assert!(units > 30_000 / 8);
    assert_eq!(question(300_000).1, Declaration::NoString, "too long");
}

#[test]
fn a_question_costs_no_more_than_its_fuel() {
    let name = "A".repeat(1_000);
    let long = json!({"$ref": format!("#/$defs/{}", "%41".repeat(1_000))});
    let values = vec![json!(1); 2_000];
    let listed = json!({"$ref": "#/$defs/listed"});
    let schema = json!({
        "properties": {"token": {"type": "string"}},
        "allOf": [long, listed],
        "$defs": {
            name: {"allOf": [long, long]},
            "listed": {"enum": values, "anyOf": [listed, listed]},
        },
    });
    let (units, answer) = ask(&schema);
    assert_eq!(answer, Declaration::NoString);
    // The last step may be one that exceeds the fuel; it is not done.
    assert!(units < FUEL + 1_000, "{units}");
}

/// Below the schema in which the fuel runs out there can be many more, and each is met again on the way back.
#[test]
fn once_the_fuel_is_spent_keywords_are_not_even_counted() {
    let large: Map<String, Value> = (0..40).map(|i| (format!("k{i}"), json!(0))).collect();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let mut branches = vec![json!({"$ref": "#/$defs/x"})];
        branches.extend(vec![Value::Object(large.clone()); 200]);
        let schema = json!({
            "properties": {"token": {"type": "string"}},
            "$ref": "#/$defs/x",
            "$defs": {"x": {keyword: branches}},
        });
        let (units, _) = ask(&schema);
        assert!(units < FUEL + 100, "{keyword}: {units}");
    }
}

#[test]
fn what_is_gone_through_again_and_again_is_counted_each_time() {
    let kinds = |count: usize, last: &'static str| {
        let mut names = vec!["null"; count];
        names.push(last);
        names
    };
    let texts = |count: usize| -> Vec<String> { (0..count).map(|i| i.to_string()).collect() };
    let members = |count: usize, member: Value| -> Map<String, Value> {
        let names = texts(count).into_iter();
        names.map(|name| (name, member.clone())).collect()
    };
    let shapes: [(&str, &dyn Fn(usize) -> Value); 11] = [
        ("keywords", &|n| members(n, json!(1)).into()),
        ("type", &|n| json!({"type": kinds(n, "string")})),
        ("enum", &|n| json!({"enum": texts(n)})),
        ("required", &|n| json!({"required": texts(n)})),
        ("allOf", &|n| json!({"allOf": vec![true; n]})),
        ("anyOf", &|n| json!({"anyOf": vec![true; n]})),
        (
            "patternProperties",
            &|n| json!({"patternProperties": members(n, json!({}))}),
        ),
        (
            "a type in not",
            &|n| json!({"not": {"type": kinds(n, "array")}}),
        ),
        ("keywords in not", &|n| json!({"not": members(n, json!(1))})),
        (
            "dependentRequired",
            &|n| json!({"dependentRequired": {"a": texts(n)}}),
        ),
        (
            "dependencies",
            &|n| json!({"dependencies": members(n, json!([]))}),
        ),
    ];
    for (name, shape) in shapes {
        let question = |count: usize| {
            ask(&json!({
                "properties": {"token": {"allOf": vec![json!({"$ref": "#/$defs/x"}); 20]}},
                "$defs": {"x": shape(count)},
            }))
        };
        let (few, answer) = question(10);
        assert_eq!(answer, Declaration::String, "{name}");
        let (many, answer) = question(1_000);
        assert_eq!(answer, Declaration::String, "{name}");
        assert!(many - few > 20 * 900 / 4, "{name}: {few}, {many}");
        assert_eq!(question(40_000).1, Declaration::NoString, "{name}");
    }
}

/// A list can hold thousands of small schemas that stand for huge ones.
#[test]
fn a_question_about_a_small_schema_costs_little() {
    for keyword in ["allOf", "anyOf"] {
        let [a, b] = ["a", "b"].map(|name| json!({"$ref": format!("#/$defs/{name}")}));
        let schema = json!({
            "$ref": "#/$defs/a",
            "properties": {"token": {"type": "string"}},
            "$defs": {"a": {keyword: [b, b]}, "b": {keyword: [a, a]}},
        });
        let size = measure(&schema, u64::MAX, usize::MAX).unwrap();
        let (units, answer) = ask(&schema);
        assert_ne!(answer, Declaration::String);
        // What is refused once the fuel is spent is counted as well.
        assert!(units < LEAST.max(EACH * size) + 1_000, "{units}");
    }
    // One that is gone through several times for each of its parts is not given up.
    let shared = json!({"$ref": "#/$defs/shared"});
    let schema = json!({
        "anyOf": vec![shared; 500],
        "$defs": {"shared": {"properties": {"token": {"type": "string"}, "other": {}}}},
    });
    let (units, answer) = ask(&schema);
    assert!(units > LEAST, "{units}");
    assert_eq!(answer, Declaration::String);
}
