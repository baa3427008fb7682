//! Raw endpoints: sockets whose messages are a plugin's, without any envelope.

use futures_util::{SinkExt as _, StreamExt as _};
use rialto::Codec;
use rialto::config::Endpoint;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::plugin_hooks::puppet::{running, steps, subscribed};
use crate::support::{Running, get, within};

pub(crate) type Socket = WebSocketStream<TcpStream>;

fn with_endpoints() -> Running {
    running(|settings, _| {
        for path in ["/", "/feed", "/closed"] {
            settings.endpoints.push(Endpoint { path: path.to_owned(), plugin: "puppet".to_owned() });
        }
    })
}

pub(crate) async fn connect(running: &Running, path: &str) -> Socket {
    let stream = within("a connection", TcpStream::connect(running.address)).await.unwrap();
    let (socket, response) = client_async(format!("ws://{}{path}", running.address), stream).await.unwrap();
    assert!(response.headers().get("sec-websocket-protocol").is_none());
    socket
}

pub(crate) async fn next(socket: &mut Socket) -> Message {
    within("a message", socket.next()).await.unwrap().unwrap()
}

pub(crate) async fn say(socket: &mut Socket, message: impl Into<Message>) {
    socket.send(message.into()).await.unwrap();
}

#[tokio::test]
async fn messages_go_to_the_plugin_and_what_it_sends_comes_back_bare() {
    let running = with_endpoints();
    let mut socket = connect(&running, "/feed").await;
    assert_eq!(next(&mut socket).await, Message::text("hello at /feed"));
    say(&mut socket, Message::binary(vec![0, 1, 255])).await;
    assert_eq!(next(&mut socket).await, Message::binary(vec![0, 1, 255]));
    say(&mut socket, Message::text("join p.a")).await;
    say(&mut socket, Message::text(r#"[{"publish": ["p.a", {"hello": "ü"}]}]"#)).await;
    assert_eq!(next(&mut socket).await, Message::text(r#"{"hello":"ü"}"#), "a message of a topic is its payload");

    let mut client = subscribed(&running, Codec::MessagePack, "p.a").await;
    client.publish("p.a", json!([1, 2])).await;
    assert_eq!(next(&mut socket).await, Message::text("[1,2]"), "whatever codec it came in");
    let mut other = running.client(Codec::Json).await;
    other.ok(json!({"type": "publish", "topic": "p.a", "bytes": "AP8="})).await;
    assert_eq!(next(&mut socket).await, Message::binary(vec![0, 255]));
    assert_eq!(client.ok(steps(json!([{"count": "p.a"}]))).await["data"], json!([2]));
}

#[tokio::test]
async fn the_plugin_hears_of_the_end_and_of_the_topics_left() {
    let running = with_endpoints();
    let mut ended = subscribed(&running, Codec::Json, "p.ended").await;
    let mut left = subscribed(&running, Codec::Json, "p.left").await;
    let mut socket = connect(&running, "/").await;
    next(&mut socket).await;
    say(&mut socket, Message::text("join p.a")).await;
    say(&mut socket, Message::binary(vec![1])).await;
    next(&mut socket).await;
    drop(socket);
    assert_eq!(ended.message().await["data"]["endpoint"], "/");
    assert_eq!(left.message().await["data"]["topic"], "p.a");
    let read = left.ok(steps(json!([{"count": "p.a"}]))).await;
    assert_eq!(read["data"], json!([0]));
}

#[tokio::test]
async fn who_is_refused_is_closed_with_the_reason() {
    let running = with_endpoints();
    let mut socket = connect(&running, "/closed").await;
    say(&mut socket, Message::text(r#"[{"publish": ["p.a", "never"]}]"#)).await;
    let Message::Close(Some(close)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "nobody comes in here"));
    assert!(running.broker.topic("p.a").is_none_or(|status| status.position.offset == 0), "nothing is heard of it");
    assert_eq!(running.broker.plugins()[0].failures, 0);
}

#[tokio::test]
async fn the_page_is_still_served_at_the_path_of_an_endpoint() {
    let running = with_endpoints();
    let page = get(running.address, "/").await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn a_session_that_speaks_faster_than_its_plugin_hears_loses_nothing() {
    let running = running(|settings, plugin| {
        plugin.mailbox = 2;
        settings.endpoints.push(Endpoint { path: "/".to_owned(), plugin: "puppet".to_owned() });
    });
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = connect(&running, "/").await;
        next(&mut socket).await;
        sockets.push(socket);
    }
    for number in 0..500_u16 {
        for socket in &mut sockets {
            socket.feed(Message::binary(number.to_be_bytes().to_vec())).await.unwrap();
        }
    }
    for socket in &mut sockets {
        socket.flush().await.unwrap();
        for number in 0..500_u16 {
            assert_eq!(next(socket).await, Message::binary(number.to_be_bytes().to_vec()));
        }
    }
}
