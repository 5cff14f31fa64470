//! The command line: arguments in, text and an exit code out.
//!
//! [`args`] declares the commands and options, and [`help`] their examples, which the
//! tests parse. [`status`], [`lookup`], [`explain`], [`entries`], [`offline`] and others
//! carry out a command each; [`output`], [`table`] and [`time`] format the result. This
//! room may import everything; only `main` imports it.

mod args;
mod documents;
mod entries;
mod error;
mod explain;
mod generate;
mod help;
mod lookup;
mod offline;
mod output;
mod relay;
mod spf;
mod status;
mod table;
mod time;
mod top;
mod traffic;
mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::FromArgMatches;
use clap::error::ErrorKind;

use self::args::{
    ApproveCommand, Arguments, BlockCommand, RelayCommand, Task, TempCommand, TrafficCommand,
};
use self::error::{CliError, Exit};
use self::output::{Output, report};
use crate::config::DEFAULT_CONFIG;
use crate::control::client::{CallError, call};
use crate::control::protocol::RuntimeList::{Approved, Blocked};
use crate::control::protocol::{Detached, Reloaded, Request};
use crate::daemon::{self, Mode};
use crate::record::Kind;

/// The control socket of the daemon, unless `--socket` or the file of `--config` names
/// another one.
pub const DEFAULT_SOCKET: &str = "/run/mxdp/mxdp.sock";

/// Carries out the command of the process, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os().collect())
}

fn run(words: Vec<OsString>) -> ExitCode {
    // Needed before clap has parsed: with --json, clap's own errors are JSON too.
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let parsed = help::command()
        .try_get_matches_from(args::with_add(words))
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, json),
    };
    let mut output = Output::standard(json);
    let done = dispatch(&arguments, &mut output).and_then(|exit| {
        output.flush()?;
        Ok(exit)
    });
    match done {
        Ok(exit) => exit.into(),
        Err(CliError::Hung) => Exit::Done.into(),
        Err(CliError::Failed(failed)) => {
            // Output that was already written comes first.
            let _ = output.flush();
            report(json, failed.kind, &failed.message);
            failed.exit.into()
        }
    }
}

/// Reports a usage error. Help and version go to standard output and are not errors.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !wanted {
        let text = error.render().to_string();
        report(true, "usage", text.trim_start_matches("error: ").trim_end());
    } else {
        // An error here means that the reader has gone away.
        let _ = error.print();
    }
    if wanted { Exit::Done.into() } else { Exit::Usage.into() }
}

fn dispatch(arguments: &Arguments, output: &mut Output) -> Result<Exit, CliError> {
    arguments.refuse_what_has_no_effect()?;
    let config = arguments.config.as_deref();
    let config_or_default = config.unwrap_or(Path::new(DEFAULT_CONFIG));
    match &arguments.task {
        Task::Run => start(config_or_default, Mode::Run),
        Task::Trial => start(config_or_default, Mode::Trial),
        Task::Check { online } => offline::check(config_or_default, *online, output),
        Task::Lookup { live: false, addresses } => {
            lookup::from_files(config_or_default, addresses, output)
        }
        Task::Explain(envelope) if !envelope.live => {
            explain::from_files(config_or_default, envelope, output)
        }
        Task::Token { name, rights } => generate::token(name, *rights, output),
        Task::Spf(arguments) => spf::evaluate(config, arguments, output),
        Task::Completions { shell } => generate::completions(*shell, output),
        Task::Man { reference: true, dir } => generate::reference(dir.as_deref(), output),
        Task::Man { dir, .. } => generate::man(dir.as_deref(), output),
        task => {
            let socket = socket_of(arguments)?;
            ask(task, &socket, config, output)
        }
    }
}

