//! The operations of the HTTP API: each becomes one request to the broker, made by the program with the API key.

use rialto_protocol::{ApiAnswer, ApiRequest, Broadcast, Call, CloseCode, Disconnect, ErrorCode, Explanation, Failure};
use rialto_protocol::{
    History, Payload, PluginLine, Publish, Published, ReloadReport, Reply, Revoke, TopicLine, Topics,
};

use super::{plugins, reload};
use crate::access::{self, Action, Target};
use crate::broker::{Broker, CallTarget, PluginCall, PublishRequest, check_key, parse_topic};
use crate::config::ApiKey;
use crate::request::caller::Caller;
use crate::topic::{Pattern, Topic};

/// Topics in an answer to a request without a limit, and the most in any answer.
const TOPICS: u64 = 100;
const TOPICS_MAX: u64 = 1_000;

/// Close codes that a request may choose: those of the protocol that are not about the connection itself.
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

/// The result of an operation.
pub(super) enum OperationResult {
    Reply(Reply),
    Broadcast(Vec<(String, Result<Published, Failure>)>),
    Done,
    Disconnected(u64),
    Explanation(Box<Explanation>),
    Topics(Vec<TopicLine>, bool),
    Plugins(Vec<PluginLine>),
    Plugin(Box<PluginLine>),
    Reload(ReloadReport),
}

impl OperationResult {
    pub(super) fn as_answer(&self) -> ApiAnswer<'_> {
        match self {
            Self::Reply(reply) => ApiAnswer::Reply(reply),
            Self::Broadcast(outcomes) => ApiAnswer::Broadcast(outcomes),
            Self::Done => ApiAnswer::Done,
            Self::Disconnected(sessions) => ApiAnswer::Disconnected(*sessions),
            Self::Explanation(explanation) => ApiAnswer::Explanation(explanation),
            Self::Topics(lines, more) => ApiAnswer::Topics(lines, *more),
            Self::Plugins(plugins) => ApiAnswer::Plugins(plugins),
            Self::Plugin(plugin) => ApiAnswer::Plugin(plugin),
            Self::Reload(report) => ApiAnswer::Reload(report),
        }
    }
}

/// Carries out one request of a program.
pub(super) async fn carry_out(
    broker: &Broker,
    key: &ApiKey,
    request: ApiRequest<'_>,
) -> Result<OperationResult, Failure> {
    let caller = Caller::Program(key);
    match request {
        ApiRequest::Publish(publish) => publish_one(broker, caller, publish).await,
        ApiRequest::Broadcast(broadcast) => publish_all(broker, caller, broadcast).await,
        ApiRequest::Call(call) => call_plugin(broker, caller, call).await,
        ApiRequest::History(history) => read_history(broker, caller, history).await,
        ApiRequest::Presence(topic) => read_presence(broker, caller, &topic),
        ApiRequest::Disconnect(disconnect) => end_sessions(broker, caller, disconnect).await,
        ApiRequest::Revoke(revoke) => revoke_tokens(broker, caller, revoke),
        ApiRequest::Explain(explain) => {
            let explanation = broker.explain_as(caller, &explain)?;
            Ok(OperationResult::Explanation(Box::new(explanation)))
        }
        ApiRequest::Topics(topics) => list_topics(broker, key, topics).await,
        ApiRequest::Plugins => {
            access::check(caller, Action::ListPlugins, Target::Broker)?;
            Ok(OperationResult::Plugins(plugins::list(broker)))
        }
        ApiRequest::Reload(name) => {
            access::check(caller, Action::ReloadPlugin, Target::Broker)?;
            plugins::reload(broker, &name).await.map(|plugin| OperationResult::Plugin(Box::new(plugin)))
        }
        ApiRequest::ReloadConfig => {
            access::check(caller, Action::ReloadConfig, Target::Broker)?;
            reload::reload(broker).await.map(OperationResult::Reload)
        }
    }
}

async fn publish_one(broker: &Broker, caller: Caller<'_>, publish: Publish<'_>) -> Result<OperationResult, Failure> {
    let Publish { topic, payload, key, .. } = publish;
    let topic = parse_topic(&topic)?;
    check_size(broker, &payload)?;
    let request = PublishRequest { topic: &topic, payload, key: key.as_deref(), echo: true };
    let published = broker.publish_as(caller, request).await?;
    Ok(OperationResult::Reply(Reply::Published(published)))
}

