//! A batch: frames of one stream in one buffer, shared by all recipients on a shard. It can be cut between frames.

use std::cell::RefCell;

use bytes::Bytes;

use crate::hub::StreamId;
use crate::message::{SharedMessage, Wire};
use crate::metrics::Metrics;
use crate::wire::websocket::websocket_frame_bytes;

/// One or more messages of one stream, encoded one after the other.
#[derive(Debug)]
pub(in crate::hub) struct Batch {
    pub(in crate::hub) stream: StreamId,
    pub(in crate::hub) bytes: Bytes,
    /// The messages themselves, while a session may still take some of them back into a backlog.
    messages: RefCell<Vec<SharedMessage>>,
}

/// The position of a socket in a partly written batch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) struct Cut {
    /// The number of frames that were begun.
    pub(in crate::hub) begun: usize,
    /// The end of the last of these.
    pub(in crate::hub) end: usize,
}

impl Batch {
    /// Joins the frames of messages; there is at least one.
    pub(in crate::hub) fn join(messages: &[SharedMessage], wire: Wire, metrics: &Metrics) -> Self {
        let bytes = match messages {
            [only] => only.frame(wire, metrics).clone(),
            many => {
                let mut joined = Vec::with_capacity(many.iter().map(|one| one.frame(wire, metrics).len()).sum());
                many.iter().for_each(|message| joined.extend_from_slice(message.frame(wire, metrics)));
                joined.into()
            }
        };
        Self { stream: messages[0].stream, bytes, messages: RefCell::default() }
    }

    /// Keeps the messages, so that [`Batch::after`] returns them until [`Batch::drop_messages`].
    pub(in crate::hub) fn keep_messages(&self, messages: &[SharedMessage]) {
        self.messages.borrow_mut().extend_from_slice(messages);
    }

    /// Drops the messages: no session takes one back any more.
    pub(in crate::hub) fn drop_messages(&self) {
        self.messages.take();
    }

    /// The messages after the first `begun`.
    pub(in crate::hub) fn after(&self, begun: usize) -> Vec<SharedMessage> {
        self.messages.borrow().get(begun..).unwrap_or_default().to_vec()
    }

    /// How many frames are begun when so many bytes are written.
    pub(in crate::hub) fn cut(&self, written: usize) -> Cut {
        let mut cut = Cut { begun: 0, end: 0 };
        while cut.end < written {
            cut.end += websocket_frame_bytes(&self.bytes[cut.end..]);
            cut.begun += 1;
        }
        cut
    }
}

#[cfg(test)]
pub(in crate::hub) mod tests {
    use std::sync::Arc;

    use rialto_protocol::{Codec, Payload};

    use super::*;
    use crate::message::{Draft, Message};
    use crate::topic::Topic;

    /// Messages of a stream, each with its offset as the payload.
    pub(in crate::hub) fn messages(stream: u64, offsets: std::ops::RangeInclusive<u64>) -> Vec<SharedMessage> {
        let (stream, topic) = (StreamId::topic(stream), Topic::parse("t").expect("a topic"));
        let draft = |offset| Draft { payload: Payload::json(&offset).expect("a number"), from: None, except: None };
        offsets.map(|offset| Arc::new(Message::new(stream, topic.clone(), offset, 0, draft(offset)))).collect()
    }

    #[test]
    fn a_cut_is_never_within_a_frame() {
        let metrics = Metrics::default();
        let messages = messages(1, 9..=11);
        let batch = Batch::join(&messages, Wire::Frames(Codec::Json), &metrics);
        let lengths: Vec<usize> =
            messages.iter().map(|message| message.frame(Wire::Frames(Codec::Json), &metrics).len()).collect();
        let (one, two, all) = (lengths[0], lengths[0] + lengths[1], batch.bytes.len());
        for (written, begun, end) in
            [(0, 0, 0), (1, 1, one), (one, 1, one), (one + 1, 2, two), (two, 2, two), (all - 1, 3, all), (all, 3, all)]
        {
            assert_eq!(batch.cut(written), Cut { begun, end }, "{written}");
        }
        assert!(batch.after(0).is_empty(), "nothing is kept unless requested");
        batch.keep_messages(&messages);
        assert_eq!(batch.after(1).iter().map(|message| message.offset).collect::<Vec<_>>(), [10, 11]);
        batch.drop_messages();
        assert!(batch.after(0).is_empty());
    }
}
