//! A read-only store.

use std::{ops::ControlFlow, sync::Arc};

use arc_swap::ArcSwap;

use super::{MemoryStorage, Storage, StorageError, Stored, Transaction, UserRows};
use crate::sealed::{SealedRoot, UserTag};

/// What a store held at one moment. It can be replaced as a whole by what the store held later; all clones share
/// it.
#[derive(Debug, Clone)]
pub(crate) struct FrozenStorage(Arc<ArcSwap<MemoryStorage>>);

impl FrozenStorage {
    pub(crate) fn new(content: MemoryStorage) -> FrozenStorage {
        FrozenStorage(Arc::new(ArcSwap::from_pointee(content)))
    }

    pub(crate) fn replace(&self, content: MemoryStorage) {
        self.0.store(Arc::new(content));
    }
}

impl Storage for FrozenStorage {
    fn keys(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.load().keys()
    }

    fn vault_root(&self) -> Result<Option<SealedRoot>, StorageError> {
        self.0.load().vault_root()
    }

    fn user_roots(&self) -> Result<Vec<(UserTag, SealedRoot)>, StorageError> {
        self.0.load().user_roots()
    }

    fn user(&self, user: UserTag) -> Result<Option<UserRows>, StorageError> {
        self.0.load().user(user)
    }

    fn scan(&self, visit: &mut dyn FnMut(Stored) -> ControlFlow<()>) -> Result<(), StorageError> {
        self.0.load().scan(visit)
    }

    fn commit(&self, _transaction: Transaction) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly)
    }

    fn compact(&self) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly)
    }
}
