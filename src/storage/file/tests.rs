//! The store over real files: their content, who may open them, and the effect of damage.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};
use tempfile::TempDir;

use super::*;
use crate::{
    sealed::RowTag,
    storage::{
        UserChange,
        conformance::{self, root, row},
    },
};

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(10);

/// A folder for one vault file.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("vault.keyward")
    }

    fn create(&self) -> FileStorage {
        FileStorage::create(&self.path(), Transaction::default()).unwrap()
    }

    /// Waits a little, since a child of another test holds a copy of the lock between its fork and its exec.
    fn open(&self) -> Result<FileStorage, StorageError> {
        FileStorage::open(&self.path(), SOON)
    }

    fn open_now(&self) -> Result<FileStorage, StorageError> {
        FileStorage::open(&self.path(), NOW)
    }

    fn damaged(&self, what: &str) {
        let error = self.open().map(|_| what).unwrap_err();
        assert!(
            matches!(error, StorageError::Damaged(_)),
            "{what}: {error:?}"
        );
    }
}

/// A transaction of a user's first root and some rows.
fn first_write() -> Transaction {
    Transaction {
        keys: Some(b"keys".to_vec()),
        vault_root: Some(root(100)),
        users: vec![UserChange {
            user: UserTag([1; 16]),
            expected: None,
            root: Some(root(1)),
            put: (0..20).map(|i| (RowTag([i; 16]), row(i))).collect(),
            delete: Vec::new(),
        }],
    }
}

#[test]
fn a_file_does_what_a_store_has_to_do() {
    let folder = Folder::new();
    let number = std::cell::Cell::new(0);
    conformance::check(|| {
        number.set(number.get() + 1);
        Box::new(
            FileStorage::create(
                &folder.0.path().join(number.get().to_string()),
                Transaction::default(),
            )
            .unwrap(),
        )
    });
}

/// Opens the file again for every call.
#[derive(Debug)]
struct Reopened(TempDir);

impl Reopened {
    fn store(&self) -> FileStorage {
        FileStorage::open(&self.0.path().join("vault"), SOON).unwrap()
    }
}

impl Storage for Reopened {
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.store().keys()
    }

    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        self.store().vault_root()
    }

    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        self.store().user_roots()
    }

    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        self.store().user(user)
    }

    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError> {
        self.store().scan(visit)
    }

    fn compact(&self) -> Result<(), StorageError> {
        self.store().compact()
    }

    fn commit(&self, transaction: Transaction) -> Result<(), StorageError> {
        self.store().commit(transaction)
    }
}

#[test]
fn a_file_that_is_opened_anew_has_what_it_had() {
    conformance::check(|| {
        let folder = tempfile::tempdir().unwrap();
        FileStorage::create(&folder.path().join("vault"), Transaction::default()).unwrap();
        Box::new(Reopened(folder))
    });
}

#[test]
fn nothing_is_replaced_and_nothing_is_made_by_opening() {
    let folder = Folder::new();
    assert!(matches!(folder.open(), Err(StorageError::Missing)));
    assert!(!folder.path().exists());

    fs::write(folder.path(), "a file of someone's").unwrap();
    let error = FileStorage::create(&folder.path(), Transaction::default()).unwrap_err();
    assert!(matches!(error, StorageError::Exists), "{error:?}");
    assert_eq!(fs::read(folder.path()).unwrap(), b"a file of someone's");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1);

    let nowhere = folder.path().join("no folder").join("vault");
    let error = FileStorage::create(&nowhere, Transaction::default()).unwrap_err();
    assert!(matches!(error, StorageError::Failed(_)), "{error:?}");
    let error = FileStorage::open(folder.0.path(), NOW).unwrap_err();
    assert!(
        matches!(error, StorageError::Failed(_) | StorageError::Damaged(_)),
        "{error:?}"
    );
}

