//! `top`: what is going on, over the whole terminal.
//!
//! A thread asks the daemon; [`model`] makes rates and a history of the answers, and
//! [`view`] draws them. Here is the loop between them, the keyboard and the end.

mod model;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::model::Model;
use super::args::TopArguments;
use super::error::{CliError, Exit};
use super::output::Output;
use crate::control::client::{CallError, call};
use crate::control::protocol::{Request, Status};
use crate::record::Summary;

/// How long a key may wait until it is looked at.
const KEYS: Duration = Duration::from_millis(100);

/// One look at the daemon.
#[derive(Serialize)]
struct Look {
    status: Status,
    summary: Summary,
    #[serde(skip)]
    at: Instant,
}

type Seen = Result<Look, CallError>;

fn look(socket: &Path, window: &str) -> Seen {
    let status = call(socket, &Request::Status)?;
    let request = Request::Summary { since: Some(window.to_owned()), until: None };
    Ok(Look { status, summary: call(socket, &request)?, at: Instant::now() })
}

/// Looks again and again until nobody takes what was seen.
fn look_again(socket: &Path, window: &str, every: Duration, to: &SyncSender<Seen>) {
    loop {
        thread::sleep(every);
        if to.send(look(socket, window)).is_err() {
            return;
        }
    }
}

/// Shows the live view until it is ended, or prints looks.
pub(super) fn run(
    socket: &Path,
    arguments: &TopArguments,
    output: &mut Output,
) -> Result<Exit, CliError> {
    if !output.json && !output.is_terminal {
        let message = "top is a view of the terminal, and standard output is none: --json prints \
                       an object each time";
        return Err(CliError::usage(message));
    }
    // A daemon that restarts comes back; one that never was does not.
    let first = look(socket, &arguments.window)?;
    let (to, seen) = sync_channel(1);
    let (socket, window) = (PathBuf::from(socket), arguments.window.clone());
    let every = Duration::from_secs(arguments.every);
    // Not joined: it may be waiting for a daemon that does not answer.
    thread::spawn(move || look_again(&socket, &window, every, &to));
    let left = arguments.count.unwrap_or(u64::MAX);
    if output.json {
        return print(first, &seen, left, output);
    }
    show(Model::new(first, &arguments.window, output.style.colour), &seen, left)
}

fn print(
    first: Look,
    seen: &Receiver<Seen>,
    mut left: u64,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let mut next = Ok(first);
    loop {
        output.object(&next?)?;
        output.flush()?;
        left = left.saturating_sub(1);
        if left == 0 {
            return Ok(Exit::Done);
        }
        next = seen.recv().map_err(|error| CliError::system(error.to_string()))?;
    }
}

fn show(mut model: Model, seen: &Receiver<Seen>, left: u64) -> Result<Exit, CliError> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    // This also restores the terminal before a panic is reported.
    let mut terminal = ratatui::try_init()?;
    let done = watch(&mut terminal, &mut model, seen, left, &ended);
    ratatui::try_restore()?;
    done?;
    Ok(Exit::Done)
}

fn watch(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    seen: &Receiver<Seen>,
    mut left: u64,
    ended: &AtomicBool,
) -> Result<(), CliError> {
    while !ended.load(Ordering::Relaxed) {
        terminal.draw(|frame| view::draw(frame, model))?;
        left = left.saturating_sub(model.news);
        if left == 0 {
            return Ok(());
        }
        model.news = 0;
        if event::poll(KEYS)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
                && !pressed(key, model)
            {
                return Ok(());
            }
            continue;
        }
        for look in seen.try_iter() {
            match look {
                Ok(look) => model.take(look),
                Err(error) => model.lose(&CliError::from(error)),
            }
        }
    }
    Ok(())
}

/// Does what a key stands for, and says whether to go on.
fn pressed(key: KeyEvent, model: &mut Model) -> bool {
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => false,
        KeyCode::Char(' ') => {
            model.held = !model.held;
            true
        }
        _ => true,
    }
}
