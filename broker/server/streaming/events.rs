//! What a session is told, as a stream of events (WHATWG HTML section 9.2): each frame is one event. The stream is read as
//! fast as the client takes it; what is too slow for that is the session's business.

use std::task::{Context, Poll};

use bytes::Bytes;
use rialto_protocol::{Failure, Position};

use super::bridge::{Bridge, BridgeEvent};
use super::cursor::Cursor;
use super::frame::{ServerFrame, cut_off, failure};
use super::subscription::SubscriptionQuery;
use crate::server::http::streams::OpenStream;

/// How many bytes of events are handed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// The least and the most time that a client is asked to stay away when its stream has broken: not the same for all, so that
/// they do not come back together.
const RETRY_MS: u64 = 1_000;
const RETRY_SPREAD_MS: u64 = 4_000;

/// A stream of events, and the session behind it. Dropping it ends the session.
#[derive(Debug)]
pub(in crate::server) struct Events {
    bridge: Bridge,
    selection: SubscriptionQuery,
    cursor: Cursor,
    /// The position of each topic when its subscription began: messages name no epoch.
    heads: Vec<Option<Position>>,
    /// How many subscriptions are answered.
    pub(super) answered: usize,
    /// Events that are not handed on yet.
    ready: Vec<u8>,
    pub(super) over: Option<Failure>,
    _stay: OpenStream,
}

impl Events {
    pub(super) fn new(bridge: Bridge, selection: SubscriptionQuery, cursor: Cursor, stay: OpenStream) -> Self {
        let heads = vec![None; selection.topics.len()];
        let retry_ms = RETRY_MS + crate::identity::below(RETRY_SPREAD_MS);
        let ready = format!("retry: {retry_ms}\n\n").into_bytes();
        Self { bridge, selection, cursor, heads, answered: 0, ready, over: None, _stay: stay }
    }

    /// Asks for all topics.
    pub(super) fn begin(&mut self) {
        for place in 0..self.selection.topics.len() {
            let request = self.selection.request(place, self.cursor.position(place));
            self.bridge.ask(&request);
        }
    }

    /// Bytes of events that are there already.
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready.len()
    }

    /// Makes an event of what the broker says next.
    ///
    /// # Errors
    /// Why a subscription was refused; it makes no event.
    pub(super) async fn advance(&mut self) -> Result<(), Failure> {
        let said = self.bridge.next().await;
        self.tell(said)
    }

    /// The next piece of the stream; none at its end.
    pub(in crate::server) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.over.is_none() && self.ready.len() < PIECE_BYTES {
            let Poll::Ready(said) = self.bridge.poll_next(context) else { break };
            // The stream has begun: it goes on with the other topics.
            let answered = self.answered;
            if let Err(failure) = self.tell(said) {
                self.tell_refused(answered, &failure);
            }
        }
        if !self.ready.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.ready).into()));
        }
        if self.over.is_some() { Poll::Ready(None) } else { Poll::Pending }
    }

    fn tell(&mut self, said: Option<BridgeEvent>) -> Result<(), Failure> {
        match said {
            Some(BridgeEvent::Frame(frame)) => self.tell_frame(&frame),
            // For the client a comment: so it and the proxies on the way know that the stream lives.
            Some(BridgeEvent::Ping) => {
                self.ready.extend_from_slice(b":\n\n");
                Ok(())
            }
            Some(BridgeEvent::Close(code)) => {
                self.over.get_or_insert_with(|| cut_off(Some(code)));
                Ok(())
            }
            None => {
                self.over.get_or_insert_with(|| cut_off(None));
                Ok(())
            }
        }
    }

    fn tell_frame(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let Some(heard) = ServerFrame::read(frame) else {
            tracing::error!("a frame of the broker is none");
            return Ok(());
        };
        match &*heard.kind {
            "error" => {
                self.answered += 1;
                return Err(failure(frame));
            }
            "ok" => {
                self.answered += 1;
                let place = heard.id.and_then(|id| id.checked_sub(1)).filter(|place| *place < self.heads.len());
                let moved = place.is_some_and(|place| self.begin_topic(place, &heard));
                self.event("subscribed", frame, moved);
            }
            "closing" => {
                if let Some(retry_after_ms) = heard.retry_after_ms {
                    self.ready.extend_from_slice(format!("retry: {retry_after_ms}\n").as_bytes());
                }
                self.event("closing", frame, false);
                self.over.get_or_insert_with(|| failure(frame));
            }
            kind => {
                let moved = self.move_on(&heard);
                self.event(kind, frame, moved);
            }
        }
        Ok(())
    }

    /// Notes where a topic stands. Says whether the stream's own position is another now.
    fn begin_topic(&mut self, place: usize, heard: &ServerFrame<'_>) -> bool {
        let Some(head) = heard.position() else { return false };
        let known = match (heard.recovered, self.selection.last) {
            (Some(true), _) => false,
            // A gap or messages follow and move it; a client that breaks off before them must hear of them again.
            (Some(false), _) if head.offset > 0 => false,
            (None, Some(last)) => {
                let offset = head.offset.saturating_sub(last);
                self.cursor.set(place, Position { offset, epoch: head.epoch.clone() });
                true
            }
            _ => {
                self.cursor.set(place, head.clone());
                true
            }
        };
        self.heads[place] = Some(head);
        known
    }

    /// Follows a message or a gap of one of the topics; those that only a pattern selects have no place.
    fn move_on(&mut self, heard: &ServerFrame<'_>) -> bool {
        let Some(topic) = &heard.topic else { return false };
        let Some(place) = self.selection.topics.iter().position(|one| one == topic) else { return false };
        let Some(offset) = heard.offset.or(heard.to) else { return false };
        let Some(Position { epoch, .. }) = &self.heads[place] else { return false };
        self.cursor.set(place, Position { epoch: epoch.clone(), offset });
        true
    }

    /// Tells of a subscription that was refused after the stream had begun.
    fn tell_refused(&mut self, answered: usize, failure: &Failure) {
        let mut push = serde_json::json!({
            "type": "unsubscribed",
            "code": failure.code.as_str(),
            "message": failure.message,
        });
        if let Some(topic) = self.selection.topics.get(answered) {
            push["topic"] = topic.as_str().into();
        }
        if let Some(retry_after_ms) = failure.retry_after_ms {
            push["retry_after_ms"] = retry_after_ms.into();
        }
        self.event("unsubscribed", push.to_string().as_bytes(), false);
    }

    /// Appends one event. Payloads are as their publishers wrote them and may have line breaks, at each of which a field of
    /// its own begins; the client joins them again.
    fn event(&mut self, name: &str, frame: &[u8], moved: bool) {
        self.ready.extend_from_slice(b"event: ");
        self.ready.extend_from_slice(name.as_bytes());
        if moved {
            self.ready.extend_from_slice(b"\nid: ");
            self.ready.extend_from_slice(self.cursor.id().as_bytes());
        }
        for line in frame.split(|byte| matches!(byte, b'\n' | b'\r')) {
            self.ready.extend_from_slice(b"\ndata: ");
            self.ready.extend_from_slice(line);
        }
        self.ready.extend_from_slice(b"\n\n");
    }
}
