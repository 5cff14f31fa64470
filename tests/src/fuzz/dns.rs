//! Answers of name servers, off the wire.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use mxdp::dns::{Answer, Query, Record, RecordType};
use mxdp::io::dns::records;
use mxdp::spf;

const KINDS: [RecordType; 5] =
    [RecordType::A, RecordType::Aaaa, RecordType::Mx, RecordType::Ptr, RecordType::Txt];

/// The longest name in text: 255 octets, each of which may stand as a replacement
/// character of three bytes.
const NAME: usize = 3 * 255;

/// A message of any bytes: what is taken of its answers is of the type that was asked
/// for and bounded, and SPF can be decided by it.
///
/// # Panics
///
/// When that is not so.
pub fn dns_answers(data: &[u8]) {
    let Ok(message) = Message::from_vec(data) else { return };
    for kind in KINDS {
        let records = records(&message.answers, kind);
        assert!(records.len() <= message.answers.len());
        for record in &records {
            let (is, length) = match record {
                Record::A(_) => (RecordType::A, 0),
                Record::Aaaa(_) => (RecordType::Aaaa, 0),
                Record::Mx(_, name) => (RecordType::Mx, name.len()),
                Record::Ptr(name) => (RecordType::Ptr, name.len()),
                Record::Txt(text) => (RecordType::Txt, text.len()),
            };
            assert_eq!(is, kind);
            let longest = if kind == RecordType::Txt { usize::from(u16::MAX) } else { NAME };
            assert!(length <= longest, "{length} bytes");
            if let Record::Mx(_, name) | Record::Ptr(name) = record {
                assert_eq!(name.to_ascii_lowercase(), *name);
                assert_eq!(
                    Query::new(name, kind).to_string(),
                    format!("{} {kind}", name.strip_suffix('.').unwrap_or(name))
                );
            }
        }
        let query = Query::new("example.org", kind);
        let answer = Answer { records, exists: true, ttl: Duration::ZERO };
        assert!(answer.v4().count() + answer.texts().count() <= message.answers.len());
        let mut known = spf::Known::default();
        known.answers.insert(query, Ok(answer));
        known.out_of_time = true;
        let input = spf::Input {
            client: IpAddr::from([192, 0, 2, 1]),
            helo: "client.example.org",
            sender: Some(("a", "example.org")),
            receiver: "mx.example.net",
            unix: 0,
        };
        let spf::Step::Done(evaluation) = spf::check(&input, &known) else {
            panic!("it asks when there is no time")
        };
        _ = evaluation.received_spf(&input);
    }
}
