use super::*;
use crate::control::protocol::{KernelAnswer, TemporaryEntry};

fn unlisted(ip: &str) -> Answer {
    Answer {
        ip: ip.parse().unwrap(),
        class: "none".to_owned(),
        action: "pass".to_owned(),
        prefix: None,
        source: None,
        note: None,
        country: None,
        listed: Vec::new(),
    }
}

fn blocked(ip: &str) -> Answer {
    Answer {
        class: "blocked_ip".to_owned(),
        action: "drop".to_owned(),
        prefix: Some("203.0.113.0/24".parse().unwrap()),
        source: Some("/etc/mxdp/blocked.txt:12".to_owned()),
        note: Some("spam run\x1b[2J".to_owned()),
        country: Some("DE".to_owned()),
        listed: vec!["blocked_ip".to_owned(), "approved_country".to_owned()],
        ..unlisted(ip)
    }
}

fn live(answer: Answer, reason: &str, action: &str, agree: bool) -> LiveAnswer {
    let kernel =
        KernelAnswer { reason: reason.to_owned(), action: action.to_owned(), listed: Vec::new() };
    LiveAnswer { answer, temporary: None, kernel, agree }
}

#[test]
fn an_answer_is_a_line() {
    let by_country = Answer {
        class: "blocked_country".to_owned(),
        action: "reject".to_owned(),
        source: Some("country.mmdb".to_owned()),
        country: Some("FR".to_owned()),
        listed: vec!["blocked_country".to_owned()],
        ..unlisted("2001:db8::1")
    };
    let lines = [unlisted("192.0.2.1"), blocked("203.0.113.7"), by_country];
    assert_eq!(
        lines.each_ref().map(sentence),
        [
            "192.0.2.1        pass     none               not listed",
            "203.0.113.7      drop     blocked_ip         203.0.113.0/24 at \
             /etc/mxdp/blocked.txt:12; country DE; note: spam run\\u{1b}[2J; also approved_country",
            "2001:db8::1      reject   blocked_country    by country.mmdb; country FR",
        ]
    );
}

#[test]
fn a_live_answer_says_what_the_kernel_does() {
    let held = Answer {
        class: "temporary_block".to_owned(),
        action: "drop".to_owned(),
        prefix: Some("192.0.2.1/32".parse().unwrap()),
        source: Some("temporary block".to_owned()),
        ..unlisted("192.0.2.1")
    };
    let mut answer = live(held, "temporary_block", "drop", true);
    answer.temporary = Some(TemporaryEntry {
        prefix: "192.0.2.1/32".parse().unwrap(),
        reason: "operator".to_owned(),
        remaining_s: 90,
    });
    assert_eq!(
        live_sentence(&answer),
        "192.0.2.1        drop     temporary_block    192.0.2.1/32 at temporary block; \
         by operator, expires in 1m 30s; kernel: drop, temporary_block"
    );
}

#[test]
fn a_disagreement_shows_both_sides() {
    let answer = live(blocked("203.0.113.7"), "unlisted", "pass", false);
    assert_eq!(
        disagreement(&answer),
        "203.0.113.7: the kernel's verdict differs from the lists: the lists give drop, blocked_ip \
         (listed: blocked_ip, approved_country); the kernel gives pass, unlisted (listed: none)"
    );
}

/// Returns one piece per read, as a terminal or a slow pipe does.
struct Pieces(Vec<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let piece = self.0.remove(0);
        into[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// The batches in which `pieces` are answered, and the exit code.
fn batches(pieces: Vec<Vec<u8>>) -> (Vec<Vec<IpAddr>>, Exit) {
    let mut batches = Vec::new();
    let input = BufReader::with_capacity(1 << 16, Pieces(pieces));
    let mut output = Output::captured(false);
    let exit = from_reader(input, &mut output, &mut |batch, _| {
        batches.push(batch.to_vec());
        Ok(Exit::Done)
    });
    (batches, exit.unwrap())
}

#[test]
fn addresses_are_answered_when_the_input_pauses() {
    let pieces = ["192.0.2.1\n\n# comment\n ::ffff:192.0.2.2 \r\n", "2001:db8::1\n192.", "0.2.3"];
    let (batches, exit) = batches(pieces.map(|piece| piece.as_bytes().to_vec()).to_vec());
    let expected = [
        vec!["192.0.2.1", "192.0.2.2"],
        vec!["2001:db8::1"],
        // The pause cut this line in two.
        vec!["192.0.2.3"],
    ];
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        batches,
        expected.map(|batch| batch.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>())
    );
}

#[test]
fn batches_are_bounded() {
    let lines: String = (0..2_000).map(|n| format!("10.0.{}.{}\n", n / 250, n % 250)).collect();
    let pieces = lines.as_bytes().chunks(40_000).map(<[u8]>::to_vec).collect();
    let (batches, _) = batches(pieces);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [512, 512, 512, 464]);
}

#[test]
fn a_bad_line_is_skipped_and_sets_the_exit_code() {
    let mut long = vec![b'1'; 5_000];
    long.push(b'\n');
    let pieces =
        vec![b"example.org\n192.0.2.0/24\n\xff\xfe\n".to_vec(), long, b"192.0.2.1\n".to_vec()];
    let (batches, exit) = batches(pieces);
    assert_eq!(batches, [["192.0.2.1".parse::<IpAddr>().unwrap()]]);
    assert_eq!(exit, Exit::Failed);
}
