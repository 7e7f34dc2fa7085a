//! Tests the compiled resolver against the definition, by cases that are written down and by random ones. Each set
//! of bindings is compiled in several ways, as if it were one of few bindings or of many.

use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Match, Resolved, Resolver,
    best::Best,
    build::{Binding as Given, compile_within},
    changes::change,
    naive::{Binding, Naive},
    plan::Limits,
};
use crate::{Location, SecretId, ToolPattern};

mod cases;
mod changes;
mod hostile;

/// A binding in the form that a resolver takes.
fn given((location, pattern, id): &Binding) -> Given {
    (pattern.clone(), location.clone(), *id)
}

fn binding(pattern: &str, location: &str, age: u128) -> Binding {
    (
        Location::new(location).unwrap(),
        ToolPattern::new(pattern).unwrap(),
        SecretId::new(Uuid::from_u128(age)),
    )
}

fn resolver<'b>(bindings: impl IntoIterator<Item = &'b Binding>) -> Resolver {
    let mut builder = Resolver::builder();
    for (location, pattern, id) in bindings {
        builder.add(pattern.clone(), location.clone(), *id);
    }
    builder.build()
}

/// Limits as if there were very many bindings.
const NO_LIST: Limits = Limits {
    few: 0,
    listed: 0,
    few_of_a_kind: 0,
    ..Limits::USUAL
};

/// Limits as if there were very many bindings, whose keys are not kept apart in the simple ways.
const PERFECT: Limits = Limits {
    draws: 1,
    ..NO_LIST
};

/// Limits as if there were many bindings.
const ENDS_LISTED: Limits = Limits {
    few: 0,
    ..Limits::USUAL
};

/// Limits as if no hashes kept the keys of very many bindings apart.
const NO_KEYS: Limits = Limits {
    draws: 0,
    ..NO_LIST
};

fn resolver_within<'b>(
    bindings: impl IntoIterator<Item = &'b Binding>,
    limits: Limits,
) -> Resolver {
    let bindings: Vec<Given> = bindings.into_iter().map(given).collect();
    Resolver {
        index: Arc::new(compile_within(&bindings, limits)),
        changes: None,
    }
}

/// The order in which bindings are added, whether one is added again, and how they are found must not matter.
fn in_several_ways(bindings: &[Binding]) -> [Resolver; 5] {
    let middle = bindings.len() / 2;
    [
        resolver(bindings),
        resolver_within(bindings.iter().rev(), NO_LIST),
        resolver_within(bindings, PERFECT),
        resolver_within(bindings[middle..].iter().chain(bindings), ENDS_LISTED),
        resolver_within(bindings, NO_KEYS),
    ]
}

