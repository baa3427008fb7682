//! The load of Rialto's benches: publishers and subscribers through real sockets, against Rialto and other servers, with
//! every delivery checked. It knows nothing of Rialto's inside. `rialto bench` is made of it; comparing servers is not its
//! business.

pub mod chart;
mod connection;
mod crowd;
pub mod descriptors;
mod dialect;
mod error;
pub mod floor;
pub mod frame;
pub mod idle;
pub mod load;
pub mod machine;
pub mod number;
mod pace;
mod payload;
pub mod process;
pub mod scenario;
pub mod socket;
pub mod statistics;
mod subscription;
pub mod table;
mod tally;
mod topic;

pub use error::LoadError;
