//! What a log that holds was made of, so that whoever reads "holds" sees of how much.

/// Counts of what was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Facts in the log.
    pub events: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Times the broker was killed.
    pub kills: u64,
    /// Publishes that were acked, duplicates included.
    pub acked: u64,
    /// Acks that said that the key was known.
    pub duplicates: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Publishes of which nobody heard.
    pub lost: u64,
    /// Subscriptions that were answered.
    pub subscribed: u64,
    /// Of these: `recovered: true`.
    pub recovered: u64,
    /// Of these: `recovered: false`.
    pub unrecovered: u64,
    /// Messages that came.
    pub delivered: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// The time from the end of the faults until the last client had everything; none if the log has no such end.
    pub caught_up_ms: Option<u64>,
    /// Gauges that were read at the end, all 0.
    pub gauges: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.sessions += other.sessions;
        self.kills += other.kills;
        self.acked += other.acked;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.lost += other.lost;
        self.subscribed += other.subscribed;
        self.recovered += other.recovered;
        self.unrecovered += other.unrecovered;
        self.delivered += other.delivered;
        self.gaps += other.gaps;
        self.caught_up_ms = self.caught_up_ms.max(other.caught_up_ms);
        self.gauges += other.gauges;
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, sessions, kills, acked, duplicates, refused, lost, .. } = self;
        let Self { subscribed, recovered, unrecovered, delivered, gaps, .. } = self;
        write!(formatter, "{events} events, {sessions} sessions, {kills} kills; {acked} publishes acked ")?;
        write!(formatter, "({duplicates} of them duplicates), {refused} refused, {lost} lost; {subscribed} ")?;
        write!(
            formatter,
            "subscriptions ({recovered} recovered, {unrecovered} not), {delivered} messages, {gaps} gaps"
        )?;
        match self.caught_up_ms {
            Some(time) => write!(formatter, "; caught up {time} ms after the last fault"),
            None => Ok(()),
        }
    }
}
