//! A subscription on its way to a session: the stream, the delivery policy, and where the session is counted.

use std::sync::Arc;

use rialto_protocol::Delivery;

use crate::hub::{Audience, FieldPlace, StreamId};
use crate::topic::Topic;

/// A session's subscription to a stream, not yet carried out.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) stream: StreamId,
    pub(crate) topic: Topic,
    pub(crate) delivery: Delivery,
    /// What was reserved for the policy.
    pub(crate) field: Option<FieldPlace>,
    /// Where the session was counted already.
    pub(crate) audience: Arc<Audience>,
}
