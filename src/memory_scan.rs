//! Finding what should be gone: a process that reads all of its own memory. For tests only.
//!
//! A scenario runs in a child process, on its own thread, which stays alive while the memory is read, so that what
//! its calls left on the stack is read as well. What is searched for comes from a seed that the child is given at
//! start, byte by byte, and is kept masked: the search itself holds no copy. Every piece of it of 8 bytes, or of a
//! few more in an encoded form, is searched for at any alignment, since an allocator overwrites the first bytes of
//! what is freed.

use std::{
    collections::HashMap,
    env,
    fs::File,
    hint::black_box,
    io::Read,
    ops::Range,
    os::unix::fs::FileExt,
    process::Command,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use zeroize::Zeroizing;

/// Set for a child: the seed of what it works with, and the masked derived values that must not be found either.
const SEED: &str = "KEYWARD_TEST_MEMORY";
const DERIVED: &str = "KEYWARD_TEST_MEMORY_DERIVED";

const MASK: u8 = 0x5A;

/// Runs a scenario in a child process of this test, and fails if the child does.
pub(crate) fn in_child(test: &str, scenario: impl FnOnce(&Memory) + Send) {
    in_child_of(test, |_| Vec::new(), scenario);
}

/// Does what `in_child` does. What the scenario should leave no copy of, besides its canaries, is computed here.
pub(crate) fn in_child_of(
    test: &str,
    derived: impl FnOnce(Seed) -> Vec<Vec<u8>>,
    scenario: impl FnOnce(&Memory) + Send,
) {
    if let Ok(seed) = env::var(SEED) {
        return run(Seed(seed.parse().expect("a number")), scenario);
    }
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the operating system gives random bytes");
    let seed = Seed(u64::from_le_bytes(seed));
    let masked = |bytes: Vec<u8>| -> String {
        let digits = bytes.iter().map(|byte| format!("{:02x}", byte ^ MASK));
        digits.collect()
    };
    let derived: Vec<String> = derived(seed).into_iter().map(masked).collect();
    let output = Command::new(env::current_exe().expect("a path"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(SEED, seed.0.to_string())
        .env(DERIVED, derived.join(" "))
        .output()
        .expect("the test program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.contains("1 passed"), "{test} is no test: {said}");
}

fn run(seed: Seed, scenario: impl FnOnce(&Memory) + Send) {
    // Unbuffered channels, since a channel without a buffer allocates nothing that could hide a copy.
    let (ask, asked) = sync_channel(0);
    let (answer, answered) = sync_channel(0);
    thread::scope(|scope| {
        let scenario = move || {
            let memory = Memory {
                seed,
                ask,
                answered,
            };
            memory.watch_derived();
            scenario(&memory);
        };
        scope.spawn(scenario);
        let mut search = Search::new();
        for request in asked {
            let found = match request {
                Request::Watch(watched) => {
                    search.watch(watched);
                    Vec::new()
                }
                Request::Forget => {
                    search.forget();
                    Vec::new()
                }
                Request::Search => search.run(),
            };
            answer.send(found).expect("the scenario waits");
        }
    });
}

enum Request {
    Watch(Watched),
    Forget,
    Search,
}

/// What is searched for.
pub(crate) struct Watched {
    name: String,
    masked: Vec<u8>,
    piece: usize,
}

/// A piece that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What it belongs to, which bytes of it, and in which mapping.
    pub(crate) what: String,
    pub(crate) address: u64,
}

/// The seed of the canaries.
#[derive(Clone, Copy)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn canary(self, name: &'static str, length: usize) -> Canary {
        let mix = |seed, byte| mix(seed ^ u64::from(byte));
        Canary {
            seed: name.bytes().fold(self.0, mix),
            length,
        }
    }
}

/// A scenario's access to the search.
pub(crate) struct Memory {
    seed: Seed,
    ask: SyncSender<Request>,
    answered: Receiver<Vec<Found>>,
}

impl Memory {
    /// Returns a canary, and searches for it from now on.
    pub(crate) fn canary(&self, name: &'static str, length: usize) -> Canary {
        let canary = self.seed.canary(name, length);
        self.watch(name, 8, canary.bytes());
        canary
    }

    /// Does what `canary` does, and also searches for the forms that a redactor looks for.
    pub(crate) fn canary_in_all_forms(&self, name: &'static str, length: usize) -> Canary {
        let canary = self.canary(name, length);
        for (case, digits) in [("hex", b"0123456789abcdef"), ("HEX", b"0123456789ABCDEF")] {
            let digit = |byte: u8| [byte >> 4, byte & 15].map(|half| digits[usize::from(half)]);
            self.watch(
                &format!("{name}, {case}"),
                16,
                canary.bytes().flat_map(digit),
            );
        }
        for skipped in 0..3 {
            let byte = |at: usize| canary.byte(skipped + at);
            let sextet = |at: usize| match (at / 4 * 3, at % 4) {
                (from, 0) => byte(from) >> 2,
                (from, 1) => byte(from) << 4 | byte(from + 1) >> 4,
                (from, 2) => byte(from + 1) << 2 | byte(from + 2) >> 6,
                (from, _) => byte(from + 2),
            };
            let digit = |at| BASE64[usize::from(sextet(at) & 63)];
            let whole = (length - skipped) / 3 * 4;
            self.watch(
                &format!("{name}, base64 from {skipped}"),
                12,
                (0..whole).map(digit),
            );
        }
        canary
    }

    /// Searches for these bytes from now on, in pieces of the given length.
    pub(crate) fn watch(&self, name: &str, piece: usize, bytes: impl Iterator<Item = u8>) {
        let masked = bytes.map(|byte| black_box(byte) ^ MASK).collect();
        self.watch_masked(name, piece, masked);
    }

    fn watch_derived(&self) {
        for (i, digits) in env::var(DERIVED)
            .expect("given")
            .split_whitespace()
            .enumerate()
        {
            let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
            let masked = (0..digits.len()).step_by(2).map(digit).collect();
            self.watch_masked(&format!("derived {i}"), 8, masked);
        }
    }

    fn watch_masked(&self, name: &str, piece: usize, masked: Vec<u8>) {
        let name = name.to_owned();
        self.request(Request::Watch(Watched {
            name,
            masked,
            piece,
        }));
    }

    /// Stops searching for anything.
    pub(crate) fn forget(&self) {
        self.request(Request::Forget);
    }

    /// Returns everything that is found in the memory of this process.
    pub(crate) fn search(&self) -> Vec<Found> {
        self.request(Request::Search)
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self, when: &str) {
        let found = self.search();
        assert!(found.is_empty(), "{when}: {found:#?}");
    }

    fn request(&self, request: Request) -> Vec<Found> {
        self.ask.send(request).expect("the search goes on");
        self.answered.recv().expect("the search goes on")
    }
}

/// Calls `work` far enough down the stack that later calls do not overwrite what it left there.
#[inline(never)]
pub(crate) fn deep<T>(work: impl FnOnce() -> T) -> T {
    let distance = [0_u8; 16 * 1024];
    black_box(&distance);
    work()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A secret that is written down nowhere.
#[derive(Clone, Copy)]
pub(crate) struct Canary {
    seed: u64,
    length: usize,
}

impl Canary {
    /// Returns a letter or digit, so that the canary is text and needs no escapes in JSON.
    fn byte(self, at: usize) -> u8 {
        let random = mix(self.seed.wrapping_add(black_box(at) as u64));
        black_box(BASE64[usize::try_from(random % 62).expect("a small number")])
    }

    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> {
        (0..self.length).map(move |at| self.byte(at))
    }

    /// Returns a copy that wipes itself.
    pub(crate) fn wiped(self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.length));
        text.extend(self.bytes().map(char::from));
        text
    }

    /// Returns a copy that does not wipe itself.
    pub(crate) fn unwiped(self) -> String {
        std::mem::take(&mut *self.wiped())
    }

    /// Returns the canary between `before` and `after`, in a buffer that wipes itself.
    pub(crate) fn within(self, before: &str, after: &str) -> Zeroizing<Vec<u8>> {
        let length = before.len() + self.length + after.len();
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        text.extend(before.bytes());
        text.extend(self.bytes());
        text.extend(after.bytes());
        text
    }
}

