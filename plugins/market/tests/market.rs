//! The market as its followers and feeds see it, run natively; `others.rs` is about symbols that are not listed.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use market::Market;
use rialto_plugin::prelude::*;
use rialto_plugin::testing::{Failure, Host};
use serde_json::Value;

const SALT: &str = "market.SALT";
/// Within this each symbol that someone follows has one tick.
const TICK_MS: u64 = 1000;

fn host() -> Host<Market> {
    host_with(json!({}))
}

fn host_with(config: Value) -> Host<Market> {
    let host = Host::with_config(Market::default(), &config).expect("valid settings");
    host.owns("market.*").owns("feed.*").needs(["sessions", "state", "timers"])
}

/// What was told on a topic since the last time.
fn told(host: &mut Host<Market>, topic: &str) -> Vec<Value> {
    host.take_published().into_iter().filter(|message| message.topic == topic).map(|message| message.data).collect()
}

fn prices(ticks: &[Value]) -> Vec<f64> {
    ticks.iter().map(|tick| tick["price"].as_f64().expect("a price")).collect()
}

fn snapshot(host: &Host<Market>, session: &str) -> Value {
    host.sent(session).pop().expect("a snapshot was sent")
}

fn feed(host: &mut Host<Market>, topic: &str, data: &Value) -> Result<Option<Value>, Failure> {
    host.publish("feeder", topic, data)
}

fn rejected(kind: &str, outcome: Result<Option<Value>, Failure>) {
    let failure = outcome.expect_err(kind);
    assert_eq!(failure.kind(), Some(kind), "{failure}");
}

#[test]
fn only_symbols_that_someone_follows_move() {
    let mut host = host();
    host.advance(10 * TICK_MS);
    assert!(host.timers().is_empty() && host.published().is_empty());

    host.subscribe("s1", SALT).expect("anyone may follow");
    assert_eq!(host.timers().keys().collect::<Vec<_>>(), ["tick.SALT"]);
    host.advance(3 * TICK_MS);
    assert_eq!(told(&mut host, SALT).len(), 3);

    host.subscribe("s2", SALT).expect("anyone may follow");
    host.unsubscribe("s1", SALT).expect("anyone may leave");
    host.advance(3 * TICK_MS);
    assert_eq!(told(&mut host, SALT).len(), 3, "one still follows");

    host.end("s2").expect("anyone may go");
    assert!(host.timers().is_empty(), "nobody follows: no timer");
    host.advance(10 * TICK_MS);
    assert_eq!(told(&mut host, SALT), [] as [Value; 0]);
}

#[test]
fn three_hundred_symbols_that_nobody_follows_have_no_timers() {
    let symbols: serde_json::Map<_, _> = (0..300).map(|number| (format!("S{number}"), json!(10 + number))).collect();
    let mut host = host_with(json!({"symbols": symbols}));
    host.advance(60 * TICK_MS);
    assert!(host.timers().is_empty() && host.published().is_empty());

    let topics: Vec<String> = (0..300).map(|number| format!("market.S{number}")).collect();
    for topic in &topics {
        host.subscribe("s1", topic).expect("anyone may follow");
    }
    assert_eq!(host.timers().len(), 300);
    host.advance(TICK_MS);
    assert_eq!(host.take_published().len(), 300, "each told once in its time");
    host.end("s1").expect("anyone may go");
    assert!(host.timers().is_empty());
}

#[test]
fn a_tick_tells_price_change_and_time() {
    let mut host = host();
    host.subscribe("s1", SALT).expect("anyone may follow");
    host.advance(TICK_MS);
    let ticks = told(&mut host, SALT);
    let tick = &ticks[0];
    let price = tick["price"].as_f64().expect("a price");
    let change = (price * 100.0).round() - 485.0;
    assert_eq!(tick["symbol"], "SALT");
    assert_eq!(tick["change"].as_f64(), Some(change / 100.0));
    assert_eq!(tick["percent"].as_f64(), Some((change * 10_000.0 / 485.0).round() / 100.0));
    let time = tick["time"].as_u64().expect("a time");
    assert!((host.now_ms() - TICK_MS..=host.now_ms()).contains(&time));
}

