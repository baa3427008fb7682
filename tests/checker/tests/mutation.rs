//! Logs that hold, and the same with one thing changed: every change that somebody could have noticed is found, and every one
//! that nobody could is not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log;

use log::world::{CLIENTS, KEEPS, Step, log_of};
use proptest::prelude::*;
use proptest::sample::Index;
use rialto_checker::{Event, Fact, Invariant, check};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..CLIENTS, prop::bool::weighted(0.2)).prop_map(|(client, is_lost)| Step::Publish(client, is_lost)),
        3 => (0..CLIENTS).prop_map(Step::Leave),
        3 => (0..CLIENTS, 0..KEEPS + 2).prop_map(|(client, last)| Step::Come(client, last)),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 4..60)
}

/// The session of a push.
fn reader(event: &Event) -> Option<u64> {
    match &event.fact {
        Fact::Delivered { session, .. } | Fact::Gap { session, .. } => Some(*session),
        _ => None,
    }
}

fn is_message(event: &Event) -> bool {
    matches!(event.fact, Fact::Delivered { .. })
}

/// One of the places that are of a kind.
fn place(log: &[Event], which: Index, is_right: impl Fn(&Event) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..log.len()).filter(|index| is_right(&log[*index])).collect();
    (!places.is_empty()).then(|| places[which.index(places.len())])
}

/// Whether anything after a push shows that it should have come: its session goes on, or lives to the end, or its client goes
/// on from there later.
fn is_missed(log: &[Event], index: usize) -> bool {
    let session = reader(&log[index]).unwrap();
    let client = |session: u64| {
        log.iter().find_map(|event| match &event.fact {
            Fact::Connected { session: own, client, .. } if *own == session => Some(*client),
            _ => None,
        })
    };
    let (epoch, mut lives) = (epoch_at(log, index), true);
    for event in &log[index + 1..] {
        match &event.fact {
            _ if reader(event) == Some(session) => return true,
            Fact::Disconnected { session: own } if *own == session => lives = false,
            Fact::Subscribing { session: own, since: Some(since), .. } if client(*own) == client(session) => {
                return since.epoch == epoch;
            }
            Fact::Ended => return lives,
            _ => {}
        }
    }
    false
}

/// The epoch of the subscription that a push is of.
fn epoch_at(log: &[Event], index: usize) -> String {
    let session = reader(&log[index]).unwrap();
    let answers = log[..index].iter().rev().find_map(|event| match &event.fact {
        Fact::Subscribed { session: own, position, .. } if *own == session => Some(position.epoch.clone()),
        _ => None,
    });
    answers.unwrap()
}

