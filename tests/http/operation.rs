//! The operations of the HTTP API, in both codecs.

use rialto::Codec;
use serde_json::json;
use tokio::net::TcpStream;

use crate::http::{start, start_with};
use crate::support::events::Stream;
use crate::support::{all_bytes_answered, decode, encode};

#[tokio::test]
async fn a_message_of_a_program_reaches_every_session_and_the_history() {
    let (running, program) = start();
    let mut clients = [running.client(Codec::Json).await, running.client(Codec::MessagePack).await];
    for client in &mut clients {
        client.subscribe("news").await;
    }
    let response = program.ok("publish", json!({"topic": "news", "data": {"a": [1, null]}})).await;
    for client in &mut clients {
        let message = client.message().await;
        assert_eq!((&message["data"], &message["offset"]), (&json!({"a": [1, null]}), &response["position"]["offset"]));
    }
    program.ok("publish", json!({"topic": "news", "bytes": "AAEC"})).await;
    assert_eq!(clients[0].message().await["bytes"], "AAEC");
    let past = program.ok("history", json!({"topic": "news", "limit": 1})).await;
    assert_eq!((&past["messages"][0]["bytes"], &past["more"]), (&json!("AAEC"), &json!(true)));
    let since = &response["position"];
    let past = program.ok("history", json!({"topic": "news", "since": since})).await;
    assert_eq!(past["messages"].as_array().unwrap().len(), 1, "{past}");
    let (status, response) =
        program.ask("history", &json!({"topic": "news", "since": {"epoch": "e", "offset": 1}})).await;
    assert_eq!((status, &response["code"]), (410, &json!("expired")));
}

#[tokio::test]
async fn a_messagepack_request_has_a_messagepack_response() {
    let (running, program) = start();
    for (body, status) in [(json!({"topic": "a", "bytes": {"$bin": "AAEC"}}), 200), (json!({"topic": "a"}), 400)] {
        let body = encode(Codec::MessagePack, &body);
        let head = format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/msgpack\r\nContent-Length: {}\r\n\r\n",
            running.address,
            program.key,
            body.len()
        );
        let stream = TcpStream::connect(running.address).await.unwrap();
        let answer = all_bytes_answered(stream, &[head.as_bytes(), &body].concat()).await;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\ncontent-type: application/msgpack\r\n"), "{head}");
        let response = decode(Codec::MessagePack, body);
        match status {
            200 => assert_eq!(response["position"]["offset"], 1),
            _ => assert_eq!(response["code"], "bad_request"),
        }
    }
    let past = program.ok("history", json!({"topic": "a"})).await;
    assert_eq!(past["messages"][0]["bytes"], "AAEC");
}

#[tokio::test]
async fn a_broadcast_returns_the_outcome_of_each_topic_and_is_idempotent() {
    let (_running, program) = start();
    let topics: Vec<String> = (0..1_000).map(|number| format!("room.{number}")).collect();
    let body = json!({"topics": topics, "data": "hello", "key": "k"});
    for duplicate in [json!(null), json!(true)] {
        let response = program.ok("broadcast", body.clone()).await;
        let outcomes = response["topics"].as_array().unwrap();
        assert_eq!(outcomes.len(), 1_000);
        for (topic, outcome) in topics.iter().zip(outcomes) {
            assert_eq!((&outcome["topic"], &outcome["position"]["offset"]), (&json!(topic), &json!(1)));
            assert_eq!(outcome["duplicate"], duplicate);
        }
    }
    let response = program.ok("broadcast", json!({"topics": ["a..b", "a"], "data": 1})).await;
    assert_eq!(response["topics"][0]["error"]["code"], "bad_request");
    assert_eq!(response["topics"][1]["position"]["offset"], 1);
    let (status, _) = program.ask("broadcast", &json!({"topics": vec!["a"; 1_001], "data": 1})).await;
    assert_eq!(status, 400);
    let (status, _) = program.ask("broadcast", &json!({"topics": ["a"], "data": 1, "key": ""})).await;
    assert_eq!(status, 400, "an error for all topics is returned once");
}

