//! Sessions by password and by headers of the handshake: what is sent, when another connection takes the place of the one
//! before, and what ends the client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rialto_protocol::{Closing, ErrorCode, Failure, Frame, Operation, Published};

use super::simulation::{Simulation, at, settings, subscribed_ids, there};
use super::*;
use crate::credential::Credential;
use crate::topic::Topic;

fn cookie(value: &str) -> Credential {
    Credential::Headers(Headers(vec![("cookie".into(), value.into())]))
}

fn with(sign_in: SignIn) -> Simulation {
    Simulation::new(Settings { sign_in, ..settings() }, 1)
}

/// The headers of the last connection that was to be opened.
fn carried(simulation: &Simulation) -> Option<Credential> {
    simulation.actions.iter().rev().find_map(|action| match action {
        Action::Connect(headers) => Some(Credential::Headers(headers.clone())),
        _ => None,
    })
}

/// The user of the last session that began.
fn user(simulation: &Simulation) -> Option<String> {
    simulation.actions.iter().rev().find_map(|action| match action {
        Action::Emit(Event::Connected(session)) => session.member.user.as_ref().map(ToString::to_string),
        _ => None,
    })
}

/// A session of ann by the cookie `one`, which ends in a minute.
fn by_cookie() -> Simulation {
    let mut simulation = with(SignIn::Handshake);
    assert!(simulation.fetches() && !simulation.connects());
    simulation.credential(Ok(cookie("one")));
    assert_eq!(carried(&simulation), Some(cookie("one")));
    simulation.begin_as(Some("ann"), Some(1_060_000));
    assert_eq!(user(&simulation).as_deref(), Some("ann"));
    let sent = simulation.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!((sent[0].id, &connect.token, &connect.user), (None, &None, &None), "nothing is proved here");
    simulation.actions.clear();
    simulation
}

