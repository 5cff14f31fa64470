//! Nothing acknowledged is lost: whatever backend and client do, and when the
//! daemon itself is killed, a message whose client read 2xx is whole with the
//! backend, and one that a client did not end never ends there.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::netns::Namespace;
use mxdp_tests::resources::Held;
use mxdp_tests::wrong::backend::Backend;
use mxdp_tests::wrong::client::{Client, Mail, Sent, Way};
use mxdp_tests::wrong::script::{Act, Fault, Script, Step};
use mxdp_tests::wrong::{Random, without_received};
use nix::sys::signal::Signal;

use crate::plans::{MOST, Plan, Try, mxdp, plans, send};
use crate::tally::{Tally, compare, compare_records, records};

mod plans;
mod tally;

/// Clients at once, each with a backend of its own.
const WORKERS: u16 = 16;

fn backend_address(worker: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 2600 + worker).into()
}

/// As [`home`], with times of a quarter of a minute where nothing stalls on purpose, so that
/// a busy machine is not a fault.
fn patient_home() -> Home {
    let home = home();
    let text = fs::read_to_string(home.path("mxdp.toml")).expect("the configuration");
    let patient = [
        "connect_timeout = 1",
        "reply_timeout = 1",
        "data_timeout = 2",
        "command_timeout = 2",
        "final_timeout = 2",
    ];
    let text = patient.iter().fold(text, |text, key| {
        let name = key.split(' ').next().expect("a name");
        text.replace(key, &format!("{name} = 15"))
    });
    home.write("mxdp.toml", text);
    home
}

/// A daemon's folder; the domain `gone.example` has a backend that is not there.
fn home() -> Home {
    let mut rest = r#"
[log]
format = "json"
[listen]
smtp = ["127.0.0.1:25"]
hostname = "mx.example.org"
[smtp]
command_timeout = 2
data_timeout = 2
connections_per_address = 1000
[escalation]
dictionary.count = 0
abuse.count = 0
flood.count = 0
[[domain]]
names = ["gone.example"]
backend = "gone"
[[backend]]
name = "gone"
servers = ["127.0.0.1:2599"]
connect_timeout = 1
reply_timeout = 1
data_timeout = 2
final_timeout = 2
"#
    .to_owned();
    for worker in 0..WORKERS {
        rest.push_str(&format!(
            "[[domain]]\nnames = [\"w{worker}.example\"]\nbackend = \"w{worker}\"\n\
             [[backend]]\nname = \"w{worker}\"\nservers = [\"{}\"]\nconnect_timeout = 1\n\
             reply_timeout = 1\ndata_timeout = 2\nfinal_timeout = 2\n",
            backend_address(worker)
        ));
    }
    let home = Home::new();
    home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", &rest);
    home
}

fn assert_right(wrong: &[String]) {
    let shown: Vec<_> = wrong.iter().take(40).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), shown.join("\n"));
}

