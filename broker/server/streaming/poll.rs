//! Long poll: a session that ends with its first messages. It responds at once with missed messages (recovery), or waits for
//! the next one.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use rialto_protocol::{ErrorCode, Failure, Position};
use serde_json::json;

use super::bridge::{Bridge, BridgeEvent};
use super::frame::{ServerFrame, cut_off, failure};
use super::subscription::{SubscriptionQuery, bad, is_pattern, number, one};
use crate::server::http::body::{Body, Response};
use crate::server::http::credentials::PARAMETER;
use crate::server::http::query::Query;

const WAIT_MS: u64 = 25_000;
const WAIT_MS_MAX: u64 = 30_000;

/// Most messages of one response, and the size in bytes at which no more are added.
const MESSAGES_MAX: usize = 300;
const BYTES_MAX: usize = 1 << 20;

/// The parameters of a poll.
#[derive(Debug)]
pub(in crate::server) struct Poll {
    selection: SubscriptionQuery,
    since: Option<Position>,
    wait: Duration,
}

/// The content of a response.
#[derive(Debug, Default)]
struct Page {
    /// Frames as the session received them.
    messages: Vec<Bytes>,
    gaps: Vec<Bytes>,
    bytes: usize,
    /// The last offset that was received or reported missing.
    seen: u64,
}

/// The answer to a subscription.
struct SubscriptionStart {
    head: Position,
    recovered: Option<bool>,
}

impl Poll {
    pub(in crate::server) fn read(query: &Query<'_>) -> Result<Self, Failure> {
        let selection = SubscriptionQuery::read(query, &["since", "wait_ms", PARAMETER])?;
        if selection.topics.len() != 1 || is_pattern(&selection.topics[0]) {
            return Err(bad("a poll takes exactly one topic"));
        }
        let since = one(query, "since")?.map(position).transpose()?;
        let wait_ms = number(query, "wait_ms")?.unwrap_or(WAIT_MS);
        if wait_ms > WAIT_MS_MAX {
            return Err(bad(format!("\"wait_ms\" must be at most {WAIT_MS_MAX}")));
        }
        Ok(Self { selection, since, wait: Duration::from_millis(wait_ms) })
    }

    /// Subscribes, and responds with the missed messages or, if there are none, with those that arrive in time.
    ///
    /// # Errors
    /// Why the subscription was refused.
    pub(in crate::server) async fn answer(self, mut bridge: Bridge, patience: Duration) -> Result<Response, Failure> {
        let mut page = Page::default();
        let gather = async {
            let start = self.begin(&mut bridge, &mut page).await?;
            let mut more = false;
            while page.seen < start.head.offset && !more {
                more = page.is_full();
                if !more {
                    page.add(bridge.next().await)?;
                }
            }
            Ok((start, more))
        };
        let late = |_| Failure::new(ErrorCode::Busy, "the broker did not answer in time").retry_after_ms(1_000);
        let (start, more) = tokio::time::timeout(patience, gather).await.map_err(late)??;
        if page.is_empty() && start.recovered != Some(false) {
            // A poll without messages is fine too.
            tokio::time::timeout(self.wait, page.first(&mut bridge)).await.unwrap_or(Ok(()))?;
        }
        Ok(page.into_response(&start, self.since.is_some(), more))
    }

    async fn begin(&self, bridge: &mut Bridge, page: &mut Page) -> Result<SubscriptionStart, Failure> {
        let start = self.subscribe(bridge, page, self.since.as_ref()).await?;
        let since = match (&self.since, self.selection.last) {
            (Some(since), _) => since.offset,
            // Resumes from the position that many messages earlier: messages that are no longer kept are reported as a gap, so it
            // is known when all have arrived.
            (None, Some(last)) => {
                let offset = start.head.offset.saturating_sub(last);
                let since = Position { offset, epoch: start.head.epoch.clone() };
                let start = self.subscribe(bridge, page, Some(&since)).await?;
                page.begin(&start, offset);
                return Ok(start);
            }
            (None, None) => start.head.offset,
        };
        page.begin(&start, since);
        Ok(start)
    }

    async fn subscribe(
        &self,
        bridge: &mut Bridge,
        page: &mut Page,
        since: Option<&Position>,
    ) -> Result<SubscriptionStart, Failure> {
        bridge.request(&self.selection.request(0, since));
        loop {
            let event = bridge.next().await;
            if let Some(BridgeEvent::Frame(frame)) = &event
                && let Some(fields) = ServerFrame::read(frame)
                && fields.kind == "ok"
                && let Some(head) = fields.position()
            {
                return Ok(SubscriptionStart { head, recovered: fields.recovered });
            }
            page.add(event)?;
        }
    }
}

