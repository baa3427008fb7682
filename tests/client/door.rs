//! What the broker answers before there is a session, and the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rialto_client::{Client, Codec, Ending, Error, Event};

use super::{builder, connect, event, keeping};
use crate::support::within;

fn ending(error: Error) -> Ending {
    match error {
        Error::Closed { ending, .. } => ending,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_reported_when_patience_ends() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = builder(free, Codec::Json).patience(Duration::ZERO).connect().await.unwrap_err();
    let Ending::Unreachable(why) = ending(error) else { panic!("unreachable") };
    assert!(why.contains("refused") && why.contains(&free.port().to_string()), "{why}");
}

#[tokio::test]
async fn a_refusal_of_the_upgrade_ends_the_client() {
    let running = keeping(|_| {});
    let address = format!("ws://{}/missing", running.address);
    let error = within("an error", Client::connect(&address)).await.unwrap_err();
    assert!(matches!(ending(error), Ending::Door { status: 404, .. }));
}

#[tokio::test]
async fn a_full_broker_is_tried_again_after_its_hint() {
    let running = keeping(|config| config.limits.sessions = 1);
    let first = connect(&running, Codec::Json).await;
    let error = builder(running.address, Codec::Json).patience(Duration::ZERO).connect().await.unwrap_err();
    let Ending::Unreachable(why) = ending(error) else { panic!("it may come back") };
    assert!(why.contains("503") && why.contains("come back"), "{why}");
    let second = tokio::spawn(builder(running.address, Codec::Json).patience(Duration::from_secs(60)).connect());
    first.close().await;
    // The hint is up to ten seconds.
    let second = tokio::time::timeout(Duration::from_secs(40), second).await.expect("a place");
    second.unwrap().unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_and_one_that_is_refused_twice_ends_the_client() {
    let running = keeping(|_| {});
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let tokens = move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        // This broker verifies none.
        async move { if number == 0 { Err("not yet") } else { Ok("t".to_owned()) } }
    };
    let error = builder(running.address, Codec::Json).tokens(tokens).connect().await.unwrap_err();
    assert!(matches!(ending(error), Ending::Unauthorized(_)));
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once in vain, once for a token that is not taken");
    running.becomes_empty().await;
}

#[tokio::test]
async fn events_say_how_a_client_ended_also_to_a_late_listener() {
    let running = keeping(|_| {});
    let client = connect(&running, Codec::Json).await;
    let mut early = client.events();
    client.close().await;
    let ended = |event| if let Event::Closed(ending) = event { Some(ending) } else { None };
    assert_eq!(event(&mut early, "the end", ended).await, Ending::Asked);
    assert!(early.next().await.is_none());
    let mut late = client.events();
    assert_eq!(event(&mut late, "the end", ended).await, Ending::Asked);
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn an_encrypted_address_needs_a_certificate_that_is_trusted() {
    use crate::support::Running;
    use crate::support::tls::{Certificate, Files};

    let certificate = Certificate::good();
    let files = Files::with(&certificate);
    let running = Running::with(|config| config.tls = Some(files.settings()));
    let address = format!("wss://localhost:{}", running.tls_address.unwrap().port());
    for codec in Codec::ALL {
        let trusting = Client::builder(&address).codec(codec).root_certificates(certificate.pem.clone());
        let client = within("a session", trusting.connect()).await.unwrap();
        let mut subscription = client.subscribe("a").await.unwrap();
        client.publish("a", &"x".repeat(60_000)).await.unwrap();
        assert_eq!(super::message(&mut subscription).await.payload.parse::<String>().unwrap().len(), 60_000);
    }
    let other = Client::builder(&address).root_certificates(Certificate::good().pem).patience(Duration::ZERO);
    let error = within("an error", other.connect()).await.unwrap_err();
    let Ending::Unreachable(why) = ending(error) else { panic!("not trusted") };
    assert!(why.contains("certificate"), "{why}");
}