#[test]
fn whatever_goes_wrong_nothing_acknowledged_is_lost() {
    let namespace = Namespace::new("mxf");
    namespace.run(|| {
        let start = Instant::now();
        let backends: Vec<_> = (0..WORKERS)
            .map(|worker| Backend::start(backend_address(worker), Script::default()))
            .collect();
        let home = home();
        let daemon = home.start(&namespace);
        wait_for("the listener", || Client::connect(mxdp()).is_ok());
        let good = Plan {
            script: Script::default(),
            warm: true,
            chunks: false,
            pipelined: false,
            gone: false,
            stop: None,
        };
        // The record's file is opened for the first message, and stays open.
        let first = send(&good, 999_999, "w0.example");
        assert!(first.iter().all(|one| one.sent.is_taken()), "{first:?}");
        thread::sleep(Duration::from_secs(1));
        let before = Held::at_rest(daemon.pid());

        let queue: Mutex<VecDeque<_>> = Mutex::new(plans().into_iter().enumerate().collect());
        let sessions = queue.lock().expect("the queue").len();
        let tries = Mutex::new(Vec::new());
        let working = AtomicUsize::new(usize::from(WORKERS));
        thread::scope(|scope| {
            for (worker, backend) in backends.iter().enumerate() {
                let (queue, tries, working) = (&queue, &tries, &working);
                scope.spawn(move || {
                    let domain = format!("w{worker}.example");
                    loop {
                        let next = queue.lock().expect("the queue").pop_front();
                        let Some((number, plan)) = next else { break };
                        backend.script(plan.script);
                        let sent = send(&plan, number, &domain);
                        tries.lock().expect("the tries").extend(sent);
                    }
                    working.fetch_sub(1, Ordering::Relaxed);
                });
            }
            // Meanwhile the configuration is read again and again.
            while working.load(Ordering::Relaxed) > 0 {
                daemon.signal(Signal::SIGHUP);
                thread::sleep(Duration::from_millis(700));
            }
        });
        for backend in &backends {
            backend.script(Script::default());
        }
        let tries = tries.into_inner().expect("the tries");

        // It still serves, and holds nothing of what was.
        wait_for("all connections to be closed", || {
            Held::by(daemon.pid()).descriptors <= before.descriptors + 1
        });
        let [memory, after] =
            [before, Held::by(daemon.pid())].map(|held| held.resident >> 20);
        assert!(after < memory + 96, "{memory} MiB became {after} MiB");
        let last = send(&good, 1_000_000, "w0.example");
        assert!(last.iter().all(|one| one.sent.is_taken()), "{last:?}");
        assert!(home.json(&["status"])["interfaces"].is_array());
        let tries = [first, tries, last].concat();
        daemon.end(Signal::SIGTERM);
        let ended: Vec<_> = backends.into_iter().flat_map(Backend::finish).collect();

        // Where the link broke behind the backend's 250, or the client before it
        // heard: a client that sends again may send twice.
        let may_repeat = |one: &Try| {
            let broke = one.name.contains("step: Dot, act: ThenReset");
            let left = one.mail.stop.is_some_and(|(_, way)| way != Way::Stall);
            broke || left
        };
        let mut tally = compare(&tries, &ended, may_repeat);
        let count = compare_records(&tries, &home.log(), &mut tally.wrong);
        let Tally { messages, acknowledged, refused, unheard, duplicates, longest, wrong } = &tally;
        println!(
            "{sessions} sessions, {messages} messages: {acknowledged} acknowledged, {refused} \
             refused, {unheard} unheard, {duplicates} may come twice; {count} records; longest wait \
             {longest:.1?}; {memory} to {after} MiB; {:.1?}",
            start.elapsed()
        );
        assert_right(wrong);
    });
}

/// Sends good messages until told to stop; a connection may break.
fn stream(worker: u16, stop: &AtomicBool, next: &AtomicUsize, thinks: Duration) -> Vec<Try> {
    let mut tries = Vec::new();
    let domain = format!("w{worker}.example");
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = Client::connect(mxdp()).ok() else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        if !client.hello() {
            continue;
        }
        let mut open = Some(client);
        for _ in 0..4 {
            let Some(client) = open.take() else { break };
            let number = next.fetch_add(1, Ordering::Relaxed);
            let mut random = Random::new(u64::try_from(number).expect("a small number"));
            let id = format!("{number}");
            let mail = Mail {
                sender: format!("{id}@client.example"),
                recipients: vec![format!("{id}@{domain}")],
                message: random.message(&id, MOST, true),
                chunks: random.below(2) == 0,
                pipelined: random.below(3) == 0,
                stop: None,
            };
            let mut sent = Sent::default();
            open = client.mail(&mail, &mut sent);
            let name = format!("stream {number}");
            tries.push(Try { name, mail, sent, longest: Duration::ZERO });
            thread::sleep(thinks);
        }
        if let Some(mut client) = open {
            _ = client.command("QUIT");
        }
    }
    tries
}

