//! Random crowds at every door of a broker whose limits are drawn small: whoever comes, nobody starves. What a shard does at one
//! go and what each place holds stay within their bounds, a neighbour that does no harm is served all the time, and nothing is
//! left when everybody has gone. A process of its own, because its memory counts.
//!
//! `RIALTO_CROWDS_FIRST=n` is the first seed, `RIALTO_CROWDS_SEEDS=n` how many, `RIALTO_CROWDS_SECONDS=n` how long each;
//! `tests/soak/run` does it.

mod bounds;
mod intruder;
mod neighbour;
mod settings;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use self::bounds::Bounds;
use self::intruder::{Deeds, Intruder};
use self::neighbour::Neighbour;
use crate::support::Running;
use crate::support::alone::runs_alone;
use crate::support::dice::Dice;

/// Between two looks at the bounds.
const LOOK: Duration = Duration::from_millis(20);

/// The addresses that intruders share, and how many of them come from each.
const ADDRESSES: u64 = 5;

#[test]
fn nobody_starves_whoever_comes() {
    if runs_alone("crowds::nobody_starves_whoever_comes") {
        return;
    }
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let (first, time) = (number("RIALTO_CROWDS_FIRST", 1), Duration::from_secs(number("RIALTO_CROWDS_SECONDS", 4)));
    for seed in first..first + number("RIALTO_CROWDS_SEEDS", 3) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deeds = LocalSet::new().block_on(&runtime, crowd(seed, time));
        assert!(deeds.are_many(), "seed {seed}, little happened: {deeds}");
    }
}

/// One crowd for so long.
async fn crowd(seed: u64, time: Duration) -> Deeds {
    let mut dice = Dice::new(seed, 0);
    let mut limits = None;
    let running = Running::with(|config| {
        settings::draw(config, &mut dice);
        limits = Some(config.limits.clone());
    });
    let bounds = Bounds::of(limits.unwrap_or_default());
    let neighbour = Neighbour::enter(running.address).await;
    let (over, deeds) = (Rc::new(Cell::new(false)), Rc::new(Deeds::default()));
    let mut intruders = Vec::new();
    for number in 0..dice.within(2, 3 * ADDRESSES) {
        let intruder = Intruder::new(running.address, number, Dice::new(seed, 1 + number));
        intruders.push(tokio::task::spawn_local(intruder.run(Rc::clone(&over), Rc::clone(&deeds))));
    }
    let served = tokio::task::spawn_local(neighbour.run(Rc::clone(&over)));
    let begun = Instant::now();
    while begun.elapsed() < time && !served.is_finished() {
        bounds.check(seed, &running);
        tokio::time::sleep(LOOK).await;
    }
    over.set(true);
    let rounds = served.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(rounds > 0, "seed {seed}: the neighbour was not served at all");
    for intruder in intruders {
        intruder.await.unwrap();
    }
    bounds.check(seed, &running);
    running.becomes_empty().await;
    bounds.is_left(seed, &running).await;
    deeds.rounds.set(rounds);
    Rc::unwrap_or_clone(deeds)
}
