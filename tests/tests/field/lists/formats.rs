//! The forms that lists are published in, and what they say.

use super::Scene;

const BLOCKED: &str = "[blocked]\nfiles = [\"list\"]";

/// Kind: the text after an address belongs to the entry, and is not a note (DShield's
/// block.txt; pfBlockerNG#2602).
#[test]
fn ranges_netmasks_and_lengths_are_part_of_the_entry() {
    let cases: [(&str, &[&str], &[&str]); 8] = [
        (
            "Start\tEnd\tNetmask\tAttacks\n198.51.100.0\t198.51.100.255\t24\t350\tX\tDE\n",
            &["198.51.100.0", "198.51.100.255"],
            &["198.51.101.0"],
        ),
        (
            "198.51.100.10 - 198.51.100.20\n",
            &["198.51.100.10", "198.51.100.15", "198.51.100.20"],
            &["198.51.100.9", "198.51.100.21"],
        ),
        ("198.51.100.10-198.51.100.11\n", &["198.51.100.11"], &["198.51.100.12"]),
        ("198.51.100.0 255.255.255.0\n", &["198.51.100.9"], &["198.51.101.0"]),
        ("198.51.100.0/255.255.255.128\n", &["198.51.100.127"], &["198.51.100.128"]),
        ("2001:db8::10 - 2001:db8::2f\n", &["2001:db8::2f"], &["2001:db8::30"]),
        ("192.0.2.1\r192.0.2.2\r", &["192.0.2.1", "192.0.2.2"], &["192.0.2.3"]),
        ("192.0.2.9\t10\n192.0.2.10 - of Bob\n", &["192.0.2.9", "192.0.2.10"], &["192.0.2.8"]),
    ];
    for (text, blocked, free) in cases {
        let scene = Scene::new(BLOCKED, &[("list", text)]);
        for (addresses, class) in [(blocked, "blocked_ip"), (free, "none")] {
            for address in addresses {
                assert_eq!(scene.class_of_files(address), class, "{address} of {text:?}");
            }
        }
    }
}

/// Kind: half of an entry is another entry, so what begins like one and cannot be read is
/// an error with its line (pfBlockerNG#2602).
#[test]
fn what_begins_like_a_range_or_a_netmask_is_one_or_an_error() {
    for bad in [
        "198.51.100.0\t198.51.100.255\t25",
        "198.51.100.0 255.255.255",
        "198.51.100.0 0.0.0.255",
        "198.51.100.20 - 198.51.100.10",
        "198.51.100.10 - 198.51.100",
        "198.51.100.1 198.51.100.9",
        "198.51.100.1 2001:db8::",
        "192.0.2.1\u{a0}",
    ] {
        let scene = Scene::new(BLOCKED, &[("list", &format!("192.0.2.7\n{bad}\n"))]);
        scene.is_bad(&format!("{}:2: ", scene.file("list")));
    }
    let scene = Scene::new(BLOCKED, &[("list", "192.0.2.1\n\u{feff}192.0.2.2\n")]);
    scene.is_bad("U+FEFF");
}

/// Kind: an access table of another program used as a list says the contrary of what the
/// list does (postscreen's cidr tables).
#[test]
fn a_note_that_contradicts_its_list_is_a_warning() {
    for word in ["permit", "OK", "dunno"] {
        let text = format!("# table\n192.0.2.1\t{word}\n192.0.2.2 {word}\n192.0.2.3 x\n");
        let scene = Scene::new(BLOCKED, &[("list", &text)]);
        let said = scene.is_good();
        let expected = format!("{}:2: the note says to let the address pass", scene.file("list"));
        assert!(said.contains(&expected) && said.contains("1 more"), "{said}");
    }
    let scene = Scene::new("[approved]\nfiles = [\"list\"]", &[("list", "192.0.2.1 REJECT\n")]);
    let said = scene.is_good();
    assert!(said.contains("list:1: the note says to refuse the address"), "{said}");
}

