//! Long poll, for the oldest networks: a session that ends with the first messages. It answers at once with what was missed,
//! or waits for what comes next.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use rialto_protocol::{ErrorCode, Failure, Position};
use serde_json::json;

use super::bridge::{Bridge, BridgeEvent};
use super::frame::{ServerFrame, cut_off, failure};
use super::subscription::{SubscriptionQuery, bad, is_pattern, number, one};
use crate::server::http::body::{Body, Response};
use crate::server::http::query::Query;

const WAIT_MS: u64 = 25_000;
const WAIT_MS_MAX: u64 = 30_000;

/// Most messages of one answer, and how many bytes they may have when one more is added.
const MESSAGES_MAX: usize = 300;
const BYTES_MAX: usize = 1 << 20;

/// What one poll asks for.
#[derive(Debug)]
pub(in crate::server) struct Poll {
    selection: SubscriptionQuery,
    since: Option<Position>,
    wait: Duration,
}

/// What an answer is made of.
#[derive(Debug, Default)]
struct Page {
    /// Frames as the session was sent them.
    messages: Vec<Bytes>,
    gaps: Vec<Bytes>,
    bytes: usize,
    /// The last offset that was seen or told to be missing.
    seen: u64,
}

/// How a subscription began.
struct Begun {
    head: Position,
    recovered: Option<bool>,
}

impl Poll {
    pub(in crate::server) fn read(query: &Query<'_>) -> Result<Self, Failure> {
        let selection = SubscriptionQuery::read(query)?;
        if selection.topics.len() != 1 || is_pattern(&selection.topics[0]) {
            return Err(bad("a poll is for one topic"));
        }
        let since = one(query, "since")?.map(position).transpose()?;
        let wait_ms = number(query, "wait_ms")?.unwrap_or(WAIT_MS);
        if wait_ms > WAIT_MS_MAX {
            return Err(bad(format!("\"wait_ms\" is at most {WAIT_MS_MAX}")));
        }
        Ok(Self { selection, since, wait: Duration::from_millis(wait_ms) })
    }

    /// Subscribes, and answers with what was missed or, where that is nothing, with what comes in time.
    ///
    /// # Errors
    /// Why the subscription was refused.
    pub(in crate::server) async fn answer(self, mut bridge: Bridge, patience: Duration) -> Result<Response, Failure> {
        let mut page = Page::default();
        let gather = async {
            let begun = self.begin(&mut bridge, &mut page).await?;
            let mut more = false;
            while page.seen < begun.head.offset && !more {
                more = page.is_full();
                if !more {
                    page.add(bridge.next().await)?;
                }
            }
            Ok((begun, more))
        };
        let late = |_| Failure::new(ErrorCode::Busy, "the broker takes too long").retry_after_ms(1_000);
        let (begun, more) = tokio::time::timeout(patience, gather).await.map_err(late)??;
        if page.is_empty() && begun.recovered != Some(false) {
            // In vain is fine too.
            tokio::time::timeout(self.wait, page.first(&mut bridge)).await.unwrap_or(Ok(()))?;
        }
        Ok(page.into_response(&begun, self.since.is_some(), more))
    }

    async fn begin(&self, bridge: &mut Bridge, page: &mut Page) -> Result<Begun, Failure> {
        let begun = self.subscribe(bridge, page, self.since.as_ref()).await?;
        let since = match (&self.since, self.selection.last) {
            (Some(since), _) => since.offset,
            // The same as the position that many before: whatever is no longer kept of that is told, so it is known when all has come.
            (None, Some(last)) => {
                let offset = begun.head.offset.saturating_sub(last);
                let since = Position { offset, epoch: begun.head.epoch.clone() };
                let begun = self.subscribe(bridge, page, Some(&since)).await?;
                page.begin(&begun, offset);
                return Ok(begun);
            }
            (None, None) => begun.head.offset,
        };
        page.begin(&begun, since);
        Ok(begun)
    }

