//! Blocks that hit what must not be blocked: this host, what stands before and behind it,
//! and its customers.

use std::net::{IpAddr, Ipv4Addr};

use filter_common::Class;
use ipnet::IpNet;

use super::bogons::is_bogon;
use super::country_code::CountryCode;
use super::parse::Entry;
use super::place::Place;
use super::prefix::{Lengths, Prefix};
use super::protected::{Holder, Protected, breadth, is_too_short};
use super::set::{ListSet, LoadedFile, Match};

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
            let place = file.place(*line);
            lines.push(format!("{place}: {net} blocks {hit}, {holder}{hint}"));
        }
        if found.len() > NAMED {
            lines.push(format!("{}: and {} more such blocks", file.name, found.len() - NAMED));
        }
    }
    lines
}

/// The countries that block protected addresses, or a part of them, a line of text each: a
/// blocked country, or that an address has none where such are blocked. What is approved is
/// not blocked. The configuration is `file`.
#[must_use]
pub fn country_hazards(set: &ListSet, protected: &Protected, file: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut found = 0_usize;
    for row in protected.rows() {
        let Some((blocked, country)) = blocked_in(set, row) else { continue };
        found += 1;
        if lines.len() >= NAMED {
            continue;
        }
        let (hit, holder) = row;
        lines.push(match country {
            Some(country) => format!(
                "{file}: blocked.countries: {country} blocks {hit}, {holder}: {} is listed in {}",
                blocked.prefix, blocked.place
            ),
            None => format!(
                "{file}: countries.unknown: \"block\" blocks {hit}, {holder}: it has no country"
            ),
        });
    }
    if found > lines.len() {
        lines.push(format!("{file}: blocked.countries: and {} more such blocks", found - NAMED));
    }
    lines
}

/// What blocks an address of a protected network by its country.
fn blocked_in(set: &ListSet, row: &Row) -> Option<(Match, Option<CountryCode>)> {
    let net = at_stake(row);
    let inside = set.countries().into_iter();
    let inside = inside.flat_map(|all| all.inside(net, &set.policy().blocked));
    let mut addresses = [net.network(), net.broadcast()].into_iter().chain(inside);
    addresses.find_map(|address| {
        let said = set.classify(address);
        // The first in the order of classes decides.
        if said.classes.first().is_none_or(Class::approves) {
            return None;
        }
        let mut matches = said.matches.into_iter();
        let blocked = matches.find(|found| found.class == Class::BlockedCountry)?;
        Some((blocked, said.country))
    })
}

/// What lists of approved addresses have in them that approves a very large part of the
/// Internet, a line of text each, with file and line.
#[must_use]
pub fn wide_approvals(files: &[LoadedFile]) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| file.class.approves()) {
        let wide = file.list.entries().filter(|(net, _)| is_too_short(*net));
        for (net, line) in wide.take(NAMED) {
            lines.push(wide_approval(&file.place(line), net));
        }
    }
    lines
}

/// That a prefix is approved which is too large to be meant.
#[must_use]
pub fn wide_approval(place: &Place, net: IpNet) -> String {
    let so = if net.prefix_len() == 0 { ", so nothing is filtered" } else { "" };
    format!("{place}: {net} approves {}{so}", breadth(net))
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
    use super::*;
    use crate::lists::{
        Countries, CountryLimits, CountryPolicy, OnBadLine, ParseOptions, Purpose, UnknownCountry,
        parse,
    };

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

    fn protected(rows: &[(&str, Holder)]) -> Protected {
        let mut all = Protected::new();
        for (net, holder) in rows {
            all.add(net.parse().expect("a prefix"), holder.clone());
        }
        all
    }

    #[test]
    fn countries_that_block_what_must_not_be_blocked_are_named() {
        let all = protected(&[
            ("11.0.0.7/32", Holder::ThisHost),
            ("12.0.0.0/16", Holder::Customer("acme".to_owned())),
            ("13.0.0.1/32", Holder::Backend("main".to_owned())),
            ("10.9.0.0/24", Holder::Proxy),
        ]);
        let folder = [("cn.cidr", "11.0.0.0/8\n12.0.5.0/24\n"), ("de.cidr", "12.0.0.0/8\n")];
        let folder = folder.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let said = |approved: &str, blocked: &str, unknown| {
            let limits = CountryLimits { networks: 100 };
            let countries = Countries::from_folder("geo", &folder, &limits).expect("countries");
            let codes = [blocked].into_iter().filter_map(|code| code.parse().ok());
            let policy =
                CountryPolicy { blocked: codes.collect(), unknown, ..CountryPolicy::default() };
            let files = vec![file("ok", Class::ApprovedIp, approved)];
            let set = ListSet::new(files, Some(countries), policy);
            country_hazards(&set, &all, "m.toml")
        };
        assert_eq!(
            said("", "CN", UnknownCountry::None),
            [
                "m.toml: blocked.countries: CN blocks 11.0.0.7/32, an address of this host: \
                 11.0.0.0/8 is listed in geo/cn.cidr:1",
                "m.toml: blocked.countries: CN blocks 12.0.0.0/16, a network of customer acme: \
                 12.0.5.0/24 is listed in geo/cn.cidr:2",
            ]
        );
        assert_eq!(said("11.0.0.7\n12.0.0.0/16\n", "CN", UnknownCountry::None), [""; 0]);
        assert_eq!(said("", "FR", UnknownCountry::None), [""; 0]);
        // Loopback and the private balancer never have a country.
        assert_eq!(
            said("", "", UnknownCountry::Block),
            ["m.toml: countries.unknown: \"block\" blocks 13.0.0.1/32, a server of backend main: \
              it has no country"]
        );
    }

    #[test]
    fn approvals_of_nearly_everybody_are_named() {
        let files = [
            file("ok", Class::ApprovedIp, "192.0.2.1\n0.0.0.0/0\n64.0.0.0/7\n10.0.0.0/8\n"),
            file("bad", Class::BlockedIp, "::/0\n"),
        ];
        let lines = wide_approvals(&files);
        assert_eq!(lines[0], "ok:2: 0.0.0.0/0 approves every address, so nothing is filtered");
        assert!(lines[1].starts_with("ok:3: 64.0.0.0/7 approves a very large part"), "{lines:?}");
        assert_eq!(lines.len(), 2);
    }
}
