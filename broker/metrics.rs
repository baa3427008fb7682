//! Every number the broker counts, in one place. Counting is one relaxed atomic addition.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rialto_protocol::{Codec, Policy};

/// The counters and gauges of one broker.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) topics: Gauge,
    pub(crate) subscriptions: Gauge,
    pub(crate) patterns: Gauge,
    pub(crate) pattern_list_bytes: Gauge,
    pub(crate) outbox_bytes: Gauge,
    pub(crate) history_messages: Gauge,
    pub(crate) history_bytes: Gauge,
    pub(crate) keys: Gauge,
    pub(crate) key_bytes: Gauge,
    pub(crate) presence_members: Gauge,
    pub(crate) histories_dropped: Counter,
    pub(crate) recoveries: Counter,
    pub(crate) recoveries_lost: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) hosts_refused: Counter,
    pub(crate) origins_refused: Counter,
    pub(crate) tokens_refused: Counter,
    pub(crate) tokens_unverified: Counter,
    pub(crate) authorizations: Counter,
    pub(crate) authorizations_refused: Counter,
    pub(crate) authorizations_failed: Counter,
    pub(crate) callouts: Counter,
    pub(crate) callouts_cached: Counter,
    pub(crate) callouts_failed: Counter,
    pub(crate) sessions_opened: Counter,
    pub(crate) sessions_slow: Counter,
    pub(crate) outboxes_shed: Counter,
    pub(crate) messages_published: Counter,
    pub(crate) messages_delivered: Counter,
    pub(crate) plugin_hooks: Counter,
    pub(crate) plugin_failures: Counter,
    pub(crate) plugin_busy: Counter,
    pub(crate) plugin_reloads: Counter,
    pub(crate) plugin_reload_errors: Counter,
    pub(crate) plugin_instances: Gauge,
    pub(crate) plugin_timers: Gauge,
    pub(crate) tasks_failed: Counter,
    pub(crate) work_at_once_most: Highest,
    pub(crate) tls_handshake_errors: Counter,
    pub(crate) tls_reloads: Counter,
    pub(crate) tls_reload_errors: Counter,
    pub(crate) tls_certificate_expires_s: Gauge,
    pub(crate) tls_certificate_expires_soon: Gauge,
    frames_encoded: [Counter; 2],
    messages_skipped: [Counter; Policy::ALL.len()],
}

impl Metrics {
    /// Counts a message that was encoded in a codec.
    pub(crate) fn frame_encoded(&self, codec: Codec) {
        self.frames_encoded[codec.index()].add(1);
    }

    /// Counts messages that a delivery policy skipped for a subscriber.
    pub(crate) fn messages_skipped(&self, policy: Policy, messages: usize) {
        self.messages_skipped[policy.index()].add(messages as u64);
    }