#[test]
fn a_seed_decides_every_price() {
    let walk = |seed: u64, session: &str| {
        let mut host = host_with(json!({"seed": seed, "swing": 50}));
        host.subscribe(session, "market.SILK").expect("anyone may follow");
        host.advance(20 * TICK_MS);
        prices(&told(&mut host, "market.SILK"))
    };
    assert_eq!(walk(1, "s1"), walk(1, "s2"));
    assert_ne!(walk(1, "s1"), walk(2, "s1"));
}

#[test]
fn a_walk_goes_on_where_it_was_left() {
    let straight = {
        let mut host = host_with(json!({"swing": 50}));
        host.subscribe("s1", SALT).expect("anyone may follow");
        host.advance(10 * TICK_MS);
        prices(&told(&mut host, SALT))
    };
    let mut host = host_with(json!({"swing": 50}));
    let mut broken = Vec::new();
    for (session, ticks) in [("s1", 4), ("s2", 6)] {
        host.subscribe(session, SALT).expect("anyone may follow");
        host.advance(ticks * TICK_MS);
        broken.extend(prices(&told(&mut host, SALT)));
        host.unsubscribe(session, SALT).expect("anyone may leave");
        // Minutes without followers, and an instance that forgets what it has in memory.
        host.advance(300 * TICK_MS);
        host.restart().expect("it starts again");
    }
    assert_eq!(broken, straight);
}

#[test]
fn who_follows_gets_a_snapshot_first() {
    let mut host = host_with(json!({"tail": 5}));
    host.subscribe("s1", SALT).expect("anyone may follow");
    let now = host.now_ms();
    let first = json!({"symbol": "SALT", "price": 4.85, "change": 0.0, "percent": 0.0, "time": now});
    assert_eq!(
        snapshot(&host, "s1"),
        json!({"type": "x-snapshot", "topic": SALT, "data": {"tick": first, "tail": [[now, 4.85]]}})
    );

    host.advance(8 * TICK_MS);
    let ticks = told(&mut host, SALT);
    host.subscribe("s2", SALT).expect("anyone may follow");
    let tail: Vec<Value> = ticks[3..].iter().map(|tick| json!([tick["time"], tick["price"]])).collect();
    assert_eq!(snapshot(&host, "s2")["data"], json!({"tick": ticks[7], "tail": tail}));
    assert_eq!(host.sent("s1"), [] as [Value; 0], "and nobody else gets it");
}

#[test]
fn coming_and_going_makes_no_more_ticks() {
    let mut host = host();
    for _ in 0..50 {
        host.subscribe("s1", SALT).expect("anyone may follow");
        host.advance(40);
        host.unsubscribe("s1", SALT).expect("anyone may leave");
    }
    assert_eq!(told(&mut host, SALT).len(), 2, "two seconds have gone by");
}

#[test]
fn subscribing_again_changes_no_beat() {
    let mut host = host();
    host.subscribe("s1", SALT).expect("anyone may follow");
    let due = host.timers();
    host.advance(1);
    host.subscribe("s1", SALT).expect("it updates the subscription");
    assert_eq!(host.timers(), due);
}

#[test]
fn a_price_that_is_fed_becomes_a_tick_and_the_walk_rests() {
    let mut host = host_with(json!({"feed_ms": 5000}));
    host.subscribe("s1", SALT).expect("anyone may follow");
    for (data, price, change) in [(json!(5.0), 5.0, 0.15), (json!({"price": 4.8, "volume": 7}), 4.8, -0.05)] {
        assert_eq!(feed(&mut host, "feed.SALT", &data), Ok(None), "the message itself goes nowhere");
        let ticks = told(&mut host, SALT);
        assert_eq!(prices(&ticks), [price]);
        assert_eq!(ticks[0]["change"].as_f64(), Some(change));
    }
    host.advance(4999);
    assert_eq!(told(&mut host, SALT), [] as [Value; 0]);
    host.advance(1);
    let walked = prices(&told(&mut host, SALT));
    assert_eq!(walked.len(), 1, "the feed is silent: it walks on");
    assert!((walked[0] - 4.8).abs() < 0.05, "from the last price");
    host.advance(2 * TICK_MS);
    assert_eq!(told(&mut host, SALT).len(), 2);
}

