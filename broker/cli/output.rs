//! What the binary writes while it serves: lines wait in a bounded queue for a thread that writes them. Whoever has
//! something to say never waits and cannot fail, whatever becomes of the reader; what finds no room is dropped and
//! counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::metrics::log_lines_dropped;

/// Lines and bytes that may wait for a reader.
const LINES_MAX: usize = 4_096;
const BYTES_MAX: usize = 1024 * 1024;

/// A longer line is cut.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How long the end of the process waits for a reader.
const FLUSH: Duration = Duration::from_millis(500);

/// How often it looks whether a full queue has room.
const LOOK: Duration = Duration::from_millis(5);

/// A queue for one of the standard streams. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Output {
    sender: SyncSender<Job>,
    waiting_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Job {
    Text(Vec<u8>),
    /// Everything before it has been written, or could not be.
    Flush(SyncSender<()>),
}

impl Output {
    /// Starts the thread that writes to `stream`.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn start(name: &str, stream: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, jobs) = sync_channel(LINES_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let (waiting, told) = (Arc::clone(&waiting_bytes), log_lines_dropped().get());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || write_all(stream, &jobs, &waiting, told))?;
        Ok(Self { sender, waiting_bytes })
    }

    /// Queues a text, if there is room.
    pub(super) fn say(&self, text: &[u8]) {
        let mut text = text.to_vec();
        if text.len() > LINE_BYTES_MAX {
            text.truncate(LINE_BYTES_MAX - 1);
            text.push(b'\n');
        }
        let bytes = text.len();
        let has_room = self.waiting_bytes.fetch_add(bytes, Relaxed) + bytes <= BYTES_MAX;
        if !has_room || self.sender.try_send(Job::Text(text)).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
            log_lines_dropped().add(1);
        }
    }

    /// Waits until everything has been written, but not for ever: a reader that does not read must not keep the process
    /// alive.
    pub(super) fn flush(&self) {
        let begun = Instant::now();
        let (done, is_done) = sync_channel(1);
        let mut job = Job::Flush(done);
        while let Err(TrySendError::Full(refused)) = self.sender.try_send(job) {
            if begun.elapsed() >= FLUSH {
                return;
            }
            job = refused;
            std::thread::sleep(LOOK);
        }
        let _ = is_done.recv_timeout(FLUSH.saturating_sub(begun.elapsed()));
    }
}

/// Writes what is queued until nobody can queue more. A line that cannot be written is dropped, and so is nobody's
/// problem but its reader's.
fn write_all(mut stream: impl Write, jobs: &Receiver<Job>, waiting_bytes: &AtomicUsize, mut told: u64) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Flush(done) => {
                let _ = done.try_send(());
            }
            Job::Text(text) => {
                let dropped = log_lines_dropped().get();
                if dropped > told {
                    let lines = dropped - told;
                    told = dropped;
                    let _ = writeln!(stream, "{lines} lines of the log were dropped: nobody read them in time");
                }
                let written = stream.write_all(&text).and_then(|()| stream.flush());
                waiting_bytes.fetch_sub(text.len(), Relaxed);
                if written.is_err() {
                    log_lines_dropped().add(1);
                    told += 1;
                }
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.say(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Output {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// A stream that stands still until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<Passage>, Condvar)>);

    #[derive(Default)]
    struct Passage {
        is_open: bool,
        text: Vec<u8>,
    }

    impl Gate {
        fn open(&self) {
            self.0.0.lock().expect("nobody panics").is_open = true;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.0.lock().expect("nobody panics").text).into_owned()
        }
    }

    impl Write for Gate {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let (state, opened) = &*self.0;
            let mut state =
                opened.wait_while(state.lock().expect("nobody panics"), |state| !state.is_open).expect("nobody panics");
            state.text.extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_stays_a_line() {
        let gate = Gate::default();
        gate.open();
        let output = Output::start("output-test", gate.clone()).expect("a thread");
        output.say(&[b'x'; 2 * LINE_BYTES_MAX]);
        output.say(b"next\n");
        output.flush();
        let lines: Vec<usize> = gate.text().lines().map(str::len).collect();
        assert_eq!(lines, [LINE_BYTES_MAX - 1, 4]);
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_nobody_waits() {
        let gate = Gate::default();
        let output = Output::start("output-test", gate.clone()).expect("a thread");
        let before = log_lines_dropped().get();
        let begun = Instant::now();
        for _ in 0..3 * LINES_MAX {
            output.say(b"a line\n");
        }
        output.say(&vec![b'x'; 10 * LINE_BYTES_MAX]);
        output.flush();
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for its reader");
        assert!(log_lines_dropped().get() >= before + 2 * LINES_MAX as u64 - 1);
        gate.open();
        output.flush();
        let mut waited = 0;
        while output.waiting_bytes.load(Relaxed) > 0 && waited < 10_000 {
            std::thread::sleep(Duration::from_millis(1));
            waited += 1;
        }
        assert!(gate.text().contains("lines of the log were dropped"), "{:.200}", gate.text());
    }
}
