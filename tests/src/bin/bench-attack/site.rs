//! The host that is attacked, and the course of an attack.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use mxdp::web::sha256_hex;
use mxdp_tests::daemon::Home;
use mxdp_tests::mail::{backend, domain};
use mxdp_tests::netns::Pair;
use mxdp_tests::peers::Process;
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::resources::Held;

use crate::attacks::{ATTACKER_ADDRESS, CONSOLE, Case, SMTP};
use crate::names::NameServer;
use crate::watch::{Waits, Watch, send};

/// The first argument of the attacker's process.
pub(crate) const ATTACKER: &str = "attacker";

const SINK: u16 = 2600;
const VICTIM: &str = "192.0.2.7";
const TOKEN: &str = "the operator's secret";

/// How long everything is watched before the attack.
const QUIET: Duration = Duration::from_secs(15);

/// How long recovery is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an attack came to.
pub(crate) struct Outcome {
    /// Before the attack.
    pub(crate) quiet: Waits,
    /// During it.
    pub(crate) attacked: Waits,
    /// Resident bytes of the daemon before the attack.
    pub(crate) idle: u64,
    /// The most during it.
    pub(crate) most: u64,
    /// Ten seconds after it.
    pub(crate) after: u64,
    /// How long after the attack mail is as fast as before, give or take.
    pub(crate) recovered: Option<Duration>,
    /// The SMTP sessions of the attacker that began, and the recipients that it was refused or
    /// took back: that there was an attack.
    pub(crate) work: (u64, u64),
    /// The messages of the well-behaved client that were accepted.
    pub(crate) sent: u64,
    /// Those of them that the mail log does not have.
    pub(crate) lost: u64,
}

/// A mail host and its clients.
pub(crate) struct Site {
    pair: Pair,
    home: Home,
    _sink: Sink,
    _names: NameServer,
}

