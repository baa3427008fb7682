//! Checks `[limits]`: every limit is within its range and consistent with the others.

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
    "connections",
    "connections_per_address",
    "sessions",
    "sessions_per_user",
    "admissions_per_s",
    "handshakes_per_s",
    "topics",
    "outbox_bytes",
    "outboxes_bytes",
    "unsent_bytes",
    "inbox_messages",
    "conflation_fields",
    "history_bytes",
    "keys",
    "patterns",
    "presence_members",
    "presence_grace_ms",
    "requests_in_flight",
    "bad_requests_per_s",
    "control_frames_per_s",
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
    section.number(report, "connections", Items, 1..=10_000_000, &mut to.connections);
    section.number(report, "connections_per_address", Items, 1..=10_000_000, &mut to.connections_per_address);
    section.number(report, "sessions", Items, 1..=10_000_000, &mut to.sessions);
    section.number(report, "sessions_per_user", Items, 1..=10_000_000, &mut to.sessions_per_user);
    section.number(report, "admissions_per_s", Items, 1..=1_000_000, &mut to.admissions_per_s);
    section.number(report, "handshakes_per_s", Items, 1..=1_000_000, &mut to.handshakes_per_s);
    section.number(report, "topics", Items, 1..=10_000_000, &mut to.topics);
    section.number(report, "outbox_bytes", Bytes, 256..=1_073_741_824, &mut to.outbox_bytes);
    section.number(report, "outboxes_bytes", Bytes, 256..=1_099_511_627_776, &mut to.outboxes_bytes);
    section.number(report, "unsent_bytes", Bytes, 4_096..=1_073_741_824, &mut to.unsent_bytes);
    section.number(report, "inbox_messages", Items, 1..=1_048_576, &mut to.inbox_messages);
    section.number(report, "conflation_fields", Items, 0..=65_536, &mut to.conflation_fields);
    section.number(report, "history_bytes", Bytes, 65_536..=1_099_511_627_776, &mut to.history_bytes);
    section.number(report, "keys", Items, 1..=10_000_000, &mut to.keys);
    section.number(report, "patterns", Items, 1..=10_000_000, &mut to.patterns);
    section.number(report, "presence_members", Items, 1..=100_000, &mut to.presence_members);
    section.number(report, "presence_grace_ms", Milliseconds, 0..=600_000, &mut to.presence_grace_ms);
    section.number(report, "requests_in_flight", Items, 1..=65_536, &mut to.requests_in_flight);
    section.number(report, "bad_requests_per_s", Items, 1..=1_000_000, &mut to.bad_requests_per_s);
    section.number(report, "control_frames_per_s", Items, 1..=1_000_000, &mut to.control_frames_per_s);
    section.number(report, "header_ms", Milliseconds, 10..=600_000, &mut to.header_ms);
    section.number(report, "frame_ms", Milliseconds, 10..=600_000, &mut to.frame_ms);
    section.number(report, "write_ms", Milliseconds, 10..=600_000, &mut to.write_ms);
    section.number(report, "ping_ms", Milliseconds, 10..=3_600_000, &mut to.ping_ms);
    section.number(report, "pong_ms", Milliseconds, 10..=600_000, &mut to.pong_ms);
    section.number(report, "close_ms", Milliseconds, 10..=600_000, &mut to.close_ms);
    section.number(report, "topic_idle_ms", Milliseconds, 10..=86_400_000, &mut to.topic_idle_ms);
    let (message, outbox, outboxes) = (limits.message_bytes, limits.outbox_bytes, limits.outboxes_bytes);
    // An outbox that cannot hold one message would close every session that is sent one.
    check_pair(
        report,
        &section,
        &LimitPair {
            whole: ("outbox_bytes", outbox, "an outbox holds this much"),
            part: ("message_bytes", message, "one message may be this large"),
        },
    );
    check_pair(
        report,
        &section,
        &LimitPair {
            whole: ("outboxes_bytes", outboxes, "all outboxes together hold this much"),
            part: ("outbox_bytes", outbox, "one outbox may be this large"),
        },
    );
    limits
}

/// Two limits of which the first must not be less than the second: each with its key, value and meaning.
struct LimitPair {
    whole: (&'static str, usize, &'static str),
    part: (&'static str, usize, &'static str),
}

fn check_pair(report: &mut Report, section: &Section, pair: &LimitPair) {
    let ((whole_key, whole, whole_means), (part_key, part, part_means)) = (pair.whole, pair.part);
    if whole >= part {
        return;
    }
    let title = format!("`{whole_key}` must not be less than `{part_key}`");
    let help = format!("raise `{whole_key}` to at least {}, or lower `{part_key}`", grouped(part as u64));
    let default = |means: &str, value: usize| format!("but {means}: {} (the default)", grouped(value as u64));
    let problem = match (section.get(whole_key), section.get(part_key)) {
        (Some(whole), Some(part)) => {
            Problem::at(whole.span(), title).label(whole_means).also(part.span(), format!("but {part_means}"))
        }
        (Some(whole), None) => Problem::at(whole.span(), title).label(default(part_means, part)),
        (None, part) => {
            let span = part.map_or(section.span(), |part| part.span());
            Problem::at(span, title).label(default(whole_means, whole))
        }
    };
    report.add(problem.help(help));
}