    /// All values at this moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            connections: self.connections.get(),
            sessions: self.sessions.get(),
            topics: self.topics.get(),
            subscriptions: self.subscriptions.get(),
            patterns: self.patterns.get(),
            pattern_list_bytes: self.pattern_list_bytes.get(),
            outbox_bytes: self.outbox_bytes.get(),
            history_messages: self.history_messages.get(),
            history_bytes: self.history_bytes.get(),
            keys: self.keys.get(),
            key_bytes: self.key_bytes.get(),
            presence_members: self.presence_members.get(),
            histories_dropped_total: self.histories_dropped.get(),
            recoveries_total: self.recoveries.get(),
            recoveries_lost_total: self.recoveries_lost.get(),
            duplicates_total: self.duplicates.get(),
            connections_refused_total: self.connections_refused.get(),
            hosts_refused_total: self.hosts_refused.get(),
            origins_refused_total: self.origins_refused.get(),
            tokens_refused_total: self.tokens_refused.get(),
            tokens_unverified_total: self.tokens_unverified.get(),
            authorizations_total: self.authorizations.get(),
            authorizations_refused_total: self.authorizations_refused.get(),
            authorizations_failed_total: self.authorizations_failed.get(),
            callouts_total: self.callouts.get(),
            callouts_cached_total: self.callouts_cached.get(),
            callouts_failed_total: self.callouts_failed.get(),
            sessions_opened_total: self.sessions_opened.get(),
            sessions_slow_total: self.sessions_slow.get(),
            outboxes_shed_total: self.outboxes_shed.get(),
            messages_published_total: self.messages_published.get(),
            messages_delivered_total: self.messages_delivered.get(),
            frames_encoded_json_total: self.frames_encoded[Codec::Json.index()].get(),
            frames_encoded_msgpack_total: self.frames_encoded[Codec::MessagePack.index()].get(),
            messages_skipped_drop_oldest_total: self.messages_skipped[Policy::DropOldest.index()].get(),
            messages_skipped_latest_by_total: self.messages_skipped[Policy::LatestBy.index()].get(),
            messages_skipped_latest_total: self.messages_skipped[Policy::Latest.index()].get(),
            messages_skipped_sample_total: self.messages_skipped[Policy::Sample.index()].get(),
            plugin_hooks_total: self.plugin_hooks.get(),
            plugin_failures_total: self.plugin_failures.get(),
            plugin_busy_total: self.plugin_busy.get(),
            plugin_reloads_total: self.plugin_reloads.get(),
            plugin_reload_errors_total: self.plugin_reload_errors.get(),
            plugin_instances: self.plugin_instances.get(),
            plugin_timers: self.plugin_timers.get(),
            tasks_failed_total: self.tasks_failed.get(),
            work_at_once_most: self.work_at_once_most.get(),
            tls_handshake_errors_total: self.tls_handshake_errors.get(),
            tls_reloads_total: self.tls_reloads.get(),
            tls_reload_errors_total: self.tls_reload_errors.get(),
            tls_certificate_expires_unix_s: self.tls_certificate_expires_s.get(),
            tls_certificate_expires_soon: self.tls_certificate_expires_soon.get(),
            log_lines_dropped_total: log_lines_dropped().get(),
        }
    }
}

