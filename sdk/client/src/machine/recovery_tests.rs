//! Recovery after lost connections, as tables: which subscriptions and requests are sent again, and what is reported.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use rialto_protocol::{Failure, Frame, Operation, Payload, Position, Published};

use super::simulation::{LIMITS, Simulation, at, following, settings, subscribed_ids, there};
use super::*;
use crate::topic::Topic;

fn refusal(topic: &str, code: rialto_protocol::ErrorCode, hint: Option<u64>) -> (Arc<str>, Failure) {
    (topic.into(), Failure { retry_after_ms: hint, ..Failure::new(code, "no") })
}

/// Comes back after a cut; returns what was asked for.
fn comes_back(simulation: &mut Simulation) -> Vec<Request<'static>> {
    simulation.closed(None);
    simulation.wait();
    simulation.begin();
    simulation.sent()
}

#[test]
fn a_thousand_topics_are_a_few_frames_topics_first_and_each_since_its_position() {
    let mut simulation = Simulation::open(settings());
    let long = "x".repeat(200);
    let names: Vec<String> = (0..997).map(|number| format!("{long}.{number}")).collect();
    let patterns = ["a.*", "b.>", "*"];
    simulation.subscribe(
        1,
        patterns.iter().map(|name| Topic::new(*name)).chain(names.iter().map(|name| Topic::new(name.as_str()))),
    );
    let first = subscribed_ids(&simulation.sent());
    for (id, topics) in &first {
        let outcomes = topics.iter().map(|topic| {
            let position = (topic.len() > 3).then(|| at("e", 5));
            Ok(there(topic, position, None))
        });
        let reply = rialto_protocol::Reply::SubscribedAll(outcomes.collect());
        simulation.hear(&Frame::Ok { id: *id, reply: &reply });
    }
    assert!(matches!(simulation.answer_of(1), Some(Ok(Reply::Subscribed(outcomes))) if outcomes.len() == 1_000));
    let again = comes_back(&mut simulation);
    let frames: Vec<&Request<'_>> =
        again.iter().filter(|request| matches!(request.operation, Operation::Subscribe(_))).collect();
    assert!((2..=25).contains(&frames.len()), "{}", frames.len());
    let mut asked = Vec::new();
    for request in frames {
        let mut bytes = Vec::new();
        request.encode(Codec::Json, &mut bytes);
        assert!(bytes.len() <= LIMITS.message_bytes, "{}", bytes.len());
        let Operation::Subscribe(topics) = &request.operation else { continue };
        asked.extend(topics.iter().map(|topic| (topic.topic.to_string(), topic.since.clone())));
    }
    let expected = names.iter().map(|name| (name.clone(), Some(at("e", 5))));
    let expected = expected.chain(patterns.iter().map(|name| ((*name).to_owned(), None)));
    assert_eq!(asked, expected.collect::<Vec<_>>());
}

#[test]
fn what_is_asked_for_after_a_cut_depends_on_what_was_there() {
    type Change = fn(Topic) -> Topic;
    let cases: [(Change, bool, Option<Position>, Option<u64>); 6] = [
        (|topic| topic, true, Some(at("e", 5)), Some(u64::from(u32::MAX))),
        (|topic| topic.resume_last(7), true, Some(at("e", 5)), Some(7)),
        (Topic::live_only, true, None, None),
        (|topic| topic.last(3), true, Some(at("e", 2)), Some(u64::from(u32::MAX))),
        (|topic| topic.last(3), false, None, Some(3)),
        (|topic| topic.since(at("e", 1)), false, Some(at("e", 1)), None),
    ];
    for (case, (change, was_active, since, last)) in cases.into_iter().enumerate() {
        let mut simulation = Simulation::open(settings());
        simulation.subscribe(1, [change(Topic::new("t"))]);
        let (id, _) = subscribed_ids(&simulation.sent())[0].clone();
        if was_active {
            let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
            simulation.hear(&Frame::Ok { id, reply: &reply });
        }
        let sent = comes_back(&mut simulation);
        let Operation::Subscribe(topics) = &sent[1].operation else { panic!("{sent:?}") };
        assert_eq!((&topics[0].since, topics[0].last), (&since, last), "case {case}");
    }
}

#[test]
fn a_subscription_that_is_refused_on_return_waits_or_ends() {
    use rialto_protocol::ErrorCode::{Busy, Forbidden, TooMany};
    for (code, hint, waits) in [
        (Busy, Some(3_000), true),
        (Busy, None, true),
        (TooMany, Some(3_000), true),
        (TooMany, None, false),
        (Forbidden, None, false),
    ] {
        let mut simulation = following();
        let id = comes_back(&mut simulation)[1].id.unwrap();
        let (_, failure) = refusal("t", code, hint);
        simulation.actions.clear();
        let refused_at = simulation.ms;
        simulation.hear(&Frame::Error { id: Some(id), failure: &failure });
        let ended = matches!(simulation.items().as_slice(), [Item::Ended { .. }]);
        assert_eq!(
            (ended, simulation.has(|action| matches!(action, Action::End(StreamId(1))))),
            (!waits, !waits),
            "{code}"
        );
        if waits {
            simulation.wait();
            assert!(simulation.ms >= refused_at + hint.unwrap_or(1_000), "{code} {}", simulation.ms);
            assert_eq!(subscribed_ids(&simulation.sent()).len(), 1, "{code}");
        }
    }
}

