//! Writes the elements of tensors as nested lists, and strings as JSON text, for every dialect. Pure.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use tfweb_engine::{bf16, f16, with_scalar, Scalar, Tensor};

use super::rules::WriteRules;
use super::shortest::shortest;

/// Appends a tensor as nested lists; a scalar as its bare value.
pub fn write_tensor<W: WriteRules>(rules: &W, tensor: &Tensor, out: &mut Vec<u8>) {
    with_scalar!(tensor.dtype(), T => {
        let elements = tensor.as_slice::<T>().unwrap_or_default();
        write_nested::<W, _>(tensor.dims(), &mut elements.iter(), out, &|element, out| element.write_json(rules, out));
    }, else if let Some(strings) = tensor.as_strings() {
        write_nested::<W, _>(tensor.dims(), &mut strings.iter(), out, &|bytes, out| rules.write_string(bytes, out));
    });
}

/// Appends text, quoted and escaped.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail; this is a bug");
}

/// Appends the base64 text of bytes in quotes: standard alphabet, padded.
pub fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("room for the whole base64 text; this is a bug");
    out.push(b'"');
}

/// Appends a list of values.
pub(super) fn write_list<W: WriteRules, T>(
    values: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (i, value) in values.enumerate() {
        if i > 0 {
            out.extend_from_slice(W::SEPARATOR);
        }
        write(value, out);
    }
    out.push(b']');
}

fn write_nested<W: WriteRules, I: Iterator>(
    dims: &[usize],
    elements: &mut I,
    out: &mut Vec<u8>,
    write: &impl Fn(I::Item, &mut Vec<u8>),
) {
    match dims {
        [] => elements.by_ref().take(1).for_each(|element| write(element, out)),
        [count] => write_list::<W, _>(elements.by_ref().take(*count), out, write),
        [count, inner @ ..] => write_list::<W, _>(0..*count, out, |_, out| write_nested::<W, I>(inner, elements, out, write)),
    }
}

/// A scalar that has a JSON text.
pub(super) trait ToJson: Scalar {
    /// About how many bytes the text takes, comma included.
    const TEXT_BYTES: usize;

    /// Appends the text.
    fn write_json(self, rules: &impl WriteRules, out: &mut Vec<u8>);
}

macro_rules! scalars {
    ($($type:ty: $text_bytes:literal, |$value:ident, $rules:ident, $out:ident| $write:expr;)*) => {$(
        impl ToJson for $type {
            const TEXT_BYTES: usize = $text_bytes;

            #[inline]
            fn write_json(self, $rules: &impl WriteRules, $out: &mut Vec<u8>) {
                let $value = self;
                $write;
            }
        }
    )*};
}

scalars! {
    f32: 12, |value, rules, out| rules.write_float32(value, out);
    f64: 20, |value, rules, out| rules.write_float64(value, out);
    f16: 8, |value, rules, out| rules.write_float64(shortest(value), out);
    bf16: 8, |value, rules, out| rules.write_float64(shortest(value), out);
    i8: 4, |value, _rules, out| write_integer(value, out);
    i16: 6, |value, _rules, out| write_integer(value, out);
    i32: 8, |value, _rules, out| write_integer(value, out);
    i64: 10, |value, _rules, out| write_integer(value, out);
    u8: 4, |value, _rules, out| write_integer(value, out);
    u16: 6, |value, _rules, out| write_integer(value, out);
    u32: 8, |value, _rules, out| write_integer(value, out);
    u64: 10, |value, _rules, out| write_integer(value, out);
    bool: 6, |value, _rules, out| out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// A complex number is the list of its real and its imaginary part.
macro_rules! pairs {
    ($($part:ty),*) => {$(
        impl ToJson for [$part; 2] {
            const TEXT_BYTES: usize = 2 * <$part>::TEXT_BYTES + 2;

            fn write_json(self, rules: &impl WriteRules, out: &mut Vec<u8>) {
                let [real, imaginary] = self;
                out.push(b'[');
                real.write_json(rules, out);
                out.push(b',');
                imaginary.write_json(rules, out);
                out.push(b']');
            }
        }
    )*};
}

pairs!(f32, f64);

#[inline]
fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}
