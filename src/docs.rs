//! Documents that go beyond one item.
//!
//! They are part of the documentation only: there is nothing here to be used.

#[doc = include_str!("../docs/format.md")]
pub mod format {}

#[doc = include_str!("../docs/threats.md")]
pub mod threats {}

#[doc = include_str!("../docs/runtimes.md")]
pub mod runtimes {}
