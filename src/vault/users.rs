//! The users that a vault was asked for.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
};

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
    fn new(vault: &Arc<State>, user: UserId) -> UserState {
        UserState {
            user,
            vault: Arc::clone(vault),
            snapshot: Published::new(None),
            writer: Mutex::new(()),
        }
    }

    /// Drops what was read of the user's secrets.
    pub(super) fn unload(&self) {
        let _writer = hold(&self.writer);
        self.snapshot.store(None);
    }
}

/// All users that were asked for.
///
/// Users are only ever added, so one who is there is found without a lock, and without writing to memory that
/// threads share. Hardly any user of many is in the cache: so the ids lie in the table itself, and there is one place
/// in memory to wait for before the user's own.
pub(super) struct Users {
    table: Published<Table>,
    /// How many there are. Held while one is added.
    count: Mutex<usize>,
    hasher: RandomState,
}

/// A hash table with linear probing. At least half of its slots are empty, and their number is a power of two.
/// Whoever adds a user for whom there is no room makes another table, twice as large.
struct Table(Box<[Slot]>);

/// A slot, empty until a user is added. Two of them fill a cache line.
#[derive(Default)]
#[repr(align(32))]
struct Slot(OnceLock<(UserId, Arc<UserState>)>);

/// How many slots a table has at first.
const SLOTS: usize = 8;

impl Default for Users {
    fn default() -> Users {
        Users {
            table: Published::new(Some(Table::new(SLOTS))),
            count: Mutex::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Users {
    /// Returns what is known of a user; creates an entry if there is none.
    pub(super) fn get(&self, vault: &Arc<State>, user: UserId) -> Arc<UserState> {
        let hash = self.hasher.hash_one(user);
        let table = self.table.load();
        let known = table.as_deref().and_then(|table| table.get(hash, user));
        match known {
            Some(state) => Arc::clone(state),
            None => self.add(hash, vault, user),
        }
    }

    /// Adds a user, unless another thread did so in the meantime.
    #[cold]
    fn add(&self, hash: u64, vault: &Arc<State>, user: UserId) -> Arc<UserState> {
        let mut count = hold(&self.count);
        let mut table = self.table();
        if (*count + 1) * 2 > table.0.len() {
            table = Arc::new(table.grown(|user| self.hasher.hash_one(user)));
            self.table.store(Some(Arc::clone(&table)));
        }
        let (_, state) = table.slot(hash, user).0.get_or_init(|| {
            *count += 1;
            (user, Arc::new(UserState::new(vault, user)))
        });
        Arc::clone(state)
    }

    fn table(&self) -> Arc<Table> {
        self.table.load_full().expect("there always is one")
    }

    /// Calls `work` for every user who was asked for, one after the other, with the user's lock held.
    ///
    /// Whoever asks for another user meanwhile sees all that this thread did before the call.
    pub(super) fn for_each(&self, work: impl Fn(&UserState)) {
        let table = {
            // A user who is not in the table yet will be added after this lock.
            let _count = hold(&self.count);
            self.table()
        };
        for (_, user) in table.users() {
            let _writer = hold(&user.writer);
            work(user);
        }
    }
}

impl Table {
    fn new(slots: usize) -> Table {
        Table((0..slots).map(|_| Slot::default()).collect())
    }

    /// Returns a table of the same users with twice as many slots.
    fn grown(&self, hash: impl Fn(&UserId) -> u64) -> Table {
        let grown = Table::new(self.0.len() * 2);
        for (user, state) in self.users() {
            let slot = &grown.slot(hash(user), *user).0;
            slot.get_or_init(|| (*user, Arc::clone(state)));
        }
        grown
    }

    fn get(&self, hash: u64, user: UserId) -> Option<&Arc<UserState>> {
        self.slot(hash, user).0.get().map(|(_, state)| state)
    }

    /// The user's slot, or the empty one where the user belongs.
    fn slot(&self, hash: u64, user: UserId) -> &Slot {
        #[expect(clippy::cast_possible_truncation, reason = "enough bits are left")]
        let mut at = hash as usize;
        loop {
            let slot = &self.0[at & (self.0.len() - 1)];
            match slot.0.get() {
                Some((other, _)) if *other != user => at = at.wrapping_add(1),
                _ => return slot,
            }
        }
    }

    fn users(&self) -> impl Iterator<Item = &(UserId, Arc<UserState>)> {
        self.0.iter().filter_map(|slot| slot.0.get())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, thread};

    use uuid::Uuid;

    use super::*;
    use crate::Vault;

    /// Threads that ask for the same users in different orders get the same ones, while the table grows.
    #[test]
    fn every_user_is_there_once() {
        const USERS: usize = 1_000;
        let (vault, users) = (Vault::in_memory().unwrap().state, Users::default());
        let id = |number: usize| UserId::new(Uuid::from_u128(number as u128));
        // None has a divisor in common with the number of users, so that all of them come about.
        let asked = thread::scope(|scope| {
            let threads = [1, 7, 333, 999].map(|step| {
                let (vault, users) = (&vault, &users);
                let ask = move |i: usize| users.get(vault, id(i * step % USERS));
                scope.spawn(move || (0..USERS).map(ask).collect::<Vec<_>>())
            });
            threads.map(|thread| thread.join().unwrap())
        });
        let mut found: BTreeMap<UserId, Arc<UserState>> = BTreeMap::new();
        for user in asked.into_iter().flatten() {
            let first = found.entry(user.user).or_insert_with(|| Arc::clone(&user));
            assert!(Arc::ptr_eq(first, &user));
        }
        assert!(found.keys().copied().eq((0..USERS).map(id)));

        let visited = RefCell::new(Vec::new());
        users.for_each(|user| visited.borrow_mut().push(user.user));
        let mut visited = visited.into_inner();
        visited.sort_unstable();
        assert!(visited.iter().eq(found.keys()));
        // A lookup of an unknown user would never end in a full table.
        assert_eq!(users.table().0.len(), (2 * USERS).next_power_of_two());
    }
}
