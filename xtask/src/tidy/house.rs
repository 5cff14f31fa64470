//! The crates as trees of modules: which file a path leads to, and which files no module
//! names.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::source::{Module, Named, Source};

/// All Rust files by their paths.
pub(super) type Sources = BTreeMap<String, Source>;

/// How many exports are followed from one to the next.
const EXPORTS: usize = 16;

/// A module of a crate.
pub(super) struct Node<'a> {
    pub(super) file: &'a str,
    pub(super) module: &'a Module,
    /// From the root of the crate; empty for the root.
    pub(super) path: Vec<String>,
    pub(super) is_test: bool,
    is_fuzz: bool,
    parent: Option<usize>,
    children: BTreeMap<&'a str, usize>,
}

/// The crates' modules.
pub(super) struct House<'a> {
    sources: &'a Sources,
    pub(super) nodes: Vec<Node<'a>>,
    /// The files that a module or an `include!` names, and the roots.
    reached: BTreeSet<&'a str>,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Module(usize),
    /// Something that this module defines.
    Item(usize),
}

impl<'a> House<'a> {
    /// The modules of the program, each with its place in [`House::nodes`]: neither tests nor
    /// the fuzz targets, which compile files of other crates once more.
    pub(super) fn own(&self) -> impl Iterator<Item = (usize, &Node<'a>)> {
        let is_own = |node: &Node<'_>| !node.is_test && !node.is_fuzz;
        self.nodes.iter().enumerate().filter(move |(_, node)| is_own(node))
    }

    /// Builds the trees of all crates from their manifests, which are path and text.
    pub(super) fn build(sources: &'a Sources, manifests: &[(&str, &str)]) -> Self {
        let mut house = Self { sources, nodes: Vec::new(), reached: BTreeSet::new() };
        for (path, text) in manifests {
            let folder = path.strip_suffix("Cargo.toml").unwrap_or_default();
            for (file, source) in sources {
                if let Some(inside) = file.strip_prefix(folder)
                    && is_root(inside, text)
                {
                    let above = parent(file);
                    house.add(file, &source.top, (None, Vec::new(), above, above), false);
                }
            }
        }
        for (file, source) in sources {
            for name in &source.included {
                let name = name.trim_start_matches(['/', '.']);
                let is_it = |path: &&String| *path == name || path.ends_with(&format!("/{name}"));
                let found = sources.keys().find(is_it).filter(|found| *found != file);
                house.reached.extend(found.map(String::as_str));
            }
        }
        house
    }

    /// Adds a module with all below it. The place is its parent, its path, the folder of
    /// its children, and the folder of the file that it stands in.
    fn add(
        &mut self,
        file: &'a str,
        module: &'a Module,
        (above, path, folder, beside): (Option<usize>, Vec<String>, &str, &str),
        is_test: bool,
    ) -> usize {
        self.reached.insert(file);
        let index = self.nodes.len();
        let children = BTreeMap::new();
        let is_fuzz = above.map_or(file.contains("fuzz/"), |above| self.nodes[above].is_fuzz);
        let path_here = path.clone();
        let node =
            Node { file, module, path: path_here, is_test, is_fuzz, parent: above, children };
        self.nodes.push(node);
        for child in &module.children {
            let path: Vec<_> = path.iter().cloned().chain([child.name.clone()]).collect();
            let is_test = is_test || child.is_test;
            let below = join(folder, &child.name);
            let added = match (&child.body, &child.file) {
                (Some(body), _) => {
                    Some(self.add(file, body, (Some(index), path, &below, beside), is_test))
                }
                (None, Some(name)) => {
                    let found = self.sources.get_key_value(&join(beside, name));
                    found.map(|(file, source)| {
                        let beside = parent(file);
                        let place = (Some(index), path, beside, beside);
                        self.add(file, &source.top, place, is_test)
                    })
                }
                (None, None) => {
                    let names = [format!("{below}.rs"), format!("{below}/mod.rs")];
                    let found = names.iter().find_map(|name| self.sources.get_key_value(name));
                    found.map(|(file, source)| {
                        let place = (Some(index), path, below.as_str(), parent(file));
                        self.add(file, &source.top, place, is_test)
                    })
                }
            };
            if let Some(added) = added {
                self.nodes[index].children.insert(&child.name, added);
            }
        }
        index
    }

    /// Files that are no part of any crate.
    pub(super) fn dead_files(&self) -> Vec<Finding> {
        let dead = self.sources.keys().filter(|file| !self.reached.contains(file.as_str()));
        let message = "no `mod` names this file: nothing compiles it";
        dead.map(|file| Finding::error("dead", file, 1, message)).collect()
    }

    /// Where `path` leads, as the module `from` sees it; `None` for another crate's, and
    /// for what is no item.
    pub(super) fn resolve(&self, from: usize, path: &Named) -> Option<Target> {
        self.follow(from, &path.segments, 0)
    }

