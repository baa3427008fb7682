//! What the chat keeps, and what it does when that comes to its limits: clients that take all they can beside others who
//! want to enter, speak and get a name.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use chat::Chat;
use rialto_plugin::prelude::*;
use rialto_plugin::testing::{Failure, Host, Limits};
use serde_json::Value;

const LOBBY: &str = "chat.lobby";
/// What the broker lets a plugin keep, and how many topics a session may subscribe to, by default.
const STATE_BYTES: usize = 64 << 20;
const SUBSCRIPTIONS: usize = 1000;

fn host_with(config: Value) -> Host<Chat> {
    let host = Host::with_config(Chat::default(), &config).expect("the settings are valid");
    host.owns("chat.*").needs(["sessions", "state"])
}

fn host() -> Host<Chat> {
    host_with(json!({}))
}

fn claim(host: &mut Host<Chat>, session: &Session, room: &str, name: &str) -> Result<(), Failure> {
    host.subscribe(session, room).expect("anyone may enter");
    host.call(session, room, "claim", &json!({ "name": name })).map(drop)
}

/// Rooms of the longest names there are.
fn long_room(number: usize) -> String {
    let number = number.to_string();
    format!("chat.{}{number}", "r".repeat(250 - number.len()))
}

/// Names of the most bytes: 32 characters of four bytes each.
fn long_name(number: usize) -> String {
    let last = u32::try_from(number).ok().and_then(|number| char::from_u32(0x1_d400 + number));
    format!("{}{}", "𝔸".repeat(31), last.expect("there are some hundred of these letters"))
}

/// Enters as many rooms as a session may and claims long names in them, until it is refused; how many it got, and why not
/// more.
fn fill(host: &mut Host<Chat>, session: &Session) -> (usize, Option<Failure>) {
    let name = format!("{}{}", "𝔸".repeat(12), session.id);
    for room in 0..SUBSCRIPTIONS {
        if let Err(failure) = claim(host, session, &long_room(room), &name) {
            return (room, Some(failure));
        }
        host.take_effects();
    }
    (SUBSCRIPTIONS, None)
}

/// Several others enter a room, get names and speak.
fn others_are_served(host: &mut Host<Chat>) {
    for name in ["Ada", "Bob", "Cleo", "Dan"] {
        let session = Session::new(name.to_lowercase());
        claim(host, &session, LOBBY, name).expect("there is a place for everyone");
        assert!(host.publish(&session, LOBBY, "hi").is_ok());
        claim(host, &session, LOBBY, &format!("{name} II")).expect("and for another name");
    }
    let members = host.call("anyone", LOBBY, "members", &json!(null)).expect("anyone may ask").expect("a list");
    assert_eq!(members, json!({"members": ["Ada II", "Bob II", "Cleo II", "Dan II"]}));
}

#[test]
fn nothing_is_kept_of_the_nameless() {
    let mut host = host();
    for number in 0..500 {
        let session = Session::new(format!("s{number}"));
        for room in 0..20 {
            host.subscribe(&session, &long_room(room)).expect("anyone may enter");
        }
        host.publish(&session, LOBBY, "hi").expect_err("no name");
        host.call(&session, LOBBY, "claim", &json!({"name": "Ada"})).expect_err("not in that room");
        host.call(&session, &long_room(0), "claim", &json!({"name": ""})).expect_err("no name");
    }
    assert_eq!(host.state_bytes(), 0);
}

#[test]
fn all_names_that_there_may_be_fit_into_the_state_of_a_plugin() {
    const NAMES_MAX: usize = 40_000;
    let mut host = host();
    let mut kept = |number: usize| {
        let before = host.state_bytes();
        // The ids of the broker have 20 characters.
        let session = Session::new(format!("{number:020}")).with_user(format!("{number}{}", "u".repeat(500)));
        claim(&mut host, &session, &long_room(0), &long_name(number)).expect("there is a place");
        host.state_bytes() - before
    };
    // The first one brings the number of all, whose digits more than another one counts.
    let (first, second) = (kept(0), kept(1));
    assert!(second < first && first < 1650, "{second} {first}");
    assert!(NAMES_MAX * first < STATE_BYTES, "{}", NAMES_MAX * first);
}

