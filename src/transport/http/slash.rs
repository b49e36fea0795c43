//! The slash at the end of a path. With it, a path is no other path: listeners take it away before anybody else sees the path. A
//! path that ends with `//` is another path, and stays so.

/// Stands in the extensions of a request whose path had a slash at its end. Only a directory of static files needs to know.
pub struct HadSlash;

/// The path of a request without one slash at its end.
pub(super) fn without(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty() && !rest.ends_with('/')).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_at_the_end_makes_no_other_path() {
        for (path, expect) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a"),
            ("/a/b/", "/a/b"),
            ("//a/", "//a"),
            ("/a//", "/a//"),
            ("//", "//"),
            ("///", "///"),
            ("/a%2F", "/a%2F"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(without(path), expect);
        }
    }
}
