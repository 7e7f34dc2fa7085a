//! A disk for tests: it records what was done to it, and its possible contents after a crash can be generated.
//!
//! A run over a [`Disk`] records every write, change of length and sync. Cut off after any of them, a disk holds
//! everything that was synced; each write that was not may be there as a whole, in part or not at all, in any
//! order. Changes of length happen in order, as in file systems, and nothing of a write shows beyond the file's
//! end.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use redb::StorageBackend;

use super::{FileStorage, engine::Engine};
use crate::storage::{StorageError, Transaction};

/// How many random images are generated for each cut, besides the plain ones.
pub(crate) fn images() -> u64 {
    std::env::var("KEYWARD_CRASH_IMAGES").map_or(3, |number| number.parse().unwrap())
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(usize, Vec<u8>),
    SetLen(usize),
    Sync,
}

/// A disk that records what was done to it, and that fails from a given step on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Tape>>);

#[derive(Debug, Default)]
struct Tape {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    fails_from: Option<usize>,
    /// How many reads and steps there were, and which of them fails, once.
    calls: usize,
    fails_once: Option<usize>,
    /// The blocks that take room: those that were written to. The others are holes.
    blocks: BTreeSet<usize>,
    /// How many blocks there is room for.
    room: Option<usize>,
}

const BLOCK: usize = 4096;

impl Tape {
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.fails_once == Some(self.calls) {
            return Err(io::Error::other("the disk has failed once"));
        }
        Ok(())
    }

    fn record(&mut self, step: Step) -> io::Result<()> {
        if let Err(error) = self.call() {
            // What fails may have been done in part.
            if let Step::Write(at, data) = step {
                let half = &data[..data.len() / 2];
                self.bytes[at..at + half.len()].copy_from_slice(half);
                self.steps.push(Step::Write(at, half.to_vec()));
            }
            return Err(error);
        }
        if self.fails_from.is_some_and(|at| self.steps.len() >= at) {
            return Err(io::Error::other("the disk has failed"));
        }
        self.steps.push(step);
        Ok(())
    }

    fn take_room(&mut self, from: usize, to: usize) -> io::Result<()> {
        let blocks = from / BLOCK..to.div_ceil(BLOCK);
        let new = blocks.filter(|block| !self.blocks.contains(block));
        let new: Vec<_> = new.collect();
        if self
            .room
            .is_some_and(|room| self.blocks.len() + new.len() > room)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.blocks.extend(new);
        Ok(())
    }
}

impl Disk {
    pub(crate) fn holding(bytes: Vec<u8>) -> Disk {
        let disk = Disk::default();
        {
            let mut tape = disk.0.lock().unwrap();
            tape.blocks = (0..bytes.len().div_ceil(BLOCK)).collect();
            tape.bytes = bytes;
        }
        disk
    }

    pub(crate) fn failing_from(step: usize) -> Disk {
        let disk = Disk::default();
        disk.fail_after(Some(step));
        disk
    }

    /// Makes the disk do this many more steps, then fail; `None` for never.
    pub(crate) fn fail_after(&self, steps: Option<usize>) {
        let mut tape = self.0.lock().unwrap();
        tape.fails_from = steps.map(|steps| tape.steps.len() + steps);
    }

    /// Makes the disk fail once, at the given read or step from now on.
    pub(crate) fn fail_once(&self, at: usize) {
        let mut tape = self.0.lock().unwrap();
        tape.fails_once = Some(tape.calls + at);
    }

    /// How many reads and steps there were.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// Leaves room for this many more blocks, and for those that are given up from now on.
    pub(crate) fn leave_room(&self, blocks: usize) {
        let mut tape = self.0.lock().unwrap();
        tape.room = Some(tape.blocks.len() + blocks);
    }

    pub(crate) fn steps(&self) -> usize {
        self.0.lock().unwrap().steps.len()
    }

