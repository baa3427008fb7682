//! The table of access rules, cell by cell, and each rule by examples.

use super::*;
use crate::config::{Config, Rules, TopicRule};
use crate::identity::SessionKey;
use crate::request::caller::CallerSession;
use rialto_protocol::Member;

/// One action of each kind, in the order of the table.
const ACTIONS: [Action<'static>; 13] = [
    Action::Publish,
    Action::Subscribe { delivery: None },
    Action::SubscribePattern,
    Action::Call,
    Action::History { admitted: false },
    Action::Presence { admitted: false },
    Action::Disconnect,
    Action::Revoke,
    Action::Explain,
    Action::ListTopics,
    Action::ListPlugins,
    Action::ReloadPlugin,
    Action::ReloadConfig,
];

fn topic(name: &str) -> Topic {
    Topic::parse(name).expect("a topic")
}

fn session() -> CallerSession {
    CallerSession::new(SessionKey { shard: 0, slot: 0, serial: 0 }, Member::anonymous("s"), None)
}

fn key(patterns: &[&str]) -> ApiKey {
    ApiKey {
        name: "backend".to_owned(),
        sha256: [0; 32],
        allow: vec![ApiOperation::Publish],
        topics: patterns.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect(),
    }
}

/// The options of a topic whose rule `change` has changed.
fn options(change: impl FnOnce(&mut TopicRule)) -> Option<Arc<TopicOptions>> {
    let mut rule = Config::default().topics.remove(0);
    change(&mut rule);
    Rules::new(&[rule]).options(&topic("a.b"))
}

fn decide(caller: Caller<'_>, action: Action<'_>, options: &Option<Arc<TopicOptions>>) -> Result<(), String> {
    let (topic, options) = (topic("a.b"), || options.clone());
    let failure = check(caller, action, Target::Topic { topic: &topic, options: &options });
    failure.map_err(|failure| {
        assert_eq!(failure.code, ErrorCode::Forbidden);
        failure.message
    })
}

/// Every kind of caller with every action: allowed (`+`), refused (`-`), or decided by a rule of its own (its letter).
#[test]
fn every_caller_and_every_action_has_one_rule() {
    let (session, key, name) = (session(), key(&[">"]), Arc::from("chat"));
    let callers =
        [Caller::Session(&session), Caller::Program(&key), Caller::Plugin { name: &name, hops: 0 }, Caller::Embedder];
    let letter = |rule| match rule {
        Rule::Allowed => '+',
        Rule::Permission => 'P',
        Rule::NotOffered => '-',
        Rule::KeyTopics => 'K',
        Rule::DeliveryMax => 'D',
        Rule::Admission => 'A',
        Rule::Capability => 'C',
    };
    let table: Vec<String> =
        ACTIONS.iter().map(|action| callers.iter().map(|caller| letter(rule(*caller, *action))).collect()).collect();
    // Session, program, plugin, embedder.
    let expected =
        ["PKC+", "D-C-", "+---", "PK-+", "AK-+", "AK-+", "-KC+", "-K-+", "-K-+", "-+-+", "-K-+", "-K-+", "-K-+"];
    assert_eq!(table, expected);

    // The decisions for a topic without a plugin and without `delivery_max`, and a key for all topics.
    let plain = options(|_| {});
    for (action, row) in ACTIONS.iter().zip(expected) {
        for (caller, letter) in callers.iter().zip(row.chars()) {
            let decision = decide(*caller, *action, &plain);
            assert_eq!(decision.is_ok(), letter != '-', "{action:?} by {caller:?}: {decision:?}");
        }
    }
}

