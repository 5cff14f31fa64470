//! SPF (RFC 7208): may this client send for this domain?
//!
//! [`check`] is a function of what is known. Where an answer of DNS is missing, it
//! says which ([`Step::Ask`]), is given it in [`Known`], and begins again: the
//! limits of section 4.6.4 make that cheap, and what it does reads from top to
//! bottom. [`flatten`](flatten::flatten) lists the networks of a domain.
//!
//! Comes in: facts of a message, answers of DNS. Goes out: questions, an
//! [`Evaluation`]. May import `dns` only.

mod eval;
mod evaluation;
pub mod flatten;
mod header;
mod known;
mod macros;
mod record;
#[cfg(test)]
mod tests;
mod walk;

pub use eval::check;
pub use evaluation::{Evaluation, Identity, Input, Outcome, TraceLine};
pub use known::{Known, Step};
