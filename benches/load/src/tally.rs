//! Who must get which message, who has it, and what was wrong with it. It knows no sockets and no clock.

use hdrhistogram::Histogram;

use crate::dialect::Delivery;
use crate::payload::{self, Stamp};
use crate::scenario::{Faults, Percentiles};
use crate::subscription::{Arrival, Subscription};
use crate::topic::Topic;

/// The longest latency that is told from longer ones.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Which subscriptions a connection holds: those of neighbouring topics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) topic_first: u32,
    pub(crate) topics: u32,
    pub(crate) subscription_first: usize,
}

/// All messages and all subscriptions of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Messages received by all subscribers.
    pub(crate) delivered: u64,
    /// Messages published.
    pub(crate) published: u64,
    /// Messages that the server said it left out.
    pub(crate) skipped: u64,
    /// Connections that ended.
    pub(crate) disconnected: u64,
    /// Messages that somebody still waits for.
    pub(crate) in_flight: u64,
    /// Only messages that were due in this time (nanoseconds since the run began) count for latencies.
    pub(crate) counted_ns: std::ops::Range<u64>,
    topics: Vec<Topic>,
    subscriptions: Vec<Subscription>,
    faults: Faults,
    latencies: Histogram<u64>,
    content_bytes: usize,
    has_offsets: bool,
}

impl Tally {
    pub(crate) fn new(topics: u32, content_bytes: usize, has_offsets: bool) -> Self {
        let mut latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("bounds as documented");
        latencies.auto(false);
        Self {
            delivered: 0,
            published: 0,
            skipped: 0,
            disconnected: 0,
            in_flight: 0,
            counted_ns: 0..0,
            topics: (0..topics).map(|_| Topic::default()).collect(),
            subscriptions: Vec::new(),
            faults: Faults::default(),
            latencies,
            content_bytes,
            has_offsets,
        }
    }

    /// Adds a connection subscribed to these topics.
    pub(crate) fn subscribe(&mut self, topics: std::ops::Range<u32>) -> Place {
        let subscription_first = self.subscriptions.len();
        for topic in &mut self.topics[topics.start as usize..topics.end as usize] {
            topic.subscribers += 1;
            self.subscriptions.push(Subscription::default());
        }
        Place { topic_first: topics.start, topics: topics.end - topics.start, subscription_first }
    }

    /// Bytes of each content.
    pub(crate) fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    /// Makes the next message of a topic and returns its content.
    pub(crate) fn publish(&mut self, topic_index: u32, due_ns: u64) -> &[u8] {
        let topic = &mut self.topics[topic_index as usize];
        let stamp = Stamp { topic: topic_index, sequence: topic.next(), time_ns: due_ns };
        let content = payload::write(stamp, self.content_bytes);
        self.published += 1;
        self.in_flight += u64::from(topic.subscribers > 0);
        topic.push(content, due_ns)
    }

    /// Counts what a connection received.
    #[inline]
    pub(crate) fn deliver(&mut self, place: Place, delivery: Delivery<'_>, now_ns: u64) {
        let Some(inner) = place.inner(delivery.content) else { return self.faults.altered += 1 };
        let subscription = &mut self.subscriptions[place.subscription_first + inner as usize];
        let topic = &mut self.topics[(place.topic_first + inner) as usize];
        let sequence = subscription.next();
        let usual = topic.record(sequence).is_some_and(|record| {
            *record.content == *delivery.content
                && (delivery.topic == &record.content[..payload::TOPIC_DIGITS] || delivery.topic.is_empty())
                && (delivery.offset == subscription.offset_of(sequence))
        });
        if !usual || self.has_offsets != delivery.offset.is_some() {
            return self.deliver_unusual(place, delivery, now_ns);
        }
        subscription.advance();
        self.delivered += 1;
        self.settle(place.topic_first + inner, sequence, Some(now_ns));
    }

