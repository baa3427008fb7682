//! Server-Sent Events (WHATWG HTML section 9.2): a session whose client is a browser's `EventSource` or `curl`. It opens the
//! stream, which `events` then writes.

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use rialto_protocol::{ErrorCode, Failure};

use super::bridge::Bridge;
use super::cursor::Cursor;
use super::events::Events;
use super::subscription::{SubscriptionQuery, bad, one};
use crate::server::http::body::{Body, Response};
use crate::server::http::query::Query;
use crate::server::http::streams::OpenStream;

const LAST_EVENT_ID: &str = "last-event-id";

/// The same in the query: programs write the first, polyfills of `EventSource` the others.
const QUERY_IDS: [&str; 3] = ["last_event_id", "lastEventId", "Last-Event-ID"];

/// Bytes of events after which the response begins although not all subscriptions have been answered.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// The parameters of a stream.
pub(in crate::server) struct EventStreamRequest {
    selection: SubscriptionQuery,
    cursor: Cursor,
}

impl EventStreamRequest {
    /// Reads the parameters. The id of the last event is in the header when a browser reconnects by itself, and in the query
    /// when a program does.
    pub(in crate::server) fn read(query: &Query<'_>, headers: &HeaderMap) -> Result<Self, Failure> {
        let selection = SubscriptionQuery::read(query, &QUERY_IDS)?;
        let mut cursor = Cursor::new(&selection.topics);
        let header = match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err(unknown_id()),
            None => None,
        };
        let mut id = header;
        for name in QUERY_IDS {
            let given = one(query, name)?;
            id = id.or(given);
        }
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            cursor.restore(id).ok_or_else(unknown_id)?;
        }
        Ok(Self { selection, cursor })
    }

    /// Subscribes, and responds with the stream when the subscriptions have been answered.
    ///
    /// # Errors
    /// Why the first refused topic was refused.
    pub(in crate::server) async fn begin(
        self,
        bridge: Bridge,
        open: OpenStream,
        patience: Duration,
    ) -> Result<Response, Failure> {
        let Self { selection, cursor } = self;
        let topics = selection.topics.len();
        let mut events = Events::new(bridge, selection, cursor, open);
        events.subscribe();
        let answers = async {
            while events.answered < topics && events.ready_bytes() < EARLY_BYTES_MAX {
                events.advance().await?;
                if let Some(failure) = events.end.take() {
                    return Err(failure);
                }
            }
            Ok(())
        };
        match tokio::time::timeout(patience, answers).await {
            Ok(answered) => answered?,
            Err(_) => {
                return Err(Failure::new(ErrorCode::Busy, "the broker did not answer in time").retry_after_ms(1_000));
            }
        }
        Ok(event_stream(Body::stream(events)))
    }
}

/// The response to a client for which there is no room now: a stream that says when to try again, and ends. A browser gives up
/// an `EventSource` for good that is answered with an error status.
pub(in crate::server) fn later(text: &str, seconds: u64) -> Response {
    event_stream(Body::complete(format!(": {text}\nretry: {}\n\n", seconds * 1_000)))
}

fn event_stream(body: Body) -> Response {
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

fn unknown_id() -> Failure {
    bad("the last event id was not issued by this broker")
}