impl Site {
    /// Sets it up; only the backend and the name server run yet.
    pub(crate) fn new() -> Result<Self> {
        let (pair, home) = (Pair::new(), Home::new());
        // SPF and DNS lists are not queried for private addresses, so these are public.
        pair.edge.ip("addr add 192.0.2.1/24 dev e0");
        for address in [VICTIM, ATTACKER_ADDRESS] {
            pair.client.ip(&format!("addr add {address}/24 dev e1"));
        }
        let sink = Sink::start(&pair.edge, SINK, &[]);
        let names = NameServer::start(&pair.edge)?;
        home.write("recipients.txt", "bob@example.org\n");
        let mut rest = format!(
            "[listen]\nsmtp = [\"{SMTP}\"]\nhostname = \"mx.example.org\"\n\
             [web]\nlisten = [\"127.0.0.1:8025\", \"{CONSOLE}\"]\nplain = true\nloopback = \"none\"\n\
             [[web.tokens]]\nname = \"operator\"\nrights = \"read\"\nsha256 = \"{}\"\n\
             [dns]\nservers = [\"127.0.0.1:53\"]\n[spf]\n\
             [[reputation.standard.zones]]\nname = \"bl.example\"\ncodes = [\"127.0.0.2\"]\n",
            sha256_hex(TOKEN)
        );
        for kind in ["reputation", "dictionary", "relay", "early_talker", "abuse", "flood"] {
            write!(rest, "[escalation.{kind}]\ncount = 0\n")?;
        }
        rest += &domain("example.org", "main", "recipients = [\"recipients.txt\"]");
        // Of this one the mail system decides about recipients, and it accepts all.
        rest += &domain("open.example", "main", "");
        rest += &backend("main", SINK, "");
        home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &rest);
        Ok(Self { pair, home, _sink: sink, _names: names })
    }

    /// Runs the daemon and an attack on it.
    pub(crate) fn attack(&self, case: Case, time: Duration) -> Result<Outcome> {
        let daemon = self.home.start(&self.pair.edge);
        let sent = AtomicU64::new(0);
        let watch = Watch {
            outside: &self.pair.client,
            client: VICTIM.parse()?,
            target: SMTP.parse()?,
            inside: &self.pair.edge,
            token: TOKEN,
            sent: &sent,
        };
        let quiet = watch.during(|| thread::sleep(QUIET));
        ensure!(quiet.mail.failed == 0, "mail fails without an attack: {}", self.home.log());
        let idle = Held::by(daemon.pid()).resident;
        let before = self.work();

        let done = AtomicBool::new(false);
        let most = AtomicU64::new(idle);
        let attacked = thread::scope(|scope| -> Result<Waits> {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    most.fetch_max(Held::by(daemon.pid()).resident, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(100));
                }
            });
            let mut ended = Ok(());
            let waits = watch.during(|| ended = self.run_attacker(case, time));
            done.store(true, Ordering::Relaxed);
            ended.map(|()| waits)
        })?;
        let over = Instant::now();
        let worked = self.work();
        let of_victim = u64::try_from(attacked.mail.count())?;
        let work =
            (worked.0.saturating_sub(before.0 + of_victim), worked.1.saturating_sub(before.1));
        let recovered = self.recovery(&watch, quiet.mail.median(), over);
        thread::sleep(Duration::from_secs(10).saturating_sub(over.elapsed()));
        let after = Held::by(daemon.pid()).resident;
        let sent = sent.into_inner();
        Ok(Outcome {
            quiet,
            attacked,
            idle,
            most: most.into_inner(),
            after,
            recovered,
            work,
            sent,
            lost: sent.saturating_sub(self.logged()?),
        })
    }

    /// This program once more, in the client's namespace.
    fn run_attacker(&self, case: Case, time: Duration) -> Result<()> {
        let program = env::current_exe().context("this program's path")?;
        let mut command: Command = self.pair.client.command("nice");
        command.args(["-n", "19"]).arg(program);
        command.args([ATTACKER, case.name(), &time.as_secs().to_string()]);
        let log = fs::File::create(self.home.path("attacker.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut attacker = Process(command.spawn().context("the attacker does not start")?);
        let status = attacker.0.wait()?;
        let said = fs::read_to_string(self.home.path("attacker.log")).unwrap_or_default();
        ensure!(status.success(), "the attacker ended with {status}: {said}");
        Ok(())
    }

    /// When three messages in turn took at most twice the quiet median, or 20 ms more.
    fn recovery(&self, watch: &Watch<'_>, quiet: f64, over: Instant) -> Option<Duration> {
        let bound = Duration::from_secs_f64((quiet * 2.0).max(quiet + 20.0) / 1e3);
        let (mut well, mut since) = (0, Duration::ZERO);
        while over.elapsed() < PATIENCE {
            let start = Instant::now();
            // Another sender, so that the count of the first is not disturbed.
            let went = send(&self.pair.client, watch.client, watch.target, "otto@victim.example");
            let is_well = went.is_ok() && start.elapsed() <= bound;
            if is_well && well == 0 {
                since = over.elapsed();
            }
            well = if is_well { well + 1 } else { 0 };
            if well == 3 {
                return Some(since);
            }
            thread::sleep(Duration::from_millis(100));
        }
        None
    }

    /// The connections and the refused recipients of all clients.
    fn work(&self) -> (u64, u64) {
        let smtp = &self.home.json(&["status"])["smtp"];
        let refused = smtp["refused"].as_array().into_iter().flatten();
        let refused = refused.filter_map(|one| one["recipients"].as_u64());
        (smtp["connections"].as_u64().unwrap_or_default(), refused.sum())
    }

    /// How many messages of the well-behaved client the mail log has.
    fn logged(&self) -> Result<u64> {
        // What was accepted is searchable within a second.
        thread::sleep(Duration::from_secs(2));
        let search = ["traffic", "accepted", "--sender", "anna@victim.example", "--all"];
        Ok(u64::try_from(self.home.json_lines(&search).len())?)
    }
}
