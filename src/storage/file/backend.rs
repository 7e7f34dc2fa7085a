//! The layers between the database and the file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

use super::pages::Pages;

/// What follows the first `start` bytes of a file. The file is closed, and so unlocked, together with the
/// engine.
#[derive(Debug)]
pub(super) struct Region {
    /// Used by one caller at a time, since a file has one position: positioned reads and writes differ on every
    /// system, and would cost little less.
    file: Mutex<File>,
    start: u64,
}

impl Region {
    pub(super) fn new(file: File, start: u64) -> Region {
        Region {
            file: Mutex::new(file),
            start,
        }
    }

    /// Every call sets the position that it needs, so a panic in another call leaves nothing behind that matters.
    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, offset: u64) -> io::Result<u64> {
        offset
            .checked_add(self.start)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl StorageBackend for Region {
    fn len(&self) -> io::Result<u64> {
        let length = self.file().metadata()?.len();
        length
            .checked_sub(self.start)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(self.at(offset)?))?;
        file.read_exact(out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file().set_len(self.at(len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file().sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(self.at(offset)?))?;
        file.write_all(data)
    }
}

/// Keeps a database from following references that it should not, and from writing after it has failed: a database
/// that panicked would write what it has in memory when it is dropped.
#[derive(Debug)]
pub(super) struct Fence {
    backend: Arc<dyn StorageBackend>,
    pages: Pages,
    stopped: Arc<AtomicBool>,
}

impl Fence {
    /// The flag that shuts the fence is shared.
    pub(super) fn new(backend: &Arc<dyn StorageBackend>, stopped: &Arc<AtomicBool>) -> Fence {
        Fence {
            backend: Arc::clone(backend),
            pages: Pages::default(),
            stopped: Arc::clone(stopped),
        }
    }

    fn open(&self) -> io::Result<&dyn StorageBackend> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(io::Error::other("the store was stopped by a failure"));
        }
        Ok(&*self.backend)
    }
}

/// Redb's own locking is not used: the file is locked before its header is read.
impl StorageBackend for Fence {
    fn len(&self) -> io::Result<u64> {
        self.open()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let backend = self.open()?;
        backend.read(offset, out)?;
        self.pages.check(offset, out, backend)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.open()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.open()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.open()?.write(offset, data)?;
        self.pages.written(offset, data);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}
