//! Packet vectors: the same frames through the program in the kernel and through
//! the shared code on slices, whole and cut off at every length.

use std::net::IpAddr;

use filter_common::abi::{Settings, SourceKey, SynRate, TemporaryBlock};
use filter_common::verdict::{Tables, judge};
use filter_common::{
    Address, Class, ClassSet, Disposition, Enforcement, Family, Reason, Syn, frame,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mxdp::config::KernelLog;
use mxdp::io::kernel::{Capacities, Change, Filter, Options, Prepared};
use mxdp::lists::Table;
use mxdp_tests::frames::*;
use mxdp_tests::tables::engine;

/// One frame and the reason at each of its lengths: from each listed length on,
/// up to the next, a frame cut off there has that reason.
struct Vector {
    name: &'static str,
    frame: Vec<u8>,
    reasons: Vec<(usize, Reason)>,
}

impl Vector {
    fn expected(&self, length: usize) -> Reason {
        let step = self.reasons.iter().rev().find(|(from, _)| *from <= length);
        step.expect("the first step is at 0").1
    }
}

/// A frame with its IP header at 14.
fn vector(name: &'static str, frame: Vec<u8>, steps: &[(usize, Reason)]) -> Vector {
    vector_at(14, name, frame, steps)
}

/// A frame with its IP header at `network`.
fn vector_at(
    network: usize,
    name: &'static str,
    frame: Vec<u8>,
    steps: &[(usize, Reason)],
) -> Vector {
    let mut reasons = vec![(0, Reason::NotIp), (network, Reason::Malformed)];
    reasons.extend(steps.iter().map(|(from, reason)| (network + from, *reason)));
    Vector { name, frame, reasons }
}

const BLOCKED: &str = "192.0.2.2";
const BLOCKED_V6: &str = "2001:db8::2";

fn vectors() -> Vec<Vector> {
    let all = [
        plain(),
        classes(),
        ipv4_headers(),
        ipv4_fragments(),
        tags(),
        sessions(),
        ipv6_headers(),
        ipv6_fragments(),
        segments(),
    ];
    all.into_iter().flatten().collect()
}

fn plain() -> Vec<Vector> {
    let syn = tcp(25, SYN);
    let v4 = |flags| V4::from(BLOCKED).frame(&tcp(25, flags));
    let to = |port| V4::from(BLOCKED).frame(&tcp(port, SYN));
    let with_data = [syn.as_slice(), b"EHLO fast.example\r\n"].concat();
    let mut arp = ethernet(0x0806, &[0; 28]);
    arp.resize(60, 0);
    let mut v = vec![
        vector("SYN", v4(SYN), &[(40, Reason::BlockedIp)]),
        vector("SYN ECE CWR", v4(SYN | ECE | CWR), &[(40, Reason::BlockedIp)]),
        vector("SYN FIN", v4(SYN | FIN), &[(40, Reason::BlockedIp)]),
        vector("SYN ACK", v4(SYN | ACK), &[(40, Reason::NotSyn)]),
        vector("SYN RST", v4(SYN | RST), &[(40, Reason::NotSyn)]),
        vector("ACK", v4(ACK), &[(40, Reason::NotSyn)]),
        vector("no flags", v4(0), &[(40, Reason::NotSyn)]),
        vector("submission", to(587), &[(40, Reason::BlockedIp)]),
        vector("implicit TLS", to(465), &[(40, Reason::BlockedIp)]),
        vector("HTTP", to(80), &[(40, Reason::OtherPort)]),
        vector("port 0", to(0), &[(40, Reason::OtherPort)]),
        vector("port 65535", to(65535), &[(40, Reason::OtherPort)]),
        vector("data in the SYN", V4::from(BLOCKED).frame(&with_data), &[(40, Reason::BlockedIp)]),
        vector(
            "UDP",
            V4 { protocol: UDP, ..V4::from(BLOCKED) }.frame(&udp(25)),
            &[(20, Reason::NotTcp)],
        ),
        vector("IPv6 SYN", v6_frame(BLOCKED_V6, TCP, &syn), &[(60, Reason::BlockedIp)]),
        vector("IPv6 ACK", v6_frame(BLOCKED_V6, TCP, &tcp(25, ACK)), &[(60, Reason::NotSyn)]),
        vector("IPv6 HTTP", v6_frame(BLOCKED_V6, TCP, &tcp(80, SYN)), &[(60, Reason::OtherPort)]),
        vector("IPv6 UDP", v6_frame(BLOCKED_V6, UDP, &udp(25)), &[(8, Reason::NotTcp)]),
        Vector { name: "ARP", frame: arp, reasons: vec![(0, Reason::NotIp)] },
    ];
    let mut padded = v4(SYN);
    padded.resize(60, 0xff);
    v.push(vector("Ethernet padding", padded, &[(40, Reason::BlockedIp)]));
    v
}

/// Every class by IPv4 and IPv6, an IPv4-mapped address, and none.
fn classes() -> Vec<Vector> {
    let syn = tcp(25, SYN);
    let v4 = |host: &str| V4::from(&format!("192.0.2.{host}")).frame(&syn);
    let v6 = |host: &str| v6_frame(&format!("2001:db8::{host}"), TCP, &syn);
    let mut vectors = Vec::new();
    for (name, host, reason) in [
        ("approved IP", "1", Reason::ApprovedIp),
        ("approved country", "3", Reason::ApprovedCountry),
        ("blocked country", "4", Reason::BlockedCountry),
        ("known spam source", "5", Reason::KnownSpamSourceReject),
        ("approved and blocked IP", "6", Reason::ApprovedIp),
        ("blocked IP in an approved country", "7", Reason::BlockedIp),
        ("no list", "9", Reason::Unlisted),
        ("temporary block", "10", Reason::TemporaryBlock),
        ("temporary block that lapsed", "11", Reason::Unlisted),
        ("approved under a temporary block", "12", Reason::ApprovedIp),
    ] {
        vectors.push(vector(name, v4(host), &[(40, reason)]));
        // Temporary blocks of IPv6 are by /64 and get vectors of their own.
        if !name.contains("temporary") {
            vectors.push(vector(name, v6(host), &[(60, reason)]));
        }
    }
    let v6 = |address| v6_frame(address, TCP, &syn);
    vectors.extend([
        vector("IPv6 temporary block", v6("2001:db8:0:10::77"), &[(60, Reason::TemporaryBlock)]),
        vector("beside it", v6("2001:db8:0:11::77"), &[(60, Reason::Unlisted)]),
        vector("IPv4-mapped", v6("::ffff:192.0.2.2"), &[(60, Reason::BlockedIp)]),
        vector("IPv4-mapped, no list", v6("::ffff:192.0.2.9"), &[(60, Reason::Unlisted)]),
        vector("IPv4-compatible is not mapped", v6("::192.0.2.2"), &[(60, Reason::Unlisted)]),
    ]);
    vectors
}

fn ipv4_headers() -> Vec<Vector> {
    let syn = tcp(25, SYN);
    let whole = V4::from(BLOCKED);
    let edited = |at: usize, value: u8| {
        let mut frame = whole.frame(&syn);
        frame[14 + at] = value;
        frame
    };
    let mut v: Vec<_> = (1..=10)
        .map(|options: u8| {
            let frame = V4 { options, ..whole }.frame(&syn);
            let end = 40 + usize::from(options) * 4;
            vector("IPv4 options", frame, &[(end, Reason::BlockedIp)])
        })
        .collect();
    v.extend([
        vector("IHL of 4", edited(0, 0x44), &[]),
        vector("IHL of 0", edited(0, 0x40), &[]),
        vector("version 5", edited(0, 0x55), &[]),
        vector("total length below the header", edited(3, 19), &[]),
        vector("total length in the TCP header", edited(3, 39), &[]),
        vector("total length without TCP", edited(3, 20), &[]),
        vector("IHL behind the total length", edited(0, 0x4f), &[]),
    ]);
    v
}

fn ipv4_fragments() -> Vec<Vector> {
    let syn = tcp(25, SYN);
    let first = V4 { more: true, ..V4::from(BLOCKED) };
    let at = |offset| V4 { offset, ..V4::from(BLOCKED) };
    let too_short = [(20, Reason::FragmentTooShort)];
    let mut v = vec![
        vector(
            "first fragment with the header",
            first.frame(&syn),
            &[(20, Reason::FragmentTooShort), (40, Reason::BlockedIp)],
        ),
        vector(
            "first fragment with options",
            V4 { options: 2, ..first }.frame(&syn),
            &[(20, Reason::FragmentTooShort), (48, Reason::BlockedIp)],
        ),
        vector("fragment at offset 1", at(1).frame(&syn[8..]), &[(20, Reason::FragmentOffsetOne)]),
        vector(
            "middle fragment at offset 1",
            V4 { more: true, ..at(1) }.frame(&syn[8..]),
            &[(20, Reason::FragmentOffsetOne)],
        ),
        vector("fragment at offset 2", at(2).frame(&syn), &[(20, Reason::LaterFragment)]),
        vector("last offset", at(0x1fff).frame(&syn), &[(20, Reason::LaterFragment)]),
        vector(
            "UDP fragment at offset 1",
            V4 { protocol: UDP, ..at(1) }.frame(&syn),
            &[(20, Reason::NotTcp)],
        ),
        vector(
            "first UDP fragment, tiny",
            V4 { protocol: UDP, ..first }.frame(&[]),
            &[(20, Reason::NotTcp)],
        ),
    ];
    for length in [0, 4, 8, 13, 14, 19] {
        v.push(vector("tiny first fragment", first.frame(&syn[..length]), &too_short));
        // Padding behind the packet is not part of it.
        let mut padded = first.frame(&syn[..length]);
        padded.extend(&syn);
        v.push(vector("tiny first fragment, padded", padded, &too_short));
    }
    v
}

fn tags() -> Vec<Vector> {
    let v4 = V4::from(BLOCKED).packet(&tcp(25, SYN));
    let v6 = v6(BLOCKED_V6, TCP, &tcp(25, SYN));
    let one = |tag, kind, packet: &[u8]| ethernet(tag, &vlan(100, kind, packet));
    let two = |outer, inner, kind, packet: &[u8]| {
        ethernet(outer, &vlan(200, inner, &vlan(100, kind, packet)))
    };
    let three = ethernet(DOT1AD, &vlan(1, DOT1Q, &vlan(2, DOT1Q, &vlan(3, IPV4, &v4))));
    let blocked_v4 = [(40, Reason::BlockedIp)];
    let blocked_v6 = [(60, Reason::BlockedIp)];
    vec![
        vector_at(18, "VLAN", one(DOT1Q, IPV4, &v4), &blocked_v4),
        vector_at(18, "VLAN, IPv6", one(DOT1Q, IPV6, &v6), &blocked_v6),
        vector_at(18, "service tag alone", one(DOT1AD, IPV4, &v4), &blocked_v4),
        vector_at(22, "QinQ", two(DOT1AD, DOT1Q, IPV4, &v4), &blocked_v4),
        vector_at(22, "QinQ, IPv6", two(DOT1AD, DOT1Q, IPV6, &v6), &blocked_v6),
        vector_at(22, "802.1Q twice", two(DOT1Q, DOT1Q, IPV4, &v4), &blocked_v4),
        Vector {
            name: "three tags",
            frame: three,
            reasons: vec![(0, Reason::NotIp), (22, Reason::VlanChain)],
        },
        Vector {
            name: "VLAN, ARP",
            frame: one(DOT1Q, 0x0806, &[0; 28]),
            reasons: vec![(0, Reason::NotIp)],
        },
    ]
}

/// PPPoE sessions, whose PPP device carries no Ethernet header.
fn sessions() -> Vec<Vector> {
    let v4 = V4::from(BLOCKED).packet(&tcp(25, SYN));
    let v6 = v6(BLOCKED_V6, TCP, &tcp(25, SYN));
    let session = |protocol: &[u8], packet: &[u8]| ethernet(PPPOE, &pppoe(protocol, packet));
    let tagged =
        |protocol: &[u8], packet: &[u8]| ethernet(DOT1Q, &vlan(7, PPPOE, &pppoe(protocol, packet)));
    let twice = ethernet(DOT1AD, &vlan(1, DOT1Q, &vlan(2, PPPOE, &pppoe(&[0, 0x57], &v6))));
    let other = ethernet(0x8863, &pppoe(&[0, 0x21], &v4));
    let not_ip = |name, frame| Vector { name, frame, reasons: vec![(0, Reason::NotIp)] };
    let blocked_v4 = [(40, Reason::BlockedIp)];
    let blocked_v6 = [(60, Reason::BlockedIp)];
    vec![
        vector_at(22, "PPPoE", session(&[0, 0x21], &v4), &blocked_v4),
        vector_at(22, "PPPoE, IPv6", session(&[0, 0x57], &v6), &blocked_v6),
        // The number in one octet: only the octet behind it tells.
        in_short("PPPoE, short number", session(&[0x21], &v4), &blocked_v4),
        in_short("PPPoE, short number, IPv6", session(&[0x57], &v6), &blocked_v6),
        vector_at(26, "PPPoE in a VLAN", tagged(&[0, 0x21], &v4), &blocked_v4),
        vector_at(26, "PPPoE in a VLAN, IPv6", tagged(&[0, 0x57], &v6), &blocked_v6),
        vector_at(30, "PPPoE in QinQ, IPv6", twice, &blocked_v6),
        not_ip("PPPoE, LCP", session(&[0xc0, 0x21], &v4)),
        not_ip("PPPoE, compressed data", session(&[0, 0xfd], &v4)),
        not_ip("PPPoE discovery", other),
        not_ip("PPPoE in three tags is none", ethernet(0x9100, &vlan(1, PPPOE, &v4))),
    ]
}

/// A PPPoE frame whose protocol number has one octet: its IP header is at 21, and is seen
/// to be there with its first octet.
fn in_short(name: &'static str, frame: Vec<u8>, steps: &[(usize, Reason)]) -> Vector {
    let mut reasons = vec![(0, Reason::NotIp), (22, Reason::Malformed)];
    reasons.extend(steps.iter().map(|(from, reason)| (21 + from, *reason)));
    Vector { name, frame, reasons }
}

/// Packets inside segment routing headers, which Linux unpacks by itself.
fn segments() -> Vec<Vector> {
    let inner_v4 = V4::from(BLOCKED).packet(&tcp(25, SYN));
    let inner_v6 = v6(BLOCKED_V6, TCP, &tcp(25, SYN));
    let outer = |first, payload: &[u8]| v6_frame("2001:db8::9", first, payload);
    let segment_routing = [(44, Reason::SegmentRouting)];
    let mut vectors = Vec::new();
    for (kind, left) in [(4, 0), (4, 1), (3, 0)] {
        for (next, inner) in [(4, &inner_v4), (41, &inner_v6)] {
            let routed = |units| outer(ROUTING, &routing(next, kind, left, units, inner));
            vectors.push(vector("segment routing", routed(2), &segment_routing));
            vectors.push(vector("segment routing, no segment", routed(0), &segment_routing));
        }
    }
    let routed = routing(41, 4, 0, 2, &inner_v6);
    let behind = outer(DESTINATION, &extension(ROUTING, 0, &routed));
    vectors.push(vector("segment routing behind options", behind, &[(52, Reason::SegmentRouting)]));
    // What Linux does not unpack, and what the header itself carries.
    let to_itself = v6_frame(BLOCKED_V6, ROUTING, &routing(TCP, 4, 0, 2, &tcp(25, SYN)));
    vectors.push(vector("segment routing before TCP", to_itself, &[(84, Reason::BlockedIp)]));
    let mobile = outer(ROUTING, &routing(41, 2, 0, 2, &inner_v6));
    vectors.push(vector("a home address before IPv6", mobile, &[(44, Reason::NotTcp)]));
    let options = routing(DESTINATION, 4, 0, 2, &extension(41, 0, &inner_v6));
    vectors.push(vector("options between", outer(ROUTING, &options), &[(68, Reason::NotTcp)]));
    vectors.push(vector("IPv6 in IPv6", outer(41, &inner_v6), &[(8, Reason::NotTcp)]));
    vectors
}

fn ipv6_headers() -> Vec<Vector> {
    let syn = tcp(25, SYN);
    let from = |next, payload: &[u8]| v6_frame(BLOCKED_V6, next, payload);
    let chain = |count: usize| {
        (0..count).fold((TCP, syn.clone()), |(next, payload), _| {
            (DESTINATION, extension(next, 0, &payload))
        })
    };
    let mut v = Vec::new();
    for (name, header) in
        [("hop-by-hop", HOP_BY_HOP), ("routing", ROUTING), ("destination options", DESTINATION)]
    {
        v.push(vector(name, from(header, &extension(TCP, 0, &syn)), &[(68, Reason::BlockedIp)]));
        v.push(vector(
            name,
            from(header, &extension(TCP, 255, &syn)),
            &[(60 + 2048, Reason::BlockedIp)],
        ));
        v.push(vector(name, from(header, &extension(UDP, 0, &udp(25))), &[(44, Reason::NotTcp)]));
    }
    let all = extension(DESTINATION, 1, &extension(AH, 0, &authentication(TCP, 4, &syn)));
    v.push(vector(
        "every header",
        from(HOP_BY_HOP, &extension(ROUTING, 0, &all)),
        &[(60 + 8 + 16 + 8 + 24, Reason::BlockedIp)],
    ));
    v.push(vector("AH", from(AH, &authentication(TCP, 4, &syn)), &[(84, Reason::BlockedIp)]));
    v.push(vector("ESP", from(50, &syn), &[(8, Reason::NotTcp)]));
    v.push(vector("no next header", from(59, &syn), &[(8, Reason::NotTcp)]));
    let (next, payload) = chain(8);
    v.push(vector("eight headers", from(next, &payload), &[(124, Reason::BlockedIp)]));
    for count in [9, 20] {
        let (next, payload) = chain(count);
        v.push(vector(
            "too many",
            from(next, &payload),
            &[(40 + 7 * 8 + 4, Reason::ExtensionChain)],
        ));
    }
    let mut short = from(DESTINATION, &extension(TCP, 0, &syn));
    short[14 + 5] = 7;
    v.push(vector("payload length in an extension header", short, &[]));
    let mut short = from(TCP, &syn);
    short[14 + 5] = 19;
    v.push(vector("payload length in the TCP header", short, &[]));
    let mut none = from(TCP, &syn);
    none[14 + 5] = 0;
    v.push(vector("payload length of zero", none, &[]));
    // Linux goes by the frame's end then, with or without the jumbo option.
    let mut jumbogram = from(HOP_BY_HOP, &extension(TCP, 0, &syn));
    jumbogram[14 + 5] = 0;
    v.push(vector("payload length of a jumbogram", jumbogram, &[(68, Reason::BlockedIp)]));
    let mut version = from(TCP, &syn);
    version[14] = 0x40;
    v.push(vector("version 4 in IPv6", version, &[]));
    let behind = from(DESTINATION, &[vec![TCP, 200], vec![0; 30]].concat());
    v.push(vector("extension header longer than the packet", behind, &[]));
    v
}

fn ipv6_fragments() -> Vec<Vector> {
    let syn = tcp(25, SYN);
    let from = |payload: &[u8]| v6_frame(BLOCKED_V6, FRAGMENT, payload);
    let options = extension(TCP, 0, &syn);
    vec![
        vector("atomic fragment", from(&fragment(TCP, 0, false, &syn)), &[(68, Reason::BlockedIp)]),
        vector(
            "first fragment",
            from(&fragment(TCP, 0, true, &syn)),
            &[(44, Reason::FragmentTooShort), (68, Reason::BlockedIp)],
        ),
        vector(
            "first fragment, options before TCP",
            from(&fragment(DESTINATION, 0, true, &options)),
            &[(44, Reason::FragmentTooShort), (76, Reason::BlockedIp)],
        ),
        vector(
            "first fragment, half a TCP header",
            from(&fragment(TCP, 0, true, &syn[..8])),
            &[(44, Reason::FragmentTooShort)],
        ),
        vector(
            "first fragment that ends in its options",
            from(&fragment(DESTINATION, 0, true, &[TCP, 0, 0, 0, 0, 0, 0, 0])),
            &[(44, Reason::FragmentTooShort)],
        ),
        vector(
            "first UDP fragment",
            from(&fragment(UDP, 0, true, &udp(25))),
            &[(44, Reason::NotTcp)],
        ),
        vector(
            "later fragment",
            from(&fragment(TCP, 1, true, &syn)),
            &[(44, Reason::LaterFragment)],
        ),
        vector(
            "last fragment",
            from(&fragment(TCP, 0x1fff, false, &syn)),
            &[(44, Reason::LaterFragment)],
        ),
    ]
}

/// The lists of the vectors, for the model and for the kernel.
const LISTED: [(&str, &[Class]); 7] = [
    ("1", &[Class::ApprovedIp]),
    ("2", &[Class::BlockedIp]),
    ("3", &[Class::ApprovedCountry]),
    ("4", &[Class::BlockedCountry]),
    ("5", &[Class::KnownSpamSource]),
    ("6", &[Class::ApprovedIp, Class::BlockedIp]),
    ("7", &[Class::BlockedIp, Class::ApprovedCountry]),
];

fn listed() -> Vec<(IpAddr, ClassSet)> {
    let mut all =
        vec![("192.0.2.12".parse().expect("an address"), ClassSet::of(Class::ApprovedIp))];
    for (host, classes) in LISTED {
        let set = classes.iter().fold(ClassSet::EMPTY, |set, class| set.with(*class));
        all.push((format!("192.0.2.{host}").parse().expect("an address"), set));
        all.push((format!("2001:db8::{host}").parse().expect("an address"), set));
    }
    all.sort();
    all
}

fn settings() -> Settings {
    let mut settings = Settings::new(1);
    for port in [25, 465, 587] {
        settings.protect(port);
    }
    settings.enforce(Class::KnownSpamSource, Enforcement::Reject);
    settings
}

const LAPSED: u64 = 1;
const UNLAPSED: u64 = u64::MAX;

fn temporary() -> Vec<(SourceKey, u64)> {
    [
        ("192.0.2.10", UNLAPSED),
        ("192.0.2.11", LAPSED),
        ("192.0.2.12", UNLAPSED),
        ("2001:db8:0:10::1", UNLAPSED),
    ]
    .map(|(address, expires)| {
        let address = Address::from_ip(address.parse().expect("an address"));
        (SourceKey::of(&address), expires)
    })
    .into()
}

/// The tables of the vectors, in user space.
struct Model {
    settings: Settings,
    listed: Vec<(IpAddr, ClassSet)>,
    temporary: Vec<(SourceKey, u64)>,
}

impl Tables for Model {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn classes(&self, source: &Address) -> ClassSet {
        let found = self.listed.iter().find(|(address, _)| *address == source.to_ip());
        found.map_or(ClassSet::EMPTY, |(_, classes)| *classes)
    }

    fn is_blocked_for_a_time(&self, source: &SourceKey) -> bool {
        self.temporary.iter().any(|(key, expires)| key == source && *expires > LAPSED)
    }

    fn exceeds(&self, _: &SourceKey, _: SynRate) -> bool {
        unreachable!("no rate is set")
    }
}

fn filter() -> Filter {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    let options = Options { capacities, kernel_log: KernelLog::Off, pin: None };
    let mut filter = Filter::open(&options).expect("the program loads (root is needed)");
    let host = |address: &IpAddr| IpNet::from(*address);
    let (mut v4, mut v6) = (Vec::<(Ipv4Net, _)>::new(), Vec::<(Ipv6Net, _)>::new());
    for (address, classes) in listed() {
        match host(&address) {
            IpNet::V4(net) => v4.push((net, classes)),
            IpNet::V6(net) => v6.push((net, classes)),
        }
    }
    let files = Some(Prepared::build(&Table { v4, v6 }, engine().1, |_| ()).expect("tables"));
    let change = Change { files, settings: Some(settings()) };
    filter.publish(&change).expect("a generation");
    for (key, expires_ns) in temporary() {
        let block = TemporaryBlock { expires_ns, ..TemporaryBlock::default() };
        filter.temporary().insert(key, block).expect("a temporary block");
    }
    filter
}

fn judge_slice(frame: &[u8], model: &Model) -> (Reason, ClassSet) {
    let mut syn = Syn::EMPTY;
    match frame::parse(frame, &mut syn).1 {
        Ok(()) => {
            let verdict = judge(&syn, model);
            (verdict.reason, verdict.classes)
        }
        Err(reason) => (reason, ClassSet::EMPTY),
    }
}

#[test]
fn kernel_and_slice_give_the_expected_reason_at_every_length() {
    let model = Model { settings: settings(), listed: listed(), temporary: temporary() };
    let mut filter = filter();
    let mut runs = 0;
    for vector in vectors() {
        for length in 0..=vector.frame.len() {
            let frame = &vector.frame[..length];
            let context = format!("{}, {length} of {} bytes", vector.name, vector.frame.len());
            let (reason, classes) = judge_slice(frame, &model);
            assert_eq!(reason, vector.expected(length), "slice: {context}");
            // The kernel runs no frame without a whole Ethernet header.
            if length >= 14 {
                let answer = filter.ask_about(frame).unwrap_or_else(|error| {
                    panic!("kernel: {context}: {error:#}");
                });
                assert_eq!(answer, (reason, classes), "kernel: {context}");
                runs += 1;
            }
        }
    }
    assert!(runs > 10_000, "{runs} runs");
}

#[test]
fn a_frame_that_comes_in_has_the_action_of_its_reason_and_is_counted_once() {
    const XDP_DROP: u32 = 1;
    const XDP_PASS: u32 = 2;
    let mut filter = filter();
    for vector in vectors() {
        let before = filter.counters().expect("counters");
        let (action, _) = filter.run_on(&vector.frame, 1).expect("a run");
        let reason = vector.expected(vector.frame.len());
        let expected = match reason.disposition() {
            Disposition::Pass => XDP_PASS,
            Disposition::Drop => XDP_DROP,
        };
        assert_eq!(action, expected, "{}", vector.name);

        let after = filter.counters().expect("counters");
        let grown: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|((.., before), (.., after))| before != after)
            .map(|((.., before), (reason, family, after))| (*reason, *family, after - before))
            .collect();
        let [(counted, family, 1)] = grown[..] else {
            panic!("{}: counted {grown:?}", vector.name);
        };
        assert_eq!(counted, reason, "{}", vector.name);
        let is_no_ip = matches!(reason, Reason::NotIp | Reason::VlanChain);
        assert_eq!(family == Family::Other, is_no_ip, "{}", vector.name);
    }
}