/// A vault may have many users whose secrets were all deleted.
#[test]
fn users_without_rows_do_not_pile_up_in_memory_while_a_copy_is_written() {
    let folder = Folder::new();
    let mut writer = FileWriter::new(&folder.path()).unwrap();
    for user in 0..100 {
        let rows = UserRows {
            root: root(user),
            rows: Vec::new(),
        };
        let user = Stored::User(UserTag([user; 16]), rows);
        writer.add(user).unwrap();
        assert!(writer.pending.users.len() <= FileWriter::BATCH);
    }
    writer.finish().unwrap();
    assert_eq!(folder.open().unwrap().user_roots().unwrap().len(), 100);
}

#[test]
fn the_store_is_in_use_until_it_is_dropped() {
    let folder = Folder::new();
    let store = folder.create();
    assert!(matches!(folder.open_now(), Err(StorageError::InUse)));
    drop(store);
    let store = folder.open().unwrap();
    assert!(matches!(folder.open_now(), Err(StorageError::InUse)));
    let error = FileStorage::open(&folder.path(), Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, StorageError::InUse), "{error:?}");

    // Whoever waits gets it once it is free.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| FileStorage::open(&folder.path(), Duration::MAX).map(|_| ()));
        drop(store);
        waiting.join().unwrap().unwrap();
    });
    folder.open().unwrap();
}

/// Set when this test program runs as another process.
const CHILD: &str = "KEYWARD_TEST_OPENS";

/// Also while it waits for whoever has the file open.
#[cfg(unix)]
#[test]
fn what_is_opened_is_the_file_that_is_there_once_it_is_locked() {
    let folder = Folder::new();
    let (path, backup) = (folder.path(), folder.0.path().join("backup"));
    let open = |meanwhile: &dyn Fn()| {
        fs::write(&path, "old").unwrap();
        open_locked(&path, File::options().read(true), SOON, |file| {
            meanwhile();
            file.try_lock()
        })
    };
    fs::write(&backup, "new").unwrap();
    let restore = || drop(fs::rename(&backup, &path));
    assert_eq!(io::read_to_string(open(&restore).unwrap()).unwrap(), "new");

    let remove = || fs::remove_file(&path).unwrap();
    assert!(matches!(open(&remove), Err(StorageError::Missing)));

    let replace_always = || {
        fs::write(&backup, "another").unwrap();
        restore();
    };
    assert!(matches!(open(&replace_always), Err(StorageError::InUse)));
}

#[test]
fn another_process_finds_the_store_in_use() {
    if let Some(path) = std::env::var_os(CHILD) {
        let opened = FileStorage::open(Path::new(&path), NOW);
        assert!(matches!(opened, Err(StorageError::InUse)), "{opened:?}");
        // The parent looks for this, since a filter that ran no test would succeed, too.
        println!("it was in use");
        return;
    }
    let folder = Folder::new();
    let store = folder.create();
    store.commit(first_write()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["another_process_finds_the_store_in_use", "--nocapture"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("it was in use"), "{said}");
    assert_eq!(store.keys().unwrap().unwrap(), b"keys");
}

#[test]
fn a_process_that_is_killed_leaves_the_store_to_the_next() {
    if let Some(path) = std::env::var_os(CHILD) {
        let store = FileStorage::open(Path::new(&path), SOON).unwrap();
        store.commit(first_write()).unwrap();
        println!("it was written");
        // Until the parent ends, at the latest.
        let _ = io::stdin().read_line(&mut String::new());
        return;
    }
    let folder = Folder::new();
    folder.create();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "a_process_that_is_killed_leaves_the_store_to_the_next",
            "--nocapture",
        ])
        .env(CHILD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("it was written")));
    assert!(matches!(folder.open_now(), Err(StorageError::InUse)));
    child.kill().unwrap();
    child.wait().unwrap();
    let store = folder.open().unwrap();
    assert_eq!(store.keys().unwrap().unwrap(), b"keys");
    let user = store.user(UserTag([1; 16])).unwrap().unwrap();
    assert_eq!(user.rows.len(), 20);
}