    /// Everything that was done, in order.
    pub(crate) fn recorded(&self) -> Vec<Step> {
        self.0.lock().unwrap().steps.clone()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut tape = self.0.lock().unwrap();
        tape.call()?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = tape.bytes.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let mut tape = self.0.lock().unwrap();
        tape.record(Step::SetLen(len))?;
        tape.blocks.split_off(&len.div_ceil(BLOCK));
        tape.bytes.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().unwrap().record(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut tape = self.0.lock().unwrap();
        tape.take_room(offset, offset + data.len())?;
        tape.record(Step::Write(offset, data.to_vec()))?;
        tape.bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Repeatable randomness: xorshift.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit as u64)).unwrap()
    }
}

/// The fate of a write that was not synced.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Present,
    Absent,
    /// The first bytes of it, this many.
    Torn(usize),
    /// Each sector of 512 bytes is there if its bit is set.
    Sectors(u64),
}

/// What a disk may hold if it is cut off after `steps`; everything up to the last sync was done.
pub(crate) struct Cut<'a> {
    synced: Vec<u8>,
    pending: &'a [Step],
}

impl Cut<'_> {
    pub(crate) fn new<'a>(start: &[u8], steps: &'a [Step]) -> Cut<'a> {
        let sync = steps.iter().rposition(|step| matches!(step, Step::Sync));
        let (synced, pending) = steps.split_at(sync.map_or(0, |at| at + 1));
        let mut bytes = start.to_vec();
        for step in synced {
            apply(&mut bytes, step, Fate::Present);
        }
        Cut {
            synced: bytes,
            pending,
        }
    }

    pub(crate) fn plain(&self, fate: Fate) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for step in self.pending {
            apply(&mut bytes, step, fate);
        }
        bytes
    }

    pub(crate) fn random(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let lengths: Vec<_> = self.pending.iter().filter(|step| is_length(step)).collect();
        for step in &lengths[..chance.below(lengths.len() + 1)] {
            apply(&mut bytes, step, Fate::Present);
        }
        let mut writes: Vec<_> = self
            .pending
            .iter()
            .filter(|step| !is_length(step))
            .collect();
        for i in (1..writes.len()).rev() {
            writes.swap(i, chance.below(i + 1));
        }
        for step in writes {
            let Step::Write(_, data) = step else { continue };
            let fate = match chance.below(6) {
                0 | 1 => Fate::Present,
                2 | 3 => Fate::Absent,
                4 => Fate::Torn(chance.below(data.len() + 1)),
                _ => Fate::Sectors(chance.next()),
            };
            apply(&mut bytes, step, fate);
        }
        bytes
    }

    /// Returns all images to be tried.
    pub(crate) fn images(&self, chance: &mut Chance, number: u64) -> Vec<Vec<u8>> {
        let mut images = vec![self.plain(Fate::Present)];
        if !self.pending.is_empty() {
            images.push(self.plain(Fate::Absent));
            images.extend((0..number).map(|_| self.random(chance)));
        }
        images
    }
}

fn is_length(step: &Step) -> bool {
    matches!(step, Step::SetLen(_))
}

fn apply(bytes: &mut Vec<u8>, step: &Step, fate: Fate) {
    match (step, fate) {
        (Step::SetLen(_), Fate::Absent) | (Step::Sync, _) => {}
        (Step::SetLen(length), _) => bytes.resize(*length, 0),
        (Step::Write(at, data), fate) => {
            for (i, byte) in data.iter().enumerate() {
                let there = match fate {
                    Fate::Present => true,
                    Fate::Absent => false,
                    Fate::Torn(length) => i < length,
                    Fate::Sectors(bits) => bits >> (((at + i) / 512) % 64) & 1 == 1,
                };
                if there && let Some(old) = bytes.get_mut(at + i) {
                    *old = *byte;
                }
            }
        }
    }
}

impl FileStorage {
    /// Creates a store on such a disk.
    pub(crate) fn create_on(disk: Disk, first: Transaction) -> Result<FileStorage, StorageError> {
        let engine = Engine::create(disk)?;
        engine.commit(first)?;
        Ok(FileStorage {
            engine,
            named: None,
        })
    }

    /// Opens the store on such a disk.
    pub(crate) fn open_on(disk: Disk) -> Result<FileStorage, StorageError> {
        let engine = Engine::open(disk)?;
        Ok(FileStorage {
            engine,
            named: None,
        })
    }
}
