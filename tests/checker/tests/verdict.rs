//! For each promise logs that keep it and logs that break it, each in another way.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log;

use log::log;
use rialto_checker::Invariant::{self, Acked, Balance, Liveness, NoDouble, NoGap, NoInvention, Once, Order};
use rialto_checker::check;

/// Two clients of one broker, a topic that keeps three messages, and the messages a, b and c, which the first one published.
const BEGIN: &str = "
    topic t keeps 3 keys 1000
    start
    connect 1 client 1 node n
    connect 2 client 2 node n
    publish 1 by 1 t a key ka
    acked 1 e/1
    publish 2 by 1 t b key kb
    acked 2 e/2
    publish 3 by 1 t c key kc
    acked 3 e/3
";

fn holds(rest: &str) {
    if let Err(found) = check(&log(&format!("{BEGIN}{rest}"))) {
        panic!("{rest}\nis said to break {found:#?}");
    }
}

fn breaks(invariant: Invariant, rest: &str) {
    let found = check(&log(&format!("{BEGIN}{rest}"))).err().unwrap_or_else(|| panic!("{rest}\nis said to hold"));
    assert!(
        found.iter().any(|violation| violation.invariant == invariant),
        "{rest}\nbreaks {invariant}, not {found:#?}"
    );
}

/// The next broker: who was connected is not any more.
const RESTART: &str = "
    kill
    disconnect 1
    disconnect 2
    start
    connect 3 client 1 node m
";

#[test]
fn a_log_that_holds_is_counted() {
    let text = format!(
        "{BEGIN}
        subscribe 2 t last 2
        subscribed 2 t e/3
        message 2 t e/2 b
        message 2 t e/3 c
        publish 4 by 1 t d key kd
        lost 4
        message 2 t e/4 d
        publish 5 by 1 t d key kd
        duplicate 5 e/4
        disconnect 2
        connect 3 client 2 node n
        subscribe 3 t since e/4
        subscribed 3 t e/4 recovered
        healed 1000
        ended
        gauge sessions 0"
    );
    let summary = check(&log(&text)).unwrap();
    assert_eq!((summary.acked, summary.duplicates, summary.lost, summary.delivered), (4, 1, 1, 3));
    assert_eq!((summary.subscribed, summary.recovered, summary.sessions, summary.gauges), (2, 1, 3, 1));
    assert_eq!(summary.caught_up_ms, Some(0));
}

#[test]
fn one_order_for_all() {
    holds("publish 4 by 2 t d\nacked 4 e/4\npublish 5 by 1 t e\nacked 5 e/5");
    // Two that are under way at once may come in either order.
    holds("publish 4 by 2 t d\npublish 5 by 1 t e\nacked 5 e/4\nacked 4 e/5");
    breaks(Order, "subscribe 2 t last 3\nsubscribed 2 t e/3\nmessage 2 t e/1 b");
    breaks(Order, "publish 4 by 2 t d\nacked 4 e/3");
    breaks(Order, "publish 4 by 1 t d\npublish 5 by 1 t e\nacked 5 e/4\nacked 4 e/5");
    // What was known before is never overtaken.
    breaks(Order, "publish 4 by 2 t d\nacked 4 e/6\npublish 5 by 2 t e\nacked 5 e/5");
    breaks(Order, "subscribe 2 t\nsubscribed 2 t e/9\npublish 5 by 1 t e\nacked 5 e/5");
    // An epoch is of one broker.
    breaks(Order, &format!("{RESTART} subscribe 3 t since e/3 last 3\nsubscribed 3 t e/3 recovered"));
}

#[test]
fn what_was_acked_is_there_and_what_was_refused_is_not() {
    holds("subscribe 2 t since e/0\nsubscribed 2 t e/3 recovered");
    holds("publish 4 by 2 t d\nrefused 4 busy");
    // Nothing is promised about memory that is gone.
    holds(&format!("{RESTART} subscribe 3 t since e/3\nsubscribed 3 t f/0 lost"));
    holds("subscribe 2 u\nsubscribed 2 u f/0\nunsubscribe 2 u\nunsubscribed 2 u\nsubscribe 1 u\nsubscribed 1 u g/0");
    breaks(Acked, "subscribe 2 t\nsubscribed 2 t e/2");
    breaks(Acked, "subscribe 2 t since e/1 last 3\nsubscribed 2 t e/3 lost\ngap 2 t 2 to 2 expired");
    breaks(Acked, "subscribe 2 t last 3\nsubscribed 2 t e/3\ngap 2 t 1 to 2 expired");
    breaks(Acked, "subscribe 2 t since e/3\nsubscribed 2 t f/3 lost\ngap 2 t 1 to 3 reset");
    breaks(
        Acked,
        "subscribe 2 t\nsubscribed 2 t e/3\npublish 4 by 1 t d key k\nmessage 2 t e/4 d\nrefused 4 plugin_failed",
    );
}

