//! What a check of secrets against tools finds, as a table in `check.toml`, and what must hold for every check.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use keyward::{
    InjectionPolicy, NewSecret, Quota, ToolCall, UserId, UserVault, Vault,
    check::{Finding, Report, ToolSpec},
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wildmatch::WildMatch;

#[derive(Deserialize)]
struct Suite {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    real: bool,
    supplied: Option<String>,
    /// The codes to look at; all of them if absent.
    only: Option<Vec<String>>,
    #[serde(default)]
    findings: Vec<String>,
}

type Tool = (String, Option<Value>);

/// A user with these secrets; every value has `value-of` in it.
fn user(secrets: &[String], supplied: Option<&str>) -> UserVault {
    let mut policy = InjectionPolicy::default();
    match supplied {
        None => {}
        Some("replace") => policy = policy.replace_supplied(),
        Some("refuse") => policy = policy.refuse_supplied(),
        Some(other) => panic!("{other} is no policy"),
    }
    let vault = Vault::builder().injection_policy(policy).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    for text in secrets {
        let parts: Vec<&str> = text.split(' ').collect();
        let mut secret = NewSecret::new(parts[0], format!("value-of-{}", parts[0]));
        if parts[1] != "-" {
            secret = secret.tool_pattern(parts[1]);
        }
        if parts[2] != "-" {
            secret = secret.location(parts[2]);
        }
        if parts.get(3) == Some(&"default") {
            secret = secret.default_for_tool();
        }
        user.create(secret).unwrap();
    }
    user
}

fn tool(text: &str) -> Tool {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let schema = match rest {
        "?" => None,
        _ if rest.starts_with('{') => Some(serde_json::from_str(rest).expect("a schema")),
        _ => Some(schema(rest.split_whitespace())),
    };
    (name.to_owned(), schema)
}

