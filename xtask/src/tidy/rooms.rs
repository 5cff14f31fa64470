//! Which rooms and crates a room may name: the one table, printed into ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::finding::Finding;
use super::house::{House, Node};
use super::source::Named;
use super::table::{ROOMS, Room, Std};

/// Where the rooms are.
const CRATE: &str = "filter-userspace/src/";
/// Where the table is.
const TABLE: &str = "xtask/src/tidy/table.rs";

/// What a room that decides must not name of the standard library: it has no file,
/// process, thread, socket or clock.
const ACTS: &str = "std::env std::fs std::os std::process std::thread stdin stdout stderr \
                    Instant::now SystemTime::now TcpListener TcpStream UdpSocket UnixListener \
                    UnixStream";

/// All breaches of the table, which has no more in it than is used.
pub(super) fn check(house: &House<'_>, manifests: &[(&str, &str)]) -> Vec<Finding> {
    check_with(ROOMS, house, manifests)
}

fn check_with(
    rooms: &'static [Room],
    house: &House<'_>,
    manifests: &[(&str, &str)],
) -> Vec<Finding> {
    let dependencies: BTreeMap<_, _> =
        manifests.iter().map(|(path, text)| (*path, dependencies(text))).collect();
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for (index, node) in house.own() {
        let Some((name, manifest)) = room(node) else {
            continue;
        };
        let Some(room) = rooms.iter().find(|room| room.name == name) else {
            let message = format!("the room {name} has no row in {TABLE}");
            findings.push(Finding::error("rooms", node.file, 1, message));
            continue;
        };
        let empty = BTreeSet::new();
        let foreign = dependencies.get(manifest.as_str()).unwrap_or(&empty);
        let imports = node.module.imports.iter().map(|import| &import.path);
        for path in imports.chain(&node.module.named) {
            let other = if house.resolve(index, path).is_none() && !path.is_local() {
                let first = path.segments[0].as_str();
                foreign.get(first).map(|first| (first.as_str(), room.crates))
            } else {
                neighbour(node, path)
                    .filter(|other| *other != name)
                    .map(|other| (other, room.rooms))
            };
            let message = match other {
                Some((other, allowed)) if !holds(allowed, other) => {
                    Some(format!("{name} must not name {other}: {TABLE} has no such row"))
                }
                Some((other, _)) => {
                    used.insert((room.name, other.to_owned()));
                    None
                }
                None => acts(room.std, path).then(|| {
                    let path = path.segments.join("::");
                    format!("{name} decides and must not name {path}")
                }),
            };
            if let Some(message) = message {
                let key = message.split(':').next().unwrap_or_default().to_owned();
                findings.push(Finding::error("rooms", node.file, path.line, message).known_as(key));
            }
        }
    }
    findings.extend(upwards(rooms));
    for room in rooms {
        for other in room.rooms.split_whitespace().chain(room.crates.split_whitespace()) {
            if !used.contains(&(room.name, other.to_owned())) {
                let message = format!("{} names {other} no longer: take it out", room.name);
                findings.push(Finding::error("rooms", TABLE, 1, message));
            }
        }
    }
    findings
}

fn holds(names: &str, wanted: &str) -> bool {
    names.split_whitespace().any(|name| name == wanted)
}

/// A room may name those above it in the table.
fn upwards(rooms: &[Room]) -> impl Iterator<Item = Finding> {
    let place = |name: &str| rooms.iter().position(|room| room.name == name);
    rooms.iter().enumerate().flat_map(move |(index, room)| {
        let later = room.rooms.split_whitespace();
        let later = later.filter(move |name| place(name).is_none_or(|at| at > index));
        later.map(move |other| {
            let message = format!("{} names {other}, which is below it in the table", room.name);
            Finding::error("rooms", TABLE, 1, message).known_as(format!("{} {other}", room.name))
        })
    })
}

/// The room of a module, and the manifest that says which crates there are.
fn room(node: &Node<'_>) -> Option<(String, String)> {
    let (folder, inside) = node.file.split_once("/src/")?;
    let manifest = format!("{folder}/Cargo.toml");
    if !node.file.starts_with(CRATE) {
        return (!folder.contains('/') && !inside.starts_with("bin/"))
            .then(|| (folder.to_owned(), manifest));
    }
    Some((node.path.first()?.clone(), manifest))
}

/// The room that a path within the crate leads to.
fn neighbour<'a>(node: &'a Node<'_>, path: &'a Named) -> Option<&'a str> {
    if !node.file.starts_with(CRATE) {
        return None;
    }
    let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
    match path.segments.first().map(String::as_str)? {
        "crate" => path.segments.get(1).map(String::as_str),
        // The root of the crate is above the first room.
        "super" if ups == node.path.len() => path.segments.get(ups).map(String::as_str),
        _ => None,
    }
}

/// Whether a path is of the standard library's parts that `std` leaves out.
fn acts(std: Std, path: &Named) -> bool {
    match std {
        Std::All => false,
        Std::Core => {
            path.segments.len() > 1 && ["std", "alloc"].contains(&path.segments[0].as_str())
        }
        Std::Pure => ACTS.split_whitespace().any(|part| {
            let part: Vec<_> = part.split("::").collect();
            path.segments.windows(part.len()).any(|window| window == part)
                && (part.len() > 1 || path.segments.len() > 1)
        }),
    }
}

