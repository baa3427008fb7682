//! The test double keeps the broker's promises: transactions, ownership, limits.

#[path = "host/rules.rs"]
mod rules;

use rialto_plugin::prelude::*;
use rialto_plugin::testing::{Effect, Failure, Host, Limits, Usage};
use rialto_plugin::{Encoding, Refusal};
use serde::{Deserialize, Serialize};

/// Does what the messages tell it to.
#[derive(Default)]
struct Puppet {
    config: Option<Settings>,
    runs: u32,
}

#[derive(Deserialize, Default, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    broken: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Publish(String),
    Put(String, usize),
    PutMany(usize),
    PublishMany(usize),
    Get(String),
    Delete(String),
    Scan(String),
    Log(String),
    Reject,
    Fail,
    Panic,
}

impl Plugin for Puppet {
    fn start(&mut self, ctx: &mut Context, config: Config) -> Result<()> {
        let settings: Settings = config.parse()?;
        if settings.broken {
            return Err(fail("it is broken"));
        }
        ctx.info("started");
        self.config = Some(settings);
        Ok(())
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        self.runs += 1;
        let mut answer = Vec::new();
        for step in call.data::<Vec<Step>>()? {
            answer.push(take(ctx, step)?);
        }
        Ok(call.reply(&answer)?)
    }

    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        ctx.publish("p.later", "later")?;
        match message.data::<String>()?.as_str() {
            "accept" => Ok(Verdict::Accept),
            "swallow" => Ok(Verdict::Swallow),
            "replace" => Ok(message.replace(&"replaced")?),
            "nan" => Ok(Verdict::Replace(Payload::msgpack(&f64::NAN)?)),
            other => Err(reject(format!("what is {other}?"))),
        }
    }
}

fn take(ctx: &Context, step: Step) -> Result<Option<usize>> {
    let texts = ctx.state::<String>("texts");
    match step {
        Step::Publish(topic) => ctx.publish(&topic, "hello")?,
        Step::Put(key, length) => texts.put(&key, &"x".repeat(length))?,
        Step::PutMany(count) => {
            for index in 0..count {
                texts.put(&format!("{index:04}"), &String::new())?;
            }
        }
        Step::PublishMany(count) => {
            for _ in 0..count {
                ctx.publish("p.a", &0)?;
            }
        }
        Step::Get(key) => return Ok(texts.get(&key)?.map(|text| text.len())),
        Step::Delete(key) => texts.delete(&key)?,
        Step::Scan(prefix) => return Ok(Some(texts.scan(&prefix).collect::<Result<Vec<_>>>()?.len())),
        Step::Log(text) => ctx.warn(text),
        Step::Reject => return Err(reject("no").detail(&json!({"kind": "no"}))),
        Step::Fail => return Err(fail("cannot")),
        Step::Panic => panic!("on purpose"),
    }
    Ok(None)
}

fn host() -> Host<Puppet> {
    Host::new(Puppet::default()).owns("p.*")
}

fn run(host: &mut Host<Puppet>, steps: &[Step]) -> Result<Option<serde_json::Value>, Failure> {
    host.call("s1", "p.a", "run", steps)
}

