//! Writes what the fuzz targets begin with: `tests/fuzz/corpus/TARGET/NAME`.
//!
//! `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds`, whenever a format has something new; the
//! files are committed. They are valid inputs of every kind and some that are nearly
//! so, small, and named by what they are: libFuzzer makes the others of them.

use std::fs;
use std::io::Result;
use std::path::Path;

use mxdp_fuzz::frames::{
    ACK, AH, DESTINATION, DOT1AD, DOT1Q, FRAGMENT, HOP_BY_HOP, IPV4, IPV6, ROUTING, RST, SYN, TCP,
    UDP, V4, authentication, ethernet, extension, fragment, tcp, udp, v6, v6_frame, vlan,
};
use mxdp_fuzz::mmdb::{Mmdb, Record, map, pointer, text};

/// A target's inputs: name and bytes.
type Seeds = Vec<(&'static str, Vec<u8>)>;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let all: [(&str, Seeds); 14] = [
        ("api_query", api_query()),
        ("config", config()?),
        ("dns_answers", dns_answers()),
        ("frames", frames()),
        ("kernel_events", kernel_events()),
        ("list_files", list_files()),
        ("mmdb", mmdb()),
        ("proxy_header", proxy_header()),
        ("ranges", ranges()),
        ("smtp_data", smtp_data()),
        ("smtp_model", smtp_model()),
        ("smtp_session", smtp_session()),
        ("smtp_words", smtp_words()),
        ("spf_record", spf_record()),
    ];
    for (target, seeds) in all {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in &seeds {
            fs::write(folder.join(name), bytes)?;
        }
        println!("{target}: {}", seeds.len());
    }
    Ok(())
}

fn texts(seeds: &[(&'static str, &str)]) -> Seeds {
    seeds.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())).collect()
}

fn frames() -> Seeds {
    let syn = tcp(25, SYN);
    let v4 = V4::from("192.0.2.1");
    let source = "2001:db8::1";
    vec![
        ("v4", v4.frame(&syn)),
        ("v4-options", V4 { options: 10, ..v4 }.frame(&syn)),
        ("v4-ack", v4.frame(&tcp(25, SYN | ACK))),
        ("v4-rst", v4.frame(&tcp(25, SYN | RST))),
        ("v4-udp", V4 { protocol: UDP, ..v4 }.frame(&udp(53))),
        ("v4-first-fragment", V4 { more: true, ..v4 }.frame(&syn)),
        ("v4-short-fragment", V4 { more: true, ..v4 }.frame(&syn[..8])),
        ("v4-offset-one", V4 { offset: 1, ..v4 }.frame(&syn)),
        ("v4-later-fragment", V4 { offset: 100, ..v4 }.frame(&syn)),
        ("v6", v6_frame(source, TCP, &syn)),
        ("v6-mapped", v6_frame("::ffff:192.0.2.1", TCP, &syn)),
        ("v6-hop-by-hop", v6_frame(source, HOP_BY_HOP, &extension(TCP, 0, &syn))),
        ("v6-routing", v6_frame(source, ROUTING, &extension(TCP, 2, &syn))),
        ("v6-authentication", v6_frame(source, AH, &authentication(TCP, 4, &syn))),
        ("v6-first-fragment", v6_frame(source, FRAGMENT, &fragment(TCP, 0, true, &syn))),
        ("v6-later-fragment", v6_frame(source, FRAGMENT, &fragment(TCP, 9, false, &syn))),
        (
            "v6-chain",
            v6_frame(
                source,
                HOP_BY_HOP,
                &extension(DESTINATION, 0, &extension(ROUTING, 0, &extension(TCP, 1, &syn))),
            ),
        ),
        ("v6-udp", v6_frame(source, UDP, &udp(53))),
        ("vlan", ethernet(DOT1Q, &vlan(7, IPV4, &v4.packet(&syn)))),
        ("qinq", ethernet(DOT1AD, &vlan(7, DOT1Q, &vlan(8, IPV6, &v6(source, TCP, &syn))))),
        (
            "vlan-chain",
            ethernet(DOT1AD, &vlan(1, DOT1Q, &vlan(2, DOT1Q, &vlan(3, IPV4, &v4.packet(&syn))))),
        ),
        ("arp", ethernet(0x0806, &[0; 28])),
    ]
}