/// The mixing function of `SplitMix64`.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The pieces to search for, and all the memory that the search needs, so that it allocates none in which a copy
/// lies.
struct Search {
    watched: Vec<Watched>,
    /// By a piece's first 8 bytes: what it is a piece of, and at which offset.
    pieces: HashMap<[u8; 8], (usize, usize)>,
    /// The same by the first two bytes, for speed.
    starts: Box<[bool]>,
    memory: File,
    maps: String,
    chunk: Vec<u8>,
}

/// How far one read overlaps the next, for pieces across the boundary.
const OVERLAP: usize = 32;

impl Search {
    fn new() -> Search {
        Search {
            watched: Vec::with_capacity(256),
            pieces: HashMap::with_capacity(1 << 15),
            starts: vec![false; 1 << 16].into_boxed_slice(),
            memory: File::open("/proc/self/mem").expect("a process can read its memory"),
            maps: String::with_capacity(1 << 20),
            chunk: vec![0; (1 << 20) + OVERLAP],
        }
    }

    fn watch(&mut self, watched: Watched) {
        for (offset, piece) in watched.masked.windows(watched.piece).enumerate() {
            let start = *piece.first_chunk().expect("pieces have at least 8 bytes");
            self.pieces.insert(start, (self.watched.len(), offset));
            self.starts[start_of(&start)] = true;
        }
        self.watched.push(watched);
    }

