//! The frames of a session as a Server-Sent Events stream (WHATWG HTML section 9.2): each frame is one event. The stream is
//! read as fast as the client takes it; the session's delivery policies handle a slow consumer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use rialto_protocol::{Failure, Position};

use super::bridge::{Bridge, BridgeEvent};
use super::cursor::Cursor;
use super::frame::{ServerFrame, cut_off, failure};
use super::subscription::SubscriptionQuery;
use crate::server::http::streams::OpenStream;

/// Bytes of events after which a chunk of the body is returned.
const CHUNK_BYTES: usize = 16 * 1024;

/// The reconnection time that clients are sent: a least time and jitter, so that they do not all reconnect together.
const RETRY_MS: u64 = 1_000;
const RETRY_SPREAD_MS: u64 = 4_000;

/// A stream of events, and the session behind it. Dropping it ends the session.
#[derive(Debug)]
pub(super) struct Events {
    bridge: Bridge,
    selection: SubscriptionQuery,
    cursor: Cursor,
    /// The position of each topic when its subscription began: messages name no epoch.
    heads: Vec<Option<Position>>,
    /// How many subscriptions have been answered.
    pub(super) answered: usize,
    /// Encoded events that were not returned yet.
    ready: Vec<u8>,
    pub(super) end: Option<Failure>,
    _open: OpenStream,
}

impl Events {
    pub(super) fn new(bridge: Bridge, selection: SubscriptionQuery, cursor: Cursor, open: OpenStream) -> Self {
        let heads = vec![None; selection.topics.len()];
        let retry_ms = RETRY_MS + crate::identity::below(RETRY_SPREAD_MS);
        // A field of the first event, so that no event is empty.
        let ready = format!("retry: {retry_ms}\n").into_bytes();
        Self { bridge, selection, cursor, heads, answered: 0, ready, end: None, _open: open }
    }

    /// Subscribes to all topics.
    pub(super) fn subscribe(&mut self) {
        for index in 0..self.selection.topics.len() {
            let request = self.selection.request(index, self.cursor.position(index));
            self.bridge.request(&request);
        }
    }

    /// Bytes of encoded events that were not returned yet.
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready.len()
    }

    /// Waits for the next frame of the broker and encodes it as an event.
    ///
    /// # Errors
    /// Why a subscription was refused; no event is written.
    pub(super) async fn advance(&mut self) -> Result<(), Failure> {
        let event = self.bridge.next().await;
        self.write(event)
    }

    /// The next chunk of the body; none at its end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.end.is_none() && self.ready.len() < CHUNK_BYTES {
            let Poll::Ready(event) = self.bridge.poll_next(context) else { break };
            // The response has begun: the stream goes on with the other topics.
            let answered = self.answered;
            if let Err(failure) = self.write(event) {
                self.write_refusal(answered, &failure);
            }
        }
        if !self.ready.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.ready).into()));
        }
        if self.end.is_some() { Poll::Ready(None) } else { Poll::Pending }
    }

    fn write(&mut self, event: Option<BridgeEvent>) -> Result<(), Failure> {
        match event {
            Some(BridgeEvent::Frame(frame)) => self.write_frame(&frame),
            // A comment, so that the client and the proxies on the way see that the stream is alive.
            Some(BridgeEvent::Ping) => {
                self.ready.extend_from_slice(b":\n\n");
                Ok(())
            }
            Some(BridgeEvent::Close(code)) => {
                self.end.get_or_insert_with(|| cut_off(Some(code)));
                Ok(())
            }
            None => {
                self.end.get_or_insert_with(|| cut_off(None));
                Ok(())
            }
        }
    }

    fn write_frame(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let Some(frame_fields) = ServerFrame::read(frame) else {
            tracing::error!("the session sent an invalid frame");
            return Ok(());
        };
        match &*frame_fields.kind {
            "error" => {
                self.answered += 1;
                return Err(failure(frame));
            }
            "ok" => {
                self.answered += 1;
                let index = frame_fields.id.and_then(|id| id.checked_sub(1)).filter(|index| *index < self.heads.len());
                let moved = index.is_some_and(|index| self.begin_topic(index, &frame_fields));
                self.event("subscribed", frame, moved);
            }
            "closing" => {
                if let Some(retry_after_ms) = frame_fields.retry_after_ms {
                    self.ready.extend_from_slice(format!("retry: {retry_after_ms}\n").as_bytes());
                }
                self.event("closing", frame, false);
                self.end.get_or_insert_with(|| failure(frame));
            }
            kind => {
                let moved = self.advance_position(&frame_fields);
                self.event(kind, frame, moved);
            }
        }
        Ok(())
    }

    /// Notes the position at which a subscription began. Returns whether the stream's position has changed.
    fn begin_topic(&mut self, index: usize, frame_fields: &ServerFrame<'_>) -> bool {
        let Some(head) = frame_fields.position() else { return false };
        let known = match (frame_fields.recovered, self.selection.last) {
            (Some(true), _) => false,
            // A gap or messages follow and move it; a client that disconnects before them must receive them again.
            (Some(false), _) if head.offset > 0 => false,
            (None, Some(last)) => {
                let offset = head.offset.saturating_sub(last);
                self.cursor.set(index, Position { offset, epoch: head.epoch.clone() });
                true
            }
            _ => {
                self.cursor.set(index, head.clone());
                true
            }
        };
        self.heads[index] = Some(head);
        known
    }

    /// Advances the position for a message or gap of one of the topics; a topic that only a pattern selects has none.
    fn advance_position(&mut self, frame_fields: &ServerFrame<'_>) -> bool {
        let Some(topic) = &frame_fields.topic else { return false };
        let Some(index) = self.selection.topics.iter().position(|one| one == topic) else { return false };
        let Some(offset) = frame_fields.offset.or(frame_fields.to) else { return false };
        let Some(Position { epoch, .. }) = &self.heads[index] else { return false };
        self.cursor.set(index, Position { epoch: epoch.clone(), offset });
        true
    }

    /// Writes an event for a subscription that was refused after the stream had begun.
    fn write_refusal(&mut self, answered: usize, failure: &Failure) {
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

    /// Appends one event. Payloads are as their publishers wrote them: each line becomes a `data` field, which the client joins
    /// again.
    fn event(&mut self, name: &str, frame: &[u8], moved: bool) {
        self.ready.extend_from_slice(b"event: ");
        // The name of a frame that a plugin sends is the plugin's: it must not become fields of the stream.
        let is_fit = |byte: &u8| !matches!(byte, b'\n' | b'\r' | 0);
        self.ready.extend(name.bytes().filter(is_fit));
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

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.get_mut().poll_next(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}
