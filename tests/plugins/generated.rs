//! Plugins made by chance: modules for the world whose hooks do anything at all, each time the same for a seed. Whatever they
//! do ends in an answer or a named error.

use rialto::{Broker, ErrorCode, Failure, Payload};

use crate::plugins::hosted::start_with;
use crate::support::component::{module, source};
use crate::support::dice::Dice;

const SEEDS: u64 = 120;

/// Publishes and calls of each plugin.
const ROUNDS: usize = 3;

/// The functions that a plugin can import: interface, name, parameters as the component model lowers them, result.
const IMPORTS: [(&str, &str, &str, &str); 18] = [
    ("messages", "publish", "i32 i32 i32 i32 i32 i32 i32 i32 i32", ""),
    ("messages", "send", "i32 i32 i32 i32 i32 i32", ""),
    ("messages", "send-raw", "i32 i32 i32 i32 i32 i32", ""),
    ("sessions", "members", "i32 i32 i32 i32 i32 i32 i32", ""),
    ("sessions", "count", "i32 i32 i32", ""),
    ("sessions", "subscribe", "i32 i32 i32 i32 i32", ""),
    ("sessions", "unsubscribe", "i32 i32 i32 i32 i32", ""),
    ("sessions", "disconnect", "i32 i32 i32 i32 i32", ""),
    ("timers", "set-timer", "i32 i32 i64 i32 i32 i32 i32 i32", ""),
    ("timers", "cancel-timer", "i32 i32 i32", ""),
    ("timers", "due", "i32 i32 i32", ""),
    ("state", "get", "i32 i32 i32", ""),
    ("state", "put", "i32 i32 i32 i32 i32", ""),
    ("state", "delete", "i32 i32 i32", ""),
    ("state", "scan", "i32 i32 i32 i32 i32 i32 i32", ""),
    ("system", "log", "i32 i32 i32", ""),
    ("system", "now", "", "(result i64)"),
    ("system", "random", "", "(result i64)"),
];

/// What the numbers that are often taken for addresses lead to.
const DATA: &str = r#"(data (i32.const 1024) "hostile.a\00open\00\00\00{\22a\22:1}\ff\fe")"#;

/// A module with all the exports of a plugin, whose functions are made by chance.
fn plugin(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed, 0);
    let imports: String = IMPORTS.iter().enumerate().map(import).collect();
    let agreeing = source("empty");
    let mut parts = agreeing.split("(i32.const 0))");
    let mut text = parts.next().unwrap().replacen("(module", &format!("(module\n{imports}\n{DATA}"), 1);
    for (place, part) in parts.enumerate() {
        // The first is `start`: most plugins get beyond it.
        let is_harmless = place == 0 && dice.percent(85);
        let body = if is_harmless { String::new() } else { body(&mut dice, 3) };
        // Nothing but zeros is there, which mean "ok", if nothing has written over them.
        let result = if is_harmless || dice.percent(50) { 8_192 } else { number(&mut dice) };
        text.push_str(&format!("{body} (i32.const {result}))"));
        text.push_str(part);
    }
    // What the host brings lies where nothing else does, if the plugin is so kind.
    let room = if dice.percent(70) { 4_096 } else { number(&mut dice) };
    module(&text.replacen("(i32.const 1024)))", &format!("(i32.const {room})))"), 1))
}

fn import((index, (interface, name, params, result)): (usize, &(&str, &str, &str, &str))) -> String {
    format!("(import \"rialto:plugin/{interface}@1.0.0\" \"{name}\" (func $i{index} (param {params}) {result}))\n")
}

/// Some statements that leave nothing behind.
fn body(dice: &mut Dice, depth: u64) -> String {
    (0..dice.below(4)).map(|_| statement(dice, depth)).collect()
}

fn statement(dice: &mut Dice, depth: u64) -> String {
    let [a, b] = [number(dice), number(dice)];
    match dice.below(100) {
        0..50 => call(dice),
        50..65 => format!("(i32.store (i32.const {a}) (i32.const {b}))"),
        65..75 => format!("(drop (i32.load (i32.const {a})))"),
        75..80 => format!("(drop (memory.grow (i32.const {a})))"),
        80..83 => format!("(drop (i32.div_s (i32.const {a}) (i32.const {b})))"),
        83..85 => "(unreachable)".to_owned(),
        85..86 => "(loop $again (br $again))".to_owned(),
        86..89 => format!("(memory.fill (i32.const {a}) (i32.const 65) (i32.const {b}))"),
        _ if depth > 0 => {
            let (one, other) = (body(dice, depth - 1), body(dice, depth - 1));
            format!("(if (i32.load8_u (local.get 0)) (then {one}) (else {other}))")
        }
        _ => String::new(),
    }
}

fn call(dice: &mut Dice) -> String {
    let (index, (_, _, params, result)) = dice.pick(&IMPORTS.iter().enumerate().collect::<Vec<_>>()).to_owned();
    let arguments: String = params.split_whitespace().map(|kind| format!("({kind}.const {}) ", number(dice))).collect();
    let call = format!("(call $i{index} {arguments})");
    if result.is_empty() { call } else { format!("(drop {call})") }
}

/// A number that is an address, a length, a tag or nothing good.
fn number(dice: &mut Dice) -> i64 {
    match dice.below(10) {
        0..3 => dice.below(3) as i64,
        3..5 => *dice.pick(&[9, 4, 7, 64]),
        5..7 => *dice.pick(&[1_024, 1_034, 1_040, 4_096]),
        7 => *dice.pick(&[-1, 131_071, 131_072, 65_535, i64::from(i32::MAX), i64::from(i32::MIN)]),
        _ => dice.below(131_072) as i64,
    }
}

#[tokio::test]
async fn whatever_a_plugin_does_ends_in_an_answer_or_a_named_error() {
    let (mut refused, mut answered, mut failed) = (0, 0, 0);
    for seed in 0..SEEDS {
        let broker = match start_with(&plugin(seed), |_, _| {}, None) {
            Ok(broker) => broker,
            Err(text) => {
                assert!(text.starts_with("plugin \"hostile\" ("), "seed {seed}: {text}");
                assert!(!text.contains("the host panicked"), "seed {seed}: {text}");
                refused += 1;
                continue;
            }
        };
        for _ in 0..ROUNDS {
            for outcome in [publish(&broker, "hostile.a").await, ask(&broker).await] {
                match outcome {
                    Ok(()) => answered += 1,
                    Err(failure) => {
                        let named = matches!(failure.code, ErrorCode::PluginFailed | ErrorCode::Rejected);
                        assert!(named && !failure.message.contains("the host panicked"), "seed {seed}: {failure:?}");
                        failed += 1;
                    }
                }
            }
            assert_eq!(publish(&broker, "open").await, Ok(()), "seed {seed}: others are served");
        }
        let told = broker.plugins()[0].last_failure.as_ref().map(|failure| failure.text.clone()).unwrap_or_default();
        assert!(!told.contains("the host panicked"), "seed {seed}: {told}");
        broker.shutdown(std::time::Duration::ZERO).await;
    }
    let kinds = format!("{refused} did not start; of the others {answered} requests were answered, {failed} failed");
    assert!(refused > 10 && answered > 50 && failed > 50, "chance has made plugins of every kind: {kinds}");
}

async fn publish(broker: &Broker, topic: &str) -> Result<(), Failure> {
    broker.publish(topic, Payload::json("x").unwrap()).await.map(|_| ())
}

async fn ask(broker: &Broker) -> Result<(), Failure> {
    broker.call("hostile.a", "m", Some(Payload::json("x").unwrap())).await.map(|_| ())
}
