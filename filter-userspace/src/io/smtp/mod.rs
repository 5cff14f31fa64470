//! The SMTP edge: sockets, TLS and backends around the sessions.
//!
//! [`Edge`] is the state that all connections share, a [`Generation`] the part of the configuration
//! that concerns them, [`history`] the stages' view of both. [`listener`] accepts, [`connection`]
//! moves bytes between a session, its client and its backend, [`judge`] answers the session's
//! questions by the policy, [`backend`] opens and monitors backends, [`asker`] queries the network,
//! [`room`] limits memory, [`zones`] checks the DNS lists, [`events`] records the outcome of every
//! recipient.

mod asker;
mod backend;
mod conduct;
mod connection;
mod edge;
mod events;
mod farewell;
mod generation;
mod handshake;
mod handshakes;
mod health;
mod history;
mod inherited;
mod introduction;
mod judge;
mod listener;
pub mod proxy;
mod room;
mod serve;
mod stream;
mod tls;
mod zones;

pub use asker::Asker;
pub use backend::ServerHealth;
pub use edge::{Block, Classify, Edge};
pub use events::{Recording, Sink};
pub use generation::{Generation, certificate_errors, probe};
pub use health::SmtpStatus;
pub use history::Peek;
pub use inherited::Inherited;
pub use listener::{Listeners, bind};
pub use tls::{ServerTls, with_certificate};
