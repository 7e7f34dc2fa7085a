//! The interface between a vault and its store: sealed rows, and one transaction for each write.
//!
//! A store sees no plaintext: rows and roots are sealed, and their names are keyed digests. It holds:
//!
//! * the vault's `keys`: its key slots and the sealed key ring,
//! * the vault's root,
//! * one root for each user,
//! * rows, each under a user's name and its own.
//!
//! Everything that a write changes goes into one [`Transaction`], which is kept as a whole or not at all: rows,
//! the user's root, and the vault's root. In a store that one process has to itself, such as an embedded file,
//! each write also updates the vault's root. A store that many processes share, such as a database server, orders
//! the writes of one user by comparing that user's root with the one that the writer started from, lets writes of
//! different users overtake each other, and updates the vault's root only from time to time (`vault_root: None` in
//! between).

use std::{
    error::Error as StdError,
    fmt,
    ops::ControlFlow,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use crate::sealed::{RowTag, SealedRoot, SealedRow, UserTag};

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "file")]
mod frozen;
mod memory;

#[cfg(all(fuzzing, feature = "file"))]
pub(crate) use file::decode_row;
#[cfg(all(any(test, fuzzing), feature = "file"))]
pub(crate) use file::disk;
#[cfg(feature = "file")]
pub(crate) use file::{FileStorage, FileWriter};
#[cfg(feature = "file")]
pub(crate) use frozen::FrozenStorage;
pub(crate) use memory::MemoryStorage;

/// A store of a vault's sealed rows.
pub(crate) trait Storage: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Returns the key slots and the sealed key ring; `None` if no transaction has set them.
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError>;

    /// Returns the vault's root; `None` before the first transaction.
    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError>;

    /// Returns every user's root, unordered.
    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError>;

    /// Returns one user's root and rows, as of one moment; `None` if the user has neither. Rows without a root, which
    /// no transaction leaves behind, are an error.
    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError>;

    /// Passes everything stored to `visit`, as of one moment, no later than its first call; writes proceed
    /// meanwhile. What belongs to the whole vault comes first, then each user, unordered. `visit` may end the scan
    /// early, and must not compact the store. A scan that is not ended early fails if there are rows without a root.
    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError>;

    /// Stores all of a transaction durably, or nothing of it.
    fn commit(&self, transaction: Transaction) -> Result<(), StorageError>;

    /// Releases the space that the store does not need, including old versions of rows.
    fn compact(&self) -> Result<(), StorageError>;
}

/// A part of what is stored.
#[derive(Debug)]
pub(crate) enum Stored {
    Vault {
        keys: Option<Vec<u8>>,
        root: Option<SealedRoot>,
    },
    User(UserTag, UserRows),
}

/// One user's root and rows, unordered.
#[derive(Debug)]
pub(crate) struct UserRows {
    pub(crate) root: SealedRoot,
    pub(crate) rows: Vec<(RowTag, Arc<SealedRow>)>,
}

/// One write.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The new key slots and sealed key ring; `None` leaves them as they are.
    pub(crate) keys: Option<Vec<u8>>,
    /// The vault's new root; `None` leaves it as it is.
    pub(crate) vault_root: Option<SealedRoot>,
    /// The changed users, each at most once.
    pub(crate) users: Vec<UserChange>,
}

/// What a write changes of one user.
#[derive(Debug)]
pub(crate) struct UserChange {
    pub(crate) user: UserTag,
    /// The root that the writer started from. If the store has another one, the whole transaction does nothing.
    pub(crate) expected: Option<SealedRoot>,
    /// The new root. `None` deletes the user with all rows.
    pub(crate) root: Option<SealedRoot>,
    /// Rows that are added or replaced.
    pub(crate) put: Vec<(RowTag, Arc<SealedRow>)>,
    /// Rows that are deleted.
    pub(crate) delete: Vec<RowTag>,
}

/// Why a store did not do what it was asked. Nothing was changed, unless the variant says otherwise.
#[derive(Debug)]
#[cfg_attr(
    not(any(test, feature = "file")),
    expect(dead_code, reason = "memory does not fail; a file does")
)]
pub(crate) enum StorageError {
    /// The user's root is not the one that the writer started from: someone else wrote in between.
    RootChanged,
    /// There are rows of a user who has no root.
    RowsWithoutRoot,
    /// A store was to be created where something exists already.
    Exists,
    /// A store was to be opened where there is none.
    Missing,
    /// Someone else has the store open.
    InUse,
    /// The store is not as it was written, or is not a store.
    Damaged(Box<dyn StdError + Send + Sync>),
    /// The store's format has this version, which is newer than this code.
    UnsupportedVersion(u32),
    /// The store failed.
    Failed(Box<dyn StdError + Send + Sync>),
    /// The store failed during a transaction: it kept all of it or nothing, which shows when it is opened again.
    Uncertain(Box<dyn StdError + Send + Sync>),
    /// The store failed earlier, and does nothing until it is opened again.
    Stopped,
    /// The store is read-only.
    ReadOnly,
}