#[test]
fn a_hook_sees_its_own_writes_and_keeps_them_when_it_succeeds() {
    let mut host = host();
    let steps = [
        Step::Put("a".into(), 3),
        Step::Get("a".into()),
        Step::Put("b".into(), 1),
        Step::Delete("a".into()),
        Step::Get("a".into()),
        Step::Scan(String::new()),
        Step::Publish("p.x".into()),
    ];
    assert_eq!(run(&mut host, &steps), Ok(Some(json!([null, 3, null, null, null, 1, null]))));
    assert_eq!(host.state::<String>("texts").into_keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(host.take_published()[0].data, json!("hello"));
    assert!(host.published().is_empty());
}

#[test]
fn a_hook_that_does_not_succeed_leaves_nothing_but_its_log() {
    let table = [
        (Step::Reject, Failure::rejected("no", json!({"kind": "no"}))),
        (Step::Fail, Failure::Failed("cannot".into())),
        (
            Step::Publish("other.x".into()),
            Failure::Failed("forbidden: topic \"other.x\" does not belong to this plugin".into()),
        ),
        (Step::Publish("p..x".into()), Failure::Failed("invalid: topic \"p..x\": empty token at 2".into())),
        (
            Step::Put("k".repeat(1019), 0),
            Failure::Failed("invalid: a key has 1 to 1024 bytes, this one has 1025".into()),
        ),
    ];
    for (step, expected) in table {
        let mut host = host();
        host.put_state("texts", "kept", &"before");
        let steps = [
            Step::Put("kept".into(), 1),
            Step::Put("kept".into(), 2),
            Step::Put("new".into(), 1),
            Step::Delete("kept".into()),
            Step::Publish("p.x".into()),
            Step::Log("tried".into()),
            step,
        ];
        assert_eq!(run(&mut host, &steps), Err(expected));
        assert_eq!(host.state::<String>("texts"), [("kept".to_owned(), "before".to_owned())].into());
        assert!(host.published().is_empty());
        assert_eq!(host.logs(), [(Level::Info, "started".to_owned()), (Level::Warn, "tried".to_owned())]);
    }
}

#[test]
fn limits_are_the_brokers() {
    let table = [
        (vec![Step::PublishMany(1000)], None),
        (vec![Step::Put("a".into(), (1 << 20) - 20)], None),
        (vec![Step::Put("a".into(), 1 << 20)], Some("limit: output_bytes: more than 1048576 bytes in one hook")),
        (
            vec![Step::Put("a".into(), 600_000), Step::Get("a".into())],
            Some("limit: output_bytes: more than 1048576 bytes in one hook"),
        ),
        (vec![Step::PutMany(1001)], Some("limit: host_calls: too many host calls in one hook")),
    ];
    for (steps, expected) in table {
        let mut host = host();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut host, &steps)));
        let failure = match result {
            Ok(result) => result.err().map(|failure| failure.reason().to_owned()),
            Err(_) => Some("panic".to_owned()),
        };
        assert_eq!(failure.as_deref(), expected);
    }
}

#[test]
fn limits_can_be_set() {
    let table = [
        (
            Limits { effects: 2, ..Limits::default() },
            Step::PublishMany(3),
            "limit: effects: too many effects in one hook",
        ),
        (
            Limits { state_bytes: 20, ..Limits::default() },
            Step::Put("a".into(), 20),
            "limit: state_bytes: the state would be larger than 20 bytes",
        ),
        (
            Limits { transfer_bytes: 3, ..Limits::default() },
            Step::Put("a".into(), 0),
            "limit: output_bytes: more than 3 bytes in one hook",
        ),
    ];
    for (limits, step, expected) in table {
        let failure = run(&mut host().limits(limits), &[step]).expect_err(expected);
        assert_eq!(failure.reason(), expected);
    }
}

#[test]
fn a_state_over_its_quota_can_shrink() {
    let mut host = host();
    host.put_state("texts", "a", &"x".repeat(40));
    host.put_state("texts", "b", &"x");
    let mut host = host.limits(Limits { state_bytes: 20, ..Limits::default() });
    let full = "limit: state_bytes: the state would be larger than 20 bytes";
    for step in [Step::Put("c".into(), 0), Step::Put("b".into(), 2)] {
        assert_eq!(run(&mut host, &[step]).expect_err(full).reason(), full);
    }
    assert!(run(&mut host, &[Step::Put("a".into(), 39), Step::Put("b".into(), 1)]).is_ok());
    assert!(run(&mut host, &[Step::Delete("a".into())]).is_ok());
    // An entry counts 96 bytes beside key and value.
    assert_eq!(host.state_bytes(), 96 + "texts\nb".len() + 2);
}

#[test]
fn what_a_hook_used_is_counted() {
    let mut host = host();
    run(&mut host, &[Step::Put("a".into(), 3), Step::Get("a".into())]).expect("within the limits");
    let answer = "[null,3]".len();
    assert_eq!(host.used(), Usage { host_calls: 2, bytes: 2 * ("texts\na".len() + 4) + answer });
    run(&mut host, &[]).expect("within the limits");
    assert_eq!(host.used().host_calls, 0);
}