#[test]
fn the_broker_may_end_a_subscription_for_good_or_for_a_while() {
    for (text, waits) in [
        (r#"{"type":"unsubscribed","topic":"t","code":"forbidden","message":"no"}"#, false),
        (r#"{"type":"unsubscribed","topic":"t","code":"plugin_failed","message":"no","retry_after_ms":500}"#, true),
    ] {
        let mut simulation = following();
        simulation.hear_text(text);
        assert_eq!(matches!(simulation.items().as_slice(), [Item::Ended { .. }]), !waits, "{text}");
        simulation.wait();
        assert_eq!(subscribed_ids(&simulation.sent()).len(), usize::from(waits), "{text}");
    }
}

#[test]
fn unanswered_requests_go_out_again_in_their_order_but_not_those_that_must_not() {
    let mut simulation = Simulation::open(settings());
    for (ticket, retry) in [(1, Retry::Allowed), (2, Retry::Forbidden), (3, Retry::Allowed)] {
        simulation.publish(ticket, retry);
    }
    let first = simulation.sent();
    let published = Published { position: Some(at("e", 1)), duplicate: false };
    let reply = rialto_protocol::Reply::Published(published);
    simulation.hear(&Frame::Ok { id: first[0].id.unwrap(), reply: &reply });
    assert!(matches!(simulation.answer_of(1), Some(Ok(Reply::Published(_)))));
    simulation.closed(None);
    assert!(matches!(simulation.answer_of(2), Some(Err(Error::Lost))));
    simulation.publish(4, Retry::Forbidden);
    simulation.wait();
    simulation.begin();
    let again: Vec<Request<'_>> = simulation.sent().split_off(1);
    let keys: Vec<Option<String>> = again
        .iter()
        .map(|request| match &request.operation {
            Operation::Publish(publish) => publish.key.as_ref().map(ToString::to_string),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [Some("k3".to_owned()), Some("k4".to_owned())]);
    assert_eq!(again[0], first[2], "the same request, the same key");
}

#[test]
fn what_is_given_up_says_whether_it_may_have_been_done() {
    for (sends, loses, may_have_acted) in [(false, false, false), (true, false, true), (true, true, true)] {
        let mut simulation = Simulation::open(settings());
        if !sends {
            simulation.closed(None);
        }
        simulation.publish(1, Retry::Allowed);
        if loses {
            simulation.closed(None);
        }
        simulation.ms = 30_000;
        simulation.machine.alive(simulation.now());
        simulation.tick();
        let answer = simulation.answer_of(1);
        let is_right =
            matches!(answer, Some(Err(Error::TimedOut { may_have_acted: said, .. })) if *said == may_have_acted);
        assert!(is_right, "{sends} {loses}: {answer:?}");
    }
    let mut simulation = Simulation::open(settings());
    simulation.publish(1, Retry::Allowed);
    simulation.machine.close();
    simulation.collect();
    assert!(matches!(simulation.answer_of(1), Some(Err(Error::Closed { may_have_acted: true, .. }))));
    simulation.publish(2, Retry::Allowed);
    assert!(matches!(simulation.answer_of(2), Some(Err(Error::Closed { may_have_acted: false, .. }))));
}

#[test]
fn a_subscription_that_is_left_before_its_answer_does_not_get_it() {
    let mut simulation = Simulation::open(settings());
    simulation.subscribe(1, [Topic::new("t")]);
    let (first, _) = subscribed_ids(&simulation.sent())[0].clone();
    simulation.machine.leave(StreamId(1));
    simulation.subscribe(2, [Topic::new("t")]);
    let sent = simulation.sent();
    assert!(matches!(&sent[0].operation, Operation::Unsubscribe(topics) if topics[0] == "t"), "{sent:?}");
    let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
    simulation.hear(&Frame::Ok { id: first, reply: &reply });
    assert!(simulation.answer_of(2).is_none(), "that was the answer to the first");
    let payload = Payload::json(&1).unwrap();
    simulation.hear(&Frame::Message { topic: "t", offset: 6, time: 0, from: None, payload: &payload });
    assert!(simulation.items().is_empty());
    simulation.hear(&Frame::Ok { id: sent[1].id.unwrap(), reply: &reply });
    assert!(simulation.answer_of(2).is_some());
}

#[test]
fn a_subscription_without_an_answer_is_given_up_and_left() {
    let mut simulation = Simulation::open(settings());
    simulation.subscribe(1, [Topic::new("t")]);
    simulation.sent();
    simulation.ms = 30_000;
    simulation.machine.alive(simulation.now());
    simulation.tick();
    assert!(matches!(simulation.answer_of(1), Some(Err(Error::TimedOut { .. }))));
    assert!(matches!(simulation.sent()[0].operation, Operation::Unsubscribe(_)));
}
