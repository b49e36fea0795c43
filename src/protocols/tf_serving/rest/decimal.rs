//! Writes floats like TensorFlow Serving: with six digits, or where six do not give the value back, with nine for a float and
//! seventeen for a double. The layout is that of C's `%g`, with `.0` behind whole numbers.

use std::io::Write as _;

use tfweb_engine::Scalar;

/// The number of digits to try first.
const SHORT_DIGITS: usize = 6;
/// The most bytes of digits in a float's shortest text: 17 digits, or a whole number with the zeros at its end.
const DIGITS_BYTES_MAX: usize = 32;
/// Seventeen digits, a point and an exponent.
const EXACT_BYTES_MAX: usize = 32;

/// A float that TensorFlow Serving writes.
pub(super) trait Decimal: Scalar {
    /// The number of digits that tells any two of these floats apart.
    const DIGITS_MAX: usize;

    /// Appends the text.
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! decimals {
    ($($type:ty: $digits_max:literal),*) => {$(
        impl Decimal for $type {
            const DIGITS_MAX: usize = $digits_max;

            fn write(self, out: &mut Vec<u8>) {
                if self.is_nan() {
                    return out.extend_from_slice(b"NaN");
                }
                if self.is_sign_negative() {
                    out.push(b'-');
                }
                if self.is_infinite() {
                    return out.extend_from_slice(b"Infinity");
                }
                let value = self.abs();
                if value == 0.0 {
                    return out.extend_from_slice(b"0.0");
                }
                let mut shortest = zmij::Buffer::new();
                let (mut digits, mut exponent) = parse(shortest.format_finite(value).as_bytes());
                let mut precision = SHORT_DIGITS;
                // Six digits give the float back exactly where its shortest text has no more than six. Subnormal floats are
                // checked by reading them back, because their shortest texts have fewer digits.
                if value.is_subnormal() {
                    let (text, len) = exact(format_args!("{value:.*e}", SHORT_DIGITS - 1));
                    (digits, exponent) = parse(&text[..len]);
                    let read: Option<$type> = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.parse().ok());
                    precision = if read == Some(value) { SHORT_DIGITS } else { Self::DIGITS_MAX };
                } else if digits.get().len() > SHORT_DIGITS {
                    precision = Self::DIGITS_MAX;
                }
                if precision > SHORT_DIGITS {
                    let (text, len) = exact(format_args!("{value:.*e}", precision - 1));
                    (digits, exponent) = parse(&text[..len]);
                }
                lay_out(digits.get(), exponent, precision, out);
            }
        }
    )*};
}

decimals!(f32: 9, f64: 17);

/// Writes a number into a buffer, and gives the length of the text.
fn exact(number: std::fmt::Arguments<'_>) -> ([u8; EXACT_BYTES_MAX], usize) {
    let mut text = [0; EXACT_BYTES_MAX];
    let mut rest = &mut text[..];
    rest.write_fmt(number).expect("room for the digits; this is a bug");
    let left = rest.len();
    (text, EXACT_BYTES_MAX - left)
}

/// The digits of a number.
#[derive(Default)]
struct Digits {
    bytes: [u8; DIGITS_BYTES_MAX],
    len: usize,
}

impl Digits {
    fn push(&mut self, digit: u8) {
        self.bytes[self.len] = digit;
        self.len += 1;
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The digits of a positive number without zeros around them, and the power of ten of the first.
fn parse(text: &[u8]) -> (Digits, i32) {
    let (mantissa, exponent) = match text.iter().position(|byte| *byte == b'e') {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok().and_then(|text| text.parse().ok()).unwrap_or(0)),
        None => (text, 0_i32),
    };
    let mut digits = Digits::default();
    let mut power = exponent - 1;
    let mut in_fraction = false;
    for byte in mantissa {
        if *byte == b'.' {
            in_fraction = true;
            continue;
        }
        let leads = *byte == b'0' && digits.len == 0;
        if !leads {
            digits.push(*byte);
        }
        match (leads, in_fraction) {
            (true, true) => power -= 1,
            (false, false) => power += 1,
            (true, false) | (false, true) => {}
        }
    }
    while digits.get().last() == Some(&b'0') {
        digits.len -= 1;
    }
    (digits, power)
}

/// Writes digits as `%g` does: with an exponent where that is less than -4 or no less than the precision.
fn lay_out(digits: &[u8], exponent: i32, precision: usize, out: &mut Vec<u8>) {
    let has_exponent = exponent < -4 || usize::try_from(exponent).is_ok_and(|exponent| exponent >= precision);
    if has_exponent {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("memory takes text; this is a bug");
    }
    let Ok(whole) = usize::try_from(exponent + 1) else {
        return fraction(digits, exponent, out);
    };
    if whole == 0 {
        return fraction(digits, exponent, out);
    }
    let (before, after) = digits.split_at(whole.min(digits.len()));
    out.extend_from_slice(before);
    out.resize(out.len() + whole - before.len(), b'0');
    out.push(b'.');
    out.extend_from_slice(if after.is_empty() { b"0" } else { after });
}

/// Writes a number below one.
fn fraction(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0.");
    let zeros = usize::try_from(-exponent - 1).unwrap_or_default();
    out.resize(out.len() + zeros, b'0');
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Decimal) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_written_as_tensorflow_serving_writes_them() {
        for (value, expect) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (100.0, "100.0"),
            (999_999.0, "999999.0"),
            (1_000_000.0, "1e+06"),
            (9_000_000.0, "9e+06"),
            (1_234_567.0, "1234567.0"),
            (0.333_333_34, "0.333333343"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.000_03, "3e-05"),
            (1_435_774_380.0, "1.43577434e+09"),
            (16_777_217.0, "16777216.0"),
            (f32::MAX, "3.40282347e+38"),
            (f32::MIN_POSITIVE, "1.17549435e-38"),
            (1e-45, "1.4013e-45"),
            (f32::INFINITY, "Infinity"),
            (f32::NEG_INFINITY, "-Infinity"),
            (f32::NAN, "NaN"),
            (-1.5e-7, "-1.5e-07"),
        ] {
            assert_eq!(text(value), expect);
        }
        for (value, expect) in [
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333331"),
            (1e300, "1e+300"),
            (123_456_789.0, "123456789.0"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(text(value), expect);
        }
    }

    #[test]
    fn every_float_comes_back() {
        let mut bits = 88_172_645_u32;
        for _ in 0..200_000 {
            bits ^= bits << 13;
            bits ^= bits >> 17;
            bits ^= bits << 5;
            let value = f32::from_bits(bits);
            if value.is_finite() {
                assert_eq!(text(value).parse::<f32>().unwrap().to_bits(), bits);
            }
        }
    }
}
