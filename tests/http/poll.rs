//! Long poll: responds at once with missed messages, else with those that arrive in time; no gap between two polls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rialto::config::History;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http::{start, start_with};
use crate::support::{eventually, get, within};

async fn poll(address: SocketAddr, query: &str) -> Value {
    let answered = get(address, &format!("/poll?{query}")).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    serde_json::from_str(&answered.body).unwrap()
}

fn since(response: &Value) -> String {
    format!("since={}:{}", response["position"]["epoch"].as_str().unwrap(), response["position"]["offset"])
}

fn data(response: &Value) -> Vec<Value> {
    response["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}

#[tokio::test]
async fn consecutive_polls_receive_each_message_once() {
    let (running, program) = start();
    let address = running.address;
    let publish = async {
        for number in 0..200 {
            program.ok("publish", json!({"topic": "a", "data": number})).await;
        }
    };
    let follow = async {
        let mut response = poll(address, "topic=a&wait_ms=0&last=300").await;
        let mut seen = data(&response);
        while seen.len() < 200 {
            response = poll(address, &format!("topic=a&{}", since(&response))).await;
            assert_eq!(response["recovered"], true, "{response}");
            seen.extend(data(&response));
        }
        seen
    };
    let ((), seen) = tokio::join!(publish, follow);
    assert_eq!(seen, (0..200).map(Value::from).collect::<Vec<_>>());
    running.becomes_empty().await;
}

#[tokio::test]
async fn a_poll_waits_for_the_first_message_up_to_wait_ms() {
    let (running, program) = start_with(|config| {
        config.limits.header_ms = 200;
        config.limits.write_ms = 200;
    });
    let address = running.address;
    let begun = Instant::now();
    let nothing = poll(address, "topic=a&wait_ms=300").await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!((data(&nothing), &nothing["position"]["offset"]), (vec![], &json!(0)));
    running.becomes_empty().await;
    let waits = poll(address, "topic=a");
    let comes = async {
        eventually("the poll has subscribed", || running.broker.metrics().subscriptions == 1).await;
        program.ok("publish", json!({"topic": "a", "data": "now"})).await;
    };
    let (response, ()) = tokio::join!(waits, comes);
    assert_eq!((data(&response), &response["position"]["offset"]), (vec![json!("now")], &json!(1)));
}

#[tokio::test]
async fn a_poll_that_missed_more_than_a_page_reports_more() {
    let (running, program) = start();
    let topics = json!({"topics": vec!["a"; 700], "data": "x"});
    program.ok("broadcast", topics).await;
    let mut response = poll(running.address, "topic=a&last=700").await;
    let mut pages = vec![(response["messages"].as_array().unwrap().len(), response["more"].clone())];
    while response["more"] == true {
        response = poll(running.address, &format!("topic=a&{}", since(&response))).await;
        pages.push((response["messages"].as_array().unwrap().len(), response["more"].clone()));
    }
    assert_eq!(pages, [(300, json!(true)), (300, json!(true)), (100, json!(false))]);
    assert_eq!(response["position"]["offset"], 700);
}

#[tokio::test]
async fn a_poll_reports_gaps() {
    let (running, program) = start_with(|config| {
        config.topics[0].history = Some(History { messages: 2, ..History::default() });
    });
    let first = poll(running.address, "topic=a&wait_ms=0").await;
    for number in 1..=5 {
        program.ok("publish", json!({"topic": "a", "data": number})).await;
    }
    let response = poll(running.address, &format!("topic=a&{}&last=10", since(&first))).await;
    assert_eq!((data(&response), &response["recovered"]), (vec![json!(4), json!(5)], &json!(false)));
    let gap = &response["gaps"][0];
    assert_eq!((&gap["from"], &gap["to"], &gap["reason"]), (&json!(1), &json!(3), &json!("expired")));
    let response = poll(running.address, "topic=a&since=other:5").await;
    assert_eq!(
        (data(&response), &response["recovered"], &response["gaps"][0]["reason"]),
        (vec![], &json!(false), &json!("reset"))
    );
    assert_eq!(response["position"]["offset"], 5);
    let response = poll(running.address, "topic=new&since=other:5").await;
    assert_eq!((data(&response), &response["recovered"]), (vec![], &json!(false)), "at once: the position is another");
}

#[tokio::test]
async fn a_poll_of_a_topic_without_history_reports_gaps() {
    let (running, program) = start_with(|config| config.topics[0].history = None);
    let address = running.address;
    let response = poll(address, "topic=a&last=5&wait_ms=0").await;
    running.becomes_empty().await;
    let waits = async { poll(address, &format!("topic=a&{}", since(&response))).await };
    let comes = async {
        eventually("the poll has subscribed", || running.broker.metrics().subscriptions == 1).await;
        program.ok("publish", json!({"topic": "a", "data": 1})).await;
    };
    let (response, ()) = tokio::join!(waits, comes);
    assert_eq!((data(&response), &response["recovered"]), (vec![json!(1)], &json!(true)));
    program.ok("publish", json!({"topic": "a", "data": 2})).await;
    let response = poll(address, &format!("topic=a&{}", since(&response))).await;
    assert_eq!((&response["recovered"], &response["gaps"][0]["to"]), (&json!(false), &json!(2)));
}

#[tokio::test]
async fn a_disconnect_during_a_poll_ends_its_session() {
    let (running, _) = start();
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(b"GET /poll?topic=a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("the poll has subscribed", || running.broker.metrics().subscriptions == 1).await;
    drop(socket);
    within("the end", running.becomes_empty()).await;
}
