//! The benchmark of the packet path in small: every contender is there and every
//! frame accounted for, which it checks itself.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_packet_benchmark_measures_and_accounts() {
    let folder = tempfile::tempdir().expect("a folder");
    let plot = folder.path().join("plot.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_bench-packet"))
        .args(["--quick", "--sizes", "1k", "--json", "--svg"])
        .arg(&plot)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    // Four kinds of sources, two families.
    assert_eq!(rows.len(), 8);
    for row in rows {
        let contenders = row["contenders"].as_array().expect("contenders");
        let names: Vec<_> = contenders.iter().filter_map(|one| one["contender"].as_str()).collect();
        for name in ["floor", "trie", "ipset", "nftables"] {
            assert!(names.contains(&name), "{name} is missing: {row}\n{said}");
        }
        for contender in contenders {
            assert!(contender["ns"].as_f64().is_some_and(|ns| ns > 0.0), "{contender}");
        }
        // How many frames were listed, of 3 rounds of 20,000 and their warming up.
        let listed = contenders[1]["listed_frames"].as_u64().expect("a count");
        match row["sources"].as_str() {
            Some("listed" | "one") => assert_eq!(listed, 3 * 22_500),
            Some("beside") => assert_eq!(listed, 0),
            _ => assert!(listed < 3 * 22_500),
        }
    }
    let plot = std::fs::read_to_string(plot).expect("a plot");
    assert!(plot.starts_with("<svg ") && plot.contains("nftables"));
}