fn kernel_events() -> Seeds {
    let event = |families: u8, source: &[u8; 16]| {
        let head: [&[u8]; 3] = [&[1; 8], &[2, 0, 0, 0], &[3, 0, 0, 0]];
        [&head.concat()[..], source, &[9; 16], &[0, 25, 4, families, 0, 0, 0, 0]].concat()
    };
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    vec![
        ("v4", event(0, &mapped)),
        ("v6", event(3, &[7; 16])),
        ("mapped", event(1, &mapped)),
        ("long", [&[0][..], &event(2, &mapped)].concat()),
        ("short", event(0, &mapped)[..55].to_vec()),
    ]
}

fn list_files() -> Seeds {
    texts(&[
        ("plain", "# comment\n\n192.0.2.1\n2001:db8::/32\r\n198.51.100.0/24\n"),
        ("drop", "; Spamhaus DROP List\n1.10.16.0/20 ; SBL256894\n"),
        ("netset", "#\n# fullbogons\n#\n5.0.0.0/8\n6.1.2.3\n"),
        ("ipsum", "192.0.2.9\t10\n192.0.2.10\t3\n"),
        ("mark", "\u{feff}192.0.2.9\n"),
        ("host-bits", "123.123.123.123/24\n2001:db8::1/32\n"),
        ("mapped", "::ffff:192.0.2.77/120\n::ffff:c000:24d\n::ffff:0:0/96\n"),
        ("default-route", "0.0.0.0/0\n::/0\n"),
        ("nested", "10.0.0.0/8 a\n10.1.0.0/16 # b\n10.1.2.3#c\n10.1.2.3;d\n"),
        ("bad", "1.2.3\n01.2.3.4\n1.2.3.4/33\n1.2.3.4/\n::1/129\nfe80::1%eth0\nexample.com\n"),
        ("control", "\u{1b}[2J\n192.0.2.1 a\u{1b}[31mb\n192.0.2.2 \u{fc}\n"),
        ("no-end", "192.0.2.1"),
        ("cut", "192.0.2.1\n10.77.0.2/3"),
        (
            "ranges",
            "198.51.100.10 - 198.51.100.20\n192.0.2.0-192.0.2.9 x\n192.0.2.1- 192.0.2.7\n\
             192.0.2.1 -192.0.2.7\n192.0.2.1 to 192.0.2.9\n2001:db8:: - 2001:db8::f\n",
        ),
        (
            "netmasks",
            "198.51.100.0 255.255.255.0\n198.51.100.0/255.255.0.0\n10.0.0.0 mask 255.0.0.0\n\
             198.51.100.0 /24\n198.51.100.0 255.255.255.0 5 hits\n",
        ),
        ("dshield", "Start\tEnd\tNetmask\n198.51.100.0\t198.51.100.255\t24\t350\tNAME\tDE\n"),
        (
            "json",
            "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n\
             {\"type\":\"metadata\",\"records\":1}\n",
        ),
        ("carriage-returns", "192.0.2.1\r192.0.2.2\r\n192.0.2.3\r"),
    ])
}