fn ask(
    task: &Task,
    socket: &Path,
    config: Option<&Path>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match task {
        Task::Reload { accept } => reload(socket, accept, output),
        Task::Status { watch: false, exit_code } => status::once(socket, *exit_code, output),
        Task::Status { watch: true, .. } => watch::status(socket, output),
        Task::Lookup { addresses, .. } => lookup::live(socket, addresses, output),
        Task::Explain(envelope) => explain::live(socket, envelope, output),
        Task::Approve { command } => match command {
            ApproveCommand::Add(addition) => {
                entries::add(socket, Approved, addition, false, output)
            }
            ApproveCommand::Remove(listed) => {
                entries::remove(socket, Approved, listed.prefix, output)
            }
            ApproveCommand::List => entries::list(socket, Approved, output),
        },
        Task::Block { command } => match command {
            BlockCommand::Add { addition, force } => {
                entries::add(socket, Blocked, addition, *force, output)
            }
            BlockCommand::Remove(listed) => entries::remove(socket, Blocked, listed.prefix, output),
            BlockCommand::List => entries::list(socket, Blocked, output),
        },
        Task::Temp { command } => match command {
            TempCommand::Add { address, seconds, force } => {
                entries::temporary_add(socket, *address, *seconds, *force, output)
            }
            TempCommand::Remove { address } => entries::temporary_remove(socket, *address, output),
            TempCommand::List => entries::temporary_list(socket, output),
        },
        Task::Relay { command } => match command {
            RelayCommand::List => relay::list(socket, output),
            RelayCommand::Resume { address, customer, .. } => {
                relay::resume(socket, *address, customer.clone(), output)
            }
        },
        Task::Traffic { command } => match command {
            TrafficCommand::Blocked(wanted) => {
                traffic::search(socket, Kind::Blocked, wanted, output)
            }
            TrafficCommand::Accepted(wanted) => {
                traffic::search(socket, Kind::Accepted, wanted, output)
            }
            TrafficCommand::Show { reference } => traffic::show(socket, reference, output),
        },
        Task::Top(arguments) => top::run(socket, arguments, output),
        Task::Audit { limit } => traffic::audit(socket, *limit, output),
        Task::Detach => detach(socket, config, output),
        Task::Run
        | Task::Trial
        | Task::Check { .. }
        | Task::Token { .. }
        | Task::Spf(_)
        | Task::Completions { .. }
        | Task::Man { .. } => Ok(Exit::Usage),
    }
}

/// The socket of the daemon: `--socket`, else `control.socket` of the file of `--config`.
fn socket_of(arguments: &Arguments) -> Result<PathBuf, CliError> {
    if let Some(socket) = &arguments.socket {
        return Ok(socket.clone());
    }
    match &arguments.config {
        None => Ok(PathBuf::from(DEFAULT_SOCKET)),
        Some(config) => match crate::offline::socket(config) {
            // `detach` must work even if the configuration has errors.
            Err(_) if matches!(arguments.task, Task::Detach) => {
                let socket = crate::detach::setting(config, "socket");
                Ok(socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)))
            }
            socket => socket.map_err(CliError::configuration),
        },
    }
}

/// A status that tests render.
#[cfg(test)]
pub(crate) fn busy_status() -> crate::control::protocol::Status {
    status::tests::busy(0)
}

fn start(config: &Path, mode: Mode) -> Result<Exit, CliError> {
    daemon::run(config, mode)?;
    Ok(Exit::Done)
}

fn reload(socket: &Path, accept: &[PathBuf], output: &mut Output) -> Result<Exit, CliError> {
    let accept = accept.iter().map(|path| source_name(path)).collect();
    let reload = Request::Reload { accept };
    let reloaded: Reloaded = while_waiting(|| call(socket, &reload))?;
    if output.json {
        output.object(&reloaded)?;
        return Ok(Exit::Done);
    }
    for warning in reloaded.faults.iter().chain(&reloaded.warnings) {
        output.warning(warning)?;
    }
    output.line(&format!("rule set {} is active", reloaded.generation))?;
    Ok(Exit::Done)
}

/// The daemon's name for a source: of a file, its absolute path.
fn source_name(path: &Path) -> String {
    let is_a_name =
        path.to_str().is_some_and(|name| name.starts_with("ldap:") || name.starts_with("spf:"));
    let whole = if is_a_name { None } else { std::path::absolute(path).ok() };
    whole.as_deref().unwrap_or(path).display().to_string()
}

/// Does `work`, and shows on a terminal how long it has been waiting.
fn while_waiting<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let is_terminal = io::stderr().is_terminal();
            while !done.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_secs(1));
                let seconds = start.elapsed().as_secs();
                if is_terminal && seconds > 0 && !done.load(Ordering::Acquire) {
                    eprint!("\rmxdp is loading its lists: {seconds} s ");
                }
            }
            if is_terminal && start.elapsed().as_secs() > 0 {
                eprintln!();
            }
        });
        let result = work();
        done.store(true, Ordering::Release);
        waiter.thread().unpark();
        result
    })
}

/// Removes the filter: through the daemon if one is running, so that it does not attach the
/// filter again.
fn detach(socket: &Path, config: Option<&Path>, output: &mut Output) -> Result<Exit, CliError> {
    let detached: Detached = match call(socket, &Request::Detach) {
        Ok(detached) => detached,
        Err(CallError::NoSocket(_) | CallError::NobodyListens(_)) => crate::detach::run(config)?,
        Err(error) => return Err(error.into()),
    };
    if output.json {
        output.object(&detached)?;
    } else if detached.interfaces.is_empty() {
        output.line("No interface had a filter.")?;
    } else {
        output.line(&format!("Removed the filter from {}", detached.interfaces.join(", ")))?;
    }
    Ok(Exit::Done)
}