#[test]
fn a_foreign_or_shortened_file_is_an_error() {
    let folder = Folder::new();
    folder.create().commit(first_write()).unwrap();
    let whole = fs::read(folder.path()).unwrap();

    // Every length of the header, where the database begins, its own header, and some in its pages.
    let beyond = [
        1, 2, 9, 63, 64, 319, 320, 321, 4095, 4096, 4097, 8192, 20000,
    ];
    let lengths = (0..=4096).chain(beyond.map(|more| 4096 + more));
    let file = File::options().write(true).open(folder.path()).unwrap();
    for length in lengths
        .chain([whole.len() - 4096, whole.len() - 1])
        .rev_sorted()
    {
        file.set_len(length as u64).unwrap();
        folder.damaged(&format!("{length} bytes"));
        assert_eq!(
            fs::metadata(folder.path()).unwrap().len(),
            length as u64,
            "{length} bytes stay as they are"
        );
    }
    for foreign in [
        &b"#!/bin/sh\n"[..],
        b"SQLite format 3\0",
        &whole[4096..],
        &[0; 9000],
    ] {
        fs::write(folder.path(), foreign).unwrap();
        folder.damaged("a foreign file");
    }
    fs::write(folder.path(), &whole).unwrap();
    assert_eq!(folder.open().unwrap().keys().unwrap().unwrap(), b"keys");
}

/// From the longest to the shortest, so that one file can be shortened step by step.
trait RevSorted {
    fn rev_sorted(self) -> Vec<usize>;
}

impl<I: Iterator<Item = usize>> RevSorted for I {
    fn rev_sorted(self) -> Vec<usize> {
        let mut all: Vec<_> = self.collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all
    }
}

#[test]
fn the_header_is_checked_before_the_database_is() {
    let folder = Folder::new();
    folder.create();
    let whole = fs::read(folder.path()).unwrap();
    assert_eq!(whole[..4096], header::encode(1));
    for at in (0..16).chain([500, 4063, 4064, 4095]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(folder.path(), &bytes).unwrap();
        folder.damaged(&format!("byte {at}"));
        assert_eq!(fs::read(folder.path()).unwrap(), bytes, "byte {at}");
    }
    // A newer version, whatever follows its header.
    for rest in [&[][..], b"something new", &whole[4096..]] {
        fs::write(folder.path(), [&header::encode(2)[..], rest].concat()).unwrap();
        let error = folder.open().unwrap_err();
        assert!(
            matches!(error, StorageError::UnsupportedVersion(2)),
            "{error:?}"
        );
    }
}

/// A backend that panics on demand.
#[derive(Debug)]
struct Panicking {
    inner: InMemoryBackend,
    armed: Arc<AtomicBool>,
    writes: Arc<AtomicBool>,
}

impl Panicking {
    fn step(&self) {
        assert!(!self.armed.load(Ordering::Relaxed), "the disk is on fire");
    }
}

impl StorageBackend for Panicking {
    fn len(&self) -> io::Result<u64> {
        self.step();
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.step();
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step();
        self.writes.store(true, Ordering::Relaxed);
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step();
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step();
        self.writes.store(true, Ordering::Relaxed);
        self.inner.write(offset, data)
    }
}

#[test]
fn a_panic_below_is_an_error_and_the_last_thing_that_the_store_does() {
    let armed = Arc::new(AtomicBool::new(false));
    let writes = Arc::new(AtomicBool::new(false));
    let backend = || Panicking {
        inner: InMemoryBackend::new(),
        armed: Arc::clone(&armed),
        writes: Arc::clone(&writes),
    };
    let engine = Engine::create(backend()).unwrap();
    engine.commit(first_write()).unwrap();

    armed.store(true, Ordering::Relaxed);
    let error = Engine::create(backend()).unwrap_err();
    assert!(matches!(error, StorageError::Damaged(_)), "{error:?}");
    let error = engine.commit(Transaction::default()).unwrap_err();
    let StorageError::Uncertain(source) = error else {
        panic!("{error:?}")
    };
    assert!(
        source.to_string().contains("the disk is on fire"),
        "{source}"
    );

    armed.store(false, Ordering::Relaxed);
    writes.store(false, Ordering::Relaxed);
    assert!(matches!(engine.keys(), Err(StorageError::Stopped)));
    assert!(matches!(engine.vault_root(), Err(StorageError::Stopped)));
    assert!(matches!(engine.user_roots(), Err(StorageError::Stopped)));
    let user = engine.user(UserTag([1; 16]));
    assert!(matches!(user, Err(StorageError::Stopped)));
    let commit = engine.commit(Transaction::default());
    assert!(matches!(commit, Err(StorageError::Stopped)));
    drop(engine);
    assert!(
        !writes.load(Ordering::Relaxed),
        "nothing is written by closing"
    );
}

