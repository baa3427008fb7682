//! `[limits]` and its check: every limit is within its range and consistent with the others.

use super::{
    problem::Problem,
    section::{Report, Section, Value, grouped},
    setting::settings,
};

settings! {
    /// Limits: sizes, quotas, rate limits and timeouts for everything that clients can make grow or wait.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits: "[limits]" retired ["keys": "`keys_bytes` bounds the memory of all keys, with a share for each client"] {
        /// Largest message and frame from a client. A larger one closes its session.
        message_bytes: usize = 65_536, 256 to 1_048_576 bytes;
        /// Fragments that one WebSocket message may come in.
        fragments: usize = 256, 1 to 65_536 items;
        /// Subscriptions of one session.
        subscriptions: usize = 1_000, 1 to 1_000_000 items;
        /// Open connections that are not sessions (yet). Further ones are answered with 503 and Retry-After, or closed at
        /// once.
        connections: usize = 10_000, 1 to 10_000_000 items;
        /// Open connections of one IP address, sessions included; further ones are answered with 429. Of an IPv6 address
        /// the first 64 bits count. Trusted proxies and this machine itself (127.0.0.1, ::1) are exempt.
        connections_per_address: usize = 1_000, 1 to 10_000_000 items;
        /// Open sessions. Further ones are answered with 503 and Retry-After.
        sessions: usize = 100_000, 1 to 10_000_000 items;
        /// Open sessions of one user.
        sessions_per_user: usize = 1_000, 1 to 10_000_000 items;
        /// Rate limit: new sessions per second; bursts of up to one second's worth. Further ones are answered with 503 and
        /// a random Retry-After, so that they do not all return at once.
        admissions_per_s: u32 = 10_000, 1 to 1_000_000 items;
        /// Rate limit: TLS handshakes of one address per second; bursts of up to one second's worth. Further connections
        /// are closed. Trusted proxies and this machine itself are exempt.
        handshakes_per_s: u32 = 50, 1 to 1_000_000 items;
        /// Topics in memory.
        topics: usize = 100_000, 1 to 10_000_000 items;
        /// Slow consumer limit: encoded frames queued for one session. Not less than `message_bytes`. Beyond it the
        /// delivery policy of each subscription decides what is skipped; with "queue" the session is closed as a slow
        /// consumer.
        outbox_bytes: usize = 1_048_576, 256 to 1_073_741_824 bytes;
        /// Encoded frames queued for all sessions together. Not less than `outbox_bytes`. Beyond it the largest outboxes
        /// are reduced first: by what their delivery policies may skip, then by closing their sessions.
        outboxes_bytes: usize = 268_435_456, 256 to 1_099_511_627_776 bytes;
        /// Unsent bytes that the operating system buffers for one session (TCP_NOTSENT_LOWAT). The rest waits in the
        /// outbox, where delivery policies apply: a small value gives a slow consumer fresher messages and takes less
        /// memory of the system. Linux and Android only.
        unsent_bytes [restart]: u32 = 131_072, 4_096 to 1_073_741_824 bytes;
        /// Back-pressure: messages queued for one shard. Beyond it publishers have to wait.
        inbox_messages: usize = 4_096, 1 to 1_048_576 items;
        /// Conflation: different fields that the subscribers of one topic may use with "latest_by". Each field is read from
        /// every message that waits for a slow consumer.
        conflation_fields: usize = 16, 0 to 65_536 items;
        /// Memory for the history of all topics together. Beyond it those lose theirs whose rule and client hold the most.
        history_bytes: usize = 268_435_456, 65_536 to 1_099_511_627_776 bytes;
        /// Memory for idempotency keys and the answers they stand for. When it is nearly used up each client has a share;
        /// beyond that requests with new keys are refused until older ones have expired.
        keys_bytes: u64 = 67_108_864, 4_096 to 1_099_511_627_776 bytes;
        /// Different patterns with subscribers.
        patterns: usize = 100_000, 1 to 10_000_000 items;
        /// Different patterns of more than eight tokens that begin with the same four. So at most 510 patterns
        /// select one topic, or 255 and 16 times as many if that is more.
        deep_patterns: usize = 32, 1 to 10_000 items;
        /// Memory for the lists of patterns that topics keep, each shared by all topics that the same patterns select.
        /// Beyond it further topics look their patterns up at every message.
        pattern_lists_bytes [restart]: usize = 33_554_432, 0 to 1_099_511_627_776 bytes;
        /// Presence: most members of one topic that are listed. With more, only their count is sent, instead of joins and
        /// leaves.
        presence_members: usize = 200, 1 to 100_000 items;
        /// Presence grace period: a user whose session ended and who reconnects within this time has not left.
        presence_grace_ms: u64 = 5_000, 0 to 600_000 ms;
        /// Back-pressure: requests of one session in flight. At the limit its socket is not read.
        requests_in_flight: usize = 64, 1 to 65_536 items;
        /// Rate limit: invalid requests of one session per second; bursts of up to one second's worth. Beyond it the
        /// session is closed with 1008.
        bad_requests_per_s: u32 = 100, 1 to 1_000_000 items;
        /// Rate limit: WebSocket pings and pongs of one session per second; bursts of up to one second's worth. Beyond it
        /// the session is closed with 1008.
        control_frames_per_s: u32 = 100, 1 to 1_000_000 items;
        /// Timeout for what a program that embeds the broker decides about a request. After that the request is refused with
        /// "unavailable".
        authorize_ms: u64 = 2_000, 10 to 60_000 ms;
        /// Decisions of a program that embeds the broker under way at a time. Further requests are refused with "busy".
        decisions: usize = 10_000, 1 to 1_000_000 items;
        /// Timeout for the head of an HTTP request, from its first byte, and for a TLS handshake.
        header_ms: u64 = 5_000, 10 to 600_000 ms;
        /// How long an HTTP connection may be idle between two requests. It should be longer than that of a load balancer
        /// in front, else requests get lost that it sends at that moment.
        keep_alive_ms: u64 = 75_000, 10 to 600_000 ms;
        /// Longest head of an HTTP request, of which its path and query may take half. A longer one is answered with 431
        /// or 414.
        head_bytes: usize = 16_384, 8_192 to 1_048_576 bytes;
        /// Timeout for the rest of a WebSocket message that has begun.
        frame_ms: u64 = 10_000, 10 to 600_000 ms;
        /// Write timeout: a connection that accepts no byte for this long is closed.
        write_ms: u64 = 10_000, 10 to 600_000 ms;
        /// Keep-alive: interval between two pings of a session.
        ping_ms [restart]: u64 = 25_000, 10 to 3_600_000 ms;
        /// Keep-alive timeout: a session from which nothing arrives for this long after a ping is closed.
        pong_ms [restart]: u64 = 10_000, 10 to 600_000 ms;
        /// Timeout for a client to answer a close.
        close_ms: u64 = 5_000, 10 to 600_000 ms;
        /// How long a topic without subscribers stays in memory.
        topic_idle_ms: u64 = 60_000, 10 to 86_400_000 ms;
    }
}

pub(super) fn check<'a>(report: &mut Report, value: &'a Value<'a>) -> Limits {
    let mut limits = Limits::default();
    let Some(section) = Section::open(report, "[limits]", &Limits::TABLE, value) else {
        return limits;
    };
    limits.read_keys(report, &section);
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
