//! Measures how fast a pub/sub server fans out over WebSocket. It drives real servers through real sockets and knows
//! nothing of Rialto's inside.

mod answer;
pub mod bystanders;
pub mod chart;
pub mod check;
mod client;
pub mod compare;
mod connection;
pub mod cores;
mod crowd;
pub mod date;
mod descriptors;
mod dialect;
pub mod door;
mod error;
pub mod field;
pub mod figure;
pub mod floor;
mod frame;
pub mod holding;
pub mod idle;
pub mod launch;
pub mod listing;
pub mod load;
pub mod machine;
pub mod number;
pub mod options;
mod pace;
pub mod patience;
mod payload;
pub mod peer;
pub mod places;
pub mod plan;
pub mod plugins;
pub mod process;
pub mod reconnect_storm;
pub mod report;
pub mod row;
#[cfg(test)]
mod sample;
pub mod scenario;
pub mod server;
pub mod soak;
mod socket;
mod subscription;
pub mod summary;
pub mod table;
mod tally;
mod topic;

pub use error::LoadError;
