//! The parts of the file that the database does not use: whether there is room for more, and what old pages hold.
//!
//! Redb frees pages, but does not overwrite them, and shortens the file only as far as the last page that it cannot
//! move: one for which there is no free place further ahead that is long enough. Free pages before that one keep
//! what they held. So after redb has done its part, every page that its roots do not lead to is overwritten here.
//! Such a page is in no transaction that a crash could bring back: the last one had two phases, so redb never turns
//! to the one before.

use std::io;

use redb::StorageBackend;

use super::pages::{self, PAGE, Regions};

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
    let used = Used::read(backend)?;
    if used.number != allocated {
        return Err(invalid(
            "the pages in use are not those that the database leads to",
        ));
    }
    let mut part = vec![0; index(PART)];
    let mut rest = &used.pages[..];
    while let Some(is_used) = rest.first() {
        let at = (used.pages.len() - rest.len()) as u64 * PAGE;
        let most = rest.len().min(index(PART / PAGE));
        let alike = rest[..most].iter().take_while(|used| *used == is_used);
        let (run, after) = rest.split_at(alike.count());
        rest = after;
        if *is_used {
            continue;
        }
        let part = &mut part[..run.len() * index(PAGE)];
        backend.read(at, part)?;
        // What is zero may be a hole in the file, which would take room.
        if part.iter().any(|byte| *byte != 0) {
            part.fill(0);
            backend.write(at, part)?;
        }
    }
    backend.sync_data()
}

/// Which pages of the file the last transaction leads to.
struct Used {
    regions: Regions,
    /// One entry for each page of the file. Those that are for redb itself are also in use.
    pages: Vec<bool>,
    /// How many of them are not for redb itself.
    number: u64,
}

impl Used {
    fn read(backend: &dyn StorageBackend) -> io::Result<Used> {
        let length = backend.len()?;
        let regions = Regions::read(backend)?;
        let mut used = Used {
            regions,
            pages: (0..length / PAGE)
                .map(|page| regions.is_for_redb(page))
                .collect(),
            number: 0,
        };
        let mut header = vec![0; pages::HEADER];
        backend.read(0, &mut header)?;
        let roots = pages::roots(&header).ok_or_else(|| invalid("there is no header"))?;
        // What leads to tables differs from what tables lead to.
        let mut definitions: Vec<u64> = roots;
        let mut tables = Vec::new();
        while let Some(number) = definitions.pop() {
            let page = used.page(backend, number)?;
            match page.first() {
                Some(&pages::INNER) => definitions.extend(children(&page)?),
                _ => tables.extend(
                    pages::definitions(&page, length)
                        .ok_or_else(|| invalid("a definition of a table is damaged"))?,
                ),
            }
        }
        while let Some(number) = tables.pop() {
            let page = used.page(backend, number)?;
            if page.first() == Some(&pages::INNER) {
                tables.extend(children(&page)?);
            }
        }
        Ok(used)
    }

    /// Reads a page, and notes that it is in use.
    fn page(&mut self, backend: &dyn StorageBackend, number: u64) -> io::Result<Vec<u8>> {
        let length = self.pages.len() as u64 * PAGE;
        let damaged = || invalid("a page is in use twice, or is not in the file");
        let (at, size) = self.regions.find(number, length).ok_or_else(damaged)?;
        let pages = index(at / PAGE)..index((at + size) / PAGE);
        let pages = self.pages.get_mut(pages).ok_or_else(damaged)?;
        // A page that leads to itself would be followed for ever.
        if pages.contains(&true) {
            return Err(damaged());
        }
        pages.fill(true);
        self.number += size / PAGE;
        let mut page = vec![0; index(size)];
        backend.read(at, &mut page)?;
        Ok(page)
    }
}

fn children(page: &[u8]) -> io::Result<Vec<u64>> {
    pages::children(page).ok_or_else(|| invalid("an inner page is damaged"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Converts a number of bytes or pages of a file that redb also counts in memory.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("a file that fits")
}
