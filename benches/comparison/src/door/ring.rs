//! All hostile connections and the one thread that serves them: opens those that are due, replaces closed ones, and sends
//! single bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::attacker::{Attacker, Fate};
use super::exhaustion::{Ended, Plan, Shared};
use super::hostile::Kind;
use super::thread_time;
use rialto_load::LoadError;
use rialto_load::process;

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

/// All connections, on their thread.
pub(super) struct Ring {
    plan: Plan,
    shared: Arc<Shared>,
    poll: Poll,
    attackers: Vec<Option<Attacker>>,
    /// Who is to come when, the first one first.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    ended: Vec<Ended>,
    leaning: usize,
    told: Instant,
    scratch: Vec<u8>,
}

impl Ring {
    pub(super) fn new(plan: Plan, shared: Arc<Shared>) -> Result<Self, LoadError> {
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
            told: now,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Keeps them until it is over; tells what became of each kind, in the order of [`Kind::ALL`].
    pub(super) fn run(&mut self) -> Result<Vec<Ended>, LoadError> {
        if let Some(core) = self.plan.core {
            // Unpinned, it is only measured less well.
            let _ = process::pin_self(core);
            // Concerns this thread alone (setpriority(2), "C library/kernel differences").
            let _ = rustix::process::nice(NICE);
        }
        let part = DRIP / PARTS as u32;
        let (begun, mut parts_done) = (Instant::now(), 0);
        let mut events = Events::with_capacity(EVENTS);
        while !self.shared.over.load(Relaxed) && !self.is_deserted() {
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

    /// Nobody is there, nobody is on the way, and nobody is to come.
    fn is_deserted(&self) -> bool {
        self.shared.lifted.load(Relaxed) && self.attackers.iter().all(Option::is_none)
    }

    fn tell(&mut self) {
        let passed_ns = self.told.elapsed().as_nanos() as u64;
        self.told = Instant::now();
        self.shared.socket_ns.fetch_add(self.leaning as u64 * passed_ns, Relaxed);
        self.shared.counted_ns.fetch_add(passed_ns, Relaxed);
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
