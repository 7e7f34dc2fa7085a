//! The pages to which a transaction leads.
//!
//! Each of them is in one place only: it is the root of the definitions or of a table, or one inner page refers to it.
//! Redb relies on that, and follows a page as often as there are references to it: a leaf of 16 MiB to which inner
//! pages refer a million times, or to which thousands of definitions lead, it would read and compare as often. Nor
//! may a page be read in two roles, since what has to be searched in it depends on its role. So everything is walked
//! once before redb opens a file, which reads no more than the first 4,096 bytes of each page.

use std::io;

use redb::StorageBackend;

use super::{
    layout::{self, INNER, LEAF, PAGE, Regions},
    page_set::PageSet,
};

/// How many inner pages redb follows to a leaf.
const MAX_DEPTH: usize = 127;
/// How much is read of a page: inner pages and definitions have no more.
const BEGIN: usize = 4096;

/// Which pages are in use.
#[derive(Debug)]
pub(super) struct Used {
    regions: Regions,
    length: u64,
    pages: PageSet,
    number: u64,
}

impl Used {
    /// Walks everything that the roots of definitions lead to. Fails with `InvalidData` if redb cannot have written it.
    pub(super) fn find(
        backend: &dyn StorageBackend,
        regions: Regions,
        roots: &[u64],
    ) -> io::Result<Used> {
        let mut used = Used {
            regions,
            length: backend.len()?,
            pages: PageSet::default(),
            number: 0,
        };
        for root in roots {
            let (page, size) = used.page(backend, *root)?;
            if page[0] != LEAF || size != PAGE {
                return Err(invalid("the definitions of tables are not in one page"));
            }
            let tables = layout::definitions(&page, used.length);
            for table in tables.ok_or_else(|| invalid("a definition of a table is damaged"))? {
                used.follow(backend, table, MAX_DEPTH)?;
            }
        }
        Ok(used)
    }

    /// Follows a page of a table.
    fn follow(
        &mut self,
        backend: &dyn StorageBackend,
        number: u64,
        depth: usize,
    ) -> io::Result<()> {
        let children = match self.page(backend, number)? {
            (page, size) if page[0] == INNER => {
                // All keys are short.
                if size != PAGE || depth == 0 {
                    return Err(invalid("an inner page is too large, or too far down"));
                }
                layout::children(&page).ok_or_else(|| invalid("an inner page is damaged"))?
            }
            _ => return Ok(()),
        };
        for child in children {
            self.follow(backend, child, depth - 1)?;
        }
        Ok(())
    }

    /// Notes that a page is in use. Returns how it begins, and its size.
    fn page(&mut self, backend: &dyn StorageBackend, number: u64) -> io::Result<(Vec<u8>, u64)> {
        let wrong = || invalid("a page is in use twice, or is not in the file");
        let (at, size) = self.regions.find(number, self.length).ok_or_else(wrong)?;
        if at + size > self.length {
            return Err(wrong());
        }
        for page in at / PAGE..(at + size) / PAGE {
            if self.contains(page) {
                return Err(wrong());
            }
            self.pages.insert(page * PAGE);
        }
        self.number += size / PAGE;
        let mut begin = vec![0; BEGIN];
        backend.read(at, &mut begin)?;
        Ok((begin, size))
    }

    /// Returns whether a page of the file, which is given by its number in the file, is in use, also by redb itself.
    pub(super) fn contains(&self, page: u64) -> bool {
        self.regions.is_for_redb(page) || self.pages.contains(page * PAGE)
    }

    /// How many pages are in use that are not for redb itself.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A database of 40 pages, the first of which hold these, or of more.
    fn walk(pages: &[Vec<u8>]) -> io::Result<u64> {
        walk_from(0, pages)
    }

    fn walk_from(root: u64, pages: &[Vec<u8>]) -> io::Result<u64> {
        let backend = InMemoryBackend::new();
        let length = PAGE * pages.len().max(40) as u64;
        backend.set_len(PAGE + length).unwrap();
        for (at, page) in (1..).zip(pages) {
            backend.write(at * PAGE, page).unwrap();
        }
        let mut header = [0; layout::HEADER];
        header[21] = 1;
        let regions = Regions::of(&header).unwrap();
        Used::find(&backend, regions, &[root]).map(|used| used.number())
    }

