//! A set of pages.

use super::layout::PAGE;

/// Some pages, by their offsets. One bit for each page up to the last of them, so at most 32 KiB for each GiB of the
/// file.
#[derive(Debug, Default)]
pub(super) struct PageSet(Vec<u64>);

impl PageSet {
    pub(super) fn insert(&mut self, offset: u64) {
        if let Some((word, bit)) = PageSet::place(offset) {
            if self.0.len() <= word {
                self.0.resize(word + 1, 0);
            }
            self.0[word] |= bit;
        }
    }

    pub(super) fn contains(&self, offset: u64) -> bool {
        PageSet::place(offset)
            .and_then(|(word, bit)| Some(self.0.get(word)? & bit != 0))
            .unwrap_or(false)
    }

    /// Returns `None` for the header.
    fn place(offset: u64) -> Option<(usize, u64)> {
        let page = (offset / PAGE).checked_sub(1)?;
        Some((usize::try_from(page / 64).ok()?, 1 << (page % 64)))
    }
}
