//! Real sockets, in a folder of their own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::thread;

use super::*;
use crate::control::client::{CallError, call};
use crate::control::protocol::{Detached, RuntimeList};

/// A daemon that answers every request with its name, but detaching.
struct Daemon {
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

const QUICK: Limits = Limits { connections: 64, patience: Duration::from_millis(300) };

impl Daemon {
    fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("mxdp.sock")).unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (sender, mut incoming) = mpsc::channel(16);
                let answers = async {
                    loop {
                        tokio::select! {
                            Some(incoming) = incoming.recv() => answer(incoming),
                            _ = &mut stopped => break,
                        }
                    }
                    drop(incoming);
                };
                let (served, ()) = tokio::join!(serve(&socket, desk(sender), limits), answers);
                served.unwrap();
            });
        });
        Self { folder, stop: Some(stop), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("mxdp.sock")
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.socket()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn desk(requests: mpsc::Sender<Incoming>) -> Desk {
    Desk { requests, audit: Arc::new(|_| ()) }
}

fn answer(incoming: Incoming) {
    match &incoming.request {
        Request::Detach => drop(incoming),
        Request::Reload { .. } => incoming.answer::<()>(Err(Failure {
            kind: FailureKind::Configuration,
            message: "line 1\nline 2".to_owned(),
        })),
        request => {
            let text = format!("{request:?}");
            let uid = nix::unistd::getuid().as_raw();
            let pid = Some(std::process::id().cast_signed());
            assert_eq!(incoming.peer, Peer::Socket { uid, pid });
            incoming.answer(Ok(text));
        }
    }
}

/// Sends `text` and returns the next line.
fn say(client: &mut BufReader<Client>, text: &[u8]) -> String {
    client.get_mut().write_all(text).unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

#[test]
fn requests_are_answered_in_sequence() {
    let daemon = Daemon::start(QUICK);
    let mut client = BufReader::new(daemon.connect());
    let status = b"{\"request\":\"status\"}\n";
    assert_eq!(say(&mut client, status), "{\"ok\":\"Status\"}\n");
    client.get_mut().write_all(b"{\"request\":\"temporary_list\"}\n").unwrap();
    assert_eq!(say(&mut client, status), "{\"ok\":\"TemporaryList\"}\n");
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"ok\":\"Status\"}\n");

    // The last line may end with the connection.
    client.get_mut().write_all(status.trim_ascii_end()).unwrap();
    client.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    line.clear();
    client.read_to_string(&mut line).unwrap();
    assert_eq!(line, "{\"ok\":\"Status\"}\n");
}

#[test]
fn garbage_is_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start(QUICK);
    let mut client = BufReader::new(daemon.connect());
    for garbage in [
        &b"\n"[..],
        b"EHLO example.org\n",
        b"{\"request\":\"reboot\"}\n",
        b"{\"request\":\"lookup\"}\n",
        b"{\"request\":\"temporary_add\",\"address\":\"x\",\"seconds\":1}\n",
        b"{\"request\":\"temporary_add\",\"address\":\"192.0.2.1\",\"seconds\":1,\"more\":1}\n",
        b"\xff\xfe\x00\n",
        b"{\"request\":\"status\"} {}\n",
    ] {
        let reply = say(&mut client, garbage);
        assert!(
            reply.starts_with("{\"error\":{\"kind\":\"bad_request\",\"message\":\"no request of"),
            "{garbage:?}: {reply}"
        );
    }
    assert_eq!(say(&mut client, b"{\"request\":\"status\"}\n"), "{\"ok\":\"Status\"}\n");
}

#[test]
fn a_line_of_the_limit_is_read_and_a_longer_one_ends_the_connection() {
    let daemon = Daemon::start(Limits::default());
    let limit = usize::try_from(REQUEST_LIMIT).unwrap();
    let mut longest = b"{\"request\":\"status\"}".to_vec();
    longest.resize(limit, b' ');
    longest.push(b'\n');
    let mut client = BufReader::new(daemon.connect());
    assert_eq!(say(&mut client, &longest), "{\"ok\":\"Status\"}\n");

    let reply = say(&mut client, &vec![b' '; limit + 1]);
    assert!(reply.contains("a request has at most 65536 bytes"), "{reply}");
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0, "closed");
    call::<String>(&daemon.socket(), &Request::Status).unwrap();
}

#[test]
fn slow_clients_are_let_go() {
    let daemon = Daemon::start(QUICK);
    let mut silent = daemon.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed without a word");

    let mut slow = BufReader::new(daemon.connect());
    let reply = say(&mut slow, b"{\"request\":");
    assert!(reply.contains("no whole request came within 0.3 s"), "{reply}");
    assert_eq!(slow.read(&mut [0]).unwrap(), 0);
}

#[test]
fn more_clients_than_slots_wait_their_turn() {
    let daemon = Daemon::start(QUICK);
    let idle: Vec<_> = (0..QUICK.connections).map(|_| daemon.connect()).collect();
    // Answered as soon as the idle ones have run out of patience.
    assert_eq!(call::<String>(&daemon.socket(), &Request::Status).unwrap(), "Status");
    drop(idle);

    let socket = daemon.socket();
    thread::scope(|scope| {
        for _ in 0..QUICK.connections + 40 {
            scope.spawn(|| call::<String>(&socket, &Request::Status).unwrap());
        }
    });
}

