//! What the table of designs does not say about keyward: exact hits alone, several locations, the slowest single
//! lookup, changes, and two readers.

use std::{hint::black_box, time::Instant};

use keyward::{Location, Resolver, SecretId, ToolPattern};
use uuid::Uuid;

use crate::{
    design::{Design, Floor, Keyward, Naive, resolver},
    mix::{Binding, DRAWS, Mix, Names, Workload, workload},
    timing::{best, time},
};

pub fn measure(most: usize) {
    let size = most.min(100_000);
    println!("\nkeyward further");
    exact_hits(size);
    for size in [10, 1_000].into_iter().filter(|size| *size <= most) {
        locations(size);
    }
    worst();
    changes(size);
    threads(size.min(10_000));
}

fn say(what: &str, figures: std::fmt::Arguments<'_>) {
    println!("  {what:40} {figures}");
}

fn exact_hits(most: usize) {
    for mix in [Mix::Exact, Mix::Wildcards] {
        for size in [10, 100, 1_000, 10_000, 100_000]
            .into_iter()
            .filter(|size| *size <= most)
        {
            let load = workload(mix, size, DRAWS);
            let mut floor = Floor::build(&load.bindings).expect("it builds always");
            let mut keyward = Keyward(resolver(&load.bindings));
            let ns = time([&mut *floor, &mut keyward], &load.exact_hits);
            say(
                &format!("mix {}, {size}: exact hits alone", mix.number()),
                format_args!("{:.1} ns, {:.2} of the floor", ns[1], ns[1] / ns[0]),
            );
        }
    }
}

/// One location for each tool, compared with four.
fn locations(size: usize) {
    let load = workload(Mix::Exact, size, DRAWS);
    let of = |count: usize| -> Vec<Binding> {
        let at = |i: usize| Location::new(&format!("argument{i}")).expect("a location");
        let bindings = load.bindings.iter().enumerate();
        bindings
            .flat_map(|(age, (pattern, _, _))| {
                (0..count).map(move |i| {
                    let id = SecretId::new(Uuid::from_u128((age * count + i) as u128));
                    (pattern.clone(), at(i), id)
                })
            })
            .collect()
    };
    let [mut one, mut four] = [1, 4].map(|count| Keyward(resolver(&of(count))));
    let ns = time([&mut one, &mut four], &load.names);
    say(
        &format!("mix 1, {size}: four locations and one"),
        format_args!("{:.1} and {:.1} ns: {:.2}", ns[1], ns[0], ns[1] / ns[0]),
    );
}

/// The slowest name of each mix. The best of many tries of each name counts, so that it is the name that is slow.
fn worst() {
    for mix in [Mix::Exact, Mix::Wildcards, Mix::Hostile] {
        let size = 1_000;
        let load = workload(mix, size, 20_000);
        let resolver = resolver(&load.bindings);
        let mut least = vec![f64::INFINITY; load.names.len()];
        for _ in 0..5 {
            for (least, name) in least.iter_mut().zip(load.names.iter()) {
                *least = least.min(one(&resolver, name));
            }
        }
        let slowest = least.into_iter().fold(0.0, f64::max);
        say(
            &format!("mix {}, {size}: the slowest name", mix.number()),
            format_args!("{slowest:.0} ns"),
        );
    }
    for length in [64, 256, 1_024] {
        let bindings: Vec<Binding> = (0..1_000)
            .map(|i: usize| {
                let choice: String = (0..10)
                    .map(|bit| if i >> bit & 1 == 0 { 'a' } else { '?' })
                    .collect();
                let text = format!("*{choice}{}b", "*a".repeat((length - 12) / 2));
                let pattern = ToolPattern::new(&text).expect("a pattern");
                let location = Location::new("token").expect("a location");
                (pattern, location, SecretId::new(Uuid::from_u128(i as u128)))
            })
            .collect();
        let resolver = resolver(&bindings);
        for (what, name) in [
            ("all but the end", "a".repeat(length)),
            ("too few", format!("{}cb", "a".repeat(length / 2))),
            (
                "b too early",
                format!("{}b{}", "a".repeat(length / 2), "a".repeat(length / 2)),
            ),
        ] {
            say(
                &format!("1,000 of `*…*a*a*…b`, {length}: {what}"),
                format_args!("{:.0} ns", one(&resolver, &name)),
            );
        }
    }
}

fn one(resolver: &Resolver, name: &str) -> f64 {
    best(5, || {
        black_box(resolver.resolve(black_box(name))).len() as u64
    })
}

fn changes(size: usize) {
    let load = workload(Mix::Wildcards, size, DRAWS);
    let Changed {
        resolver: changed,
        all,
        micros,
    } = changed(&load);
    say(
        &format!("mix 2, {size}: {} changes", micros.len()),
        format_args!(
            "{:.0} µs each, the slowest {:.0}",
            micros.iter().sum::<f64>() / micros.len() as f64,
            micros.iter().copied().fold(0.0, f64::max)
        ),
    );
    let [mut changed, mut anew] = [changed, resolver(&all)].map(Keyward);
    let ns = time([&mut changed, &mut anew], &load.names);
    say(
        &format!("mix 2, {size}: with these, and built anew"),
        format_args!("{:.1} and {:.1} ns: {:.2}", ns[0], ns[1], ns[0] / ns[1]),
    );
}

/// A resolver that got its last bindings as changes, all that it then has, and what each change took.
struct Changed {
    resolver: Resolver,
    all: Vec<Binding>,
    micros: Vec<f64>,
}

/// Leaves some of the bindings for changes, and compares the answers after them with the naive matcher's.
fn changed(load: &Workload) -> Changed {
    let (kept, later) = load.bindings.split_at(load.bindings.len() * 19 / 20 - 1);
    let later = &later[..later.len().min(64)];
    let mut changed = resolver(kept);
    let mut micros = Vec::with_capacity(later.len());
    for binding in later {
        let start = Instant::now();
        changed = changed.with_changes([], [binding.clone()]);
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let all = [kept, later].concat();
    let (mut naive, mut keyward) = (Naive::new(&all), Keyward(changed.clone()));
    for name in load.names.iter().take(50) {
        assert_eq!(keyward.answer(name), naive.answer(name), "{name}");
    }
    Changed {
        resolver: changed,
        all,
        micros,
    }
}

/// Compares the answers of a resolver that was changed, and measures nothing.
pub fn check(most: usize) {
    changed(&workload(Mix::Wildcards, most, 500));
}

/// The lookups per second of two threads, as a multiple of those of one.
fn threads(size: usize) {
    let load = workload(Mix::Wildcards, size, DRAWS);
    let resolver = resolver(&load.bindings);
    let run = |names: &Names| {
        let mut keyward = Keyward(resolver.clone());
        let start = Instant::now();
        for _ in 0..5 {
            black_box(keyward.pass(names, black_box(0)));
        }
        start.elapsed().as_secs_f64()
    };
    let scaling = (0..5)
        .map(|_| {
            let one = run(&load.names);
            let two = std::thread::scope(|scope| {
                let other = scope.spawn(|| run(&load.names));
                run(&load.names).max(other.join().expect("it does not panic"))
            });
            2.0 * one / two
        })
        .fold(0.0, f64::max);
    say(
        &format!("mix 2, {size}: two readers"),
        format_args!("{scaling:.2} of one"),
    );
}