/// Jumbo frames: the headers lie behind the first page, where packet pointers do
/// not reach.
#[test]
fn a_header_behind_the_linear_part_of_a_jumbo_frame_is_found() {
    let model = Model { settings: settings(), listed: listed(), temporary: temporary() };
    let mut filter = filter();
    let chain = |count: usize, flags| {
        (0..count).fold((TCP, tcp(25, flags)), |(next, payload), _| {
            (DESTINATION, extension(next, 255, &payload))
        })
    };
    for (count, flags, expected) in
        [(3, SYN, Reason::BlockedIp), (4, SYN, Reason::BlockedIp), (4, ACK, Reason::NotSyn)]
    {
        let (next, payload) = chain(count, flags);
        let mut frame = v6_frame(BLOCKED_V6, next, &payload);
        let end = frame.len();
        assert!(end > 4096);
        frame.resize(9000, 0);
        assert_eq!(judge_slice(&frame, &model).0, expected);
        let (action, _) = filter.run_on(&frame, 1).expect("a run of a jumbo frame");
        let drops = expected.disposition() == Disposition::Drop;
        assert_eq!(action == 1, drops, "{count} headers");
        // Cut off inside the TCP header.
        let (action, _) = filter.run_on(&frame[..end - 1], 1).expect("a run of a jumbo frame");
        assert_eq!(action, 2);
    }
}
