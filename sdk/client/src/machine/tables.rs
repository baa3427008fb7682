//! The life of a connection as tables: what happens is played to the machine, and what it does is read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rialto_protocol::{Closing, Failure, Frame, Operation};

use super::play::{Play, following, settings};
use super::*;

#[test]
fn codes_say_whether_to_come_back() {
    for (code, comes_back) in [
        (Some(1000), false),
        (Some(1001), true),
        (Some(1002), false),
        (Some(1003), false),
        (Some(1005), false),
        (Some(1007), false),
        (Some(1008), false),
        (Some(1009), false),
        (Some(1011), true),
        (Some(1012), false),
        (Some(1013), true),
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
        let mut play = Play::open(settings());
        play.closed(code);
        assert_eq!(play.machine.ending().is_none(), comes_back, "{code:?}");
        assert_eq!(play.retry_in().is_some(), comes_back, "{code:?}");
        if comes_back {
            play.actions.clear();
            play.wait();
            assert!(play.connects(), "{code:?}");
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
        let mut play = Play::new(settings(), 1);
        let retry_after = Some(Duration::from_secs(7)).filter(|_| status.is_some());
        play.machine.refused(play.now(), Refusal { status, retry_after, reason: "no".into() });
        play.collect();
        assert_eq!(play.machine.ending().is_none(), comes_back, "{status:?}");
        if comes_back && status.is_some() {
            assert!(play.retry_in() >= Some(Duration::from_secs(7)), "{status:?}");
        }
    }
}

#[test]
fn the_hint_before_a_close_is_obeyed_and_not_by_all_at_once() {
    let pauses = (0..50).map(|seed| {
        let mut play = Play::new(settings(), seed);
        play.begin();
        let closing = Closing { code: 1001, message: "stopping".into(), retry_after_ms: Some(2_000) };
        play.hear(&Frame::Closing(&closing));
        play.closed(Some(1001));
        play.retry_in().unwrap().as_millis()
    });
    let pauses: std::collections::BTreeSet<u128> = pauses.collect();
    assert!(pauses.iter().all(|pause| (2_000..=2_100).contains(pause)), "{pauses:?}");
    assert!(pauses.len() > 20, "{pauses:?}");
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    for phase in ["connecting", "greeting", "fetching"] {
        let mut play = Play::new(Settings { has_tokens: phase == "fetching", ..settings() }, 1);
        if phase == "greeting" {
            play.machine.opened(play.now());
        }
        play.actions.clear();
        play.ms = 9_999;
        play.tick();
        assert!(play.actions.is_empty(), "{phase}: {:?}", play.actions);
        play.ms = 10_000;
        play.tick();
        assert!(play.retry_in().is_some(), "{phase}");
        assert_eq!(play.has(|action| matches!(action, Action::Disconnect(_))), phase != "fetching");
    }
}

#[test]
fn the_first_session_has_to_begin_in_time_and_later_ones_take_as_long_as_they_take() {
    let patient = Settings { patience: Duration::from_secs(1), ..settings() };
    let mut play = Play::new(patient.clone(), 1);
    let refused = |play: &mut Play| {
        play.machine.refused(play.now(), Refusal { reason: "refused".into(), ..Refusal::default() });
        play.collect();
    };
    while play.machine.ending().is_none() {
        refused(&mut play);
        if play.machine.ending().is_none() {
            play.wait();
        }
    }
    assert!(play.ms <= 1_000);
    assert_eq!(play.machine.ending(), Some(&Ending::Unreachable("refused".into())));
    let mut play = Play::open(patient);
    play.closed(None);
    for _ in 0..100 {
        play.wait();
        refused(&mut play);
    }
    assert!(play.ms > 100_000 && play.machine.ending().is_none());
}

#[test]
fn a_broker_that_is_silent_is_asked_and_then_left() {
    let mut play = Play::open(settings());
    play.ms = 25_000;
    play.tick();
    assert!(play.has(|action| matches!(action, Action::Probe)));
    play.ms = 30_000;
    play.machine.alive(play.now());
    play.actions.clear();
    play.wait();
    assert_eq!(play.ms, 55_000);
    assert!(play.has(|action| matches!(action, Action::Probe)));
    play.wait();
    assert_eq!(play.ms, 65_000);
    assert!(play.has(|action| matches!(action, Action::Disconnect(1000))) && play.retry_in().is_some());
}

#[test]
fn a_session_that_does_not_read_says_that_it_lives_and_does_not_judge_the_broker() {
    let mut play = Play::open(settings());
    play.machine.hold(play.now());
    for beat in 1..=10 {
        play.actions.clear();
        play.wait();
        assert_eq!(play.ms, beat * 12_500);
        assert!(play.has(|action| matches!(action, Action::Beat)));
        assert!(!play.has(|action| matches!(action, Action::Probe | Action::Disconnect(_))));
    }
    play.machine.release(play.now());
    play.actions.clear();
    play.tick();
    assert!(play.actions.is_empty(), "it has just begun to read: {:?}", play.actions);
}

#[test]
fn a_token_comes_before_the_connection_and_is_kept_as_long_as_it_is_good() {
    let mut play = Play::new(Settings { has_tokens: true, ..settings() }, 1);
    assert!(play.fetches() && !play.connects());
    play.machine.token(play.now(), Ok("one".into()));
    play.collect();
    assert!(play.connects());
    play.begin();
    let sent = play.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!((connect.token.as_deref(), sent.len()), (Some("one"), 1), "nothing else before the proof");
    play.publish(7, Again::Yes);
    assert!(play.sent().is_empty());
    play.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann","expires_at":1100000}}"#, sent[0].id.unwrap()));
    let user = |action: &Action| matches!(action, Action::Tell(Event::Connected(session)) if session.member.user.as_deref() == Some("ann"));
    assert!(play.has(user));
    assert_eq!(play.sent().len(), 1, "what waited goes out");

    // It is refreshed while the session goes on.
    play.actions.clear();
    play.machine.alive(play.now());
    play.ms = 80_000;
    play.machine.alive(play.now());
    play.tick();
    assert!(play.fetches());
    play.machine.token(play.now(), Ok("two".into()));
    play.collect();
    let sent = play.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!(connect.token.as_deref(), Some("two"));
    play.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann","expires_at":9000000}}"#, sent[0].id.unwrap()));

    // A cut is no reason for another one, an end of the token is.
    play.actions.clear();
    play.closed(None);
    play.wait();
    assert!(!play.fetches() && play.connects());
    play.begin();
    let id = play.sent()[0].id.unwrap();
    play.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":"ann"}}"#));
    play.actions.clear();
    play.closed(Some(4002));
    play.wait();
    assert!(play.fetches() && !play.connects());
}

#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let mut play = Play::new(Settings { has_tokens: true, ..settings() }, 1);
    let refused = Failure::new(rialto_protocol::ErrorCode::Unauthorized, "no");
    let refuse = |play: &mut Play| {
        play.begin();
        let id = play.sent()[0].id;
        play.hear(&Frame::Error { id, failure: &refused });
    };
    play.machine.token(play.now(), Ok("one".into()));
    play.collect();
    play.begin();
    let id = play.sent()[0].id.unwrap();
    play.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":"ann"}}"#));
    play.closed(None);
    play.wait();
    // It was good once.
    refuse(&mut play);
    assert!(play.machine.ending().is_none());
    play.actions.clear();
    play.wait();
    assert!(play.fetches());
    play.machine.token(play.now(), Ok("two".into()));
    play.collect();
    refuse(&mut play);
    assert_eq!(play.machine.ending(), Some(&Ending::Unauthorized("no".into())));
}

#[test]
fn what_is_no_frame_ends_the_connection_but_not_the_client() {
    for text in ["", "[]", r#"{"type":"gap"}"#, r#"{"type":"message","topic":"t","offset":1,"time":1}"#] {
        let mut play = following();
        play.hear_text(text);
        assert!(play.has(|action| matches!(action, Action::Disconnect(_))) && play.retry_in().is_some(), "{text}");
    }
    let mut play = following();
    play.hear_text(r#"{"type":"x-news","a":1}"#);
    assert!(play.has(|action| matches!(action, Action::Tell(Event::Pushed { kind, .. }) if kind == "x-news")));
}
