//! The bodies of the HTTP API: the fields of requests and replies as in frames, without `type` and `id`. It knows no HTTP.

use std::borrow::Cow;
use std::sync::Arc;

use crate::explain::{Explain, Explanation, explain, write_explanation};
use crate::fields::{Field, Fields};
use crate::frame::{Failure, Position};
use crate::plugins::{PluginLine, write_plugin, write_plugins};
use crate::reload::{ReloadReport, write_reload};
use crate::reply::{Published, Reply, write_published, write_reply};
use crate::request::{Call, History, Publish, call, history, publish, required};
use crate::value::{json, msgpack};
use crate::writer::{Writer, write_failure, write_position};
use crate::{Codec, Payload};

/// What a program may do by the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiOperation {
    /// Send a message to a topic.
    Publish,
    /// Send a message to many topics.
    Broadcast,
    /// Ask a plugin.
    Call,
    /// Read past messages.
    History,
    /// Ask who is present in a topic.
    Presence,
    /// End sessions.
    Disconnect,
    /// Revoke tokens.
    Revoke,
    /// Ask what somebody may do with a topic.
    Explain,
    /// List the topics in memory.
    Topics,
    /// List the plugins.
    Plugins,
    /// Load a plugin again.
    Reload,
    /// Apply the configuration file again.
    ReloadConfig,
}

