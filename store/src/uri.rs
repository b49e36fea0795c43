//! The URI of a model. Pure: it looks nothing up.
//!
//! A printed [`ModelUri`] holds no secret: it has neither the password before `@`, nor the query, in which signed URLs have their
//! signature.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use tfweb_engine::Error;

/// The most characters of a URI in an error.
const SHOWN_CHARS_MAX: usize = 80;
/// The schemes, for the error that lists them.
const SCHEMES: &str =
    "a local path, file://, s3://, gs://, az://, abfs://, hdfs://, webhdfs://, hf://, or http(s):// of an archive";

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A zip file.
    Zip,
    /// A tar file.
    Tar,
    /// A tar file compressed by gzip.
    TarGz,
}

/// The place of a SavedModel, or of a directory with its versions.
#[derive(Clone, PartialEq, Eq)]
pub enum ModelUri {
    /// A directory on this machine.
    Local(PathBuf),
    /// Amazon S3, or another server with its API.
    S3 {
        /// The bucket.
        bucket: String,
        /// The part of each key before the model's own files, without slashes at its ends.
        prefix: String,
    },
    /// Google Cloud Storage.
    Gcs {
        /// The bucket.
        bucket: String,
        /// The part of each name before the model's own files.
        prefix: String,
    },
    /// Azure Blob Storage or Data Lake Storage, whose files the blob endpoint has too.
    Azure {
        /// The address of the account, such as `https://account.blob.core.windows.net`; `None` if the environment names it.
        endpoint: Option<String>,
        /// The container.
        container: String,
        /// The part of each name before the model's own files.
        prefix: String,
    },
    /// Hadoop's file system, over its own protocol.
    Hdfs {
        /// `host:port`, or a host for port 8020. Several, with commas between them, are one namenode and its standbys.
        name_node: String,
        /// The directory.
        prefix: String,
    },
    /// Hadoop's file system, over its REST API.
    WebHdfs {
        /// The address, such as `http://host:9870`.
        endpoint: String,
        /// The directory.
        prefix: String,
    },
    /// A repository of the Hugging Face Hub.
    Hf {
        /// The repository as `owner/name`.
        repository: String,
        /// A branch, tag or commit; `None` for the main branch.
        revision: Option<String>,
        /// The directory.
        prefix: String,
    },
    /// An archive on a web server.
    Archive {
        /// The whole URL with its secrets, only for the request.
        url: Url,
        /// How it is packed.
        packing: Packing,
    },
}

