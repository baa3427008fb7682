//! Checks `[limits]`: every bound within its range, and none against another.

use super::{
    Limits,
    problem::Problem,
    section::{Report, Section, Unit, Value, grouped},
};

/// The keys of `[limits]`.
pub(super) const KEYS: &[&str] = &[
    "message_bytes",
    "fragments",
    "subscriptions",
    "sessions",
    "topics",
    "outbox_bytes",
    "inbox_messages",
    "requests_in_flight",
    "header_ms",
    "frame_ms",
    "write_ms",
    "ping_ms",
    "pong_ms",
    "close_ms",
    "topic_idle_ms",
];

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Limits {
    use Unit::{Bytes, Items, Milliseconds};
    let mut limits = Limits::default();
    let Some(section) = Section::open(report, "[limits]", KEYS, value) else {
        return limits;
    };
    let to = &mut limits;
    section.number(report, "message_bytes", Bytes, 256..=1_048_576, &mut to.message_bytes);
    section.number(report, "fragments", Items, 1..=65_536, &mut to.fragments);
    section.number(report, "subscriptions", Items, 1..=1_000_000, &mut to.subscriptions);
    section.number(report, "sessions", Items, 1..=10_000_000, &mut to.sessions);
    section.number(report, "topics", Items, 1..=10_000_000, &mut to.topics);
    section.number(report, "outbox_bytes", Bytes, 256..=1_073_741_824, &mut to.outbox_bytes);
    section.number(report, "inbox_messages", Items, 1..=1_048_576, &mut to.inbox_messages);
    section.number(report, "requests_in_flight", Items, 1..=65_536, &mut to.requests_in_flight);
    section.number(report, "header_ms", Milliseconds, 10..=600_000, &mut to.header_ms);
    section.number(report, "frame_ms", Milliseconds, 10..=600_000, &mut to.frame_ms);
    section.number(report, "write_ms", Milliseconds, 10..=600_000, &mut to.write_ms);
    section.number(report, "ping_ms", Milliseconds, 10..=3_600_000, &mut to.ping_ms);
    section.number(report, "pong_ms", Milliseconds, 10..=600_000, &mut to.pong_ms);
    section.number(report, "close_ms", Milliseconds, 10..=600_000, &mut to.close_ms);
    section.number(report, "topic_idle_ms", Milliseconds, 10..=86_400_000, &mut to.topic_idle_ms);
    check_outbox(report, &section, &limits);
    limits
}

/// An outbox that cannot hold one message would close every session that gets one.
fn check_outbox(report: &mut Report, section: &Section, limits: &Limits) {
    if limits.outbox_bytes >= limits.message_bytes {
        return;
    }
    let message = grouped(limits.message_bytes as u64);
    let title = "`outbox_bytes` must not be less than `message_bytes`";
    let help = format!("raise `outbox_bytes` to at least {message}, or lower `message_bytes`");
    let problem = match (section.get("outbox_bytes"), section.get("message_bytes")) {
        (Some(outbox), Some(message)) => Problem::at(outbox.span(), title)
            .label("an outbox holds this much")
            .also(message.span(), "but one message may be this large"),
        (Some(outbox), None) => {
            Problem::at(outbox.span(), title).label(format!("but a message may have {message} bytes (the default)"))
        }
        (None, message) => {
            let outbox = grouped(limits.outbox_bytes as u64);
            let span = message.map_or(section.span(), |message| message.span());
            Problem::at(span, title).label(format!("but an outbox holds {outbox} bytes (the default)"))
        }
    };
    report.add(problem.help(help));
}
