//! Tells a backend the client's address by Postfix's XCLIENT.

use std::net::{IpAddr, SocketAddr};

use crate::dns::{HostName, HostNames};

/// What a backend may be told about the client.
#[derive(Clone, Debug)]
pub(super) struct ClientFacts {
    pub(super) address: SocketAddr,
    /// The address that it connected to.
    pub(super) local: SocketAddr,
    pub(super) helo: String,
    pub(super) extended: bool,
    /// Its names by reverse DNS, if they are needed.
    pub(super) names: HostNames,
}

/// The longest command (RFC 5321 section 4.5.3.1.4), without its line end.
const COMMAND: usize = 510;

/// Postfix's XCLIENT: the attributes that the server has `named`, as xtext. What does not fit into
/// one command is sent in a command before it; name and address come last and together, since a
/// server decides by them who may use XCLIENT. Attributes that are `withheld` are sent as unknown.
pub(super) fn xclient(client: &ClientFacts, named: &str, withheld: &[&str]) -> Vec<String> {
    let address = match client.address.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    };
    let unknown = || "[UNAVAILABLE]".to_owned();
    let name = |name: &HostName| match name {
        HostName::Known(name) => xtext(name),
        HostName::None => unknown(),
        HostName::Unknown => "[TEMPUNAVAIL]".to_owned(),
    };
    // A HELO name that is longer than a command is left out here: EHLO has it all the same.
    let helo = Some(xtext(&client.helo)).filter(|helo| !helo.is_empty() && helo.len() < 400);
    let attribute = |name: &str, value: String| {
        let is_named = named.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(name));
        let value = if withheld.contains(&name) { unknown() } else { value };
        if is_named { format!(" {name}={value}") } else { String::new() }
    };
    let last = attribute("NAME", name(&client.names.confirmed)) + &attribute("ADDR", address);
    let attributes = [
        attribute("HELO", helo.unwrap_or_else(unknown)),
        attribute("PROTO", if client.extended { "ESMTP" } else { "SMTP" }.to_owned()),
        attribute("PORT", client.address.port().to_string()),
        attribute("REVERSE_NAME", name(&client.names.reverse)),
        last,
    ];
    let mut lines = vec!["XCLIENT".to_owned()];
    for attribute in attributes {
        match lines.last_mut() {
            Some(line) if line.len() + attribute.len() <= COMMAND => line.push_str(&attribute),
            _ => lines.push(format!("XCLIENT{attribute}")),
        }
    }
    lines
}

/// The attributes of the client that a server may reject.
const ATTRIBUTES: [&str; 5] = ["HELO", "PORT", "REVERSE_NAME", "NAME", "ADDR"];

/// Withholds what a server rejects in an XCLIENT command: the first attribute that its reply names,
/// or all of them if it names none. False if nothing is left to withhold.
pub(super) fn withhold(withheld: &mut Vec<&'static str>, reply: &str) -> bool {
    let before = withheld.len();
    let mut words = reply.split(|letter: char| !letter.is_ascii_alphabetic() && letter != '_');
    let left = ATTRIBUTES.into_iter().filter(|name| !withheld.contains(name));
    let left: Vec<&str> = left.collect();
    match words.find_map(|word| left.iter().find(|name| **name == word)) {
        Some(name) => withheld.push(name),
        None => withheld.extend(left),
    }
    withheld.len() > before
}

/// Encodes xtext (RFC 3461 section 4).
fn xtext(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"+=[]".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("+{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";

    fn facts(helo: &str, name: &str) -> ClientFacts {
        let known = HostName::Known(name.to_owned());
        ClientFacts {
            address: "192.0.2.1:4000".parse().unwrap(),
            local: "192.0.2.25:25".parse().unwrap(),
            helo: helo.to_owned(),
            extended: true,
            names: HostNames { confirmed: known.clone(), reverse: known },
        }
    }

    #[test]
    fn no_command_is_longer_than_a_server_need_take() {
        assert_eq!(
            xclient(&facts("a=b.example", "mail.example"), ALL, &[]),
            ["XCLIENT HELO=a+3Db.example PROTO=ESMTP PORT=4000 REVERSE_NAME=mail.example \
              NAME=mail.example ADDR=192.0.2.1"]
        );
        for (helo, name) in [(250, 250), (1, 250), (250, 1), (255, 253)] {
            for letter in ["h", "="] {
                let facts = facts(&letter.repeat(helo), &"n".repeat(name));
                let lines = xclient(&facts, ALL, &[]);
                assert!(lines.iter().all(|line| line.len() <= COMMAND), "{lines:?}");
                let last = lines.last().unwrap();
                assert!(last.contains(" NAME=n") && last.ends_with(" ADDR=192.0.2.1"), "{lines:?}");
                let all = lines.join("");
                let names = ["HELO=", "PROTO=", "PORT=", " REVERSE_NAME=", " NAME=", "ADDR="];
                assert!(names.iter().all(|name| all.matches(name).count() == 1), "{all}");
            }
        }
        assert_eq!(xclient(&facts("x", "y"), "ADDR", &[]), ["XCLIENT ADDR=192.0.2.1"]);
        let unknown = ClientFacts { names: HostNames::UNKNOWN, ..facts("", "y") };
        let lines = xclient(&unknown, "NAME HELO", &[]);
        assert_eq!(lines, ["XCLIENT HELO=[UNAVAILABLE] NAME=[TEMPUNAVAIL]"]);
    }
    #[test]
    fn what_a_server_finds_wrong_is_withheld() {
        let mut withheld = Vec::new();
        // Postfix, smtpd.c: the attribute comes before what the client chose.
        assert!(withhold(&mut withheld, "5.5.4 Bad NAME syntax: ADDR"));
        assert!(withhold(&mut withheld, "5.5.4 Bad ADDR syntax: IPV6:2001:db8::1"));
        assert_eq!(withheld, ["NAME", "ADDR"]);
        assert_eq!(
            xclient(&facts("x", "mail.example"), "NAME ADDR REVERSE_NAME", &withheld),
            ["XCLIENT REVERSE_NAME=mail.example NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]"]
        );
        assert!(withhold(&mut withheld, "syntax error"));
        assert_eq!(withheld.len(), ATTRIBUTES.len());
        assert!(!withhold(&mut withheld, "syntax error"));
    }
}
