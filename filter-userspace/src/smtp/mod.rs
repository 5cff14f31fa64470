//! SMTP as a value: bytes and answers go in, bytes and questions come out.
//!
//! [`address`], [`command`] and [`reply`] are the vocabulary of the protocol, [`mod@line`] and
//! [`data`] read it off the wire strictly (CRLF and nothing else), [`refusal`] turns reasons into
//! replies, [`meaning`] interprets a backend's refusal, [`header`] scans the header while it
//! streams, and [`session`] is the dialogue with a client and its backend. Pure: no clock, socket
//! or file. The time is passed in, and whether something is allowed is a question to the caller.

pub mod address;
pub mod command;
pub mod data;
pub mod header;
pub mod line;
pub mod meaning;
pub mod refusal;
pub mod reply;
pub mod session;
