//! WebSocket frames: from any bytes in any pieces the broker's own connection loop hears exactly the messages, pings and
//! goodbyes that RFC 6455 has in them, and tungstenite agrees.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary as _, Unstructured};
use libfuzzer_sys::fuzz_target;
use rialto::Broker;
use rialto::config::{self, Config};
use rialto_fuzz::answer::{self, Answer};
use rialto_fuzz::cut::Cut;
use rialto_fuzz::listener::{End, Flaw, Limits, ReferenceOutcome, listen};
use rialto_fuzz::second::{Opinion, Verdict, opinion};
use rialto_fuzz::sent::Sent;
use rialto_fuzz::wire;

/// Small, so that small inputs reach them.
const LIMITS: Limits = Limits { message_bytes: 300, fragments: 5 };

static BROKER: LazyLock<Broker> = LazyLock::new(|| {
    let limits = config::Limits {
        message_bytes: LIMITS.message_bytes,
        fragments: LIMITS.fragments,
        // The input is the only client, and it is in no hurry.
        control_frames_per_s: 1_000_000,
        ..config::Limits::default()
    };
    let server = config::Server { shards: 1, ..config::Server::default() };
    Broker::builder().config(Config { server, limits, ..Config::default() }).start().expect("a broker")
});

// The first byte says whether bytes follow as they go over the wire, or the recipe of frames; the second how to cut them.
fuzz_target!(|input: &[u8]| {
    let [form, seed, rest @ ..] = input else { return };
    let bytes = if form & 1 == 0 { rest.to_vec() } else { frames(rest) };
    let heard = listen(&bytes, LIMITS);
    second_opinion(&heard, &opinion(&bytes, LIMITS));
    let [whole, others @ ..] = Cut::all(*seed).map(|cut| converse(&bytes, cut, &heard));
    judge(&heard, &whole);
    for other in others {
        assert_eq!(other, whole, "however the bytes are cut");
    }
});

fn frames(recipe: &[u8]) -> Vec<u8> {
    let mut recipe = Unstructured::new(recipe);
    let mut bytes = Vec::new();
    while !recipe.is_empty() {
        let Ok(sent) = Sent::arbitrary(&mut recipe) else { break };
        bytes.extend(sent.bytes());
    }
    bytes
}

/// Lets the broker have the bytes, and gives its answers.
fn converse(bytes: &[u8], cut: Cut, heard: &ReferenceOutcome) -> Vec<Answer> {
    let (near, far) = wire::connection(bytes.to_vec(), cut);
    rialto::fuzzing::echo(&BROKER, near);
    let expected = heard.messages.len() + heard.pings.len();
    far.wait_for(|written| answer::read(written).0.len() >= expected);
    if matches!(heard.end, End::PeerClosed(_) | End::Refused(_)) {
        far.wait_for(|written| matches!(answer::read(written).0.last(), Some(Answer::Close(_))));
    }
    far.end();
    let written = far.into_written();
    let (answers, rest) = answer::read(&written);
    assert!(rest.is_empty(), "the broker hangs up within a frame: {}", rest.escape_ascii());
    answers
}

fn judge(heard: &ReferenceOutcome, answers: &[Answer]) {
    let (mut messages, mut pongs, mut closes) = (Vec::new(), Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Answer::Message(kind, payload) => messages.push((*kind, payload.clone())),
            Answer::Pong(payload) => pongs.push(payload.clone()),
            Answer::Close(code) => closes.push(*code),
            Answer::Ping(_) => panic!("a ping, though the client is not silent"),
        }
    }
    assert_eq!(messages, heard.messages, "messages");
    assert_eq!(pongs, heard.pings, "pongs");
    let allowed = |flaws: &[Flaw]| flaws.iter().any(|flaw| closes == [Some(flaw.code())]);
    let right = match &heard.end {
        End::Open => closes.is_empty(),
        End::PeerClosed(code) => closes == [*code],
        End::Refused(flaws) => allowed(flaws),
        End::Refusable(flaws) => closes.is_empty() || allowed(flaws),
    };
    assert!(right, "closed with {closes:?}, but {:?}", heard.end);
}

/// Holds the reference against tungstenite. Where the two may differ, and why, is in here and nowhere else.
fn second_opinion(heard: &ReferenceOutcome, opinion: &Opinion) {
    let flaws: &[Flaw] = match &heard.end {
        End::Refused(flaws) | End::Refusable(flaws) => flaws,
        End::Open | End::PeerClosed(_) => &[],
    };
    // It takes lengths in any form (RFC 6455 section 5.2 wants the shortest) and any number of fragments (section 10.4 leaves
    // such limits to the server), so from there on it hears more.
    let hears_more = flaws.iter().all(|flaw| matches!(flaw, Flaw::LongForm | Flaw::Fragments)) && !flaws.is_empty();
    // It refuses text in fragments at the first byte that cannot be right; that is allowed (section 8.1), and so is to wait
    // for the last fragment.
    let hears_less = opinion.verdict == Verdict::Refused(1007)
        && heard.text_open.as_ref().is_some_and(|text| std::str::from_utf8(text).is_err());
    if hears_more {
        assert!(opinion.messages.starts_with(&heard.messages), "{heard:?} but {opinion:?}");
        let less = hears_less && heard.pings.starts_with(&opinion.pings);
        return assert!(less || opinion.pings.starts_with(&heard.pings), "{heard:?} but {opinion:?}");
    }
    if hears_less {
        assert!(heard.pings.starts_with(&opinion.pings), "{heard:?} but {opinion:?}");
        return assert_eq!(opinion.messages, heard.messages, "messages");
    }
    assert_eq!(opinion.messages, heard.messages, "messages");
    assert_eq!(opinion.pings, heard.pings, "pings");
    let agreed = match (&heard.end, opinion.verdict) {
        (End::Open, Verdict::Open) => true,
        (End::PeerClosed(one), Verdict::PeerClosed(other)) => *one == other,
        // 1014 (bad gateway) is in the IANA registry, but unknown to it.
        (End::PeerClosed(Some(1014)), Verdict::Refused(1002)) => true,
        (End::Refused(flaws) | End::Refusable(flaws), Verdict::Refused(code)) => {
            flaws.iter().any(|flaw| flaw.code() == code)
        }
        // It looks at most flaws only when the frame is there as a whole.
        (End::Refused(_) | End::Refusable(_), Verdict::Open) => true,
        _ => false,
    };
    assert!(agreed, "{heard:?} but {opinion:?}");
}
