//! SPF (RFC 7208): may this client send for this domain?
//!
//! [`check`] is a function of what is known. If an answer of DNS is missing, it returns the queries
//! ([`Step::Ask`]), is given the answers in [`Known`], and begins again. The limits of RFC 7208
//! section 4.6.4 make that cheap, and the code reads from top to bottom.
//! [`flatten`](flatten::flatten) lists the networks of a domain.
//!
//! In: facts of a message, answers of DNS. Out: queries, an [`Evaluation`]. May import `dns` only.

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
