//! The end of a body in chunks (RFC 9112, 7.1). Pure.
//!
//! awc takes the chunks apart. This file only follows them, by stricter rules than awc's, so that a body that passes here ends for
//! awc at the same byte.

use super::malformed::Malformed;

/// The most digits of a chunk's size: 64 bits have 16 hexadecimal digits.
const DIGITS_MAX: usize = 16;
/// The most bytes of one body's extensions and trailers together, which are skipped. hyper accepts as many of each.
const ASIDE_BYTES_MAX: usize = 16 << 10;

/// A body in chunks of which some bytes have been followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// The bytes of the chunk that are still to come. While the size is read, its value so far.
    left: u64,
    /// How many digits of the size have been read.
    digits: usize,
    /// How many bytes of extensions and trailers have come.
    aside: usize,
}

/// The part of the body that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// The white space behind a size. Some servers pad the size with it.
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer, or of the empty line that ends the body.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    pub(super) fn is_whole(&self) -> bool {
        self.at == At::End
    }

    /// Follows the body's next bytes. Gives how many of them belong to the body.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no chunks, or hold too many bytes beside the data.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut done = 0;
        while done < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let count = (bytes.len() - done).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                done += count;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
            } else {
                self.at = self.next(bytes[done])?;
                done += 1;
            }
        }
        Ok(done)
    }

    /// Finds the part of the body that follows on `byte`, which is no data.
    fn next(&mut self, byte: u8) -> Result<At, Malformed> {
        let next = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => return self.digit(byte),
            (At::Size | At::Padding, b' ' | b'\t') if self.digits > 0 => At::Padding,
            (At::Size | At::Padding, b';') if self.digits > 0 => At::Extension,
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Padding | At::Extension, b'\r') => At::SizeLf,
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                return Ok(if self.left == 0 { At::Line } else { At::Data });
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Line, b'\r') => At::EndLf,
            (At::EndLf, b'\n') => At::End,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::Line,
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => At::Extension,
            (At::Line | At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            (at, byte) => return Err(unexpected(at, byte)),
        };
        if let At::Padding | At::Extension | At::Trailer = next {
            self.aside += 1;
            if self.aside > ASIDE_BYTES_MAX {
                return Err(Malformed::new(format!(
                    "its chunks have more than {ASIDE_BYTES_MAX} bytes of extensions and trailers"
                )));
            }
        }
        Ok(next)
    }

    fn digit(&mut self, byte: u8) -> Result<At, Malformed> {
        self.digits += 1;
        if self.digits > DIGITS_MAX {
            return Err(Malformed::new(format!("the size of a chunk has more than {DIGITS_MAX} digits")));
        }
        let digit = char::from(byte).to_digit(16).expect("only hexadecimal digits come here; this is a bug");
        self.left = self.left << 4 | u64::from(digit);
        Ok(At::Size)
    }
}

fn unexpected(at: At, byte: u8) -> Malformed {
    let (place, expected) = match at {
        At::Size => ("in the size of a chunk", "hexadecimal digits"),
        At::Padding => ("behind the size of a chunk", "`;` or the end of the line"),
        At::Extension => ("in the extension of a chunk", "text"),
        At::SizeLf => ("behind the size of a chunk", "the end of the line"),
        At::Data | At::DataCr | At::DataLf => ("behind the data of a chunk", "the end of the line"),
        At::Line | At::Trailer | At::TrailerLf => ("in a trailer", "text and the end of the line"),
        At::EndLf | At::End => ("behind the last chunk", "an empty line"),
    };
    Malformed::new(format!("{place} is {:?}, expected {expected}", char::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows bytes whole and byte by byte. Gives how many belong to the body, or `None` if it goes on.
    #[track_caller]
    fn check(bytes: &[u8], expect: Result<Option<usize>, &str>) {
        for step in [bytes.len().max(1), 1, 3] {
            let mut chunks = Chunks::default();
            let mut done = 0;
            let followed = bytes.chunks(step).try_for_each(|piece| chunks.follow(piece).map(|count| done += count));
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            match (&followed, expect) {
                (Ok(()), Ok(end)) => assert_eq!(chunks.is_whole().then_some(done), end, "{text:?} by {step}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text:?} by {step}: {error}"),
                (got, _) => panic!("{text:?} by {step}: expected {expect:?}, got {got:?}"),
            }
        }
    }

    #[test]
    fn a_body_ends_behind_the_empty_line_after_its_last_chunk() {
        for (text, behind) in [
            ("0\r\n\r\n", ""),
            ("0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
            ("0\r\n\r\n", "\r\n"),
            ("4\r\nchun\r\n3\r\nked\r\n0\r\n\r\n", "0\r\n\r\n"),
            ("5\r\n\r\n0\r\n\r\n0\r\n\r\n", "x"),
            ("A\r\n0123456789\r\n0a\r\n0123456789\r\n00\r\n\r\n", "x"),
            ("1;name=value\r\nx\r\n0;a;b=\"c\"\r\n\r\n", "x"),
            ("1  \r\nx\r\n0 \t; a\r\n\r\n", "x"),
            ("0\r\nA: b\r\nC: \td\r\n\r\n", "x"),
            ("0\r\n A: folded é\r\n\r\n", "x"),
        ] {
            check(format!("{text}{behind}").as_bytes(), Ok(Some(text.len())));
            for cut in 0..text.len() {
                check(&text.as_bytes()[..cut], Ok(None));
            }
        }
        check(b"ffffffffffffffff\r\nall that fit 64 bits", Ok(None));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for (text, expect) in [
            ("\r\n", "in the size of a chunk is '\\r', expected hexadecimal digits"),
            (";a\r\n", "in the size of a chunk is ';'"),
            (" 1\r\n", "in the size of a chunk is ' '"),
            ("+1\r\n", "in the size of a chunk is '+'"),
            ("0x1\r\n", "in the size of a chunk is 'x'"),
            ("g\r\n", "in the size of a chunk is 'g'"),
            ("1\nx", "in the size of a chunk is '\\n'"),
            ("1\rx", "behind the size of a chunk is 'x'"),
            ("1 1\r\n", "behind the size of a chunk is '1', expected `;`"),
            ("1;a\nx", "in the extension of a chunk is '\\n'"),
            ("1;a\0\r\n", "in the extension of a chunk is '\\0'"),
            ("1\r\nxy", "behind the data of a chunk is 'y'"),
            ("1\r\nx\n", "behind the data of a chunk is '\\n'"),
            ("1\r\nx\ry", "behind the data of a chunk is 'y'"),
            ("0\r\n\n", "in a trailer is '\\n'"),
            ("0\r\nA: b\n\n", "in a trailer is '\\n'"),
            ("0\r\nA: b\r\r\n", "in a trailer is '\\r'"),
            ("0\r\n\rx", "behind the last chunk is 'x', expected an empty line"),
            ("10000000000000000\r\n", "more than 16 digits"),
            ("00000000000000001\r\n", "more than 16 digits"),
        ] {
            check(text.as_bytes(), Err(expect));
        }
    }

    #[test]
    fn extensions_and_trailers_have_a_limit_together() {
        let of = |aside: usize| format!("1;{}\r\nx\r\n0\r\n{}\r\n\r\n", "a".repeat(9), "b".repeat(aside - 10));
        check(of(ASIDE_BYTES_MAX).as_bytes(), Ok(Some(of(ASIDE_BYTES_MAX).len())));
        check(of(ASIDE_BYTES_MAX + 1).as_bytes(), Err("more than 16384 bytes of extensions and trailers"));
    }
}
