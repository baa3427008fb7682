//! The certificate as clients see it: replaced while the broker runs, invalid, expired, not yet valid.

use std::time::Duration;

use rialto::{Codec, Snapshot};
use rustls::pki_types::CertificateDer;

use crate::support::tls::{Certificate, Files, Hello, now_s, shown};
use crate::support::{Client, Running, eventually};

const URL: &str = "wss://localhost/ws";

fn running(files: &Files, expiry_warn_days: u32) -> Running {
    Running::with(|config| config.tls = Some(rialto::config::Tls { expiry_warn_days, ..files.settings() }))
}

/// The certificate of a new connection.
async fn seen(running: &Running) -> CertificateDer<'static> {
    let stream = Hello::default().connect(running.tls_address.unwrap()).await.expect("handshakes go on");
    shown(&stream)
}

async fn counts(running: &Running, what: &str, holds: impl Fn(&Snapshot) -> bool) {
    eventually(what, || holds(&running.broker.metrics())).await;
}

#[tokio::test]
async fn a_replaced_certificate_is_used_for_new_connections_and_sessions_stay() {
    let (first, second) = (Certificate::good(), Certificate::valid(now_s() - 60, now_s() + 50 * 86_400));
    let files = Files::with(&first);
    let running = running(&files, 14);
    let hello = Hello::trusting(&first);
    let mut old = Vec::new();
    for codec in Codec::ALL {
        let stream = hello.connect(running.tls_address.unwrap()).await.unwrap();
        let mut client = Client::upgraded(stream, URL, codec).await;
        client.subscribe("t").await;
        old.push(client);
    }
    let counted = running.broker.metrics();
    assert_eq!((counted.tls_certificate_expires_unix_s, counted.tls_reloads_total), (first.until_s, 0));

    files.write(&second.pem, &second.key_pem);
    counts(&running, "it is loaded", |counted| counted.tls_reloads_total == 1).await;
    assert_eq!(running.broker.metrics().tls_certificate_expires_unix_s, second.until_s);
    assert!(hello.connect(running.tls_address.unwrap()).await.is_err(), "the first is shown no more");
    let stream = Hello::trusting(&second).connect(running.tls_address.unwrap()).await.unwrap();
    let mut new = Client::upgraded(stream, URL, Codec::Json).await;
    new.publish("t", "hello".into()).await;
    for mut client in old {
        assert_eq!(client.message().await["data"], "hello");
        client.ping().await;
        client.close().await;
    }
    new.close().await;
    running.becomes_empty().await;
    assert_eq!(running.broker.metrics().tls_reload_errors_total, 0);
}

#[tokio::test]
async fn an_invalid_pair_is_rejected_and_the_next_valid_one_is_loaded() {
    let (first, second) = (Certificate::good(), Certificate::good());
    let files = Files::with(&first);
    let running = running(&files, 14);
    let over = Certificate::valid(now_s() - 200, now_s() - 100);
    let early = Certificate::valid(now_s() + 3_600, now_s() + 7_200);
    let (half, _) = second.pem.split_at(second.pem.len() / 2);
    for (index, (certificate, key)) in [
        (&*second.pem, &*first.key_pem),
        (half, &second.key_pem),
        ("", ""),
        (&over.pem, &over.key_pem),
        (&early.pem, &early.key_pem),
    ]
    .into_iter()
    .enumerate()
    {
        files.write(certificate, key);
        let errors = index as u64 + 1;
        counts(&running, "it is refused", |counted| counted.tls_reload_errors_total == errors).await;
        assert_eq!(seen(&running).await, first.der());
    }
    std::fs::remove_file(files.key()).unwrap();
    counts(&running, "it is missing", |counted| counted.tls_reload_errors_total == 6).await;
    assert_eq!(seen(&running).await, first.der());
    // Long enough for several polls: the same fault is logged once.
    tokio::time::sleep(Duration::from_millis(300)).await;

    files.write(&second.pem, &second.key_pem);
    counts(&running, "it is loaded", |counted| counted.tls_reloads_total == 1).await;
    assert_eq!(seen(&running).await, second.der());
    let counted = running.broker.metrics();
    assert_eq!((counted.tls_reload_errors_total, counted.tls_certificate_expires_soon), (6, 0));
}

#[tokio::test]
async fn an_expired_certificate_is_served_until_a_valid_one_is_loaded() {
    let day = 86_400;
    let good = Certificate::good();
    for (from_s, until_s, soon) in [
        (now_s() - 10 * day, now_s() - day, 1),
        (now_s() + day, now_s() + 100 * day, 0),
        (now_s() - day, now_s() + 10 * day, 1),
        (now_s() - day, now_s() + 20 * day, 0),
    ] {
        let certificate = Certificate::valid(from_s, until_s);
        let files = Files::with(&certificate);
        let running = running(&files, 14);
        let counted = running.broker.metrics();
        assert_eq!((counted.tls_certificate_expires_unix_s, counted.tls_certificate_expires_soon), (until_s, soon));
        assert_eq!(seen(&running).await, certificate.der());
        files.write(&good.pem, &good.key_pem);
        counts(&running, "it is loaded", |counted| counted.tls_reloads_total == 1).await;
        assert_eq!(seen(&running).await, good.der());
        let counted = running.broker.metrics();
        assert_eq!((counted.tls_certificate_expires_unix_s, counted.tls_certificate_expires_soon), (good.until_s, 0));
    }
}