#[test]
fn nothing_is_missing_without_a_word() {
    let live = "subscribe 2 t\nsubscribed 2 t e/3\n";
    let five = "publish 4 by 1 t d\nacked 4 e/4\npublish 5 by 1 t e\nacked 5 e/5\n";
    holds(&format!("{live}{five}message 2 t e/4 d\nmessage 2 t e/5 e"));
    holds(&format!("{live}{five}gap 2 t 4 to 4 slow\nmessage 2 t e/5 e"));
    holds(&format!("{five}subscribe 2 t since e/1\nsubscribed 2 t e/5 lost\ngap 2 t 2 to 5 expired"));
    holds(&format!(
        "{five}subscribe 2 t since e/1 last 9\nsubscribed 2 t e/5 lost\ngap 2 t 2 to 2 expired\nmessage 2 t e/3 c"
    ));
    holds(&format!(
        "{five}subscribe 2 t since x/1 last 1\nsubscribed 2 t e/5 lost\ngap 2 t 1 to 4 reset\nmessage 2 t e/5 e"
    ));
    holds(&format!("{live}{five}message 2 t e/4 d\nsubscribe 2 t\nsubscribed 2 t e/5\nmessage 2 t e/5 e"));
    breaks(NoGap, &format!("{live}{five}message 2 t e/5 e"));
    breaks(NoGap, &format!("{live}{five}gap 2 t 5 to 5 slow"));
    breaks(NoGap, &format!("{live}{five}message 2 t f/4 d"));
    breaks(NoGap, &format!("{live}{five}gap 2 t 4 to 4 reset\nmessage 2 t e/5 e"));
    // What was given up after the answer is told with what was missing before it, if it was given up indeed.
    let late = "subscribe 2 t since x/1\nsubscribed 2 t e/3 lost\ngap 2 t 1 to 4 reset\n";
    holds(&format!("{late}publish 4 by 1 u d\nacked 4 f/4\n").replace(" t ", " u ").replace("e/3", "f/3"));
    breaks(Acked, &format!("publish 4 by 1 t d\n{late}acked 4 e/4"));
    // What was to be replayed starts too late, or was never recoverable.
    breaks(NoGap, "subscribe 2 t since e/1\nsubscribed 2 t e/3 recovered\nmessage 2 t e/3 c");
    breaks(NoGap, "subscribe 2 t last 3\nsubscribed 2 t e/3\nmessage 2 t e/2 b");
    breaks(NoGap, "subscribe 2 t since e/9\nsubscribed 2 t e/3 recovered");
    breaks(NoGap, "subscribe 2 t since x/3\nsubscribed 2 t e/3 recovered");
    breaks(NoGap, &format!("{five}subscribe 2 t since e/1\nsubscribed 2 t e/5 recovered"));
    breaks(NoGap, "subscribe 2 t since e/3\nsubscribed 2 t e/3");
    // The gap that is due does not come, or says something else.
    breaks(NoGap, &format!("{five}subscribe 2 t since e/1 last 3\nsubscribed 2 t e/5 lost\nmessage 2 t e/3 c"));
    breaks(NoGap, &format!("{five}subscribe 2 t since e/1\nsubscribed 2 t e/5 lost\ngap 2 t 2 to 4 expired"));
    breaks(NoGap, &format!("{five}subscribe 2 t since e/1\nsubscribed 2 t e/5 lost\ngap 2 t 2 to 5 reset"));
    // A client that goes on from later than it was.
    breaks(
        NoGap,
        "subscribe 2 t since e/1\nsubscribed 2 t e/3 recovered\ndisconnect 2\nconnect 4 client 2 node n\nsubscribe 4 t since e/2",
    );
}

#[test]
fn what_a_library_goes_on_with_follows_what_its_program_has_seen() {
    let begun =
        "resumed 2 t e/3\npublish 4 by 1 t d\nacked 4 e/4\nmessage 2 t e/4 d\ndisconnect 2\nconnect 3 client 2 node n\n
        publish 5 by 1 t e\nacked 5 e/5\n";
    holds(&format!("{begun}resumed 3 t e/5 recovered\nmessage 3 t e/5 e\nended"));
    // It may be told long after others knew more.
    holds(&format!("{begun}resumed 3 t e/4 recovered\nmessage 3 t e/5 e\nended"));
    breaks(NoDouble, &format!("{begun}resumed 3 t e/5 recovered\nmessage 3 t e/4 d"));
    breaks(NoGap, &format!("{begun}publish 6 by 1 t f\nacked 6 e/6\nresumed 3 t e/6 recovered\nmessage 3 t e/6 f"));
    breaks(Acked, &format!("{begun}resumed 3 t e/5 lost\ngap 3 t 5 to 5 expired"));
    breaks(Liveness, &format!("{begun}healed 50\nended"));
}

