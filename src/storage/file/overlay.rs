//! Reading a database without writing to its file.
//!
//! Redb writes when it opens a database: that it is open, and, after a crash, what it repaired.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

const BLOCK: u64 = LENGTH as u64;
const LENGTH: usize = 4096;

type Block = [u8; LENGTH];

/// A read-only view of a backend. What is written to it is kept in memory, and lost when it is dropped.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    backend: B,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// How much of the backend still counts: what was cut off does not come back.
    kept: u64,
    /// The blocks that were written to, by number.
    blocks: HashMap<u64, Box<Block>>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(super) fn new(backend: B) -> io::Result<Overlay<B>> {
        let length = backend.len()?;
        Ok(Overlay {
            backend,
            written: Mutex::new(Written {
                length,
                kept: length,
                blocks: HashMap::new(),
            }),
        })
    }

    /// The data is consistent at every moment, so a panic elsewhere does not spoil it.
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self, written: &Written, number: u64) -> io::Result<Block> {
        if let Some(block) = written.blocks.get(&number) {
            return Ok(**block);
        }
        let mut block = [0; LENGTH];
        let start = number * BLOCK;
        let there = index(written.kept.saturating_sub(start).min(BLOCK));
        if there > 0 {
            self.backend.read(start, &mut block[..there])?;
        }
        Ok(block)
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        check_end(offset, out.len(), written.length)?;
        for (number, from, part) in parts(offset, out.len()) {
            let block = self.block(&written, number)?;
            out[part.clone()].copy_from_slice(&block[from..from + part.len()]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        written.length = len;
        written.kept = written.kept.min(len);
        written.blocks.retain(|&number, _| number * BLOCK < len);
        if let Some(last) = written.blocks.get_mut(&(len / BLOCK)) {
            last[index(len % BLOCK)..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        check_end(offset, data.len(), written.length)?;
        for (number, from, part) in parts(offset, data.len()) {
            let mut block = self.block(&written, number)?;
            block[from..from + part.len()].copy_from_slice(&data[part]);
            written.blocks.insert(number, Box::new(block));
        }
        Ok(())
    }
}

fn check_end(offset: u64, length: usize, end: u64) -> io::Result<()> {
    match offset.checked_add(length as u64) {
        Some(last) if last <= end => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Splits a run of bytes into blocks: the block's number, the offset in it, and which of the bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let from = index(at % BLOCK);
        let end = length.min(done + LENGTH - from);
        let part = done..end;
        done = end;
        Some((at / BLOCK, from, part))
    })
}

/// Converts an offset within a block.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("no more than a block")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = 3 * BLOCK;
        prop_oneof![
            (0..length, prop::collection::vec(1..u8::MAX, 0..9000))
                .prop_map(|(at, data)| Step::Write(at, data)),
            (0..length).prop_map(Step::SetLen),
        ]
    }

    fn all(backend: &impl StorageBackend) -> Vec<u8> {
        let mut bytes = vec![0; index(backend.len().unwrap())];
        backend.read(0, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn it_is_a_copy_of_the_backend_which_stays_as_it_is(
            start in prop::collection::vec(1..u8::MAX, 0..9000),
            steps in prop::collection::vec(step(), 1..12),
        ) {
            let backend = InMemoryBackend::new();
            backend.set_len(start.len() as u64).unwrap();
            backend.write(0, &start).unwrap();
            let (overlay, mut model) = (Overlay::new(backend).unwrap(), start.clone());
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        let end = index(at) + data.len();
                        let written = overlay.write(at, &data);
                        prop_assert_eq!(written.is_ok(), end <= model.len());
                        if written.is_ok() {
                            model[end - data.len()..end].copy_from_slice(&data);
                        }
                    }
                    Step::SetLen(length) => {
                        overlay.set_len(length).unwrap();
                        model.resize(index(length), 0);
                    }
                }
                prop_assert!(all(&overlay) == model);
                prop_assert!(overlay.read(model.len() as u64, &mut [0]).is_err());
            }
            prop_assert!(all(&overlay.backend) == start);
        }
    }
}
