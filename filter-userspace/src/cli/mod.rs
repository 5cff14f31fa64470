//! The command line: arguments in, text and an exit code out.
//!
//! [`args`] says what can be asked and [`help`] how, with examples that the
//! tests parse; a verb each of [`status`], [`lookup`], [`explain`], [`entries`]
//! and [`offline`] does it; [`output`], [`table`] and [`time`] are how it looks. May
//! import everything; nothing imports it but `main`.

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

use self::args::{ApproveVerb, Arguments, BlockVerb, RelayVerb, TempVerb, TrafficVerb, Verb};
use self::error::{CliError, Exit};
use self::output::{Output, report};
use crate::config::DEFAULT_CONFIG;
use crate::control::client::{CallError, call};
use crate::control::protocol::RuntimeList::{Approved, Blocked};
use crate::control::protocol::{Detached, Reloaded, Request};
use crate::daemon::{self, Mode};
use crate::record::Kind;

/// Where the daemon listens for the command line, unless `--socket` or the file
/// of `-c` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/mxdp/mxdp.sock";

/// Does what the process was asked to do, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os().collect())
}

fn run(words: Vec<OsString>) -> ExitCode {
    // Needed before clap knows: its own errors are JSON too if asked for.
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
            // What was already said comes first.
            let _ = output.flush();
            report(json, failed.kind, &failed.message);
            failed.exit.into()
        }
    }
}

/// Help and version go to standard output and are no errors.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !wanted {
        let text = error.render().to_string();
        report(true, "usage", text.trim_start_matches("error: ").trim_end());
    } else {
        // A reader that has gone away needs no help.
        let _ = error.print();
    }
    if wanted { Exit::Done.into() } else { Exit::Usage.into() }
}

fn dispatch(arguments: &Arguments, output: &mut Output) -> Result<Exit, CliError> {
    arguments.refuse_what_has_no_effect()?;
    let config = arguments.config.as_deref();
    let config_or_default = config.unwrap_or(Path::new(DEFAULT_CONFIG));
    match &arguments.verb {
        Verb::Run => start(config_or_default, Mode::Run),
        Verb::Trial => start(config_or_default, Mode::Trial),
        Verb::Check { online } => offline::check(config_or_default, *online, output),
        Verb::Lookup { live: false, addresses } => {
            lookup::from_files(config_or_default, addresses, output)
        }
        Verb::Explain(envelope) if !envelope.live => {
            explain::from_files(config_or_default, envelope, output)
        }
        Verb::Token { name, rights } => generate::token(name, *rights, output),
        Verb::Spf(arguments) => spf::evaluate(config, arguments, output),
        Verb::Completions { shell } => generate::completions(*shell, output),
        Verb::Man { reference: true, dir } => generate::reference(dir.as_deref(), output),
        Verb::Man { dir, .. } => generate::man(dir.as_deref(), output),
        asks_the_daemon => {
            let socket = socket_of(arguments)?;
            ask(asks_the_daemon, &socket, config, output)
        }
    }
}

fn ask(
    verb: &Verb,
    socket: &Path,
    config: Option<&Path>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        Verb::Reload { accept } => reload(socket, accept, output),
        Verb::Status { watch: false, exit_code } => status::once(socket, *exit_code, output),
        Verb::Status { watch: true, .. } => watch::status(socket, output),
        Verb::Lookup { addresses, .. } => lookup::live(socket, addresses, output),
        Verb::Explain(envelope) => explain::live(socket, envelope, output),
        Verb::Approve { verb } => match verb {
            ApproveVerb::Add(addition) => entries::add(socket, Approved, addition, false, output),
            ApproveVerb::Remove(listed) => entries::remove(socket, Approved, listed.prefix, output),
            ApproveVerb::List => entries::list(socket, Approved, output),
        },
        Verb::Block { verb } => match verb {
            BlockVerb::Add { addition, force } => {
                entries::add(socket, Blocked, addition, *force, output)
            }
            BlockVerb::Remove(listed) => entries::remove(socket, Blocked, listed.prefix, output),
            BlockVerb::List => entries::list(socket, Blocked, output),
        },
        Verb::Temp { verb } => match verb {
            TempVerb::Add { address, seconds, force } => {
                entries::temporary_add(socket, *address, *seconds, *force, output)
            }
            TempVerb::Remove { address } => entries::temporary_remove(socket, *address, output),
            TempVerb::List => entries::temporary_list(socket, output),
        },
        Verb::Relay { verb } => match verb {
            RelayVerb::List => relay::list(socket, output),
            RelayVerb::Resume { address, customer, .. } => {
                relay::resume(socket, *address, customer.clone(), output)
            }
        },
        Verb::Traffic { verb } => match verb {
            TrafficVerb::Blocked(wanted) => traffic::search(socket, Kind::Blocked, wanted, output),
            TrafficVerb::Accepted(wanted) => {
                traffic::search(socket, Kind::Accepted, wanted, output)
            }
            TrafficVerb::Show { reference } => traffic::show(socket, reference, output),
        },
        Verb::Top(arguments) => top::run(socket, arguments, output),
        Verb::Audit { limit } => traffic::audit(socket, *limit, output),
        Verb::Detach => detach(socket, config, output),
        Verb::Run
        | Verb::Trial
        | Verb::Check { .. }
        | Verb::Token { .. }
        | Verb::Spf(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => Ok(Exit::Usage),
    }
}

/// Where the daemon is to be asked: `--socket`, else what the file of `-c` says.
fn socket_of(arguments: &Arguments) -> Result<PathBuf, CliError> {
    if let Some(socket) = &arguments.socket {
        return Ok(socket.clone());
    }
    match &arguments.config {
        None => Ok(PathBuf::from(DEFAULT_SOCKET)),
        Some(config) => match crate::offline::socket(config) {
            // The filter must come off whatever is wrong with the configuration.
            Err(_) if matches!(arguments.verb, Verb::Detach) => {
                let socket = crate::detach::setting(config, "socket");
                Ok(socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)))
            }
            socket => socket.map_err(CliError::configuration),
        },
    }
}

/// A status to render in tests.
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
    output.line(&format!("generation {} is in force", reloaded.generation))?;
    Ok(Exit::Done)
}

/// A source by the name that the daemon knows it by: the whole path of a file.
fn source_name(path: &Path) -> String {
    let is_no_file =
        path.to_str().is_some_and(|name| name.starts_with("ldap:") || name.starts_with("spf:"));
    let whole = if is_no_file { None } else { std::path::absolute(path).ok() };
    whole.as_deref().unwrap_or(path).display().to_string()
}

/// Says on a terminal for how long it waits already.
fn while_waiting<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let is_terminal = io::stderr().is_terminal();
            while !done.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_secs(1));
                let seconds = start.elapsed().as_secs();
                if is_terminal && seconds > 0 && !done.load(Ordering::Acquire) {
                    eprint!("\rmxdp is reading and compiling its lists: {seconds} s ");
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

/// By the daemon if there is one, so that it does not attach again.
fn detach(socket: &Path, config: Option<&Path>, output: &mut Output) -> Result<Exit, CliError> {
    let detached: Detached = match call(socket, &Request::Detach) {
        Ok(detached) => detached,
        Err(CallError::NoSocket(_) | CallError::NobodyListens(_)) => crate::detach::run(config)?,
        Err(error) => return Err(error.into()),
    };
    if output.json {
        output.object(&detached)?;
    } else if detached.interfaces.is_empty() {
        output.line("no interface was filtered")?;
    } else {
        output.line(&format!("no longer filtered: {}", detached.interfaces.join(", ")))?;
    }
    Ok(Exit::Done)
}
