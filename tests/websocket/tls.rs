//! TLS listeners: the same broker behind them, and the response to clients that do not speak TLS.

use std::time::{Duration, Instant};

use rialto::Codec;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::raw::{FIN, masked, promise};
use crate::support::tls::{Certificate, Files, Hello, shown, tunnel};
use crate::support::{Client, Raw, Running, eventually, http, upgrade_request, within};
use crate::websocket::witness::Witness;

const URL: &str = "wss://localhost/ws";

fn running(files: &Files, change: impl FnOnce(&mut rialto::config::Config)) -> Running {
    Running::with(|config| {
        config.tls = Some(files.settings());
        change(config);
    })
}

fn start() -> (Certificate, Files, Running) {
    let certificate = Certificate::good();
    let files = Files::with(&certificate);
    let running = running(&files, |_| {});
    (certificate, files, running)
}

/// Everything until the peer closes the connection, in any way.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn sessions_with_and_without_tls_share_a_topic_in_both_codecs() {
    let (certificate, _files, running) = start();
    let address = running.tls_address.unwrap();
    const VERSIONS: [&[&rustls::SupportedProtocolVersion]; 2] =
        [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];
    let mut clients = Vec::new();
    for codec in Codec::ALL {
        clients.push(running.client(codec).await);
        for versions in VERSIONS {
            let hello = Hello { versions, ..Hello::trusting(&certificate) };
            let stream = hello.connect(address).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(versions[0].version));
            clients.push(Client::upgraded(stream, URL, codec).await);
        }
    }
    for client in &mut clients {
        client.subscribe("room").await;
    }
    // From nothing to much more than the size of a TLS record or of a frame reader's buffer.
    for (round, length) in [0, 1, 1_000, 16_384, 60_000].into_iter().enumerate() {
        for speaker in 0..clients.len() {
            let data = json!({"round": round, "from": speaker, "text": "x".repeat(length)});
            clients[speaker].publish("room", data.clone()).await;
            for client in &mut clients {
                assert_eq!(client.message().await["data"], data);
            }
        }
    }
    for client in clients {
        client.close().await;
    }
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().tls_handshake_errors_total, 0);
}

