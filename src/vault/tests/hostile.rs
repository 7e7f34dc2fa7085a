//! Files that are made to use up the machine, opened in a process of their own whose memory is measured.
//!
//! The worst that a forged key slot can still ask for takes 1 GiB and some ten seconds, so it is tried on demand:
//! `KEYWARD_HOSTILE_ALL=1 cargo test --release --lib hostile -- --nocapture`

use std::{env, fs, path::Path, process::Command, time::Duration};

use super::*;
use crate::{
    crypto::{KdfParams, checksum},
    storage::{FileStorage, Storage, Transaction},
};

const PASSPHRASE: &str = "correct horse battery staple";
const MIB: u64 = 1024;

fn key() -> KeySource {
    KeySource::passphrase(PASSPHRASE)
}

/// Set for a run of this test program that opens a file: the file.
const CHILD: &str = "KEYWARD_TEST_HOSTILE";

/// Says how it went, and the most memory that it ever had, in KiB.
fn open_and_say(path: &str) {
    let outcome = match Vault::open(path, key()) {
        Ok(vault) => format!("{:?}", vault.verify().map_err(|error| error.kind())),
        Err(error) => format!("{:?}", error.kind()),
    };
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB");
    println!("it was: {outcome} {peak}");
}

/// How the opening of the file went, in a process that can have no more than 8 GiB of addresses, and its peak memory.
fn opened(path: &Path) -> (String, u64) {
    let program = env::current_exe().unwrap();
    let child = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 8388608 && exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(program)
        .arg("vault::tests::hostile::a_hostile_file_takes_no_more_than_the_caps")
        .env(CHILD, path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let line = said
        .lines()
        .find_map(|line| Some(line.split_once("it was: ")?.1));
    let line = line.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&child.stderr)));
    let (outcome, peak) = line.rsplit_once(' ').unwrap();
    (outcome.to_owned(), peak.parse().unwrap())
}

/// The keys of a vault with one passphrase slot, with a body that is changed and the checksum that belongs to it.
fn forge(path: &Path, change: &dyn Fn(&mut Vec<u8>)) {
    let storage = FileStorage::open(path, Duration::ZERO).unwrap();
    let mut keys = storage.keys().unwrap().unwrap();
    keys.truncate(keys.len() - 32);
    change(&mut keys);
    let sum = checksum(&keys);
    keys.extend_from_slice(&sum);
    let keys = Transaction {
        keys: Some(keys),
        ..Transaction::default()
    };
    storage.commit(keys).unwrap();
}

/// Where the first slot is, and its parameters in it.
const SLOT: usize = 17;
const SLOT_LENGTH: usize = 4 + 1 + 12 + 16 + 32 + 4 + 72;
const PARAMETERS: usize = SLOT + 5;

fn parameters(keys: &mut [u8], memory_kib: u32, passes: u32, lanes: u32) {
    for (i, number) in [memory_kib, passes, lanes].into_iter().enumerate() {
        keys[PARAMETERS + 4 * i..][..4].copy_from_slice(&number.to_le_bytes());
    }
}

/// What is done to a file.
type Change<'a> = &'a dyn Fn(&Path);

#[test]
fn a_hostile_file_takes_no_more_than_the_caps() {
    if let Ok(path) = env::var(CHILD) {
        return open_and_say(&path);
    }
    // What is done to the file, how it opens, and what that may take besides the program itself.
    let cases: &[(&str, Change<'_>, &str, u64)] = &[
        ("nothing", &|_| {}, "Ok(())", 19 * MIB),
        (
            "4 TiB of memory",
            &|path| forge(path, &|keys| parameters(keys, u32::MAX, 2, 1)),
            "Corrupt",
            0,
        ),
        (
            "4 billion passes",
            &|path| forge(path, &|keys| parameters(keys, 19 * 1024, u32::MAX, 1)),
            "Corrupt",
            0,
        ),
        (
            "16 of the largest slots",
            &|path| {
                forge(path, &|keys| {
                    parameters(keys, 1024 * 1024, 16, 16);
                    let slot = keys[SLOT..SLOT + SLOT_LENGTH].to_vec();
                    keys[SLOT - 1] = 16;
                    keys.splice(SLOT..SLOT, slot.repeat(15));
                });
            },
            "Corrupt",
            0,
        ),
        (
            "a key ring of 20 MiB",
            &|path| {
                forge(path, &|keys| {
                    keys.truncate(SLOT + SLOT_LENGTH);
                    keys.extend_from_slice(&(20_u32 << 20).to_le_bytes());
                    keys.resize(keys.len() + (20 << 20), 0);
                });
            },
            "Corrupt",
            0,
        ),
        (
            "a key ring of 4 GiB that is not there",
            &|path| {
                forge(path, &|keys| {
                    keys[SLOT + SLOT_LENGTH..][..4].fill(0xFF);
                });
            },
            "Corrupt",
            0,
        ),
        (
            "64 MiB of memory",
            &|path| forge(path, &|keys| parameters(keys, 64 * 1024, 2, 1)),
            "WrongKey",
            64 * MIB,
        ),
        (
            "64 GiB with nothing in them at the end of the file",
            &|path| {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(1 << 36).unwrap();
            },
            "Ok(())",
            19 * MIB,
        ),
    ];
    let worst: (&str, Change<'_>, &str, u64) = (
        "the largest slot",
        &|path| forge(path, &|keys| parameters(keys, 1024 * 1024, 16, 16)),
        "WrongKey",
        1024 * MIB,
    );
    let all = env::var_os("KEYWARD_HOSTILE_ALL").is_some();
    for (what, change, expected, memory) in cases.iter().chain(all.then_some(&worst)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault");
        let floor = KdfParams::new(19 * 1024, 2, 1).unwrap();
        let vault = Vault::builder().kdf_params(floor).create(&path, key());
        drop(vault.unwrap());
        change(&path);
        let (outcome, peak) = opened(&path);
        println!("{what}: {outcome}, {} MiB", peak / MIB);
        assert_eq!(outcome, *expected, "{what}");
        // The program, and what the database may keep of a file.
        assert!(peak < memory + 48 * MIB, "{what}: {peak} KiB");
    }
}
