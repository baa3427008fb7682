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
    pub(crate) outbox_bytes: Gauge,
    pub(crate) history_messages: Gauge,
    pub(crate) history_bytes: Gauge,
    pub(crate) keys: Gauge,
    pub(crate) presence_members: Gauge,
    pub(crate) histories_dropped: Counter,
    pub(crate) recoveries: Counter,
    pub(crate) recoveries_lost: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) connections_refused: Counter,
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
    pub(crate) tls_handshake_errors: Counter,
    pub(crate) tls_reloads: Counter,
    pub(crate) tls_reload_errors: Counter,
    pub(crate) tls_certificate_expires_s: Gauge,
    pub(crate) tls_certificate_expires_soon: Gauge,
    frames_encoded: [Counter; 2],
    messages_skipped: [Counter; Policy::ALL.len()],
}

impl Metrics {
    /// A message was written in a codec.
    pub(crate) fn frame_encoded(&self, codec: Codec) {
        self.frames_encoded[codec.index()].add(1);
    }

    /// Messages were not sent to a subscriber because of its delivery policy.
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
            outbox_bytes: self.outbox_bytes.get(),
            history_messages: self.history_messages.get(),
            history_bytes: self.history_bytes.get(),
            keys: self.keys.get(),
            presence_members: self.presence_members.get(),
            histories_dropped_total: self.histories_dropped.get(),
            recoveries_total: self.recoveries.get(),
            recoveries_lost_total: self.recoveries_lost.get(),
            duplicates_total: self.duplicates.get(),
            connections_refused_total: self.connections_refused.get(),
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
            tls_handshake_errors_total: self.tls_handshake_errors.get(),
            tls_reloads_total: self.tls_reloads.get(),
            tls_reload_errors_total: self.tls_reload_errors.get(),
            tls_certificate_expires_unix_s: self.tls_certificate_expires_s.get(),
            tls_certificate_expires_soon: self.tls_certificate_expires_soon.get(),
        }
    }
}

/// The broker's numbers at one moment. Totals count since the broker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections that are no sessions, or not yet.
    pub connections: u64,
    /// Sessions that are connected.
    pub sessions: u64,
    /// Topics the broker remembers a position for.
    pub topics: u64,
    /// Subscriptions of all sessions, those to patterns included.
    pub subscriptions: u64,
    /// Different patterns that sessions are subscribed to.
    pub patterns: u64,
    /// Bytes of encoded frames that wait in all outboxes; a frame that waits in several counts in each.
    pub outbox_bytes: u64,
    /// Past messages that are kept, of all topics.
    pub history_messages: u64,
    /// What past messages and idempotency keys take in memory, at most.
    pub history_bytes: u64,
    /// Idempotency keys that are remembered.
    pub keys: u64,
    /// Members of all topics whose rule wants that to be known, those included that may still come back.
    pub presence_members: u64,
    /// Topics whose history had to give way because all together took too much.
    pub histories_dropped_total: u64,
    /// Subscriptions with a position since which nothing was missed, or everything that was missed is sent.
    pub recoveries_total: u64,
    /// Subscriptions with a position from which the history no longer leads to now.
    pub recoveries_lost_total: u64,
    /// Requests whose key was known: nothing was done, the first outcome was told again.
    pub duplicates_total: u64,
    /// Connections that were turned away at a door because there were too many: in all, of their address, of sessions, or of
    /// those that begin at the same time.
    pub connections_refused_total: u64,
    /// Sessions that ever connected.
    pub sessions_opened_total: u64,
    /// Sessions that were closed because they did not read fast enough.
    pub sessions_slow_total: u64,
    /// Times that an outbox gave way because all of them together were too large.
    pub outboxes_shed_total: u64,
    /// Messages that got a position.
    pub messages_published_total: u64,
    /// Messages put into an outbox: one message to 1,000 sessions counts 1,000.
    pub messages_delivered_total: u64,
    /// Messages written as JSON; one message counts once whatever the number of its subscribers.
    pub frames_encoded_json_total: u64,
    /// Messages written as MessagePack.
    pub frames_encoded_msgpack_total: u64,
    /// Messages that subscribers with policy `drop_oldest` did not get: one message counts once for each of them.
    pub messages_skipped_drop_oldest_total: u64,
    /// The same for policy `latest_by`.
    pub messages_skipped_latest_by_total: u64,
    /// The same for policy `latest`.
    pub messages_skipped_latest_total: u64,
    /// The same for policy `sample`.
    pub messages_skipped_sample_total: u64,
    /// Hooks that were called.
    pub plugin_hooks_total: u64,
    /// Hooks that trapped, ran out of time, exceeded a limit or said that they failed.
    pub plugin_failures_total: u64,
    /// Requests turned away because a plugin's mailbox was full.
    pub plugin_busy_total: u64,
    /// Plugins that were loaded again, or as new ones, while the broker ran.
    pub plugin_reloads_total: u64,
    /// Reloads that changed nothing because the new version does not run.
    pub plugin_reload_errors_total: u64,
    /// Running copies of plugins.
    pub plugin_instances: u64,
    /// Timers of plugins that wait.
    pub plugin_timers: u64,
    /// TLS handshakes that failed or were not finished in time. Who leaves without a word is not counted.
    pub tls_handshake_errors_total: u64,
    /// Times that a new certificate was taken while the broker ran.
    pub tls_reloads_total: u64,
    /// Times that the files of the certificate changed to something that cannot be used; the one in use stayed.
    pub tls_reload_errors_total: u64,
    /// When the certificate in use expires, in Unix seconds; 0 without TLS.
    pub tls_certificate_expires_unix_s: u64,
    /// 1 from `expiry_warn_days` before the certificate in use expires, and after that too; else 0.
    pub tls_certificate_expires_soon: u64,
}

/// A number that only grows.
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

/// A number that grows and shrinks.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// Counts what one part of it was before and is now.
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
