//! The stages, a file each, and the order in which they decide.
//!
//! The file of a stage has its row, what it decides, and the note that `explain` shows. A new
//! stage is a file here, its place in a table below, and its name and reason in
//! [`crate::smtp::refusal`].

mod approved;
mod connection;
mod customer;
mod deliverability;
mod forged;
mod rate;
mod recipient;
mod registered;
pub(super) mod relay;
mod reputation;
mod row;
mod sender;
mod size;
mod spf;
mod suspended;
mod tls;

pub use row::Case;
pub(super) use row::{MailRow, Passed, RcptRow};

/// The stages at MAIL.
pub(super) const MAIL: &[MailRow] = &[tls::ROW, size::ROW];

/// The stages at RCPT for incoming mail. A blocked sender is refused here, so that the mail log has
/// the recipient. Checks of the client come before checks of the recipient: a client that is
/// refused anyway learns nothing about recipients.
pub(super) const INBOUND: &[RcptRow] = &[
    sender::ROW,
    forged::ROW,
    relay::ROW,
    connection::ROW,
    reputation::ROW,
    recipient::ROW,
    spf::ROW,
    rate::ROW,
];

/// The stages at RCPT for outgoing mail.
pub(super) const OUTGOING: &[RcptRow] =
    &[customer::ROW, suspended::ROW, registered::ROW, deliverability::ROW, rate::ROW];
