//! How long designs take for a name, measured so that other work on the machine counts as little as possible.

use std::{hint::black_box, time::Instant};

use crate::{design::Design, mix::Names};

/// How many names are timed together. The best time of each part counts, since disturbances can only add to it, and
/// on a machine with other work something disturbs every pass over all names.
const PART: usize = 1_000;

/// How often at least all names are looked up by each design, and for how many seconds. A neighbour on the same core
/// takes half of what a design that keeps the core busy gets, and nothing from one that waits for memory: so it must
/// have had the time to pause.
const ROUNDS: usize = 6;
const SECONDS: f64 = 2.0;

/// With more than so many seconds for all names, a design is timed once, on fewer names.
const SLOW: f64 = 2.0;

/// The nanoseconds that each of these designs takes for a name. They take turns, so that they are timed under the
/// same conditions.
pub fn time<const COUNT: usize>(designs: [&mut dyn Design; COUNT], names: &Names) -> [f64; COUNT] {
    let mut timed = designs.map(|design| Timed::new(design, names));
    in_turn(&mut timed, names);
    timed.map(|timed| timed.ns(names))
}

/// Lets all of these take turns until each has been timed for long enough.
pub fn in_turn(timed: &mut [Timed<'_>], names: &Names) {
    // All parts are timed once, then again, so that none of them finds its own lines in the nearest cache.
    let parts = names.parts(PART);
    while timed.iter().any(|timed| !timed.is_done()) {
        for timed in timed.iter_mut().filter(|timed| !timed.is_done()) {
            timed.pass(&parts);
        }
    }
}

/// A design, and how long it took so far.
pub struct Timed<'d> {
    design: &'d mut dyn Design,
    zero: u64,
    /// For each part, the least time of all rounds, in nanoseconds.
    least: Vec<f64>,
    rounds: usize,
    seconds: f64,
    /// The nanoseconds for a name, if the design is slow.
    slow: Option<f64>,
}

impl<'d> Timed<'d> {
    pub fn new(design: &'d mut dyn Design, names: &Names) -> Timed<'d> {
        let zero = black_box(0);
        let part = names.first(50);
        let once = best(1, || design.pass(&part, zero)) / part.len() as f64;
        let slow = (once * names.len() as f64 > SLOW * 1e9).then(|| {
            let part = names.first(((0.5e9 / once) as usize).clamp(50, names.len()));
            best(1, || design.pass(&part, zero)) / part.len() as f64
        });
        Timed {
            design,
            zero,
            least: vec![f64::INFINITY; names.len().div_ceil(PART)],
            rounds: 0,
            seconds: 0.0,
            slow,
        }
    }

    pub fn ns(&self, names: &Names) -> f64 {
        self.slow
            .unwrap_or_else(|| self.least.iter().sum::<f64>() / names.len() as f64)
    }

    fn is_done(&self) -> bool {
        self.slow.is_some() || self.rounds >= ROUNDS && self.seconds >= SECONDS
    }

    fn pass(&mut self, parts: &[Names]) {
        for (least, part) in self.least.iter_mut().zip(parts) {
            let ns = best(1, || self.design.pass(part, self.zero));
            *least = least.min(ns);
            self.seconds += ns / 1e9;
        }
        self.rounds += 1;
    }
}

/// The least nanoseconds that this takes in so many rounds.
pub fn best(rounds: usize, mut f: impl FnMut() -> u64) -> f64 {
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            black_box(f());
            start.elapsed().as_secs_f64() * 1e9
        })
        .fold(f64::INFINITY, f64::min)
}
