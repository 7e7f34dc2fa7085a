//! What an explanation says about every candidate and every reference.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use keyward::{
    ErrorKind, KeySource, NewSecret, Origin, ToolCall, UserId, UserVault, Vault,
    explain::{Outcome, Rank},
    inject::{SkipReason, Verdict},
};
use serde_json::{Map, json};

fn user() -> UserVault {
    Vault::in_memory().unwrap().user(UserId::LOCAL)
}

fn default_for(user: &UserVault, pattern: &str) {
    let secret = NewSecret::new(pattern, "some-value")
        .bind(pattern, "k")
        .default_for_tool();
    user.create(secret).unwrap();
}

#[test]
fn every_candidate_says_what_it_loses_by() {
    for (patterns, ranks) in [
        (
            &["t*", "tool_x"][..],
            &[("tool_x", Rank::Best), ("t*", Rank::Wildcard)][..],
        ),
        (
            &["tool*", "tool_*"],
            &[("tool_*", Rank::Best), ("tool*", Rank::FewerLiterals)],
        ),
        (
            &["*tool*", "tool*"],
            &[("tool*", Rank::Best), ("*tool*", Rank::MoreStars)],
        ),
        (
            &["tool?*", "tool*"],
            &[("tool*", Rank::Best), ("tool?*", Rank::MoreQuestionMarks)],
        ),
        (
            &["too*x", "to*_x"],
            &[("too*x", Rank::Best), ("to*_x", Rank::Younger)],
        ),
        (&["other", "t*"], &[("t*", Rank::Best)]),
    ] {
        let user = user();
        for pattern in patterns {
            default_for(&user, pattern);
        }
        let explanation = user.explain(&ToolCall::new("tool_x"), &Map::new()).unwrap();
        let candidates = &explanation.locations[0].candidates;
        let found: Vec<(&str, Rank)> = candidates
            .iter()
            .map(|candidate| (candidate.pattern.as_str(), candidate.rank))
            .collect();
        assert_eq!(found, ranks);
        for (name, rank) in ranks {
            assert!(
                explanation
                    .to_string()
                    .contains(&format!("{name} ({name}): {rank}"))
            );
        }
    }
}

#[test]
fn every_reference_says_what_became_of_it() {
    let user = user();
    let new = |name: &str| NewSecret::new(name, "some-value");
    user.create(new("fits").bind("t", "a")).unwrap();
    user.create(new("no-tool").location("b")).unwrap();
    user.create(new("other-tool").bind("u", "c")).unwrap();
    user.create(new("no-place").tool_pattern("t")).unwrap();
    user.create(new("other-place").bind("t", "x")).unwrap();
    let args = json!({
        "a": "secret://fits", "b": "secret://no-tool", "c": "secret://other-tool", "d": "secret://no-place",
        "e": "secret://other-place", "f": "secret://nobody",
    });
    let explanation = user
        .explain(&ToolCall::new("t"), args.as_object().unwrap())
        .unwrap();
    let found: Vec<_> = explanation
        .references
        .iter()
        .map(|reference| (reference.secret_name.as_deref(), reference.verdict))
        .collect();
    assert_eq!(
        found,
        [
            (Some("fits"), Verdict::Granted),
            (Some("no-tool"), Verdict::NoToolPattern),
            (Some("other-tool"), Verdict::OtherTool),
            (Some("no-place"), Verdict::NoLocation),
            (Some("other-place"), Verdict::OtherLocation),
            (None, Verdict::UnknownSecret),
        ]
    );
    assert!(
        explanation.failure.unwrap().contains("/b"),
        "the first that is not granted"
    );
}

/// A reference that is denied fails the call at the place of a default, too; only a granted one takes its place.
#[test]
fn a_default_below_a_reference_is_skipped_only_if_that_is_granted() {
    let user = user();
    default_for(&user, "t");
    let other = NewSecret::new("free", "some-value");
    user.create(other).unwrap();
    for (reference, outcome) in [
        ("secret://t", Outcome::Skipped(SkipReason::Reference)),
        ("secret://free", Outcome::Fails),
        ("secret://nobody", Outcome::Fails),
    ] {
        let args = json!({"k": reference}).as_object().unwrap().clone();
        let explanation = user.explain(&ToolCall::new("t"), &args).unwrap();
        assert_eq!(explanation.locations[0].outcome, outcome, "{reference}");
        assert_eq!(explanation.failure.is_some(), outcome == Outcome::Fails);
        let error = user.inject(&ToolCall::new("t"), &mut args.clone()).err();
        assert_eq!(explanation.failure, error.map(|error| error.to_string()));
    }
}

/// References are found in the order of the elements, which is not that of their pointers.
#[test]
fn of_many_references_the_one_at_its_place_decides_on_a_default() {
    const COUNT: usize = 12;
    let user = user();
    user.create(NewSecret::new("asked", "some-value")).unwrap();
    let element = |number: usize| format!("/list/{number}");
    for place in 0..COUNT {
        let bound =
            NewSecret::new(format!("bound-{place}"), "some-value").bind("t", element(place));
        user.create(bound.default_for_tool()).unwrap();
    }
    let call = ToolCall::new("t").with_origin(Origin::Workflow);
    for denied in 0..COUNT {
        let mut list = ["secret://asked"; COUNT];
        list[denied] = "secret://nobody";
        let args = json!({"list": list});
        let explanation = user.explain(&call, args.as_object().unwrap()).unwrap();
        assert_eq!(explanation.locations.len(), COUNT);
        for explained in explanation.locations {
            let expected = match explained.location.as_pointer() {
                pointer if pointer == element(denied) => Outcome::Fails,
                _ => Outcome::Skipped(SkipReason::Reference),
            };
            assert_eq!(explained.outcome, expected, "{}", explained.location);
        }
    }
}

