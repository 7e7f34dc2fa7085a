//! Page sizes, checked before redb follows a reference to a page.
//!
//! The size of a page is part of each reference to it (see `layout.rs`). Redb allocates and fills the memory for a page
//! before it reads its bytes, so a file of a few pages could make it use 4 GiB. Here every page that is read is
//! searched for references; if one refers to a page that is larger than the whole file, or than any that keyward uses,
//! the page with the reference is made unreadable. And before redb follows a root in the header, everything below it is
//! walked once: redb reads each page as often as there are references to it, and here there may be only one.
//!
//! A crash leaves such references, too: redb compacts with one-phase commits, whose pages may be half written. It
//! opens the file by comparing what the last commit wrote with its checksums, and uses the commit before if they
//! do not match. Until then, a page with such a reference, or a slot of the header, reads as zeros, which match no
//! checksum, instead of as an error.
//!
//! The few tables that there are fit into one leaf with definitions, so an inner page may not stand in its place: redb
//! could have read the leaves below it before, as rows, and have kept them.

use std::{
    collections::HashSet,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use super::{
    layout::{
        FLAGS, HEADER, INNER, LEAF, PRIMARY, Regions, SLOT, SLOTS, TWO_PHASES, UNCLEAN, children,
        definitions, slot_roots,
    },
    page_set::PageSet,
    used::Used,
};

#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    regions: Regions,
    /// The offsets of the leaves with definitions.
    definitions: HashSet<u64>,
    /// The pages that redb wrote to since it opened the file: what is read there is its own.
    written: PageSet,
    /// Redb compares pages with their checksums before it trusts them, until it writes a header that says so.
    compared: bool,
}

impl Pages {
    /// Searches what was read at `offset` of a database.
    pub(super) fn check(
        &self,
        offset: u64,
        page: &mut [u8],
        backend: &dyn StorageBackend,
    ) -> io::Result<()> {
        let mut known = self.known();
        if offset == 0 {
            // The first bytes are also read separately, to see whether this is a database at all.
            return if page.len() < HEADER {
                Ok(())
            } else {
                known.header(page, backend)
            };
        }
        if known.written.contains(offset) {
            return Ok(());
        }
        let length = backend.len()?;
        let found = match page.first() {
            Some(&INNER) => known.inner(offset, page, length).is_some(),
            Some(&LEAF) if known.definitions.contains(&offset) => {
                definitions(page, length).is_some()
            }
            _ => true,
        };
        if found {
            Ok(())
        } else if known.compared {
            page.fill(0);
            Ok(())
        } else {
            Err(cannot_exist())
        }
    }

