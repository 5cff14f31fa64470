//! Control: what operators ask of a running daemon, over a unix socket.
//!
//! In come request lines from [`client`]s, out go reply lines; the daemon's
//! single thread of decisions stands behind [`server`] and is reached through a
//! channel. May import: `tokio`, `serde`, and nothing of the kernel.

pub mod client;
mod mail;
pub mod protocol;
pub mod server;
mod socket;
mod state;
mod window;