fn mmdb() -> Seeds {
    let mut six = Mmdb::new(6);
    six.nodes = vec![[Record::Node(1), Record::Nothing], [Record::Data(0), Record::Nothing]];
    six.data = map(&[
        ("country", map(&[("iso_code", text("DE"))])),
        ("registered_country", map(&[("iso_code", text("FR"))])),
    ]);
    let one = |data: Vec<u8>| {
        let mut mmdb = Mmdb::new(4);
        mmdb.nodes = vec![[Record::Data(0), Record::Nothing]];
        mmdb.data = data;
        mmdb.bytes()
    };
    let mut sharing = Mmdb::sample();
    sharing.nodes = (1..8).map(|next| [Record::Node(next); 2]).collect();
    sharing.nodes.push([Record::Data(0); 2]);
    vec![
        ("sample", Mmdb::sample().bytes()),
        ("six", six.bytes()),
        ("registered", one(map(&[("registered_country", map(&[("iso_code", text("AT"))]))]))),
        ("no-country", one(map(&[("city", map(&[("name", text("Wien"))]))]))),
        ("bad-code", one(map(&[("country", map(&[("iso_code", text("123"))]))]))),
        ("pointer", one(pointer(0))),
        ("pointer-outside", one(pointer(0xffff_ffff))),
        ("shared-nodes", sharing.bytes()),
    ]
}

fn ranges() -> Seeds {
    let mut random = mxdp_fuzz::random::SplitMix::new(1);
    ["a", "b", "c", "d", "e", "f"]
        .into_iter()
        .zip([20, 60, 200, 400, 800, 1600])
        .map(|(name, count)| (name, random.bytes(count)))
        .collect()
}

fn proxy_header() -> Seeds {
    let v2 = |head: &[u8], body: &[u8]| {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], head, &length, body].concat()
    };
    let tcp4 = [192, 0, 2, 1, 198, 51, 100, 1, 4, 1, 0, 25];
    let tcp6 = [&[0x20, 1, 13, 0xb8][..], &[0; 28], &[4, 1, 0, 25]].concat();
    let with_tlv = [&tcp4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
    let mut seeds = texts(&[
        ("v1-tcp4", "PROXY TCP4 192.0.2.1 198.51.100.1 1025 25\r\nEHLO a\r\n"),
        ("v1-tcp6", "PROXY TCP6 2001:db8::1 2001:db8::2 1025 25\r\n"),
        ("v1-unknown", "PROXY UNKNOWN\r\n"),
        ("v1-unknown-long", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"),
        ("v1-begun", "PROXY TCP4 192.0."),
        ("v1-bad-port", "PROXY TCP4 192.0.2.1 198.51.100.1 010 65536\r\n"),
        ("v1-bare", "PROXY TCP4 192.0.2.1 198.51.100.1 1025 25\n"),
        ("none", "EHLO client.example\r\n"),
    ]);
    seeds.extend([
        ("v2-tcp4", v2(&[0x21, 0x11], &tcp4)),
        ("v2-tcp6", v2(&[0x21, 0x21], &tcp6)),
        ("v2-udp4", v2(&[0x21, 0x12], &tcp4)),
        ("v2-tlv", v2(&[0x21, 0x11], &with_tlv)),
        ("v2-unix", v2(&[0x21, 0x31], &[b'/'; 216])),
        ("v2-local", v2(&[0x20, 0], &[])),
        ("v2-local-addresses", v2(&[0x20, 0x11], &tcp4)),
        ("v2-short", v2(&[0x21, 0x11], &tcp4[..4])),
        ("v2-begun", v2(&[0x21, 0x11], &tcp4)[..20].to_vec()),
        ("v2-bad-version", v2(&[0x31, 0x11], &tcp4)),
    ]);
    seeds
}

fn smtp_data() -> Seeds {
    texts(&[
        ("plain", "\u{28}Subject: s\r\n\r\nbody\r\n.\r\n"),
        ("dots", "\u{28}..\r\n.a\r\n...\r\n.\r\n"),
        ("bare-lf", "\u{28}a\nb\r\n.\r\n"),
        ("smuggled", "\u{28}a\r\n.\nMAIL FROM:<x@y>\r\n.\r\n"),
        ("smuggled-cr", "\u{28}a\r.\r\nb\r\n.\r\n"),
        ("normalised", "\u{29}a\nb\n.\n"),
        ("chunks", "\u{2a}a\r\n.\r\nb"),
        ("nul", "\u{28}a\0b\r\n.\r\n"),
        ("received", "\u{28}Received: a\r\nReceived: b\r\n c\r\n\r\n.\r\n"),
        ("byte-by-byte", "\u{4}a\r\n..b\r\n.\r\n"),
    ])
}

fn smtp_words() -> Seeds {
    texts(&[
        ("ehlo", "EHLO client.example\r\n"),
        ("helo-literal", "HELO [IPv6:2001:db8::1]\r\n"),
        ("mail", "MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+20y"),
        ("mail-quoted", "MAIL FROM:<\"a b\\\"c\"@[192.0.2.1]>"),
        ("mail-route", "MAIL FROM:<@a.example,@b.example:c@d.example>"),
        ("rcpt", "RCPT TO:<gr\u{fc}n@b\u{fc}cher.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b"),
        ("postmaster", "RCPT TO:<Postmaster>"),
        ("bdat", "BDAT 1000 LAST"),
        ("address", "a.b+c@xn--bcher-kva.example"),
        ("quoted", "\"a@b\"@c.example"),
        ("reply", "250-first\r\n250-2.1.0 second\r\n250 last\r\n"),
        ("reply-enhanced", "550 5.7.1 refused\r\n"),
    ])
}

/// A piece of a session: who speaks (the low bits), and what.
fn says(who: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() << 3).expect("a short text");
    [&[who | length], text.as_bytes()].concat()
}

