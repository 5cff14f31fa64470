//! Every dialogue of `tests/transcripts`, with a real daemon and real backends.
//!
//! Each configuration has a network namespace, a daemon and backends of its own;
//! its transcripts follow each other in it. The comments at its top say which
//! backends it has: `# smtp-sink 127.0.0.1:2601 OPTIONS`, or `# mxdp trial`; and which
//! name servers, each on a port of 127.0.0.1: `# rbldnsd PORT ZONE:TYPE:FILE…`,
//! `# nsd PORT FILE`, and `# dns PORT END=PORT…` before them, with `# dns-fault NAME
//! drop` (or `servfail`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use mxdp::smtp::refusal::Reason;
use mxdp_tests::daemon::{Daemon, Home, wait_for};
use mxdp_tests::dialogue::{self, Dialogue};
use mxdp_tests::files::files_below;
use mxdp_tests::netns::{Namespace, unique};
use mxdp_tests::peers::dns::{Nsd, Rbldnsd, Zone};
use mxdp_tests::peers::dns_relay::{DnsRelay, Fault};
use mxdp_tests::peers::{self, Process};
use mxdp_tests::transcript::{self, Step, Transcript, matches, words};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The addresses of the namespace: the server's, and all that clients have.
const ADDRESSES: [&str; 6] = [
    "192.0.2.25/24",
    "198.51.100.1/24",
    "203.0.113.1/24",
    "2001:db8::25/128",
    "2001:db8:1::1/128",
    "2001:db8:1::2/128",
];

/// Configurations that are tried at once; most of their time is waiting.
const AT_ONCE: usize = 4;

/// How long a record may take to be written.
const RECORD: Duration = Duration::from_secs(5);

/// What sessions have to end, when their clients have gone.
const BETWEEN: Duration = Duration::from_millis(50);

/// A configuration in its namespace.
struct World {
    home: Home,
    _sinks: Vec<Process>,
    _names: Names,
    namespace: Namespace,
}

/// The name servers of a world.
#[derive(Default)]
struct Names {
    lists: Vec<Rbldnsd>,
    servers: Vec<Nsd>,
    relays: Vec<DnsRelay>,
}

impl Names {
    fn start(&mut self, namespace: &Namespace, home: &Home, line: &str) {
        let read = |file: &str| fs::read_to_string(home.path(file)).expect("a zone's data");
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut port = || words.next().and_then(|word| word.parse().ok()).expect("a port");
        match kind {
            "rbldnsd" => {
                let port = port();
                let zones: Vec<_> = words
                    .map(|word| {
                        let mut parts = word.split(':');
                        let mut part = || parts.next().expect("ZONE:TYPE:FILE");
                        (part(), part(), read(part()))
                    })
                    .collect();
                let zones: Vec<_> =
                    zones.iter().map(|(name, kind, data)| Zone { name, kind, data }).collect();
                self.lists.push(Rbldnsd::start(namespace, port, &zones));
            }
            "nsd" => {
                let port = port();
                let zone = read(words.next().expect("a file"));
                self.servers.push(Nsd::start(namespace, port, &zone));
            }
            "dns" => {
                let port = port();
                let upstreams: Vec<_> = words
                    .map(|word| word.split_once('=').expect("END=PORT"))
                    .map(|(end, port)| (end, port.parse().expect("a port")))
                    .collect();
                self.relays.push(DnsRelay::start(namespace, port, &upstreams));
            }
            "dns-fault" => {
                let (name, fault) = (words.next().expect("a name"), words.next());
                let fault = match fault {
                    Some("drop") => Fault::Drop,
                    Some("servfail") => Fault::Code(2),
                    other => panic!("no fault: {other:?}"),
                };
                self.relays.last().expect("dns before it").fault(name, false, None, fault);
            }
            _ => {}
        }
    }
}

