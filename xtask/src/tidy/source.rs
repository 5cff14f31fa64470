//! A Rust file as the rules need it: its tokens, its modules with the paths that they
//! name, and its functions. Comments and the insides of literals are left out, and so is
//! what only tests compile.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, ImplItem, Item, TraitItem, UseTree, Visibility};

/// A word or punctuation mark of code, with its line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A path that code names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

impl Named {
    /// Whether it begins in the crate that names it.
    pub(super) fn is_local(&self) -> bool {
        let first = self.segments.first().map_or("", String::as_str);
        ["crate", "self", "super", "Self"].contains(&first)
    }
}

/// A name that `use` brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) path: Named,
    /// What it is called here; empty for a glob.
    pub(super) alias: String,
    /// It is handed on: `pub use`, for whomever.
    pub(super) is_export: bool,
}

/// A module, of a file or within one.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) children: Vec<Child>,
    /// The names of what it defines.
    pub(super) items: Vec<String>,
    pub(super) imports: Vec<Import>,
    pub(super) named: Vec<Named>,
}

/// A module that another one declares.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    /// `#[path = "…"]`.
    pub(super) file: Option<String>,
    /// What it holds, if it is not in a file of its own.
    pub(super) body: Option<Module>,
    pub(super) is_test: bool,
}

/// A function and how long it is, from `fn` to its brace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// A file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tokens: Vec<Token>,
    pub(super) top: Module,
    pub(super) functions: Vec<Function>,
    /// The number of lines before the module of tests.
    pub(super) before_tests: usize,
    /// What `include!` names.
    pub(super) included: Vec<String>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not Rust.
    pub(super) fn read(text: &str, stream: TokenStream) -> syn::Result<Self> {
        let mut source = Self {
            tokens: Vec::new(),
            top: Module::default(),
            functions: Vec::new(),
            before_tests: text.lines().count(),
            included: Vec::new(),
        };
        flatten(stream.clone(), &mut source.tokens);
        source.included = included(&source.tokens);
        let file: syn::File = syn::parse2(stream)?;
        let test_module = file.items.iter().find_map(|item| match item {
            Item::Mod(module) if module.content.is_some() && is_test(&module.attrs) => {
                module.attrs.first()
            }
            _ => None,
        });
        if let Some(attribute) = test_module {
            source.before_tests = attribute.pound_token.span.start().line - 1;
        }
        source.top = module(file.items, &mut source.functions);
        Ok(source)
    }
}

/// All tokens, in order, with the brackets of groups.
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let mut push = |text: String, span: proc_macro2::Span| {
            tokens.push(Token { text, line: span.start().line });
        };
        let TokenTree::Group(group) = tree else {
            push(tree.to_string(), tree.span());
            continue;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        push(open.to_owned(), group.span_open());
        flatten(group.stream(), tokens);
        tokens.push(Token { text: close.to_owned(), line: group.span_close().start().line });
    }
}

/// The last literal of each `include!`.
fn included(tokens: &[Token]) -> Vec<String> {
    let is_call = |window: &[Token]| window[0].text == "include" && window[1].text == "!";
    let calls = (0..tokens.len().saturating_sub(1)).filter(|at| is_call(&tokens[*at..*at + 2]));
    calls
        .filter_map(|at| {
            let inside = tokens[at..].iter().take_while(|token| token.text != ";");
            inside.filter(|token| token.text.starts_with('"')).last()
        })
        .map(|literal| literal.text.trim_matches('"').to_owned())
        .collect()
}

/// Whether only tests compile it.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let condition = attribute.meta.to_token_stream().to_string();
        condition.contains("test") && !condition.contains("not (test")
    })
}

fn module(items: Vec<Item>, functions: &mut Vec<Function>) -> Module {
    let mut found = Module::default();
    for item in items {
        if let Item::Mod(module) = item {
            found.children.push(child(module, functions));
            continue;
        }
        let Some(item) = without_tests(item) else {
            continue;
        };
        if let Item::Use(item) = &item {
            let is_export = !matches!(item.vis, Visibility::Inherited);
            imports(&item.tree, &[], is_export, &mut found.imports);
            continue;
        }
        found.items.extend(name(&item));
        measure(&item, functions);
        names(item.into_token_stream(), &mut found);
    }
    found
}

fn child(module: syn::ItemMod, functions: &mut Vec<Function>) -> Child {
    let is_test = is_test(&module.attrs);
    let file = module.attrs.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => {
            Some(pair.value.to_token_stream().to_string().trim_matches('"').to_owned())
        }
        _ => None,
    });
    let mut ignored = Vec::new();
    let functions = if is_test { &mut ignored } else { functions };
    let body = module.content.map(|(_, items)| self::module(items, functions));
    Child { name: module.ident.to_string(), file, body, is_test }
}

/// The item without its parts that only tests compile, or nothing.
fn without_tests(mut item: Item) -> Option<Item> {
    match &mut item {
        Item::Impl(block) => block.items.retain(|item| match item {
            ImplItem::Fn(function) => !is_test(&function.attrs),
            _ => true,
        }),
        Item::Trait(block) => block.items.retain(|item| match item {
            TraitItem::Fn(function) => !is_test(&function.attrs),
            _ => true,
        }),
        _ => {}
    }
    let attributes = match &item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return Some(item),
    };
    (!is_test(attributes)).then_some(item)
}

fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Notes how long the functions of an item are.
fn measure(item: &Item, functions: &mut Vec<Function>) {
    let mut note = |signature: &syn::Signature, block: &syn::Block| {
        let line = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        functions.push(Function { name: signature.ident.to_string(), line, lines: end + 1 - line });
    };
    match item {
        Item::Fn(function) => note(&function.sig, &function.block),
        Item::Impl(block) => {
            for item in &block.items {
                if let ImplItem::Fn(function) = item {
                    note(&function.sig, &function.block);
                }
            }
        }
        Item::Trait(block) => {
            for item in &block.items {
                if let TraitItem::Fn(function) = item
                    && let Some(block) = &function.default
                {
                    note(&function.sig, block);
                }
            }
        }
        _ => {}
    }
}

