//! The fault proxy itself: what it does is what the seed says, and without faults it changes nothing.

use crate::support::fault::plan::Plan;

#[test]
fn a_seed_decides_everything() {
    let plans = |seed| (0..50).map(|connection| Plan::new(seed, connection)).collect::<Vec<_>>();
    assert_eq!(plans(7), plans(7));
    assert_ne!(plans(7), plans(8));
    let faults: Vec<String> =
        plans(7).iter().flat_map(|plan| &plan.to_client).map(|(_, fault)| format!("{fault:?}")).collect();
    for kind in ["Delay", "Trickle", "Cut", "Reset", "HalfClose"] {
        assert!(faults.iter().any(|fault| fault.starts_with(kind)), "no {kind} in {faults:?}");
    }
}
