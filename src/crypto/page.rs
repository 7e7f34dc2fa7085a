//! The memory for the keys of an unlocked vault: one page, kept out of the swap where possible.

use std::fmt;

use region::LockGuard;
use zeroize::Zeroize;

/// The bytes of a key. This type does not wipe them: its owner does.
pub(super) type KeyBytes = [u8; 32];

/// The maximum number of data keys at one time: one; two while the data key is rotated; and those from before and
/// after together when another process rotated it.
pub(super) const DATA_KEYS: usize = 4;

/// The keys of an unlocked vault. They lie on their own pages, so that locking them locks nothing else and
/// unlocking them unlocks no one else's: an operating system does not count how often a page was locked. The
/// alignment is that of the largest common pages.
#[repr(C, align(16384))]
#[derive(Zeroize)]
pub(super) struct Keys {
    pub(super) index: KeyBytes,
    /// The key for the names of users and rows.
    pub(super) tags: KeyBytes,
    /// The key for digests of rows and roots.
    pub(super) digests: KeyBytes,
    /// The master key; all zeros unless it has to be kept.
    pub(super) master: KeyBytes,
    pub(super) data: [DataKey; DATA_KEYS],
}

/// A data key, and the keys derived from it.
#[derive(Zeroize)]
pub(super) struct DataKey {
    pub(super) data: KeyBytes,
    pub(super) metadata: KeyBytes,
    pub(super) value: KeyBytes,
    pub(super) root: KeyBytes,
}

impl DataKey {
    const ZERO: DataKey = DataKey {
        data: [0; 32],
        metadata: [0; 32],
        value: [0; 32],
        root: [0; 32],
    };
}

/// Keys in their page. On drop they are wiped, then the page is unlocked, then its memory is freed.
pub(super) struct KeyPage {
    /// Before `keys`: fields are dropped in declaration order.
    guard: Option<LockGuard>,
    keys: Box<Keys>,
}

impl KeyPage {
    /// Creates a page of zeros, locked if the operating system agrees. Keys are written into it later, each directly
    /// into its place.
    pub(super) fn new() -> KeyPage {
        let keys = Box::new(Keys {
            index: [0; 32],
            tags: [0; 32],
            digests: [0; 32],
            master: [0; 32],
            data: [DataKey::ZERO; DATA_KEYS],
        });
        // Only the fields, not the padding after them: with 4 KiB pages, this locks one page.
        let used = DATA_KEYS * size_of::<DataKey>() + 4 * size_of::<KeyBytes>();
        // Miri has no pages to lock.
        let locked = (!cfg!(miri)).then(|| region::lock(&raw const *keys, used));
        let guard = locked.and_then(Result::ok);
        KeyPage { guard, keys }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    pub(super) fn is_locked(&self) -> bool {
        self.guard.is_some()
    }
}

impl Drop for KeyPage {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

impl fmt::Debug for KeyPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPage([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_on_pages_of_their_own() {
        let page = KeyPage::new();
        let at = (&raw const *page.keys).addr();
        assert_eq!(at % region::page::size(), 0);
        assert_eq!(size_of::<Keys>() % region::page::size(), 0);
    }

    /// Asks the operating system: on Linux, `/proc/self/smaps` says how much of each mapping is locked.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn a_locked_page_is_locked_until_it_is_dropped() {
        let locked = |page: &KeyPage| {
            let at = (&raw const *page.keys).addr();
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let mut here = false;
            for line in maps.lines() {
                if let Some((from, rest)) = line.split_once('-')
                    && let (Ok(from), Some(Ok(to))) = (
                        usize::from_str_radix(from, 16),
                        rest.split(' ')
                            .next()
                            .map(|to| usize::from_str_radix(to, 16)),
                    )
                {
                    here = (from..to).contains(&at);
                } else if here && let Some(size) = line.strip_prefix("Locked:") {
                    return size.trim() != "0 kB";
                }
            }
            panic!("the page is in no mapping");
        };
        let mut page = KeyPage::new();
        assert_eq!(locked(&page), page.is_locked());
        page.guard = None;
        assert!(!locked(&page));
    }
}