    /// Pages that redb writes itself are not searched. Not all of them have been filled: when it compacts, it sets
    /// inner pages aside, writes them out if there are too many for its cache, and reads them again. In a build
    /// with debug assertions they are full of references to nowhere then.
    pub(super) fn written(&self, offset: u64, page: &[u8]) {
        let mut known = self.known();
        known.written.insert(offset);
        if offset == 0 && page.get(FLAGS).is_none_or(|flags| flags & UNCLEAN == 0) {
            known.compared = false;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn header(&mut self, page: &mut [u8], backend: &dyn StorageBackend) -> io::Result<()> {
        self.compared = false;
        self.regions = Regions::of(page).ok_or_else(cannot_exist)?;
        let primary = usize::from(page[FLAGS] & PRIMARY);
        let compared = page[FLAGS] & (UNCLEAN | TWO_PHASES) == UNCLEAN;
        for (i, slot) in SLOTS.into_iter().enumerate() {
            // Redb turns to the other slot only if the last commit had one phase. Until then that slot may be
            // outdated or half written.
            if i != primary && page[FLAGS] & TWO_PHASES != 0 {
                continue;
            }
            match self.slot(page, slot, backend) {
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidData && (compared || i != primary) =>
                {
                    page[slot..][SLOT].fill(0);
                }
                walked => walked?,
            }
        }
        self.compared = compared;
        Ok(())
    }

    fn slot(&mut self, page: &[u8], slot: usize, backend: &dyn StorageBackend) -> io::Result<()> {
        let roots = slot_roots(page, slot).ok_or_else(cannot_exist)?;
        Used::find(backend, self.regions, &roots)?;
        let length = backend.len()?;
        for root in roots {
            let (at, _) = self.regions.find(root, length).ok_or_else(cannot_exist)?;
            self.definitions.insert(at);
        }
        Ok(())
    }

    fn inner(&mut self, offset: u64, page: &[u8], length: u64) -> Option<()> {
        if self.definitions.contains(&offset) {
            return None;
        }
        for child in children(page)? {
            self.regions.find(child, length)?;
        }
        Some(())
    }
}

fn cannot_exist() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a page of the database refers to a page that cannot exist",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use redb::{StorageBackend, backends::InMemoryBackend};

    use super::*;
    use crate::{
        sealed::{RowTag, Sealed, SealedRoot, SealedRow, UserTag},
        storage::{
            StorageError, Transaction, UserChange,
            file::{
                engine::Engine,
                layout::{PAGE, TABLE, roots},
            },
        },
    };

    /// Records the longest read; redb has allocated memory for it before it reads.
    #[derive(Debug, Clone, Default)]
    struct Measured(Arc<(InMemoryBackend, AtomicU64)>);

    impl Measured {
        fn holding(bytes: &[u8]) -> Measured {
            let measured = Measured::default();
            measured.set_len(bytes.len() as u64).unwrap();
            measured.write(0, bytes).unwrap();
            measured
        }

        fn bytes(&self) -> Vec<u8> {
            let mut bytes = vec![0; usize::try_from(self.len().unwrap()).unwrap()];
            self.read(0, &mut bytes).unwrap();
            bytes
        }
    }

    impl StorageBackend for Measured {
        fn len(&self) -> io::Result<u64> {
            self.0.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.1.fetch_max(out.len() as u64, Ordering::Relaxed);
            self.0.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.0.write(offset, data)
        }
    }

    const USER: UserTag = UserTag([1; 16]);

    fn database() -> Vec<u8> {
        let disk = Measured::default();
        let engine = Engine::create(disk.clone()).unwrap();
        let row = |i: u8| SealedRow {
            key_id: 1,
            metadata: Sealed::new([i; 120]),
            // Some of them take pages of a higher order, which must be accepted.
            value: Sealed::new(vec![i; if i % 50 == 7 { 9000 } else { 70 }]),
        };
        let user = UserChange {
            user: USER,
            expected: None,
            root: Some(SealedRoot {
                key_id: 1,
                root: Sealed::new([1; 60]),
            }),
            put: (0..200)
                .map(|i| (RowTag([i; 16]), Arc::new(row(i))))
                .collect(),
            delete: Vec::new(),
        };
        engine
            .commit(Transaction {
                users: vec![user],
                ..Transaction::default()
            })
            .unwrap();
        drop(engine);
        disk.bytes()
    }

    fn use_all(bytes: &[u8]) -> Result<usize, StorageError> {
        let disk = Measured::holding(bytes);
        let result = Engine::open(disk.clone()).and_then(|engine| {
            let rows = engine.user(USER)?.map_or(0, |user| user.rows.len());
            engine.commit(Transaction::default())?;
            Ok(rows)
        });
        let longest = disk.0.1.load(Ordering::Relaxed);
        assert!(
            longest <= bytes.len() as u64,
            "{longest} bytes of {}",
            bytes.len()
        );
        result
    }

    #[test]
    fn a_reference_to_a_page_larger_than_the_file_is_not_followed() {
        let whole = database();
        assert_eq!(use_all(&whole).unwrap(), 200);
        let (mut inner, mut definitions) = (0, 0);
        for order in [8, 16, 20] {
            let forged = order << 3;
            let mut bytes = whole.clone();
            for page in bytes.chunks_mut(4096).skip(1) {
                if page[0] == INNER {
                    let children = usize::from(page[2]) + 1;
                    page[8 + 24 * children - 1] = forged;
                    inner += 1;
                }
            }
            let error = use_all(&bytes).unwrap_err();
            assert!(matches!(error, StorageError::Damaged(_)), "{error:?}");

            let mut bytes = whole.clone();
            let key = b"[u8;32]";
            for at in 64..whole.len() - key.len() {
                // The type of its keys is 64 bytes into a definition, after one byte of its own.
                if whole[at..].starts_with(key) && whole[at - 65] == TABLE {
                    bytes[at - 65 + 17] = forged;
                    definitions += 1;
                }
            }
            let error = use_all(&bytes).unwrap_err();
            assert!(matches!(error, StorageError::Damaged(_)), "{error:?}");
        }
        assert!(inner > 0 && definitions > 0, "{inner}, {definitions}");
    }

    #[test]
    fn the_roots_that_redb_may_follow_are_checked() {
        let whole = database();
        // Returns the header as redb gets it.
        let check = |bytes: &[u8]| {
            let mut header = bytes[..HEADER].to_vec();
            let checked = Pages::default().check(0, &mut header, &Measured::holding(bytes));
            checked.map(|()| header)
        };
        assert_eq!(check(&whole).unwrap(), whole[..HEADER]);
        assert_eq!(whole[9] & TWO_PHASES, TWO_PHASES);
        for (i, slot) in SLOTS.into_iter().enumerate() {
            for root in [8, 40] {
                let mut bytes = whole.clone();
                bytes[slot + root + 7] = 20 << 3;
                let primary = i == usize::from(whole[9] & PRIMARY);
                assert_eq!(check(&bytes).is_err(), primary, "slot {i}");
                bytes[9] &= !TWO_PHASES;
                match check(&bytes) {
                    Ok(header) => assert_eq!(header[slot..][SLOT], [0; 127], "slot {i}"),
                    Err(_) => assert!(primary, "slot {i}"),
                }
            }
        }
        let mut bytes = whole.clone();
        bytes[16..24].fill(0xFF);
        check(&bytes).unwrap_err();
    }

    #[test]
    fn what_redb_compares_with_its_checksum_reads_as_zeros_if_it_cannot_be_followed() {
        let pages = Pages::default();
        let mut header = database()[..HEADER].to_vec();
        header[9] = UNCLEAN;
        let [torn, whole] = SLOTS;
        header[torn + 1] = 1;
        header[torn + 8 + 7] = 20 << 3;
        let disk = Measured::holding(&database());
        let read =
            |page: &mut [u8]| pages.check(if page.len() == HEADER { 0 } else { 8192 }, page, &disk);
        let mut found = header.clone();
        read(&mut found).unwrap();
        assert_eq!(found[torn + 1..whole], [0; 127]);
        assert_eq!(found[whole..], header[whole..]);

        let mut inner = [0; 4096];
        inner[0] = INNER;
        inner[8 + 16 + 7] = 20 << 3;
        let mut found = inner;
        read(&mut found).unwrap();
        assert_eq!(found, [0; 4096]);

        // Redb writes the header while it compares, and again when it is done.
        pages.written(0, &header);
        read(&mut inner.clone()).unwrap();
        header[9] = 0;
        pages.written(0, &header);
        read(&mut inner).unwrap_err();
    }

    /// Redb follows the roots in savepoints, which are not walked, and those in a table of many values for each key.
    #[test]
    fn tables_of_other_kinds_and_savepoints_are_refused() {
        type Make = fn(&redb::WriteTransaction);
        const ONE: redb::TableDefinition<'_, u32, u32> = redb::TableDefinition::new("one");
        const MANY: redb::MultimapTableDefinition<'_, u32, u32> =
            redb::MultimapTableDefinition::new("many");
        let cases: [(Make, bool); 3] = [
            (|_| {}, true),
            (
                |transaction| {
                    let mut many = transaction.open_multimap_table(MANY).unwrap();
                    many.insert(1, 1).unwrap();
                },
                false,
            ),
            (
                |transaction| {
                    transaction.persistent_savepoint().unwrap();
                },
                false,
            ),
        ];
        for (i, (make, accepted)) in cases.into_iter().enumerate() {
            let disk = Measured::default();
            let database = redb::Database::builder();
            let database = database.create_with_backend(disk.clone()).unwrap();
            let makes: [Make; 2] = [
                |transaction| {
                    let mut one = transaction.open_table(ONE).unwrap();
                    one.insert(1, 1).unwrap();
                },
                make,
            ];
            for make in makes {
                let transaction = database.begin_write().unwrap();
                make(&transaction);
                transaction.commit().unwrap();
            }
            drop(database);
            let mut header = disk.bytes()[..HEADER].to_vec();
            let checked = Pages::default().check(0, &mut header, &disk);
            assert_eq!(checked.is_ok(), accepted, "case {i}");
        }
    }

    #[test]
    fn a_slot_that_leads_twice_to_a_page_is_refused() {
        let mut bytes = database();
        let mut inner = 0;
        for page in bytes.chunks_mut(4096).skip(1) {
            if page[0] == INNER {
                let children = 8 + 16 * (usize::from(page[2]) + 1);
                page.copy_within(children..children + 8, children + 8);
                inner += 1;
            }
        }
        assert!(inner > 0);
        let check = |bytes: &[u8]| {
            let mut header = bytes[..HEADER].to_vec();
            let checked = Pages::default().check(0, &mut header, &Measured::holding(bytes));
            checked.map(|()| header)
        };
        let error = check(&bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // Redb would turn to the other slot.
        bytes[9] = bytes[9] & PRIMARY | UNCLEAN;
        let slot = SLOTS[usize::from(bytes[9] & PRIMARY)];
        assert_eq!(check(&bytes).unwrap()[slot..][SLOT], [0; 127]);
    }

    #[test]
    fn no_inner_page_leads_to_definitions() {
        let whole = database();
        let length = whole.len() as u64;
        let (pages, disk) = (Pages::default(), Measured::holding(&whole));
        pages.check(0, &mut whole.clone(), &disk).unwrap();
        let mut inner = [0; 4096];
        inner[0] = INNER;
        let regions = Regions::of(&whole).unwrap();
        for root in roots(&whole).unwrap() {
            let (at, _) = regions.find(root, length).unwrap();
            let leaf = &whole[usize::try_from(at).unwrap()..][..4096];
            pages.check(at, &mut leaf.to_vec(), &disk).unwrap();
            pages.check(at, &mut inner.clone(), &disk).unwrap_err();
            pages.check(at + PAGE, &mut inner.clone(), &disk).unwrap();
        }
    }
}
