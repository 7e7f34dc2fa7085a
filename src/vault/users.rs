//! The users that a vault was asked for.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::{
    state::State,
    sync::{Mutex, Published, SetOnce, hold},
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
/// threads share. Hardly any user of many is in the cache: so the ids lie in the tables themselves, and there is one
/// place in memory to wait for before the user's own.
pub(super) struct Users {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

/// How many shards there are. They grow at about the same time, but not at once, and take a 64th as long for it: so
/// long nobody else is added to the one that does, and locking the vault waits. In models there is one shard.
const SHARDS: usize = if cfg!(shuttle) { 1 } else { 64 };

/// The users whose hashes have some bits in common.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    /// `None` while there are no users.
    table: Published<Table>,
    /// How many there are. Held while one is added.
    count: Mutex<usize>,
}

/// A hash table with linear probing. At least half of its slots are empty, and their number is a power of two.
/// Whoever adds a user for whom there is no room makes another table, twice as large.
struct Table(Box<[Slot]>);

/// A slot, empty until a user is added. Two of them fill a cache line.
#[derive(Default)]
#[repr(align(32))]
struct Slot(SetOnce<(UserId, Arc<UserState>)>);

#[cfg(all(target_pointer_width = "64", not(shuttle)))]
const _: () = assert!(size_of::<Slot>() == 32);

/// How many slots a table has at first.
const SLOTS: usize = 8;

impl Default for Users {
    fn default() -> Users {
        Users {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Users {
    /// Returns what is known of a user; creates an entry if there is none.
    pub(super) fn get(&self, vault: &Arc<State>, user: UserId) -> Arc<UserState> {
        let hash = self.hash(user);
        let shard = &self.shards[bits(hash >> 32) % SHARDS];
        let table = shard.table.load();
        match table.as_deref().map(|table| table.find(hash, user)) {
            Some(Ok(state)) => Arc::clone(state),
            None | Some(Err(_)) => self.add(shard, hash, vault, user),
        }
    }

    /// Adds a user, unless another thread did so in the meantime.
    #[cold]
    fn add(&self, shard: &Shard, hash: u64, vault: &Arc<State>, user: UserId) -> Arc<UserState> {
        let mut count = hold(&shard.count);
        let mut table = shard.table.load_full();
        if let Some(Ok(state)) = table.as_deref().map(|table| table.find(hash, user)) {
            return Arc::clone(state);
        }
        let has_room = |table: &mut Arc<Table>| (*count + 1) * 2 <= table.0.len();
        let table = table.take_if(has_room).unwrap_or_else(|| {
            let grown = Table::grown(table.as_deref(), |user| self.hash(user));
            let grown = Arc::new(grown);
            shard.table.store(Some(Arc::clone(&grown)));
            grown
        });
        let state = Arc::new(UserState::new(vault, user));
        table.put(hash, user, Arc::clone(&state));
        *count += 1;
        state
    }

    /// In models all users belong in the same slot, so that few of them meet, and orders can be repeated.
    fn hash(&self, user: UserId) -> u64 {
        if cfg!(shuttle) {
            0
        } else {
            self.hasher.hash_one(user)
        }
    }

    /// Calls `work` for every user who was asked for, one after the other, with the user's lock held.
    ///
    /// Whoever asks for another user meanwhile sees all that this thread did before the call.
    pub(super) fn for_each(&self, work: impl Fn(&UserState)) {
        for shard in &self.shards {
            let table = {
                // A user who is not in the table yet will be added after this lock.
                let _count = hold(&shard.count);
                shard.table.load_full()
            };
            for (_, user) in table.iter().flat_map(|table| table.users()) {
                let _writer = hold(&user.writer);
                work(user);
            }
        }
    }
}

impl Table {
    /// Returns a table of the same users with twice as many slots.
    fn grown(table: Option<&Table>, hash: impl Fn(UserId) -> u64) -> Table {
        let slots = table.map_or(SLOTS, |table| table.0.len() * 2);
        let grown = Table((0..slots).map(|_| Slot::default()).collect());
        for (user, state) in table.iter().flat_map(|table| table.users()) {
            grown.put(hash(*user), *user, Arc::clone(state));
        }
        grown
    }

    /// Finds a user, or the empty slot where the user belongs. Each slot is looked at once: another thread may fill it
    /// in the meantime.
    fn find(&self, hash: u64, user: UserId) -> Result<&Arc<UserState>, &Slot> {
        let mut at = bits(hash);
        loop {
            let slot = &self.0[at & (self.0.len() - 1)];
            match slot.0.get() {
                Some((other, state)) if *other == user => return Ok(state),
                Some(_) => at = at.wrapping_add(1),
                None => return Err(slot),
            }
        }
    }

    /// Puts a user there who is not there yet. Only one thread at a time may do so.
    fn put(&self, hash: u64, user: UserId, state: Arc<UserState>) {
        if let Err(free) = self.find(hash, user) {
            free.0.get_or_init(|| (user, state));
        }
    }

    fn users(&self) -> impl Iterator<Item = &(UserId, Arc<UserState>)> {
        self.0.iter().filter_map(|slot| slot.0.get())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "enough bits are left")]
fn bits(hash: u64) -> usize {
    hash as usize
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, thread};

    use uuid::Uuid;

    use super::*;
    use crate::Vault;

    /// Threads that ask for the same users in different orders get the same ones, while the tables grow.
    #[test]
    fn every_user_is_there_once() {
        const USERS: usize = 10_000;
        let (vault, users) = (Vault::in_memory().unwrap().state, Users::default());
        let id = |number: usize| UserId::new(Uuid::from_u128(number as u128));
        // None has a divisor in common with the number of users, so that all of them come about.
        let asked = thread::scope(|scope| {
            let threads = [1, 7, 3_333, 9_999].map(|step| {
                let (vault, users) = (&vault, &users);
                let ask = move |i: usize| {
                    let id = id(i * step % USERS);
                    (id, users.get(vault, id))
                };
                scope.spawn(move || (0..USERS).map(ask).collect::<Vec<_>>())
            });
            threads.map(|thread| thread.join().unwrap())
        });
        let mut found: BTreeMap<UserId, Arc<UserState>> = BTreeMap::new();
        for (id, user) in asked.into_iter().flatten() {
            assert_eq!(user.user, id);
            let first = found.entry(id).or_insert_with(|| Arc::clone(&user));
            assert!(Arc::ptr_eq(first, &user));
        }
        assert!(found.keys().copied().eq((0..USERS).map(id)));

        let visited = RefCell::new(Vec::new());
        users.for_each(|user| visited.borrow_mut().push(user.user));
        let mut visited = visited.into_inner();
        visited.sort_unstable();
        assert!(visited.iter().eq(found.keys()));
        for shard in &users.shards {
            let (table, count) = (shard.table.load_full().unwrap(), *hold(&shard.count));
            assert_eq!(table.users().count(), count);
            // A search for an unknown user would never end in a full table.
            assert_eq!(table.0.len(), (2 * count).next_power_of_two().max(SLOTS));
        }
    }
}
