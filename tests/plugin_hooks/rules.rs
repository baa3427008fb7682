//! The table of rules for host calls, which the SDK's test double runs too.

#[path = "../../sdk/plugin/tests/host/rules.rs"]
mod table;

use rialto::Codec;
use rialto::config::PluginConfig;
use serde_json::json;

use crate::plugin_hooks::puppet::own;
use crate::support::Running;

#[tokio::test]
async fn the_rules_for_hooks_are_those_of_the_test_double() {
    let running = Running::built(
        |settings| {
            own(settings, "rules.>", "rules");
            let grants = table::NEEDS.map(str::to_owned).to_vec();
            settings.plugins.insert("rules".to_owned(), PluginConfig { grants, ..PluginConfig::default() });
        },
        |builder| builder.plugin("rules", || table::Tester),
    );
    let mut client = running.client(Codec::Json).await;
    for (call, expected) in table::cases() {
        let request = json!({"type": "call", "topic": "rules.a", "method": "try", "data": call});
        assert_eq!(client.ok(request).await["data"], json!(expected), "{call:?}");
    }
}
