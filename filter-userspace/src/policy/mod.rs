//! Whether something is allowed: pure functions of facts.
//!
//! [`senders`] and [`recipients`] are lists, [`domains`] are the domains served here, [`tls`] what
//! peers must use, [`reputation`] the verdict of DNS lists, [`relay`] who may send out; [`rules`]
//! holds all of it. [`offences`] decides what counts against a client, [`rates`] and [`escalation`]
//! count. [`facts`] is what stages decide by, each file of [`stages`] is a stage, [`pipeline`]
//! walks them in order, and [`explain`] shows what each of them finds. In: facts of a session and
//! the time. Out: a permit or a refusal. May import `smtp` for addresses and refusals, and `lists`
//! for answers.

mod clients;
pub mod domains;
pub mod escalation;
pub mod evidence;
pub mod explain;
pub mod facts;
mod lines;
pub mod offences;
pub mod pipeline;
pub mod rates;
pub mod recipients;
pub mod relay;
pub mod reputation;
pub mod rules;
pub mod senders;
pub mod spf;
pub mod stages;
pub mod tls;
