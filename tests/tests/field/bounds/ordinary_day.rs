//! A day of ordinary mail from other servers: no client is blocked, and none gets 421
//! for what RFC 5321 and RFC 2920 permit.

use std::sync::Mutex;
use std::thread;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::edge::{Edge, reply};
use mxdp_tests::peers::postfix::{Options, Postfix};

/// A connection of a client; every reply is looked at.
struct Client {
    dialogue: Dialogue,
    name: &'static str,
    accepted: u64,
}

impl Client {
    fn open(edge: &Edge, name: &'static str, source: &str, hello: &str) -> Self {
        let dialogue = edge.connect(source, 25);
        let mut client = Self { dialogue, name, accepted: 0 };
        assert_eq!(client.say(hello), 250);
        client
    }

    fn code(&mut self) -> u16 {
        let told = reply(&mut self.dialogue);
        let code = told.get(..3).and_then(|code| code.parse().ok());
        let code = code.unwrap_or_else(|| panic!("{}: {told}", self.name));
        assert_ne!(code, 421, "{}: {told}", self.name);
        code
    }

    /// A command, and its reply before anything else is sent.
    fn say(&mut self, command: &str) -> u16 {
        self.dialogue.send(format!("{command}\r\n").as_bytes());
        self.code()
    }

    /// A group of commands, and their replies.
    fn group(&mut self, commands: &[String]) -> Vec<u16> {
        let text: String = commands.iter().map(|command| format!("{command}\r\n")).collect();
        self.dialogue.send(text.as_bytes());
        commands.iter().map(|_| self.code()).collect()
    }

    /// The message after 354.
    fn message(&mut self) -> u16 {
        let code = self.say("Subject: ordinary\r\nMessage-ID: <1@a.example>\r\n\r\nHello.\r\n.");
        self.accepted += u64::from(code == 250);
        code
    }

    /// A whole transaction in one group, as Postfix, Exim and Gmail send it.
    fn pipelined(&mut self, sender: &str, recipients: &[String]) {
        let mut commands = vec![format!("MAIL FROM:<{sender}> SIZE=300")];
        commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
        commands.push("DATA".to_owned());
        let codes = self.group(&commands);
        assert_eq!(codes[0], 250, "{}", self.name);
        if codes.last() == Some(&354) {
            assert_eq!(self.message(), 250, "{}", self.name);
        } else {
            assert_eq!(codes.last(), Some(&554), "{}", self.name);
            assert_eq!(self.say("RSET"), 250, "{}", self.name);
        }
    }

    /// A whole transaction command by command, as Exchange and qmail send it.
    fn step_by_step(&mut self, sender: &str, recipients: &[String]) {
        assert_eq!(self.say(&format!("MAIL FROM:<{sender}>")), 250, "{}", self.name);
        let taken = recipients
            .iter()
            .filter(|recipient| self.say(&format!("RCPT TO:<{recipient}>")) == 250)
            .count();
        if taken == 0 {
            assert_eq!(self.say("RSET"), 250, "{}", self.name);
            return;
        }
        assert_eq!(self.say("DATA"), 354, "{}", self.name);
        assert_eq!(self.message(), 250, "{}", self.name);
    }

    /// A message in chunks that do not wait for the recipients, as Office 365 sends it.
    fn chunks(&mut self, sender: &str, recipients: &[String]) {
        let mut commands = vec![format!("MAIL FROM:<{sender}> SIZE=300 BODY=8BITMIME")];
        commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
        let text: String = commands.iter().map(|command| format!("{command}\r\n")).collect();
        let chunks = "BDAT 19\r\nSubject: chunks\r\n\r\nBDAT 8 LAST\r\nHello.\r\n";
        self.dialogue.send(format!("{text}{chunks}").as_bytes());
        let codes: Vec<_> = commands.iter().map(|_| self.code()).collect();
        let ends = [self.code(), self.code()];
        let is_taken = codes[1..].contains(&250);
        assert_eq!(
            ends,
            if is_taken { [250, 250] } else { [503, 503] },
            "{}: {codes:?}",
            self.name
        );
        self.accepted += u64::from(is_taken);
        if !is_taken {
            assert_eq!(self.say("RSET"), 250, "{}", self.name);
        }
    }

