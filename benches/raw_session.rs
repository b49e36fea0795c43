//! The loop that the image benchmark compares tfweb with: it runs the session, with no server around it.
//!
//! `raw_session MODEL IMAGE THREADS BATCH SECONDS` runs the model's `serving_default` on batches of the image from that many
//! threads side by side, and prints images per second.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tfweb_engine::tensorflow::{load_library, InterOp, SavedModelSession};
use tfweb_engine::{saved_model, Session, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, image, threads, batch, seconds] = args.as_slice() else {
        return Err("usage: raw_session MODEL IMAGE THREADS BATCH SECONDS".into());
    };
    let (threads, batch): (usize, usize) = (threads.parse()?, batch.parse()?);
    let time = Duration::from_secs(seconds.parse()?);
    load_library(None)?;
    let directory = saved_model::locate(Path::new(model))?.directory;
    let session = SavedModelSession::load(&directory, &["serve".to_owned()], InterOp::Auto)?;
    let image = Bytes::from(std::fs::read(image)?);
    let request = [Tensor::from_strings(&[batch], Arc::new(vec![image; batch]))];

    // Once before the clock starts, as the server's own load does.
    session.run(0, &[&request])?;
    let start = Instant::now();
    let runs: usize = std::thread::scope(|scope| {
        let run = || {
            let mut runs = 0;
            while start.elapsed() < time {
                session.run(0, &[&request]).expect("the model runs on its own image");
                runs += 1;
            }
            runs
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let images = (runs * batch) as f64 / start.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{images:.2}")?;
    Ok(())
}
