//! The machine as tables: what happens is played to it, and what it does is read.

use std::sync::Arc;

use bytes::Bytes;
use rialto_protocol::{
    Closing, Failure, Frame, Limits, Member, Operation, Payload, Position, Publish, Published, Subscribed, Welcome,
};

use super::*;
use crate::wanted::Topic;

pub(super) const LIMITS: Limits = Limits { message_bytes: 65_536, subscriptions: 1_000, outbox_bytes: 1 << 20 };

pub(super) fn settings() -> Settings {
    Settings {
        codec: Codec::Json,
        client: "test/1".into(),
        has_tokens: false,
        attempt: Duration::from_secs(10),
        patience: Duration::from_secs(3_600),
        pause_least: Duration::from_millis(100),
        pause_most: Duration::from_secs(10),
    }
}

/// A machine and what it has done.
pub(super) struct Play {
    pub(super) machine: Machine,
    started: Instant,
    pub(super) ms: u64,
    pub(super) actions: Vec<Action>,
}

impl Play {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let started = Instant::now();
        let now = Moment { instant: started, unix_ms: 1_000_000 };
        let mut play = Self { machine: Machine::new(settings, seed, now), started, ms: 0, actions: Vec::new() };
        play.tick();
        play
    }

    /// A session that is open.
    pub(super) fn open(settings: Settings) -> Self {
        let mut play = Self::new(settings, 1);
        play.begin();
        play.actions.clear();
        play
    }

    pub(super) fn now(&self) -> Moment {
        Moment { instant: self.started + Duration::from_millis(self.ms), unix_ms: 1_000_000 + self.ms }
    }

    pub(super) fn collect(&mut self) {
        self.actions.extend(std::iter::from_fn(|| self.machine.next_action()));
    }

    pub(super) fn tick(&mut self) {
        self.machine.tick(self.now());
        self.collect();
    }

    /// Goes to the next time at which there is something to do.
    pub(super) fn wait(&mut self) {
        let at = self.machine.wake_at().expect("it waits for something");
        let ms = at.saturating_duration_since(self.started).as_micros().div_ceil(1_000);
        self.ms = self.ms.max(u64::try_from(ms).unwrap());
        self.tick();
    }

    /// The connection opens and the broker greets.
    pub(super) fn begin(&mut self) {
        self.machine.opened(self.now());
        let member = Member { session: "s".into(), user: None };
        let (server, node, features) = ("rialto/0.1.0", "n", &["recovery"][..]);
        self.hear(&Frame::Welcome(Welcome {
            member: &member,
            server,
            node,
            ping_ms: 25_000,
            features,
            limits: LIMITS,
        }));
    }

    pub(super) fn hear(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(self.machine.settings.codec, &mut bytes);
        self.machine.heard(self.now(), &Bytes::from(bytes));
        self.collect();
    }

    /// The same as a text, for what the broker's encoder does not write yet.
    fn hear_text(&mut self, text: &str) {
        self.machine.heard(self.now(), &Bytes::copy_from_slice(text.as_bytes()));
        self.collect();
    }

    pub(super) fn closed(&mut self, code: Option<u16>) {
        self.machine.closed(self.now(), code.map(|code| (code, "why".to_owned())));
        self.collect();
    }

    pub(super) fn subscribe(&mut self, stream: u64, topics: impl IntoIterator<Item = Topic>) {
        let topics = topics.into_iter().collect();
        self.machine.subscribe(self.now(), StreamId(stream), topics, Duration::from_secs(30), stream);
        self.collect();
    }

    pub(super) fn publish(&mut self, ticket: Ticket, again: Again) {
        let publish = Publish {
            topic: "t".into(),
            payload: Payload::json(&ticket).unwrap(),
            key: Some(format!("k{ticket}").into()),
            echo: true,
        };
        let operation = Operation::Publish(publish);
        self.machine.ask(self.now(), Asking { ticket, operation, within: Duration::from_secs(30), again });
        self.collect();
    }

    /// What was sent since the last time.
    pub(super) fn sent(&mut self) -> Vec<Request<'static>> {
        let mut sent = Vec::new();
        self.actions.retain(|action| {
            if let Action::Send(frame) = action {
                sent.push(Request::decode(Codec::Json, Vec::leak(frame.clone())).unwrap());
            }
            !matches!(action, Action::Send(_))
        });
        sent
    }

    fn items(&self) -> Vec<&Item> {
        let items = self.actions.iter().filter_map(|action| match action {
            Action::Deliver { item, .. } => Some(item),
            _ => None,
        });
        items.collect()
    }

    fn retry_in(&self) -> Option<Duration> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Tell(Event::Disconnected { retry_in, .. }) => Some(*retry_in),
            _ => None,
        })
    }

    fn has(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.actions.iter().any(wanted)
    }

    fn fetches(&self) -> bool {
        self.has(|action| matches!(action, Action::FetchToken))
    }

    fn connects(&self) -> bool {
        self.has(|action| matches!(action, Action::Connect))
    }

    fn answer_of(&self, ticket: Ticket) -> Option<&Result<Reply, Error>> {
        self.actions.iter().find_map(|action| match action {
            Action::Answer { ticket: one, outcome } if *one == ticket => Some(&**outcome),
            _ => None,
        })
    }
}

