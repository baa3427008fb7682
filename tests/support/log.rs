//! What brokers in this process say, kept for a test that fails.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::token::shows_secret;

/// So much of the end is shown.
const SHOWN_BYTES: usize = 64 * 1024;

static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LISTENING: Once = Once::new();
/// Whether a secret was in a line.
static SHOWED_SECRET: AtomicBool = AtomicBool::new(false);

/// Keeps from now on what is said. A test that has a subscriber of its own keeps that.
pub(crate) fn keep() {
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false);
        let _ = subscriber.with_writer(Keeper).try_init();
    });
}

/// Prints what was said, if the test is failing.
#[allow(clippy::print_stderr, reason = "it is part of what a failing test says")]
pub(crate) fn print_if_failing() {
    if std::thread::panicking() {
        let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("--- the broker's log ---\n{}--- end of the log ---", String::from_utf8_lossy(&said));
    }
}

/// Fails the test if any broker of this process has said a secret or a token.
pub(crate) fn assert_no_secret() {
    assert!(!SHOWED_SECRET.load(Relaxed), "a broker of this process has logged a secret or a token");
}

struct Keeper;

impl Write for Keeper {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if shows_secret(line) {
            SHOWED_SECRET.store(true, Relaxed);
        }
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(line);
        let surplus = said.len().saturating_sub(2 * SHOWN_BYTES);
        if surplus > 0 {
            let kept = said.len() - SHOWN_BYTES;
            said.drain(..kept);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Keeper {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
