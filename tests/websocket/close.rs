//! The closing handshake: one Close for one Close, with the same code, and the end of the connection.

use rialto::Codec;
use serde_json::json;

use crate::support::raw::{CLOSE, FIN, masked};
use crate::support::{Running, Wire, encode};

fn close(payload: &[u8]) -> Vec<u8> {
    masked(FIN | CLOSE, payload)
}

#[tokio::test]
async fn a_legal_close_is_echoed_exactly_once() {
    let running = Running::start();
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999_u16];
    for codec in Codec::ALL {
        for code in codes {
            for reason in ["", "goodbye", "ä".repeat(61).as_str()] {
                let mut raw = running.raw(codec).await;
                raw.send(&close(&[&code.to_be_bytes()[..], reason.as_bytes()].concat())).await;
                let rest = raw.rest().await;
                assert_eq!((rest.len(), rest[0].code()), (1, code), "{rest:?}");
            }
        }
        let mut raw = running.raw(codec).await;
        raw.send(&close(b"")).await;
        assert_eq!(raw.rest().await, [Wire { opcode: CLOSE, payload: vec![] }], "no code for no code");
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn an_illegal_close_is_answered_with_the_code_of_its_violation() {
    let running = Running::start();
    for codec in Codec::ALL {
        for (payload, expected) in [
            (&b"\x03"[..], 1002),
            (b"\xff", 1002),
            (b"\x03\xe8\xff", 1007),
            (b"\x03\xe8\xe2\x82", 1007),
            (b"\x03\xe8\xed\xa0\x80", 1007),
        ] {
            let mut raw = running.raw(codec).await;
            raw.send(&close(payload)).await;
            assert_eq!(raw.close_code().await, expected, "{payload:?}");
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
            let mut raw = running.raw(codec).await;
            raw.send(&close(&code.to_be_bytes())).await;
            assert_eq!(raw.close_code().await, 1002, "{code}");
        }
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn frames_after_a_close_are_ignored() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut listener = running.client(codec).await;
        listener.subscribe("t").await;
        let mut raw = running.raw(codec).await;
        let publish = encode(codec, &json!({"type": "publish", "topic": "t", "data": 1}));
        let mut bytes = close(&1000_u16.to_be_bytes());
        bytes.extend(masked(FIN | raw.data_opcode(), &publish));
        bytes.extend(close(&1001_u16.to_be_bytes()));
        raw.send(&bytes).await;
        let rest = raw.rest().await;
        assert_eq!((rest.len(), rest[0].code()), (1, 1000), "{rest:?}");
        listener.ping().await;
        assert_eq!(listener.take_all(), Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn requests_before_a_close_still_take_effect() {
    let running = Running::start();
    for codec in Codec::ALL {
        let mut listener = running.client(codec).await;
        listener.subscribe("t").await;
        let mut raw = running.raw(codec).await;
        let publish = encode(codec, &json!({"type": "publish", "topic": "t", "data": 1}));
        let mut bytes = masked(FIN | raw.data_opcode(), &publish);
        bytes.extend(close(&1000_u16.to_be_bytes()));
        raw.send(&bytes).await;
        assert_eq!(listener.message().await["data"], 1);
        assert_eq!(raw.close_code().await, 1000);
    }
}
