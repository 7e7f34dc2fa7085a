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

    /// Puts `item` before the item at `at`.
    ///
    /// # Panics
    ///
    /// If `at` is greater than the number of items.
    pub(crate) fn insert(&mut self, at: usize, item: T) {
        self.push(item);
        self[at..].rotate_right(1);
    }

    pub(crate) fn extend_from_slice(&mut self, items: &[T]) {
        if self.heap.is_empty() && items.len() <= N - self.len {
            self.inline[self.len..][..items.len()].copy_from_slice(items);
            self.len += items.len();
        } else {
            self.spill();
            self.heap.extend_from_slice(items);
        }
    }

    /// Adds `item` so many times.
    pub(crate) fn extend_with(&mut self, item: T, times: usize) {
        for _ in 0..times {
            self.push(item);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = *self.last()?;
        self.truncate(self.len() - 1);
        Some(last)
    }

    /// Drops the items from `len` on, and keeps the heap's memory, if there is any.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.heap.truncate(len);
    }

    pub(crate) fn is_spilled(&self) -> bool {
        !self.heap.is_empty()
    }

    /// The items on the heap, if they have moved there.
    pub(crate) fn spilled_mut(&mut self) -> Option<&mut Vec<T>> {
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
            // Once on the heap, they stay there until there are none.
            let mut spilled = false;
            for (i, (op, at)) in ops.into_iter().enumerate() {
                match op {
                    0 => {
                        let len = at.index(model.len() + 2);
                        list.truncate(len);
                        model.truncate(len);
                        spilled &= !model.is_empty();
                    }
                    1 => {
                        prop_assert_eq!(list.pop(), model.pop());
                        spilled &= !model.is_empty();
                    }
                    2 => {
                        let items = vec![i; at.index(7)];
                        list.extend_from_slice(&items);
                        model.extend_from_slice(&items);
                    }
                    3..5 => {
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
                spilled |= model.len() > 4;
                prop_assert_eq!(list.is_spilled(), spilled);
            }
        }
    }
}
