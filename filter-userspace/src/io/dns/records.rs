//! Converts the records of a message to the types of `dns`. Pure, and fuzzed.

use hickory_resolver::proto::rr::{self, Name, RData};

use crate::dns::{Record, RecordType};

/// The records of a type in an answer.
#[must_use]
pub fn records(answers: &[rr::Record], kind: RecordType) -> Vec<Record> {
    let records = answers.iter().filter_map(|one| record(&one.data));
    records.filter(|one| kind_of(one) == kind).collect()
}

const fn kind_of(record: &Record) -> RecordType {
    match record {
        Record::A(_) => RecordType::A,
        Record::Aaaa(_) => RecordType::Aaaa,
        Record::Mx(..) => RecordType::Mx,
        Record::Ptr(_) => RecordType::Ptr,
        Record::Txt(_) => RecordType::Txt,
    }
}

fn record(data: &RData) -> Option<Record> {
    Some(match data {
        RData::A(address) => Record::A(address.0),
        RData::AAAA(address) => Record::Aaaa(address.0),
        RData::MX(mx) => Record::Mx(mx.preference, text(&mx.exchange)),
        RData::PTR(name) => Record::Ptr(text(&name.0)),
        RData::TXT(txt) => Record::Txt(txt.txt_data.concat()),
        _ => return None,
    })
}

/// A name as text; a name with labels that are not text is left out, since it means nothing here.
pub(super) fn text(name: &Name) -> String {
    let labels = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase());
    labels.collect::<Vec<_>>().join(".")
}
