//! The frames of a session as a Server-Sent Events stream (WHATWG HTML section 9.2): each frame is one event. The HTTP response
//! begins when the subscriptions have been answered, so that a refusal is an error status. It does no input or output.

use hyper::header::{self, HeaderValue};
use rialto_protocol::{Codec, Failure, Position};

use super::cursor::Cursor;
use super::frame::{ServerFrame, cut_off, failure};
use super::subscription::SubscriptionQuery;
use crate::hub::Rewriter;
use crate::server::http::body::{Body, Response};
use crate::server::http::failure::respond;
use crate::server::http::refusal::with_cors;
use crate::server::http::written::{end_chunk, last_chunk, write_head, write_response};
use crate::wire::websocket::{CLOSE, PING, TEXT, close_code, first_frame};

/// Bytes of events after which the response begins although not all subscriptions have been answered.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// The reconnection time that clients are sent: a least time and jitter, so that they do not all reconnect together.
const RETRY_MS: u64 = 1_000;
const RETRY_SPREAD_MS: u64 = 4_000;

/// Writes the frames of one session as events.
#[derive(Debug)]
pub(in crate::server) struct EventWriter {
    selection: SubscriptionQuery,
    cursor: Cursor,
    /// The position of each topic when its subscription began: messages name no epoch.
    heads: Vec<Option<Position>>,
    /// How many subscriptions have been answered.
    answered: usize,
    /// The beginning of a frame.
    begun: Vec<u8>,
    /// Until the response begins. In a box, because that is soon.
    opening: Option<Box<Opening>>,
    /// Whether the body is in chunks, so that its reader knows when it is complete; HTTP/1.0 has none.
    is_chunked: bool,
    has_begun: bool,
    is_over: bool,
}

/// A response that has not begun.
#[derive(Debug)]
struct Opening {
    /// The origin of a page that needs a CORS header to read the response.
    reader: Option<HeaderValue>,
    events: Vec<u8>,
}

impl EventWriter {
    pub(super) fn new(
        selection: SubscriptionQuery,
        cursor: Cursor,
        reader: Option<HeaderValue>,
        is_chunked: bool,
    ) -> Self {
        let heads = vec![None; selection.topics.len()];
        let retry_ms = RETRY_MS + crate::identity::below(RETRY_SPREAD_MS);
        // A field of the first event, so that no event is empty.
        let events = format!("retry: {retry_ms}\n").into_bytes();
        let opening = Some(Box::new(Opening { reader, events }));
        let (begun, answered) = (Vec::new(), 0);
        Self { selection, cursor, heads, answered, begun, opening, is_chunked, has_begun: false, is_over: false }
    }

    /// The requests that subscribe to all topics.
    pub(in crate::server) fn requests(&self) -> Vec<Vec<u8>> {
        (0..self.selection.topics.len())
            .map(|index| self.selection.request(index, self.cursor.position(index)))
            .collect()
    }

    /// Begins the response once it is known what it is.
    fn open(&mut self, bytes: &[u8], written: &mut Vec<u8>) {
        let Some(mut opening) = self.opening.take() else { return };
        let refused = self.write_frames(bytes, &mut opening.events);
        let Opening { reader, events } = &mut *opening;
        if let Some(failure) = refused {
            self.is_over = true;
            return write_response(with_cors(respond(&failure, Codec::Json), reader.take()), written);
        }
        if self.answered < self.selection.topics.len() && events.len() < EARLY_BYTES_MAX {
            self.opening = Some(opening);
            return;
        }
        self.has_begun = true;
        write_head(&with_cors(event_stream(Body::complete("")), reader.take()), self.is_chunked, written);
        let start = written.len();
        written.append(events);
        self.end_write(start, written);
    }

    /// Ends what was appended since `start`.
    fn end_write(&self, start: usize, written: &mut Vec<u8>) {
        if self.is_chunked {
            end_chunk(start, written);
            if self.is_over {
                last_chunk(written);
            }
        }
    }

    /// Writes events for frames, the first of which may have begun before. Returns why the stream cannot begin or go on.
    fn write_frames(&mut self, bytes: &[u8], events: &mut Vec<u8>) -> Option<Failure> {
        let mut joined = std::mem::take(&mut self.begun);
        let mut rest = match joined.is_empty() {
            true => bytes,
            false => {
                joined.extend_from_slice(bytes);
                &joined
            }
        };
        while let Some((first, payload, behind)) = first_frame(rest) {
            rest = behind;
            if let Some(failure) = self.write_frame(first, payload, events) {
                return Some(failure);
            }
        }
        if !rest.is_empty() {
            self.begun = rest.to_vec();
        }
        None
    }

