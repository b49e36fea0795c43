//! A real HTTP server on loopback. The path of a URL says how it answers, well or badly. It counts requests and connections.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::write::GzEncoder;
use flate2::Compression;

use crate::hostile_origin::Script;
use crate::support::until;

/// How long a connection may do nothing before its thread gives it up.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A server; dropped, it stops.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Clone, Default)]
struct Seen {
    connections: usize,
    /// Of connections, those still open.
    open: usize,
    gets: Vec<String>,
    /// Headers of the last request, names in lower case.
    headers: HashMap<String, String>,
    /// Requests being answered, and the most that were at once.
    busy: usize,
    busy_max: usize,
    released: bool,
    closing: bool,
}

/// A connection as the origin reads and writes it: TCP, or TLS on top of it.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Origin {
    pub(crate) fn start() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |stream| Ok(Box::new(stream)))
    }

    /// Listens at an address; `wire` makes of a connection what is spoken over.
    pub(crate) fn at(address: SocketAddr, wire: impl Fn(TcpStream) -> io::Result<Box<dyn Wire>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let wire = Arc::new(wire);
        let origin = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.lock().closing {
                    return;
                }
                let (shared, wire) = (Arc::clone(&shared), Arc::clone(&wire));
                shared.change(|seen| {
                    seen.connections += 1;
                    seen.open += 1;
                });
                thread::spawn(move || {
                    // A client that goes away is what some tests are about.
                    let _ = shared.serve(&stream, &*wire);
                    let _ = stream.shutdown(Shutdown::Both);
                    shared.change(|seen| seen.open -= 1);
                });
            }
        });
        origin
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.lock().gets.len()
    }

    /// How many requests there were for a path.
    pub(crate) fn gets(&self, path: &str) -> usize {
        self.shared.lock().gets.iter().filter(|get| *get == path).count()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.shared.lock().headers.get(name).cloned()
    }

    /// The most requests that were being answered at once.
    pub(crate) fn busy_max(&self) -> usize {
        self.shared.lock().busy_max
    }

    /// Answers the requests for `/held…`, those that wait and those to come.
    pub(crate) fn release(&self) {
        self.shared.change(|seen| seen.released = true);
    }

    #[track_caller]
    pub(crate) fn until_busy(&self, count: usize) {
        until(&format!("{count} requests are at the origin"), || self.shared.lock().busy == count);
    }

    #[track_caller]
    pub(crate) fn until_open(&self, count: usize) {
        until(&format!("{count} connections are open"), || self.shared.lock().open == count);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.change(|seen| {
            seen.closing = true;
            seen.released = true;
        });
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn serve(&self, stream: &TcpStream, wire: &dyn Fn(TcpStream) -> io::Result<Box<dyn Wire>>) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE_MAX))?;
        stream.set_write_timeout(Some(IDLE_MAX))?;
        stream.set_nodelay(true)?;
        let mut wire = BufReader::new(wire(stream.try_clone()?)?);
        while let Some((path, headers)) = request(&mut wire)? {
            self.change(|seen| {
                seen.gets.push(path.clone());
                seen.headers = headers;
                seen.busy += 1;
                seen.busy_max = seen.busy_max.max(seen.busy);
            });
            let answered = match Script::of(&path) {
                Some(mut script) => script.play(wire.get_mut()),
                None => self.answer(&path, stream, wire.get_mut()),
            };
            self.change(|seen| seen.busy -= 1);
            if !answered? {
                break;
            }
        }
        Ok(())
    }

    /// Answers a path; whether the connection goes on.
    fn answer(&self, path: &str, stream: &TcpStream, wire: &mut dyn Wire) -> io::Result<bool> {
        let (kind, argument) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let number = || argument.split('/').next().and_then(|number| number.parse().ok()).unwrap_or(0_usize);
        match kind {
            "text" => whole(wire, "", argument.as_bytes())?,
            "size" => whole(wire, "", &body(number()))?,
            "late" => {
                whole(wire, "", b"in time")?;
                // Until the client asks again on this connection, or closes it.
                stream.peek(&mut [0])?;
                whole(wire, "", b"too late")?;
            }
            "held" => {
                self.wait_released(stream)?;
                whole(wire, "", b"held")?;
            }
            "held-size" => {
                self.wait_released(stream)?;
                whole(wire, "", &body(number()))?;
            }
            "open" => {
                wire.write_all(b"HTTP/1.1 200 OK\r\n\r\nopen")?;
                self.wait_released(stream)?;
                return Ok(false);
            }
            "slow" => {
                // The pace of a slow origin; the time is the request's own.
                thread::sleep(Duration::from_millis(number() as u64));
                whole(wire, "", b"slow")?;
            }
            "gzip" => whole(wire, "Content-Encoding: gzip\r\n", &gzip(argument.as_bytes()))?,
            "chunked" => {
                wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nchun\r\n3\r\nked\r\n0\r\n\r\n")?;
                return Ok(true);
            }
            "drip" => {
                wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
                while !self.lock().closing {
                    wire.write_all(b".")?;
                    // The pace of a slow origin that never ends its answer.
                    thread::sleep(Duration::from_millis(number() as u64));
                }
            }
            "silent" => self.wait_released(stream)?,
            "status" => write!(wire, "HTTP/1.1 {} Told\r\nContent-Length: 2\r\n\r\nno", number())?,
            "away" => {
                write!(wire, "HTTP/1.1 302 There\r\nLocation: {argument}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(false);
            }
            "once" => {
                whole(wire, "", b"once")?;
                return Ok(false);
            }
            // Bytes of the client that nobody has read make the system reset the connection when it is closed.
            "reset" => return Ok(false),
            _ if ENDING.contains(&kind) => ending(kind, number(), wire)?,
            _ => odd(path, kind, argument, wire)?,
        }
        wire.flush()?;
        Ok(kind != "silent" && !ENDING.contains(&kind))
    }

    /// Waits until released, or until the client goes.
    fn wait_released(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        let mut seen = self.lock();
        while !seen.released {
            let (now, _) = self.changed.wait_timeout(seen, Duration::from_millis(5)).unwrap_or_else(PoisonError::into_inner);
            seen = now;
            if matches!(stream.peek(&mut [0]), Ok(0)) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        stream.set_read_timeout(Some(IDLE_MAX))
    }
}

/// Reads a request's head; none where the client has gone.
fn request(wire: &mut BufReader<Box<dyn Wire>>) -> io::Result<Option<(String, HashMap<String, String>)>> {
    let mut line = String::new();
    if wire.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        wire.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
            None => return Ok(Some((path, headers))),
        }
    }
}

