//! A stream is resumed where it was: each message once and in order, or a gap.

use rialto::Codec;
use serde_json::json;

use crate::http::{KEY, settle, start, start_with};
use crate::support::events::Stream;
use crate::support::{Program, Running};

#[tokio::test]
async fn a_stream_that_is_resumed_often_receives_each_message_once_and_in_order() {
    let (running, program) = start();
    let topics = ["a", "b", "c"];
    let query = "topic=a&topic=b&topic=c&last=1000";
    let publish = async {
        for number in 0..300 {
            let topic = topics[number % 7 % topics.len()];
            program.ok("publish", json!({"topic": topic, "data": number})).await;
        }
        for topic in topics {
            program.ok("publish", json!({"topic": topic, "data": "end"})).await;
        }
    };
    let follow = async {
        let (mut seen, mut id, mut ended, mut streams) = ([0, 0, 0], String::new(), 0, 0);
        while ended < topics.len() {
            let mut stream = Stream::open(running.address, query, Some(&id)).await;
            streams += 1;
            // Disconnects after another number of messages each time, also before the first.
            for _ in 0..(streams * 5 % 13) {
                let message = stream.message().await;
                let place = topics.iter().position(|topic| message.data["topic"] == *topic).unwrap();
                seen[place] += 1;
                assert_eq!(message.data["offset"], seen[place], "{message:?}");
                id = message.id;
                ended += usize::from(message.data["data"] == "end");
                if ended == topics.len() {
                    break;
                }
            }
        }
        (seen, streams)
    };
    let ((), (seen, streams)) = tokio::join!(publish, follow);
    assert_eq!(seen.iter().sum::<u64>(), 303);
    assert!(streams > 10, "{streams}");
}

#[tokio::test]
async fn a_stream_is_resumed_from_the_id_before_its_first_message() {
    let (running, program) = start();
    program.ok("publish", json!({"topic": "a", "data": "before"})).await;
    let id = Stream::open(running.address, "topic=a", None).await.event("subscribed").await.id;
    program.ok("publish", json!({"topic": "a", "data": "meanwhile"})).await;
    let mut stream = Stream::open(running.address, &format!("topic=a&last_event_id={id}"), None).await;
    let subscribed = stream.event("subscribed").await;
    assert_eq!((&subscribed.data["recovered"], &subscribed.id), (&json!(true), &String::new()));
    assert_eq!(stream.message().await.data["data"], "meanwhile");
    // Disconnected before the first of the requested last messages: they are sent again.
    let id = Stream::open(running.address, "topic=a&last=2", None).await.event("subscribed").await.id;
    let mut stream = Stream::open(running.address, "topic=a&last=2", Some(&id)).await;
    assert_eq!(stream.message().await.data["data"], "before");
    assert_eq!(stream.message().await.data["data"], "meanwhile");
}

#[tokio::test]
async fn adding_or_removing_topics_keeps_the_positions_of_the_others() {
    let (running, program) = start();
    let mut stream = Stream::open(running.address, "topic=a&topic=b", None).await;
    for topic in ["a", "b"] {
        program.ok("publish", json!({"topic": topic, "data": 1})).await;
    }
    let id = [stream.message().await, stream.message().await].map(|message| message.id)[1].clone();
    drop(stream);
    for topic in ["a", "b", "c"] {
        program.ok("publish", json!({"topic": topic, "data": 2})).await;
    }
    let mut stream = Stream::open(running.address, "topic=c&topic=b", Some(&id)).await;
    let message = stream.message().await.data;
    assert_eq!((&message["topic"], &message["offset"]), (&json!("b"), &json!(2)));
    program.ok("publish", json!({"topic": "c", "data": 3})).await;
    let message = stream.message().await.data;
    assert_eq!((&message["topic"], &message["offset"]), (&json!("c"), &json!(2)));
}

#[tokio::test]
async fn trimmed_messages_and_a_new_epoch_are_reported() {
    let (running, program) = start_with(|config| {
        config.topics[0].history.as_mut().unwrap().messages = 2;
    });
    let mut stream = Stream::open(running.address, "topic=a", None).await;
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
    let id = stream.message().await.id;
    drop(stream);
    for number in 2..=5 {
        program.ok("publish", json!({"topic": "a", "data": number})).await;
    }
    let mut stream = Stream::open(running.address, "topic=a&last=2", Some(&id)).await;
    assert_eq!(stream.event("subscribed").await.data["recovered"], false);
    let gap = stream.next().await.unwrap();
    assert_eq!((&*gap.name, &gap.data["from"], &gap.data["to"]), ("gap", &json!(2), &json!(3)));
    assert_eq!(gap.data["reason"], "expired");
    for number in [4, 5] {
        assert_eq!(stream.message().await.data["data"], number);
    }
    // A client that has received the gap is not sent it again.
    let mut again = Stream::open(running.address, "topic=a", Some(&gap.id)).await;
    assert_eq!(again.message().await.data["data"], 4);

    let other = Running::with(settle);
    let program = Program { address: other.address, key: KEY.to_owned() };
    program.ok("publish", json!({"topic": "a", "data": "new"})).await;
    let mut stream = Stream::open(other.address, "topic=a&last=10", Some(&gap.id)).await;
    assert_eq!(stream.event("subscribed").await.data["recovered"], false);
    let mut next = stream.next().await.unwrap();
    if next.name == "gap" {
        assert_eq!(next.data["reason"], "reset");
        next = stream.next().await.unwrap();
    }
    assert_eq!((&*next.name, &next.data["data"]), ("message", &json!("new")));
}

#[tokio::test]
async fn a_stream_and_a_websocket_see_the_same_order() {
    let (running, program) = start();
    let mut client = running.client(Codec::MessagePack).await;
    client.subscribe("a").await;
    let mut stream = Stream::open(running.address, "topic=a", None).await;
    let publish = |who: u64| {
        let program = program.clone();
        async move {
            for number in 0..100 {
                program.ok("publish", json!({"topic": "a", "data": [who, number]})).await;
            }
        }
    };
    tokio::join!(publish(1), publish(2), publish(3));
    for offset in 1..=300 {
        let (one, two) = (stream.message().await.data, client.message().await);
        assert_eq!((&one["offset"], &one["data"]), (&json!(offset), &two["data"]));
    }
}

#[tokio::test]
async fn the_id_of_fifty_long_topics_fits_into_a_head() {
    let (running, program) = start();
    let topics: Vec<String> = (10..60).map(|number| format!("{}.{number}", "t".repeat(65))).collect();
    let query = topics.iter().map(|topic| format!("topic={topic}")).collect::<Vec<_>>().join("&");
    let mut stream = Stream::open(running.address, &query, None).await;
    let mut id = String::new();
    for topic in &topics {
        program.ok("publish", json!({"topic": topic, "data": 1})).await;
        id = stream.message().await.id;
    }
    drop(stream);
    for topic in &topics {
        program.ok("publish", json!({"topic": topic, "data": 2})).await;
    }
    // One message of each topic is missing, whatever their order.
    let mut stream = Stream::open(running.address, &query, Some(&id)).await;
    for _ in &topics {
        let message = stream.message().await.data;
        assert_eq!((&message["offset"], &message["data"]), (&json!(2), &json!(2)));
    }
}
