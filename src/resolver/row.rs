//! The rows of the table of bindings, and the numbers by which they, lists of them, and nodes are found.

use crate::pattern::ToolPattern;

/// A binding.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) pattern: ToolPattern,
    pub(super) location: u32,
    /// Where the id is: a node, or with [`IN_IDS`] a place in the list of ids.
    pub(super) id_at: u32,
}

pub(super) const IN_IDS: u32 = 1 << 31;

/// A row that wins, and where its id is. So to find several winners, neither their answer nor their rows have to be
/// looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) row: u32,
    pub(super) id_at: u32,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.start as usize..self.end as usize]
    }
}

/// No node.
pub(super) const NONE: u32 = u32::MAX;
