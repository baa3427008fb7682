//! Wakes a server again and again while sessions are opened, for one that else looks for them only ten times a second.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(1);

/// Connects to a socket and lets go of it, every millisecond until this is dropped.
#[derive(Debug)]
pub struct Nudge {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Nudge {
    pub(super) fn spawn(socket: PathBuf) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // A server that has not begun or is gone needs no waking.
                drop(UnixStream::connect(&socket));
                std::thread::sleep(PAUSE);
            }
        });
        Self { stopped, thread: Some(thread) }
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there is told by the runtime already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn wakes_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("a socket can be bound");
        let nudge = Nudge::spawn(socket);
        for _ in 0..3 {
            listener.accept().expect("somebody connects");
        }
        drop(nudge);
        listener.set_nonblocking(true).expect("it can be told");
        while listener.accept().is_ok() {}
        std::thread::sleep(10 * PAUSE);
        assert!(listener.accept().is_err());
    }
}