/// Connections that never ask, and ones that never read their answer, keep no place.
#[test]
fn clients_that_stand_still_give_way() {
    let limits = Limits { connections: 64, patience: Duration::from_secs(60) };
    let daemon = Daemon::start(limits);
    // Each turn of as many as one process may have ends after a tenth of the patience.
    let silent: Vec<_> = (0..limits.connections).map(|_| daemon.connect()).collect();
    let start = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(call::<String>(&daemon.socket(), &Request::Status).unwrap(), "Status");
    }
    // A tenth of the patience is enough for as many as stand still.
    assert!(start.elapsed() < limits.patience / 2, "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn failures_reach_the_client_with_their_kind() {
    let daemon = Daemon::start(QUICK);
    let failure = |request| match call::<Detached>(&daemon.socket(), &request) {
        Err(CallError::Refused(failure)) => failure,
        other => panic!("{other:?}"),
    };
    let reload = failure(Request::Reload { accept: Vec::new() });
    assert_eq!(reload.kind, FailureKind::Configuration);
    assert_eq!(reload.message, "line 1\nline 2");
    // A daemon that ends drops what it was asked.
    assert!(failure(Request::Detach).message.contains("ending"));
    let long = Request::RuntimeAdd {
        list: RuntimeList::Blocked,
        prefix: "192.0.2.0/24".parse().unwrap(),
        note: Some("x".repeat(1 << 20)),
        expires_in_s: None,
        permanent: false,
        force: false,
    };
    assert!(failure(long).message.contains("a request has at most"));
}

#[test]
fn a_client_says_what_is_wrong_with_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mxdp.sock");
    let error = call::<String>(&path, &Request::Status).unwrap_err();
    let expected = format!("mxdp is not running (no socket at {}). Start it", path.display());
    assert!(error.to_string().starts_with(&expected), "{error}");

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = call::<String>(&path, &Request::Status).unwrap_err();
    assert!(matches!(error, CallError::NobodyListens(_)), "{error}");

    let daemon = Daemon::start(QUICK);
    let error = call::<Detached>(&daemon.socket(), &Request::Status).unwrap_err();
    assert!(error.to_string().contains("another version"), "{error}");
}

#[test]
fn the_last_answer_reaches_its_client() {
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mxdp.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let _idle = Client::connect(&path).unwrap();
        let client = thread::spawn(move || call::<String>(&path, &Request::Detach));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let (sender, mut incoming) = mpsc::channel::<Incoming>(16);
            let answers = async {
                incoming.recv().await.unwrap().answer(Ok("detached"));
                drop(incoming);
            };
            let (served, ()) =
                tokio::join!(serve(&socket, desk(sender), Limits::default()), answers);
            served.unwrap();
        });
        assert_eq!(client.join().unwrap().unwrap(), "detached");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_socket_is_private_and_its_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/mxdp/mxdp.sock");
    let socket = ControlSocket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_live_socket_is_an_error_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mxdp.sock");
    let first = ControlSocket::bind(&path).unwrap();
    let error = ControlSocket::bind(&path).unwrap_err().to_string();
    let expected = format!("mxdp is already running (pid {})", std::process::id());
    assert!(error.starts_with(&expected), "{error}");

    // As `kill -9` leaves it: the file without the listener.
    let left = folder.path().join("left");
    fs::hard_link(&path, &left).unwrap();
    drop(first);
    fs::rename(&left, &path).unwrap();
    let second = ControlSocket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    drop(second);
    assert!(!path.exists());
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mxdp.sock");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(ControlSocket::bind(&path), Err(BindError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    let socket = ControlSocket::bind(&path).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(socket);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn of_daemons_that_start_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mxdp.sock");
    let sockets: Vec<_> = thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| ControlSocket::bind(&path))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(sockets.iter().filter(|socket| socket.is_ok()).count(), 1);
    for error in sockets.iter().filter_map(|socket| socket.as_ref().err()) {
        assert!(matches!(error, BindError::Running { .. }), "{error}");
    }
}

#[test]
fn a_path_that_no_socket_can_have_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = ControlSocket::bind(&folder.path().join("x".repeat(120))).unwrap_err();
    assert!(error.to_string().contains("binding"), "{error}");
}

#[test]
fn the_log_gets_one_bounded_line_a_request() {
    let request = Request::RuntimeAdd {
        list: RuntimeList::Blocked,
        prefix: "192.0.2.0/24".parse().unwrap(),
        note: Some("x\n2026-01-01 INFO forged \u{1b}[2J".repeat(1000)),
        expires_in_s: None,
        permanent: false,
        force: false,
    };
    let what = request.change().unwrap();
    let line = line(&what);
    assert!(line.chars().all(|c| !c.is_control()), "{line}");
    assert_eq!(line.chars().count(), 501);
    assert!(what.starts_with("block 192.0.2.0/24 (x\n"));
}

#[test]
fn a_lock_that_anybody_may_take_keeps_nobody_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let handle = fs::File::open(folder.path()).unwrap();
    let _held = nix::fcntl::Flock::lock(handle, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let _socket = ControlSocket::bind(&folder.path().join("mxdp.sock")).unwrap();
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mxdp.sock"], "nothing of the lock stays");
}

#[tokio::test]
async fn a_change_is_recorded_though_whoever_asked_for_it_has_gone() {
    let (requests, mut incoming) = mpsc::channel(1);
    let (tell, mut told) = mpsc::unbounded_channel();
    let desk = Desk { requests, audit: Arc::new(move |change: Change| _ = tell.send(change)) };
    let asking = tokio::spawn(async move {
        desk.ask(Request::Reload { accept: Vec::new() }, Peer::Socket { uid: 0, pid: None }).await;
    });
    let asked = incoming.recv().await.unwrap();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    asked.answer(Ok("done"));
    let change = told.recv().await.unwrap();
    assert_eq!((change.what.as_str(), change.outcome.as_str()), ("reload", "done"));
}
