//! A list that needs the heap only when it gets long.

use std::ops::{Deref, DerefMut};

/// Up to `N` items in place; all of them in a `Vec` beyond that.
#[derive(Clone)]
pub(super) struct InlineVec<T, const N: usize> {
    inline: [T; N],
    /// How many items are in place; 0 once they have moved.
    len: usize,
    heap: Vec<T>,
}

impl<T: Copy, const N: usize> InlineVec<T, N> {
    /// An empty list. `fill` stands where no item is yet, and is never seen.
    pub(super) fn new(fill: T) -> InlineVec<T, N> {
        InlineVec {
            inline: [fill; N],
            len: 0,
            heap: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.heap.is_empty() && self.len < N {
            self.inline[self.len] = item;
            self.len += 1;
        } else {
            self.spill();
            self.heap.push(item);
        }
    }

    /// Puts `item` before the item at `at`.
    ///
    /// # Panics
    ///
    /// If `at` is greater than the number of items.
    pub(super) fn insert(&mut self, at: usize, item: T) {
        self.push(item);
        self[at..].rotate_right(1);
    }

    /// Drops the items and keeps the heap's memory, if there is any.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.heap.clear();
    }

    pub(super) fn is_spilled(&self) -> bool {
        !self.heap.is_empty()
    }

    /// The items on the heap, if they have moved there.
    pub(super) fn spilled_mut(&mut self) -> Option<&mut Vec<T>> {
        if self.is_spilled() {
            Some(&mut self.heap)
        } else {
            None
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
        fn is_a_list(ops in prop::collection::vec((0u8..8, any::<prop::sample::Index>()), 0..40)) {
            let mut list: InlineVec<usize, 4> = InlineVec::new(usize::MAX);
            let mut model = Vec::new();
            for (i, (op, at)) in ops.into_iter().enumerate() {
                match op {
                    0 => {
                        list.clear();
                        model.clear();
                    }
                    1..4 => {
                        let at = at.index(model.len() + 1);
                        list.insert(at, i);
                        model.insert(at, i);
                    }
                    _ => {
                        list.push(i);
                        model.push(i);
                    }
                }
                prop_assert_eq!(&*list, &*model);
                prop_assert_eq!(list.is_spilled(), model.len() > 4);
            }
        }
    }
}