fn schema<'a>(arguments: impl Iterator<Item = &'a str>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for argument in arguments {
        let name = argument.trim_end_matches('!');
        properties.insert(name.to_owned(), json!({"type": "string"}));
        if argument.ends_with('!') {
            required.push(name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// The names and arguments of tools of real frameworks; for a toolkit, with the key that it is configured with.
fn real_tools() -> Vec<Tool> {
    #[derive(Deserialize)]
    struct Real {
        tool: String,
        args: Vec<String>,
    }
    let tools: Vec<Real> = serde_json::from_str(include_str!("data/tools.json")).unwrap();
    tools
        .into_iter()
        .map(|tool| {
            let key = tool.tool.starts_with("agno__").then_some("api_key!");
            let schema = schema(tool.args.iter().map(String::as_str).chain(key));
            (tool.tool, Some(schema))
        })
        .collect()
}

fn check(user: &UserVault, tools: &[Tool]) -> Report {
    let specs = tools.iter().map(|(name, schema)| {
        let mut spec = ToolSpec::new(name);
        if let Some(schema) = schema {
            spec = spec.with_schema(schema);
        }
        assert_eq!((spec.name(), spec.schema()), (&**name, schema.as_ref()));
        spec
    });
    user.check(specs).unwrap()
}

fn line(finding: &Finding) -> String {
    let about = match finding {
        Finding::NeedsSecret(needs) => format!("{} {}", needs.tool, needs.location),
        Finding::NoDefault {
            secret,
            tool,
            location,
            ..
        } => format!("{} {tool} {location}", secret.name),
        Finding::OpenDestination {
            secret,
            tool,
            location,
            destinations,
            ..
        } => {
            let to = destinations.iter().map(|to| {
                let filled = if to.is_filled { " (filled)" } else { "" };
                format!("{}{filled}", to.location)
            });
            let to: Vec<String> = to.collect();
            format!("{} {tool} {location} to {}", secret.name, to.join(", "))
        }
        Finding::PartlySearched { tool, .. } | Finding::WildcardName { tool, .. } => tool.clone(),
        Finding::UnusedPattern { secret, .. } => secret.name.clone(),
        Finding::UndeclaredLocation {
            secret,
            location,
            similar,
            ..
        } => {
            let similar = similar.as_ref().map(|similar| format!(", not {similar}"));
            format!("{} {location}{}", secret.name, similar.unwrap_or_default())
        }
        Finding::BroadPattern {
            secret,
            location,
            declared_by,
            not_declared_by,
            narrower,
            ..
        } => format!(
            "{} {location} {} of {}: {}",
            secret.name,
            declared_by.len(),
            declared_by.len() + not_declared_by.len(),
            narrower.as_ref().map_or("none", |pattern| pattern.as_str())
        ),
        Finding::ShadowedDefault { secret, by, .. } => {
            let by: Vec<&str> = by.iter().map(|secret| &*secret.name).collect();
            format!("{} by {}", secret.name, by.join(", "))
        }
        Finding::SurprisingPrecedence {
            winner,
            loser,
            rank,
            ..
        } => {
            let rank = serde_json::to_value(rank).unwrap();
            let rank = rank.as_str().unwrap();
            format!("{} over {}: {rank}", winner.name, loser.name)
        }
        other => panic!("{other:?}"),
    };
    format!("{} {about}", finding.code())
}

#[test]
fn every_check_finds_what_the_table_says() {
    let suite: Suite = toml::from_str(include_str!("check.toml")).expect("well-formed");
    for case in &suite.case {
        let mut tools: Vec<Tool> = case.tools.iter().map(|text| tool(text)).collect();
        if case.real {
            tools.extend(real_tools());
        }
        let report = check(&user(&case.secrets, case.supplied.as_deref()), &tools);
        let found: Vec<String> = report
            .findings
            .iter()
            .filter(|finding| {
                let only = case.only.as_ref();
                only.is_none_or(|only| only.iter().any(|code| code == finding.code()))
            })
            .map(line)
            .collect();
        assert_eq!(found, case.findings, "{}", case.name);
        assert_eq!(
            (report.tools, report.secrets),
            (tools.len(), case.secrets.len())
        );
        for finding in &report.findings {
            let json = serde_json::to_value(finding).unwrap();
            assert_eq!(json["code"], finding.code(), "{}", case.name);
        }
        let text = format!("{report} {report:?} {}", json!(report));
        assert!(!text.contains("value-of"), "{text}");
    }
}

#[test]
fn every_finding_says_what_to_do() {
    let secrets = [
        "wide * api_key default",
        "old linear_* api_key default",
        "get linear_get api_key default",
        "set *_set api_key default",
        "unused none api_key",
        "bound asks token",
        "lost linear_get apikey",
        "gone linear_get pin",
    ]
    .map(str::to_owned);
    let tools = [
        "linear_get api_key url",
        "linear_set api_key!",
        "other title",
        "more title",
        "asks token! password!",
    ]
    .map(tool);
    let text = check(&user(&secrets, None), &tools).to_string();
    let expected = r#"needs_secret: "asks" requires /password, and nothing fills it: create a secret that is the default there
no_default: "asks" requires /token, and the secret "bound" (for "asks") goes there only when it is asked for: make it the default
open_destination: the secret "get" (for "linear_get") goes to /api_key of "linear_get", and the model chooses /url: if the tool sends the secret there, also create a default there, with a policy that replaces what the model supplies, or bind the secret to a tool with one destination
undeclared_location: the secret "lost" (for "linear_get") goes to /apikey, which no tool that it matches declares as a string ("linear_get"): bind it to /api_key if that is meant
undeclared_location: the secret "gone" (for "linear_get") goes to /pin, which no tool that it matches declares as a string ("linear_get"): check the name of the argument, or let the model write the secret's reference there if the tool takes any name
unused_pattern: the secret "unused" (for "none") matches no tool: check the pattern, or delete the secret
broad_pattern: the secret "wide" (for "*") goes to /api_key, which 2 of the 5 tools that it matches declare: bind it to "linear_*"
shadowed_default: the secret "set" (for "*_set") is never filled in automatically, since "old" (for "linear_*") takes precedence for every tool that it matches ("linear_set"): delete it, or make its pattern more specific
surprising_precedence: for "linear_set", the secret "old" (for "linear_*") takes precedence over "set" (for "*_set"), which has fewer literal characters: bind the one that you want there to fewer tools than the other
"#;
    assert_eq!(text, expected);
}

/// Another policy is enough only where each of the destinations has a default.
#[test]
fn what_to_do_about_destinations_depends_on_whether_all_are_filled() {
    let secrets = ["key t api_key default", "to t url default"].map(str::to_owned);
    for (arguments, advice) in [
        ("t api_key url", "let the policy replace or refuse it"),
        ("t api_key url host", "to a tool with one destination"),
    ] {
        let text = check(&user(&secrets, None), &[tool(arguments)]).to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.trim_end().ends_with(advice), "{text}");
    }
}

#[test]
fn a_pattern_that_cannot_be_narrowed_is_divided() {
    for (tools, advice) in [
        (["ab", "ba"], r#"bind secrets to "ab", "ba""#),
        (["ab", "b*"], r#"bind secrets to "ab""#),
        (
            ["a*", "b*"],
            "no pattern is for these alone, since they have wildcards in their names",
        ),
    ] {
        let mut all = tools.map(|name| tool(&format!("{name} api_key"))).to_vec();
        all.push(tool("c title"));
        let report = check(&user(&["a * api_key".to_owned()], None), &all);
        let broad = report.findings.iter().map(ToString::to_string);
        let broad: Vec<String> = broad.filter(|text| text.contains("2 of the 3")).collect();
        assert_eq!(broad.len(), 1, "{report}");
        assert!(broad[0].ends_with(&format!(": {advice}")), "{}", broad[0]);
    }
}

#[test]
fn an_answer_fills_the_need() {
    let user = user(&[], None);
    let schema = json!({
        "type": "object",
        "required": ["a/b token", "password"],
        "properties": {"a/b token": {"type": "string"}, "password": {"type": "string"}},
    });
    let tools = [tool("u api_key!"), ("t".to_owned(), Some(schema))];
    let report = check(&user, &tools);
    assert_eq!(report.needs().count(), 3);
    assert!(!report.is_clean());
    for (i, needs) in report.needs().enumerate() {
        user.create(needs.answer(format!("s{i}"), "value-of-it"))
            .unwrap();
    }
    let report = check(&user, &tools);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn nobody_is_asked_for_what_cannot_be_bound() {
    let long = |chars: usize| format!("{}_api_key", "x".repeat(chars - 8));
    for (name, path, asked) in [
        ("t", vec!["-", "api_key"], false),
        ("t", vec!["-api_key"], true),
        // As a pointer it has one character more.
        ("t", vec![&*long(1_024)], true),
        ("t", vec![&*long(1_025)], false),
        ("t", vec![&*format!("/{}", long(1_021))], true),
        ("t", vec![&*format!("/{}", long(1_022))], false),
        ("t", vec!["x", &long(1_021)], true),
        ("t", vec!["x", &long(1_022)], false),
        ("", vec!["api_key"], false),
        (&*"t".repeat(1_024), vec!["api_key"], true),
        (&*"t".repeat(1_025), vec!["api_key"], false),
        ("t?", vec!["api_key"], false),
    ] {
        let schema = path.iter().rev().fold(
            json!({"type": "string"}),
            |inner, at| json!({"type": "object", "properties": {*at: inner}, "required": [at]}),
        );
        let (user, tools) = (user(&[], None), [(name.to_owned(), Some(schema))]);
        let needs: Vec<_> = check(&user, &tools).needs().cloned().collect();
        let about = (name.len(), path.concat().len());
        assert_eq!(needs.len(), usize::from(asked), "{about:?}");
        for needs in needs {
            user.create(needs.answer("s", "value-of-it")).unwrap();
            assert!(check(&user, &tools).is_clean(), "{about:?}");
        }
    }
}

/// A report is true even if a schema has more credentials than are looked for, and says that it may not be all.
#[test]
fn too_many_credentials_are_not_looked_at() {
    let secrets = ["a t k00_token default", "b t /at/host default"].map(str::to_owned);
    for (count, needed, open) in [
        (10, 9, Some("/url, /at/host (filled)")),
        // It is no longer known that the other default is for a destination.
        (99, 98, Some("/url")),
        (200, 99, None),
    ] {
        let text = json!({"type": "string"});
        let names = (0..count).map(|i| format!("k{i:02}_token"));
        let mut properties: Map<String, Value> = names.map(|name| (name, text.clone())).collect();
        properties.insert("url".to_owned(), text.clone());
        let at = json!({"type": "object", "properties": {"host": text}});
        properties.insert("at".to_owned(), at);
        let required: Vec<&String> = properties.keys().collect();
        let schema = json!({"type": "object", "required": required, "properties": properties});
        let report = check(&user(&secrets, None), &[("t".to_owned(), Some(schema))]);
        assert_eq!(report.needs().count(), needed);
        let found = report.findings.iter().map(line);
        let found: Vec<String> = found.filter(|line| !line.starts_with("needs")).collect();
        let open = open.map(|to| format!("open_destination a t /k00_token to {to}"));
        let partly = (count > 10).then(|| "partly_searched t".to_owned());
        let expected: Vec<String> = open.into_iter().chain(partly).collect();
        assert_eq!(found, expected);
    }
}

/// What is too deep to be searched is not passed over in silence; a schema that repeats itself is searched once.
#[test]
fn what_lies_too_deep_is_told() {
    let url = json!({"type": "object", "properties": {"webhook_url": {"type": "string"}}, "required": ["webhook_url"]});
    let nested = |levels: usize| {
        let mut schema = url.clone();
        for _ in 0..levels {
            schema = json!({"type": "object", "properties": {"a": schema}});
        }
        schema
    };
    let wrapped = |keyword: &str, times: usize| {
        (0..times).fold(url.clone(), |inner, _| json!({keyword: [inner]}))
    };
    let referred = |times: usize| {
        let next = |i| json!({"$ref": format!("#/$defs/{i}")});
        let mut parts: Map<String, Value> =
            (1..times).map(|i| (i.to_string(), next(i + 1))).collect();
        parts.insert(times.to_string(), url.clone());
        json!({"$ref": "#/$defs/1", "$defs": parts})
    };
    let node = json!({"type": "object", "properties": {"and": {"$ref": "#/$defs/x"}, "title": {"type": "string"}}});
    let recursive = json!({"properties": {"filter": {"$ref": "#/$defs/x"}}, "$defs": {"x": node}});
    // Few schemas that refer to each other so often that looking at all of them for each argument would take long.
    let manifold = |arguments: usize, times: usize| {
        let parts = (1..=times).map(|i| {
            let below = json!({"$ref": format!("#/$defs/{}", i - 1)});
            (i.to_string(), json!({"allOf": vec![below; 6]}))
        });
        let mut parts: Map<String, Value> = parts.collect();
        parts.insert("0".to_owned(), json!({"type": "object"}));
        let mut schema = url.clone();
        for i in 0..arguments {
            schema["properties"][format!("k{i}_token")] = json!({"type": "string"});
        }
        schema["allOf"] = json!([{"$ref": format!("#/$defs/{times}")}]);
        schema["$defs"] = parts.into();
        schema
    };
    // What is found before the work is too much is not judged by what is not looked at any more.
    let mut interrupted = manifold(60, 4);
    interrupted["properties"]["a_url"] = json!({"type": "string"});
    for (schema, is_open, is_told) in [
        (interrupted, false, true),
        (manifold(60, 3), true, false),
        (manifold(3, 4), true, false),
        (manifold(60, 4), false, true),
        (manifold(3, 5), false, true),
        (nested(3), true, false),
        (nested(4), false, true),
        (nested(9), false, true),
        (wrapped("allOf", 16), true, false),
        (wrapped("allOf", 17), false, true),
        (wrapped("anyOf", 16), true, false),
        (wrapped("anyOf", 17), false, true),
        (referred(16), true, false),
        (referred(17), false, true),
        (recursive, false, false),
    ] {
        let mut schema = schema;
        schema["properties"]["token"] = json!({"type": "string"});
        let report = check(
            &user(&["a t token default".to_owned()], None),
            &[("t".to_owned(), Some(schema.clone()))],
        );
        let has = |code: &str| report.findings.iter().any(|finding| finding.code() == code);
        assert_eq!(has("open_destination"), is_open, "{schema}: {report}");
        assert_eq!(has("partly_searched"), is_told, "{schema}: {report}");
    }
}

fn secrets() -> impl Strategy<Value = Vec<String>> {
    let pattern = prop::sample::select(vec![
        "*",
        "agno__*",
        "agno__linear__*",
        "agno__linear__create_issue",
        "agno__*__create_issue",
        "*__create_issue",
        "*issue*",
        "agno__??????__*",
        "linear__*",
        "agentql_*",
    ]);
    let location = prop::sample::select(vec!["api_key", "url", "title", "token", "/headers/x"]);
    let secret = (pattern, location, any::<bool>());
    prop::collection::vec(secret, 0..8).prop_map(|secrets| {
        let mut seen = BTreeSet::new();
        secrets
            .into_iter()
            .enumerate()
            .filter(|(_, (pattern, location, default))| {
                !default || seen.insert((*pattern, *location))
            })
            .map(|(i, (pattern, location, default))| {
                let default = if default { " default" } else { "" };
                format!("s{i} {pattern} {location}{default}")
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A report agrees with what calls get, what the model is shown, and an independent matcher.
    #[test]
    fn a_report_agrees_with_the_rest(secrets in secrets()) {
        let tools = real_tools();
        let names: Vec<&str> = tools.iter().map(|(name, _)| &**name).collect();
        let user = user(&secrets, None);
        let report = check(&user, &tools);

        // Required credentials are reported exactly if a call leaves them unfilled, and the model then sees them.
        let mut unfilled = BTreeSet::new();
        let mut winners = BTreeSet::new();
        let mut candidates = BTreeSet::new();
        for (name, schema) in &tools {
            let schema = schema.as_ref().unwrap();
            let call = ToolCall::new(&**name).with_schema(schema);
            let mut args = Map::new();
            let _ = user.inject(&call, &mut args).unwrap();
            let mut shown = schema.clone();
            user.conceal(name, &mut shown).unwrap();
            if schema["properties"].get("api_key").is_some() && !args.contains_key("api_key") {
                unfilled.insert(name.clone());
            }
            prop_assert_eq!(
                shown["properties"].get("api_key").is_some(),
                unfilled.contains(name),
            );
            for location in user.explain(&call, &Map::new()).unwrap().locations {
                winners.insert(location.candidates[0].secret_name.clone());
                candidates.extend(location.candidates.into_iter().map(|c| c.secret_name));
            }
        }
        let mut reported = BTreeSet::new();
        let mut unused = BTreeSet::new();
        let mut shadowed = BTreeSet::new();
        for finding in &report.findings {
            match finding {
                Finding::NeedsSecret(needs) => {
                    prop_assert_eq!(needs.location.as_pointer(), "/api_key");
                    prop_assert!(reported.insert(needs.tool.clone()));
                }
                Finding::NoDefault { tool, .. } => prop_assert!(reported.insert(tool.clone())),
                Finding::UnusedPattern { secret, .. } => {
                    unused.insert(secret.name.clone());
                }
                Finding::BroadPattern { declared_by, not_declared_by, narrower, .. } => {
                    let Some(narrower) = narrower else { continue };
                    prop_assert!(declared_by.iter().all(|name| narrower.matches(name)));
                    prop_assert!(!not_declared_by.iter().all(|name| narrower.matches(name)));
                }
                Finding::ShadowedDefault { secret, .. } => {
                    shadowed.insert(secret.name.clone());
                }
                _ => {}
            }
        }
        prop_assert_eq!(reported, unfilled);
        let never_wins: BTreeSet<String> = candidates.difference(&winners).cloned().collect();
        prop_assert_eq!(shadowed, never_wins);
        for secret in &secrets {
            let parts: Vec<&str> = secret.split(' ').collect();
            let pattern = WildMatch::new(parts[1]);
            let matches = names.iter().any(|name| pattern.matches(name));
            prop_assert_eq!(unused.contains(parts[0]), !matches, "{}", secret);
        }
    }
}

/// The names of a tool's arguments come from its server.
#[test]
fn no_name_forges_a_line() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    let name = "x\n\u{1b}[2Jneeds_secret: \"bank\" api_key";
    let schema = json!({"properties": {name: {"type": "string"}}, "required": [name]});
    let report = user.check([("tool", &schema)]).unwrap();
    assert_eq!(report.findings.len(), 1);
    let text = report.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn defaults_that_compete_are_found_wherever_their_tools_are() {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    for pattern in ["linear_*", "*_set", "*"] {
        let secret = NewSecret::new(pattern, "value-of-it").bind(pattern, "k");
        user.create(secret.default_for_tool()).unwrap();
    }
    for (before, between) in [(1, 0), (0, 64), (63, 1), (64, 0), (100, 100), (200, 10)] {
        let others = |count: usize| (0..count).map(|i| format!("other{i}"));
        let tools: Vec<String> = others(before)
            .chain(["jira_set", "linear_set"].map(str::to_owned))
            .chain(others(between))
            .chain(["linear_get".to_owned()])
            .collect();
        let report = user
            .check(tools.iter().map(|tool| ToolSpec::new(tool)))
            .unwrap();
        let [Finding::SurprisingPrecedence { tools, .. }] = &*report.findings else {
            panic!("{before}, {between}: {report}");
        };
        assert_eq!(*tools, ["linear_set"], "{before}, {between}");
    }
}

/// If the patterns of each pair were matched with every tool, this would take many minutes.
#[test]
fn many_secrets_that_compete_at_many_tools() {
    const MANY: usize = 800;
    let vault = Vault::builder().quota(Quota::unlimited()).in_memory();
    let user = vault.unwrap().user(UserId::LOCAL);
    let begin = "ab".repeat(20);
    let tools: Vec<String> = (0..2 * MANY).map(|i| format!("{begin}{i:04}")).collect();
    user.batch(|batch| {
        let mut create = |pattern: &str| {
            let secret = NewSecret::new(pattern, "value-of-it").bind(pattern, "k");
            batch.create(secret.default_for_tool());
        };
        for tool in &tools[..MANY] {
            create(tool);
        }
        for i in 0..MANY {
            let chars = begin.chars().enumerate();
            let chars = chars.map(|(at, c)| if at < 16 && i >> at & 1 == 1 { '?' } else { c });
            create(&(chars.collect::<String>() + "*"));
        }
    })
    .unwrap();
    let report = user
        .check(tools.iter().map(|tool| ToolSpec::new(tool)))
        .unwrap();
    // The widest pattern with the most literals wins wherever there is no exact one.
    assert_eq!(report.findings.len(), MANY - 1);
    for finding in &report.findings {
        let Finding::ShadowedDefault { by, tools, .. } = finding else {
            panic!("{finding}")
        };
        assert_eq!((by.len(), tools.len()), (MANY + 1, 2 * MANY));
    }
}
