//! What DNS has answered, and what is missing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::record::Record;
use crate::dns::{Lookup, Query};

/// What DNS has answered so far.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The answers.
    pub answers: HashMap<Query, Lookup>,
    /// Whether the time is up: missing answers then count as timeouts.
    pub out_of_time: bool,
    /// Whether the trace is left out: only explanations need it, and it costs more than the rest of
    /// an evaluation.
    pub untraced: bool,
    /// Records by their domain: each is parsed once in an evaluation.
    pub(super) parsed: RefCell<HashMap<String, Parsed>>,
}

/// A parsed record, or its error.
pub(super) type Parsed = Arc<Result<Arc<Record>, String>>;

impl Known {
    /// Nothing yet, for an evaluation without a trace.
    #[must_use]
    pub fn untraced() -> Self {
        Self { untraced: true, ..Self::default() }
    }
}

/// The outcome of one pass over what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// These queries must be answered first.
    Ask(Vec<Query>),
    /// It is decided.
    Done(T),
}
