//! Counts the long polls of a connection: while there are any, the connection outlives the stop of the server, until their
//! sessions end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

/// The open polls of one connection.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct OpenPolls(Arc<AtomicUsize>);

/// One open poll, until this is dropped.
#[derive(Debug)]
pub(in crate::server) struct OpenPoll(Arc<AtomicUsize>);

impl OpenPolls {
    pub(in crate::server) fn open(&self) -> OpenPoll {
        self.0.fetch_add(1, AcqRel);
        OpenPoll(Arc::clone(&self.0))
    }

    pub(in crate::server) fn is_any(&self) -> bool {
        self.0.load(Acquire) > 0
    }
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}