#[test]
fn a_session_is_found_among_thousands_with_one_call() {
    #[derive(Default)]
    struct Doorkeeper;
    impl Plugin for Doorkeeper {
        fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
            let topic = call.topic.as_deref().unwrap_or_default();
            Ok(call.reply(&ctx.sessions(topic).contains(&call.data::<String>()?)?)?)
        }
    }
    let mut host = Host::new(Doorkeeper);
    for number in 0..3000 {
        host.subscribe(format!("s{number}").as_str(), "p.a").expect("anyone may subscribe");
    }
    for (id, is_there) in [("s0", true), ("s10", true), ("s2999", true), ("s3000", false), ("s", false), ("", false)] {
        assert_eq!(host.call("s1", "p.a", "has", id), Ok(Some(json!(is_there))), "{id:?}");
        assert_eq!(host.used().host_calls, 1);
    }
    assert_eq!(host.call("s1", "p.b", "has", "s1"), Ok(Some(json!(false))));
}

#[test]
fn scans_go_through_all_pages() {
    let mut host = host();
    for index in 0..2500 {
        host.put_state("texts", &format!("a{index:04}"), &"x");
    }
    for (table, key) in [("texts", "b"), ("text", "a"), ("textsa", "a")] {
        host.put_state(table, key, &"x");
    }
    let scans = [Step::Scan("a".into()), Step::Scan(String::new()), Step::Scan("a1".into()), Step::Scan("c".into())];
    assert_eq!(run(&mut host, &scans), Ok(Some(json!([2500, 2501, 1000, 0]))));
}

#[test]
fn verdicts_decide_what_goes_out_first() {
    let table = [
        ("accept", Ok(Some(json!("accept"))), vec![json!("accept"), json!("later")]),
        ("replace", Ok(Some(json!("replaced"))), vec![json!("replaced"), json!("later")]),
        ("swallow", Ok(None), vec![json!("later")]),
        ("nan", Err(Failure::Failed("invalid return value: a number is not finite (byte 0)".into())), vec![]),
        ("this", Err(Failure::rejected("what is this?", json!(null))), vec![]),
    ];
    for (text, expected, published) in table {
        let mut host = host();
        assert_eq!(host.publish("s1", "p.a", text), expected);
        let data: Vec<_> = host.take_published().into_iter().map(|published| published.data).collect();
        assert_eq!(data, published);
    }
}

#[test]
fn answers_are_in_the_codec_of_the_event() {
    let steps: Vec<Step> = vec![];
    for payload in [Payload::json(&steps), Payload::msgpack(&steps)] {
        let payload = payload.expect("steps can be encoded");
        let encoding = payload.encoding;
        let call = Call::new(None, "run").with_payload(payload);
        let (answer, data) = host().request(call).expect("no steps, no failure").expect("an answer");
        assert_eq!((answer.encoding, data), (encoding, json!([])));
    }
    let message = Message::new(None, "p.a", Payload::msgpack("replace").expect("text can be encoded"));
    let published = host().publish_message(message).expect("it is replaced").expect("it goes out");
    assert_eq!(published.payload.encoding, Encoding::Msgpack);
}

#[test]
fn data_that_does_not_decode_is_a_rejection() {
    let failure = host().publish("s1", "p.a", &7).expect_err("a number is no text");
    let expected = "invalid data: invalid type: integer `7`, expected a string at line 1 column 1";
    assert_eq!(failure, Failure::rejected(expected, json!({"kind": "invalid_data"})));
}

#[test]
fn a_restart_keeps_the_state_and_loses_the_memory() {
    let mut host = host();
    run(&mut host, &[Step::Put("a".into(), 1)]).expect("a write succeeds");
    assert_eq!(host.plugin().runs, 1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&mut host, &[Step::Put("b".into(), 1), Step::Panic])
    }));
    assert!(panicked.is_err());
    host.restart().expect("it starts again");
    assert_eq!(host.plugin().runs, 0);
    assert_eq!(host.plugin().config, Some(Settings::default()));
    assert_eq!(host.state::<String>("texts").len(), 1);
}