fn smtp_session() -> Seeds {
    let begun = [
        says(0, "EHLO a\r\n"),
        says(0, "MAIL FROM:<a@b>\r\n"),
        says(0, "RCPT TO:<c@d>\r\n"),
        says(5, ""),
        says(5, ""),
    ]
    .concat();
    let with = |pieces: &[Vec<u8>]| [&begun[..], &pieces.concat()].concat();
    let data = [says(0, "DATA\r\n"), says(6, "")].concat();
    vec![
        ("message", with(&[data.clone(), says(0, "Subject: s\r\n\r\nb\r\n.\r\n"), says(5, "")])),
        ("two-messages", with(&[data.clone(), says(0, "a\r\n.\r\n"), says(5, ""), begun.clone()])),
        ("refused", with(&[data.clone(), says(0, "a\r\n.\r\n"), says(4, "550 5.7.1 no\r\n")])),
        ("bare-lf", with(&[data, says(0, "a\n.\nb\r\n.\r\n")])),
        ("chunks", with(&[says(0, "BDAT 3\r\nabc"), says(6, ""), says(0, "BDAT 0 LAST\r\n")])),
        ("reset", with(&[says(0, "RSET\r\n"), begun.clone()])),
        ("early-talker", says(0, "QUIT\r\nNOOP\r\n")),
        ("tls", [says(0, "EHLO a\r\n"), says(0, "STARTTLS\r\nNOOP\r\n")].concat()),
        ("backend-ends", with(&[says(4, "421 4.3.2 bye\r\n"), says(7, "")])),
        ("nonsense", says(4, "nonsense\r\n")),
    ]
}

/// Steps by their numbers in `mxdp_fuzz::fuzz::smtp_model`; 32 more sends the next with
/// it, 64 more byte by byte.
fn smtp_model() -> Seeds {
    vec![
        ("message", vec![0, 2, 6, 13, 31]),
        ("grouped", vec![0, 2 + 32, 6 + 32, 10 + 32, 11 + 32, 13, 31]),
        ("byte-by-byte", vec![64, 66, 70, 77, 95]),
        ("chunks", vec![0, 2, 6, 16, 16, 18, 2, 6, 19, 31]),
        ("chunks-and-others", vec![0, 2, 6, 16, 6, 13, 2, 20, 2, 6, 18]),
        ("no-recipient", vec![0, 2, 10, 11, 12, 13, 18, 20]),
        ("out-of-order", vec![2, 6, 13, 16, 19, 0, 6, 13, 16, 2, 2]),
        ("too-many", vec![0, 5, 6, 6, 6, 6, 6, 13]),
        ("tls", vec![0, 2, 6, 25, 2, 0, 25, 2, 6, 13]),
        ("side-talk", vec![1, 21, 22, 23, 24, 26, 27, 28, 29, 30, 31]),
        ("hello-again", vec![0, 2, 6, 0, 6, 2, 1, 13]),
    ]
}

