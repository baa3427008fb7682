//! Measures how fast a pub/sub server fans out over WebSocket. It drives real servers through real sockets and knows
//! nothing of Rialto's inside.

pub mod scenario;
