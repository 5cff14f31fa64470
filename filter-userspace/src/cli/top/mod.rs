//! `top`: a live view of the daemon that fills the terminal.
//!
//! A thread of [`mod@refresh`] queries the daemon; [`model`] calculates rates and a history from
//! the answers, and [`view`] draws them. This file has the loop between them, and handles the
//! keyboard and signals.

mod model;
mod refresh;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::model::Model;
use self::refresh::{Answer, Refresh, refresh, refresh_always};
use super::args::TopArguments;
use super::error::{CliError, Exit};
use super::output::Output;

/// The longest time until a key takes effect.
const KEYS: Duration = Duration::from_millis(100);

/// Shows the live view until the user quits, or prints an object per refresh.
pub(super) fn run(
    socket: &Path,
    arguments: &TopArguments,
    output: &mut Output,
) -> Result<Exit, CliError> {
    if !output.json && !output.is_terminal {
        return Err(CliError::usage("top needs a terminal; use --json otherwise"));
    }
    // Without a daemon there is no view; one that ends later is waited for.
    let first = refresh(socket, &arguments.window)?;
    let (to, answers) = sync_channel(1);
    let (socket, window) = (PathBuf::from(socket), arguments.window.clone());
    let every = Duration::from_secs(arguments.every);
    // Not joined: it may be waiting for a daemon that does not answer.
    thread::spawn(move || refresh_always(&socket, &window, every, &to));
    let left = arguments.count.unwrap_or(u64::MAX);
    if output.json {
        return print(first, &answers, left, output);
    }
    show(Model::new(first, &arguments.window, output.style.colour), &answers, left)
}

fn print(
    first: Refresh,
    answers: &Receiver<Answer>,
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
        next = answers.recv().map_err(|error| CliError::system(error.to_string()))?;
    }
}

fn show(mut model: Model, answers: &Receiver<Answer>, left: u64) -> Result<Exit, CliError> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    // This also restores the terminal before a panic is reported.
    let mut terminal = ratatui::try_init()?;
    let done = watch(&mut terminal, &mut model, answers, left, &ended);
    ratatui::try_restore()?;
    done?;
    Ok(Exit::Done)
}

fn watch(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    answers: &Receiver<Answer>,
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
        for answer in answers.try_iter() {
            match answer {
                Ok(refresh) => model.take(refresh),
                Err(error) => model.lose(&CliError::from(error)),
            }
        }
    }
    Ok(())
}

/// Carries out a key, and returns whether the view goes on.
fn pressed(key: KeyEvent, model: &mut Model) -> bool {
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => false,
        KeyCode::Char(' ') => {
            model.paused = !model.paused;
            true
        }
        _ => true,
    }
}
