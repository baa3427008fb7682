//! What each operation of the HTTP API does to the broker, as far as the key that asks for it is good for that.

use rialto_protocol::{ApiAnswer, ApiRequest, Broadcast, Call, CloseCode, Disconnect, ErrorCode, Failure, History};
use rialto_protocol::{Payload, PluginLine, Publish, Published, Reply, TopicLine, Topics};

use super::keys::{selects, selects_all};
use super::plugins;
use crate::broker::{Broker, CallTarget, keyed, parse_topic};
use crate::config::ApiKey;
use crate::store::Digest;
use crate::topic::{Pattern, Topic};

/// Topics of a request that does not say how many, and the most of any request.
const TOPICS: u64 = 100;
const TOPICS_MAX: u64 = 1_000;

/// Close codes that an operator may give: those of the protocol that are not about the connection itself.
const CODES: [CloseCode; 9] = [
    CloseCode::Normal,
    CloseCode::GoingAway,
    CloseCode::PolicyViolation,
    CloseCode::TryAgainLater,
    CloseCode::Unauthorized,
    CloseCode::TokenExpired,
    CloseCode::Kicked,
    CloseCode::TooMany,
    CloseCode::DrainWithResume,
];

/// What an operation came to.
pub(super) enum OperationResult {
    Reply(Reply),
    Broadcast(Vec<(String, Result<Published, Failure>)>),
    Disconnected(u64),
    Topics(Vec<TopicLine>, bool),
    Plugins(Vec<PluginLine>),
    Plugin(Box<PluginLine>),
}

impl OperationResult {
    pub(super) fn as_answer(&self) -> ApiAnswer<'_> {
        match self {
            Self::Reply(reply) => ApiAnswer::Reply(reply),
            Self::Broadcast(outcomes) => ApiAnswer::Broadcast(outcomes),
            Self::Disconnected(sessions) => ApiAnswer::Disconnected(*sessions),
            Self::Topics(lines, more) => ApiAnswer::Topics(lines, *more),
            Self::Plugins(plugins) => ApiAnswer::Plugins(plugins),
            Self::Plugin(plugin) => ApiAnswer::Plugin(plugin),
        }
    }
}

/// Does what is asked for.
pub(super) async fn carry_out(
    broker: &Broker,
    key: &ApiKey,
    asked: ApiRequest<'_>,
) -> Result<OperationResult, Failure> {
    match asked {
        ApiRequest::Publish(publish) => publish_one(broker, key, publish).await,
        ApiRequest::Broadcast(broadcast) => publish_all(broker, key, broadcast).await,
        ApiRequest::Call(call) => ask(broker, key, call).await,
        ApiRequest::History(history) => read(broker, key, history),
        ApiRequest::Presence(topic) => present(broker, key, &topic),
        ApiRequest::Disconnect(disconnect) => end_sessions(broker, disconnect).await,
        ApiRequest::Topics(topics) => list(broker, key, topics).await,
        ApiRequest::Plugins => {
            check_all(key, "plugins are listed")?;
            Ok(OperationResult::Plugins(plugins::list(broker)))
        }
        ApiRequest::Reload(name) => {
            check_all(key, "plugins are loaded")?;
            plugins::reload(broker, &name).await.map(|plugin| OperationResult::Plugin(Box::new(plugin)))
        }
    }
}

/// What concerns no single topic is for keys that are good for all.
fn check_all(key: &ApiKey, what: &str) -> Result<(), Failure> {
    if selects_all(key) {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::Forbidden, format!("{what} with keys that are good for all topics only")))
}

async fn publish_one(broker: &Broker, key: &ApiKey, publish: Publish<'_>) -> Result<OperationResult, Failure> {
    let Publish { topic, payload, key: idempotency, .. } = publish;
    let topic = topic_of(key, &topic)?;
    check_size(broker, &payload)?;
    let published = broker.publish_for(&key.name, &topic, payload, idempotency.as_deref()).await?;
    Ok(OperationResult::Reply(Reply::Published(published)))
}

/// One topic after the other, each for itself: what fails in one concerns no other.
async fn publish_all(broker: &Broker, key: &ApiKey, broadcast: Broadcast<'_>) -> Result<OperationResult, Failure> {
    let Broadcast { topics, payload, key: idempotency } = broadcast;
    check_size(broker, &payload)?;
    // What is wrong for all is told once.
    keyed(idempotency.as_deref(), None, || Digest::of(None, Some(&payload)))?;
    let mut outcomes = Vec::with_capacity(topics.len());
    for name in topics {
        let outcome = match topic_of(key, &name) {
            Ok(topic) => broker.publish_for(&key.name, &topic, payload.clone(), idempotency.as_deref()).await,
            Err(failure) => Err(failure),
        };
        outcomes.push((name.into_owned(), outcome));
    }
    Ok(OperationResult::Broadcast(outcomes))
}