#[test]
fn a_feed_can_end_a_walk_for_good() {
    let mut host = host_with(json!({"feed_ms": 0}));
    host.subscribe("s1", SALT).expect("anyone may follow");
    assert_eq!(feed(&mut host, "feed.SALT", &json!(5)), Ok(None));
    assert!(host.timers().is_empty());
    host.subscribe("s2", SALT).expect("anyone may follow");
    host.advance(100_000 * TICK_MS);
    assert!(host.timers().is_empty());
    assert_eq!(prices(&told(&mut host, SALT)), [5.0]);
}

#[test]
fn a_feed_needs_no_followers_and_makes_no_timer() {
    let mut host = host();
    assert_eq!(feed(&mut host, "feed.SALT", &json!(5.25)), Ok(None));
    assert!(host.timers().is_empty());
    host.subscribe("s1", SALT).expect("anyone may follow");
    assert_eq!(snapshot(&host, "s1")["data"]["tick"]["price"], 5.25);
    assert_eq!(host.timers()["tick.SALT"], host.now_ms() + 60_000, "it rests first");
}

#[test]
fn prices_of_one_millisecond_have_times_that_rise() {
    let mut host = host();
    for price in 1..=5 {
        assert_eq!(feed(&mut host, "feed.SALT", &json!(price)), Ok(None));
    }
    let times: Vec<u64> = told(&mut host, SALT).iter().map(|tick| tick["time"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
}

#[test]
fn what_is_no_price_is_rejected_by_kind() {
    let mut host = host();
    for (data, kind) in [
        (json!(-1), "negative"),
        (json!({"price": -0.01}), "negative"),
        (json!(0), "zero"),
        (json!({"price": 0.0}), "zero"),
        (json!(1_000_000_001), "too_large"),
        (json!(1e300), "too_large"),
        (json!(4.855), "too_fine"),
        (json!("4.85"), "invalid_data"),
        (json!(null), "invalid_data"),
        (json!({"cost": 1}), "invalid_data"),
    ] {
        rejected(kind, feed(&mut host, "feed.SALT", &data));
    }
    rejected("unknown_symbol", feed(&mut host, "feed.NONE", &json!(1)));
    rejected("invalid_symbol", feed(&mut host, "feed.salt", &json!(1)));
    let nan = Payload::msgpack(&f64::NAN).expect("a number");
    let failure = host.publish_message(Message::new(None, "feed.SALT", nan)).expect_err("no number");
    assert_eq!(failure.kind(), Some("not_a_number"));
    assert!(host.published().is_empty(), "and nothing is told");
}

#[test]
fn prices_are_read_on_the_market_and_written_to_the_feed() {
    let mut host = host();
    rejected("read_only", host.publish("s1", SALT, &json!({"price": 1})));
    assert_eq!(host.subscribe("s1", "feed.SALT").expect_err("no reading").kind(), Some("write_only"));
    assert_eq!(host.subscribe("s1", "market.no!").expect_err("no symbol").kind(), Some("invalid_symbol"));
    assert!(host.timers().is_empty());
}

#[test]
fn where_only_programs_feed_no_session_does() {
    let mut host = host_with(json!({"feed_from": "programs"}));
    rejected("not_a_feed", feed(&mut host, "feed.SALT", &json!(5)));
    let price = Payload::json(&5).expect("a number");
    assert_eq!(host.publish_message(Message::new(None, "feed.SALT", price)), Ok(None));
    assert_eq!(prices(&told(&mut host, SALT)), [5.0]);
}

#[test]
fn a_symbol_that_is_not_listed_begins_when_someone_follows_it() {
    let mut host = host();
    host.subscribe("s1", "market.TULIP").expect("there is room");
    let opening = snapshot(&host, "s1")["data"]["tick"]["price"].as_f64().expect("a price");
    assert!((1.0..500.0).contains(&opening));
    let mut again = host_with(json!({}));
    again.subscribe("s1", "market.TULIP").expect("there is room");
    assert_eq!(snapshot(&again, "s1")["data"]["tick"]["price"].as_f64(), Some(opening), "the seed decides");
    assert_eq!(feed(&mut host, "feed.TULIP", &json!(7)), Ok(None), "now it is known");
}

#[test]
fn others_give_way_when_nobody_follows_them() {
    let mut host = host_with(json!({"others_max": 2}));
    host.subscribe("s1", "market.A").expect("there is room");
    host.advance(5 * TICK_MS);
    host.subscribe("s1", "market.B").expect("there is room");
    host.advance(5 * TICK_MS);
    let failure = host.subscribe("s1", "market.C").expect_err("both are followed");
    assert_eq!(failure, Failure::rejected(failure.reason(), json!({"kind": "too_many_symbols", "limit": 2})));
    host.subscribe("s1", "market.SALT").expect("those that are listed do not count");

    host.unsubscribe("s1", "market.B").expect("anyone may leave");
    host.subscribe("s1", "market.C").expect("B gives way");
    host.unsubscribe("s1", "market.C").expect("anyone may leave");
    host.unsubscribe("s1", "market.A").expect("anyone may leave");
    rejected("unknown_symbol", feed(&mut host, "feed.B", &json!(1)));
    host.subscribe("s1", "market.D").expect("the one that ticked longest ago gives way");
    rejected("unknown_symbol", feed(&mut host, "feed.A", &json!(1)));
    assert_eq!(feed(&mut host, "feed.C", &json!(1)), Ok(None));

    let mut closed = host_with(json!({"others_max": 0}));
    assert_eq!(closed.subscribe("s1", "market.A").expect_err("not listed").kind(), Some("unknown_symbol"));
}

#[test]
fn a_change_is_since_the_day_began() {
    let day_ms = 86_400_000;
    let mut host = host_with(json!({"feed_ms": 0}));
    for (wait_ms, price, change) in [(0, 5.0, 0.15), (day_ms, 5.5, 0.5), (1, 5.25, 0.25), (3 * day_ms, 5.25, 0.0)] {
        host.advance(wait_ms);
        assert_eq!(feed(&mut host, "feed.SALT", &json!(price)), Ok(None));
        assert_eq!(told(&mut host, SALT)[0]["change"].as_f64(), Some(change), "{price}");
    }
}

#[test]
fn symbols_lists_what_is_traded() {
    let mut host = host_with(json!({"symbols": {"B": 2, "A": 1.5}}));
    host.subscribe("s1", "market.C").expect("there is room");
    assert_eq!(feed(&mut host, "feed.B", &json!(3)), Ok(None));
    let (_, answer) = host.request(Call::new(None, "symbols")).expect("anyone may ask").expect("a list");
    let listed: Vec<_> = answer["symbols"].as_array().expect("a list").iter().map(|tick| &tick["symbol"]).collect();
    assert_eq!(listed, ["A", "B", "C"]);
    assert_eq!(answer["symbols"][0]["price"], 1.5);
    assert_eq!(answer["symbols"][1]["percent"], 50.0);
    let failure = host.request(Call::new(None, "order")).expect_err("no such method");
    assert_eq!(failure.kind(), Some("unknown_method"));
}

#[test]
fn with_all_symbols_there_may_be_each_hook_is_within_the_limits() {
    let symbols: serde_json::Map<_, _> = (0..1000).map(|number| (format!("L{number}"), json!(10))).collect();
    let mut host = host_with(json!({"symbols": symbols, "others_max": 500, "tail": 600, "feed_ms": 0}));
    for number in 0..1000 {
        assert_eq!(feed(&mut host, &format!("feed.L{number}"), &json!(7)), Ok(None));
    }
    for number in 0..500 {
        host.subscribe(format!("s{number}").as_str(), &format!("market.O{number}")).expect("there is room");
    }
    assert_eq!(host.subscribe("s2", "market.MORE").expect_err("full").kind(), Some("too_many_symbols"));
    assert!(host.request(Call::new(None, "symbols")).is_ok());
}
