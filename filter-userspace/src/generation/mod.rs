//! Rule sets: from the path of a configuration to everything that it decides.
//!
//! The daemon builds one at its start and at each reload, beside its thread; `mxdp check`,
//! `lookup` and `explain` read one without the kernel. A source that fails keeps its last good
//! content (ADR 30).

pub mod answer;
pub mod answers;
pub mod build;
pub mod certificates;
pub mod changes;
pub mod contents;
pub mod lists;
pub mod mail;
pub mod protected;
mod recipients;
mod restart;
pub mod sources;
pub mod standing;
pub mod watched;