/// One request of the HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiRequest<'b> {
    /// Send a message to a topic.
    Publish(Publish<'b>),
    /// Send a message to many topics.
    Broadcast(Broadcast<'b>),
    /// Ask a plugin.
    Call(Call<'b>),
    /// Read past messages.
    History(History<'b>),
    /// Ask who is present in this topic.
    Presence(Cow<'b, str>),
    /// End sessions.
    Disconnect(Disconnect<'b>),
    /// Revoke tokens.
    Revoke(Revoke<'b>),
    /// Ask what somebody may do with a topic.
    Explain(Explain<'b>),
    /// List the topics in memory.
    Topics(Topics<'b>),
    /// List the plugins.
    Plugins,
    /// Load the plugin of this name again.
    Reload(Cow<'b, str>),
    /// Apply the configuration file again.
    ReloadConfig,
}

/// The fields of `broadcast`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast<'b> {
    /// Where to, 1 to [`Broadcast::TOPICS_MAX`].
    pub topics: Vec<Cow<'b, str>>,
    /// What.
    pub payload: Payload,
    /// The idempotency key, which counts in each topic for itself.
    pub key: Option<Cow<'b, str>>,
}

/// The fields of `disconnect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect<'b> {
    /// Which sessions.
    pub sessions: Sessions<'b>,
    /// The close code; none means that they were kicked.
    pub code: Option<u64>,
}

/// The fields of `revoke`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke<'b> {
    /// Which tokens.
    pub tokens: Tokens<'b>,
    /// For how many milliseconds; none means as long as most tokens live.
    pub for_ms: Option<u64>,
}

/// Which tokens are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens<'b> {
    /// That of the session with this id.
    OfSession(Cow<'b, str>),
    /// All of this user that were issued until now.
    OfUser(Cow<'b, str>),
    /// The one with this id, its claim `jti`.
    One(Cow<'b, str>),
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sessions<'b> {
    /// The one with this id.
    One(Cow<'b, str>),
    /// All of this user.
    OfUser(Cow<'b, str>),
}

/// The fields of `topics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics<'b> {
    /// Which topics; none means all.
    pub pattern: Option<Cow<'b, str>>,
    /// The last topic of the page before; none means from the first.
    pub after: Option<Cow<'b, str>>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// The body of an answer of the HTTP API.
#[derive(Clone, Copy, Debug)]
pub enum ApiAnswer<'a> {
    /// What an `ok` carries.
    Reply(&'a Reply),
    /// What an `error` carries.
    Failure(&'a Failure),
    /// The outcome for each topic of a broadcast, in the order of the request.
    Broadcast(&'a [(String, Result<Published, Failure>)]),
    /// It is done, and there is nothing to say of it.
    Done,
    /// So many sessions were told to end.
    Disconnected(u64),
    /// What somebody may do with a topic.
    Explanation(&'a Explanation),
    /// Topics in memory by name, and whether there are more behind them.
    Topics(&'a [TopicLine], bool),
    /// The plugins by name.
    Plugins(&'a [PluginLine]),
    /// One plugin.
    Plugin(&'a PluginLine),
    /// What a reload of the configuration has changed.
    Reload(&'a ReloadReport),
}

/// A topic in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLine {
    /// Its name.
    pub topic: Arc<str>,
    /// Its last message.
    pub position: Position,
    /// Subscriptions of all sessions.
    pub subscribers: u64,
}

impl Broadcast<'_> {
    /// Most topics of one broadcast.
    pub const TOPICS_MAX: usize = 1_000;
}

impl Sessions<'_> {
    /// Whether the one with this id and this user is meant.
    pub fn includes(&self, id: &str, of_user: Option<&str>) -> bool {
        match self {
            Self::One(session) => **session == *id,
            Self::OfUser(user) => of_user == Some(&**user),
        }
    }

    /// The same without what it borrows.
    pub fn into_owned(self) -> Sessions<'static> {
        match self {
            Self::One(session) => Sessions::One(session.into_owned().into()),
            Self::OfUser(user) => Sessions::OfUser(user.into_owned().into()),
        }
    }
}

impl ApiOperation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Publish,
        Self::Broadcast,
        Self::Call,
        Self::History,
        Self::Presence,
        Self::Disconnect,
        Self::Revoke,
        Self::Explain,
        Self::Topics,
        Self::Plugins,
        Self::Reload,
        Self::ReloadConfig,
    ];

    /// The name in paths and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Call => "call",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Disconnect => "disconnect",
            Self::Revoke => "revoke",
            Self::Explain => "explain",
            Self::Topics => "topics",
            Self::Plugins => "plugins",
            Self::Reload => "plugins/reload",
            Self::ReloadConfig => "reload",
        }
    }

    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

impl<'b> ApiRequest<'b> {
    /// Decodes the body of a request.
    ///
    /// # Errors
    /// A sentence for the sender that names what is wrong, by the same rules as for frames.
    pub fn decode(operation: ApiOperation, codec: Codec, body: &'b [u8]) -> Result<Self, String> {
        let (fields, outcome) = Fields::read(codec, body);
        outcome.map_err(|message| message.replacen("the frame", "the body", 1))?;
        match operation {
            ApiOperation::Publish => publish(&fields).map(Self::Publish),
            ApiOperation::Broadcast => broadcast(&fields).map(Self::Broadcast),
            ApiOperation::Call => call(&fields).map(Self::Call),
            ApiOperation::History => history(&fields).map(Self::History),
            ApiOperation::Presence => required(&fields, Field::Topic).map(Self::Presence),
            ApiOperation::Disconnect => disconnect(&fields).map(Self::Disconnect),
            ApiOperation::Revoke => revoke(&fields).map(Self::Revoke),
            ApiOperation::Explain => explain(&fields).map(Self::Explain),
            ApiOperation::Topics => topics(&fields).map(Self::Topics),
            ApiOperation::Plugins => Ok(Self::Plugins),
            ApiOperation::Reload => required(&fields, Field::Plugin).map(Self::Reload),
            ApiOperation::ReloadConfig => Ok(Self::ReloadConfig),
        }
    }
}

fn broadcast<'b>(fields: &Fields<'b>) -> Result<Broadcast<'b>, String> {
    let topics = fields.texts(Field::Topics)?.ok_or("field \"topics\" is missing")?;
    if topics.is_empty() || topics.len() > Broadcast::TOPICS_MAX {
        return Err(format!("field \"topics\" has {} topics, not 1 to {}", topics.len(), Broadcast::TOPICS_MAX));
    }
    let payload = fields.payload()?.ok_or("field \"data\" or \"bytes\" is missing")?;
    Ok(Broadcast { topics, payload, key: fields.text(Field::Key)? })
}

fn disconnect<'b>(fields: &Fields<'b>) -> Result<Disconnect<'b>, String> {
    let sessions = match (fields.text(Field::Session)?, fields.text(Field::User)?) {
        (Some(session), None) => Sessions::One(session),
        (None, Some(user)) => Sessions::OfUser(user),
        _ => return Err("one of the fields \"session\" and \"user\" is needed".to_owned()),
    };
    Ok(Disconnect { sessions, code: fields.number(Field::Code, "a close code")? })
}

fn revoke<'b>(fields: &Fields<'b>) -> Result<Revoke<'b>, String> {
    let (session, user, token) = (Field::Session, Field::User, Field::Token);
    let tokens = match (fields.text(session)?, fields.text(user)?, fields.text(token)?) {
        (Some(session), None, None) => Tokens::OfSession(session),
        (None, Some(user), None) => Tokens::OfUser(user),
        (None, None, Some(token)) => Tokens::One(token),
        _ => return Err("one of the fields \"session\", \"user\" and \"token\" is needed".to_owned()),
    };
    Ok(Revoke { tokens, for_ms: fields.number(Field::ForMs, "a number of milliseconds")? })
}

fn topics<'b>(fields: &Fields<'b>) -> Result<Topics<'b>, String> {
    Ok(Topics {
        pattern: fields.text(Field::Pattern)?,
        after: fields.text(Field::After)?,
        limit: fields.number(Field::Limit, "a count")?,
    })
}

impl ApiAnswer<'_> {
    /// Appends the body to `out`.
    pub fn encode(&self, codec: Codec, out: &mut Vec<u8>) {
        match codec {
            Codec::Json => self.write(&mut json::Writer::new(out)),
            Codec::MessagePack => self.write(&mut msgpack::Writer::new(out)),
        }
    }

    fn write(&self, out: &mut impl Writer) {
        out.map();
        match self {
            Self::Reply(reply) => write_reply(out, reply),
            Self::Failure(failure) => write_failure(out, failure),
            Self::Broadcast(outcomes) => write_broadcast(out, outcomes),
            Self::Done => {}
            Self::Disconnected(sessions) => out.number_field("sessions", *sessions),
            Self::Explanation(explanation) => write_explanation(out, explanation),
            Self::Topics(lines, more) => write_topics(out, lines, *more),
            Self::Plugins(plugins) => write_plugins(out, plugins),
            Self::Plugin(plugin) => write_plugin(out, plugin),
            Self::Reload(report) => write_reload(out, report),
        }
        out.end();
    }
}

fn write_broadcast(out: &mut impl Writer, outcomes: &[(String, Result<Published, Failure>)]) {
    out.key("topics");
    out.array();
    for (topic, outcome) in outcomes {
        out.map();
        out.text_field("topic", topic);
        match outcome {
            Ok(published) => write_published(out, published),
            Err(failure) => {
                out.key("error");
                out.map();
                write_failure(out, failure);
                out.end();
            }
        }
        out.end();
    }
    out.end();
}

fn write_topics(out: &mut impl Writer, lines: &[TopicLine], more: bool) {
    out.key("topics");
    out.array();
    for TopicLine { topic, position, subscribers } in lines {
        out.map();
        out.text_field("topic", topic);
        write_position(out, position);
        out.number_field("subscribers", *subscribers);
        out.end();
    }
    out.end();
    out.key("more");
    out.bool(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::plugins::PluginFailureLine;

    fn text(answer: &ApiAnswer<'_>) -> String {
        let mut out = Vec::new();
        answer.encode(Codec::Json, &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn bodies_are_read_by_the_rules_of_frames() {
        for (operation, body, expected) in [
            (ApiOperation::Publish, r#"{"topic":"a","data":1}"#, Ok(())),
            (ApiOperation::Publish, r#"{"topic":"a"}"#, Err("field \"data\" or \"bytes\" is missing")),
            (ApiOperation::Publish, "[1]", Err("the body is not a map")),
            (ApiOperation::Broadcast, r#"{"topics":["a","b"],"bytes":"AAE="}"#, Ok(())),
            (ApiOperation::Broadcast, r#"{"topics":[],"data":1}"#, Err("field \"topics\" has 0 topics, not 1 to 1000")),
            (
                ApiOperation::Broadcast,
                r#"{"topics":["a",1],"data":1}"#,
                Err("field \"topics\" is not a list of strings"),
            ),
            (ApiOperation::Broadcast, r#"{"topics":"a","data":1}"#, Err("field \"topics\" is not a list of strings")),
            (ApiOperation::Presence, "{}", Err("field \"topic\" is missing")),
            (ApiOperation::Disconnect, r#"{"session":"s","code":4003}"#, Ok(())),
            (
                ApiOperation::Disconnect,
                r#"{"session":"s","user":"u"}"#,
                Err("one of the fields \"session\" and \"user\" is needed"),
            ),
            (ApiOperation::Revoke, r#"{"user":"u","for_ms":1000}"#, Ok(())),
            (ApiOperation::Revoke, r#"{"token":"t"}"#, Ok(())),
            (
                ApiOperation::Revoke,
                r#"{"token":"t","user":"u"}"#,
                Err("one of the fields \"session\", \"user\" and \"token\" is needed"),
            ),
            (ApiOperation::Explain, r#"{"topic":"a"}"#, Ok(())),
            (ApiOperation::Explain, r#"{"topic":"a","user":"u","roles":["r"],"action":"publish"}"#, Ok(())),
            (ApiOperation::Explain, r#"{"topic":"a","token":"t"}"#, Ok(())),
            (ApiOperation::Explain, r#"{"user":"u"}"#, Err("field \"topic\" is missing")),
            (ApiOperation::Explain, r#"{"topic":"a","roles":["r"]}"#, Err("field \"roles\" needs a \"user\"")),
            (
                ApiOperation::Explain,
                r#"{"topic":"a","token":"t","user":"u"}"#,
                Err("field \"token\" stands in the place of \"user\" and \"roles\""),
            ),
            (ApiOperation::Topics, "{}", Ok(())),
            (ApiOperation::Topics, r#"{"limit":-1}"#, Err("field \"limit\" is not a count")),
            (ApiOperation::Plugins, "{}", Ok(())),
            (ApiOperation::Reload, r#"{"plugin":"chat"}"#, Ok(())),
            (ApiOperation::Reload, "{}", Err("field \"plugin\" is missing")),
        ] {
            let decoded = ApiRequest::decode(operation, Codec::Json, body.as_bytes());
            assert_eq!(decoded.map(|_| ()), expected.map_err(str::to_owned), "{body}");
        }
        let body = b"\x82\xa6topics\x92\xa1a\xa1b\xa4data\xc3";
        let Ok(ApiRequest::Broadcast(broadcast)) =
            ApiRequest::decode(ApiOperation::Broadcast, Codec::MessagePack, body)
        else {
            panic!("a broadcast");
        };
        assert_eq!(broadcast.topics, ["a", "b"]);
    }

    #[test]
    fn answers_are_what_frames_carry() {
        let position = Position { epoch: "e".into(), offset: 3 };
        let published = Published { position: Some(position.clone()), duplicate: true };
        let failure = Failure::new(ErrorCode::Busy, "later").retry_after_ms(5);
        let failed = PluginFailureLine { hook: "on-call".into(), topic: None, text: "trap".into(), time: 9 };
        let plugin = PluginLine {
            name: "chat".into(),
            needs: vec!["state".into()],
            state: "running".into(),
            instances: 1,
            last_failure: Some(failed),
            ..PluginLine::default()
        };
        let lines = [TopicLine { topic: "a".into(), position, subscribers: 2 }];
        for (answer, expected) in [
            (
                ApiAnswer::Reply(&Reply::Published(published.clone())),
                r#"{"position":{"epoch":"e","offset":3},"duplicate":true}"#,
            ),
            (ApiAnswer::Failure(&failure), r#"{"code":"busy","message":"later","retry_after_ms":5}"#),
            (
                ApiAnswer::Broadcast(&[("a".to_owned(), Ok(published)), ("b".to_owned(), Err(failure.clone()))]),
                concat!(
                    r#"{"topics":[{"topic":"a","position":{"epoch":"e","offset":3},"duplicate":true},"#,
                    r#"{"topic":"b","error":{"code":"busy","message":"later","retry_after_ms":5}}]}"#
                ),
            ),
            (ApiAnswer::Disconnected(7), r#"{"sessions":7}"#),
            (
                ApiAnswer::Topics(&lines, false),
                r#"{"topics":[{"topic":"a","position":{"epoch":"e","offset":3},"subscribers":2}],"more":false}"#,
            ),
            (ApiAnswer::Plugins(&[]), r#"{"plugins":[]}"#),
            (
                ApiAnswer::Plugin(&plugin),
                concat!(
                    r#"{"name":"chat","package":"","version":"","hash":"","bytes":0,"needs":["state"],"grants":[],"#,
                    r#""serves":[],"state":"running","instances":1,"timers":0,"hooks":0,"failures":0,"waiting":0,"#,
                    r#""state_bytes":0,"native":false,"last_failure":{"hook":"on-call","text":"trap","time":9}}"#
                ),
            ),
        ] {
            assert_eq!(text(&answer), expected);
        }
    }
}
