//! Keeps a number of hostile connections open, of all kinds in equal parts, on another thread. Those that the broker closes are
//! replaced at once, until the end of the measurement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ring::Ring;
use rialto_load::LoadError;

const LOOK: Duration = Duration::from_millis(10);
/// Where many are replaced all the time, a few are always on their way.
const GATHERED_PERCENT: usize = 98;

/// Who is to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Where they go.
    pub(super) address: SocketAddr,
    /// How many there are at a time.
    pub(super) sockets: usize,
    /// How long it takes until all have come.
    pub(super) coming: Duration,
    /// The core of their thread; none means wherever the system likes.
    pub(super) core: Option<usize>,
}

/// What became of the connections of one kind.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// How long each was borne before the broker hung up, the shortest first.
    pub after: Vec<Duration>,
    /// Those that the broker had not ended when it should have.
    pub left: usize,
    /// Those that were never what they wanted to be.
    pub refused: usize,
}

/// What became of all.
#[derive(Clone, Debug)]
pub struct AttackOutcome {
    /// In the order of [`Kind::ALL`](super::hostile::Kind::ALL).
    pub ended: Vec<Ended>,
    /// How many were there while it was watched, on average.
    pub mean: f64,
    /// The fewest that were there at a time: a broker that looks at its deadlines now and then ends many at once.
    pub fewest: usize,
}

/// Hostile connections that are there until this is ended.
#[derive(Debug)]
pub(super) struct Attack {
    sockets: usize,
    shared: Arc<Shared>,
    /// What had been counted when it began to be watched: sockets times nanoseconds, and nanoseconds.
    watched: [u64; 2],
    thread: Option<JoinHandle<Result<Vec<Ended>, LoadError>>>,
}

/// What the thread tells, and what it is told.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) leaning: AtomicUsize,
    pub(super) fewest: AtomicUsize,
    /// How many were there, times how long.
    pub(super) socket_ns: AtomicU64,
    /// How long that was counted.
    pub(super) counted_ns: AtomicU64,
    pub(super) used_ns: AtomicU64,
    /// Nobody is to be replaced any more.
    pub(super) lifted: AtomicBool,
    /// Whoever is still there is to be cut off.
    pub(super) over: AtomicBool,
}

impl Shared {
    fn counted(&self) -> [u64; 2] {
        [&self.socket_ns, &self.counted_ns].map(|count| count.load(Relaxed))
    }
}

impl Attack {
    /// Begins to open the connections.
    pub(super) fn lay(plan: Plan) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared::default());
        let mut ring = Ring::new(plan, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new().name("attack".to_owned());
        let thread = thread.spawn(move || ring.run()).map_err(LoadError::system("no thread"))?;
        Ok(Self { sockets: plan.sockets, shared, watched: [0; 2], thread: Some(thread) })
    }

    /// Waits until they are there, but for a few that are on their way again.
    pub(super) fn gather(&self, at_most: Duration) -> Result<(), LoadError> {
        let begun = Instant::now();
        while self.shared.leaning.load(Relaxed) * 100 < self.sockets * GATHERED_PERCENT {
            if begun.elapsed() > at_most || self.is_finished() {
                let missing = self.sockets - self.shared.leaning.load(Relaxed);
                let (what, seconds) = ("hostile sockets were not let in", at_most.as_secs());
                return Err(LoadError::TimedOut { missing, all: self.sockets, what, seconds });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// From now on it counts how many there are.
    pub(super) fn watch(&mut self) {
        self.shared.fewest.store(usize::MAX, Relaxed);
        self.watched = self.shared.counted();
    }

    /// Processor time that the connections have cost on this side.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.shared.used_ns.load(Relaxed))
    }

    /// Replaces nobody any more, waits until all are gone but no longer than it is told, and cuts off who is left.
    pub(super) fn end(mut self, at_most: Duration) -> Result<AttackOutcome, LoadError> {
        let fewest = self.shared.fewest.load(Relaxed);
        let [socket_ns, ns] = self.shared.counted();
        let mean = (socket_ns - self.watched[0]) as f64 / (ns - self.watched[1]).max(1) as f64;
        self.shared.lifted.store(true, Relaxed);
        let begun = Instant::now();
        // Its thread ends with the last of them, also of those that are on their way now.
        while begun.elapsed() < at_most && !self.is_finished() {
            std::thread::sleep(LOOK);
        }
        let ended = self.join().expect("it is ended once");
        let mut ended = ended.expect("the attack does not panic")?;
        ended.iter_mut().for_each(|kind| kind.after.sort());
        Ok(AttackOutcome { ended, mean, fewest })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(&mut self) -> Option<std::thread::Result<Result<Vec<Ended>, LoadError>>> {
        self.shared.over.store(true, Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // What went wrong, if anything did, is told by whoever drops it unended.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::super::hostile::Kind;
    use super::*;

    const BORNE: Duration = Duration::from_millis(100);
    const EACH: usize = 5;
    /// So often that each of them has come again, even if some are quicker than others.
    const TIMES: usize = 4;

    /// Answers upgrades, reads whatever it can, and hangs up when it has borne a connection for long enough.
    fn bear(mut stream: TcpStream) {
        let begun = Instant::now();
        let mut buffer = [0; 512];
        while begun.elapsed() < BORNE {
            stream.set_read_timeout(Some(BORNE)).expect("it can be set");
            match stream.read(&mut buffer) {
                Ok(count) if buffer[..count].ends_with(b"\r\n\r\n") => {
                    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").expect("it listens");
                }
                Ok(count) if buffer[..count].starts_with(b"GET /sdk/") => thread::sleep(BORNE),
                _ => {}
            }
        }
    }

    fn plan(listener: &TcpListener) -> Plan {
        let address = listener.local_addr().expect("it is bound");
        Plan { address, sockets: EACH * Kind::ALL.len(), coming: BORNE, core: None }
    }

    #[test]
    fn ended_attackers_are_replaced_until_the_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let mut attack = Attack::lay(plan(&listener)).expect("it begins");
        let (came, coming) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("somebody connects");
                thread::spawn(|| bear(stream));
                // Towards the end nobody counts any more.
                let _ = came.send(());
            }
        });
        attack.watch();
        for _ in 0..TIMES * EACH * Kind::ALL.len() {
            coming.recv_timeout(Duration::from_secs(10)).expect("they come again and again");
        }
        let outcome = attack.end(Duration::from_secs(10)).expect("it goes well");
        let all = EACH * Kind::ALL.len();
        assert!(outcome.fewest < all && outcome.mean > 0.0 && outcome.mean <= all as f64, "{outcome:?}");
        for (kind, ended) in Kind::ALL.iter().zip(&outcome.ended) {
            assert!(ended.after.len() > EACH, "{kind:?}: {ended:?}");
            // Both sides are scheduled as it happens: now and then one is thrown out before it has begun.
            assert!(ended.left == 0 && ended.refused * 4 <= ended.after.len(), "{kind:?}: {ended:?}");
        }
    }

    #[test]
    fn refused_connections_are_counted_separately() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let plan = plan(&listener);
        drop(listener);
        let attack = Attack::lay(plan).expect("it begins");
        let error = attack.gather(Duration::from_millis(200)).expect_err("nobody listens").to_string();
        assert!(error.contains("30 of 30 hostile sockets were not let in"), "{error}");
        let outcome = attack.end(Duration::ZERO).expect("it goes well");
        assert!(outcome.ended.iter().all(|kind| kind.refused > 0 && kind.after.is_empty()), "{outcome:?}");
    }
}