    fn definitions(tables: &[u64]) -> Vec<u8> {
        let number = u32::try_from(tables.len()).unwrap();
        let names = 4 + 8 * number;
        let definitions = names + number;
        let mut page = vec![LEAF, 0, number.to_le_bytes()[0], 0];
        for i in 1..=number {
            page.extend((names + i).to_le_bytes());
        }
        for i in 1..=number {
            page.extend((definitions + 18 * i).to_le_bytes());
        }
        page.resize(definitions as usize, b'n');
        for table in tables {
            page.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            page.extend(table.to_le_bytes());
        }
        page
    }

    fn inner(children: &[u64]) -> Vec<u8> {
        let keys = u16::try_from(children.len() - 1).unwrap().to_le_bytes();
        let mut page = vec![INNER, 0, keys[0], keys[1], 0, 0, 0, 0];
        page.resize(8 + 16 * children.len(), 0);
        page.extend(children.iter().flat_map(|child| child.to_le_bytes()));
        page
    }

    fn leaf() -> Vec<u8> {
        vec![LEAF, 0, 1, 0]
    }

    /// A reference to the page of this order that begins with this page of 4,096 bytes.
    fn larger(order: u64, page: u64) -> u64 {
        (order << 59) | (page >> order)
    }

    #[test]
    fn every_page_is_in_one_place() {
        let table = |children: &[u64]| vec![definitions(&[1]), inner(children), leaf(), leaf()];
        assert_eq!(walk(&[definitions(&[])]).unwrap(), 1);
        assert_eq!(walk(&table(&[2, 3])).unwrap(), 4);
        assert_eq!(walk(&table(&[2, larger(4, 16)])).unwrap(), 3 + 16);
        let others: &[&[u64]] = &[
            &[2, 2],
            // Overlaps the one before.
            &[2, larger(1, 2)],
            &[larger(2, 4), larger(1, 6)],
            // The definitions, the page itself, and beyond the end of the file.
            &[0],
            &[1],
            &[40],
            &[larger(5, 32)],
        ];
        for children in others {
            let error = walk(&table(children)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{children:?}");
        }
    }

    #[test]
    fn every_table_has_pages_of_its_own() {
        let tables = |tables: &[u64]| vec![definitions(tables), leaf(), inner(&[1]), leaf()];
        assert_eq!(walk(&tables(&[1, 3])).unwrap(), 3);
        for others in [&[1, 1][..], &[1, 2], &[2, 1], &[0]] {
            walk(&tables(others)).unwrap_err();
        }
    }

    #[test]
    fn definitions_and_inner_pages_have_the_size_and_the_depth_that_they_can_have() {
        walk(&[inner(&[1]), definitions(&[2]), leaf()]).unwrap_err();
        let pages = [definitions(&[2]), leaf(), leaf()];
        walk(&pages).unwrap();
        walk_from(larger(1, 0), &pages).unwrap_err();
        walk(&[definitions(&[larger(1, 2)]), leaf(), leaf()]).unwrap();
        walk(&[definitions(&[larger(1, 2)]), leaf(), inner(&[1])]).unwrap_err();
        let above_a_leaf = |depth: u64| {
            let mut pages = vec![definitions(&[1])];
            pages.extend((1..=depth).map(|page| inner(&[page + 1])));
            pages.push(leaf());
            walk(&pages)
        };
        assert_eq!(above_a_leaf(127).unwrap(), 129);
        above_a_leaf(128).unwrap_err();
    }
    #[test]
    fn no_page_is_where_redb_keeps_its_own() {
        // Regions of one page for redb and eight for data.
        let mut header = [0; layout::HEADER];
        (header[16], header[20]) = (1, 8);
        let regions = Regions::of(&header).unwrap();
        let walk = |table| {
            let backend = InMemoryBackend::new();
            backend.set_len(40 * PAGE).unwrap();
            backend.write(2 * PAGE, &definitions(&[table])).unwrap();
            Used::find(&backend, regions, &[0]).map(|used| used.number())
        };
        assert_eq!(walk(larger(2, 4)).unwrap(), 1 + 4);
        walk(larger(3, 8)).unwrap_err();
    }
}