/// The broker's numbers at one moment. Totals count since the broker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Open connections that are not sessions (yet).
    pub connections: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Topics in memory.
    pub topics: u64,
    /// Subscriptions of all sessions, including those to patterns.
    pub subscriptions: u64,
    /// Different patterns with subscribers.
    pub patterns: u64,
    /// Bytes of the lists of patterns that topics keep.
    pub pattern_list_bytes: u64,
    /// Bytes of encoded frames queued in all outboxes; a frame in several outboxes counts in each.
    pub outbox_bytes: u64,
    /// Messages in the history of all topics.
    pub history_messages: u64,
    /// Memory of the history, in bytes, as an upper bound.
    pub history_bytes: u64,
    /// Idempotency keys in memory.
    pub keys: u64,
    /// Memory of idempotency keys and the answers they stand for, in bytes, as an upper bound.
    pub key_bytes: u64,
    /// Presence: members of all topics, including those within their grace period.
    pub presence_members: u64,
    /// Topics whose history was dropped because all together exceeded `history_bytes`.
    pub histories_dropped_total: u64,
    /// Successful recoveries: subscriptions with `since` that miss nothing.
    pub recoveries_total: u64,
    /// Failed recoveries: subscriptions with `since` whose missed messages are no longer in the history.
    pub recoveries_lost_total: u64,
    /// Requests with a known idempotency key: they returned the first outcome and had no effect.
    pub duplicates_total: u64,
    /// Connections refused by a connection limit (in all or of an address), the session limit, or the rate limit for new
    /// sessions or TLS handshakes.
    pub connections_refused_total: u64,
    /// Requests refused because their `Host` is not a name of this server.
    pub hosts_refused_total: u64,
    /// Requests refused by the origin check.
    pub origins_refused_total: u64,
    /// Tokens that were not valid.
    pub tokens_refused_total: u64,
    /// Tokens that were not looked at, because too many before them were not valid.
    pub tokens_unverified_total: u64,
    /// Questions to the authentication backend.
    pub callouts_total: u64,
    /// Handshakes that an earlier answer of the authentication backend decided.
    pub callouts_cached_total: u64,
    /// Questions to which the authentication backend gave no usable answer.
    pub callouts_failed_total: u64,
    /// Decisions of the program that embeds the broker, of which a request may need several.
    pub authorizations_total: u64,
    /// Decisions of that program that refused something.
    pub authorizations_refused_total: u64,
    /// Requests refused because that program did not decide: it panicked, took too long, or had too many to decide.
    pub authorizations_failed_total: u64,
    /// Sessions that were opened.
    pub sessions_opened_total: u64,
    /// Slow consumers: sessions that were closed because they did not read fast enough.
    pub sessions_slow_total: u64,
    /// Times that an outbox was reduced because all outboxes together exceeded `outboxes_bytes`.
    pub outboxes_shed_total: u64,
    /// Messages that were published.
    pub messages_published_total: u64,
    /// Messages queued for delivery: one message to 1,000 sessions counts 1,000.
    pub messages_delivered_total: u64,
    /// Messages encoded as JSON; a message counts once, however many subscribers it has.
    pub frames_encoded_json_total: u64,
    /// Messages encoded as MessagePack.
    pub frames_encoded_msgpack_total: u64,
    /// Messages skipped for slow consumers with the delivery policy `drop_oldest`; a message counts once for each subscriber.
    pub messages_skipped_drop_oldest_total: u64,
    /// The same for policy `latest_by`.
    pub messages_skipped_latest_by_total: u64,
    /// The same for policy `latest`.
    pub messages_skipped_latest_total: u64,
    /// The same for policy `sample`.
    pub messages_skipped_sample_total: u64,
    /// Plugin hooks that were called.
    pub plugin_hooks_total: u64,
    /// Plugin hooks that trapped, timed out, exceeded a limit or reported a failure.
    pub plugin_failures_total: u64,
    /// Requests refused because the mailbox of a plugin was full.
    pub plugin_busy_total: u64,
    /// Plugins loaded or reloaded while the broker was running.
    pub plugin_reloads_total: u64,
    /// Plugin reloads that failed; the version in use stayed.
    pub plugin_reload_errors_total: u64,
    /// Plugin instances.
    pub plugin_instances: u64,
    /// Pending timers of plugins.
    pub plugin_timers: u64,
    /// Threads and tasks of the broker whose work panicked: each is a fault of the broker. Those of plugins, of accepting
    /// and of keeping order go on; a shard ends with its sessions, which reconnect to others.
    pub tasks_failed_total: u64,
    /// The most that a shard has done at one go since the start, for its sessions or for one of them: a request or a topic in a
    /// list is one, a topic whose past is read eight, a subscription too. Some 300 are the most there should be; then others have
    /// their turn.
    pub work_at_once_most: u64,
    /// TLS handshakes that failed or timed out. Connections closed without a byte, such as port scans, do not count.
    pub tls_handshake_errors_total: u64,
    /// Certificate reloads.
    pub tls_reloads_total: u64,
    /// Certificate reloads that failed; the certificate in use stayed.
    pub tls_reload_errors_total: u64,
    /// Expiry of the certificate in use, in Unix seconds; 0 without TLS.
    pub tls_certificate_expires_unix_s: u64,
    /// 1 from `expiry_warn_days` before the certificate in use expires; 0 before that.
    pub tls_certificate_expires_soon: u64,
    /// Lines that the binary could not write to standard output or standard error, because nobody read them in time or
    /// the reader was gone; of the whole process.
    pub log_lines_dropped_total: u64,
}

/// Lines that the process could not write.
pub(crate) fn log_lines_dropped() -> &'static Counter {
    static DROPPED: Counter = Counter(AtomicU64::new(0));
    &DROPPED
}

/// A number that only increases.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The highest of many numbers.
#[derive(Debug, Default)]
pub(crate) struct Highest(AtomicU64);

impl Highest {
    pub(crate) fn raise(&self, number: u64) {
        // Nearly always it is not higher, and then nothing is written.
        if number > self.0.load(Relaxed) {
            self.0.fetch_max(number, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that increases and decreases.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// Replaces the share `before` by `after`.
    pub(crate) fn change(&self, before: usize, after: usize) {
        if after > before {
            self.add((after - before) as u64);
        } else if before > after {
            self.subtract((before - after) as u64);
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
