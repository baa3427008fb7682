//! Logs written as text, a fact a line, so that a test shows what it is about.
#![allow(dead_code, reason = "each test program uses a part of this")]

pub(crate) mod world;

use rialto_checker::{Event, Fact, Position, Reason};

/// The hash of a payload: its letters.
pub(crate) fn payload(word: &str) -> u64 {
    word.bytes().fold(0, |hash, byte| (hash << 8) | u64::from(byte))
}

pub(crate) fn position(text: &str) -> Position {
    let (epoch, offset) = text.split_once('/').unwrap();
    Position { epoch: epoch.to_owned(), offset: offset.parse().unwrap() }
}

/// Reads a log. Each line takes a millisecond; `wait 500` takes that many more.
pub(crate) fn log(text: &str) -> Vec<Event> {
    let mut now = 0;
    let mut events = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        now += 1;
        if let ["wait", more] = words[..] {
            now += more.parse::<u64>().unwrap();
            continue;
        }
        events.push(Event { at_ms: now, fact: fact(&words) });
    }
    events
}

fn fact(words: &[&str]) -> Fact {
    let number = |word: &str| word.parse::<u64>().unwrap();
    let text = |word: &str| word.to_owned();
    match *words {
        ["topic", topic, "keeps", keeps, "keys", ms] => {
            Fact::Topic { topic: text(topic), keeps: number(keeps), keys_ms: number(ms) }
        }
        ["start"] => Fact::Started,
        ["kill"] => Fact::Killed,
        ["connect", session, "client", client, "node", node] => {
            Fact::Connected { session: number(session), client: number(client), node: text(node) }
        }
        ["disconnect", session] => Fact::Disconnected { session: number(session) },
        ["publish", attempt, "by", session, topic, word, ref key @ ..] => Fact::Publishing {
            attempt: number(attempt),
            session: number(session),
            topic: text(topic),
            key: key.get(1).map(|key| text(key)),
            payload: payload(word),
        },
        [word @ ("acked" | "duplicate"), attempt, at] => {
            Fact::Published { attempt: number(attempt), position: position(at), duplicate: word == "duplicate" }
        }
        ["refused", attempt, code] => Fact::Refused { attempt: number(attempt), code: text(code) },
        ["lost", attempt] => Fact::Lost { attempt: number(attempt) },
        ["subscribe", session, topic, ref options @ ..] => {
            let option = |name: &str| options.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
            let (since, last) = (option("since").map(position), option("last").map(number));
            Fact::Subscribing { session: number(session), topic: text(topic), since, last }
        }
        ["subscribed", session, topic, at, ref recovered @ ..] => Fact::Subscribed {
            session: number(session),
            topic: text(topic),
            position: position(at),
            recovered: recovered.first().map(|word| *word == "recovered"),
        },
        ["resumed", session, topic, at, ref recovered @ ..] => Fact::Resumed {
            session: number(session),
            topic: text(topic),
            position: position(at),
            recovered: recovered.first().map(|word| *word == "recovered"),
        },
        ["unsubscribe", session, topic] => Fact::Unsubscribing { session: number(session), topic: text(topic) },
        ["unsubscribed", session, topic] => Fact::Unsubscribed { session: number(session), topic: text(topic) },
        ["message", session, topic, at, word] => Fact::Delivered {
            session: number(session),
            topic: text(topic),
            position: position(at),
            payload: payload(word),
        },
        ["gap", session, topic, from, "to", to, reason] => Fact::Gap {
            session: number(session),
            topic: text(topic),
            from: number(from),
            to: number(to),
            reason: why(reason),
        },
        ["healed", within_ms] => Fact::Healed { within_ms: number(within_ms) },
        ["ended"] => Fact::Ended,
        ["gauge", name, value] => Fact::Gauge { name: text(name), value: number(value) },
        _ => panic!("no fact: {words:?}"),
    }
}

fn why(word: &str) -> Reason {
    match word {
        "expired" => Reason::Expired,
        "reset" => Reason::Reset,
        "slow" => Reason::Slow,
        "conflated" => Reason::Conflated,
        _ => panic!("no reason: {word}"),
    }
}
