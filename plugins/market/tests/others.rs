//! Symbols that the operator did not list: what one more costs, how many a client may have, and which give way.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use market::Market;
use rialto_plugin::prelude::*;
use rialto_plugin::testing::{Failure, Host, Limits};
use serde_json::Value;

const OTHERS_MAX: u64 = 300;
/// Of those, what is free for all.
const FREE_FOR_ALL: u64 = OTHERS_MAX * 3 / 4;

fn host() -> Host<Market> {
    let host = Host::with_config(Market::default(), &json!({"others_max": OTHERS_MAX})).expect("valid settings");
    host.owns("market.*").owns("feed.*").needs(["sessions", "state", "timers"])
}

fn symbol(number: u64) -> String {
    format!("market.N{number:04}")
}

fn follow(host: &mut Host<Market>, session: &str, number: u64) -> Result<(), Failure> {
    host.subscribe(session, &symbol(number))
}

/// Follows symbols of its own, named after it, until it is refused; returns how many it got and why it was refused.
fn follow_all_it_can(host: &mut Host<Market>, session: &Session) -> (u64, Failure) {
    for number in 0..=OTHERS_MAX {
        if let Err(failure) = host.subscribe(session, &format!("market.{}-{number}", session.id.to_uppercase())) {
            return (number, failure);
        }
    }
    panic!("{session:?} was never refused");
}

fn kind(outcome: Result<(), Failure>) -> Option<String> {
    outcome.err().map(|failure| failure.kind().expect("a rejection with a kind").to_owned())
}

fn listed(host: &mut Host<Market>) -> usize {
    let (_, answer) = host.request(Call::new(None, "symbols")).expect("anyone may ask").expect("a list");
    answer["symbols"].as_array().expect("a list").len()
}

#[test]
fn one_more_symbol_costs_the_same_however_many_there_are() {
    let mut host = host();
    let mut costs = Vec::new();
    for number in 0..OTHERS_MAX {
        let before = host.state_bytes();
        follow(&mut host, &format!("s{number:04}"), number).expect("there is a place");
        costs.push((host.used(), host.state_bytes() - before));
    }
    let ((few, few_kept), (many, many_kept)) = (costs[10], costs[290]);
    assert_eq!(few.host_calls, many.host_calls);
    // The numbers of all have a few digits more, and prices differ.
    assert!(many.bytes.abs_diff(few.bytes) < 24 && many_kept.abs_diff(few_kept) < 8, "{costs:?}");
    assert!(many.bytes < 1000 && many.host_calls < 20, "{many:?}");
}

#[test]
fn one_more_symbol_costs_the_same_where_another_gives_way() {
    let mut host = host();
    let mut costs = Vec::new();
    for number in 0..3 * OTHERS_MAX {
        follow(&mut host, "s1", number).expect("the one before is followed no more");
        costs.push(host.used());
        host.unsubscribe("s1", &symbol(number)).expect("anyone may leave");
        assert!(host.used().host_calls < 20, "{:?}", host.used());
        host.advance(1);
    }
    assert_eq!(costs[310].host_calls, costs[890].host_calls);
    assert!(costs[890].bytes < 1000, "{:?}", costs[890]);
    assert_eq!(listed(&mut host), 8 + 300, "with those that the operator lists");
    rejected_feed(&mut host, "feed.N0599", "unknown_symbol");
    assert_eq!(host.publish("s1", "feed.N0600", &json!(1)), Ok(None), "the newest have stayed");
}

#[test]
fn the_list_costs_what_its_symbols_take() {
    let mut host = host();
    let cost = |host: &mut Host<Market>| {
        listed(host);
        host.used()
    };
    let none = cost(&mut host);
    for number in 0..OTHERS_MAX {
        follow(&mut host, &format!("s{number}"), number).expect("there is a place");
    }
    let all = cost(&mut host);
    assert_eq!(all.host_calls, none.host_calls);
    assert!((all.bytes - none.bytes) as u64 <= OTHERS_MAX * 250, "{none:?} {all:?}");
}

