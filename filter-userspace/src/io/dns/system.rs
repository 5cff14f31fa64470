//! The name servers of the system, as resolv.conf(5) names them.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};

/// The file that names them.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The maximum number of bytes that are read.
const LARGEST: u64 = 64 * 1024;

/// The maximum number of servers; the system's own library uses three.
const MOST: usize = 8;

/// The name servers that the system names now; none if there is no file.
#[must_use]
pub fn servers() -> Vec<SocketAddr> {
    let mut text = Vec::new();
    let read = File::open(RESOLV_CONF).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    parse(&String::from_utf8_lossy(&text))
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        if let Some(server) = address.map(|address| SocketAddr::new(address, 53))
            && servers.len() < MOST
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_a_server_count() {
        let text = "# nameserver 192.0.2.9\n;x\nsearch example.org\nnameserver 192.0.2.1\n\
                    nameserver\t2001:db8::1 # ours\nnameserver nonsense\nnameserver 192.0.2.1\r\n\
                    nameserver\n";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53"];
        assert_eq!(parse(text), expected.map(|text| text.parse::<SocketAddr>().unwrap()));
        assert_eq!(parse(""), Vec::new());
    }
}
