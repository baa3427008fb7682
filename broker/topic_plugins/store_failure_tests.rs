//! What becomes of hooks and publishes while nothing can be kept, tried with a store that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_plugin::prelude::*;
use rialto_protocol::{ErrorCode, Payload as Data};

use crate::broker::Broker;
use crate::config::{self, History, TopicRule};
use crate::store::failing::FailingStore;
use crate::store::{Log as _, Store};
use crate::topic::Pattern;

/// Does one of everything in each hook.
#[derive(Default)]
struct Everything;

impl Plugin for Everything {
    fn on_publish(&mut self, ctx: &mut Context, _: Message) -> Result<Verdict> {
        everything(ctx).map(|()| Verdict::Accept)
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        everything(ctx)?;
        Ok(call.reply(&"done")?)
    }

    fn on_timer(&mut self, ctx: &mut Context, _: Timer) -> Result<()> {
        Ok(ctx.publish("p.timers", &"due")?)
    }
}

fn everything(ctx: &Context) -> Result<()> {
    ctx.state("kv").put("key", &1)?;
    ctx.set_timer("later", 3_600_000)?;
    ctx.publish("p.a", &"one")?;
    ctx.publish("p.b", &"two")?;
    Ok(())
}

fn broker() -> (Broker, Arc<FailingStore>) {
    let store = Arc::new(FailingStore::new());
    let mut config = config::Config::default();
    let rule = |pattern: &str, plugin: Option<&str>| TopicRule {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        plugin: plugin.map(str::to_owned),
        history: Some(History::default()),
        ..TopicRule::default()
    };
    config.topics = vec![rule("p.*", Some("p")), rule(">", None)];
    let builder =
        Broker::builder().config(config).plugin("p", Everything::default).store(Arc::clone(&store) as Arc<dyn Store>);
    (builder.start().expect("the broker starts"), store)
}

fn text() -> Data {
    Data::json("text").expect("a text")
}

/// The positions of the topics that hooks publish to, the value of the key and the number of timers.
fn world(broker: &Broker, store: &FailingStore) -> (u64, u64, bool, usize, usize) {
    let offset = |topic: &str| broker.topic(topic).map_or(0, |status| status.position.offset);
    let is_there = store.get("p", "kv\nkey").expect("read").is_some();
    (offset("p.a"), offset("p.b"), is_there, store.timers("p").expect("read").len(), broker.plugins()[0].timers)
}

#[tokio::test]
async fn a_hook_whose_outcome_cannot_be_kept_has_none() {
    let (broker, store) = broker();
    for _ in 0..2 {
        store.fail(1);
        let failure = broker.call("p.a", "everything", None).await.expect_err("it cannot be kept");
        assert_eq!((failure.code, failure.retry_after_ms.is_some()), (ErrorCode::Unavailable, true));
        assert_eq!(world(&broker, &store), (0, 0, false, 0, 0));
        store.fail(1);
        let failure = broker.publish("p.a", text()).await.expect_err("it cannot be kept");
        assert_eq!(failure.code, ErrorCode::Unavailable);
        assert_eq!(world(&broker, &store), (0, 0, false, 0, 0));
    }
    let with_key = |broker: &Broker| {
        let broker = broker.clone();
        async move { broker.call_with("p.a", "everything", None, Some("once")).await }
    };
    store.fail(1);
    with_key(&broker).await.expect_err("it cannot be kept");
    assert!(!with_key(&broker).await.expect("now it can").duplicate, "the key was not kept either");
    assert!(with_key(&broker).await.expect("answered before").duplicate);
    assert_eq!(world(&broker, &store), (1, 1, true, 1, 1));
    let position = broker.publish("p.a", text()).await.expect("published").expect("a position");
    assert_eq!((position.offset, world(&broker, &store)), (2, (3, 2, true, 1, 1)));
}

#[tokio::test]
async fn a_message_that_cannot_be_kept_has_no_position() {
    let (broker, store) = broker();
    store.fail(1);
    let failure = broker.publish("open", text()).await.expect_err("it cannot be kept");
    assert_eq!((failure.code, failure.retry_after_ms.is_some()), (ErrorCode::Unavailable, true));
    let position = broker.publish("open", text()).await.expect("published").expect("a position");
    assert_eq!(position.offset, 1, "nobody is told of a message that was not kept");
}

#[tokio::test]
async fn a_timer_whose_outcome_cannot_be_kept_is_due_again() {
    let (broker, store) = broker();
    let batch = crate::store::Batch {
        state: Some(crate::store::Writes {
            namespace: "p".into(),
            values: Default::default(),
            timers: [("now".to_owned(), Some(crate::store::KeptTimer { due_unix_ms: 0, payload: None }))].into(),
        }),
        ..crate::store::Batch::at(crate::clock::Now::default())
    };
    store.commit(batch).expect("kept");
    drop(broker);
    // A broker that starts finds what was kept.
    let mut config = config::Config::default();
    let pattern = Pattern::parse("p.*").expect("a pattern");
    config.topics = vec![TopicRule { pattern, plugin: Some("p".to_owned()), ..TopicRule::default() }];
    store.fail(1);
    let builder = Broker::builder().config(config).plugin("p", Everything::default);
    let Err(refused) = builder.clone().store(Arc::clone(&store) as Arc<dyn Store>).start() else {
        panic!("what `start` wants could not be kept")
    };
    assert!(refused.to_string().contains("the store failed"), "{refused}");
    let broker = builder.store(Arc::clone(&store) as Arc<dyn Store>).start().expect("the broker starts");
    let begun = Instant::now();
    while broker.topic("p.timers").is_none_or(|status| status.position.offset == 0) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the timer is never due");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(store.timers("p").expect("read").is_empty(), "it is gone with what it wanted");
}
