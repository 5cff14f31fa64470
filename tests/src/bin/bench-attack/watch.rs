//! The well-behaved client, the operator, and what they wait.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::http::Http;
use mxdp_tests::netns::Namespace;

/// How often each of them begins.
const PACE: Duration = Duration::from_secs(1);

/// What was waited, and how often in vain.
#[derive(Debug, Default)]
pub(crate) struct Times {
    waited: Vec<Duration>,
    /// Those that ended with anything but success. Their time counts too.
    pub(crate) failed: usize,
}

impl Times {
    /// How often it was tried.
    pub(crate) const fn count(&self) -> usize {
        self.waited.len()
    }

    /// The median, in milliseconds.
    pub(crate) fn median(&self) -> f64 {
        let mut waited = self.waited.clone();
        waited.sort_unstable();
        waited.get(waited.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    /// The longest, in milliseconds.
    pub(crate) fn worst(&self) -> f64 {
        self.waited.iter().max().map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    fn add(&mut self, time: Duration, went_well: bool) {
        self.waited.push(time);
        self.failed += usize::from(!went_well);
    }
}

/// What both waited in a phase.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// For the reply to a message, from the connection on.
    pub(crate) mail: Times,
    /// For the whole of the overview.
    pub(crate) console: Times,
}

/// A message from a client; the error is what was said or failed.
pub(crate) fn send(
    namespace: &Namespace,
    client: IpAddr,
    target: SocketAddr,
    from: &str,
) -> Result<(), String> {
    let mut dialogue = Dialogue::open(namespace, client, target)?;
    expect("2", dialogue.line()?)?;
    expect("2", dialogue.say("EHLO victim.example")?)?;
    expect("2", dialogue.say(&format!("MAIL FROM:<{from}>"))?)?;
    expect("2", dialogue.say("RCPT TO:<bob@example.org>")?)?;
    expect("3", dialogue.say("DATA")?)?;
    expect("2", dialogue.say("Subject: a message a second\r\n\r\nAll is well.\r\n.")?)?;
    _ = dialogue.say("QUIT");
    Ok(())
}

fn expect(code: &str, reply: String) -> Result<(), String> {
    if reply.starts_with(code) { Ok(()) } else { Err(reply) }
}

/// Sends a message a second and reads the console a second until told to end.
pub(crate) struct Watch<'a> {
    /// Where the client is.
    pub(crate) outside: &'a Namespace,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// Where mail goes.
    pub(crate) target: SocketAddr,
    /// Where the console is, from inside.
    pub(crate) inside: &'a Namespace,
    /// The operator's token.
    pub(crate) token: &'a str,
    /// The messages that were accepted.
    pub(crate) sent: &'a AtomicU64,
}

impl Watch<'_> {
    /// Both, for as long as `work` takes.
    pub(crate) fn during(&self, work: impl FnOnce()) -> Waits {
        let done = AtomicBool::new(false);
        let waits = Mutex::new(Waits::default());
        let (done, waits) = (&done, &waits);
        let paced = |one: &dyn Fn()| {
            let mut next = Instant::now();
            while !done.load(Ordering::Relaxed) {
                one();
                next = (next + PACE).max(Instant::now());
                while Instant::now() < next && !done.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        };
        let record = |start: Instant, went_well, which: fn(&mut Waits) -> &mut Times| {
            let mut waits = waits.lock().expect("not poisoned");
            which(&mut waits).add(start.elapsed(), went_well);
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                paced(&|| {
                    let start = Instant::now();
                    let went = send(self.outside, self.client, self.target, "anna@victim.example");
                    if let Err(error) = &went {
                        eprintln!("mail: {error}");
                    }
                    self.sent.fetch_add(u64::from(went.is_ok()), Ordering::Relaxed);
                    record(start, went.is_ok(), |waits| &mut waits.mail);
                });
            });
            scope.spawn(|| {
                paced(&|| {
                    let start = Instant::now();
                    // A new connection each time, as a browser that comes back has.
                    let console = Http::new(self.inside, "http://127.0.0.1:8025", None)
                        .with("authorization", &format!("Bearer {}", self.token));
                    let went = console.ask("GET", "/", None);
                    let went_well = went.as_ref().is_ok_and(|answer| answer.status == 200);
                    if !went_well {
                        eprintln!("console: {:?}", went.map(|answer| answer.status));
                    }
                    record(start, went_well, |waits| &mut waits.console);
                });
            });
            work();
            done.store(true, Ordering::Relaxed);
        });
        std::mem::take(&mut *waits.lock().expect("not poisoned"))
    }
}