fn found(matches: &[Match<'_>]) -> Vec<Binding> {
    matches
        .iter()
        .map(|m| (m.location().clone(), m.pattern().clone(), m.id()))
        .collect()
}

fn assert_agree(bindings: &[Binding], names: &[String]) {
    let naive = Naive::new(bindings);
    for resolver in in_several_ways(bindings) {
        assert_says(&resolver, &naive, bindings, names);
    }
}

/// Asserts that a resolver of these bindings says what the naive one does.
fn assert_says(resolver: &Resolver, naive: &Naive, bindings: &[Binding], names: &[String]) {
    for name in names {
        assert_eq!(
            found(&resolver.resolve(name)),
            naive.resolve(name),
            "{name:?} among {bindings:?}"
        );
        assert_eq!(
            found(&resolver.candidates(name)),
            naive.candidates(name),
            "{name:?} among {bindings:?}"
        );
    }
}

const LOCATIONS: [&str; 12] = [
    "a", "b", "/a/b", "/a/b/c", "c", "d", "e", "f", "g", "h", "i", "j",
];

fn bindings_of(
    pattern: &'static str,
    locations: usize,
    most: usize,
) -> impl Strategy<Value = Vec<Binding>> {
    // Few ids, so that some bindings share an id, and some differ in nothing but the id.
    let binding = (pattern, 0..locations, 0u128..6)
        .prop_map(|(pattern, location, age)| binding(&pattern, LOCATIONS[location], age));
    prop::collection::vec(binding, 0..most)
}

proptest! {
    #[test]
    fn agrees_where_patterns_collide(
        bindings in bindings_of("[ab*?]{1,8}", 3, 40),
        names in prop::collection::vec("[ab]{0,10}", 8),
    ) {
        assert_agree(&bindings, &names);
    }

    #[test]
    fn agrees_on_names_with_wildcard_characters(
        bindings in bindings_of("[a*?]{1,5}", 2, 20),
        names in prop::collection::vec("[a*?]{0,6}", 8),
    ) {
        assert_agree(&bindings, &names);
    }

    #[test]
    fn agrees_with_many_locations_and_patterns(
        bindings in bindings_of("[ab]{0,2}[*?]{1,2}[ab]{0,2}[*]?|\\*|[ab]{1,4}", LOCATIONS.len(), 120),
        names in prop::collection::vec("[ab]{0,5}", 8),
    ) {
        assert_agree(&bindings, &names);
    }

    #[test]
    fn agrees_on_unicode(
        bindings in bindings_of("([aéèe€🔑\u{301}*?]|\\PC){1,5}", 2, 20),
        names in prop::collection::vec("([aéèe€🔑\u{301}]|\\PC){0,6}", 8),
    ) {
        assert_agree(&bindings, &names);
    }

    #[test]
    fn agrees_on_long_names_with_many_different_characters(
        bindings in bindings_of("\\*?([一-亐?]{0,2}\\*){1,6}[一-亐?]{0,2}", 2, 30),
        names in prop::collection::vec("[一-亐]{0,200}", 4),
    ) {
        assert_agree(&bindings, &names);
    }

    #[test]
    fn agrees_on_long_and_deep_patterns(
        bindings in bindings_of("([ab?]{0,12}\\*){1,12}[ab?]{0,12}", 2, 12),
        names in prop::collection::vec("[ab]{0,120}", 4),
    ) {
        assert_agree(&bindings, &names);
    }
}

#[test]
fn agrees_on_real_tools() {
    #[derive(Deserialize)]
    struct Tool {
        tool: String,
        args: Vec<String>,
    }
    let tools: Vec<Tool> =
        serde_json::from_str(include_str!("../../tests/data/tools.json")).unwrap();
    let mut bindings = Vec::new();
    for (tool, age) in tools.iter().zip(0..) {
        let name = &tool.tool;
        let service = name
            .rsplit_once("__")
            .map_or(&**name, |(service, _)| service);
        let action = name.rsplit('_').next().unwrap();
        let patterns = [
            name.clone(),
            format!("{service}__*"),
            format!("*_{action}"),
            format!("*{action}*"),
            format!("{}?", &name[..name.len() - 1]),
        ];
        for (i, arg) in tool.args.iter().enumerate().take(4) {
            bindings.push(binding(&patterns[i], arg, age));
            bindings.push(binding(&patterns[4 - i], "api_key", age + 1000));
        }
    }
    let names: Vec<String> = tools.into_iter().map(|tool| tool.tool).collect();
    assert_agree(&bindings, &names);
    let resolver = resolver(&bindings);
    let most = names.iter().map(|name| resolver.resolve(name).len()).max();
    assert!(most > Some(2), "the names are made to collide");
}

#[test]
fn agrees_on_more_locations_than_are_worked_out_beforehand() {
    let locations: Vec<String> = (0..40).map(|i| format!("/argument{i:02}")).collect();
    for count in [15, 16, 17, 40] {
        let everywhere = |pattern: &'static str, age: u128| {
            let locations = locations[..count].iter().zip(age..);
            locations.map(move |(location, age)| binding(pattern, location, age))
        };
        let mut bindings: Vec<Binding> = everywhere("*", 0).chain(everywhere("to*", 100)).collect();
        bindings.push(binding("tool", &locations[3], 200));
        bindings.push(binding("too*", &locations[5], 201));
        let names = ["tool", "tools", "to", "t", ""].map(str::to_owned);
        assert_agree(&bindings, &names);
        // What is found further on is a single row.
        let mut bindings: Vec<Binding> = everywhere("to*", 100).collect();
        bindings.push(binding("t*", "/another", 202));
        assert_agree(&bindings, &names);
    }
}

/// Up to 64 bytes are looked at in one way, and more in another.
#[test]
fn agrees_on_keys_of_every_length_around_that_of_a_block() {
    for longest in [7, 8, 9, 56, 57, 63, 64, 65, 72, 127, 128, 129, 192, 200] {
        let text = |len: usize| "abcdefg".repeat(40)[..len].to_owned();
        let patterns = [longest, longest - 1, longest - 2].into_iter();
        let patterns = patterns.flat_map(|len| {
            let end = text(longest).split_off(longest - len);
            [text(len) + "*", format!("*{end}")]
        });
        let bindings = patterns.zip(0..);
        let bindings: Vec<Binding> = bindings
            .map(|(pattern, age)| binding(&pattern, LOCATIONS[(age % 3) as usize], age))
            .collect();
        let names = (longest - 3..longest + 10).flat_map(|len| {
            let before = "-".repeat(len.saturating_sub(longest));
            [
                text(len),
                before + &text(longest)[longest - len.min(longest)..],
            ]
        });
        assert_agree(&bindings, &names.collect::<Vec<_>>());
    }
}