#[test]
fn an_api_key_may_use_only_its_topics_and_operations() {
    let (all, narrow, none) = (key(&[">"]), key(&["x", "a.*"]), key(&["a.*.c", "b.b"]));
    for action in [Action::Publish, Action::Call, Action::History { admitted: false }] {
        for (key, expected) in [(&all, true), (&narrow, true), (&none, false)] {
            let decision = decide(Caller::Program(key), action, &None);
            assert_eq!(decision.is_ok(), expected, "{action:?} {:?}: {decision:?}", key.topics);
        }
    }
    let refused = decide(Caller::Program(&none), Action::Publish, &None);
    assert_eq!(refused, Err("API key \"backend\" is not for topic \"a.b\"".to_owned()));
    for action in [Action::Call, Action::Disconnect, Action::ListPlugins, Action::ReloadPlugin, Action::ReloadConfig] {
        assert!(check(Caller::Program(&all), action, Target::Broker).is_ok(), "{action:?}");
        let refused = check(Caller::Program(&narrow), action, Target::Broker).expect_err("no key for all topics");
        assert!(refused.message.ends_with(": only keys for all topics may"), "{}", refused.message);
    }
    assert!(
        check(Caller::Program(&narrow), Action::ListTopics, Target::Broker).is_ok(),
        "the list shows only its topics"
    );
    assert!(lists(Caller::Program(&narrow), &topic("a.b")) && !lists(Caller::Program(&none), &topic("a.b")));
    assert!(check_operation(&all, ApiOperation::Publish).is_ok());
    let refused = check_operation(&all, ApiOperation::History).expect_err("not among its operations");
    assert_eq!((refused.code, &*refused.message), (ErrorCode::Forbidden, "API key \"backend\" may not read history"));
}

/// Every action with every scope of a key: for all topics, for the topic in question, for others. `+` is allowed on the topic,
/// `*` on the broker as a whole too.
#[test]
fn every_action_has_one_answer_for_each_scope_of_a_key() {
    let scopes = [key(&[">"]), key(&["a.*"]), key(&["other"])];
    let table: Vec<String> = ACTIONS
        .iter()
        .map(|action| {
            let answer = |key| {
                let on_topic = decide(Caller::Program(key), *action, &None).is_ok();
                let on_broker = check(Caller::Program(key), *action, Target::Broker).is_ok();
                match (on_topic, on_broker) {
                    (true, true) => '*',
                    (true, false) => '+',
                    (false, false) => '-',
                    (false, true) => '!',
                }
            };
            scopes.iter().map(answer).collect()
        })
        .collect();
    // Publish, subscribe, subscribe to a pattern, call, history, presence, disconnect, revoke, explain, topics, plugins,
    // both reloads.
    let expected = ["*+-", "---", "---", "*+-", "*+-", "*+-", "*+-", "*+-", "*+-", "***", "*+-", "*+-", "*+-"];
    assert_eq!(table, expected);
}

#[test]
fn a_subscription_may_not_exceed_the_delivery_max_of_its_topic() {
    let session = session();
    let sample = |every_ms| Delivery::Sample { every_ms };
    let sampled = options(|rule| (rule.delivery, rule.delivery_max) = (sample(100), Policy::Sample));
    let latest = options(|rule| (rule.delivery, rule.delivery_max) = (Delivery::Latest, Policy::Latest));
    for (options, delivery, expected) in [
        (&options(|_| {}), Some(Delivery::Queue), Ok(())),
        (&latest, None, Ok(())),
        (&latest, Some(Delivery::Latest), Ok(())),
        (&latest, Some(Delivery::Queue), Err("the topic allows the delivery policy \"latest\" at most, not \"queue\"")),
        (&latest, Some(sample(1)), Ok(())),
        (&sampled, Some(sample(100)), Ok(())),
        (
            &sampled,
            Some(sample(99)),
            Err("the topic allows the delivery policy \"sample every 100 ms\" at most, not \"sample every 99 ms\""),
        ),
        // Where no rule matches the topic, the subscription fails because of that.
        (&None, Some(Delivery::Queue), Ok(())),
    ] {
        let action = Action::Subscribe { delivery: delivery.as_ref() };
        let decision = decide(Caller::Session(&session), action, options);
        assert_eq!(decision, expected.map_err(str::to_owned), "{delivery:?} of {options:?}");
    }
}

#[test]
fn a_topic_of_a_plugin_is_readable_only_for_admitted_sessions() {
    let (session, key) = (session(), key(&["a.b"]));
    let owned = options(|rule| rule.plugin = Some("chat".to_owned()));
    let reads = |admitted| [Action::History { admitted }, Action::Presence { admitted }];
    for action in reads(false) {
        assert!(decide(Caller::Session(&session), action, &owned).is_err(), "{action:?}");
        for caller in [Caller::Program(&key), Caller::Embedder] {
            assert_eq!(decide(caller, action, &owned), Ok(()), "{action:?} by {caller:?}");
        }
        for options in [&options(|_| {}), &None] {
            assert_eq!(decide(Caller::Session(&session), action, options), Ok(()), "{action:?}");
        }
    }
    for action in reads(true) {
        assert_eq!(decide(Caller::Session(&session), action, &owned), Ok(()), "{action:?}");
    }
}
