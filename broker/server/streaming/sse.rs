//! Server-Sent Events (WHATWG HTML section 9.2): a session whose client is a browser's `EventSource` or `curl`. It opens the
//! stream, which `events` then writes.

use hyper::Version;
use hyper::header::{HeaderMap, HeaderValue};
use rialto_protocol::Failure;

use super::cursor::Cursor;
use super::events::{EventWriter, event_stream};
use super::subscription::{SubscriptionQuery, bad, one};
use crate::server::http::body::{Body, Response};
use crate::server::http::credentials::PARAMETER;
use crate::server::http::query::Query;

const LAST_EVENT_ID: &str = "last-event-id";

/// The same in the query: programs write the first, polyfills of `EventSource` the others.
const QUERY_IDS: [&str; 3] = ["last_event_id", "lastEventId", "Last-Event-ID"];

/// The parameters of a stream.
pub(in crate::server) struct EventStreamRequest {
    selection: SubscriptionQuery,
    cursor: Cursor,
}

impl EventStreamRequest {
    /// Reads the parameters. The id of the last event is in the header when a browser reconnects by itself, and in the query
    /// when a program does.
    pub(in crate::server) fn read(query: &Query<'_>, headers: &HeaderMap) -> Result<Self, Failure> {
        let selection = SubscriptionQuery::read(query, &[&QUERY_IDS[..], &[PARAMETER]].concat())?;
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

    /// The stream; a page of `reader` may read it, if it is of another origin.
    pub(in crate::server) fn into_writer(self, reader: Option<HeaderValue>, version: Version) -> EventWriter {
        EventWriter::new(self.selection, self.cursor, reader, version >= Version::HTTP_11)
    }
}

/// The response to a client for which there is no room now: a stream that says when to try again, and ends. A browser gives up
/// an `EventSource` for good that is answered with an error status.
pub(in crate::server) fn later(text: &str, seconds: u64) -> Response {
    event_stream(Body::complete(format!(": {text}\nretry: {}\n\n", seconds * 1_000)))
}

fn unknown_id() -> Failure {
    bad("the last event id was not issued by this broker")
}
