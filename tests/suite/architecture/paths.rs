//! Finds the paths that a source file names: in its imports and in its code, in macros too.
//!
//! The file is read as tokens, so that comments and strings are no paths. A path is told by its first word alone: `crate`,
//! `self`, `super`, or a module below this one.

use proc_macro2::{Spacing, TokenStream, TokenTree};

/// The path of a module or an item, without `crate` in front where it is one of this crate.
pub(super) type ItemPath = Vec<String>;

/// A path that a file names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// `["crate", …]` where it leads into this crate; else as the file has it.
    pub(super) path: ItemPath,
    pub(super) by: By,
    /// Whether an item with `#[cfg(test)]` names it.
    pub(super) in_test: bool,
}

/// How a file names a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum By {
    /// An import, which gives it this name.
    Import(String),
    Code,
    /// A macro, by `$crate`: for the crates that use the macro.
    Macro,
}

/// Lists the paths that the text of a module names.
pub(super) fn named(text: &str, module: &[String], is_module: &dyn Fn(&[String]) -> bool) -> Vec<Named> {
    let stream: TokenStream = text.parse().expect("a source file that compiles");
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    let mut found = Vec::new();
    Reader { is_module, found: &mut found }.read(&tokens, module, false);
    found
}

/// Writes tokens as words, with `::` as one of them.
fn flatten(stream: TokenStream, tokens: &mut Vec<String>) {
    let mut colon = false;
    for tree in stream {
        let after_colon = std::mem::take(&mut colon);
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::Brace | proc_macro2::Delimiter::None => ("{", "}"),
                };
                tokens.push(open.to_owned());
                flatten(group.stream(), tokens);
                tokens.push(close.to_owned());
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && after_colon => {
                *tokens.last_mut().expect("the first colon") = "::".to_owned();
            }
            TokenTree::Punct(punct) => {
                colon = punct.as_char() == ':' && punct.spacing() == Spacing::Joint;
                tokens.push(punct.as_char().to_string());
            }
            TokenTree::Ident(ident) => tokens.push(ident.to_string()),
            // A literal is no part of a path.
            TokenTree::Literal(_) => tokens.push("\"".to_owned()),
        }
    }
}

struct Reader<'a> {
    is_module: &'a dyn Fn(&[String]) -> bool,
    found: &'a mut Vec<Named>,
}

impl Reader<'_> {
    /// Reads the items of a module, and what is inside them.
    fn read(&mut self, tokens: &[String], module: &[String], in_test: bool) {
        let word = |at: usize| tokens.get(at).map_or("", String::as_str);
        let mut at = 0;
        while at < tokens.len() {
            if !in_test && (at..at + CFG_TEST.len()).map(word).eq(CFG_TEST) {
                let start = at + CFG_TEST.len();
                at = item_end(tokens, start);
                self.read(&tokens[start..at], module, true);
            } else if word(at) == "mod" && word(at + 2) == "{" {
                let end = close(tokens, at + 2);
                self.read(&tokens[at + 3..end], &[module, &[word(at + 1).to_owned()]].concat(), in_test);
                at = end;
            } else if word(at) == "pub" && word(at + 1) == "(" {
                // `pub(in crate::x)` says who may see an item, and uses nothing.
                at = close(tokens, at + 1);
            } else if word(at) == "use" {
                let mut leaves = Vec::new();
                at = leaves_of(tokens, at + 1, &[], &mut leaves);
                self.note(leaves, module, in_test, By::Import);
            } else if word(at + 1) == "::" && is_word(word(at)) && (at == 0 || word(at - 1) != "::") {
                let is_macro = at > 0 && word(at - 1) == "$";
                let mut leaves = Vec::new();
                at = leaves_of(tokens, at, &[], &mut leaves);
                self.note(leaves, module, in_test, |_| if is_macro { By::Macro } else { By::Code });
            } else {
                at += 1;
            }
        }
    }

    fn note(&mut self, leaves: Vec<(ItemPath, String)>, module: &[String], in_test: bool, by: impl Fn(String) -> By) {
        for (path, name) in leaves {
            self.found.push(Named { path: self.absolute(path, module), by: by(name), in_test });
        }
    }

    fn absolute(&self, path: ItemPath, module: &[String]) -> ItemPath {
        let mut base = module.to_vec();
        let mut rest = &path[..];
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "crate" => base.clear(),
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = behind;
        }
        let is_below = rest.len() == path.len() && !rest.is_empty() && (self.is_module)(&[module, &rest[..1]].concat());
        if rest.len() < path.len() || is_below {
            return [&["crate".to_owned()], &base[..], rest].concat();
        }
        path
    }
}

const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// Reads a path, or a tree of them as imports have it, into paths and the names they get; gives where it ends.
fn leaves_of(tokens: &[String], start: usize, above: &[String], leaves: &mut Vec<(ItemPath, String)>) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut path = above.to_vec();
    let mut at = start;
    loop {
        match word(at) {
            "{" => {
                let end = close(tokens, at);
                at += 1;
                while at < end {
                    at = leaves_of(tokens, at, &path, leaves).max(at + 1);
                }
                return end + 1;
            }
            "*" => {
                leaves.push((path, "*".to_owned()));
                return at + 1;
            }
            name if is_word(name) => {
                if name != "self" || path.is_empty() {
                    path.push(name.to_owned());
                }
                if word(at + 1) != "::" {
                    let renamed = word(at + 1) == "as";
                    let name = if renamed { word(at + 2).to_owned() } else { path.last().cloned().unwrap_or_default() };
                    leaves.push((path, name));
                    return if renamed { at + 3 } else { at + 1 };
                }
                at += 2;
            }
            "::" => at += 1,
            // Such as `,` between the paths of a tree, and `<` behind a type.
            _ => {
                if path.len() > above.len() {
                    leaves.push((path, String::new()));
                }
                return at;
            }
        }
    }
}

/// Where an item ends: behind its `;` or its braces.
fn item_end(tokens: &[String], start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].as_str() {
            ";" => return at + 1,
            "{" => return close(tokens, at) + 1,
            "(" | "[" => at = close(tokens, at) + 1,
            _ => at += 1,
        }
    }
    at
}

/// Where the group that begins at `open` ends.
fn close(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