/// The behavior required of every store.
#[cfg(test)]
pub(crate) mod conformance {
    use super::*;
    use crate::sealed::Sealed;

    fn root(byte: u8) -> SealedRoot {
        SealedRoot {
            key_id: 1,
            root: Sealed::new([byte; 60]),
        }
    }

    fn row(byte: u8) -> Arc<SealedRow> {
        Arc::new(SealedRow {
            key_id: 1,
            metadata: Sealed::new([byte; 80]),
            value: Sealed::new([byte; 50]),
        })
    }

    const ALICE: UserTag = UserTag([1; 16]);
    const BOB: UserTag = UserTag([2; 16]);

    fn write(user: UserTag, expected: Option<u8>, new: Option<u8>) -> UserChange {
        UserChange {
            user,
            expected: expected.map(root),
            root: new.map(root),
            put: Vec::new(),
            delete: Vec::new(),
        }
    }

    fn rows(store: &dyn Storage, user: UserTag) -> Vec<(RowTag, Arc<SealedRow>)> {
        let mut rows = store
            .user(user)
            .unwrap()
            .map_or_else(Vec::new, |user| user.rows);
        rows.sort_by_key(|(tag, _)| *tag);
        rows
    }

    pub(crate) fn check(new_store: impl Fn() -> Box<dyn Storage>) {
        an_empty_store_has_nothing(&*new_store());
        keys_are_kept_until_others_are_given(&*new_store());
        a_transaction_is_kept(&*new_store());
        a_changed_root_stops_the_whole_transaction(&*new_store());
        users_are_apart(&*new_store());
        a_user_without_a_root_is_gone(&*new_store());
        users_change_together_or_not_at_all(&*new_store());
        a_scan_shows_everything_as_it_was(&*new_store());
        compacting_changes_nothing(&*new_store());
    }

    fn an_empty_store_has_nothing(store: &dyn Storage) {
        assert!(store.keys().unwrap().is_none());
        assert!(store.vault_root().unwrap().is_none());
        assert!(store.user_roots().unwrap().is_empty());
        assert!(store.user(ALICE).unwrap().is_none());
    }

    fn a_transaction_is_kept(store: &dyn Storage) {
        let mut first = write(ALICE, None, Some(1));
        first.put = vec![(RowTag([1; 16]), row(1)), (RowTag([2; 16]), row(2))];
        store
            .commit(Transaction {
                keys: None,
                vault_root: Some(root(100)),
                users: vec![first],
            })
            .unwrap();
        let mut second = write(ALICE, Some(1), Some(2));
        second.put = vec![(RowTag([2; 16]), row(22)), (RowTag([3; 16]), row(3))];
        second.delete = vec![RowTag([1; 16])];
        store
            .commit(Transaction {
                keys: None,
                vault_root: None,
                users: vec![second],
            })
            .unwrap();
        assert_eq!(store.vault_root().unwrap(), Some(root(100)));
        assert_eq!(store.user(ALICE).unwrap().unwrap().root, root(2));
        assert_eq!(
            rows(store, ALICE),
            [(RowTag([2; 16]), row(22)), (RowTag([3; 16]), row(3))]
        );
    }

    fn keys_are_kept_until_others_are_given(store: &dyn Storage) {
        for keys in [Some(&b"first"[..]), None, Some(b"second, and longer"), None] {
            let before = store.keys().unwrap();
            let transaction = Transaction {
                keys: keys.map(<[u8]>::to_vec),
                ..Transaction::default()
            };
            store.commit(transaction).unwrap();
            assert_eq!(store.keys().unwrap(), keys.map(<[u8]>::to_vec).or(before));
        }
        let stopped = store.commit(Transaction {
            keys: Some(b"third".to_vec()),
            vault_root: Some(root(1)),
            users: vec![write(ALICE, Some(1), Some(2))],
        });
        assert!(matches!(stopped, Err(StorageError::RootChanged)));
        assert_eq!(store.keys().unwrap().unwrap(), b"second, and longer");
        assert!(store.vault_root().unwrap().is_none());
    }

    fn a_changed_root_stops_the_whole_transaction(store: &dyn Storage) {
        store
            .commit(Transaction {
                keys: None,
                vault_root: Some(root(100)),
                users: vec![write(ALICE, None, Some(1))],
            })
            .unwrap();
        for expected in [None, Some(9)] {
            for new in [Some(2), None] {
                let mut change = write(ALICE, expected, new);
                change.put = vec![(RowTag([1; 16]), row(1))];
                let result = store.commit(Transaction {
                    keys: None,
                    vault_root: Some(root(101)),
                    users: vec![change],
                });
                assert!(matches!(result, Err(StorageError::RootChanged)));
            }
        }
        let absent = store.commit(Transaction {
            keys: None,
            vault_root: None,
            users: vec![write(BOB, Some(1), Some(2))],
        });
        assert!(matches!(absent, Err(StorageError::RootChanged)));
        assert_eq!(store.vault_root().unwrap(), Some(root(100)));
        assert_eq!(store.user_roots().unwrap(), [(ALICE, root(1))]);
        assert!(rows(store, ALICE).is_empty());
    }

