//! The cost of plugins, measured in this process: hooks of one Rust source natively and as a component, and the chat plugin
//! over real sockets. It judges nothing.
#![allow(dead_code, unused_imports, reason = "each bench uses a part of this")]

mod agreeing;
mod chatting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) use agreeing::{AGREE, agreeing_broker, agreeing_micros};
pub(crate) use chatting::chat_messages_per_second;
use rialto::config::{Config, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Broker, Builder};
use rialto_comparison::plugins::PluginRound;

/// How a plugin runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Native,
    Component,
}

/// One round of everything; `messages` for each of its parts.
pub(crate) fn round(messages: usize) -> PluginRound {
    PluginRound {
        native_hook_micros: agreeing_micros(Kind::Native, messages),
        component_hook_micros: agreeing_micros(Kind::Component, messages),
        native_chat_messages_per_second: chat_messages_per_second(Kind::Native, messages),
        component_chat_messages_per_second: chat_messages_per_second(Kind::Component, messages),
    }
}

/// A broker with one shard whose topics `name.*` belong to the plugin of this name.
fn start<P: rialto_plugin::Plugin + Send>(
    kind: Kind,
    name: &str,
    component: &str,
    native: impl Fn() -> P + Send + Sync + 'static,
) -> (Config, Broker) {
    let mut config = Config::default();
    config.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.server.shards = 1;
    let pattern = Pattern::parse(&format!("{name}.*")).expect("a pattern");
    config.topics.insert(0, TopicRule { pattern, plugin: Some(name.to_owned()), ..TopicRule::default() });
    let builder: Builder = match kind {
        Kind::Native => Broker::builder().config(config.clone()).plugin(name, native),
        Kind::Component => {
            let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(component);
            config.plugins.insert(name.to_owned(), PluginConfig { path, ..PluginConfig::default() });
            Broker::builder().config(config.clone())
        }
    };
    (config, builder.start().expect("the broker starts"))
}
