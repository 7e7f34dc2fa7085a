//! Instructions for each lookup, counted by callgrind. Whatever else the machine does, the counts differ by a few in
//! a hundred only, since hashes begin with random numbers. They say nothing about waiting for memory.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    design::Build,
    designs,
    mix::{Mix, workload},
};

/// How many names are looked up, from all over the workload.
const NAMES: usize = 2_000;

/// Designs that take longer to build are left out: under callgrind they take minutes.
const LONGEST_BUILD: Duration = Duration::from_millis(100);

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// Prints the table. Each figure is the difference between two runs of this program, one of which looks all names up
/// once more.
///
/// # Panics
///
/// If valgrind cannot be run.
pub fn print(most: usize) {
    println!("| mix | bindings | floor | keyward | of the floor | best of the others |");
    println!("|---|---|---|---|---|---|");
    for mix in Mix::ALL {
        for size in SIZES.into_iter().filter(|size| *size <= most) {
            let of = |design: &str| {
                let [once, twice] = [1, 2].map(|passes| instructions(mix, size, design, passes));
                (twice - once) / NAMES as u64
            };
            let (floor, keyward) = (of("floor"), of("keyward"));
            let bindings = workload(mix, size, 1).bindings;
            let is_built_soon = |build: &Build| {
                let start = Instant::now();
                build(&bindings).is_ok() && start.elapsed() < LONGEST_BUILD
            };
            let rivals = designs(mix, size, true)
                .into_iter()
                .filter(|(name, _)| !["floor", "keyward", "naive"].contains(name))
                .filter(|(_, build)| is_built_soon(build))
                .map(|(name, _)| (of(name), name));
            let best = rivals
                .min()
                .map_or(String::new(), |(count, name)| format!("{name}, {count}"));
            let number = mix.number();
            let ratio = keyward as f64 / floor as f64;
            println!("| {number} | {size} | {floor} | {keyward} | {ratio:.1} | {best} |");
        }
    }
}

/// The instructions of a whole run of this program.
fn instructions(mix: Mix, size: usize, design: &str, passes: usize) -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["pass", design])
        .args([usize::from(mix.number()), size, passes].map(|number| number.to_string()))
        .stdout(Stdio::null())
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{design} under callgrind: {said}");
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = count.expect("callgrind says how many instructions it has seen");
    count.trim().parse().expect("a number")
}

/// Does the work that is counted: builds a design, and looks all names up as often as it is told.
pub fn pass(design: &str, numbers: &[usize]) {
    let &[mix, size, passes] = numbers else {
        panic!("a pass is told the mix, the size and how often");
    };
    let mix = Mix::ALL[mix - 1];
    let load = workload(mix, size, NAMES);
    let designs = designs(mix, size, true);
    let (_, build) = designs
        .into_iter()
        .find(|(name, _)| *name == design)
        .expect("there is such a design");
    let mut design = build(&load.bindings).expect("it builds");
    for _ in 0..passes {
        std::hint::black_box(design.pass(&load.names, std::hint::black_box(0)));
    }
}
