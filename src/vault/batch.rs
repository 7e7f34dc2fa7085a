//! Several operations in one write.

use std::fmt;

use super::plan::Operation;
use crate::{
    bounds::Bounds,
    request::{NewSecret, SecretPatch},
    secret::SecretRef,
};

/// Operations to be done together; see [`UserVault::batch`](crate::UserVault::batch).
///
/// Nothing happens before the closure that collects them returns. Then all of them are done in order, or none.
pub struct Batch<'a> {
    bounds: &'a Bounds,
    operations: Vec<Operation>,
}

impl Batch<'_> {
    pub(super) fn new(bounds: &Bounds) -> Batch<'_> {
        Batch {
            bounds,
            operations: Vec::new(),
        }
    }

    /// Adds the creation of a secret.
    pub fn create(&mut self, secret: NewSecret) {
        self.operations.push(match secret.into_valid(self.bounds) {
            Ok(secret) => Operation::Create(secret),
            Err(error) => Operation::InvalidCreate(error),
        });
    }

    /// Adds a change of a secret: an existing one, or one that this batch creates, referred to by name.
    pub fn update(&mut self, secret: impl Into<SecretRef>, patch: SecretPatch) {
        self.operations.push(match patch.into_valid(self.bounds) {
            Ok(patch) => Operation::Update(secret.into(), patch),
            Err(patch) => Operation::InvalidUpdate(secret.into(), patch),
        });
    }

    /// Adds the deletion of a secret.
    pub fn delete(&mut self, secret: impl Into<SecretRef>) {
        self.operations.push(Operation::Delete(secret.into()));
    }

    pub(super) fn finish(self) -> Vec<Operation> {
        self.operations
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}
