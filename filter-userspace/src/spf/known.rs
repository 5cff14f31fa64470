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
    /// Whether there is no time for more: what is missing then is a time-out.
    pub out_of_time: bool,
    /// Whether the trace is left out: it is wanted by those that explain alone, and
    /// costs more than all else of an evaluation.
    pub untraced: bool,
    /// Records that were read, by their domain: each is read once an evaluation.
    pub(super) parsed: RefCell<HashMap<String, Parsed>>,
}

/// A record as it was read, or what is wrong with it.
pub(super) type Parsed = Arc<Result<Arc<Record>, String>>;

impl Known {
    /// Nothing yet, for an evaluation without a trace.
    #[must_use]
    pub fn untraced() -> Self {
        Self { untraced: true, ..Self::default() }
    }
}

/// What comes of a look at what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// These are to be asked first.
    Ask(Vec<Query>),
    /// It is decided.
    Done(T),
}
