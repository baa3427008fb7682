//! HTTP by itself: requests and responses, the client behind proxies, the pages. It knows no sessions and no protocol.

pub(super) mod body;
pub(super) mod credentials;
pub(super) mod failure;
pub(super) mod hosts;
pub(super) mod pages;
pub(super) mod polls;
pub(super) mod proxy;
pub(super) mod query;
pub(super) mod refusal;
pub(super) mod stream;
pub(super) mod written;
