//! The order of one topic within this process: a counter under a lock. It has no clock and does not wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_protocol::Position;

use crate::identity;
use crate::message::{Draft, Message, Shared};
use crate::topic::Topic;

/// One topic's unbroken run of offsets.
#[derive(Debug)]
pub(crate) struct Stream {
    id: u64,
    topic: Topic,
    epoch: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: u64,
    retired: bool,
}

/// The stream was retired; the topic has to be looked up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired;

impl Stream {
    pub(super) fn new(id: u64, topic: Topic) -> Self {
        Self { id, topic, epoch: identity::epoch(), state: Mutex::new(State { last: 0, retired: false }) }
    }

    /// Names this stream within the process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The topic whose order this is.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Runs `join` with the current position while no message can get an offset: whoever `join` lets in receives
    /// exactly the messages after that position.
    ///
    /// # Errors
    /// [`Retired`], and `join` was not run.
    pub(crate) fn join(&self, join: impl FnOnce(Position)) -> Result<(), Retired> {
        let state = self.lock()?;
        join(self.position(state.last));
        Ok(())
    }

    /// Ends the stream for good if `unused` says that nobody needs it. Nobody can join while it is asked.
    pub(crate) fn retire_if(&self, unused: impl FnOnce() -> bool) -> bool {
        match self.lock() {
            Ok(mut state) => {
                state.retired = unused();
                state.retired
            }
            Err(Retired) => true,
        }
    }

    pub(super) fn publish(
        &self,
        draft: Draft,
        now_ms: u64,
        hand_over: impl FnOnce(&Shared),
    ) -> Result<Position, (Draft, Retired)> {
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(retired) => return Err((draft, retired)),
        };
        state.last += 1;
        let message = Message::new(self.id, self.topic.clone(), state.last, now_ms, draft);
        hand_over(&Arc::new(message));
        Ok(self.position(state.last))
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, Retired> {
        // The state is two plain fields that are changed together, so it is whole even after a panic elsewhere.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.retired { Err(Retired) } else { Ok(state) }
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch.clone(), offset }
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::Payload;

    use super::*;

    fn draft() -> Draft {
        Draft { payload: Payload::json(&1).expect("a number"), from: None, except: None }
    }

    #[test]
    fn offsets_count_from_one_and_a_joiner_knows_where_it_stands() {
        let stream = Stream::new(1, Topic::parse("a").expect("a topic"));
        let mut joined = Vec::new();
        for expected in 1..=3 {
            stream.join(|position| joined.push(position.offset)).expect("not retired");
            let mut handed = 0;
            let position = stream.publish(draft(), 5, |message| handed = message.offset).expect("not retired");
            assert_eq!((position.offset, handed), (expected, expected));
        }
        assert_eq!(joined, [0, 1, 2]);
    }

    #[test]
    fn a_retired_stream_takes_nothing_and_gives_the_draft_back() {
        let stream = Stream::new(1, Topic::parse("a").expect("a topic"));
        assert!(!stream.retire_if(|| false));
        assert!(stream.retire_if(|| true));
        assert_eq!(stream.join(|_| panic!("nobody joins")), Err(Retired));
        let refused = stream.publish(draft(), 0, |_| panic!("nothing is handed over"));
        assert_eq!(refused.expect_err("retired").0.payload, draft().payload);
    }
}
