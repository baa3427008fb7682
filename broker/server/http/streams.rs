//! Which connections carry sessions without having been upgraded: they stay when the server stops taking requests, until
//! their sessions end. It counts only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

/// The sessions that one connection carries.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct OpenStreams(Arc<AtomicUsize>);

/// One session on its connection, until this is dropped.
#[derive(Debug)]
pub(in crate::server) struct OpenStream(Arc<AtomicUsize>);

impl OpenStreams {
    pub(in crate::server) fn begin(&self) -> OpenStream {
        self.0.fetch_add(1, AcqRel);
        OpenStream(Arc::clone(&self.0))
    }

    pub(in crate::server) fn is_any(&self) -> bool {
        self.0.load(Acquire) > 0
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}
