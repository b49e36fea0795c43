//! Inflates compressed bodies piece by piece, and stops at a limit.

use std::io::{self, ErrorKind, Write};

use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// The compression of a body, as `Content-Encoding` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// gzip (RFC 1952). A body may consist of several members; all of them are read.
    Gzip,
    /// zlib (RFC 1950), which HTTP calls deflate.
    Deflate,
}

impl Encoding {
    /// Finds an encoding by its name in a header. `None` if tfweb does not support it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "identity" | "" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// The reason why a body cannot be inflated.
#[derive(Debug, PartialEq, Eq)]
pub enum InflateError {
    /// The inflated body is larger than the limit.
    TooLarge,
    /// The body is not of the encoding that it claims, or it ends early. The text is the decoder's.
    Damaged(String),
}

/// Inflates a body that arrives in pieces, and gathers the result.
pub struct Inflater(Kind);

enum Kind {
    Identity(Limited),
    Gzip(Box<MultiGzDecoder<Limited>>),
    Deflate(Box<ZlibDecoder<Limited>>),
}

/// Bytes that refuse to grow beyond a limit. They tell it by [`ErrorKind::FileTooLarge`], which no decoder gives.
struct Limited {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Write for Limited {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.bytes_max - self.bytes.len() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflater {
    /// Starts a body whose inflated bytes are at most `bytes_max`. Allocates memory for `bytes_expected` bytes at once.
    #[must_use]
    pub fn new(encoding: Encoding, bytes_max: usize, bytes_expected: usize) -> Self {
        let limited = Limited { bytes: Vec::with_capacity(bytes_expected.min(bytes_max)), bytes_max };
        Self(match encoding {
            Encoding::Identity => Kind::Identity(limited),
            Encoding::Gzip => Kind::Gzip(Box::new(MultiGzDecoder::new(limited))),
            Encoding::Deflate => Kind::Deflate(Box::new(ZlibDecoder::new(limited))),
        })
    }

    /// Inflates the next piece.
    ///
    /// # Errors
    /// [`InflateError`]. The inflater is of no further use then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InflateError> {
        match &mut self.0 {
            Kind::Identity(limited) => limited.write_all(piece),
            Kind::Gzip(decoder) => decoder.write_all(piece),
            Kind::Deflate(decoder) => decoder.write_all(piece),
        }
        .map_err(inflate_error)
    }

    /// How many bytes have been inflated so far.
    #[must_use]
    pub fn inflated_bytes(&self) -> usize {
        match &self.0 {
            Kind::Identity(limited) => limited,
            Kind::Gzip(decoder) => decoder.get_ref(),
            Kind::Deflate(decoder) => decoder.get_ref(),
        }
        .bytes
        .len()
    }

    /// Ends the body and gives its inflated bytes.
    ///
    /// # Errors
    /// [`InflateError`]; `Damaged` also if the body ended early.
    pub fn finish(self) -> Result<Vec<u8>, InflateError> {
        match self.0 {
            Kind::Identity(limited) => Ok(limited),
            Kind::Gzip(decoder) => decoder.finish(),
            Kind::Deflate(decoder) => decoder.finish(),
        }
        .map(|limited| limited.bytes)
        .map_err(inflate_error)
    }
}

fn inflate_error(error: io::Error) -> InflateError {
    if error.kind() == ErrorKind::FileTooLarge {
        InflateError::TooLarge
    } else {
        InflateError::Damaged(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use flate2::Compression;

    fn inflate(encoding: Encoding, body: &[u8], bytes_max: usize, piece: usize) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::new(encoding, bytes_max, 0);
        for piece in body.chunks(piece) {
            inflater.push(piece)?;
        }
        inflater.finish()
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn encodings_are_found_by_their_names() {
        let named = |names: &[&str]| names.iter().map(|name| Encoding::named(name)).collect::<Vec<_>>();
        assert_eq!(named(&["gzip", " GZIP ", "x-gzip"]), [Some(Encoding::Gzip); 3]);
        assert_eq!(
            named(&["deflate", "identity", ""]),
            [Some(Encoding::Deflate), Some(Encoding::Identity), Some(Encoding::Identity)]
        );
        assert_eq!(named(&["br", "gzip, gzip"]), [None; 2]);
    }

    #[test]
    fn pieces_of_any_size_make_the_whole() {
        let plain: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(i) % 251) as u8).collect();
        for piece in [1, 7, 4096, 1 << 20] {
            for (encoding, body) in
                [(Encoding::Identity, plain.clone()), (Encoding::Gzip, gzip(&plain)), (Encoding::Deflate, zlib(&plain))]
            {
                assert!(inflate(encoding, &body, plain.len(), piece).unwrap() == plain, "{encoding:?} {piece}");
                assert_eq!(inflate(encoding, &body, plain.len() - 1, piece), Err(InflateError::TooLarge));
            }
        }
        assert_eq!(inflate(Encoding::Gzip, &[gzip(b"ab"), gzip(b"cd")].concat(), 10, 3).unwrap(), b"abcd");
    }

    #[test]
    fn a_damaged_or_short_body_is_an_error() {
        let damaged = |encoding, body: &[u8]| matches!(inflate(encoding, body, 1 << 20, 4096), Err(InflateError::Damaged(_)));
        let plain: Vec<u8> = (0..10_000_u32).map(|i| (i.wrapping_mul(i) % 251) as u8).collect();
        for cut in [1, 8, 20] {
            let (gzip, zlib) = (gzip(&plain), zlib(&plain));
            assert!(damaged(Encoding::Gzip, &gzip[..gzip.len() - cut]), "{cut} bytes short");
            assert!(damaged(Encoding::Deflate, &zlib[..zlib.len() - cut]), "{cut} bytes short");
        }
        assert!(damaged(Encoding::Gzip, b"plain text") && damaged(Encoding::Deflate, b"plain text"));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![b' '; 50_000_000]);
        let mut inflater = Inflater::new(Encoding::Gzip, 1000, 0);
        assert_eq!(inflater.push(&bomb), Err(InflateError::TooLarge));
    }

    #[test]
    fn inflated_bytes_are_counted_as_they_come() {
        let plain = vec![7; 500_000];
        for (encoding, body) in
            [(Encoding::Identity, plain.clone()), (Encoding::Gzip, gzip(&plain)), (Encoding::Deflate, zlib(&plain))]
        {
            let mut inflater = Inflater::new(encoding, plain.len(), 0);
            assert_eq!(inflater.inflated_bytes(), 0, "{encoding:?}");
            inflater.push(&body).unwrap();
            // A decoder keeps the last of its output until the body ends.
            assert!((400_000..=plain.len()).contains(&inflater.inflated_bytes()), "{encoding:?}: {}", inflater.inflated_bytes());
            assert_eq!(inflater.finish().unwrap(), plain);
        }
    }
}
