//! What each session may expect next of each of its topics, and what each client has seen: I3 and I6, and what I2 says about
//! what must still be kept.

use std::collections::BTreeMap;

use crate::court::{Reporter, Rules};
use crate::event::{Position, Reason};
use crate::order::{Orders, Sight};
use crate::violation::Invariant::{Acked, NoDouble, NoGap};

/// Where a fact came and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) session: u64,
    pub(crate) topic: &'a str,
    pub(crate) sight: Sight<'a>,
    pub(crate) now: u64,
}

impl Arrival<'_> {
    fn name(&self) -> (u64, String) {
        (self.session, self.topic.to_owned())
    }

    fn wrong(&self, report: &mut Reporter, invariant: crate::violation::Invariant, what: &str, earlier: usize) {
        let what = format!("{}: {what}", self.topic);
        report.add(invariant, what, &[self.sight.client], &[earlier, self.sight.index]);
    }
}

/// The answer to a subscription.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) position: &'a Position,
    pub(crate) recovered: Option<bool>,
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Question {
    index: usize,
    since: Option<Position>,
    last: Option<u64>,
}

/// A subscription that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) epoch: String,
    /// The offset that must come next.
    pub(crate) next: u64,
    /// When `next` last moved.
    pub(crate) moved_ms: u64,
    /// The gap that must be told before anything else.
    owed: Option<(u64, Reason)>,
    answered: usize,
}

/// A gap for what a reader was too slow for: it must be true in the end.
#[derive(Clone, Debug)]
struct Trimmed {
    topic: String,
    epoch: String,
    to: u64,
    client: u64,
    index: usize,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    questions: BTreeMap<(u64, String), Question>,
    runs: BTreeMap<(u64, String), Run>,
    /// What each client last saw of a topic, and where that stands in the log.
    seen: BTreeMap<(u64, String), (Position, usize)>,
    trimmed: Vec<Trimmed>,
}

impl Subscriptions {
    pub(crate) fn run(&self, session: u64, topic: &str) -> Option<&Run> {
        self.runs.get(&(session, topic.to_owned()))
    }

    pub(crate) fn disconnected(&mut self, session: u64) {
        self.runs.retain(|(of, _), _| *of != session);
        self.questions.retain(|(of, _), _| *of != session);
    }

    /// A client that goes on says where it was: later is a hole of its own making, earlier a double.
    pub(crate) fn ask(&mut self, at: Arrival<'_>, since: Option<Position>, last: Option<u64>, report: &mut Reporter) {
        let client = (at.sight.client, at.topic.to_owned());
        if let (Some(since), Some((seen, index))) = (&since, self.seen.get(&client))
            && since.epoch == seen.epoch
            && since.offset != seen.offset
        {
            let invariant = if since.offset > seen.offset { NoGap } else { NoDouble };
            let what = format!("the client saw {} and goes on from {}", seen.offset, since.offset);
            at.wrong(report, invariant, &what, *index);
        }
        self.questions.insert(at.name(), Question { index: at.sight.index, since, last });
    }

    /// What a library asks for by itself, some time before this.
    pub(crate) fn resume(&mut self, at: Arrival<'_>) {
        let since = self.seen.get(&(at.sight.client, at.topic.to_owned())).map(|(seen, _)| seen.clone());
        let last = since.as_ref().map(|_| u64::MAX);
        // Of what was known meanwhile nothing follows for it.
        self.questions.insert(at.name(), Question { index: 0, since, last });
    }

    pub(crate) fn answer(
        &mut self,
        at: Arrival<'_>,
        answer: &Answer<'_>,
        orders: &Orders,
        rules: &Rules,
        report: &mut Reporter,
    ) {
        let Some(question) = self.questions.remove(&at.name()) else {
            return at.wrong(report, NoDouble, "an answer to no question", at.sight.index);
        };
        let Position { epoch, offset: head } = answer.position;
        if let Some((seen, known)) = orders.head_before(at.topic, epoch, question.index)
            && known > *head
        {
            at.wrong(report, Acked, &format!("{known} was known and the head is {head}"), seen);
        }
        if question.since.is_none() && question.last.is_none() {
            // An update of a subscription that is there changes nothing of what is on its way.
            if self.runs.get(&at.name()).is_some_and(|run| run.epoch == *epoch) {
                return;
            }
        }
        let (next, owed) = begin(at, &question, answer, rules.keeps(at.topic), report);
        let run = Run { epoch: epoch.clone(), next, moved_ms: at.now, owed, answered: at.sight.index };
        self.saw(at, epoch, next - 1);
        self.runs.insert(at.name(), run);
    }

    pub(crate) fn leave(&mut self, at: Arrival<'_>) {
        self.runs.remove(&at.name());
        self.seen.remove(&(at.sight.client, at.topic.to_owned()));
    }