/// The verdict must be this one.
fn judge(log: &[Event], must_hold: bool, changed: &str) -> Result<Vec<Invariant>, TestCaseError> {
    match check(log) {
        Ok(_) if must_hold => Ok(Vec::new()),
        Err(found) if !must_hold => Ok(found.iter().map(|violation| violation.invariant).collect()),
        Ok(_) => Err(TestCaseError::fail(format!("{changed} was not found"))),
        Err(found) => Err(TestCaseError::fail(format!("{changed} hurts nobody, but: {found:#?}"))),
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_world_that_does_everything_right_holds(steps in steps()) {
        judge(&log_of(&steps), true, "nothing")?;
    }

    #[test]
    fn a_push_that_is_dropped_is_missed_where_it_can_be(steps in steps(), which: Index) {
        let mut log = log_of(&steps);
        let Some(index) = place(&log, which, |event| reader(event).is_some()) else { return Ok(()) };
        let must_hold = !is_missed(&log, index);
        log.remove(index);
        judge(&log, must_hold, &format!("dropping {index}"))?;
    }

    #[test]
    fn a_message_that_comes_twice_is_found(steps in steps(), which: Index, later: Index) {
        let mut log = log_of(&steps);
        let Some(index) = place(&log, which, is_message) else { return Ok(()) };
        let again = log[index].clone();
        log.insert(index + 1 + later.index(log.len() - index), again);
        prop_assert!(judge(&log, false, "doubling")?.contains(&Invariant::NoDouble));
    }

    #[test]
    fn messages_that_change_places_are_found_where_they_are_of_one_session(steps in steps(), which: Index) {
        let mut log = log_of(&steps);
        let pair: Vec<usize> =
            (1..log.len()).filter(|index| is_message(&log[*index]) && is_message(&log[*index - 1])).collect();
        if pair.is_empty() { return Ok(()) }
        let index = pair[which.index(pair.len())];
        let is_one = reader(&log[index]) == reader(&log[index - 1]);
        log.swap(index, index - 1);
        judge(&log, !is_one, &format!("swapping {index}"))?;
    }

    #[test]
    fn a_message_that_is_altered_is_found(steps in steps(), which: Index, offset in 0_u64..4) {
        let log = log_of(&steps);
        let Some(index) = place(&log, which, is_message) else { return Ok(()) };
        let mut altered = log.clone();
        if let Fact::Delivered { payload, .. } = &mut altered[index].fact { *payload ^= 1 << 60; }
        prop_assert!(judge(&altered, false, "altering a payload")?.contains(&Invariant::NoInvention));
        let mut moved = log.clone();
        if let Fact::Delivered { position, .. } = &mut moved[index].fact {
            let own = position.offset;
            position.offset = (own + offset).saturating_sub(2);
            if position.offset == own { return Ok(()) }
        }
        judge(&moved, false, "moving a message")?;
        let mut other = log;
        if let Fact::Delivered { position, .. } = &mut other[index].fact { position.epoch.push('x'); }
        judge(&other, false, "another epoch")?;
    }

    #[test]
    fn what_another_message_said_in_place_of_this_one_is_found(steps in steps(), which: Index, other: Index) {
        let mut log = log_of(&steps);
        let (Some(index), Some(other)) = (place(&log, which, is_message), place(&log, other, is_message)) else {
            return Ok(());
        };
        let Fact::Delivered { payload: said, .. } = log[other].fact else { return Ok(()) };
        let Fact::Delivered { payload, .. } = &mut log[index].fact else { return Ok(()) };
        if *payload == said { return Ok(()) }
        *payload = said;
        judge(&log, false, "another payload")?;
    }

    #[test]
    fn an_ack_that_is_altered_is_found(steps in steps(), which: Index, by in 0_u64..3) {
        let log = log_of(&steps);
        let Some(index) = place(&log, which, |event| matches!(event.fact, Fact::Published { .. })) else { return Ok(()) };
        let mut moved = log.clone();
        if let Fact::Published { position, .. } = &mut moved[index].fact {
            position.offset = if by == 0 { position.offset + 1 } else { position.offset.saturating_sub(by) };
        }
        // Its publisher was subscribed, so its place is known.
        judge(&moved, false, "moving an ack")?;
        let mut other = log;
        let Fact::Published { duplicate, .. } = &mut other[index].fact else { return Ok(()) };
        *duplicate = !*duplicate;
        let was_duplicate = !*duplicate;
        // The first attempt was never acked: that the second one counted is found only because its message was known before.
        let found = judge(&other, false, "saying the opposite of a duplicate")?;
        prop_assert!(found.contains(if was_duplicate { &Invariant::Order } else { &Invariant::Once }), "{found:?}");
    }

    #[test]
    fn a_recovery_that_says_the_opposite_is_found(steps in steps(), which: Index) {
        let mut log = log_of(&steps);
        let is_recovery = |event: &Event| matches!(event.fact, Fact::Subscribed { recovered: Some(_), .. });
        let Some(index) = place(&log, which, is_recovery) else { return Ok(()) };
        if let Fact::Subscribed { recovered, .. } = &mut log[index].fact { *recovered = recovered.map(|it| !it); }
        judge(&log, false, "the opposite of recovered")?;
    }

    #[test]
    fn what_is_taken_out_of_the_story_of_a_message_is_found(steps in steps(), which: Index) {
        let mut log = log_of(&steps);
        let Some(index) = place(&log, which, |event| matches!(event.fact, Fact::Publishing { .. })) else { return Ok(()) };
        let Fact::Publishing { payload, .. } = log[index].fact else { return Ok(()) };
        log.retain(|event| !matches!(event.fact, Fact::Publishing { payload: own, .. } if own == payload));
        prop_assert!(judge(&log, false, "nobody published it")?.contains(&Invariant::NoInvention));
    }

    #[test]
    fn a_head_that_lies_back_is_found(steps in steps(), which: Index) {
        let mut log = log_of(&steps);
        let has_head = |event: &Event| matches!(&event.fact, Fact::Subscribed { position, .. } if position.offset > 0);
        let Some(index) = place(&log, which, has_head) else { return Ok(()) };
        if let Fact::Subscribed { position, .. } = &mut log[index].fact { position.offset -= 1; }
        prop_assert!(judge(&log, false, "an older head")?.contains(&Invariant::Acked));
    }
}
