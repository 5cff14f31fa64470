//! Blocks that hit what must not be blocked: this host, what stands before and behind it,
//! and its customers.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::bogons::is_bogon;
use super::parse::Entry;
use super::prefix::{Lengths, Prefix};
use super::protected::{Holder, Protected};
use super::set::LoadedFile;

/// A protected network, and why it is one.
type Row = (IpNet, Holder);

/// How many blocks of a file are named.
const NAMED: usize = 20;

/// The entries of lists that block protected addresses, a line of text each, with file
/// and line. What a list approves is not blocked.
#[must_use]
pub fn hazards(files: &[LoadedFile], protected: &Protected) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| !file.class.approves()) {
        let mut found: Vec<(u32, IpNet, &Row)> = Vec::new();
        for row in protected.rows().iter().filter(|(net, _)| !is_approved(files, *net)) {
            let list = &file.list;
            match at_stake(row) {
                IpNet::V4(net) => find(&list.v4, &list.lengths_v4, net, row, &mut found),
                IpNet::V6(net) => find(&list.v6, &list.lengths_v6, net, row, &mut found),
            }
        }
        found.sort_by_key(|(line, net, _)| (*line, *net));
        for (line, net, (hit, holder)) in found.iter().take(NAMED) {
            let hint = match is_bogon(*net) {
                true => "; leave_out_bogons = true beside the file leaves such networks out",
                false => "",
            };
            let source = file.source(*line);
            lines.push(format!("{source}: {net} blocks {hit}, {holder}{hint}"));
        }
        if found.len() > NAMED {
            lines.push(format!("{}: and {} more such blocks", file.name, found.len() - NAMED));
        }
    }
    lines
}

/// The part of a protected network that matters: of loopback, the one address that is
/// used.
fn at_stake((net, holder): &Row) -> IpNet {
    match (holder, net) {
        (Holder::Loopback, IpNet::V4(_)) => IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => *net,
    }
}

/// Whether a list of approved addresses holds all of a network.
fn is_approved(files: &[LoadedFile], net: IpNet) -> bool {
    files.iter().filter(|file| file.class.approves()).any(|file| {
        let list = &file.list;
        match net {
            IpNet::V4(net) => around(&list.v4, &list.lengths_v4, net).next().is_some(),
            IpNet::V6(net) => around(&list.v6, &list.lengths_v6, net).next().is_some(),
        }
    })
}

/// The entries that hold all of a network.
fn around<'a, P: Prefix>(
    entries: &'a [Entry<P>],
    lengths: &'a Lengths,
    net: P,
) -> impl Iterator<Item = &'a Entry<P>> {
    lengths.around(net).filter_map(move |wanted| {
        let index = entries.partition_point(|entry| entry.net < wanted);
        entries.get(index).filter(|entry| entry.net == wanted)
    })
}

/// Adds the entries that hold a protected network or a part of it.
fn find<'a, P: Prefix>(
    entries: &[Entry<P>],
    lengths: &Lengths,
    net: P,
    row: &'a Row,
    found: &mut Vec<(u32, IpNet, &'a Row)>,
) {
    let mut add = |entry: &Entry<P>| found.push((entry.line, entry.net.any(), row));
    around(entries, lengths, net).filter(|entry| entry.net != net).for_each(&mut add);
    let start = entries.partition_point(|entry| entry.net < net);
    entries[start..].iter().take_while(|entry| net.holds(entry.net)).for_each(&mut add);
}

#[cfg(test)]
mod tests {
    use filter_common::Class;

    use super::*;
    use crate::lists::{OnBadLine, ParseOptions, Purpose, parse};

    fn file(name: &str, class: Class, text: &str) -> LoadedFile {
        let options = ParseOptions {
            on_bad_line: OnBadLine::Refuse,
            purpose: Purpose::Block { force: true },
            leave_out_bogons: false,
            max_entries: 100,
        };
        let list = parse(text.as_bytes(), &options).expect("a list");
        LoadedFile { name: name.to_owned(), class, list }
    }

    #[test]
    fn blocks_of_what_must_not_be_blocked_are_named() {
        let files = [
            file("ok", Class::ApprovedIp, "198.51.100.0/24\n"),
            file("bad", Class::BlockedIp, "0.0.0.0/0\n192.0.2.7\n198.51.100.9\n2001:db8::/32\n"),
            file("feed", Class::KnownSpamSource, "127.0.0.0/8\n203.0.113.0/24\n127.1.0.0/16\n"),
        ];
        let mut all = Protected::new();
        let mut protect = |net: &str, holder| all.add(net.parse().expect("a prefix"), holder);
        protect("192.0.2.0/24", Holder::Proxy);
        protect("198.51.100.9/32", Holder::Backend("main".to_owned()));
        protect("2001:db8::1/128", Holder::ThisHost);
        let lines = hazards(&files, &all);
        assert_eq!(
            lines,
            [
                "bad:1: 0.0.0.0/0 blocks 127.0.0.0/8, loopback",
                "bad:1: 0.0.0.0/0 blocks 192.0.2.0/24, listed in listen.proxy_networks",
                "bad:2: 192.0.2.7/32 blocks 192.0.2.0/24, listed in listen.proxy_networks; \
                 leave_out_bogons = true beside the file leaves such networks out",
                "bad:4: 2001:db8::/32 blocks 2001:db8::1/128, an address of this host; \
                 leave_out_bogons = true beside the file leaves such networks out",
                "feed:1: 127.0.0.0/8 blocks 127.0.0.0/8, loopback; \
                 leave_out_bogons = true beside the file leaves such networks out",
            ]
        );
        let many: String = (0..40).map(|host| format!("192.0.2.{host}\n")).collect();
        let lines = hazards(&[file("bad", Class::BlockedIp, &many)], &all);
        assert_eq!(lines.len(), NAMED + 1);
        assert_eq!(lines[NAMED], "bad: and 20 more such blocks");
    }
}
