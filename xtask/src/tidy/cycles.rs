//! No file imports itself, by way of others: whoever reads one file need not have read
//! the next one first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::Finding;
use super::house::{House, Target};

/// From a file to the files that it needs, each with the first line that says so.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// Each file that is part of a circle, with the shortest one through it.
pub(super) fn check(house: &House<'_>) -> Vec<Finding> {
    let arrows = arrows(house);
    let circles = arrows.keys().filter_map(|file| circle(&arrows, file));
    circles
        .map(|circle| {
            let line = arrows[circle[0]].get(circle[1]).copied().unwrap_or(1);
            let message = format!("imports in a circle: {}", circle.join(" → "));
            Finding::error("cycle", circle[0], line, message).known_as("")
        })
        .collect()
}

fn arrows<'a>(house: &House<'a>) -> Arrows<'a> {
    let mut arrows = Arrows::new();
    for (index, node) in house.own() {
        // What is only handed on is not needed here, and a module's own name alone is no
        // part of it that is used.
        let imports = node.module.imports.iter().filter(|import| !import.is_export);
        for path in imports.map(|import| &import.path).chain(&node.module.named) {
            if let Some(Target::Item(target)) = house.resolve(index, path) {
                let target = house.nodes[target].file;
                if target != node.file {
                    arrows.entry(node.file).or_default().entry(target).or_insert(path.line);
                }
            }
        }
    }
    arrows
}

/// The shortest way from a file back to itself, both ends included.
fn circle<'a>(arrows: &Arrows<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in arrows.get(way.last()?).into_iter().flatten().map(|(next, _)| *next) {
            if next == start || seen.insert(next) {
                let way: Vec<_> = way.iter().copied().chain([next]).collect();
                if next == start {
                    return Some(way);
                }
                ways.push_back(way);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::house::Sources;
    use super::super::source::Source;
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let read = |text: &str| Source::read(text, text.parse().unwrap()).unwrap();
        let sources: Sources =
            files.iter().map(|(path, text)| (format!("x/src/{path}"), read(text))).collect();
        let house = House::build(&sources, &[("x/Cargo.toml", "")]);
        check(&house).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_that_import_each_other_are_told() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::{B, other};\npub struct A;"),
            ("b.rs", "pub struct B;\nfn f() { g!(super::c::C) }"),
            ("c.rs", "pub struct C(crate::a::A);"),
        ]);
        assert_eq!(
            found,
            [
                "x/src/a.rs:1: imports in a circle: \
                 x/src/a.rs → x/src/b.rs → x/src/c.rs → x/src/a.rs",
                "x/src/b.rs:2: imports in a circle: \
                 x/src/b.rs → x/src/c.rs → x/src/a.rs → x/src/b.rs",
                "x/src/c.rs:1: imports in a circle: \
                 x/src/c.rs → x/src/a.rs → x/src/b.rs → x/src/c.rs",
            ]
        );
    }

    #[test]
    fn a_parent_may_hand_on_its_children_but_not_use_them() {
        let child = "use super::Shared; use crate::a::Sister; pub struct Child(Shared);";
        let files = |parent: &str| {
            let parent = format!("mod child; mod sister; pub use child::Child; {parent}");
            circles(&[
                ("lib.rs", "mod a;"),
                ("a/mod.rs", &format!("{parent} pub use sister::Sister; pub struct Shared;")),
                ("a/child.rs", child),
                ("a/sister.rs", "pub struct Sister;\n#[cfg(test)] mod t { use super::Child; }"),
            ])
        };
        assert_eq!(files(""), [""; 0]);
        assert_eq!(files("fn f() -> Child {}").len(), 2);
        assert_eq!(files("fn f() { child::g() }").len(), 2);
        assert_eq!(files("#[cfg(test)] mod tests { use super::*; fn f() -> Child {} }").len(), 0);
    }
}