#[tokio::test]
async fn http_1_1_is_the_only_alpn_protocol() {
    let (_, _files, running) = start();
    let address = running.tls_address.unwrap();
    for (protocols, agreed) in
        [(&["http/1.1"][..], Some(&b"http/1.1"[..])), (&["h2", "http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = Hello { protocols, ..Hello::default() }.connect(address).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        Client::upgraded(stream, URL, Codec::Json).await.close().await;
    }
    let refused = Hello { protocols: &["h2"], ..Hello::default() }.connect(address).await.expect_err("no h2 here");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    eventually("it counts", || running.broker.metrics().tls_handshake_errors_total == 1).await;
}

#[tokio::test]
async fn pages_are_served_and_early_data_is_not_lost() {
    let (_, _files, running) = start();
    let address = running.tls_address.unwrap();
    let mut stream = Hello::default().connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let page = rest(&mut stream).await;
    assert!(page.starts_with(b"HTTP/1.1 200 ") && page.ends_with(b"</html>\n"));

    for codec in Codec::ALL {
        for length in [10, 5_000, 40_000] {
            let mut request = upgrade_request(address, &[("Sec-WebSocket-Protocol", codec.subprotocol())]).into_bytes();
            let data = if codec == Codec::Json { 1 } else { 2 };
            let ping = json!({"type": "ping", "id": 1, "data": "x".repeat(length)});
            request.extend(masked(FIN | data, &crate::support::encode(codec, &ping)));
            let mut stream = Hello::default().connect(address).await.unwrap();
            stream.write_all(&request).await.unwrap();
            let mut answer = Vec::new();
            while !answer.windows(4).any(|four| four == b"pong") {
                assert!(within("the pong", stream.read_buf(&mut answer)).await.unwrap() > 0);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
        }
    }
    running.becomes_empty().await;
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_rejected() {
    let (_, _files, running) = start();
    let address = running.tls_address.unwrap();
    let began = Instant::now();
    for (index, request) in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), upgrade_request(address, &[])].iter().enumerate()
    {
        let answered = http(address, request).await;
        assert_eq!((answered.status, answered.header("connection")), (400, Some("close")));
        assert!(answered.body.contains("use https:// or wss"), "{}", answered.body);
        let counted = || running.broker.metrics().tls_handshake_errors_total;
        eventually("it counts", || counted() == index as u64 + 1).await;
    }
    for bytes in [&b"\0"[..], b"hello\r\n", b"\x80\x2e\x01\x03\x01", b"\x16\x03\x01\0\x05hello", &[0x16; 40_000]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let end = rest(&mut stream).await;
        // Nothing, or an alert.
        assert!(end.is_empty() || end[0] == 21, "{end:?}");
    }
    eventually("they count", || running.broker.metrics().tls_handshake_errors_total == 7).await;
    assert!(began.elapsed() < Duration::from_secs(5), "no timeout was needed");
    // A port scan is no error, either.
    drop(TcpStream::connect(address).await.unwrap());
    Client::upgraded(Hello::default().connect(address).await.unwrap(), URL, Codec::Json).await.close().await;
    assert_eq!(running.broker.metrics().tls_handshake_errors_total, 7);
}

#[tokio::test]
async fn tls_on_a_plain_port_is_closed() {
    let (_, _files, running) = start();
    let began = Instant::now();
    assert!(Hello::default().connect(running.address).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(5), "no timeout was needed");
    running.client(Codec::Json).await.close().await;
}

#[tokio::test]
async fn a_stalled_handshake_times_out() {
    let files = Files::with(&Certificate::good());
    let running = running(&files, |config| config.limits.header_ms = 300);
    let address = running.tls_address.unwrap();
    let mut witness = Witness::new(&running).await;
    let mut stalled = Vec::new();
    for length in [0, 1, 5, 20] {
        for _ in 0..25 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream
                .write_all(&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03hello hello hello hello"[..length])
                .await
                .unwrap();
            stalled.push(stream);
        }
    }
    // A handshake without a request.
    let mut silent = Hello::default().connect(address).await.unwrap();
    let began = Instant::now();
    witness.is_well().await;
    for stream in &mut stalled {
        assert_eq!(rest(stream).await, b"");
    }
    assert_eq!(rest(&mut silent).await, b"");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    eventually("they count", || running.broker.metrics().tls_handshake_errors_total == 100).await;
    witness.is_well().await;
}

#[tokio::test]
async fn a_page_may_connect_only_to_its_own_origin() {
    let (_, _files, running) = start();
    let tls_address = running.tls_address.unwrap();
    for (scheme, tls, status) in
        [("http", false, 101), ("https", false, 403), ("http", true, 403), ("https", true, 101)]
    {
        // As if both listeners were on one host: what counts is the scheme.
        let host = "x:8443";
        let change = [("Host", host), ("Origin", &format!("{scheme}://{host}"))];
        let request = upgrade_request(tls_address, &change);
        let got = if tls {
            let mut stream = Hello::default().connect(tls_address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut head = [0; 12];
            within("an answer", stream.read_exact(&mut head)).await.unwrap();
            std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
        } else {
            http(running.address, &request).await.status
        };
        assert_eq!(got, status, "{scheme} page, TLS: {tls}");
    }
}

async fn subscribed(entrance: std::net::SocketAddr, codec: Codec) -> Raw {
    let mut raw = Raw::connect(entrance, codec).await;
    raw.request(&json!({"type": "subscribe", "topic": "a", "id": 1})).await;
    assert_eq!(raw.frame_value().await["type"], "ok");
    raw
}

#[tokio::test]
async fn gauges_return_to_zero_after_every_kind_of_tls_disconnect() {
    let (_, _files, running) = start();
    let address = running.tls_address.unwrap();
    let entrance = tunnel(address).await;
    for codec in Codec::ALL {
        // With one Close, its answer and nothing after that.
        let mut closing = subscribed(entrance, codec).await;
        closing.send(&masked(FIN | 0x8, &1000_u16.to_be_bytes())).await;
        let frames = closing.rest().await;
        assert_eq!((frames.len(), frames[0].code()), (1, 1000), "{frames:?}");
        // With a TLS close_notify but no WebSocket Close, and in the middle of a frame.
        for bytes in [vec![], promise(FIN | closing.data_opcode(), 1_000)] {
            let mut finished = subscribed(entrance, codec).await;
            finished.send(&bytes).await;
            finished.finish().await;
            finished.rest().await;
        }
        // Without any.
        let cut = Client::upgraded(Hello::default().connect(address).await.unwrap(), URL, codec).await;
        drop(cut);
        let stream = Hello::default().connect(address).await.unwrap();
        socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
        drop(Client::upgraded(stream, URL, codec).await);
        // With something that is no TLS.
        let mut stream = Hello::default().connect(address).await.unwrap();
        stream.write_all(upgrade_request(address, &[]).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(7).any(|seven| seven == b"welcome") {
            assert!(within("the welcome", stream.read_buf(&mut answer)).await.unwrap() > 0);
        }
        let (mut socket, _) = stream.into_inner();
        socket.write_all(b"this is no record of TLS").await.unwrap();
        rest(&mut socket).await;
    }
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().outbox_bytes, 0);
}

#[tokio::test]
async fn the_end_of_a_session_is_a_tls_close_notify() {
    let (_, _files, running) = start();
    let mut stream = Hello::default().connect(running.tls_address.unwrap()).await.unwrap();
    stream.write_all(upgrade_request(running.address, &[]).as_bytes()).await.unwrap();
    stream.write_all(&masked(FIN | 0x8, &1000_u16.to_be_bytes())).await.unwrap();
    let mut answer = Vec::new();
    // An end without close_notify would be an error.
    within("the end", stream.read_to_end(&mut answer)).await.expect("a close_notify");
    assert!(answer.ends_with(b"\x88\x02\x03\xe8"), "one Close, the last of all: {answer:?}");
}

#[tokio::test]
async fn a_broker_may_listen_with_tls_only_and_reports_bind_errors() {
    let certificate = Certificate::good();
    let files = Files::with(&certificate);
    let broker = rialto::Broker::builder().start().unwrap();
    let settings = rialto::config::Server { listen: Vec::new(), ..rialto::config::Server::default() };
    let bind = || rialto::Server::bind(broker.clone(), &settings).unwrap();
    let server = bind().with_tls(&files.settings()).unwrap();
    assert_eq!((server.addresses().len(), server.tls_addresses().len()), (0, 1));
    let address = server.tls_addresses()[0];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let stream = Hello::trusting(&certificate).connect(address).await.unwrap();
    assert_eq!(shown(&stream), certificate.der());
    let client = Client::upgraded(stream, URL, Codec::Json).await;
    drop(stop);
    within("the server", serving).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "it is no longer listened on");
    client.close().await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = vec![taken.local_addr().unwrap()];
    let error = bind().with_tls(&rialto::config::Tls { listen, ..files.settings() }).expect_err("taken");
    assert!(error.to_string().contains("cannot listen on"), "{error}");
    std::fs::write(files.key(), Certificate::good().key_pem).unwrap();
    let error = bind().with_tls(&files.settings()).expect_err("another key").to_string();
    assert!(error.contains("key.pem does not match the certificate in"), "{error}");
    assert!(broker.shutdown(Duration::from_secs(5)).await);
}
