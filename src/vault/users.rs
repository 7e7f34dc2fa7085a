//! The users that a vault was asked for.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Deref,
    sync::{Arc, atomic::Ordering},
};

use uuid::Uuid;

use super::{
    state::State,
    sync::{AtomicU32, AtomicU64, Mutex, Published, hold},
};
use crate::{secret::UserId, snapshot::Snapshot};

/// One user's secrets, or room for them. On Linux two users fill a cache line.
#[derive(Default)]
#[repr(align(32))]
pub(super) struct UserState {
    /// The user's id. It is there before anyone can find the user, and never changes then.
    id: [AtomicU64; 2],
    /// `None` until it is used, and while the vault is locked.
    pub(super) snapshot: Published<Snapshot>,
    pub(super) writer: Mutex<()>,
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(shuttle)))]
const _: () = assert!(size_of::<UserState>() == 32);

impl UserState {
    pub(super) fn id(&self) -> UserId {
        let [high, low] = [0, 1].map(|half| self.id[half].load(Ordering::Relaxed));
        UserId::new(Uuid::from_u64_pair(high, low))
    }

    fn set_id(&self, id: UserId) {
        let (high, low) = id.as_uuid().as_u64_pair();
        self.id[0].store(high, Ordering::Relaxed);
        self.id[1].store(low, Ordering::Relaxed);
    }

    /// Drops what was read of the user's secrets.
    pub(super) fn unload(&self) {
        let _writer = hold(&self.writer);
        self.snapshot.store(None);
    }
}

/// A user, and the vault whose user this is.
#[derive(Clone)]
pub(super) struct UserHandle {
    chunk: Arc<Chunk>,
    number: u32,
}

impl UserHandle {
    pub(super) fn vault(&self) -> &Arc<State> {
        &self.chunk.vault
    }
}

impl Deref for UserHandle {
    type Target = UserState;

    #[inline]
    fn deref(&self) -> &UserState {
        self.chunk.user(self.number)
    }
}

/// All users that were asked for.
///
/// Users are only ever added, so one who is there is found without a lock, and stays where it is. Hardly any user of
/// many is in the cache, and each place in memory to wait for takes longer than all that a lookup does there. So the
/// states of users lie close together, and what leads to them is small: four bytes for each slot of a table. References
/// are not counted in a user's state, which would have to arrive before anything else could be asked for, but for a
/// chunk of users. A few dozens of users have a chunk each, and many have so many chunks that threads that work for
/// different users seldom count in the same place.
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
    count: Mutex<u32>,
}

/// A hash table with linear probing, and all chunks of the shard. At least half of the slots are empty, and their
/// number is a power of two. Whoever adds a user for whom there is no room makes another table, twice as large, with
/// one chunk more.
struct Table {
    /// 0 until a user is added. Then the user's number, from one, in the bits that tell slots apart, and in the others
    /// those of the user's hash.
    slots: Box<[AtomicU32]>,
    /// The bits that tell slots apart, which are enough for a user's number: half of the slots are empty.
    numbers: u32,
    chunks: Box<[Arc<Chunk>]>,
}

/// The states of some users. The first chunk of a shard has room for one, and each later one for as many as all before
/// it.
struct Chunk {
    /// Whoever has a user holds the vault with it, without counting that in memory that all users share. Therefore the
    /// vault's state does not hold its users.
    vault: Arc<State>,
    users: Box<[UserState]>,
}

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
    pub(super) fn get(&self, vault: &Arc<State>, user: UserId) -> UserHandle {
        let hash = self.hash(user);
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        let table = shard.table.load();
        let found = table.as_deref().and_then(|table| table.find(hash, user));
        found.unwrap_or_else(|| self.add(shard, hash, vault, user))
    }

    /// Adds a user, unless another thread did so in the meantime.
    #[cold]
    fn add(&self, shard: &Shard, hash: u64, vault: &Arc<State>, user: UserId) -> UserHandle {
        let mut count = hold(&shard.count);
        let mut table = shard.table.load_full();
        if let Some(found) = table.as_deref().and_then(|table| table.find(hash, user)) {
            return found;
        }
        let has_room = |table: &mut Arc<Table>| *count < table.room();
        let table = table.take_if(has_room).unwrap_or_else(|| {
            let grown = Table::grown(table.as_deref(), vault, |user| self.hash(user));
            let grown = Arc::new(grown);
            shard.table.store(Some(Arc::clone(&grown)));
            grown
        });
        let handle = table.add(hash, *count, user);
        *count += 1;
        handle
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
            let (table, count) = {
                // A user who is not in the table yet will be added after this lock.
                let count = hold(&shard.count);
                (shard.table.load_full(), *count)
            };
            for user in table
                .iter()
                .flat_map(|table| table.users())
                .take(count as usize)
            {
                let _writer = hold(&user.writer);
                work(user);
            }
        }
    }
}

