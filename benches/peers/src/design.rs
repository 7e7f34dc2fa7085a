//! What a design has to do, and the three designs that are not rivals: the floor, the naive matcher, and keyward.

use keyward::Resolver;

use crate::mix::{Binding, Names};

/// One way to find, for a tool's name, the best binding of each location.
pub trait Design {
    /// Returns the ids of the winners, in the order of locations, joined into one number.
    fn answer(&mut self, name: &str) -> u64;

    /// Looks all names up, each only when the answer before it is known, and returns the sum of the answers.
    fn pass(&mut self, names: &Names, zero: u64) -> u64 {
        let (mut at, mut sum) = (0, 0u64);
        for _ in 0..names.len() {
            let answer = self.answer(names.get(at));
            sum = sum.wrapping_add(answer);
            // The compiler does not know `zero`, so the next name waits for this answer.
            at = (at + 1 + (answer & zero) as usize) % names.len();
        }
        sum
    }
}

pub type Built = Result<Box<dyn Design>, String>;
pub type Build = fn(&[Binding]) -> Built;

/// Joins the id of one more winner to an answer.
pub fn join(answer: u64, id: u64) -> u64 {
    answer.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(id)
}

pub fn id_of(binding: &Binding) -> u64 {
    binding.2.as_uuid().as_u128() as u64
}

/// Bindings sorted by location, and within each location best first: the first one that matches wins there.
pub struct Ranked {
    /// For each binding, its index among the given ones.
    pub order: Vec<usize>,
    pub ids: Vec<u64>,
    /// For each binding, the number of its location.
    pub locations: Vec<u32>,
    /// For each binding, the index of the first one of the next location.
    pub next_location: Vec<usize>,
}

impl Ranked {
    pub fn new(bindings: &[Binding]) -> Ranked {
        let mut order: Vec<usize> = (0..bindings.len()).collect();
        order.sort_by(|&a, &b| {
            let ((pattern, location, id), other) = (&bindings[a], &bindings[b]);
            location
                .cmp(&other.1)
                .then_with(|| pattern.cmp_specificity(&other.0))
                .then_with(|| id.cmp(&other.2))
        });
        let (mut locations, mut number) = (Vec::new(), 0);
        for (at, &i) in order.iter().enumerate() {
            if at > 0 && bindings[order[at - 1]].1 != bindings[i].1 {
                number += 1;
            }
            locations.push(number);
        }
        let mut next_location = vec![order.len(); order.len()];
        for at in (0..order.len().saturating_sub(1)).rev() {
            next_location[at] = if locations[at] == locations[at + 1] {
                next_location[at + 1]
            } else {
                at + 1
            };
        }
        Ranked {
            ids: order.iter().map(|&i| id_of(&bindings[i])).collect(),
            order,
            locations,
            next_location,
        }
    }

    pub fn patterns<'b>(&self, bindings: &'b [Binding]) -> impl Iterator<Item = &'b str> {
        self.order.iter().map(|&i| bindings[i].0.as_str())
    }

    /// The answer, for a design that can tell for each binding whether it matches.
    #[inline]
    pub fn first_of_each(&self, mut matches: impl FnMut(usize) -> bool) -> u64 {
        let (mut at, mut answer) = (0, 0);
        while at < self.ids.len() {
            if matches(at) {
                answer = join(answer, self.ids[at]);
                at = self.next_location[at];
            } else {
                at += 1;
            }
        }
        answer
    }

    /// The answer, from all bindings that match, in their order.
    #[inline]
    pub fn best_of(&self, matching: impl Iterator<Item = usize>) -> u64 {
        let (mut answer, mut last) = (0, u32::MAX);
        for at in matching {
            if self.locations[at] != last {
                last = self.locations[at];
                answer = join(answer, self.ids[at]);
            }
        }
        answer
    }
}

