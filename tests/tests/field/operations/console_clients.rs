//! Clients of the console and of the control socket that hold what others need.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use mxdp::web::sha256_hex;
use mxdp_tests::daemon::Home;
use mxdp_tests::http::Http;
use mxdp_tests::netns::{Namespace, Pair};
use mxdp_tests::pace::lasting;

/// How soon a console answers, however many do not read: far below every time-out that
/// would set it free by itself.
const SOON: Duration = Duration::from_secs(8);

/// One for those who hold connections, and one for operators, whose rate is its own.
fn tokens() -> String {
    let token = |name: &str| {
        let sha256 = sha256_hex(name);
        format!("[[web.tokens]]\nname = \"{name}\"\nrights = \"write\"\nsha256 = \"{sha256}\"\n")
    };
    ["holder", "ops"].map(token).concat()
}

/// An edge host whose console is on loopback and outside.
fn edge() -> (Pair, Home) {
    let (pair, home) = (Pair::new(), Home::new());
    let web = format!(
        "[web]\nlisten = [\"127.0.0.1:8025\", \"10.77.0.1:8025\"]\nplain = true\n{}",
        tokens()
    );
    home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &web);
    (pair, home)
}

/// What a client sends that then holds its connection.
const WAYS: [(&str, &[u8]); 6] = [
    (
        "never reads",
        b"GET /style.css HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer holder\r\n\r\n",
    ),
    ("never reads, and has no token", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("sends half a header", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "),
    ("sends a header without an end", &[b'x'; 16 * 1024]),
    (
        "never sends its body",
        b"POST /act HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\
          Authorization: Bearer holder\r\n\r\n",
    ),
    ("keeps an idle connection", b""),
];

/// Opens connections that hold their places, and keeps them.
fn hold(namespace: &Namespace, target: &str, count: usize, bytes: &'static [u8]) -> Vec<TcpStream> {
    let target: SocketAddr = target.parse().expect("an address and port");
    namespace.run(|| {
        let connect = |_| {
            let stream = TcpStream::connect_timeout(&target, Duration::from_secs(10)).ok()?;
            stream.set_nonblocking(true).ok()?;
            // As often as the kernel takes it: the answers fill all buffers.
            let times = if bytes.ends_with(b"\r\n\r\n") { 400 } else { 1 };
            for _ in 0..times {
                if (&stream).write_all(bytes).is_err() {
                    break;
                }
            }
            Some(stream)
        };
        (0..count).filter_map(connect).collect()
    })
}

/// Asks for everything that an operator needs, each in time.
fn is_answered(namespace: &Namespace, base: &str, way: &str) {
    for path in ["/healthz", "/readyz", "/metrics", "/", "/api/v1/status"] {
        let start = Instant::now();
        let http = Http::new(namespace, base, None);
        let http =
            if path.ends_with("z") { http } else { http.with("authorization", "Bearer ops") };
        let answer = http.get(path);
        assert_eq!(answer.status, 200, "{way}, {base}{path}: {}", answer.body);
        assert!(start.elapsed() < lasting(SOON), "{way}, {base}{path}: {:?}", start.elapsed());
    }
}

/// Kind: clients that hold a slot without using it keep everybody else out. Strangers that never
/// read, write slowly or send nothing stop neither this host, nor another client, nor
/// themselves.
#[test]
fn connections_that_stand_still_keep_nobody_from_the_console() {
    let (pair, home) = edge();
    let _daemon = home.start(&pair.edge);
    pair.add_client_address("10.77.0.3");
    for (way, bytes) in WAYS {
        let held = hold(&pair.client, "10.77.0.1:8025", 260, bytes);
        assert!(held.len() > 150, "{way}: {}", held.len());
        is_answered(&pair.edge, "http://127.0.0.1:8025", way);
        is_answered(&pair.edge, "http://10.77.0.1:8025", way);
        drop(held);
    }
}

/// Kind: the same, by programs of this host itself.
#[test]
fn connections_of_this_host_keep_nobody_from_the_console() {
    let (pair, home) = edge();
    let _daemon = home.start(&pair.edge);
    for (way, bytes) in WAYS {
        let held = hold(&pair.edge, "127.0.0.1:8025", 260, bytes);
        is_answered(&pair.edge, "http://127.0.0.1:8025", way);
        is_answered(&pair.edge, "http://10.77.0.1:8025", way);
        drop(held);
    }
}

/// Kind: a time-out that some byte resets for ever, or that no state has. Each way of
/// holding a connection ends by itself.
#[test]
fn every_connection_that_stands_still_is_ended() {
    let (pair, home) = edge();
    let _daemon = home.start(&pair.edge);
    let start = Instant::now();
    let held: Vec<_> = WAYS
        .iter()
        .flat_map(|(way, bytes)| {
            let streams = hold(&pair.client, "10.77.0.1:8025", 2, bytes);
            streams.into_iter().map(move |stream| (*way, stream))
        })
        .collect();
    for (way, mut stream) in held {
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(lasting(Duration::from_secs(60)))).expect("a socket");
        if way.starts_with("never reads") {
            // It must not read before the server has given up.
            thread::sleep(lasting(Duration::from_secs(35)).saturating_sub(start.elapsed()));
        }
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let is_timeout = ended.as_ref().is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!is_timeout, "{way}: {ended:?}");
    }
}

/// Kind: the same at the control socket, where the command line would wait.
#[test]
fn clients_of_the_control_socket_that_stand_still_do_not_hold_up_the_command_line() {
    let (pair, home) = edge();
    let _daemon = home.start(&pair.edge);
    let path = home.path("mxdp.sock");
    let mut held = Vec::new();
    for number in 0..100 {
        let Ok(stream) = UnixStream::connect(&path) else { break };
        stream.set_nonblocking(true).expect("a socket");
        if number % 2 == 0 {
            // Asks, and never reads the answers.
            for _ in 0..200 {
                if (&stream).write_all(b"{\"request\":\"status\"}\n").is_err() {
                    break;
                }
            }
        }
        held.push(stream);
    }
    for _ in 0..3 {
        let start = Instant::now();
        assert!(home.json(&["status"])["pid"].is_u64());
        assert!(start.elapsed() < lasting(SOON), "{:?}", start.elapsed());
    }
    drop(held);
}
