//! The way to a WebSocket: from any bytes in any pieces hyper and the broker's own gate answer 101 only where RFC 6455
//! allows it, and never answer more requests than a second reader finds in the bytes.
#![no_main]

use std::cell::LazyCell;
use std::future::Future as _;
use std::pin::pin;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rialto::Broker;
use rialto::config::{Config, Limits, Server};
use rialto_fuzz::cut::Cut;
use rialto_fuzz::head::{OWN_NAME, Request, Response, requests, responses};
use rialto_fuzz::{answer, wire};
use tokio::runtime::{self, Runtime};
use tungstenite::handshake::derive_accept_key;

static SETTINGS: LazyLock<Server> =
    LazyLock::new(|| Server { shards: 1, hosts: [OWN_NAME.to_owned()].into(), ..Server::default() });

static BROKER: LazyLock<Broker> = LazyLock::new(|| {
    let limits = Limits { admissions_per_s: 1_000_000, ..Limits::default() };
    let config = Config { server: SETTINGS.clone(), limits, ..Config::default() };
    Broker::builder().config(config).start().expect("a broker")
});

thread_local! {
    static RUNTIME: LazyCell<Runtime> =
        LazyCell::new(|| runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

// The first byte says how to cut the rest.
fuzz_target!(|input: &[u8]| {
    let [seed, bytes @ ..] = input else { return };
    let requests = requests(bytes);
    // Streams and polls are answered when sessions on another thread have spoken: when that is, the bytes do not say.
    if requests.iter().any(Request::is_for_a_reader) {
        return;
    }
    let [whole, others @ ..] = Cut::all(*seed).map(|cut| serve(bytes, cut, &requests));
    judge(&requests, &whole);
    // hyper refuses what is no request at once, or waits for the end of it: that alone depends on the pieces.
    let answers =
        |responses: &[Response]| responses.iter().take(requests.len()).map(|one| one.status).collect::<Vec<_>>();
    for other in others {
        judge(&requests, &other);
        assert_eq!(answers(&other), answers(&whole), "however the bytes are cut");
    }
});

/// Lets the broker have the bytes, and gives its responses.
fn serve(bytes: &[u8], cut: Cut, requests: &[Request]) -> Vec<Response> {
    let (near, far) = wire::connection(bytes.to_vec(), cut);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut serving = pin!(rialto::fuzzing::serve_http(&BROKER, &SETTINGS, near));
            std::future::poll_fn(|context| {
                let served = serving.as_mut().poll(context);
                // Whoever waits for more has answered all that was there.
                if served.is_pending() && far.is_waited_for() {
                    far.end();
                }
                served
            })
            .await;
        });
    });
    far.end();
    let written = far.into_written();
    let methods: Vec<String> = requests.iter().map(|request| request.method.clone()).collect();
    let (responses, rest) = responses(&written, &methods);
    if responses.last().is_some_and(|last| last.status == 101) {
        // What follows are frames, whatever the client goes on to send.
        answer::read(rest);
    }
    responses
}

fn judge(requests: &[Request], responses: &[Response]) {
    for (place, response) in responses.iter().enumerate() {
        let Some(request) = requests.get(place) else {
            assert!(is_last_word(response.status), "{} answers what is no request", response.status);
            assert_eq!(place + 1, responses.len(), "nothing is answered after what is no request");
            return;
        };
        if response.status == 101 {
            assert!(request.may_be_upgraded(), "101 answers {request:?}");
            let key = request.key().expect("checked above");
            assert_eq!(response.accept(), Some(derive_accept_key(key).as_bytes()), "{request:?}");
            assert!(response.is_upgrade(), "{response:?}");
            assert_eq!(place + 1, responses.len(), "nothing is answered after 101");
        } else if request.may_be_upgraded() && request.is_plain() {
            panic!("{} answers {request:?}", response.status);
        }
    }
    let is_good = |request: &Request| request.is_plain() && request.may_be_upgraded();
    assert!(!responses.is_empty() || !requests.first().is_some_and(is_good), "no answer at all");
}

/// With which statuses a server may end a connection on which there is no request to answer.
fn is_last_word(status: u16) -> bool {
    matches!(status, 400 | 408 | 414 | 431 | 505)
}
