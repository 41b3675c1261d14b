//! The modules of a crate as its sources declare them, and the paths that each one names.
//!
//! Read as tokens: comments and strings are no code, a macro's arguments are. What `#[cfg(test)]` marks is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::graph::Uses;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Names from the crate's root down; the root itself has none.
pub(super) type Name = Vec<String>;

#[derive(Default)]
pub(super) struct Module {
    /// Below `src`.
    pub(super) file: String,
    /// Every path of two names or more, `use` trees taken apart.
    pub(super) paths: BTreeSet<Name>,
    /// What `use` calls a path here.
    imports: BTreeMap<String, Name>,
}

pub(super) struct Crate {
    pub(super) modules: BTreeMap<Name, Module>,
}

impl Crate {
    /// The binary of this package.
    pub(super) fn read() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Self {
            modules: BTreeMap::new(),
        };
        found.file(&source, Path::new("main.rs"), &Vec::new());
        found
    }

    fn file(&mut self, source: &Path, file: &Path, name: &Name) {
        let text = fs::read_to_string(source.join(file)).unwrap();
        let tokens: TokenStream = text.parse().unwrap();
        let file = file.to_str().unwrap();
        self.module(source, file, name, tokens);
    }

    fn module(&mut self, source: &Path, file: &str, name: &Name, tokens: TokenStream) {
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        let mut inner = Vec::new();
        module.scan(tokens, &mut inner);
        self.modules.insert(name.clone(), module);
        for (child, body) in inner {
            let name = child_of(name, &child);
            if let Some(body) = body {
                self.module(source, file, &name, body);
                continue;
            }
            let folder: PathBuf = name.iter().collect();
            let flat = folder.with_extension("rs");
            let deep = folder.join("mod.rs");
            let file = if source.join(&flat).is_file() {
                flat
            } else {
                deep
            };
            self.file(source, &file, &name);
        }
    }

    /// The module that has what a path names, seen from another module. None for other crates.
    pub(super) fn owner(&self, from: &Name, path: &[String]) -> Option<Name> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => parent(from),
            name => {
                if let Some(import) = self.import(from, name) {
                    // `use tokio::fs` imports another crate's name, `use env::Env` a module's of the same folder.
                    return self.owner(from, &[import, rest].concat());
                }
                let child = child_of(from, name);
                self.modules.get(&child)?;
                child
            }
        };
        while let Some((name, after)) = rest.split_first() {
            let child = child_of(&at, name);
            if name == "super" {
                at = parent(&at);
            } else if self.modules.contains_key(&child) {
                at = child;
            } else if let Some(import) = self.import(&at, name) {
                return self.owner(&at, &[import, after].concat()).or(Some(at));
            } else {
                break;
            }
            rest = after;
        }
        Some(at)
    }

    /// What a module's `use` calls a name, unless that only repeats the name.
    fn import(&self, module: &Name, name: &str) -> Option<&[String]> {
        let import = self.modules.get(module)?.imports.get(name)?;
        (import.first().is_some_and(|first| first != name)).then_some(import)
    }

    /// Which modules a module names something of.
    pub(super) fn uses(&self, name: &Name) -> BTreeSet<Name> {
        let paths = &self.modules[name].paths;
        paths
            .iter()
            .filter_map(|path| self.owner(name, path))
            .collect()
    }

    /// Among the children of one module: who uses whom, each with all that is below it.
    pub(super) fn siblings(&self, folder: &Name) -> Uses<'_> {
        let mut uses = Uses::new();
        let child = |name: &Name| {
            let (name, _) = self.modules.get_key_value(name)?;
            name.strip_prefix(folder.as_slice())?.first()
        };
        for name in self.modules.keys() {
            let Some(one) = child(name) else { continue };
            let used = uses.entry(one).or_default();
            for other in self.uses(name) {
                if let Some(other) = child(&other).filter(|other| *other != one) {
                    used.insert(other);
                }
            }
        }
        uses
    }
}

