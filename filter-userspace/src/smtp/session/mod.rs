//! The dialogue with a client, as a value.
//!
//! Bytes of client and backend, answers and the time go in by [`Session`]'s
//! methods. Out come bytes for both ([`Session::to_client`],
//! [`Session::to_backend`]) and [`Action`]s: what to ask, open, close and record.
//! Commands are handled one after the other, each when the one before has its
//! reply, so replies cannot come out of order.
//!
//! The client is told nothing about its message that the backend did not say: the reply to
//! the end of a message is the backend's, and without one it is 451. If anything goes wrong
//! before, the backend's connection is closed without the final dot.
//!
//! [`state`] is what a session consists of, grouped by how long each part lasts; [`facts`] is
//! what goes in and comes out. [`transaction`], [`body`], [`link`], [`counts`] and [`attempt`]
//! are its parts. The other files are its methods: [`dialogue`] for whoever holds it,
//! [`commands`] for commands, [`envelope`] for recipients, [`message`] and [`ending`] for
//! messages, [`backend`] for the backend, [`record`] for the mail log, [`closing`] for the end.

mod attempt;
mod backend;
mod body;
mod closing;
mod commands;
mod counts;
mod dialogue;
mod ending;
mod envelope;
mod facts;
mod link;
mod message;
mod pace;
mod recipients;
mod record;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

pub use attempt::{Attempt, Outcome};
pub use facts::{
    Action, Answer, BackendName, BackendTimes, Capabilities, Client, Extensions, Now, Offers,
    OpenFailure, Opened, Permit, Question, Settings, Times, Tls,
};
pub use link::Outgoing;
pub use state::{Linger, Session};
