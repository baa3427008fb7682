//! Native plugins: which fields their instances have.

use rialto::Codec;
use rialto::config::{Isolation, PluginConfig};
use rialto_plugin::prelude::*;
use serde_json::json;

use crate::plugin_hooks::puppet::own;
use crate::support::Running;

/// Answers with its greeting, which no default has, and how often it was called.
#[derive(Default)]
struct Greeter {
    greeting: String,
    calls: u64,
}

impl Plugin for Greeter {
    fn on_call(&mut self, _: &mut Context, call: Call) -> Result<Reply> {
        self.calls += 1;
        assert!(call.method != "panic", "on purpose");
        Ok(call.reply(&(&self.greeting, self.calls))?)
    }
}

#[tokio::test]
async fn the_fields_that_an_author_set_are_there_after_a_panic_and_for_each_topic() {
    for isolation in [Isolation::Plugin, Isolation::Topic] {
        let running = Running::built(
            |settings| {
                own(settings, "greet.*", "greeter");
                let plugin = PluginConfig { isolation, ..PluginConfig::default() };
                settings.plugins.insert("greeter".to_owned(), plugin);
            },
            |builder| builder.plugin("greeter", || Greeter { greeting: "hello".to_owned(), calls: 0 }),
        );
        let mut client = running.client(Codec::Json).await;
        for topic in ["greet.a", "greet.b"] {
            let call = |method: &str| json!({"type": "call", "topic": topic, "method": method});
            client.ok(call("greet")).await;
            client.refused(call("panic"), "plugin_failed").await;
            assert_eq!(client.ok(call("greet")).await["data"], json!(["hello", 1]), "{topic}");
        }
    }
}
