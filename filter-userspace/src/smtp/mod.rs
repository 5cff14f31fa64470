//! SMTP as a value: bytes and answers go in, bytes and questions come out.
//!
//! [`address`], [`command`] and [`reply`] are the words of the protocol,
//! [`mod@line`] and [`data`] read them off the wire strictly (CRLF and nothing
//! else), [`refusal`] says no, [`header`] reads along, and [`session`] is the
//! dialogue with a client and its backend. Pure: no clock, no socket, no file; the
//! time comes in, and whether something is allowed is asked.

pub mod address;
pub mod command;
pub mod data;
pub mod header;
pub mod line;
pub mod refusal;
pub mod reply;
pub mod session;
