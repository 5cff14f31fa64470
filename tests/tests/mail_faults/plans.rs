//! The messages that are sent, and the faults that meet them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mxdp_tests::wrong::Random;
use mxdp_tests::wrong::client::{Client, Mail, Place, Sent, Way};
use mxdp_tests::wrong::script::{Act, Fault, Script, Step};

/// The longest message body.
pub(crate) const MOST: usize = 300_000;

/// The longest that a client may wait for a reply: the time-outs of a recipient
/// (connecting, greeting, EHLO, MAIL, RCPT: 1 s each), and room.
pub(crate) const BOUND: Duration = Duration::from_secs(9);

pub(crate) fn mxdp() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 25).into()
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) script: Script,
    /// Whether a message goes well in the same session before.
    pub(crate) warm: bool,
    pub(crate) chunks: bool,
    pub(crate) pipelined: bool,
    pub(crate) gone: bool,
    pub(crate) stop: Option<(Place, Way)>,
}

/// A message, what its client knows of it, and the plan it was part of.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    pub(crate) name: String,
    pub(crate) mail: Mail,
    pub(crate) sent: Sent,
    pub(crate) longest: Duration,
}

/// Sends the messages of the plan.
pub(crate) fn send(plan: &Plan, number: usize, domain: &str) -> Vec<Try> {
    let mut random = Random::new(u64::try_from(number).expect("a small number"));
    let mut tries = Vec::new();
    let domain = if plan.gone { "gone.example" } else { domain };
    // Each is a client of its own: of what one is refused, the mail log has only so much.
    let client = u16::try_from(number % 60_000).expect("a small number");
    let mut client = match Client::connect_as(client, mxdp()) {
        Ok(client) => Some(client),
        Err(error) => panic!("mxdp does not accept: {error}"),
    };
    let name = format!("{number} {plan:?}");
    if let Some((Place::Connect | Place::Ehlo, _)) = plan.stop {
        let mut client = client.take().expect("a client");
        _ = plan.stop.is_some_and(|(place, _)| place == Place::Ehlo && client.hello());
        match plan.stop {
            Some((_, Way::Reset)) => client.reset(),
            Some((_, Way::Stall)) => {
                _ = client.rest();
                assert!(client.longest < BOUND, "{name}: {:?}", client.longest);
            }
            _ => {}
        }
        return tries;
    }
    let greeted = client.as_mut().is_some_and(Client::hello);
    assert!(greeted, "{name}: no greeting");
    for message in u8::from(!plan.warm)..2 {
        let Some(open) = client.take() else { break };
        let id = format!("{number}.{message}");
        let to = |index| format!("{id}.{index}@{domain}");
        let faulty = message == 1;
        let ended = !plan.chunks || random.below(2) == 0;
        let mail = Mail {
            sender: format!("{id}@client.example"),
            recipients: (0..=random.below(3)).map(to).collect(),
            message: random.message(&id, MOST, ended),
            chunks: plan.chunks,
            pipelined: plan.pipelined,
            stop: plan.stop.filter(|_| faulty),
        };
        let mut sent = Sent::default();
        let start = Instant::now();
        client = open.mail(&mail, &mut sent);
        let longest = client.as_ref().map_or(start.elapsed(), |client| client.longest);
        tries.push(Try { name: name.clone(), mail, sent, longest });
    }
    if let Some(mut client) = client {
        _ = client.command("QUIT");
        _ = client.rest();
    }
    tries
}

/// Everything that can go wrong, one by one, and at random.
pub(crate) fn plans() -> Vec<Plan> {
    let script = Script { pipelining: true, ..Script::default() };
    let good =
        Plan { script, warm: false, chunks: false, pipelined: false, gone: false, stop: None };
    let mut plans = Vec::new();
    let mut random = Random::new(1);
    let steps = [
        Step::Accept,
        Step::Greeting,
        Step::Ehlo,
        Step::Mail,
        Step::Rcpt,
        Step::Data,
        Step::Body,
        Step::Dot,
        Step::Quit,
    ];
    for step in steps {
        for act in Act::ALL {
            for (warm, chunks) in [(false, false), (false, true), (true, false), (true, true)] {
                let before = matches!(step, Step::Accept | Step::Greeting | Step::Ehlo);
                if before && warm {
                    continue;
                }
                let message = if warm { 2 } else { 1 };
                let pipelining = random.below(2) == 0;
                let fault = Some(Fault { step, act, message });
                let script = Script { fault, pipelining, ..script };
                plans.push(Plan { script, warm, chunks, ..good.clone() });
                plans.push(Plan { script, warm, chunks, pipelined: true, ..good.clone() });
            }
        }
    }
    for place in Place::ALL {
        for way in [Way::Close, Way::Reset, Way::Stall] {
            for chunks in [false, true] {
                let stop = Some((place, way));
                plans.push(Plan { stop, chunks, ..good.clone() });
                plans.push(Plan { stop, chunks, warm: true, ..good.clone() });
            }
        }
    }
    for chunks in [false, true] {
        plans.push(Plan { gone: true, chunks, ..good.clone() });
        plans.extend((0..20).map(|_| Plan { chunks, warm: true, ..good.clone() }));
    }
    for _ in 0..400 {
        let fault = Fault { step: *random.of(&steps), act: *random.of(&Act::ALL), message: 1 };
        let fault = (random.below(3) > 0).then_some(fault);
        let stop = (*random.of(&Place::ALL), *random.of(&[Way::Close, Way::Reset, Way::Stall]));
        let stop = (random.below(2) == 0).then_some(stop);
        let script = Script { fault, pipelining: random.below(2) == 0, ..script };
        plans.push(Plan { script, stop, chunks: random.below(2) == 0, ..good.clone() });
    }
    plans
}
