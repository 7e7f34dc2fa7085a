//! Several operations in one write.

use std::fmt;

use super::plan::Operation;
use crate::{
    bounds::Bounds,
    error::Error,
    request::{NewSecret, SecretPatch},
    secret::SecretRef,
};

/// Operations to be done together; see [`UserVault::batch`](crate::UserVault::batch).
///
/// Nothing happens before the closure that collects them returns. Then all of them are done in order, or none.
pub struct Batch<'a> {
    bounds: &'a Bounds,
    operations: Vec<Result<Operation, Error>>,
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
        self.operations
            .push(secret.into_valid(self.bounds).map(Operation::Create));
    }

    /// Adds a change of a secret: an existing one, or one that this batch creates, referred to by name.
    pub fn update(&mut self, secret: impl Into<SecretRef>, patch: SecretPatch) {
        let operation = patch
            .into_valid(self.bounds)
            .map(|patch| Operation::Update(secret.into(), patch));
        self.operations.push(operation);
    }

    /// Adds the deletion of a secret.
    pub fn delete(&mut self, secret: impl Into<SecretRef>) {
        self.operations.push(Ok(Operation::Delete(secret.into())));
    }

    /// Returns the operations, or the invalid fields of all of them.
    pub(super) fn finish(self) -> Result<Vec<Operation>, Error> {
        let mut operations = Vec::with_capacity(self.operations.len());
        let mut errors = Vec::new();
        for (i, operation) in self.operations.into_iter().enumerate() {
            match operation {
                Ok(operation) => operations.push(operation),
                Err(error) => errors.extend_from_slice(error.at_index(i).field_errors()),
            }
        }
        if errors.is_empty() {
            Ok(operations)
        } else {
            Err(Error::validation(errors))
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}
