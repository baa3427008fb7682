//! What all rounds showed of one server, as the medians that tables and charts show. It judges nothing.

use crate::plan::{CALM, SATURATED};
use crate::plugins::PluginRound;
use rialto_load::scenario::{Idle, Measurement};
use rialto_load::statistics::median;

/// One server's figures; none where it was not measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The server.
    pub server: String,
    /// Its version.
    pub version: String,
    /// Deliveries a second, saturated.
    pub deliveries_per_second: Option<f64>,
    /// Those, divided by the batched floor's in the same round.
    pub of_floor: Option<f64>,
    /// Microseconds of processor time per delivery, saturated.
    pub cpu_micros: Option<f64>,
    /// How much of a core it used, saturated: much less than 1 where the load was the slower one.
    pub core_share: Option<f64>,
    /// Microseconds of processor time per delivery at 50 messages a second.
    pub calm_cpu_micros: Option<f64>,
    /// Microseconds until the last subscriber had a message, at 50 messages a second.
    pub calm_latency: Option<CalmLatency>,
    /// Bytes of resident memory for each idle session.
    pub idle_bytes: Option<f64>,
    /// The same after each has got a message.
    pub idle_bytes_after_message: Option<f64>,
    /// Deliveries that were wrong, over all runs in which nothing may be dropped.
    pub faults: u64,
}

/// Microseconds until the last subscriber had a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalmLatency {
    /// Half were quicker.
    pub p50: f64,
    /// 90 % were quicker.
    pub p90: f64,
    /// 99 % were quicker.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// Everything that was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// How many rounds there were.
    pub rounds: u32,
    /// Under load.
    pub measurements: &'a [Measurement],
    /// Idle.
    pub idle: &'a [Idle],
    /// Of plugins, one for each round.
    pub plugins: &'a [PluginRound],
}

impl<'a> Measured<'a> {
    /// The median of a figure over the runs of `scenario` against `server` in one round.
    pub fn of(
        &self,
        server: &str,
        scenario: &str,
        round: u32,
        figure: impl Fn(&Measurement) -> Option<f64>,
    ) -> Option<f64> {
        let runs = self.measurements.iter();
        let runs = runs.filter(|one| one.server == server && one.scenario.name == scenario && one.round == round);
        median(&runs.filter_map(figure).collect::<Vec<_>>())
    }

    /// What `figure` makes of each round that has all it needs.
    pub fn rounds(&self, figure: impl Fn(u32) -> Option<f64>) -> Vec<f64> {
        (0..self.rounds).filter_map(figure).collect()
    }

    /// The figures of one server.
    pub fn summary(&self, server: &str, version: &str, floor: &str) -> Summary {
        let over = |scenario: &str, figure: &dyn Fn(&Measurement) -> Option<f64>| {
            median(&self.rounds(|round| self.of(server, scenario, round, figure)))
        };
        let of_floor = self.rounds(|round| {
            let rate = |server: &str| self.of(server, SATURATED, round, Measurement::deliveries_per_second);
            Some(rate(server)? / rate(floor)?)
        });
        let latency = || {
            Some(CalmLatency {
                p50: over(CALM, &|one| Some(one.latency.p50))?,
                p90: over(CALM, &|one| Some(one.latency.p90))?,
                p99: over(CALM, &|one| Some(one.latency.p99))?,
                max: over(CALM, &|one| Some(one.latency.max))?,
            })
        };
        let idle = |bytes: fn(&Idle) -> f64| {
            median(&self.idle.iter().filter(|idle| idle.server == server).map(bytes).collect::<Vec<_>>())
        };
        let own = self.measurements.iter().filter(|one| one.server == server && one.scenario.delivery.is_none());
        Summary {
            server: server.to_owned(),
            version: version.to_owned(),
            deliveries_per_second: over(SATURATED, &Measurement::deliveries_per_second),
            of_floor: median(&of_floor),
            cpu_micros: over(SATURATED, &Measurement::cpu_micros),
            core_share: over(SATURATED, &|one| Some(one.cpu_seconds? / one.seconds)),
            calm_cpu_micros: over(CALM, &Measurement::cpu_micros),
            calm_latency: latency(),
            idle_bytes: idle(|idle| idle.bytes_per_session),
            idle_bytes_after_message: idle(|idle| idle.bytes_per_session_after_message),
            faults: own.map(|one| one.faults.count()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::server::{FLOOR_BATCHED, RIALTO};

    #[test]
    fn medians_over_the_rounds() {
        let found = sample::found();
        let measured =
            Measured { rounds: 2, measurements: &found.measurements, idle: &found.idle, plugins: &found.plugins };
        let summary = measured.summary(RIALTO, "0.1.0", FLOOR_BATCHED);
        assert_eq!(summary.deliveries_per_second, Some(3_500_000.0));
        assert_eq!(summary.of_floor, Some(0.875));
        assert_eq!(summary.idle_bytes, Some(1_850.0));
        assert_eq!(summary.calm_latency.map(|latency| latency.p99), Some(8_000.0));
        let nobody = measured.summary("nobody", "", FLOOR_BATCHED);
        assert_eq!(nobody, Summary { server: "nobody".to_owned(), ..Summary::default() });
    }
}