impl Table {
    /// Returns a table of the same users with room for twice as many.
    fn grown(table: Option<&Table>, vault: &Arc<State>, hash: impl Fn(UserId) -> u64) -> Table {
        let (room, chunks) = table.map_or((0, &[][..]), |table| (table.room(), &table.chunks));
        let added = room.max(1);
        let chunk = Chunk {
            vault: Arc::clone(vault),
            users: (0..added).map(|_| UserState::default()).collect(),
        };
        let slots = 2 * (room + added);
        let grown = Table {
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            numbers: slots - 1,
            chunks: chunks.iter().cloned().chain([Arc::new(chunk)]).collect(),
        };
        for (number, user) in (0..).zip(table.iter().flat_map(|table| table.users())) {
            grown.put(hash(user.id()), number);
        }
        grown
    }

    /// How many users there is room for.
    fn room(&self) -> u32 {
        self.numbers / 2 + 1
    }

    /// The slot of a number of which only the bits that tell slots apart count.
    fn slot(&self, at: u32) -> &AtomicU32 {
        &self.slots[(at & self.numbers) as usize]
    }

    /// Finds a user. Each slot is looked at once: another thread may fill it in the meantime.
    fn find(&self, hash: u64, user: UserId) -> Option<UserHandle> {
        let hash = hash_bits(hash);
        let mut at = hash;
        loop {
            let slot = self.slot(at).load(Ordering::Acquire);
            let number = (slot & self.numbers).checked_sub(1)?;
            if (slot ^ hash) & !self.numbers == 0 {
                let chunk = self.chunk(number);
                if chunk.user(number).id() == user {
                    // Not before: later reads wait until a reference is counted.
                    let chunk = Arc::clone(chunk);
                    return Some(UserHandle { chunk, number });
                }
            }
            at = at.wrapping_add(1);
        }
    }

    /// Adds a user who is not there yet, with the next number, for which there is room. Only one thread at a time may
    /// do so.
    fn add(&self, hash: u64, number: u32, user: UserId) -> UserHandle {
        let chunk = Arc::clone(self.chunk(number));
        chunk.user(number).set_id(user);
        self.put(hash, number);
        UserHandle { chunk, number }
    }

    /// Makes the user of this number, whose id is set, known. Only one thread at a time may do so.
    fn put(&self, hash: u64, number: u32) {
        let hash = hash_bits(hash);
        let mut at = hash;
        while self.slot(at).load(Ordering::Relaxed) != 0 {
            at = at.wrapping_add(1);
        }
        let slot = hash & !self.numbers | (number + 1);
        self.slot(at).store(slot, Ordering::Release);
    }

    fn chunk(&self, number: u32) -> &Arc<Chunk> {
        let chunk = u32::BITS - number.leading_zeros();
        &self.chunks[chunk as usize]
    }

    /// The users by their numbers, and all room for more.
    fn users(&self) -> impl Iterator<Item = &UserState> {
        self.chunks.iter().flat_map(|chunk| &chunk.users)
    }
}

impl Chunk {
    fn user(&self, number: u32) -> &UserState {
        // The first number of a chunk is its length or, for the first chunk, 0.
        &self.users[number as usize & (self.users.len() - 1)]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "enough bits are left")]