impl World {
    fn new(configuration: &str) -> (Self, &'static str) {
        let namespace = Namespace::new("mxt");
        for address in ADDRESSES {
            namespace.ip(&format!("addr add {address} dev lo"));
        }
        // Every address of this network is a client's.
        namespace.ip("-6 route add local 2001:db8:2::/48 dev lo");
        namespace.run(|| fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1")).expect("root");
        let home = Home::new();
        copy(&transcript::folder().join("files"), &home.path(""));
        let fingerprint = certificates(&home);
        let text = fs::read_to_string(transcript::folder().join(format!("{configuration}.toml")))
            .expect("the configuration");
        let text = text.replace("FINGERPRINT", &fingerprint);
        let comments = || text.lines().filter_map(|line| line.strip_prefix("# "));
        let sinks = comments().filter_map(|line| line.strip_prefix("smtp-sink "));
        let sinks = sinks.map(|options| smtp_sink(&namespace, options)).collect();
        let mut names = Names::default();
        comments().for_each(|line| names.start(&namespace, &home, line));
        let is_trial = comments().any(|line| line == "mxdp trial");
        let filter = "interfaces = [\"lo\"]\nmode = \"generic\"\nports = [25, 465]";
        if is_trial {
            home.configure(&format!("{filter}\npersist = false"), &text);
            // A trial keeps nothing that a reboot would not end.
            let written = fs::read_to_string(home.path("mxdp.toml")).expect("written");
            let state = format!("/run/{}", unique("mxdp-trial"));
            let own = home.path("state").display().to_string();
            home.write("mxdp.toml", written.replace(&own, &state));
        } else {
            home.configure(filter, &text);
        }
        (
            Self { home, _sinks: sinks, _names: names, namespace },
            if is_trial { "trial" } else { "run" },
        )
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).expect("below"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(file, target).expect("copied");
    }
}

/// An authority, the server's certificate by it, a client's, and a stranger's. Gives
/// the fingerprint of the client's.
fn certificates(home: &Home) -> String {
    let named = |name: &str| {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().expect("a key"))
    };
    let (mut authority, key) = named("authority.example");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issued = authority.self_signed(&key).expect("an authority");
    home.write("authority.pem", issued.pem());
    let issuer = Issuer::new(authority, key);
    let mut fingerprint = String::new();
    for (file, name) in [("server", "mx.example.org"), ("valid", "client.example")] {
        let (params, key) = named(name);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate.der());
        fingerprint = digest.as_ref().iter().map(|byte| format!("{byte:02X}:")).collect();
        home.write(&format!("{file}.pem"), certificate.pem());
        home.write(&format!("{file}.key"), key.serialize_pem());
    }
    let (params, key) = named("client.example");
    home.write("stranger.pem", params.self_signed(&key).expect("a certificate").pem());
    home.write("stranger.key", key.serialize_pem());
    fingerprint.trim_end_matches(':').to_owned()
}

/// smtp-sink at the address that its options begin with.
fn smtp_sink(namespace: &Namespace, options: &str) -> Process {
    let mut options = words(options);
    let address = options.remove(0);
    let mut command = namespace.command(peers::find("smtp-sink"));
    command.envs(peers::environment()).args(["-u", "nobody"]);
    command.args(options.iter().map(|option| option.replace('"', "")));
    command.args([address.as_str(), "64"]).stdout(Stdio::null());
    let process = Process(command.spawn().expect("smtp-sink starts"));
    let address: SocketAddr = address.parse().expect("an address and port");
    wait_for("smtp-sink", || namespace.run(|| TcpStream::connect(address).is_ok()));
    process
}

/// A transcript that is being followed.
struct Run<'a> {
    world: &'a World,
    daemon: &'a Daemon<'a>,
    transcript: &'a Transcript,
    connections: Vec<Dialogue>,
    current: usize,
    /// The length of the log before.
    log: usize,
    /// What was said, for people.
    said: String,
    /// The references that the server gave.
    references: Vec<String>,
}