fn spf_record() -> Seeds {
    let zone = |lines: &[&[u8]]| lines.join(&b'\n');
    let from = |lines: &[&[u8]]| {
        let head: [&[u8]; 3] = [&[192, 0, 2, 1], b"client.example.org", b"a"];
        zone(&[&head, lines].concat())
    };
    vec![
        ("ip4", from(&[b"v=spf1 ip4:192.0.2.0/24 -all"])),
        (
            "ip6",
            zone(&[
                b" \x01\x0d\xb8abcdefghijkl",
                b"c.example",
                b"",
                b"v=spf1 ip6:2001:db8::/32 ~all",
            ]),
        ),
        (
            "a-mx",
            from(&[
                b"v=spf1 a mx/24 -all",
                &[198, 51, 100, 1],
                b"m.example n.example",
                &[192, 0, 2, 9],
            ]),
        ),
        ("include", from(&[b"v=spf1 include:b.example ?all", b"v=spf1 ip4:192.0.2.1 -all"])),
        ("redirect", from(&[b"v=spf1 redirect=_spf.example.org", b"v=spf1 -all"])),
        (
            "macros",
            from(&[b"v=spf1 exists:%{ir}.%{l1r-}.%{d2}.%{v}.x.example -all", &[127, 0, 0, 2]]),
        ),
        (
            "explanation",
            from(&[b"v=spf1 -all exp=%{s}.e.example", b"%{i} is not %{h}%% %_ %{c} %{t}"]),
        ),
        (
            "ptr",
            from(&[
                b"v=spf1 ptr:example.org -all",
                b"client.example.org other.example",
                &[192, 0, 2, 1],
            ]),
        ),
        ("loop", from(&[b"v=spf1 include:example.org -all"])),
        ("two-records", from(&[b"v=spf1 -all|v=spf1 +all"])),
        ("other-texts", from(&[b"x|v=spf1 +all|v=spf10"])),
        ("wrong", from(&[b"v=spf1 ip4:192.0.2.0/33 -all"])),
        ("none", from(&[b"!"])),
        ("time-out", from(&[b"?"])),
        ("voids", from(&[b"v=spf1 a:x.example a:y.example a:z.example -all", b"!", b"", b"!"])),
        ("less", from(&[b"v=spf1 -ip4:192.0.2.0/25 ip4:192.0.2.0/24 a:b.example//64 ~all"])),
    ]
}

fn dns_answers() -> Seeds {
    let name = b"\x07example\x03org\0";
    let message = |kind: u8, records: &[(u8, &[u8])]| {
        let count = u8::try_from(records.len()).expect("few");
        let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
        bytes.extend(name);
        bytes.extend([0, kind, 0, 1]);
        for (kind, data) in records {
            // The name is a pointer to the question's.
            bytes.extend([0xc0, 12, 0, *kind, 0, 1, 0, 0, 1, 44]);
            bytes.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    };
    let record = b"\x1av=spf1 ip4:192.0.2.0/24 -a\x02ll";
    vec![
        ("a", message(1, &[(1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])])),
        ("aaaa", message(28, &[(28, b" \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01")])),
        ("mx", message(15, &[(15, b"\0\x0a\x04mail\xc0\x0c"), (15, b"\0\x14\x02mx\xc0\x0c")])),
        ("null-mx", message(15, &[(15, b"\0\0\0")])),
        ("ptr", message(12, &[(12, b"\x06Client\xc0\x0c"), (12, b"\x03\xff.a\0")])),
        ("txt", message(16, &[(16, record)])),
        ("two-texts", message(16, &[(16, record), (16, b"\x01x")])),
        ("alias", message(1, &[(5, b"\x01b\xc0\x0c"), (1, &[192, 0, 2, 1])])),
        ("pointer-loop", message(12, &[(12, b"\xc0\x29")])),
        ("nothing", message(1, &[])),
        ("cut", message(16, &[(16, record)])[..50].to_vec()),
    ]
}

