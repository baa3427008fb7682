//! The broker within another program: what its interface says when something is wrong, what it is asked, and the
//! connections that it hands over.

mod authorize;
mod handle;

use std::time::Duration;

use rialto::config::{Config, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Broker, ErrorCode, Payload, StartError};

#[tokio::test]
async fn after_the_shutdown_nothing_is_published_and_nobody_is_told_that_it_was() {
    let broker = Broker::builder().start().unwrap();
    let payload = || Payload::json(&1).unwrap();
    broker.publish("a", payload()).await.unwrap();
    let published = || broker.metrics().messages_published_total;
    let before = published();
    assert!(broker.shutdown(Duration::ZERO).await);
    for clone in [broker.clone(), broker.clone()] {
        assert_eq!(clone.publish("a", payload()).await.unwrap_err().code, ErrorCode::Unavailable);
        assert_eq!(clone.call("a", "m", None).await.unwrap_err().code, ErrorCode::Unavailable);
    }
    assert_eq!(published(), before);
}

#[test]
fn a_configuration_that_a_program_has_filled_itself_is_checked_as_a_file_is() {
    let start = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        match Broker::builder().config(config).start() {
            Ok(_) => panic!("it started"),
            Err(StartError::Configuration(problems)) => problems,
            Err(other) => panic!("{other}"),
        }
    };
    let problems = start(|config| {
        config.limits.frame_ms = 1;
        config.limits.outboxes_bytes = 512;
        config.topics.push(TopicRule { pattern: Pattern::parse("b.*").unwrap(), ..TopicRule::default() });
        config.plugins.insert("Wrong name".to_owned(), PluginConfig::default());
    });
    let titles: Vec<_> = problems.iter().map(|problem| problem.title()).collect();
    let expected = [
        "`outboxes_bytes` must not be less than `outbox_bytes`",
        "`frame_ms` must be 10 to 600_000 milliseconds",
        "no topic can reach this rule for `b.*`",
        "`[plugin.Wrong name]` needs a `path`",
        "`Wrong name` cannot be the name of a plugin",
    ];
    assert_eq!(titles, expected);
    assert!(problems.iter().all(|problem| problem.line().is_none()));
    // No file is read: a plugin that does not load is another matter.
    let mut config = Config::default();
    config.plugins.insert("gone".to_owned(), PluginConfig { path: "gone.wasm".into(), ..PluginConfig::default() });
    drop(Broker::builder().config(config).start().unwrap());
}
