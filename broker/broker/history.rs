//! History requests: one bounded page of a topic's past messages. Catching up as part of a subscription is up to `topics/replay`.

use std::sync::Arc;

use rialto_protocol::{ErrorCode, Failure, HistoryFrom, Past, PastMessage, Position, Reply};
use tokio::sync::oneshot;

use super::{Broker, parse_topic};
use crate::access::Action;
use crate::message::SharedMessage;
use crate::request::caller::Caller;
use crate::request::responder::Responder;
use crate::store::{Page, ReadResult, Reading, Span};
use crate::topic::Topic;

/// Messages in an answer to a request without a limit, and the most in any answer.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 300;

/// Bytes of payload in one answer; a single message may be larger.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A page of the past that was asked for, and where its topic stood then.
struct HistoryPage {
    position: Position,
    span: Span,
    /// The epoch of the position that was given, if one was.
    epoch: Option<Arc<str>>,
}

impl Broker {
    /// Past messages of a topic in their order: those after a position, the newest before one, or the newest of all. Without
    /// a limit 100, at most 300, and at most 1 MiB of payload.
    ///
    /// # Errors
    /// `bad_request` for a name that is no topic or a limit of 0, `not_found` where no rule is for it, `unavailable` where its
    /// rule keeps no history or storage cannot be read now, `expired` for a position of another epoch or whose next messages
    /// are no longer kept.
    pub fn history(&self, topic: &str, from: Option<HistoryFrom>, limit: Option<u64>) -> Result<Past, Failure> {
        let (reading, page) = self.begin_history(Caller::Embedder, false, &parse_topic(topic)?, from, limit)?;
        page.finish(reading.wait())
    }

    /// The same for a caller that does not block.
    pub(crate) async fn history_as(
        &self,
        caller: Caller<'_>,
        topic: &Topic,
        from: Option<HistoryFrom>,
        limit: Option<u64>,
    ) -> Result<Past, Failure> {
        let (reading, page) = self.begin_history(caller, false, topic, from, limit)?;
        let (sender, receiver) = oneshot::channel();
        // A caller that no longer waits needs no answer.
        reading.then(|result| drop(sender.send(result)));
        page.finish(receiver.await.map_err(|_| Failure::new(ErrorCode::Internal, "the read was dropped"))?)
    }

    /// The same for a request that is answered when the read is complete. `admitted` says of a session whether the topic's plugin
    /// has admitted it as a subscriber.
    pub(crate) fn accept_history(
        &self,
        caller: Caller<'_>,
        admitted: bool,
        topic: &Topic,
        from: Option<HistoryFrom>,
        limit: Option<u64>,
        responder: Responder,
    ) {
        match self.begin_history(caller, admitted, topic, from, limit) {
            Ok((reading, page)) => reading.then(move |result| match page.finish(result) {
                Ok(past) => responder.ok(Reply::Past(past)),
                Err(failure) => responder.fail(failure),
            }),
            Err(failure) => responder.fail(failure),
        }
    }

    fn begin_history(
        &self,
        caller: Caller<'_>,
        admitted: bool,
        topic: &Topic,
        from: Option<HistoryFrom>,
        limit: Option<u64>,
    ) -> Result<(Reading, HistoryPage), Failure> {
        self.check(caller, Action::History { admitted }, topic)?;
        let limit = limit.unwrap_or(LIMIT).min(LIMIT_MAX);
        if limit == 0 {
            return Err(Failure::new(ErrorCode::BadRequest, "field \"limit\" is 0"));
        }
        let messages = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = Page { messages, bytes: ANSWER_BYTES_MAX };
        loop {
            let entry = self.core.topics.entry(topic, &self.core.engine, || caller.holder())?;
            if !entry.stream.has_history() {
                return Err(Failure::new(ErrorCode::Unavailable, "this topic keeps no history"));
            }
            // A topic that was forgotten in between is looked up again.
            let Ok(view) = entry.stream.now() else { continue };
            let (span, epoch) = match from {
                None => (Span::Before(u64::MAX), None),
                Some(HistoryFrom::Since(since)) => (Span::After(since.offset), Some(since.epoch)),
                Some(HistoryFrom::Before(before)) => (Span::Before(before.offset), Some(before.epoch)),
            };
            let history_page = HistoryPage { position: view.position(), span, epoch };
            return Ok((view.begin_read_messages(span, page, self.core.clock.now()), history_page));
        }
    }
}

impl HistoryPage {
    /// The answer, once the page has been read.
    fn finish(self, result: ReadResult) -> Result<Past, Failure> {
        let Self { position, span, epoch } = self;
        let past = result.map_err(|error| error.to_failure())?;
        let first = past.first.unwrap_or(position.offset + 1);
        let leads_on = match span {
            Span::After(offset) => offset <= position.offset && offset + 1 >= first,
            Span::Before(_) => true,
        };
        if epoch.is_some_and(|epoch| epoch != position.epoch) || !leads_on {
            return Err(expired(&position, first));
        }
        let message = |message: SharedMessage| PastMessage {
            offset: message.offset,
            time: message.time_ms,
            from: message.from.clone(),
            payload: message.payload.clone(),
        };
        Ok(Past { messages: past.messages.into_iter().map(message).collect(), position, more: past.more })
    }
}

fn expired(position: &Position, first: u64) -> Failure {
    let Position { epoch, offset } = position;
    let kept = if first <= *offset { format!("offsets {first} to {offset}") } else { "nothing".to_owned() };
    Failure::new(
        ErrorCode::Expired,
        format!("the position is not in the history: of epoch \"{epoch}\" it keeps {kept}"),
    )
}
