//! Patterns and names that are made to take a long time.

use super::{Binding, LOCATIONS, assert_agree, binding, resolver};

/// Patterns that keep as much as possible in play, on a name of `a`s that they match or almost match.
fn hostile_families(length: usize) -> Vec<Vec<String>> {
    let choice = |i: usize, length: usize, chars: [char; 2]| -> String {
        (0..length).map(|bit| chars[i >> (bit % 6) & 1]).collect()
    };
    let each = |pattern: &dyn Fn(usize) -> String| (0..24).map(pattern).collect();
    vec![
        // Every place behind a star stays reached.
        each(&|i| format!("{}*b", "*a".repeat(length / 4 + i))),
        each(&|i| format!("{}*", "*a".repeat(length / 4 + i))),
        // Every choice of `a` and `?` fits, at the beginning or all along.
        each(&|i| format!("*{}{}b", choice(i, 6, ['a', '?']), "a".repeat(length / 2))),
        each(&|i| format!("*{}b", choice(i, length / 2, ['a', '?']))),
        each(&|i| format!("*{}*", choice(i, length - 20 + i, ['a', '?']))),
        // Stars and `?` in every mixture.
        each(&|i| format!("{}a", choice(i, length, ['*', '?']))),
        each(&|i| format!("{}b", choice(i, length, ['*', '?']))),
        each(&|i| format!("{}*a", "?".repeat(length - 20 + i))),
        // About as long as the name, shorter or longer.
        each(&|i| format!("*{}", "a".repeat(length - 20 + i))),
    ]
}

#[test]
fn hostile_patterns_agree() {
    for length in [63, 64, 150] {
        let almost = "a".repeat(length - 1);
        let names = [
            format!("{almost}a"),
            format!("{almost}b"),
            format!("{almost}é"),
            format!("b{almost}"),
            format!("{}b{}", "a".repeat(length / 2), "a".repeat(length / 2)),
            format!("{}b", "é".repeat(length)),
        ];
        let families = hostile_families(length);
        for family in families.iter().chain([&families.concat()]) {
            let bindings: Vec<Binding> = family
                .iter()
                .zip(0..)
                .map(|(text, age)| binding(text, LOCATIONS[age % 3], age as u128))
                .collect();
            assert_agree(&bindings, &names);
        }
    }
}

#[test]
fn hostile_patterns_of_full_length_take_bounded_time() {
    // Trying each beginning at each place would take 10¹¹ steps.
    let bindings: Vec<Binding> = (0..200)
        .map(|i: usize| {
            let head: String = (0..10)
                .map(|bit| if i >> bit & 1 == 0 { 'a' } else { '?' })
                .collect();
            let text = format!("*{head}{}b", "a".repeat(1012));
            binding(&text, "token", i as u128)
        })
        .collect();
    let resolver = resolver(&bindings);
    assert!(resolver.candidates(&"a".repeat(100_000)).is_empty());
    assert_eq!(
        resolver.candidates(&format!("{}b", "a".repeat(1023))).len(),
        200
    );
}

/// Each pattern has an end that the name has, and no two have the same beginning: so they are listed.
#[test]
fn hostile_patterns_in_a_list_take_bounded_time() {
    let bindings: Vec<Binding> = (0..200)
        .map(|i: usize| {
            let middle: String = (0..8)
                .map(|bit| if i >> bit & 1 == 0 { 'a' } else { '?' })
                .collect();
            let text = format!("{}*{middle}{}b*aaa", "a".repeat(3 + i), "a".repeat(800));
            binding(&text, "token", i as u128)
        })
        .collect();
    let resolver = resolver(&bindings);
    assert!(resolver.candidates(&"a".repeat(100_000)).is_empty());
    let matched = format!("{}b{}", "a".repeat(1_100), "a".repeat(10));
    assert_eq!(resolver.candidates(&matched).len(), 200);
}
