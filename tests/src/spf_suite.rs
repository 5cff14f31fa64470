//! The test suite of RFC 7208, as Debian's python3-spf has it, for a real name
//! server.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::peers::dns_relay::{DnsRelay, Fault};
use crate::peers::{environment, find};

const KINDS: [(&str, u16); 5] = [("A", 1), ("AAAA", 28), ("MX", 15), ("PTR", 12), ("TXT", 16)];

/// A world of names, and what it makes of some messages.
pub struct Scenario {
    /// What it is about.
    pub description: String,
    zone: Value,
    /// The messages.
    pub cases: Vec<Case>,
}

/// A message.
pub struct Case {
    /// Its name in the suite.
    pub name: String,
    /// The client's address.
    pub host: String,
    /// What the client calls itself.
    pub helo: String,
    /// The sender; empty is the null sender.
    pub from: String,
    /// The results that are right.
    pub results: Vec<String>,
    /// What a fail says, where that is laid down; `DEFAULT` is nothing of the domain's.
    pub explanation: Option<String>,
}

/// Reads the suite.
///
/// # Panics
///
/// When it is not there, or not as known.
#[must_use]
pub fn load() -> Vec<Scenario> {
    let file = find("usr/share/doc/python3-spf/rfc7208-tests.yml.gz");
    let root = file.ancestors().nth(5).expect("the root of the peers");
    let program = "import gzip, json, sys, yaml\n\
                   print(json.dumps([d for d in yaml.safe_load_all(gzip.open(sys.argv[1])) if d]))";
    let output = Command::new(find("python3.11"))
        .args(["-c", program])
        .arg(&file)
        .envs(environment())
        .env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"))
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    documents.iter().map(scenario).collect()
}

fn scenario(document: &Value) -> Scenario {
    let cases = document["tests"].as_object().expect("tests").iter().map(|(name, case)| {
        let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        let results = match &case["result"] {
            Value::Array(results) => results.clone(),
            result => vec![result.clone()],
        };
        Case {
            name: name.clone(),
            host: text("host"),
            helo: text("helo"),
            from: text("mailfrom"),
            results: results.iter().map(|one| one.as_str().expect("a result").to_owned()).collect(),
            explanation: case["explanation"].as_str().map(str::to_owned),
        }
    });
    Scenario {
        description: document["description"].as_str().unwrap_or_default().to_owned(),
        cases: cases.collect(),
        zone: document["zonedata"].clone(),
    }
}

impl Scenario {
    /// The names as lines of a zone file for the root. A record of type SPF stands for
    /// a TXT record where the name has none, as the suite's own words say.
    #[must_use]
    pub fn zone(&self) -> String {
        let mut lines = String::new();
        for (name, records) in self.names() {
            if !can_be_asked(name) {
                continue;
            }
            let has_text = records.iter().any(|record| record.get("TXT").is_some());
            for record in records.iter().filter_map(Value::as_object) {
                for (kind, data) in record {
                    let kind = if kind == "SPF" && !has_text { "TXT" } else { kind };
                    if let Some(data) = data_of(kind, data) {
                        _ = writeln!(lines, "{} {kind} {data}", escaped(name));
                    }
                }
            }
        }
        lines
    }

    /// The names that no server answers about.
    pub fn faults(&self, relay: &DnsRelay) {
        for (name, records) in self.names() {
            if records.iter().all(|record| record.as_str() != Some("TIMEOUT")) {
                continue;
            }
            for (kind, number) in KINDS {
                let served = |data: &Value| data != "NONE";
                let known = records.iter().any(|record| record.get(kind).is_some_and(served));
                if !known {
                    relay.fault(name, false, Some(number), Fault::Drop);
                }
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = (&str, &Vec<Value>)> {
        let names = self.zone.as_object().expect("names").iter();
        names.map(|(name, records)| (name.as_str(), records.as_array().expect("records")))
    }
}

fn can_be_asked(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// The data of a record in a zone file; none for those that are not served.
fn data_of(kind: &str, data: &Value) -> Option<String> {
    match kind {
        "SPF" => None,
        "TXT" if data == "NONE" => None,
        "TXT" => {
            let texts = match data {
                Value::Array(texts) if texts.is_empty() => vec!["".into()],
                Value::Array(texts) => texts.clone(),
                text => vec![text.clone()],
            };
            let quoted = texts.iter().flat_map(|text| strings(text.as_str().expect("a text")));
            Some(quoted.collect::<Vec<_>>().join(" "))
        }
        "MX" => Some(format!("{} {}", data[0], escaped(data[1].as_str().expect("a name")))),
        "PTR" | "CNAME" => Some(escaped(data.as_str().expect("a name"))),
        _ => Some(data.as_str().expect("an address").to_owned()),
    }
}

/// A text as quoted strings of at most 255 bytes.
fn strings(text: &str) -> Vec<String> {
    // Letters of the suite that stand for bytes.
    let octets: Vec<u8> = text
        .chars()
        .flat_map(|letter| match u8::try_from(u32::from(letter)) {
            Ok(octet) => vec![octet],
            Err(_) => letter.to_string().into_bytes(),
        })
        .collect();
    let quote = |octets: &[u8]| {
        let escape = |octet: &u8| match octet {
            b'"' | b'\\' => format!("\\{}", char::from(*octet)),
            b' '..=b'~' => char::from(*octet).to_string(),
            other => format!("\\{other:03}"),
        };
        format!("\"{}\"", octets.iter().map(escape).collect::<String>())
    };
    match octets.is_empty() {
        true => vec!["\"\"".to_owned()],
        false => octets.chunks(255).map(quote).collect(),
    }
}

/// An absolute name; characters other than letters and digits are escaped.
fn escaped(name: &str) -> String {
    let name = name.trim_end_matches('.');
    let escape = |octet: u8| match octet {
        b'.' | b'-' | b'_' => char::from(octet).to_string(),
        octet if octet.is_ascii_alphanumeric() => char::from(octet).to_string(),
        octet => format!("\\{octet:03}"),
    };
    format!("{}.", name.bytes().map(escape).collect::<String>())
}
