//! Which sessions a message goes to: the audiences of topics, and patterns.

pub(super) mod audience;
mod deep_patterns;
pub(super) mod patterns;
pub(super) mod reach;
pub(super) mod scope;
pub(super) mod selector_lists;
pub(super) mod trie;
