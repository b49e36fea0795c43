//! An S3 server that may lie: it sends other bytes of the same length, states etags that are no MD5, and lists without end.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use md5::{Digest, Md5};
use tfweb_store::Env;

/// How the server lists.
#[derive(Clone, Default)]
pub(crate) enum Lists {
    /// As it is.
    #[default]
    Truly,
    /// One page without an end.
    EndlessPage,
    /// The same page of a thousand files, again and again.
    SamePage,
    /// Pages without files, each of a few megabytes.
    EmptyPages,
    /// It takes the request and says nothing. The request counts as read.
    Never,
    /// So many pages of a thousand objects beside the versions, and then the versions.
    Beside(usize),
    /// A page for each object. Before the second page comes, its request fails with each of these statuses; 0 ends the connection.
    Pages(Vec<u16>),
}

/// The meaning of an object's etag.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Etags {
    /// The MD5 of the content, as for objects that were uploaded whole.
    #[default]
    Md5,
    /// Something else in the form of an MD5, as for objects that KMS encrypts.
    Encrypted,
    /// That of an upload in parts.
    Parts,
}

#[derive(Default)]
struct Contents {
    objects: HashMap<String, Vec<u8>>,
    lists: Lists,
    etags: Etags,
    /// How many reads of an object, by the end of its name, still come with other bytes.
    lies: HashMap<&'static str, usize>,
    reads: Vec<String>,
    /// How many pages of a listing have failed.
    failed_pages: usize,
}

/// The server. It listens as long as the process lives.
#[derive(Clone)]
pub(crate) struct HostileStore {
    pub(crate) address: SocketAddr,
    contents: Arc<Mutex<Contents>>,
}

