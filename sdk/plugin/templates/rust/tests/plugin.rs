//! The plugin in plain tests, with a double of the broker. `rialto plugin test` runs them.

use rialto_plugin::prelude::*;
use rialto_plugin::testing::Host;
use {{crate}}::{{Type}};

fn host() -> Host<{{Type}}> {
    Host::new({{Type}}).owns("{{name}}.*").needs(["state"])
}

#[test]
fn texts_go_out_in_capitals_and_are_counted() {
    let mut host = host();
    assert_eq!(host.publish("session", "{{name}}.a", "hello"), Ok(Some(json!("HELLO"))));
    assert_eq!(host.call("session", "{{name}}.a", "count", &()), Ok(Some(json!(1))));
}

#[test]
fn everything_else_is_refused() {
    assert_eq!(host().publish("session", "{{name}}.a", &[1]).unwrap_err().kind(), Some("invalid_data"));
}

#[test]
fn who_subscribes_is_greeted() {
    let mut host = host();
    host.subscribe("session", "{{name}}.a").unwrap();
    assert_eq!(host.sent("session"), [json!({"type": "x-hello", "topic": "{{name}}.a", "count": 0})]);
}