    async fn subscribe(
        &self,
        bridge: &mut Bridge,
        page: &mut Page,
        since: Option<&Position>,
    ) -> Result<Begun, Failure> {
        bridge.ask(&self.selection.request(0, since));
        loop {
            let said = bridge.next().await;
            if let Some(BridgeEvent::Frame(frame)) = &said
                && let Some(heard) = ServerFrame::read(frame)
                && heard.kind == "ok"
                && let Some(head) = heard.position()
            {
                return Ok(Begun { head, recovered: heard.recovered });
            }
            page.add(said)?;
        }
    }
}

impl Page {
    /// Begins where the subscription did. Where it could not be recovered, all up to its head is sent or told.
    fn begin(&mut self, begun: &Begun, since: u64) {
        let seen = if begun.recovered == Some(false) { 0 } else { since };
        *self = Self { seen, ..Self::default() };
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.gaps.is_empty()
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    /// Waits for the first message, and takes what has come with it.
    async fn first(&mut self, bridge: &mut Bridge) -> Result<(), Failure> {
        while self.is_empty() {
            self.add(bridge.next().await)?;
        }
        while !self.is_full()
            && let Ok(said) = tokio::time::timeout(Duration::ZERO, bridge.next()).await
        {
            self.add(said)?;
        }
        Ok(())
    }

    fn add(&mut self, said: Option<BridgeEvent>) -> Result<(), Failure> {
        let frame = match said {
            Some(BridgeEvent::Frame(frame)) => frame,
            Some(BridgeEvent::Ping) => return Ok(()),
            Some(BridgeEvent::Close(code)) => return Err(cut_off(Some(code))),
            None => return Err(cut_off(None)),
        };
        let Some(heard) = ServerFrame::read(&frame) else { return Ok(()) };
        match (&*heard.kind, heard.offset, heard.to) {
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
            _ => {}
        }
        Ok(())
    }

    fn into_response(self, begun: &Begun, recovery: bool, more: bool) -> Response {
        let position = json!({ "epoch": &*begun.head.epoch, "offset": self.seen });
        let mut body = b"{\"messages\":".to_vec();
        write_list(&mut body, &self.messages);
        body.extend_from_slice(format!(",\"position\":{position}").as_bytes());
        if recovery {
            // What could be recovered but was trimmed meanwhile is a gap like any other.
            let recovered = begun.recovered == Some(true) && self.gaps.is_empty();
            body.extend_from_slice(format!(",\"recovered\":{recovered}").as_bytes());
        }
        if !self.gaps.is_empty() {
            body.extend_from_slice(b",\"gaps\":");
            write_list(&mut body, &self.gaps);
        }
        body.extend_from_slice(format!(",\"more\":{more}}}").as_bytes());
        let mut response = Response::new(Body::whole(body));
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

/// A position as a query has it: `EPOCH:OFFSET`.
fn position(text: &str) -> Result<Position, Failure> {
    let parts = text.rsplit_once(':').filter(|(epoch, _)| !epoch.is_empty());
    let offset = parts.and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
    let (epoch, offset) = offset.ok_or_else(|| bad("\"since\" is EPOCH:OFFSET"))?;
    Ok(Position { epoch: epoch.into(), offset })
}

fn write_list(body: &mut Vec<u8>, frames: &[Bytes]) {
    body.push(b'[');
    for (place, frame) in frames.iter().enumerate() {
        if place > 0 {
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
    fn positions_are_read_from_the_query() {
        assert_eq!(position("s2puzmhh:5"), Ok(Position { epoch: "s2puzmhh".into(), offset: 5 }));
        for text in ["", ":", ":5", "e:", "e:-1", "e5"] {
            assert_eq!(position(text).expect_err(text).code, ErrorCode::BadRequest, "{text}");
        }
        for (query, reason) in [
            ("topic=a&topic=b", "one topic"),
            ("topic=a.*", "one topic"),
            ("topic=a&since=5", "EPOCH:OFFSET"),
            ("topic=a&wait_ms=30001", "at most 30000"),
        ] {
            let refused = Poll::read(&Query::parse(query).expect("a query")).expect_err(query);
            assert!(refused.message.contains(reason), "{query}: {}", refused.message);
        }
    }
}
