//! The life of a connection as tables: what happens is played to the machine, and what it does is read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rialto_protocol::{Closing, Failure, Frame, Operation};

use super::simulation::{Simulation, following, settings};
use super::*;

#[test]
fn codes_say_whether_to_come_back() {
    for (code, comes_back) in [
        (Some(1000), false),
        (Some(1001), true),
        (Some(1002), false),
        (Some(1003), false),
        (Some(1005), true),
        (Some(1007), false),
        (Some(1008), false),
        (Some(1009), false),
        (Some(1011), true),
        (Some(1012), true),
        (Some(1013), true),
        (Some(1014), true),
        (Some(1015), true),
        (None, true),
        (Some(4000), true),
        (Some(4001), false),
        (Some(4002), false),
        (Some(4003), false),
        (Some(4004), true),
        (Some(4005), true),
        (Some(4006), true),
        (Some(4008), true),
        (Some(4999), false),
    ] {
        let mut simulation = Simulation::open(settings());
        simulation.closed(code);
        assert_eq!(simulation.machine.ending().is_none(), comes_back, "{code:?}");
        assert_eq!(simulation.retry_in().is_some(), comes_back, "{code:?}");
        if comes_back {
            simulation.actions.clear();
            simulation.wait();
            assert!(simulation.connects(), "{code:?}");
        }
    }
}

#[test]
fn statuses_say_whether_to_come_back() {
    for (status, comes_back) in [
        (None, true),
        (Some(400), false),
        (Some(401), false),
        (Some(403), false),
        (Some(404), false),
        (Some(426), false),
        (Some(408), true),
        (Some(429), true),
        (Some(500), true),
        (Some(502), true),
        (Some(503), true),
    ] {
        let mut simulation = Simulation::new(settings(), 1);
        let retry_after = Some(Duration::from_secs(7)).filter(|_| status.is_some());
        simulation.machine.refused(simulation.now(), Refusal { status, retry_after, reason: "no".into() });
        simulation.collect();
        assert_eq!(simulation.machine.ending().is_none(), comes_back, "{status:?}");
        if comes_back && status.is_some() {
            assert!(simulation.retry_in() >= Some(Duration::from_secs(7)), "{status:?}");
        }
    }
}

#[test]
fn the_hint_before_a_close_is_obeyed_and_not_by_all_at_once() {
    let pauses = (0..50).map(|seed| {
        let mut simulation = Simulation::new(settings(), seed);
        simulation.begin();
        let closing = Closing { code: 1001, message: "stopping".into(), retry_after_ms: Some(2_000) };
        simulation.hear(&Frame::Closing(&closing));
        simulation.closed(Some(1001));
        simulation.retry_in().unwrap().as_millis()
    });
    let pauses: std::collections::BTreeSet<u128> = pauses.collect();
    assert!(pauses.iter().all(|pause| (2_000..=2_100).contains(pause)), "{pauses:?}");
    assert!(pauses.len() > 20, "{pauses:?}");
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    for phase in ["connecting", "greeting", "fetching"] {
        let sign_in = if phase == "fetching" { SignIn::Connect } else { SignIn::Never };
        let mut simulation = Simulation::new(Settings { sign_in, ..settings() }, 1);
        if phase == "greeting" {
            simulation.machine.opened(simulation.now());
        }
        simulation.actions.clear();
        simulation.ms = 9_999;
        simulation.tick();
        assert!(simulation.actions.is_empty(), "{phase}: {:?}", simulation.actions);
        simulation.ms = 10_000;
        simulation.tick();
        assert!(simulation.retry_in().is_some(), "{phase}");
        assert_eq!(simulation.has(|action| matches!(action, Action::Disconnect(_))), phase != "fetching");
    }
}

#[test]
fn the_first_session_has_to_begin_in_time_and_later_ones_take_as_long_as_they_take() {
    let patient = Settings { patience: Duration::from_secs(1), ..settings() };
    let mut simulation = Simulation::new(patient.clone(), 1);
    let refused = |simulation: &mut Simulation| {
        simulation.machine.refused(simulation.now(), Refusal { reason: "refused".into(), ..Refusal::default() });
        simulation.collect();
    };
    while simulation.machine.ending().is_none() {
        refused(&mut simulation);
        if simulation.machine.ending().is_none() {
            simulation.wait();
        }
    }
    assert!(simulation.ms <= 1_000);
    assert_eq!(simulation.machine.ending(), Some(&Ending::Unreachable("refused".into())));
    let mut simulation = Simulation::open(patient);
    simulation.closed(None);
    for _ in 0..100 {
        simulation.wait();
        refused(&mut simulation);
    }
    assert!(simulation.ms > 100_000 && simulation.machine.ending().is_none());
}

#[test]
fn a_broker_that_is_silent_is_asked_and_then_left() {
    let mut simulation = Simulation::open(settings());
    simulation.ms = 25_000;
    simulation.tick();
    assert!(simulation.has(|action| matches!(action, Action::Probe)));
    simulation.ms = 30_000;
    simulation.machine.alive(simulation.now());
    simulation.actions.clear();
    simulation.wait();
    assert_eq!(simulation.ms, 55_000);
    assert!(simulation.has(|action| matches!(action, Action::Probe)));
    simulation.wait();
    assert_eq!(simulation.ms, 65_000);
    assert!(simulation.has(|action| matches!(action, Action::Disconnect(1000))) && simulation.retry_in().is_some());
}

