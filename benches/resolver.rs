//! How long the resolver takes to find what matches a tool's name, by the number of bindings.
//!
//! The names are those of a real agent framework; where more are needed, they are numbered. The bindings are the
//! same in every run. Before anything is timed, the results of the resolver are compared with those of trying every
//! binding in turn.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is a mistake in this file"
)]

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keyward::{Location, Resolver, SecretId, ToolPattern};
use serde::Deserialize;
use uuid::Uuid;

const SIZES: [usize; 3] = [10, 1_000, 100_000];

type Binding = (ToolPattern, Location, SecretId);

#[derive(Deserialize)]
struct Tool {
    tool: String,
    args: Vec<String>,
}

/// A small generator with a fixed seed (`SplitMix64`), so that every run has the same bindings.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

/// Makes bindings for `size` tools. Of twenty, fourteen are exact, four are for a whole service, one is for the end
/// of a name, and one has a `?`. The first two are there in every size, and are what the timed calls hit.
fn bindings(size: usize) -> Vec<Binding> {
    let tools: Vec<Tool> = serde_json::from_str(include_str!("../tests/data/tools.json")).unwrap();
    let mut random = Random(1);
    let mut bindings = vec![
        binding("agno__linear__create_issue", "api_key", 0),
        binding("agno__jira__*", "token", 1),
    ];
    for age in 2..size {
        let Tool { tool, args } = &tools[random.below(tools.len())];
        let (service, action) = tool.rsplit_once('_').unwrap_or((tool, "run"));
        let service = format!("{service}{}", random.below(size));
        let pattern = match random.below(20) {
            0..14 => format!("{service}_{action}"),
            14..18 => format!("{service}_*"),
            18 => format!("*{}_{action}", random.below(size)),
            _ => format!("{service}_{action}?"),
        };
        let location = match args.len() {
            0 => "api_key",
            n => &args[random.below(n)],
        };
        bindings.push(binding(&pattern, location, age));
    }
    bindings
}

fn binding(pattern: &str, location: &str, age: usize) -> Binding {
    (
        ToolPattern::new(pattern).unwrap(),
        Location::new(location).unwrap(),
        SecretId::new(Uuid::from_u128(age as u128)),
    )
}

fn resolver(bindings: &[Binding]) -> Resolver {
    let mut builder = Resolver::builder();
    for (pattern, location, id) in bindings {
        builder.add(pattern.clone(), location.clone(), *id);
    }
    builder.build()
}

/// The best binding of each location, by trying all of them.
fn by_trying_all<'b>(bindings: &'b [Binding], tool: &str) -> Vec<&'b Binding> {
    let mut found: Vec<&Binding> = bindings
        .iter()
        .filter(|(pattern, _, _)| pattern.matches(tool))
        .collect();
    found.sort_by(|(a, at, a_id), (b, bt, b_id)| {
        at.cmp(bt)
            .then_with(|| a.cmp_specificity(b))
            .then_with(|| a_id.cmp(b_id))
    });
    found.dedup_by(|later, kept| later.1 == kept.1);
    found
}

fn assert_right(resolver: &Resolver, bindings: &[Binding], tool: &str) {
    let found: Vec<Binding> = resolver
        .resolve(tool)
        .iter()
        .map(|m| (m.pattern().clone(), m.location().clone(), m.id()))
        .collect();
    let expected: Vec<Binding> = by_trying_all(bindings, tool).into_iter().cloned().collect();
    assert_eq!(found, expected, "{tool}");
}

fn resolve(c: &mut Criterion) {
    let calls = [
        ("exact", "agno__linear__create_issue", 1),
        ("wildcard", "agno__jira__search_issues", 1),
        ("miss", "agno__gmail__send_email", 0),
    ];
    let mut group = c.benchmark_group("resolve");
    for size in SIZES {
        let bindings = bindings(size);
        let resolver = resolver(&bindings);
        for (call, tool, matches) in calls {
            assert_eq!(resolver.resolve(tool).len(), matches, "{tool} among {size}");
            assert_right(&resolver, &bindings, tool);
            group.bench_with_input(BenchmarkId::new(call, size), tool, |b, tool| {
                b.iter(|| resolver.resolve(black_box(tool)).len());
            });
        }
        for (pattern, _, _) in bindings.iter().step_by(size.div_ceil(100)) {
            assert_right(&resolver, &bindings, &pattern.as_str().replace('*', "x"));
        }
    }
    group.finish();
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    for size in SIZES {
        let bindings = bindings(size);
        group.bench_with_input(
            BenchmarkId::from_parameter(size),
            &bindings,
            |b, bindings| {
                b.iter(|| resolver(black_box(bindings)));
            },
        );
    }
    group.finish();
}

/// As many patterns as one user may have by default, as long as they may be, and made so that all of them stay in
/// play.
fn hostile(c: &mut Criterion) {
    const LENGTH: usize = 1024;
    const PATTERNS: usize = 1_000;
    let name = "a".repeat(LENGTH);
    let choice =
        |i: usize, chars: [char; 2]| -> String { (0..10).map(|bit| chars[i >> bit & 1]).collect() };
    let stars = |i: usize| format!("{}*b", "*a".repeat(LENGTH / 2 - 1 - i % 500));
    let fits_twice = |i: usize| format!("*{}{}b", choice(i, ['a', '?']), "a".repeat(LENGTH / 2));
    let long = |i: usize| format!("*{}{}b", choice(i, ['a', '?']), "a".repeat(LENGTH - 12));
    let mixed = |i: usize| {
        format!(
            "*{}{}b",
            choice(i, ['*', '?']),
            "?*a".repeat(LENGTH / 3 - 4)
        )
    };
    let mut group = c.benchmark_group("hostile");
    let kinds: [(&str, &dyn Fn(usize) -> String); 4] = [
        ("stars", &stars),
        ("fits twice", &fits_twice),
        ("fits twice, long", &long),
        ("mixed", &mixed),
    ];
    for (kind, pattern) in kinds {
        let bindings: Vec<Binding> = (0..PATTERNS)
            .map(|i| binding(&pattern(i), "token", i))
            .collect();
        let resolver = resolver(&bindings);
        assert!(by_trying_all(&bindings, &name).is_empty());
        assert!(resolver.resolve(&name).is_empty());
        group.bench_function(kind, |b| {
            b.iter(|| resolver.resolve(black_box(&name)).len());
        });
        group.bench_function(format!("{kind}, each by itself"), |b| {
            b.iter(|| by_trying_all(black_box(&bindings), &name).len());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = resolve, build, hostile
}
criterion_main!(benches);