/// Publishes to one topic after the other. A topic that fails does not affect the others.
async fn publish_all(
    broker: &Broker,
    caller: Caller<'_>,
    broadcast: Broadcast<'_>,
) -> Result<OperationResult, Failure> {
    let Broadcast { topics, payload, key } = broadcast;
    let key = key.as_deref();
    // What is wrong for every topic is reported once, for the whole request.
    check_size(broker, &payload)?;
    check_key(key)?;
    let mut outcomes = Vec::with_capacity(topics.len());
    for name in topics {
        let outcome = match parse_topic(&name) {
            Ok(topic) => {
                let request = PublishRequest { topic: &topic, payload: payload.clone(), key, echo: true };
                broker.publish_as(caller, request).await
            }
            Err(failure) => Err(failure),
        };
        outcomes.push((name.into_owned(), outcome));
    }
    Ok(OperationResult::Broadcast(outcomes))
}

async fn call_plugin(broker: &Broker, caller: Caller<'_>, call: Call<'_>) -> Result<OperationResult, Failure> {
    let Call { topic, plugin, method, payload, key } = call;
    if let Some(payload) = &payload {
        check_size(broker, payload)?;
    }
    let target = match (topic, plugin) {
        (Some(topic), _) => CallTarget::Topic(parse_topic(&topic)?),
        (None, plugin) => CallTarget::Plugin(plugin.unwrap_or_default().into_owned()),
    };
    let call = PluginCall { target, method: method.into_owned(), payload, key: key.as_deref() };
    let answered = broker.call_as(caller, call).await?;
    Ok(OperationResult::Reply(Reply::Answered(answered)))
}

async fn read_history(broker: &Broker, caller: Caller<'_>, history: History<'_>) -> Result<OperationResult, Failure> {
    let History { topic, from, limit } = history;
    let past = broker.history_as(caller, &parse_topic(&topic)?, from, limit).await?;
    Ok(OperationResult::Reply(Reply::Past(past)))
}

fn read_presence(broker: &Broker, caller: Caller<'_>, topic: &str) -> Result<OperationResult, Failure> {
    let present = broker.presence_as(caller, false, &parse_topic(topic)?)?;
    Ok(OperationResult::Reply(Reply::Present(present)))
}

async fn end_sessions(
    broker: &Broker,
    caller: Caller<'_>,
    disconnect: Disconnect<'_>,
) -> Result<OperationResult, Failure> {
    let Disconnect { sessions, code } = disconnect;
    let number = code.unwrap_or_else(|| CloseCode::Kicked.number().into());
    let Some(code) = CODES.into_iter().find(|code| u64::from(code.number()) == number) else {
        let codes = CODES.map(|code| code.number().to_string()).join(", ");
        return Err(Failure::new(ErrorCode::BadRequest, format!("field \"code\" is one of {codes}")));
    };
    Ok(OperationResult::Disconnected(broker.disconnect_as(caller, sessions, code).await?))
}

fn revoke_tokens(broker: &Broker, caller: Caller<'_>, revoke: Revoke<'_>) -> Result<OperationResult, Failure> {
    let Revoke { tokens, for_ms } = revoke;
    access::check(caller, Action::Revoke, Target::Broker)?;
    broker.revoke(&tokens, for_ms).map(|()| OperationResult::Done)
}

async fn list_topics(broker: &Broker, key: &ApiKey, topics: Topics<'_>) -> Result<OperationResult, Failure> {
    let Topics { pattern, after, limit } = topics;
    let pattern = pattern.map(|pattern| Pattern::parse(&pattern)).transpose();
    let pattern = pattern.map_err(|error| Failure::new(ErrorCode::BadRequest, error.to_string()))?;
    let limit = limit.unwrap_or(TOPICS).min(TOPICS_MAX);
    if limit == 0 {
        return Err(Failure::new(ErrorCode::BadRequest, "field \"limit\" is 0"));
    }
    let (broker, key, after) = (broker.clone(), key.clone(), after.map(|after| after.into_owned()));
    let walk = move || {
        let selected = |topic: &Topic| pattern.as_ref().is_none_or(|pattern| pattern.matches(topic));
        let limit = usize::try_from(limit).expect("it is at most TOPICS_MAX");
        broker.topics_as(Caller::Program(&key), selected, after.as_deref(), limit)
    };
    // There may be millions of topics; other requests do not wait for the walk.
    let walked = tokio::task::spawn_blocking(walk).await;
    let (lines, more) = walked.map_err(|_| Failure::new(ErrorCode::Internal, "the topics cannot be listed"))??;
    Ok(OperationResult::Topics(lines, more))
}

fn check_size(broker: &Broker, payload: &Payload) -> Result<(), Failure> {
    let (bytes, most) = (payload.content().len(), broker.core.config.load().limits.message_bytes);
    if bytes <= most {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::TooLarge, format!("the payload has {bytes} bytes, of which {most} are allowed")))
}
