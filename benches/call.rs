//! What a whole call costs: finding its user and what is bound to its tool, opening a value, putting it in, and
//! taking it out of the result; and how much more two threads do than one, while a third one writes.
//!
//! ```sh
//! cargo bench --bench call                       # all tables, in a minute or two
//! cargo bench --bench call -- users 1000000      # one of them: value, users (here, how many) or readers
//! cargo bench --bench call -- --test             # the same work a few times, for its assertions
//! ```
//!
//! A value is also opened by itself, with the same cipher and in a context of the same length: `inject` cannot take
//! less than that. Everything is done in turn, in parts, and the least time of each part counts, since disturbances
//! can only add to it.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is a mistake in this file"
)]

use std::{
    env,
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use keyward::{KeySource, NewSecret, SecretPatch, ToolCall, UserId, UserVault, Vault};
use serde_json::{Map, Value};
use uuid::Uuid;

const TOOL: &str = "agno__linear__create_issue";
/// Forty bytes, the length of a usual key.
const VALUE: &str = "lin_api_4f1XbQ7tK9sZ2mWc8vRh3NpYd6LgJ0aE";
/// The bytes of the context in which a value of this length and with these names is sealed.
const CONTEXT: usize = 141;
/// How many secrets each of many users has.
const SECRETS: usize = 10;
/// About how many bytes a user with as many secrets takes.
const USER: usize = 13 << 10;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let test = args.iter().any(|arg| arg == "--test");
    let names = ["value", "users", "readers"];
    let chosen = args.iter().any(|arg| names.contains(&&**arg));
    let wants = |table: &str| !chosen || args.iter().any(|arg| arg == table);
    let most = args.iter().find_map(|arg| arg.parse().ok());
    if wants("value") {
        value(if test { 1 } else { 2_000 });
    }
    if wants("users") {
        users(most.unwrap_or(if test { 100 } else { 100_000 }));
    }
    if wants("readers") {
        readers(Duration::from_millis(if test { 10 } else { 1_000 }));
    }
}

// --- One value. ---

fn value(calls: usize) {
    let cipher = XChaCha20Poly1305::new(&[7; 32].into());
    let (nonce, aad) = ([9; 24].into(), [1; CONTEXT]);
    let payload = |msg| Payload { msg, aad: &aad };
    let sealed = cipher.encrypt(&nonce, payload(VALUE.as_bytes())).unwrap();
    let opening = || {
        // Keyward does not expand keys ahead of their use, and neither does this.
        let cipher = XChaCha20Poly1305::new(black_box(&[7; 32].into()));
        let opened = cipher.decrypt(&nonce, payload(&sealed)).unwrap();
        black_box(opened.len());
    };

    let one = user_with(&["api_key"]);
    let four = user_with(&["api_key", "secret", "auth/user", "auth/password"]);
    let call = ToolCall::new(TOOL);
    let inject = |user: &UserVault, filled: usize| {
        let mut args = Map::new();
        let injection = user.inject(&call, &mut args).unwrap();
        assert_eq!(injection.filled().len(), filled);
        black_box(&args);
        injection
    };
    let unmatched = ToolCall::new("agno__jira__search_issues");
    let nothing = || {
        let injection = one.inject(&unmatched, &mut Map::new()).unwrap();
        assert!(injection.filled().is_empty());
    };
    let wiped = || {
        let mut args = Map::new();
        let injection = one.inject(&call, &mut args).unwrap();
        injection.wipe(&mut args);
        assert!(args.is_empty());
    };
    let result = format!("{}{VALUE}{}", "created ".repeat(64), " as asked".repeat(51));
    let redacted = || {
        let injection = inject(&one, 1);
        let redacted = injection.redactor().redact(&result);
        assert!(!redacted.contains(VALUE));
    };

    let works: [(&str, &dyn Fn()); 6] = [
        ("opening 40 bytes", &opening),
        ("inject, of a tool that nothing is bound to", &nothing),
        ("inject, one value", &|| drop(inject(&one, 1))),
        ("inject, four values", &|| drop(inject(&four, 4))),
        ("inject, one value, and wipe", &wiped),
        ("inject, one value, and redact 1 KB", &redacted),
    ];
    let ns = least(calls, &works.map(|(_, work)| work));
    println!("\n## One call\n\n| what | ns | openings |\n| --- | --- | --- |");
    for ((what, _), took) in works.iter().zip(&ns) {
        println!("| {what} | {took:.0} | {:.2} |", took / ns[0]);
    }
}