impl HostileStore {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let store = Self { address: listener.local_addr().expect("its port"), contents: Arc::default() };
        let serving = store.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let store = serving.clone();
                thread::spawn(move || store.serve(&client));
            }
        });
        store
    }

    pub(crate) fn put(&self, name: &str, content: Vec<u8>) {
        self.with(|contents| contents.objects.insert(name.to_owned(), content));
    }

    pub(crate) fn states(&self, etags: Etags) {
        self.with(|contents| contents.etags = etags);
    }

    pub(crate) fn lists(&self, lists: Lists) {
        self.with(|contents| (contents.lists, contents.failed_pages) = (lists, 0));
    }

    /// Makes the next reads of an object come with other bytes of the same length, and each with others.
    pub(crate) fn lies(&self, end_of_name: &'static str, reads: usize) {
        self.with(|contents| contents.lies.insert(end_of_name, reads));
    }

    /// The names of the objects that were read since the last call, sorted, each without its directories.
    pub(crate) fn reads(&self) -> Vec<String> {
        let mut reads = self.with(|contents| std::mem::take(&mut contents.reads));
        reads.sort();
        reads
    }

    /// The variables by which tfweb finds this store.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        let endpoint = format!("http://{}", self.address);
        [("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "id".into()), ("AWS_SECRET_ACCESS_KEY", "secret".into())]
    }

    pub(crate) fn env(&self) -> Env {
        let variables = self.variables();
        Env::of(&variables.each_ref().map(|(name, value)| (*name, value.as_str())))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Contents) -> T) -> T {
        work(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers the requests of a connection.
    fn serve(&self, mut client: &TcpStream) {
        let mut lines = BufReader::new(client).lines().map_while(Result::ok);
        loop {
            let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let Some(target) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
            let is_sent = if target.contains("?list-type=2") {
                self.list(client, target)
            } else {
                client.write_all(&self.object(target.trim_start_matches("/bucket/")))
            };
            if is_sent.is_err() {
                return;
            }
        }
    }

    fn object(&self, name: &str) -> Vec<u8> {
        self.with(|contents| {
            contents.reads.push(name.rsplit('/').next().unwrap_or_default().to_owned());
            let mut body = contents.objects.get(name).cloned().unwrap_or_default();
            if let Some((_, left)) = contents.lies.iter_mut().find(|(end, left)| name.ends_with(**end) && **left > 0) {
                *left -= 1;
                body.fill(u8::try_from(*left % 256).unwrap_or_default());
            }
            let last = body.len().saturating_sub(1);
            let range = format!("Content-Range: bytes 0-{last}/{}\r\n", body.len());
            let head = format!("HTTP/1.1 206 Partial Content\r\n{range}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body].concat()
        })
    }

    fn list(&self, mut client: &TcpStream, target: &str) -> std::io::Result<()> {
        let (lists, truly) = self.with(|contents| (contents.lists.clone(), contents.page()));
        let page = match lists {
            Lists::Truly => result(&truly, false),
            Lists::Pages(failures) => match self.next_page(target, &failures) {
                Ok(page) => page,
                Err(0) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
                Err(status) => return write!(client, "HTTP/1.1 {status} Failed\r\nContent-Length: 0\r\n\r\n"),
            },
            Lists::Beside(pages) => {
                let page = page_number(target);
                let strangers =
                    || (0..1000).map(|number| entry(&format!("m/note-{page}-{number}"), 1, "\"e\"")).collect::<String>();
                if page < pages {
                    result_before(&strangers(), &format!("page{}", page + 1))
                } else {
                    result(&truly, false)
                }
            }
            Lists::SamePage => {
                let mut page = String::new();
                for number in 0..1000 {
                    page += &entry(&format!("m/1/assets/{number}"), 1, "\"e\"");
                }
                result(&page, true)
            }
            Lists::EmptyPages => result(&format!("<!-- {} -->", "x".repeat(4 << 20)), true),
            Lists::Never => {
                self.with(|contents| contents.reads.push("a listing".to_owned()));
                loop {
                    thread::park();
                }
            }
            Lists::EndlessPage => {
                client.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let entries = entry("m/1/saved_model.pb", 1, "\"e\"").repeat(1000);
                let chunk = format!("{:x}\r\n{entries}\r\n", entries.len());
                loop {
                    client.write_all(chunk.as_bytes())?;
                }
            }
        };
        write!(client, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{page}", page.len())
    }

    /// The page of a target, or how its request fails.
    fn next_page(&self, target: &str, failures: &[u16]) -> Result<String, u16> {
        let page = page_number(target);
        self.with(|contents| {
            if let Some(status) = failures.get(contents.failed_pages).filter(|_| page == 1) {
                contents.failed_pages += 1;
                return Err(*status);
            }
            let all = contents.page();
            let entries: Vec<&str> = all.split_inclusive("</Contents>").collect();
            let next = if page + 1 < entries.len() { format!("page{}", page + 1) } else { String::new() };
            Ok(result_before(entries[page], &next))
        })
    }
}

impl Contents {
    /// The entries of a true listing.
    fn page(&self) -> String {
        let mut page = String::new();
        for (name, content) in &self.objects {
            let mut hex = String::new();
            for byte in Md5::digest(content) {
                let _ = write!(hex, "{byte:02x}");
            }
            let etag = match self.etags {
                Etags::Md5 => hex,
                Etags::Encrypted => hex.chars().rev().collect(),
                Etags::Parts => format!("{hex}-2"),
            };
            page += &entry(name, content.len(), &format!("&quot;{etag}&quot;"));
        }
        page
    }
}

/// The number of the page that a target asks for.
fn page_number(target: &str) -> usize {
    let page = target.split_once("continuation-token=page").map_or("0", |(_, rest)| rest.split('&').next().unwrap_or_default());
    page.parse().expect("a number")
}

fn entry(name: &str, size: usize, etag: &str) -> String {
    let time = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>";
    format!("<Contents><Key>{name}</Key><Size>{size}</Size><ETag>{etag}</ETag>{time}</Contents>")
}

fn result(entries: &str, is_truncated: bool) -> String {
    result_before(entries, if is_truncated { "again" } else { "" })
}

/// A page before the one that a token names, or the last one.
fn result_before(entries: &str, token: &str) -> String {
    let is_truncated = !token.is_empty();
    let next = if is_truncated { format!("<NextContinuationToken>{token}</NextContinuationToken>") } else { String::new() };
    format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{next}{entries}</ListBucketResult>")
}