#[test]
fn nothing_is_invented_or_altered() {
    holds("subscribe 2 t last 1\nsubscribed 2 t e/3\nmessage 2 t e/3 c");
    breaks(NoInvention, "subscribe 2 t\nsubscribed 2 t e/3\nmessage 2 t e/4 x");
    breaks(NoInvention, "subscribe 2 t\nsubscribed 2 t e/3\nmessage 2 t e/4 x\npublish 4 by 1 t x\nacked 4 e/4");
    breaks(NoInvention, "subscribe 2 u\nsubscribed 2 u f/0\nmessage 2 u f/1 a");
    breaks(NoInvention, "subscribe 2 t last 3\nsubscribed 2 t e/3\nmessage 2 t e/0 a");
    // What another broker was given is not there.
    breaks(NoInvention, &format!("{RESTART} subscribe 3 t last 3\nsubscribed 3 t f/1\nmessage 3 t f/1 a"));
}

#[test]
fn a_key_takes_effect_once() {
    let again = |answer: &str| format!("publish 4 by 2 t c key kc\n{answer}");
    holds(&again("duplicate 4 e/3"));
    holds(&again("lost 4"));
    holds("publish 4 by 2 t x key kc\nrefused 4 key_reused");
    holds(&format!("wait 2000\n{}", again("acked 4 e/4")));
    holds("publish 4 by 2 u c key kc\nacked 4 f/1");
    holds(&format!("{RESTART} publish 4 by 3 t c key kc\nacked 4 f/1"));
    breaks(Once, &again("acked 4 e/4"));
    breaks(Once, &again("duplicate 4 e/2"));
    breaks(Once, &again("acked 4 e/3"));
    breaks(Once, "publish 4 by 2 t x key kc\nacked 4 e/4");
    breaks(Once, "publish 4 by 2 t x key kx\nduplicate 4 e/4");
    breaks(Once, "publish 4 by 2 t x key kx\nrefused 4 key_reused");
    breaks(Once, "publish 4 by 2 t x\nduplicate 4 e/4");
    // Two that were lost and are both there.
    breaks(
        Once,
        "subscribe 2 t\nsubscribed 2 t e/3\npublish 4 by 1 t d key k\nlost 4\npublish 5 by 1 t d key k\nlost 5
        message 2 t e/4 d\nmessage 2 t e/5 d",
    );
}

#[test]
fn no_session_gets_anything_twice() {
    let live = "subscribe 2 t last 3\nsubscribed 2 t e/3\nmessage 2 t e/1 a\nmessage 2 t e/2 b\n";
    holds(&format!("{live}message 2 t e/3 c"));
    holds(&format!(
        "{live}unsubscribe 2 t\nmessage 2 t e/3 c\nunsubscribed 2 t\nsubscribe 2 t last 3\nsubscribed 2 t e/3\nmessage 2 t e/1 a"
    ));
    breaks(NoDouble, &format!("{live}message 2 t e/2 b"));
    breaks(NoDouble, &format!("{live}gap 2 t 2 to 2 slow"));
    breaks(NoDouble, &format!("{live}unsubscribe 2 t\nunsubscribed 2 t\nmessage 2 t e/3 c"));
    breaks(NoDouble, &format!("{live}disconnect 2\nmessage 2 t e/3 c"));
    breaks(NoDouble, "subscribe 2 t since e/2\nsubscribed 2 t e/3 recovered\nmessage 2 t e/2 b");
    breaks(NoDouble, "subscribed 2 t e/3");
    breaks(NoDouble, &format!("{live}disconnect 2\nconnect 4 client 2 node n\nsubscribe 4 t since e/1"));
}

#[test]
fn in_the_end_everybody_is_back_and_has_everything() {
    let live = "subscribe 2 t last 1\nsubscribed 2 t e/3\n";
    holds(&format!("{live}healed 50\nmessage 2 t e/3 c\nended"));
    holds(&format!("{live}unsubscribe 2 t\nhealed 50\nended"));
    breaks(Liveness, &format!("{live}healed 50\nended"));
    breaks(Liveness, &format!("{live}healed 50\nwait 60\nmessage 2 t e/3 c\nended"));
    breaks(Liveness, &format!("{live}message 2 t e/3 c\nhealed 50\ndisconnect 2\nended"));
    breaks(Liveness, "healed 50\nsubscribe 2 t\nended");
    breaks(Liveness, "publish 4 by 1 t d key k\nlost 4\nhealed 50\nended");
    breaks(Liveness, "disconnect 2\nhealed 50\nconnect 3 client 2 node m\nended");
    breaks(Liveness, "disconnect 2\nhealed 50\nwait 60\nconnect 3 client 2 node n\nended");
}

#[test]
fn in_the_end_nothing_is_held() {
    holds("gauge sessions 0\ngauge subscriptions 0");
    breaks(Balance, "gauge sessions 1\ngauge subscriptions 0");
    breaks(Balance, "gauge sessions 0\ngauge outbox_bytes 40");
}