    fn users_are_apart(store: &dyn Storage) {
        for (user, byte) in [(ALICE, 1), (BOB, 2)] {
            let mut change = write(user, None, Some(byte));
            change.put = vec![(RowTag([7; 16]), row(byte))];
            store
                .commit(Transaction {
                    keys: None,
                    vault_root: None,
                    users: vec![change],
                })
                .unwrap();
        }
        let mut change = write(ALICE, Some(1), Some(3));
        change.delete = vec![RowTag([7; 16])];
        store
            .commit(Transaction {
                keys: None,
                vault_root: None,
                users: vec![change],
            })
            .unwrap();
        assert!(rows(store, ALICE).is_empty());
        assert_eq!(rows(store, BOB), [(RowTag([7; 16]), row(2))]);
        let mut roots = store.user_roots().unwrap();
        roots.sort_by_key(|(user, _)| *user);
        assert_eq!(roots, [(ALICE, root(3)), (BOB, root(2))]);
    }

    fn a_user_without_a_root_is_gone(store: &dyn Storage) {
        let mut change = write(ALICE, None, Some(1));
        change.put = vec![(RowTag([7; 16]), row(1))];
        store
            .commit(Transaction {
                keys: None,
                vault_root: None,
                users: vec![change],
            })
            .unwrap();
        store
            .commit(Transaction {
                keys: None,
                vault_root: None,
                users: vec![write(ALICE, Some(1), None)],
            })
            .unwrap();
        assert!(store.user(ALICE).unwrap().is_none());
        assert!(store.user_roots().unwrap().is_empty());
        store
            .commit(Transaction {
                keys: None,
                vault_root: None,
                users: vec![write(ALICE, None, Some(2))],
            })
            .unwrap();
        assert!(rows(store, ALICE).is_empty(), "no row came back");
    }

    fn users_change_together_or_not_at_all(store: &dyn Storage) {
        let both = |alice: UserChange, bob: UserChange| Transaction {
            users: vec![alice, bob],
            ..Transaction::default()
        };
        store
            .commit(both(write(ALICE, None, Some(1)), write(BOB, None, Some(2))))
            .unwrap();
        for (alice, bob) in [(Some(9), Some(2)), (Some(1), Some(9))] {
            let result = store.commit(both(write(ALICE, alice, Some(3)), write(BOB, bob, Some(4))));
            assert!(matches!(result, Err(StorageError::RootChanged)));
        }
        let mut roots = store.user_roots().unwrap();
        roots.sort_by_key(|(user, _)| *user);
        assert_eq!(roots, [(ALICE, root(1)), (BOB, root(2))]);
        store
            .commit(both(
                write(ALICE, Some(1), None),
                write(BOB, Some(2), Some(3)),
            ))
            .unwrap();
        assert_eq!(store.user_roots().unwrap(), [(BOB, root(3))]);
    }

    /// Stores two users, the first with rows.
    fn fill(store: &dyn Storage) {
        let mut alice = write(ALICE, None, Some(1));
        alice.put = (0..20).map(|i| (RowTag([i; 16]), row(i))).collect();
        let first = Transaction {
            keys: Some(b"keys".to_vec()),
            vault_root: Some(root(100)),
            users: vec![alice, write(BOB, None, Some(2))],
        };
        store.commit(first).unwrap();
    }

    fn a_scan_shows_everything_as_it_was(store: &dyn Storage) {
        fill(store);
        let (mut parts, mut early) = (Vec::new(), 0);
        let scan = store.scan(&mut |part| {
            parts.push(part);
            ControlFlow::Continue(())
        });
        scan.unwrap();
        assert!(matches!(
            &parts[0],
            Stored::Vault { keys: Some(keys), root: Some(found) } if keys == b"keys" && *found == root(100)
        ));
        let mut users: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                Stored::User(tag, user) => Some((*tag, user.root.clone(), user.rows.len())),
                Stored::Vault { .. } => None,
            })
            .collect();
        users.sort_by_key(|(tag, ..)| *tag);
        assert_eq!(users, [(ALICE, root(1), 20), (BOB, root(2), 0)]);
        assert_eq!(parts.len(), 3);
        store
            .scan(&mut |_| {
                early += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(early, 1);
    }

    fn compacting_changes_nothing(store: &dyn Storage) {
        store.compact().unwrap();
        fill(store);
        store.compact().unwrap();
        assert_eq!(store.keys().unwrap().unwrap(), b"keys");
        assert_eq!(store.vault_root().unwrap(), Some(root(100)));
        assert_eq!(rows(store, ALICE).len(), 20);
        store
            .commit(Transaction {
                users: vec![write(ALICE, Some(1), None)],
                ..Transaction::default()
            })
            .unwrap();
        assert!(rows(store, ALICE).is_empty());
    }
}
