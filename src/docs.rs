//! Documents that go beyond one item.
//!
//! These modules are documentation only; they hold no items.

#[doc = include_str!("../docs/format.md")]
pub mod format {}

#[doc = include_str!("../docs/threats.md")]
pub mod threats {}

#[doc = include_str!("../docs/runtimes.md")]
pub mod runtimes {}