/// Writes out the groups of a `use`.
fn imports(tree: &UseTree, before: &[String], is_export: bool, found: &mut Vec<Import>) {
    let mut add = |last: Option<&syn::Ident>, alias: String, line: usize| {
        let segments = before.iter().cloned().chain(last.map(ToString::to_string)).collect();
        found.push(Import { path: Named { segments, line }, alias, is_export });
    };
    match tree {
        UseTree::Path(path) => {
            let before: Vec<_> = before.iter().cloned().chain([path.ident.to_string()]).collect();
            imports(&path.tree, &before, is_export, found);
        }
        UseTree::Name(name) if name.ident == "self" => {
            add(None, before.last().cloned().unwrap_or_default(), name.ident.span().start().line);
        }
        UseTree::Name(name) => {
            add(Some(&name.ident), name.ident.to_string(), name.ident.span().start().line);
        }
        UseTree::Rename(name) => {
            let last = Some(&name.ident).filter(|ident| *ident != "self");
            add(last, name.rename.to_string(), name.ident.span().start().line);
        }
        UseTree::Glob(glob) => add(None, String::new(), glob.star_token.span.start().line),
        UseTree::Group(group) => {
            for tree in &group.items {
                imports(tree, before, is_export, found);
            }
        }
    }
}

/// The paths in code, wherever they stand, within macros too: those of several segments,
/// types, and functions that are called.
fn names(stream: TokenStream, found: &mut Module) {
    let trees: Vec<_> = stream.into_iter().collect();
    let mark = |at: usize, mark: char| matches!(trees.get(at), Some(TokenTree::Punct(found)) if found.as_char() == mark);
    let mut at = 0;
    while let Some(tree) = trees.get(at) {
        at += 1;
        let word = match tree {
            TokenTree::Group(group) => {
                names(group.stream(), found);
                continue;
            }
            TokenTree::Ident(word) => word,
            _ => continue,
        };
        if *word == "use" {
            let end = (at..trees.len()).find(|end| mark(*end, ';')).unwrap_or(trees.len());
            let item = trees[at - 1..(end + 1).min(trees.len())].iter().cloned().collect();
            if let Ok(item) = syn::parse2::<syn::ItemUse>(item) {
                imports(&item.tree, &[], false, &mut found.imports);
                at = end;
                continue;
            }
        }
        // A field, a method, a lifetime or a variable of a macro.
        if at >= 2 && ['.', '\'', '$'].iter().any(|before| mark(at - 2, *before)) {
            continue;
        }
        let mut segments = vec![word.to_string()];
        while mark(at, ':')
            && mark(at + 1, ':')
            && let Some(TokenTree::Ident(next)) = trees.get(at + 2)
        {
            segments.push(next.to_string());
            at += 3;
        }
        let is_type = segments[0].starts_with(char::is_uppercase);
        let is_call = matches!(trees.get(at), Some(TokenTree::Group(group))
            if group.delimiter() == Delimiter::Parenthesis);
        if segments.len() > 1 || is_type || is_call {
            found.named.push(Named { segments, line: word.span().start().line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source {
        Source::read(text, text.parse().unwrap()).unwrap()
    }

    fn paths(named: &[Named]) -> Vec<String> {
        named.iter().map(|named| format!("{}:{}", named.line, named.segments.join("::"))).collect()
    }

    #[test]
    fn groups_of_a_use_are_written_out() {
        let source = read("use std::{fs as f, net::{self, IpAddr}};\npub use super::a::*;\n");
        let shown = source.top.imports.iter().map(|import| {
            let (path, alias) = (import.path.segments.join("::"), &import.alias);
            format!("{path} {alias} {}", import.is_export)
        });
        let shown: Vec<_> = shown.collect();
        let expected = [
            "std::fs f false",
            "std::net net false",
            "std::net::IpAddr IpAddr false",
            "super::a  true",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn paths_are_found_in_bodies_and_macros() {
        let source = read(
            "fn f(x: T) -> a::B {\n    g!(\"{}\", c::d(x.e().h::<u8>()));\n    \
             use i::j;\n    k(l)\n}\n// m::n\n#[cfg(test)]\nmod tests { fn o() { p::q() } }\n",
        );
        assert_eq!(paths(&source.top.named), ["1:f", "1:T", "1:a::B", "2:c::d", "4:k"]);
        assert_eq!(source.top.imports[0].path.segments, ["i", "j"]);
        assert_eq!(source.before_tests, 6);
    }

    #[test]
    fn modules_and_functions_are_known_with_their_places() {
        let source = read(
            "mod a;\n#[path = \"x.rs\"]\nmod b;\nmod c { pub fn d() {\n } }\nimpl E {\n    \
             fn g(\n    ) {\n    }\n    #[cfg(test)]\n    fn h() {}\n}\ninclude!(\"../i.rs\");\n\
             #[cfg(test)]\nmod tests;\n",
        );
        let names: Vec<_> = source.top.children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "tests"]);
        assert_eq!(source.top.children[1].file.as_deref(), Some("x.rs"));
        assert!(source.top.children[3].is_test);
        let lengths: Vec<_> =
            source.functions.iter().map(|one| (one.name.as_str(), one.line, one.lines)).collect();
        assert_eq!(lengths, [("d", 4, 2), ("g", 7, 3)]);
        assert_eq!(source.included, ["../i.rs"]);
    }
}
