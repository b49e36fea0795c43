//! Servers that have models: stores as processes of their own, a proxy that counts and cuts what goes through it, and a web
//! server of files. Each listens on a free port, and ends with its value.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::client::{Connection, Request};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The model that every place has.
pub(crate) fn model() -> PathBuf {
    root().join("tests/models/half_plus_two")
}

/// Files below a directory, by their paths from it.
pub(crate) fn files(directory: &Path) -> HashMap<String, Vec<u8>> {
    let mut found = HashMap::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("below it").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// A server of `tests/servers`. Dropped, it ends.
pub(crate) struct PythonServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl PythonServer {
    /// Starts it and waits until it says its port.
    pub(crate) fn start(script: &str, arguments: &[&Path]) -> Self {
        let python = root().join(".venv/bin/python");
        let mut command = Command::new(&python);
        command.arg(root().join("tests/servers").join(script)).args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make test` installs it", python.display()));
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{script} ended; `make test` installs what it needs"));
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Puts something there, for all to read.
    #[track_caller]
    pub(crate) fn put(&self, method: &str, target: &str, body: &[u8]) {
        // The servers look who signed, and not whether the signature is right.
        let signature = "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let request = Request { body: body.to_vec(), ..Request::new(method, target) }
            .header("Authorization", signature)
            .header("x-amz-acl", "public-read")
            .header("Content-Type", "application/octet-stream");
        let response = Connection::open(self.address).and_then(|mut connection| connection.call(&request)).expect("an answer");
        assert!((200..300).contains(&response.status), "{method} {target}: {response:?}");
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The heads of requests, and what befalls answers.
#[derive(Default)]
struct Traffic {
    heads: Vec<String>,
    /// The proxy answers nothing any more after this number of bytes.
    dies_after: Option<usize>,
    is_dead: bool,
}

/// Passes on what it gets, and remembers what was asked.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
}

impl Proxy {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its port");
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        thread::spawn({
            let traffic = Arc::clone(&traffic);
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if !locked(&traffic).is_dead {
                        pass(&client, to, &traffic);
                    }
                }
            }
        });
        Self { address, traffic }
    }

    /// Lets it die in the middle of an answer.
    pub(crate) fn dies_after(&self, bytes: usize) {
        locked(&self.traffic).dies_after = Some(bytes);
    }

    /// Whether it has.
    pub(crate) fn is_dead(&self) -> bool {
        locked(&self.traffic).is_dead
    }

    /// Starts it again.
    pub(crate) fn revive(&self) {
        let mut traffic = locked(&self.traffic);
        (traffic.is_dead, traffic.dies_after) = (false, None);
    }

    /// Gives the heads of the requests that came since the last call.
    pub(crate) fn heads(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.traffic).heads)
    }

    /// The files that were read since the last time, sorted: `GET` without a query.
    pub(crate) fn files_read(&self) -> Vec<String> {
        let heads = self.heads();
        let targets = heads.iter().filter_map(|head| head.strip_prefix("GET ")?.split(' ').next());
        let mut files: Vec<String> = targets
            .filter(|target| !target.contains('?'))
            .filter_map(|target| Some(target.rsplit_once('/')?.1.to_owned()))
            .collect();
        files.sort();
        files
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass(client: &TcpStream, to: SocketAddr, traffic: &Arc<Mutex<Traffic>>) {
    let server = TcpStream::connect(to).expect("the server listens");
    let ends = || (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let ((mut from_client, mut to_server), (mut to_client, mut from_server)) = (ends(), ends());
    thread::spawn({
        let traffic = Arc::clone(traffic);
        move || {
            // Requests here have no bodies, so what comes is heads alone.
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from_client.read(&mut buffer) {
                text += &String::from_utf8_lossy(&buffer[..read]);
                while let Some((head, rest)) = text.split_once("\r\n\r\n") {
                    locked(&traffic).heads.push(head.to_owned());
                    text = rest.to_owned();
                }
                if to_server.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
        }
    });
    thread::spawn({
        let traffic = Arc::clone(traffic);
        move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from_server.read(&mut buffer) {
                {
                    let mut traffic = locked(&traffic);
                    if let Some(left) = traffic.dies_after {
                        traffic.dies_after = Some(left.saturating_sub(read));
                        traffic.is_dead |= left < read;
                    }
                    if traffic.is_dead {
                        break;
                    }
                }
                if to_client.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown(Shutdown::Both);
            let _ = from_server.shutdown(Shutdown::Both);
        }
    });
}

/// The content and behaviour of a [`FileServer`] at a path.
#[derive(Clone, Default)]
pub(crate) struct Page {
    pub(crate) content: Vec<u8>,
    pub(crate) etag: &'static str,
    /// Where it is instead.
    pub(crate) location: String,
    /// The first connection ends after this number of bytes; the next request gets all of the content.
    pub(crate) cut_once: Option<usize>,
    /// The MD5 of the content in base64, as a header.
    pub(crate) md5: &'static str,
    /// The number of answers that have zeros for the content.
    pub(crate) lies: usize,
}

/// A web server of files, with etags, conditions and ranges.
pub(crate) struct FileServer {
    pub(crate) address: SocketAddr,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its port");
        let server = Self { address, pages: Arc::default(), heads: Arc::default() };
        let (pages, heads) = (Arc::clone(&server.pages), Arc::clone(&server.heads));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (pages, heads) = (Arc::clone(&pages), Arc::clone(&heads));
                thread::spawn(move || serve(&client, &pages, &heads));
            }
        });
        server
    }

    pub(crate) fn put(&self, path: &str, page: Page) {
        locked(&self.pages).insert(path.to_owned(), page);
    }

    /// Gives the heads of the requests that came since the last call.
    pub(crate) fn heads(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.heads))
    }
}

/// Answers one request.
fn serve(mut client: &TcpStream, pages: &Mutex<HashMap<String, Page>>, heads: &Mutex<Vec<String>>) {
    let lines = BufReader::new(client).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let value = |name: &str| {
        let header = head.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        header.map(|line| line[name.len() + 2..].to_owned())
    };
    let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    locked(heads).push(head.join("\n"));
    let mut pages = locked(pages);
    let answer = |status: &str, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    };
    let Some(page) = pages.get_mut(target.split('?').next().unwrap_or_default()) else {
        let _ = client.write_all(&answer("404 Not Found", "Content-Length: 0\r\n", b""));
        return;
    };
    let (etag, length) = (page.etag, page.content.len());
    let offset = value("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let bytes = if !page.location.is_empty() {
        answer("302 Found", &format!("Location: {}\r\nContent-Length: 0\r\n", page.location), b"")
    } else if value("if-none-match").is_some_and(|known| known == etag) {
        answer("304 Not Modified", &format!("ETag: {etag}\r\n"), b"")
    } else if let Some(offset) = offset.filter(|_| value("if-range").is_some_and(|known| known == etag)) {
        let range = format!("ETag: {etag}\r\nContent-Range: bytes {offset}-{}/{length}\r\n", length - 1);
        answer("206 Partial Content", &format!("{range}Content-Length: {}\r\n", length - offset), &page.content[offset..])
    } else {
        let md5 = if page.md5.is_empty() { String::new() } else { format!("Content-MD5: {}\r\n", page.md5) };
        let zeros = vec![0; if page.lies > 0 { length } else { 0 }];
        page.lies = page.lies.saturating_sub(1);
        let content = if zeros.is_empty() { &page.content } else { &zeros };
        answer("200 OK", &format!("{md5}ETag: {etag}\r\nContent-Length: {length}\r\n"), content)
    };
    let end = page.cut_once.take().unwrap_or(bytes.len()).min(bytes.len());
    let _ = client.write_all(&bytes[..end]);
    let _ = client.shutdown(Shutdown::Both);
}