fn api_query() -> Seeds {
    texts(&[
        ("ip", "ip=192.0.2.0/24\n+ip=192.0.2.7"),
        ("ip-six", "ip=2001:db8::/33\n+ip=2001:db8::1"),
        ("ip-mapped", "ip=::ffff:192.0.2.0/120\n+ip=::ffff:192.0.2.7"),
        ("sender", "sender=<John.Smith@mail.example.org>\n+sender=john.smith@mail.example.org"),
        ("null-sender", "sender=<>\n+sender="),
        ("domain", "sender=*@example.org\n+sender=a@example.org"),
        ("parent", "recipient=*.example.org\n+recipient=a@b.mail.example.org"),
        ("pieces", "sender=john*smi*@*.org\n+sender=john.smith@example.org"),
        ("quoted", "sender=*b\"@c.example\n+sender=\"a@b\"@c.example"),
        (
            "folded",
            "text=\u{130}stanbul STRASSE\n+subject=i\u{307}stanbul strasse \u{3a3}\u{391}\u{3a3}",
        ),
        ("text", "text=your invoice\n+subject=Your Invoice\n+message_id=1@example.org"),
        ("reference", "reference=ab12-1\n+reference=AB12-1\n+session=AB12"),
        (
            "lists",
            "status=temporary,permanent\nstage=connection,syn\nreason=blocked_ip\ncountry=DE,none",
        ),
        ("kind", "type=blocked\ndirection=inbound\n+country=DE"),
        ("times", "since=24h\nuntil=now\n+time=1795407246000"),
        ("dates", "since=2026-11-23\nuntil=2026-11-23T04:14:07.5+01:00"),
        ("page", "limit=1000\nbefore=18446744073709551615\nafter=0"),
        ("wrong", "limit=0\nbefore=-1\nip=x\ncountry=DEU\ntype=x\nsince=1y\nnothing=1\nuntil=7w"),
    ])
}

/// What is in the repository, and small ones with each section.
fn config() -> Result<Seeds> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let read = |name: &str| fs::read(repository.join(name));
    let filter = "[filter]\ninterfaces = [\"eth0\"]\n";
    let sections = [
        ("empty", ""),
        (
            "lists",
            "[blocked]\nfiles = [\"a\", { path = \"b\", on_bad_line = \"skip\", force = true }]\naddresses = [\"192.0.2.1/24\"]\n",
        ),
        ("countries", "[countries]\ndatabase = \"x.mmdb\"\n[blocked]\ncountries = [\"DE\"]\n"),
        ("rate", "[syn_rate]\nipv4 = { per_second = 20, burst = 100 }\n"),
        ("limits", "[limits]\nprefixes = 3\n[filter.unknown]\n"),
        ("twice", "[limits]\n[limits]\n"),
        ("wrong-types", "[limits]\nprefixes = \"x\"\n[log]\nlevel = 5\n[control]\nsocket = 7\n"),
    ];
    let mut seeds: Seeds = sections
        .iter()
        .map(|(name, text)| (*name, format!("{filter}{text}").into_bytes()))
        .collect();
    seeds.push(("packaged", read("mxdp.toml")?));
    seeds.push(("trial", read("trial.toml")?));
    seeds.push(("latin", b"[filter]\n# gr\xfcn\n".to_vec()));
    Ok(seeds)
}
