//! A subscription as a value for a shard: the stream, the delivery policy, and the audience that counts the session.

use std::sync::Arc;

use rialto_protocol::Delivery;

use crate::hub::{Audience, FieldPlace, StreamId};
use crate::topic::Topic;

/// A subscription of a session to a stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) stream: StreamId,
    pub(crate) topic: Topic,
    pub(crate) delivery: Delivery,
    /// The reservation of the policy's field.
    pub(crate) field: Option<FieldPlace>,
    /// The audience in which the session is already counted.
    pub(crate) audience: Arc<Audience>,
}
