//! What the field sends: inputs of ordinary senders, operators and attackers that were
//! once judged wrongly, each with what is right. `cargo xtask test field` runs these alone.
//!
//! Each test names what is right, and its comment says of which kind of fault it is an
//! example, and where it was seen.

mod backends;
mod bounds;
mod connections;
mod console;
mod lists;
mod messages;
mod name_servers;
mod operations;
mod recipients;
mod stage;
mod tls;