/// Kind: a feed in its present form: JSON lines that end with their number
/// (blocklist-ipsets#329).
#[test]
fn spamhaus_drop_is_read_as_it_is_published_now() {
    let entry =
        |net: &str| format!("{{\"cidr\":\"{net}\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}}\n");
    let end = |records: u32| {
        format!("{{\"type\":\"metadata\",\"timestamp\":1,\"size\":9,\"records\":{records}}}\n")
    };
    let two = entry("192.0.2.0/24") + &entry("2001:db8::/32");
    let feed = "[known_spam_sources]\nfiles = [\"list\"]";
    let scene = Scene::new(feed, &[("list", &(two.clone() + &end(2)))]);
    scene.is_good();
    for address in ["192.0.2.77", "2001:db8::1"] {
        let config = scene.file("mxdp.toml");
        let answer = scene.home.json(&["lookup", "-c", &config, address]);
        assert_eq!(answer["class"], "known_spam_source", "{answer}");
        assert_eq!(answer["note"], "SBL1", "{answer}");
    }
    // One that was cut, at a line or within one.
    scene.write("list", two.clone() + &end(3));
    scene.is_bad("says that there are 3 entries, and 2 are there");
    scene.write("list", &two);
    scene.is_bad("list:2: the line with the number of records is missing");
    scene.write("list", &two[..two.len() - 20]);
    scene.is_bad("list:2: ");
    scene.write("list", "{\"error\":\"rate limit\"}\n");
    scene.is_bad("list:1: ");
}

/// Kind: a file that is not a list at all is one error that says what it is, also where
/// bad lines are skipped (Mikrotik-Blacklist#26).
#[test]
fn a_file_that_is_not_a_list_is_one_error() {
    let utf16: Vec<u8> =
        "\u{feff}192.0.2.1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&[u8], &str); 5] = [
        (&utf16, "list:1: the file is UTF-16 text; save it as UTF-8"),
        (&utf16[2..], "list:1: the file is UTF-16 text"),
        (b"<!DOCTYPE html>\n<title>503</title>\n", "list:1: the file is an HTML or XML page"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "list:1: the file is compressed with gzip"),
        (b"Too many requests\nTry again\n", "list:1: "),
    ];
    for on_bad_line in ["refuse", "skip"] {
        let list = format!("{{ path = \"list\", on_bad_line = \"{on_bad_line}\" }}");
        let scene = Scene::new(&format!("[blocked]\nfiles = [{list}]"), &[("list", "")]);
        for (bytes, what) in cases {
            scene.write("list", bytes);
            scene.is_bad(what);
        }
    }
}

/// Kind: a file that was cut within its last line says something wider than it did
/// (`10.77.0.2/3` of `/32` is an eighth of the Internet).
#[test]
fn half_a_last_line_is_not_believed() {
    for (section, class) in [("blocked", "blocked_ip"), ("approved", "approved_ip")] {
        for cut in ["10.77.0.2/3", "10.77.0.0/1", "2001:db8::/3", "2001:db8::/12"] {
            let text = format!("192.0.2.1\n{cut}");
            let lists = format!("[{section}]\nfiles = [\"list\"]");
            let scene = Scene::new(&lists, &[("list", &text)]);
            scene.is_bad("list:2: ");
            // In a feed the line is skipped, and said to be.
            let feed = "{ path = \"list\", on_bad_line = \"skip\" }";
            scene.configure(&format!("[{section}]\nfiles = [{feed}]"));
            let said = scene.is_good();
            assert!(said.contains("list:2: "), "{said}");
            assert_eq!(scene.class_of_files("192.0.2.1"), class);
            for address in ["10.0.0.1", "32.0.0.1", "2002::1"] {
                assert_eq!(scene.class_of_files(address), "none", "{address} by {cut}");
            }
        }
    }
    // Many editors end no last line: what cannot have been wider is believed, with a
    // warning.
    let scene = Scene::new("[blocked]\nfiles = [\"list\"]", &[("list", "192.0.2.1\n192.0.2.0/24")]);
    let said = scene.is_good();
    assert!(said.contains("list:2: the last line has no line end"), "{said}");
    assert_eq!(scene.class_of_files("192.0.2.9"), "blocked_ip");
}

