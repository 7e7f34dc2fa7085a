//! The parts of the file that the database does not use: whether there is room for more, and what old pages hold.
//!
//! Redb frees pages, but does not overwrite them, and shortens the file only as far as the last page that it cannot
//! move: one for which there is no free place further ahead that is long enough. Free pages before that one keep
//! what they held. So after redb has done its part, every page that its roots do not lead to is overwritten here.
//! Such a page is in no transaction that a crash could bring back: the last one had two phases, so redb never turns
//! to the one before.

use std::io;

use redb::StorageBackend;

use super::{
    layout::{self, PAGE, Regions},
    used::Used,
};

/// How many bytes are read and written at once.
const PART: u64 = 64 * PAGE;

/// Fails, with everything as it was, if the file cannot become `more` bytes longer.
///
/// Redb stops for good if it finds no room, and leaves the file as long as it has become. A new length alone is no
/// proof of room where files have holes, so the bytes are written. If the file system compresses zeros, or another
/// program fills the disk meanwhile, redb can still run out of room.
pub(super) fn check_room(backend: &dyn StorageBackend, more: u64) -> io::Result<()> {
    let length = backend.len()?;
    let room = take_room(backend, length, more);
    backend.set_len(length)?;
    room
}

fn take_room(backend: &dyn StorageBackend, length: u64, more: u64) -> io::Result<()> {
    let regions = Regions::read(backend)?;
    // Redb doubles the length whatever it needs, and where files have no holes that takes room at once.
    let end = length.saturating_add(more.max(length));
    // After a crash here redb finds this length, which has to be one that it could have chosen.
    backend.set_len(regions.round_up(end))?;
    let zeros = vec![0; index(PART)];
    let mut at = length;
    while at < length + more {
        let part = PART.min(length + more - at);
        backend.write(at, &zeros[..index(part)])?;
        at += part;
    }
    backend.sync_data()
}

/// Overwrites every page that is not in use with zeros. Nothing may be under way, and `allocated` is the number of
/// pages that redb says are in use: if they are not the ones found, nothing is overwritten.
pub(super) fn overwrite(backend: &dyn StorageBackend, allocated: u64) -> io::Result<()> {
    let mut header = vec![0; layout::HEADER];
    backend.read(0, &mut header)?;
    let (regions, roots) = Regions::of(&header)
        .zip(layout::roots(&header))
        .ok_or_else(|| invalid("there is no header"))?;
    let used = Used::find(backend, regions, &roots)?;
    if used.number() != allocated {
        return Err(invalid(
            "the pages in use are not those that the database leads to",
        ));
    }
    let pages = backend.len()? / PAGE;
    let mut part = vec![0; index(PART)];
    let mut page = 0;
    while page < pages {
        let is_used = used.contains(page);
        let end = pages.min(page + PART / PAGE);
        let next = (page + 1..end).find(|next| used.contains(*next) != is_used);
        let run = page..next.unwrap_or(end);
        page = run.end;
        if is_used {
            continue;
        }
        let part = &mut part[..index(PAGE * (run.end - run.start))];
        backend.read(PAGE * run.start, part)?;
        // What is zero may be a hole in the file, which would take room.
        if part.iter().any(|byte| *byte != 0) {
            part.fill(0);
            backend.write(PAGE * run.start, part)?;
        }
    }
    backend.sync_data()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Converts a number of bytes or pages of a file that redb also counts in memory.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("a file that fits")
}
