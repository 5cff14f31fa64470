//! Clients that are slow, and too many of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::limits::raise_descriptors;
use mxdp_tests::netns::connect;
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::resources::Held;

use crate::{ADMITTED, PORT, PROMPT, begun, deliver, host, mxdp, smtp, source};

#[test]
fn thousands_of_slow_clients_are_closed_and_hold_nobody_up() {
    const SLOW: usize = 5000;
    raise_descriptors(SLOW as u64 + 1000);
    let host = host("command_timeout = 15\nconnections_per_address = 100", "", "");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let daemon = host.start();
    deliver(&host, source(1, 0)).expect("delivered");
    let before = Held::by(daemon.pid()).resident;
    // Every other client is silent; the rest send a byte of a command every two seconds.
    let clients: Vec<TcpStream> = host.namespace.run(|| {
        let slow = |number: usize| {
            let client = connect(source(2, number / 50), mxdp(), ADMITTED).expect("a connection");
            client.set_nonblocking(true).expect("an option");
            TcpStream::from(client)
        };
        (0..SLOW).map(slow).collect()
    });
    wait_for("all of them", || smtp(&host, "open") >= SLOW as u64 * 9 / 10);
    let stop = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.0.load(Ordering::Relaxed) {
                for mut client in clients.iter().skip(1).step_by(2) {
                    _ = client.write(b"E");
                }
                thread::sleep(Duration::from_secs(2));
            }
        });
        let taken: Vec<_> =
            (0..10).map(|number| deliver(&host, source(1, number)).expect("delivered")).collect();
        let grown = Held::by(daemon.pid()).resident.saturating_sub(before) >> 20;
        assert!(grown < 100, "{grown} MiB for {SLOW} connections");
        let start = Instant::now();
        while smtp(&host, "open") > 0 {
            assert!(start.elapsed() < Duration::from_secs(45), "{} are left", smtp(&host, "open"));
            thread::sleep(Duration::from_millis(200));
        }
        taken
    });
    assert!(taken.iter().max() < Some(&PROMPT), "{taken:?}");
    // Those that were quiet can read why.
    let mut told = 0;
    for mut client in clients.iter().step_by(2) {
        let mut text = String::new();
        _ = client.read_to_string(&mut text);
        told += usize::from(text.contains("\r\n421 4.4.2 "));
    }
    assert_eq!(told, SLOW / 2);
    assert_eq!(smtp(&host, "accepted"), 11);
}

/// Ends what runs beside a test when it goes, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn floods_of_connections_stay_within_their_limits() {
    const ALL: usize = 200;
    const EACH: usize = 20;
    raise_descriptors(8000);
    let host = host(&format!("connections = {ALL}\nconnections_per_address = {EACH}"), "", "");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let _daemon = host.start();
    // One address that holds every connection, also refused ones.
    let (stop, tried) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let stop = Stop(&stop);
        let flood = scope.spawn(|| {
            host.namespace.run(|| {
                let mut held = Vec::new();
                while !stop.0.load(Ordering::Relaxed) && held.len() < 4000 {
                    held.extend(connect(source(3, 0), mxdp(), ADMITTED));
                    tried.fetch_add(1, Ordering::Relaxed);
                }
                held
            })
        });
        wait_for("more than there are places", || tried.load(Ordering::Relaxed) > 2 * ALL);
        for number in 0..30 {
            let taken = deliver(&host, source(4, number)).expect("others are served");
            assert!(taken < PROMPT, "{taken:?}");
        }
        drop(stop);
        let held = flood.join().expect("the flood");
        assert!(held.len() > 2 * ALL, "{}", held.len());
        let (mut greeted, mut refused) = (0, 0);
        for mut client in held {
            let mut reply = [0; 9];
            _ = client.set_read_timeout(Some(Duration::from_secs(5)));
            match client.read_exact(&mut reply) {
                Ok(()) if reply.starts_with(b"220 ") => greeted += 1,
                Ok(()) if &reply == b"421 4.7.0" => refused += 1,
                other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&reply)),
            }
        }
        assert_eq!(greeted, EACH);
        assert!(refused > 0);
    });
    wait_for("their end", || smtp(&host, "open") == 0);
    // Many addresses, none of which has too many.
    let mut held = Vec::new();
    for number in 0..ALL {
        let client = begun(&host, source(5, number / EACH));
        held.push(client.unwrap_or_else(|told| panic!("{number}: {told}")));
    }
    for number in 0..100 {
        let told = begun(&host, source(6, number)).err().expect("no more places");
        assert!(told.starts_with("421 4.3.2 "), "{number}: {told}");
    }
    // A connection that ends frees a slot, and served clients stay served.
    held.pop();
    wait_for("a place", || deliver(&host, source(6, 0)).is_ok());
    assert!(held[0].told("RCPT TO:<bob@example.org>").starts_with("250 "));
    drop(held);
    wait_for("their end", || smtp(&host, "open") == 0);
    deliver(&host, source(6, 1)).expect("delivered");
}
