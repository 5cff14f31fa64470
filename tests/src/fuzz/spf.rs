//! SPF: records, macros and the evaluation, with a name server that gives any answer.

use std::net::IpAddr;
use std::time::Duration;

use mxdp::dns::{Answer, Failure, Lookup, Record, RecordType};
use mxdp::spf::flatten::flatten;
use mxdp::spf::{Evaluation, Input, Known, Outcome, Step, check};

const DOMAIN: &str = "example.org";

/// The most questions of an evaluation: RFC 7208 section 4.6.4 permits ten terms,
/// each with ten hosts; and records, names of the client and an explanation.
const QUESTIONS: usize = 300;

/// The first line is the client's address, the second what it calls itself, the third
/// the sender's local part; each line from there is an answer, in the order of the
/// questions.
///
/// # Panics
///
/// When it asks too much or the same again, when what it says could break a line, or
/// when a network is listed whose addresses do not pass.
pub fn spf_record(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let client = address(lines.next().unwrap_or_default());
    let helo = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let local = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let sender = (!local.is_empty()).then_some((local.as_str(), DOMAIN));
    let input =
        Input { client, helo: &helo, sender, receiver: "mx.example.net", unix: 1_795_407_247 };
    let mut known = Known::default();

    let evaluation = decide(&mut known, &mut lines, |known| check(&input, known));
    sound(&evaluation, &input);

    let listed = decide(&mut known, &mut lines, |known| flatten(DOMAIN, known));
    let Ok(networks) = listed else { return };
    // Omitted answers may count towards the limits of an evaluation.
    if !networks.notes.is_empty() {
        return;
    }
    for net in networks.networks.keys().take(20) {
        let input = Input { client: net.addr(), sender: Some(("a", DOMAIN)), ..input };
        let evaluation = decide(&mut known, &mut lines, |known| check(&input, known));
        assert_eq!(evaluation.outcome, Outcome::Pass, "{net}: {evaluation:#?}");
    }
}

/// An IPv6 address of 16 bytes and more, or an IPv4 address.
fn address(bytes: &[u8]) -> IpAddr {
    match (bytes.first_chunk::<16>(), bytes.first_chunk::<4>()) {
        (Some(octets), _) => IpAddr::from(*octets).to_canonical(),
        (None, Some(octets)) => IpAddr::from(*octets),
        (None, None) => IpAddr::from([192, 0, 2, 1]),
    }
}

/// Answers until it is decided.
fn decide<'a, T>(
    known: &mut Known,
    lines: &mut impl Iterator<Item = &'a [u8]>,
    look: impl Fn(&Known) -> Step<T>,
) -> T {
    let before = known.answers.len();
    loop {
        match look(known) {
            Step::Done(done) => return done,
            Step::Ask(queries) => {
                assert!(!queries.is_empty(), "it asks for nothing");
                for query in queries {
                    let answer = answer(query.kind, lines.next());
                    let former = known.answers.insert(query.clone(), answer);
                    assert!(former.is_none(), "{query} is asked twice");
                }
                let asked = known.answers.len() - before;
                assert!(asked <= QUESTIONS, "{asked} questions");
            }
        }
    }
}

fn answer(kind: RecordType, line: Option<&[u8]>) -> Lookup {
    let Some(line) = line else { return Ok(none(false)) };
    let names = || {
        line.split(|byte| *byte == b' ')
            .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
    };
    let records = match (line, kind) {
        (b"!", _) => return Ok(none(false)),
        (b"?", _) => return Err(Failure::TimedOut),
        (b"", _) => Vec::new(),
        (_, RecordType::A) => {
            line.as_chunks::<4>().0.iter().map(|ip| Record::A((*ip).into())).collect()
        }
        (_, RecordType::Aaaa) => {
            line.as_chunks::<16>().0.iter().map(|ip| Record::Aaaa((*ip).into())).collect()
        }
        (_, RecordType::Mx) => names().map(|name| Record::Mx(10, name)).collect(),
        (_, RecordType::Ptr) => names().map(Record::Ptr).collect(),
        (_, RecordType::Txt) => {
            line.split(|byte| *byte == b'|').map(|text| Record::Txt(text.to_vec())).collect()
        }
    };
    Ok(Answer { records, ..none(true) })
}

const fn none(exists: bool) -> Answer {
    Answer { records: Vec::new(), exists, ttl: Duration::from_secs(60) }
}

/// The texts of an evaluation are safe in a reply, a header and a terminal.
fn sound(evaluation: &Evaluation, input: &Input<'_>) {
    if let Some(explanation) = &evaluation.explanation {
        assert_eq!(evaluation.outcome, Outcome::Fail);
        assert!(explanation.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{explanation:?}");
    }
    let header = evaluation.received_spf(input);
    let lines = header.strip_suffix("\r\n").expect("one field").split("\r\n");
    for (index, line) in lines.enumerate() {
        assert!(index == 0 || line.starts_with([' ', '\t']), "{header:?}");
        assert!(line.len() < 998 && !line.contains(['\r', '\n', '\0']), "{header:?}");
    }
    for line in evaluation.tree().lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// Shows a question in a failure message.
#[cfg(test)]
mod tests {
    use mxdp::dns::Query;

    use super::*;

    #[test]
    fn a_record_is_found_in_the_bytes() {
        let mut lines = b"v=spf1 ip4:192.0.2.0/24 -all".split(|byte| *byte == b'\n');
        let query = Query::new(DOMAIN, RecordType::Txt);
        let mut known = Known::default();
        let found =
            decide(&mut known, &mut lines, |known| flatten(DOMAIN, known)).expect("networks");
        assert!(known.answers.contains_key(&query));
        assert_eq!(found.networks.len(), 1);
    }
}
