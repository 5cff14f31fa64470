//! The benchmark of a flood in small: mail flows under it, and every frame of it is
//! accounted for. `cargo xtask bench flood` measures the speed.

use std::process::Command;

use mxdp_tests::peers;
use serde_json::Value;

#[test]
fn mail_flows_under_a_flood_from_listed_sources() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench-flood"))
        .args(["--quick", "--json"])
        .env("MXDP_BIN", peers::mxdp())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let case = |name: &str| {
        let cases = report["cases"].as_array().expect("cases");
        cases.iter().find(|case| case["case"] == name).expect("the case").clone()
    };
    let flood = case("listed");
    let count = |name: &str| flood[name].as_u64().expect("a count");
    assert!(count("frames") >= 100_000, "a flood: {flood}");
    assert!(flood["mail_a_second"].as_f64() > Some(1.0), "mail flows: {flood}");
    // What the device's queue had no room for is not the filter's to count.
    let accounted = count("dropped") + count("lost");
    assert!(count("dropped") > count("frames") / 2, "{flood}");
    assert!(accounted >= count("frames") && accounted < count("frames") + 1000, "{flood}");
    // A client's SYN may be sent again; the flood's are a thousand times as many.
    assert!(count("admitted") <= count("connections") + 200, "{flood}");
}