/// The crates that a manifest brings in, as code calls them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if ["[dependencies]", "[build-dependencies]"].contains(&section)
            && let Some((name, _)) = line.split_once(['.', ' ', '='])
            && !name.starts_with('#')
        {
            // The crate of mxdp's daemon is called by its program.
            let name = if name == "filter-userspace" { "mxdp" } else { name };
            found.insert(name.replace('-', "_"));
        }
    }
    found
}

/// The table as it stands in ARCHITECTURE.md.
pub(super) fn printed() -> String {
    let mut text = "| room or crate | standard library | may name | crates of others |\n\
                    |---|---|---|---|\n"
        .to_owned();
    for Room { name, std, rooms, crates } in ROOMS {
        let std = match std {
            Std::Core => "`core` alone",
            Std::Pure => "what decides",
            Std::All => "all",
        };
        let list = |names: &str| {
            let names: Vec<_> = names.split_whitespace().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        _ = writeln!(text, "| `{name}` | {std} | {} | {} |", list(rooms), list(crates));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::house::Sources;
    use super::super::source::Source;
    use super::*;

    const TABLE: &[Room] = &[
        Room { name: "filter-common", std: Std::Core, rooms: "", crates: "" },
        Room { name: "lists", std: Std::Pure, rooms: "", crates: "ipnet" },
        Room { name: "policy", std: Std::Pure, rooms: "lists", crates: "" },
        Room { name: "io", std: Std::All, rooms: "lists policy", crates: "tokio" },
    ];
    const MANIFEST: &str = "[dependencies]\nipnet = \"1\"\ntokio.workspace = true\n";
    /// What uses the table to the full.
    const FULL: [(&str, &str); 4] = [
        ("lib", "mod lists; mod policy; mod io;"),
        ("lists", "use ipnet::IpNet;"),
        ("policy", "fn f() -> super::lists::List {}"),
        ("io", "use crate::{lists::List, policy}; fn f() { g!(tokio::spawn(x)) }"),
    ];

    /// What is found in these files with `text` behind that of `room`.
    fn found(room: &str, text: &str) -> Vec<String> {
        let files = FULL.map(|(name, full)| {
            let text = if name == room { format!("{full}\n{text}") } else { full.to_owned() };
            (format!("filter-userspace/src/{name}.rs"), text)
        });
        let common = if room == "filter-common" { text } else { "" };
        let files =
            files.into_iter().chain([("filter-common/src/lib.rs".to_owned(), common.to_owned())]);
        let read = |text: &str| Source::read(text, text.parse().unwrap()).unwrap();
        let sources: Sources = files.map(|(path, text)| (path, read(&text))).collect();
        let manifests =
            [("filter-userspace/Cargo.toml", MANIFEST), ("filter-common/Cargo.toml", "")];
        let house = House::build(&sources, &manifests);
        check_with(TABLE, &house, &manifests).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn a_room_names_what_its_row_has_and_no_more() {
        assert_eq!(found("", ""), [""; 0]);
        for (room, text, message) in [
            ("lists", "use crate::{policy::Facts};", "lists must not name policy"),
            ("lists", "fn f() { super::io::g() }", "lists must not name io"),
            ("lists", "use tokio::sync::mpsc;", "lists must not name tokio"),
            ("policy", "fn f(x: ipnet::IpNet) {}", "policy must not name ipnet"),
            ("policy", "use std::{collections, fs};", "policy decides and must not name std::fs"),
            ("policy", "fn f() { g!(Instant::now()) }", "policy decides and must not name Instant"),
            ("lists", "use std::net::{IpAddr, TcpStream};", "lists decides and must not name"),
            ("lists", "use std::net; fn f() { net::UdpSocket::bind(a); }", "lists decides"),
            ("filter-common", "use std::vec::Vec;", "filter-common decides and must not name std"),
            ("filter-common", "fn f() -> alloc::string::String {}", "filter-common decides"),
            ("lib", "mod text { pub fn f() {} }", "the room text has no row"),
        ] {
            let found = found(room, text);
            assert!(found.len() == 1 && found[0].starts_with(message), "{text}: {found:?}");
        }
        for (room, text) in [
            ("lists", "use std::net::IpAddr; use std::time::{Duration, Instant};"),
            ("lists", "// tokio::spawn\nfn f() { g(\"std::fs::read\"); }"),
            ("lists", "mod tokio { pub fn f() {} } use tokio::f;"),
            ("policy", "#[cfg(test)]\nmod tests { use std::fs; use crate::io; }"),
            ("io", "use std::fs;"),
            ("filter-common", "use core::net::IpAddr;"),
        ] {
            assert_eq!(found(room, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_row_has_nothing_that_is_not_used_and_names_earlier_rows_only() {
        let none = Sources::new();
        let house = House::build(&none, &[]);
        let unused = check_with(TABLE, &house, &[]);
        assert_eq!(unused.len(), 5);
        assert_eq!(unused[0].message, "lists names ipnet no longer: take it out");
        const UPWARDS: &[Room] = &[
            Room { name: "smtp", std: Std::Pure, rooms: "policy", crates: "" },
            Room { name: "policy", std: Std::Pure, rooms: "smtp", crates: "" },
        ];
        let found: Vec<_> = upwards(UPWARDS).map(|finding| finding.message).collect();
        assert_eq!(found, ["smtp names policy, which is below it in the table"]);
    }
}