/// The floor, which no design can beat: it hashes the name once, looks at one slot of 64 bytes, and compares the
/// key. It finds names that have a binding of their own, and of those that share a slot only one.
pub struct Floor {
    slots: Vec<Slot>,
}

#[repr(align(64))]
#[derive(Clone)]
struct Slot {
    id: u64,
    len: u8,
    key: [u8; 55],
}

impl Floor {
    pub fn build(bindings: &[Binding]) -> Built {
        let empty = Slot {
            id: 0,
            len: u8::MAX,
            key: [0; 55],
        };
        let mut floor = Floor {
            slots: vec![empty; bindings.len()],
        };
        for binding in bindings {
            let text = binding.0.as_str().as_bytes();
            let at = floor.slot(text);
            let slot = &mut floor.slots[at];
            let len = text.len().min(slot.key.len());
            slot.key[..len].copy_from_slice(&text[..len]);
            (slot.len, slot.id) = (len as u8, id_of(binding));
        }
        Ok(Box::new(floor))
    }

    fn slot(&self, name: &[u8]) -> usize {
        ((u128::from(hash(name)) * self.slots.len() as u128) >> 64) as usize
    }
}

impl Design for Floor {
    #[inline]
    fn answer(&mut self, name: &str) -> u64 {
        let slot = &self.slots[self.slot(name.as_bytes())];
        if slot.key.get(..slot.len.into()) == Some(name.as_bytes()) {
            join(0, slot.id)
        } else {
            // This is 0, but the processor cannot know that before it has the slot.
            u64::from(slot.id == u64::MAX)
        }
    }
}

/// A hash that takes 16 bytes a step, by a product of 128 bits.
#[inline]
fn hash(text: &[u8]) -> u64 {
    fn fold(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    }
    let word = |at: usize| {
        let bytes = text[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    const KEYS: [u64; 3] = [
        0x2d35_8dcc_aa6c_78a5,
        0x8bb8_4b93_962e_acc9,
        0x4b33_a62e_d433_d4a3,
    ];
    let len = text.len();
    let mut hash = KEYS[0] ^ len as u64;
    if len < 8 {
        let mut last = [0; 8];
        last[..len].copy_from_slice(text);
        return fold(u64::from_le_bytes(last) ^ KEYS[1], hash ^ KEYS[2]);
    }
    let mut at = 0;
    while at + 16 < len {
        hash = fold(word(at) ^ KEYS[1], word(at + 8) ^ hash);
        at += 16;
    }
    // The last 16 bytes, or all bytes if they are fewer, some of them twice.
    fold(word(len.saturating_sub(16)) ^ KEYS[2], word(len - 8) ^ hash)
}

/// The naive matcher, which tries every pattern in turn, by precedence.
pub struct Naive {
    patterns: Vec<keyward::ToolPattern>,
    ranked: Ranked,
}

impl Naive {
    pub fn new(bindings: &[Binding]) -> Naive {
        let ranked = Ranked::new(bindings);
        Naive {
            patterns: ranked
                .order
                .iter()
                .map(|&i| bindings[i].0.clone())
                .collect(),
            ranked,
        }
    }
}

impl Design for Naive {
    fn answer(&mut self, name: &str) -> u64 {
        self.ranked
            .first_of_each(|at| self.patterns[at].matches(name))
    }
}

pub struct Keyward(pub Resolver);

impl Keyward {
    pub fn build(bindings: &[Binding]) -> Built {
        Ok(Box::new(Keyward(resolver(bindings))))
    }
}

pub fn resolver(bindings: &[Binding]) -> Resolver {
    let mut builder = Resolver::builder();
    for (pattern, location, id) in bindings {
        builder.add(pattern.clone(), location.clone(), *id);
    }
    builder.build()
}

impl Design for Keyward {
    #[inline]
    fn answer(&mut self, name: &str) -> u64 {
        self.0.resolve(name).iter().fold(0, |answer, found| {
            join(answer, found.id().as_uuid().as_u128() as u64)
        })
    }
}