    fn quit(mut self) -> u64 {
        assert_eq!(self.say("QUIT"), 221, "{}", self.name);
        self.accepted
    }
}

fn real(number: usize) -> String {
    format!("real{number}@example.org")
}

fn dead(number: usize) -> String {
    format!("dead{number}@example.org")
}

/// Each a sender of the day; gives how many messages were accepted.
type Day = fn(&Edge) -> u64;

/// A mail server of a company: mixed recipients over a connection that is kept.
fn postfix(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "Postfix", "10.77.3.1", "EHLO mail.a.example");
    for n in 0..40 {
        let recipients =
            if n % 4 == 0 { vec![dead(n)] } else { vec![real(n), dead(n), real(n + 1)] };
        client.pipelined("anna@a.example", &recipients);
    }
    client.quit()
}

/// One message per connection, and the callouts by which it verifies our senders.
fn exim(edge: &Edge) -> u64 {
    let mut accepted = 0;
    for n in 0..30 {
        let mut client = Client::open(edge, "Exim", "10.77.3.2", "EHLO mx.b.example");
        client.pipelined("otto@b.example", &[real(n)]);
        accepted += client.quit();
        let mut callout = Client::open(edge, "Exim, callout", "10.77.3.2", "EHLO mx.b.example");
        assert_eq!(callout.say("MAIL FROM:<>"), 250);
        let asked = if n % 2 == 0 { real(n) } else { dead(n) };
        callout.say(&format!("RCPT TO:<{asked}>"));
        accepted += callout.quit();
    }
    accepted
}

/// A list of the company's contacts, half of them gone, command by command.
fn exchange(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "Exchange", "10.77.3.3", "EHLO exchange.c.example");
    for n in 0..20 {
        client.step_by_step("eva@c.example", &[real(n), dead(n), dead(n + 1), real(n + 2)]);
    }
    client.quit()
}

fn office_365(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "Office 365", "10.77.3.4", "EHLO d.outbound.example");
    for n in 0..60 {
        let recipients = if n % 2 == 0 { vec![dead(n)] } else { vec![real(n), dead(n)] };
        client.chunks("udo@d.example", &recipients);
    }
    client.quit()
}

/// A provider of millions, one of whom has bought a list of addresses.
fn gmail(edge: &Edge) -> u64 {
    let mut accepted = 0;
    for n in 0..25 {
        let mut client = Client::open(edge, "Gmail", "10.77.3.5", "EHLO mail-1.e.example");
        client.pipelined("one@e.example", &[real(n)]);
        if n % 8 == 0 {
            let bought: Vec<_> = (0..18).map(|m| dead(100 * n + m)).collect();
            client.pipelined("customer@e.example", &bought);
        }
        accepted += client.quit();
    }
    accepted
}

/// One recipient a connection, no pipelining, HELO.
fn qmail(edge: &Edge) -> u64 {
    let mut accepted = 0;
    for n in 0..60 {
        let mut client = Client::open(edge, "qmail", "10.77.3.6", "HELO qmail.f.example");
        client.step_by_step("ida@f.example", &[if n % 3 == 0 { dead(n) } else { real(n) }]);
        accepted += client.quit();
    }
    accepted
}

/// Returns what others sent in our users' names, and has nothing else for us.
fn backscatter(edge: &Edge) -> u64 {
    let mut accepted = 0;
    for n in 0..6 {
        let mut client = Client::open(edge, "list server", "10.77.3.7", "EHLO lists.g.example");
        for m in 0..40 {
            client.pipelined("", &[dead(100 * n + m)]);
        }
        accepted += client.quit();
    }
    accepted
}

/// Thousands of recipients, one in twenty of them gone: in transactions of fifty, then one
/// by one.
fn newsletter(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "newsletter", "10.77.3.8", "EHLO news.h.example");
    let name = |n: usize| if n % 20 == 7 { dead(n) } else { real(1000 + n) };
    for transaction in 0..60 {
        let recipients: Vec<_> = (0..50).map(|n| name(50 * transaction + n)).collect();
        client.pipelined("news@h.example", &recipients);
    }
    for n in 3000..3200 {
        client.pipelined("bounce-1@h.example", &[name(n)]);
    }
    client.quit()
}

