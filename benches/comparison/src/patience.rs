//! How long a comparison may wait for a machine on which nothing else runs. It measures no server.

use std::time::{Duration, Instant};

use crate::bystanders::{Bystanders, DISTURBING_CORES};

/// Others are looked at for so long before a run.
const LOOK: Duration = Duration::from_millis(700);

/// Time that waiting and repeating may still cost.
#[derive(Debug)]
pub struct Patience {
    left: Duration,
}

impl Patience {
    /// So much in all.
    pub fn new(left: Duration) -> Self {
        Self { left }
    }

    /// Waits until nobody else keeps the machine busy, or until there is no patience left.
    pub fn wait(&mut self) {
        while !self.left.is_zero() {
            let begun = Instant::now();
            let bystanders = Bystanders::since_now(std::process::id());
            std::thread::sleep(LOOK);
            if bystanders.cores() <= DISTURBING_CORES {
                return;
            }
            self.spend(begun.elapsed());
        }
    }

    /// Whether a run that `cores` of others disturbed and that took so long is to be made again; if so, that time is
    /// spent.
    pub fn wants_again(&mut self, cores: f64, took: Duration) -> bool {
        let again = cores > DISTURBING_CORES && !self.left.is_zero();
        if again {
            self.spend(took);
        }
        again
    }

    fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let mut patience = Patience::new(Duration::from_secs(10));
        assert!(!patience.wants_again(0.0, Duration::from_secs(6)));
        assert!(patience.wants_again(1.0, Duration::from_secs(6)));
        assert!(patience.wants_again(1.0, Duration::from_secs(6)));
        assert!(!patience.wants_again(1.0, Duration::from_secs(6)));
        patience.wait();
    }
}