/// A difference in one part of a name is not canceled by a difference in another part.
#[test]
fn agrees_where_parts_of_a_name_differ_alike() {
    let parts = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];
    for pattern in [
        format!("{}{}*", parts[0], parts[1]),
        format!("{}{}*{}", parts[0], parts[1], parts[2]),
    ] {
        let wrong = |part: &str, at: usize| {
            let mut bytes = part.as_bytes().to_vec();
            bytes[at] ^= 3;
            String::from_utf8(bytes).unwrap()
        };
        let mut names = vec![parts.concat()];
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))) {
                let mut name = parts.map(str::to_owned);
                name[one] = wrong(parts[one], i);
                name[other] = wrong(parts[other], j);
                names.push(name.concat());
            }
        }
        assert_agree(&[binding(&pattern, "token", 1)], &names);
    }
}

/// Of thousands of names as long as a key, some have hashes that look like the key's.
#[test]
fn a_key_is_compared_byte_by_byte() {
    for length in [12, 40, 41, 90] {
        let text = |middle: usize| {
            let rest = "x".repeat(length - 8);
            let (before, after) = rest.split_at(rest.len() / 2);
            format!("{before}{middle:08}{after}")
        };
        for (before, after) in [("", ""), ("", "*"), ("*", "")] {
            let key = format!("{before}{}{after}", text(0));
            for resolver in in_several_ways(&[binding(&key, "token", 1)]) {
                assert_eq!(resolver.resolve(&text(0)).len(), 1);
                for i in 1..3_000 {
                    assert!(resolver.resolve(&text(i)).is_empty(), "{key}, {i}");
                }
            }
        }
    }
}

