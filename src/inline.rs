//! A list that needs the heap only when it gets long.

use std::ops::{Deref, DerefMut};

/// Up to `N` items in place; all of them in a `Vec` beyond that, until none is left.
#[derive(Clone)]
pub(crate) struct InlineVec<T, const N: usize> {
    inline: [T; N],
    /// How many items are in place; 0 once they have moved.
    len: usize,
    heap: Vec<T>,
}

impl<T: Copy, const N: usize> InlineVec<T, N> {
    /// An empty list. `fill` stands where no item is yet, and is never seen.
    pub(crate) fn new(fill: T) -> InlineVec<T, N> {
        InlineVec {
            inline: [fill; N],
            len: 0,
            heap: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.heap.is_empty() && self.len < N {
            self.inline[self.len] = item;
            self.len += 1;
        } else {
            self.spill();
            self.heap.push(item);
        }
    }

    /// Adds `item` so many times.
    pub(crate) fn extend_with(&mut self, item: T, times: usize) {
        for _ in 0..times {
            self.push(item);
        }
    }

    /// Adds all of `items`.
    #[inline]
    pub(crate) fn extend_from_slice(&mut self, items: &[T]) {
        let end = self.len + items.len();
        match self.inline.get_mut(self.len..end) {
            Some(free) if self.heap.is_empty() => {
                free.copy_from_slice(items);
                self.len = end;
            }
            _ => {
                self.spill();
                self.heap.extend_from_slice(items);
            }
        }
    }

    fn spill(&mut self) {
        self.heap.extend_from_slice(&self.inline[..self.len]);
        self.len = 0;
    }
}

impl<T: Copy, const N: usize> Deref for InlineVec<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        if self.heap.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.heap
        }
    }
}

impl<T: Copy, const N: usize> DerefMut for InlineVec<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.heap.is_empty() {
            &mut self.inline[..self.len]
        } else {
            &mut self.heap
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_list(parts in prop::collection::vec(prop::collection::vec(any::<usize>(), 0..6), 0..6)) {
            let mut list: InlineVec<usize, 4> = InlineVec::new(usize::MAX);
            let mut model = Vec::new();
            for part in parts {
                match *part {
                    [item] => list.push(item),
                    _ => list.extend_from_slice(&part),
                }
                model.extend(part);
                prop_assert_eq!(&*list, &*model);
                prop_assert_eq!(list.heap.is_empty(), model.len() <= 4);
            }
            list.sort_unstable();
            model.sort_unstable();
            prop_assert_eq!(&*list, &*model);
        }
    }
}