async fn ask(broker: &Broker, key: &ApiKey, call: Call<'_>) -> Result<OperationResult, Failure> {
    let Call { topic, plugin, method, payload, key: idempotency } = call;
    if let Some(payload) = &payload {
        check_size(broker, payload)?;
    }
    let asked = match (topic, plugin) {
        (Some(topic), _) => CallTarget::Topic(topic_of(key, &topic)?),
        (None, plugin) if selects_all(key) => CallTarget::Plugin(plugin.unwrap_or_default().into_owned()),
        (None, _) => {
            let message = "a plugin is called by its name with keys that are good for all topics only";
            return Err(Failure::new(ErrorCode::Forbidden, message));
        }
    };
    let answered = broker.call_for(&key.name, asked, method.into_owned(), payload, idempotency.as_deref()).await?;
    Ok(OperationResult::Reply(Reply::Answered(answered)))
}

fn read(broker: &Broker, key: &ApiKey, history: History<'_>) -> Result<OperationResult, Failure> {
    let History { topic, from, limit } = history;
    let topic = topic_of(key, &topic)?;
    broker.history(topic.as_str(), from, limit).map(|past| OperationResult::Reply(Reply::Past(past)))
}

fn present(broker: &Broker, key: &ApiKey, topic: &str) -> Result<OperationResult, Failure> {
    let topic = topic_of(key, topic)?;
    broker.presence(topic.as_str()).map(|present| OperationResult::Reply(Reply::Present(present)))
}

async fn end_sessions(broker: &Broker, disconnect: Disconnect<'_>) -> Result<OperationResult, Failure> {
    let Disconnect { sessions, code } = disconnect;
    let number = code.unwrap_or_else(|| CloseCode::Kicked.number().into());
    let Some(code) = CODES.into_iter().find(|code| u64::from(code.number()) == number) else {
        let codes = CODES.map(|code| code.number().to_string()).join(", ");
        return Err(Failure::new(ErrorCode::BadRequest, format!("field \"code\" is one of {codes}")));
    };
    Ok(OperationResult::Disconnected(broker.disconnect(sessions, code).await))
}

async fn list(broker: &Broker, key: &ApiKey, topics: Topics<'_>) -> Result<OperationResult, Failure> {
    let Topics { pattern, after, limit } = topics;
    let pattern = pattern.map(|pattern| Pattern::parse(&pattern)).transpose();
    let pattern = pattern.map_err(|error| Failure::new(ErrorCode::BadRequest, error.to_string()))?;
    let limit = limit.unwrap_or(TOPICS).min(TOPICS_MAX);
    if limit == 0 {
        return Err(Failure::new(ErrorCode::BadRequest, "field \"limit\" is 0"));
    }
    let (broker, key, after) = (broker.clone(), key.clone(), after.map(|after| after.into_owned()));
    let walk = move || {
        let selected =
            |topic: &Topic| selects(&key, topic) && pattern.as_ref().is_none_or(|pattern| pattern.matches(topic));
        let limit = usize::try_from(limit).expect("it is bounded");
        broker.topics(selected, after.as_deref(), limit)
    };
    // There may be millions of them; requests of others need not wait for that.
    let walked = tokio::task::spawn_blocking(walk).await;
    let (lines, more) = walked.map_err(|_| Failure::new(ErrorCode::Internal, "the topics cannot be listed"))?;
    Ok(OperationResult::Topics(lines, more))
}

/// A topic that the key is good for.
fn topic_of(key: &ApiKey, name: &str) -> Result<Topic, Failure> {
    let topic = parse_topic(name)?;
    if selects(key, &topic) {
        return Ok(topic);
    }
    Err(Failure::new(ErrorCode::Forbidden, format!("key \"{}\" is not good for topic \"{topic}\"", key.name)))
}

fn check_size(broker: &Broker, payload: &Payload) -> Result<(), Failure> {
    let (bytes, most) = (payload.content().len(), broker.core.limits.message_bytes);
    if bytes <= most {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::TooLarge, format!("the payload has {bytes} bytes, of which {most} are allowed")))
}