#[tokio::test]
async fn topics_are_listed_by_name_and_page_by_page() {
    let (running, program) = start();
    let mut client = running.client(Codec::Json).await;
    client.subscribe("b.2").await;
    for topic in ["b.3", "a", "b.1", "c"] {
        program.ok("publish", json!({"topic": topic, "data": 1})).await;
    }
    let names = |response: &serde_json::Value| -> Vec<String> {
        response["topics"].as_array().unwrap().iter().map(|line| line["topic"].as_str().unwrap().to_owned()).collect()
    };
    let (mut all, mut body) = (Vec::new(), json!({"limit": 2}));
    loop {
        let response = program.ok("topics", body.clone()).await;
        all.extend(names(&response));
        if response["more"] == false {
            break;
        }
        body["after"] = json!(all.last());
    }
    assert_eq!(all, ["a", "b.1", "b.2", "b.3", "c"]);
    let response = program.ok("topics", json!({"pattern": "b.*"})).await;
    assert_eq!(names(&response), ["b.1", "b.2", "b.3"]);
    let (one, two) = (&response["topics"][0], &response["topics"][1]);
    assert_eq!((&one["position"]["offset"], &one["subscribers"]), (&json!(1), &json!(0)));
    assert_eq!((&two["position"]["offset"], &two["subscribers"]), (&json!(0), &json!(1)));
    assert_eq!(program.ask("topics", &json!({"pattern": "b..*"})).await.0, 400);
    assert_eq!(program.ask("topics", &json!({"limit": 0})).await.0, 400);
}

#[tokio::test]
async fn a_session_is_disconnected_by_its_id_with_the_requested_code() {
    let (running, program) = start();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(running.client(Codec::Json).await);
    }
    for (code, expected) in [(json!(null), 4003), (json!(1013), 1013), (json!(4008), 4008)] {
        let mut client = clients.pop().unwrap();
        let mut body = json!({"session": client.welcome["session"]});
        if !code.is_null() {
            body["code"] = code;
        }
        assert_eq!(program.ok("disconnect", body.clone()).await["sessions"], 1);
        let closing = client.push().await;
        assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(expected)));
        assert_eq!(closing.get("retry_after_ms").is_some(), expected != 4003, "{closing}");
        assert_eq!(client.closed().await, Some(expected));
        assert_eq!(program.ok("disconnect", body).await["sessions"], 0);
    }
    clients[0].ping().await;
    for code in [0, 1002, 1006, 4000, 4004, 5000] {
        assert_eq!(program.ask("disconnect", &json!({"session": "a", "code": code})).await.0, 400, "{code}");
    }
    assert_eq!(program.ok("disconnect", json!({"user": "nobody"})).await["sessions"], 0);
}

#[tokio::test]
async fn all_sessions_of_a_user_are_disconnected_and_no_others() {
    use rialto::Codec::Json;

    let (running, program) = start();
    let mut there = Vec::new();
    for user in [Some("ada"), Some("ada"), Some("bob"), None] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        match user {
            Some(user) => running.serve_as(user, near, Json),
            None => running.serve(near, Json),
        };
        there.push(crate::support::Client::over(far, Json).await);
    }
    assert_eq!(program.ok("disconnect", json!({"user": "ada"})).await["sessions"], 2);
    for client in &mut there[..2] {
        assert_eq!(client.closed().await, Some(4003));
    }
    for client in &mut there[2..] {
        client.ping().await;
    }
}

#[tokio::test]
async fn programs_and_streams_see_presence() {
    let (running, program) = start_with(|config| config.limits.presence_grace_ms = 0);
    let mut stream = Stream::open(running.address, "topic=a&presence=true", None).await;
    let session = stream.event("welcome").await.data["session"].clone();
    let response = program.ok("presence", json!({"topic": "a"})).await;
    assert_eq!(response, json!({"count": 1, "members": [{"session": session, "user": null}]}));
    assert_eq!(stream.event("subscribed").await.data["count"], 1);
    let mut client = running.client(Codec::Json).await;
    client.subscribe("a").await;
    let member = json!({"session": client.welcome["session"], "user": null});
    assert_eq!(stream.event("join").await.data["member"], member);
    assert_eq!(program.ok("presence", json!({"topic": "a"})).await["count"], 2);
    client.close().await;
    assert_eq!(stream.event("leave").await.data["member"], member);
    assert_eq!(program.ok("presence", json!({"topic": "b"})).await, json!({"count": 0, "members": []}));
}