#[test]
fn damage_to_any_page_is_never_a_panic() {
    let folder = Folder::new();
    folder.create().commit(first_write()).unwrap();
    let whole = fs::read(folder.path()).unwrap().split_off(4096);
    for at in (0..whole.len()).step_by(if cfg!(debug_assertions) { 61 } else { 1 }) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xFF;
        let backend = InMemoryBackend::new();
        backend.set_len(bytes.len() as u64).unwrap();
        backend.write(0, &bytes).unwrap();
        let Ok(engine) = Engine::open(backend) else {
            continue;
        };
        let _ = engine.keys();
        let _ = engine.user_roots();
        let _ = engine.user(UserTag([1; 16]));
        let _ = engine.commit(Transaction {
            vault_root: Some(root(7)),
            ..Transaction::default()
        });
    }
}

/// What redb leaves behind the last entry of a page goes along with it from then on.
#[test]
fn after_compacting_the_file_holds_nothing_but_what_the_store_holds() {
    let folder = Folder::new();
    let store = folder.create();
    let user = UserTag([1; 16]);
    let commit = |expected,
                  root: SealedRoot,
                  put: &dyn Fn(u8) -> Option<u8>,
                  delete: &dyn Fn(u8) -> bool| {
        let rows = 0..60;
        let change = UserChange {
            user,
            expected,
            root: Some(root),
            put: rows
                .clone()
                .filter_map(|i| Some((RowTag([i; 16]), row(put(i)?))))
                .collect(),
            delete: rows
                .filter(|i| delete(*i))
                .map(|i| RowTag([i; 16]))
                .collect(),
        };
        let users = vec![change];
        store
            .commit(Transaction {
                users,
                ..Transaction::default()
            })
            .unwrap();
    };
    let is_deleted = |i: u8| i.is_multiple_of(3);
    commit(None, root(1), &|i| Some(i + 100), &|_| false);
    commit(Some(root(1)), root(2), &|_| None, &is_deleted);
    commit(
        Some(root(2)),
        root(3),
        &|i| (!is_deleted(i)).then_some(i + 180),
        &|_| false,
    );
    store.compact().unwrap();
    assert_eq!(store.user(user).unwrap().unwrap().rows.len(), 40);
    drop(store);
    let file = fs::read(folder.path()).unwrap();
    let holds = |byte: u8| {
        file.array_windows()
            .filter(|window| **window == [byte; 80 + 50])
            .count()
    };
    for i in 0..60 {
        assert_eq!(holds(i + 100), 0, "an old row");
        assert_eq!(holds(i + 180), usize::from(!is_deleted(i)), "a row");
    }
}

/// A scan may lead to writes, whatever waits for it.
#[test]
fn compacting_does_not_block_the_writes_of_whoever_it_waits_for() {
    let folder = Folder::new();
    let store = folder.create();
    store.commit(first_write()).unwrap();
    let has_begun = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let compacting = std::cell::OnceCell::new();
        let mut write = |_| {
            compacting.get_or_init(|| {
                threads.spawn(|| {
                    has_begun.store(true, Ordering::SeqCst);
                    store.compact()
                })
            });
            while !has_begun.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            for _ in 0..20 {
                store.commit(Transaction::default()).unwrap();
            }
            ControlFlow::Continue(())
        };
        store.scan(&mut write).unwrap();
        compacting.into_inner().unwrap().join().unwrap().unwrap();
    });
}
