//! Reads an origin's bytes as the fetcher does, without a connection, for the fuzz targets (`fuzz/`).

use super::answer::{head_end, read_head};

/// Reads an origin's bytes as they come in `pieces`: heads until one is final, then its body. Gives the status of the final answer
/// and the length of its body so far; `None` where its head has not ended.
///
/// # Errors
/// Why the bytes are no answer.
pub fn answer<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<(u16, usize)>, String> {
    let mut pieces = pieces.into_iter();
    let (mut bytes, mut searched) = (Vec::new(), 0);
    loop {
        while let Some(end) = head_end(&bytes, searched).map_err(|error| error.to_string())? {
            let mut head = read_head(&bytes[..end]).map_err(|error| error.to_string())?;
            let _ = head.for_awc();
            bytes.drain(..end);
            searched = 0;
            if head.is_interim() {
                continue;
            }
            let mut length = head.body.follow(&bytes).map_err(|error| error.to_string())?;
            for piece in pieces.by_ref() {
                length += head.body.follow(piece).map_err(|error| error.to_string())?;
            }
            return Ok(Some((head.status, length)));
        }
        searched = bytes.len();
        match pieces.next() {
            Some(piece) => bytes.extend_from_slice(piece),
            None => return Ok(None),
        }
    }
}