#[test]
fn every_reason_has_a_text_of_its_own() {
    let texts = [
        Verdict::Granted.to_string(),
        Verdict::UnknownSecret.to_string(),
        Verdict::NoToolPattern.to_string(),
        Verdict::OtherTool.to_string(),
        Verdict::NoLocation.to_string(),
        Verdict::OtherLocation.to_string(),
        SkipReason::Supplied.to_string(),
        SkipReason::Reference.to_string(),
        SkipReason::NotDeclared.to_string(),
        SkipReason::ParentNotMade.to_string(),
        SkipReason::ParentFilled.to_string(),
    ];
    for (i, text) in texts.iter().enumerate() {
        assert!(!text.is_empty());
        assert!(!texts[..i].contains(text), "{text}");
    }
}

/// A tool's name and the names of arguments are the model's, or a server's. Those of secrets and their patterns are a
/// user's.
#[test]
fn no_name_forges_a_line() {
    let user = user();
    let name = "x\n  /k: filled\n    evil (x): best\u{1b}[2J";
    let pattern = "t\n  /k: fi*";
    let secret = NewSecret::new(name, "some-value").bind(pattern, "k");
    user.create(secret.default_for_tool()).unwrap();
    let args = json!({name: "secret://nope", "y": format!("secret://{name}")});
    let explanation = user
        .explain(&ToolCall::new("t\n  /k: filled"), args.as_object().unwrap())
        .unwrap();
    let text = explanation.to_string();
    let lines: Vec<&str> = text.lines().collect();
    // Of the tool, two references, a location with one candidate, and the failure.
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{text}");
    assert_eq!(lines[3], "  /k: filled");
}

#[test]
fn only_where_there_is_nothing_to_explain_is_that_said() {
    let user = user();
    default_for(&user, "t");
    for (tool, args, is_said) in [
        ("u", json!({}), true),
        ("u", json!({"a": "secret://t"}), false),
        ("t", json!({}), false),
        (
            "t",
            (0..200).fold(json!(0), |args, _| json!({"a": args})),
            false,
        ),
    ] {
        let args = args.as_object().unwrap();
        let text = user.explain(&ToolCall::new(tool), args).unwrap();
        let text = text.to_string();
        assert_eq!(text.contains("no default matches"), is_said, "{text}");
    }
}

/// Each location holds all names that lead to it, so a hundred of them would be a hundred times as long as one name.
#[test]
fn references_below_long_names_are_not_all_listed() {
    let user = user();
    default_for(&user, "tool_x");
    for (bytes, listed) in [(10, 100), (1_000, 100), (10_000, 10), (1_000_000, 1)] {
        let args = json!({"n".repeat(bytes): vec!["secret://none"; 150]});
        let args = args.as_object().unwrap();
        let explanation = user.explain(&ToolCall::new("tool_x"), args).unwrap();
        assert_eq!(explanation.references.len(), listed, "{bytes}");
        assert!(explanation.failure.is_some());
    }
}

#[test]
fn arguments_in_other_forms_are_explained_alike() {
    let user = user();
    default_for(&user, "tool_x");
    let call = ToolCall::new("tool_x");
    for (text, value) in [
        (r#"{"a": "secret://b"}"#, json!({"a": "secret://b"})),
        (r#"{"k": null, "n": 1.50}"#, json!({"k": null, "n": 1.50})),
        ("null", json!(null)),
        (" ", json!(null)),
    ] {
        let none = Map::new();
        let members = value.as_object().unwrap_or(&none);
        let explanation = user.explain(&call, members).unwrap();
        assert_eq!(user.explain_value(&call, &value).unwrap(), explanation);
        assert_eq!(user.explain_str(&call, text).unwrap(), explanation);
    }
}

#[test]
fn what_cannot_be_injected_into_at_all_is_not_explained() {
    let key = || KeySource::raw([7; 32]);
    let vault = Vault::builder().in_memory_with_key(key()).unwrap();
    let user = vault.user(UserId::LOCAL);
    let call = ToolCall::new("tool_x");
    let texts = ["[]", "{", r#"{"a": 1, "a": 2}"#, r#"{"a": "\ud800"}"#];
    let deep = [r#"{"a":"#, &"[".repeat(129), &"]".repeat(129), "}"].concat();
    for text in texts.into_iter().chain([&*deep]) {
        let explained = user.explain_str(&call, text).unwrap_err();
        let injected = user.inject_str(&call, &mut text.to_owned()).unwrap_err();
        assert_eq!(explained.field_errors(), injected.field_errors(), "{text}");
        assert_eq!(explained.kind(), ErrorKind::Validation);
    }
    let error = user.explain_value(&call, &json!([])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    // As everywhere, this comes first.
    vault.lock().unwrap();
    let error = user.explain_str(&call, "[]").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
}
