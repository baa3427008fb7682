//! Proxy headers: they count only from trusted proxies.

use std::net::Ipv4Addr;
use std::time::Duration;

use rialto::config::Config;

use crate::support::raw::open_from;
use crate::support::{Running, http_over, upgrade_request, within};

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn behind_a_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    config.limits.connections_per_address = 2;
}

/// Opens a session with these headers and keeps it. Returns the status.
async fn enter(running: &Running, source: Ipv4Addr, headers: &[(&str, &str)]) -> (u16, tokio::net::TcpStream) {
    use std::os::fd::AsFd as _;
    let stream = open_from(source, running.address).await;
    // The response is read from a copy of the socket, so that the session stays open.
    let copy = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned().unwrap());
    let answered = http_over(stream, &upgrade_request(running.address, headers)).await;
    (answered.status, tokio::net::TcpStream::from_std(copy).unwrap())
}

/// The same, once those before have released their slots: a session that was dropped before it began may hold its slot for a
/// moment longer.
async fn enter_later(running: &Running, source: Ipv4Addr, headers: &[(&str, &str)]) -> u16 {
    let entered = async {
        loop {
            match enter(running, source, headers).await.0 {
                429 => tokio::time::sleep(Duration::from_millis(2)).await,
                status => return status,
            }
        }
    };
    within("a slot that is released", entered).await
}

#[tokio::test]
async fn limits_per_address_apply_to_the_clients_of_a_trusted_proxy() {
    let running = Running::with(behind_a_proxy);
    let mut there = Vec::new();
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        for expected in [101, 101, 429] {
            // What the client itself sends is before what the proxy appends.
            let forwarded = format!("198.51.100.{}, {client}", there.len());
            let (status, stream) = enter(&running, PROXY, &[("X-Forwarded-For", &forwarded)]).await;
            assert_eq!(status, expected, "{client}");
            there.push(stream);
        }
    }
    drop(there);
    running.becomes_empty().await;
    assert_eq!(enter_later(&running, PROXY, &[("X-Forwarded-For", "203.0.113.1")]).await, 101);
}

#[tokio::test]
async fn forwarded_addresses_of_an_untrusted_client_are_ignored() {
    let running = Running::with(behind_a_proxy);
    let mut there = Vec::new();
    for expected in [101, 101, 429, 429] {
        let forwarded = format!("203.0.113.{}", there.len());
        let (status, stream) = enter(&running, STRANGER, &[("X-Forwarded-For", &forwarded)]).await;
        assert_eq!(status, expected);
        there.push(stream);
    }
}

#[tokio::test]
async fn malformed_proxy_headers_are_ignored() {
    let running = Running::with(behind_a_proxy);
    let long = "1.2.3.4, ".repeat(300);
    for words in
        [" ", ",", ",,,", "unknown", "nonsense", "1.2.3.4.5", "::::", "[", "]", "[::1", "999.1.1.1:99999", &long]
    {
        for source in [PROXY, STRANGER] {
            let headers = [("X-Forwarded-For", words), ("X-Forwarded-Proto", words)];
            assert_eq!(enter_later(&running, source, &headers).await, 101, "{words:?}");
            running.becomes_empty().await;
        }
    }
}

#[tokio::test]
async fn a_page_behind_a_tls_proxy_has_the_own_origin() {
    let running = Running::with(behind_a_proxy);
    let (secure, plain) = (format!("https://{}", running.address), format!("http://{}", running.address));
    for (source, origin, proto, expected) in [
        (PROXY, &secure, "https", 101),
        (PROXY, &plain, "https", 403),
        (PROXY, &secure, "http", 403),
        (PROXY, &plain, "http", 101),
        (STRANGER, &secure, "https", 403),
        (STRANGER, &plain, "https", 101),
    ] {
        let headers = [("Origin", origin.as_str()), ("X-Forwarded-Proto", proto)];
        assert_eq!(enter_later(&running, source, &headers).await, expected, "{source} {origin} {proto}");
        running.becomes_empty().await;
    }
}

#[tokio::test]
async fn clients_without_an_origin_can_be_rejected() {
    let running = Running::with(|config| config.server.require_origin = true);
    let own = format!("http://{}", running.address);
    for (headers, expected) in [(&[][..], 403), (&[("Origin", own.as_str())], 101), (&[("Origin", "null")], 403)] {
        assert_eq!(enter(&running, Ipv4Addr::LOCALHOST, headers).await.0, expected, "{headers:?}");
    }
}
