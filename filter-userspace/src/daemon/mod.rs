//! The daemon: keeps the kernel's tables as the configuration says.
//!
//! One thread ([`core`]) owns the filter and all state and takes messages
//! ([`message`]), one after the other: requests of operators, reloads that were
//! built elsewhere, events and ticks. What it owns is in parts, a file each, which
//! know nothing of each other. Rule sets are built beside it
//! ([`crate::generation`]), so that a large reload keeps nobody waiting. Everything
//! asynchronous (sockets, signals, the event ring) is started in [`start`] and only
//! sends messages.

mod active;
mod alarms;
mod approvals;
mod block_files;
mod blocks;
mod clocks;
mod core;
mod directories;
mod failures;
mod files;
mod followers;
mod forward;
mod lookups;
mod losses;
mod message;
mod mode;
mod protection;
mod reloads;
mod rings;
mod runtime_lists;
mod searches;
mod sources;
mod start;
mod status;
mod suspensions;
mod syns;
mod trial;

pub use mode::Mode;
pub use start::run;