    /// Anything but the message that comes next.
    #[cold]
    fn deliver_unusual(&mut self, place: Place, delivery: Delivery<'_>, now_ns: u64) {
        let Some((topic, sequence)) = self.recognise(place, delivery) else { return self.faults.altered += 1 };
        let subscription = self.subscription(place, topic);
        match subscription.arrive(sequence) {
            Arrival::Next => {}
            Arrival::Late => self.faults.disordered += 1,
            Arrival::Again => return self.faults.doubled += 1,
        }
        self.delivered += 1;
        self.settle(topic, sequence, Some(now_ns));
    }

    /// Topic and sequence of a message that is as it was published.
    fn recognise(&mut self, place: Place, delivery: Delivery<'_>) -> Option<(u32, u64)> {
        let stamp = payload::read(delivery.content)?;
        let topic = &self.topics[place.topic(stamp.topic)? as usize];
        let same = match topic.record(stamp.sequence) {
            Some(record) => *record.content == *delivery.content,
            None => stamp.sequence < topic.next() && *payload::write(stamp, self.content_bytes) == *delivery.content,
        };
        let at_home = delivery.topic.is_empty() || delivery.topic == &delivery.content[..payload::TOPIC_DIGITS];
        if !same || !at_home || self.has_offsets != delivery.offset.is_some() {
            return None;
        }
        let subscription = self.subscription(place, stamp.topic);
        let placed = delivery.offset.is_none_or(|offset| subscription.takes_offset(stamp.sequence, offset));
        placed.then_some((stamp.topic, stamp.sequence))
    }

    /// The server says after which offset a subscription begins.
    pub(crate) fn position(&mut self, place: Place, topic: u32, offset: u64) {
        if place.topic(topic).is_some() {
            self.subscription(place, topic).begin_after(offset);
        }
    }

    /// The server says which offsets a subscriber will not get.
    pub(crate) fn gap(&mut self, place: Place, topic: u32, from: u64, to: u64) {
        if place.topic(topic).is_none() {
            return self.faults.altered += 1;
        }
        let published = self.topics[topic as usize].next();
        let Some(sequences) = self.subscription(place, topic).sequences(from, to, published) else {
            return self.faults.altered += 1;
        };
        for sequence in sequences {
            match self.subscription(place, topic).arrive(sequence) {
                Arrival::Next | Arrival::Late => {
                    self.skipped += 1;
                    self.settle(topic, sequence, None);
                }
                Arrival::Again => self.faults.doubled += 1,
            }
        }
    }

    /// A connection is gone: nobody waits for it any more.
    pub(crate) fn disconnect(&mut self, place: Place) {
        self.disconnected += 1;
        for topic in place.topic_first..place.topic_first + place.topics {
            self.topics[topic as usize].subscribers -= 1;
            let published = self.topics[topic as usize].next();
            for sequence in self.subscription(place, topic).end(published) {
                self.settle(topic, sequence, None);
            }
        }
    }

    /// One subscriber less waits for a message.
    #[inline]
    fn settle(&mut self, topic: u32, sequence: u64, had_ns: Option<u64>) {
        let topic = &mut self.topics[topic as usize];
        let Some(done) = topic.settle(sequence, had_ns) else { return };
        self.in_flight -= 1;
        if let Some(had_ns) = done.had_ns.filter(|_| self.counted_ns.contains(&done.due_ns)) {
            self.latencies.saturating_record(had_ns.saturating_sub(done.due_ns));
        }
        topic.forget();
    }

    /// Faults so far, if nothing more comes.
    pub(crate) fn faults(&self, places: impl Iterator<Item = Place>) -> Faults {
        let mut lost = 0;
        for place in places {
            let topics = &self.topics[place.topic_first as usize..][..place.topics as usize];
            let subscriptions = &self.subscriptions[place.subscription_first..];
            lost += topics.iter().zip(subscriptions).map(|(topic, one)| one.lost(topic.next())).sum::<u64>();
        }
        Faults { lost, ..self.faults }
    }