impl Page {
    /// Starts at the position of the subscription. Without recovery, all up to its head is sent or reported as a gap.
    fn begin(&mut self, start: &SubscriptionStart, since: u64) {
        let seen = if start.recovered == Some(false) { 0 } else { since };
        *self = Self { seen, ..Self::default() };
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.gaps.is_empty()
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    /// Waits for the first message, and takes those that have arrived with it.
    async fn first(&mut self, bridge: &mut Bridge) -> Result<(), Failure> {
        while self.is_empty() {
            self.add(bridge.next().await)?;
        }
        while !self.is_full()
            && let Ok(event) = tokio::time::timeout(Duration::ZERO, bridge.next()).await
        {
            self.add(event)?;
        }
        Ok(())
    }

    fn add(&mut self, event: Option<BridgeEvent>) -> Result<(), Failure> {
        let frame = match event {
            Some(BridgeEvent::Frame(frame)) => frame,
            Some(BridgeEvent::Ping) => return Ok(()),
            Some(BridgeEvent::Close(code)) => return Err(cut_off(Some(code))),
            None => return Err(cut_off(None)),
        };
        let Some(fields) = ServerFrame::read(&frame) else { return Ok(()) };
        match (&*fields.kind, fields.offset, fields.to) {
            ("message", Some(offset), _) => {
                self.seen = offset;
                self.bytes += frame.len();
                self.messages.push(frame);
            }
            ("gap", _, Some(to)) => {
                self.seen = to;
                self.gaps.push(frame);
            }
            ("error" | "closing", ..) => return Err(failure(&frame)),
            // The past cannot be read. A plugin that ends the subscription has no code of the broker's own.
            ("unsubscribed", ..) if failure(&frame).code == ErrorCode::Unavailable => return Err(failure(&frame)),
            _ => {}
        }
        Ok(())
    }

    fn into_response(self, start: &SubscriptionStart, recovery: bool, more: bool) -> Response {
        let position = json!({ "epoch": &*start.head.epoch, "offset": self.seen });
        let mut body = b"{\"messages\":".to_vec();
        write_list(&mut body, &self.messages);
        body.extend_from_slice(format!(",\"position\":{position}").as_bytes());
        if recovery {
            // Messages that were trimmed during the recovery are a gap like any other.
            let recovered = start.recovered == Some(true) && self.gaps.is_empty();
            body.extend_from_slice(format!(",\"recovered\":{recovered}").as_bytes());
        }
        if !self.gaps.is_empty() {
            body.extend_from_slice(b",\"gaps\":");
            write_list(&mut body, &self.gaps);
        }
        body.extend_from_slice(format!(",\"more\":{more}}}").as_bytes());
        let mut response = Response::new(Body::complete(body));
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// A position in a query: `EPOCH:OFFSET`.
fn position(text: &str) -> Result<Position, Failure> {
    let parts = text.rsplit_once(':').filter(|(epoch, _)| !epoch.is_empty());
    let offset = parts.and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
    let (epoch, offset) = offset.ok_or_else(|| bad("\"since\" must be EPOCH:OFFSET"))?;
    Ok(Position { epoch: epoch.into(), offset })
}

fn write_list(body: &mut Vec<u8>, frames: &[Bytes]) {
    body.push(b'[');
    for (index, frame) in frames.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(frame);
    }
    body.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_that_cannot_be_read_fails_the_poll() {
        let push = |code: &str| {
            let frame =
                json!({"type": "unsubscribed", "topic": "t", "code": code, "message": "m", "retry_after_ms": 9});
            Page::default().add(Some(BridgeEvent::Frame(frame.to_string().into())))
        };
        let failure = push("unavailable").expect_err("it cannot be answered");
        assert_eq!((failure.code, failure.retry_after_ms), (ErrorCode::Unavailable, Some(9)));
        assert!(push("rejected").is_ok(), "the plugin's decision ends no poll");
    }

    #[test]
    fn positions_are_read_from_the_query() {
        assert_eq!(position("s2puzmhh:5"), Ok(Position { epoch: "s2puzmhh".into(), offset: 5 }));
        for text in ["", ":", ":5", "e:", "e:-1", "e5"] {
            assert_eq!(position(text).expect_err(text).code, ErrorCode::BadRequest, "{text}");
        }
        for (query, reason) in [
            ("topic=a&topic=b", "exactly one topic"),
            ("topic=a.*", "exactly one topic"),
            ("topic=a&since=5", "EPOCH:OFFSET"),
            ("topic=a&wait_ms=30001", "at most 30000"),
        ] {
            let refused = Poll::read(&Query::parse(query).expect("a query")).expect_err(query);
            assert!(refused.message.contains(reason), "{query}: {}", refused.message);
        }
    }
}