fn whole(wire: &mut dyn Wire, headers: &str, body: &[u8]) -> io::Result<()> {
    write!(wire, "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
    wire.write_all(body)
}

/// Answers that end with their connection.
const ENDING: [&str; 8] = ["cut", "cut-chunks", "until-end", "declared", "undeclared", "noise", "head", "interim"];

fn ending(kind: &str, bytes: usize, wire: &mut dyn Wire) -> io::Result<()> {
    match kind {
        "cut" => wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        "cut-chunks" => wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nchun\r\n"),
        "until-end" => wire.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"),
        "declared" => {
            write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
            endless(wire, bytes)
        }
        "undeclared" => {
            wire.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            endless(wire, bytes)
        }
        "noise" => wire.write_all(b"this is no HTTP\r\n\r\n"),
        "head" => {
            wire.write_all(b"HTTP/1.1 200 OK\r\n")?;
            while wire.write_all(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").is_ok() {}
            Ok(())
        }
        "interim" => {
            while wire.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
            Ok(())
        }
        _ => unreachable!("{kind} is not in ENDING"),
    }
}

/// Answers as few servers do; 404 for a path that is none of these.
fn odd(path: &str, kind: &str, argument: &str, wire: &mut dyn Wire) -> io::Result<()> {
    match kind {
        "early" => {
            for status in argument.split('/').next().unwrap_or_default().split(',') {
                write!(wire, "HTTP/1.1 {status} Early\r\nLink: </a>; rel=preload\r\n\r\n")?;
            }
            whole(wire, "", path.as_bytes())
        }
        "br" => whole(wire, "Content-Encoding: br\r\n", b"not asked for"),
        "bomb" => whole(wire, "Content-Encoding: gzip\r\n", &gzip(&vec![0; 1 << 20]).repeat(1024)),
        "loop" => write!(wire, "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n"),
        "to" => write!(wire, "HTTP/1.1 307 There\r\nLocation: {argument}\r\nContent-Length: 0\r\n\r\n"),
        "to-utf-8" => wire.write_all("HTTP/1.1 307 There\r\nLocation: /text/größe?a=ü\r\nContent-Length: 0\r\n\r\n".as_bytes()),
        "to-latin-1" => wire.write_all(b"HTTP/1.1 307 There\r\nLocation: /text/gr\xf6\xdfe\r\nContent-Length: 0\r\n\r\n"),
        "down" => match argument {
            "0" => whole(wire, "", b"down"),
            number => {
                let next = number.parse().unwrap_or(1_usize) - 1;
                write!(wire, "HTTP/1.1 301 Moved\r\nLocation: /down/{next}\r\nContent-Length: 0\r\n\r\n")
            }
        },
        "nowhere" => wire.write_all(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
        "old" => write!(wire, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()),
        "bad-chunks" => wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nchunked"),
        _ => wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

fn endless(wire: &mut dyn Wire, bytes: usize) -> io::Result<()> {
    let piece = vec![0; 64 << 10];
    for _ in 0..bytes / piece.len() {
        wire.write_all(&piece)?;
    }
    Ok(())
}

/// Makes bytes that differ from their neighbours.
fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes bytes")
}

/// Another address of loopback: to a fetcher, another host.
pub(crate) fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}
