//! SYNs that come inside something else, and whose they are.

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::frames::{self, PPPOE, ROUTING, SYN, ethernet, pppoe, routing, tcp, v6, v6_frame};
use mxdp_tests::netns::Wire;
use mxdp_tests::scene::Scene;

const LISTS: &str = "[blocked]\naddresses = [\"192.0.2.66\", \"2001:db8::66\"]\ncountries = [\"KP\"]\n\
     [countries]\nfolder = \"countries\"\n";

fn scene() -> Scene {
    let scene = Scene::new();
    std::fs::create_dir(scene.home.path("countries")).expect("a folder");
    scene.home.write("countries/kp.cidr", "175.45.176.0/22\n");
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
    scene
}

/// Sends a frame, and waits until it is counted under a reason.
fn send(scene: &Scene, daemon: &Daemon<'_>, what: &str, frame: &[u8], reason: &str) {
    let before = daemon.frames(reason);
    scene.pair.client.run(|| Wire::new("e1").send(frame).expect("sent"));
    wait_for(&format!("{what} under {reason}"), || daemon.frames(reason) > before);
}

/// The kind: a SYN below a header that the host removes before it parses IP. The PPP
/// device of a PPPoE session carries no Ethernet header, so only the device below can be
/// filtered. Sources: ntopng#2393, RFC 2516 section 4, RFC 1661 section 6.5.
#[test]
fn a_syn_in_a_pppoe_session_is_judged() {
    let scene = scene();
    let daemon = scene.home.start(&scene.pair.edge);
    let v4 = frames::V4::from("192.0.2.66").packet(&tcp(25, SYN));
    let v6 = v6("2001:db8::66", frames::TCP, &tcp(25, SYN));
    for (protocol, packet) in
        [(&[0, 0x21][..], &v4), (&[0x21], &v4), (&[0, 0x57], &v6), (&[0x57], &v6)]
    {
        let frame = ethernet(PPPOE, &pppoe(protocol, packet));
        send(&scene, &daemon, &format!("{protocol:02x?}"), &frame, "blocked_ip");
    }
    let free = frames::V4::from("192.0.2.9").packet(&tcp(25, SYN));
    let free = ethernet(PPPOE, &pppoe(&[0, 0x21], &free));
    send(&scene, &daemon, "an unlisted source", &free, "unlisted");
    let lcp = ethernet(PPPOE, &pppoe(&[0xc0, 0x21], &[0; 40]));
    send(&scene, &daemon, "LCP", &lcp, "not_ip");
}

/// The kind: a packet inside a packet that the host unpacks by itself, so that the outer
/// source is judged and the inner one connects. Sources: RFC 8754, RFC 6554, Linux's
/// `seg6_enabled` and `rpl_seg_enabled`.
#[test]
fn a_packet_inside_a_routing_header_does_not_pass() {
    let scene = scene();
    let daemon = scene.home.start(&scene.pair.edge);
    let v4 = frames::V4::from("192.0.2.66").packet(&tcp(25, SYN));
    let inner = v6("2001:db8::66", frames::TCP, &tcp(25, SYN));
    for (kind, left, next, packet) in
        [(4, 0, 41, &inner), (4, 0, 4, &v4), (4, 1, 41, &inner), (3, 0, 41, &inner)]
    {
        let frame = v6_frame("2001:db8::9", ROUTING, &routing(next, kind, left, 2, packet));
        send(&scene, &daemon, &format!("type {kind}, {left} left"), &frame, "segment_routing");
    }
    // What the header itself leads to is judged as ever.
    let syn = routing(frames::TCP, 4, 0, 2, &tcp(25, SYN));
    let frame = v6_frame("2001:db8::66", ROUTING, &syn);
    send(&scene, &daemon, "TCP behind it", &frame, "blocked_ip");
}

/// The kind: an IPv4 host that comes by IPv6 has no country. 6to4 and NAT64 addresses have
/// the IPv4 address in them. Sources: RFC 3056, RFC 6052.
#[test]
fn an_ipv4_host_that_comes_by_ipv6_keeps_its_country() {
    let scene = scene();
    let daemon = scene.home.start(&scene.pair.edge);
    for (address, class) in [
        ("175.45.176.9", "blocked_country"),
        ("2002:af2d:b009::1", "blocked_country"),
        ("64:ff9b::af2d:b009", "blocked_country"),
        ("2002:c000:209::1", "none"),
        ("64:ff9b::c000:209", "none"),
    ] {
        let answer = daemon.look_up(address.parse().expect("an address"));
        assert_eq!(answer["class"], class, "{answer}");
        assert_eq!(answer["agree"], true, "{answer}");
        let country = if class == "none" { None } else { Some("KP") };
        assert_eq!(answer["country"].as_str(), country, "{answer}");
    }
}
