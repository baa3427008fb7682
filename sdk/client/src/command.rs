//! What handles ask of the task that drives the connection.

use std::time::Duration;

use rialto_protocol::Operation;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::Error;
use crate::event::Item;
use crate::machine::{Again, Reply, StreamId};
use crate::wanted::Topic;

/// Where an outcome is awaited.
pub(crate) type Awaited = oneshot::Sender<Result<Reply, Error>>;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make a request. Its place among the unanswered ones is free again when it has an answer.
    Ask { operation: Operation<'static>, within: Duration, again: Again, awaited: Awaited, place: OwnedSemaphorePermit },
    /// Subscribe; what comes goes into the queue.
    Subscribe { stream: StreamId, wanted: Vec<Topic>, within: Duration, queue: mpsc::Sender<Item>, awaited: Awaited },
    /// Nobody reads this subscription any more.
    Leave(StreamId),
    /// Say goodbye.
    Close,
}
