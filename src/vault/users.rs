//! The users that a vault was asked for.

use std::sync::Arc;

use super::{
    state::{State, hold},
    sync::{Mutex, Published},
};
use crate::{secret::UserId, snapshot::Snapshot};

/// One user's secrets.
///
/// It holds the vault, so that asking for a user changes only that user's reference count: threads that work for
/// different users write to no shared memory. Therefore the vault's state does not hold its users.
pub(super) struct UserState {
    pub(super) user: UserId,
    pub(super) vault: Arc<State>,
    /// `None` until it is used, and while the vault is locked.
    pub(super) snapshot: Published<Snapshot>,
    pub(super) writer: Mutex<()>,
}

impl UserState {
    /// Drops what was read of the user's secrets.
    pub(super) fn unload(&self) {
        let _writer = hold(&self.writer);
        self.snapshot.store(None);
    }
}

/// All users that were asked for.
#[derive(Default)]
pub(super) struct Users(papaya::HashMap<UserId, Arc<UserState>>);

impl Users {
    /// Returns what is known of a user; creates an entry if there is none.
    pub(super) fn get(&self, vault: &Arc<State>, user: UserId) -> Arc<UserState> {
        let users = self.0.pin();
        let new = || {
            Arc::new(UserState {
                user,
                vault: Arc::clone(vault),
                snapshot: Published::new(None),
                writer: Mutex::new(()),
            })
        };
        Arc::clone(users.get_or_insert_with(user, new))
    }

    /// Calls `work` for every user who was asked for, one after the other, with the user's lock held.
    pub(super) fn for_each(&self, work: impl Fn(&UserState)) {
        for user in self.0.pin().values() {
            let _writer = hold(&user.writer);
            work(user);
        }
    }
}
