//! Resource exhaustion: what hostile peers cost the binary in memory, time and files, that it keeps serving other clients,
//! and that all resources are released. A program of its own, because whole processes are measured.

mod files;
mod many;
mod memory;
mod reconnect_storm;
