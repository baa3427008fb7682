//! Server-Sent Events (WHATWG HTML section 9.2): a session whose client is a browser's `EventSource` or `curl`. It begins
//! the stream; what becomes of it then is the business of `events`.

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use rialto_protocol::{ErrorCode, Failure};

use super::bridge::Bridge;
use super::cursor::Cursor;
use super::subscription::{SubscriptionQuery, bad, one};
use crate::server::http::body::{Body, Response};
use crate::server::http::query::Query;
use crate::server::http::streams::OpenStream;

pub(super) use super::events::Events;

const LAST_EVENT_ID: &str = "last-event-id";

/// How many bytes of events may have come before all subscriptions are answered; then the stream begins all the same.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// What a stream is to begin with.
pub(in crate::server) struct Opening {
    selection: SubscriptionQuery,
    cursor: Cursor,
}

impl Opening {
    /// Reads what the request asks for. The id of the last event is in the header where a browser comes back by itself, and
    /// in the query where a program does that.
    pub(in crate::server) fn read(query: &Query<'_>, headers: &HeaderMap) -> Result<Self, Failure> {
        let selection = SubscriptionQuery::read(query)?;
        let mut cursor = Cursor::new(&selection.topics);
        let header = match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err(no_id()),
            None => None,
        };
        let id = match header {
            None => one(query, "last_event_id")?,
            some => some,
        };
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            cursor.recall(id).ok_or_else(no_id)?;
        }
        Ok(Self { selection, cursor })
    }

    /// Subscribes, and answers with the stream when that is settled.
    ///
    /// # Errors
    /// Why the first topic was refused that was.
    pub(in crate::server) async fn begin(
        self,
        bridge: Bridge,
        stay: OpenStream,
        patience: Duration,
    ) -> Result<Response, Failure> {
        let Self { selection, cursor } = self;
        let topics = selection.topics.len();
        let mut events = Events::new(bridge, selection, cursor, stay);
        events.begin();
        let settled = async {
            while events.answered < topics && events.ready_bytes() < EARLY_BYTES_MAX {
                events.advance().await?;
                if let Some(failure) = events.over.take() {
                    return Err(failure);
                }
            }
            Ok(())
        };
        match tokio::time::timeout(patience, settled).await {
            Ok(settled) => settled?,
            Err(_) => return Err(Failure::new(ErrorCode::Busy, "the broker takes too long").retry_after_ms(1_000)),
        }
        let mut response = Response::new(Body::Events(Box::new(events)));
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            (header::CONNECTION, "close"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // nginx and its like keep answers back otherwise until they are worth a packet.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }
}

fn no_id() -> Failure {
    bad("the id of the last event is none that this broker gave")
}