#[test]
fn sessions_that_fill_the_chat_leave_places_for_others() {
    let mut host = host();
    let mut taken = 0;
    for number in 0..74 {
        taken += fill(&mut host, &Session::new(format!("eve{number:017}"))).0;
    }
    assert!((30_000..32_500).contains(&taken), "{taken}");
    assert!(host.state_bytes() < STATE_BYTES, "{}", host.state_bytes());
    others_are_served(&mut host);
}

#[test]
fn one_client_gets_no_more_than_its_share_of_a_nearly_full_chat() {
    let mut host = host_with(json!({"names_max": 100}));
    let (taken, failure) = fill(&mut host, &"eve".into());
    assert_eq!(taken, 75);
    let reason = "the chat is nearly full: you may have a name in 1 of its rooms now and have one in 75; leave a room \
                  first";
    assert_eq!(failure, Some(Failure::rejected(reason, json!({"kind": "over_share", "limit": 1}))));
    others_are_served(&mut host);
    claim(&mut host, &"eve".into(), &long_room(3), "Eve").expect("another name takes no place");
    for room in 0..2 {
        host.unsubscribe("ada", LOBBY).expect("anyone may leave");
        claim(&mut host, &"ada".into(), &long_room(room), "Ada").expect("who leaves may enter another room");
        host.unsubscribe("ada", &long_room(room)).expect("anyone may leave");
    }
}

#[test]
fn the_sessions_of_a_user_have_one_share() {
    let mut host = host_with(json!({"names_max": 100}));
    for number in 0..5 {
        let (taken, failure) = fill(&mut host, &Session::new(format!("eve{number}")).with_user("eve"));
        assert_eq!(
            (taken, failure.expect("it is refused").kind()),
            (if number == 0 { 75 } else { 0 }, Some("over_share"))
        );
    }
    others_are_served(&mut host);
}

#[test]
fn a_full_chat_rejects_and_still_serves_its_members() {
    let mut host = host_with(json!({"names_max": 5}));
    others_are_served(&mut host);
    claim(&mut host, &"eve".into(), "chat.other", "Eve").expect("the last place");
    for _ in 0..2 {
        let reason = "the chat is full: the limit is 5 names in all rooms; try again later";
        let full = Failure::rejected(reason, json!({"kind": "chat_full"}));
        assert_eq!(claim(&mut host, &"late".into(), LOBBY, "Late"), Err(full));
        assert!(host.publish("ada", LOBBY, "hi").is_ok());
        host.end("bob").expect("anyone may leave");
        claim(&mut host, &"bert".into(), LOBBY, "Bert").expect("a place is free again");
        host.end("bert").expect("anyone may leave");
        claim(&mut host, &"bob".into(), LOBBY, "Bob").expect("a place is free again");
    }
}

#[test]
fn a_state_without_room_rejects_where_the_hook_would_fail() {
    let mut host = host().limits(Limits { state_bytes: 4000, ..Limits::default() });
    let full = Failure::rejected("the chat is full: try again later", json!({"kind": "chat_full"}));
    let (taken, failure) = fill(&mut host, &"eve".into());
    assert_eq!(failure, Some(full.clone()));
    claim(&mut host, &"eve".into(), &long_room(0), "Eve").expect("a shorter name");
    claim(&mut host, &"eve".into(), &long_room(1), "Eve").expect("a shorter name");
    assert!(host.publish("eve", &long_room(0), "hi").is_ok());
    let mut refused = 0;
    for room in 0..taken {
        refused +=
            usize::from(claim(&mut host, &"eve".into(), &long_room(room), &long_name(room)) == Err(full.clone()));
    }
    assert!((1..taken).contains(&refused), "{refused} of {taken}");
    // The operator has made it smaller than it is: who leaves makes room all the same.
    let mut host = host.limits(Limits { state_bytes: 10, ..Limits::default() });
    host.end("eve").expect("anyone may leave");
    assert!(host.state::<Value>("sessions").is_empty() && host.state::<Value>("names").is_empty());
    assert_eq!(host.state::<u32>("totals")["names"], 0);
}

#[test]
fn what_is_kept_comes_and_goes_with_names() {
    let mut host = host();
    fill(&mut host, &"eve".into());
    host.end("eve").expect("anyone may leave");
    let none = host.state_bytes();
    assert!(none < 128, "one number stays: {none}");
    fill(&mut host, &"eve".into());
    host.restart().expect("it starts again");
    host.end("eve").expect("anyone may leave");
    assert_eq!(host.state_bytes(), none);
}
