//! Who may change what is served: whoever bears the server's `--admin_token`.

use subtle::ConstantTimeEq;

/// Whether an `Authorization` header bears the token. Takes a time that tells nothing about how much of it was right.
#[must_use]
pub fn bears(token: &str, header: &str) -> bool {
    let sent =
        header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, sent)| sent.trim());
    sent.as_bytes().ct_eq(token.as_bytes()).into()
}
