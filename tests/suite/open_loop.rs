//! A load that does not wait for answers: it sends a fixed number of requests a second. `benches/open_loop.rs` uses it too.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::{spawn_local, LocalSet};

/// The answer to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) has_retry_after: bool,
    /// From when it was to be sent: a client that is late does not make the server look quick.
    pub(crate) time: Duration,
}

type Idle = Rc<RefCell<Vec<BufReader<TcpStream>>>>;

/// Sends a request, given as its bytes, `rate` times a second; gives all answers.
pub(crate) fn run(address: SocketAddr, request: Vec<u8>, rate: f64, time: Duration) -> io::Result<Vec<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (request, idle, start) = (Rc::new(request), Idle::default(), Instant::now());
        let mut sent = Vec::new();
        for number in 0..u32::MAX {
            let due = start + Duration::from_secs_f64(f64::from(number) / rate);
            if due >= start + time {
                break;
            }
            // The pace of the load: `rate` requests a second.
            tokio::time::sleep_until(due.into()).await;
            let (request, idle) = (Rc::clone(&request), Rc::clone(&idle));
            sent.push(spawn_local(async move {
                let (status, has_retry_after) = call(address, &request, &idle).await?;
                Ok::<_, io::Error>(Answer { status, has_retry_after, time: due.elapsed() })
            }));
        }
        let mut answers = Vec::with_capacity(sent.len());
        for task in sent {
            answers.push(task.await??);
        }
        Ok(answers)
    })
}

async fn call(address: SocketAddr, request: &[u8], idle: &Idle) -> io::Result<(u16, bool)> {
    let kept = idle.borrow_mut().pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    connection.write_all(request).await?;
    let (mut line, mut status, mut length, mut has_retry_after) = (String::new(), 0, 0, false);
    loop {
        line.clear();
        if connection.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let lower = line.trim().to_lowercase();
        match lower.split_once(": ") {
            _ if lower.is_empty() => break,
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(("retry-after", _)) => has_retry_after = true,
            _ if lower.starts_with("http/1.1 ") => status = lower[9..12].parse().map_err(io::Error::other)?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    idle.borrow_mut().push(connection);
    Ok((status, has_retry_after))
}

/// The value that the share `q` of some times does not exceed.
pub(crate) fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    let index = (times.len() as f64 * q).ceil() as usize;
    times.get(index.saturating_sub(1)).copied().unwrap_or_default()
}