fn at(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

fn there(topic: &str, position: Option<Position>, recovered: Option<bool>) -> Subscribed {
    Subscribed { topic: topic.into(), position, recovered, more: None, present: None }
}

fn refusal(topic: &str, code: rialto_protocol::ErrorCode, hint: Option<u64>) -> (Arc<str>, Failure) {
    (topic.into(), Failure { retry_after_ms: hint, ..Failure::new(code, "no") })
}

fn subscribed_ids(sent: &[Request<'_>]) -> Vec<(u64, Vec<String>)> {
    let mut ids = Vec::new();
    for request in sent {
        if let Operation::Subscribe(topics) = &request.operation {
            ids.push((request.id.unwrap(), topics.iter().map(|topic| topic.topic.to_string()).collect()));
        }
    }
    ids
}

/// One topic that is there, at e:5.
fn following() -> Play {
    let mut play = Play::open(settings());
    play.subscribe(1, [Topic::new("t")]);
    let (id, _) = subscribed_ids(&play.sent())[0].clone();
    let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
    play.hear(&Frame::Ok { id, reply: &reply });
    assert!(matches!(play.answer_of(1), Some(Ok(Reply::Subscribed(_)))));
    play.actions.clear();
    play
}

/// Comes back after a cut; gives what was asked for.
fn comes_back(play: &mut Play) -> Vec<Request<'static>> {
    play.closed(None);
    play.wait();
    play.begin();
    play.sent()
}

#[test]
fn codes_say_whether_to_come_back() {
    for (code, comes_back) in [
        (Some(1000), false),
        (Some(1001), true),
        (Some(1002), false),
        (Some(1003), false),
        (Some(1005), false),
        (Some(1007), false),
        (Some(1008), false),
        (Some(1009), false),
        (Some(1011), true),
        (Some(1012), false),
        (Some(1013), true),
        (None, true),
        (Some(4000), true),
        (Some(4001), false),
        (Some(4002), false),
        (Some(4003), false),
        (Some(4004), true),
        (Some(4005), true),
        (Some(4006), true),
        (Some(4008), true),
        (Some(4999), false),
    ] {
        let mut play = Play::open(settings());
        play.closed(code);
        assert_eq!(play.machine.ending().is_none(), comes_back, "{code:?}");
        assert_eq!(play.retry_in().is_some(), comes_back, "{code:?}");
        if comes_back {
            play.actions.clear();
            play.wait();
            assert!(play.connects(), "{code:?}");
        }
    }
}

#[test]
fn statuses_say_whether_to_come_back() {
    for (status, comes_back) in [
        (None, true),
        (Some(400), false),
        (Some(401), false),
        (Some(403), false),
        (Some(404), false),
        (Some(426), false),
        (Some(408), true),
        (Some(429), true),
        (Some(500), true),
        (Some(502), true),
        (Some(503), true),
    ] {
        let mut play = Play::new(settings(), 1);
        let retry_after = Some(Duration::from_secs(7)).filter(|_| status.is_some());
        play.machine.refused(play.now(), Refusal { status, retry_after, reason: "no".into() });
        play.collect();
        assert_eq!(play.machine.ending().is_none(), comes_back, "{status:?}");
        if comes_back && status.is_some() {
            assert!(play.retry_in() >= Some(Duration::from_secs(7)), "{status:?}");
        }
    }
}

#[test]
fn the_hint_before_a_close_is_obeyed_and_not_by_all_at_once() {
    let pauses = (0..50).map(|seed| {
        let mut play = Play::new(settings(), seed);
        play.begin();
        let closing = Closing { code: 1001, message: "stopping".into(), retry_after_ms: Some(2_000) };
        play.hear(&Frame::Closing(&closing));
        play.closed(Some(1001));
        play.retry_in().unwrap().as_millis()
    });
    let pauses: std::collections::BTreeSet<u128> = pauses.collect();
    assert!(pauses.iter().all(|pause| (2_000..=2_100).contains(pause)), "{pauses:?}");
    assert!(pauses.len() > 20, "{pauses:?}");
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    for phase in ["connecting", "greeting", "fetching"] {
        let mut play = Play::new(Settings { has_tokens: phase == "fetching", ..settings() }, 1);
        if phase == "greeting" {
            play.machine.opened(play.now());
        }
        play.actions.clear();
        play.ms = 9_999;
        play.tick();
        assert!(play.actions.is_empty(), "{phase}: {:?}", play.actions);
        play.ms = 10_000;
        play.tick();
        assert!(play.retry_in().is_some(), "{phase}");
        assert_eq!(play.has(|action| matches!(action, Action::Disconnect(_))), phase != "fetching");
    }
}

#[test]
fn the_first_session_has_to_begin_in_time_and_later_ones_take_as_long_as_they_take() {
    let patient = Settings { patience: Duration::from_secs(1), ..settings() };
    let mut play = Play::new(patient.clone(), 1);
    let refused = |play: &mut Play| {
        play.machine.refused(play.now(), Refusal { reason: "refused".into(), ..Refusal::default() });
        play.collect();
    };
    while play.machine.ending().is_none() {
        refused(&mut play);
        if play.machine.ending().is_none() {
            play.wait();
        }
    }
    assert!(play.ms <= 1_000);
    assert_eq!(play.machine.ending(), Some(&Ending::Unreachable("refused".into())));
    let mut play = Play::open(patient);
    play.closed(None);
    for _ in 0..100 {
        play.wait();
        refused(&mut play);
    }
    assert!(play.ms > 100_000 && play.machine.ending().is_none());
}

#[test]
fn a_broker_that_is_silent_is_asked_and_then_left() {
    let mut play = Play::open(settings());
    play.ms = 25_000;
    play.tick();
    assert!(play.has(|action| matches!(action, Action::Probe)));
    play.ms = 30_000;
    play.machine.alive(play.now());
    play.actions.clear();
    play.wait();
    assert_eq!(play.ms, 55_000);
    assert!(play.has(|action| matches!(action, Action::Probe)));
    play.wait();
    assert_eq!(play.ms, 65_000);
    assert!(play.has(|action| matches!(action, Action::Disconnect(1000))) && play.retry_in().is_some());
}

#[test]
fn a_session_that_does_not_read_says_that_it_lives_and_does_not_judge_the_broker() {
    let mut play = Play::open(settings());
    play.machine.hold(play.now());
    for beat in 1..=10 {
        play.actions.clear();
        play.wait();
        assert_eq!(play.ms, beat * 12_500);
        assert!(play.has(|action| matches!(action, Action::Beat)));
        assert!(!play.has(|action| matches!(action, Action::Probe | Action::Disconnect(_))));
    }
    play.machine.release(play.now());
    play.actions.clear();
    play.tick();
    assert!(play.actions.is_empty(), "it has just begun to read: {:?}", play.actions);
}

#[test]
fn a_token_comes_before_the_connection_and_is_kept_as_long_as_it_is_good() {
    let mut play = Play::new(Settings { has_tokens: true, ..settings() }, 1);
    assert!(play.fetches() && !play.connects());
    play.machine.token(play.now(), Ok("one".into()));
    play.collect();
    assert!(play.connects());
    play.begin();
    let sent = play.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!((connect.token.as_deref(), sent.len()), (Some("one"), 1), "nothing else before the proof");
    play.publish(7, Again::Yes);
    assert!(play.sent().is_empty());
    play.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann","expires_at":1100000}}"#, sent[0].id.unwrap()));
    let user = |action: &Action| matches!(action, Action::Tell(Event::Connected(session)) if session.member.user.as_deref() == Some("ann"));
    assert!(play.has(user));
    assert_eq!(play.sent().len(), 1, "what waited goes out");

    // It is refreshed while the session goes on.
    play.actions.clear();
    play.machine.alive(play.now());
    play.ms = 80_000;
    play.machine.alive(play.now());
    play.tick();
    assert!(play.fetches());
    play.machine.token(play.now(), Ok("two".into()));
    play.collect();
    let sent = play.sent();
    let Operation::Connect(connect) = &sent[0].operation else { panic!("{sent:?}") };
    assert_eq!(connect.token.as_deref(), Some("two"));
    play.hear_text(&format!(r#"{{"type":"ok","id":{},"user":"ann","expires_at":9000000}}"#, sent[0].id.unwrap()));

    // A cut is no reason for another one, an end of the token is.
    play.actions.clear();
    play.closed(None);
    play.wait();
    assert!(!play.fetches() && play.connects());
    play.begin();
    let id = play.sent()[0].id.unwrap();
    play.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":"ann"}}"#));
    play.actions.clear();
    play.closed(Some(4002));
    play.wait();
    assert!(play.fetches() && !play.connects());
}

#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let mut play = Play::new(Settings { has_tokens: true, ..settings() }, 1);
    let refused = Failure::new(rialto_protocol::ErrorCode::Unauthorized, "no");
    let refuse = |play: &mut Play| {
        play.begin();
        let id = play.sent()[0].id;
        play.hear(&Frame::Error { id, failure: &refused });
    };
    play.machine.token(play.now(), Ok("one".into()));
    play.collect();
    play.begin();
    let id = play.sent()[0].id.unwrap();
    play.hear_text(&format!(r#"{{"type":"ok","id":{id},"user":"ann"}}"#));
    play.closed(None);
    play.wait();
    // It was good once.
    refuse(&mut play);
    assert!(play.machine.ending().is_none());
    play.actions.clear();
    play.wait();
    assert!(play.fetches());
    play.machine.token(play.now(), Ok("two".into()));
    play.collect();
    refuse(&mut play);
    assert_eq!(play.machine.ending(), Some(&Ending::Unauthorized("no".into())));
}

#[test]
fn a_thousand_topics_are_a_few_frames_topics_first_and_each_since_its_position() {
    let mut play = Play::open(settings());
    let long = "x".repeat(200);
    let names: Vec<String> = (0..997).map(|number| format!("{long}.{number}")).collect();
    let patterns = ["a.*", "b.>", "*"];
    play.subscribe(
        1,
        patterns.iter().map(|name| Topic::new(*name)).chain(names.iter().map(|name| Topic::new(name.as_str()))),
    );
    let first = subscribed_ids(&play.sent());
    for (id, topics) in &first {
        let outcomes = topics.iter().map(|topic| {
            let position = (topic.len() > 3).then(|| at("e", 5));
            Ok(there(topic, position, None))
        });
        let reply = rialto_protocol::Reply::SubscribedAll(outcomes.collect());
        play.hear(&Frame::Ok { id: *id, reply: &reply });
    }
    assert!(matches!(play.answer_of(1), Some(Ok(Reply::Subscribed(outcomes))) if outcomes.len() == 1_000));
    let again = comes_back(&mut play);
    let frames: Vec<&Request<'_>> =
        again.iter().filter(|request| matches!(request.operation, Operation::Subscribe(_))).collect();
    assert!((2..=25).contains(&frames.len()), "{}", frames.len());
    let mut asked = Vec::new();
    for request in frames {
        let mut bytes = Vec::new();
        request.encode(Codec::Json, &mut bytes);
        assert!(bytes.len() <= LIMITS.message_bytes, "{}", bytes.len());
        let Operation::Subscribe(topics) = &request.operation else { continue };
        asked.extend(topics.iter().map(|topic| (topic.topic.to_string(), topic.since.clone())));
    }
    let expected = names.iter().map(|name| (name.clone(), Some(at("e", 5))));
    let expected = expected.chain(patterns.iter().map(|name| ((*name).to_owned(), None)));
    assert_eq!(asked, expected.collect::<Vec<_>>());
}

#[test]
fn what_is_asked_for_after_a_cut_depends_on_what_was_there() {
    type Change = fn(Topic) -> Topic;
    let cases: [(Change, bool, Option<Position>, Option<u64>); 6] = [
        (|topic| topic, true, Some(at("e", 5)), Some(u64::from(u32::MAX))),
        (|topic| topic.resume_last(7), true, Some(at("e", 5)), Some(7)),
        (Topic::live_only, true, None, None),
        (|topic| topic.last(3), true, Some(at("e", 2)), Some(u64::from(u32::MAX))),
        (|topic| topic.last(3), false, None, Some(3)),
        (|topic| topic.since(at("e", 1)), false, Some(at("e", 1)), None),
    ];
    for (case, (change, was_there, since, last)) in cases.into_iter().enumerate() {
        let mut play = Play::open(settings());
        play.subscribe(1, [change(Topic::new("t"))]);
        let (id, _) = subscribed_ids(&play.sent())[0].clone();
        if was_there {
            let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
            play.hear(&Frame::Ok { id, reply: &reply });
        }
        let sent = comes_back(&mut play);
        let Operation::Subscribe(topics) = &sent[1].operation else { panic!("{sent:?}") };
        assert_eq!((&topics[0].since, topics[0].last), (&since, last), "case {case}");
    }
}

#[test]
fn a_subscription_that_is_refused_on_return_waits_or_ends() {
    use rialto_protocol::ErrorCode::{Busy, Forbidden, TooMany};
    for (code, hint, waits) in [
        (Busy, Some(3_000), true),
        (Busy, None, true),
        (TooMany, Some(3_000), true),
        (TooMany, None, false),
        (Forbidden, None, false),
    ] {
        let mut play = following();
        let id = comes_back(&mut play)[1].id.unwrap();
        let (_, failure) = refusal("t", code, hint);
        play.actions.clear();
        let refused_at = play.ms;
        play.hear(&Frame::Error { id: Some(id), failure: &failure });
        let ended = matches!(play.items().as_slice(), [Item::Ended { .. }]);
        assert_eq!((ended, play.has(|action| matches!(action, Action::End(StreamId(1))))), (!waits, !waits), "{code}");
        if waits {
            play.wait();
            assert!(play.ms >= refused_at + hint.unwrap_or(1_000), "{code} {}", play.ms);
            assert_eq!(subscribed_ids(&play.sent()).len(), 1, "{code}");
        }
    }
}

#[test]
fn the_broker_may_end_a_subscription_for_good_or_for_a_while() {
    for (text, waits) in [
        (r#"{"type":"unsubscribed","topic":"t","code":"forbidden","message":"no"}"#, false),
        (r#"{"type":"unsubscribed","topic":"t","code":"plugin_failed","message":"no","retry_after_ms":500}"#, true),
    ] {
        let mut play = following();
        play.hear_text(text);
        assert_eq!(matches!(play.items().as_slice(), [Item::Ended { .. }]), !waits, "{text}");
        play.wait();
        assert_eq!(subscribed_ids(&play.sent()).len(), usize::from(waits), "{text}");
    }
}

#[test]
fn unanswered_requests_go_out_again_in_their_order_but_not_those_that_must_not() {
    let mut play = Play::open(settings());
    for (ticket, again) in [(1, Again::Yes), (2, Again::No), (3, Again::Yes)] {
        play.publish(ticket, again);
    }
    let first = play.sent();
    let published = Published { position: Some(at("e", 1)), duplicate: false };
    let reply = rialto_protocol::Reply::Published(published);
    play.hear(&Frame::Ok { id: first[0].id.unwrap(), reply: &reply });
    assert!(matches!(play.answer_of(1), Some(Ok(Reply::Published(_)))));
    play.closed(None);
    assert!(matches!(play.answer_of(2), Some(Err(Error::Lost))));
    play.publish(4, Again::No);
    play.wait();
    play.begin();
    let again: Vec<Request<'_>> = play.sent().split_off(1);
    let keys: Vec<Option<String>> = again
        .iter()
        .map(|request| match &request.operation {
            Operation::Publish(publish) => publish.key.as_ref().map(ToString::to_string),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [Some("k3".to_owned()), Some("k4".to_owned())]);
    assert_eq!(again[0], first[2], "the same request, the same key");
}

#[test]
fn what_is_given_up_says_whether_it_may_have_been_done() {
    for (sends, loses, may_have_acted) in [(false, false, false), (true, false, true), (true, true, true)] {
        let mut play = Play::open(settings());
        if !sends {
            play.closed(None);
        }
        play.publish(1, Again::Yes);
        if loses {
            play.closed(None);
        }
        play.ms = 30_000;
        play.machine.alive(play.now());
        play.tick();
        let answer = play.answer_of(1);
        let is_right =
            matches!(answer, Some(Err(Error::TimedOut { may_have_acted: told, .. })) if *told == may_have_acted);
        assert!(is_right, "{sends} {loses}: {answer:?}");
    }
    let mut play = Play::open(settings());
    play.publish(1, Again::Yes);
    play.machine.close();
    play.collect();
    assert!(matches!(play.answer_of(1), Some(Err(Error::Closed { may_have_acted: true, .. }))));
    play.publish(2, Again::Yes);
    assert!(matches!(play.answer_of(2), Some(Err(Error::Closed { may_have_acted: false, .. }))));
}

#[test]
fn whoever_leaves_before_the_answer_hears_nothing_of_it() {
    let mut play = Play::open(settings());
    play.subscribe(1, [Topic::new("t")]);
    let (first, _) = subscribed_ids(&play.sent())[0].clone();
    play.machine.leave(StreamId(1));
    play.subscribe(2, [Topic::new("t")]);
    let sent = play.sent();
    assert!(matches!(&sent[0].operation, Operation::Unsubscribe(topics) if topics[0] == "t"), "{sent:?}");
    let reply = rialto_protocol::Reply::Subscribed(there("t", Some(at("e", 5)), None));
    play.hear(&Frame::Ok { id: first, reply: &reply });
    assert!(play.answer_of(2).is_none(), "that was the answer to the first");
    let payload = Payload::json(&1).unwrap();
    play.hear(&Frame::Message { topic: "t", offset: 6, time: 0, from: None, payload: &payload });
    assert!(play.items().is_empty());
    play.hear(&Frame::Ok { id: sent[1].id.unwrap(), reply: &reply });
    assert!(play.answer_of(2).is_some());
}

#[test]
fn a_subscription_without_an_answer_is_given_up_and_left() {
    let mut play = Play::open(settings());
    play.subscribe(1, [Topic::new("t")]);
    play.sent();
    play.ms = 30_000;
    play.machine.alive(play.now());
    play.tick();
    assert!(matches!(play.answer_of(1), Some(Err(Error::TimedOut { .. }))));
    assert!(matches!(play.sent()[0].operation, Operation::Unsubscribe(_)));
}

#[test]
fn what_is_no_frame_ends_the_connection_but_not_the_client() {
    for text in ["", "[]", r#"{"type":"gap"}"#, r#"{"type":"message","topic":"t","offset":1,"time":1}"#] {
        let mut play = following();
        play.hear_text(text);
        assert!(play.has(|action| matches!(action, Action::Disconnect(_))) && play.retry_in().is_some(), "{text}");
    }
    let mut play = following();
    play.hear_text(r#"{"type":"x-news","a":1}"#);
    assert!(play.has(|action| matches!(action, Action::Tell(Event::Pushed { kind, .. }) if kind == "x-news")));
}
