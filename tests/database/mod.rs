//! The database in a vault file, for tests that change it.

use std::{fs, path::Path};

use redb::{Database, ReadableTable as _, TableDefinition};

/// The rows in the database of a vault file, by their keys.
pub(crate) const ROWS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rows");

/// Opens the database in a vault file with redb, and writes back what `change` leaves.
pub(crate) fn with_database(path: &Path, change: impl FnOnce(&Database)) {
    const HEADER: usize = 4096;
    let bytes = fs::read(path).unwrap();
    let inner = path.with_extension("redb");
    fs::write(&inner, &bytes[HEADER..]).unwrap();
    let database = Database::open(&inner).unwrap();
    change(&database);
    drop(database);
    let changed = [&bytes[..HEADER], &fs::read(&inner).unwrap()].concat();
    fs::write(path, changed).unwrap();
}

/// Changes one bit of a row.
pub(crate) fn damage_first_row(path: &Path) {
    with_database(path, |database| {
        let transaction = database.begin_write().unwrap();
        let mut rows = transaction.open_table(ROWS).unwrap();
        let (key, mut row) = {
            let (key, row) = rows.first().unwrap().unwrap();
            (*key.value(), row.value().to_vec())
        };
        *row.last_mut().unwrap() ^= 1;
        rows.insert(&key, &*row).unwrap();
        drop(rows);
        transaction.commit().unwrap();
    });
}