impl ModelUri {
    /// Reads a URI, or a local path.
    ///
    /// # Errors
    /// `InvalidArgument` that names the text and what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |expected: &str| Error::invalid(format!("`{}`: expected {expected}", shown(text)));
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(wrong(SCHEMES)) } else { Ok(Self::Local(PathBuf::from(text))) };
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(wrong("file:///path, with three slashes"));
            }
            let path: Vec<u8> = percent_decode_str(path).collect();
            return Ok(Self::Local(PathBuf::from(OsString::from_vec(path))));
        }
        if let "http" | "https" = scheme.as_str() {
            return archive(text).ok_or_else(|| wrong("the URL of a .zip, .tar, .tar.gz or .tgz"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix(path).ok_or_else(|| wrong("a path without `.` and `..`"))?;
        match scheme.as_str() {
            "s3" | "s3a" if is_name(authority) => Ok(Self::S3 { bucket: authority.to_owned(), prefix }),
            "s3" | "s3a" => Err(wrong("s3://bucket/prefix")),
            "gs" | "gcs" if is_name(authority) => Ok(Self::Gcs { bucket: authority.to_owned(), prefix }),
            "gs" | "gcs" => Err(wrong("gs://bucket/prefix")),
            "az" if is_name(authority) => Ok(Self::Azure { endpoint: None, container: authority.to_owned(), prefix }),
            "az" => Err(wrong("az://container/path")),
            "abfs" | "abfss" => {
                data_lake(authority, prefix).ok_or_else(|| wrong("abfss://container@account.dfs.core.windows.net/path"))
            }
            "hdfs" if is_host(&authority.replace(',', "")) => Ok(Self::Hdfs { name_node: authority.to_owned(), prefix }),
            "hdfs" => Err(wrong("hdfs://namenode:port/path")),
            "webhdfs" if is_host(authority) => Ok(Self::WebHdfs { endpoint: format!("http://{authority}"), prefix }),
            "swebhdfs" if is_host(authority) => Ok(Self::WebHdfs { endpoint: format!("https://{authority}"), prefix }),
            "webhdfs" | "swebhdfs" => Err(wrong("webhdfs://host:port/path")),
            "hf" => hugging_face(authority, &prefix).ok_or_else(|| wrong("hf://owner/repository[@revision][/path]")),
            _ => Err(wrong(SCHEMES)),
        }
    }

    /// The default name of a model from this URI: the last part of the path that is not a version number.
    #[must_use]
    pub fn name(&self) -> String {
        if let Self::Local(path) = self {
            let full = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            return last_name(&full.to_string_lossy()).unwrap_or("model").to_owned();
        }
        let (host, path) = match self {
            Self::Local(_) => return "model".to_owned(),
            Self::S3 { bucket: host, prefix }
            | Self::Gcs { bucket: host, prefix }
            | Self::Azure { container: host, prefix, .. }
            | Self::Hf { repository: host, prefix, .. } => (host.as_str(), prefix.as_str()),
            Self::Hdfs { prefix, .. } | Self::WebHdfs { prefix, .. } => ("model", prefix.as_str()),
            Self::Archive { url, .. } => ("model", without_ending(url.path())),
        };
        last_name(path).or_else(|| last_name(host)).unwrap_or("model").to_owned()
    }

    /// The last part of the path. If it is a number, it is the version's number.
    #[must_use]
    pub fn last_part(&self) -> Option<String> {
        let path = match self {
            Self::Local(path) => std::path::absolute(path).ok()?.to_string_lossy().into_owned(),
            Self::S3 { prefix, .. }
            | Self::Gcs { prefix, .. }
            | Self::Azure { prefix, .. }
            | Self::Hdfs { prefix, .. }
            | Self::WebHdfs { prefix, .. }
            | Self::Hf { prefix, .. } => prefix.clone(),
            Self::Archive { url, .. } => without_ending(url.path()).to_owned(),
        };
        path.split('/').rfind(|part| !part.is_empty()).map(str::to_owned)
    }

    /// A text that separates this URI from every other, for the name of its cache directory. It has the query too, which
    /// [`fmt::Display`] leaves out.
    pub(super) fn identity(&self) -> String {
        match self {
            Self::Archive { url, .. } => format!("{self}?{}", url.query().unwrap_or_default()),
            Self::Local(_)
            | Self::S3 { .. }
            | Self::Gcs { .. }
            | Self::Azure { .. }
            | Self::Hdfs { .. }
            | Self::WebHdfs { .. }
            | Self::Hf { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for ModelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Gcs { bucket, prefix } => write!(f, "gs://{bucket}/{prefix}"),
            Self::Azure { endpoint: None, container, prefix } => write!(f, "az://{container}/{prefix}"),
            Self::Azure { endpoint: Some(endpoint), container, prefix } => {
                let host = endpoint.trim_start_matches("https://").replacen(".blob.", ".dfs.", 1);
                write!(f, "abfss://{container}@{host}/{prefix}")
            }
            Self::Hdfs { name_node, prefix } => write!(f, "hdfs://{name_node}/{prefix}"),
            Self::WebHdfs { endpoint, prefix } => {
                let scheme = if endpoint.starts_with("https") { "swebhdfs" } else { "webhdfs" };
                write!(f, "{scheme}://{}/{prefix}", endpoint.split("://").nth(1).unwrap_or(endpoint))
            }
            Self::Hf { repository, revision, prefix } => {
                let at = revision.as_ref().map(|revision| format!("@{revision}")).unwrap_or_default();
                let slash = if prefix.is_empty() { "" } else { "/" };
                write!(f, "hf://{repository}{at}{slash}{prefix}")
            }
            Self::Archive { url, .. } => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

impl fmt::Debug for ModelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Joins a path's non-empty parts; `None` if one of them is `.` or `..`.
fn prefix(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.iter().all(|part| !matches!(*part, "." | "..")).then(|| parts.join("/"))
}

/// Whether a text can be the name of a bucket or container. It allows no character that has a meaning in a URL.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-$".contains(c))
}

/// Whether a text is `host`, `host:port` or `[::1]:port`.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:[]".contains(c))
}

fn data_lake(authority: &str, prefix: String) -> Option<ModelUri> {
    let (container, host) = authority.split_once('@')?;
    let (account, rest) = host.split_once(".dfs.").or_else(|| host.split_once(".blob."))?;
    let whole = is_name(container) && is_name(account) && is_host(rest);
    whole.then(|| ModelUri::Azure {
        endpoint: Some(format!("https://{account}.blob.{rest}")),
        container: container.to_owned(),
        prefix,
    })
}

fn hugging_face(owner: &str, path: &str) -> Option<ModelUri> {
    let (repository, prefix) = path.split_once('/').unwrap_or((path, ""));
    let (name, revision) = match repository.split_once('@') {
        // The Hub's own URIs write a slash in a revision as %2F.
        Some((name, revision)) => (name, Some(revision.replace("%2F", "/").replace("%2f", "/"))),
        None => (repository, None),
    };
    let whole = is_name(owner) && is_name(name) && revision.as_ref().is_none_or(|revision| !revision.is_empty());
    whole.then(|| ModelUri::Hf { repository: format!("{owner}/{name}"), revision, prefix: prefix.to_owned() })
}

/// The file extensions of archives, the longer ones first.
const ENDINGS: [(&str, Packing); 4] =
    [(".tar.gz", Packing::TarGz), (".tgz", Packing::TarGz), (".tar", Packing::Tar), (".zip", Packing::Zip)];

fn archive(text: &str) -> Option<ModelUri> {
    let url = Url::parse(text).ok()?;
    let path = url.path().to_ascii_lowercase();
    let (_, packing) = ENDINGS.into_iter().find(|(ending, _)| path.ends_with(ending))?;
    Some(ModelUri::Archive { url, packing })
}

fn without_ending(path: &str) -> &str {
    let lower = path.to_ascii_lowercase();
    ENDINGS.iter().find(|(ending, _)| lower.ends_with(ending)).map_or(path, |(ending, _)| &path[..path.len() - ending.len()])
}

fn last_name(path: &str) -> Option<&str> {
    path.split('/').rfind(|part| !part.is_empty() && !part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A URI for an error: cut, and without query and password, even if the text is not a valid URI.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, rest)), Some((before, after))) if before.len() > scheme.len() + 3 && rest.contains(':') => {
            format!("{scheme}://…@{after}")
        }
        _ => text.to_owned(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks how a URI is printed, and the name of its model.
    #[track_caller]
    fn check(text: &str, printed: &str, name: &str) {
        let uri = ModelUri::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((uri.to_string().as_str(), uri.name().as_str()), (printed, name), "{text}");
        if let ModelUri::Archive { .. } = uri {
            return;
        }
        assert_eq!(ModelUri::parse(printed).unwrap(), uri, "what is printed means the same");
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = ModelUri::parse(text).unwrap_err().message;
        assert!(error.contains(expected) && error.lines().count() == 1, "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn uris_mean_what_their_ecosystems_say() {
        check("models/digits", "models/digits", "digits");
        check("file:///m/digits/00000123", "/m/digits/00000123", "digits");
        check("file://localhost/m/digits", "/m/digits", "digits");
        check("file:///my%20models/caf%C3%A9/100%", "/my models/café/100%", "100%");
        check("/my%20models/a", "/my%20models/a", "a");
        check("s3://bucket/a/m/", "s3://bucket/a/m", "m");
        check("S3://bucket//a//m/7", "s3://bucket/a/m/7", "m");
        check("s3a://bucket", "s3://bucket/", "bucket");
        check("gs://bucket/m", "gs://bucket/m", "m");
        check("gcs://bucket/m", "gs://bucket/m", "m");
        check("az://container/m/1", "az://container/m/1", "m");
        check("abfs://c@acc.dfs.core.windows.net/a/m", "abfss://c@acc.dfs.core.windows.net/a/m", "m");
        check("abfss://c@acc.dfs.core.chinacloudapi.cn/m", "abfss://c@acc.dfs.core.chinacloudapi.cn/m", "m");
        check("hdfs://namenode:8020/a/m", "hdfs://namenode:8020/a/m", "m");
        check("hdfs://one,two:8021/m", "hdfs://one,two:8021/m", "m");
        check("webhdfs://namenode:9870/a/m/1", "webhdfs://namenode:9870/a/m/1", "m");
        check("swebhdfs://[::1]:9871/m", "swebhdfs://[::1]:9871/m", "m");
        check("hf://owner/repo", "hf://owner/repo", "repo");
        check("hf://owner/repo@v1.0/sub/3", "hf://owner/repo@v1.0/sub/3", "sub");
        check("https://host/a/m.zip", "https://host/a/m.zip", "m");
        check("http://host:8000/a/m.tar.gz", "http://host:8000/a/m.tar.gz", "m");
        check("http://host/m.TGZ", "http://host/m.TGZ", "m");
    }

    #[test]
    fn secrets_are_not_printed() {
        check("https://user:secret@host/m.zip?token=secret", "https://host/m.zip", "m");
        let uri = ModelUri::parse("https://user:secret@host/m.zip?token=secret").unwrap();
        assert!(!format!("{uri:?}").contains("secret"));
        let other = ModelUri::parse("https://host/m.zip?version=2").unwrap();
        assert_ne!(uri.identity(), other.identity(), "the query tells them apart all the same");
        refused("https://user:secret@host/page", ".zip, .tar, .tar.gz or .tgz");
        refused("s3://key:secret@bucket/m", "s3://bucket/prefix");
        refused("ftp://user:secret@host/m", "hdfs://");
        refused("s3://key:sec/secret@bucket/m", "s3://bucket/prefix");
    }

    #[test]
    fn what_is_no_uri_is_one_clear_line() {
        refused("", "a local path");
        refused("s3://", "s3://bucket/prefix");
        refused("s3:///prefix", "s3://bucket/prefix");
        refused("gs://buck et/m", "gs://bucket/prefix");
        refused("s3://bucket/../other", "without `.` and `..`");
        refused("file://host/m", "three slashes");
        refused("abfs://container/m", "abfss://container@account");
        refused("az:///m", "az://container/path");
        refused("hdfs:///m", "hdfs://namenode:port/path");
        refused("webhdfs://a@b/m", "webhdfs://host:port/path");
        refused("hf://owner", "hf://owner/repository");
        refused("hf://owner/repo@/x", "hf://owner/repository");
        refused("https://host/model", ".zip, .tar");
        refused("gopher://host/m", "hdfs://");
        refused(&format!("gopher://{}", "x".repeat(5000)), "x…`");
    }
}