    /// Latencies of all counted messages that somebody got, to the last of those who got them.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let at = |quantile| microseconds(self.latencies.value_at_quantile(quantile));
        Percentiles {
            count: self.latencies.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: microseconds(self.latencies.max()),
        }
    }

    fn subscription(&mut self, place: Place, topic: u32) -> &mut Subscription {
        &mut self.subscriptions[place.subscription_first + (topic - place.topic_first) as usize]
    }
}

impl Place {
    /// Which of its topics a content belongs to.
    #[inline]
    fn inner(self, content: &[u8]) -> Option<u32> {
        if self.topics == 1 {
            return Some(0);
        }
        payload::read_topic(content)?.checked_sub(self.topic_first).filter(|inner| *inner < self.topics)
    }

    /// The topic, if it is one of these.
    fn topic(self, topic: u32) -> Option<u32> {
        (self.topic_first..self.topic_first + self.topics).contains(&topic).then_some(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 64;

    /// Some topics, and as many connections that are subscribed to all of them.
    fn tally(topics: u32, connections: usize, has_offsets: bool) -> (Tally, Vec<Place>) {
        let mut tally = Tally::new(topics, BYTES, has_offsets);
        let places = (0..connections).map(|_| tally.subscribe(0..topics)).collect();
        (tally, places)
    }

    fn publish(tally: &mut Tally, topic: u32, count: u64) -> Vec<Box<[u8]>> {
        (0..count).map(|due_ns| tally.publish(topic, due_ns).into()).collect()
    }

    fn plain(content: &[u8]) -> Delivery<'_> {
        Delivery { content, topic: b"", offset: None }
    }

    fn faults(lost: u64, disordered: u64, doubled: u64, altered: u64) -> Faults {
        Faults { lost, disordered, doubled, altered }
    }

    #[test]
    fn every_delivery_is_judged() {
        // What one subscriber gets of four messages; 9 stands for a changed one.
        let cases: &[(&[usize], Faults)] = &[
            (&[0, 1, 2, 3], faults(0, 0, 0, 0)),
            (&[0, 1, 3, 2], faults(0, 1, 0, 0)),
            (&[0, 1, 1, 2, 3], faults(0, 0, 1, 0)),
            (&[0, 1, 2, 3, 3, 0], faults(0, 0, 2, 0)),
            (&[0, 3], faults(2, 0, 0, 0)),
            (&[1, 2], faults(2, 0, 0, 0)),
            (&[0, 9, 2, 3], faults(1, 0, 0, 1)),
        ];
        for (order, expected) in cases {
            let (mut tally, places) = tally(1, 2, false);
            let messages = publish(&mut tally, 0, 4);
            messages.iter().for_each(|message| tally.deliver(places[0], plain(message), 5));
            for index in *order {
                let mut content = messages[index % 8].clone();
                content[BYTES - 1] ^= u8::from(*index == 9);
                tally.deliver(places[1], plain(&content), 5);
            }
            assert_eq!(tally.faults(places.into_iter()), *expected, "{order:?}");
        }
    }

    #[test]
    fn any_change_is_seen() {
        for at in 0..BYTES {
            let (mut tally, places) = tally(2, 1, false);
            let mut content = publish(&mut tally, 1, 1).remove(0);
            content[at] ^= 1;
            tally.deliver(places[0], plain(&content), 5);
            assert_eq!(tally.faults(places.into_iter()), faults(1, 0, 0, 1), "byte {at}");
        }
        let (mut tally, places) = tally(1, 1, false);
        let content = publish(&mut tally, 0, 1).remove(0);
        for bytes in [&b""[..], b"hello", &content[..BYTES - 1], &[&content[..], b"x"].concat()] {
            tally.deliver(places[0], plain(bytes), 5);
        }
        assert_eq!(tally.faults(places.into_iter()), faults(1, 0, 0, 4));
    }

    #[test]
    fn envelopes_must_fit_their_contents() {
        // Offsets begin at 41. Topic and offset of the envelope, and whether that is right for the first message.
        let cases: &[(&[u8], Option<u64>, bool)] = &[
            (b"000001", Some(41), true),
            (b"000000", Some(41), false),
            (b"000001", Some(42), false),
            (b"000001", None, false),
        ];
        for (topic, offset, right) in cases {
            let (mut tally, places) = tally(2, 1, true);
            tally.position(places[0], 1, 40);
            let content = publish(&mut tally, 1, 1).remove(0);
            tally.deliver(places[0], Delivery { content: &content, topic, offset: *offset }, 5);
            assert_eq!(tally.faults(places.into_iter()).none(), *right, "{topic:?} {offset:?}");
        }
    }

    #[test]
    fn messages_are_done_when_no_subscriber_waits() {
        let (mut tally, places) = tally(1, 3, true);
        tally.counted_ns = 0..2;
        places.iter().for_each(|place| tally.position(*place, 0, 0));
        let messages = publish(&mut tally, 0, 3);
        let at =
            |index: usize| Delivery { content: &messages[index], topic: b"000000", offset: Some(index as u64 + 1) };
        (0..3).for_each(|index| tally.deliver(places[0], at(index), 1_000));
        tally.gap(places[1], 0, 1, 2);
        tally.deliver(places[1], at(2), 2_000);
        tally.deliver(places[2], at(0), 3_000);
        assert_eq!((tally.in_flight, tally.skipped), (2, 2));
        tally.disconnect(places[2]);
        assert_eq!((tally.in_flight, tally.disconnected, tally.delivered), (0, 1, 5));
        assert!(tally.faults(places.into_iter()).none());
        // Of the two messages that count, one was had by all at 1 µs, the other by those who got it at 3 µs.
        let latency = tally.percentiles();
        assert_eq!((latency.count, latency.p50.round(), latency.max.round()), (2, 1.0, 3.0));
        assert!((0..3).all(|sequence| tally.topics[0].record(sequence).is_none()));
    }

    #[test]
    fn gaps_are_counted_once() {
        // Gaps and messages (from = to) of five messages, then skipped and faults.
        enum Step {
            Gap(u64, u64),
            Message(u64),
        }
        use Step::{Gap, Message};
        let cases: &[(&[Step], u64, Faults)] = &[
            (&[Message(1), Gap(2, 4), Message(5)], 3, faults(0, 0, 0, 0)),
            (&[Gap(1, 5)], 5, faults(0, 0, 0, 0)),
            (&[Message(1), Message(5), Gap(2, 4)], 3, faults(0, 0, 0, 0)),
            (&[Message(1), Gap(3, 4), Message(5)], 2, faults(1, 0, 0, 0)),
            (&[Message(1), Message(2), Gap(2, 4), Message(5)], 2, faults(0, 0, 1, 0)),
            (&[Gap(1, 4), Gap(1, 4), Message(5)], 4, faults(0, 0, 4, 0)),
            (&[Gap(1, 4), Message(4), Message(5)], 4, faults(0, 0, 1, 0)),
            (&[Gap(5, 6)], 0, faults(5, 0, 0, 1)),
        ];
        for (number, (steps, skipped, expected)) in cases.iter().enumerate() {
            let (mut tally, places) = tally(1, 1, true);
            tally.position(places[0], 0, 0);
            let messages = publish(&mut tally, 0, 5);
            for step in *steps {
                match step {
                    Gap(from, to) => tally.gap(places[0], 0, *from, *to),
                    Message(offset) => {
                        let content = &messages[*offset as usize - 1];
                        let delivery = Delivery { content, topic: b"000000", offset: Some(*offset) };
                        tally.deliver(places[0], delivery, 9);
                    }
                }
            }
            assert_eq!((tally.skipped, tally.faults(places.into_iter())), (*skipped, *expected), "case {number}");
        }
    }
}
