//! Recipients from LDAP directories: queried in turn, and kept among the copies of the
//! state folder, from which they are read. So a directory that is away changes nothing,
//! not even across a restart, and neither does one that has suddenly lost most of its
//! recipients.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::message::{Message, Origin};
use crate::config::Config;
use crate::config::smtp::Directory;
use crate::generation::{answers, sources};
use crate::io::clock;
use crate::io::last_good::{Copies, Counts};
use crate::io::ldap::{self, Value};
use crate::policy::recipients;
use crate::text;

/// How long an answer may take.
const TIME: Duration = Duration::from_secs(120);

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// How many values that cannot be used are named.
const NAMED: usize = 20;

/// How much of one is shown, in characters.
const SHOWN: usize = 80;

/// What is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    directories: Vec<Directory>,
    state: PathBuf,
    max_entries: usize,
    file_bytes: u64,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        let smtp = config.smtp.as_ref();
        Self {
            directories: smtp.map(|smtp| smtp.directories.clone()).unwrap_or_default(),
            state: config.startup.state.folder.clone(),
            max_entries: config.limits.prefixes,
            file_bytes: config.limits.file_bytes,
        }
    }
}

/// Follows the directories that are wanted, until the daemon ends. One whose keys
/// change is asked anew.
pub(super) async fn follow(mut wanted: watch::Receiver<Wanted>, messages: mpsc::Sender<Message>) {
    let mut before: Option<Wanted> = None;
    let mut tasks: Vec<(Directory, JoinSet<()>)> = Vec::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        let limit_stays = before.is_some_and(|before| before.max_entries == now.max_entries);
        // A set that is dropped ends its task.
        tasks.retain(|(known, _)| limit_stays && now.directories.contains(known));
        for directory in &now.directories {
            if tasks.iter().any(|(known, _)| known == directory) {
                continue;
            }
            let mut set = JoinSet::new();
            let copies = Copies::new(&now.state, now.file_bytes);
            set.spawn(follow_one(directory.clone(), copies, now.max_entries, messages.clone()));
            tasks.push((directory.clone(), set));
        }
        before = Some(now);
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Follows a directory. What it answers is kept; where that is news, a reload is asked
/// for.
async fn follow_one(
    directory: Directory,
    copies: Copies,
    max_entries: usize,
    messages: mpsc::Sender<Message>,
) {
    let name = &directory.name;
    loop {
        let (failure, wait) = match refresh(&directory, &copies, max_entries).await {
            Ok(changed) => {
                if changed && messages.send(Message::Reload("a directory changed")).await.is_err() {
                    return;
                }
                (None, directory.refresh)
            }
            Err(error) => {
                let known = match copies.header(&answers::directory_key(name)) {
                    Ok(Some(_)) => "its last answer stands",
                    _ => "none is known",
                };
                let failure = format!("recipients of {name}: {error:#}; {known} meanwhile");
                (Some(failure), RETRY.min(directory.refresh))
            }
        };
        let origin = Origin::Directory(name.clone());
        if messages.send(Message::SourceChecked(origin, failure)).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// Asks once; whether the answer was another than before.
async fn refresh(directory: &Directory, copies: &Copies, max_entries: usize) -> Result<bool> {
    let query = answers::query(directory, max_entries, copies.limit(), TIME)?;
    let values = ldap::addresses(&query).await?;
    let answer = Answer::of(&directory.name, &values);
    // An answer without a single address would refuse everybody.
    anyhow::ensure!(
        !answer.addresses.is_empty(),
        "not one of {} values is an address{}",
        values.len(),
        answer.remarks.first().map(|remark| format!(": {remark}")).unwrap_or_default()
    );
    keep(&directory.name, &answer, copies)
}

/// What a directory says.
struct Answer {
    /// The addresses, sorted.
    addresses: Vec<String>,
    /// What was skipped, a line of text each.
    remarks: Vec<String>,
}

impl Answer {
    fn of(name: &str, values: &[Value]) -> Self {
        let mut addresses = Vec::new();
        let mut remarks = Vec::new();
        let mut skipped = 0_usize;
        for value in values {
            let address = str::from_utf8(&value.bytes)
                .map_err(|_| "is not UTF-8 text")
                .and_then(recipients::address_of);
            match address {
                Ok(address) => addresses.extend(address),
                Err(why) => {
                    skipped += 1;
                    if remarks.len() < NAMED {
                        let text = String::from_utf8_lossy(&value.bytes);
                        let start: String = text.chars().take(SHOWN).collect();
                        let start = text::escape_untrusted(&start, |_| false);
                        let dn = text::escape_untrusted(&value.dn, |_| false);
                        let name = answers::directory_key(name);
                        remarks.push(format!("{name}: `{start}` of {dn} is skipped: it {why}"));
                    }
                }
            }
        }
        if skipped > remarks.len() {
            let more = skipped - remarks.len();
            remarks.push(format!(
                "{}: and {more} more values are skipped",
                answers::directory_key(name)
            ));
        }
        addresses.sort();
        addresses.dedup();
        Self { addresses, remarks }
    }

    /// How many addresses there are, and of each domain.
    fn counts(&self) -> Counts {
        let mut parts: BTreeMap<String, u64> = BTreeMap::new();
        for address in &self.addresses {
            let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
            *parts.entry(domain.to_ascii_lowercase()).or_default() += 1;
        }
        Counts { total: self.addresses.len() as u64, parts }
    }
}

/// Keeps an answer, unless too much of the last one is gone; whether it is news.
fn keep(name: &str, answer: &Answer, copies: &Copies) -> Result<bool> {
    let counts = answer.counts();
    let kept = recipients::to_kept(answer.addresses.iter().map(String::as_str));
    // A copy that is damaged is as none.
    let before = copies.header(&answers::directory_key(name)).unwrap_or(None);
    let now = clock::unix_seconds();
    let write = |source: &str, counts| {
        copies
            .write(source, kept.as_bytes(), now, counts, answer.remarks.clone())
            .map_err(anyhow::Error::msg)
    };
    if let Some(before) = before {
        if before.is_of(kept.as_bytes()) && before.remarks == answer.remarks {
            copies.remove(&answers::held_directory(name));
            return Ok(false);
        }
        // Parts are no fault here: a domain that left is one that left.
        let whole = |counts: &Counts| Counts { total: counts.total, parts: BTreeMap::new() };
        if let Some(lost) = sources::lost(&whole(&counts), &whole(&before.counts)) {
            write(&answers::held_directory(name), counts)?;
            let name = answers::directory_key(name);
            anyhow::bail!("{lost}; if that is meant: mxdp reload --accept {name}");
        }
    }
    write(&answers::directory_key(name), counts)?;
    copies.remove(&answers::held_directory(name));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Vec<Value> {
        let value =
            |text: &&str| Value { dn: "uid=x,dc=y".into(), bytes: text.as_bytes().to_vec() };
        texts.iter().map(value).collect()
    }

    #[test]
    fn values_that_cannot_be_used_are_skipped_and_named() {
        let texts = [
            "root@[192.0.2.1]",
            "#sales@example.org",
            "sip:a@b.c",
            "smtp:bob@example.org",
            "x\u{1b}",
        ];
        let answer = Answer::of("people", &values(&texts));
        assert_eq!(answer.addresses, ["#sales@example.org", "bob@example.org"]);
        assert_eq!(
            answer.remarks,
            [
                "ldap:people: `root@[192.0.2.1]` of uid=x,dc=y is skipped: it has an IP address \
                 for a domain",
                "ldap:people: `x\\u{1b}` of uid=x,dc=y is skipped: it is not an address",
            ]
        );
        let many = Answer::of("people", &values(&["x"; 100]));
        assert_eq!(many.remarks.len(), NAMED + 1);
        assert_eq!(many.remarks[NAMED], "ldap:people: and 80 more values are skipped");
    }

    #[test]
    fn bytes_of_another_encoding_make_no_address() {
        let value = |bytes: &[u8]| Value { dn: "uid=j".into(), bytes: bytes.to_vec() };
        let answer = Answer::of(
            "people",
            &[
                value(b"j\xf6rg@example.org"),
                value(b"mailto:bob@example.org"),
                value(b"*@example.org"),
                value(b"foo:eve@example.org"),
            ],
        );
        assert_eq!(answer.addresses, ["\"*\"@example.org", "bob@example.org"]);
        assert_eq!(
            answer.remarks[0],
            "ldap:people: `j\u{fffd}rg@example.org` of uid=j is skipped: it is not UTF-8 text"
        );
        assert!(
            answer.remarks[1].starts_with(
                "ldap:people: `foo:eve@example.org` of uid=j is skipped: it is of a kind"
            ),
            "{:?}",
            answer.remarks
        );
    }

    #[test]
    fn an_answer_that_has_lost_most_is_held_until_it_is_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let copies = Copies::new(folder.path(), 10_000);
        let of = |users: u32| {
            let texts: Vec<_> = (0..users).map(|user| format!("u{user}@example.org")).collect();
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            Answer::of("people", &values(&texts))
        };
        assert!(keep("people", &of(10), &copies).expect("kept"));
        assert!(!keep("people", &of(10), &copies).expect("kept"));
        assert!(keep("people", &of(5), &copies).expect("kept"));
        let error = keep("people", &of(2), &copies).expect_err("held").to_string();
        assert_eq!(
            error,
            "has 2 entries, and had 5; if that is meant: mxdp reload --accept ldap:people"
        );
        let total =
            |key: String| copies.header(&key).expect("whole").map(|header| header.counts.total);
        assert_eq!(
            (total(answers::directory_key("people")), total(answers::held_directory("people"))),
            (Some(5), Some(2))
        );
        assert!(
            copies
                .promote(&answers::held_directory("people"), &answers::directory_key("people"))
                .expect("accepted")
        );
        assert_eq!(
            (total(answers::directory_key("people")), total(answers::held_directory("people"))),
            (Some(2), None)
        );
        assert!(!keep("people", &of(2), &copies).expect("kept"));
    }
}