    fn write_frame(&mut self, first: u8, payload: &[u8], events: &mut Vec<u8>) -> Option<Failure> {
        match first {
            TEXT => return self.write_event(payload, events),
            // A comment, so that the client and the proxies on the way see that the stream is alive.
            PING if self.has_begun => events.extend_from_slice(b":\n\n"),
            CLOSE => return Some(cut_off(Some(close_code(payload)))),
            _ => {}
        }
        None
    }

    fn write_event(&mut self, frame: &[u8], events: &mut Vec<u8>) -> Option<Failure> {
        let Some(fields) = ServerFrame::read(frame) else {
            tracing::error!("the session sent an invalid frame");
            return None;
        };
        match &*fields.kind {
            "error" => {
                self.answered += 1;
                let failure = failure(frame);
                if !self.has_begun {
                    return Some(failure);
                }
                // The stream goes on with the other topics.
                self.write_refusal(&failure, events);
            }
            "ok" => {
                self.answered += 1;
                let index = fields.id.and_then(|id| id.checked_sub(1)).filter(|index| *index < self.heads.len());
                let moved = index.is_some_and(|index| self.begin_topic(index, &fields));
                self.event("subscribed", frame, moved, events);
            }
            "closing" => {
                if let Some(retry_after_ms) = fields.retry_after_ms {
                    events.extend_from_slice(format!("retry: {retry_after_ms}\n").as_bytes());
                }
                self.event("closing", frame, false, events);
                return Some(failure(frame));
            }
            kind => {
                let moved = self.advance_position(&fields);
                self.event(kind, frame, moved, events);
            }
        }
        None
    }

    /// Notes the position at which a subscription began. Returns whether the stream's position has changed.
    fn begin_topic(&mut self, index: usize, fields: &ServerFrame<'_>) -> bool {
        let Some(head) = fields.position() else { return false };
        let known = match (fields.recovered, self.selection.last) {
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
    fn advance_position(&mut self, fields: &ServerFrame<'_>) -> bool {
        let Some(topic) = &fields.topic else { return false };
        let Some(index) = self.selection.topics.iter().position(|one| one == topic) else { return false };
        let Some(offset) = fields.offset.or(fields.to) else { return false };
        let Some(Position { epoch, .. }) = &self.heads[index] else { return false };
        self.cursor.set(index, Position { epoch: epoch.clone(), offset });
        true
    }

    /// Writes an event for a subscription that was refused after the stream had begun.
    fn write_refusal(&mut self, failure: &Failure, events: &mut Vec<u8>) {
        let mut push = serde_json::json!({
            "type": "unsubscribed",
            "code": failure.code.as_str(),
            "message": failure.message,
        });
        if let Some(topic) = self.selection.topics.get(self.answered - 1) {
            push["topic"] = topic.as_str().into();
        }
        if let Some(retry_after_ms) = failure.retry_after_ms {
            push["retry_after_ms"] = retry_after_ms.into();
        }
        self.event("unsubscribed", push.to_string().as_bytes(), false, events);
    }

    /// Appends one event. Payloads are as their publishers wrote them: each line becomes a `data` field, which the client joins
    /// again.
    fn event(&self, name: &str, frame: &[u8], moved: bool, events: &mut Vec<u8>) {
        events.extend_from_slice(b"event: ");
        // The name of a frame that a plugin sends is the plugin's: it must not become fields of the stream.
        let is_fit = |byte: &u8| !matches!(byte, b'\n' | b'\r' | 0);
        events.extend(name.bytes().filter(is_fit));
        if moved {
            events.extend_from_slice(b"\nid: ");
            events.extend_from_slice(self.cursor.id().as_bytes());
        }
        for line in frame.split(|byte| matches!(byte, b'\n' | b'\r')) {
            events.extend_from_slice(b"\ndata: ");
            events.extend_from_slice(line);
        }
        events.extend_from_slice(b"\n\n");
    }
}

impl Rewriter for EventWriter {
    fn rewrite(&mut self, bytes: &[u8], written: &mut Vec<u8>) {
        if !self.has_begun {
            return self.open(bytes, written);
        }
        let start = written.len();
        self.is_over = self.write_frames(bytes, written).is_some();
        self.end_write(start, written);
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

/// A response with events.
pub(super) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Proxies such as nginx would otherwise buffer the response.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