#[test]
fn a_plugin_that_does_not_start_says_why() {
    let table = [
        (json!({"broken": true}), "it is broken"),
        (json!({"broke": true}), "config: unknown field `broke`, expected `broken`"),
        (json!({"broken": 1}), "config: broken: invalid type: integer `1`, expected a boolean"),
    ];
    for (config, expected) in table {
        let failure = Host::with_config(Puppet::default(), &config).err().expect(expected);
        assert_eq!(failure, Failure::Failed(expected.into()));
    }
}

#[test]
fn an_empty_plugin_accepts_messages_and_has_no_methods() {
    #[derive(Default)]
    struct Empty;
    impl Plugin for Empty {}

    let mut host = Host::new(Empty);
    assert_eq!(host.subscribe("s1", "a"), Ok(()));
    assert_eq!(host.publish("s1", "a", &json!({"x": 1})), Ok(Some(json!({"x": 1}))));
    let expected = Failure::rejected("no such method: \"sum\"", json!({"kind": "unknown_method"}));
    assert_eq!(host.call("s1", "a", "sum", &()), Err(expected));
    assert_eq!(host.unsubscribe("s1", "a"), Ok(()));
}

#[test]
fn time_and_randomness_come_from_the_host() {
    #[derive(Default)]
    struct Dice;
    impl Plugin for Dice {
        fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
            Ok(call.reply(&json!([ctx.now_ms(), ctx.random()]))?)
        }
    }

    let mut host = Host::new(Dice);
    let first = host.call("s1", "a", "roll", &()).expect("it rolls").expect("an answer");
    host.advance(1500);
    let second = host.call("s1", "a", "roll", &()).expect("it rolls").expect("an answer");
    assert_eq!(second[0], first[0].as_u64().expect("a time") + 1500);
    assert_eq!(second[0], host.now_ms());
    assert_ne!(second[1], first[1]);
    let again = Host::new(Dice).call("s1", "a", "roll", &()).expect("it rolls").expect("an answer");
    assert_eq!(again, first);
}

#[test]
fn a_refusal_can_be_survived() {
    #[derive(Default)]
    struct Calm;
    impl Plugin for Calm {
        fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
            let refused = matches!(ctx.publish("elsewhere", &1), Err(Refusal::Forbidden(_)));
            ctx.publish("mine", &2)?;
            Ok(call.reply(&refused)?)
        }
    }

    let mut host = Host::new(Calm).owns("mine");
    assert_eq!(host.call("s1", "mine", "try", &()), Ok(Some(json!(true))));
    assert_eq!(host.published().len(), 1);
}

#[test]
fn roles_and_info_of_a_session_are_seen_in_hooks_and_lists() {
    #[derive(Default)]
    struct Door;
    impl Plugin for Door {
        fn on_subscribe(&mut self, _: &mut Context, session: &Session, _: &str) -> Result<()> {
            if session.has_role("member") { Ok(()) } else { Err(reject("members only")) }
        }

        fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
            let mut seen = Vec::new();
            for session in &ctx.sessions("club") {
                let session = session?;
                let info = session.info.as_ref().map(|info| info.decode::<String>()).transpose()?;
                seen.push((session.id, session.roles, info));
            }
            Ok(call.reply(&seen)?)
        }
    }

    let info = Payload::json("Ann").expect("JSON");
    let ann = Session::new("s1").with_user("ann").with_roles(["member", "chair"]).with_info(info);
    let mut host = Host::new(Door).owns("club");
    host.subscribe(&ann, "club").expect("a member");
    assert_eq!(host.subscribe("s2", "club").expect_err("a stranger").reason(), "members only");
    let expected = json!([["s1", ["chair", "member"], "Ann"]]);
    assert_eq!(host.call("s2", "club", "list", &()), Ok(Some(expected)));
    // What a list tells of a session counts as transferred.
    let bytes = host.used().bytes;
    host.end(&ann).expect("it is gone");
    let member = Session::new("s1").with_user("ann").with_roles(["member".to_owned(), "r".repeat(1_000)]);
    host.subscribe(&member, "club").expect("a member again");
    host.call("s2", "club", "list", &()).expect("a list");
    assert!(host.used().bytes > bytes + 900, "{:?}", host.used());
}

