//! The backend, and name servers.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::limits::raise_descriptors;
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::resources::Held;

use crate::{PORT, PROMPT, alarms, begun, deliver, host, open, source};

#[test]
fn a_backend_that_takes_no_more_defers_and_recovers() {
    let host = host("", "connect_timeout = 1\nreply_timeout = 1", "");
    // It accepts no third connection; further ones wait in the kernel's queue.
    let _sink = Sink::start(&host.namespace, PORT, &["-m", "2"]);
    let _daemon = host.start();
    let mut served = Vec::new();
    wait_for("both places", || {
        let mut session = begun(&host, source(1, served.len())).expect("a session");
        if session.told("RCPT TO:<bob@example.org>").starts_with("250 ") {
            served.push(session);
        }
        served.len() == 2
    });
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let host = &host;
                scope.spawn(move || {
                    let mut session = begun(host, source(2, number)).expect("a session");
                    let start = Instant::now();
                    (session.told("RCPT TO:<bob@example.org>"), start.elapsed())
                })
            })
            .collect();
        for one in waiting {
            let (told, taken) = one.join().expect("a client");
            assert!(told.starts_with("451 4.4.1 "), "{told}");
            assert!(taken < Duration::from_secs(2) + PROMPT, "{taken:?}");
        }
    });
    wait_for("an alarm", || alarms(&host).contains("backend main at 127.0.0.1:2600"));
    for mut session in served {
        assert!(session.told("DATA").starts_with("354 "));
        assert!(session.told("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
        session.told("QUIT");
    }
    wait_for("its recovery", || deliver(&host, source(3, 0)).is_ok());
    wait_for("the end of the alarm", || !alarms(&host).contains("backend main"));
}

#[test]
fn name_servers_that_never_answer_hold_up_no_crowd() {
    const CROWD: usize = 300;
    raise_descriptors(4000);
    let more = "[dns]\nservers = [\"127.0.0.1:53\", \"127.0.0.1:5353\"]\ntimeout_ms = 1000\n\
                attempts = 1\n[reputation]\nbudget_ms = 1500\n[spf]\nbudget_ms = 1500\n\
                [[reputation.standard.zones]]\nname = \"std.example\"\ncodes = [\"127.0.0.2\"]\n\
                [[reputation.dynamic.zones]]\nname = \"dyn.example\"\ncodes = [\"127.0.0.2\"]\n";
    let host = host("", "", more);
    host.namespace.ip("addr add 198.18.0.0/16 dev lo");
    let source = |number: usize| -> IpAddr {
        let byte = |number: usize| u8::try_from(number).expect("small");
        Ipv4Addr::new(198, 18, byte(number / 200), byte(1 + number % 200)).into()
    };
    let _sink = Sink::start(&host.namespace, PORT, &["-m", "1000"]);
    // They take questions, and that is all.
    let _mute: Vec<_> = [53, 5353]
        .iter()
        .map(|port| {
            host.namespace.run(|| {
                let address = (Ipv4Addr::LOCALHOST, *port);
                let udp = UdpSocket::bind(address).expect("a socket");
                (udp, TcpListener::bind(address).expect("a socket"))
            })
        })
        .collect();
    let limited = ["prlimit", "--nofile=2000:2000", "--"];
    let daemon = host.home.start_under(&limited, &host.namespace);
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..CROWD)
            .map(|number| {
                let (host, daemon, most) = (&host, &daemon, &most);
                scope.spawn(move || {
                    let mut client = open(host, source(number)).expect("a connection");
                    assert!(client.line().expect("a greeting").starts_with("220 "));
                    client.told("EHLO c.example");
                    client.told(&format!("MAIL FROM:<a@sender{number}.example>"));
                    let start = Instant::now();
                    let told = client.told("RCPT TO:<bob@example.org>");
                    most.fetch_max(Held::by(daemon.pid()).descriptors, Ordering::Relaxed);
                    (told, start.elapsed())
                })
            })
            .collect();
        for one in crowd {
            let (told, taken) = one.join().expect("a client");
            assert!(told.starts_with("250 "), "{told}");
            assert!(taken < Duration::from_secs(3) + PROMPT, "{taken:?}");
        }
    });
    let most = most.into_inner();
    assert!(most < 1500, "{most} descriptors");
    assert!(!host.home.log().contains("Too many open files"), "{}", host.home.log());
    wait_for("an alarm", || alarms(&host).contains("DNS list std.example"));
}