impl Module {
    fn scan(&mut self, tokens: TokenStream, inner: &mut Vec<(String, Option<TokenStream>)>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            if let Some(after) = test_item(rest) {
                rest = after;
                continue;
            }
            rest = after;
            match token {
                TokenTree::Group(group) => self.scan(group.stream(), inner),
                TokenTree::Ident(word) if word == "mod" => {
                    let [TokenTree::Ident(name), body, ..] = after else {
                        continue;
                    };
                    let body = match body {
                        TokenTree::Group(group) => Some(group.stream()),
                        _ => None,
                    };
                    inner.push((name.to_string(), body));
                    rest = after.get(2..).unwrap();
                }
                TokenTree::Ident(word) if word == "use" => {
                    let mut found = Vec::new();
                    rest = tree(&[], after, &mut found);
                    for (called, path) in found {
                        self.imports.insert(called, path.clone());
                        self.paths.insert(path);
                    }
                }
                TokenTree::Ident(word) => {
                    let mut path = vec![word.to_string()];
                    while let Some((TokenTree::Ident(name), after)) = behind_colons(rest) {
                        path.push(name.to_string());
                        rest = after;
                    }
                    if path.len() > 1 {
                        self.paths.insert(path);
                    }
                }
                _ => {}
            }
        }
    }
}

fn child_of(module: &Name, name: &str) -> Name {
    [module.as_slice(), &[name.to_owned()]].concat()
}

fn parent(module: &Name) -> Name {
    let (_, above) = module.split_last().expect("the root has none");
    above.to_vec()
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// What follows on `::`.
fn behind_colons(tokens: &[TokenTree]) -> Option<(&TokenTree, &[TokenTree])> {
    let two = is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':');
    two.then(|| tokens.get(2..)?.split_first()).flatten()
}

/// What follows on an item that `#[cfg(test)]` marks.
fn test_item(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let [_, TokenTree::Group(attribute), after @ ..] = tokens else {
        return None;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    if !is_punct(tokens.first(), '#') || text != "cfg(test)" {
        return None;
    }
    let end = after.iter().position(|token| {
        is_punct(Some(token), ';')
            || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
    });
    after.get(end? + 1..)
}

/// Takes a `use` tree apart; what follows on it. A glob ends with its module.
fn tree<'tokens>(
    prefix: &[String],
    mut tokens: &'tokens [TokenTree],
    found: &mut Vec<(String, Name)>,
) -> &'tokens [TokenTree] {
    let mut path = prefix.to_vec();
    let mut called = None;
    while let Some((token, after)) = tokens.split_first() {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                called = after.first().map(ToString::to_string);
                tokens = after.get(1..).unwrap();
                continue;
            }
            // `use a::{self}` is `use a`.
            TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut inner = inner.as_slice();
                while !inner.is_empty() {
                    inner = tree(&path, inner, found);
                }
                // Only its parts are imported; what follows is the end.
                return after.get(1..).unwrap_or_default();
            }
            TokenTree::Punct(punct) if matches!(punct.as_char(), ';' | ',') => {
                tokens = after;
                break;
            }
            _ => {}
        }
        tokens = after;
    }
    let called = called.or_else(|| path.last().cloned());
    found.extend(called.map(|called| (called, path)));
    tokens
}

#[test]
fn reads_groups_relative_paths_and_the_arguments_of_macros_but_no_tests() {
    let text = r#"
        //! [`crate::comment`]
        use crate::{env::{self, Env as Variables}, plan};
        use super::sibling::*;
        #[cfg(test)]
        mod tests { use super::only::InTests; }
        fn f() { format!("{} crate::text", super::super::up::x(plan::y)); }
    "#;
    let mut module = Module::default();
    module.scan(text.parse().unwrap(), &mut Vec::new());
    let paths: Vec<String> = module.paths.iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::env",
        "crate::env::Env",
        "crate::plan",
        "plan::y",
        "super::sibling",
        "super::super::up::x",
    ];
    assert_eq!(paths, expected);
    assert_eq!(module.imports["Variables"], ["crate", "env", "Env"]);
}
