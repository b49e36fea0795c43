//! Tokens: who may call the server (`--api_token`), and who may change its models (`--admin_token`). HTTP and gRPC check the
//! token before they read a body.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest::{digest, SHA256};
use subtle::{Choice, ConstantTimeEq};
use tfweb_engine::{Code, Error};

use crate::watched_files::{Contents, WatchedFiles};

/// The SHA-256 of a token. All have one length, so a comparison always takes the same time. A hash is of no use to somebody who
/// reads it.
#[derive(Clone, PartialEq, Eq)]
struct Digest([u8; 32]);

impl Digest {
    fn of(text: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// Tokens from flags, and from a file that is read again when it changes.
pub struct Tokens {
    from_flags: Vec<Digest>,
    file: Option<PathBuf>,
    from_file: ArcSwap<Vec<Digest>>,
}

impl Tokens {
    /// Takes the tokens of `--{flag}` and of the file of `--{flag}_file`. `None` if there are neither.
    ///
    /// # Errors
    /// `InvalidArgument` for a text that cannot be a token, and for a file without tokens. The error names the flag.
    pub fn new(flag: &str, typed: &[String], file: Option<PathBuf>) -> Result<Option<Arc<Self>>, Error> {
        if typed.is_empty() && file.is_none() {
            return Ok(None);
        }
        let wrong = |error| Error::invalid(format!("--{flag}: {error}"));
        let from_flags = typed.iter().map(|text| parse(text).map_err(wrong)).collect::<Result<_, _>>()?;
        let tokens = Self { from_flags, file, from_file: ArcSwap::default() };
        if let Some(path) = &tokens.file {
            let taken = WatchedFiles::new(vec![path.clone()]).first().and_then(|contents| tokens.take(&contents));
            taken.map_err(|error| Error::invalid(format!("--{flag}_file: {error}")))?;
        }
        Ok(Some(Arc::new(tokens)))
    }

    /// The path of the file, if some tokens are in one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    /// Takes the tokens of the file's new contents. Returns whether they differ from those before.
    ///
    /// # Errors
    /// Why the file cannot be used. The tokens stay as they were.
    pub fn take(&self, contents: &Contents) -> Result<bool, Error> {
        let (Some(path), [bytes]) = (&self.file, contents.as_slice()) else { return Ok(false) };
        let wrong = |what: String| Error::invalid(format!("`{}`: {what}", path.display()));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("expected text".into()))?;
        let mut read = Vec::new();
        for (number, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            read.push(parse(line).map_err(|error| wrong(format!("line {}: {error}", number + 1)))?);
        }
        if read.is_empty() {
            return Err(wrong("expected a token on each line, got none".into()));
        }
        let changed = **self.from_file.load() != read;
        self.from_file.store(read.into());
        Ok(changed)
    }

    /// Whether a token is one of these. The time it takes does not depend on which one it is, or how much of it is right.
    fn contain(&self, sent: &Digest) -> Choice {
        let read = self.from_file.load();
        let all = self.from_flags.iter().chain(read.iter());
        all.fold(Choice::from(0), |found, token| found | token.0.ct_eq(&sent.0))
    }
}

/// Reads a token. The error does not repeat it.
fn parse(text: &str) -> Result<Digest, &'static str> {
    if text.is_empty() {
        return Err("expected a token, got nothing");
    }
    // Commas separate tokens in a variable. A flag with several tokens would be one token that nobody has.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
        return Err("expected a token of printable ASCII without spaces and commas, as a header can carry it");
    }
    Ok(Digest::of(text))
}

/// The tokens for calls and for changes.
#[derive(Default)]
pub struct Access {
    /// The tokens for calls; `None` if everybody may call.
    pub api: Option<Arc<Tokens>>,
    /// The tokens for changes of models, which also allow calls; `None` if nobody may change models.
    pub admin: Option<Arc<Tokens>>,
}

/// Why a caller is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller sent no token.
    Missing,
    /// The caller sent a token that the server does not have.
    Wrong,
}

