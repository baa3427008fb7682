//! Connections that are cut without a word, by something in the middle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rialto_client::{Codec, Error, Event, Item};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{builder, connect, event, keeping, next, numbers};
use crate::support::within;

/// A relay to a broker whose connections can be cut, and which can be made to swallow what the broker says.
struct Relay {
    address: SocketAddr,
    cut: watch::Sender<usize>,
    swallows: Arc<AtomicBool>,
    swallowed: Arc<AtomicUsize>,
}

impl Relay {
    async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(0);
        let (swallows, swallowed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (answers, count) = (Arc::clone(&swallows), Arc::clone(&swallowed));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (cuts, answers, count) = (cuts.clone(), Arc::clone(&answers), Arc::clone(&count));
                tokio::spawn(relay(near, broker, cuts, answers, count));
            }
        });
        Self { address, cut, swallows, swallowed }
    }

    fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }
}

async fn relay(
    mut near: TcpStream,
    broker: SocketAddr,
    mut cuts: watch::Receiver<usize>,
    swallows: Arc<AtomicBool>,
    swallowed: Arc<AtomicUsize>,
) {
    cuts.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(broker).await else { return };
    let (mut from_near, mut from_far) = (vec![0; 4096], vec![0; 4096]);
    loop {
        tokio::select! {
            _ = cuts.changed() => return,
            read = near.read(&mut from_near) => match read {
                Ok(count @ 1..) if far.write_all(&from_near[..count]).await.is_ok() => {}
                _ => return,
            },
            read = far.read(&mut from_far) => match read {
                Ok(count @ 1..) if swallows.load(Ordering::SeqCst) => {
                    swallowed.fetch_add(count, Ordering::SeqCst);
                }
                Ok(count @ 1..) if near.write_all(&from_far[..count]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_cut_leaves_no_hole_and_no_double() {
    for codec in Codec::ALL {
        let running = keeping(|_| {});
        let relay = Relay::to(running.address).await;
        let client = builder(relay.address, codec).connect().await.unwrap();
        let mut subscription = client.subscribe("a").await.unwrap();
        let publisher = connect(&running, codec).await;
        let publishing = async {
            for number in 1..=400_u64 {
                publisher.publish("a", &number).await.unwrap();
                if number % 50 == 0 {
                    relay.cut();
                }
            }
        };
        let reading = async {
            let (mut got, mut resumed) = (Vec::new(), 0);
            while got.len() < 400 {
                match next(&mut subscription).await {
                    Item::Message(message) => got.push(message.payload.parse::<u64>().unwrap()),
                    Item::Resumed(one) => {
                        assert!(one.recovered);
                        resumed += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            (got, resumed)
        };
        let ((), (got, resumed)) = tokio::join!(publishing, reading);
        assert_eq!(got, (1..=400).collect::<Vec<u64>>());
        assert!(resumed >= 1, "nothing was cut");
    }
}

#[tokio::test]
async fn a_publish_whose_answer_was_lost_is_published_once() {
    for codec in Codec::ALL {
        let running = keeping(|_| {});
        let relay = Relay::to(running.address).await;
        let client = builder(relay.address, codec).connect().await.unwrap();
        let mut witness = connect(&running, codec).await.subscribe("a").await.unwrap();
        relay.swallows.store(true, Ordering::SeqCst);
        let sent = client.publish("a", &7).send().await.unwrap();
        // It has been published, and the answer is lost.
        assert_eq!(numbers(&mut witness, 1).await, [7]);
        while relay.swallowed.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        relay.swallows.store(false, Ordering::SeqCst);
        relay.cut();
        let published = within("an answer", sent).await.unwrap();
        assert_eq!((published.position.unwrap().offset, published.duplicate), (1, true));
        client.publish("a", &8).await.unwrap();
        assert_eq!(numbers(&mut witness, 1).await, [8]);
    }
}

#[tokio::test]
async fn a_publish_that_must_not_be_sent_twice_is_not() {
    let running = keeping(|_| {});
    let relay = Relay::to(running.address).await;
    let client = builder(relay.address, Codec::Json).connect().await.unwrap();
    let mut witness = connect(&running, Codec::Json).await.subscribe("a").await.unwrap();
    relay.swallows.store(true, Ordering::SeqCst);
    let sent = client.publish("a", &7).once().send().await.unwrap();
    assert_eq!(numbers(&mut witness, 1).await, [7]);
    relay.cut();
    let error = within("an answer", sent).await.unwrap_err();
    assert!(matches!(error, Error::Lost) && error.may_have_acted(), "{error}");
}

#[tokio::test]
async fn a_request_that_is_given_up_says_whether_it_may_have_been_done() {
    let running = keeping(|_| {});
    let relay = Relay::to(running.address).await;
    let client = builder(relay.address, Codec::Json).connect().await.unwrap();
    let mut events = client.events();
    relay.swallows.store(true, Ordering::SeqCst);
    let short = std::time::Duration::from_millis(100);
    let error = client.publish("a", &7).within(short).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { may_have_acted: true, .. }), "{error}");
    let error = client.history("a").within(short).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { may_have_acted: false, .. }), "{error}");
    relay.cut();
    event(&mut events, "the loss", |event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    let error = client.publish("a", &7).within(short).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { may_have_acted: false, .. }), "never sent: {error}");
}

#[tokio::test]
async fn what_was_published_without_echo_does_not_come_back_after_a_cut() {
    let running = keeping(|_| {});
    let relay = Relay::to(running.address).await;
    let client = builder(relay.address, Codec::Json).connect().await.unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    let other = connect(&running, Codec::Json).await;
    client.publish("a", &1).echo(false).await.unwrap();
    other.publish("a", &2).await.unwrap();
    client.publish("a", &3).echo(false).await.unwrap();
    assert_eq!(numbers(&mut subscription, 1).await, [2]);
    relay.cut();
    let Item::Resumed(resumed) = next(&mut subscription).await else { panic!("it goes on") };
    assert!(resumed.recovered);
    other.publish("a", &4).await.unwrap();
    assert_eq!(numbers(&mut subscription, 1).await, [4]);
}
