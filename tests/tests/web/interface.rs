//! Answers of the API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::http::Http;
use mxdp_tests::peers;
use mxdp_tests::peers::clients::said;
use serde_json::{Value, json};

use crate::{SITE, drops, host, records, send};

#[test]
fn what_is_too_large_or_no_http_is_refused() {
    let (host, _sink) = host();
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let long = "x".repeat(70_000);
    let answer = http.post("/api/v1/temporary", &json!({ "address": long, "seconds": 1 }));
    assert_eq!(answer.status, 413, "{}", answer.body);
    let path = format!("/blocked?sender={}", &long[..60_000]);
    assert!(http.ask("GET", &path, None).map_or(true, |answer| answer.status == 431));
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"[..], "HTTP/1.1 401"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 401"),
        (b"EHLO x\r\n", "HTTP/1.1 400"),
        (b"\x16\x03\x01\x00\x01\x00\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let answer = host.namespace.run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:8025").expect("connected");
            stream.write_all(bytes).expect("sent");
            let mut answer = Vec::new();
            _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        assert!(answer.starts_with(expected), "{bytes:?}: {answer}");
    }
    assert_eq!(http.get("/healthz").status, 200);
}

#[test]
fn prometheus_reads_the_metrics() {
    let (host, _sink) = host();
    let _daemon = host.start();
    send(&host, &["--from", "anna@b.example"]);
    send(&host, &["--from", "x@spam.example"]);
    assert!(drops(&host, "192.0.2.66"));
    let http = Http::new(&host.namespace, SITE, None);
    wait_for("the records", || records(&host, "blocked") == 2);
    let answer = http.get("/metrics");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    host.home.write("metrics", &answer.body);
    // The parser that is Prometheus's own in Python.
    let script = "import sys, json\nfrom prometheus_client.parser import \
         text_string_to_metric_families as read\n\
         print(json.dumps([[s.name, s.labels, s.value, m.type, m.documentation] \
         for m in read(open(sys.argv[1]).read()) for s in m.samples]))";
    let output = peers::command("python3.11")
        .env("PYTHONPATH", peers::find("usr/lib/python3/dist-packages"))
        .args(["-c", script])
        .arg(host.home.path("metrics"))
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", said(&output));
    let samples: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let value = |name: &str, labels: Value| {
        let found = samples.iter().find(|sample| sample[0] == name && sample[1] == labels);
        found.unwrap_or_else(|| panic!("no {name} {labels} in {}", answer.body))[2].as_f64()
    };
    let outcome = |outcome: &str, reason: &str| json!({"outcome": outcome, "reason": reason});
    let recipients = "mxdp_smtp_recipients_total";
    assert_eq!(value(recipients, outcome("accepted", "accepted")), Some(1.0));
    assert_eq!(value(recipients, outcome("refused", "blocked_sender")), Some(1.0));
    let frames = json!({"action": "drop", "reason": "blocked_ip", "family": "ipv4"});
    assert!(value("mxdp_frames_total", frames) >= Some(1.0));
    assert_eq!(value("mxdp_alarms", json!({})), Some(0.0));
    for sample in &samples {
        let name = sample[0].as_str().expect("a name");
        assert!(name.starts_with("mxdp_") && sample[4] != "", "{sample}");
        assert_eq!(name.ends_with("_total"), sample[3] == "counter", "{sample}");
    }
}

/// Values that somebody may send where others are meant.
const HOSTILE: [&str; 16] = [
    "",
    "0",
    "-1",
    "99999999999999999999999",
    "1e9",
    "null",
    "true",
    "%00",
    "%FF%FE",
    "%F0%9F%92%A9",
    "'%20OR%201=1--",
    "%22%29%20OR%20(%22",
    "*",
    "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
    "::ffff:0.0.0.0/0",
    "9999-12-31T23:59:59.999999999Z",
];

#[test]
fn no_value_of_any_part_is_an_error_of_the_server() {
    let (host, _sink) = host();
    let _daemon = host.start();
    send(&host, &["--from", "anna@b.example"]);
    let http = Http::new(&host.namespace, SITE, None);
    let document = http.get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                for value in HOSTILE {
                    let name = parameter["name"].as_str().expect("a name");
                    let good = operation["parameters"].as_array().into_iter().flatten();
                    let good =
                        good.filter(|other| other["required"] == true && other["in"] == "query");
                    let rest: String = good
                        .filter(|other| other["name"] != name)
                        .map(|other| {
                            let name = other["name"].as_str().unwrap_or_default();
                            format!(
                                "&{name}={}",
                                if name == "ip" { "192.0.2.7" } else { "bob@example.org" }
                            )
                        })
                        .collect();
                    let target = if parameter["in"] == "path" {
                        path.replace(&format!("{{{name}}}"), value)
                    } else {
                        format!("{}?{name}={value}{rest}", path.replace("{list}", "blocked"))
                    };
                    let answer = http.ask(&method.to_uppercase(), &target, None);
                    let Ok(mut answer) = answer else { panic!("{target}: nobody answers") };
                    while answer.status == 429 {
                        thread::sleep(Duration::from_millis(500));
                        answer =
                            http.ask(&method.to_uppercase(), &target, None).expect("an answer");
                    }
                    assert!(answer.status < 500, "{method} {target}: {}", answer.body);
                    if answer.status >= 400 {
                        assert!(answer.json()["error"]["message"].is_string(), "{target}");
                    }
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 400, "{asked}");
    assert_eq!(http.get("/readyz").status, 200);
}