#[test]
fn agrees_on_patterns_that_go_on_behind_a_key() {
    // Enough for each beginning, and each end, to be a key of its own.
    let keys: Vec<char> = ('a'..='l').collect();
    let bindings = |of_key: &dyn Fn(char) -> [(String, &'static str); 3]| -> Vec<Binding> {
        let patterns = keys.iter().flat_map(|key| of_key(*key));
        let aged = patterns.zip(0..);
        aged.map(|((pattern, location), age)| binding(&pattern, location, age))
            .collect()
    };
    let heads = bindings(&|key| {
        [
            (format!("{key}_*"), "a"),
            (format!("{key}_1*"), "a"),
            (format!("{key}_*x*"), "b"),
        ]
    });
    let tails = bindings(&|key| {
        [
            (format!("*_{key}"), "a"),
            (format!("*1_{key}"), "a"),
            (format!("*x*_{key}"), "b"),
        ]
    });
    for bindings in [&heads, &tails, &[&*heads, &*tails].concat()] {
        let names = [
            "a_x", "a_1x", "a_1", "a_", "l_2x", "x_a", "x1_a", "1_a", "_a", "x2_l", "a_x_a",
            "a_1x1_l",
        ];
        assert_agree(bindings, &names.map(str::to_owned));
    }
}

/// A result can be used where one with a shorter lifetime is wanted, and be declared before the resolver that it
/// borrows.
#[test]
fn what_was_found_borrows_like_a_reference() {
    fn shorter<'a>(found: Resolved<'static>, _: &'a str) -> Resolved<'a> {
        found
    }
    let _ = shorter;
    let mut found = Vec::new();
    let resolver = resolver(&[binding("t", "a", 1)]);
    found.push(resolver.resolve("t"));
    assert_eq!(found[0].len(), 1);
}

/// A difference in length once made up for one in the bytes, whatever was drawn, so that this never ended.
#[test]
fn names_that_differ_in_length_and_one_byte() {
    let names = [
        "10000000",
        "100000000",
        "xaaaaaaaaabbbbbbz",
        "xaaaaaaaaabbbbbbbz",
    ];
    let bindings: Vec<Binding> = names.map(|name| binding(name, "a", 1)).into();
    assert_agree(&bindings, &names.map(str::to_owned));
}

/// Of many rows with the same pattern and location only the best is looked at.
#[test]
fn only_winners_of_a_listed_pattern_are_offered() {
    let mut bindings: Vec<Binding> = (0..1_000).map(|age| binding("t*", "a", age)).collect();
    bindings.extend((0..9).map(|i| binding(&format!("t{i}*"), "b", 1)));
    let given: Vec<Given> = bindings.iter().map(given).collect();
    let index = compile_within(&given, Limits::USUAL);
    assert!(index.is_list);
    let mut best = Best::new(&index);
    index.best_wildcards("t", &mut best);
    assert!(best.work() < 100, "{} steps", best.work());
    let names = ["t", "t1", "t12", "x"].map(str::to_owned);
    assert_agree(&bindings, &names);
}

/// Limits count patterns, however many locations each has.
#[test]
fn a_pattern_counts_once() {
    const THREE: usize = 3;
    let listed = Limits {
        few: 0,
        listed: THREE,
        few_of_a_kind: 0,
        ..Limits::USUAL
    };
    let of_a_kind = Limits {
        listed: 0,
        few_of_a_kind: THREE,
        ..listed
    };
    for limits in [listed, of_a_kind] {
        for count in 1..=5 {
            let bindings: Vec<Given> = (0..count)
                .flat_map(|i| ["a", "b"].map(|location| binding(&format!("p{i}_*"), location, 1)))
                .map(|binding| given(&binding))
                .collect();
            let index = compile_within(&bindings, limits);
            assert_eq!(index.is_list, count <= THREE, "{count} within {limits:?}");
        }
    }
}

/// A build ends, whatever patterns were chosen.
#[test]
fn what_no_hashes_keep_apart_is_listed() {
    let bindings: Vec<Binding> = (0..300)
        .flat_map(|i| {
            let (head, tail) = (format!("p{i}_*"), format!("*_s{i}"));
            [head, tail, format!("p{i}_x"), format!("query_*x{i}y*")]
        })
        .map(|pattern| binding(&pattern, "a", 1))
        .collect();
    let given: Vec<Given> = bindings.iter().map(given).collect();
    let ways = [(NO_LIST, false), (NO_KEYS, true)];
    for (limits, is_list) in ways {
        assert_eq!(compile_within(&given, limits).is_list, is_list);
    }
    let names = ["p7_x", "p7_y", "x_s7", "p7_s8", "p7", "query_x7y"].map(str::to_owned);
    assert_agree(&bindings, &names);
}

#[test]
fn up_to_eight_locations_stay_off_the_heap() {
    let bindings: Vec<Binding> = LOCATIONS
        .iter()
        .zip(0..)
        .flat_map(|(location, age)| [binding("*", location, age), binding("t*", location, age)])
        .collect();
    for count in [1, 8, 9] {
        let (old, new) = bindings[..2 * count].split_at(count);
        let changed = resolver(old).with_changes([], new.iter().map(given));
        let aside = change(&resolver(old), [] as [Given; 0], new.iter().map(given), 0);
        let built = in_several_ways(&bindings[..2 * count]);
        for resolver in built.into_iter().chain([changed, aside]) {
            let found = resolver.resolve("tool");
            assert_eq!(found.len(), count);
            assert_eq!(found.is_on_the_heap(), count > 8);
        }
    }
}

#[test]
fn a_binding_that_is_added_again_is_one() {
    let one = binding("a*", "token", 1);
    let resolver = resolver([
        &one,
        &binding("a**", "/token", 1),
        &binding("a*", "token", 2),
    ]);
    assert_eq!(resolver.len(), 2);
    assert_eq!(found(&resolver.resolve("a")), [one]);
}

#[test]
fn a_builder_can_go_on() {
    let mut builder = Resolver::builder();
    assert!(builder.build().is_empty());
    assert!(Resolver::default().is_empty());
    let (location, pattern, id) = binding("a", "token", 1);
    builder.add(pattern, location, id);
    let first = builder.build();
    assert!(!first.is_empty());
    let (location, pattern, id) = binding("b", "token", 2);
    builder.add(pattern, location, id);
    assert_eq!(builder.build().len(), 2);
    assert!(first.resolve("b").is_empty());
}

#[test]
fn it_can_be_shared() {
    fn assert_shared<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    assert_shared::<Resolver>();
    assert_shared::<super::ResolverBuilder>();
    assert_shared::<super::Resolved<'static>>();
    assert_shared::<Match<'static>>();
    assert_shared::<ToolPattern>();
}

#[test]
fn debug_forms_are_short() {
    let resolver = resolver(&[binding("a*", "token", 1)]);
    assert_eq!(format!("{resolver:?}"), "Resolver { bindings: 1, .. }");
    assert_eq!(
        format!("{:?}", resolver.resolve("a")),
        "[Match { location: Location(\"/token\"), pattern: ToolPattern(\"a*\"), \
         id: SecretId(00000000-0000-0000-0000-000000000001) }]"
    );
}