/// The broker warns, and the program returns another cookie.
fn warned(simulation: &mut Simulation, value: &str) {
    simulation.hear_text(r#"{"type":"token_expiring","expires_at":1060000}"#);
    simulation.tick();
    assert!(simulation.fetches() && !simulation.connects());
    simulation.credential(Ok(cookie(value)));
}

#[test]
fn a_password_goes_into_the_connect_of_every_session_and_is_refused_once() {
    let mut simulation = with(SignIn::Connect);
    let login = Credential::Login { user: "ann".into(), password: "correct horse".into() };
    simulation.credential(Ok(login.clone()));
    for _ in 0..2 {
        assert_eq!(carried(&simulation), Some(Credential::Headers(Headers::default())));
        simulation.begin();
        let sent = simulation.sent();
        let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
        let fields = (connect.token.as_deref(), connect.user.as_deref(), connect.password.as_deref());
        assert_eq!((fields, sent.len()), ((None, Some("ann"), Some("correct horse")), 1));
        simulation.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann"}}"#, sent[0].id.unwrap()));
        assert_eq!(user(&simulation).as_deref(), Some("ann"));
        assert!(!format!("{:?} {:?}", simulation.machine, simulation.actions).contains("horse"));
        simulation.closed(None);
        simulation.actions.clear();
        simulation.wait();
    }
    // It was good before, so that it is sent once more.
    let refused = Failure::new(ErrorCode::Unauthorized, "no");
    for is_last in [false, true] {
        simulation.begin();
        let id = simulation.sent()[0].id;
        simulation.hear(&Frame::Error { id, failure: &refused });
        assert_eq!(simulation.machine.ending().is_some(), is_last);
        if !is_last {
            simulation.wait();
            simulation.credential(Ok(login.clone()));
        }
    }
    assert_eq!(simulation.machine.ending(), Some(&Ending::Unauthorized("no".into())));
}

#[test]
fn headers_are_asked_for_before_every_connection() {
    let mut simulation = by_cookie();
    simulation.closed(None);
    simulation.wait();
    assert!(simulation.fetches() && !simulation.connects());
    simulation.credential(Ok(cookie("two")));
    assert_eq!(carried(&simulation), Some(cookie("two")));
    for code in [4001, 4002] {
        simulation.begin_as(Some("ann"), None);
        simulation.actions.clear();
        simulation.closed(Some(code));
        simulation.wait();
        assert!(simulation.fetches(), "{code}");
        simulation.credential(Ok(cookie("three")));
        assert_eq!(carried(&simulation), Some(cookie("three")), "{code}");
    }
    let mut simulation = with(SignIn::Handshake);
    simulation.credential(Err("offline".into()));
    let reason = simulation.actions.iter().find_map(|action| match action {
        Action::Emit(Event::Disconnected { reason, .. }) => Some(reason.as_str()),
        _ => None,
    });
    assert_eq!(reason, Some("nothing to sign in with: offline"));
}

#[test]
fn a_warning_brings_another_connection_at_once_and_subscriptions_go_on() {
    let mut simulation = by_cookie();
    simulation.subscribe(1, [Topic::new("t")]);
    let (id, _) = subscribed_ids(&simulation.sent())[0].clone();
    let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
    simulation.hear(&Frame::Ok { id, reply: &reply });
    warned(&mut simulation, "two");
    let order = simulation.actions.iter().filter_map(|action| match action {
        Action::Disconnect(1000) => Some("disconnect"),
        Action::Connect(_) => Some("connect"),
        _ => None,
    });
    assert_eq!(order.collect::<Vec<_>>(), ["disconnect", "connect"]);
    assert_eq!((carried(&simulation), simulation.retry_in()), (Some(cookie("two")), Some(Duration::ZERO)));
    simulation.begin_as(Some("ann"), Some(1_120_000));
    let sent = simulation.sent();
    let Operation::Subscribe(topics) = &sent[1].operation else { panic!("{sent:?}") };
    assert_eq!(topics[0].since, Some(at("e", 5)));
    // Without a warning it is refreshed before its end.
    simulation.actions.clear();
    simulation.ms = 96_000;
    simulation.machine.alive(simulation.now());
    simulation.tick();
    assert!(simulation.fetches());
}

#[test]
fn what_is_under_way_is_answered_before_another_connection_and_what_is_new_waits_for_it() {
    let mut simulation = by_cookie();
    simulation.publish(1, Retry::Forbidden);
    let first = simulation.sent();
    warned(&mut simulation, "two");
    simulation.publish(2, Retry::Forbidden);
    assert!(simulation.sent().is_empty() && !simulation.connects());
    let published = Published { position: Some(at("e", 1)), duplicate: false };
    let reply = rialto_protocol::Reply::Published(published);
    simulation.hear(&Frame::Ok { id: first[0].id.unwrap(), reply: &reply });
    assert!(matches!(simulation.answer_of(1), Some(Ok(Reply::Published(_)))));
    assert!(simulation.connects());
    simulation.begin_as(Some("ann"), Some(1_120_000));
    let sent = simulation.sent();
    assert!(matches!(sent[1].operation, Operation::Publish(_)), "{sent:?}");
    assert!(simulation.answer_of(2).is_none());
}

#[test]
fn an_answer_that_does_not_come_holds_up_another_connection_for_the_time_of_an_attempt() {
    let mut simulation = by_cookie();
    simulation.publish(1, Retry::Allowed);
    simulation.sent();
    warned(&mut simulation, "two");
    simulation.ms = 9_999;
    simulation.tick();
    assert!(!simulation.connects());
    simulation.wait();
    assert_eq!(simulation.ms, 10_000);
    assert!(simulation.connects());
    simulation.begin_as(Some("ann"), Some(1_120_000));
    assert!(matches!(simulation.sent()[1].operation, Operation::Publish(_)), "it is sent again, with its key");
}

#[test]
fn a_broker_that_closes_meanwhile_is_obeyed() {
    let waiting = || {
        let mut simulation = by_cookie();
        simulation.publish(1, Retry::Allowed);
        warned(&mut simulation, "two");
        simulation
    };
    let mut simulation = waiting();
    let closing = Closing { code: 1001, message: "stopping".into(), retry_after_ms: Some(3_000) };
    simulation.hear(&Frame::Closing(&closing));
    simulation.ms = 10_000;
    simulation.tick();
    assert!(!simulation.connects());
    simulation.closed(Some(1001));
    assert!(simulation.retry_in() >= Some(Duration::from_secs(3)));
    for code in [4001, 4002] {
        let mut simulation = waiting();
        simulation.closed(Some(code));
        assert!(simulation.machine.ending().is_none(), "{code}: the fresh cookie was not tried");
    }
}

#[test]
fn headers_that_last_no_longer_do_not_make_connections_without_end() {
    let mut simulation = by_cookie();
    let mut connections = 0;
    warned(&mut simulation, "same");
    while simulation.connects() {
        connections += 1;
        simulation.begin_as(Some("ann"), Some(1_060_000));
        simulation.hear_text(r#"{"type":"token_expiring","expires_at":1060000}"#);
        simulation.actions.clear();
        simulation.ms += 5_000;
        simulation.tick();
        if simulation.fetches() {
            simulation.credential(Ok(cookie("same")));
        }
    }
    assert_eq!(connections, 3);
    assert!(simulation.machine.ending().is_none());
}

#[test]
fn fresh_headers_that_are_refused_end_the_client() {
    for (status, expected) in
        [(401, Ending::Unauthorized("no".into())), (403, Ending::Door { status: 403, reason: "no".into() })]
    {
        let mut simulation = with(SignIn::Handshake);
        simulation.credential(Ok(cookie("one")));
        let refusal = Refusal { status: Some(status), reason: "no".into(), ..Refusal::default() };
        simulation.machine.refused(simulation.now(), refusal);
        assert_eq!(simulation.machine.ending(), Some(&expected));
    }
    let mut simulation = by_cookie();
    simulation.closed(None);
    simulation.wait();
    simulation.credential(Ok(cookie("two")));
    simulation.begin();
    assert!(matches!(simulation.machine.ending(), Some(Ending::Unauthorized(_))), "it is no user any more");
}

#[test]
fn headers_without_a_user_are_good_where_the_broker_serves_such_sessions() {
    for is_served in [true, false] {
        let mut simulation = with(SignIn::Handshake);
        simulation.credential(Ok(cookie("theme=dark")));
        simulation.subscribe(1, [Topic::new("t")]);
        simulation.begin();
        let sent = simulation.sent();
        let id = sent[0].id.expect("it is to be answered");
        assert_eq!(sent.len(), 1, "a subscription would be refused for good");
        match is_served {
            true => simulation.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":null}}"#)),
            false => {
                let failure = Failure::new(ErrorCode::Unauthorized, "no");
                simulation.hear(&Frame::Error { id: Some(id), failure: &failure });
            }
        }
        assert_eq!(subscribed_ids(&simulation.sent()).len(), usize::from(is_served));
        assert_eq!(simulation.machine.ending().is_none(), is_served);
    }
}
