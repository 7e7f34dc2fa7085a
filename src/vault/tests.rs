//! What needs a clock or a store of the test's own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use chrono::DateTime;
use serde_json::Map;

use super::*;
use crate::{NewSecret, SecretId, SecretPatch, ToolCall};

#[cfg(feature = "file")]
mod crash;
#[cfg(all(feature = "file", target_os = "linux"))]
mod hostile;
#[cfg(feature = "file")]
mod import;
mod keys;
mod locking;
#[cfg(all(feature = "file", target_os = "linux"))]
mod memory;
#[cfg(shuttle)]
mod schedules;
mod store;
#[cfg(feature = "file")]
mod tampering;

fn secret(name: &str) -> NewSecret {
    NewSecret::new(name, format!("value-of-{name}"))
        .bind("t", name)
        .default_for_tool()
}

#[test]
fn times_and_ids_do_not_go_back_with_the_clock() {
    let now = Arc::new(AtomicI64::new(1_700_000_000_000_000));
    let clock = Arc::clone(&now);
    let vault = Vault::builder()
        .clock(move || DateTime::from_timestamp_micros(clock.load(Ordering::Relaxed)).unwrap())
        .in_memory_with_key(KeySource::raw([7; 32]))
        .unwrap();
    let user = vault.user(UserId::LOCAL);
    let first = user.create(secret("first")).unwrap();
    assert_eq!(first.created_at.timestamp_micros(), 1_700_000_000_000_000);

    now.fetch_sub(3_600_000_000, Ordering::Relaxed);
    let updated = user
        .update("first", SecretPatch::new().name("renamed"))
        .unwrap();
    assert_eq!(updated.updated_at, first.updated_at);
    let mut last: SecretId = first.secret_id;
    for i in 0..20 {
        let info = user.create(secret(&i.to_string())).unwrap();
        assert!(info.secret_id > last);
        last = info.secret_id;
        user.delete(&info).unwrap();
        // Also across a restart, and with the youngest secret gone.
        vault.lock().unwrap();
        vault.unlock(KeySource::raw([7; 32])).unwrap();
    }
    now.fetch_add(7_200_000_000, Ordering::Relaxed);
    let updated = user
        .update("renamed", SecretPatch::new().name("again"))
        .unwrap();
    assert_eq!(updated.updated_at.timestamp_micros(), 1_700_003_600_000_000);
    assert_eq!(updated.created_at, first.created_at);
}

#[test]
fn readers_see_a_write_as_soon_as_it_returns_and_never_half_of_it() {
    let vault = Vault::in_memory().unwrap();
    let user = vault.user(UserId::LOCAL);
    user.batch(|batch| {
        batch.create(
            NewSecret::new("a", "generation-0")
                .bind("t", "a")
                .default_for_tool(),
        );
        batch.create(
            NewSecret::new("b", "generation-0")
                .bind("t", "b")
                .default_for_tool(),
        );
    })
    .unwrap();
    let done = AtomicBool::new(false);
    let newest = AtomicI64::new(0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0_u32;
                    while !done.load(Ordering::Acquire) || reads == 0 {
                        let floor = newest.load(Ordering::Acquire);
                        let mut args = Map::new();
                        let _ = user.inject(&ToolCall::new("t"), &mut args).unwrap();
                        assert_eq!(args["a"], args["b"], "both are of one write");
                        let seen: i64 = args["a"].as_str().unwrap()["generation-".len()..]
                            .parse()
                            .unwrap();
                        assert!(
                            seen >= floor,
                            "generation {floor} was written, {seen} was seen"
                        );
                        reads += 1;
                    }
                })
            })
            .collect();
        for generation in 1..=300 {
            let value = || format!("generation-{generation}");
            user.batch(|batch| {
                batch.update("a", SecretPatch::new().value(value()));
                batch.update("b", SecretPatch::new().value(value()));
            })
            .unwrap();
            newest.store(generation, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[cfg(feature = "file")]
#[test]
fn new_ids_are_greater_than_those_that_were_imported() {
    let at = |micros| {
        let clock = move || DateTime::from_timestamp_micros(micros).unwrap();
        Vault::builder().clock(clock).in_memory().unwrap()
    };
    let (early, late) = (at(1_700_000_000_000_000), at(1_800_000_000_000_000));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export");
    let imported = late.user(UserId::LOCAL).create(secret("a")).unwrap();
    late.export(&path, KeySource::raw([1; 32])).unwrap();
    early.import(&path, KeySource::raw([1; 32])).unwrap();
    let new = early.user(UserId::LOCAL).create(secret("b")).unwrap();
    assert!(new.secret_id > imported.secret_id);
}

/// Also where the clock has gone back, and where the secrets with the greatest ids are gone.
#[cfg(feature = "file")]
#[test]
fn new_ids_are_greater_than_those_before_a_copy_or_an_import() {
    const EARLY: i64 = 1_700_000_000;
    const LATE: i64 = 1_800_000_000;
    let key = || KeySource::raw([7; 32]);
    let seconds = Arc::new(AtomicI64::new(EARLY));
    let builder = || {
        let seconds = Arc::clone(&seconds);
        Vault::builder()
            .wait(std::time::Duration::MAX)
            .clock(move || DateTime::from_timestamp(seconds.load(Ordering::Relaxed), 0).unwrap())
    };
    let create = |vault: &Vault, name| vault.user(UserId::LOCAL).create(secret(name)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [old, backup, export] = ["old", "backup", "export"].map(|name| dir.path().join(name));
    let early = builder().in_memory().unwrap();
    create(&early, "imported");
    early.export(&old, key()).unwrap();

    seconds.store(LATE, Ordering::Relaxed);
    let vault = builder().in_memory_with_key(key()).unwrap();
    create(&vault, "stays");
    let last = create(&vault, "goes");
    vault.user(UserId::LOCAL).delete(&last).unwrap();
    vault.backup(&backup).unwrap();
    vault.export(&export, key()).unwrap();
    vault.import(&old, key()).unwrap();

    seconds.store(EARLY, Ordering::Relaxed);
    let copies = [backup, export].map(|path| builder().open(path, key()).unwrap());
    for vault in copies.iter().chain([&vault]) {
        assert!(create(vault, "new").secret_id > last.secret_id);
    }
}
