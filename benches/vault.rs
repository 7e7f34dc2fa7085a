//! What it costs to open a vault file, to use it for the first time, to check, write, copy and rotate it; and what
//! it takes on the disk and in memory.
//!
//! ```sh
//! cargo bench --bench vault                       # all tables, in some minutes
//! cargo bench --bench vault -- load rotation      # some of them: load, writes, disk, memory, rotation
//! cargo bench --bench vault -- --test             # the same work with a few secrets, for its assertions
//! ```
//!
//! Every figure stands beside a floor that it cannot fall below. For reading, the floor is to read the bytes of the
//! file and to open as many sealed buffers of the same lengths with the same cipher; for writing, it is the database
//! alone doing writes of the same sizes and the same durability. All times are medians, in one run and on one disk,
//! the one that `TMPDIR` is on. The files are in the cache of the operating system. Before a vault is timed, what it
//! returns is compared with what was put into it.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is a mistake in this file"
)]

use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use chacha20poly1305::{KeyInit, XChaCha20Poly1305, aead::Aead};
use keyward::{KeySource, NewSecret, Quota, SecretInfo, ToolCall, UserId, UserVault, Vault};
use redb::{Database, Durability, TableDefinition};
use serde_json::Map;
use uuid::Uuid;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [child, case, path] = &args[..]
        && child == "--child"
    {
        return memory_child(case, Path::new(path));
    }
    let scale = if args.iter().any(|arg| arg == "--test") {
        Scale::TEST
    } else {
        Scale::FULL
    };
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let tables: [Table; 5] = [
        ("load", load),
        ("writes", writes),
        ("disk", disk),
        ("memory", memory),
        ("rotation", rotation),
    ];
    for (name, table) in tables {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            table(&scale);
        }
    }
}

