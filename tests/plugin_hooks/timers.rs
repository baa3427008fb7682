//! Timers: named, replaceable, with data; they outlive the instance and end where nobody sets them again.

use std::time::Duration;

use rialto::{Codec, ManualClock};
use serde_json::{Value, json};

use crate::plugin_hooks::puppet::{counted, running, running_by, steps, subscribed};
use crate::support::eventually;

#[tokio::test]
async fn a_timer_is_due_once_with_its_data_and_can_be_replaced_and_cancelled() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.timers").await;
    let all = json!([
        {"timer": ["never", 60_000]},
        {"timer_with": ["soon", 60_000, {"n": 1}]},
        {"due": "soon"},
        {"timer_with": ["soon", 1, {"n": 2}]},
        {"due": "soon"},
        {"cancel": "never"},
        {"due": "never"},
    ]);
    let read = client.ok(steps(all)).await["data"].clone();
    assert_eq!(read, json!([60_000, 1, null]), "a hook sees what it set and cancelled");
    let message = client.message().await;
    assert_eq!(message["data"], json!({"name": "soon", "data": {"n": 2}, "topic": null}));
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new());
    // The gauge follows the message: it changes when the hook is complete.
    eventually("no timer is left", || counted(&running).plugin_timers == 0).await;
}

#[tokio::test]
async fn timers_are_due_in_order_and_at_their_time() {
    let clock = ManualClock::new(0);
    let running = running_by(&clock);
    let mut client = subscribed(&running, Codec::Json, "p.timers").await;
    client.ok(steps(json!([{"timer": ["c", 120]}, {"timer": ["a", 40]}, {"timer": ["b", 80]}]))).await;
    // Clocks of whole milliseconds may cost two of them: it is late rather than early.
    for (name, until_just_before) in [("a", 39), ("b", 37), ("c", 37)] {
        clock.advance(Duration::from_millis(until_just_before));
        client.ok(steps(json!([]))).await;
        assert_eq!(client.take_all(), Vec::<Value>::new(), "{name} came too early");
        clock.advance(Duration::from_millis(3));
        assert_eq!(client.message().await["data"]["name"], name);
    }
}

#[tokio::test]
async fn a_timer_that_sets_itself_again_goes_on_until_it_does_not() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.timers").await;
    client.ok(steps(json!([{"timer": ["again", 1]}]))).await;
    for _ in 0..3 {
        assert_eq!(client.message().await["data"]["name"], "again");
    }
    // Its last message may come before the plugin's thread has noted that no timer is left.
    eventually("no timer is left", || counted(&running).plugin_timers == 0).await;
    client.ping().await;
    assert_eq!(client.take_all(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_timer_outlives_the_instance_that_set_it() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.timers").await;
    client.ok(steps(json!([{"timer": ["later", 100]}]))).await;
    client.refused(steps(json!([{"panic": "the instance is gone"}])), "plugin_failed").await;
    assert_eq!(client.message().await["data"]["name"], "later");
}

#[tokio::test]
async fn a_timer_whose_hook_fails_is_tried_three_times_and_given_up() {
    let running = running(|_, _| {});
    let mut client = subscribed(&running, Codec::Json, "p.timers").await;
    client.ok(steps(json!([{"timer": ["fails", 1]}]))).await;
    let standing = || {
        let status = &running.broker.plugins()[0];
        (status.failures, status.timers)
    };
    eventually("it is given up", || standing() == (3, 0)).await;
    client.ping().await;
    let status = &running.broker.plugins()[0];
    assert_eq!(status.last_failure.as_ref().unwrap().hook, "on-timer");
    assert_eq!(client.take_all(), Vec::<Value>::new(), "nothing of a failed hook is seen");
}

#[tokio::test]
async fn a_plugin_may_set_so_many_timers_and_no_more() {
    let running = running(|_, plugin| plugin.timers = 2);
    let mut client = running.client(Codec::Json).await;
    let three = json!([{"timer": ["a", 60_000]}, {"timer": ["b", 60_000]}, {"timer": ["c", 60_000]}]);
    client.refused(steps(three), "plugin_failed").await;
    client.ok(steps(json!([{"timer": ["a", 60_000]}, {"timer": ["b", 60_000]}]))).await;
    client.ok(steps(json!([{"timer": ["a", 50_000]}, {"cancel": "b"}, {"timer": ["c", 60_000]}]))).await;
    client.refused(steps(json!([{"timer": ["d", 1]}])), "plugin_failed").await;
    for (name, delay_ms) in [("", 1), ("x", 365 * 24 * 3_600_001_u64)] {
        client.refused(steps(json!([{"cancel": "a"}, {"timer": [name, delay_ms]}])), "plugin_failed").await;
    }
    assert_eq!(counted(&running).plugin_timers, 2);
}