#[test]
fn one_session_cannot_take_all_symbols() {
    let mut host = host();
    let (taken, failure) = follow_all_it_can(&mut host, &"eve".into());
    assert_eq!(taken, FREE_FOR_ALL);
    let reason = "nearly all of the 300 places for further symbols are taken: you may have 4 now and have 225; \
                  unsubscribe from one of yours first";
    assert_eq!(failure, Failure::rejected(reason, json!({"kind": "over_share", "limit": 4})));
    for number in 0..4 {
        follow(&mut host, "ada", number).expect("everyone has a share");
    }
    assert_eq!(kind(follow(&mut host, "ada", 4)), Some("over_share".to_owned()));
    assert_eq!(kind(host.subscribe("eve", "market.SALT")), None, "listed symbols are not counted");
    assert_eq!(kind(follow(&mut host, "eve", 0)), None, "nor is what another one follows already");
    host.unsubscribe("ada", &symbol(3)).expect("anyone may leave");
    assert_eq!(kind(follow(&mut host, "ada", 5)), None, "as the reason says");
}

#[test]
fn sessions_of_one_user_have_one_share() {
    let mut host = host();
    let eve = |id: &str| Session::new(id).with_user("eve");
    assert_eq!(follow_all_it_can(&mut host, &eve("e1")).0, FREE_FOR_ALL);
    for id in ["e2", "e3"] {
        let (taken, failure) = follow_all_it_can(&mut host, &eve(id));
        assert_eq!((taken, failure.kind()), (0, Some("over_share")));
    }
    assert_eq!(kind(follow(&mut host, "ada", 0)), None);
}

#[test]
fn many_sessions_leave_a_place_for_the_next() {
    let mut host = host();
    for number in 0..40 {
        follow_all_it_can(&mut host, &format!("eve{number}").as_str().into());
    }
    assert_eq!(kind(follow(&mut host, "ada", 0)), None);
}

#[test]
fn when_all_are_followed_the_next_is_told_so_until_one_leaves() {
    let mut host = host();
    for number in 0..OTHERS_MAX {
        follow(&mut host, &format!("s{number}"), number).expect("there is a place");
    }
    let failure = follow(&mut host, "ada", 300).expect_err("full");
    let reason = "so many symbols are followed that no other fits: the limit is 300; follow one of those that \
                  \"symbols\" lists, or try again later";
    assert_eq!(failure, Failure::rejected(reason, json!({"kind": "too_many_symbols", "limit": 300})));
    host.end("s7").expect("anyone may go");
    assert_eq!(kind(follow(&mut host, "ada", 300)), None);
    rejected_feed(&mut host, "feed.N0007", "unknown_symbol");
}

#[test]
fn what_nobody_follows_any_more_is_free() {
    let mut host = host();
    follow_all_it_can(&mut host, &"eve".into());
    host.end("eve").expect("anyone may go");
    let (taken, _) = follow_all_it_can(&mut host, &"mallory".into());
    assert_eq!(taken, FREE_FOR_ALL);
    host.end("mallory").expect("anyone may go");
    let kept = host.state_bytes();
    for round in 0..5 {
        follow_all_it_can(&mut host, &format!("eve{round}").as_str().into());
        host.end(format!("eve{round}").as_str()).expect("anyone may go");
    }
    assert!(host.state_bytes() < kept + 5000, "{} {kept}", host.state_bytes());
}

#[test]
fn a_symbol_counts_for_one_who_follows_it() {
    let mut host = host();
    for number in 0..FREE_FOR_ALL {
        follow(&mut host, "eve", number).expect("it is free for all");
        follow(&mut host, "ada", number).expect("it is followed already");
    }
    assert_eq!(kind(follow(&mut host, "ada", 300)), None, "all count for the first");
    host.end("eve").expect("anyone may go");
    assert_eq!(kind(follow(&mut host, "ada", 301)), Some("over_share".to_owned()), "now they count for the other");
    assert_eq!(kind(follow(&mut host, "eve", 301)), None);
    host.end("ada").expect("anyone may go");
    assert_eq!(host.state::<Value>("held").len(), 1, "one client with one symbol is left");
}

#[test]
fn a_departure_that_came_to_nothing_is_noticed_at_the_next_tick() {
    let mut host = host();
    follow_all_it_can(&mut host, &"eve".into());
    let mut host = host.limits(Limits { host_calls: 0, ..Limits::default() });
    host.end("eve").expect_err("the hooks may do nothing");
    let mut host = host.limits(Limits::default());
    host.advance(2000);
    assert!(host.timers().is_empty());
    assert_eq!(follow_all_it_can(&mut host, &"ada".into()).0, FREE_FOR_ALL);
}

fn rejected_feed(host: &mut Host<Market>, topic: &str, expected: &str) {
    let failure = host.publish("feeder", topic, &json!(1)).expect_err(expected);
    assert_eq!(failure.kind(), Some(expected), "{failure}");
}