/// The name of a table, and the function that prints it.
type Table = (&'static str, fn(&Scale));

struct Scale {
    shapes: &'static [Shape],
    repetitions: usize,
    /// How many secrets a user has already when others are created one by one.
    present: &'static [usize],
    creates: usize,
    batch: usize,
    batches: usize,
    /// The number of secrets of the user whose data key is rotated.
    rotated: usize,
    /// How long readers have the vault to themselves.
    reading: Duration,
}

/// The number of users, and of the secrets that each of them has.
#[derive(Clone, Copy)]
struct Shape {
    users: usize,
    secrets: usize,
}

const fn shape(users: usize, secrets: usize) -> Shape {
    Shape { users, secrets }
}

impl Scale {
    const FULL: Scale = Scale {
        shapes: &[
            shape(1, 1_000),
            shape(1, 10_000),
            shape(1, 100_000),
            shape(10_000, 10),
        ],
        repetitions: 3,
        present: &[0, 1_000, 10_000],
        creates: 50,
        batch: 1_000,
        batches: 10,
        rotated: 100_000,
        reading: Duration::from_secs(2),
    };
    const TEST: Scale = Scale {
        shapes: &[shape(1, 20), shape(5, 3)],
        repetitions: 1,
        present: &[0, 20],
        creates: 3,
        batch: 10,
        batches: 2,
        rotated: 600,
        reading: Duration::from_millis(20),
    };
}

// --- The secrets, the same in every run. ---

fn key() -> KeySource {
    KeySource::raw([0x4b; 32])
}

fn user_id(user: usize) -> UserId {
    UserId::new(Uuid::from_u128(user as u128 + 1))
}

fn value(user: usize, i: usize) -> String {
    format!("sk-live-{user:06}-{i:06}-Zq8wT3vNrB5xK2mP4d")
}

/// A secret. One of five is bound to all tools of a service, the others to one tool.
fn secret(user: usize, i: usize) -> NewSecret {
    let tool = if i.is_multiple_of(5) {
        "*"
    } else {
        "create_issue"
    };
    NewSecret::new(format!("service-{i:06}-token"), value(user, i))
        .bind(format!("agno__service_{i:06}__{tool}"), "api_key")
        .default_for_tool()
}

/// Makes one call, which gets one value.
fn inject(of: &UserVault, user: usize, i: usize) {
    let mut args = Map::new();
    let tool = format!("agno__service_{i:06}__create_issue");
    let injection = of.inject(&ToolCall::new(&tool), &mut args).unwrap();
    assert_eq!(args["api_key"], value(user, i).as_str());
    assert_eq!(injection.filled().len(), 1);
}

fn create(path: &Path) -> Vault {
    let builder = Vault::builder().quota(Quota::unlimited());
    builder.create(path, key()).unwrap()
}

fn open(path: &Path) -> Vault {
    let builder = Vault::builder().quota(Quota::unlimited());
    builder.open(path, key()).unwrap()
}

fn snapshot(path: &Path) -> Vault {
    Vault::snapshot(path, key()).unwrap()
}

/// Creates a compact file of this shape.
fn fill(path: &Path, shape: Shape) {
    let builder = Vault::builder().quota(Quota::unlimited());
    let vault = builder.in_memory_with_key(key()).unwrap();
    for user in 0..shape.users {
        create_batch(&vault.user(user_id(user)), user, 0, shape.secrets);
    }
    vault.backup(path).unwrap();
    for user in (0..shape.users).step_by(shape.users.div_ceil(100)) {
        assert_holds(&vault, user, shape.secrets);
    }
}

fn create_batch(of: &UserVault, user: usize, from: usize, number: usize) {
    of.batch(|batch| {
        for i in from..from + number {
            batch.create(secret(user, i));
        }
    })
    .unwrap();
}

/// Asserts that every value is what was written.
fn assert_holds(vault: &Vault, user: usize, secrets: usize) {
    let of = vault.user(user_id(user));
    assert_eq!(of.usage().unwrap().secrets, secrets as u64);
    for i in 0..secrets {
        inject(&of, user, i);
    }
}

// --- The floor. ---

/// Sealed buffers of the same lengths as those in a vault's file.
struct Floor {
    path: PathBuf,
    cipher: XChaCha20Poly1305,
    roots: Vec<Vec<u8>>,
    metadata: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

impl Floor {
    fn new(path: &Path, shape: Shape) -> Floor {
        let cipher = XChaCha20Poly1305::new(&[7; 32].into());
        let seal = |length: usize| cipher.encrypt(&[9; 24].into(), &*vec![1; length]).unwrap();
        let vault = snapshot(path);
        let infos: Vec<SecretInfo> = (0..shape.users)
            .flat_map(|user| vault.user(user_id(user)).secrets().unwrap())
            .collect();
        Floor {
            path: path.to_owned(),
            roots: (0..shape.users).map(|_| seal(72)).collect(),
            metadata: infos
                .iter()
                .map(|info| seal(metadata_length(info)))
                .collect(),
            values: infos.iter().map(|_| seal(value(0, 0).len())).collect(),
            cipher,
        }
    }

    /// The time to open what has to be opened when every user is used once.
    fn first_uses(&self) -> Duration {
        self.read_and_open(&[&self.roots, &self.metadata])
    }

    fn everything(&self) -> Duration {
        self.read_and_open(&[&self.roots, &self.metadata, &self.values])
    }

    fn read_and_open(&self, sealed: &[&Vec<Vec<u8>>]) -> Duration {
        time(|| {
            black_box(fs::read(&self.path).unwrap());
            for sealed in sealed.iter().copied().flatten() {
                black_box(self.cipher.decrypt(&[9; 24].into(), &**sealed).unwrap());
            }
        })
    }
}

/// The length of a secret's metadata, according to `docs/format.md`.
fn metadata_length(info: &SecretInfo) -> usize {
    let optional = |text: &Option<String>| 1 + text.as_ref().map_or(0, |text| 4 + text.len());
    let texts = [&info.display, &info.tool_name, &info.tool_arg, &info.format];
    66 + info.secret_name.len() + texts.map(optional).iter().sum::<usize>()
}

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const USERS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("users");
const ROWS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rows");

/// The database alone, with rows of the same sizes.
struct Bare {
    database: Database,
    row: Vec<u8>,
    /// The state of a generator (`SplitMix64`) of keys that are spread like digests.
    random: u64,
}

impl Bare {
    fn create(path: &Path, info: &SecretInfo) -> Bare {
        let mut builder = Database::builder();
        Bare {
            database: builder
                .set_cache_size(8 * 1024 * 1024)
                .create(path)
                .unwrap(),
            row: vec![3; 8 + 40 + metadata_length(info) + 40 + value(0, 0).len()],
            random: 1,
        }
    }

    fn key(&mut self) -> [u8; 32] {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mut key = [5; 32];
        key[16..24].copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
        key
    }

    /// Does one transaction like those of keyward: with two phases, and durable.
    fn write(&mut self, rows: usize) {
        let keys: Vec<[u8; 32]> = (0..rows).map(|_| self.key()).collect();
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_durability(Durability::Immediate).unwrap();
        transaction.set_quick_repair(true);
        {
            let mut users = transaction.open_table(USERS).unwrap();
            let mut table = transaction.open_table(ROWS).unwrap();
            let mut meta = transaction.open_table(META).unwrap();
            users.insert(&[5; 16], &[4; 116][..]).unwrap();
            for key in &keys {
                table.insert(key, &*self.row).unwrap();
            }
            meta.insert("root", &[4; 156][..]).unwrap();
        }
        transaction.commit().unwrap();
    }
}

// --- The tables. ---

/// Opening a file, using its users for the first time, checking the file, and copying it.
fn load(scale: &Scale) {
    print_head(
        "Reading, against reading the file and opening as many bytes",
        &["users × secrets", "what", "time", "floor", "ratio"],
    );
    for &shape in scale.shapes {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        fill(&path, shape);
        let floor = Floor::new(&path, shape);
        let of_all = format!("{} × {}", grouped(shape.users), grouped(shape.secrets));
        let row = |what: &str, floor: &dyn Fn() -> Duration, took: &mut dyn FnMut() -> Duration| {
            let (took, floor) = medians(scale.repetitions, || (took(), floor()));
            let ratio = ratio(took.as_secs_f64(), floor.as_secs_f64());
            print_row(&[&of_all, what, &millis(took), &millis(floor), &ratio]);
        };
        let (first_uses, everything) = (&|| floor.first_uses(), &|| floor.everything());
        // Returned, so that closing is not timed.
        let use_all = |vault: Vault| {
            for user in 0..shape.users {
                inject(&vault.user(user_id(user)), user, shape.secrets / 2);
            }
            vault
        };

        row("open", first_uses, &mut || time(|| open(&path)));
        row("open and first use of one user", first_uses, &mut || {
            time(|| {
                let vault = open(&path);
                inject(&vault.user(user_id(0)), 0, 1);
                vault
            })
        });
        if shape.users > 1 {
            row("open and first use of every user", first_uses, &mut || {
                time(|| use_all(open(&path)))
            });
        }
        let vault = open(&path);
        row("verify", everything, &mut || {
            time(|| vault.verify().unwrap())
        });
        row("backup", first_uses, &mut || {
            let copy = dir.path().join("copy");
            let took = time(|| vault.backup(&copy).unwrap());
            fs::remove_file(copy).unwrap();
            took
        });
        drop(vault);

        row(
            "snapshot and first use of every user",
            first_uses,
            &mut || time(|| use_all(snapshot(&path))),
        );
        let loaded = use_all(snapshot(&path));
        row("reload of what has not changed", first_uses, &mut || {
            time(|| assert!(!loaded.reload().unwrap()))
        });
        let mut made = shape.secrets;
        row(
            "reload of one new secret, and its use",
            first_uses,
            &mut || {
                open(&path)
                    .user(user_id(0))
                    .create(secret(0, made))
                    .unwrap();
                let took = time(|| {
                    assert!(loaded.reload().unwrap());
                    inject(&loaded.user(user_id(0)), 0, made);
                });
                made += 1;
                took
            },
        );
    }
}

/// Creating secrets, durably.
fn writes(scale: &Scale) {
    print_head(
        "Writing, against the database alone",
        &["what", "per second", "database alone", "ratio"],
    );
    let row = |what: &str, rows: usize, ours: Duration, bare: Duration| {
        let rate = |took: Duration| number(rows) / took.as_secs_f64();
        let ratio = ratio(ours.as_secs_f64(), bare.as_secs_f64());
        let rates = [ours, bare].map(|took| format!("{:.0}", rate(took)));
        print_row(&[what, &rates[0], &rates[1], &ratio]);
    };
    for &present in scale.present {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        fill(&path, shape(1, present));
        let vault = open(&path);
        let of = vault.user(user_id(0));
        let info = of.create(secret(0, present)).unwrap();
        let mut bare = Bare::create(&dir.path().join("bare"), &info);
        bare.write(present + 1);
        let mut i = present + 1;
        let (ours, alone) = medians(scale.repetitions, || {
            let ours = time(|| {
                for i in i..i + scale.creates {
                    of.create(secret(0, i)).unwrap();
                }
            });
            i += scale.creates;
            let alone = time(|| (0..scale.creates).for_each(|_| bare.write(1)));
            (ours, alone)
        });
        assert_holds(&vault, 0, i);
        let what = format!("creates, of a user with {}", grouped(present));
        row(&what, scale.creates, ours, alone);
    }
    let (ours, alone) = medians(scale.repetitions, || {
        let dir = tempfile::tempdir().unwrap();
        let vault = create(&dir.path().join("vault"));
        let of = vault.user(user_id(0));
        let info = of.create(secret(0, 0)).unwrap();
        let mut bare = Bare::create(&dir.path().join("bare"), &info);
        bare.write(1);
        let ours = time(|| {
            for i in 0..scale.batches {
                create_batch(&of, 0, 1 + i * scale.batch, scale.batch);
            }
        });
        let alone = time(|| (0..scale.batches).for_each(|_| bare.write(scale.batch)));
        assert_holds(&vault, 0, 1 + scale.batches * scale.batch);
        (ours, alone)
    });
    let what = format!("creates in batches of {}", grouped(scale.batch));
    row(&what, scale.batches * scale.batch, ours, alone);
}

/// The length of the file per secret.
fn disk(scale: &Scale) {
    print_head(
        "Bytes on the disk for each secret",
        &["secrets", "written", "their own bytes", "file", "compacted"],
    );
    let total = scale.batch * scale.batches;
    for (batch, total) in [(1, scale.batch), (scale.batch, total)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        let vault = create(&path);
        let of = vault.user(user_id(0));
        for i in 0..total / batch {
            create_batch(&of, 0, i * batch, batch);
        }
        let bytes = |bytes: u64| format!("{:.0}", number(bytes) / number(total));
        let own = bytes(vault.usage().unwrap().bytes);
        let as_is = bytes(fs::metadata(&path).unwrap().len());
        vault.compact().unwrap();
        assert_holds(&vault, 0, total);
        let compacted = bytes(fs::metadata(&path).unwrap().len());
        let how = format!("{} at a time", grouped(batch));
        print_row(&[&grouped(total), &how, &own, &as_is, &compacted]);
    }
}

const MEMORY_CASES: [&str; 6] = [
    "nothing",
    "open",
    "first uses",
    "verify",
    "snapshot",
    "rotation",
];

/// The peak memory of a process, as Linux reports it.
fn memory(scale: &Scale) {
    if !Path::new("/proc/self/status").exists() {
        println!("\nPeak memory: only Linux tells it.");
        return;
    }
    let mut columns = vec!["users × secrets", "file"];
    columns.extend(MEMORY_CASES);
    print_head(
        "Peak memory of a process that does one thing, in MiB",
        &columns,
    );
    for &shape in scale.shapes {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        fill(&path, shape);
        let mebibytes = |kibibytes: u64| format!("{:.1}", number(kibibytes) / 1024.0);
        let mut row = vec![
            format!("{} × {}", grouped(shape.users), grouped(shape.secrets)),
            mebibytes(fs::metadata(&path).unwrap().len() / 1024),
        ];
        for case in MEMORY_CASES {
            let child = Command::new(env::current_exe().unwrap())
                .args(["--child", case])
                .arg(&path)
                .output()
                .unwrap();
            assert!(child.status.success(), "{case}: {child:?}");
            let told = String::from_utf8(child.stdout).unwrap();
            row.push(mebibytes(told.trim().parse().unwrap()));
        }
        print_row(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn memory_child(case: &str, path: &Path) {
    let use_all = |vault: &Vault| {
        for user in vault.users().unwrap() {
            vault.user(user).usage().unwrap();
        }
    };
    match case {
        "nothing" => {}
        "open" => drop(open(path)),
        "first uses" => use_all(&open(path)),
        "verify" => open(path).verify().unwrap(),
        "snapshot" => use_all(&snapshot(path)),
        "rotation" => open(path).rotate_data_key(key()).unwrap(),
        _ => panic!("no such case: {case}"),
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.unwrap().trim().trim_end_matches(" kB"));
}

/// Rotating to a new data key while a reader continues.
fn rotation(scale: &Scale) {
    print_head(
        "Rotating the data key while one thread resolves calls",
        &[
            "secrets",
            "time",
            "per second",
            "a call before",
            "a call meanwhile",
            "ratio",
            "slowest call meanwhile",
        ],
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    fill(&path, shape(1, scale.rotated));
    let vault = open(&path);
    let of = vault.user(user_id(0));
    let usage = (vault.usage().unwrap(), of.usage().unwrap());
    let infos = of.secrets().unwrap();
    let before = read_until(&of, scale.rotated, |reading| reading >= scale.reading);

    let done = AtomicBool::new(false);
    let (took, meanwhile) = thread::scope(|scope| {
        let reader =
            scope.spawn(|| read_until(&of, scale.rotated, |_| done.load(Ordering::Acquire)));
        let took = time(|| {
            let mut told = Vec::new();
            vault
                .rotate_data_key_with_progress(key(), |progress| told.push(progress.done))
                .unwrap();
            assert!(told.is_sorted() && told.last() == Some(&(scale.rotated as u64)));
        });
        done.store(true, Ordering::Release);
        (took, reader.join().unwrap())
    });
    assert_holds(&vault, 0, scale.rotated);
    assert_eq!((vault.usage().unwrap(), of.usage().unwrap()), usage);
    assert_eq!(of.secrets().unwrap(), infos);
    vault.verify().unwrap();
    drop((of, vault));
    assert_holds(&open(&path), 0, scale.rotated);

    print_row(&[
        &grouped(scale.rotated),
        &millis(took),
        &format!("{:.0}", number(scale.rotated) / took.as_secs_f64()),
        &micros(before.mean),
        &micros(meanwhile.mean),
        &ratio(meanwhile.mean.as_secs_f64(), before.mean.as_secs_f64()),
        &micros(meanwhile.slowest),
    ]);
}

struct Reading {
    mean: Duration,
    slowest: Duration,
}

/// Resolves one call after another, and looks at each value.
fn read_until(of: &UserVault, secrets: usize, end: impl Fn(Duration) -> bool) -> Reading {
    let start = Instant::now();
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    while calls == 0 || !end(start.elapsed()) {
        // The step has no factor in common with the number of secrets, so that all have their turn.
        let i = (calls as usize * 7919) % secrets;
        slowest = slowest.max(time(|| inject(of, 0, i)));
        calls += 1;
    }
    Reading {
        mean: start.elapsed() / calls,
        slowest,
    }
}

// --- Times and how they are shown. ---

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    drop(black_box(result));
    took
}

/// The medians of two things that are measured in turn, so that a disturbance of one disturbs the other as well.
fn medians(
    repetitions: usize,
    mut measure: impl FnMut() -> (Duration, Duration),
) -> (Duration, Duration) {
    let (mut first, mut second): (Vec<_>, Vec<_>) = (0..repetitions).map(|_| measure()).unzip();
    first.sort_unstable();
    second.sort_unstable();
    (first[repetitions / 2], second[repetitions / 2])
}

fn number(n: impl TryInto<u32>) -> f64 {
    f64::from(n.try_into().ok().expect("less than 2^32"))
}

fn ratio(ours: f64, floor: f64) -> String {
    format!("{:.2}", ours / floor)
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn grouped(n: usize) -> String {
    match (n / 1_000, n % 1_000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{},{rest:03}", grouped(thousands)),
    }
}

fn print_head(title: &str, columns: &[&str]) {
    println!("\n## {title}\n");
    print_row(columns);
    print_row(&vec!["---"; columns.len()]);
}

fn print_row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}
