//! Keyward's resolver beside a floor, the naive matcher and what people otherwise use to match names, on identical
//! workloads.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! writes `target/peers.json`, draws `docs/resolver.svg`, and prints the tables. `-- --quick` only compares the
//! answers, on small sizes. `-- draw` draws what was written before. `-- keyward` leaves the rivals out and writes
//! nothing. A number sets the greatest size. `-- count` counts instructions instead of time, with valgrind.

use std::time::Instant;

use cap::Cap;
use serde::{Deserialize, Serialize};

use design::{Build, Design, Floor, Keyward, Naive};
use mix::{Binding, DRAWS, Mix, Workload, workload};
use peers::PEERS;
use timing::Timed;

mod chart;
mod count;
mod design;
mod further;
mod mix;
mod peers;
mod report;
mod timing;

#[global_allocator]
static MEMORY: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub mix: u8,
    pub bindings: usize,
    pub design: String,
    pub ns: f64,
    pub build_ms: f64,
    pub bytes_per_binding: f64,
}

/// What can be asked for, besides a greatest size.
const WORDS: [&str; 5] = ["--quick", "--test", "count", "draw", "keyward"];

/// How the program is run.
struct Options {
    quick: bool,
    rivals: bool,
    most: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    if has("draw") {
        chart::draw(&report::read());
        return;
    }
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if let [pass, design, ..] = &*args
        && pass == "pass"
    {
        count::pass(design, &numbers);
        return;
    }
    let is_known = |arg: &&String| WORDS.contains(&arg.as_str()) || arg.parse::<usize>().is_ok();
    if let Some(unknown) = args.iter().find(|arg| !is_known(arg)) {
        eprintln!("{unknown}: not one of {}, or a number", WORDS.join(", "));
        std::process::exit(2);
    }
    if has("count") {
        count::print(numbers.first().copied().unwrap_or(usize::MAX));
        return;
    }
    let quick = has("--quick") || has("--test");
    let options = Options {
        quick,
        rivals: !has("keyward"),
        most: numbers
            .first()
            .copied()
            .unwrap_or(if quick { 100 } else { 1_000_000 }),
    };
    let mut rows = Vec::new();
    for mix in Mix::ALL {
        for &size in mix.sizes().iter().filter(|size| **size <= options.most) {
            measure(mix, size, &options, &mut rows);
        }
    }
    if quick {
        further::check(options.most);
        return;
    }
    further::measure(options.most);
    report::print(&rows);
    if options.rivals {
        report::write(&rows);
        chart::draw(&rows);
    }
}

fn measure(mix: Mix, size: usize, options: &Options, rows: &mut Vec<Row>) {
    let draws = if options.quick { 500 } else { DRAWS };
    let load = workload(mix, size, draws);
    println!("mix {}, {size} bindings", mix.number());
    let designs = designs(mix, size, options.rivals);
    for peer in PEERS.iter().filter(|_| options.rivals) {
        if designs.iter().any(|(name, _)| *name == peer.name) {
            continue;
        }
        let why = if mix == Mix::Hostile {
            "too slow for patterns like these, or too large"
        } else {
            peer.why
        };
        println!("  {:24} skipped: {why}", peer.name);
    }
    let mut entrants = Vec::new();
    for (name, build) in designs {
        let before = MEMORY.allocated();
        let start = Instant::now();
        let built = build(&load.bindings);
        let build_ms = start.elapsed().as_secs_f64() * 1e3;
        let bytes = MEMORY.allocated().saturating_sub(before);
        let mut design = match built {
            Ok(design) => design,
            Err(error) => {
                let line = error.lines().next().unwrap_or_default();
                println!("  {name:24} skipped: {line}");
                continue;
            }
        };
        if name != "floor" {
            assert_right(name, &mut *design, &load, options);
        }
        if options.quick {
            continue;
        }
        let row = Row {
            mix: mix.number(),
            bindings: size,
            design: name.into(),
            ns: f64::NAN,
            build_ms: best_build(build, &load.bindings, build_ms),
            bytes_per_binding: bytes as f64 / size as f64,
        };
        entrants.push((row, design));
    }
    let (mut measured, mut designs): (Vec<Row>, Vec<_>) = entrants.into_iter().unzip();
    let mut timed: Vec<Timed<'_>> = designs
        .iter_mut()
        .map(|design| Timed::new(&mut **design, &load.names))
        .collect();
    timing::in_turn(&mut timed, &load.names);
    for (row, timed) in measured.iter_mut().zip(timed) {
        row.ns = timed.ns(&load.names);
        println!(
            "  {:24} {:12.1} ns {:12.4} ms {:8.1} bytes",
            row.design, row.ns, row.build_ms, row.bytes_per_binding
        );
    }
    rows.append(&mut measured);
}

/// The designs that are measured at this size, by name.
fn designs(mix: Mix, size: usize, rivals: bool) -> Vec<(&'static str, Build)> {
    let mut designs: Vec<(&str, Build)> =
        vec![("floor", Floor::build), ("keyward", Keyward::build)];
    if rivals {
        designs.push(("naive", |bindings| Ok(Box::new(Naive::new(bindings)))));
        let fits = |peer: &&peers::Peer| size <= peer.most[usize::from(mix.number()) - 1];
        designs.extend(
            PEERS
                .iter()
                .filter(fits)
                .map(|peer| (peer.name, peer.build)),
        );
    }
    designs
}

/// Compares the answers with those of the naive matcher, for as many names as both manage in half a second, and at
/// least for fifty.
fn assert_right(name: &str, design: &mut dyn Design, load: &Workload, options: &Options) {
    let mut naive = Naive::new(&load.bindings);
    let start = Instant::now();
    let limit = if options.quick { 0.05 } else { 0.5 };
    for (i, tool) in load.names.iter().enumerate() {
        assert_eq!(design.answer(tool), naive.answer(tool), "{name}: {tool}");
        if i >= 50 && start.elapsed().as_secs_f64() > limit {
            break;
        }
    }
}

/// The milliseconds that a build takes. Short builds are repeated many times, long ones twice.
fn best_build(build: Build, bindings: &[Binding], first: f64) -> f64 {
    let rounds = ((50.0 / first) as usize).clamp(2, 1_000);
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let built = build(bindings);
            let ms = start.elapsed().as_secs_f64() * 1e3;
            drop(built);
            ms
        })
        .fold(first, f64::min)
}
