//! The stages, a file each: its row for the table of the pipeline, what it decides, and the
//! note that `explain` shows.

pub(super) mod connection;
pub(super) mod customer;
pub(super) mod deliverability;
pub(super) mod forged;
pub(super) mod rate;
pub(super) mod recipient;
pub(super) mod registered;
pub(super) mod relay;
pub(super) mod reputation;
pub(super) mod sender;
pub(super) mod size;
pub(super) mod spf;
pub(super) mod suspended;
pub(super) mod tls;

mod approved;
mod row;

pub use row::Case;
pub(super) use row::{MailRow, Passed, RcptRow};
