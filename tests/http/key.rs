//! Authentication and authorization of the HTTP API: no access without a key, each key for its operations and topics,
//! and no page of another origin.

use rialto::ApiOperation;
use rialto::topic::Pattern;
use serde_json::json;

use crate::http::{KEY, api_key, settle, start, start_with};
use crate::support::{Program, Running, get, http};

#[tokio::test]
async fn without_keys_in_the_configuration_the_api_does_not_exist() {
    let running = Running::with(|config| {
        settle(config);
        config.api = None;
    });
    assert_eq!(get(running.address, "/api/v1/openapi.json").await.status, 404);
    let program = Program { address: running.address, key: KEY.to_owned() };
    // Other paths do not allow a body.
    assert_eq!(program.send("publish", "application/json", "{}").await.status, 400);
    assert_eq!(program.send("publish", "application/json", "").await.status, 404);
}

#[tokio::test]
async fn a_request_without_a_valid_api_key_is_rejected_before_its_body_is_read() {
    let (running, program) = start();
    let nobody = Program { key: "rialto_anotherkey".to_owned(), ..program.clone() };
    let answered = nobody.send("publish", "application/json", r#"{"topic":"a","data":1}"#).await;
    assert_eq!((answered.status, answered.header("www-authenticate")), (401, Some("Bearer")));
    assert!(answered.body.starts_with(r#"{"code":"unauthorized","#), "{}", answered.body);
    let head = format!("POST /api/v1/publish HTTP/1.1\r\nHost: {}\r\nContent-Length: 9\r\n\r\n", running.address);
    assert_eq!(http(running.address, &head).await.status, 401);
    assert_eq!(running.broker.metrics().messages_published_total, 0);
    program.ok("publish", json!({"topic": "a", "data": 1})).await;
}

#[tokio::test]
async fn an_api_key_may_use_only_its_operations_and_topics() {
    let (running, program) = start_with(|config| {
        let mut narrow = api_key("narrow", "rialto_narrow");
        narrow.allow = vec![ApiOperation::Publish, ApiOperation::Broadcast, ApiOperation::Topics, ApiOperation::Call];
        narrow.topics = vec![Pattern::parse("chat.*").unwrap()];
        config.api.as_mut().unwrap().keys.push(narrow);
    });
    let narrow = Program { key: "rialto_narrow".to_owned(), ..program.clone() };
    narrow.ok("publish", json!({"topic": "chat.a", "data": 1})).await;
    for (operation, body) in [
        ("publish", json!({"topic": "news", "data": 1})),
        ("publish", json!({"topic": "chat.a.b", "data": 1})),
        ("publish", json!({"topic": "$a", "data": 1})),
        ("history", json!({"topic": "chat.a"})),
        ("disconnect", json!({"session": "a"})),
        ("revoke", json!({"user": "a"})),
        ("call", json!({"plugin": "chat", "method": "members"})),
    ] {
        let (status, response) = narrow.ask(operation, &body).await;
        assert_eq!((status, &response["code"]), (403, &json!("forbidden")), "{operation} {body}: {response}");
    }
    program.ok("publish", json!({"topic": "news", "data": 1})).await;
    let response = narrow.ok("broadcast", json!({"topics": ["news", "chat.a"], "data": 2})).await;
    assert_eq!(
        (&response["topics"][0]["error"]["code"], &response["topics"][1]["position"]["offset"]),
        (&json!("forbidden"), &json!(2))
    );
    let listed = narrow.ok("topics", json!({})).await;
    assert_eq!(listed["topics"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(running.broker.topic("news").unwrap().position.offset, 1);
}

#[tokio::test]
async fn pages_of_other_origins_may_neither_use_nor_read_the_api() {
    let (running, program) =
        start_with(|config| config.server.allowed_origins = vec!["https://app.example".to_owned()]);
    let address = running.address;
    for (origin, status) in [
        ("https://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
        ("https://app.example".to_owned(), 200),
        (format!("http://{address}"), 200),
    ] {
        let body = r#"{"topic":"a","data":1}"#;
        let request = format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            program.key,
            body.len()
        );
        let answered = http(address, &request).await;
        assert_eq!(answered.status, status, "{origin}");
        assert_eq!(answered.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn idempotency_keys_are_separate_for_each_api_key() {
    let (running, program) = start_with(|config| {
        config.api.as_mut().unwrap().keys.push(api_key("other", "rialto_other"));
    });
    let other = Program { key: "rialto_other".to_owned(), ..program.clone() };
    let mut client = running.client(rialto::Codec::Json).await;
    client.ok(json!({"type": "publish", "topic": "a", "data": "mine", "key": "k"})).await;
    for (offset, who) in [(2, &program), (3, &other)] {
        let response = who.ok("publish", json!({"topic": "a", "data": offset, "key": "k"})).await;
        assert_eq!(response["position"]["offset"], offset);
        let again = who.ok("publish", json!({"topic": "a", "data": offset, "key": "k"})).await;
        assert_eq!((&again["position"], &again["duplicate"]), (&response["position"], &json!(true)));
        let (status, response) = who.ask("publish", &json!({"topic": "a", "data": "else", "key": "k"})).await;
        assert_eq!((status, &response["code"]), (409, &json!("key_reused")));
    }
}
