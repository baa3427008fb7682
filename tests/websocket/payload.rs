//! Payloads: what is published is what is delivered, in every combination of codecs.

use rialto::Codec;
use serde_json::{Value, json};

use crate::support::raw::{FIN, masked};
use crate::support::{Client, Running, encode};

/// A value of the depth: `[[[…]]]`.
fn nested(depth: usize) -> Value {
    (1..depth).fold(json!([]), |inner, _| json!([inner]))
}

/// One session of each codec that have both subscribed.
async fn pair(running: &Running) -> [Client; 2] {
    let mut pair = [running.client(Codec::Json).await, running.client(Codec::MessagePack).await];
    for client in &mut pair {
        client.subscribe("t").await;
    }
    pair
}

#[tokio::test]
async fn bytes_are_base64_in_json_and_bin_in_msgpack() {
    let running = Running::start();
    let [mut json_client, mut msgpack_client] = pair(&running).await;
    json_client.ok(json!({"type": "publish", "topic": "t", "bytes": "AP/BgA=="})).await;
    msgpack_client.ok(json!({"type": "publish", "topic": "t", "bytes": {"$bin": "AP/BgA=="}})).await;
    msgpack_client.ok(json!({"type": "publish", "topic": "t", "bytes": {"$bin": ""}})).await;
    for content in ["AP/BgA==", "AP/BgA==", ""] {
        let (text, bin) = (json_client.message().await, msgpack_client.message().await);
        assert_eq!((&text["bytes"], &bin["bytes"]), (&json!(content), &json!({"$bin": content})));
        assert!(text.get("data").is_none() && bin.get("data").is_none());
    }
}

#[tokio::test]
async fn a_bin_inside_data_is_base64_text_in_json() {
    let running = Running::start();
    let [mut json_client, mut msgpack_client] = pair(&running).await;
    let data = json!({"key": [{"$bin": "AAECAw=="}]});
    msgpack_client.publish("t", data.clone()).await;
    assert_eq!(msgpack_client.message().await["data"], data);
    assert_eq!(json_client.message().await["data"], json!({"key": ["AAECAw=="]}));
}

#[tokio::test]
async fn floating_point_numbers_cross_the_codecs_to_the_last_bit() {
    let running = Running::start();
    let [mut json_client, mut msgpack_client] = pair(&running).await;
    // A fixed sequence of numbers of all sizes, and some that careless parsers misread.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut numbers = vec![0.1 + 0.2, 2.638344616030823e-256, 9007199254740993.0, 51.248_178_375_505_404, -0.0];
    while numbers.len() < 2_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(state ^ (state >> 29));
        if number.is_finite() {
            numbers.push(number);
        }
    }
    for chunk in numbers.chunks(200) {
        let shown: Vec<String> = chunk.iter().map(|number| format!("{number:?}")).collect();
        let text = format!(r#"{{"type":"publish","topic":"t","data":[{}]}}"#, shown.join(","));
        json_client.send_bytes(text.into_bytes()).await;
        let crossed = msgpack_client.message().await;
        json_client.message().await;
        for (number, arrived) in chunk.iter().zip(crossed["data"].as_array().unwrap()) {
            let arrived = arrived.as_f64().unwrap();
            assert_eq!(arrived.to_bits(), number.to_bits(), "JSON {number:?} became MessagePack {arrived:?}");
        }
    }
}

#[tokio::test]
async fn msgpack_numbers_are_written_in_json_so_that_they_read_back_the_same() {
    let running = Running::start();
    let mut raw = running.raw(Codec::Json).await;
    raw.request(&json!({"type": "subscribe", "topic": "t", "id": 1})).await;
    raw.frame_value().await;
    let mut writer = running.client(Codec::MessagePack).await;
    for number in [0.1 + 0.2, 1e21, 1.0, -0.0, 5e-324, f64::MAX, 1.0e-7] {
        writer.publish("t", json!([number])).await;
        let text = String::from_utf8(raw.frame().await.unwrap().payload).unwrap();
        let written = text.split_once(r#""data":["#).unwrap().1.split_once(']').unwrap().0;
        assert_eq!(written.parse::<f64>().unwrap().to_bits(), f64::to_bits(number), "{number:?} in {text}");
        assert!(written.contains(['.', 'e']), "{written} must stay a floating point number");
    }
}

#[tokio::test]
async fn depth_32_is_accepted_and_depth_33_is_refused_in_both_codecs() {
    let running = Running::start();
    let [mut one, mut other] = pair(&running).await;
    for client in [&mut one, &mut other] {
        client.publish("t", nested(32)).await;
    }
    for client in [&mut one, &mut other] {
        for _ in 0..2 {
            assert_eq!(client.message().await["data"], nested(32));
        }
        for depth in [33, 100, 1_000] {
            client.send(&json!({"type": "publish", "topic": "t", "data": nested(depth)})).await;
            client.ping().await;
            let received = client.take_all();
            assert_eq!(received.len(), 1, "{received:?}");
            assert_eq!(received[0]["code"], "bad_request");
            assert!(received[0]["message"].as_str().unwrap().contains("32"), "{received:?}");
        }
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored_alike_in_both_codecs() {
    let running = Running::start();
    for field in [json!(null), json!("x"), json!({"type": "publish", "id": 0}), nested(32)] {
        for codec in Codec::ALL {
            let mut client = running.client(codec).await;
            let pong = client.request(json!({"type": "ping", "zzz": field, "x-y": field})).await;
            assert_eq!(pong["type"], "pong");
        }
    }
}

#[tokio::test]
async fn a_frame_of_exactly_the_limit_is_accepted() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut raw = running.raw(codec).await;
        let request = |length: usize| json!({"type": "publish", "topic": "t", "id": 1, "data": "x".repeat(length)});
        let overhead = encode(codec, &request(60_000)).len() - 60_000;
        let bytes = encode(codec, &request(65_536 - overhead));
        assert_eq!(bytes.len(), 65_536);
        raw.send(&masked(FIN | raw.data_opcode(), &bytes)).await;
        assert_eq!(raw.frame_value().await["type"], "ok");
    }
}

#[tokio::test]
async fn whitespace_and_escapes_in_json_do_not_change_the_meaning() {
    let running = Running::start();
    let [mut json_client, mut msgpack_client] = pair(&running).await;
    let text =
        " {\t\"\\u0074ype\" : \"publish\" ,\r\n \"t\\u006fpic\":\"\\u0074\",\"data\" : [ 1 ,\"\\ud83d\\ude00\" ] } ";
    json_client.send_bytes(text.as_bytes().to_vec()).await;
    for client in [&mut json_client, &mut msgpack_client] {
        assert_eq!(client.message().await["data"], json!([1, "😀"]));
    }
}
