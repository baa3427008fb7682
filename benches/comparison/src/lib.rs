//! Compares: Rialto with a floor and with other servers, a build with an earlier one, a healthy client beside hostile
//! ones with the same client alone. The load is of `rialto-load`; this starts servers, repeats, judges and reports.

mod answer;
pub mod bystanders;
pub mod chart;
pub mod check;
mod client;
pub mod compare;
pub mod cores;
pub mod door;
pub mod field;
pub mod figure;
pub mod holding;
pub mod launch;
pub mod listing;
pub mod options;
pub mod pairs;
pub mod patience;
pub mod peer;
pub mod places;
pub mod plan;
pub mod plugins;
pub mod reconnect_storm;
pub mod report;
pub mod row;
#[cfg(test)]
mod sample;
pub mod server;
pub mod soak;
pub mod summary;
pub mod today;
