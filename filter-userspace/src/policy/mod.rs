//! Whether something is allowed: pure functions of facts.
//!
//! [`senders`] and [`recipients`] are lists, [`domains`] says which domains are
//! ours, [`tls`] what peers must use, [`reputation`] what DNS lists say, [`relay`] who may send out;
//! [`replies`] says what a backend's refusal means and [`offences`] what counts against a client, [`rates`]
//! and [`escalation`] count; [`pipeline`] asks them in order. Comes in: facts of a session and the time. Goes out: a permit or a
//! refusal. May import `smtp` for addresses and refusals.

mod clients;
pub mod domains;
pub mod escalation;
pub mod evidence;
mod lines;
pub mod offences;
mod outgoing;
pub mod pipeline;
pub mod rates;
mod recipient_stage;
pub mod recipients;
pub mod relay;
pub mod replies;
pub mod reputation;
pub mod senders;
pub mod spf;
pub mod tls;
