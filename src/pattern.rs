//! Tool patterns: the language, the order of precedence, and the simple matcher.
//!
//! Skeleton.