#[test]
fn a_killed_daemon_loses_nothing_that_it_acknowledged() {
    let namespace = Namespace::new("mxk");
    namespace.run(|| {
        let thinks = Duration::from_millis(3);
        let script = Script { pipelining: true, thinks, ..Script::default() };
        let backends: Vec<_> =
            (0..8).map(|worker| Backend::start(backend_address(worker), script)).collect();
        let home = patient_home();
        let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
        let tries: Vec<Try> = thread::scope(|scope| {
            let (stop, next) = (&stop, &next);
            let clients: Vec<_> = (0..8)
                .map(|worker| scope.spawn(move || stream(worker, stop, next, Duration::ZERO)))
                .collect();
            for signal in [Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
                let daemon = home.start(&namespace);
                thread::sleep(Duration::from_millis(1500));
                daemon.end(signal);
            }
            stop.store(true, Ordering::Relaxed);
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        let ended: Vec<_> = backends.into_iter().flat_map(Backend::finish).collect();
        // Killed between the backend's 250 and its own.
        let tally = compare(&tries, &ended, |one| one.sent.told.is_none());
        let Tally { messages, acknowledged, refused, unheard, duplicates, wrong, .. } = &tally;
        println!(
            "{messages} messages: {acknowledged} acknowledged, {refused} refused, {unheard} \
             unheard, {duplicates} may come twice"
        );
        assert!(*acknowledged > 20, "{tally:?}");
        assert_right(wrong);
    });
}

#[test]
fn a_daemon_that_ends_lets_messages_finish_and_records_them() {
    let namespace = Namespace::new("mxt");
    namespace.run(|| {
        let script = Script { thinks: Duration::from_millis(800), ..Script::default() };
        let backend = Backend::start(backend_address(0), script);
        let home = patient_home();
        let daemon = home.start(&namespace);
        let hello = || {
            let mut client = Client::connect(mxdp()).expect("mxdp accepts");
            assert!(client.hello(), "no greeting");
            client
        };
        wait_for("the listener", || Client::connect(mxdp()).is_ok());
        let mut idle = hello();
        // One within its message, one between two chunks, one after its end.
        let mut open: Vec<_> = ["data", "chunks", "end"]
            .map(|id| {
                let mut client = hello();
                let mail = format!("MAIL FROM:<{id}@client.example>");
                assert_eq!(client.command(&mail).expect("a reply").0, 250);
                let rcpt = format!("RCPT TO:<{id}@w0.example>");
                assert_eq!(client.command(&rcpt).expect("a reply").0, 250);
                client
            })
            .into();
        assert_eq!(open[0].command("DATA").expect("a reply").0, 354);
        open[0].send(b"Subject: 1\r\n").expect("sent");
        assert_eq!(open[1].command("BDAT 6\r\nA: b").expect("a reply").0, 250);
        assert_eq!(open[2].command("DATA").expect("a reply").0, 354);
        open[2].send(b"Subject: 3\r\n\r\n3\r\n.\r\n").expect("sent");
        thread::sleep(Duration::from_millis(200));

        daemon.signal(Signal::SIGTERM);
        assert_eq!(idle.reply().expect("a reply").0, 421, "an idle session ends");
        thread::sleep(Duration::from_millis(300));
        assert!(Client::connect(mxdp()).is_err(), "nobody new is let in");
        open[0].send(b"\r\n1\r\n.\r\n").expect("sent");
        open[1].send(b"BDAT 3 LAST\r\n\r\n2").expect("sent");
        for client in &mut open {
            assert_eq!(client.reply().expect("a reply").0, 250);
            // And then it is over.
            assert_eq!(client.reply().expect("a reply").0, 421);
        }
        assert!(daemon.wait(), "it ends well");
        let ended = backend.finish();
        let mut bodies: Vec<_> =
            ended.iter().filter_map(|one| without_received(&one.message)).collect();
        bodies.sort_unstable();
        let expected: [&[u8]; 3] =
            [b"A: b\r\n\r\n2\r\n", b"Subject: 1\r\n\r\n1\r\n", b"Subject: 3\r\n\r\n3\r\n"];
        assert_eq!(bodies, expected);
        let records = records(&home.log());
        for id in ["data", "chunks", "end"] {
            let found = records.get(&format!("{id}@w0.example")).map_or(0, Vec::len);
            assert_eq!(found, 1, "the record of {id}: {}", home.log());
        }
    });
}

/// A backend that replies 250 before it has the end has not accepted the message: mxdp
/// holds most of it still. This fails where the session takes a 2xx for the reply
/// to the message while the final dot is not yet sent.
#[test]
fn a_reply_before_the_end_is_not_the_reply_to_the_message() {
    let namespace = Namespace::new("mxr");
    namespace.run(|| {
        // So that the kernel does not take the whole message in the backend's place.
        fs::write("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 16384").expect("a setting");
        let home = home();
        let mut lost = Vec::new();
        let worker = 0;
        let fault = Some(Fault { step: Step::Body, act: Act::EarlyThenStall, message: 1 });
        let script = Script { fault, ..Script::default() };
        let backend = Backend::start(backend_address(worker), script);
        let _daemon = home.start(&namespace);
        wait_for("the listener", || Client::connect(mxdp()).is_ok());
        for chunks in [false, true] {
            let mut client = Client::connect(mxdp()).expect("mxdp accepts");
            assert!(client.hello(), "no greeting");
            let id = format!("early-{chunks}");
            // More than the sockets between take, less than what mxdp may hold.
            let mut message = format!("Message-ID: <{id}@client.example>\r\n\r\n").into_bytes();
            for _ in 0..110 {
                message.extend_from_slice(&[b'x'; 998]);
                message.extend_from_slice(b"\r\n");
            }
            let mail = Mail {
                sender: format!("{id}@client.example"),
                recipients: vec![format!("{id}@w{worker}.example")],
                message,
                chunks,
                pipelined: false,
                stop: None,
            };
            let mut sent = Sent::default();
            drop(client.mail(&mail, &mut sent));
            lost.push((mail.sender, sent));
        }
        let ended = backend.finish();
        lost.retain(|(sender, sent)| {
            let taken = ended.iter().any(|one| one.taken && one.sender.contains(sender));
            sent.is_taken() && !taken
        });
        assert!(lost.is_empty(), "LOST: {lost:?}");
    });
}