    fn forget(&mut self) {
        self.watched.clear();
        self.pieces.clear();
        self.starts.fill(false);
    }

    fn run(&mut self) -> Vec<Found> {
        let mut maps = std::mem::take(&mut self.maps);
        maps.clear();
        File::open("/proc/self/maps")
            .and_then(|mut file| file.read_to_string(&mut maps))
            .expect("a process can read what it has mapped");
        let own = self.chunk.as_ptr().addr() as u64;
        let own = own..own + self.chunk.capacity() as u64;
        let mut found = Vec::new();
        let (mut stacks, mut heaps) = (0, 0);
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
                continue;
            };
            let name = fields.nth(3).unwrap_or("anonymous");
            // What the kernel maps contains none of the process's data, and cannot be read like this.
            if !rights.starts_with('r') || name.starts_with("[v") {
                continue;
            }
            stacks += usize::from(name == "[stack]");
            heaps += usize::from(name == "[heap]");
            let (from, to) = range.split_once('-').expect("a range");
            let address = |text| u64::from_str_radix(text, 16).expect("an address");
            let (from, to) = (address(from), address(to));
            // Skip the buffer that is read into, since it holds the bytes of other places.
            self.read(name, from..to.min(own.start), &mut found);
            self.read(name, from.max(own.end)..to, &mut found);
        }
        assert_eq!((stacks, heaps), (1, 1), "not all memory was read");
        self.maps = maps;
        found
    }

    fn read(&mut self, name: &str, mut range: Range<u64>, found: &mut Vec<Found>) {
        while range.start < range.end {
            let left = usize::try_from(range.end - range.start).expect("a range of addresses");
            let wanted = left.min(self.chunk.len());
            let bytes = &mut self.chunk[..wanted];
            self.memory
                .read_exact_at(bytes, range.start)
                .unwrap_or_else(|error| panic!("{name} at {:x}: {error}", range.start));
            for byte in &mut *bytes {
                *byte ^= MASK;
            }
            for (i, start) in bytes.windows(8).enumerate() {
                if !self.starts[start_of(start)] {
                    continue;
                }
                let Some(&(which, offset)) = self.pieces.get(start) else {
                    continue;
                };
                let watched = &self.watched[which];
                if bytes[i..].starts_with(&watched.masked[offset..offset + watched.piece]) {
                    found.push(Found {
                        what: format!("{}, bytes from {offset}, in {name}", watched.name),
                        address: range.start + i as u64,
                    });
                }
            }
            let next = if wanted < left {
                wanted - OVERLAP
            } else {
                wanted
            };
            range.start += next as u64;
        }
    }
}

fn start_of(window: &[u8]) -> usize {
    usize::from(window[0]) << 8 | usize::from(window[1])
}
