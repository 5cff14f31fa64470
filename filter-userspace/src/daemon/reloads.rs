//! Reloads: built beside the daemon's thread, and recorded. Whoever asks while one is built is
//! answered by the next.

use std::sync::Arc;
use std::{mem, panic, thread};

use tokio::sync::mpsc;

use super::active::Active;
use super::failures::misconfigured;
use super::message::Message;
use crate::control::protocol::{FailedReload, Failure, Reloaded};
use crate::control::server::Incoming;
use crate::generation::build;
use crate::io::{clock, service_manager};
use crate::record::Change;
use crate::store::{Entry, Sink};

/// The longest text of a recorded reload, in characters.
const RECORDED: usize = 4000;

/// Why an operator's reload is one.
const ASKED: &str = "an operator asked for it";

/// Reloads: the one that is being built, and those that were asked for.
pub(super) struct Reloads {
    /// Brings what was built.
    messages: mpsc::Sender<Message>,
    /// Records them.
    sink: Arc<dyn Sink>,
    /// Whether one is being built.
    is_building: bool,
    /// Whether another is to be built after it.
    is_wanted_again: bool,
    /// Why it was begun.
    why: &'static str,
    /// Those that it answers.
    waiting: Vec<Incoming>,
    /// Those that were asked for since it began, which the next one answers.
    waiting_for_next: Vec<Incoming>,
    /// The sources that the next one is to accept however little they have left.
    accept: Vec<String>,
    /// The last one that failed since a rule set became active.
    failed: Option<FailedReload>,
}

impl Reloads {
    /// None yet.
    pub(super) const fn new(messages: mpsc::Sender<Message>, sink: Arc<dyn Sink>) -> Self {
        Self {
            messages,
            sink,
            is_building: false,
            is_wanted_again: false,
            why: "",
            waiting: Vec::new(),
            waiting_for_next: Vec::new(),
            accept: Vec::new(),
            failed: None,
        }
    }

    /// Reloads because an operator asked for it, who is answered by a rule set whose files
    /// were read after that.
    pub(super) fn ask(&mut self, asked: Incoming, accept: Vec<String>, active: &Active) {
        self.accept.extend(accept);
        if self.is_building { &mut self.waiting_for_next } else { &mut self.waiting }.push(asked);
        self.begin(ASKED, active);
    }

    /// Builds a rule set beside this thread; [`Message::Built`] brings it.
    pub(super) fn begin(&mut self, why: &'static str, active: &Active) {
        if self.is_building {
            self.is_wanted_again = true;
            return;
        }
        tracing::info!(why, "reloading");
        self.why = why;
        service_manager::reloading();
        self.is_building = true;
        let path = active.path.clone();
        let previous = active.previous();
        let accept = mem::take(&mut self.accept);
        let messages = self.messages.clone();
        thread::spawn(move || {
            let result = panic::catch_unwind(|| build::build(&path, Some(&previous), &accept))
                .unwrap_or_else(|_| {
                    Err(vec!["reading or compiling the lists panicked; see the log".to_owned()])
                });
            // The channel is closed only when the daemon ends.
            _ = messages.blocking_send(Message::Built(Box::new(result)));
        });
    }

    /// Takes note of how the one that was built ended: what it changed, or why it is refused.
    /// Those who wait for it are answered by [`Self::answer`].
    pub(super) fn ended(&mut self, outcome: &Result<Vec<String>, Vec<String>>) {
        self.is_building = false;
        self.record(outcome);
        self.failed = None;
    }

    /// Takes note of a failure; the active rule set has this number.
    pub(super) fn fail(&mut self, errors: &[String], active: u64) -> Failure {
        let failure = misconfigured(errors);
        let message = failure.message.clone();
        tracing::error!(
            generation = active,
            "the reload failed, and the last good rule set stays active:\n{message}"
        );
        self.failed = Some(FailedReload { at: clock::unix_seconds(), message });
        failure
    }

    /// Answers those who wait for the one that ended, and begins the next where one is wanted;
    /// whether none is.
    pub(super) fn answer(&mut self, answer: &Result<Reloaded, Failure>, active: &Active) -> bool {
        for waiting in self.waiting.drain(..) {
            waiting.answer(answer.clone());
        }
        if !self.is_wanted_again {
            return true;
        }
        // Whoever asked meanwhile waits for the state of now, and no longer, however often
        // files change.
        self.is_wanted_again = false;
        self.waiting = mem::take(&mut self.waiting_for_next);
        self.begin("files changed while the last reload was built", active);
        false
    }

    /// The last one that failed since a rule set became active.
    pub(super) const fn failed(&self) -> Option<&FailedReload> {
        self.failed.as_ref()
    }

    /// Records what a reload changed, or why it changed nothing; what was asked for has a
    /// row with the operator's name besides.
    fn record(&self, outcome: &Result<Vec<String>, Vec<String>>) {
        let why = self.why;
        // What an operator asked for has its row already.
        let says_more = outcome.as_ref().is_ok_and(|changes| !changes.is_empty());
        if why == ASKED && !says_more {
            return;
        }
        let (what, outcome) = match outcome {
            Ok(changes) if changes.is_empty() => {
                (format!("reload ({why}): nothing changed"), "done".to_owned())
            }
            Ok(changes) => (format!("reload ({why}): {}", changes.join("; ")), "done".to_owned()),
            Err(errors) => (format!("reload ({why})"), format!("refused: {}", errors.join("\n"))),
        };
        _ = self.sink.add(Entry::Change(Change {
            time: clock::unix_ms(),
            who: "mxdp".to_owned(),
            what: bounded(&what),
            outcome: bounded(&outcome),
        }));
    }
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(RECORDED) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
