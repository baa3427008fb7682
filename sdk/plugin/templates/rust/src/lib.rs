//! {{name}}: what happens on its topics.

use rialto_plugin::prelude::*;

/// Texts go out in capitals and are counted.
#[derive(Debug, Default)]
pub struct {{Type}};

impl Plugin for {{Type}} {
    fn serves(&self) -> Vec<String> {
        vec!["call count".to_owned()]
    }

    /// A session wants to subscribe: it is greeted, after the answer and before the first message.
    fn on_subscribe(&mut self, ctx: &mut Context, session: &Session, topic: &str) -> Result<()> {
        let count = count(ctx, topic)?;
        Ok(ctx.send(session, &json!({"type": "x-hello", "topic": topic, "count": count}))?)
    }

    /// A message was published: whatever is no text is refused.
    fn on_publish(&mut self, ctx: &mut Context, message: Message) -> Result<Verdict> {
        let text: String = message.data()?;
        ctx.state("counts").put(&message.topic, &(count(ctx, &message.topic)? + 1))?;
        Ok(message.replace(&text.to_uppercase())?)
    }

    /// A client calls a method: `count` is how many messages the topic has had.
    fn on_call(&mut self, ctx: &mut Context, call: Call) -> Result<Reply> {
        match (call.method.as_str(), &call.topic) {
            ("count", Some(topic)) => Ok(call.reply(&count(ctx, topic)?)?),
            (method, _) => Err(reject(format!("there is no method {method} here"))),
        }
    }
}

/// How many messages a topic has had. State outlives the instance.
fn count(ctx: &Context, topic: &str) -> Result<u64> {
    Ok(ctx.state("counts").get(topic)?.unwrap_or(0))
}

rialto_plugin::export!({{Type}}, needs: ["state"]);