/// Kind: a feed blocks what it should not: loopback, this host, what stands before and
/// behind it, and customers (blocklist-ipsets#12, #59).
#[test]
fn blocks_of_what_belongs_to_this_host_are_named_with_file_and_line() {
    let list = "# level 1\n127.0.0.0/8\n10.0.0.0/8\n192.0.2.0/24\n198.51.100.7\n203.0.113.0/24\n";
    let rest = "[known_spam_sources]\nfiles = [\"feed\"]\n\
                [listen]\nsmtp = [\"127.0.0.1:25\"]\nproxy_networks = [\"10.1.2.0/24\"]\n\
                [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
                [[backend]]\nname = \"main\"\nservers = [\"192.0.2.9:25\"]\n\
                [relay]\nlisten = [\"127.0.0.1:587\"]\nbackend = \"main\"\n\
                [[customer]]\nname = \"acme\"\nnetworks = [\"198.51.100.0/24\"]\n\
                domains = [\"example.org\"]\n";
    let scene = Scene::new(rest, &[("feed", list)]);
    let said = scene.is_good();
    for what in [
        "feed:2: 127.0.0.0/8 blocks 127.0.0.0/8, loopback",
        "feed:3: 10.0.0.0/8 blocks 10.1.2.0/24, listed in listen.proxy_networks",
        "feed:4: 192.0.2.0/24 blocks 192.0.2.9/32, a server of backend main",
        "feed:5: 198.51.100.7/32 blocks 198.51.100.0/24, a network of customer acme",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(!said.contains("feed:6: "), "{said}");
    // One key leaves the bogons out.
    let key = "[{ path = \"feed\", leave_out_bogons = true }]";
    scene.configure(&rest.replace("[\"feed\"]", key));
    let said = scene.is_good();
    assert!(!said.contains("loopback") && !said.contains("proxy_networks"), "{said}");
    assert_eq!(scene.class_of_files("127.0.0.1"), "none");
    assert_eq!(scene.class_of_files("10.1.2.3"), "none");
}

/// Kind: one entry that blocks a large part of the Internet takes `force`, not only
/// 0.0.0.0/0 (blocklist-ipsets#12).
#[test]
fn blocks_of_a_large_part_of_the_internet_need_force() {
    for wide in ["0.0.0.0/0", "64.0.0.0/2", "10.0.0.0/7", "2000::/3", "::/0", "1.0.0.0 - 126.0.0.0"]
    {
        let scene = Scene::new("[blocked]\nfiles = [\"list\"]", &[("list", &format!("{wide}\n"))]);
        scene.is_bad("write `force = true` beside the file");
        scene.configure("[blocked]\nfiles = [{ path = \"list\", force = true }]");
        scene.is_good();
        // An approval excuses from checks, and needs none.
        scene.configure("[approved]\nfiles = [\"list\"]");
        scene.is_good();
        if !wide.contains(" - ") {
            scene.configure(&format!("[blocked]\naddresses = [\"{wide}\"]"));
            scene.is_bad("blocked.addresses: ");
            scene.configure(&format!("[blocked]\naddresses = [\"{wide}\"]\nforce = true"));
            scene.is_good();
        }
    }
    let scene = Scene::new("[blocked]\nfiles = [\"list\"]", &[("list", "10.0.0.0/8\n2001::/16\n")]);
    scene.is_good();
    // FireHOL level 1 has 224.0.0.0/3, which no mail comes from.
    scene.write("list", "224.0.0.0/3\n192.0.1.0/24\n");
    scene.is_bad("force = true");
    scene.configure("[blocked]\nfiles = [{ path = \"list\", leave_out_bogons = true }]");
    scene.is_good();
    assert_eq!(scene.class_of_files("224.0.0.1"), "none");
}

/// Kind: half of a range is one address, and an invisible character makes another entry.
#[test]
fn every_joiner_makes_a_range_or_an_error() {
    for joiner in ["-", "\u{2013}", "\u{2014}", "..", "\u{2026}", "to", "through"] {
        let text = format!("198.51.100.10 {joiner} 198.51.100.20\n");
        let scene = Scene::new(BLOCKED, &[("list", &text)]);
        scene.is_good();
        for (address, class) in [
            ("198.51.100.10", "blocked_ip"),
            ("198.51.100.20", "blocked_ip"),
            ("198.51.100.21", "none"),
        ] {
            assert_eq!(scene.class_of_files(address), class, "{address} of {text}");
        }
        scene.write("list", format!("198.51.100.10 {joiner} 20\n"));
        scene.is_bad("list:1: ");
    }
    let scene = Scene::new(BLOCKED, &[("list", "")]);
    for text in [
        "2001:db8::1\u{200b}\n",
        "192.0.2.0/24\u{200b}\n",
        "192.0.2.1 - 192.0.2.9\u{200b}\n",
        "192.0.2.0 255.255.255.0\u{200b} lab\n",
    ] {
        scene.write("list", text);
        scene.is_bad("U+200B ZERO WIDTH SPACE");
    }
    scene.write("list", "192.0.2.1 action=permit\n");
    let said = scene.is_good();
    assert!(said.contains("list:1: the note says to let the address pass"), "{said}");
}

/// Kind: an approved file that approves everybody, where the same in the configuration is
/// warned of.
#[test]
fn an_approved_file_of_everybody_is_a_warning() {
    let approved = "[approved]\nfiles = [\"list\"]";
    let scene = Scene::new(approved, &[("list", "192.0.2.1\n0.0.0.0/0\n::/0\n")]);
    let said = scene.is_good();
    for what in ["list:2: 0.0.0.0/0 approves every address", "list:3: ::/0 approves every address"]
    {
        assert!(said.contains(what), "{said}");
    }
}
