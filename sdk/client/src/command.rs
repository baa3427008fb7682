//! What handles ask of the task that drives the connection.

use std::time::Duration;

use rialto_protocol::Operation;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::Error;
use crate::event::Item;
use crate::machine::{Reply, Retry, StreamId};
use crate::topic::Topic;

/// Where to send the outcome of a request.
pub(crate) type ReplySender = oneshot::Sender<Result<Reply, Error>>;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make a request. Its place among the unanswered ones is free again when it has an answer.
    Request {
        operation: Operation<'static>,
        within: Duration,
        retry: Retry,
        reply: ReplySender,
        place: OwnedSemaphorePermit,
    },
    /// Subscribe; what comes goes into the queue.
    Subscribe { stream: StreamId, wanted: Vec<Topic>, within: Duration, queue: mpsc::Sender<Item>, reply: ReplySender },
    /// This subscription was dropped.
    Unsubscribe(StreamId),
    /// End the session and the client.
    Close,
}
