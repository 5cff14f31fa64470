//! The start and the end of the daemon: everything asynchronous is started here, and sends
//! messages to the daemon's thread.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{mpsc, watch};

use super::core::{Channels, Daemon};
use super::failures::{misconfigured, refused};
use super::files::forward_changes;
use super::followers::Followers;
use super::forward::{forward_blocks, forward_requests, forward_signals, forward_ticks};
use super::losses::{self, Loss};
use super::message::Message;
use super::mode::Mode;
use super::rings::{forward_events, write_log};
use super::{approvals, directories, trial};
use crate::config::record::RecordKeeping;
use crate::config::{Config, KernelLog};
use crate::control::protocol::Failure;
use crate::control::server::{ControlSocket, Desk};
use crate::generation::build::{self, Built};
use crate::generation::certificates;
use crate::generation::read;
use crate::io::kernel::{Capacities, Filter, Options, inherited_sockets};
use crate::io::minimum_kernel;
use crate::io::ports;
use crate::io::privilege;
use crate::io::smtp::{self, Edge, Inherited, Listeners, Recording};
use crate::policy::facts::Standing;
use crate::policy::rules::Policy;
use crate::runtime::RuntimeEntries;
use crate::store::{self, Archive, Entry, Sink};
use crate::web::{self, Publisher, Site};

/// How long the first probe of the backends may delay the listeners.
const FIRST_PROBE: Duration = Duration::from_secs(3);

/// How long sessions may take to finish their message when the daemon ends.
const LAST_MESSAGES: Duration = Duration::from_secs(10);

/// How long the last replies may take after that.
const LAST_REPLIES: Duration = Duration::from_secs(2);

/// How long the mail log may take to be written when the daemon ends.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Messages that may wait for the daemon's thread.
const INBOX: usize = 1024;

/// Temporary blocks that may wait for it.
const BLOCKS: usize = 16 * 1024;

