//! A plugin that does what it is told: every event may carry steps, and so may its topics' names and its settings.

use rialto::config::{Config as Settings, History, PluginConfig, TopicRule};
use rialto::topic::Pattern;
use rialto::{Builder, Codec, ManualClock, Snapshot};
use rialto_plugin::Session;
use rialto_plugin::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Client, Running};

/// One thing that a hook is to do.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Put(String, Value),
    Delete(String),
    Get(String),
    Publish(String, Value),
    PublishExcept(String, String, Value),
    Remove(String, u64),
    Send(String, Value),
    Text(String, String),
    Subscribe(String, String),
    Unsubscribe(String, String),
    Disconnect(String, String),
    Authenticate(String, String, String),
    Timer(String, u64),
    TimerWith(String, u64, Value),
    Cancel(String),
    Due(String),
    Sessions(String),
    Count(String),
    /// The number of host calls: more than may be.
    Flood(u32),
    Panic(String),
    Fail(String),
    Reject(String),
}

/// It answers a call with what its steps have read.
#[derive(Debug, Default)]
pub(crate) struct Puppet {
    /// Lost with the instance.
    calls: u64,
    topic: Option<String>,
}

impl Plugin for Puppet {
    fn start(&mut self, ctx: &mut Context, config: Config) -> Result<()> {
        self.topic = config.topic().map(str::to_owned);
        #[derive(Deserialize)]
        struct Told {
            #[serde(default)]
            start: Vec<Step>,
        }
        let told: Told = config.parse()?;
        follow(ctx, &told.start).map(drop)
    }

    fn serves(&self) -> Vec<String> {
        vec!["call steps [step]".to_owned()]
    }

    fn on_connect(&mut self, ctx: &mut Context, session: &Session, endpoint: &str) -> Result<()> {
        if endpoint == "/closed" {
            return Err(reject("nobody comes in here"));
        }
        ctx.send_raw(session, Raw::Text(format!("hello at {endpoint}")))?;
        Ok(())
    }

    fn on_disconnect(&mut self, ctx: &mut Context, session: &Session, endpoint: &str) -> Result<()> {
        Ok(ctx.publish("p.ended", &json!({"session": session.id, "endpoint": endpoint}))?)
    }

    fn on_message(&mut self, ctx: &mut Context, session: &Session, _: &str, message: Raw) -> Result<()> {
        match &message {
            Raw::Binary(_) => Ok(ctx.send_raw(session, message)?),
            Raw::Text(text) => match text.split_once(' ') {
                Some(("join", topic)) => Ok(ctx.subscribe(session, topic)?),
                Some(("login", both)) => log_in(ctx, session, both),
                Some(("twice", both)) => {
                    log_in(ctx, session, both)?;
                    let refused = log_in(ctx, session, both).expect_err("once at a time");
                    Ok(ctx.send_raw(session, Raw::Text(refused.to_string()))?)
                }
                Some(("fail", both)) => {
                    log_in(ctx, session, both)?;
                    Err(fail("nothing of it happens"))
                }
                None if text == "who" => Ok(ctx.send(session, &who(session)?)?),
                _ => follow(ctx, &message.data::<Vec<Step>>()?).map(drop),
            },
        }
    }

    fn on_authenticated(
        &mut self,
        ctx: &mut Context,
        session: &Session,
        outcome: std::result::Result<(), String>,
    ) -> Result<()> {
        ctx.publish("p.ended", &json!({"session": session.id, "user": session.user}))?;
        Ok(ctx.send(session, &json!({"outcome": outcome.err(), "who": who(session)?}))?)
    }

    fn on_subscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let count = ctx.sessions(topic).count()?;
        Ok(ctx.send(session, &json!({"type": "x-snapshot", "topic": topic, "others": count}))?)
    }

    fn on_unsubscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let left = ctx.sessions(topic).count()?;
        Ok(ctx.publish("p.left", &json!({"session": session.id, "topic": topic, "left": left}))?)
    }

    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        if let Ok(steps) = message.data::<Vec<Step>>() {
            follow(ctx, &steps)?;
        }
        Ok(Verdict::Accept)
    }

    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        self.calls += 1;
        match call.method.as_str() {
            "who" => {
                let session = call.session.as_ref().ok_or_else(|| fail("nobody calls"))?;
                Ok(call.reply(&who(session)?)?)
            }
            "memory" => Ok(call.reply(&json!({"calls": self.calls, "topic": self.topic}))?),
            _ => {
                let read = follow(ctx, &call.data::<Vec<Step>>()?)?;
                Ok(call.reply(&read)?)
            }
        }
    }

    fn on_timer(&mut self, ctx: &mut Context, timer: Timer) -> Result<()> {
        let data = timer.payload.as_ref().map(|payload| payload.decode::<Value>()).transpose()?;
        if timer.name.starts_with("fails") {
            ctx.warn("the timer was called");
            ctx.publish("p.timers", &"never seen")?;
            return Err(fail("it fails every time"));
        }
        if timer.name == "again" {
            let count = ctx.state::<u64>("ticks").get("again")?.unwrap_or(0) + 1;
            ctx.state("ticks").put("again", &count)?;
            if count < 3 {
                ctx.set_timer("again", 1)?;
            }
        }
        Ok(ctx.publish("p.timers", &json!({"name": timer.name, "data": data, "topic": self.topic}))?)
    }
}