fn hash_bits(hash: u64) -> u32 {
    hash as u32
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, thread};

    use uuid::Uuid;

    use super::*;
    use crate::Vault;

    fn id(number: u32) -> UserId {
        UserId::new(Uuid::from_u128(number.into()))
    }

    /// Threads that ask for the same users in different orders get the same ones, while the tables grow.
    #[test]
    fn every_user_is_there_once() {
        const USERS: u32 = if cfg!(miri) { 500 } else { 10_000 };
        let (vault, users) = (Vault::in_memory().unwrap().state, Users::default());
        // None has a divisor in common with the number of users, so that all of them come about.
        let asked = thread::scope(|scope| {
            let threads = [1, 7, 3_333, 9_999].map(|step| {
                let (vault, users) = (&vault, &users);
                let ask = move |i: u32| {
                    let id = id(i * step % USERS);
                    (id, users.get(vault, id))
                };
                scope.spawn(move || (0..USERS).map(ask).collect::<Vec<_>>())
            });
            threads.map(|thread| thread.join().unwrap())
        });
        let mut found: BTreeMap<UserId, UserHandle> = BTreeMap::new();
        for (id, user) in asked.into_iter().flatten() {
            assert_eq!(user.id(), id);
            let first = found.entry(id).or_insert_with(|| user.clone());
            assert!(Arc::ptr_eq(&first.chunk, &user.chunk) && first.number == user.number);
        }
        assert!(found.keys().copied().eq((0..USERS).map(id)));

        let visited = RefCell::new(Vec::new());
        users.for_each(|user| visited.borrow_mut().push(user.id()));
        let mut visited = visited.into_inner();
        visited.sort_unstable();
        assert!(visited.iter().eq(found.keys()));
        for shard in &users.shards {
            let (table, count) = (shard.table.load_full().unwrap(), *hold(&shard.count));
            let is_used = |slot: &&AtomicU32| slot.load(Ordering::Relaxed) != 0;
            assert_eq!(table.slots.iter().filter(is_used).count(), count as usize);
            // A search for an unknown user would never end in a full table.
            assert_eq!(table.room(), count.next_power_of_two());
        }
    }

    /// Whatever their hashes have in common: all bits, those that choose a slot, which may be the last one, or those
    /// that a slot keeps.
    #[test]
    fn users_are_told_apart_by_their_ids() {
        const HASHES: [u64; 9] = [0x07, 0x07, 0x17, 0x0f, 0x1f, 0x1f, 0x13, 0x15, 0x07];
        let vault = Vault::in_memory().unwrap().state;
        let users: Vec<(UserId, u64)> = (0..).map(id).zip(HASHES).collect();
        let hash_of = |user| users.iter().find(|(id, _)| *id == user).unwrap().1;
        let mut table = Table::grown(None, &vault, hash_of);
        for (number, &(user, hash)) in (0..).zip(&users) {
            if number == table.room() {
                table = Table::grown(Some(&table), &vault, hash_of);
            }
            assert!(table.find(hash, user).is_none());
            table.add(hash, number, user);
            for (known, &(user, hash)) in (0..=number).zip(&users) {
                let found = table.find(hash, user).unwrap();
                assert_eq!((found.number, found.id()), (known, user));
            }
        }
    }

    /// Room for a user looks like the one whose id is nil, whom nobody adds here.
    #[test]
    fn nobody_is_found_before_the_id_is_there() {
        const ROOM: u32 = 32;
        let vault = Vault::in_memory().unwrap().state;
        let mut table = Table::grown(None, &vault, |_| 0);
        let add = |table: &Table, number| drop(table.add(0, number, id(number + 1)));
        for number in 0..ROOM / 2 {
            if number == table.room() {
                table = Table::grown(Some(&table), &vault, |_| 0);
            }
            add(&table, number);
        }
        let table = Table::grown(Some(&table), &vault, |_| 0);
        thread::scope(|scope| {
            scope.spawn(|| (ROOM / 2..ROOM).for_each(|number| add(&table, number)));
            for _ in 0..ROOM {
                assert!(table.find(0, id(0)).is_none());
            }
        });
    }

    /// Threads that work for different users count nothing in the same place, as long as there are few.
    #[test]
    fn the_first_users_are_counted_by_themselves() {
        let (vault, users) = (Vault::in_memory().unwrap().state, Users::default());
        let asked: Vec<UserHandle> = (0..200).map(|i| users.get(&vault, id(i))).collect();
        let mut first = asked.iter().filter(|user| user.number < 2);
        assert!(first.all(|user| Arc::strong_count(&user.chunk) == 2));

        let of_vault = Arc::strong_count(&vault);
        let again = [0; 3].map(|_| users.get(&vault, id(0)));
        assert_eq!(Arc::strong_count(&vault), of_vault);
        assert_eq!(Arc::strong_count(&again[0].chunk), 2 + again.len());
    }
}