/// Asks every session for a name and a secret.
#[derive(Default)]
struct Guard;

impl Plugin for Guard {
    fn on_message(&mut self, ctx: &mut Context, session: &Session, _: &str, message: Raw) -> Result<()> {
        let (user, secret, times): (String, String, usize) = message.data()?;
        (0..times).try_for_each(|_| ctx.authenticate(session, &user, &secret)).map_err(Into::into)
    }

    fn on_authenticated(
        &mut self,
        ctx: &mut Context,
        session: &Session,
        outcome: std::result::Result<(), String>,
    ) -> Result<()> {
        ctx.subscribe(session, "club")?;
        Ok(ctx.send(session, &json!([session.user, outcome.err()]))?)
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        if let Some(session) = &call.session {
            ctx.authenticate(session, "ann", "secret")?;
        }
        Ok(Reply::empty())
    }
}

#[test]
fn a_session_is_authenticated_once_at_a_time_and_only_on_a_raw_endpoint() {
    let login = |times: usize| Raw::Text(json!(["ann", "secret", times]).to_string());
    let mut host = Host::new(Guard).owns("club");
    host.connect("s1", "/raw").expect("it may");
    let limit = host.message("s1", "/raw", login(2)).expect_err("once at a time");
    assert!(limit.reason().contains("limit: authenticate"), "{limit}");
    assert_eq!(host.effects(), [], "a hook that fails has no effect");
    host.message("s1", "/raw", login(1)).expect("it is asked for");
    let (user, secret) = ("ann".to_owned(), "secret".to_owned());
    assert_eq!(host.take_effects(), [Effect::Authenticate { session: "s1".into(), user, secret }]);
    assert!(host.message("s1", "/raw", login(1)).is_err(), "it is under way");
    host.authenticated("s1", Err("wrong")).expect("the plugin knows");
    host.message("s1", "/raw", login(1)).expect("again");
    host.authenticated(Session::new("s1").with_user("ann"), Ok(())).expect("the plugin knows");
    assert_eq!(host.sent("s1"), [json!([null, "wrong"]), json!(["ann", null])]);
    host.message("s1", "/raw", login(1)).expect("a user may renew");
    host.disconnect("s1", "/raw").expect("it is gone");
    let late = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.authenticated("s1", Ok(()))));
    assert!(late.is_err(), "nothing comes of a session that has ended");
    let refused = host.call("s2", "club", "log_in", &()).expect_err("it is on no endpoint");
    assert!(refused.reason().contains("not on a raw endpoint"), "{refused}");
    let mut without = Host::new(Guard).needs(["state"]);
    without.connect("s1", "/raw").expect("it may");
    let refused = without.message("s1", "/raw", login(1)).expect_err("without the capability");
    assert!(refused.reason().contains("capability `sessions`"), "{refused}");
}

#[test]
fn the_rules_for_hooks_are_the_brokers() {
    let mut host = Host::new(rules::Tester).owns("rules.>").needs(rules::NEEDS);
    for (call, expected) in rules::cases() {
        let answer = host.call("s1", "rules.a", "try", &call).expect("a refusal is an answer").expect("an answer");
        assert_eq!(answer, expected, "{call:?}");
    }
}

#[test]
fn a_wildcard_never_selects_topics_of_the_broker() {
    let mut host = Host::new(rules::Tester).owns(">");
    assert_eq!(host.call("s1", "rules.a", "try", &json!(["publish", "a.b"])), Ok(Some(json!(""))));
    let reserved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.publish("s1", "$x.y", &1)));
    assert!(reserved.is_err(), "no event of a topic of the broker reaches a plugin");
    for pattern in ["a*b", "a>b", "a.\u{200b}b", "$x.y"] {
        let refused = std::panic::catch_unwind(|| Host::new(rules::Tester).owns(pattern));
        assert!(refused.is_err(), "{pattern:?} is no pattern");
    }
}
