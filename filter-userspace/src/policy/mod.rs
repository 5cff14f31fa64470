//! Policy: what is decided about a sender, a recipient or a message.
//!
//! [`senders`] knows the approved and the blocked envelope senders,
//! [`recipients`] which recipients exist. Pure: bytes and addresses go in,
//! answers with the line that says so come out; no file, no clock, no socket is
//! touched here.
//!
//! May import: [`crate::smtp`], [`crate::lists`], `csv`, `base64`.

mod lines;
pub mod recipients;
pub mod senders;