    fn follow(&self, from: usize, segments: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => self.walk(self.root(from), rest, depth),
            "self" => self.walk(from, rest, depth),
            "super" => self.walk(self.nodes[from].parent?, rest, depth),
            _ => match self.look_up(from, first, depth)? {
                Target::Module(module) => self.walk(module, rest, depth),
                item @ Target::Item(_) => Some(item),
            },
        }
    }

    fn walk(&self, module: usize, segments: &[String], depth: usize) -> Option<Target> {
        let Some((first, rest)) = segments.split_first() else {
            return Some(Target::Module(module));
        };
        if first == "super" {
            return self.walk(self.nodes[module].parent?, rest, depth);
        }
        match self.look_up(module, first, depth) {
            Some(Target::Module(found)) => self.walk(found, rest, depth),
            Some(item) => Some(item),
            // What a macro defines is its module's.
            None => Some(Target::Item(module)),
        }
    }

    /// What `name` is in a module.
    fn look_up(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let node = &self.nodes[module];
        if let Some(child) = node.children.get(name) {
            return Some(Target::Module(*child));
        }
        if node.module.items.iter().any(|item| item == name) {
            return Some(Target::Item(module));
        }
        if depth == EXPORTS {
            return None;
        }
        for import in node.module.imports.iter().filter(|import| import.alias == name) {
            // `use log::info` where `log` is a crate: the name leads out of here.
            if import.path.segments.first().is_some_and(|first| first != name)
                || import.path.segments.len() > 1
            {
                let found = self.follow(module, &import.path.segments, depth + 1);
                if found.is_some() {
                    return found;
                }
            }
        }
        let globs = node.module.imports.iter().filter(|import| import.alias.is_empty());
        globs.into_iter().find_map(|glob| {
            match self.follow(module, &glob.path.segments, depth + 1)? {
                Target::Module(found) if found != module => self.look_up(found, name, depth + 1),
                _ => None,
            }
        })
    }

    fn root(&self, mut module: usize) -> usize {
        while let Some(parent) = self.nodes[module].parent {
            module = parent;
        }
        module
    }
}

/// Whether cargo takes the file, whose path is relative to the manifest, for the root of
/// a crate.
fn is_root(inside: &str, manifest: &str) -> bool {
    let parts: Vec<_> = inside.split('/').collect();
    let by_its_place = matches!(
        parts[..],
        ["build.rs"]
            | ["src", "lib.rs" | "main.rs"]
            | ["tests" | "benches" | "examples", _]
            | ["tests" | "benches" | "examples", _, "main.rs"]
            | ["src", "bin", _]
            | ["src", "bin", _, "main.rs"]
    );
    by_its_place || manifest.lines().any(|line| line.trim() == format!("path = \"{inside}\""))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `name` below `folder`; leading `..` are followed.
fn join(folder: &str, name: &str) -> String {
    match name.strip_prefix("../") {
        Some(rest) => join(parent(folder), rest),
        None if folder.is_empty() => name.to_owned(),
        None => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        let read = |text: &str| Source::read(text, text.parse().unwrap()).unwrap();
        files.iter().map(|(path, text)| ((*path).to_owned(), read(text))).collect()
    }

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let sources = sources(&[
            ("x/src/lib.rs", "mod a;\nmod c { mod d; }\n#[cfg(test)]\nmod tests;"),
            ("x/src/a.rs", "mod b;\ninclude!(concat!(\"/\", \"../flags.rs\"));"),
            ("x/src/a/b.rs", "#[path = \"../../y.rs\"] mod y;"),
            ("x/src/c/d.rs", ""),
            ("x/src/tests.rs", ""),
            ("x/src/b.rs", ""),
            ("x/y.rs", ""),
            ("x/flags.rs", ""),
            ("x/tests/one.rs", ""),
            ("x/tests/two/main.rs", "mod three;"),
            ("x/tests/two/three.rs", ""),
            ("x/tests/two/four.rs", ""),
            ("x/fuzz/five.rs", ""),
        ]);
        let manifests = [("x/Cargo.toml", "[[bin]]\npath = \"fuzz/five.rs\"\n")];
        let house = House::build(&sources, &manifests);
        let dead: Vec<_> = house.dead_files().into_iter().map(|finding| finding.path).collect();
        assert_eq!(dead, ["x/src/b.rs", "x/tests/two/four.rs"]);
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_what_it_names() {
        let sources = sources(&[
            ("x/src/lib.rs", "mod a; mod c;\nuse log::info;"),
            ("x/src/a/mod.rs", "mod b; pub use b::B; pub(crate) use super::c::*; pub fn f() {}"),
            ("x/src/a/b.rs", "pub struct B;"),
            ("x/src/c.rs", "pub struct C; pub mod d { pub struct D; }"),
        ]);
        let house = House::build(&sources, &[("x/Cargo.toml", "")]);
        let from = house.nodes.iter().position(|node| node.file == "x/src/a/b.rs").unwrap();
        let leads = |path: &str| {
            let segments = path.split("::").map(str::to_owned).collect();
            match house.resolve(from, &Named { segments, line: 1 })? {
                Target::Module(module) => Some(format!("module {}", house.nodes[module].file)),
                Target::Item(module) => Some(house.nodes[module].file.to_owned()),
            }
        };
        for (path, expected) in [
            ("super::B", Some("x/src/a/b.rs")),
            ("super::f", Some("x/src/a/mod.rs")),
            ("crate::a::C", Some("x/src/c.rs")),
            ("crate::c::d::D::new", Some("x/src/c.rs")),
            ("super::super::c", Some("module x/src/c.rs")),
            ("crate::a", Some("module x/src/a/mod.rs")),
            ("B::new", Some("x/src/a/b.rs")),
            ("std::fs", None),
            ("log::info", None),
        ] {
            assert_eq!(leads(path).as_deref(), expected, "{path}");
        }
    }
}
