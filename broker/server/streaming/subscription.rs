//! The subscriptions of a client without WebSocket: its query as subscribe requests of the protocol. The session authorizes
//! them.

use rialto_protocol::{ErrorCode, Failure, Position};
use serde_json::{Map, Value, json};

use crate::broker::parse_topic;
use crate::server::http::query::{BadQuery, Query};
use crate::topic::Pattern;

/// Most topics and patterns of one stream, so that all their positions fit into an event's id.
const TOPICS_MAX: usize = 50;

/// The parameters of a subscription.
const NAMES: [&str; 6] = ["topic", "last", "delivery", "field", "every_ms", "presence"];

/// Topics and the options for all of them.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::server) struct SubscriptionQuery {
    /// Topics and patterns, each once.
    pub(in crate::server) topics: Vec<String>,
    pub(in crate::server) last: Option<u64>,
    delivery: Option<Value>,
    presence: bool,
}

impl SubscriptionQuery {
    /// Reads `topic` (once or more), `last`, `delivery` with `field` and `every_ms`, and `presence`; `others` are the names of
    /// parameters that somebody else reads.
    pub(in crate::server) fn read(query: &Query<'_>, others: &[&str]) -> Result<Self, Failure> {
        let known = [&NAMES[..], others].concat();
        if let Some(name) = query.unknown(&known) {
            return Err(bad(format!("unknown parameter {name:?}; known are: {}", known.join(", "))));
        }
        let mut topics: Vec<String> = Vec::new();
        for topic in query.all("topic").filter(|topic| !topic.is_empty()) {
            if !topics.iter().any(|there| there == topic) {
                topics.push(topic.to_owned());
            }
        }
        if topics.is_empty() || topics.len() > TOPICS_MAX {
            return Err(bad(format!("\"topic\" must be given once for each topic, 1 to {TOPICS_MAX} times")));
        }
        for topic in topics.iter().filter(|topic| !is_pattern(topic)) {
            parse_topic(topic)?;
        }
        let presence = match one(query, "presence")? {
            None | Some("false" | "0") => false,
            Some("" | "true" | "1") => true,
            Some(_) => return Err(bad("\"presence\" must be true or false")),
        };
        Ok(Self { topics, last: number(query, "last")?, delivery: delivery(query)?, presence })
    }

    /// The request that subscribes to one of the topics; its id is the index of the topic, counted from 1.
    pub(in crate::server) fn request(&self, index: usize, since: Option<&Position>) -> Vec<u8> {
        let topic = &self.topics[index];
        let mut request = json!({ "type": "subscribe", "id": index + 1, "topic": topic });
        if let Some(Position { epoch, offset }) = since {
            request["since"] = json!({ "epoch": &**epoch, "offset": offset });
        }
        if !is_pattern(topic) {
            if let Some(last) = self.last {
                request["last"] = last.into();
            }
            if self.presence {
                request["presence"] = true.into();
            }
        }
        if let Some(delivery) = &self.delivery {
            request["delivery"] = delivery.clone();
        }
        request.to_string().into_bytes()
    }
}

/// Whether it can select more than one topic.
pub(in crate::server) fn is_pattern(text: &str) -> bool {
    Pattern::parse(text).is_ok_and(|pattern| !pattern.is_exact())
}

pub(in crate::server) fn one<'q>(query: &'q Query<'_>, name: &str) -> Result<Option<&'q str>, Failure> {
    query.one(name).map_err(|BadQuery| bad(format!("\"{name}\" may be given once")))
}

pub(in crate::server) fn number(query: &Query<'_>, name: &str) -> Result<Option<u64>, Failure> {
    let parse = |text: &str| text.parse().map_err(|_| bad(format!("\"{name}\" must be a whole number")));
    one(query, name)?.map(parse).transpose()
}

pub(in crate::server) fn bad(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRequest, message)
}

/// The delivery policy, as in a subscribe request.
fn delivery(query: &Query<'_>) -> Result<Option<Value>, Failure> {
    let (field, every_ms) = (one(query, "field")?, number(query, "every_ms")?);
    let Some(policy) = one(query, "delivery")? else {
        return if field.is_none() && every_ms.is_none() {
            Ok(None)
        } else {
            Err(bad("\"field\" and \"every_ms\" need a \"delivery\""))
        };
    };
    if field.is_none() && every_ms.is_none() {
        return Ok(Some(policy.into()));
    }
    let mut map = Map::new();
    map.insert("policy".to_owned(), policy.into());
    map.extend(field.map(|field| ("field".to_owned(), field.into())));
    map.extend(every_ms.map(|every_ms| ("every_ms".to_owned(), every_ms.into())));
    Ok(Some(map.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<SubscriptionQuery, String> {
        SubscriptionQuery::read(&Query::parse(query).expect("a query"), &[]).map_err(|failure| failure.message)
    }

    #[test]
    fn queries_become_requests() {
        let since = Position { epoch: "e".into(), offset: 3 };
        for (query, since, request) in [
            ("topic=a", None, json!({"topic": "a"})),
            ("topic=a&topic=a&last=2", None, json!({"topic": "a", "last": 2})),
            (
                "topic=a&presence=true",
                Some(&since),
                json!({"topic": "a", "since": {"epoch": "e", "offset": 3}, "presence": true}),
            ),
            ("topic=a.*&last=2&presence=1", None, json!({"topic": "a.*"})),
            ("topic=a&delivery=latest", None, json!({"topic": "a", "delivery": "latest"})),
            (
                "topic=a&delivery=sample&every_ms=9",
                None,
                json!({"topic": "a", "delivery": {"policy": "sample", "every_ms": 9}}),
            ),
            (
                "topic=a&delivery=latest_by&field=/b",
                None,
                json!({"topic": "a", "delivery": {"policy": "latest_by", "field": "/b"}}),
            ),
        ] {
            let mut expected = request;
            expected["type"] = "subscribe".into();
            expected["id"] = 1.into();
            let request = read(query).expect("a selection").request(0, since);
            assert_eq!(serde_json::from_slice::<Value>(&request).expect("JSON"), expected, "{query}");
        }
        for (query, reason) in [
            ("", "\"topic\" must"),
            ("topic=", "\"topic\" must"),
            ("topic=a..b", "empty token"),
            ("topic=$a", "belong to the broker"),
            ("topic=a&last=-1", "\"last\" must be a whole number"),
            ("topic=a&last=1&last=2", "\"last\" may be given once"),
            ("topic=a&presence=maybe", "\"presence\" must be"),
            ("topic=a&every_ms=9", "need a \"delivery\""),
        ] {
            let refused = read(query).expect_err(query);
            assert!(refused.contains(reason), "{query}: {refused}");
        }
        let many: String = (0..=TOPICS_MAX).map(|number| format!("topic={number}&")).collect();
        assert!(read(&many).is_err());
    }
}
