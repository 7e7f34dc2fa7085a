//! Tests the matcher against its definition and against `wildmatch`, and the order of precedence.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use wildmatch::WildMatch;

use super::*;

fn pattern(text: &str) -> ToolPattern {
    ToolPattern::new(text).unwrap()
}

/// The definition of the language, and nothing else. Exponential in the number of `*`.
fn matches_by_definition(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', pattern @ ..] => {
            (0..=name.len()).any(|run| matches_by_definition(pattern, &name[run..]))
        }
        ['?', pattern @ ..] => !name.is_empty() && matches_by_definition(pattern, &name[1..]),
        [c, pattern @ ..] => name.first() == Some(c) && matches_by_definition(pattern, &name[1..]),
    }
}

fn assert_agrees(text: &str, name: &str) {
    let found = pattern(text).matches(name);
    assert_every_way_agrees(text, name, found);
    assert_eq!(
        found,
        WildMatch::new(text).matches(name),
        "wildmatch: {text:?} on {name:?}"
    );
    let (text_chars, name_chars): (Vec<_>, Vec<_>) =
        (text.chars().collect(), name.chars().collect());
    assert_eq!(
        found,
        matches_by_definition(&text_chars, &name_chars),
        "definition: {text:?} on {name:?}"
    );
}

/// Asserts that the simple way and the bounded way agree, and that the simple way gives up or agrees after any
/// number of steps.
fn assert_every_way_agrees(text: &str, name: &str, expected: bool) {
    let pattern = pattern(text);
    let context = format!("{text:?} on {name:?}");
    assert_eq!(pattern.matches(name), expected, "{context}");
    assert_eq!(
        pattern.matches_by_trying(name),
        expected,
        "trying: {context}"
    );
    assert_eq!(
        matches_by_positions(pattern.as_str(), name),
        expected,
        "positions: {context}"
    );
    for steps in [0, 1, 2, 5, 20] {
        let given_up = matches_greedily(pattern.as_str(), name, steps);
        assert!(
            given_up.is_none_or(|found| found == expected),
            "{steps} steps: {context}"
        );
    }
}

/// Every text of at most `max` characters of `alphabet`, including the empty one.
fn all_texts(alphabet: &[char], max: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut last = 0;
    for _ in 0..max {
        let end = texts.len();
        for i in last..end {
            for &c in alphabet {
                texts.push(format!("{}{c}", texts[i]));
            }
        }
        last = end;
    }
    texts
}

#[test]
fn all_short_patterns_on_all_short_names() {
    let names = all_texts(&['a', 'é', '*'], 4);
    for text in all_texts(&['a', 'é', '*', '?'], 5).iter().skip(1) {
        for name in &names {
            assert_agrees(text, name);
        }
    }
}

proptest! {
    #[test]
    fn the_same_literals_are_counted(
        same in "[ab]{0,20}",
        (pattern, name) in ("[ab*?é]{0,20}", "[ab*?é]{0,20}"),
    ) {
        let (pattern, name) = (same.clone() + &pattern, same + &name);
        let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
        let is_literal = |i: &usize| {
            pattern.get(*i) == name.get(*i) && pattern.get(*i).is_some_and(|byte| !b"*?".contains(byte))
        };
        let expected = (0..pattern.len()).take_while(is_literal).count();
        prop_assert_eq!(same_literals(pattern, name), expected);
    }
}

proptest! {
    #[test]
    fn agrees_where_stars_collide(text in "[ab*?]{1,12}", name in "[ab*?]{0,12}") {
        assert_agrees(&text, &name);
    }

    #[test]
    fn agrees_on_long_names(text in "[ab?]{0,3}(\\*[ab?]{0,9}){0,4}", name in "[ab]{0,80}") {
        prop_assume!(!text.is_empty());
        assert_every_way_agrees(&text, &name, WildMatch::new(&text).matches(&name));
    }

    #[test]
    fn agrees_on_unicode(text in "(\\PC|\\*|\\?|é|\u{301}|🔑){1,6}", name in "(\\PC|é|\u{301}|🔑){0,6}") {
        assert_agrees(&text, &name);
    }

    #[test]
    fn matches_what_it_was_made_from(parts in prop::collection::vec(("[a-cé🔑]{0,4}", "[a-cé🔑]{0,4}", any::<bool>()), 1..6)) {
        let (mut text, mut name) = (String::new(), String::new());
        for (literal, run, single) in &parts {
            text += literal;
            name += literal;
            if *single {
                text.extend(run.chars().map(|_| '?'));
            } else {
                text.push('*');
            }
            name += run;
        }
        prop_assume!(!text.is_empty());
        prop_assert!(pattern(&text).matches(&name), "{:?} on {:?}", text, name);
    }
}