#[test]
fn a_session_that_does_not_read_says_that_it_lives_and_does_not_judge_the_broker() {
    let mut simulation = Simulation::open(settings());
    simulation.machine.hold(simulation.now());
    for beat in 1..=10 {
        simulation.actions.clear();
        simulation.wait();
        assert_eq!(simulation.ms, beat * 12_500);
        assert!(simulation.has(|action| matches!(action, Action::Beat)));
        assert!(!simulation.has(|action| matches!(action, Action::Probe | Action::Disconnect(_))));
    }
    simulation.machine.release(simulation.now());
    simulation.actions.clear();
    simulation.tick();
    assert!(simulation.actions.is_empty(), "it has just begun to read: {:?}", simulation.actions);
}

#[test]
fn a_token_comes_before_the_connection_and_is_kept_as_long_as_it_is_good() {
    let mut simulation = Simulation::new(Settings { sign_in: SignIn::Connect, ..settings() }, 1);
    assert!(simulation.fetches() && !simulation.connects());
    simulation.token("one");
    assert!(simulation.connects());
    simulation.begin();
    let sent = simulation.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!((connect.token.as_deref(), sent.len()), (Some("one"), 1), "nothing else before it is authenticated");
    simulation.publish(7, Retry::Allowed);
    assert!(simulation.sent().is_empty());
    simulation.hear_text(&format!(
        r#"{{"type":"ok","id":{},"user":"ann","info":7,"expires_at":1100000}}"#,
        sent[0].id.unwrap()
    ));
    let user = |action: &Action| matches!(action, Action::Emit(Event::Connected(session)) if session.member.user.as_deref() == Some("ann"));
    assert!(simulation.has(user));
    let info = |action: &Action| matches!(action, Action::Emit(Event::Connected(session)) if session.member.info.as_ref().is_some_and(|info| **info.content() == *b"7"));
    assert!(simulation.has(info));
    assert_eq!(simulation.sent().len(), 1, "what waited goes out");

    // It is refreshed while the session goes on.
    simulation.actions.clear();
    simulation.machine.alive(simulation.now());
    simulation.ms = 80_000;
    simulation.machine.alive(simulation.now());
    simulation.tick();
    assert!(simulation.fetches());
    simulation.token("two");
    let sent = simulation.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!(connect.token.as_deref(), Some("two"));
    simulation.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann","expires_at":9000000}}"#, sent[0].id.unwrap()));

    // So it is when the broker says that it is about to expire.
    simulation.actions.clear();
    simulation.hear_text(r#"{"type":"token_expiring","expires_at":9000000}"#);
    simulation.tick();
    assert!(simulation.fetches());
    simulation.token("three");
    let sent = simulation.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!(connect.token.as_deref(), Some("three"));
    simulation.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann","expires_at":9000000}}"#, sent[0].id.unwrap()));

    // A cut is no reason for another one, an end of the token is.
    simulation.actions.clear();
    simulation.closed(None);
    simulation.wait();
    assert!(!simulation.fetches() && simulation.connects());
    simulation.begin();
    let id = simulation.sent()[0].id.unwrap();
    simulation.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":"ann"}}"#));
    simulation.actions.clear();
    simulation.closed(Some(4002));
    simulation.wait();
    assert!(simulation.fetches() && !simulation.connects());
}

#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let mut simulation = Simulation::new(Settings { sign_in: SignIn::Connect, ..settings() }, 1);
    let refused = Failure::new(rialto_protocol::ErrorCode::Unauthorized, "no");
    let refuse = |simulation: &mut Simulation| {
        simulation.begin();
        let id = simulation.sent()[0].id;
        simulation.hear(&Frame::Error { id, failure: &refused });
    };
    simulation.token("one");
    simulation.begin();
    let id = simulation.sent()[0].id.unwrap();
    simulation.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":"ann"}}"#));
    simulation.closed(None);
    simulation.wait();
    // It was good once.
    refuse(&mut simulation);
    assert!(simulation.machine.ending().is_none());
    simulation.actions.clear();
    simulation.wait();
    assert!(simulation.fetches());
    simulation.token("two");
    refuse(&mut simulation);
    assert_eq!(simulation.machine.ending(), Some(&Ending::Unauthorized("no".into())));
}

#[test]
fn what_is_no_frame_ends_the_connection_but_not_the_client() {
    for text in ["", "[]", r#"{"type":"gap"}"#, r#"{"type":"message","topic":"t","offset":1,"time":1}"#] {
        let mut simulation = following();
        simulation.hear_text(text);
        assert!(
            simulation.has(|action| matches!(action, Action::Disconnect(_))) && simulation.retry_in().is_some(),
            "{text}"
        );
    }
    let mut simulation = following();
    simulation.hear_text(r#"{"type":"x-news","a":1}"#);
    assert!(simulation.has(|action| matches!(action, Action::Emit(Event::Pushed { kind, .. }) if kind == "x-news")));
}
