//! What becomes of a connection: decided by the seed and the connection's number alone, before its first byte.

use std::time::Duration;

use crate::support::dice::Dice;

/// What happens to one direction of a connection at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The next bytes wait.
    Delay(Duration),
    /// So many bytes go on their way one by one.
    Trickle(usize),
    /// Both ends are closed, each with a FIN.
    Cut,
    /// Both ends are reset.
    Reset,
    /// The receiver gets a FIN, the sender goes on unheard; the other direction stays.
    HalfClose,
}

/// The faults of one direction, each with the number of bytes that pass before it, counted from the one before.
pub(crate) type Script = Vec<(usize, Fault)>;

/// Both directions of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) to_server: Script,
    pub(crate) to_client: Script,
}

impl Plan {
    pub(crate) fn new(seed: u64, connection: u64) -> Self {
        let mut dice = Dice::new(seed, connection);
        // What a client sends is less than what it gets.
        let to_server = script(&mut dice, 6_000);
        let to_client = script(&mut dice, 60_000);
        Self { to_server, to_client }
    }

    /// Nothing happens.
    pub(crate) fn calm() -> Self {
        Self { to_server: Script::new(), to_client: Script::new() }
    }
}

fn script(dice: &mut Dice, bytes_max: u64) -> Script {
    let mut script = Script::new();
    for _ in 0..dice.below(6) {
        // Early ones meet handshakes, requests and answers, late ones a session in full flow.
        let most = if dice.percent(30) { 400 } else { bytes_max };
        let after = dice.below(most) as usize;
        let fault = match dice.below(12) {
            0..5 => Fault::Delay(Duration::from_millis(dice.within(1, 60))),
            5 => Fault::Delay(Duration::from_millis(dice.within(300, 1_200))),
            6..9 => Fault::Trickle(dice.within(1, 200) as usize),
            9 => Fault::Cut,
            10 => Fault::Reset,
            _ => Fault::HalfClose,
        };
        script.push((after, fault));
        if !matches!(fault, Fault::Delay(_) | Fault::Trickle(_)) {
            break;
        }
    }
    script
}
