//! What of the past a subscribe depends on: read from the store before the session is let in. The read may complete later; the
//! subscribe goes on then, on the thread of the session's shard.

use std::sync::Arc;

use super::Broker;
use super::subscribe::{SubscribeOptions, SubscribeRequest};
use crate::engine::Retired;
use crate::request::caller::CallerSession;
use crate::request::responder::Responder;
use crate::store::{ReadResult, ReadTicket, Reading, Span};
use crate::topics::TopicEntry;
use crate::topics::recovery::KeptRange;
use crate::topics::replay::PAGE;

/// A subscribe that waits for the store.
pub(crate) struct PendingSubscribe {
    ticket: ReadTicket,
    subscribe: WaitingSubscribe,
}

/// What the subscribe needs to go on.
struct WaitingSubscribe {
    broker: Broker,
    entry: Arc<TopicEntry>,
    caller: CallerSession,
    options: SubscribeOptions,
    responder: Responder,
    kept: KeptRange,
    /// After which offset a page is being read.
    after: u64,
}

impl Broker {
    /// Reads what the plan for a subscription depends on, and goes on with the subscribe. Returns it if it has to wait.
    pub(super) fn read_kept(
        &self,
        mut entry: Arc<TopicEntry>,
        caller: &CallerSession,
        options: SubscribeOptions,
        responder: Responder,
    ) -> Option<PendingSubscribe> {
        let wants_past = options.since.is_some() || options.last.is_some();
        if !wants_past || !options.may_read_past || !entry.stream.has_history() {
            self.decide_subscribe(entry, caller, options, responder);
            return None;
        }
        let at = loop {
            match entry.stream.now() {
                Ok(view) => break view.position(),
                Err(Retired) => match self.core.topics.entry_again(&entry, &self.core.engine) {
                    Ok(again) => entry = again,
                    Err(failure) => {
                        responder.fail(failure);
                        return None;
                    }
                },
            }
        };
        self.read_more_kept(entry, caller, options, responder, KeptRange::new(at))
    }

    fn read_more_kept(
        &self,
        entry: Arc<TopicEntry>,
        caller: &CallerSession,
        mut options: SubscribeOptions,
        mut responder: Responder,
        mut kept: KeptRange,
    ) -> Option<PendingSubscribe> {
        while let Some(after) = kept.next_read(options.since.as_ref(), options.last) {
            let Ok(view) = entry.stream.now() else { return self.read_kept(entry, caller, options, responder) };
            match view.begin_read(Span::After(after), PAGE, self.core.clock.now()) {
                Reading::Complete(Ok(past)) => kept.take(after, past.first, past.more),
                Reading::Complete(Err(error)) => {
                    responder.fail(error.to_failure());
                    return None;
                }
                Reading::Pending(ticket) => {
                    responder.count_as(self.core.config.load().limits.requests_in_flight);
                    let (broker, caller) = (self.clone(), caller.clone());
                    let subscribe = WaitingSubscribe { broker, entry, caller, options, responder, kept, after };
                    return Some(PendingSubscribe { ticket, subscribe });
                }
            }
        }
        options.kept = Some(kept);
        self.decide_subscribe(entry, caller, options, responder);
        None
    }
}

impl PendingSubscribe {
    /// Goes on when the read is complete, and then with the rest of the session's request.
    pub(crate) fn then(self, rest: Vec<SubscribeRequest>) {
        let Self { ticket, subscribe } = self;
        ticket.then(move |result| {
            // The session's requests and its end are handled on this thread too, so none of them comes in between.
            let (hub, shard) = (subscribe.broker.core.hub.clone(), subscribe.caller.key.shard());
            hub.run_on(shard, move |_| subscribe.go_on(result, rest));
        });
    }
}

impl WaitingSubscribe {
    fn go_on(self, result: ReadResult, rest: Vec<SubscribeRequest>) {
        let Self { broker, entry, caller, options, responder, mut kept, after } = self;
        if caller.assigned.has_ended() {
            return;
        }
        let mut pending = match result {
            Ok(past) => {
                kept.take(after, past.first, past.more);
                broker.read_more_kept(entry, &caller, options, responder, kept)
            }
            Err(error) => {
                responder.fail(error.to_failure());
                None
            }
        };
        let mut rest = rest.into_iter();
        while pending.is_none()
            && let Some(request) = rest.next()
        {
            pending = broker.begin_subscribe(&caller, request);
        }
        if let Some(pending) = pending {
            pending.then(rest.collect());
        }
    }
}