fn user_with(locations: &[&str]) -> UserVault {
    let user = Vault::in_memory().unwrap().user(UserId::LOCAL);
    for (i, location) in locations.iter().enumerate() {
        let secret = NewSecret::new(format!("linear{i}"), VALUE).bind("agno__linear__*", *location);
        user.create(secret.default_for_tool()).unwrap();
    }
    user
}

/// The nanoseconds that each work takes. Each does a part in turn, and the least time of its parts counts.
fn least<const N: usize>(calls: usize, works: &[&dyn Fn(); N]) -> [f64; N] {
    let mut least = [f64::INFINITY; N];
    for _ in 0..20 {
        for (work, least) in works.iter().zip(&mut least) {
            let start = Instant::now();
            for _ in 0..calls {
                work();
            }
            *least = least.min(nanos(start, calls));
        }
    }
    least
}

fn nanos(start: Instant, count: usize) -> f64 {
    let count = u32::try_from(count).unwrap();
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

// --- Many users. ---

/// Finds the user and the bindings of the tool, but opens nothing: none of the user's defaults matches. Beside it, what
/// is waited for one line of as many users, and three times the time of one user and one such wait.
fn users(most: usize) {
    println!(
        "\n## Users with {SECRETS} secrets each, in one vault in memory\n\n\
         | users | find and resolve, ns | of one user | one miss, ns | 3 × one user + one miss | first use after an unlock, µs |\n\
         | --- | --- | --- | --- | --- | --- |"
    );
    let mut alone = None;
    for users in [1, 1_000, most] {
        let miss = miss(users);
        let key = || KeySource::raw([7; 32]);
        let vault = Vault::builder().in_memory_with_key(key()).unwrap();
        for user in 0..users {
            create(&vault.user(id(user)));
        }
        vault.lock().unwrap();
        vault.unlock(key()).unwrap();
        let start = Instant::now();
        for user in 0..users {
            find(&vault, user);
        }
        let first = nanos(start, users) / 1e3;
        let took = in_any_order(users, |user| find(&vault, user));
        let alone = *alone.get_or_insert(took);
        println!(
            "| {users} | {took:.0} | {:.2} | {miss:.0} | {:.0} | {first:.1} |",
            took / alone,
            3.0 * alone + miss
        );
    }
}

/// How many nanoseconds it takes until a line of a user's memory arrives, of which most is not in the cache. The lines
/// lie as far apart as users do, so that they need as many page tables, and at different places of their users' memory,
/// so as not to crowd a few places of the cache.
fn miss(users: usize) -> f64 {
    const WORDS: usize = USER / size_of::<usize>();
    const LINE: usize = 64 / size_of::<usize>();
    let word = |user: usize| user * WORDS + user % (WORDS / LINE) * LINE;

    let mut memory = vec![0; users * WORDS];
    let far = far(users);
    for user in 0..users {
        memory[word(user)] = word((user + far) % users);
    }
    let mut at = 0;
    // Each line tells where the next one is.
    in_any_order(1, |_| at = memory[black_box(at)])
}

fn id(user: usize) -> UserId {
    UserId::new(Uuid::from_u128(user as u128))
}

fn create(user: &UserVault) {
    let secrets = (0..SECRETS).map(|i| {
        let pattern = match i {
            0..7 => format!("agno__service{i}__action"),
            _ => format!("agno__service{i}__*"),
        };
        NewSecret::new(format!("service{i}"), VALUE).bind(&*pattern, "api_key")
    });
    user.batch(|batch| {
        for secret in secrets {
            batch.create(secret.default_for_tool());
        }
    })
    .unwrap();
}

fn find(vault: &Vault, user: usize) {
    find_in(&vault.user(id(user)));
}

fn find_in(user: &UserVault) {
    let call = ToolCall::new(black_box("agno__service5__action_of_another"));
    let mut args: Map<String, Value> = Map::new();
    let injection = user.inject(&call, &mut args).unwrap();
    assert!(injection.filled().is_empty());
}

/// The nanoseconds for one user after another, which lie far apart: the median of some parts.
fn in_any_order(users: usize, mut work: impl FnMut(usize)) -> f64 {
    const PART: usize = 1_000;
    let far = far(users);
    let mut user = 0;
    let mut parts = [0; 100].map(|_| {
        let start = Instant::now();
        for _ in 0..PART {
            work(user);
            user = (user + far) % users;
        }
        nanos(start, PART)
    });
    parts.sort_by(f64::total_cmp);
    parts[parts.len() / 2]
}

/// Steps of this length lead to all of so many places, one far from the other.
fn far(places: usize) -> usize {
    let common = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut steps = places * 618 / 1_000 + 1..;
    steps.find(|&step| common(step, places) == 1).unwrap()
}

// --- Readers and a writer. ---

/// Makes calls for some time as the reader of this number, and returns how many it makes in a second.
type Reader = fn(&Vault, usize, Duration) -> f64;

/// Makes calls of users with a thousand secrets each, none of which is opened, while another thread changes one
/// secret after another, of the two users in turn. A snapshot is published each time.
fn readers(during: Duration) {
    let vault = Vault::in_memory().unwrap();
    for user in 0..2 {
        vault
            .user(id(user))
            .batch(|batch| {
                for i in 0..1_000 {
                    let secret = NewSecret::new(format!("service{i}"), VALUE);
                    let pattern = format!("agno__service{i}__*_of_one");
                    batch.create(secret.bind(&*pattern, "api_key").default_for_tool());
                }
            })
            .unwrap();
    }
    println!(
        "\n## Calls in a second, by one reader and by two\n\n\
         | readers | snapshots published in a second | one | two | ratio |\n| --- | --- | --- | --- | --- |"
    );
    let works: [(&str, Reader); 2] = [
        (
            "each asks for a user of its own at each call",
            |vault, reader, during| calls(during, || find(vault, reader)),
        ),
        ("all keep the same user", |vault, _, during| {
            let user = vault.user(id(0));
            calls(during, || find_in(&user))
        }),
    ];
    for (what, work) in works {
        for writing in [false, true] {
            // The best of some runs, taken as a whole.
            let best = |readers| {
                let runs = [0; 5].map(|_| {
                    beside_a_writer(&vault, writing, readers, |reader| {
                        work(&vault, reader, during)
                    })
                });
                runs.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
            };
            let ((one, _), (two, written)) = (best(1), best(2));
            println!(
                "| {what} | {written:.0} | {one:.0} | {two:.0} | {:.2} |",
                two / one
            );
        }
    }
}

/// How many calls are made in a second.
fn calls(during: Duration, call: impl Fn()) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < during {
        for _ in 0..100 {
            call();
        }
        count += 100;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// How much this many readers do together in a second, and a writer beside them.
fn beside_a_writer(
    vault: &Vault,
    writing: bool,
    readers: usize,
    read: impl Fn(usize) -> f64 + Sync,
) -> (f64, f64) {
    const BETWEEN: Duration = Duration::from_millis(1);
    let done = AtomicBool::new(false);
    let write = || {
        let (start, mut count) = (Instant::now(), 0);
        while !done.load(Ordering::Relaxed) {
            let secret = format!("service{}", count % 1_000);
            let user = vault.user(id(count as usize % 2));
            user.update(&*secret, SecretPatch::new().value(VALUE))
                .unwrap();
            count += 1;
            thread::sleep((start + BETWEEN * count).duration_since(Instant::now()));
        }
        f64::from(count) / start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let written = writing.then(|| scope.spawn(write));
        let read = &read;
        let readers: Vec<_> = (0..readers)
            .map(|reader| scope.spawn(move || read(reader)))
            .collect();
        let sum: f64 = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum();
        done.store(true, Ordering::Relaxed);
        (sum, written.map_or(0.0, |written| written.join().unwrap()))
    })
}
