//! Counts the Server-Sent Events streams and long polls of a connection: while there are any, the connection outlives the
//! stop of the server, until their sessions end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

/// The open streams and polls of one connection.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct OpenStreams(Arc<AtomicUsize>);

/// One open stream or poll, until this is dropped.
#[derive(Debug)]
pub(in crate::server) struct OpenStream(Arc<AtomicUsize>);

impl OpenStreams {
    pub(in crate::server) fn open(&self) -> OpenStream {
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
