//! Rule sets: from the path of a configuration to everything that it decides.
//!
//! [`files::gather`] reads every byte that a configuration names, and [`compile`](compile::compile)
//! is a pure function of them. The daemon builds one at its start and at each reload, beside its thread; `mxdp check`,
//! `lookup` and `explain` read one without the kernel. A source that fails keeps its last good
//! content (ADR 30).

pub mod answer;
pub mod answers;
pub mod build;
pub mod certificates;
pub mod changes;
pub mod compile;
pub mod contents;
mod countries;
pub mod fault;
pub mod files;
mod folder;
pub mod gathered;
mod lists;
mod mail;
pub mod protected;
pub mod read;
mod recipients;
pub mod rule_set;
mod senders;
pub mod source;
pub mod sources;
pub mod standing;
pub mod watched;