/// Others' mail for accounts that moved to us, some of which were closed.
fn forwarder(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "forwarder", "10.77.3.9", "EHLO forward.i.example");
    for n in 0..40 {
        let sender = if n % 5 == 0 { String::new() } else { format!("any{n}@elsewhere.example") };
        client.pipelined(&sender, &[if n % 2 == 0 { dead(n) } else { real(n) }]);
    }
    client.quit()
}

/// More for one recipient than we permit a minute: 450 to each, and what follows from it.
fn monitoring(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "monitoring", "10.77.3.10", "EHLO monitor.k.example");
    for _ in 0..200 {
        client.pipelined("alert@k.example", &["realhot0@example.org".to_owned()]);
    }
    client.quit()
}

/// A customer's old domain still points here; and printers, which know no better.
fn strays(edge: &Edge) -> u64 {
    let mut client = Client::open(edge, "stray", "10.77.3.11", "EHLO shop.l.example");
    for n in 0..15 {
        client.pipelined("shop@l.example", &[format!("user{n}@gone.example")]);
    }
    client.pipelined("shop@l.example", &[real(1)]);
    let accepted = client.quit();
    for _ in 0..20 {
        let probe = Client::open(edge, "probe", "10.77.3.12", "EHLO probe.m.example");
        probe.quit();
    }
    accepted
}

/// The kind: an ordinary sender that is counted as hostile (RFC 5321, RFC 2920, RFC 3030;
/// stalwart#2158, docker-mailserver#1744).
#[test]
fn an_ordinary_day_blocks_nobody() {
    let edge = Edge::new("[rate]\nper_recipient = 60\n");
    let _postfix = Postfix::start(
        &edge.pair.edge,
        &Options {
            port: 2600,
            domains: &["example.org"],
            recipients: &[],
            main: "virtual_mailbox_maps = regexp:{ {/^real(hot)?[0-9]+@example[.]org$$/ x/} }\n\
                   virtual_transport = discard:\nsmtpd_client_connection_count_limit = 0\n\
                   smtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 1000\n\
                   smtpd_soft_error_limit = 1000\ndefault_process_limit = 100",
            ..Options::default()
        },
    );
    let _daemon = edge.start();
    let day: [(Day, u64, &str); 11] = [
        (postfix, 30, "10.77.3.1"),
        (exim, 30, "10.77.3.2"),
        (exchange, 20, "10.77.3.3"),
        (office_365, 30, "10.77.3.4"),
        (gmail, 25, "10.77.3.5"),
        (qmail, 40, "10.77.3.6"),
        (backscatter, 0, "10.77.3.7"),
        (newsletter, 60 + 190, "10.77.3.8"),
        (forwarder, 20, "10.77.3.9"),
        (monitoring, 60, "10.77.3.10"),
        (strays, 1, "10.77.3.11"),
    ];
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (sender, expected, source) in day {
            let (edge, wrong) = (&edge, &wrong);
            scope.spawn(move || {
                let accepted = sender(edge);
                // A rate gives back what its minute brings.
                let most = if source == "10.77.3.10" { 200 } else { expected };
                if !(expected..=most).contains(&accepted) {
                    let said = format!("{source}: {accepted} of {expected} messages");
                    wrong.lock().expect("not poisoned").push(said);
                }
            });
        }
    });
    assert_eq!(*wrong.lock().expect("not poisoned"), Vec::<String>::new());
    wait_for("the counts", || edge.refused("rate_limit") > 0 && edge.refused("relay_denied") == 15);
    assert_eq!(edge.blocks(), Vec::<serde_json::Value>::new());
    for (_, _, source) in day {
        assert!(!edge.is_dropped(source), "{source}");
    }
    for reason in ["too_many_errors", "too_many_refusals", "too_many_invalid", "backscatter"] {
        assert_eq!(edge.refused(reason), 0, "{reason}");
    }
    assert_eq!(edge.refused("guessing_recipients"), 0);
}