    pub(crate) fn deliver(&mut self, at: Arrival<'_>, position: &Position, report: &mut Reporter) {
        let Some(run) = self.runs.get_mut(&at.name()) else {
            return at.wrong(report, NoDouble, "a message without a subscription", at.sight.index);
        };
        let earlier = run.answered;
        if run.epoch != position.epoch {
            let what = format!("a message of epoch {} in a subscription to {}", position.epoch, run.epoch);
            return at.wrong(report, NoGap, &what, earlier);
        }
        if let Some((to, reason)) = run.owed.take() {
            at.wrong(report, NoGap, &format!("a gap up to {to} ({reason:?}) was never told"), earlier);
        }
        if position.offset < run.next {
            let what = format!("{} came again; {} is next", position.offset, run.next);
            return at.wrong(report, NoDouble, &what, earlier);
        }
        if position.offset > run.next {
            let what = format!("{} came where {} is next, and nothing was told", position.offset, run.next);
            at.wrong(report, NoGap, &what, earlier);
        }
        run.next = position.offset + 1;
        run.moved_ms = at.now;
        self.saw(at, &position.epoch, position.offset);
    }

    pub(crate) fn gap(&mut self, at: Arrival<'_>, (from, to): (u64, u64), reason: Reason, report: &mut Reporter) {
        let Some(run) = self.runs.get_mut(&at.name()) else {
            return at.wrong(report, NoDouble, "a gap without a subscription", at.sight.index);
        };
        let (earlier, owed) = (run.answered, run.owed.take());
        if from > to || from != run.next {
            let invariant = if from > run.next { NoGap } else { NoDouble };
            let what = format!("a gap from {from} to {to} where {} is next", run.next);
            at.wrong(report, invariant, &what, earlier);
        }
        // What was given up between the answer and the gap is told together with what the gap is due for.
        let told = owed.map_or(0, |(until, _)| until);
        if let Some((until, why)) = owed
            && (to < until || why != reason)
        {
            let what = format!("a gap to {to} ({reason:?}) where one to {until} ({why:?}) is due");
            at.wrong(report, NoGap, &what, earlier);
        }
        if owed.is_none() && reason == Reason::Reset {
            at.wrong(report, NoGap, "a reset within a subscription", earlier);
        }
        if to > told && matches!(reason, Reason::Expired | Reason::Reset) {
            let (topic, epoch) = (at.topic.to_owned(), run.epoch.clone());
            self.trimmed.push(Trimmed { topic, epoch, to, client: at.sight.client, index: at.sight.index });
        }
        run.next = run.next.max(to + 1);
        run.moved_ms = at.now;
        let (epoch, offset) = (run.epoch.clone(), run.next - 1);
        self.saw(at, &epoch, offset);
    }

    fn saw(&mut self, at: Arrival<'_>, epoch: &str, offset: u64) {
        let seen = (Position { epoch: epoch.to_owned(), offset }, at.sight.index);
        self.seen.insert((at.sight.client, at.topic.to_owned()), seen);
    }

    /// Nothing that is among the newest that a topic keeps was ever too old.
    pub(crate) fn judge(&self, orders: &Orders, rules: &Rules, report: &mut Reporter) {
        for Trimmed { topic, epoch, to, client, index } in &self.trimmed {
            let (head, keeps) = (orders.head(topic, epoch), rules.keeps(topic));
            if to + keeps > head {
                let what = format!("{topic}: up to {to} was given up, but the head is {head} and {keeps} are kept");
                report.add(Acked, what, &[*client], &[*index]);
            }
        }
    }
}

/// What a subscription must bring first: the next offset, and the gap before it.
fn begin(
    at: Arrival<'_>,
    question: &Question,
    answer: &Answer<'_>,
    keeps: u64,
    report: &mut Reporter,
) -> (u64, Option<(u64, Reason)>) {
    let head = answer.position.offset;
    let past = head - question.last.unwrap_or(0).min(keeps).min(head);
    let Some(since) = &question.since else {
        if answer.recovered.is_some() {
            at.wrong(report, NoGap, "recovered without `since`", question.index);
        }
        return (past + 1, None);
    };
    let is_known = since.epoch == answer.position.epoch && since.offset <= head;
    let is_kept = is_known && since.offset + keeps >= head;
    match answer.recovered {
        Some(true) if is_kept => (since.offset + 1, None),
        Some(true) => {
            let what = format!("recovered from {}/{}, which leads nowhere", since.epoch, since.offset);
            at.wrong(report, NoGap, &what, question.index);
            (past + 1, None)
        }
        Some(false) => {
            if is_kept && keeps > 0 {
                let what =
                    format!("{} messages since {} are kept and were not sent", head - since.offset, since.offset);
                at.wrong(report, Acked, &what, question.index);
            }
            let (from, reason) = if is_known { (since.offset + 1, Reason::Expired) } else { (1, Reason::Reset) };
            if from > past { (past + 1, None) } else { (from, Some((past, reason))) }
        }
        None => {
            at.wrong(report, NoGap, "`since` was asked for, and nothing said what became of it", question.index);
            (past + 1, None)
        }
    }
}