impl Run<'_> {
    fn follow(&mut self) -> Result<(), String> {
        let transcript = self.transcript;
        let mut source = Some(transcript.client);
        for (line, step) in &transcript.steps {
            if let (Step::Dropped, Some(client)) = (step, source) {
                source = None;
                if !dialogue::is_dropped(&self.world.namespace, client, transcript.server) {
                    return Err(self.differs(*line, "-- dropped --", "an answer"));
                }
                continue;
            }
            let opens = !matches!(step, Step::Run(_) | Step::Record(_) | Step::Wait(_));
            if opens && let Some(client) = source.take() {
                let opened = Dialogue::open(&self.world.namespace, client, transcript.server);
                let opened = opened.map_err(|error| self.differs(*line, "a connection", &error))?;
                self.connections.push(opened);
                self.current = self.connections.len() - 1;
            }
            if let Step::Connect(from) = step {
                source = Some(from.unwrap_or(transcript.client));
                _ = writeln!(self.said, "    -- another connection --");
                continue;
            }
            self.step(*line, step)?;
        }
        // What the client was told is found in the log.
        for reference in std::mem::take(&mut self.references) {
            let word = format!("reference=\"{reference}\"");
            self.record(0, &[word])?;
        }
        Ok(())
    }

    fn step(&mut self, line: usize, step: &Step) -> Result<(), String> {
        let connection = self.connections.get_mut(self.current);
        let result = match (step, connection) {
            (Step::Record(words), _) => return self.record(line, words),
            (Step::Run(arguments), _) => {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                let output = self.world.home.run(&arguments);
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                if output.status.success() {
                    Ok(format!("$ mxdp {arguments:?}"))
                } else {
                    Err(text)
                }
            }
            (Step::Stop, _) => {
                self.daemon.signal(Signal::SIGTERM);
                Ok("$ stop".to_owned())
            }
            (Step::Wait(time), _) => {
                thread::sleep(*time);
                Ok(format!("-- wait {time:?} --"))
            }
            (Step::Switch(number), _) => {
                self.current = *number;
                Ok(format!("-- connection {} --", number + 1))
            }
            (Step::Send(bytes), Some(connection)) => {
                connection.send(bytes);
                let start = &bytes[..bytes.len().min(400)];
                Ok(format!("C: {}", String::from_utf8_lossy(start).trim_end().escape_debug()))
            }
            (Step::Expect(expected), Some(connection)) => {
                expect(connection, expected).inspect(|said| {
                    let reference = said.rsplit_once("; reference ");
                    self.references.extend(reference.map(|(_, reference)| reference.to_owned()));
                })
            }
            (Step::Handshake, Some(connection)) => connection
                .handshake(
                    &self.world.home.path(""),
                    self.transcript.certificate.as_deref(),
                    self.transcript.old_tls,
                )
                .map(|()| "-- TLS --".to_owned()),
            (Step::Closed, Some(connection)) => {
                connection.closed().map(|()| "-- closed --".to_owned())
            }
            (Step::HangUp, Some(connection)) => {
                connection.hang_up();
                Ok("-- hang up --".to_owned())
            }
            (Step::Dropped | Step::Connect(_), _) | (_, None) => Err("no connection".to_owned()),
        };
        match result {
            Ok(said) => {
                for line in said.lines() {
                    _ = writeln!(self.said, "    {line}");
                }
                Ok(())
            }
            Err(came) => Err(self.differs(line, &described(step), &came)),
        }
    }

    /// Waits for a record with all the words.
    fn record(&self, line: usize, wanted: &[String]) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let log = self.world.home.log();
            let new = log.get(self.log..).unwrap_or_default();
            let has_all = |record: &str| {
                let words = words(record);
                wanted.iter().all(|wanted| words.contains(wanted))
            };
            if new.lines().any(has_all) {
                return Ok(());
            }
            if start.elapsed() > RECORD {
                let records = new.lines().filter(|line| line.contains(" mxdp::smtp: "));
                let records = records.collect::<Vec<_>>().join("\n      ");
                return Err(self.differs(line, &format!("R: {}", wanted.join(" ")), &records));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn differs(&self, line: usize, expected: &str, came: &str) -> String {
        let Self { transcript, said, .. } = self;
        format!(
            "tests/transcripts/{}.txt:{line}\n{said}  - {expected}\n  + {came}\n",
            transcript.name
        )
    }
}

