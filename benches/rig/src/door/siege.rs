//! Keeps as many hostile connections open as wanted, of all kinds in equal parts, from one thread of its own; whichever
//! the broker ends is replaced at once, until nobody is to be replaced any more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::attacker::{Attacker, Fate};
use super::hostile::Kind;
use super::thread_time;
use crate::error::LoadError;
use crate::process;

/// Between two bytes that drip.
const DRIP: Duration = Duration::from_millis(100);
/// Drips are spread over so many parts of that time: no part keeps the core busy for long.
const PARTS: usize = 50;
/// A connection that was refused is tried again after this.
const AGAIN: Duration = Duration::from_millis(250);
/// What runs on the same core goes first.
const NICE: i32 = 19;
const SCRATCH_BYTES: usize = 16 * 1024;
const EVENTS: usize = 1024;
const LOOK: Duration = Duration::from_millis(10);

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
pub struct Besieged {
    /// In the order of [`Kind::ALL`].
    pub ended: Vec<Ended>,
    /// The fewest that were there at a time while it was watched.
    pub fewest: usize,
}

/// Hostile connections that are there until this is ended.
#[derive(Debug)]
pub(super) struct Siege {
    sockets: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Vec<Ended>, LoadError>>>,
}

/// What the thread tells, and what it is told.
#[derive(Debug, Default)]
struct Shared {
    leaning: AtomicUsize,
    fewest: AtomicUsize,
    used_ns: AtomicU64,
    /// Nobody is to be replaced any more.
    lifted: AtomicBool,
    /// Whoever is still there is to be cut off.
    over: AtomicBool,
}

