//! Messages from plugin to plugin: each is an event of its own, and a chain of them ends.

use rialto::Codec;
use rialto::config::PluginConfig;
use rialto_plugin::prelude::*;
use serde_json::{Value, json};

use crate::plugin_hooks::puppet::own;
use crate::support::{Running, eventually};

/// Hands every message on to the topic of the other one.
#[derive(Default)]
struct HandOn {
    to: String,
}

impl Plugin for HandOn {
    fn start(&mut self, _: &mut Context, config: Config) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Told {
            to: String,
        }
        self.to = config.parse::<Told>()?.to;
        Ok(())
    }

    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        let hop: u64 = message.data()?;
        ctx.publish(&self.to, &(hop + 1))?;
        Ok(Verdict::Accept)
    }
}

#[tokio::test]
async fn two_plugins_that_hand_a_message_on_to_each_other_come_to_an_end() {
    let running = Running::built(
        |settings| {
            for (name, to) in [("one", "two.a"), ("two", "one.a")] {
                own(settings, &format!("{name}.>"), name);
                let grants = vec![format!("publish {to}")];
                let config = json!({"to": to});
                settings.plugins.insert(name.to_owned(), PluginConfig { grants, config, ..PluginConfig::default() });
            }
        },
        |builder| builder.plugin("one", HandOn::default).plugin("two", HandOn::default),
    );
    let mut client = running.client(Codec::Json).await;
    client.subscribe("one.a").await;
    client.subscribe("two.a").await;
    client.publish("one.a", json!(0)).await;
    eventually("the last of the chain fails", || running.broker.metrics().plugin_failures_total == 1).await;
    client.ping().await;
    let mut hops = Vec::new();
    while hops.len() < 8 {
        hops.push(client.message().await["data"].as_u64().unwrap());
    }
    hops.sort_unstable();
    assert_eq!(hops, [0, 1, 2, 3, 4, 5, 6, 7], "eight hops, and the ninth hook is refused");
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new());
    let failures = running.broker.plugins().into_iter().filter_map(|status| status.last_failure);
    assert!(failures.map(|failure| failure.text).all(|text| text.contains("hops")), "it says why");
}