fn described(step: &Step) -> String {
    match step {
        Step::Expect(expected) => format!("S: {expected}"),
        step => format!("{step:?}"),
    }
}

/// Reads the expected lines, and returns what was read.
fn expect(connection: &mut Dialogue, expected: &str) -> Result<String, String> {
    let all_but_last = expected.strip_suffix("...").filter(|start| start.len() == 4);
    let mut said = String::new();
    loop {
        let line = connection.line()?;
        if !matches(expected, &line) {
            return Err(format!("S: {line}"));
        }
        _ = writeln!(said, "S: {line}");
        match all_but_last {
            Some(start) if start.ends_with('-') && connection.next_starts_with(start)? => {}
            _ => return Ok(said.trim_end().to_owned()),
        }
    }
}

/// Follows the transcripts of a configuration, and gives what differs.
fn follow_all(configuration: &str, transcripts: &[Transcript]) -> Vec<String> {
    let (world, verb) = World::new(configuration);
    let daemon = world.home.start_by(verb, &world.namespace);
    let mut failures = Vec::new();
    for transcript in transcripts {
        let mut run = Run {
            world: &world,
            daemon: &daemon,
            transcript,
            connections: Vec::new(),
            current: 0,
            log: world.home.log().len(),
            said: String::new(),
            references: Vec::new(),
        };
        let stops = transcript.steps.iter().any(|(_, step)| *step == Step::Stop);
        failures.extend(run.follow().err());
        drop(run);
        if !stops {
            // The next one finds nobody else there.
            thread::sleep(BETWEEN);
        }
    }
    if world.home.log().contains("panicked") {
        failures.push(format!("{configuration}: the daemon panicked:\n{}", world.home.log()));
    }
    failures
}

#[test]
fn every_dialogue_goes_as_written() {
    let mut by_configuration: BTreeMap<String, Vec<Transcript>> = BTreeMap::new();
    for transcript in transcript::all() {
        by_configuration.entry(transcript.configuration.clone()).or_default().push(transcript);
    }
    let work: Mutex<Vec<_>> = Mutex::new(by_configuration.into_iter().collect());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = work.lock().expect("not poisoned").pop();
                    let Some((configuration, transcripts)) = next else { return };
                    let follow = AssertUnwindSafe(|| follow_all(&configuration, &transcripts));
                    let found = panic::catch_unwind(follow)
                        .unwrap_or_else(|_| vec![format!("{configuration}: see above")]);
                    failures.lock().expect("not poisoned").extend(found);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "{} differ\n\n{}", failures.len(), failures.join("\n"));
}

/// Reasons that no client can bring about here, each with the test that does.
const ELSEWHERE: [(Reason, &str); 3] = [
    (Reason::TooManyAtOnce, "field/bounds/shares.rs: needs many connections"),
    (Reason::NoRoom, "exhaustion.rs: needs a control group"),
    (Reason::TlsHandshake, "field/tls.rs: nobody is left to be told"),
];

#[test]
fn every_reason_is_in_a_transcript() {
    let mut shown = BTreeSet::new();
    for transcript in transcript::all() {
        for (_, step) in transcript.steps {
            if let Step::Record(words) = step {
                shown.extend(words);
            }
        }
    }
    let is_shown = |reason: &&Reason| shown.contains(&format!("reason=\"{}\"", reason.name()));
    let is_elsewhere = |reason: &&Reason| ELSEWHERE.iter().any(|(other, _)| other == *reason);
    let missing: Vec<_> =
        Reason::ALL.iter().filter(|one| !is_shown(one) && !is_elsewhere(one)).collect();
    assert!(missing.is_empty(), "no transcript shows {missing:?}");
    let twice: Vec<_> =
        Reason::ALL.iter().filter(|one| is_shown(one) && is_elsewhere(one)).collect();
    assert!(twice.is_empty(), "transcripts show {twice:?}");
}