#[test]
fn a_run_of_stars_is_one() {
    for (text, canonical) in [
        ("**", "*"),
        ("a***b**", "a*b*"),
        ("*?*", "*?*"),
        ("a*b", "a*b"),
        ("é**é", "é*é"),
    ] {
        let pattern = pattern(text);
        assert_eq!(pattern.as_str(), canonical);
        assert_eq!(pattern.to_string(), canonical);
        assert_eq!(pattern, self::pattern(canonical));
        assert_eq!(
            pattern.cmp_specificity(&self::pattern(canonical)),
            Ordering::Equal
        );
        let json = serde_json::to_value(&pattern).unwrap();
        assert_eq!(json, canonical);
        for json in [json, text.into()] {
            assert_eq!(
                serde_json::from_value::<ToolPattern>(json).unwrap(),
                pattern
            );
        }
        assert_eq!(String::from(pattern), canonical);
    }
    let error = serde_json::from_str::<ToolPattern>("\"\"").unwrap_err();
    assert!(
        error.to_string().contains("at least 1 character"),
        "{error}"
    );
    assert_ne!(pattern("*?"), pattern("?*"));

    let state = RandomState::new();
    let hash = |text| state.hash_one(pattern(text));
    assert_eq!(hash("a**"), hash("a*"));
    assert_ne!(hash("a*"), hash("a?"));
}

#[test]
fn length_is_counted_in_characters_as_written() {
    for (text, error_type) in [
        (String::new(), "string_too_short"),
        ("é".repeat(1025), "string_too_long"),
        ("*".repeat(1025), "string_too_long"),
    ] {
        let error = ToolPattern::new(&text).unwrap_err();
        let [field] = error.field_errors() else {
            panic!("one field is wrong");
        };
        assert_eq!(field.error_type(), error_type);
        assert_eq!(field.loc(), ["body".into(), "tool_name".into()]);
    }
    assert!("🔑".repeat(1024).parse::<ToolPattern>().is_ok());
    assert_eq!(pattern(&"*".repeat(1024)).as_str(), "*");
}

#[test]
fn specificity_is_decided_rule_by_rule() {
    let best_first = [
        &["a", "abcdef"][..],
        &["abcdef?"],
        &["abcde??????", "?a?b?c?d?e?"],
        &["abcde*", "*abcde", "ab*cde"],
        &["abcde?*"],
        &["a*bcde*"],
        &["a*bcde?*"],
        &["éüö?"],
        &["??"],
        &["???"],
        &["*"],
        &["*?", "?*"],
        &["*?*"],
    ];
    let exact = best_first[0];
    assert_eq!(
        pattern(exact[1]).cmp_specificity(&pattern(exact[0])),
        Ordering::Less,
        "two exact patterns never meet, and are still ordered by their literals"
    );
    for (i, texts) in best_first.iter().enumerate() {
        for text in *texts {
            assert_eq!(pattern(text).is_exact(), i == 0, "{text}");
        }
    }
    for (i, better) in best_first.iter().enumerate().skip(1) {
        for (j, worse) in best_first.iter().enumerate() {
            for (a, b) in better
                .iter()
                .flat_map(|a| worse.iter().map(move |b| (*a, *b)))
            {
                assert_eq!(
                    pattern(a).cmp_specificity(&pattern(b)),
                    i.cmp(&j),
                    "{a} against {b}"
                );
            }
        }
    }
}

#[test]
fn almost_matching_takes_no_exponential_time() {
    let name = "a".repeat(1024);
    let long = "a".repeat(510);
    for (text, expected) in [
        (format!("{}b", "*a".repeat(511)), false),
        (format!("*{long}b*"), false),
        (format!("*{long}b"), false),
        (format!("*{long}*{long}b"), false),
        (format!("*{long}*{long}"), true),
        (format!("*{}", "a?".repeat(511)), true),
        ("*a".repeat(512), true),
    ] {
        assert_every_way_agrees(&text, &name, expected);
    }
}

#[test]
fn trying_is_given_up_where_it_would_take_long() {
    let (text, name) = (format!("*{}b", "a".repeat(500)), "a".repeat(1024));
    let pattern = pattern(&text);
    assert_eq!(
        matches_greedily(&text, &name, PATIENCE * (text.len() + name.len())),
        None
    );
    assert!(!pattern.matches(&name));
    // By trying, this would take a hundred million steps.
    assert!(!pattern.matches(&"a".repeat(200_000)));
}