impl Refusal {
    /// The refusal as an error.
    #[must_use]
    pub fn error(self) -> Error {
        let text = match self {
            Self::Missing => "this server asks for a token; send `Authorization: Bearer` with one of its --api_token",
            Self::Wrong => "the bearer's token is none of this server's --api_token",
        };
        Error::new(Code::Unauthenticated, text)
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3).
    #[must_use]
    pub const fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "Bearer realm=\"tfweb\"",
            Self::Wrong => "Bearer realm=\"tfweb\", error=\"invalid_token\"",
        }
    }
}

impl Access {
    /// Whether everybody may call.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.api.is_none()
    }

    /// Checks whether the sender of an `Authorization` header may call.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn may_call(&self, authorization: Option<&[u8]>) -> Result<(), Refusal> {
        let Some(api) = &self.api else { return Ok(()) };
        let sent = authorization.and_then(bearer_token).ok_or(Refusal::Missing)?;
        let admin = self.admin.as_ref().map_or(Choice::from(0), |admin| admin.contain(&sent));
        if bool::from(api.contain(&sent) | admin) {
            Ok(())
        } else {
            Err(Refusal::Wrong)
        }
    }

    /// Whether the sender of an `Authorization` header may change which models are served.
    #[must_use]
    pub fn may_change(&self, authorization: Option<&[u8]>) -> bool {
        let sent = authorization.and_then(bearer_token);
        self.admin.as_ref().zip(sent).is_some_and(|(admin, sent)| admin.contain(&sent).into())
    }
}

/// The hash of the token in an `Authorization` header.
fn bearer_token(authorization: &[u8]) -> Option<Digest> {
    let (scheme, sent) = std::str::from_utf8(authorization).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Digest::of(sent.trim()))
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(typed: &[&str]) -> Option<Arc<Tokens>> {
        let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
        Tokens::new("api_token", &typed, None).unwrap()
    }

    #[test]
    fn bearers_of_a_token_may_call() {
        let access = Access { api: tokens(&["one", "two"]), admin: tokens(&["root"]) };
        let call = |header: &str| access.may_call(Some(header.as_bytes()));
        for header in ["Bearer one", "bearer two", "BEARER  two ", "Bearer root"] {
            assert_eq!(call(header), Ok(()), "{header}");
        }
        for header in ["Bearer ", "Bearer on", "Bearer onee", "Bearer one two", "Bearer \u{e9}"] {
            assert_eq!(call(header), Err(Refusal::Wrong), "{header}");
        }
        for header in ["", "one", "Basic one", "Bearerone"] {
            assert_eq!(call(header), Err(Refusal::Missing), "{header}");
        }
        assert_eq!((access.may_call(None), access.may_call(Some(b"Bearer \xff"))), (Err(Refusal::Missing), Err(Refusal::Missing)));
    }

    #[test]
    fn only_admins_may_change() {
        let access = Access { api: tokens(&["one"]), admin: tokens(&["root"]) };
        assert!(access.may_change(Some(b"Bearer root")));
        assert!(!access.may_change(Some(b"Bearer one")) && !access.may_change(None));
        let open = Access::default();
        assert!(open.is_open() && open.may_call(None).is_ok() && !open.may_change(Some(b"Bearer ")));
    }

    #[test]
    fn a_file_of_tokens_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let refused = |text: &str| {
            write(text);
            Tokens::new("api_token", &[], Some(path.clone())).err().unwrap().message
        };
        assert!(refused("# none\n\n").ends_with("got none") && refused("").starts_with("--api_token_file: `"));
        assert!(refused("good\ntwo words\n").contains("line 2: expected a token of printable ASCII"));
        write("# those of today\n one \n\ntwo");
        let access = Access { api: Tokens::new("api_token", &[], Some(path.clone())).unwrap(), admin: None };
        let tokens = access.api.as_ref().unwrap();
        let take = |text: &str| tokens.take(&vec![text.into()]);
        assert_eq!(take("one\ntwo"), Ok(false));
        assert_eq!(take("three"), Ok(true));
        assert!(access.may_call(Some(b"Bearer three")).is_ok() && access.may_call(Some(b"Bearer one")).is_err());
        assert!(take("").is_err() && access.may_call(Some(b"Bearer three")).is_ok(), "it keeps what it has");
    }
}