/// What a plugin gets of a session.
fn who(session: &Session) -> Result<Value> {
    let info = session.info.as_ref().map(|info| info.decode::<Value>()).transpose()?;
    let (user, roles) = (&session.user, &session.roles);
    Ok(json!({"user": user, "roles": roles, "is_admin": session.has_role("admin"), "info": info}))
}

/// Authenticates a session as this user with this secret, a space between them.
fn log_in(ctx: &Context, session: &Session, both: &str) -> Result<()> {
    let (user, secret) = both.split_once(' ').ok_or_else(|| fail("no secret"))?;
    Ok(ctx.authenticate(session, user, secret)?)
}

/// Does the steps in their order; gives what those have read that read something.
fn follow(ctx: &Context, steps: &[Step]) -> Result<Vec<Value>> {
    let mut read = Vec::new();
    let session = |id: &str| Session::new(id);
    for step in steps {
        match step {
            Step::Put(key, value) => ctx.state("kv").put(key, value)?,
            Step::Delete(key) => ctx.state::<Value>("kv").delete(key)?,
            Step::Get(key) => read.push(ctx.state::<Value>("kv").get(key)?.unwrap_or(Value::Null)),
            Step::Publish(topic, data) => ctx.publish(topic, data)?,
            Step::PublishExcept(id, topic, data) => ctx.publish_except(&session(id), topic, data)?,
            Step::Remove(topic, offset) => ctx.remove(topic, *offset)?,
            Step::Send(id, data) => ctx.send(&session(id), data)?,
            Step::Text(id, text) => ctx.send_raw(&session(id), Raw::Text(text.clone()))?,
            Step::Subscribe(id, topic) => ctx.subscribe(&session(id), topic)?,
            Step::Unsubscribe(id, topic) => ctx.unsubscribe(&session(id), topic)?,
            Step::Disconnect(id, reason) => ctx.disconnect(&session(id), reason)?,
            Step::Authenticate(id, user, secret) => ctx.authenticate(&session(id), user, secret)?,
            Step::Timer(name, delay_ms) => ctx.set_timer(name, *delay_ms)?,
            Step::TimerWith(name, delay_ms, data) => ctx.set_timer_with(name, *delay_ms, data)?,
            Step::Cancel(name) => ctx.cancel_timer(name)?,
            Step::Due(name) => read.push(json!(ctx.timer_due_ms(name)?)),
            Step::Sessions(topic) => {
                let ids: Result<Vec<String>> = ctx.sessions(topic).iter().map(|session| Ok(session?.id)).collect();
                read.push(json!(ids?));
            }
            Step::Count(topic) => read.push(json!(ctx.sessions(topic).count()?)),
            Step::Flood(calls) => (0..*calls).for_each(|_| _ = ctx.now_ms()),
            Step::Panic(text) => panic!("{text}"),
            Step::Fail(text) => return Err(fail(text.clone())),
            Step::Reject(text) => return Err(reject(text.clone())),
        }
    }
    Ok(read)
}

/// A broker whose topics `p.>` belong to the puppet and keep their history; all others are open.
pub(crate) fn running(change: impl FnOnce(&mut Settings, &mut PluginConfig)) -> Running {
    built(change, |builder| builder)
}

/// A broker that goes by this clock.
pub(crate) fn running_by(clock: &ManualClock) -> Running {
    running_by_with(clock, |_, _| {})
}

/// The same with other settings.
pub(crate) fn running_by_with(clock: &ManualClock, change: impl FnOnce(&mut Settings, &mut PluginConfig)) -> Running {
    built(change, |builder| builder.clock(clock.clone()))
}

fn built(change: impl FnOnce(&mut Settings, &mut PluginConfig), tell: impl FnOnce(Builder) -> Builder) -> Running {
    Running::built(
        |settings| {
            let mut plugin = PluginConfig::default();
            plugin.grants.push("publish open.>".to_owned());
            plugin.grants.push("subscribe open.>".to_owned());
            own(settings, "p.>", "puppet");
            settings.topics[0].history = Some(History::default());
            change(settings, &mut plugin);
            settings.plugins.insert("puppet".to_owned(), plugin);
        },
        |builder| tell(builder.plugin("puppet", Puppet::default)),
    )
}

/// Gives topics to a plugin.
pub(crate) fn own(settings: &mut Settings, pattern: &str, plugin: &str) {
    let pattern = Pattern::parse(pattern).unwrap();
    settings.topics.insert(0, TopicRule { pattern, plugin: Some(plugin.to_owned()), ..TopicRule::default() });
}

/// A call that does these steps.
pub(crate) fn steps(steps: Value) -> Value {
    json!({"type": "call", "topic": "p.a", "method": "steps", "data": steps})
}

/// The id of a session.
pub(crate) fn id(client: &Client) -> String {
    client.welcome["session"].as_str().unwrap().to_owned()
}

/// A session on a topic, what it was sent at first taken.
pub(crate) async fn subscribed(running: &Running, codec: Codec, topic: &str) -> Client {
    let mut client = running.client(codec).await;
    client.subscribe(topic).await;
    assert_eq!(client.push().await["type"], "x-snapshot");
    client
}

/// The broker's numbers.
pub(crate) fn counted(running: &Running) -> Snapshot {
    running.broker.metrics()
}