/// Runs the daemon with the configuration at `path`, until a signal or an
/// operator ends it.
///
/// # Errors
///
/// Everything that is wrong with configuration and lists, or what the system
/// refused. A filter that was attached before goes on then.
pub fn run(path: &Path, mode: Mode) -> Result<(), Failure> {
    let path = &std::path::absolute(path)
        .context("the configuration's path")
        .map_err(|error| refused(&error))?;
    let config = match read::read_config(path) {
        Ok(config) => config,
        // With what is wrong with the files that it names.
        Err(errors) => {
            return Err(misconfigured(&read::read_strictly(path).err().unwrap_or(errors)));
        }
    };
    if mode == Mode::Trial && (config.startup.filter.persist || !is_volatile(&config)) {
        return Err(misconfigured(&[format!(
            "{}: a trial leaves nothing behind: it needs filter.persist = false and a state.folder \
             (and record.folder) under /run; use `mxdp run` for this configuration",
            path.display()
        )]));
    }
    // Before privileges, which an old kernel has other names for.
    minimum_kernel::require().map_err(|error| refused(&error))?;
    privilege::require().map_err(|error| refused(&error))?;
    let listeners: Vec<_> = config.startup.listeners().map(|(_, address)| address).collect();
    ports::remember_holders(&listeners);
    // While there is one thread: those that come inherit what this one holds.
    privilege::drop_capabilities().map_err(|error| refused(&error))?;
    crate::log::start(config.startup.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(privilege::drop_worker_capabilities)
        .build()
        .context("the asynchronous runtime")
        .map_err(|error| refused(&error))?;
    let result = runtime.block_on(serve(path, &config, mode));
    // A blocked reader must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Whether the managed entries are kept where a reboot ends them.
fn is_volatile(config: &Config) -> bool {
    config.startup.state.folder.starts_with("/run")
        && config.startup.record.folder.starts_with("/run")
}

async fn serve(path: &Path, config: &Config, mode: Mode) -> Result<(), Failure> {
    let (messages, mut inbox) = mpsc::channel(INBOX);
    // Before anything is attached, so that no signal finds the default handler.
    forward_signals(&messages).context("signals").map_err(|error| refused(&error))?;
    // Then the socket: it says whether another daemon runs.
    let socket = ControlSocket::bind(&config.startup.control.socket)
        .map_err(|error| refused(&anyhow!(error.to_string())))?;

    if mode == Mode::Trial {
        // What a trial that was killed has left.
        trial::leave_nothing(config);
    }
    let built = build::build(path, None, &[]).map_err(|errors| misconfigured(&errors))?;
    for warning in &built.warnings {
        tracing::warn!("{warning}");
    }
    let web = match &config.startup.web {
        Some(web) => Some(web::bind(&web.listen).await.map_err(|error| refused(&error))?),
        None => None,
    };
    let entries = losses::restore(&config.startup.state.folder);
    let store::Opened { sink, archive } = store::open(&record_options(config));
    let audit = {
        let sink = sink.clone();
        move |change| _ = sink.add(Entry::Change(change))
    };
    let console = built.web.clone().map(Publisher::new);
    let outside = Outside {
        messages: messages.clone(),
        sink: sink.clone(),
        archive,
        mode,
        console: console.clone(),
    };
    let (daemon, smtp) = start(path, built, entries, &outside).await?;
    daemon.announce();
    let (requests, asked) = mpsc::channel(16);
    let desk = Desk { requests, audit: Arc::new(audit) };
    if let (Some(listeners), Some(console)) = (web, &console) {
        announce_console(config, mode);
        listeners.serve(Site::new(desk.clone(), console));
    }
    let requests = tokio::spawn(forward_requests(socket, messages.clone(), desk, asked));
    tokio::spawn(forward_ticks(messages));

    let thread = thread::spawn(move || daemon.run(&mut inbox));
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    if let Some(edge) = smtp {
        end_sessions(&edge).await;
    }
    // Whoever asked for the end is told of it.
    _ = tokio::time::timeout(Duration::from_secs(2), requests).await;
    if !sink.flush(LAST_RECORDS) {
        tracing::error!("the last log entries could not be written");
    }
    drop(sink);
    if mode == Mode::Trial {
        trial::leave_nothing(config);
    }
    match ended.context("the daemon's thread").map_err(|error| refused(&error))? {
        Ok(outcome) => outcome.map_err(|error| refused(&error)),
        Err(_) => Err(refused(&anyhow!("the daemon's thread panicked; a pinned filter goes on"))),
    }
}

/// Says where the console is: in the log, and in a trial on standard output.
fn announce_console(config: &Config, mode: Mode) {
    let has_tls = config.web.as_ref().is_some_and(|web| web.certificate.is_some());
    let scheme = if has_tls { "https" } else { "http" };
    for address in config.startup.web.iter().flat_map(|web| &web.listen) {
        tracing::info!("the web console is at {scheme}://{address}/");
        if mode == Mode::Trial {
            println!("the web console of this trial is at {scheme}://{address}/");
        }
    }
}

/// What everything that is started needs to know.
struct Outside {
    messages: mpsc::Sender<Message>,
    sink: Arc<dyn Sink>,
    archive: Arc<dyn Archive>,
    mode: Mode,
    console: Option<Publisher>,
}

fn record_options(config: &Config) -> store::Options {
    let RecordKeeping { folder, age, bytes, audit_bytes, .. } = config.startup.record.clone();
    store::Options { age, bytes, audit_bytes, ..store::Options::new(folder) }
}

/// Listens, opens the filter, makes the first rule set active, and starts what
/// listens to the kernel, the files and the clients.
async fn start(
    path: &Path,
    mut built: Built,
    entries: (RuntimeEntries, Vec<Loss>),
    outside: &Outside,
) -> Result<(Daemon, Option<Arc<Edge>>), Failure> {
    let config = built.config.clone();
    let policy = built.policy.take();
    let smtp = open_smtp(&config, policy, outside).await?;
    let edge = smtp.as_ref().map(|(edge, _)| edge.clone());
    let daemon = start_filter(path, built, entries, outside, edge.clone())
        .map_err(|error| refused(&error))?;
    if let Some((edge, listeners)) = smtp {
        // The first EHLO should say what the backends offer.
        let first = async { tokio::join!(edge.probe(true), edge.look_at_zones()) };
        _ = tokio::time::timeout(FIRST_PROBE, first).await;
        listeners.serve(&edge);
        tokio::spawn(edge.clone().watch_backends());
        tokio::spawn(edge.clone().watch_memory());
        tokio::spawn(edge.watch_zones());
    }
    Ok((daemon, edge))
}

/// Binds the listeners before anything is attached, so that a port that is taken
/// changes nothing.
async fn open_smtp(
    config: &Config,
    policy: Option<Policy>,
    outside: &Outside,
) -> Result<Option<(Arc<Edge>, Listeners)>, Failure> {
    let inherited = inherited_sockets().context("LISTEN_FDS").and_then(Inherited::new);
    let inherited = inherited.map_err(|error| refused(&error))?;
    let generation = match policy {
        Some(policy) => certificates::generation(config, policy, None),
        None => Ok(None),
    };
    let generation = generation.map_err(|errors| misconfigured(&errors))?;
    let (Some(smtp), Some(generation)) = (&config.smtp, generation) else {
        inherited.finish().map_err(|error| refused(&error))?;
        return Ok(None);
    };
    let listeners = smtp::bind(&config.startup, inherited).map_err(|error| refused(&error))?;
    if outside.mode == Mode::Trial {
        for server in smtp.backends.iter().flat_map(|backend| &backend.servers) {
            let sink = trial::bind(server).await.map_err(|error| refused(&error))?;
            tokio::spawn(trial::serve(sink));
        }
    }
    let (blocks, asked) = mpsc::channel(BLOCKS);
    let messages = outside.messages.clone();
    tokio::spawn(forward_blocks(asked, messages));
    let nothing: smtp::Classify = Arc::new(|_| Standing::default());
    let sink = outside.sink.clone();
    let recording = Recording {
        sink: Arc::new(move |record| sink.add(Entry::Record(Box::new(record)))),
        subject: config.startup.record.subject,
    };
    Ok(Some((Edge::new(generation, nothing, blocks, recording), listeners)))
}

fn start_filter(
    path: &Path,
    built: Built,
    entries: (RuntimeEntries, Vec<Loss>),
    outside: &Outside,
    edge: Option<Arc<Edge>>,
) -> Result<Daemon> {
    let messages = outside.messages.clone();
    let config = &built.config;
    let mut filter = Filter::open(&options(config))?;
    let events = filter.take_events()?;
    let has_log = config.startup.filter.kernel_log != KernelLog::Off;
    let log = has_log.then(|| filter.take_log()).transpose()?;
    let (watched, new_files) = mpsc::unbounded_channel();
    let (approvals, wanted) = watch::channel(approvals::Wanted::of(config));
    tokio::spawn(approvals::follow(wanted, messages.clone()));
    let (directories, wanted) = watch::channel(directories::Wanted::of(config));
    tokio::spawn(directories::follow(wanted, messages.clone()));
    let channels = Channels {
        messages: messages.clone(),
        followers: Followers::new(watched, approvals, directories),
        edge,
        sink: outside.sink.clone(),
        archive: outside.archive.clone(),
        console: outside.console.clone(),
    };
    let daemon = Daemon::start(path.to_owned(), built, entries, filter, channels)?;

    tokio::spawn(forward_changes(new_files, messages.clone()));
    if let Some(log) = log {
        let messages = messages.clone();
        thread::spawn(move || write_log(log, &messages));
    }
    thread::spawn(move || forward_events(events, &messages));
    Ok(daemon)
}

/// Lets sessions finish the message that is under way.
async fn end_sessions(edge: &Edge) {
    edge.end();
    let start = Instant::now();
    while edge.open() > 0 && start.elapsed() < LAST_MESSAGES {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if edge.open() > 0 {
        let sessions = edge.open();
        tracing::warn!(sessions, "closed sessions in mid-message at shutdown; clients will retry");
        edge.give_up();
    }
    while edge.open() > 0 && start.elapsed() < LAST_MESSAGES + LAST_REPLIES {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn options(config: &Config) -> Options {
    Options {
        capacities: Capacities {
            temporary: config.startup.temporary.capacity,
            syn_rate: config.startup.syn_rate.capacity,
        },
        kernel_log: config.startup.filter.kernel_log,
        pin: config.startup.filter.persist.then(|| config.startup.filter.pin.clone()),
    }
}
