//! Where redb keeps what: the parts of its file format 3 that lead from one page to another.
//!
//! A page is 4,096 bytes times a power of two, whose exponent, the *order*, is part of each reference to the page: a
//! number of 64 bits whose upper five bits are the order. References are in three places:
//!
//! | where | at |
//! |---|---|
//! | the header, in the slot (at 64 or 192) that byte 9 selects, or in both | if byte 1 is not 0: at 8, the root of the table definitions; if byte 2 is not 0: at 40, the root of those of redb's own tables |
//! | an inner page: byte 0 is 2, the number of keys *n* is at 2 (`u16`) | from 8 + 16 (*n* + 1) on, *n* + 1 of them |
//! | a leaf with definitions: byte 0 is 1, the number *n* is at 2 (`u16`), then *n* ends of names (`u32`), *n* ends of definitions | in each definition, if byte 9 is not 0: at 10, the root of the table. Byte 0 must be 3: keyward does not use tables of other kinds |
//!
//! Other leaves have none, as long as there are no savepoints, which keyward does not use either. A leaf has
//! definitions if the header refers to it.

use std::io;

use redb::StorageBackend;

pub(super) const PAGE: u64 = 4096;
/// The maximum number of pages in a region: a reference has 20 bits for the index of one.
const REGION: u32 = 1 << 20;
/// The size of the largest page allowed. A leaf is as large as its largest value needs: a secret's row, the
/// vault's `keys`, or redb's list of free pages in a region of 4 GiB. None of them reaches 1 MiB.
const MAX_PAGE_SIZE: u64 = 16 * 1024 * 1024;
pub(super) const HEADER: usize = 320;
pub(super) const SLOTS: [usize; 2] = [64, 192];
/// Where the header has flags: which slot, and how it was written.
pub(super) const FLAGS: usize = 9;
pub(super) const PRIMARY: u8 = 1;
pub(super) const UNCLEAN: u8 = 2;
pub(super) const TWO_PHASES: u8 = 4;
/// From after a slot's version to the end of its checksum.
pub(super) const SLOT: std::ops::Range<usize> = 1..128;
pub(super) const LEAF: u8 = 1;
pub(super) const INNER: u8 = 2;
/// A table with one value for each key.
pub(super) const TABLE: u8 = 3;
const SAVEPOINTS: &[u8] = b"persistent_savepoints";

/// The file is the header, in a page, and then regions, each with pages for redb itself before those for data.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Regions {
    /// The number of pages of a region before its data, and of its data: the same for the whole file.
    before: u64,
    data: u64,
}

impl Regions {
    pub(super) fn read(backend: &dyn StorageBackend) -> io::Result<Regions> {
        let mut header = [0; HEADER];
        backend.read(0, &mut header)?;
        Regions::of(&header).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(super) fn of(header: &[u8]) -> Option<Regions> {
        let (before, data) = (u32_at(header, 16)?, u32_at(header, 20)?);
        (before.max(data) <= REGION).then(|| Regions {
            before: before.into(),
            data: data.into(),
        })
    }

    /// Returns the offset and the size of the page that a reference names; `None` if it is larger than it may be in
    /// a file of `length` bytes.
    pub(super) fn find(self, number: u64, length: u64) -> Option<(u64, u64)> {
        let order = number >> 59;
        let size = PAGE << order;
        if size > length.min(MAX_PAGE_SIZE) {
            return None;
        }
        let index = number & (0xF_FFFF >> order);
        let region = (number >> 20) & 0xF_FFFF;
        // At most 2^20 regions of 2^21 pages of 2^12 bytes: none of this overflows.
        let data = PAGE * (1 + region * (self.before + self.data) + self.before);
        Some((data + index * size, size))
    }

    /// Returns whether a page of the file, which is given by its number in the file, is not for data.
    pub(super) fn is_for_redb(self, page: u64) -> bool {
        match page.checked_sub(1) {
            Some(page) => self.within(page) < self.before,
            None => true,
        }
    }

    /// Returns a length of the file that redb could have chosen: the last region has a page for data, at least.
    pub(super) fn round_up(self, length: u64) -> u64 {
        let pages = length.div_ceil(PAGE).saturating_sub(1);
        let more = match self.within(pages) {
            0 => 0,
            last => (self.before + 1).saturating_sub(last),
        };
        PAGE * (1 + pages + more)
    }

    fn within(self, page: u64) -> u64 {
        page % (self.before + self.data).max(1)
    }
}

/// Returns the roots of the last transaction, to which a header leads.
pub(super) fn roots(header: &[u8]) -> Option<Vec<u64>> {
    let primary = usize::from(*header.get(FLAGS)? & PRIMARY);
    slot_roots(header, SLOTS[primary])
}

pub(super) fn slot_roots(header: &[u8], slot: usize) -> Option<Vec<u64>> {
    let mut roots = Vec::new();
    for (flag, root) in [(1, 8), (2, 40)] {
        if *header.get(slot + flag)? != 0 {
            roots.push(u64_at(header, slot + root)?);
        }
    }
    Some(roots)
}

/// Returns the pages to which an inner page leads.
pub(super) fn children(page: &[u8]) -> Option<Vec<u64>> {
    let children = usize::from(u16_at(page, 2)?) + 1;
    (0..children)
        .map(|child| u64_at(page, 8 + 16 * children + 8 * child))
        .collect()
}

/// Returns the roots of the tables that a leaf defines; `None` if one is not a table that keyward uses.
pub(super) fn definitions(page: &[u8], length: u64) -> Option<Vec<u64>> {
    let mut roots = Vec::new();
    let number = usize::from(u16_at(page, 2)?);
    let end = |i: usize| Some(u32_at(page, 4 + 4 * i)? as usize);
    let mut name_from = 4 + 8 * number;
    for i in 0..number {
        let name = page.get(name_from..end(i)?)?;
        name_from = end(i)?;
        let before = if i == 0 { number - 1 } else { number + i - 1 };
        let definition = page.get(end(before)?..end(number + i)?)?;
        if *definition.first()? != TABLE {
            return None;
        }
        if *definition.get(9)? != 0 {
            let root = u64_at(definition, 10)?;
            if PAGE << (root >> 59) > length.min(MAX_PAGE_SIZE) || name == SAVEPOINTS {
                return None;
            }
            roots.push(root);
        }
    }
    Some(roots)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_pages_for_redb_before_those_for_data() {
        let mut header = [0; HEADER];
        header[16] = 3;
        header[20] = 8;
        let regions = Regions::of(&header).unwrap();
        let for_redb: Vec<_> = (0..16).filter(|page| regions.is_for_redb(*page)).collect();
        assert_eq!(for_redb, [0, 1, 2, 3, 12, 13, 14]);
        let (second, order_one) = (1 << 20, 1 << 59);
        let length = 30 * PAGE;
        assert_eq!(regions.find(0, length), Some((4 * PAGE, PAGE)));
        let found = regions.find(order_one | second | 2, length);
        assert_eq!(found, Some(((15 + 4) * PAGE, 2 * PAGE)));
        // However long the file is, no page is longer than 16 MiB.
        let largest = regions.find(12 << 59, 1 << 40);
        assert_eq!(largest, Some((4 * PAGE, MAX_PAGE_SIZE)));
        assert_eq!(regions.find(13 << 59, 1 << 40), None);
        let rounded = |pages: u64| regions.round_up(pages * PAGE) / PAGE;
        assert_eq!([5, 12, 13, 16, 17].map(rounded), [5, 12, 16, 16, 17]);
    }
}
