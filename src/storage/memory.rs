//! A store in the process's own memory.

use std::{
    collections::HashMap,
    iter,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Storage, StorageError, Stored, Transaction, UserChange, UserRows};
use crate::sealed::{RowTag, SealedRoot, SealedRow, UserTag};

/// A store of sealed rows that lasts until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct MemoryStorage(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    keys: Option<Vec<u8>>,
    vault_root: Option<SealedRoot>,
    users: HashMap<UserTag, User>,
}

#[derive(Debug)]
struct User {
    root: SealedRoot,
    rows: HashMap<RowTag, Arc<SealedRow>>,
}

impl User {
    fn rows(&self) -> UserRows {
        UserRows {
            root: self.root.clone(),
            rows: self
                .rows
                .iter()
                .map(|(tag, row)| (*tag, Arc::clone(row)))
                .collect(),
        }
    }
}

impl MemoryStorage {
    /// A panic elsewhere cannot leave half a transaction behind: [`Storage::commit`] does not panic once it has
    /// begun to change something.
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "file")]
impl MemoryStorage {
    /// Adds a part that another store's scan has returned.
    pub(crate) fn add(&mut self, part: Stored) {
        let rows = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        match part {
            Stored::Vault { keys, root } => {
                rows.keys = keys;
                rows.vault_root = root;
            }
            Stored::User(tag, user) => {
                let user = User {
                    root: user.root,
                    rows: user.rows.into_iter().collect(),
                };
                rows.users.insert(tag, user);
            }
        }
    }
}

impl Storage for MemoryStorage {
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.rows().keys.clone())
    }

    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        Ok(self.rows().vault_root.clone())
    }

    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        Ok(self
            .rows()
            .users
            .iter()
            .map(|(tag, user)| (*tag, user.root.clone()))
            .collect())
    }

    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        Ok(self.rows().users.get(&user).map(User::rows))
    }

    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError> {
        let (vault, users) = {
            let rows = self.rows();
            let vault = Stored::Vault {
                keys: rows.keys.clone(),
                root: rows.vault_root.clone(),
            };
            let users: Vec<_> = rows
                .users
                .iter()
                .map(|(tag, user)| Stored::User(*tag, user.rows()))
                .collect();
            (vault, users)
        };
        // Whether it ended early makes no difference.
        let _ = iter::once(vault).chain(users).try_for_each(visit);
        Ok(())
    }

    fn compact(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn commit(&self, transaction: Transaction) -> Result<(), StorageError> {
        let mut rows = self.rows();
        let changed = |change: &UserChange| {
            rows.users.get(&change.user).map(|user| &user.root) != change.expected.as_ref()
        };
        if transaction.users.iter().any(changed) {
            return Err(StorageError::RootChanged);
        }
        for change in transaction.users {
            match change.root {
                Some(root) => {
                    let user = rows.users.entry(change.user).or_insert_with(|| User {
                        root: root.clone(),
                        rows: HashMap::new(),
                    });
                    user.root = root;
                    for tag in &change.delete {
                        user.rows.remove(tag);
                    }
                    user.rows.extend(change.put);
                }
                None => {
                    rows.users.remove(&change.user);
                }
            }
        }
        if transaction.keys.is_some() {
            rows.keys = transaction.keys;
        }
        if transaction.vault_root.is_some() {
            rows.vault_root = transaction.vault_root;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;

    #[test]
    fn memory_does_what_a_store_has_to_do() {
        conformance::check(|| Box::new(MemoryStorage::default()));
    }
}