impl Siege {
    /// Begins to open the connections.
    pub(super) fn lay(plan: Plan) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared::default());
        let mut ring = Ring::new(plan, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new().name("siege".to_owned());
        let thread = thread.spawn(move || ring.run()).map_err(LoadError::system("no thread"))?;
        Ok(Self { sockets: plan.sockets, shared, thread: Some(thread) })
    }

    /// Waits until all are there.
    pub(super) fn gather(&self, at_most: Duration) -> Result<(), LoadError> {
        let begun = Instant::now();
        while self.shared.leaning.load(Relaxed) < self.sockets {
            if begun.elapsed() > at_most || self.is_finished() {
                let missing = self.sockets - self.shared.leaning.load(Relaxed);
                let (what, seconds) = ("hostile sockets were not let in", at_most.as_secs());
                return Err(LoadError::TimedOut { missing, all: self.sockets, what, seconds });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// From now on it counts how few there are.
    pub(super) fn watch(&self) {
        self.shared.fewest.store(usize::MAX, Relaxed);
    }

    /// Processor time that the connections have cost on this side.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.shared.used_ns.load(Relaxed))
    }

    /// Replaces nobody any more, waits until all are gone but no longer than it is told, and cuts off who is left.
    pub(super) fn end(mut self, at_most: Duration) -> Result<Besieged, LoadError> {
        let fewest = self.shared.fewest.load(Relaxed);
        self.shared.lifted.store(true, Relaxed);
        let begun = Instant::now();
        while self.shared.leaning.load(Relaxed) > 0 && begun.elapsed() < at_most && !self.is_finished() {
            std::thread::sleep(LOOK);
        }
        let ended = self.join().expect("it is ended once");
        let mut ended = ended.expect("the siege does not panic")?;
        ended.iter_mut().for_each(|kind| kind.after.sort());
        Ok(Besieged { ended, fewest })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(&mut self) -> Option<std::thread::Result<Result<Vec<Ended>, LoadError>>> {
        self.shared.over.store(true, Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        // What went wrong, if anything did, is told by whoever drops it unended.
        let _ = self.join();
    }
}

/// All connections, on their thread.
struct Ring {
    plan: Plan,
    shared: Arc<Shared>,
    poll: Poll,
    attackers: Vec<Option<Attacker>>,
    /// Who is to come when, the first one first.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    ended: Vec<Ended>,
    leaning: usize,
    scratch: Vec<u8>,
}

impl Ring {
    fn new(plan: Plan, shared: Arc<Shared>) -> Result<Self, LoadError> {
        let now = Instant::now();
        let each = plan.coming / u32::try_from(plan.sockets.max(1)).unwrap_or(u32::MAX);
        Ok(Self {
            plan,
            shared,
            poll: Poll::new().map_err(LoadError::system("no epoll"))?,
            attackers: (0..plan.sockets).map(|_| None).collect(),
            due: (0..plan.sockets).map(|place| Reverse((now + each * place as u32, place))).collect(),
            ended: vec![Ended::default(); Kind::ALL.len()],
            leaning: 0,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    fn run(&mut self) -> Result<Vec<Ended>, LoadError> {
        if let Some(core) = self.plan.core {
            // Unpinned, it is only measured less well.
            let _ = process::pin_self(core);
        }
        // Concerns this thread alone (setpriority(2), "C library/kernel differences").
        let _ = rustix::process::nice(NICE);
        let part = DRIP / PARTS as u32;
        let (begun, mut parts_done) = (Instant::now(), 0);
        let mut events = Events::with_capacity(EVENTS);
        while !self.shared.over.load(Relaxed) {
            self.open_due();
            if let Err(error) = self.poll.poll(&mut events, Some(part))
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(LoadError::system("epoll fails")(error));
            }
            for event in &events {
                let over = event.is_error() || event.is_read_closed() || event.is_write_closed();
                let (place, writable) = (event.token().0, event.is_writable());
                self.change(place, |attacker, scratch| attacker.event(writable, over, scratch));
            }
            let parts_due = (begun.elapsed().as_nanos() / part.as_nanos()) as usize;
            // Late bytes are not made up for.
            for part in parts_done.max(parts_due.saturating_sub(PARTS))..parts_due {
                self.drip(part % PARTS);
            }
            if parts_due != parts_done {
                self.shared.used_ns.store(thread_time::used().as_nanos() as u64, Relaxed);
            }
            parts_done = parts_due;
            self.tell();
        }
        Ok(self.stop())
    }

    fn open_due(&mut self) {
        while let Some(Reverse((when, place))) = self.due.peek().copied() {
            if self.shared.lifted.load(Relaxed) {
                self.due.clear();
                return;
            }
            if when > Instant::now() {
                return;
            }
            self.due.pop();
            match Attacker::open(self.plan.address, kind_at(place), place, self.poll.registry()) {
                Ok(attacker) => self.attackers[place] = Some(attacker),
                Err(_) => self.refused(place),
            }
        }
    }

    /// Lets something happen to a connection and draws the consequences.
    fn change(&mut self, place: usize, happen: impl FnOnce(&mut Attacker, &mut [u8]) -> Fate) {
        let Some(attacker) = &mut self.attackers[place] else { return };
        let leaned = attacker.leans();
        let fate = happen(attacker, &mut self.scratch);
        match (leaned, attacker.leans()) {
            (false, true) => self.leaning += 1,
            (true, false) => self.leaning -= 1,
            _ => {}
        }
        if fate == Fate::Stays {
            return;
        }
        self.leaning -= usize::from(attacker.leans());
        self.attackers[place] = None;
        match fate {
            Fate::Ended(after) => {
                self.ended[place % Kind::ALL.len()].after.push(after);
                // One that is thrown out at once must not make a storm.
                let pause = AGAIN.saturating_sub(after);
                self.due.push(Reverse((Instant::now() + pause, place)));
            }
            _ => self.refused(place),
        }
    }

    fn refused(&mut self, place: usize) {
        self.ended[place % Kind::ALL.len()].refused += 1;
        self.due.push(Reverse((Instant::now() + AGAIN, place)));
    }

    fn drip(&mut self, part: usize) {
        for place in (part..self.attackers.len()).step_by(PARTS) {
            if kind_at(place).drip(0).is_some() {
                self.change(place, |attacker, _| attacker.drip());
            }
        }
    }

    fn tell(&self) {
        self.shared.leaning.store(self.leaning, Relaxed);
        self.shared.fewest.fetch_min(self.leaning, Relaxed);
    }

    fn stop(&mut self) -> Vec<Ended> {
        for (place, attacker) in self.attackers.iter_mut().enumerate() {
            let Some(attacker) = attacker.take() else { continue };
            self.ended[place % Kind::ALL.len()].left += usize::from(attacker.leans());
            attacker.cut();
        }
        std::mem::take(&mut self.ended)
    }
}

fn kind_at(place: usize) -> Kind {
    Kind::ALL[place % Kind::ALL.len()]
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::thread;

    use super::*;

    const BORNE: Duration = Duration::from_millis(100);
    const EACH: usize = 5;

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
    fn who_is_ended_is_replaced_until_it_is_lifted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let siege = Siege::lay(plan(&listener)).expect("it begins");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("somebody connects");
                thread::spawn(|| bear(stream));
            }
        });
        siege.watch();
        thread::sleep(5 * BORNE);
        let besieged = siege.end(Duration::from_secs(10)).expect("it goes well");
        assert!(besieged.fewest <= EACH * Kind::ALL.len());
        for (kind, ended) in Kind::ALL.iter().zip(&besieged.ended) {
            assert!(ended.after.len() > EACH, "{kind:?}: {ended:?}");
            assert_eq!((ended.left, ended.refused), (0, 0), "{kind:?}: {ended:?}");
        }
    }

    #[test]
    fn who_is_not_let_in_is_told_apart() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let plan = plan(&listener);
        drop(listener);
        let siege = Siege::lay(plan).expect("it begins");
        let error = siege.gather(Duration::from_millis(200)).expect_err("nobody listens").to_string();
        assert!(error.contains("30 of 30 hostile sockets were not let in"), "{error}");
        let besieged = siege.end(Duration::ZERO).expect("it goes well");
        assert!(besieged.ended.iter().all(|kind| kind.refused > 0 && kind.after.is_empty()), "{besieged:?}");
    }
}
